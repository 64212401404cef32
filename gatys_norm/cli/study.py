"""The flags of `gatys-norm reproduce`, and the `Study` and the figures that they describe."""

from __future__ import annotations

import dataclasses
import functools
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from absl import flags

from gatys_norm.cli import flags as cli_flags
from gatys_norm.cli import grid as grid_command
from gatys_norm.cli.errors import InputError, refusing
from gatys_norm.config import ConfigError
from gatys_norm.experiments import figures as paper_figures
from gatys_norm.images import io as picture_io

DATA = Path(__file__).parents[2] / "data"  # in a clone; an installed package has none
CONTENT = "river_town"
STYLES = ("flowing_strokes", "angular_planes", "soft_washes")
SET_BY_FIGURES = (
    *(
        "style",
        "loss",
        "lambda_os",
        "strength",
        "output",
        "config_from",
        "resume",
        "snapshot_every",
    ),
    *("bit_depth", "dpi"),
)
NUMBERS = ("lambdas_original", "lambdas_normalized", "lambdas_by_style")


def samples(*names: str) -> list[str] | None:
    """Return the paths of sample pictures from the present folder; None if one is missing."""
    paths = [DATA / f"{name}.jpg" for name in names]
    return [os.path.relpath(path) for path in paths] if all(map(Path.is_file, paths)) else None


def define_flags(values: flags.FlagValues) -> None:
    """Add the flags of the figures; their defaults are those of `paper_figures.Study`."""
    default: dict[str, Any] = {
        field.name: field.default for field in dataclasses.fields(paper_figures.Study)
    }
    define_list = functools.partial(flags.DEFINE_list, flag_values=values)
    define_number = functools.partial(flags.DEFINE_float, flag_values=values)
    define_path = functools.partial(cli_flags.define_path, flag_values=values)

    def define_numbers(name: str, explanation: str) -> None:
        define_list(name, [f"{value:g}" for value in default[name]], explanation)

    optional = ", ".join(paper_figures.OPTIONAL_FIGURES)
    explanation = (
        f"all, or some of {', '.join(paper_figures.FIGURES)}; also {optional}, which all leaves out"
    )
    define_list("figures", ["all"], explanation)
    define_list("styles", samples(*STYLES), "the paths of the style pictures")
    define_path("output_dir", "results/reproduction", "folder for everything; made if missing")
    define_path("summary_dir", None, "folder for a small version to keep: claims and figures")
    define_numbers("lambdas_original", "λ_os along figure 2(a)")
    define_numbers("lambdas_normalized", "λ_os along figure 6(a)")
    define_numbers(
        "lambdas_by_style", "λ_os of each style in figures 2(b) and 2(c), or one for all"
    )
    define_number(
        "lambda_normalized", default["lambda_normalized"], "λ_os in figures 6(b) and 6(c)"
    )
    define_list("sizes", None, "sizes of figures 2(c) and 6(c); default half, once, twice --size")
    define_number("boost", default["boost"], "factor of the raised layer's weight")
    explanation = "more contents; every figure has each style on each content"
    define_list("more_contents", [], explanation)
    explanation = "noise starts per style of the instability"
    flags.DEFINE_integer("starts", default["starts"], explanation, flag_values=values)
    explanation = (
        "also measure by networks that no loss optimizes, and test the claims with that (the extra "
        "measures)"
    )
    flags.DEFINE_bool("independent_measures", False, explanation, flag_values=values)
    grid_command.define_flags(values)


def figures_from_flags(values: flags.FlagValues) -> tuple[str, ...]:
    """Return the names of the figures that --figures asks for, in the order of the paper."""
    names, optional = values.figures, paper_figures.OPTIONAL_FIGURES
    if "all" in names and set(names) <= {"all", *optional}:
        names = [*paper_figures.FIGURES, *(name for name in names if name != "all")]
    known = (*paper_figures.FIGURES, *optional)
    unknown = [name for name in names if name not in known]
    if unknown or not names:
        raise InputError(
            f"--figures: must be all, or some of {', '.join(known)}, not {','.join(unknown)!r}"
        )
    return tuple(name for name in known if name in names)


def pictures_of(flag: str, paths: Iterable[str]) -> tuple[str, ...]:
    """Return the pictures that a flag names; a folder stands for those in it, sorted by name.

    Raises:
      InputError: a folder cannot be read, or has no picture.
    """
    pictures: list[str] = []
    for path in map(os.path.expanduser, paths):
        if not os.path.isdir(path):
            pictures.append(path)
            continue
        with refusing(OSError, prefix=f"--{flag}: "):
            names = sorted(os.listdir(path))
        inside = [name for name in names if name.lower().endswith(picture_io.SUFFIXES)]
        if not inside:
            endings = ", ".join(picture_io.SUFFIXES)
            raise InputError(
                f"--{flag}: {path}: has no picture; names of pictures end in {endings}"
            )
        pictures += [os.path.join(path, name) for name in inside]
    return tuple(pictures)


def study_from_flags(values: flags.FlagValues) -> paper_figures.Study:
    """Return the `Study` that the flags describe.

    Raises:
      InputError: a flag cannot be used.
    """
    cli_flags.refuse_flags(SET_BY_FIGURES, values, "the figures set it themselves")
    cli_flags.refuse_flags(("preview",), values, "it shows one transfer at a time")
    cli_flags.refuse_flags(("projection",), values, "the paper's figures are of flat pictures")
    styles = pictures_of("styles", cli_flags.required(values, "styles"))
    content = samples(CONTENT)
    default = {} if values["content"].present or content is None else {"content": content[0]}
    base = cli_flags.config_from_flags(values, style=styles[0], **default)
    size = base.size[0]
    sizes = (size // 2, size, 2 * size)
    if values["sizes"].present:
        sizes = cli_flags.numbers("sizes", values.sizes, int)
    lists = {name: cli_flags.numbers(name, getattr(values, name), float) for name in NUMBERS}
    if len(lists["lambdas_by_style"]) == 1:
        lists["lambdas_by_style"] *= len(styles)
    with refusing(ConfigError, prefix="--"):
        study = paper_figures.Study(
            base,
            styles,
            sizes=sizes,
            lambda_normalized=values.lambda_normalized,
            boost=values.boost,
            more_contents=pictures_of("more_contents", values.more_contents),
            starts=values.starts,
            **lists,
        )
        for name in paper_figures.GRIDS:
            paper_figures.grid(study, name)
    return study
