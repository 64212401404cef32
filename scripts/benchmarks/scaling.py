"""Measure how grids of transfers scale on Ray, and what a large study would take.

    python scripts/benchmarks/scaling.py            # some twelve minutes on two cores
    python scripts/benchmarks/scaling.py --update   # and the tables in docs/scaling.md

Writes results/scaling.json (`--output`) and, beside it, the same as tables. Of the main command's
flags it takes those of the pictures, --weights, --size, --iterations and the layers.
"""

import contextlib
import dataclasses
import functools
import hashlib
import importlib.metadata
import importlib.util
import itertools
import json
import math
import os
import shlex
import sys
import tempfile
import time
from pathlib import Path
from statistics import mean, median
from typing import NamedTuple

import numpy as np
import report as measuring
from absl import flags
from tqdm import tqdm

from gatys_norm import files
from gatys_norm.cli import console, errors, loading, program
from gatys_norm.cli import flags as cli_flags
from gatys_norm.config import PRESETS, ConfigError, TransferConfig
from gatys_norm.images import io as picture_io
from gatys_norm.network import weights

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "scaling.md"
TAKEN = (
    *("content", "style", "weights", "size", "iterations", "content_layers", "style_layers"),
    *("output", "flagfile"),
)
LOCAL = 0  # in the place of a number of workers: no Ray, one cell after the other
CELLS = 6
GPU_WORKERS = 4
STUDY_CELLS = 10_000
STUDY_WORKERS = (1, 8, 64, 512)


class Plan(NamedTuple):
    """What is measured; `cells` and `workers` are None for what suits the machine."""

    config: TransferConfig
    cells: int | None
    rounds: int
    workers: tuple | None
    driver_cells: int
    study_size: int


class Costs(NamedTuple):
    """Seconds of a grid: `start` until its first cells run, then for each cell."""

    start: float
    fixed: float
    evaluation: float
    evaluations: float

    @property
    def cell(self):
        """Seconds of a cell on a worker that has run one before."""
        return self.fixed + self.evaluations * self.evaluation


# --- the model -----------------------------------------------------------------------------------


def grid_seconds(costs, cells, workers, driver=0.0):
    """Predict the seconds of a grid, whose cells cost the driver so many seconds each."""
    return costs.start + max(math.ceil(cells / workers) * costs.cell, cells * driver)


def driver_seconds(timed, cells):
    """Return the driver's seconds for a cell of such a grid, on the line through two smaller ones.

    Args:
      timed: two pairs of (cells of a grid, driver's seconds for each).
      cells: of the grid in question.
    """
    (few, quick), (many, slow) = timed
    return slow + max(0.0, slow - quick) / (many - few) * (cells - many)


def costs_of(run, workers):
    """Return the `Costs` of what `run_grid` gave.

    The cells being equal, the first to end are the first of each worker, and the last the last.
    """
    ended = sorted(run["ended"])
    first, last = ended[:workers], ended[-workers:]
    later = (sum(last) - sum(first)) / (len(ended) - workers)
    fixed = later - run["evaluations"] * run["evaluation"]
    start = run["start"] + mean(first) - later
    return Costs(start, fixed, run["evaluation"], run["evaluations"])


def median_costs(runs, workers):
    """Return the median of each of the `Costs`."""
    return Costs(*map(median, zip(*(costs_of(run, workers or 1) for run in runs), strict=True)))


# --- measuring -----------------------------------------------------------------------------------


def define_flags(values):
    """Add the flags of this program."""
    count = functools.partial(flags.DEFINE_integer, lower_bound=1, flag_values=values)
    count(
        "cells", None, f"transfers of a grid; default {CELLS}, or two a worker where that is more"
    )
    count("rounds", 2, "rounds of grids, of which medians are taken")
    workers = f"Ray workers that share this machine; default 1 and one a core, or {GPU_WORKERS} "
    flags.DEFINE_list("workers", None, workers + "on a GPU", values)
    count("driver_cells", 2000, "cells that return at once, to time the driver with", lower_bound=4)
    count("study_size", 512, "size of the study's transfers")
    flags.DEFINE_bool("update", False, "write the tables into docs/scaling.md", values)


def scaling(values):
    """Measure everything and write the report."""
    load = os.getloadavg()[0]
    plan = plan_from_flags(values)
    with errors.refusing(picture_io.PictureError):
        pictures = sum(
            picture_io.load_picture(path).nbytes
            for path in {plan.config.content, *plan.config.styles}
        )
    output = measuring.report_path(values.output or "results/scaling.json")
    if importlib.util.find_spec("ray") is None:
        raise errors.InputError("Ray is needed: pip install gatys-norm[ray] first")
    machine = measuring.in_own_process(measuring.describe_machine, plan.config.weights, load)
    if values.update:
        measuring.update(PAGE, markers(machine["kind"]))
    plan = plan_for(machine, plan)
    command = shlex.join(["python", os.path.relpath(__file__), *sys.argv[1:]])
    report = {"command": command, "machine": machine, "pictures_bytes": pictures} | measure(plan)
    tables = all_tables(report)
    contents = {output: json.dumps(report, indent=1), output.with_suffix(".md"): tables + "\n"}
    files.write_together({path: text.encode() for path, text in contents.items()})
    print(tables)
    print(f"\nwritten: {', '.join(map(str, contents))}")
    if values.update:
        measuring.update(PAGE, markers(machine["kind"]), tables)


def markers(kind):
    """Return what encloses the tables of a kind of device on the page."""
    return f"<!-- scaling {kind} -->", f"<!-- end scaling {kind} -->"


def plan_from_flags(values):
    """Return the `Plan` that the flags describe."""
    cli_flags.take_only(TAKEN, values, "the grids set it themselves")
    defaults = {
        "content": str(ROOT / "data" / "river_town.jpg"),
        "style": str(ROOT / "data" / "flowing_strokes.jpg"),
        "size": (256,),
        "iterations": (25,),
    }
    absent = {name: value for name, value in defaults.items() if not values[name].present}
    config = cli_flags.config_from_flags(values, **absent).resolved()
    if len(config.size) > 1:
        raise errors.InputError("--size: must be one size")
    with errors.refusing(ConfigError, prefix="--study_size: "):
        dataclasses.replace(config, size=(values.study_size,))
    try:
        workers = values.workers and tuple(sorted({int(number) for number in values.workers}))
    except ValueError as error:
        raise errors.InputError("--workers: must be whole numbers separated by commas") from error
    return checked(
        Plan(config, values.cells, values.rounds, workers, values.driver_cells, values.study_size)
    )


def checked(plan):
    """Return the plan, in which workers must each get two cells, as far as both are known."""
    if plan.workers and plan.workers[0] < 1:
        raise errors.InputError("--workers: must be 1 or more")
    if plan.cells and plan.cells < 2 * max(plan.workers or (1,)):
        raise errors.InputError("--cells: must be at least twice the workers")
    return plan


def plan_for(machine, plan):
    """Return the plan with what suits the machine."""
    most = GPU_WORKERS if machine["kind"] == "gpu" else machine["cores"]
    workers = plan.workers or tuple(sorted({1, most}))
    cells = plan.cells or max(CELLS, 2 * max(workers))
    config = dataclasses.replace(plan.config, weights=machine["weights"])
    return checked(plan._replace(config=config, cells=cells, workers=workers))


def measure(plan):
    """Measure everything and return the report, all but machine and command."""
    steps = itertools.count(1)
    last = plan.rounds * (1 + len(plan.workers)) + len(PRESETS) + 1

    def run(function, what, *arguments):
        title = f"{next(steps)} of {last}: {what}"
        return measuring.in_own_process(function, *arguments, title, time.monotonic())

    most = max(plan.workers)
    grids = {workers: [] for workers in (LOCAL, *plan.workers)}
    for _ in range(plan.rounds):
        for workers, runs in grids.items():
            runs.append(run(run_grid, name_of(workers), plan.config, plan.cells, workers))
    study = {}
    for preset, settings in PRESETS.items():
        own = settings | {"size": (plan.study_size,), "iterations": plan.config.iterations}
        config = dataclasses.replace(plan.config, **own)
        study[preset] = run(run_grid, f"{preset} preset", config, 2 * most, most)
    counts = plan.driver_cells // 4, plan.driver_cells
    driver = run(time_driver, "driver", plan.config, study["paper"]["written"], counts)
    for done in (*itertools.chain(*grids.values()), *study.values()):
        done["result_bytes"] = sum(map(len, done.pop("written").values()))
    settings = plan.config.as_dict() | {"study_size": plan.study_size}
    weights_bytes = weights.locate(plan.config.weights).path.stat().st_size
    facts = {"settings": settings, "driver": driver, "weights_bytes": weights_bytes}
    return facts | {"grids": grids, "study": study}


def equal_cells(config, count):
    """Return settings of so many transfers of one cost: only λ_os differs."""
    return [dataclasses.replace(config, lambda_os=x) for x in np.geomspace(1e-2, 1e-4, count)]


def run_grid(config, count, workers, title, began):
    """Run a grid here in a fresh folder, and return when what happened.

    Args:
      config: `TransferConfig` of which the cells differ in λ_os alone.
      count: cells.
      workers: of a Ray cluster on this machine, or `LOCAL`.
      title: what the progress bar says.
      began: time.monotonic() before this process.

    Returns:
      Facts of the cells and times in seconds: `start` from `began` to the start of the grid, of
      which `connect` is Ray's part, and `ended` from there to the end of each cell.
    """
    with contextlib.ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        execute, connect = None, 0.0
        os.environ["TF_FORCE_GPU_ALLOW_GROWTH"] = "true"  # a driver leaves a GPU to its workers
        transfer = loading.start_tensorflow()
        if workers:
            before = time.monotonic()
            execute = stack.enter_context(connected(workers))
            connect = time.monotonic() - before
        from gatys_norm.experiments import grid as grid_runs

        start, outcomes, ended = time.monotonic(), [], []
        bar = tqdm(desc=title, total=count, mininterval=0.1 if sys.stderr.isatty() else 30)
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
        written = {path.name: path.read_bytes() for path in outcomes[0].output.parent.iterdir()}
    return {
        "start": start - began,
        "connect": connect,
        "ended": ended,
        "evaluation": median(record["timing"]["seconds_per_evaluation"] for record in records),
        "evaluations": mean(record["evaluations"] for record in records),
        "iterations": mean(record["iterations"] for record in records),
        "precision": records[0]["network_precision"],
        "pictures": sorted(hashlib.sha256(data).hexdigest() for data in pictures),
        "written": written,
    }


@contextlib.contextmanager
def connected(workers):
    """Give an executor that lets so many workers share a Ray cluster on this machine."""
    from gatys_norm.experiments import ray as ray_executor

    with contextlib.ExitStack() as stack:
        with errors.refusing(ray_executor.ClusterError), console.silent_stderr():
            stack.enter_context(ray_executor.connected())
        import ray

        have = ray.cluster_resources()
        yield ray_executor.executor(have["CPU"] / workers, have.get("GPU", 0) / workers)


def time_driver(config, written, counts, title, _began):
    """Return what a cell costs the driver, in cells that return a finished one's files at once.

    Args:
      config, title: see `run_grid`.
      written: {name: bytes} of the finished one.
      counts: cells of the grids to time.

    Returns:
      A pair of (cells of the grid, median seconds between two results) for each.
    """
    timed = []
    with contextlib.ExitStack() as stack:
        execute = stack.enter_context(connected(os.cpu_count()))
        from gatys_norm.experiments import grid as grid_runs
        from gatys_norm.experiments import ray as ray_executor

        record = json.loads(written["result.json"])

        def return_at_once(task, *_):
            _, config, output, *_ = task
            return grid_runs.RunResult(config, output, record), written

        ray_executor._run = return_at_once  # in this process alone, which ends after this
        bar = stack.enter_context(tqdm(desc=title, total=sum(counts)))
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
    """Return what a contestant is called."""
    return f"Ray, {workers} worker{'s' * (workers > 1)}" if workers else "local"


def short(number):
    """Return a number with three digits, or all before the point."""
    return f"{number:.3g}" if abs(number) < 100 else f"{number:,.0f}"


def all_tables(report):
    """Return the whole report as Markdown."""
    ray = f"ray {importlib.metadata.version('ray')}"
    return "\n\n".join(
        [
            f"`{report['command']}` wrote this. {measuring.machine_line(report['machine'], ray)}",
            *grid_part(report),
            *fixed_part(report),
            *prediction_part(report),
            *limit_part(report),
            *study_part(report),
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
        same = all(run["pictures"] == local[0]["pictures"] for run in runs)
        line = f"{name_of(workers)} | {short(median(seconds))} | {short(min(seconds))}–"
        line += f"{short(max(seconds))} | {short(costs.start)} | {short(costs.cell)} | "
        line += f"{short(costs.evaluation)} | "
        line += short(median(done / took for done, took in zip(work, seconds, strict=True)))
        lines.append(f"{line} | {median(ratios):.2f} | {'same' if same else 'others'}")
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
    return ["### Grids", text, measuring.table(titles, lines)]


def fixed_part(report):
    """Return the table of what does not grow with the evaluations."""
    most = max(report["grids"])
    runs = report["grids"][most]
    connect = median(run["connect"] for run in runs)
    program = median(run["start"] for run in runs) - connect
    costs, study = median_costs(runs, most), report["study"]["paper"]
    few, many = report["driver"]
    small, large = runs[0]["result_bytes"], study["result_bytes"]
    sizes = report["settings"]["size"][0], report["settings"]["study_size"]
    lines = [
        f"Python, TensorFlow and the program | {short(program)} s",
        f"starting Ray and connecting | {short(connect)} s",
        "a worker's first cell beyond a later one: its process, the weights, tracing | "
        f"{short(costs.start - program - connect)} s",
        f"a cell without its evaluations, at {sizes[0]} px | {short(costs.fixed)} s",
        *(
            f"the driver, for each of {cells:,} cells | {short(1000 * seconds)} ms"
            for cells, seconds in (few, many)
        ),
        f"the same for each of {STUDY_CELLS:,}, on the line through both | "
        f"{short(1000 * driver_seconds(report['driver'], STUDY_CELLS))} ms",
        f"weights in the object store, once a machine | {short(report['weights_bytes'] / 1e6)} MB",
        f"both pictures there, once a machine | {short(report['pictures_bytes'] / 1e6)} MB",
        f"a cell's picture and record, at {sizes[0]} and {sizes[1]} px | "
        f"{short(small / 1e6)} and {short(large / 1e6)} MB",
    ]
    text = f"From {name_of(most)}. The driver's cells return at once the files of a finished one."
    return ["### Fixed costs", text, measuring.table("what |", lines)]


def prediction_part(report):
    """Return predicted and measured seconds: the first round's costs, the other rounds' grids."""
    lines = []
    for workers, (first, *others) in report["grids"].items():
        if not others:
            continue
        costs = costs_of(first, workers or 1)
        predicted = grid_seconds(costs, len(first["ended"]), workers or 1)
        measured = median(map(whole, others))
        line = f"{short(predicted)} | {short(measured)} | {predicted / measured - 1:+.1%}"
        lines.append(f"{name_of(workers)} | {line}")
    if not lines:
        return []
    text = "From the first round's costs, against the later rounds:"
    table = measuring.table("run | predicted, s | measured, s | off", lines)
    return ["### Predicted and measured", text, table]


def study_costs(report, preset):
    """Return the `Costs` of a transfer of the study, with all the preset's iterations."""
    run = report["study"][preset]
    evaluations = PRESETS[preset]["iterations"][0] * run["evaluations"] / run["iterations"]
    costs = costs_of(run, len(run["ended"]) // 2)
    return costs._replace(evaluations=evaluations)


def limit_part(report):
    """Return the table of how many workers keep the driver busy."""
    most, settings = max(report["grids"]), report["settings"]
    rows = {f"{settings['size'][0]} px, as above": median_costs(report["grids"][most], most)}
    for preset, run in report["study"].items():
        rows[f"{settings['study_size']} px, {preset} preset, {run['precision']}"] = study_costs(
            report, preset
        )
    driver = driver_seconds(report["driver"], STUDY_CELLS)
    lines = [
        f"{name} | {short(costs.cell)} | {short(1000 * driver)} | {costs.cell / driver:,.0f}"
        for name, costs in rows.items()
    ]
    text = f"In a grid of {STUDY_CELLS:,} cells; more workers than that would wait for the driver:"
    titles = "transfer | a cell, s | the driver for it, ms | workers that keep it busy"
    return ["### Where it ends", text, measuring.table(titles, lines)]


def study_part(report):
    """Return the table of a large study."""
    driver = driver_seconds(report["driver"], STUDY_CELLS)
    costs = {preset: study_costs(report, preset) for preset in PRESETS}
    titles, lines, facts = "workers | waves", [], []
    for preset, own in costs.items():
        precision = report["study"][preset]["precision"]
        titles += f" | {preset} preset, h | of it in cells"
        facts.append(
            f"the {preset} preset in {precision} takes {PRESETS[preset]['iterations'][0]} "
            f"iterations, {own.evaluations:.0f} evaluations of {short(own.evaluation)} s and "
            f"{short(own.fixed)} s besides"
        )
    for workers in STUDY_WORKERS:
        line = f"{workers} | {math.ceil(STUDY_CELLS / workers):,}"
        for own in costs.values():
            seconds = grid_seconds(own, STUDY_CELLS, workers, driver)
            share = STUDY_CELLS * own.cell / (workers * seconds)
            line += f" | {short(seconds / 3600)} | {share:.1%}"
        lines.append(line)
    kind, most = report["machine"]["kind"], max(report["grids"])
    share = "one core" if kind == "cpu" and most == report["machine"]["cores"] else f"1/{most}"
    disk = STUDY_CELLS * report["study"]["paper"]["result_bytes"] / 1e9
    text = (
        f"{STUDY_CELLS:,} transfers at {report['settings']['study_size']} px, predicted. A worker "
        f"is {share} of this machine, all of it busy: {', and '.join(facts)}. Their files take "
        f"{short(disk)} GB."
    )
    return ["### A large study", text, measuring.table(titles, lines)]


if __name__ == "__main__":
    console.leave(program.call(__doc__, scaling, sys.argv, define_flags))
