"""Compare with pastiche, another program: times of the whole programs, losses, and pictures.

    python scripts/benchmarks/whole_program.py --size=128 --iterations=20  # a minute
    python scripts/benchmarks/whole_program.py --update                    # for the docs

Both programs get the same two pictures, of the result's shape, and minimize the same loss: pastiche
with its defaults, this program with these converted by docs/coming-from.md. Writes
results/pastiche.json (`--output`) and, next to it, the same as a table. Of the flags of a transfer
it has --content, --style, --size and --iterations.
"""

import dataclasses
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

import numpy as np
import peer_process
import report as benchmark_report
from absl import flags

from gatys_norm.cli import console, errors, program
from gatys_norm.cli import flags as cli_flags
from gatys_norm.images import inputs as picture_inputs
from gatys_norm.images import io as picture_io
from gatys_norm.images import sizes
from gatys_norm.text import NOTHING

PAGE = benchmark_report.ROOT / "docs" / "coming-from.md"
WEIGHTS = "imagenet-8bit"  # those that pastiche contains
CHANNELS = (64, 128, 256, 512, 512)  # of the style layers
CONTENT_CHANNELS = 512
AGREEMENT = 1e-5  # relative, between the first losses; both are sums in float32
FEWER_PAIRS = 9  # instead of 10: what so small a change does to the picture
THEIRS, OURS, TO_THEIR_LOSS = "pastiche", "this program", "this program, to the loss of pastiche"
OURS_CHANGED = f"this program, with {FEWER_PAIRS} correction pairs"
COLUMNS = ("steps", "loss", "seconds", "cpu_seconds")
PROGRAMS = (THEIRS, OURS, OURS_CHANGED, TO_THEIR_LOSS)
PAIRS = ((THEIRS, OURS), (OURS_CHANGED, OURS), (THEIRS, "content"), (OURS, "content"))


def define_flags(values):
    """Add the flags of this program."""
    explanation = "rounds, of which medians are taken"
    flags.DEFINE_integer("rounds", 1, explanation, lower_bound=1, flag_values=values)
    peer_process.define_folder(values)
    benchmark_report.define_update(values, [PAGE])


def compare(values):
    """Run both programs and write the report."""
    cli_flags.refuse_flags(("weights",), values, "pastiche has its own")
    config = benchmark_report.config_from_flags(values, size=512, iterations=150, weights=WEIGHTS)
    peer_process.check_one_style(config)
    with errors.refusing(picture_io.PictureError):
        loaded = picture_inputs.load(config)
    content = picture_inputs.resized(config, loaded, config.size[0]).content
    style = in_shape(loaded.pictures.styles[0], *content.shape[:2])
    destination, machine = benchmark_report.prepare(values, "pastiche", [PAGE], WEIGHTS)
    python = peer_process.install(Path(values.peer_dir))
    rounds = []
    for number in range(1, values.rounds + 1):
        benchmark_report.say(f"round {number} of {values.rounds}")
        with tempfile.TemporaryDirectory() as folder:
            rounds.append(run_both(config, content, style, python, Path(folder)))
    report = {"machine": machine, "settings": config.as_dict(), "rounds": rounds}
    benchmark_report.finish(destination, report, all_tables(report))


def converted(height, width):
    """Return the settings that equal pastiche's defaults, for a picture of `height` × `width`."""
    positions = (height // 8) * (width // 8)  # of block 4
    return {
        "loss": "original",
        "content_layers": ("relu4_2",),
        "style_layers": tuple(f"relu{block}_1" for block in range(1, 6)),
        "lambda_os": 0.02 / (CONTENT_CHANNELS * positions),
        "style_weights": tuple(40 / count**2 for count in CHANNELS),
    }


def in_shape(image, height, width):
    """Return the middle of a picture, resized to `height` × `width`.

    Only with the shape of the content has a style the same number of positions in every layer, by
    which pastiche divides.
    """
    tall, wide = image.shape[:2]
    scale = min(tall / height, wide / width)
    rows, columns = round(height * scale), round(width * scale)
    top, left = (tall - rows) // 2, (wide - columns) // 2
    return sizes.resize(image[top : top + rows, left : left + columns], height, width)


def run_both(config, content, style, python, folder):
    """Run pastiche, this program for as many steps, twice, and to the loss of pastiche.

    Args:
      config: `TransferConfig` with the paths, the size and the number of steps.
      content, style: the pictures, H × W × 3.
      python: path of the Python that has pastiche.
      folder: an empty folder.

    Returns:
      {"programs": {name: {key of `COLUMNS`: value; None where the loss of pastiche was not
      reached}}, "first_losses": {name: loss}, "rms": [RMS difference of each of `PAIRS`, in grey
      levels]}.
    """
    paths = {name: folder / f"{name}.png" for name in ("content", "style", *PROGRAMS)}
    picture_io.save_picture(paths["content"], content)
    picture_io.save_picture(paths["style"], style)
    theirs = run_pastiche(python, paths, config.size[0], config.iterations[0])
    same = dataclasses.replace(
        config,
        **converted(*content.shape[:2]),
        content=str(paths["content"]),
        style=(str(paths["style"]),),
        log_every=1,
    )
    ours = run_ours(same, paths[OURS])
    first_losses = {THEIRS: theirs["first_loss"], OURS: ours["first_loss"]}
    check_agreement(first_losses)
    changed = run_ours(dataclasses.replace(same, history=FEWER_PAIRS), paths[OURS_CHANGED])
    to_their_loss = run_to(theirs["loss"], ours["losses"], same, paths[TO_THEIR_LOSS])
    runs = zip(PROGRAMS, (theirs, ours, changed, to_their_loss), strict=True)
    images = {name: picture_io.load_picture(paths[name]) for name in {*sum(PAIRS, ())}}
    return {
        "programs": {name: {key: run[key] for key in COLUMNS} for name, run in runs},
        "first_losses": first_losses,
        "rms": [rms(images[first], images[second]) for first, second in PAIRS],
    }


def run_pastiche(python, paths, size, steps):
    """Run pastiche; its loss of a step is the one before the step."""
    words = [f"--size={size}", f"--style-size={size}", f"--num-steps={steps}"]
    words += ["--info-step=1", "--seed=0", f"--content={paths['content']}"]
    words += [f"--output={paths[THEIRS]}", "--styles", str(paths["style"])]
    command = [python, "-m", "pastiche", *words]
    times, printed = run_timed(command, peer_process.environment())
    losses = losses_printed(printed)
    return {"steps": steps, "first_loss": losses[0], "loss": losses[-1], **times}


def losses_printed(text):
    """Return the losses in what pastiche prints: lines of step, seconds and loss, after a ruler."""
    lines = [line.split() for line in text.splitlines()]
    return [float(words[2]) for words in lines if len(words) == 3 and words[0].isdecimal()]


def run_ours(config, output):
    """Run this program with the settings of `config`."""
    settings = {
        name: ",".join(map(str, value)) if isinstance(value, list | tuple) else value
        for name, value in config.as_dict().items()
        if value is not None
    }
    words = [f"--{name}={value}" for name, value in settings.items()]
    command = [sys.executable, "-m", "gatys_norm", *words, f"--output={output}"]
    times, _ = run_timed(command, None)
    record = json.loads(output.with_suffix(".json").read_text(encoding="utf-8"))
    return {
        "steps": record["iterations"],
        "first_loss": record["loss"]["initial"],
        "loss": record["loss"]["final"],
        "losses": {row["iteration"]: row["loss"] for row in record["history"]},
        **times,
    }


def run_to(loss, losses, config, output):
    """Run this program for as many steps as it needs to a loss, at most twice those of a run.

    Args:
      loss: the loss.
      losses: {step: loss} of the run.
      config: its settings.
      output: path of the picture.
    """
    if min(losses.values()) > loss:
        longer = dataclasses.replace(config, iterations=(2 * config.iterations[0],))
        losses = run_ours(longer, output)["losses"]
    step = next((step for step, reached in losses.items() if reached <= loss), None)
    if step is None:
        return dict.fromkeys(COLUMNS)
    return run_ours(dataclasses.replace(config, iterations=(step,)), output)


def run_timed(command, environment):
    """Run a command; return its seconds and CPU seconds, and what it printed.

    Raises:
      RuntimeError: it failed.
    """
    used, began = _cpu_seconds_of_children(), time.monotonic()
    finished = subprocess.run(command, capture_output=True, text=True, env=environment)
    seconds = time.monotonic() - began
    if finished.returncode:
        last_line = finished.stderr.strip().splitlines()[-1:]
        raise RuntimeError(f"{command[2]} ended with {finished.returncode}: {' '.join(last_line)}")
    return {
        "seconds": seconds,
        "cpu_seconds": _cpu_seconds_of_children() - used,
    }, finished.stdout


def _cpu_seconds_of_children():
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def relative_difference(first_losses):
    """Return the relative difference of the first losses."""
    return abs(first_losses[OURS] / first_losses[THEIRS] - 1)


def check_agreement(first_losses):
    """Raise `RuntimeError` if the programs do not minimize the same loss."""
    if relative_difference(first_losses) > AGREEMENT:
        raise RuntimeError(
            f"the first loss is {first_losses[THEIRS]} in pastiche and {first_losses[OURS]} here"
        )


def rms(first, second):
    """Return the root of the mean squared difference of two pictures, in grey levels."""
    return float(np.sqrt(np.mean(np.square(first - second))))


def all_tables(report):
    """Return the report as Markdown."""
    rounds, settings = report["rounds"], report["settings"]
    programs = [single["programs"] for single in rounds]
    lines = []
    for name in PROGRAMS:
        first = programs[0][name]
        if first["loss"] is None:
            lines.append(f"{name} | not reached" + f" | {NOTHING}" * 5)
            continue
        line = f"{name} | {first['steps']} | {first['loss']:.5g}"
        for key in ("seconds", "cpu_seconds"):
            ratio = median(single[THEIRS][key] / single[name][key] for single in programs)
            line += f" | {median(single[name][key] for single in programs):.1f} | {ratio:.2f}"
        lines.append(line)
    first_losses, differences = rounds[0]["first_losses"], rounds[0]["rms"]
    between, changed, *from_content = (f"{difference:.1f}" for difference in differences)
    text = (
        f"pastiche {peer_process.PASTICHE} with its defaults at {settings['size'][0]} px, and this "
        f"program with the converted ones; medians of {len(rounds)} rounds. The first losses are "
        f"{first_losses[THEIRS]:.10g} and {first_losses[OURS]:.10g}, which differ by "
        f"{relative_difference(first_losses):.1e} of them. After {settings['iterations'][0]} steps "
        f"the two pictures differ by {between} grey levels RMS; from the content they differ by "
        f"{' and '.join(from_content)}, and two pictures of this program, with 10 and with "
        f"{FEWER_PAIRS} correction pairs, by {changed}."
    )
    titles = "program | steps | last loss | s | times as fast | CPU s | times as fast"
    torch = f"torch {peer_process.TORCH}"
    machine_line = benchmark_report.machine_line(report["machine"], torch)
    return "\n\n".join([machine_line, text, benchmark_report.table(titles, lines)])


if __name__ == "__main__":
    console.leave(program.call(__doc__, compare, sys.argv, define_flags))
