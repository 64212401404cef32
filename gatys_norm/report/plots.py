"""Plots of records and measurements: the paper's figures and others. No TensorFlow.

Every plot is returned as a picture, float32 H × W × 3, RGB, 0–255. A partial loss is one term of L:
its coefficient times its squared distance.
"""

from __future__ import annotations

import itertools
import math
import string
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from matplotlib.axes import Axes

from gatys_norm.record import running_iterations, term_value
from gatys_norm.report import charts
from gatys_norm.terms import is_style, layer_of
from gatys_norm.text import NOTHING

if TYPE_CHECKING:
    from gatys_norm.record import HistoryRow, Record

MEASURES = {"content_distance": "content distance", "style_reflection": "mean style reflection"}
LOG_RANGE = 1e3  # if largest / smallest power is above this, layer_powers uses a log axis
LABEL_CHARACTERS = 34  # of a line next to an axis
COLON = "\u00a0: "  # allows a line break after it, not before it

SweepPoint: TypeAlias = tuple[float | None, ...]  # λ_os, then the value of each measure
InstabilityPoint: TypeAlias = tuple[float, float]  # log10 of tr G(s), RMS difference
_Curves: TypeAlias = dict[str, np.ndarray]  # {term: partial losses}


def first_value_ratios(record: Record) -> list[float | None]:
    """Return, per style layer, the first value of its partial loss divided by the first layer's.

    The first values are those of the first row of the last size.

    Returns:
      List in the order of the style layers; None where the ratio is undefined, because the value of
      the first layer is zero or one of the values is not finite.
    """
    first = [float(curve[0]) for curve in _style_curves(record).values()]
    defined = first[0] and math.isfinite(first[0])
    return [value / first[0] if defined and math.isfinite(value) else None for value in first]


@charts.in_our_style
def partial_style_losses(
    record: Record, title: str, paper_ratios: Sequence[float] | None = None
) -> np.ndarray:
    """Draw the paper's Figure 3: each style layer's partial loss against the iteration.

    The last panel shows all of them, each divided by its first value, except those that begin with
    zero. The ratios of the first values are written below.

    Args:
      record: record of one run; if it has several sizes, the last one is drawn.
      title: title of the figure.
      paper_ratios: the ratios in the paper, written below those of the record.
    """
    curves = _style_curves(record)
    iterations = [row["iteration"] for row in _last_size(record)]
    columns = 2 if len(curves) in (1, 3) else 3
    lines = math.ceil((len(curves) + 1) / columns)
    figure = charts.new_figure(4.3 * columns, 3.1 * lines + 1.2, title)
    panels = figure.subplots(lines, columns).flat
    for index, (axes, (term, curve)) in enumerate(zip(panels, curves.items(), strict=False)):
        axes.set_title(f"({_letter(index)}) {layer_of(term)}")
        axes.plot(iterations, curve, **charts.line_look(index))
        charts.finish_curves(axes, curve, iterations)
    relative_axes = panels[len(curves)]
    relative_axes.set_title(f"({_letter(len(curves))}) each divided by its first value")
    _plot_relative(relative_axes, iterations, curves)
    for empty in panels[len(curves) + 1 :]:
        empty.remove()
    for first in figure.axes[::columns]:
        first.set_ylabel("partial loss")
    charts.set_footer(figure, _ratio_lines(record, paper_ratios))
    return charts.rendered(figure)


@charts.in_our_style
def layer_powers(powers: Mapping[str, Mapping[str, float | None]]) -> np.ndarray:
    """Draw the paper's Figure 4: how large each layer's output is, before and after the ReLU.

    Args:
      powers: {style: {layer: mean squared output}}, layers named convX_Y and reluX_Y. Layers that
        are missing or None are not drawn.
    """
    values = [value for by_layer in powers.values() for value in by_layer.values()]
    positive = charts.positive(values)
    log = positive.size > 0 and positive.max() > LOG_RANGE * positive.min()
    figure = charts.new_figure(13, 8)
    panels = figure.subplots(2, 1, sharey=True)
    all_layers = sorted({layer for by_layer in powers.values() for layer in by_layer})
    taps = {"conv": "convolution outputs", "relu": "after the ReLU"}
    for axes, (tap, caption) in zip(panels, taps.items(), strict=True):
        layers = [layer for layer in all_layers if layer.startswith(tap)]
        series = [[by_layer.get(layer) for layer in layers] for by_layer in powers.values()]
        axes.set_title(caption)
        axes.set_ylabel(f"mean squared output ({'log' if log else 'linear'} axis)")
        charts.plot_bars(axes, layers, series)
    charts.limit_bars(panels[0], values, log)
    handles = [charts.bar_handle(index, style) for index, style in enumerate(powers)]
    charts.set_legend(figure, handles)
    return charts.rendered(figure)


@charts.in_our_style
def gradient_norms(
    norms: Mapping[str, Mapping[str, Mapping[str, float | None]]],
) -> np.ndarray:
    """Draw the norm of the gradient of each term, one panel per loss, with one log axis for all.

    A log axis cannot show zero, the norm of the content term at the start x = o; a "0" is written
    instead of the bar.

    Args:
      norms: {loss: {style: {term: ‖∂(coefficient · squared distance)/∂x‖}}}. Terms that are missing
        or None are not drawn.
    """
    all_terms = [by_term for by_style in norms.values() for by_term in by_style.values()]
    values = [value for by_term in all_terms for value in by_term.values()]
    styles = list(dict.fromkeys(style for by_style in norms.values() for style in by_style))
    panel_width = max(6.8, 0.8 * max(map(len, all_terms), default=0) + 1)
    figure = charts.new_figure(max(8, panel_width * len(norms)), 5.2)
    panels = figure.subplots(1, max(1, len(norms)), sharey=True, squeeze=False)[0]
    for axes, (loss, by_style) in zip(panels, norms.items(), strict=False):
        terms = list(dict.fromkeys(term for by_term in by_style.values() for term in by_term))
        series = [[by_style.get(style, {}).get(term) for term in terms] for style in styles]
        axes.set_title(f"{loss} loss")
        charts.plot_bars(axes, [_two_lines(term) for term in terms], series)
    log = charts.positive(values).size > 0
    panels[0].set_ylabel(f"norm of the gradient{' (log axis)' if log else ''}")
    charts.limit_bars(panels[0], values, log)
    handles = [charts.bar_handle(index, style) for index, style in enumerate(styles)]
    charts.set_legend(figure, handles)
    return charts.rendered(figure)


@charts.in_our_style
def sweeps(
    curves: Mapping[str, Mapping[str, Sequence[SweepPoint]]],
    levels: Mapping[str, float | None],
    measures: Mapping[str, str] = MEASURES,
) -> np.ndarray:
    """Draw measures against λ_os, which falls to the right.

    Args:
      curves: {loss: {style: [(λ_os, value of each measure …), …]}}; one column per loss. None makes
        a gap; λ_os = 0 is not drawn, because a log axis cannot show it.
      levels: {measure: float or None}: the common levels, drawn as dashed lines.
      measures: {name: words} in the order of the values; one row each.
    """
    styles = list(dict.fromkeys(style for by_style in curves.values() for style in by_style))
    columns = max(1, len(curves))
    figure = charts.new_figure(max(8, 6.4 * columns), 4 * len(measures))
    panels = figure.subplots(len(measures), columns, sharex="col", sharey="row", squeeze=False)
    for row, (measure, name) in enumerate(measures.items()):
        panels[row, 0].set_ylabel(textwrap.fill(name, LABEL_CHARACTERS))
        level = levels.get(measure)
        for axes, by_style in zip(panels[row], curves.values(), strict=False):
            for style, points in by_style.items():
                axes.plot(*_sweep_line(points, row), **charts.marked_look(styles.index(style)))
            if level is not None:
                charts.draw_level(axes, level)
    for column, (loss, by_style) in enumerate(curves.items()):
        panels[0, column].set_title(f"{loss} loss")
        lambdas = [lambda_os for points in by_style.values() for lambda_os, *_ in points]
        charts.set_falling_axis(panels[-1, column], lambdas)
    looks = {style: charts.marked_look(index) for index, style in enumerate(styles)}
    handles = [charts.line_handle(look, style) for style, look in looks.items()]
    if any(level is not None for level in levels.values()):
        handles.append(charts.line_handle(charts.LEVEL_LOOK, "common level"))
    charts.set_legend(figure, handles)
    return charts.rendered(figure)


@charts.in_our_style
def instability(points: Mapping[str, Mapping[str, InstabilityPoint]]) -> np.ndarray:
    """Draw how far apart results from several noise starts are, against the trace of G(s).

    Args:
      points: {loss: {style: (log10 of tr G(s), mean over layers; root mean square difference
        between results in grey levels)}}; one panel per loss.
    """
    styles = list(dict.fromkeys(style for by_style in points.values() for style in by_style))
    columns = max(1, len(points))
    figure = charts.new_figure(max(8, 6.4 * columns), 5)
    panels = figure.subplots(1, columns, sharex=True, sharey=True, squeeze=False)[0]
    looks = {style: charts.marked_look(index) for index, style in enumerate(styles)}
    for axes, (loss, by_style) in zip(panels, points.items(), strict=False):
        axes.set_title(f"{loss} loss")
        axes.set_xlabel(r"$\log_{10}$ tr G(s) per value, mean over layers")
        for style, point in by_style.items():
            axes.plot(*([value] for value in point), **looks[style])
    panels[0].set_ylabel("RMS difference of results, grey levels")
    distances = [distance for by_style in points.values() for _, distance in by_style.values()]
    panels[0].set_ylim(0, 1.1 * max(distances, default=1.0))
    charts.set_legend(figure, [charts.line_handle(look, name) for name, look in looks.items()])
    return charts.rendered(figure)


@charts.in_our_style
def loss_curves(records: Mapping[str, Record]) -> np.ndarray:
    """Draw the partial losses and their sum against the iteration, one panel per loss.

        import json
        from pathlib import Path

        from gatys_norm.images import io as picture_io

        paths = {loss: Path(f"compare-{loss}.json") for loss in ("original", "normalized")}
        records = {loss: json.loads(path.read_text()) for loss, path in paths.items()}
        picture_io.save_picture("curves.png", loss_curves(records))

    Iterations are counted over all sizes. A record has the coefficients of its last size only, so
    the partial losses are drawn for that size, and the sum for all sizes.

    Args:
      records: {loss: record}.
    """
    all_terms = dict.fromkeys(term for record in records.values() for term in record["terms"])
    terms = sorted(all_terms, key=lambda term: not is_style(term))  # Figure 3's colors
    looks = {term: charts.line_look(index) for index, term in enumerate(terms)}
    columns = max(1, len(records))
    figure = charts.new_figure(max(8, 6.4 * columns), 5.4)
    panels = figure.subplots(1, columns, squeeze=False)[0]
    for axes, (loss, record) in zip(panels, records.items(), strict=False):
        axes.set_title(f"{loss} loss")
        _plot_losses(axes, record, looks)
    panels[0].set_ylabel("coefficient · squared distance")
    handles = [charts.line_handle(look, term) for term, look in looks.items()]
    charts.set_legend(figure, [charts.line_handle(charts.SUM_LOOK, "sum"), *handles])
    return charts.rendered(figure)


@charts.in_our_style
def film_curves(frames: Sequence[Mapping[str, Any]]) -> np.ndarray:
    """Draw the measures of a film's frames, with a vertical line where each later shot begins.

    Args:
      frames: `frames` of the record of a film, at least one: `shot`, `warping_error` and
        `warping_error_of_film`, and `metrics`, of which the means over layers are drawn. None makes
        a gap.
    """
    numbers = [row["frame"] + 1 for row in frames]
    figure = charts.new_figure(9, 8.4)
    panels = figure.subplots(1 + len(MEASURES), 1, sharex=True)
    errors = {
        "of the result": ([row["warping_error"] for row in frames], charts.line_look(0)),
        "of the film itself": (
            [row["warping_error_of_film"] for row in frames],
            charts.line_look(1) | {"linestyle": "--"},
        ),
    }
    for values, look in errors.values():
        panels[0].plot(numbers, charts.floats(values), **look)
    panels[0].set_ylabel("warping error")
    for axes, (measure, name) in zip(panels[1:], MEASURES.items(), strict=True):
        means = [_mean(row["metrics"][measure].values()) for row in frames]
        axes.plot(numbers, charts.floats(means), **charts.line_look(0))
        axes.set_ylabel(name)
    for axes in panels:
        for line in axes.lines:  # a point between two gaps would not be seen
            line.set(marker=".", markersize=4)
        heights = [charts.floats(line.get_ydata()) for line in axes.lines]
        axes.set_ylim(0, 1.1 * charts.positive(np.concatenate(heights)).max(initial=0) or 1)
    _mark_shots(panels, frames)
    panels[-1].set_xlabel("frame")
    panels[-1].xaxis.get_major_locator().set_params(integer=True)
    handles = [charts.line_handle(look, f"error {name}") for name, (_, look) in errors.items()]
    charts.set_legend(figure, handles)
    return charts.rendered(figure)


def _mean(values: Iterable[float | None]) -> float | None:
    """Return the mean of the values that are defined; None if none is."""
    defined = [value for value in values if value is not None]
    return math.fsum(defined) / len(defined) if defined else None


def _mark_shots(panels: Iterable[Axes], frames: Sequence[Mapping[str, Any]]) -> None:
    """Draw a line between the frames of different shots."""
    for before, row in itertools.pairwise(frames):
        if row["shot"] != before["shot"]:
            for axes in panels:
                axes.axvline(row["frame"] + 0.5, **charts.LEVEL_LOOK)


def _plot_losses(axes: Axes, record: Record, looks: Mapping[str, charts.Look]) -> None:
    """Draw a record's partial losses at the last size and their sum at every size."""
    history = record["history"]
    iterations = running_iterations(history)
    sizes = [None, *(row["size"] for row in history)]
    starts = [index for index, row in enumerate(history) if row["size"] != sizes[index]]
    last = slice(starts[-1], None)
    for term in record["terms"]:
        axes.plot(iterations[last], _partial_losses(record, history[last], term), **looks[term])
    total = [row["loss"] for row in history]
    for start, end in zip(starts, [*starts[1:], None], strict=True):
        axes.plot(iterations[start:end], total[start:end], **charts.SUM_LOOK)
    charts.finish_curves(axes, total, iterations)
    if len(starts) > 1:
        charts.mark_sizes(axes, [(iterations[start], history[start]["size"]) for start in starts])


def _plot_relative(axes: Axes, iterations: Sequence[int], curves: _Curves) -> None:
    """Draw all curves, each divided by its first value, except those that begin with zero."""
    values: list[float] = []
    for index, (term, curve) in enumerate(curves.items()):
        if curve[0] and math.isfinite(curve[0]):
            relative = curve / curve[0]
            axes.plot(iterations, relative, label=layer_of(term), **charts.line_look(index))
            values += [*relative]
    charts.finish_curves(axes, values, iterations)
    if values:
        charts.set_legend_below_curves(axes)


def _style_curves(record: Record) -> _Curves:
    """Return {style term: partial losses at the last size}."""
    rows = _last_size(record)
    return {term: _partial_losses(record, rows, term) for term in filter(is_style, record["terms"])}


def _last_size(record: Record) -> list[HistoryRow]:
    return [row for row in record["history"] if row["size"] == record["history"][-1]["size"]]


def _partial_losses(record: Record, rows: Iterable[HistoryRow], term: str) -> np.ndarray:
    return record["terms"][term]["coefficient"] * np.array([term_value(row, term) for row in rows])


def _sweep_line(points: Iterable[SweepPoint], measure: int) -> tuple[list[float], np.ndarray]:
    """Return all λ_os above 0, and the values of one measure, given its number."""
    above_zero = [(at, values[measure]) for at, *values in points if at is not None and at > 0]
    line = sorted(above_zero, key=lambda point: point[0])
    return [at for at, _ in line], charts.floats([value for _, value in line])


def _two_lines(term: str) -> str:
    return term.replace("/" if "/" in term else "_", "\n")


def _letter(index: int) -> str:
    turn, letter = divmod(index, 26)
    return string.ascii_lowercase[letter] * (turn + 1)


def _ratio_lines(record: Record, paper_ratios: Sequence[float] | None) -> list[str]:
    ratios = map(_short_number, first_value_ratios(record))
    lines = ["first values, divided by the first one: " + COLON.join(ratios)]
    if paper_ratios is not None:
        lines.append("the paper's: " + COLON.join(f"{ratio:g}" for ratio in paper_ratios))
    return lines


def _short_number(value: float | None) -> str:
    if value is None:
        return NOTHING
    return f"{value:.0f}" if 1000 <= abs(value) < 1e6 else f"{value:.3g}"
