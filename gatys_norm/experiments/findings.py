"""All findings of a reproduction, from its runs."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from gatys_norm.config import PAPER_LOSSES
from gatys_norm.experiments import (
    claims,
    instability,
    measurements,
    pairing,
    statistics,
    variance,
)
from gatys_norm.experiments.figures import RECURSIVE, SIZES, STARTS, SWEEP
from gatys_norm.experiments.pairing import Measured
from gatys_norm.images import io as picture_io

if TYPE_CHECKING:
    from pathlib import Path

    from gatys_norm.experiments.figures import Grid, Row, Study
    from gatys_norm.experiments.finding import Finding
    from gatys_norm.experiments.grid import RunResult
    from gatys_norm.experiments.pairing import RaisedLayers, Results, Runs
    from gatys_norm.experiments.resampling import Rows

THREE_LOSSES = (
    "One λ_os for every style, with a third loss: the style-aware one, which divides each style "
    "term by an upper bound that contains x (Cheng et al.)."
)
LAYERED = (statistics.OTHER_LAYERS, statistics.EDGE_NETWORK)  # independent, in several layers


def with_independent_measures(result: RunResult) -> RunResult:
    """Return a result with its independent measures, unless it failed or has a noise start.

    Raises:
      MeasuresError, OSError: see `measures.independent.of_result`.
    """
    from gatys_norm.experiments.measures import independent  # needs an extra

    if result.record is None or result.config.init == "noise":
        return result
    measures = independent.of_result(result.config, result.output)
    return dataclasses.replace(result, independent=measures)


def all_findings(study: Study, grids: Mapping[str, Grid], results: Results) -> list[Finding]:
    """Return every finding that the runs allow, with its intervals.

    Args:
      study: the study that the grids belong to.
      grids: {name: `Grid`}, see `figures.grids`.
      results: {settings: `RunResult`}. If one has independent measures, the claims are tested with
        these too.
    """
    all_sweeps, plain, recursive = (
        pairing.runs_of(kind, study, grids.values(), results) for kind in (SWEEP, SIZES, RECURSIVE)
    )
    sweeps = [run for run in all_sweeps if run.loss in PAPER_LOSSES]
    is_independent = any(result.independent for result in results.values())
    measures = (*statistics.MEASURES, *(statistics.INDEPENDENT if is_independent else ()))
    reflections = LAYERED if is_independent else ()
    rows = {row.name: (row.style, row.content) for row in study.rows}
    findings = [
        *claims.one_lambda(sweeps, measures),
        *claims.balance(sweeps),
        *(
            finding
            for reflection in reflections
            for finding in claims.balance(sweeps, statistics.EDGE_COHERENCE, reflection)
        ),
        *_diversity(pairing.raised_layers(study, grids.values(), results), reflections),
        *claims.resolution(plain, recursive, measures),
        *variance.style_effect(sweeps, rows, measures),
        *_instability(study, grids.values(), results, rows),
        *(_of_three_losses(all_sweeps, rows, measures) if len(all_sweeps) > len(sweeps) else ()),
    ]
    return [finding.with_intervals(rows) for finding in findings]


def _of_three_losses(sweeps: Runs, rows: Rows, measures: Sequence[str]) -> list[Finding]:
    """Return the findings on λ_os once more, with a third loss.

    All three numbers come from the styles and contents that have a value with every loss, and the
    common level is that of all curves, so both numbers of the paper may differ from its own claims.
    """
    findings = [
        *claims.one_lambda(sweeps, measures),
        *variance.style_effect(sweeps, rows, measures),
    ]
    return [
        dataclasses.replace(finding, name=f"{finding.name}_of_three", claim=THREE_LOSSES)
        for finding in findings
    ]


def _diversity(rows: Sequence[RaisedLayers], reflections: Sequence[str]) -> list[Finding]:
    raised = [
        Measured(row.loss, row.style, layer, pairing.metrics_of(result))
        for row in rows
        for layer, result in row.by_layer.items()
    ]
    equal = [Measured(row.loss, row.style, "", pairing.metrics_of(row.equal)) for row in rows]
    between_raised: list[Measured[dict[str, float]]] = []
    from_equal: list[Measured[dict[str, float]]] = []
    for row in rows:
        paths = [result.output for result in (row.equal, *row.by_layer.values())]
        matrices = measurements.picture_distances(row.equal.config, paths)
        if reflections:
            matrices["style_vectors"] = _style_vector_distances(paths)
        layers = list(enumerate(row.by_layer, start=1))  # the result of equal weights is the first
        from_equal += [
            Measured(row.loss, row.style, layer, _entries(matrices, 0, index))
            for index, layer in layers
        ]
        between_raised += [
            Measured(row.loss, row.style, f"{layer}–{other_layer}", _entries(matrices, i, j))
            for (i, layer), (j, other_layer) in itertools.combinations(layers, 2)
        ]
    reflections = (statistics.STYLE_REFLECTION, *reflections)
    return claims.diversity(raised, equal, between_raised, from_equal, reflections)


def _instability(
    study: Study, grids: Iterable[Grid], results: Results, rows: Rows
) -> list[Finding]:
    started = [grid for grid in grids if grid.kind == STARTS]
    traces = {row.name: _mean_trace(study, row) for row in study.rows} if started else {}
    distances = [
        Measured(grid.loss, name, "", _mean_distance([results[config] for config in cells]))
        for grid in started
        for name, cells in zip(rows, grid.cells, strict=True)
    ]
    runs = pairing.runs_of(STARTS, study, started, results)
    return instability.dependence(runs, distances, traces, rows)


def _mean_trace(study: Study, row: Row) -> float | None:
    config = dataclasses.replace(study.base, content=row.content, style=(row.style,))
    return instability.mean_trace(measurements.layer_powers(config), study.base.style_layers)


def _mean_distance(results: Sequence[RunResult]) -> float | None:
    """Return the RMS difference in grey levels, mean over pairs; None for fewer than two."""
    finished = [result for result in results if result.record]
    if len(finished) < 2:
        return None
    paths = [result.output for result in finished]
    matrix = measurements.picture_distances(finished[0].config, paths)["grey_levels"]
    return statistics.mean(matrix[i][j] for i, j in itertools.combinations(range(len(paths)), 2))


def _style_vector_distances(paths: Iterable[Path]) -> list[list[float]]:
    from gatys_norm.experiments.measures import style_vectors  # needs an extra

    return style_vectors.distances([picture_io.load_picture(path) for path in paths])


def _entries(matrices: Mapping[str, list[list[float]]], row: int, column: int) -> dict[str, float]:
    return {kind: matrix[row][column] for kind, matrix in matrices.items()}
