"""The picture as a linear map of what the optimizer moves, against NumPy's full transform."""

import math

import numpy as np
import pytest
import tensorflow as tf
from helpers.rounding import (
    difference_quotient_error,
    filter_error,
    gamma,
    sum_error,
    there_and_back_error,
    unit,
)

from gatys_norm.losses import parametrization

KINDS = ["pixel", "fourier"]
SIZES = [(8, 8), (7, 6), (6, 7), (5, 9), (16, 17), (1, 4)]  # height, width
all_kinds = pytest.mark.parametrize("kind", KINDS)
all_sizes = pytest.mark.parametrize("size", SIZES, ids="{0[0]}x{0[1]}".format)


def picture(size, seed=0):
    return np.random.default_rng(seed).uniform(-20, 275, (*size, 3))


def expected_gain(height, width):
    """f^-1/2 over the whole spectrum, f in cycles per pixel, divided by the mean."""
    gain = np.empty((height, width))
    for row in range(height):
        for column in range(width):
            vertical = min(row, height - row) / height
            horizontal = min(column, width - column) / width
            frequency = math.sqrt(vertical**2 + horizontal**2)
            gain[row, column] = 1 / math.sqrt(frequency or 1 / max(height, width))
    return gain / (gain.sum() / gain.size)


def expected_image(planes):
    """F⁻¹(g · F(plane)) of each of the planes, 3 × H × W, as H × W × 3."""
    gain = expected_gain(*planes.shape[1:])
    filtered = np.fft.ifft2(gain * np.fft.fft2(planes))
    np.testing.assert_allclose(filtered.imag, 0, atol=filter_error(planes, gain))
    return np.moveaxis(filtered.real, 0, -1)


def map_error(position, size, kind, dtype="float64"):
    """The most by which rounding changes a value of `to_image`; a pixel is the position itself."""
    if kind == "pixel":
        return 0.0
    return filter_error(np.reshape(position, (3, *size)), expected_gain(*size), dtype)


def back_error(values, size, kind, dtype="float64"):
    """The most by which a value is changed by the map and its inverse."""
    return 0.0 if kind == "pixel" else there_and_back_error(values, expected_gain(*size), dtype)


def to_image(position, size, kind):
    return parametrization.to_image(tf.constant(position), (*size, 3), kind).numpy()


@all_sizes
def test_fourier_equals_numpys_full_transform(size):
    planes = np.random.default_rng(1).normal(0, 50, (3, *size))
    image = to_image(planes.ravel(), size, "fourier")
    error = 2 * map_error(planes, size, "fourier")
    assert error < 1e-9 * np.abs(image).max()  # so that a wrong frequency shows
    np.testing.assert_allclose(image, expected_image(planes), rtol=0, atol=error)


@all_sizes
def test_one_wave_is_multiplied_by_its_gain(size):
    height, width = size
    gain = expected_gain(*size)
    for row in range(height):
        for column in range(width):
            phase = np.add.outer(
                row * np.arange(height) / height, column * np.arange(width) / width
            )
            wave = np.stack([np.cos(2 * np.pi * phase + shift) for shift in (0.3, 1.5, 4)])
            image = to_image(wave.ravel(), size, "fourier")
            expected = gain[row, column] * np.moveaxis(wave, 0, -1)
            # A phase of up to 2 · 2π + 4, six roundings, is what the wave may be wrong by, and
            # what is wrong may be multiplied by the largest gain.
            wrong = gamma(6) * (4 * np.pi + 4) * np.sqrt(wave.size)
            error = map_error(wave, size, "fourier") + 2 * gain.max() * wrong
            np.testing.assert_allclose(image, expected, rtol=0, atol=error)


@all_sizes
def test_a_single_value_moves_its_own_pixel_by_as_much(size):
    # What it does to its own pixel is the mean of the gain over the spectrum.
    planes = np.zeros((3, *size))
    planes[2, 0, 1] = 7
    error = map_error(planes, size, "fourier")
    moved = to_image(planes.ravel(), size, "fourier")[0, 1, 2]
    assert moved == pytest.approx(7, rel=0, abs=error)


def test_pixel_is_the_picture_itself():
    image = picture((5, 4))
    np.testing.assert_array_equal(parametrization.from_image(image, "pixel"), image.ravel())
    np.testing.assert_array_equal(to_image(image.ravel(), (5, 4), "pixel"), image)


@all_kinds
@all_sizes
def test_the_position_of_a_picture_gives_it_again(size, kind):
    image = picture(size)
    position = parametrization.from_image(image, kind)
    assert position.shape == (image.size,)
    error = back_error(image, size, kind)
    np.testing.assert_allclose(to_image(position, size, kind), image, rtol=0, atol=error)


@all_kinds
@all_sizes
def test_the_picture_of_a_position_has_it_again(size, kind):
    position = np.random.default_rng(2).normal(0, 50, 3 * math.prod(size))
    again = parametrization.from_image(to_image(position, size, kind), kind)
    error = back_error(position, size, kind)
    np.testing.assert_allclose(again, position, rtol=0, atol=error)


@all_kinds
def test_float32_stays_float32_and_loses_what_it_rounds(kind):
    image = np.float32(picture((96, 125)))
    position = parametrization.from_image(image, kind)
    again = parametrization.to_image(position, image.shape, kind)
    assert position.dtype == again.dtype == tf.float32
    error = back_error(image, (96, 125), kind, "float32")
    assert error < 1e-3 * np.linalg.norm(image)
    assert np.linalg.norm(again - image) <= error


# Sides of which one is odd, the other, both; a pixel is the same at any size.
@pytest.mark.parametrize(
    ("kind", "size"),
    [("pixel", (3, 4)), ("fourier", (3, 4)), ("fourier", (4, 3)), ("fourier", (3, 5))],
)
def test_gradient_equals_finite_differences(kind, size):
    position = tf.constant(np.random.default_rng(3).normal(0, 1, 3 * math.prod(size)))
    step = 0.5
    by_gradient, by_differences = tf.test.compute_gradient(
        lambda position: parametrization.to_image(position, (*size, 3), kind),
        [position],
        delta=step,
    )
    # The map is linear: nothing but rounding, of the position moved by a step and of the map, and
    # of the map of one upstream value.
    rounded = map_error(np.abs(position) + step, size, kind)
    rounded += unit() * np.abs(position).max() * expected_gain(*size).max()
    error = difference_quotient_error(step, 0, rounded) + map_error(
        np.eye(1, position.shape[0]), size, kind
    )
    np.testing.assert_allclose(by_gradient[0], by_differences[0], rtol=0, atol=error)


@all_sizes
def test_the_map_is_its_own_transpose_channel_by_channel(size):
    generator = np.random.default_rng(4)
    a, b = generator.normal(0, 1, (2, 3, *size))
    image_of_a, image_of_b = (
        np.moveaxis(to_image(planes.ravel(), size, "fourier"), -1, 0) for planes in (a, b)
    )
    for channel in range(3):
        products = a[channel] * image_of_b[channel], image_of_a[channel] * b[channel]
        # Each picture is wrong by its map's error, in norm; the products are added up.
        error = sum(
            map_error(one, size, "fourier") * np.linalg.norm(other)
            for one, other in ((a, b), (b, a))
        ) + sum(map(sum_error, products))
        assert np.sum(products[0]) == pytest.approx(np.sum(products[1]), rel=0, abs=error)


@all_kinds
def test_channels_are_kept_apart(kind):
    image = picture((6, 7))
    before = np.asarray(parametrization.from_image(image, kind))
    image[:, :, 1] += picture((6, 7), seed=5)[:, :, 0]
    moved = parametrization.from_image(image, kind) - before
    change = to_image(moved, (6, 7), kind)
    error = 2 * back_error(image, (6, 7), kind)  # two positions, one from the other
    np.testing.assert_allclose(change[:, :, [0, 2]], 0, atol=error)
    assert np.abs(change[:, :, 1]).max() > 1


@all_kinds
def test_traced_equals_eager(kind):
    @tf.function(autograph=False)
    def image_and_gradient(position):
        with tf.GradientTape() as tape:
            tape.watch(position)
            image = parametrization.to_image(position, (6, 5, 3), kind)
        return image, tape.gradient(image, position, image**2)

    position = tf.constant(np.random.default_rng(6).normal(0, 1, 90))
    traced = image_and_gradient(position)
    eager = image_and_gradient.python_function(position)
    error = 2 * map_error(position, (6, 5), kind)
    np.testing.assert_allclose(traced[0], eager[0], rtol=0, atol=error)
    # What comes back is the image's square, of which each value is wrong by twice as much, squared
    # and mapped.
    image = np.abs(eager[0]).max()
    wrong = (2 * error * image + unit() * image**2) * expected_gain(6, 5).max() * np.sqrt(90)
    error = 2 * map_error(np.square(eager[0]), (6, 5), kind) + wrong
    np.testing.assert_allclose(traced[1], eager[1], rtol=0, atol=error)
