"""Gram matrices, distances and their weighted sum, as functions of tensors.

Every loss is L(x) = Σ coefficient · distance(features of x, target); the distance is the squared
one but for the style terms of the style-aware loss. Equation numbers are those of Choi and Kim, JBE
25(6), 2020, doi 10.5909/JBE.2020.25.6.980.
"""

from collections.abc import Callable, Collection, Mapping
from typing import TypeAlias

import tensorflow as tf

Distance: TypeAlias = Callable[[tf.Tensor, tf.Tensor], tf.Tensor]  # (value, target) → scalar


def guided_gram_matrix(features: tf.Tensor, mask: tf.Tensor) -> tf.Tensor:
    """Φ_jᵀ diag(m) Φ_j: the Gram matrix of a region (Gatys et al., CVPR 2017, with T² = m).

    Args:
      features: φ_j, H_j × W_j × C_j.
      mask: m, H_j × W_j, from 0 (outside) to 1 (inside); all ones give `gram_matrix`.

    Returns:
      C_j × C_j, symmetric, float32 or wider.
    """
    guide = tf.cast(tf.sqrt(mask), features.dtype)
    return gram_matrix(features * guide[..., tf.newaxis])


@tf.custom_gradient
def gram_matrix(features: tf.Tensor) -> tuple[tf.Tensor, Callable[[tf.Tensor], tf.Tensor]]:
    """G(φ_j) = Φ_jᵀΦ_j, divided by nothing (Eq. 5).

    Its gradient Φ_j (dG + dGᵀ) is one product in the type of the features; TensorFlow would compute
    two.

    Args:
      features: φ_j, H_j × W_j × C_j; Φ_j is φ_j reshaped to (H_j W_j) × C_j.

    Returns:
      C_j × C_j, symmetric, float32 or wider.
    """
    flat = tf.reshape(features, [-1, features.shape[-1]])
    wide = at_least_float32(flat)

    def gradient(upstream: tf.Tensor) -> tf.Tensor:
        symmetric_gradient = tf.cast(upstream + tf.transpose(upstream), features.dtype)
        return tf.reshape(tf.matmul(flat, symmetric_gradient), tf.shape(features))

    return tf.matmul(wide, wide, transpose_a=True), gradient


def own_transpose(linear_map: Callable[[tf.Tensor], tf.Tensor], value: tf.Tensor) -> tf.Tensor:
    """Return `linear_map(value)`; its gradient is that map again, which is its own transpose."""

    @tf.custom_gradient
    def run(value: tf.Tensor) -> tuple[tf.Tensor, Callable[[tf.Tensor], tf.Tensor]]:
        return linear_map(value), linear_map

    return run(value)


def at_least_float32(values: tf.Tensor) -> tf.Tensor:
    """Return `values` as float32, or unchanged if their type is wider."""
    return tf.cast(values, tf.float32) if values.dtype.size < tf.float32.size else values


def squared_distance(a: tf.Tensor, b: tf.Tensor) -> tf.Tensor:
    """‖a − b‖², summed over all elements."""
    return tf.reduce_sum(tf.math.squared_difference(a, b))


def bounded_squared_distance(a: tf.Tensor, b: tf.Tensor) -> tf.Tensor:
    """‖a − b‖² / (‖a‖² + ‖b‖²), which lies between 0 and 1 for two Gram matrices.

    Gram matrices are positive semidefinite, so their inner product is not negative, and ‖a‖² + ‖b‖²
    is the least upper bound of their squared distance that holds for all with these norms (Cheng et
    al., CVPR 2021, arXiv 2104.10064). The gradient goes through both a's.

    Args:
      a, b: of the same shape, not both zero.
    """
    return squared_distance(a, b) / (energy(a) + energy(b))


def energy(values: tf.Tensor) -> tf.Tensor:
    """E = Σ values² (Eq. 13): E°_j of content features, Eᴳ_j of a style Gram matrix."""
    return tf.reduce_sum(tf.square(values))


def masked_energy(values: tf.Tensor, mask: tf.Tensor) -> tf.Tensor:
    """Σ m ‖values‖², summed over the positions of a mask.

    Args:
      values: H × W × C.
      mask: m, H × W, from 0 to 1.
    """
    return tf.reduce_sum(mask * tf.reduce_sum(tf.square(values), axis=2))


def total_variation(image: tf.Tensor, wrapped_axes: Collection[int] = ()) -> tf.Tensor:
    """Sum of squared differences between each pixel and its right and lower neighbor.

    Args:
      image: x, H × W × 3.
      wrapped_axes: axes, 0 or 1, on which the neighbor of the last pixel is the first one.
    """
    total = squared_distance(image[1:], image[:-1]) + squared_distance(image[:, 1:], image[:, :-1])
    if 0 in wrapped_axes:
        total += squared_distance(image[0], image[-1])
    if 1 in wrapped_axes:
        total += squared_distance(image[:, 0], image[:, -1])
    return total


def weighted_sum(
    distances: Mapping[str, tf.Tensor], coefficients: Mapping[str, tf.Tensor | float]
) -> tf.Tensor:
    """L(x) = Σ coefficient · distance over the terms of `coefficients`."""
    return tf.add_n([coefficients[term] * distances[term] for term in coefficients])
