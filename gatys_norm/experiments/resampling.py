"""How sure a number of the claims is: bootstrap intervals over styles and contents.

A reader wants to know whether other styles and contents would have said the same. So styles and
contents are drawn again, with replacement, as many as there are; both losses get the same draw.
Efron and Tibshirani, "An Introduction to the Bootstrap", 1993 (percentile intervals).
"""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple, TypeAlias

import numpy as np

from gatys_norm.config import PAPER_LOSSES
from gatys_norm.text import finite_or_none

DRAWS = 1000
CONFIDENCE = 0.95
LEAST_STYLES = 6  # fewer agree by chance too often: all of n in 2 · ½ⁿ of the cases

_Place: TypeAlias = tuple[int, int, str]  # number of style, number of content, name of the row
Rows: TypeAlias = Mapping[str, tuple[str, str]]  # {name of a row: (style, content)}


class Drawn(NamedTuple):
    """The values of one row in a draw; equal numbers are the same style, or the same content."""

    style: int
    content: int
    values: tuple[float, ...]


ReduceRows: TypeAlias = "Callable[[Sequence[Drawn]], float | None]"


class Evidence(NamedTuple):
    """The values from which a number of each loss was computed, and how.

    Attributes:
      by_row: {loss: {name of a row: values}}.
      reduce: function from the values of all rows to the number; None if there are too few.
      draws_contents: whether contents are drawn too; a number that compares them needs them all.
      intervals: see `intervals`; empty if they have not been computed.
    """

    by_row: Mapping[str, Mapping[str, tuple[float, ...]]]
    reduce: ReduceRows
    draws_contents: bool = True
    intervals: dict[str, list[float]] = {}  # noqa: RUF012  # never changed


def intervals(evidence: Evidence, rows: Rows) -> dict[str, list[float]]:
    """Return the intervals in which the numbers of 95 % of the draws lie.

    Args:
      evidence: values of both losses; rows that one of them lacks are left out.
      rows: style and content of each row.

    Returns:
      {"original": [low, high], "normalized": …, "difference": of normalized − original}; for a
      third loss also its own and that of it − normalized. Empty with fewer than six styles, or if a
      number is undefined in every draw.
    """
    losses = tuple(dict.fromkeys((*PAPER_LOSSES, *evidence.by_row)))
    complete = frozenset(
        name for name in rows if all(name in evidence.by_row.get(loss, {}) for loss in losses)
    )
    if len({rows[name][0] for name in complete}) < LEAST_STYLES:
        return {}
    numbers = []
    places = tuple((name, *rows[name]) for name in sorted(complete))
    for draw in _draws(places, evidence.draws_contents):
        of_losses = [_number(evidence, loss, draw) for loss in losses]
        if None not in of_losses:
            numbers.append(of_losses)
    if not numbers:
        return {}
    by_loss = dict(zip(losses, np.array(numbers, float).T, strict=True))
    series = by_loss | {"difference": by_loss["normalized"] - by_loss["original"]}
    for loss in losses[len(PAPER_LOSSES) :]:
        series[f"{loss} − normalized"] = by_loss[loss] - by_loss["normalized"]
    ends = (50 * (1 - CONFIDENCE), 50 * (1 + CONFIDENCE))
    return {name: np.percentile(values, ends).tolist() for name, values in series.items()}


def all_rows(evidence: Evidence, loss: str, rows: Rows) -> list[Drawn]:
    """Return every row of a loss once, as one draw."""
    styles, contents = (sorted({pair[part] for pair in rows.values()}) for part in (0, 1))
    return [
        Drawn(styles.index(rows[name][0]), contents.index(rows[name][1]), values)
        for name, values in evidence.by_row[loss].items()
    ]


@functools.lru_cache(maxsize=16)
def _draws(rows: tuple[tuple[str, str, str], ...], draws_contents: bool) -> list[list[_Place]]:
    """Return the rows of each draw, given name, style and content of every row."""
    styles, contents = (sorted({row[part] for row in rows}) for part in (1, 2))
    names = {(styles.index(style), contents.index(content)): name for name, style, content in rows}
    generator = np.random.default_rng(0)
    draws = []
    for _ in range(DRAWS):
        drawn_styles, drawn_contents = (
            generator.integers(len(listed), size=len(listed)).tolist()
            for listed in (styles, contents)
        )
        if not draws_contents:
            drawn_contents = range(len(contents))
        cells = itertools.product(enumerate(drawn_styles), enumerate(drawn_contents))
        draws.append(
            [
                (number, content_number, names[style, content])
                for (number, style), (content_number, content) in cells
                if (style, content) in names
            ]
        )
    return draws


def _number(evidence: Evidence, loss: str, draw: Sequence[_Place]) -> float | None:
    by_row = evidence.by_row[loss]
    drawn = [Drawn(style, content, by_row[name]) for style, content, name in draw]
    return finite_or_none(evidence.reduce(drawn)) if drawn else None


# Numbers of all rows


def mean_of(drawn: Sequence[Drawn]) -> float | None:
    """Return the mean of all values."""
    numbers = [value for row in drawn for value in row.values]
    return math.fsum(numbers) / len(numbers) if numbers else None


def spread_of(drawn: Sequence[Drawn]) -> float | None:
    """Return the largest minus the smallest of all values; None for fewer than two rows."""
    numbers = [value for row in drawn for value in row.values]
    return max(numbers) - min(numbers) if len(drawn) > 1 else None
