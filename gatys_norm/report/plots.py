"""Records and measurements → charts. No TensorFlow.

Every chart is returned as float32 H × W × 3, RGB, 0–255. A record is what one run writes beside
its result; a partial loss is one term of L: its coefficient times its squared distance.
"""

from __future__ import annotations

import math
import string
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

import matplotlib
import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from gatys_norm.images import contact_sheet

if TYPE_CHECKING:
    from gatys_norm.record import Record

# Okabe and Ito's colours, which colour-blind readers tell apart, without the yellow.
PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#7F7F7F")
DASHES, HATCHES = ("-", "--", ":", "-."), ("", "//", "..", "xx")  # once the colours are used up
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
LOG_RANGE = 1e3  # largest over smallest power above which layer_powers takes a log axis
LABEL_CHARACTERS = 32  # of a name in a legend
COLON = "\u00a0: "  # lets a line break behind it, not before
DOTS_PER_INCH = 120
APPEARANCE: dict[Any, Any] = {
    "font.family": "DejaVu Sans",
    "font.size": 11,
    "axes.titlesize": 12,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.grid": True,
    "grid.color": "#DDDDDD",
    "lines.linewidth": 1.8,
    "lines.markersize": 6,
    "hatch.linewidth": 0.6,
    "text.usetex": False,
}
_in_our_style = matplotlib.rc_context(APPEARANCE)

SweepPoint: TypeAlias = tuple[float, float | None, float | None]  # λ_os, content, style
_Curves: TypeAlias = dict[str, np.ndarray]  # {term: partial losses}
_History: TypeAlias = Sequence[Mapping[str, Any]]  # a record's, or a part of it
_Look: TypeAlias = dict[str, Any]  # what matplotlib takes by name
_Values: TypeAlias = Sequence[float | None] | np.ndarray


def first_value_ratios(record: Record) -> list[float | None]:
    """Return the first value of each style layer's partial loss over that of the first layer.

    The values are those of the last size's first row, in the order of the style layers.

    Returns:
      list of floats; None where undefined, the first layer's being zero or either not finite.
    """
    first = [float(curve[0]) for curve in _style_curves(record).values()]
    defined = first[0] and math.isfinite(first[0])
    return [value / first[0] if defined and math.isfinite(value) else None for value in first]


@_in_our_style
def partial_style_losses(
    record: Record, title: str, paper_ratios: Sequence[float] | None = None
) -> np.ndarray:
    """Draw the paper's Figure 3: each style layer's partial loss against the iteration.

    A last panel shows them all divided by their first values, save those that begin with zero.
    Below stand the ratios of the first values.

    Args:
      record: of one run; of several sizes the last is drawn.
      title: stands above everything.
      paper_ratios: the paper's ratios, which then stand below ours.
    """
    curves = _style_curves(record)
    iterations = [row["iteration"] for row in _last_size(record)]
    columns = 2 if len(curves) in (1, 3) else 3
    lines = math.ceil((len(curves) + 1) / columns)
    figure = _figure(4.3 * columns, 3.1 * lines + 1.2, title)
    panels = figure.subplots(lines, columns).flat
    for index, (axes, (term, curve)) in enumerate(zip(panels, curves.items(), strict=False)):
        axes.set_title(f"({_letter(index)}) {_layer(term)}")
        axes.plot(iterations, curve, **_line_look(index))
        _finish_curves(axes, curve, iterations)
    together = panels[len(curves)]
    together.set_title(f"({_letter(len(curves))}) each divided by its first value")
    _plot_relative(together, iterations, curves)
    for empty in panels[len(curves) + 1 :]:
        empty.remove()
    for first in figure.axes[::columns]:
        first.set_ylabel("partial loss")
    _set_footer(figure, _ratio_lines(record, paper_ratios))
    return _rendered(figure)


@_in_our_style
def layer_powers(powers: Mapping[str, Mapping[str, float | None]]) -> np.ndarray:
    """Draw the paper's Figure 4: how large each layer's output is, before and after the ReLU.

    Args:
      powers: {style: {layer: mean squared output}}, layers named convX_Y and reluX_Y. A missing
        layer or None is left out.
    """
    values = [value for layers in powers.values() for value in layers.values()]
    positive = _positive(values)
    log = positive.size > 0 and positive.max() > LOG_RANGE * positive.min()
    figure = _figure(13, 8)
    panels = figure.subplots(2, 1, sharey=True)
    taps = {"conv": "convolution outputs", "relu": "after the ReLU"}
    for axes, (tap, caption) in zip(panels, taps.items(), strict=True):
        layers = sorted({name for of in powers.values() for name in of if name.startswith(tap)})
        axes.set_title(caption)
        axes.set_ylabel(f"mean squared output ({'log' if log else 'linear'} axis)")
        _plot_bars(axes, layers, [[of.get(name) for name in layers] for of in powers.values()])
    _limit_bars(panels[0], values, log)
    _set_legend(figure, [_bar_handle(index, name) for index, name in enumerate(powers)])
    return _rendered(figure)


@_in_our_style
def gradient_norms(
    norms: Mapping[str, Mapping[str, Mapping[str, float | None]]],
) -> np.ndarray:
    """Draw the length of each term's gradient, one panel a loss, on one log axis.

    A log axis has no place for zero, such as the content term's at the start x = o: a 0 stands
    where the bar would.

    Args:
      norms: {loss: {style: {term: ‖∂(coefficient · squared distance)/∂x‖}}}. A missing term or
        None is left out.
    """
    by_style = [terms for styles in norms.values() for terms in styles.values()]
    styles = list(dict.fromkeys(style for of in norms.values() for style in of))
    values = [value for terms in by_style for value in terms.values()]
    panel_width = max(6.8, 0.8 * max(map(len, by_style), default=0) + 1)
    figure = _figure(max(8, panel_width * len(norms)), 5.2)
    panels = figure.subplots(1, max(1, len(norms)), sharey=True, squeeze=False)[0]
    for axes, (loss, of) in zip(panels, norms.items(), strict=False):
        terms = list(dict.fromkeys(term for terms in of.values() for term in terms))
        series = [[of.get(style, {}).get(term) for term in terms] for style in styles]
        axes.set_title(f"{loss} loss")
        _plot_bars(axes, [_two_lines(term) for term in terms], series)
    log = _positive(values).size > 0
    panels[0].set_ylabel(f"norm of the gradient{' (log axis)' if log else ''}")
    _limit_bars(panels[0], values, log)
    _set_legend(figure, [_bar_handle(index, style) for index, style in enumerate(styles)])
    return _rendered(figure)


@_in_our_style
def sweeps(
    curves: Mapping[str, Mapping[str, Sequence[SweepPoint]]],
    levels: Mapping[str, float | None],
) -> np.ndarray:
    """Draw content distance and style reflection against λ_os, which falls to the right.

    Args:
      curves: {loss: {style: [(λ_os, content distance, mean style reflection), …]}}; a column a
        loss. None leaves a gap; λ_os = 0 has no place on the log axis and is left out.
      levels: {"content_distance": float or None, "style_reflection": float or None}: the common
        level, drawn dashed.
    """
    measures = {"content_distance": "content distance", "style_reflection": "mean style reflection"}
    styles = list(dict.fromkeys(style for of in curves.values() for style in of))
    columns = max(1, len(curves))
    figure = _figure(max(8, 6.4 * columns), 8)
    panels = figure.subplots(2, columns, sharex="col", sharey="row", squeeze=False)
    for row, (measure, name) in enumerate(measures.items()):
        panels[row, 0].set_ylabel(name)
        for axes, of in zip(panels[row], curves.values(), strict=False):
            for style, points in of.items():
                axes.plot(*_sweep_line(points, row), **_marked_look(styles.index(style)))
            _draw_level(axes, levels.get(measure))
    for column, (loss, of) in enumerate(curves.items()):
        panels[0, column].set_title(f"{loss} loss")
        lambdas = [lambda_os for points in of.values() for lambda_os, *_ in points]
        _set_falling_axis(panels[1, column], lambdas)
    handles = [_handle(_marked_look(index), style) for index, style in enumerate(styles)]
    if any(level is not None for level in levels.values()):
        handles.append(_handle(_level_look(), "common level"))
    _set_legend(figure, handles)
    return _rendered(figure)


@_in_our_style
def loss_curves(records: Mapping[str, Record]) -> np.ndarray:
    """Draw the partial losses and their sum against the iteration, one panel a loss.

    The iterations of several sizes follow one another. A record holds the coefficients of its
    last size alone, so the partial losses are drawn there and the sum everywhere.

    Args:
      records: {loss: record}.
    """
    named = dict.fromkeys(term for record in records.values() for term in record["terms"])
    terms = sorted(named, key=lambda term: not _is_style(term))  # Figure 3's colours
    columns = max(1, len(records))
    figure = _figure(max(8, 6.4 * columns), 5.4)
    panels = figure.subplots(1, columns, squeeze=False)[0]
    for axes, (loss, record) in zip(panels, records.items(), strict=False):
        axes.set_title(f"{loss} loss")
        history, starts = record["history"], _stage_starts(record["history"])
        iterations = _running_iterations(history, starts)
        last = slice(starts[-1], None)
        for term in record["terms"]:
            curve = _partial_losses(record, history[last], term)
            axes.plot(iterations[last], curve, **_line_look(terms.index(term)))
        total = [row["loss"] for row in history]
        for start, end in zip(starts, [*starts[1:], None], strict=True):
            axes.plot(iterations[start:end], total[start:end], **_total_look())
        _finish_curves(axes, total, iterations)
        if len(starts) > 1:
            _mark_sizes(axes, [(iterations[start], history[start]["size"]) for start in starts])
    panels[0].set_ylabel("coefficient · squared distance")
    handles = [_handle(_line_look(index), term) for index, term in enumerate(terms)]
    _set_legend(figure, [_handle(_total_look(), "sum"), *handles])
    return _rendered(figure)


def _name(text: str) -> str:
    """Return a name that matplotlib shows as it is: $ begins a formula, a first _ once hid it."""
    short = contact_sheet.shortened(contact_sheet.one_line(text), len, LABEL_CHARACTERS).replace(
        "$", r"\$"
    )
    return f" {short}" if short.startswith("_") else short


def _last_size(record: Record) -> _History:
    return [row for row in record["history"] if row["size"] == record["history"][-1]["size"]]


def _partial_losses(record: Record, rows: _History, term: str) -> np.ndarray:
    return record["terms"][term]["coefficient"] * np.array([row[term] for row in rows])


def _style_curves(record: Record) -> _Curves:
    """Return {term: partial losses at the last size} for the style terms."""
    rows = _last_size(record)
    terms = filter(_is_style, record["terms"])
    return {term: _partial_losses(record, rows, term) for term in terms}


def _stage_starts(history: _History) -> list[int]:
    """Return the indices of the rows with which the sizes begin."""
    sizes = [None, *(row["size"] for row in history)]
    return [index for index, row in enumerate(history) if row["size"] != sizes[index]]


def _running_iterations(history: _History, starts: Sequence[int]) -> list[int]:
    """Return each row's iteration, counted on from size to size."""
    running: list[int] = []
    before = 0
    for index, row in enumerate(history):
        if index in starts[1:]:
            before = running[-1]
        running.append(before + row["iteration"])
    return running


def _is_style(term: str) -> bool:
    return term.startswith("style")


def _layer(term: str) -> str:
    return term.partition("/")[2]


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
        return "–"
    return f"{value:.0f}" if 1000 <= abs(value) < 1e6 else f"{value:.3g}"


def _positive(values: _Values) -> np.ndarray:
    numbers = _numbers(values)
    return numbers[np.isfinite(numbers) & (numbers > 0)]


def _numbers(values: _Values) -> np.ndarray:
    """Return the values as floats; None becomes NaN, which matplotlib leaves out."""
    return np.array(values, dtype=float)


def _figure(width: float, height: float, title: str = "") -> Figure:
    """Return an empty figure, width × height inches, with the title above."""
    layout = ConstrainedLayoutEngine(w_pad=0.1, h_pad=0.1, wspace=0.03, hspace=0.03)
    figure = Figure((width, height), dpi=DOTS_PER_INCH, layout=layout, facecolor="white")
    if title:
        unbroken = contact_sheet.one_line(title).replace(" = ", "\u00a0=\u00a0")
        lines = textwrap.wrap(unbroken, _characters(figure, 14))
        figure.suptitle("\n".join(lines).replace("$", r"\$"), fontsize=14, fontweight="bold")
    return figure


def _characters(figure: Figure, font_size: float) -> int:
    """Return about how many characters of a font, in points, the figure is wide."""
    return int(figure.get_figwidth() * 72 / (0.68 * font_size))


def _rendered(figure: Figure) -> np.ndarray:
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].astype(np.float32)


def _set_footer(figure: Figure, lines: Iterable[str]) -> None:
    size = 11
    wrapped = [part for line in lines for part in textwrap.wrap(line, _characters(figure, size))]
    figure.supxlabel("\n".join(wrapped), fontsize=size)


def _set_legend(figure: Figure, handles: Sequence[Artist]) -> None:
    """Put one legend below all panels, in as few rows as fit."""
    if handles:
        longest = max(len(str(handle.get_label())) for handle in handles)
        rows = math.ceil(len(handles) / max(1, _characters(figure, 11) // (longest + 6)))
        figure.legend(
            handles=handles,
            loc="outside lower center",
            ncols=math.ceil(len(handles) / rows),
            frameon=False,
        )


def _line_look(index: int) -> _Look:
    turn, colour = divmod(index, len(PALETTE))
    return {"color": PALETTE[colour], "linestyle": DASHES[turn % len(DASHES)]}


def _marked_look(index: int) -> _Look:
    return _line_look(index) | {"marker": MARKERS[index % len(MARKERS)]}


def _handle(look: _Look, name: str) -> Line2D:
    return Line2D([], [], label=_name(name), **look)


def _bar_look(index: int) -> _Look:
    turn, colour = divmod(index, len(PALETTE))
    hatch = HATCHES[turn % len(HATCHES)]
    return {"facecolor": PALETTE[colour], "hatch": hatch, "edgecolor": "white", "linewidth": 0.5}


def _bar_handle(index: int, name: str) -> Patch:
    return Patch(label=_name(name), **_bar_look(index))


def _total_look() -> _Look:
    return {"color": "black", "linewidth": 2.6, "zorder": 1.9}


def _level_look() -> _Look:
    return {"color": "#444444", "linestyle": (0, (6, 4)), "linewidth": 1.3}


def _finish_curves(axes: Axes, values: _Values, iterations: Sequence[int]) -> None:
    """Set both axes of curves against iterations: x from 0, y in decades where it can be."""
    axes.set_xlabel("iteration")
    axes.set_xlim(0, max(1, *iterations))
    if _positive(values).size:
        axes.set_yscale("log", nonpositive="mask")
    if len(iterations) == 1:
        for line in axes.lines:
            line.set_marker("o")


def _plot_relative(axes: Axes, iterations: Sequence[int], curves: _Curves) -> None:
    relative = {
        index: (_layer(term), curve / curve[0])
        for index, (term, curve) in enumerate(curves.items())
        if curve[0] and math.isfinite(curve[0])
    }
    for index, (layer, curve) in relative.items():
        axes.plot(iterations, curve, label=layer, **_line_look(index))
    _finish_curves(axes, [value for _, curve in relative.values() for value in curve], iterations)
    if relative:
        lines = math.ceil(len(relative) / 3)
        axes.legend(loc="lower center", ncols=3, fontsize=9, handlelength=1.4, columnspacing=1)
        _make_room_below(axes, min(0.6, 0.06 + 0.085 * lines))


def _make_room_below(axes: Axes, share: float) -> None:
    """Extend a log y axis downwards so that the lowest `share` of it holds no curve."""
    low, high = axes.get_ylim()
    axes.set_ylim(high * (low / high) ** (1 / (1 - share)), high)


def _mark_sizes(axes: Axes, starts: Iterable[tuple[int, int]]) -> None:
    """Draw a line where each size begins and name it; `starts` are (iteration, size)."""
    for iteration, size in starts:
        axes.axvline(iteration, color="#444444", linewidth=0.8, linestyle=":")
        axes.annotate(
            f"{size} px",
            (iteration, 1),
            (4, -2),
            xycoords=axes.get_xaxis_transform(),
            textcoords="offset points",
            va="top",
            fontsize=9,
        )


def _plot_bars(axes: Axes, groups: Sequence[str], series: Sequence[Sequence[float | None]]) -> None:
    """Draw one group of bars a name, in it one bar a series; a zero is written, not drawn."""
    width = 0.8 / max(1, len(series))
    for index, values in enumerate(series):
        places = np.arange(len(groups)) + (index - (len(series) - 1) / 2) * width
        heights = _numbers(values)
        drawn = np.isfinite(heights) & (heights > 0)
        axes.bar(places[drawn], heights[drawn], width, **_bar_look(index))
        for place in places[heights == 0]:
            axes.text(
                place,
                0.01,
                "0",
                transform=axes.get_xaxis_transform(),
                ha="center",
                va="bottom",
                fontsize=min(11, 72 / len(series)),
                color=PALETTE[index % len(PALETTE)],
            )
    axes.set_xticks(range(len(groups)), groups, fontsize=10)
    axes.set_xlim(-0.6, len(groups) - 0.4)
    axes.tick_params(axis="x", length=0)
    axes.grid(visible=False, axis="x")


def _limit_bars(axes: Axes, values: _Values, log: bool) -> None:
    """Give the bars their y axis, on which the least positive one can still be seen."""
    positive = _positive(values)
    if log:
        axes.set_yscale("log")
        axes.set_ylim(10 ** math.floor(math.log10(positive.min() / 2)), 2 * positive.max())
    else:
        axes.set_ylim(0, 1.05 * positive.max(initial=0) or 1)


def _sweep_line(points: Iterable[SweepPoint], measure: int) -> tuple[list[float], np.ndarray]:
    """Return the λ_os above 0 and the values of one measure: 0 content distance, 1 reflection."""
    kept = sorted((point for point in points if point[0] > 0), key=lambda point: point[0])
    return [point[0] for point in kept], _numbers([point[1 + measure] for point in kept])


def _draw_level(axes: Axes, level: float | None) -> None:
    if level is not None:
        axes.axhline(level, **_level_look())
        axes.annotate(
            f"{level:.3g}",
            (1, level),
            (4, 0),
            xycoords=axes.get_yaxis_transform(),
            textcoords="offset points",
            va="center",
            fontsize=9,
            color=_level_look()["color"],
        )


def _set_falling_axis(axes: Axes, lambdas: Sequence[float]) -> None:
    axes.set_xlabel(r"$\lambda_{os}$ (log axis, falling to the right)")
    positive = _positive(lambdas)
    if positive.size:
        axes.set_xscale("log")
        axes.set_xlim(1.5 * positive.max(), positive.min() / 1.5)
