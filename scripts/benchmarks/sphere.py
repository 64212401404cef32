"""Measure panoramas that are transferred on the sphere, and as flat pictures.

    python scripts/benchmarks/sphere.py --update

Draws a panorama, transfers each style to it, and makes a texture of it (from noise, λ_os = 0), with
both projections; and transfers each style to the panorama turned by 90°. The time is compared with
that of a flat picture of as many pixels as six faces of a cube around the sphere have. Writes
results/sphere.json (`--output`), the same as a table, a sheet of the first style, and the pictures
into a folder next to them; those that are finished there are not computed again. With --update, the
sheet goes into docs/. Of the flags of a transfer it has --weights, --size (the width of the
panorama) and --iterations; the other settings are the fast preset's.
"""

import dataclasses
import itertools
import math
import runpy
import statistics
import sys
from pathlib import Path

import numpy as np
import report as benchmark_report

from gatys_norm import sphere
from gatys_norm.cli import console, errors, program
from gatys_norm.cli import flags as cli_flags
from gatys_norm.config import PROJECTIONS, ConfigError, preset_without_iterations
from gatys_norm.images import contact_sheet
from gatys_norm.images import io as picture_io

PAGE = benchmark_report.ROOT / "docs" / "losses.md"
SHEET = benchmark_report.ROOT / "docs" / "sphere.jpg"
DRAWING = benchmark_report.ROOT / "data" / "draw" / "panoramas.py"
CELL_WIDTH = 264  # pixels of a picture in the sheet
LEAST_SIZE = 64
# {subject: what is set for it}
SUBJECTS = {"picture": {}, "texture": {"init": "noise", "lambda_os": 0.0}}
TURN = 4  # the panorama is turned by a whole turn divided by this
FACES = 6
OTHERS = (-8, -6, -4, 4, 6, 8)  # pixels from an edge at which there is none
TITLES = (
    "subject | projection | jump across the sides | across edges of a cube | "
    "across edges of charts | frequency at the poles"
)
JUMPS = {
    "jump_sides": lambda count: [meridian(0, -1.4, 1.4, count)],
    "jump_cube": lambda count: cube_edges(count),
    "jump_charts": lambda count: chart_edges(count),
}
GOALS = {"jump": (0.95, 1.05), "frequency": (0.9, 1.1), "turned": 1.0, "time": 1.6}


def define_flags(values):
    """Add the flags of this program."""
    benchmark_report.define_styles(values)
    benchmark_report.define_update(values, [PAGE])


def benchmark(values):
    """Measure everything and write the report."""
    cli_flags.refuse_flags(("style",), values, "see --styles")
    cli_flags.refuse_flags(("content",), values, "the benchmark draws it")
    fast = preset_without_iterations("fast")
    config = benchmark_report.config_from_flags(values, size=1024, iterations=200, **fast)
    if config.size[0] < LEAST_SIZE:
        raise errors.InputError(f"--size: must be {LEAST_SIZE} or more")
    styles = cli_flags.expanded(cli_flags.required(values, "styles"))
    with errors.refusing(ConfigError, prefix="--styles: "):
        bases = [dataclasses.replace(config, style=(style,)) for style in styles]
    destination, machine = benchmark_report.prepare(values, "sphere", [PAGE], config.weights)
    folder = destination.output.with_suffix("")
    folder.mkdir(parents=True, exist_ok=True)
    drawn = draw(config.size[0], folder)
    bases = benchmark_report.with_weights(bases, machine)
    measured = benchmark_report.in_own_process(measure, bases, drawn, folder)
    report = {"machine": machine, "settings": config.as_dict(), **measured}
    picture = sheet(measured["transfers"])
    picture_io.save_picture(destination.output.with_suffix(".jpg"), picture)
    if values.update:
        picture_io.save_picture(SHEET, picture)
    benchmark_report.finish(destination, report, tables(report))


def draw(size, folder):
    """Draw the contents; return {kind: path} of the panorama, the same turned, a flat picture."""
    height, width = sphere.picture_shape(size)
    panorama = runpy.run_path(str(DRAWING))["panorama"](width)
    face = width // 4
    pictures = {
        "panorama": panorama,
        "turned": np.roll(panorama, width // TURN, axis=1),
        "flat": panorama[height // 2 - face : height // 2 + face, : 3 * face],  # six faces
    }
    for kind, picture in pictures.items():
        picture_io.save_picture(folder / f"{kind}.png", picture)
    return {kind: str(folder / f"{kind}.png") for kind in pictures}


def configs_of(base, drawn):
    """Return {(subject, projection) or what else is measured: settings} of a style."""
    panorama = dataclasses.replace(base, content=drawn["panorama"])
    configs = {
        (subject, projection): dataclasses.replace(panorama, projection=projection, **settings)
        for subject, settings in SUBJECTS.items()
        for projection in PROJECTIONS
    }
    on_sphere = configs["picture", "equirectangular"]
    configs["turned"] = dataclasses.replace(on_sphere, content=drawn["turned"])
    size = 3 * sphere.picture_shape(base.size[0])[1] // 4
    configs["flat"] = dataclasses.replace(base, content=drawn["flat"], size=(size,))
    return configs


def measure(bases, drawn, folder):
    """Run the transfers that are not finished in a folder, and return the facts of each style."""
    by_style = [configs_of(base, drawn) for base in bases]
    configs = [config for configs in by_style for config in configs.values()]
    results = benchmark_report.finished_transfers(configs, folder)
    transfers, styles = [], []
    for configs in by_style:
        chosen = {key: results[config] for key, config in configs.items()}
        transfers += [facts(chosen[key]) for key in itertools.product(SUBJECTS, PROJECTIONS)]
        on_sphere = chosen["picture", "equirectangular"]
        styles.append(
            {
                "style": Path(on_sphere.config.style[0]).stem,
                "turned": turned_difference(on_sphere, chosen["turned"]),
                "time": seconds(on_sphere) / seconds(chosen["flat"]),
            }
        )
    return {"transfers": transfers, "styles": styles}


def seconds(result):
    """Return the seconds of an evaluation."""
    return result.record["timing"]["seconds_per_evaluation"]


def turned_difference(result, turned):
    """Return the root mean square difference of two results in grey levels, one of them turned."""
    before, after = (picture_io.load_picture(each.output) for each in (result, turned))
    back = np.roll(after, -(before.shape[1] // TURN), axis=1)
    return float(np.sqrt(np.square(back - before).mean()))


def facts(result):
    """Return the facts of a finished transfer."""
    picture = picture_io.load_picture(result.output)
    return {
        "style": Path(result.config.style[0]).stem,
        "subject": "texture" if result.config.init == "noise" else "picture",
        "projection": result.config.projection,
        **{name: jump(picture, edges(picture.shape[1])) for name, edges in JUMPS.items()},
        "frequency": polar_frequency(picture),
        "picture": str(result.output),
    }


# --- places and directions: unit vectors (east, north, up) ----------------------------------------


def look_up(picture, directions):
    """Return the colors that a panorama has in directions, with linear interpolation.

    Args:
      picture: H × 2H × 3.
      directions: … × 3.
    """
    height, width = picture.shape[:2]
    longitude = np.arctan2(directions[..., 0], directions[..., 1])
    column = longitude / (2 * math.pi) * width - 0.5
    latitude = np.arcsin(np.clip(directions[..., 2], -1, 1))
    row = np.clip((0.5 - latitude / math.pi) * height - 0.5, 0, height - 1)
    left, above = np.floor(column).astype(int), np.minimum(row.astype(int), height - 2)
    right_share, below_share = (column - left)[..., np.newaxis], (row - above)[..., np.newaxis]

    def along(rows):
        first, second = picture[rows, left % width], picture[rows, (left + 1) % width]
        return first + (second - first) * right_share

    upper, lower = along(above), along(above + 1)
    return upper + (lower - upper) * below_share


def view(picture, forward, up, side):
    """Return a square view of 90° of a panorama, side × side × 3.

    Args:
      picture: H × 2H × 3.
      forward, up: perpendicular directions.
      side: in pixels.
    """
    right = np.cross(forward, up)
    offsets = (np.arange(side) + 0.5) / side * 2 - 1
    rays = (
        np.asarray(forward, float)
        + offsets[np.newaxis, :, np.newaxis] * right
        - offsets[:, np.newaxis, np.newaxis] * np.asarray(up, float)
    )
    return look_up(picture, rays / np.linalg.norm(rays, axis=-1, keepdims=True))


def arc(start, stop, count):
    """Return an edge: places on the great circle between two directions, and its normal at each."""
    start, stop = (np.asarray(end) / np.linalg.norm(end) for end in (start, stop))
    angle = np.arccos(np.clip(start @ stop, -1, 1))
    tangent = stop - (start @ stop) * start
    tangent /= np.linalg.norm(tangent)
    steps = angle * ((np.arange(count) + 0.5) / count)[:, np.newaxis]
    places = np.cos(steps) * start + np.sin(steps) * tangent
    return places, np.broadcast_to(np.cross(start, tangent), places.shape)


def meridian(longitude, south, north, count):
    """Return the edge along a longitude between two latitudes."""

    def place(latitude):
        flat = math.cos(latitude)
        return flat * math.sin(longitude), flat * math.cos(longitude), math.sin(latitude)

    return arc(place(south), place(north), count)


def cube_edges(count):
    """Return the twelve edges of a cube."""
    corners = list(itertools.product((-1, 1), repeat=3))
    return [
        arc(start, stop, count)
        for start, stop in itertools.combinations(corners, 2)
        if np.count_nonzero(np.subtract(start, stop)) == 1
    ]


def chart_edges(count):
    """Return the edges of the charts of `sphere`: two circles of latitude, and eight meridians."""
    seam = math.asin(sphere.SEAM)
    longitudes = 2 * math.pi * (np.arange(count) + 0.5) / count
    edges = []
    for latitude in (seam, -seam):
        east, north = np.sin(longitudes), np.cos(longitudes)
        flat, up = math.cos(latitude), math.sin(latitude)
        places = np.stack([flat * east, flat * north, np.full(count, up)], axis=-1)
        normals = np.stack([-up * east, -up * north, np.full(count, flat)], axis=-1)
        edges.append((places, normals))
    for quarter in range(sphere.PARTS):
        longitude = 2 * math.pi * quarter / sphere.PARTS
        edges.append(meridian(longitude, seam, 1.5, count))
        edges.append(meridian(longitude, -1.5, -seam, count))
    return edges


def jump(picture, edges):
    """Return the mean difference across edges, relative to that in places next to them.

    Args:
      picture: panorama, H × 2H × 3.
      edges: (places, normals), both N × 3, of each.
    """
    pixel = 2 * math.pi / picture.shape[1]

    def difference(offset):
        """Return the mean difference of two places, `offset` pixels from the edges."""
        total = 0.0
        for places, normals in edges:
            pair = [
                look_up(picture, np.cos(angle) * places + np.sin(angle) * normals)
                for angle in (pixel * (offset - 1), pixel * (offset + 1))
            ]
            total += np.abs(pair[1] - pair[0]).mean()
        return total

    return float(difference(0) / np.mean([difference(offset) for offset in OTHERS]))


def polar_frequency(picture):
    """Return the mean spatial frequency in views of the poles, relative to views around."""
    from gatys_norm.experiments import measurements

    side = picture.shape[1] // 4
    up, east, north = (0, 0, 1), (1, 0, 0), (0, 1, 0)
    around = [(direction, up) for direction in (north, east, (0, -1, 0), (-1, 0, 0))]
    poles = [(up, (0, -1, 0)), ((0, 0, -1), north)]
    means = [
        statistics.mean(
            measurements.spectral_centroid(view(picture, *directions, side)) for directions in views
        )
        for views in (poles, around)
    ]
    return means[0] / means[1] if means[1] else math.nan


# --- what is written ------------------------------------------------------------------------------


def tables(report):
    """Return the report as Markdown."""
    rows = []
    for subject, projection in itertools.product(SUBJECTS, PROJECTIONS):
        chosen = chosen_facts(report["transfers"], subject, projection)
        cells = [
            mean_and_range([facts[name] for facts in chosen]) for name in (*JUMPS, "frequency")
        ]
        rows.append(" | ".join([subject, projection, *cells]))
    return "\n\n".join(
        [
            benchmark_report.machine_line(report["machine"]),
            benchmark_report.settings_line(report["settings"], report["transfers"]),
            benchmark_report.table(TITLES, rows),
            conclusion(report),
        ]
    )


def chosen_facts(transfers, subject, projection):
    """Return the facts of the transfers of a subject with a projection."""
    return [
        facts
        for facts in transfers
        if (facts["subject"], facts["projection"]) == (subject, projection)
    ]


def mean_and_range(values):
    """Return the mean of values, and the least and the largest one."""
    return f"{statistics.mean(values):.2f} ({min(values):.2f}–{max(values):.2f})"


def conclusion(report):
    """Return the sentences that say which goals are reached on the sphere."""
    on_sphere = [facts for facts in report["transfers"] if facts["projection"] == "equirectangular"]
    jumps = {name: statistics.mean(facts[name] for facts in on_sphere) for name in JUMPS}
    textures = [facts for facts in on_sphere if facts["subject"] == "texture"]
    frequency = statistics.mean(facts["frequency"] for facts in textures)
    turned = max(facts["turned"] for facts in report["styles"])
    time = statistics.mean(facts["time"] for facts in report["styles"])
    least, most = GOALS["jump"]
    is_even = all(least <= value <= most for value in jumps.values())
    return (
        f"On the sphere, mean jumps are {_and(f'{value:.3f}' for value in jumps.values())} of "
        f"those next to them, which {_is(is_even)} within {least:.2f} to {most:.2f}; the mean "
        f"frequency of textures at the poles is {frequency:.2f} of that around, which "
        f"{_is(GOALS['frequency'][0] <= frequency <= GOALS['frequency'][1])} within 10 %. Results "
        f"of the panorama turned by 90° differ by {turned:.2f} grey levels at most, which "
        f"{_is(turned <= GOALS['turned'])} at most {GOALS['turned']:g}. An evaluation takes "
        f"{time:.2f} times as long as that of a flat picture with as many pixels as six faces, "
        f"which {_is(time <= GOALS['time'])} at most {GOALS['time']:g}."
    )


def _is(holds):
    return "is" if holds else "is not"


def _and(words):
    *first, last = words
    return f"{', '.join(first)} and {last}"


def sheet(transfers):
    """Return views of the pictures of one style: at the poles, and where the sides meet."""
    looks = {
        "above": ((0, 0, 1), (0, -1, 0)),
        "below": ((0, 0, -1), (0, 1, 0)),
        "where the sides meet": ((0, 1, 0), (0, 0, 1)),
    }
    style = transfers[0]["style"]
    chosen = [facts for facts in transfers if facts["style"] == style]
    cells = [
        [
            view(picture_io.load_picture(facts["picture"]), *directions, CELL_WIDTH)
            for facts in chosen
        ]
        for directions in looks.values()
    ]
    titles = [f"{facts['subject']}, {facts['projection']}" for facts in chosen]
    return contact_sheet.labeled_grid(list(looks), titles, cells, CELL_WIDTH)


if __name__ == "__main__":
    console.leave(program.call(__doc__, benchmark, sys.argv, define_flags))
