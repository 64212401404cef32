"""Curves of made-up sweeps, whose crossings are worked out by hand."""

import math

import pytest
from helpers.measured import measured, sweep

from gatys_norm.experiments import common_level
from gatys_norm.experiments.common_level import curve_of, find_crossings, interpolated
from gatys_norm.experiments.statistics import mean_over_layers


def crossings_of(sweeps):
    """Return the crossings of the content distance and {(loss, style): log10 λ_os}."""
    crossings = find_crossings(measured(sweeps), "content_distance")
    return crossings, {(at.loss, at.style): at.value for at in crossings.positions}


def test_level_is_the_middle_of_what_every_curve_reaches():
    crossings, positions = crossings_of(
        {
            "original": {
                "planes": sweep((0, -1), (0, 1)),
                "strokes": sweep((0, -1), (0.25, 1)),  # the highest minimum
            },
            "normalized": {
                "planes": sweep((0, -1), (0, 0.5)),  # the lowest maximum
                "strokes": sweep((0, -1), (0.125, 0.625)),
            },
        }
    )
    assert (crossings.level, crossings.interval, crossings.notes) == (0.375, [0.25, 0.5], [])
    assert positions == pytest.approx(
        {
            ("original", "planes"): -0.375,
            ("original", "strokes"): -1 / 6,
            ("normalized", "planes"): -0.75,
            ("normalized", "strokes"): -0.5,
        }
    )


def test_without_a_common_level_nothing_is_crossed():
    crossings, positions = crossings_of(
        {
            "original": {"planes": sweep((0, -1), (0, 0.25))},
            "normalized": {"planes": sweep((0, -1), (0.5, 1))},
        }
    )
    assert (crossings.level, crossings.interval, positions) == (None, [0.5, 0.25], {})
    assert crossings.notes == [
        "no common level: one curve is at 0.5 or more, another at 0.25 or less"
    ]
    assert crossings.curves[0].value == [(1, 0), (0.1, 0.25)]


def test_without_runs_there_is_no_level():
    crossings, positions = crossings_of({})
    assert (crossings.level, crossings.interval, crossings.curves, positions) == (None, [], [], {})
    assert crossings.notes == ["not run"]


def test_the_first_crossing_from_large_lambda_counts():
    crossings, positions = crossings_of(
        {
            "original": {"planes": sweep((0, -1, -2, -3), (0, 1, 0, 1))},  # -0.5, -1.5, -2.5
            "normalized": {"planes": sweep((0, -1, -2, -3), (0, 0, 1, 1))},
        }
    )
    assert positions == pytest.approx(
        {("original", "planes"): -0.5, ("normalized", "planes"): -1.5}
    )
    assert crossings.notes == ["meets the level again at a smaller λ_os: planes (original)"]


@pytest.mark.parametrize("undefined", [None, math.nan, math.inf])
def test_undefined_points_are_left_out_and_named(undefined):
    full = sweep((0, -1, -2), (0, 0, 1))
    crossings, positions = crossings_of(
        {
            "original": {
                "planes": sweep((0, -1, -2), (0, undefined, 1)),
                "strokes": full,
                "waves": sweep((0, -2), (0, 1)) | {0.1: None},  # failed
            },
            "normalized": {"planes": full, "strokes": full, "waves": full},
        }
    )
    assert positions["original", "planes"] == positions["original", "waves"] == -1
    assert positions["original", "strokes"] == -1.5
    assert crossings.notes == [
        "points of a sweep without a value: planes at 0.1 (original); waves at 0.1 (original)"
    ]


def test_a_lambda_at_which_every_run_failed_is_not_missed():
    failed = sweep((0, -2), (0, 1)) | {0.1: None}
    crossings, _ = crossings_of({"original": {"planes": failed}, "normalized": {"planes": failed}})
    assert crossings.notes == []


def test_a_curve_falls_in_lambda_and_is_read_between_its_points():
    (*runs,) = measured({"original": {"planes": sweep((-2, 0, -1), (1, 0, 0.5))}})
    curve = curve_of(runs, lambda metrics: mean_over_layers(metrics, "content_distance"))
    assert curve == [(1, 0), (pytest.approx(0.1), 0.5), (pytest.approx(0.01), 1)]
    assert interpolated(curve, -0.5) == 0.25
    assert interpolated(curve, -1.5) == pytest.approx(0.75)
    assert interpolated(curve, 0.5) is interpolated(curve, -2.5) is interpolated([], -1) is None


@pytest.mark.parametrize(
    ("curve", "position"),
    [([(0.01, 0.5)], -2), ([(1, 0.5), (0.1, 1)], 0), ([(1, 0.5), (0.1, 0.5)], 0)],
)
def test_a_curve_may_begin_at_the_level_or_stay_there(curve, position):
    assert common_level._crossing(curve, 0.5) == position


def test_a_level_out_of_reach_is_an_error():
    with pytest.raises(ValueError, match="no part of the curve"):
        common_level._crossing([(1, 0), (0.1, 0.25)], 0.5)
