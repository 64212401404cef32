"""Kill runs at random moments, resume them, and compare with a run that was never stopped.

    python scripts/benchmarks/kills.py --kills=200

Transfers of 32 pixels through a network of two layers, with a checkpoint after every iteration, are
killed with SIGKILL, again and again, and resumed until they end. Most moments are spread evenly
over the time that the run would take; at the others it is writing a checkpoint or its result.
Prints how many kills hit a run before its first checkpoint, after one, and while it was writing a
file; how many corrupt files had their final names; and how many pictures differ from the one of the
uninterrupted run.
"""

import concurrent.futures
import copy
import functools
import json
import math
import multiprocessing
import multiprocessing.forkserver
import os
import random
import shutil
import sys
import tempfile
import time
import types
from pathlib import Path

import numpy as np
import report as benchmark_report
from absl import flags

from gatys_norm.cli import console, errors, program
from gatys_norm.cli import flags as cli_flags
from gatys_norm.cli import main as cli
from gatys_norm.images import io as picture_io
from gatys_norm.runs import checkpoint as checkpoints
from gatys_norm.runs import folder as run_folder

DATA = benchmark_report.ROOT / "data"
MARKERS = ("<!-- soak figures -->", "<!-- end of soak figures -->")
SETTINGS = (
    f"--content={DATA / 'river_town.jpg'}",
    f"--style={DATA / 'flowing_strokes.jpg'}",
    "--size=32",
    "--content_layers=conv1_2",
    "--style_layers=conv1_1",
    "--checkpoint_every=1",
)
PRELOADED = ("gatys_norm.transfer", "keras", "tqdm", "PIL.PngImagePlugin")
LOOK_SECONDS = 0.002  # time between two looks at the files of a run
AT_A_FILE = 0.3  # share of the kills that wait until a file is being written
TALLIED = (
    *("kills_survived", "kills_before_a_checkpoint", "kills_after_a_checkpoint"),
    *("kills_amid_a_file", "transfers_finished", "corrupt_files", "mismatches"),
)


def define_flags(values):
    """Add the flags of this program, which has none of the flags of a transfer."""
    for name, default, least, explanation in (
        ("kills", 200, 1, "how many runs to kill"),
        ("workers", 2, 1, "runs at a time"),
        ("iterations", 12, 2, "L-BFGS iterations of a run"),
        ("seed", 0, 0, "seed of the moments"),
    ):
        flags.DEFINE_integer(name, default, explanation, least, flag_values=values)
    explanation = "a Markdown file to write the figures into"
    cli_flags.define_path("update", None, explanation, values)


def soak(values):
    """Kill runs and print the figures as JSON; return the exit code."""
    if values.update:
        benchmark_report.update(Path(values.update), MARKERS)
    began = time.monotonic()
    with (
        tempfile.TemporaryDirectory() as folder,
        concurrent.futures.ThreadPoolExecutor(values.workers) as pool,
        benchmark_report.progress_bar("kills", values.kills) as bar,
    ):
        start = functools.partial(start_run, prepare_server(), values.iterations)
        whole = Path(folder, "whole", "out.png")
        pace = Pace(values.iterations)
        finish(start, whole, pace)
        expected = picture_io.load_picture(whole)

        def work(number):
            kills = len(range(number, values.kills, values.workers))
            moments = random.Random(f"{values.seed} {number}")
            worker_folder = Path(folder, str(number))
            return kill_and_resume(
                start, worker_folder, kills, moments, copy.copy(pace), expected, bar
            )

        tallies = list(pool.map(work, range(values.workers)))
    figures = {name: sum(tally[name] for tally in tallies) for name in TALLIED}
    figures["minutes"] = round((time.monotonic() - began) / 60, 1)
    print(json.dumps(figures))
    if values.update:
        benchmark_report.update(Path(values.update), MARKERS, table(figures))
    return errors.FAILED if figures["corrupt_files"] or figures["mismatches"] else 0


def table(figures):
    """Return the figures as a Markdown table."""
    rows = [f"{name.replace('_', ' ')} | {value}" for name, value in figures.items()]
    return benchmark_report.table("figure |", rows)


def prepare_server():
    """Return a context whose processes are forked with TensorFlow loaded but not started."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(list(PRELOADED))
    with console.silent_stderr():
        multiprocessing.forkserver.ensure_running()
    return context


def kill_and_resume(start, folder, kills, moments, pace, expected, bar):
    """Kill `kills` runs, one transfer after another, and count the outcomes.

    Args:
      start: called with the path of a picture; starts or resumes the run that makes it.
      folder: folder for all files.
      kills: how many runs to kill.
      moments: `random.Random`.
      pace: `Pace`.
      expected: picture that every transfer must give.
      bar: progress bar.

    Returns:
      {name of `TALLIED`: count}.
    """
    tally = dict.fromkeys(TALLIED, 0)
    while tally["kills_survived"] < kills:
        output = folder / str(tally["transfers_finished"]) / "out.png"
        while tally["kills_survived"] < kills and not run_folder.record_path(output).exists():
            before, leftovers = stamp(output), half_files(output)
            iterations = pace.iterations_left(output)
            at_a_file = moments.random() < AT_A_FILE
            checkpoint_count, delay = pace.split(moments.uniform(0, pace.seconds(iterations)))
            process = start(output)
            pace.watch(
                process,
                output,
                moments.randint(0, iterations) if at_a_file else checkpoint_count,
            )
            if at_a_file:
                while process.is_alive() and half_files(output) <= leftovers:
                    process.join(LOOK_SECONDS)
            else:
                process.join(delay)
            process.kill()
            process.join()
            if not run_folder.record_path(output).exists():
                is_early = stamp(output) == before
                tally["kills_survived"] += 1
                tally["kills_before_a_checkpoint"] += is_early
                tally["kills_after_a_checkpoint"] += not is_early
                tally["kills_amid_a_file"] += not half_files(output) <= leftovers
                bar.update()
            tally["corrupt_files"] += count_corrupt(output)
        finish(start, output, pace)
        tally["transfers_finished"] += 1
        tally["mismatches"] += not np.array_equal(picture_io.load_picture(output), expected)
        shutil.rmtree(output.parent)
    return tally


class Pace:
    """The present speed of a run, measured by the times of its checkpoints.

    A moment is given as a number of checkpoints and the time since the last of them, so that it is
    at the right place of a run, however fast the machine is.
    """

    def __init__(self, iterations):
        self.iterations = iterations
        self.start_seconds = 0.0  # to the first checkpoint
        self.iteration_seconds = 0.0

    def iterations_left(self, output):
        """Return the number of iterations that the run of `output` still has to do."""
        path = run_folder.checkpoint_path(output)
        iterations_done = checkpoints.load(path)[1]["iterations"] if path.exists() else 0
        return self.iterations - iterations_done

    def seconds(self, iterations):
        """Return the estimated time of a run, whose end takes about as long as an iteration."""
        return self.start_seconds + self.iteration_seconds * iterations

    def split(self, moment):
        """Return the number of checkpoints until a moment, and the seconds since the last one."""
        after_start = moment - self.start_seconds
        if after_start < 0:
            return 0, moment
        return 1 + int(after_start // self.iteration_seconds), after_start % self.iteration_seconds

    def watch(self, process, output, checkpoint_count=math.inf):
        """Wait until a run has written a number of checkpoints, or has ended."""
        moments, last = [time.monotonic()], stamp(output)
        while len(moments) <= checkpoint_count and process.is_alive():
            process.join(LOOK_SECONDS)
            if stamp(output) not in (last, None):
                moments.append(time.monotonic())
                last = stamp(output)
        steps = np.diff(moments)
        if len(steps) > 0:
            self.start_seconds = float(steps[0])
        if len(steps) > 1:
            self.iteration_seconds = float(steps[1:].mean())


def stamp(output):
    """Return a value that differs between checkpoints of a run; None if there is none."""
    try:
        status = run_folder.checkpoint_path(output).stat()
    except FileNotFoundError:
        return None
    return status.st_ino, status.st_mtime_ns


def half_files(output):
    """Return the paths of files that do not have their final names yet."""
    return set(output.parent.glob("*.tmp"))


def finish(start, output, pace):
    """Run or resume a transfer until its end, unless it is finished."""
    if run_folder.record_path(output).exists():
        return
    process = start(output)
    pace.watch(process, output)
    process.join()
    if process.exitcode:
        log = output.with_suffix(".log").read_text()
        raise RuntimeError(f"a run that was not killed ended with {process.exitcode}: {log}")


def start_run(context, iterations, output):
    """Start the run that makes a picture, or resume it."""
    output.parent.mkdir(parents=True, exist_ok=True)
    process = context.Process(target=run, args=(str(output), iterations))
    process.start()
    return process


def run(output, iterations):
    """Run one transfer in its own process; resume it if there is a checkpoint."""
    log = os.open(Path(output).with_suffix(".log"), os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(log, 1)
    os.dup2(log, 2)
    make_cheap()
    weights = Path(output).with_suffix(".h5")
    weights.touch()
    arguments = [*SETTINGS, f"--iterations={iterations}", f"--weights={weights}"]
    if run_folder.checkpoint_path(output).exists():
        arguments.append("--resume")
    sys.exit(cli.run(["soak", *arguments, f"--output={output}"]))


def make_cheap():
    """Make transfers use a small network and no tracing, which are not tested here."""
    import tensorflow as tf

    from gatys_norm.network import vgg

    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    tf.config.run_functions_eagerly(True)
    vgg.load_model = lambda _file: small_model()


def small_model():
    """Return a replacement of VGG-19: two convolutions with four channels each."""
    generator = np.random.default_rng(0)
    bias = np.zeros(4, np.float32)
    kernels = [generator.normal(0, 0.3, (3, 3, inputs, 4)).astype(np.float32) for inputs in (3, 4)]
    layers = [
        types.SimpleNamespace(name=f"block1_conv{number}", kernel=kernel, bias=bias)
        for number, kernel in enumerate(kernels, start=1)
    ]
    return types.SimpleNamespace(layers=layers)


def count_corrupt(output):
    """Count the files under their final names that cannot be read whole."""
    checks = {
        output: picture_io.load_picture,
        run_folder.record_path(output): lambda path: json.loads(path.read_text()),
        run_folder.checkpoint_path(output): checkpoints.load,
    }
    corrupt = 0
    for path, check in checks.items():
        try:
            check(path) if path.exists() else None
        except ValueError:
            corrupt += 1
    return corrupt


if __name__ == "__main__":
    console.leave(program.call(__doc__, soak, sys.argv, define_flags, flags.FlagValues()))
