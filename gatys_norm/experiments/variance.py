"""How much of the strength of a transfer the style itself explains, at one λ_os for all.

Yeh et al. (arXiv:1910.09447) find that most of the variability of a transfer is explained by the
style: the problem that one range of λ_os for every style would solve. An analysis of variance with
one factor, the style, gives its share η² of the sum of squares; the standard deviation over styles
tells how large the problem is.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from gatys_norm.experiments.claims import ALL_MEASURES
from gatys_norm.experiments.finding import Finding, joined, plain
from gatys_norm.experiments.pairing import Measured, Runs, in_both_losses, losses_of
from gatys_norm.experiments.resampling import Drawn, Evidence, Rows, all_rows
from gatys_norm.experiments.statistics import MEASURES, mean_over_layers

STYLE_EXPLAINS = (
    "With the original loss the style explains most of the variability of a transfer at one λ_os "
    "(Yeh et al.); with the normalized loss it explains less."
)


def style_effect(sweeps: Runs, rows: Rows, measures: Iterable[str] = MEASURES) -> list[Finding]:
    """Return how much of the strength at one λ_os the style explains, and how far styles differ.

    Args:
      sweeps: runs in which λ_os varies. Rows that lack a value at one λ_os are left out.
      rows: style and content of each row.
      measures: names in `statistics.MEASURES` or `statistics.INDEPENDENT`.

    Returns:
      Two findings per measure: `style_share` and `style_deviation` as numbers of both losses.
    """
    return [finding for measure in measures for finding in _of_measure(sweeps, rows, measure)]


def style_share(drawn: Sequence[Drawn]) -> float | None:
    """Return η²: the squares between styles over all squares, mean over λ_os.

    Args:
      drawn: a value per λ_os for each row.

    Returns:
      From 0 to 1; None without two rows of one style, since then nothing but the style varies.
    """
    styles = [row.style for row in drawn]
    if len(set(styles)) in (len(styles), 1):
        return None
    values = np.array([row.values for row in drawn])
    deviations = values - values.mean(axis=0)
    between = _means_by_style(styles, deviations)[np.searchsorted(sorted(set(styles)), styles)]
    totals = np.square(deviations).sum(axis=0)
    shares = np.square(between).sum(axis=0)[totals > 0] / totals[totals > 0]
    return float(shares.mean()) if shares.size else None


def style_deviation(drawn: Sequence[Drawn]) -> float | None:
    """Return the standard deviation over styles of their mean, mean over λ_os; None for one."""
    styles = [row.style for row in drawn]
    if len(set(styles)) < 2:
        return None
    means = _means_by_style(styles, np.array([row.values for row in drawn]))
    return float(means.std(axis=0, ddof=1).mean())


def _means_by_style(styles: Sequence[int], values: np.ndarray) -> np.ndarray:
    """Return the mean of the rows of each style, styles × λ_os, in the order of their numbers."""
    numbers = np.array(styles)
    return np.stack([values[numbers == style].mean(axis=0) for style in sorted(set(styles))])


_REDUCTIONS = {
    "style_share": (
        style_share,
        "share η² of the variance over styles and contents of the {} that the style explains",
        "for lack of a second content",
    ),
    "style_deviation": (
        style_deviation,
        "standard deviation over styles of the {}",
        "for lack of a second style",
    ),
}


def _of_measure(sweeps: Runs, rows: Rows, measure: str) -> list[Finding]:
    paired, notes = in_both_losses(sweeps, _complete_rows(sweeps, measure))
    losses = losses_of(sweeps)
    by_row = {loss: {row.style: row.value for row in paired if row.loss == loss} for loss in losses}
    findings = []
    for name, (reduce, words, lacking) in _REDUCTIONS.items():
        evidence = Evidence(by_row, reduce, draws_contents=False)
        numbers = {loss: reduce(all_rows(evidence, loss, rows)) for loss in losses}
        undefined = any(by_row[loss] and numbers[loss] is None for loss in losses)
        findings.append(
            Finding(
                name=f"{name}_{measure}",
                claim=STYLE_EXPLAINS,
                measure=f"{words.format(ALL_MEASURES[measure])} at one λ_os, mean over λ_os",
                unit="",
                **numbers,
                evidence=evidence,
                expected="less",
                details=plain({"by_row": by_row}),
                note=joined(notes + [f"undefined {lacking}"] * undefined),
            )
        )
    return findings


def _complete_rows(sweeps: Runs, measure: str) -> list[Measured[tuple[float, ...] | None]]:
    """Return the values of each row, λ_os falling; None if one is undefined."""
    by_row: dict[tuple[str, str], list[tuple[float, float | None]]] = {}
    for run in sweeps:
        point = float(run.varied), mean_over_layers(run.value, measure)
        by_row.setdefault((run.loss, run.style), []).append(point)
    complete = []
    for (loss, style), points in by_row.items():
        values = [value for _, value in sorted(points, key=lambda point: -point[0])]
        defined = tuple(value for value in values if value is not None)
        complete.append(Measured(loss, style, "", defined if len(defined) == len(values) else None))
    return complete
