"""The measures of a finished picture, against hand values and NumPy."""

import json
import math

import numpy as np
import pytest
import tensorflow as tf

from gatys_norm import losses, metrics

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
    style_terms = losses.term_names((), style_layers)
    terms = losses.term_names(content_layers, style_layers)
    values = [
        losses.term_values({layer: tf.constant(features[layer]) for layer in features}, names)
        for features, names in ((x, terms), (o, terms), (s, style_terms))
    ]
    return metrics.measure(*values, content_layers, style_layers)


def matrix(*rows):
    return tf.constant(rows, tf.float32)


def test_content_distance_by_hand():
    target, features = matrix([3, 4]), matrix([3, 9])
    assert metrics.content_distance(target, features) == 25 / 25
    assert metrics.content_distance(features, target) == pytest.approx(25 / 90)


def test_style_distance_by_hand():
    target, gram = matrix([2, 0], [0, 4]), matrix([2, 1], [1, 7])
    assert metrics.style_distance(target, gram) == pytest.approx(11 / 20)
    assert metrics.style_distance(gram, target) == pytest.approx(11 / 55)


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
    value = metrics.style_reflection(matrix([3]), matrix([gram]), matrix([-1]))
    assert value == pytest.approx(reflection, abs=1e-7)


def test_undefined_values_are_nan():
    zero, one = matrix([0]), matrix([1])
    assert math.isnan(metrics.content_distance(zero, one))
    assert math.isnan(metrics.style_distance(zero, one))
    assert math.isnan(metrics.style_reflection(one, zero, one))


def test_measure_equals_numpy():
    measured = measure(RESULT, CONTENT, STYLE)
    for layer in LAYERS:
        o, s, x = (features[layer].astype(float) for features in (CONTENT, STYLE, RESULT))
        gram_o, gram_s, gram_x = (np.einsum("hwa,hwb->ab", value, value) for value in (o, s, x))
        expected = {
            "content_distance": np.sum((o - x) ** 2) / np.sum(o**2),
            "style_distance": np.sum((gram_s - gram_x) ** 2) / np.sum(gram_s**2),
            "style_reflection": 1
            - np.linalg.norm(gram_s - gram_x) / np.linalg.norm(gram_s - gram_o),
        }
        for name, value in expected.items():
            assert measured[name][layer] == pytest.approx(value, rel=1e-5)


def test_several_styles_are_measured_one_by_one_and_in_their_regions():
    names, layers = ("a", "b#2"), tuple(LAYERS)
    other = random_features(5)
    generator = np.random.default_rng(6)
    masks = {
        losses.style_term(layer, "b#2"): generator.uniform(0, 1, LAYERS[layer][:2]).astype(
            "float32"
        )
        for layer in layers
    }
    terms = losses.term_names(layers, layers, names)
    x, o, s, other_s = (
        {layer: tf.constant(value) for layer, value in features.items()}
        for features in (RESULT, CONTENT, STYLE, other)
    )
    targets = losses.term_values(s, losses.term_names((), layers, names[:1]))
    targets |= losses.term_values(other_s, losses.term_names((), layers, names[1:]), masks)
    x, o = (losses.term_values(features, terms, masks) for features in (x, o))
    measured = metrics.measure(x, o, targets, layers[:1], layers, names)
    assert list(measured["content_distance"]) == ["conv1_2"]
    expected = ["a/conv1_2", "a/conv3_4", "b#2/conv1_2", "b#2/conv3_4"]
    assert list(measured["style_distance"]) == list(measured["style_reflection"]) == expected
    for layer in layers:
        mask = masks[losses.style_term(layer, "b#2")]
        ones = np.ones_like(mask)
        for name, style, m in (("a", STYLE, ones), ("b#2", other, mask)):
            gram_s, gram_x, gram_o = (
                np.einsum("hwa,hwb->ab", value * weight[..., np.newaxis], value)
                for value, weight in (
                    (style[layer], m if name != "a" else np.ones(style[layer].shape[:2])),
                    (RESULT[layer], m),
                    (CONTENT[layer], m),
                )
            )
            distance = np.sum((gram_s - gram_x) ** 2) / np.sum(gram_s**2)
            left = np.linalg.norm(gram_s - gram_x) / np.linalg.norm(gram_s - gram_o)
            key = f"{name}/{layer}"
            assert measured["style_distance"][key] == pytest.approx(distance, rel=1e-4)
            assert measured["style_reflection"][key] == pytest.approx(1 - left, rel=1e-3, abs=1e-5)


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
        assert measured["style_reflection"][layer] == pytest.approx(1, abs=1e-5)
        assert measured["style_distance"][layer] == pytest.approx(0, abs=1e-10)
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
