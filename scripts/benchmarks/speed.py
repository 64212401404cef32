"""Measure the speed of one evaluation of the loss, and compare it with PyTorch's.

    python scripts/benchmarks/speed.py --quick          # a minute
    python scripts/benchmarks/speed.py --peer --update  # all, and the tables of the docs

Writes results/speed.json (`--output`) and, next to it, the same as tables. Of the flags of a
transfer it has --content, --style and --weights.
"""

import dataclasses
import functools
import sys
from pathlib import Path

import against_pytorch
import evaluations
import peer_process
import report as benchmark_report
import speed_tables
from absl import flags

from gatys_norm.cli import console, program
from gatys_norm.cli import flags as cli_flags

PAGE = benchmark_report.ROOT / "docs" / "performance.md"
FULL = {"sizes": (128, 192, 256, 384, 512, 768, 1024), "rounds": 7}
QUICK = {"sizes": (128, 256, 384), "rounds": 3}


def define_flags(values):
    """Add the flags of this program."""
    flags.DEFINE_list("sizes", None, "long sides to time single evaluations at", values)
    flags.DEFINE_list("peer_sizes", ["256", "512"], "those to compare with PyTorch at", values)
    explanation = "rounds of timings, of which medians are taken"
    flags.DEFINE_integer("rounds", None, explanation, lower_bound=1, flag_values=values)
    switch = functools.partial(flags.DEFINE_bool, default=False, flag_values=values)
    switch("quick", help="fewer sizes and rounds")
    switch("peer", help=f"compare with PyTorch {peer_process.TORCH}")
    peer_process.define_folder(values)
    benchmark_report.define_update(values, [PAGE])


def benchmark(values):
    """Measure everything and write the report."""
    default = QUICK if values.quick else FULL
    reason = "see --sizes and --peer_sizes"
    cli_flags.refuse_flags(("size", "iterations"), values, reason)
    config = benchmark_report.config_from_flags(values, size=512, iterations=1)
    sizes = benchmark_report.sizes_from_flag("sizes", values.sizes or default["sizes"], config)
    peer_sizes = benchmark_report.sizes_from_flag("peer_sizes", values.peer_sizes, config)
    rounds = values.rounds or default["rounds"]
    if values.peer:
        peer_process.check_one_style(config)
    destination, machine = benchmark_report.prepare(values, "speed", [PAGE], config.weights)
    config = dataclasses.replace(config, weights=machine["weights"])
    precisions = benchmark_report.precisions(machine)
    python = peer_process.install(Path(values.peer_dir)) if values.peer else None
    plan = evaluations.Plan(config, sizes, rounds, precisions)
    report = {
        "machine": machine,
        "settings": config.as_dict() | {"sizes": sizes, "rounds": rounds},
        "single": single_evaluations(plan),
        "peer": python and against_pytorch.measure(config, peer_sizes, rounds, precisions, python),
    }
    benchmark_report.finish(destination, report, speed_tables.all_tables(report))


def single_evaluations(plan):
    """Time evaluations at all sizes; return their rows, the matrix products, and the growth."""
    benchmark_report.say(f"single evaluations at {', '.join(map(str, plan.sizes))} px")
    measured = benchmark_report.in_own_process(evaluations.measure, plan)
    rounds = measured["rounds"]
    rows = [evaluations.size_row(rounds, facts, plan.precisions) for facts in measured["sizes"]]
    products = {precision: f"matmul {precision}" for precision in plan.precisions}
    return {
        "matmul": {
            precision: evaluations.timing(rounds, name, name)
            for precision, name in products.items()
        },
        "sizes": rows,
        "growth": {precision: evaluations.growth(rows, precision) for precision in plan.precisions},
        "rounds": rounds,
    }


if __name__ == "__main__":
    console.leave(program.call(__doc__, benchmark, sys.argv, define_flags))
