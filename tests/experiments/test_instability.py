"""The dependence of the instability on the trace, on made-up numbers."""

import math

import pytest

from gatys_norm.config import PAPER_LOSSES
from gatys_norm.experiments import instability
from gatys_norm.experiments.pairing import Measured
from gatys_norm.experiments.resampling import Drawn

ROWS = {style: (style, "town") for style in "abcd"}
TRACES = {"a": 1.0, "b": 2.0, "c": 3.0, "d": 4.0}
DISTANCES = {"original": (10, 20, 30, 40), "normalized": (25, 20, 20, 25)}


def dependence(distances, traces=None):
    measured = [
        Measured(loss, style, "", value)
        for loss, values in distances.items()
        for style, value in zip(ROWS, values, strict=False)
    ]
    runs = [
        Measured(loss, style, seed, {})
        for loss in PAPER_LOSSES
        for style in ROWS
        for seed in (0, 1)
    ]
    (finding,) = instability.dependence(runs, measured, traces or TRACES, ROWS)
    return finding


def test_a_line_is_explained_and_a_symmetric_valley_is_not():
    finding = dependence(DISTANCES)
    assert (finding.original, finding.normalized) == pytest.approx((1, 0))
    assert finding.holds
    assert finding.note == ""
    assert finding.details["trace_and_instability"]["original"]["c"] == [3, 30]


def test_r_squared_is_that_of_pearson():
    """Deviations −1, 0, 1 and −1, 1, 0: products 1, squares 2 and 2."""
    drawn = [Drawn(0, 0, pair) for pair in ((1.0, 1.0), (2.0, 3.0), (3.0, 2.0))]
    assert instability.squared_correlation(drawn) == pytest.approx((1 / 2) ** 2)


def test_two_rows_or_the_same_ones_drawn_again_are_too_few():
    pairs = ((1.0, 1.0), (2.0, 3.0), (2.0, 3.0), (1.0, 1.0))
    assert instability.squared_correlation([Drawn(0, 0, pair) for pair in pairs]) is None
    few = {loss: values[:2] for loss, values in DISTANCES.items()}
    assert (
        dependence(few).note == "left out, for lack of a value: c (original and normalized), "
        "d (original and normalized); fewer than 3 rows"
    )


def test_equal_instability_has_no_correlation():
    assert (
        instability.squared_correlation([Drawn(0, 0, (float(index), 5.0)) for index in range(4)])
        is None
    )


def test_rows_without_a_distance_or_a_trace_are_left_out():
    distances = DISTANCES | {"original": (None, 20, 30, 40)}
    assert dependence(distances).details["trace_and_instability"]["normalized"].keys() == {
        *("b", "c", "d")
    }
    assert dependence(DISTANCES, TRACES | {"d": None}).original == pytest.approx(1)


def test_mean_trace_is_geometric_over_the_layers_asked_for():
    powers = {"conv1_2": 100.0, "conv5_4": 1.0, "conv3_1": 1e9}
    assert instability.mean_trace(powers, ("conv1_2", "conv5_4")) == pytest.approx(1)
    for undefined in (None, 0.0, math.nan):
        assert instability.mean_trace(powers | {"conv1_2": undefined}, ("conv1_2",)) is None
    assert instability.mean_trace(powers, ("conv2_1",)) is None


def test_what_was_not_run_says_so():
    (finding,) = instability.dependence([], [], {}, ROWS)
    assert (finding.original, finding.note) == (None, "not run")
