"""The ways to compute a convolution, the rule that chooses one, and Winograd's arithmetic."""

import numpy as np
import pytest
import tensorflow as tf
from helpers.bfloat16 import needs_bfloat16
from helpers.exact import whole_numbers

from gatys_norm.network import convolution, device, winograd
from gatys_norm.network.convolution import (
    DIRECT,
    MIRRORED,
    TRANSPOSED,
    WINOGRAD,
    Convolution,
)

pytestmark = pytest.mark.numeric

SIZES = [(1, 1), (2, 5), (7, 4), (9, 13), (16, 16), (37, 70)]


def whole_kernel(inputs, outputs, dtype=tf.float32):
    return tf.cast(whole_numbers((3, 3, inputs, outputs), inputs, largest=2), dtype)


def whole_batch(height, width, channels, dtype=tf.float32):
    return tf.cast(whole_numbers((1, height, width, channels), width, largest=8), dtype)


def both_ways(convolve, value, upstream):
    """Return the output and the gradient by the value."""
    with tf.GradientTape() as tape:
        tape.watch(value)
        output = convolve(value)
    return output, tape.gradient(output, value, upstream)


def direct(kernel):
    return lambda value: tf.nn.conv2d(value, kernel, 1, "SAME")


def taking(way):
    return lambda *_: way


@pytest.mark.parametrize("traced", [False, True], ids=["eager", "traced"])
@pytest.mark.parametrize("outputs", [256, 40])
@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("way", [DIRECT, MIRRORED, TRANSPOSED])
def test_direct_ways_equal_tensorflows_convolution(way, size, outputs, traced):
    # Whole numbers, whose sums of 9 · 256 products have fewer than 24 bits: nothing is rounded.
    kernel = whole_kernel(256, outputs)
    value, upstream = whole_batch(*size, 256), whole_batch(*size, outputs)
    convolve = Convolution(kernel, taking(way))
    if traced:
        convolve = tf.function(convolve, autograph=False)
    actual = both_ways(convolve, value, upstream)
    for values, expected in zip(actual, both_ways(direct(kernel), value, upstream), strict=True):
        assert values.dtype == tf.float32
        np.testing.assert_array_equal(values, expected)


@pytest.mark.parametrize("traced", [False, True], ids=["eager", "traced"])
@pytest.mark.parametrize("outputs", [64, 24])
@pytest.mark.parametrize("band_tiles", [1, 5, winograd.BAND_TILES])
@pytest.mark.parametrize("size", SIZES, ids=str)
def test_winograds_way_is_the_convolution_but_for_rounding(
    size, band_tiles, outputs, traced, monkeypatch
):
    monkeypatch.setattr(winograd, "BAND_TILES", band_tiles)
    generator = np.random.default_rng(0)
    kernel = tf.constant(generator.normal(size=(3, 3, 48, outputs)), tf.float32)
    value = tf.constant(generator.normal(size=(1, *size, 48)), tf.float32)
    upstream = tf.constant(generator.normal(size=(1, *size, outputs)), tf.float32)
    convolve = Convolution(kernel, taking(WINOGRAD))
    if traced:
        convolve = tf.function(convolve, autograph=False)
    exact = both_ways(
        direct(tf.cast(kernel, tf.float64)),
        tf.cast(value, tf.float64),
        tf.cast(upstream, tf.float64),
    )
    for values, expected in zip(both_ways(convolve, value, upstream), exact, strict=True):
        assert values.dtype == tf.float32
        assert values.shape == expected.shape
        assert largest_error(values, expected) < 5e-6


@pytest.mark.parametrize("channels", [64, 128, 256, 512])
def test_winograds_error_is_small_in_layers_of_vgg19s_widths(channels):
    """After a ReLU, where sums are largest against their differences."""
    generator = np.random.default_rng(channels)
    kernel = generator.normal(0, (2 / 9 / channels) ** 0.5, (3, 3, channels, channels))
    value = np.maximum(generator.normal(size=(1, 16, 20, channels)), 0)
    upstream = generator.normal(size=(1, 16, 20, channels))
    kernel, value, upstream = (
        tf.constant(array, tf.float32) for array in (kernel, value, upstream)
    )
    exact = both_ways(direct(kernel), value, upstream)
    actual = both_ways(Convolution(kernel, taking(WINOGRAD)), value, upstream)
    for values, expected in zip(actual, exact, strict=True):
        assert 0 < largest_error(values, expected) < 1e-5


def largest_error(values, expected):
    """Return the largest difference, as a share of the largest value."""
    difference = tf.abs(tf.cast(values, tf.float64) - tf.cast(expected, tf.float64))
    return float(tf.reduce_max(difference) / tf.cast(tf.reduce_max(tf.abs(expected)), tf.float64))


@pytest.mark.parametrize("size", [(1, 1), (9, 13)], ids=str)
@pytest.mark.parametrize("way", [DIRECT, MIRRORED, TRANSPOSED, WINOGRAD])
def test_the_gradient_is_known_without_the_input(way, size):
    kernel, upstream = whole_kernel(64, 24), whole_batch(*size, 24)
    _, expected = both_ways(direct(kernel), whole_batch(*size, 64), upstream)
    convolve = Convolution(kernel, taking(way))
    for backward in (convolve.backward, tf.function(convolve.backward, autograph=False)):
        gradient = backward(upstream)
        assert gradient.dtype == tf.float32
        assert largest_error(gradient, expected) <= (5e-6 if way == WINOGRAD else 0)


@pytest.mark.parametrize("dtype", [tf.float64, pytest.param(tf.bfloat16, marks=needs_bfloat16)])
def test_so_it_is_in_other_types(dtype):
    kernel, upstream = whole_kernel(64, 24, dtype), whole_batch(9, 13, 24, dtype)
    _, expected = both_ways(direct(kernel), whole_batch(9, 13, 64, dtype), upstream)
    gradient = Convolution(kernel, taking(WINOGRAD)).backward(upstream)
    assert gradient.dtype == dtype
    np.testing.assert_array_equal(gradient, expected)


def test_mirrored_kernels_are_the_transformed_ones_in_another_order():
    kernel = tf.constant(np.random.default_rng(0).normal(size=(3, 3, 2, 5)), tf.float32)
    order = [6 * y + x for y in winograd.RECIPROCALS for x in winograd.RECIPROCALS]
    np.testing.assert_allclose(
        winograd.transformed(kernel[::-1, ::-1]),
        tf.gather(winograd.transformed(kernel), order),
        rtol=0,
        atol=1e-6,
    )


def test_bands_change_nothing(monkeypatch):
    kernel, value = whole_kernel(16, 16), whole_batch(40, 24, 16)
    results = []
    for band_tiles in (6, 12, 1000):
        monkeypatch.setattr(winograd, "BAND_TILES", band_tiles)
        convolve = tf.function(Convolution(kernel, taking(WINOGRAD)), autograph=False)
        results.append(both_ways(convolve, value, value))
    for other in results[1:]:
        for values, expected in zip(other, results[0], strict=True):
            assert largest_error(values, expected) < 1e-6


def test_results_of_a_compiled_function_do_not_share_memory():
    """Bands are written in place; the array must be a new one for each call."""
    convolve = tf.function(Convolution(whole_kernel(8, 8), taking(WINOGRAD)), autograph=False)
    value = whole_batch(80, 40, 8)
    first = convolve(value)
    kept = first.numpy().copy()
    convolve(2 * value)
    np.testing.assert_array_equal(first, kept)


@pytest.mark.parametrize(
    ("size", "channels", "has_avx512", "way"),
    [
        ((192, 256), (3, 64), True, DIRECT),
        ((192, 256), (3, 64), False, DIRECT),
        ((192, 256), (64, 64), True, WINOGRAD),
        ((192, 256), (64, 64), False, TRANSPOSED),
        ((192, 256), (64, 128), False, WINOGRAD),
        ((12, 16), (512, 512), True, WINOGRAD),
        ((12, 16), (512, 512), False, WINOGRAD),
        ((9, 9), (512, 512), True, MIRRORED),
        ((9, 9), (512, 512), False, MIRRORED),
        ((9, 9), (64, 64), False, TRANSPOSED),
        ((192, 256), (16, 512), True, DIRECT),
    ],
)
def test_the_way_follows_from_channels_size_and_instructions(
    size, channels, has_avx512, way, monkeypatch
):
    monkeypatch.setattr(device, "has_avx512", lambda: has_avx512)
    assert convolution.fastest_way(*size, *channels) == way


def test_a_gpus_library_chooses_for_itself(monkeypatch):
    monkeypatch.setattr(device, "gpus", lambda: ["a GPU"])
    assert convolution.fastest_way(192, 256, 256, 256) == DIRECT


def test_a_map_of_unknown_size_is_convolved_directly():
    kernel = whole_kernel(64, 8)
    signature = [tf.TensorSpec([None, None, None, 64])]
    convolve = tf.function(Convolution(kernel, taking(WINOGRAD)), signature, autograph=False)
    value, upstream = whole_batch(9, 7, 64), whole_batch(9, 7, 8)
    actual = both_ways(convolve, value, upstream)
    for values, expected in zip(actual, both_ways(direct(kernel), value, upstream), strict=True):
        np.testing.assert_array_equal(values, expected)


@pytest.mark.parametrize("dtype", [tf.float64, pytest.param(tf.bfloat16, marks=needs_bfloat16)])
def test_other_types_take_tensorflows_convolution(dtype):
    kernel = whole_kernel(256, 40, dtype)
    value, upstream = whole_batch(17, 15, 256, dtype), whole_batch(17, 15, 40, dtype)
    actual = both_ways(Convolution(kernel, taking(WINOGRAD)), value, upstream)
    for values, same in zip(actual, both_ways(direct(kernel), value, upstream), strict=True):
        assert values.dtype == dtype
        np.testing.assert_array_equal(values, same)


def test_only_what_a_way_needs_is_computed():
    kernel = whole_kernel(64, 64)
    convolve = Convolution(kernel, taking(DIRECT))
    convolve(whole_batch(8, 8, 64))
    assert set(vars(convolve)) == {"kernel", "border", "_rule"}
