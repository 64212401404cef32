"""Compare L-BFGS with Adam: the loss after equal numbers of evaluations, and the memory.

    python scripts/benchmarks/optimizers.py --update  # writes the tables of docs/optimizers.md

Writes results/optimizers.json (`--output`) and, next to it, the same as tables. Of the flags of a
transfer it has --content, --style, --weights, --size and --iterations; Adam needs one evaluation
per iteration.
"""

import dataclasses
import resource
import sys

import report as benchmark_report

from gatys_norm.cli import console, errors, loading, program
from gatys_norm.config import PAPER_LOSSES

PAGE = benchmark_report.ROOT / "docs" / "optimizers.md"
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
    benchmark_report.define_update(values, [PAGE])


def compare(values):
    """Run every contestant with both losses and write the report."""
    config = benchmark_report.config_from_flags(
        values, size=256, iterations=320, log_every=LOG_EVERY
    )
    destination, machine = benchmark_report.prepare(values, "optimizers", [PAGE], config.weights)
    config = dataclasses.replace(config, weights=machine["weights"])
    runs = {loss: {} for loss in PAPER_LOSSES}
    with benchmark_report.progress_bar("transfers", len(PAPER_LOSSES) * len(CONTESTANTS)) as bar:
        for loss in PAPER_LOSSES:
            for name, changes in CONTESTANTS.items():
                contestant = dataclasses.replace(config, loss=loss, **changes)
                runs[loss][name] = benchmark_report.in_own_process(run, contestant)
                bar.update()
    report = {"machine": machine, "settings": config.as_dict(), "runs": runs}
    text = tables(report)
    benchmark_report.finish(destination, report, text)


def run(config):
    """Run one transfer; return its losses by evaluation, and the memory that it used."""
    transfer = loading.start_tensorflow()
    stored = 0

    def note(progress):
        nonlocal stored
        arrays = progress.checkpoint(copy=False).arrays
        stored = stored or sum(array.nbytes for array in arrays.values())

    with errors.refusing(*transfer.INPUT_ERRORS):
        result = transfer.stylize(config, note)
    height, width, _ = result.image.shape
    return {
        "status": result.record["status"],
        "rows": [[row["evaluations"], row["loss"]] for row in result.record["history"]],
        "stored_bytes_per_pixel": stored / (height * width),
        "peak_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }


def loss_after(rows, evaluations):
    """Return the last logged loss of at most this number of evaluations."""
    return [loss for count, loss in rows if count <= evaluations][-1]


def tables(report):
    """Return the report as Markdown."""
    settings = report["settings"]
    most = settings["iterations"][0]
    counts = sorted({max(1, most // divisor) for divisor in (8, 4, 2, 1)})
    titles = "optimizer | " + " | ".join(f"after {count}" for count in counts)
    titles += " | stored, bytes per pixel | peak of the process, MiB"
    parts = [benchmark_report.machine_line(report["machine"])]
    for loss in PAPER_LOSSES:
        lines = []
        for name, outcome in report["runs"][loss].items():
            losses = [f"{loss_after(outcome['rows'], count):.4g}" for count in counts]
            memory = [f"{outcome['stored_bytes_per_pixel']:.0f}", f"{outcome['peak_mib']:.0f}"]
            lines.append(" | ".join([name, *losses, *memory]))
        parts.append(
            f"The {loss} loss at {settings['size'][0]} px after so many evaluations of it:"
        )
        parts.append(benchmark_report.table(titles, lines))
    return "\n\n".join(parts)


if __name__ == "__main__":
    console.leave(program.call(__doc__, compare, sys.argv, define_flags))
