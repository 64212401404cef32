"""Compare L-BFGS with Adam: the loss after as many evaluations, and the memory for it.

    python scripts/benchmarks/optimizers.py --update  # writes the tables of docs/optimizers.md

Writes results/optimizers.json (`--output`) and, beside it, the same as tables. Of the main
command's flags it takes --content, --style, --weights, --size and --iterations, of which Adam takes
one evaluation each.
"""

import dataclasses
import json
import os
import resource
import sys
from pathlib import Path

import report as measuring
from absl import flags
from tqdm import tqdm

from gatys_norm import files
from gatys_norm.cli import console, errors, loading, program
from gatys_norm.cli import flags as cli_flags

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "optimizers.md"
TAKEN = ("content", "style", "weights", "size", "iterations", "output", "flagfile")
LOSSES = ("normalized", "original")
LOG_EVERY = 5
CONTESTANTS = {
    "L-BFGS, 10 pairs": {},
    "L-BFGS, 2 pairs": {"history": 2},
    "Adam, steps of 1": {"optimizer": "adam", "learning_rate": 1.0},
    "Adam, steps of 3": {"optimizer": "adam", "learning_rate": 3.0},
    "Adam, steps of 10": {"optimizer": "adam", "learning_rate": 10.0},
    "Adam, steps of 30": {"optimizer": "adam", "learning_rate": 30.0},
}


def define_flags(values):
    """Add the flags of this program."""
    flags.DEFINE_bool("update", False, f"write the tables into {PAGE.name}", flag_values=values)


def compare(values):
    """Run every contestant with both losses and write the report."""
    load = os.getloadavg()[0]
    config = config_from_flags(values)
    output = measuring.report_path(values.output or "results/optimizers.json")
    machine = measuring.in_own_process(measuring.describe_machine, config.weights, load)
    markers = [f"<!-- {word} {machine['kind']} -->" for word in ("optimizers", "end optimizers")]
    if values.update:
        measuring.update(PAGE, markers)
    found = {loss: {} for loss in LOSSES}
    with tqdm(total=len(LOSSES) * len(CONTESTANTS), desc="transfers") as bar:
        for loss in LOSSES:
            for name, changes in CONTESTANTS.items():
                own = dataclasses.replace(
                    config, loss=loss, weights=machine["weights"], log_every=LOG_EVERY, **changes
                )
                found[loss][name] = measuring.in_own_process(run, own)
                bar.update()
    report = {"machine": machine, "settings": config.as_dict(), "runs": found}
    text = tables(report)
    contents = {output: json.dumps(report, indent=1), output.with_suffix(".md"): text + "\n"}
    files.write_together({path: content.encode() for path, content in contents.items()})
    print(text)
    if values.update:
        measuring.update(PAGE, markers, text)


def config_from_flags(values):
    """Return the settings that all contestants share."""
    cli_flags.take_only(TAKEN, values, "the contestants have their own")
    defaults = {
        "content": str(ROOT / "data" / "river_town.jpg"),
        "style": str(ROOT / "data" / "flowing_strokes.jpg"),
        "size": (256,),
        "iterations": (320,),
    }
    absent = {name: value for name, value in defaults.items() if not values[name].present}
    config = cli_flags.config_from_flags(values, **absent)
    if len(config.size) > 1:
        raise errors.InputError("--size: must be one size")
    return config


def run(config):
    """Run one transfer; returns its losses by evaluation and the memory that it took."""
    transfer = loading.start_tensorflow()
    kept = 0

    def note(progress):
        nonlocal kept
        kept = kept or sum(array.nbytes for array in progress.checkpoint().arrays.values())

    with errors.refusing(*transfer.INPUT_ERRORS):
        result = transfer.stylize(config, note)
    height, width, _ = result.image.shape
    return {
        "status": result.record["status"],
        "rows": [[row["evaluations"], row["loss"]] for row in result.record["history"]],
        "kept_bytes_per_pixel": kept / (height * width),
        "peak_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }


def loss_after(rows, evaluations):
    """Return the last logged loss of at most so many evaluations."""
    return [loss for count, loss in rows if count <= evaluations][-1]


def tables(report):
    """Return the report as Markdown."""
    settings = report["settings"]
    most = settings["iterations"][0]
    counts = sorted({max(1, most // divisor) for divisor in (8, 4, 2, 1)})
    titles = "optimiser | " + " | ".join(f"after {count}" for count in counts)
    titles += " | kept, bytes a pixel | peak of the process, MiB"
    parts = [measuring.machine_line(report["machine"])]
    for loss in LOSSES:
        lines = []
        for name, found in report["runs"][loss].items():
            losses = [f"{loss_after(found['rows'], count):.4g}" for count in counts]
            memory = [f"{found['kept_bytes_per_pixel']:.0f}", f"{found['peak_mib']:.0f}"]
            lines.append(" | ".join([name, *losses, *memory]))
        parts.append(
            f"The {loss} loss at {settings['size'][0]} px after so many evaluations of it:"
        )
        parts.append(measuring.table(titles, lines))
    return "\n\n".join(parts)


if __name__ == "__main__":
    console.leave(program.call(__doc__, compare, sys.argv, define_flags))
