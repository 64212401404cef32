"""Whole transfers: with both line searches, and of every contestant to a fixed loss."""

import collections
import dataclasses
import functools
import time
from statistics import median

import peer_process
import report as benchmark_report

from gatys_norm.cli import errors, loading
from gatys_norm.config import PRESETS
from gatys_norm.runs.schedule import schedule

SEARCH_SIZE = 256
SEARCH_SHARE = 4  # the line searches run a fourth of the iterations


def run_transfer(config, title, began):
    """Run one transfer and return a row for every iteration logged in float32 at the full size.

    Seconds are the optimizer's, of all sizes; "wall" counts from `began`, so with the start of the
    process and the tracing. What bfloat16 says of the loss is left out: it would not compare.
    Evaluations are a list, coarse to fine.
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
    last_in_bfloat16 = phases[-2].last_iteration if len(phases) > 1 else 0
    return [
        {
            "iterations": before + row["iteration"],
            "evaluations": [*evaluations_before, row["evaluations"]],
            "loss": row["loss"],
            **moments[before + row["iteration"]],
        }
        for row in record["history"]
        if row["size"] == full["size"] and row["iteration"] > last_in_bfloat16
    ]


def measure_line_searches(plan):
    """Return {line search: the last row of its run, with its size}."""
    config = dataclasses.replace(
        plan.config,
        size=(min(SEARCH_SIZE, plan.size),),
        iterations=(max(1, plan.iterations // SEARCH_SHARE),),
    )
    runs = {}
    for name in ("unit_step", "hager_zhang"):
        changed = dataclasses.replace(config, line_search=name)
        last = benchmark_report.in_own_process(run_transfer, changed, name, time.monotonic())[-1]
        per_iteration = sum(last["evaluations"]) / last["iterations"]
        runs[name] = {"size": config.size[0], "evaluations_per_iteration": per_iteration, **last}
    return runs


def measure_fixed_loss(plan, problem, peer):
    """Run every contestant in turn, `repeats` times, to the larger last loss of both presets.

    That is the lowest loss that both presets reach.
    """
    share = plan.iterations / PRESETS["paper"]["iterations"][0]
    iterations = max(1, round(share * PRESETS["fast"]["iterations"][0]))
    fast = dataclasses.replace(plan.config, **PRESETS["fast"] | {"iterations": (iterations,)})
    contestants = {
        name: functools.partial(benchmark_report.in_own_process, run_transfer, config, name)
        for name, config in {"paper preset": plan.config, "fast preset": fast}.items()
    }
    runs = collections.defaultdict(list)
    for _ in range(plan.repeats):
        for name, run in contestants.items():
            runs[name].append(run(time.monotonic()))
        loss = max(runs[name][0][-1]["loss"] for name in contestants)
        if peer:
            runs["PyTorch L-BFGS"].append(peer_process.run(plan, problem, peer, loss))
    return {"loss": loss, "contestants": summarize_runs(runs, loss), "runs": runs}


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
