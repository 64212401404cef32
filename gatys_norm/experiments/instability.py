"""Whether transfers to some styles are less stable than to others, and what the loss has to do.

Gupta et al. (arXiv:1705.02092) show that the trace of the style's Gram matrix, tr G(s) = Σ φ(s)²,
is inversely related to the stability of the transfer: the larger it is, the farther apart are the
pictures that solve it equally well. The normalized loss divides by Eᴳ = ‖G(s)‖²; does the
dependence go? Here the same settings run from several noise starts, and the root mean square
difference of the results is the instability.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from gatys_norm.config import PAPER_LOSSES
from gatys_norm.experiments.finding import Finding, joined, plain
from gatys_norm.experiments.pairing import Measured, Runs, in_both_losses
from gatys_norm.experiments.resampling import Drawn, Evidence, Rows, all_rows
from gatys_norm.experiments.statistics import mean
from gatys_norm.text import finite_or_none

STABILITY = (
    "The larger tr G(s), the less stable is the transfer (Gupta et al.); dividing by Eᴳ weakens "
    "the dependence."
)
LEAST_ROWS = 3  # two always lie on a line


def mean_trace(powers: Mapping[str, float | None], layers: Sequence[str]) -> float | None:
    """Return log10 of tr G_j(s) / (H_j W_j C_j), mean over layers; None if one is undefined.

    Args:
      powers: {layer: mean of φ_j(s)²}, see `measurements.layer_powers`.
      layers: the style layers S. Their traces differ by decades, so the mean is of logarithms.
    """
    values = [finite_or_none(powers.get(layer)) for layer in layers]
    return mean(math.log10(value) if value else None for value in values)


def dependence(
    runs: Runs,
    distances: Sequence[Measured[float | None]],
    traces: Mapping[str, float | None],
    rows: Rows,
) -> list[Finding]:
    """Return how far the trace of the style's Gram matrix explains the instability.

    Args:
      runs: all runs from noise starts.
      distances: per loss and row the root mean square difference between results, in grey levels,
        mean over pairs of starts.
      traces: {row: see `mean_trace`}.
      rows: style and content of each row.

    Returns:
      One finding, the squared correlation r² of trace and distance over rows, from 0 to 1.
    """
    paired, notes = in_both_losses(runs, distances)
    by_row: dict[str, dict[str, tuple[float, ...]]] = {loss: {} for loss in PAPER_LOSSES}
    for distance in paired:
        trace = traces.get(distance.style)
        if trace is not None:
            by_row[distance.loss][distance.style] = (trace, distance.value)
    evidence = Evidence(by_row, squared_correlation)
    numbers = {loss: squared_correlation(all_rows(evidence, loss, rows)) for loss in PAPER_LOSSES}
    few = [f"fewer than {LEAST_ROWS} rows"] if paired and None in numbers.values() else []
    return [
        Finding(
            name="instability_explained_by_trace",
            claim=STABILITY,
            measure="share r² of the instability (RMS difference between results from several "
            "noise starts) that the logarithm of tr G(s), mean over layers, explains",
            unit="",
            **numbers,
            evidence=evidence,
            expected="less",
            details=plain({"trace_and_instability": by_row}),
            note=joined(notes + few),
        )
    ]


def squared_correlation(drawn: Sequence[Drawn]) -> float | None:
    """Return r² of the two values of each row; None with fewer than three different ones."""
    pairs = sorted({row.values for row in drawn})
    if len(pairs) < LEAST_ROWS:
        return None
    deviations = np.array([row.values for row in drawn])
    deviations -= deviations.mean(axis=0)
    products = deviations.T @ deviations
    variances = products[0, 0] * products[1, 1]
    return float(products[0, 1] ** 2 / variances) if variances > 0 else None
