"""The pairs of runs that are compared: both losses, raised and equal weights, rated by viewers.

Both numbers of a claim come from the same runs (style, style and layer, style and size): what
failed or is undefined with one loss is left out of both numbers, and a note names it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, TypeAlias, TypeVar

from gatys_norm.config import LOSSES, PAPER_LOSSES
from gatys_norm.experiments.figures import RAISED, STARTS, SWEEP, Grid, Study, printed

if TYPE_CHECKING:
    from gatys_norm.config import TransferConfig
    from gatys_norm.experiments.grid import RunResult
    from gatys_norm.experiments.statistics import Metrics

    Results: TypeAlias = Mapping[TransferConfig, RunResult]

NOT_RUN = "not run"
RATED = (("2a", "6a"), ("2b", "6b"), ("2c", "6c"))  # by the viewers of Table 1
RATED_ROWS = 2

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)


@dataclass(frozen=True)
class Measured(Generic[T_co]):
    """A value that was measured for a run: its metrics, or a number computed from them.

    `style` is the name of a row, see `figures.Row`. `varied` distinguishes the runs of a loss and
    row: λ_os, the raised layer, the size, or the seed of the start. It is "" for a value of all of
    these runs together.
    """

    loss: str
    style: str
    varied: float | str
    value: T_co

    def with_value(self, value: T) -> Measured[T]:
        """Return another value of the same run."""
        return Measured(self.loss, self.style, self.varied, value)


Runs: TypeAlias = "Sequence[Measured[Metrics | None]]"  # None where a run failed


@dataclass(frozen=True)
class RaisedLayers:
    """The results of a style in Fig. 2(b) or 6(b): with equal weights, and per raised layer."""

    loss: str
    style: str
    equal: RunResult
    by_layer: dict[str, RunResult]


@dataclass(frozen=True)
class Correspondence:
    """The results of both losses in the same cell of corresponding figures.

    `rated` tells whether the viewers of the paper rated this row; the other rows are examples.
    """

    figures: str
    style: str
    columns: str
    original: RunResult
    normalized: RunResult
    rated: bool


def losses_of(values: Iterable[Measured[Any]]) -> tuple[str, ...]:
    """Return both losses of the paper, and any other that has values."""
    present = {value.loss for value in values}
    return tuple(loss for loss in LOSSES if loss in present or loss in PAPER_LOSSES)


def runs_of(kind: str, study: Study, grids: Iterable[Grid], results: Results) -> Runs:
    """Return the metrics of all runs of the sweeps or of the sizes.

    Args:
      kind: SWEEP, SIZES, RECURSIVE or STARTS.
      study: the study that the grids belong to.
      grids: grids of all kinds.
      results: {settings: `RunResult`}.
    """
    return [
        Measured(grid.loss, row.name, _varied(kind, config), metrics_of(results[config]))
        for grid in grids
        if grid.kind == kind
        for row, cells in zip(study.rows, grid.cells, strict=True)
        for config in cells
    ]


def _varied(kind: str, config: TransferConfig) -> float:
    if kind == SWEEP:
        assert config.lambda_os is not None  # in a grid all settings are resolved
        return config.lambda_os
    return config.seed if kind == STARTS else config.size[-1]


def metrics_of(result: RunResult) -> Metrics | None:
    """Return the metrics of a run, and its independent measures if any; None if it failed."""
    if result.record is None:
        return None
    metrics = result.record["metrics"]
    return {**metrics, **result.independent} if result.independent else metrics


def raised_layers(study: Study, grids: Iterable[Grid], results: Results) -> list[RaisedLayers]:
    """Return the runs that are compared in Fig. 2(b) and 6(b).

    A style with one loss is left out if the run with equal weights failed, or all other runs.
    """
    rows = [
        RaisedLayers(
            grid.loss,
            row.name,
            results[reference],
            {
                layer: results[config]
                for layer, config in zip(grid.columns, cells, strict=True)
                if results[config].record
            },
        )
        for grid in grids
        if grid.kind == RAISED
        for row, cells, reference in zip(study.rows, grid.cells, grid.references, strict=True)
    ]
    return [row for row in rows if row.equal.record and row.by_layer]


def correspondences(
    study: Study, grids: Mapping[str, Grid], results: Results
) -> list[Correspondence]:
    """Return the cells of Fig. 2 and 6 that viewers compare and whose runs are both finished."""
    pairs = [
        Correspondence(
            " / ".join(map(printed, names)),
            style,
            " / ".join(dict.fromkeys((original.columns[column], normalized.columns[column]))),
            results[original.cells[row][column]],
            results[normalized.cells[row][column]],
            row < RATED_ROWS,
        )
        for names in RATED
        if set(names) <= set(grids)
        for original, normalized in [[grids[name] for name in names]]
        for row, style in enumerate(row.name for row in study.rows)
        for column in range(len(original.columns))
    ]
    return [pair for pair in pairs if pair.original.record and pair.normalized.record]


def in_both_losses(
    runs: Runs, values: Sequence[Measured[T | None]]
) -> tuple[list[Measured[T]], list[str]]:
    """Leave out values that one of the losses, `losses_of` the runs, does not have.

    Args:
      runs: all runs of a claim.
      values: values computed from them. A value that is None counts as missing.

    Returns:
      (values that both losses have, notes that name the others). If a loss has no value at all, all
      values of the other loss are returned.
    """
    all_losses = losses_of(runs)
    styles = dict.fromkeys(run.style for loss in all_losses for run in runs if run.loss == loss)
    if not styles:
        return [], [NOT_RUN]
    defined = {
        (value.loss, value.style, value.varied): value.with_value(value.value)
        for value in values
        if value.value is not None
    }
    losses = [loss for loss in all_losses if loss in {loss for loss, _, _ in defined}]
    all_varied = dict.fromkeys(value.varied for value in values)
    paired: list[Measured[T]] = []
    left_out: list[str] = []
    for style in styles:
        lacking = {
            varied: [loss for loss in losses if (loss, style, varied) not in defined]
            for varied in all_varied
        }
        complete = [varied for varied, without in lacking.items() if not without]
        paired += [defined[loss, style, varied] for loss in losses for varied in complete]
        left_out += _left_out(style, lacking)
    notes = [
        f"{loss}: {'no value' if any(run.loss == loss for run in runs) else NOT_RUN}"
        for loss in all_losses
        if loss not in losses
    ]
    if left_out:
        notes.append(f"left out, for lack of a value: {', '.join(left_out)}")
    return paired, notes


def _left_out(style: str, lacking: Mapping[float | str, Sequence[str]]) -> list[str]:
    """Return the names of the values that are missing, given {what varies: losses without it}."""
    if all(lacking.values()):
        without = {loss for losses in lacking.values() for loss in losses}
        names = [loss for loss in LOSSES if loss in without]
        return [f"{style} ({' and '.join(names)})"] if names else []
    return [
        f"{style} {varied} ({' and '.join(losses)})" for varied, losses in lacking.items() if losses
    ]
