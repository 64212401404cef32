"""The measures of a finished picture, against hand values and NumPy."""

import json
import math

import numpy as np
import pytest
import tensorflow as tf
from helpers.rounding import gamma, gram_error, squared_distance_error, unit

from gatys_norm.losses import features as loss_features
from gatys_norm.losses import functional, metrics
from gatys_norm.terms import is_style, style_term, term_names

pytestmark = pytest.mark.numeric

LAYERS = {"conv1_2": (6, 10, 3), "conv3_4": (3, 5, 4)}


def random_features(seed, pixels_factor=1):
    generator = np.random.default_rng(seed)
    return {
        layer: generator.normal(1, 5, (height * pixels_factor, width, channels)).astype("float32")
        for layer, (height, width, channels) in LAYERS.items()
    }


CONTENT, STYLE, RESULT = random_features(0), random_features(1, pixels_factor=2), random_features(2)


def measure(x, o, s, content_layers=tuple(LAYERS), style_layers=tuple(LAYERS)):
    """Measure features of NumPy, handing over no more than the terms asked for."""
    style_terms = term_names((), style_layers)
    terms = term_names(content_layers, style_layers)
    values = [
        loss_features.term_values(
            {layer: tf.constant(features[layer]) for layer in features}, names
        )
        for features, names in ((x, terms), (o, terms), (s, style_terms))
    ]
    return measure_values(*values, content_layers, style_layers)


def measure_values(x, o, targets, content_layers, style_layers, styles=("",)):
    """Measure values of terms: those of x, of o, and of s, style terms only."""
    targets = {term: value for term, value in o.items() if not is_style(term)} | targets
    distances = {
        term: float(functional.squared_distance(value, targets[term])) for term, value in x.items()
    }
    grams = {term: value for term, value in o.items() if is_style(term)}
    return metrics.measure(distances, targets, grams, content_layers, style_layers, styles)


def matrix(*rows):
    return tf.constant(rows, tf.float32)


def gram(features, mask=None):
    """G in float64."""
    mask = np.ones(features.shape[:2]) if mask is None else mask
    return np.einsum("hw,hwa,hwb->ab", mask, features, features)


def ratio_error(numerator, numerator_error, denominator, denominator_error):
    """The most by which a ratio is wrong relatively: both of its parts, and the division."""
    return numerator_error / numerator + denominator_error / denominator + unit()


def assert_measures_equal_numpy(measured, name, o, s, x, masks=(None, None)):
    """Compare the three measures with those of NumPy, to what float32 rounds.

    Args:
      measured: what `measure` gave.
      name: what it calls the layer, None for the content's or the style's measures alone.
      o, s, x: its features, float32.
      masks: that of the style, that of the pictures o and x.
    """
    o, s, x = (value.astype(float) for value in (o, s, x))
    content_name, style_name = name
    if content_name:
        moved, whole = np.sum((o - x) ** 2), np.sum(o**2)
        error = ratio_error(
            moved,
            squared_distance_error(o, x, "float32"),
            whole,
            squared_distance_error(o, 0, "float32"),
        )
        found = measured["content_distance"][content_name]
        assert found == pytest.approx(moved / whole, rel=error)
    of_style, of_pictures = masks
    target, result, start = gram(s, of_style), gram(x, of_pictures), gram(o, of_pictures)
    target_error = gram_error(s, "float32", mask=of_style)
    errors = [target_error + gram_error(value, "float32", mask=of_pictures) for value in (x, o)]
    left = np.sum((target - result) ** 2)
    left_error = squared_distance_error(target, result, "float32", errors[0])
    whole, way = np.sum(target**2), np.sum((target - start) ** 2)
    whole_error = squared_distance_error(target, 0, "float32", target_error)
    way_error = squared_distance_error(target, start, "float32", errors[1])
    error = ratio_error(left, left_error, whole, whole_error)
    assert error < 1e-3  # so that a wrong layer or factor shows
    assert measured["style_distance"][style_name] == pytest.approx(left / whole, rel=error)
    # The root halves the ratio's relative error, and 1 − r is wrong by what r is absolutely.
    share = np.sqrt(left / way)
    error = share * ratio_error(left, left_error, way, way_error) + unit()
    assert measured["style_reflection"][style_name] == pytest.approx(1 - share, rel=0, abs=error)


def test_relative_distance_by_hand():
    assert metrics.relative_distance(25, matrix([3, 4])) == 1
    assert metrics.relative_distance(11, matrix([2, 0], [0, 4])) == pytest.approx(11 / 20)
    assert metrics.relative_distance(11, matrix([2, 1], [1, 7])) == pytest.approx(11 / 55)


@pytest.mark.parametrize(
    ("gram", "reflection"),
    [
        (-1.0, 0),  # at the content
        (1.0, 0.5),
        (2.0, 0.75),
        (3.0, 1),  # at the style
        (5.0, 0.5),  # as far beyond it
        (-5.0, -1),  # away from it
    ],
)
def test_style_reflection_by_hand(gram, reflection):
    value = metrics.style_reflection((gram - 3) ** 2, matrix([3]), matrix([-1]))
    # Squares of small whole numbers are exact; 1 − √(a / b) is rounded three times, from up to 2.
    assert value == pytest.approx(reflection, rel=0, abs=3 * 2 * unit())


def test_undefined_values_are_nan():
    zero, one = matrix([0]), matrix([1])
    assert math.isnan(metrics.relative_distance(1, zero))
    assert math.isnan(metrics.style_reflection(1, one, one))


def test_measure_equals_numpy():
    measured = measure(RESULT, CONTENT, STYLE)
    for layer in LAYERS:
        pictures = (features[layer] for features in (CONTENT, STYLE, RESULT))
        assert_measures_equal_numpy(measured, (layer, layer), *pictures)


def test_several_styles_are_measured_one_by_one_and_in_their_regions():
    names, layers = ("a", "b#2"), tuple(LAYERS)
    other = random_features(5)
    generator = np.random.default_rng(6)
    masks = {
        style_term(layer, "b#2"): generator.uniform(0, 1, LAYERS[layer][:2]).astype("float32")
        for layer in layers
    }
    terms = term_names(layers, layers, names)
    x, o, s, other_s = (
        {layer: tf.constant(value) for layer, value in features.items()}
        for features in (RESULT, CONTENT, STYLE, other)
    )
    targets = loss_features.term_values(s, term_names((), layers, names[:1]))
    targets |= loss_features.term_values(other_s, term_names((), layers, names[1:]), masks)
    x, o = (loss_features.term_values(features, terms, masks) for features in (x, o))
    measured = measure_values(x, o, targets, layers[:1], layers, names)
    assert list(measured["content_distance"]) == ["conv1_2"]
    expected = ["a/conv1_2", "a/conv3_4", "b#2/conv1_2", "b#2/conv3_4"]
    assert list(measured["style_distance"]) == list(measured["style_reflection"]) == expected
    for layer in layers:
        mask = masks[style_term(layer, "b#2")]
        pictures = CONTENT[layer], STYLE[layer], RESULT[layer]
        assert_measures_equal_numpy(measured, (None, f"a/{layer}"), *pictures)
        pictures = CONTENT[layer], other[layer], RESULT[layer]
        assert_measures_equal_numpy(measured, (None, f"b#2/{layer}"), *pictures, (mask, mask))


def test_nothing_is_transferred_at_the_content_picture():
    measured = measure(CONTENT, CONTENT, STYLE)
    for layer in LAYERS:
        assert measured["content_distance"][layer] == 0
        assert measured["style_reflection"][layer] == 0
        assert measured["style_distance"][layer] > 0


def test_all_is_transferred_where_the_gram_matrices_agree():
    other_places = {
        layer: np.random.default_rng(3).permutation(value.reshape(-1, value.shape[-1]))
        for layer, value in STYLE.items()
    }
    x = {layer: other_places[layer].reshape(STYLE[layer].shape) for layer in LAYERS}
    o = random_features(4, pixels_factor=2)
    measured = measure(x, o, STYLE)
    for layer in LAYERS:
        # The two matrices are the same sum in another order: each is wrong by its rounding.
        error = np.linalg.norm(2 * gram_error(STYLE[layer], "float32"))
        target, start = (gram(features[layer].astype(float)) for features in (STYLE, o))
        farthest = (error / np.linalg.norm(target)) ** 2
        rounded_again = gamma(2 * (target.size + 2) + 1, "float32")  # two sums and their ratio
        assert 0 <= measured["style_distance"][layer] <= farthest * (1 + rounded_again)
        way = np.linalg.norm(target - start)
        assert error / way < 1e-3
        assert measured["style_reflection"][layer] == pytest.approx(1, rel=0, abs=2 * error / way)
        assert measured["content_distance"][layer] > 0.1


def test_layers_are_kept_apart():
    measured = measure(RESULT, CONTENT, STYLE, ["conv3_4"], ["conv1_2"])
    assert {name: list(values) for name, values in measured.items()} == {
        "content_distance": ["conv3_4"],
        "style_distance": ["conv1_2"],
        "style_reflection": ["conv1_2"],
    }


def test_undefined_measures_are_none_and_the_rest_stays():
    silent = CONTENT | {"conv1_2": np.zeros_like(CONTENT["conv1_2"])}
    at_content = measure(RESULT, silent, silent)
    assert at_content["content_distance"]["conv1_2"] is None
    assert at_content["style_distance"]["conv1_2"] is None
    assert at_content["content_distance"]["conv3_4"] > 0
    assert at_content["style_distance"]["conv3_4"] > 0
    # G(s) = G(o): there is nothing to transfer.
    assert at_content["style_reflection"] == {"conv1_2": None, "conv3_4": None}


def test_measures_are_plain_json():
    silent = CONTENT | {"conv1_2": np.zeros_like(CONTENT["conv1_2"])}
    measured = measure(RESULT, silent, STYLE)
    assert json.loads(json.dumps(measured, allow_nan=False)) == measured
