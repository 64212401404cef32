"""Means, minima and ranges of which one value or all may be undefined."""

import math

import pytest

from gatys_norm.experiments import statistics


@pytest.mark.parametrize(
    ("values", "mean", "least", "spread"),
    [
        ([], None, None, None),
        ([3.0], 3.0, 3.0, None),
        ([3.0, -1.0, 4.0], 2.0, -1.0, 5.0),
        ([3.0, None], None, None, None),
        ([0.1] * 10, 0.1, 0.1, 0.0),
    ],
)
def test_of_undefined_values_nothing_is_defined(values, mean, least, spread):
    assert statistics.mean(iter(values)) == mean
    assert statistics.least(iter(values)) == least
    assert statistics.spread(iter(values)) == spread


def test_a_difference_needs_both():
    assert statistics.difference(1.0, 0.25) == 0.75
    assert statistics.difference(None, 0.25) is statistics.difference(1.0, None) is None


def test_values_that_are_not_finite_are_undefined():
    metrics = {"content_distance": {"a": 0.5, "b": math.nan}, "style_reflection": {"a": 0.25}}
    assert statistics.layer_values(metrics, "content_distance") == {"a": 0.5, "b": None}
    assert statistics.mean_over_layers(metrics, "content_distance") is None
    assert statistics.mean_over_layers(metrics, "style_reflection") == 0.25


@pytest.mark.parametrize("metrics", [None, {}, {"content_distance": {}}])
def test_a_failed_run_has_no_values(metrics):
    assert statistics.layer_values(metrics, "content_distance") == {}
    assert statistics.mean_over_layers(metrics, "content_distance") is None
