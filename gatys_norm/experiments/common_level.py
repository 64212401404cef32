"""The λ_os at which the sweeps of all styles, with both losses, reach a common level.

A curve is the value of one style with one loss over log10 λ_os, linear between its points; points
that are undefined are left out. The common level is the middle of the interval [largest minimum of
all curves, smallest maximum of all curves]; there is none if this interval is empty.
"""

import itertools
import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from gatys_norm.config import LOSSES
from gatys_norm.experiments.pairing import Measured, Runs, in_both_losses
from gatys_norm.experiments.statistics import Metrics, mean_over_layers
from gatys_norm.text import finite_or_none

Curve: TypeAlias = list[tuple[float, float]]  # (λ_os, value), λ_os falling


@dataclass(frozen=True)
class Crossings:
    """The common level of the curves of a measure, and where each curve meets it.

    Attributes:
      level: the common level; None if there is none.
      interval: the largest minimum and the smallest maximum; empty if there are no curves.
      positions: log10 λ_os at the level, per style and loss; empty if there is no level.
      curves: curve per style and loss; some may have no points.
      notes: what is missing, and why.
    """

    level: float | None
    interval: list[float]
    positions: list[Measured[float]]
    curves: list[Measured[Curve]]
    notes: list[str]


def find_crossings(sweeps: Runs, measure: str) -> Crossings:
    """Find the common level of a measure, and where each curve first meets it.

    Args:
      sweeps: runs in which λ_os varies, above 0.
      measure: name in `statistics.MEASURES` or `statistics.INDEPENDENT`.
    """
    curves = _curves(sweeps, measure)
    with_points = [curve.with_value(curve.value or None) for curve in curves]
    paired, notes = in_both_losses(sweeps, with_points)
    notes += _missing_points(sweeps, curves)
    if not paired:
        return Crossings(None, [], [], curves, notes)
    reaches = [[value for _, value in curve.value] for curve in paired]
    low, high = max(map(min, reaches)), min(map(max, reaches))
    if low > high:
        notes.append(
            f"no common level: one curve is at {low:.3g} or more, another at {high:.3g} or less"
        )
        return Crossings(None, [low, high], [], curves, notes)
    level = (low + high) / 2
    positions = [curve.with_value(_crossing(curve.value, level)) for curve in paired]
    return Crossings(level, [low, high], positions, curves, notes + _repeated(paired, level))


def curve_of(
    runs: Iterable[Measured[Metrics | None]], value_of: Callable[[Metrics | None], float | None]
) -> Curve:
    """Return the curve of the runs of a style; `value_of` returns None if a run has no value."""
    points = [(float(run.varied), value_of(run.value)) for run in runs]
    return sorted(((at, value) for at, value in points if value is not None), reverse=True)


def interpolated(curve: Curve, position: float) -> float | None:
    """Return the value of a curve at a log10 λ_os; None outside of its range."""
    if not curve:
        return None
    positions, values = zip(*((math.log10(at), value) for at, value in curve[::-1]), strict=True)
    return finite_or_none(np.interp(position, positions, values, left=math.nan, right=math.nan))


def _curves(sweeps: Runs, measure: str) -> list[Measured[Curve]]:
    """Return the curve of each loss and style."""
    by_style: dict[tuple[str, str], list[Measured[Metrics | None]]] = {}
    for run in sorted(sweeps, key=lambda run: LOSSES.index(run.loss)):
        by_style.setdefault((run.loss, run.style), []).append(run)
    return [
        Measured(
            loss, style, "", curve_of(runs, lambda metrics: mean_over_layers(metrics, measure))
        )
        for (loss, style), runs in by_style.items()
    ]


def _crossing(curve: Curve, level: float) -> float:
    """Return the first log10 λ_os, from large to small, at which the curve is at the level."""
    # The first point twice, so that a curve that begins at the level, or has one point, is found.
    for (first, before), (second, after) in itertools.pairwise([curve[0], *curve]):
        if min(before, after) <= level <= max(before, after):
            share = (level - before) / (after - before) if after != before else 0
            return (1 - share) * math.log10(first) + share * math.log10(second)
    raise ValueError(f"no part of the curve is at {level}")


def _repeated(curves: Iterable[Measured[Curve]], level: float) -> list[str]:
    """Return a note that names the curves that meet the level again after crossing it."""
    names = []
    for curve in curves:
        above = [value > level for _, value in curve.value if value != level]
        if sum(was_above != is_above for was_above, is_above in itertools.pairwise(above)) > 1:
            names.append(f"{curve.style} ({curve.loss})")
    return [f"meets the level again at a smaller λ_os: {', '.join(names)}"] if names else []


def _missing_points(sweeps: Runs, curves: Iterable[Measured[Curve]]) -> list[str]:
    """Return a note with the λ_os at which a curve has no point, but others of its loss have."""
    missing = []
    for curve in curves:
        with_result = {run.varied for run in sweeps if run.loss == curve.loss and run.value}
        points = {at for at, _ in curve.value}
        lacking = sorted((float(at) for at in with_result - points), reverse=True)
        if points and lacking:
            lambdas = ", ".join(f"{at:g}" for at in lacking)
            missing.append(f"{curve.style} at {lambdas} ({curve.loss})")
    return [f"points of a sweep without a value: {'; '.join(missing)}"] if missing else []
