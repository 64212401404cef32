"""Bootstrap intervals whose ends are known."""

import numpy as np
import pytest

from gatys_norm.experiments import resampling
from gatys_norm.experiments.finding import Finding
from gatys_norm.experiments.resampling import Evidence

STYLES = tuple("abcdefgh")
ROWS = {style: (style, "town") for style in STYLES}
TWO_CONTENTS = {
    f"{style} on {content}": (style, content) for content in ("town", "sea") for style in STYLES
}


def evidence(original, normalized, reduce=resampling.mean_of, names=STYLES, **settings):
    values = {"original": original, "normalized": normalized}
    by_row = {
        loss: {name: (float(value),) for name, value in zip(names, numbers, strict=False)}
        for loss, numbers in values.items()
    }
    return Evidence(by_row, reduce, **settings)


def test_equal_values_have_an_interval_of_one_number():
    intervals = resampling.intervals(evidence([3] * 8, [1] * 8), ROWS)
    assert intervals == {"original": [3, 3], "normalized": [1, 1], "difference": [-2, -2]}


def test_the_interval_of_a_mean_is_about_two_standard_errors_wide():
    values = np.random.default_rng(0).normal(0, 1, 40)
    names = [f"style {index}" for index in range(40)]
    rows = {name: (name, "town") for name in names}
    low, high = resampling.intervals(evidence(values, 0 * values, names=names), rows)["original"]
    error = values.std() / np.sqrt(40)
    assert (low + high) / 2 == pytest.approx(values.mean(), abs=0.1 * error)
    assert high - low == pytest.approx(2 * 1.96 * error, rel=0.15)


def test_both_losses_get_the_same_draw():
    """So the difference is exact, although each number varies with the styles."""
    values = np.arange(8.0)
    intervals = resampling.intervals(evidence(values, values + 0.5), ROWS)
    assert intervals["difference"] == [0.5, 0.5]
    assert intervals["original"][1] - intervals["original"][0] > 2


def test_contents_vary_the_interval_if_they_are_drawn():
    by_content = [10.0] * 8 + [20.0] * 8
    drawn, kept = (
        resampling.intervals(
            evidence(by_content, by_content, names=TWO_CONTENTS, draws_contents=draws), TWO_CONTENTS
        )
        for draws in (True, False)
    )
    assert drawn["original"] == [10, 20]
    assert kept["original"] == [15, 15]


def test_rows_that_a_loss_lacks_are_left_out_of_both():
    intervals = resampling.intervals(evidence([1] * 6 + [50], [1] * 6), ROWS)
    assert intervals["original"] == [1, 1]


@pytest.mark.parametrize(
    "values", [([1], [2]), ([], []), ([1] * 8, []), ([1] * 8, [1]), ([1] * 5, [2] * 5)], ids=str
)
def test_fewer_than_six_styles_have_no_interval(values):
    assert resampling.intervals(evidence(*values), ROWS) == {}


def test_contents_do_not_stand_for_styles():
    names = [f"{style} on {content}" for style in "abc" for content in ("sea", "town", "hill")]
    rows = {name: tuple(name.split(" on ")) for name in names}
    assert resampling.intervals(evidence([1] * 9, [2] * 9, names=names), rows) == {}


def undefined_for_repeated_styles(drawn):
    values = [row.values[0] for row in drawn]
    return sum(values) if len(set(values)) > 4 else None


def test_draws_without_a_number_are_left_out():
    values = range(8)
    intervals = resampling.intervals(evidence(values, values, undefined_for_repeated_styles), ROWS)
    assert intervals["difference"] == [0, 0]
    assert resampling.intervals(evidence(values, values, lambda _: None), ROWS) == {}


def test_a_repeated_call_gives_the_same():
    values = np.random.default_rng(1).normal(size=(2, 8))
    first, second = (resampling.intervals(evidence(*values), ROWS) for _ in range(2))
    assert first == second


def test_spread_is_that_of_the_rows():
    drawn = [resampling.Drawn(index, 0, (value,)) for index, value in enumerate((3.0, 1.0, 7.0))]
    assert resampling.spread_of(drawn) == 6
    assert resampling.spread_of(drawn[:1]) is None
    assert resampling.mean_of([]) is None


def finding(expected, original, normalized):
    return Finding(
        *("key", "Says so.", "a length", ""),
        float(np.mean(original)),
        float(np.mean(normalized)),
        expected,
        {},
        evidence=evidence(original, normalized),
    )


@pytest.mark.parametrize(
    ("normalized", "less", "more"),
    [
        ([1, 2, 1, 2, 1, 2, 1, 2], "comes out", "does not"),
        ([8, 9, 8, 9, 8, 9, 8, 9], "does not", "comes out"),
        ([1, 9, 1, 9, 1, 9, 2, 9], "cannot tell", "cannot tell"),
    ],
)
def test_the_verdict_is_where_the_difference_lies(normalized, less, more):
    original = [5] * 8
    assert finding("less", original, normalized).with_intervals(ROWS).verdict == less
    assert finding("more", original, normalized).with_intervals(ROWS).verdict == more


def test_one_style_cannot_tell_and_what_was_not_measured_says_so():
    one = finding("less", [5], [1])
    assert one.holds
    assert one.with_intervals(ROWS).verdict == "cannot tell"
    unmeasured = Finding("key", "Says so.", "a length", "", None, 1.0, "less", {})
    assert unmeasured.with_intervals(ROWS).verdict == "not measured"


def test_evidence_is_not_written():
    written = finding("less", [5] * 8, [1] * 8).with_intervals(ROWS).as_dict()
    assert "evidence" not in written
    assert written["intervals"]["difference"] == [-4, -4]
    assert written["verdict"] == "comes out"


def test_a_third_loss_gets_the_same_draws():
    two = evidence(range(8), [0] * 8)
    third = {name: (float(index) - 0.5,) for index, name in enumerate(STYLES)}
    three = two._replace(by_row={**two.by_row, "style_aware": third})
    intervals = resampling.intervals(three, ROWS)
    low, high = intervals["original"]
    assert intervals["style_aware"] == pytest.approx([low - 0.5, high - 0.5])
    assert intervals["style_aware − normalized"] == pytest.approx([low - 0.5, high - 0.5])
    assert intervals["difference"] == pytest.approx([-high, -low])
    del third["a"]  # which is then left out of all three
    assert resampling.intervals(three, ROWS)["original"][0] > low
