"""Charts of records and measurements."""

import functools
import itertools
import json
import subprocess
import sys
import warnings
from pathlib import Path
from unittest import mock

import matplotlib
import numpy as np
import pytest
from helpers.pictures import assert_is_picture
from matplotlib.text import Text

from gatys_norm.report import charts, plots

DOCS = Path(__file__).parents[2] / "docs"
# Names of files: older matplotlib hides labels with _; $ begins a formula, here a wrong one.
STYLE_NAMES = ["flowing_strokes", "_$\\hidden{$", "a_style_of_a_long_name" * 11, "\udcff\n.jpg"]


def record_of(coefficients, distances, iterations=None):
    """Return a record.

    Args:
      coefficients: {term: coefficient of the last size}.
      distances: {size: rows of squared distances in the order of the terms}.
      iterations: of the rows of each size; 0, 10, 20, … if left out.
    """
    history = []
    for size, rows in distances.items():
        for index, row in enumerate(rows):
            moment = {"size": size, "iteration": (iterations or range(0, 1000, 10))[index]}
            loss = sum(np.multiply(list(coefficients.values()), row)) if row else 0.0
            terms = dict(zip(coefficients, row, strict=True))
            history.append(moment | {"evaluations": 1, "loss": float(loss)} | terms)
    terms = {term: {"coefficient": value} for term, value in coefficients.items()}
    return {"terms": terms, "history": history}


def record_of_layers(count):
    """Return a record of `count` style layers, all of whose partial losses fall."""
    names = [f"style/conv{1 + index // 4}_{1 + index % 4}" for index in range(count)]
    coefficients = {"content/conv4_2": 1e-4} | {
        name: 10.0**-index for index, name in enumerate(names)
    }
    rows = [
        [1e3 * step, *(100.0**index / (1 + step) ** (1 + index / 4) for index in range(count))]
        for step in range(6)
    ]
    return record_of(coefficients, {64: rows})


TWO_SIZES = record_of(
    {"content/conv4_2": 3.0, "style/conv1_2": 2.0, "style/conv2_2": 0.5, "style/conv3_4": 8.0},
    {
        64: [[0.0, 99.0, 99.0, 99.0], [7.0, 98.0, 97.0, 96.0]],
        128: [[0.0, 10.0, 80.0, 0.0], [4.0, 5.0, 8.0, 1.0], [5.0, 4.0, 2.0, 2.0]],
    },
)


class Drawing:
    """One figure: `figure`, and `texts`, the (text, box in pixels) of what is written in it."""

    def __init__(self, figure, texts, picture=None):
        self.figure, self.texts, self.picture = figure, texts, picture

    @property
    def panels(self):
        return self.figure.axes

    def count(self, text):
        return [written for written, _ in self.texts].count(text)

    def holds(self, text):
        return any(text in written.replace("\u00a0", " ") for written, _ in self.texts)

    def curves(self, panel):
        """Return the lines of one panel as arrays of x and y."""
        lines = self.panels[panel].lines
        return [np.array([line.get_xdata(), line.get_ydata()], float) for line in lines]


def sketch(function, *arguments):
    """Call a function of `plots` and return what it would draw; quick, no boxes."""
    with mock.patch.object(charts, "rendered", lambda figure: figure):
        figure = function(*arguments)
    return Drawing(figure, [(text.get_text(), None) for text in figure.findobj(Text)])


def draw(function, *arguments):
    """Call a function of `plots`, draw, and return it with every text's box."""
    render, draw_text = charts.rendered, Text.draw
    figures, texts = [], []

    def keep_text(text, renderer):
        if text.get_visible() and text.get_text().strip():
            texts.append((text.get_text(), text.get_window_extent(renderer)))
        draw_text(text, renderer)

    def keep_figure(figure):
        figures.append(figure)
        with mock.patch.object(Text, "draw", keep_text):
            return render(figure)

    with mock.patch.object(charts, "rendered", keep_figure), warnings.catch_warnings():
        warnings.simplefilter("error")  # a missing glyph, an axis without extent
        picture = function(*arguments)
    return Drawing(figures[0], texts, picture)


def powers_of(factor, styles=STYLE_NAMES):
    names = [f"{block}_{index}" for block in range(1, 6) for index in range(1, 3 + 2 * (block > 2))]
    return {
        style: {
            f"{tap}{name}": factor ** (position / 15)
            for tap in ("conv", "relu")
            for position, name in enumerate(names)
        }
        for style in styles
    }


def norms_of(styles=STYLE_NAMES, layers=5):
    terms = [*record_of_layers(layers)["terms"], "total_variation"]
    return {
        loss: {
            style: {
                term: scale * 10.0**position if position else 0.0
                for position, term in enumerate(terms)
            }
            for style in styles
        }
        for loss, scale in (("original", 1e4), ("normalized", 1.0))
    }


def sweeps_of(styles=STYLE_NAMES):
    return {
        loss: {
            style: [
                (first / 10**step, 0.1 + step / 4 + position / 20, 0.2 * step - position / 20)
                for step in range(5)
            ]
            for position, style in enumerate(styles)
        }
        for loss, first in (("original", 1e-2), ("normalized", 1.0))
    }


def film_of(count, cuts=()):
    """Return the rows of a film's frames; a shot begins at each cut, counted from 0."""
    rows = []
    for index in range(count):
        is_first = index in (0, *cuts)
        layers = {"conv1_2": 0.9 - index / 1000, "conv2_2": 0.7}
        rows.append(
            {
                "frame": index,
                "shot": sum(index >= cut for cut in cuts),
                "warping_error": None if is_first else 1e-3 * (1 + index % 3),
                "warping_error_of_film": None if is_first else 1e-3,
                "metrics": {
                    "content_distance": {"conv4_2": 0.5 + index / 1000},
                    "style_reflection": layers | {"conv3_4": None},
                },
            }
        )
    return rows


LEVELS = {"content_distance": 0.6, "style_reflection": 0.5}
BOTH = {"original": record_of_layers(5), "normalized": record_of_layers(8)}
LONG_TITLE = "Figure 3, original loss: flowing_strokes, λ_os = 0.0001, $5$ " * 3
DRAWINGS = {
    "1 layer": (plots.partial_style_losses, record_of_layers(1), "one"),
    "5 layers": (plots.partial_style_losses, record_of_layers(5), LONG_TITLE, [1, 245.9]),
    "8 layers": (plots.partial_style_losses, record_of_layers(8), ""),
    "16 layers": (plots.partial_style_losses, record_of_layers(16), "", [1e9] * 16),
    "first value zero": (plots.partial_style_losses, TWO_SIZES, "two sizes"),
    "powers, log": (plots.layer_powers, powers_of(1e6)),
    "powers, linear": (plots.layer_powers, powers_of(50.0)),
    "gradients": (plots.gradient_norms, norms_of()),
    "gradients of 17 layers": (plots.gradient_norms, norms_of(["a", "b"], 17)),
    "only zeros": (plots.gradient_norms, {"original": {"s": {"content/a": 0}}}),
    "sweeps": (plots.sweeps, sweeps_of(), LEVELS),
    "nothing measured": (plots.sweeps, {"a": {"s": [(1e-3, None, None)]}}, {}),
    "losses": (plots.loss_curves, BOTH),
    "losses of two sizes": (plots.loss_curves, {"original": TWO_SIZES}),
    "film": (plots.film_curves, film_of(200, cuts=[60, 61])),
    "film of one frame": (plots.film_curves, film_of(1)),
}


@functools.cache
def drawn(name):
    """Return one of the drawings, drawn once."""
    return draw(*DRAWINGS[name])


@pytest.fixture(scope="module", autouse=True)
def first_drawing():
    """Draw once before the first test, which would have to pay for what matplotlib sets up."""
    drawn("1 layer")


@pytest.mark.parametrize("name", DRAWINGS)
def test_texts_lie_inside_the_picture_and_apart(name):
    drawing = drawn(name)
    assert_is_picture(drawing.picture)
    height, width, _ = drawing.picture.shape
    assert drawing.texts
    for text, box in drawing.texts:
        assert box.x0 >= 0, text
        assert box.y0 >= 0, text
        assert box.x1 <= width, text
        assert box.y1 <= height, text
    for (one, first), (other, second) in itertools.combinations(drawing.texts, 2):
        across = min(first.x1, second.x1) - max(first.x0, second.x0)
        upright = min(first.y1, second.y1) - max(first.y0, second.y0)
        assert min(across, upright) < 1, f"{one!r} lies on {other!r}"  # a pixel, of its edge


@pytest.mark.parametrize("name", ["powers, linear", "gradients", "sweeps"])
def test_the_legend_names_every_style_letter_by_letter(name):
    texts = [text.replace(r"\$", "$").strip() for text, _ in drawn(name).texts]
    assert texts.count("flowing_strokes") == 1
    assert texts.count("_$\\hidden{$") == 1
    assert texts.count("? .jpg") == 1
    assert sum(text.startswith("a_style_of") and "…" in text for text in texts) == 1


@pytest.mark.parametrize("loss", ["original", "normalized"])
def test_a_real_record_is_drawn(loss):
    record = json.loads((DOCS / f"compare-{loss}.jpg.json").read_text())
    assert len(sketch(plots.partial_style_losses, record, loss).panels) == 6
    assert len(sketch(plots.loss_curves, {loss: record}).panels) == 1


def test_first_value_ratios_are_those_of_the_last_size():
    assert plots.first_value_ratios(TWO_SIZES) == [1.0, 2.0, 0.0]  # 20 : 40 : 0


def test_first_value_ratios_are_undefined_where_the_first_is_zero():
    record = record_of({"style/conv1_2": 1.0, "style/conv2_2": 1.0}, {64: [[0.0, 5.0]]})
    assert plots.first_value_ratios(record) == [None, None]


def test_first_value_ratios_leave_out_what_is_not_finite():
    record = record_of({"style/conv1_2": 2.0, "style/conv2_2": 1.0}, {64: [[1.0, np.inf]]})
    assert plots.first_value_ratios(record) == [1.0, None]


@pytest.mark.parametrize("count", [1, 2, 5, 27])  # more than there are letters
def test_every_style_layer_has_a_panel_and_one_holds_them_all(count):
    drawing = sketch(plots.partial_style_losses, record_of_layers(count), "title")
    assert len(drawing.panels) == count + 1
    assert [len(drawing.curves(panel)) for panel in range(count + 1)] == [1] * count + [count]
    assert drawing.holds("(a) conv1_1")
    assert len({panel.get_title() for panel in drawing.panels}) == count + 1


def test_partial_losses_are_coefficient_times_distance_of_the_last_size():
    drawing = sketch(plots.partial_style_losses, TWO_SIZES, "title")
    (first,), (second,), _, relative = (drawing.curves(panel) for panel in range(4))
    np.testing.assert_allclose(first, [[0, 10, 20], [20, 10, 8]])
    np.testing.assert_allclose(second, [[0, 10, 20], [40, 4, 1]])
    assert len(relative) == 2  # the third begins with zero
    np.testing.assert_allclose(relative[0][1], [1, 0.5, 0.4])
    np.testing.assert_allclose(relative[1][1], [1, 0.1, 0.025])
    for panel in drawing.panels:
        assert panel.get_yscale() == "log"
        assert panel.get_xlim() == (0, 20)


def test_partial_losses_that_are_all_zero_keep_a_linear_axis():
    record = record_of({"style/conv1_2": 1.0}, {64: [[0.0], [0.0]]})
    drawing = sketch(plots.partial_style_losses, record, "title")
    assert [panel.get_yscale() for panel in drawing.panels] == ["linear", "linear"]
    assert not drawing.curves(1)
    assert drawing.holds("divided by the first one: –")


def test_first_values_stand_below_and_the_papers_on_request():
    record = record_of(
        {f"style/conv{block}_1": 1.0 for block in range(1, 6)},
        {64: [[2.0, 37.6, 3350.4, 2e6, 0.0248]]},
    )
    ours = "first values, divided by the first one: 1 : 18.8 : 1675 : 1e+06 : 0.0124"
    alone = sketch(plots.partial_style_losses, record, "title")
    assert alone.holds(ours)
    assert not alone.holds("paper")
    both = sketch(plots.partial_style_losses, record, "title", [1, 245.9, 1317.6, 381620, 77.33])
    assert both.holds(f"{ours}\nthe paper's: 1 : 245.9 : 1317.6 : 381620 : 77.33")


@pytest.mark.parametrize("name", ["1 layer", "5 layers", "8 layers", "16 layers"])
def test_the_legend_covers_no_curve(name):
    panel = drawn(name).panels[-1]
    lowest = min(line.get_ydata().min() for line in panel.lines)
    bottom = panel.transData.transform((0, lowest))[1]
    assert panel.get_legend().get_window_extent().y1 < bottom


@pytest.mark.parametrize(("factor", "scale"), [(990.0, "linear"), (1010.0, "log")])
def test_powers_take_a_log_axis_above_a_thousandfold_range(factor, scale):
    drawing = sketch(plots.layer_powers, powers_of(factor, ["s"]))
    assert [panel.get_yscale() for panel in drawing.panels] == [scale, scale]
    assert drawing.count(f"mean squared output ({scale} axis)") == 2


def test_powers_are_drawn_by_layer_before_and_after_the_relu():
    powers = {
        "one": {"relu1_1": 5.0, "conv2_1": 4.0, "conv1_1": 3.0},
        "two": {"conv1_1": 6.0, "conv2_1": None, "relu1_1": 0.0},
    }
    drawing = sketch(plots.layer_powers, powers)
    before, after = drawing.panels
    assert [label.get_text() for label in before.get_xticklabels()] == ["conv1_1", "conv2_1"]
    assert [bar.get_height() for bar in before.patches] == [3, 4, 6]
    assert [round(bar.get_x() + bar.get_width() / 2, 6) for bar in before.patches] == [
        -0.2,
        0.8,
        0.2,
    ]
    assert [bar.get_height() for bar in after.patches] == [5]
    assert not before.texts
    assert [text.get_text() for text in after.texts] == ["0"]
    assert drawing.count("one") == drawing.count("two") == 1


def test_gradients_share_one_log_axis_on_which_every_bar_is_seen():
    drawing = sketch(plots.gradient_norms, norms_of(["one", "two"]))
    original, normalized = drawing.panels
    assert [panel.get_title() for panel in drawing.panels] == ["original loss", "normalized loss"]
    assert original.get_yscale() == normalized.get_yscale() == "log"
    low, high = original.get_ylim()
    assert normalized.get_ylim() == (low, high)
    assert len(original.patches) == 12  # 6 terms above zero, 2 styles
    assert all(
        1.5 * low < bar.get_height() < high for panel in drawing.panels for bar in panel.patches
    )


def test_a_gradient_of_zero_is_written_at_its_position_on_the_axis():
    norms = {"original": {"one": {"content/a": 0.0, "style/b": 1.0}, "two": {"style/b": 10.0}}}
    drawing = draw(plots.gradient_norms, norms)
    boxes = [box for text, box in drawing.texts if text == "0"]
    assert len(boxes) == 1  # the other style has no such term
    panel = drawing.panels[0]
    position, bottom = panel.transData.transform((-0.2, panel.get_ylim()[0]))
    # Pixels of layout: a text is centred to a fraction of a letter and stands just above the axis.
    assert abs((boxes[0].x0 + boxes[0].x1) / 2 - position) < 3
    assert 0 < boxes[0].y0 - bottom < 12


def test_sweeps_show_each_measure_with_lambda_falling_to_the_right():
    curves = {
        "original": {"one": [(1e-4, 0.3, 0.4), (1e-2, 0.1, 0.2), (0, 9.0, 9.0)]},
        "normalized": {"one": [(1.0, 0.5, 0.6)], "two": [(0.1, 0.7, 0.8)]},
    }
    drawing = sketch(plots.sweeps, curves, {"content_distance": None, "style_reflection": None})
    expected = [
        [[[1e-4, 1e-2], [0.3, 0.1]]],
        [[[1.0], [0.5]], [[0.1], [0.7]]],
        [[[1e-4, 1e-2], [0.4, 0.2]]],
        [[[1.0], [0.6]], [[0.1], [0.8]]],
    ]
    for index, (panel, lines) in enumerate(zip(drawing.panels, expected, strict=True)):
        drawn = drawing.curves(index)
        assert len(drawn) == len(lines)
        for line, values in zip(drawn, lines, strict=True):
            np.testing.assert_allclose(line, values)
        left, right = panel.get_xlim()
        assert panel.get_xscale() == "log"
        assert left > max(drawn[0][0]) >= min(drawn[0][0]) > right
    colors = [line.get_color() for line in drawing.panels[1].lines]
    assert colors[0] == drawing.panels[0].lines[0].get_color() != colors[1]
    assert not drawing.holds("common level")


def test_sweeps_of_other_measures_have_a_row_each():
    curves = {"original": {"one": [(1.0, 0.1, 0.2, 0.3), (0.1, 0.4, 0.5, None)]}}
    measures = {"a": "first", "b": "second", "c": "third of a very long name that takes two lines"}
    drawing = sketch(plots.sweeps, curves, {"b": 0.25}, measures)
    assert [panel.get_ylabel() for panel in drawing.panels] == [
        *("first", "second", "third of a very long name that\ntakes two lines"),
    ]
    np.testing.assert_equal(drawing.curves(2)[0][1], [np.nan, 0.3])
    assert [any(line.is_dashed() for line in panel.lines) for panel in drawing.panels] == [
        *(False, True, False),
    ]


def test_instability_shows_a_point_per_style_and_loss():
    points = {
        "original": {"one": (1.0, 20.0), "two": (3.0, 40.0)},
        "normalized": {"two": (3.0, 30.0)},
    }
    drawing = sketch(plots.instability, points)
    assert [panel.get_title() for panel in drawing.panels] == ["original loss", "normalized loss"]
    drawn = [np.array(drawing.curves(index))[..., 0].tolist() for index in (0, 1)]
    assert drawn == [[[1, 20], [3, 40]], [[3, 30]]]
    original, normalized = drawing.panels
    assert original.lines[1].get_color() == normalized.lines[0].get_color()
    assert original.get_ylim() == normalized.get_ylim()
    assert original.get_ylim()[0] == 0


def test_a_missing_measure_leaves_a_gap():
    points = [(1e-2, 0.1, None), (1e-3, None, 0.2), (1e-4, 0.3, float("nan"))]
    drawing = sketch(plots.sweeps, {"original": {"one": points}}, {})
    np.testing.assert_equal(drawing.curves(0)[0][1], [0.3, np.nan, 0.1])
    np.testing.assert_equal(drawing.curves(1)[0][1], [np.nan, 0.2, np.nan])


def test_the_common_level_is_a_dashed_line_where_there_is_one():
    curves = {loss: {"one": [(1e-3, 0.1, 0.2)]} for loss in ("original", "normalized")}
    drawing = sketch(plots.sweeps, curves, {"content_distance": 0.625, "style_reflection": None})
    levels = [[line for line in panel.lines if line.is_dashed()] for panel in drawing.panels]
    assert [len(lines) for lines in levels] == [1, 1, 0, 0]
    assert all(set(line.get_ydata()) == {0.625} for lines in levels for line in lines)
    assert drawing.count("common level") == 1
    assert drawing.count("0.625") == 2


def test_a_film_has_a_gap_and_a_line_where_a_shot_begins():
    drawing = sketch(plots.film_curves, film_of(5, cuts=[3]))
    (numbers, errors), (_, own_errors), (place, _) = drawing.curves(0)
    assert [*numbers] == [1, 2, 3, 4, 5]
    np.testing.assert_array_equal(errors, [np.nan, 2e-3, 3e-3, np.nan, 2e-3])
    np.testing.assert_array_equal(own_errors, [np.nan, 1e-3, 1e-3, np.nan, 1e-3])
    (_, distances), (_, reflections) = (drawing.curves(panel)[0] for panel in (1, 2))
    np.testing.assert_allclose(distances, [0.5, 0.501, 0.502, 0.503, 0.504])
    np.testing.assert_allclose(reflections, [0.8, 0.7995, 0.799, 0.7985, 0.798])
    for panel in range(3):
        assert [*drawing.curves(panel)[-1][0]] == [3.5, 3.5]
    assert [*place] == [3.5, 3.5]


def test_losses_of_several_sizes_follow_one_another():
    drawing = sketch(plots.loss_curves, {"original": TWO_SIZES})
    panel = drawing.panels[0]
    by_width = sorted(panel.lines, key=lambda line: -line.get_linewidth())
    sums = [np.array([line.get_xdata(), line.get_ydata()]) for line in by_width[:2]]
    history = [row["loss"] for row in TWO_SIZES["history"]]
    np.testing.assert_allclose(sums[0], [[0, 10], history[:2]])
    np.testing.assert_allclose(sums[1], [[10, 20, 30], history[2:]])
    assert drawing.count("64 px") == drawing.count("128 px") == 1
    assert panel.get_xlim() == (0, 30)
    assert panel.get_yscale() == "log"


def test_partial_losses_of_the_last_size_add_up_to_the_sum():
    drawing = sketch(plots.loss_curves, {"original": TWO_SIZES})
    curves = [curve for curve in drawing.curves(0) if list(curve[0]) == [10, 20, 30]]
    *partial, total = (curve[1] for curve in curves)
    assert len(partial) == 4
    np.testing.assert_allclose(sum(partial), total)


def test_a_term_has_one_color_in_every_panel():
    first = record_of({"content/a": 1.0, "style/b": 1.0}, {64: [[1.0, 2.0], [3.0, 4.0]]})
    second = record_of({"style/c": 1.0, "style/b": 1.0}, {64: [[1.0, 2.0], [3.0, 4.0]]})
    drawing = sketch(plots.loss_curves, {"original": first, "normalized": second})
    of_b = [
        line.get_color()
        for panel in drawing.panels
        for line in panel.lines
        if list(line.get_ydata()) == [2.0, 4.0]
    ]
    assert len(of_b) == 2
    assert len(set(of_b)) == 1
    assert drawing.count("style/b") == 1


def test_drawing_leaves_the_users_matplotlib_as_it_was():
    before = dict(matplotlib.rcParams)
    plots.sweeps(sweeps_of(["one"]), LEVELS)
    assert dict(matplotlib.rcParams) == before


def test_drawing_starts_no_window_toolkit():
    program = (
        "import sys; from gatys_norm.report import plots; plots.sweeps({}, {}); "
        "assert not {'matplotlib.pyplot', 'tensorflow'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)
