"""Compare a picture made from small to large with one of the smallest size, with both losses.

    python scripts/benchmarks/small_to_large.py --update

Writes results/small_to_large.json (`--output`), the same as a table, and the pictures next to them.
Of the flags of a transfer it has --content, --style, --weights and --memory_limit.
"""

import dataclasses
import sys
import time

import report as benchmark_report
from absl import flags

from gatys_norm.cli import console, errors, loading, program
from gatys_norm.cli import flags as cli_flags
from gatys_norm.config import PAPER_LOSSES, ConfigError
from gatys_norm.experiments.statistics import MEASURES, mean_over_layers
from gatys_norm.runs import folder as run_folder

PAGE = benchmark_report.ROOT / "docs" / "performance.md"
SIZES = ("512", "1024", "2048", "4096")
ITERATIONS = ("600", "200", "60", "20")
TITLES = (
    "loss | sizes | picture | iterations | content distance | mean style reflection | "
    "change of the reflection | s"
)


def define_flags(values):
    """Add the flags of this program."""
    flags.DEFINE_list("sizes", list(SIZES), "long sides, from small to large", flag_values=values)
    explanation = "number of iterations of each size"
    flags.DEFINE_list("iterations_per_size", list(ITERATIONS), explanation, flag_values=values)
    benchmark_report.define_update(values, [PAGE])


def benchmark(values):
    """Measure everything and write the report."""
    cli_flags.refuse_flags(("size",), values, "see --sizes")
    cli_flags.refuse_flags(("iterations",), values, "see --iterations_per_size")
    config = benchmark_report.config_from_flags(
        values, size=512, iterations=600, extra_flags=("memory_limit",)
    )
    sizes = tuple(cli_flags.numbers("sizes", values.sizes, int))
    iterations = tuple(cli_flags.numbers("iterations_per_size", values.iterations_per_size, int))
    with errors.refusing(ConfigError, prefix="--sizes, --iterations_per_size: "):
        config = dataclasses.replace(config, size=sizes, iterations=iterations)
    destination, machine = benchmark_report.prepare(
        values, "small_to_large", [PAGE], config.weights
    )
    config = dataclasses.replace(config, weights=machine["weights"])
    measured = []
    for loss in PAPER_LOSSES:
        for count in (1, len(sizes)):
            chosen = dataclasses.replace(
                config, loss=loss, size=sizes[:count], iterations=iterations[:count]
            )
            picture = destination.output.with_name(f"small_to_large-{loss}-{sizes[count - 1]}.png")
            benchmark_report.say(f"{loss}, {', '.join(map(str, chosen.size))} px")
            measured.append(benchmark_report.in_own_process(measure, chosen, picture))
    report = {"machine": machine, "settings": config.as_dict(), "transfers": measured}
    benchmark_report.finish(destination, report, tables(report))


def measure(config, picture):
    """Run a transfer, write its picture, and return its facts."""
    library = loading.start_tensorflow()
    began = time.monotonic()
    with errors.refusing(*library.INPUT_ERRORS):
        result = library.stylize(config)
    seconds = time.monotonic() - began
    run_folder.save_result(picture, result.image, result.record)
    stage = result.record["stages"][-1]
    means = {name: mean_over_layers(result.metrics, name) for name in MEASURES}
    return {
        "loss": config.loss,
        "sizes": config.size,
        "iterations": [stage["iterations"] for stage in result.record["stages"]],
        "width": stage["width"],
        "height": stage["height"],
        "seconds": seconds,
        **means,
    }


def tables(report):
    """Return the report as Markdown."""
    rows, smallest = [], {}
    for facts in report["transfers"]:
        reflection = facts["style_reflection"]
        before = smallest.setdefault(facts["loss"], reflection)
        cells = (
            facts["loss"],
            ", ".join(map(str, facts["sizes"])),
            f"{facts['width']}×{facts['height']}",
            ", ".join(map(str, facts["iterations"])),
            f"{facts['content_distance']:.3f}",
            f"{reflection:.3f}",
            f"{reflection - before:+.3f}" if len(facts["sizes"]) > 1 else "–",
            f"{facts['seconds']:.0f}",
        )
        rows.append(" | ".join(cells))
    return "\n\n".join(
        [
            benchmark_report.machine_line(report["machine"]),
            benchmark_report.table(TITLES, rows),
        ]
    )


if __name__ == "__main__":
    console.leave(program.call(__doc__, benchmark, sys.argv, define_flags))
