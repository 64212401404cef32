"""How strongly a picture is stylized: one number from 0 to 1, from its content features alone.

The features φ_j(x) of the result are compared with two extremes. If x is the content picture, their
squared distance from φ_j(o) is 0. If x has the style's features at random positions, and so nothing
to do with the content, it is on average

    U_j = Σ_i Σ_s p_s(i) · (‖φ_j(o)_i‖² + e_s − 2 φ_j(o)_i · μ_s)

with i the positions of layer j, μ_s and e_s the mean and the mean energy of φ_j(s) over positions,
and p_s(i) the share that style s has in the position i.

A transfer that begins with the content never comes as far as that: what it changes for the style
alone, without any content loss, is a `STYLE_ALONE` of the way, nearly the same for all styles. So

    strength = √(Σ_j λᴿ_o(j) ‖φ_j(o) − φ_j(x)‖² / U_j) / STYLE_ALONE

is 0 for the content picture and about 1 for what λ_os → 0 gives.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from gatys_norm.images.masks import mask_at
from gatys_norm.losses.coefficients import relative_weights

STYLE_ALONE = 0.8  # scripts/benchmarks/strengths.py measures how near to 1 that comes


class Moments(NamedTuple):
    """Of the features of a style at one layer, over its positions, or over those in its region.

    Attributes:
      mean: μ_s, C_j × 1.
      energy: e_s, the mean of ‖φ_j(s)_i‖².
    """

    mean: tf.Tensor
    energy: float


def moments(features: tf.Tensor, mask: np.ndarray | None = None) -> Moments:
    """Return the `Moments` of features; zeros if no position lies in the region.

    Args:
      features: φ_j(s), H_j × W_j × C_j.
      mask: the style's region, H × W of any size, from 0 to 1; None for all of it.
    """
    height, width, channels = features.shape
    region = np.ones((height, width)) if mask is None else mask_at(mask, height, width)
    flat = tf.reshape(features, [-1, channels])
    weights = _row(region / (region.sum() or 1), flat.dtype)
    return Moments(tf.transpose(weights @ flat), float((weights @ _energies(flat))[0, 0]))


def unrelated_distance(features: tf.Tensor, styles: Sequence[Moments], shares: np.ndarray) -> float:
    """Return U_j, the squared distance that features of a picture unrelated to the content have.

    Args:
      features: φ_j(o), H_j × W_j × C_j.
      styles: of each style.
      shares: p_s of each style, S × H_j × W_j; see `shares_of_styles`.
    """
    flat = tf.reshape(features, [-1, features.shape[-1]])
    energies = _energies(flat)
    distance = 0.0
    for style, share in zip(styles, shares, strict=True):
        weights = _row(share, flat.dtype)
        distance += float((weights @ energies)[0, 0]) + float(share.sum()) * style.energy
        distance -= 2 * float((weights @ flat @ style.mean)[0, 0])
    return distance


def shares_of_styles(
    blend: Sequence[float], masks: Sequence[np.ndarray], height: int, width: int
) -> np.ndarray:
    """Return p_s of each style: β_s m_s / Σ_t β_t m_t, and 0 outside of all regions.

    Args:
      blend: weight β_s of each style.
      masks: m_s, the region of each style in x, of any size, from 0 to 1; none for everywhere.
      height, width: H_j and W_j.

    Returns:
      S × H_j × W_j.
    """
    regions = [mask_at(mask, height, width) for mask in masks] or np.ones((len(blend), 1, 1))
    weighted = np.reshape(blend, (-1, 1, 1)) * np.broadcast_to(regions, (len(blend), height, width))
    total = weighted.sum(axis=0)
    return weighted / np.where(total > 0, total, 1)


def strength(
    distances: Mapping[str, float],
    unrelated: Mapping[str, float],
    weights: Mapping[str, float],
) -> float:
    """Return the strength; NaN where it is undefined, as content and style have the same features.

    Args:
      distances: {content term: ‖φ_j(o) − φ_j(x)‖²}.
      unrelated: {content term: U_j}.
      weights: {content term: λ_o(j)}.
    """
    parts = [
        weight * distances[term] / unrelated[term] if unrelated[term] > 0 else math.nan
        for term, weight in relative_weights(weights).items()
        if weight
    ]
    return math.sqrt(sum(parts)) / STYLE_ALONE


def _energies(flat: tf.Tensor) -> tf.Tensor:
    """Return ‖φ_i‖² of each position, N × 1."""
    return tf.reduce_sum(tf.square(flat), axis=1, keepdims=True)


def _row(weights: np.ndarray, dtype: tf.DType) -> tf.Tensor:
    """Return weights of positions, H × W, as 1 × N."""
    return tf.constant(weights.reshape(1, -1), dtype)
