"""Measure whole transfers: with both line searches, and of every contestant to a fixed loss.

    python scripts/benchmarks/transfers.py --size=128 --iterations=40  # two minutes
    python scripts/benchmarks/transfers.py --peer --update             # all, for the docs

Writes results/transfers.json (`--output`) and, next to it, the same as tables. Of the flags of a
transfer it has --content, --style, --weights, --size and --iterations; the last one is for the run
of the paper preset, and the run of the fast preset has proportionally fewer. The fixed loss is the
larger one of the last losses of both presets.
"""

import collections
import dataclasses
import functools
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

import peer_process
import report as benchmark_report
import transfer_tables
from absl import flags

from gatys_norm.cli import console, errors, loading, program
from gatys_norm.config import PRESETS
from gatys_norm.runs.schedule import schedule

PAGE = benchmark_report.ROOT / "docs" / "performance.md"
LOG_EVERY = 5
SEARCH_SIZE = 256
SEARCH_SHARE = 4  # the line searches run a fourth of the iterations
PATIENCE = 2  # evaluations that PyTorch may use per iteration of the paper preset


def define_flags(values):
    """Add the flags of this program."""
    explanation = "runs of each contestant to the fixed loss"
    flags.DEFINE_integer("repeats", 1, explanation, lower_bound=1, flag_values=values)
    flags.DEFINE_bool("line_searches", True, "also compare the line searches", flag_values=values)
    explanation = f"also run the L-BFGS of PyTorch {peer_process.TORCH}"
    flags.DEFINE_bool("peer", False, explanation, flag_values=values)
    peer_process.define_folder(values)
    benchmark_report.define_update(values, [PAGE])


def benchmark(values):
    """Measure everything and write the report."""
    config = benchmark_report.config_from_flags(
        values, size=512, iterations=600, log_every=LOG_EVERY
    )
    if values.peer:
        peer_process.check_one_style(config)
    destination, machine = benchmark_report.prepare(values, "transfers", [PAGE], config.weights)
    config = dataclasses.replace(config, weights=machine["weights"])
    precisions = benchmark_report.precisions(machine)
    python = peer_process.install(Path(values.peer_dir)) if values.peer else None
    report = {
        "machine": machine,
        "settings": config.as_dict() | {"repeats": values.repeats},
        "torch": python and peer_process.TORCH,
        "line_searches": measure_line_searches(config) if values.line_searches else None,
        "fixed_loss": measure_fixed_loss(config, values.repeats, precisions, python),
    }
    benchmark_report.finish(destination, report, transfer_tables.all_tables(report))


def run_transfer(config, title, began):
    """Run one transfer and return a row for every iteration logged in the last phase.

    Seconds are the optimizer's, of all sizes; "wall" counts from `began`, so with the start of the
    process and the tracing. Only the last phase of the full size has the loss of the whole network
    in float32; what earlier ones say of it is left out: it would not compare. Evaluations are a
    list, coarse to fine.
    """
    transfer = loading.start_tensorflow()
    moments = {}
    with benchmark_report.progress_bar(title) as bar:

        def note(progress):
            wall = time.monotonic() - began
            moments[progress.iteration] = {"seconds": progress.seconds, "wall": wall}
            bar.total = progress.iterations
            bar.update(progress.iteration - bar.n)

        with errors.refusing(*transfer.INPUT_ERRORS):
            record = transfer.stylize(config, note).record
    *coarse, full = record["stages"]
    before = sum(stage["iterations"] for stage in coarse)
    evaluations_before = [stage["evaluations"] for stage in coarse]
    phases = schedule(config.resolved(), record["network_precision"]).phases[-1]
    last_of_earlier_phases = phases[-2].last_iteration if len(phases) > 1 else 0
    return [
        {
            "iterations": before + row["iteration"],
            "evaluations": [*evaluations_before, row["evaluations"]],
            "loss": row["loss"],
            **moments[before + row["iteration"]],
        }
        for row in record["history"]
        if row["size"] == full["size"] and row["iteration"] > last_of_earlier_phases
    ]


def measure_line_searches(config):
    """Return {line search: the last row of its run, with its size}."""
    config = dataclasses.replace(
        config,
        size=(min(SEARCH_SIZE, config.size[0]),),
        iterations=(max(1, config.iterations[0] // SEARCH_SHARE),),
    )
    runs = {}
    for name in ("unit_step", "hager_zhang"):
        changed = dataclasses.replace(config, line_search=name)
        last = benchmark_report.in_own_process(run_transfer, changed, name, time.monotonic())[-1]
        per_iteration = sum(last["evaluations"]) / last["iterations"]
        runs[name] = {"size": config.size[0], "evaluations_per_iteration": per_iteration, **last}
    return runs


def measure_fixed_loss(config, repeats, precisions, python):
    """Run every contestant in turn, `repeats` times, to the larger last loss of both presets.

    That is the lowest loss that both presets reach.

    Args:
      config: settings of the paper preset's run.
      repeats: number of runs of each.
      precisions: number formats that the processor computes in itself.
      python: path of the Python that has PyTorch; None without PyTorch.

    Returns:
      {"loss", "contestants": result of `summarize_runs`, "runs": {contestant: [rows of a run]}}.
    """
    contestants = {
        name: functools.partial(benchmark_report.in_own_process, run_transfer, settings, name)
        for name, settings in presets(config, precisions).items()
    }
    runs = collections.defaultdict(list)
    with tempfile.TemporaryDirectory() as folder:
        peers = peer_contestants(config, precisions, python, Path(folder)) if python else {}
        for _ in range(repeats):
            for name, run in contestants.items():
                runs[name].append(run(time.monotonic()))
            loss = max(runs[name][0][-1]["loss"] for name in contestants)
            for name, run in peers.items():
                benchmark_report.say(name)
                runs[name].append(run(loss=loss))
    return {"loss": loss, "contestants": summarize_runs(runs, loss), "runs": runs}


def presets(config, precisions):
    """Return {contestant: settings} of both presets; the fast one has its share of iterations."""
    fast = dict(PRESETS["fast"])
    share = config.iterations[0] / PRESETS["paper"]["iterations"][0]
    fast["iterations"] = (max(1, round(share * fast["iterations"][0])),)
    if fast["precision"] not in precisions:
        fast["precision"] = "float32"
    return {"paper preset": config, "fast preset": dataclasses.replace(config, **fast)}


def peer_contestants(config, precisions, python, folder):
    """Return {contestant: function from a loss to the rows of a run} of PyTorch's L-BFGS.

    There is one for each number format, in the faster memory layout.
    """
    problem = folder / "problem.npz"
    benchmark_report.in_own_process(peer_process.write_problem, config, problem)
    return {
        f"PyTorch L-BFGS, {variant}": functools.partial(
            peer_process.minimize,
            python,
            problem,
            variant,
            most_evaluations=PATIENCE * config.iterations[0],
            log_every=LOG_EVERY,
        )
        for variant in (peer_process.fastest(python, problem, name) for name in precisions)
    }


def first_at_or_below(rows, loss):
    """Return the first row whose loss is at most `loss`, or None."""
    return next((row for row in rows if row["loss"] <= loss), None)


def summarize_runs(runs, loss):
    """Return {contestant: medians over its runs at the fixed loss, and ratios to the first}.

    Args:
      runs: {contestant: [rows of a run]}; runs with the same index ran one after another.
      loss: the fixed loss. A contestant that does not reach it has no ratios, and the times of its
        whole runs.
    """
    summary, first = {}, None
    for name, runs_of_one in runs.items():
        ends = [first_at_or_below(rows, loss) or rows[-1] for rows in runs_of_one]
        first = first or ends
        reached = all(end["loss"] <= loss for end in ends)
        summary[name] = {
            "reached": reached,
            "loss": ends[0]["loss"],
            "evaluations": ends[0]["evaluations"],
        }
        for key in ("seconds", "wall"):
            ratios = [base[key] / end[key] for base, end in zip(first, ends, strict=True)]
            summary[name][key] = median(end[key] for end in ends)
            summary[name][f"{key}_ratio"] = median(ratios) if reached else None
    return summary


if __name__ == "__main__":
    console.leave(program.call(__doc__, benchmark, sys.argv, define_flags))
