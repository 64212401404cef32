"""Borders against NumPy's padding, and the features of wrapped pictures against moved ones."""

from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from helpers import narrow_network
from helpers.bfloat16 import needs_bfloat16
from helpers.exact import whole_numbers

from gatys_norm.config import BORDERS
from gatys_norm.network import borders, vgg
from gatys_norm.network.convolution import DIRECT, MIRRORED, TRANSPOSED, WINOGRAD, Convolution

pytestmark = pytest.mark.numeric

MODES: dict[str, Any] = {  # with their names in NumPy
    "replicate": "edge",
    "reflect": "reflect",
    "wrap": "wrap",
    "wrap_x": "wrap",
}
SIZES = [(1, 1), (2, 1), (1, 3), (2, 2), (3, 4), (9, 13)]


def by_numpy(value, border):
    margins = [(int(axis in borders.PADDED_AXES[border]),) * 2 for axis in range(4)]
    return np.pad(value, margins, MODES[border])


def whole_batch(height, width, channels, seed=0):
    return tf.cast(whole_numbers((1, height, width, channels), seed, largest=8), tf.float32)


def test_every_border_of_the_settings_is_known():
    assert set(borders.PADDED_AXES) == set(BORDERS) == {"zero", *MODES}


@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("border", MODES)
def test_a_map_is_padded_as_by_numpy(border, size):
    value = whole_batch(*size, 2)
    padded = borders.padded(value, border)
    np.testing.assert_array_equal(padded, by_numpy(value.numpy(), border))
    assert borders.padded_size(border, *size) == tuple(padded.shape[1:3])
    np.testing.assert_array_equal(borders.without_padding(padded, border), value)


@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("border", MODES)
def test_gradients_are_those_of_the_transpose(border, size):
    """⟨P x, y⟩ = ⟨x, Pᵀ y⟩ for every x and y, in whole numbers."""
    value = whole_batch(*size, 2)
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(value)
        padded = borders.padded(value, border)
    upstream = whole_batch(*padded.shape[1:], seed=1)
    folded = borders.folded(upstream, border)
    assert folded.shape == value.shape
    assert float(tf.reduce_sum(padded * upstream)) == float(tf.reduce_sum(value * folded))
    np.testing.assert_array_equal(tape.gradient(padded, value, upstream), folded)
    framed = borders.with_zeros(value, border)
    assert framed.shape == padded.shape
    product = tf.reduce_sum(borders.without_padding(upstream, border) * value)
    assert float(tf.reduce_sum(upstream * framed)) == float(product)


@pytest.mark.parametrize("way", [DIRECT, MIRRORED, TRANSPOSED])
@pytest.mark.parametrize("border", MODES)
def test_a_convolution_sees_what_the_border_says(border, way):
    kernel = tf.cast(whole_numbers((3, 3, 8, 6), 2, largest=2), tf.float32)
    value, upstream = whole_batch(5, 7, 8), whole_batch(5, 7, 6, seed=3)
    convolve = Convolution(kernel, lambda *_: way, border)
    with tf.GradientTape() as tape:
        tape.watch(value)
        output = convolve(value)
    around = by_numpy(value.numpy(), border)
    if border == "wrap_x":
        around = np.pad(around, [(0, 0), (1, 1), (0, 0), (0, 0)])
    np.testing.assert_array_equal(output, tf.nn.conv2d(around, kernel, 1, "VALID"))
    gradient = convolve.backward(upstream)
    assert float(tf.reduce_sum(output * upstream)) == float(tf.reduce_sum(value * gradient))
    np.testing.assert_array_equal(tape.gradient(output, value, upstream), gradient)


@pytest.mark.parametrize("border", MODES)
@pytest.mark.parametrize(
    ("dtype", "error"),
    [(tf.float32, 1e-5), pytest.param(tf.bfloat16, 2e-2, marks=needs_bfloat16)],
    ids=["float32", "bfloat16"],
)
def test_winograds_way_and_bfloat16_round_only(border, dtype, error):
    kernel = tf.constant(np.random.default_rng(0).normal(0, 0.1, (3, 3, 8, 6)), tf.float32)
    value, upstream = whole_batch(9, 14, 8), whole_batch(9, 14, 6, seed=3)
    exact = Convolution(kernel, lambda *_: DIRECT, border)
    rounded = Convolution(tf.cast(kernel, dtype), lambda *_: WINOGRAD, border)
    for actual, expected in (
        (rounded(tf.cast(value, dtype)), exact(value)),
        (rounded.backward(tf.cast(upstream, dtype)), exact.backward(upstream)),
    ):
        assert actual.dtype == dtype
        difference = np.max(np.abs(tf.cast(actual, tf.float32) - expected))
        assert difference <= error * np.max(np.abs(expected))


def test_zeros_need_no_operation_more():
    kernel = tf.cast(whole_numbers((3, 3, 8, 6), 2, largest=2), tf.float32)

    def types(border):
        convolve = tf.function(Convolution(kernel, lambda *_: DIRECT, border), autograph=False)
        graph = convolve.get_concrete_function(tf.TensorSpec((1, 5, 7, 8))).graph
        return {operation.type for operation in graph.get_operations()}

    assert types("zero") <= {"Placeholder", "Conv2D", "Identity", "Const", "NoOp"}
    assert types("wrap") > types("zero")


LAYERS = ("conv1_1", "relu2_2", "conv3_4", "conv5_4")


@pytest.mark.parametrize("moved", [(16, 0), (0, 16), (16, 32)], ids=str)
@pytest.mark.parametrize("border", ["zero", "wrap", "wrap_x"])
def test_the_features_of_a_moved_tile_are_moved(border, moved):
    """By squares of 16 pixels, which the poolings keep whole; no edge can be told from within."""
    extractor = vgg.Extractor(
        narrow_network.load_biased_model(), LAYERS, rule=lambda *_: DIRECT, border=border
    )
    image = np.random.default_rng(0).uniform(0, 255, (48, 64, 3)).astype(np.float32)
    features, of_moved = extractor(image), extractor(np.roll(image, moved, (0, 1)))
    can_be_moved = all(axis in BORDERS[border] for axis in (0, 1) if moved[axis])
    for layer in LAYERS:
        shift = [48 // features[layer].shape[0]] * 2
        expected = np.roll(features[layer], np.array(moved) // shift, (0, 1))
        error = np.max(np.abs(of_moved[layer] - expected)) / np.max(np.abs(expected))
        assert bool(error <= 1e-5) is can_be_moved


def test_ways_are_those_for_padded_maps():
    model = narrow_network.load_model()
    extractor = vgg.Extractor(
        model, ["conv2_1"], rule=lambda height, width, *_: f"{height}×{width}", border="wrap_x"
    )
    assert extractor.ways(32, 64) == {"conv1_1": "32×66", "conv1_2": "32×66", "conv2_1": "16×34"}
