"""Measure how the strokes of a result follow the stroke size.

    python scripts/benchmarks/stroke_sizes.py --update

Each style is transferred at each stroke size twice: with one λ_os, and with --strength, for which
every transfer finds its own. Writes results/stroke_sizes.json (`--output`), the same as a table, a
sheet of the pictures of one λ_os, and all pictures into a folder next to them; those that are
finished there are not computed again. With --update, the first style's row of the sheet goes into
docs/. Of the flags of a transfer it has --content, --weights, --size, --iterations and --strength;
the other settings are the fast preset's.
"""

import dataclasses
import itertools
import sys
from pathlib import Path

import report as benchmark_report
from absl import flags

from gatys_norm.cli import console, errors, program
from gatys_norm.cli import flags as cli_flags
from gatys_norm.config import ConfigError, preset_without_iterations
from gatys_norm.experiments.statistics import MEASURES, mean_over_layers
from gatys_norm.images import contact_sheet
from gatys_norm.images import io as picture_io
from gatys_norm.record import lambda_os_of

PAGE = benchmark_report.ROOT / "docs" / "losses.md"
STRIP = benchmark_report.ROOT / "docs" / "stroke-sizes.jpg"
CELL_WIDTH = 176  # pixels of a picture in the sheet
STROKE_SIZES = ("0.5", "1", "2")
STRENGTH = 0.7
TITLES = (
    "style | stroke size | style picture | cycles per picture | content distance | "
    "mean style reflection | λ_os | strength"
)


def define_flags(values):
    """Add the flags of this program."""
    benchmark_report.define_styles(values)
    explanation = "stroke sizes, from small to large"
    flags.DEFINE_list("stroke_sizes", list(STROKE_SIZES), explanation, flag_values=values)
    benchmark_report.define_update(values, [PAGE])


def benchmark(values):
    """Measure everything and write the report."""
    cli_flags.refuse_flags(("style",), values, "see --styles")
    cli_flags.refuse_flags(("stroke_size",), values, "see --stroke_sizes")
    settings = preset_without_iterations("fast")
    if not values["strength"].present:
        settings["strength"] = STRENGTH
    config = benchmark_report.config_from_flags(
        values, size=256, iterations=200, extra_flags=("strength",), **settings
    )
    stroke_sizes = sorted(set(cli_flags.numbers("stroke_sizes", values.stroke_sizes, float)))
    with errors.refusing(ConfigError, prefix="--styles, --stroke_sizes: "):
        configs = [
            dataclasses.replace(config, style=(style,), stroke_size=stroke_size, strength=strength)
            for strength in (None, config.strength)
            for style in cli_flags.expanded(cli_flags.required(values, "styles"))
            for stroke_size in stroke_sizes
        ]
    destination, machine = benchmark_report.prepare(values, "stroke_sizes", [PAGE], config.weights)
    configs = benchmark_report.with_weights(configs, machine)
    folder = destination.output.with_suffix("")
    measured = benchmark_report.in_own_process(measure, configs, folder)
    report = {"machine": machine, "settings": config.as_dict(), "transfers": measured}
    shown = [facts for facts in measured if facts["asked"] is None]
    picture_io.save_picture(destination.output.with_suffix(".jpg"), sheet(shown))
    if values.update:
        picture_io.save_picture(STRIP, sheet(shown[: len(stroke_sizes)]))
    benchmark_report.finish(destination, report, tables(report))


def measure(configs, folder):
    """Run the transfers that are not finished in a folder, and return the facts of each."""
    results = benchmark_report.finished_transfers(configs, folder)
    return [facts(results[config]) for config in configs]


def facts(result):
    """Return the facts of a finished transfer."""
    from gatys_norm.experiments import measurements

    stage = result.record["stages"][-1]
    picture = picture_io.load_picture(result.output)
    cycles = measurements.spectral_centroid(picture) * max(stage["width"], stage["height"])
    return {
        "style": Path(result.config.style[0]).stem,
        "stroke_size": result.config.stroke_size,
        "style_shape": stage["style_shapes"][0],
        "cycles_per_picture": cycles,
        "picture": str(result.output),
        "lambda_os": lambda_os_of(result.record),
        "asked": result.config.strength,
        "strength": result.record["metrics"]["strength"],
        **{name: mean_over_layers(result.record["metrics"], name) for name in MEASURES},
    }


def tables(report):
    """Return the report as Markdown."""
    rows = []
    for facts in report["transfers"]:
        height, width = facts["style_shape"]
        cells = (
            facts["style"],
            f"{facts['stroke_size']:g}",
            f"{width}×{height}",
            f"{facts['cycles_per_picture']:.2f}",
            f"{facts['content_distance']:.3f}",
            f"{facts['style_reflection']:.3f}",
            f"{facts['lambda_os']:.3g}",
            f"{facts['strength']:.3f}",
        )
        rows.append(" | ".join(cells))
    return "\n\n".join(
        [
            benchmark_report.machine_line(report["machine"]),
            benchmark_report.settings_line(report["settings"], report["transfers"]),
            benchmark_report.table(TITLES, rows),
            conclusion(report["transfers"]),
        ]
    )


def sheet(transfers):
    """Return all pictures, a row per style and a column per stroke size."""
    styles = list(dict.fromkeys(facts["style"] for facts in transfers))
    stroke_sizes = list(dict.fromkeys(facts["stroke_size"] for facts in transfers))
    pictures = [picture_io.load_picture(facts["picture"]) for facts in transfers]
    count = len(stroke_sizes)
    rows = [pictures[count * row : count * (row + 1)] for row in range(len(styles))]
    columns = [f"stroke size {stroke_size:g}" for stroke_size in stroke_sizes]
    return contact_sheet.labeled_grid(styles, columns, rows, CELL_WIDTH)


def conclusion(transfers):
    """Return for how many styles the frequency falls with every step, and how strength varies."""
    groups = itertools.groupby(transfers, key=lambda facts: facts["asked"])
    return " ".join(conclusion_of(asked, group) for asked, group in groups)


def conclusion_of(asked, transfers):
    """Return the sentence on the transfers with one λ_os (None), or of the strength asked for."""
    groups = itertools.groupby(transfers, key=lambda facts: facts["style"])
    styles = [list(group) for _, group in groups]
    falling = [
        all(a["cycles_per_picture"] > b["cycles_per_picture"] for a, b in itertools.pairwise(style))
        for style in styles
    ]
    strengths = [[facts["strength"] for facts in style] for style in styles]
    range_of_strength = max(max(values) - min(values) for values in strengths)
    settings = "one λ_os" if asked is None else f"--strength={asked:g}"
    return (
        f"With {settings} the mean frequency falls from each stroke size to the next with "
        f"{sum(falling)} of {len(falling)} styles, and the strength of one style varies by "
        f"{range_of_strength:.3f} at most."
    )


if __name__ == "__main__":
    console.leave(program.call(__doc__, benchmark, sys.argv, define_flags))
