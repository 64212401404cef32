"""Kill runs at random moments, resume them, and compare with a run that was never stopped.

    python scripts/soak.py --kills=200

Small transfers (64 pixels) with a checkpoint after every iteration are killed with SIGKILL, again
and again, and resumed until they end. Prints how many kills were survived, how many corrupt files
were found under their final names, and how many pictures differ from the uninterrupted one.
"""

import concurrent.futures
import functools
import json
import multiprocessing
import multiprocessing.forkserver
import os
import random
import sys
import tempfile
import time
from pathlib import Path

from absl import app, flags
from tqdm import tqdm

from gatys_norm import cli, console, images, measuring, runs

DATA = Path(__file__).resolve().parent.parent / "data"
MARKERS = ("<!-- soak figures -->", "<!-- end of soak figures -->")
_KILLS = flags.DEFINE_integer("kills", 200, "how many runs to kill", lower_bound=1)
_WORKERS = flags.DEFINE_integer("workers", 2, "runs at a time", lower_bound=1)
_ITERATIONS = flags.DEFINE_integer("iterations", 300, "L-BFGS iterations of a run", lower_bound=2)
_UPDATE = flags.DEFINE_string("update", None, "a Markdown file to write the figures into")
_SEED = flags.DEFINE_integer("seed", 0, "seed of the moments")


def main(_):
    """Run the soak and print its figures as JSON."""
    if _UPDATE.value:
        try:
            measuring.update(Path(_UPDATE.value), MARKERS)
        except cli.InputError as error:
            print(f"soak.py: {error}", file=sys.stderr)
            sys.exit(cli.BAD_INPUT)
    # A server that has TensorFlow loaded forks each run: no run pays for the import.
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["gatys_norm.transfer"])
    with console.silent_stderr():
        multiprocessing.forkserver.ensure_running()
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        whole = Path(folder, "whole.png")
        seconds = _finish(context, whole)
        expected = images.load_picture(whole)
        shares = [_KILLS.value // _WORKERS.value] * _WORKERS.value
        shares[0] += _KILLS.value % _WORKERS.value
        soak = functools.partial(_soak, context, Path(folder), seconds, expected)
        with (
            tqdm(total=_KILLS.value, unit="kill") as bar,
            concurrent.futures.ThreadPoolExecutor(_WORKERS.value) as pool,
        ):
            tallies = list(pool.map(functools.partial(soak, bar), range(len(shares)), shares))
    figures = {name: sum(tally[name] for tally in tallies) for name in tallies[0]}
    figures["minutes"] = round((time.monotonic() - began) / 60, 1)
    print(json.dumps(figures))
    if _UPDATE.value:
        measuring.update(Path(_UPDATE.value), MARKERS, _table(figures))
    sys.exit(1 if figures["corrupt_files"] or figures["mismatches"] else 0)


def _table(figures):
    rows = [f"{name.replace('_', ' ')} | {value}" for name, value in figures.items()]
    return measuring.table("figure |", rows)


def _soak(context, folder, seconds, expected, bar, number, kills):
    """Kill `kills` runs, one transfer after another, and count what went wrong."""
    moments = random.Random(f"{_SEED.value} {number}")
    tally = {"kills_survived": 0, "transfers_finished": 0, "corrupt_files": 0, "mismatches": 0}
    while kills:
        output = folder / f"{number}-{tally['transfers_finished']}.png"
        while kills and not runs.record_path(output).exists():
            process = _start(context, output)
            process.join(moments.uniform(0, 1.2 * seconds))
            if process.is_alive():
                process.kill()
                process.join()
                kills -= 1
                bar.update()
                tally["kills_survived"] += 1
            tally["corrupt_files"] += _count_corrupt(output)
        _finish(context, output)
        tally["transfers_finished"] += 1
        tally["mismatches"] += not (images.load_picture(output) == expected).all()
    return tally


def _start(context, output):
    process = context.Process(target=_run, args=(str(output), _ITERATIONS.value))
    process.start()
    return process


def _finish(context, output):
    """Run or resume until the end, unless that has been reached; return the seconds it took."""
    began = time.monotonic()
    if not runs.record_path(output).exists():
        process = _start(context, output)
        process.join()
        if process.exitcode:
            said = output.with_suffix(".log").read_text()
            raise RuntimeError(f"a run that was not killed ended with {process.exitcode}: {said}")
    return time.monotonic() - began


def _run(output, iterations):
    """One run in its own process, resumed where there is a checkpoint."""
    log = os.open(Path(output).with_suffix(".log"), os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(log, 1)
    os.dup2(log, 2)
    arguments = [
        f"--content={DATA / 'river_town.jpg'}",
        f"--style={DATA / 'flowing_strokes.jpg'}",
        "--size=64",
        "--content_layers=conv1_2",  # a shallow network starts in a fraction of the time
        "--style_layers=conv1_1",
        f"--iterations={iterations}",
        "--checkpoint_every=1",
        f"--output={output}",
    ]
    if runs.checkpoint_path(output).exists():
        arguments.append("--resume")
    sys.exit(cli.run(["soak", *arguments]))


def _count_corrupt(output):
    """Count the files under their final names that cannot be read whole."""
    checks = {
        output: images.load_picture,
        runs.record_path(output): lambda path: json.loads(path.read_text()),
        runs.checkpoint_path(output): runs.load_checkpoint,
    }
    corrupt = 0
    for path, check in checks.items():
        try:
            check(path) if path.exists() else None
        except ValueError:
            corrupt += 1
    return corrupt


if __name__ == "__main__":
    app.run(main)
