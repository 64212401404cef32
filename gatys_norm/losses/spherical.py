"""Filters of a panorama that treat the sphere alike everywhere, and not the panorama's rows.

All are linear. They act on the values of a panorama times √c, with c the length of each row's
circle of latitude relative to the equator, unless they say otherwise: those have the same norm as
the picture has on the sphere, and so the filters are their own transposes.
"""

from __future__ import annotations

import functools
import math
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from gatys_norm import sphere
from gatys_norm.losses import functional

ROLL_OFF = 1.25  # of the waves that the atlas can show: those of which nothing is left
POLE_RATIO = 32.0  # of squared frequencies


class _Factor(NamedTuple):
    """(1 + λ / zero) / (1 + λ / pole), a function of λ = (2πf)²; zero = pole / share."""

    share: float
    pole: float


def row_lengths(height: int) -> np.ndarray:
    """Return √c of each row of a panorama, H × 1 × 1."""
    return np.sqrt(np.sin(sphere.colatitudes(height)))[:, np.newaxis, np.newaxis]


def without_rays(image: tf.Tensor) -> tf.Tensor:
    """Return a panorama without the waves around circles of latitude that the atlas cannot show.

    Args:
      image: H × 2H × 3, of which each row is filtered by itself, whatever it was multiplied by.
    """
    width = image.shape[1]
    waves = np.arange(width // 2 + 1) / sphere.waves_around(width)[:, np.newaxis, np.newaxis]
    gain = np.clip((ROLL_OFF - waves) / (ROLL_OFF - 1), 0, 1)

    def filtered(image: tf.Tensor) -> tf.Tensor:
        spectrum = tf.signal.rfft(tf.transpose(image, [0, 2, 1]))
        rows = tf.signal.irfft(spectrum * tf.cast(gain, spectrum.dtype), fft_length=[width])
        return tf.transpose(rows, [0, 2, 1])

    return functional.own_transpose(filtered, image)


def weighted(image: tf.Tensor, exponent: float, inverse: bool = False) -> tf.Tensor:
    """Return a panorama of which each spatial frequency f is multiplied by about f^exponent.

    f is that on the sphere, the same in all directions and places. It enters as λ = (2πf)², an
    eigenvalue of −Δ, the Laplace operator of the sphere, whose inverses are cheap: between its
    neighbors in latitude each wave around is solved for by itself. A product of quotients of λ
    follows f^exponent within 20 %, and is inverted exactly.

    Args:
      image: float H × 2H × 3, times √c.
      exponent: from −2 to 0.
      inverse: whether to divide instead.

    Returns:
      The shape and type of `image`. The mean of what frequencies are multiplied by is 1.
    """
    height, width, _ = image.shape
    scale, factors = _rational(height, exponent)
    if inverse:
        scale, factors = 1 / scale, tuple(map(_inverted, factors))

    def filtered(image: tf.Tensor) -> tf.Tensor:
        spectrum = tf.signal.rfft(tf.transpose(tf.cast(image, tf.float64), [2, 0, 1]))
        waves = tf.transpose(spectrum, [2, 1, 0])  # waves around × H × 3
        values = tf.concat([tf.math.real(waves), tf.math.imag(waves)], 2)
        for factor in factors:
            values = _multiplied(values, factor)
        waves = tf.complex(*tf.split(scale * values, 2, 2))
        rows = tf.signal.irfft(tf.transpose(waves, [2, 1, 0]), fft_length=[width])
        return tf.cast(tf.transpose(rows, [1, 2, 0]), image.dtype)

    return functional.own_transpose(filtered, image)


@functools.lru_cache(maxsize=8)
def _rational(height: int, exponent: float) -> tuple[float, tuple[_Factor, ...]]:
    """Return (scale, factors) of a rational function of λ that follows f^exponent.

    Where a pole is passed the function begins to fall like 1/λ, and where a zero is passed it
    ceases to; on average over a pole and the next one it falls like λ^(exponent / 2).
    """
    width = 2 * height
    lowest = (2 * math.pi / width) ** 2
    count = math.ceil(math.log(width**2 / 2, POLE_RATIO))  # to the largest frequency, f² = 1/2
    share = POLE_RATIO ** (exponent / 2)
    factors = tuple(_Factor(share, lowest * POLE_RATIO**number) for number in range(count))
    frequencies = np.hypot(np.fft.fftfreq(height)[:, np.newaxis], np.fft.fftfreq(width))
    eigenvalues = (2 * math.pi * frequencies) ** 2
    gain = np.ones_like(eigenvalues)
    for factor in factors:
        gain *= factor.share + (1 - factor.share) / (1 + eigenvalues / factor.pole)
    return 1 / float(gain.mean()), factors


def _inverted(factor: _Factor) -> _Factor:
    return _Factor(1 / factor.share, factor.pole / factor.share)


def _multiplied(values: tf.Tensor, factor: _Factor) -> tf.Tensor:
    """Return a factor of −Δ times values: their share, and what a diffusion leaves of the rest.

    Args:
      values: float64, waves around × H × columns, times √c.
      factor: of λ.
    """
    wave_count, height, _ = values.shape
    c = np.sin(sphere.colatitudes(height))
    between = np.sin(np.pi * np.arange(height + 1) / height)  # c between rows; no flow at the poles
    to_next = -between[1:] / np.sqrt(c * np.append(c[1:], 1))
    own = (between[:-1] + between[1:]) / c
    around = np.square(np.pi * np.arange(wave_count) / height)
    diagonal = 1 + (own + around[:, tf.newaxis] * tf.constant(c**-2.0)) / factor.pole
    above = tf.broadcast_to(tf.constant(to_next / factor.pole), diagonal.shape)
    below = tf.roll(above, 1, 1)
    with tf.device("CPU"):  # a GPU would add up in another order
        diffused = tf.linalg.tridiagonal_solve(
            tf.stack([above, diagonal, below], 1), values, partial_pivoting=False
        )
    return factor.share * values + (1 - factor.share) * diffused
