"""How steady a film is: the measures of its frames."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from gatys_norm.film import flow as flows


def warping_error(
    picture: np.ndarray, earlier: np.ndarray, flow: np.ndarray, visible: np.ndarray
) -> float:
    """Mean squared difference between a frame and an earlier one moved to it, colors from 0 to 1.

    Args:
      picture: H × W × 3, RGB, 0–255.
      earlier: the same of an earlier frame.
      flow: from `picture` to `earlier`, H × W × 2.
      visible: H × W, from 0 to 1: pixels of `picture` that `earlier` shows too, which count.

    Returns:
      The mean over the visible pixels and the channels; NaN if none is visible.
    """
    moved = flows.warp(earlier.astype(np.float64), flow)
    squares = (((picture - moved) / 255) ** 2).mean(axis=2)
    total = float(visible.sum())
    return float((visible * squares).sum()) / total if total else math.nan


def mean_error(errors: Sequence[float]) -> float:
    """Return the mean of the errors of a film's frames, without those that are NaN."""
    defined = [error for error in errors if not math.isnan(error)]
    return math.fsum(defined) / len(defined) if defined else math.nan
