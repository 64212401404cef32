"""Measure the speed: evaluations of the loss, both line searches, and transfers to a fixed loss.

    python scripts/benchmarks/speed.py --quick          # some two minutes
    python scripts/benchmarks/speed.py --peer --update  # all, and the tables of the docs

Writes results/benchmark.json (`--output`) and, next to it, the same as tables. Of the flags of a
transfer it has --content, --style, --weights, --size and --iterations; the last one is for the run
of the paper preset, and the run of the fast preset has proportionally fewer. The fixed loss is the
larger one of the last losses of both presets.
"""

import dataclasses
import functools
import sys
import tempfile
from pathlib import Path
from statistics import median

import evaluations
import peer_process
import report as benchmark_report
import speed_tables
import transfers
from absl import flags
from speed_plan import PRECISIONS, Plan, say

from gatys_norm.cli import console, errors, program
from gatys_norm.cli import flags as cli_flags
from gatys_norm.config import ConfigError

PAGE = benchmark_report.ROOT / "docs" / "performance.md"
FULL = {"sizes": (128, 192, 256, 384, 512, 768, 1024), "rounds": 7, "size": 512, "iterations": 600}
QUICK = {"sizes": (128, 256, 384), "rounds": 3, "size": 128, "iterations": 40}
LOG_EVERY = 5


def define_flags(values):
    """Add the flags of this program."""
    count = functools.partial(flags.DEFINE_integer, lower_bound=1, flag_values=values)
    switch = functools.partial(flags.DEFINE_bool, default=False, flag_values=values)
    flags.DEFINE_list("sizes", None, "long sides to time single evaluations at", values)
    count("rounds", None, "rounds of timings, of which medians are taken")
    count("repeats", 1, "runs of each contestant to the fixed loss")
    switch("quick", help="less of everything, for some two minutes")
    switch(
        "peer",
        help=f"compare with PyTorch {peer_process.TORCH}, which pip installs into --peer_dir",
    )
    cli_flags.define_path("peer_dir", "results/peer", "virtual environment of --peer", values)
    benchmark_report.define_update(values, [PAGE])


def benchmark(values):
    """Measure everything and write the report."""
    plan = plan_from_flags(values)
    destination, machine = benchmark_report.prepare(
        values, "benchmark", [PAGE], plan.config.weights
    )
    plan = plan._replace(
        config=dataclasses.replace(plan.config, weights=machine["weights"]),
        peer_python=peer_process.install(Path(values.peer_dir)) if values.peer else None,
    )
    report = {"machine": machine} | measure(plan)
    tables = speed_tables.all_tables(report)
    benchmark_report.finish(destination, report, tables)


def plan_from_flags(values):
    """Return the `Plan` that the flags describe."""
    default = QUICK if values.quick else FULL
    config = benchmark_report.config_from_flags(
        values, default["size"], default["iterations"], log_every=LOG_EVERY
    )
    sizes = cli_flags.numbers("sizes", values.sizes or default["sizes"], int)
    sizes = tuple(sorted({*sizes, *config.size}))
    with errors.refusing(ConfigError, prefix="--sizes: "):
        dataclasses.replace(config, size=sizes)
    rounds = values.rounds or default["rounds"]
    return Plan(config, *config.size, *config.iterations, sizes, rounds, values.repeats)


def measure(plan):
    """Measure everything; return the report without the machine."""
    with tempfile.TemporaryDirectory() as folder:
        problem = Path(folder, "problem.npz")
        say(f"1 of 3: single evaluations at {', '.join(map(str, plan.sizes))} px")
        single = benchmark_report.in_own_process(evaluations.measure, plan, problem)
        rounds, size = single["rounds"], plan.size
        sizes = [evaluations.size_row(rounds, facts) for facts in single["sizes"]]
        peer = single["peer"] and evaluations.peer_timings(single["peer"], rounds, size)
        runs = 1 / transfers.SEARCH_SHARE + plan.repeats * (
            3 if peer else 1.5
        )  # as long as the paper's
        seconds_left = plan.iterations * runs * median(timed[f"{size} float32"] for timed in rounds)
        say(f"2 of 3: line searches; with all that follows some {seconds_left:.0f} s left")
        line_searches = transfers.measure_line_searches(plan)
        say(f"3 of 3: transfers at {plan.size} px to a loss that both presets reach")
        fixed_loss = transfers.measure_fixed_loss(plan, problem, peer)
    return {
        "settings": plan.config.as_dict() | {"rounds": plan.rounds, "repeats": plan.repeats},
        "matmul": {
            precision: evaluations.timing(rounds, f"matmul {precision}", f"matmul {precision}")
            for precision in PRECISIONS
        },
        "sizes": sizes,
        "growth": {precision: evaluations.growth(sizes, precision) for precision in PRECISIONS},
        "line_searches": line_searches,
        "fixed_loss": fixed_loss,
        "peer": peer,
        "rounds": rounds,
    }


if __name__ == "__main__":
    console.leave(program.call(__doc__, benchmark, sys.argv, define_flags))
