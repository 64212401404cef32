"""The parts of plots: sizes, colors, axes, legends, bars. No TensorFlow.

The *look* of a curve or a bar is a dict of keyword arguments for matplotlib. Looks have numbers:
the same number has the same color in every panel and in the legend.
"""

import math
import textwrap
from collections.abc import Iterable, Sequence
from typing import Any, TypeAlias

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

# The colors of Okabe and Ito, which color-blind readers can distinguish, without yellow.
PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#7F7F7F")
DASHES, HATCHES = ("-", "--", ":", "-."), ("", "//", "..", "xx")  # when colors are used again
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
LABEL_CHARACTERS = 32  # of a name in a legend
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
TITLE_SIZE, TEXT_SIZE, SMALL_SIZE = 14, 11, 9  # points
in_our_style = matplotlib.rc_context(APPEARANCE)  # decorator of all functions that draw

Look: TypeAlias = dict[str, Any]
Values: TypeAlias = Sequence[float | None] | np.ndarray

SUM_LOOK: Look = {"color": "black", "linewidth": 2.6, "zorder": 1.9}
LEVEL_LOOK: Look = {"color": "#444444", "linestyle": (0, (6, 4)), "linewidth": 1.3}


# Numbers


def floats(values: Values) -> np.ndarray:
    """Return the values as an array; None becomes NaN, which matplotlib leaves out."""
    return np.array(values, dtype=float)


def positive(values: Values) -> np.ndarray:
    """Return the values that a log axis can show."""
    numbers = floats(values)
    return numbers[np.isfinite(numbers) & (numbers > 0)]


# Figures


def new_figure(width: float, height: float, title: str = "") -> Figure:
    """Return an empty figure, width × height in inches, with a title."""
    layout = ConstrainedLayoutEngine(w_pad=0.1, h_pad=0.1, wspace=0.03, hspace=0.03)
    figure = Figure((width, height), dpi=DOTS_PER_INCH, layout=layout, facecolor="white")
    if title:
        unbroken = contact_sheet.unicode_line(title).replace(" = ", "\u00a0=\u00a0")
        lines = textwrap.wrap(unbroken, _characters(figure, TITLE_SIZE))
        figure.suptitle(
            "\n".join(lines).replace("$", r"\$"), fontsize=TITLE_SIZE, fontweight="bold"
        )
    return figure


def rendered(figure: Figure) -> np.ndarray:
    """Return the picture of a figure, float32 H × W × 3, RGB, 0–255."""
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].astype(np.float32)


def set_footer(figure: Figure, lines: Iterable[str]) -> None:
    """Write lines below all panels; lines wider than the figure are broken."""
    width = _characters(figure, TEXT_SIZE)
    wrapped = [part for line in lines for part in textwrap.wrap(line, width)]
    figure.supxlabel("\n".join(wrapped), fontsize=TEXT_SIZE)


def set_legend(figure: Figure, handles: Sequence[Artist]) -> None:
    """Put one legend below all panels, in as few rows as possible."""
    if handles:
        longest = max(len(str(handle.get_label())) for handle in handles)
        columns = max(1, _characters(figure, TEXT_SIZE) // (longest + 6))
        rows = math.ceil(len(handles) / columns)
        figure.legend(
            handles=handles,
            loc="outside lower center",
            ncols=math.ceil(len(handles) / rows),
            frameon=False,
        )


def _characters(figure: Figure, font_size: float) -> int:
    """Return the width of a figure as a number of characters, for a font size in points."""
    return int(figure.get_figwidth() * 72 / (0.68 * font_size))


# Looks, and legend entries


def line_look(index: int) -> Look:
    """Return the look of a curve."""
    turn, color = divmod(index, len(PALETTE))
    return {"color": PALETTE[color], "linestyle": DASHES[turn % len(DASHES)]}


def marked_look(index: int) -> Look:
    """Return the look of a curve whose points are marked."""
    return line_look(index) | {"marker": MARKERS[index % len(MARKERS)]}


def bar_look(index: int) -> Look:
    """Return the look of a bar."""
    turn, color = divmod(index, len(PALETTE))
    hatch = HATCHES[turn % len(HATCHES)]
    return {"facecolor": PALETTE[color], "hatch": hatch, "edgecolor": "white", "linewidth": 0.5}


def line_handle(look: Look, name: str) -> Line2D:
    """Return the legend entry of the curves with a look."""
    return Line2D([], [], label=_label(name), **look)


def bar_handle(index: int, name: str) -> Patch:
    """Return the legend entry of bars."""
    return Patch(label=_label(name), **bar_look(index))


def _label(name: str) -> str:
    """Return a name that matplotlib shows unchanged: $ starts a formula, a leading _ hides it."""
    line = contact_sheet.shortened(contact_sheet.unicode_line(name), len, LABEL_CHARACTERS)
    label = line.replace("$", r"\$")
    return f" {label}" if label.startswith("_") else label


# Axes


def finish_curves(axes: Axes, values: Values, iterations: Sequence[int]) -> None:
    """Set the axes of curves over iterations: x from 0, y on a log scale if possible."""
    axes.set_xlabel("iteration")
    axes.set_xlim(0, max(1, *iterations))
    if positive(values).size:
        axes.set_yscale("log", nonpositive="mask")
    if len(iterations) == 1:
        for line in axes.lines:
            line.set_marker("o")


def set_legend_below_curves(axes: Axes) -> None:
    """Put a legend below the curves of a panel, and extend its log y axis to make space for it."""
    lines = math.ceil(len(axes.lines) / 3)
    axes.legend(loc="lower center", ncols=3, fontsize=SMALL_SIZE, handlelength=1.4, columnspacing=1)
    share = min(0.6, 0.06 + 0.085 * lines)
    low, high = axes.get_ylim()
    axes.set_ylim(high * (low / high) ** (1 / (1 - share)), high)


def set_falling_axis(axes: Axes, lambdas: Values) -> None:
    """Set the x axis for λ_os: a log scale, with the largest value at the left."""
    axes.set_xlabel(r"$\lambda_{os}$ (log axis, falling to the right)")
    positions = positive(lambdas)
    if positions.size:
        axes.set_xscale("log")
        axes.set_xlim(1.5 * positions.max(), positions.min() / 1.5)


def limit_bars(axes: Axes, values: Values, log: bool) -> None:
    """Set the y axis of bars, so that the smallest positive bar is visible."""
    heights = positive(values)
    if log:
        axes.set_yscale("log")
        axes.set_ylim(10 ** math.floor(math.log10(heights.min() / 2)), 2 * heights.max())
    else:
        axes.set_ylim(0, 1.05 * heights.max(initial=0) or 1)


# What is drawn in several plots


def plot_bars(axes: Axes, groups: Sequence[str], series: Sequence[Sequence[float | None]]) -> None:
    """Draw one group of bars per name, with one bar per series; zeros are written as "0"."""
    width = 0.8 / max(1, len(series))
    for index, values in enumerate(series):
        positions = np.arange(len(groups)) + (index - (len(series) - 1) / 2) * width
        heights = floats(values)
        is_drawn = np.isfinite(heights) & (heights > 0)
        axes.bar(positions[is_drawn], heights[is_drawn], width, **bar_look(index))
        for position in positions[heights == 0]:
            axes.text(
                position,
                0.01,
                "0",
                transform=axes.get_xaxis_transform(),
                ha="center",
                va="bottom",
                fontsize=min(TEXT_SIZE, 72 / len(series)),
                color=PALETTE[index % len(PALETTE)],
            )
    axes.set_xticks(range(len(groups)), groups, fontsize=10)
    axes.set_xlim(-0.6, len(groups) - 0.4)
    axes.tick_params(axis="x", length=0)
    axes.grid(visible=False, axis="x")


def mark_sizes(axes: Axes, starts: Iterable[tuple[int, int]]) -> None:
    """Mark where each size begins, by a line and its name; `starts` are (iteration, size)."""
    for iteration, size in starts:
        axes.axvline(iteration, color="#444444", linewidth=0.8, linestyle=":")
        axes.annotate(
            f"{size} px",
            (iteration, 1),
            (4, -2),
            xycoords=axes.get_xaxis_transform(),
            textcoords="offset points",
            va="top",
            fontsize=SMALL_SIZE,
        )


def draw_level(axes: Axes, level: float) -> None:
    """Draw a dashed line across a panel, with its value at the right end."""
    axes.axhline(level, **LEVEL_LOOK)
    axes.annotate(
        f"{level:.3g}",
        (1, level),
        (4, 0),
        xycoords=axes.get_yaxis_transform(),
        textcoords="offset points",
        va="center",
        fontsize=SMALL_SIZE,
        color=LEVEL_LOOK["color"],
    )
