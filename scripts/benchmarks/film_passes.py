"""Measure what passes back and forth do for a film of strong motion.

    python scripts/benchmarks/film_passes.py --update

Makes films of a clip that the project draws, with 1 to 3 passes, and with one pass that has as many
iterations for each frame as 3 passes have in all. Writes results/film_passes.json (`--output`), the
same as a table, and the films into a folder next to it; those that are finished there are not made
again. With --update, the table goes into docs/film.md. Of the flags of a transfer it has --weights,
--size and --iterations; the other settings are defaults.
"""

import dataclasses
import sys

import film_measures
import report as benchmark_report
from absl import flags
from film_measures import Film, clips

from gatys_norm.cli import console, program
from gatys_norm.cli import film as film_command
from gatys_norm.film.settings import FilmConfig

PAGE = benchmark_report.ROOT / "docs" / "film.md"
MOST_PASSES = 3


def define_flags(values):
    """Add the flags of this program."""
    explanation = "number of frames of each film"
    flags.DEFINE_integer("frames", 6, explanation, 3, flag_values=values)
    explanation = "most iterations of each frame after the first, in each pass"
    flags.DEFINE_integer("later_iterations", 20, explanation, 1, flag_values=values)
    benchmark_report.define_update(values, [PAGE])


def benchmark(values):
    """Measure everything and write the report."""
    film_command.check_packages()
    config = benchmark_report.config_from_flags(values, size=96, iterations=60)
    destination, machine = benchmark_report.prepare(values, "film_passes", [PAGE], config.weights)
    [config] = benchmark_report.with_weights([config], machine)
    folder = destination.output.with_suffix("").resolve()
    rows = benchmark_report.in_own_process(
        measure, config, values.frames, values.later_iterations, folder
    )
    settings = {"config": config.as_dict(), "frames": values.frames}
    settings["later_iterations"] = values.later_iterations
    report = {"machine": machine, "settings": settings, "films": rows}
    benchmark_report.finish(destination, report, tables(report))


def measure(config, frame_count, later_iterations, folder):
    """Make the films that are not finished in a folder, and return the facts of each.

    Args:
      config: settings of the transfer of each frame.
      frame_count: number of frames.
      later_iterations: of each frame in each pass.
      folder: absolute path.

    Returns:
      Plain JSON values: {"passes", "later_iterations", "error", "error_of_new", "reflection"}.
    """
    clip = clips.whirl(config.size[0], frame_count)
    source = folder / "clips" / f"whirl-{config.size[0]}-{frame_count}"
    config = dataclasses.replace(config, content=str(source))
    chosen = [(passes, later_iterations) for passes in range(1, MOST_PASSES + 1)]
    rows = []
    for passes, iterations in [*chosen, (1, MOST_PASSES * later_iterations)]:
        settings = FilmConfig(config, later_iterations=iterations, passes=passes).resolved()
        film = Film(clip, settings)
        facts = film_measures.facts(film, folder)
        _, frames = film_measures.made(film, folder)
        rows.append(
            {
                "passes": passes,
                "later_iterations": iterations,
                "error": facts["warping_error"],
                "error_of_new": film_measures.error_of_new_pixels(clip, frames),
                "reflection": facts["style_reflection"],
            }
        )
    return rows


def tables(report):
    """Return the report as Markdown."""
    titles = "passes | iterations per pass | error | error of what is new | reflection"
    rows = [
        f"{row['passes']} | {row['later_iterations']} | {row['error']:.5f} | "
        f"{row['error_of_new']:.5f} | {row['reflection']:.3f}"
        for row in report["films"]
    ]
    settings = report["settings"]
    parts = [
        benchmark_report.machine_line(report["machine"]),
        benchmark_report.table(titles, rows),
        f"A clip of {settings['frames']} frames whose camera turns and comes nearer, at size "
        f"{settings['config']['size'][0]}.",
    ]
    return "\n\n".join(parts)


if __name__ == "__main__":
    console.leave(program.call(__doc__, benchmark, sys.argv, define_flags))
