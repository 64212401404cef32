"""Measure how grids of transfers scale on Ray, and the costs that do not grow with the grid.

    python scripts/benchmarks/scaling.py            # some ten minutes on two cores
    python scripts/benchmarks/scaling.py --update   # and the tables in docs/scaling.md

Writes results/scaling.json (`--output`) and, next to it, the same as tables. Of the flags of a
transfer it has those of the pictures, --weights, --size, --iterations and those of the layers.
"""

import contextlib
import dataclasses
import functools
import hashlib
import importlib.metadata
import importlib.util
import itertools
import json
import os
import shlex
import sys
import tempfile
import time
from statistics import mean, median
from typing import NamedTuple

import numpy as np
import report as benchmark_report
from absl import flags

from gatys_norm.cli import console, errors, loading, program
from gatys_norm.cli import flags as cli_flags
from gatys_norm.config import TransferConfig
from gatys_norm.images import io as picture_io
from gatys_norm.network import weights

PAGE = benchmark_report.ROOT / "docs" / "scaling.md"
LOCAL = 0  # instead of a number of workers: without Ray, one cell after another
CELLS = 6
GPU_WORKERS = 4


class Plan(NamedTuple):
    """The plan of the measurement; None for `cells` or `workers` means what fits the machine."""

    config: TransferConfig
    cells: int | None
    rounds: int
    workers: tuple | None
    driver_cells: int


class Costs(NamedTuple):
    """The seconds of a grid.

    Attributes:
      start: until the first cells run.
      cell: for each cell of a worker.
      fixed: for each cell, without its evaluations of the loss.
      evaluation: for one evaluation.
    """

    start: float
    cell: float
    fixed: float
    evaluation: float


def costs_of(run, workers):
    """Return the `Costs` of a result of `run_grid`.

    All cells take equal time, so the first cells to end are the first of each worker, and the last
    cells to end are the last of each worker.
    """
    ended = sorted(run["ended"])
    first, last = ended[:workers], ended[-workers:]
    cell = (sum(last) - sum(first)) / (len(ended) - workers)
    fixed = cell - run["evaluations"] * run["evaluation"]
    return Costs(run["start"] + mean(first) - cell, cell, fixed, run["evaluation"])


def median_costs(runs, workers):
    """Return the median of each of the `Costs`."""
    return Costs(*map(median, zip(*(costs_of(run, workers or 1) for run in runs), strict=True)))


# --- measuring -----------------------------------------------------------------------------------


def define_flags(values):
    """Add the flags of this program."""
    count = functools.partial(flags.DEFINE_integer, lower_bound=1, flag_values=values)
    count(
        "cells", None, f"transfers of a grid; default {CELLS}, or two per worker where that is more"
    )
    count("rounds", 2, "rounds of grids, of which medians are taken")
    workers = f"Ray workers that share this machine; default 1 and one per core, or {GPU_WORKERS} "
    flags.DEFINE_list("workers", None, workers + "on a GPU", values)
    count("driver_cells", 2000, "cells that return at once, to time the driver with", lower_bound=4)
    benchmark_report.define_update(values, [PAGE])


def scaling(values):
    """Measure everything and write the report."""
    plan = plan_from_flags(values)
    with errors.refusing(picture_io.PictureError):
        pictures = sum(
            picture_io.load_picture(path).nbytes
            for path in {plan.config.content, *plan.config.style}
        )
    if importlib.util.find_spec("ray") is None:
        raise errors.InputError("Ray is needed: pip install gatys-norm[ray] first")
    destination, machine = benchmark_report.prepare(values, "scaling", [PAGE], plan.config.weights)
    plan = plan_for(machine, plan)
    command = shlex.join(["python", os.path.relpath(__file__), *sys.argv[1:]])
    report = {"command": command, "machine": machine, "pictures_bytes": pictures} | measure(plan)
    tables = all_tables(report)
    benchmark_report.finish(destination, report, tables)


def plan_from_flags(values):
    """Return the `Plan` that the flags describe."""
    config = benchmark_report.config_from_flags(
        values, size=256, iterations=25, extra_flags=("content_layers", "style_layers")
    )
    workers = values.workers and cli_flags.numbers("workers", values.workers, int)
    workers = workers and tuple(sorted(set(workers)))
    plan = Plan(config.resolved(), values.cells, values.rounds, workers, values.driver_cells)
    return checked(plan)


def checked(plan):
    """Return the plan, after checking that each worker gets at least two cells."""
    if plan.workers and plan.workers[0] < 1:
        raise errors.InputError("--workers: must be 1 or more")
    if plan.cells and plan.cells < 2 * max(plan.workers or (1,)):
        raise errors.InputError("--cells: must be at least twice the workers")
    return plan


def plan_for(machine, plan):
    """Return the plan with numbers of cells and workers that fit the machine."""
    most = GPU_WORKERS if machine["kind"] == "gpu" else machine["cores"]
    workers = plan.workers or tuple(sorted({1, most}))
    cells = plan.cells or max(CELLS, 2 * max(workers))
    config = dataclasses.replace(plan.config, weights=machine["weights"])
    return checked(plan._replace(config=config, cells=cells, workers=workers))


def measure(plan):
    """Measure everything; return the report without machine and command."""
    steps = itertools.count(1)
    last = plan.rounds * (1 + len(plan.workers)) + 1

    def run(function, subject, *arguments):
        title = f"{next(steps)} of {last}: {subject}"
        return benchmark_report.in_own_process(function, *arguments, title, time.monotonic())

    grids = {workers: [] for workers in (LOCAL, *plan.workers)}
    for _ in range(plan.rounds):
        for workers, runs in grids.items():
            runs.append(run(run_grid, name_of(workers), plan.config, plan.cells, workers))
    counts = plan.driver_cells // 4, plan.driver_cells
    driver = run(time_driver, "driver", plan.config, grids[LOCAL][0]["result_files"], counts)
    for grid in itertools.chain(*grids.values()):
        grid["result_bytes"] = sum(map(len, grid.pop("result_files").values()))
    weights_bytes = weights.locate(plan.config.weights).path.stat().st_size
    facts = {"settings": plan.config.as_dict(), "driver": driver, "weights_bytes": weights_bytes}
    return facts | {"grids": grids}


def equal_cells(config, count):
    """Return the settings of transfers with equal costs, which differ in λ_os only."""
    return [dataclasses.replace(config, lambda_os=x) for x in np.geomspace(1e-2, 1e-4, count)]


def run_grid(config, count, workers, title, began):
    """Run a grid in a new folder, and return the times of its events.

    Args:
      config: `TransferConfig`; the cells differ from it in λ_os only.
      count: number of cells.
      workers: number of workers of a Ray cluster on this machine, or `LOCAL`.
      title: title of the progress bar.
      began: time.monotonic() before this process started.

    Returns:
      Facts of the cells, and times in seconds: `start` from `began` to the start of the grid,
      `connect` the part of it that Ray needs, and `ended` from there to the end of each cell.
    """
    with contextlib.ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        execute, connect = None, 0.0
        os.environ["TF_FORCE_GPU_ALLOW_GROWTH"] = "true"  # leaves memory of a GPU for the workers
        transfer = loading.start_tensorflow()
        if workers:
            before = time.monotonic()
            execute = stack.enter_context(connected(workers))
            connect = time.monotonic() - before
        from gatys_norm.experiments import grid as grid_runs

        start, outcomes, ended = time.monotonic(), [], []
        bar = benchmark_report.progress_bar(title, count)
        with bar, errors.refusing(*transfer.INPUT_ERRORS):
            for outcome in grid_runs.run_grid(
                equal_cells(config, count), folder, lambda _: False, 0, execute
            ):
                if outcome.error:
                    raise errors.InputError(outcome.error)
                ended.append(time.monotonic() - start)
                outcomes.append(outcome)
                bar.update()
        records = [outcome.record for outcome in outcomes]
        pictures = [outcome.output.read_bytes() for outcome in outcomes]
        result_files = {
            path.name: path.read_bytes() for path in outcomes[0].output.parent.iterdir()
        }
    return {
        "start": start - began,
        "connect": connect,
        "ended": ended,
        "evaluation": median(record["timing"]["seconds_per_evaluation"] for record in records),
        "evaluations": mean(record["evaluations"] for record in records),
        "iterations": mean(record["iterations"] for record in records),
        "precision": records[0]["network_precision"],
        "pictures": sorted(hashlib.sha256(data).hexdigest() for data in pictures),
        "result_files": result_files,
    }


@contextlib.contextmanager
def connected(workers):
    """Yield an executor with this number of workers on a Ray cluster on this machine."""
    from gatys_norm.experiments import cluster
    from gatys_norm.experiments import ray as ray_executor

    with contextlib.ExitStack() as stack:
        with errors.refusing(cluster.ClusterError), console.silent_stderr():
            stack.enter_context(cluster.connected())
        import ray

        resources = ray.cluster_resources()
        yield ray_executor.executor(resources["CPU"] / workers, resources.get("GPU", 0) / workers)


def time_driver(config, result_files, counts, title, _began):
    """Time the driver, with cells that return the files of a finished cell at once.

    Args:
      config, title: see `run_grid`.
      result_files: {name: bytes} of a finished cell.
      counts: numbers of cells of the grids to time.

    Returns:
      [(number of cells, median seconds between two results)], one per grid.
    """
    timed = []
    with contextlib.ExitStack() as stack:
        execute = stack.enter_context(connected(os.cpu_count()))
        from gatys_norm.experiments import grid as grid_runs
        from gatys_norm.experiments import ray as ray_executor

        record = json.loads(result_files["result.json"])

        def return_at_once(task, *_):
            _, config, output, *_ = task
            return grid_runs.RunResult(config, output, record), result_files

        ray_executor._run = return_at_once  # only in this process, which ends afterwards
        bar = stack.enter_context(benchmark_report.progress_bar(title, sum(counts)))
        for count in counts:
            folder = stack.enter_context(tempfile.TemporaryDirectory())
            moments = []
            for outcome in grid_runs.run_grid(
                equal_cells(config, count), folder, lambda _: False, 0, execute
            ):
                assert outcome.error is None, outcome.error
                moments.append(time.monotonic())
                bar.update()
            timed.append((count, float(np.median(np.diff(moments)))))
    return timed


# --- tables --------------------------------------------------------------------------------------


def name_of(workers):
    """Return the name of a contestant."""
    return f"Ray, {workers} worker{'s' * (workers > 1)}" if workers else "local"


def short(number):
    """Return a number with three digits, or more if it is above 99."""
    return f"{number:.3g}" if abs(number) < 100 else f"{number:,.0f}"


def all_tables(report):
    """Return the whole report as Markdown."""
    ray = f"ray {importlib.metadata.version('ray')}"
    machine = benchmark_report.machine_line(report["machine"], ray)
    return "\n\n".join(
        [
            f"`{report['command']}` wrote this. {machine}",
            *grid_part(report),
            *fixed_part(report),
        ]
    )


def whole(run):
    """Return the seconds from the start of the program to the last cell's end."""
    return run["start"] + max(run["ended"])


def grid_part(report):
    """Return the table of the contestants."""
    grids, settings = report["grids"], report["settings"]
    local = grids[LOCAL]
    lines = []
    for workers, runs in grids.items():
        costs, seconds = median_costs(runs, workers), [whole(run) for run in runs]
        work = [len(run["ended"]) * run["evaluations"] for run in runs]
        ratios = [whole(base) / whole(run) for base, run in zip(local, runs, strict=True)]
        is_same = all(run["pictures"] == local[0]["pictures"] for run in runs)
        line = f"{name_of(workers)} | {short(median(seconds))} | {short(min(seconds))}–"
        line += f"{short(max(seconds))} | {short(costs.start)} | {short(costs.cell)} | "
        line += f"{short(costs.evaluation)} | "
        rates = [count / duration for count, duration in zip(work, seconds, strict=True)]
        line += short(median(rates))
        lines.append(f"{line} | {median(ratios):.2f} | {'same' if is_same else 'others'}")
    run = local[0]
    text = (
        f"{len(run['ended'])} transfers of {run['iterations']:.0f} iterations, "
        f"{run['evaluations']:.3g} evaluations each, at {settings['size'][0]} px, in rounds of one "
        f"grid after the other; medians of {len(local)}. Local uses all cores for one transfer "
        "after the other, Ray's workers share them. All is from the start of the program to the "
        "last result; the start ends where, but for a worker's first cell taking longer, cells "
        "would run."
    )
    titles = "run | all, s | least–most | start, s | a cell, s | an evaluation, s | "
    titles += "evaluations per s of all | times as fast | pictures"
    return ["#### Grids", text, benchmark_report.table(titles, lines)]


def fixed_part(report):
    """Return the table of the costs that do not grow with the evaluations."""
    most = max(report["grids"])
    runs = report["grids"][most]
    connect = median(run["connect"] for run in runs)
    program = median(run["start"] for run in runs) - connect
    costs, size = median_costs(runs, most), report["settings"]["size"][0]
    lines = [
        f"Python, TensorFlow and the program | {short(program)} s",
        f"starting Ray and connecting | {short(connect)} s",
        "a worker's first cell beyond a later one: its process, the weights, tracing | "
        f"{short(costs.start - program - connect)} s",
        f"a cell without its evaluations, at {size} px | {short(costs.fixed)} s",
        *(
            f"the driver, for each of {cells:,} cells | {short(1000 * seconds)} ms"
            for cells, seconds in report["driver"]
        ),
        "weights in the object store, once per machine | "
        f"{short(report['weights_bytes'] / 1e6)} MB",
        f"both pictures there, once per machine | {short(report['pictures_bytes'] / 1e6)} MB",
        f"a cell's picture and record, at {size} px | {short(runs[0]['result_bytes'] / 1e6)} MB",
    ]
    text = f"From {name_of(most)}. The driver's cells return at once the files of a finished one."
    return ["#### Fixed costs", text, benchmark_report.table("what |", lines)]


if __name__ == "__main__":
    console.leave(program.call(__doc__, scaling, sys.argv, define_flags))
