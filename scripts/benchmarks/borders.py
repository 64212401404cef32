"""Measure what each border does at the edges of a result, and across the seam of a tile.

    python scripts/benchmarks/borders.py --update

Each style is transferred to the content, and is made into a texture: from noise, with λ_os = 0.
Writes results/borders.json (`--output`), the same as a table, a sheet of the first style, and the
pictures into a folder next to them; those that are finished there are not computed again. With
--update, the sheet goes into docs/. Of the flags of a transfer it has --content, --weights, --size
and --iterations; the other settings are the fast preset's.
"""

import dataclasses
import itertools
import statistics
import sys
from pathlib import Path

import numpy as np
import report as benchmark_report

from gatys_norm.cli import console, errors, program
from gatys_norm.cli import flags as cli_flags
from gatys_norm.config import BORDERS, ConfigError, preset_without_iterations
from gatys_norm.images import contact_sheet
from gatys_norm.images import io as picture_io

PAGE = benchmark_report.ROOT / "docs" / "losses.md"
SHEET = benchmark_report.ROOT / "docs" / "borders.jpg"
CELL_WIDTH = 176  # pixels of a picture in the sheet
EDGE = 16  # pixels from an edge that count as the edge
LEAST_SIZE = 4 * EDGE
# {subject: what is set for it}
SUBJECTS = {"picture": {}, "texture": {"init": "noise", "lambda_os": 0.0}}
GOAL = (0.95, 1.05)
TITLES = "subject | border | energy at the edges | jump left to right | jump top to bottom"


def define_flags(values):
    """Add the flags of this program."""
    benchmark_report.define_styles(values)
    benchmark_report.define_update(values, [PAGE])


def benchmark(values):
    """Measure everything and write the report."""
    cli_flags.refuse_flags(("style",), values, "see --styles")
    fast = preset_without_iterations("fast")
    config = benchmark_report.config_from_flags(values, size=256, iterations=200, **fast)
    if config.size[0] < LEAST_SIZE:
        raise errors.InputError(f"--size: must be {LEAST_SIZE} or more, to have an inside")
    with errors.refusing(ConfigError, prefix="--styles: "):
        configs = [
            dataclasses.replace(config, style=(style,), border=border, **settings)
            for style in cli_flags.expanded(cli_flags.required(values, "styles"))
            for settings in SUBJECTS.values()
            for border in BORDERS
        ]
    destination, machine = benchmark_report.prepare(values, "borders", [PAGE], config.weights)
    configs = benchmark_report.with_weights(configs, machine)
    folder = destination.output.with_suffix("")
    measured = benchmark_report.in_own_process(measure, configs, folder)
    report = {"machine": machine, "settings": config.as_dict(), "transfers": measured}
    picture = sheet(measured[: len(SUBJECTS) * len(BORDERS)])
    picture_io.save_picture(destination.output.with_suffix(".jpg"), picture)
    if values.update:
        picture_io.save_picture(SHEET, picture)
    benchmark_report.finish(destination, report, tables(report))


def measure(configs, folder):
    """Run the transfers that are not finished in a folder, and return the facts of each."""
    results = benchmark_report.finished_transfers(configs, folder)
    return [facts(results[config]) for config in configs]


def facts(result):
    """Return the facts of a finished transfer."""
    picture = averaged(picture_io.load_picture(result.output))
    return {
        "style": Path(result.config.style[0]).stem,
        "subject": "texture" if result.config.init == "noise" else "picture",
        "border": result.config.border,
        "edge_energy": edge_energy(picture),
        "jump_left_right": jump(picture, axis=1),
        "jump_top_bottom": jump(picture, axis=0),
        "picture": str(result.output),
    }


def averaged(picture):
    """Return the means of 2 × 2 pixels: a start from noise leaves fine noise that hides edges.

    Args:
      picture: H × W × 3.

    Returns:
      (H − 1) × (W − 1) × 3, the mean of each pixel and its right and lower neighbors.
    """
    rows = (picture[1:] + picture[:-1]) / 2
    return (rows[:, 1:] + rows[:, :-1]) / 2


def edge_energy(means):
    """Return the mean squared difference of neighbors near the edges, relative to that inside.

    Args:
      means: result of `averaged`, both sides longer than 2 · `EDGE`.
    """
    inside = np.zeros(means.shape[:2], bool)
    inside[EDGE:-EDGE, EDGE:-EDGE] = True
    sums, counts = np.zeros(2), np.zeros(2)  # at the edge, inside
    for axis in (0, 1):
        energies = np.square(np.diff(means, axis=axis)).sum(axis=2)
        is_inside = np.delete(inside, -1, axis) & np.delete(inside, 0, axis)
        sums += [energies[~is_inside].sum(), energies[is_inside].sum()]
        counts += [np.count_nonzero(~is_inside), np.count_nonzero(is_inside)]
    at_edge, within = sums / counts
    return float(at_edge / within)


def jump(means, axis):
    """Return the mean difference between opposite edges, relative to that between neighbors.

    Args:
      means: result of `averaged`, of which every second one shares no pixel.
      axis: 0 for the upper and lower edge, 1 for the left and right one.
    """
    count = means.shape[axis]
    before, after = (np.take(means, range(*ends), axis) for ends in ((count - 2,), (2, count)))
    across = np.abs(np.take(means, 0, axis) - np.take(means, -1, axis)).mean()
    return float(across / np.abs(after - before).mean())


def tables(report):
    """Return the report as Markdown."""
    rows = []
    for subject, border in itertools.product(SUBJECTS, BORDERS):
        chosen = chosen_facts(report["transfers"], subject, border)
        cells = [
            mean_and_range([facts[name] for facts in chosen])
            for name in ("edge_energy", "jump_left_right", "jump_top_bottom")
        ]
        rows.append(" | ".join([subject, border, *cells]))
    return "\n\n".join(
        [
            benchmark_report.machine_line(report["machine"]),
            benchmark_report.settings_line(report["settings"], report["transfers"]),
            benchmark_report.table(TITLES, rows),
            conclusion(report["transfers"]),
        ]
    )


def chosen_facts(transfers, subject, border):
    """Return the facts of the transfers of a subject with a border."""
    return [
        facts for facts in transfers if (facts["subject"], facts["border"]) == (subject, border)
    ]


def mean_and_range(values):
    """Return the mean of values, and the least and the largest one."""
    return f"{statistics.mean(values):.2f} ({min(values):.2f}–{max(values):.2f})"


def conclusion(transfers):
    """Return the sentence that says whether a wrapped texture has a seam."""
    chosen = chosen_facts(transfers, "texture", "wrap")
    jumps = [facts[name] for facts in chosen for name in ("jump_left_right", "jump_top_bottom")]
    mean = statistics.mean(jumps)
    verb = "is" if GOAL[0] <= mean <= GOAL[1] else "is not"
    return (
        f"Across the seams of textures with `wrap` the mean jump is {mean:.3f} of that between "
        f"neighbors, which {verb} within {GOAL[0]:.2f} to {GOAL[1]:.2f}."
    )


def sheet(transfers):
    """Return the pictures of one style, a column per border; textures with their seams inside."""
    rows = {
        "picture": lambda picture: picture,
        "texture": lambda picture: np.roll(
            picture, [size // 2 for size in picture.shape[:2]], (0, 1)
        ),
    }
    cells = [
        [
            arranged(picture_io.load_picture(facts["picture"]))
            for border in BORDERS
            for facts in chosen_facts(transfers, subject, border)
        ]
        for subject, arranged in rows.items()
    ]
    titles = ["picture", "texture, moved by half"]
    return contact_sheet.labeled_grid(titles, list(BORDERS), cells, CELL_WIDTH)


if __name__ == "__main__":
    console.leave(program.call(__doc__, benchmark, sys.argv, define_flags))
