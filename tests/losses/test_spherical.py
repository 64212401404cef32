"""Filters of panoramas: alike in all places and directions of the sphere."""

import math

import numpy as np
import pytest
import tensorflow as tf
from helpers.rounding import unit

from gatys_norm.losses import parametrization, spherical

WIDTHS = [64, 128, 512]
EXPONENTS = [-0.5, -1.0]
all_widths = pytest.mark.parametrize("width", WIDTHS)
all_exponents = pytest.mark.parametrize("exponent", EXPONENTS)


def noise(width, seed=0):
    return np.random.default_rng(seed).normal(0, 1, (width // 2, width, 3))


def directions(width):
    """East, north and up of each pixel's direction, each H × W."""
    height = width // 2
    latitude = np.pi * (0.5 - (np.arange(height) + 0.5) / height)[:, np.newaxis]
    longitude = 2 * np.pi * (np.arange(width) + 0.5) / width
    flat = np.cos(latitude)
    return flat * np.sin(longitude), flat * np.cos(longitude), np.sin(latitude) + 0 * longitude


def harmonics(degree, width):
    """Spherical harmonics of a degree: along the equator, over the poles, and between."""
    east, north, up = directions(width)
    middle = (north + up) / math.sqrt(2)
    return [np.real((east + 1j * other) ** degree) for other in (north, up, middle)]


def scaled(panorama):
    """A panorama times √c, in three channels."""
    return np.stack([panorama] * 3, axis=2) * spherical.row_lengths(len(panorama))


def weighted(values, exponent, inverse=False):
    return spherical.weighted(tf.constant(values), exponent, inverse).numpy()


@all_exponents
@all_widths
def test_the_inverse_gives_it_again(width, exponent):
    values = noise(width)
    # Frequencies are multiplied by numbers up to `ratio` apart, and so are errors.
    ratio = width ** (1 - exponent)
    error = ratio * 100 * unit() * np.abs(values).max()
    for first, then in ((False, True), (True, False)):
        again = weighted(weighted(values, exponent, first), exponent, then)
        np.testing.assert_allclose(again, values, rtol=0, atol=error)


@all_exponents
@all_widths
def test_it_is_its_own_transpose(width, exponent):
    a, b = noise(width, 1), noise(width, 2)
    products = np.sum(weighted(a, exponent) * b), np.sum(a * weighted(b, exponent))
    assert products[0] == pytest.approx(products[1], rel=1e-9)
    with tf.GradientTape() as tape:
        tape.watch(values := tf.constant(a))
        filtered = spherical.weighted(values, exponent)
    gradient = tape.gradient(filtered, values, tf.constant(b))
    np.testing.assert_allclose(gradient, weighted(b, exponent), rtol=1e-9, atol=1e-12)


@all_exponents
@pytest.mark.parametrize("degree", [1, 2, 5, 11])
def test_a_harmonic_is_multiplied_by_the_same_number_wherever_it_points(degree, exponent):
    gains = []
    for harmonic in harmonics(degree, 128):
        values = scaled(harmonic)
        filtered = weighted(values, exponent)
        gain = np.sum(values * filtered) / np.sum(values**2)
        assert np.abs(filtered - gain * values).max() < 0.02 * np.abs(filtered).max()
        gains.append(gain)
    assert max(gains) < 1.02 * min(gains)


@all_exponents
@all_widths
def test_it_follows_the_power_of_the_frequency(width, exponent):
    ratios = []
    for degree in (1, 2, 3, 4, 6, 8, 12):
        values = scaled(harmonics(degree, width)[0])
        gain = np.sum(values * weighted(values, exponent)) / np.sum(values**2)
        ratios.append(gain / (math.sqrt(degree * (degree + 1)) / width) ** exponent)
    assert max(ratios) < 1.25 * min(ratios)


def test_the_mean_over_all_frequencies_is_one():
    # What one value does to itself is the mean over frequencies, away from the poles.
    values = np.zeros((64, 128, 3))
    values[32, 17, 1] = 7
    assert weighted(values, -0.5)[32, 17, 1] == pytest.approx(7, rel=0.1)


@pytest.mark.parametrize("kind", ["pixel", "fourier"])
def test_a_spot_at_a_pole_moves_what_one_at_the_equator_moves(kind):
    """The same loss around a direction has the same descent, wherever the direction is."""
    east, north, up = directions(256)
    surface = np.square(spherical.row_lengths(128)) * np.ones([128, 256, 3])
    shape = surface.shape

    def descent(center):
        angle = np.arccos(np.clip(np.tensordot(center, [east, north, up], 1), -1, 1))
        spot = np.exp(-np.square(angle / 0.1))[..., np.newaxis]
        with tf.GradientTape() as tape:
            tape.watch(position := tf.zeros([math.prod(shape)], tf.float64))
            image = parametrization.to_image(position, shape, kind, projection="equirectangular")
        gradient = tape.gradient(image, position, tf.constant(spot * surface))
        moved = parametrization.to_image(gradient, shape, kind, projection="equirectangular")
        rings = [np.abs(angle - radius) < 0.05 for radius in (0, 0.1, 0.3, 1)]
        return [np.average(moved.numpy()[ring], weights=surface[ring]) for ring in rings]

    at_equator = descent((0, 1, 0))
    for center in ((0, 0, 1), (0, 0, -1), (0, 0.6, 0.8)):
        np.testing.assert_allclose(descent(center), at_equator, rtol=0.1, atol=1e-3)


def test_rays_are_taken_out_and_all_else_is_kept():
    width = 128
    longitude = 2 * np.pi * np.arange(width) / width
    wave = np.broadcast_to(np.cos(20 * longitude)[:, np.newaxis], (width // 2, width, 3))
    seen = spherical.without_rays(tf.constant(wave)).numpy()
    np.testing.assert_allclose(seen[20:-20], wave[20:-20], atol=1e-12)
    assert np.abs(seen[:3]).max() < 1e-12
    np.testing.assert_allclose(
        spherical.without_rays(tf.ones([64, 128, 3], tf.float64)), 1, atol=1e-12
    )
