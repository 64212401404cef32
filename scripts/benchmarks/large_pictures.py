"""Compare the forecast of memory and time with what transfers take, from small sizes to large ones.

    python scripts/benchmarks/large_pictures.py --update
    python scripts/benchmarks/large_pictures.py --sizes=2048 --strips=whole,128+5,64

Writes results/large_pictures.json (`--output`) and, next to it, the same as a table. Of the flags
of a transfer it has --content, --style, --weights, --iterations and --memory_limit. Every transfer
has a process of its own.
"""

import contextlib
import dataclasses
import itertools
import resource
import sys
from unittest import mock

import report as benchmark_report
from absl import flags

from gatys_norm.cli import console, errors, loading, program
from gatys_norm.cli import flags as cli_flags
from gatys_norm.config import ConfigError
from gatys_norm.network import memory
from gatys_norm.runs.schedule import EVALUATIONS_PER_ITERATION

PAGE = benchmark_report.ROOT / "docs" / "performance.md"
SIZES = ("512", "1024", "2048", "4096")
HISTORIES = ("2", "10")
ITERATIONS = 3
PLANNED = "planned"
STRIPS = {
    "whole": memory.WHOLE,
    "128+5": memory.Strips(rows=128, kept=5),
    "128+3": memory.Strips(rows=128, kept=3),
    "64": memory.Strips(rows=64),
    "32": memory.Strips(rows=32),
}
TITLES = (
    "long side | picture | pairs | in strips | forecast, GiB | measured | forecast / measured | "
    "bytes per pixel more | forecast, s per evaluation | measured | forecast / measured"
)


def define_flags(values):
    """Add the flags of this program."""
    flags.DEFINE_list("sizes", list(SIZES), "long sides to measure", flag_values=values)
    flags.DEFINE_list("histories", list(HISTORIES), "numbers of L-BFGS pairs", flag_values=values)
    explanation = (
        "how the network is computed: planned, whole, or rows of a strip + blocks that are kept: "
        "128+5, 128+3, 64, 32"
    )
    flags.DEFINE_list("strips", [PLANNED], explanation, flag_values=values)
    benchmark_report.define_update(values, [PAGE])


def benchmark(values):
    """Measure everything and write the report."""
    cli_flags.refuse_flags(("size",), values, "see --sizes")
    config = benchmark_report.config_from_flags(
        values, size=512, iterations=ITERATIONS, extra_flags=("memory_limit",)
    )
    sizes = benchmark_report.sizes_from_flag("sizes", values.sizes, config)
    histories = cli_flags.numbers("histories", values.histories, int)
    with errors.refusing(ConfigError, prefix="--histories: "):
        configs = [
            dataclasses.replace(config, size=(size,), history=history)
            for history, size in itertools.product(histories, sizes)
        ]
    for name in values.strips:
        if name not in (PLANNED, *STRIPS):
            choices = ", ".join((PLANNED, *STRIPS))
            raise errors.InputError(f"--strips: must be some of {choices}, not {name!r}")
    destination, machine = benchmark_report.prepare(
        values, "large_pictures", [PAGE], config.weights
    )
    measured = []
    with benchmark_report.progress_bar("transfers", len(configs) * len(values.strips)) as bar:
        for name, alone in itertools.product(values.strips, configs):
            alone = dataclasses.replace(alone, weights=machine["weights"])
            measured.append(benchmark_report.in_own_process(measure, alone, name))
            bar.update()
    settings = config.as_dict() | {"sizes": sizes, "histories": histories, "strips": values.strips}
    report = {"machine": machine, "settings": settings, "transfers": measured}
    benchmark_report.finish(destination, report, tables(report))


def measure(config, choice):
    """Run a transfer of one size in this process, which has only begun.

    Args:
      config: `TransferConfig`.
      choice: "planned", or a key of `STRIPS`.

    Returns:
      Its facts. If the size does not fit, "refused" is the reason, and nothing is measured.
    """
    library = loading.start_tensorflow()
    facts = {"size": config.size[0], "history": config.history, "choice": choice}
    with errors.refusing(*library.INPUT_ERRORS), contextlib.ExitStack() as stack:
        for limit in ("FORECAST_SIZE", "FORECAST_TWICE"):  # as if it had hundreds of iterations
            stack.enter_context(mock.patch.object(library, limit, 0))
        if choice != PLANNED:
            force = mock.patch.object(memory, "plan_size", planner(STRIPS[choice]))
            stack.enter_context(force)
        try:
            transfer = library.Transfer(config)
            forecasts = []
            record = transfer.run(on_forecast=forecasts.append).record
        except memory.OutOfMemoryError as error:
            return facts | {"refused": str(error)}
    (stage,) = record["stages"]
    evaluations = config.iterations[0] * EVALUATIONS_PER_ITERATION
    return facts | {
        "height": stage["height"],
        "width": stage["width"],
        "strips": stage["strips"],
        "forecast_bytes": transfer.plan.byte_count,
        "peak_bytes": peak_bytes(),
        "forecast_seconds": forecasts[0] / evaluations,
        # The evaluation of the start is not part of the time.
        "seconds": record["timing"]["seconds"] / (record["evaluations"] - 1),
    }


def planner(strips):
    """Return a function in place of `memory.plan_size` that takes these strips."""

    def plan_size(size, config, shapes, free, costs):
        return memory.Plan(memory.estimated_bytes(shapes, config, strips, costs), strips, free)

    return plan_size


def peak_bytes():
    """Return the most memory that this process took so far, of the GPU if there is one."""
    import tensorflow as tf

    from gatys_norm.network import device

    if device.gpus():
        return tf.config.experimental.get_memory_info("GPU:0")["peak"]
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def tables(report):
    """Return the report as Markdown."""
    iterations = report["settings"]["iterations"][0]
    rows, before = [], None
    for facts in report["transfers"]:
        rows.append(row(facts, before))
        before = facts
    return "\n\n".join(
        [
            benchmark_report.machine_line(report["machine"]),
            f"Iterations of each transfer: {iterations}.",
            benchmark_report.table(TITLES, rows),
        ]
    )


def row(facts, before):
    """Return a row of the table.

    Args:
      facts: result of `measure`.
      before: that of the transfer before, or None; if it differs by its size alone, the row has the
        bytes that each further pixel took.
    """
    cells = [str(facts["size"]), "–", str(facts["history"])]
    if "refused" in facts:
        return " | ".join([*cells, "does not fit", *"–––––––"])
    cells[1] = f"{facts['width']}×{facts['height']}"
    forecast, peak = (facts[name] / 2**30 for name in ("forecast_bytes", "peak_bytes"))
    seconds = facts["forecast_seconds"], facts["seconds"]
    cells += [
        words(facts["strips"]),
        *(f"{forecast:.2f}", f"{peak:.2f}", f"{forecast / peak:.2f}", slope(facts, before)),
        *(f"{number:.3g}" for number in seconds),
        f"{seconds[0] / seconds[1]:.2f}",
    ]
    return " | ".join(cells)


def words(strips):
    """Return how the network is computed in strips, as a cell."""
    if not strips["rows"]:
        return "nothing"
    kept = f", {strips['kept']} blocks kept" if strips["kept"] else ""
    return f"{strips['rows']} rows{kept}"


def slope(facts, before):
    """Return the bytes for each pixel more than in the transfer before, as a cell."""
    same = ("history", "choice", "strips")
    if before is None or any(before.get(name) != facts[name] for name in same):
        return "–"
    pixels = facts["height"] * facts["width"] - before["height"] * before["width"]
    return f"{(facts['peak_bytes'] - before['peak_bytes']) / pixels:.0f}"


if __name__ == "__main__":
    console.leave(program.call(__doc__, benchmark, sys.argv, define_flags))
