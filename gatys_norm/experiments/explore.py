"""The cells of a sheet: every combination of contents, styles and settings. No TensorFlow."""

from __future__ import annotations

import dataclasses
import itertools
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from gatys_norm.config import DEFAULT_LAMBDA_OS, TransferConfig
from gatys_norm.experiments import statistics
from gatys_norm.record import Record
from gatys_norm.text import finite_or_none

NAME_BYTES = 60  # of a content or a style within the name of a cell
DEFAULT_LAMBDAS = {
    loss: (value * 10, value, value / 10) for loss, value in DEFAULT_LAMBDA_OS.items()
}


class Axis(NamedTuple):
    """A setting of which a sheet shows several values.

    Attributes:
      setting: its name, a number in `TransferConfig`.
      label: its name on the page.
      explanation: its help.
    """

    setting: str
    label: str
    explanation: str


AXES = (
    Axis(
        "lambda_os",
        "λ_os",
        "weights of the content loss; default "
        + ", ".join(
            f"{','.join(f'{value:g}' for value in values)} {loss}"
            for loss, values in DEFAULT_LAMBDAS.items()
        ),
    ),
    Axis("strength", "strength", "how strong the style is, 0 to 1, instead of lambda_os"),
    Axis(
        "stroke_size", "stroke size", "how large the style's strokes appear, as 0.5,1,2; default 1"
    ),
)


@dataclass(frozen=True)
class Cell:
    """One transfer of a sheet.

    Attributes:
      name: name for its picture, without suffix; no other cell of the sheet has it.
      labels: {what varies: its value here}; content and style first, then settings.
      config: `TransferConfig`.
    """

    name: str
    labels: dict[str, str | float]
    config: TransferConfig


def values_of_axes(
    base: TransferConfig, given: Mapping[str, Sequence[float]]
) -> dict[str, tuple[Any, ...]]:
    """Return {setting: its values} for all of `AXES`.

    Args:
      base: the other settings.
      given: {setting: values} of those that were chosen.
    """
    defaults: dict[str, tuple[Any, ...]]
    defaults = {axis.setting: (getattr(base, axis.setting),) for axis in AXES}
    if not given.get("strength"):
        defaults["lambda_os"] = DEFAULT_LAMBDAS[base.loss]
    return {
        setting: tuple(dict.fromkeys(given.get(setting) or default))
        for setting, default in defaults.items()
    }


def cells(
    base: TransferConfig,
    contents: Sequence[str],
    styles: Sequence[str],
    values: Mapping[str, Sequence[Any]],
) -> list[Cell]:
    """Return the cells of a sheet, in the order of contents, styles and settings.

    Args:
      base: settings that all cells have.
      contents: paths of pictures.
      styles: paths of pictures.
      values: {setting: its values}, see `values_of_axes`; a value of None is left to `base`.

    Raises:
      ConfigError: a value is out of range.
    """
    made = [
        _cell(base, content, style, dict(zip(values, chosen, strict=True)))
        for content, style, *chosen in itertools.product(
            zip(distinct(map(picture_name, contents)), contents, strict=True),
            zip(distinct(map(picture_name, styles)), styles, strict=True),
            *values.values(),
        )
    ]
    names = distinct(cell.name for cell in made)
    return [dataclasses.replace(cell, name=name) for cell, name in zip(made, names, strict=True)]


def _cell(
    base: TransferConfig,
    content: tuple[str, str],
    style: tuple[str, str],
    values: Mapping[str, Any],
) -> Cell:
    """Return the cell of one content and one style, each (name, path), and {setting: value}."""
    settings = {setting: value for setting, value in values.items() if value is not None}
    config = dataclasses.replace(base, content=content[1], style=(style[1],), **settings)
    labels = {axis.label: settings[axis.setting] for axis in AXES if axis.setting in settings}
    return Cell(
        cell_name(content[0], style[0], config),
        {"content": content[0], "style": style[0]} | labels,
        config,
    )


def cell_name(content: str, style: str, config: TransferConfig) -> str:
    """Return the name for a picture: content, style, loss, what is not as usual, sizes."""
    settings = [
        f"{axis.setting}-{getattr(config, axis.setting):g}"
        for axis in AXES
        if getattr(config, axis.setting) != getattr(TransferConfig, axis.setting)
    ]
    return "_".join([content, style, config.loss, *settings, "-".join(map(str, config.size))])


def picture_name(path: str) -> str:
    """Return the name of a picture without folder and suffix, shortened, safe in a file name."""
    name = re.sub(r"[^\w.-]+", "_", Path(path).stem) or "_"
    return name.encode()[:NAME_BYTES].decode(errors="ignore")


def distinct(names: Iterable[str]) -> list[str]:
    """Return names with a number after those that differ from an earlier one in case at most."""
    taken: set[str] = set()
    different = []
    for name in names:
        numbered = (f"{name}-{number}" for number in itertools.count(2))
        free = next(
            candidate
            for candidate in itertools.chain([name], numbered)
            if candidate.casefold() not in taken
        )
        taken.add(free.casefold())
        different.append(free)
    return different


def at_full_size(config: TransferConfig, size: int) -> TransferConfig:
    """Return the settings of a cell at another last size; smaller sizes stay, larger ones do not.

    Args:
      config: `TransferConfig`.
      size: long side of the content in pixels.
    """
    sizes = (*(coarse for coarse in config.size[:-1] if coarse < size), size)
    iterations = config.iterations
    if len(iterations) > 1:
        iterations = (*iterations[: len(sizes) - 1], iterations[-1])
    return dataclasses.replace(config, size=sizes, iterations=iterations)


def measures_of(record: Record) -> dict[str, float | None]:
    """Return {name: value} of what a sheet says about a result; None where undefined."""
    metrics = record["metrics"]
    measures = {
        label: statistics.mean_over_layers(metrics, measure)
        for measure, label in statistics.MEASURES.items()
    }
    measures["strength"] = finite_or_none(metrics.get("strength"))
    return measures | {"seconds": record["timing"]["seconds"]}
