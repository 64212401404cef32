"""Measure how steady films are, on clips of which the motion is known exactly.

    python scripts/benchmarks/films.py --update

Writes results/films.json (`--output`), the same as tables, and the films, as folders of frames,
into a folder next to it. Films and frames that are finished there are not computed again. With
--update, the tables go into docs/film.md. Of the flags of a transfer it has --weights, --size,
which is that of all films without another one, and --iterations; the other settings are defaults.
"""

import dataclasses
import functools
import sys
from pathlib import Path
from typing import NamedTuple

import film_measures
import report as benchmark_report
from absl import flags
from film_measures import Film, clips

from gatys_norm.cli import console, errors, program
from gatys_norm.cli import film as film_command
from gatys_norm.cli import flags as cli_flags
from gatys_norm.config import ConfigError, TransferConfig
from gatys_norm.film.settings import DEFAULT_TEMPORAL_WEIGHT, FilmConfig

PAGE = benchmark_report.ROOT / "docs" / "film.md"
CLIPS = ("pan", "zoom", "rotation", "passing")
SIZES = ("128", "256", "512")
STARTS = ("content", "noise")  # of frames that are made alone
LEAST_SIZE = 64
MOST_GRAINY_FRAMES = 25  # of the still film with noise, all of which are computed
# The disc is away for 10 frames, and comes back the way it left: in the last frame it is where it
# was 19 frames before, far enough inside for its motion to be found; before that 17, 15, 13, 11.
RETURN_COUNT, RETURN_DISTANCES = 23, (1, 11, 13, 15, 17, 19)
ERROR_GOALS = {"content": 1 / 4, "noise": 1 / 10}
REFLECTION_GOAL, RETURN_GOAL, DRIFT_GOAL, FADE_GOAL = 0.03, 2, 0.5, 1 / 2
EVALUATIONS_GOAL, FLOW_GOAL, SIZES_GOAL = 1 / 4, 0.05, 1.2


class Settings(NamedTuple):
    """What is measured; the numbers and lists of the flags."""

    config: TransferConfig
    clips: tuple[str, ...]
    styles: tuple[str, ...]
    sizes: tuple[int, ...]
    frames: int
    equal_frames: int
    later_iterations: int


def define_flags(values):
    """Add the flags of this program."""
    for name, default, explanation in (
        ("clips", list(CLIPS), "clips, functions of data/draw/clips.py"),
        ("sizes", list(SIZES), "sizes at which one temporal weight is tried"),
    ):
        flags.DEFINE_list(name, default, explanation, flag_values=values)
    benchmark_report.define_styles(values, "style pictures; the first one is that of most films")
    explanation = "number of frames of most films"
    flags.DEFINE_integer("frames", 6, explanation, 3, flag_values=values)
    explanation = "number of frames of the films without motion"
    flags.DEFINE_integer("equal_frames", 100, explanation, 2, flag_values=values)
    explanation = "most iterations of each frame after the first"
    flags.DEFINE_integer("later_iterations", 100, explanation, 1, flag_values=values)
    benchmark_report.define_update(values, [PAGE])


def benchmark(values):
    """Measure everything and write the report."""
    cli_flags.refuse_flags(("style",), values, "see --styles")
    cli_flags.refuse_flags(("content",), values, "the films are drawn")
    film_command.check_packages()
    config = benchmark_report.config_from_flags(values, size=128, iterations=500)
    styles = cli_flags.expanded(cli_flags.required(values, "styles"))
    sizes = benchmark_report.sizes_from_flag("sizes", values.sizes, config)
    if min(*sizes, *config.size) < LEAST_SIZE:
        raise errors.InputError(f"--size, --sizes: must be {LEAST_SIZE} or more")
    for name in cli_flags.required(values, "clips"):
        if name not in CLIPS:
            raise errors.InputError(f"--clips: {name}: must be of {', '.join(CLIPS)}")
    destination, machine = benchmark_report.prepare(values, "films", [PAGE], config.weights)
    with errors.refusing(ConfigError, prefix="--styles: "):
        configs = [dataclasses.replace(config, style=(styles[0],))]
    settings = Settings(
        *benchmark_report.with_weights(configs, machine),
        tuple(values.clips),
        tuple(styles),
        sizes,
        values.frames,
        values.equal_frames,
        values.later_iterations,
    )
    folder = destination.output.with_suffix("").resolve()
    measured = benchmark_report.in_own_process(measure, settings, folder)
    plain = settings._asdict() | {"config": settings.config.as_dict()}
    report = {"machine": machine, "settings": plain, **measured}
    benchmark_report.finish(destination, report, tables(report))


# Measuring


def measure(settings, folder):
    """Make the films that are not finished in a folder, and return the facts of each.

    Args:
      settings: `Settings`.
      folder: absolute path.

    Returns:
      {"steady", "returning", "equal", "fade", "sizes": plain JSON values}.
    """
    parts = (steady, returning, equal, fade, weights_over_sizes_and_styles)
    make = functools.partial(film_of, settings, folder)
    with benchmark_report.progress_bar("parts", len(parts)) as bar:
        measured = {}
        for part in parts:
            measured[part.__name__] = part(settings, folder, make)
            bar.update()
    return measured


def film_of(settings, folder, clip, count, *, grain=0, is_relative=True, film=None, **changes):
    """Return a `Film`.

    Args:
      settings: `Settings`.
      folder: where its files go.
      clip: name of a function of `clips`.
      count: number of frames.
      grain: see `Film`.
      is_relative: see `Film`.
      film: settings of the `FilmConfig` that differ from the defaults.
      changes: settings of its transfer.
    """
    config = dataclasses.replace(settings.config, **changes)
    side = config.size[0]
    grainy = f"-grain{grain}" if grain else ""
    source = folder / "clips" / f"{clip}-{side}-{count}{grainy}"
    config = dataclasses.replace(config, content=str(source))
    later = {"later_iterations": settings.later_iterations}
    film_config = FilmConfig(config, **later | (film or {})).resolved()
    return Film(getattr(clips, clip)(side, count), film_config, grain, is_relative)


def steady(settings, folder, make):
    """Return the facts of films, and of the same frames made alone, for each clip."""
    facts = []
    for clip in settings.clips:
        film = make(clip, settings.frames)
        own_error = film_measures.mean_warping_error(film.clip, film_measures.drawn(film))
        made = {"film": film_measures.facts(film, folder)}
        for start in STARTS:
            made[start] = film_measures.facts_of_frames_alone(film, folder, init=start)
        facts.append({"clip": clip, "own_error": own_error, "made": made})
    return facts


def returning(_, folder, make):
    """Return the errors on a disc that comes back, with and without a term that remembers it."""
    facts = {}
    for distances in ((1,), RETURN_DISTANCES):
        film = make("returning", RETURN_COUNT, film={"temporal_frames": distances})
        errors_on_disc = film_measures.errors_on_disc(film, folder, RETURN_DISTANCES[-1])
        facts[",".join(map(str, distances))] = errors_on_disc
    return facts


def equal(settings, folder, make):
    """Return how far the last frame is from the first, in grey levels, where nothing moves."""
    counts = {0: settings.equal_frames, 1: min(settings.equal_frames, MOST_GRAINY_FRAMES)}
    return {
        str(grain): film_measures.drift(make("still", count, grain=grain), folder)
        for grain, count in counts.items()
    }


def fade(settings, folder, make):
    """Return the content distances of the frames of a fade, for both losses."""
    facts = []
    for loss in ("normalized", "original"):
        film = make("fade", settings.frames, loss=loss, lambda_os=None)
        made = {
            "film": film_measures.facts(film, folder),
            "frames alone": film_measures.facts_of_frames_alone(film, folder),
        }
        facts += [
            {"loss": loss, "made": name, "content_distances": of_film["content_distances"]}
            for name, of_film in made.items()
        ]
    return facts


def weights_over_sizes_and_styles(settings, folder, make):
    """Return errors of films at each size and with each style, with one weight of each kind.

    The weight of the term that is not relative is the one that gives both the same coefficient in
    the first film.
    """
    size = settings.config.size
    first = make("passing", settings.frames)
    own_weight = {"temporal_weight": film_measures.peer_weight(first, folder)}
    chosen = [((side,), first.config.transfer.style) for side in settings.sizes]
    chosen += [(size, (style,)) for style in settings.styles]
    facts = []
    for (side,), style in dict.fromkeys(chosen):
        row = {"size": side, "style": Path(style[0]).stem}
        for name, is_relative in (("relative", True), ("per pixel", False)):
            film = make(
                "passing",
                settings.frames,
                is_relative=is_relative,
                film={} if is_relative else own_weight,
                size=(side,),
                style=style,
            )
            of_film = film_measures.facts(film, folder)
            own_error = film_measures.mean_warping_error(film.clip, film_measures.drawn(film))
            row[name] = of_film["warping_error"] / own_error
            row[f"where reliable, {name}"] = of_film["error_where_reliable"]
            row[f"reflection, {name}"] = of_film["style_reflection"]
        facts.append(row)
    return {"weight per pixel": own_weight["temporal_weight"], "films": facts}


# Tables


def tables(report):
    """Return the report as Markdown."""
    parts = (steady_table, effort, return_table, drift_table, fade_table, weights_table)
    texts = [text for part in parts for text in part(report)]
    return "\n\n".join(
        [
            benchmark_report.machine_line(report["machine"]),
            settings_line(report["settings"]),
            *texts,
        ]
    )


def settings_line(settings):
    """Return what holds for the films of which a table does not say otherwise."""
    config = settings["config"]
    return (
        f"Size {config['size'][0]}, {settings['frames']} frames, {config['iterations'][0]} "
        f"iterations for the first frame and at most {settings['later_iterations']} for each other "
        f"one; style: {Path(settings['styles'][0]).stem}."
    )


def verdict(value, goal):
    """Return a value with its goal: a number that should not be above another one."""
    return f"{value:.3g} (goal: at most {goal:.3g}, {'met' if value <= goal else 'not met'})"


def steady_table(report):
    """Return the table of warping errors, and how far the goals are reached."""
    rows, ratios, differences = [], {start: [] for start in STARTS}, []
    for facts in report["steady"]:
        film, made = facts["made"]["film"], facts["made"]
        cells = [facts["clip"], f"{facts['own_error']:.5f}"]
        cells += [f"{of_one['warping_error']:.5f}" for of_one in made.values()]
        cells += [f"{of_one['style_reflection']:.3f}" for of_one in made.values()]
        rows.append(" | ".join(cells))
        for start in STARTS:
            ratios[start].append(film["warping_error"] / made[start]["warping_error"])
            difference = made[start]["style_reflection"] - film["style_reflection"]
            differences.append(difference)
    names = ["film", *(f"alone from {start}" for start in STARTS)]
    titles = ["clip", "the clip's own error"]
    titles += [f"{measure}, {name}" for measure in ("error", "reflection") for name in names]
    against = [
        f"against frames alone from {start} {verdict(max(ratios[start]), ERROR_GOALS[start])}"
        for start in STARTS
    ]
    return [
        benchmark_report.table(" | ".join(titles), rows),
        f"Largest ratio of warping errors: {', '.join(against)}. Largest loss of mean style "
        f"reflection: {verdict(max(differences), REFLECTION_GOAL)}.",
    ]


def effort(report):
    """Return the sentence about evaluations and the time of the flow."""
    films = [facts["made"]["film"] for facts in report["steady"]]
    ratio = max(max(film["evaluations"][1:]) / film["evaluations"][0] for film in films)
    share = max(film["flow_share"] for film in films)
    return [
        f"Evaluations of a later frame, over those of the first: "
        f"{verdict(ratio, EVALUATIONS_GOAL)}. Share of the time that the flow takes: "
        f"{verdict(share, FLOW_GOAL)}."
    ]


def return_table(report):
    """Return the table of the disc that comes back."""
    titles = "compared with frames before | error on the disc, mean | error on its return | ratio"
    rows, ratios = [], []
    for distances, errors_on_disc in report["returning"].items():
        short, long = errors_on_disc["short"], errors_on_disc["long"]
        ratios.append(long / short)
        rows.append(f"{distances} | {short:.5f} | {long:.5f} | {ratios[-1]:.2f}")
    return [
        benchmark_report.table(titles, rows),
        f"With frames up to {RETURN_DISTANCES[-1]} before, the ratio is "
        f"{verdict(ratios[-1], RETURN_GOAL)}.",
    ]


def drift_table(report):
    """Return the sentence about frames in which nothing moves."""
    count, (same, grainy) = report["settings"]["equal_frames"], report["equal"].values()
    return [
        f"After {count} equal frames the mean difference from the first, in grey levels, is "
        f"{verdict(same, DRIFT_GOAL)}; where each frame has noise of one grey level it is "
        f"{grainy:.3g} after {min(count, MOST_GRAINY_FRAMES)}."
    ]


def fade_table(report):
    """Return the table of the fade from exposure 1 to 0.25."""
    rows, ranges = [], {}
    for facts in report["fade"]:
        distances = facts["content_distances"]
        ranges[facts["made"], facts["loss"]] = max(distances) - min(distances)
        cells = [facts["loss"], facts["made"], f"{distances[0]:.4f}", f"{distances[-1]:.4f}"]
        rows.append(" | ".join([*cells, f"{max(distances) - min(distances):.4f}"]))
    ratios = [
        f"of the {made}: " if made == "film" else f"of {made}: "
        for made in ("film", "frames alone")
    ]
    ratios = [
        words + verdict(ranges[made, "normalized"] / ranges[made, "original"], FADE_GOAL)
        for words, made in zip(ratios, ("film", "frames alone"), strict=True)
    ]
    titles = "loss | made | content distance, first frame | last frame | range"
    return [
        benchmark_report.table(titles, rows),
        f"Range with the normalized loss, over that with the original one, {'; '.join(ratios)}.",
    ]


def weights_table(report):
    """Return the table of one temporal weight at several sizes and with several styles."""
    part = report["weights_over_sizes_and_styles"]
    kinds = ("relative", "per pixel")
    measured = [f"{words}{kind}" for words in ("where reliable, ", "") for kind in kinds]
    rows = []
    for facts in part["films"]:
        cells = [str(facts["size"]), facts["style"], *(f"{facts[name]:.2f}" for name in measured)]
        cells += [f"{facts[f'reflection, {kind}']:.3f}" for kind in kinds]
        rows.append(" | ".join(cells))
    sizes = [facts for facts in part["films"] if facts["style"] == part["films"][0]["style"]]
    in_sizes, in_all = (
        {name: spread_of([facts[name] for facts in films]) for name in measured}
        for films in (sizes, part["films"])
    )
    titles = ["size", "style", *(f"error {name}" for name in measured[: len(kinds)])]
    titles += [f"error, {kind}" for kind in kinds] + [f"reflection, {kind}" for kind in kinds]
    relative, per_pixel, relative_everywhere, per_pixel_everywhere = measured
    return [
        benchmark_report.table(" | ".join(titles), rows),
        f"*Relative* is this program's term with λ_t = {DEFAULT_TEMPORAL_WEIGHT:g}; *per pixel* is "
        f"divided by the number of pixels instead, with the weight "
        f"{part['weight per pixel']:.3g}, which is the same in the film of size "
        f"{report['settings']['config']['size'][0]} with the first style. Errors are relative to "
        f"the clip's own; *where reliable* is where the motion is reliable, so that the term acts. "
        f"Largest over smallest error there: over sizes "
        f"{verdict(in_sizes[relative], SIZES_GOAL)} against {in_sizes[per_pixel]:.3g}; over all "
        f"{in_all[relative]:.3g} against {in_all[per_pixel]:.3g}. On all pixels that are truly "
        f"visible: over sizes {verdict(in_sizes[relative_everywhere], SIZES_GOAL)} against "
        f"{in_sizes[per_pixel_everywhere]:.3g}; edges of motion, which are not reliable, are a "
        f"larger share of a smaller frame.",
    ]


def spread_of(values):
    """Return the largest value over the smallest."""
    return max(values) / min(values)


if __name__ == "__main__":
    console.leave(program.call(__doc__, benchmark, sys.argv, define_flags))
