"""Measure how far a result at full size is from the small one with the same settings.

    python scripts/benchmarks/print_sizes.py --update

Every style is transferred with several λ_os and with both losses, small and large, as `gatys-norm
explore` and the commands on its page do. Writes results/print_sizes.json (`--output`), the same as
a table, and the pictures into a folder next to them; those that are finished there are not computed
again. Of the flags of a transfer it has --content, --weights, --size and --iterations; the other
settings are the fast preset's.
"""

import dataclasses
import itertools
import statistics
import sys
from pathlib import Path

import report as benchmark_report
from absl import flags

from gatys_norm.cli import console, errors, program
from gatys_norm.cli import flags as cli_flags
from gatys_norm.config import (
    PAPER_LOSSES,
    PRESETS,
    SIZE_RANGE,
    ConfigError,
    preset_without_iterations,
)
from gatys_norm.experiments.explore import DEFAULT_LAMBDAS
from gatys_norm.experiments.statistics import MEASURES, mean_over_layers

PAGE = benchmark_report.ROOT / "docs" / "usage.md"
FULL_SIZE = 512
TITLES = "loss | style | λ_os | " + " | ".join(
    f"{label}, small | large | change" for label in MEASURES.values()
)


def define_flags(values):
    """Add the flags of this program."""
    benchmark_report.define_styles(values)
    flags.DEFINE_integer(
        "full_size", FULL_SIZE, "long side of the large results", *SIZE_RANGE, values
    )
    benchmark_report.define_update(values, [PAGE])


def benchmark(values):
    """Measure everything and write the report."""
    cli_flags.refuse_flags(("style",), values, "see --styles")
    fast = preset_without_iterations("fast")
    (iterations,) = PRESETS["fast"]["iterations"]
    config = benchmark_report.config_from_flags(values, size=192, iterations=iterations, **fast)
    with errors.refusing(ConfigError, prefix="--styles, --full_size: "):
        pairs = cells(
            config, cli_flags.expanded(cli_flags.required(values, "styles")), values.full_size
        )
    destination, machine = benchmark_report.prepare(values, "print_sizes", [PAGE], config.weights)
    pairs = [benchmark_report.with_weights(pair, machine) for pair in pairs]
    folder = destination.output.with_suffix("")
    measured = benchmark_report.in_own_process(measure, pairs, folder)
    settings = config.as_dict() | {"full_size": values.full_size}
    report = {"machine": machine, "settings": settings, "cells": measured}
    benchmark_report.finish(destination, report, tables(report))


def cells(config, styles, full_size):
    """Return the settings of each cell: (small, large)."""
    return [
        tuple(
            dataclasses.replace(config, loss=loss, style=(style,), lambda_os=lambda_os, size=size)
            for size in (config.size, (full_size,))
        )
        for loss in PAPER_LOSSES
        for style, lambda_os in itertools.product(styles, DEFAULT_LAMBDAS[loss])
    ]


def measure(pairs, folder):
    """Run the transfers that are not finished in a folder, and return the facts of each cell."""
    results = benchmark_report.finished_transfers([*itertools.chain(*pairs)], folder)
    return [facts(pair, [results[config].record["metrics"] for config in pair]) for pair in pairs]


def facts(pair, metrics):
    """Return the facts of a cell: its settings, and each measure, small and large."""
    small, _ = pair
    return {
        "loss": small.loss,
        "style": Path(small.style[0]).stem,
        "lambda_os": small.lambda_os,
        **{name: [mean_over_layers(one, name) for one in metrics] for name in MEASURES},
    }


def tables(report):
    """Return the report as Markdown."""
    settings = report["settings"]
    return "\n\n".join(
        [
            benchmark_report.machine_line(report["machine"]),
            f"Small is {settings['size'][-1]} px, large {settings['full_size']} px; "
            f"{settings['iterations'][-1]} iterations of each.",
            benchmark_report.table(TITLES, map(row, report["cells"])),
            conclusion(report["cells"]),
        ]
    )


def row(cell):
    """Return a row of the table."""
    numbers = []
    for name in MEASURES:
        small, large = cell[name]
        numbers += [f"{small:.3f}", f"{large:.3f}", f"{large - small:+.3f}"]
    return " | ".join([cell["loss"], cell["style"], f"{cell['lambda_os']:g}", *numbers])


def conclusion(cells):
    """Return the sentence that says how large the changes are with each loss."""
    parts = []
    for loss, (name, label) in itertools.product(PAPER_LOSSES, MEASURES.items()):
        changes = [abs(cell[name][1] - cell[name][0]) for cell in cells if cell["loss"] == loss]
        parts.append(f"{label}, {loss} {statistics.mean(changes):.3f}")
    return f"Mean change from small to large: {'; '.join(parts)}."


if __name__ == "__main__":
    console.leave(program.call(__doc__, benchmark, sys.argv, define_flags))
