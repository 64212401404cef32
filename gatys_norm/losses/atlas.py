"""Panoramas as the network looks at them: see `sphere`, whose matrices TensorFlow applies here."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence

import numpy as np
import tensorflow as tf

from gatys_norm import sphere
from gatys_norm.config import FLAT
from gatys_norm.images import masks as picture_masks
from gatys_norm.network.vgg import feature_size


def view_of(image: tf.Tensor | np.ndarray, projection: str) -> tf.Tensor:
    """Return what the network looks at: a picture itself, or the atlas of a panorama.

    Args:
      image: H × W × 3.
      projection: see `config.PROJECTIONS`.
    """
    return tf.convert_to_tensor(image) if projection == FLAT else atlas_of(image)


def view_shape(shape: Sequence[int], projection: str) -> tuple[int, int]:
    """Return (height, width) of `view_of` for a picture of the shape (H, W, …)."""
    height, width = shape[:2]
    return (height, width) if projection == FLAT else sphere.atlas_shape(width)


def atlas_of(panorama: tf.Tensor | np.ndarray) -> tf.Tensor:
    """Return the atlas of a panorama, a linear function of it; differentiable.

    Args:
      panorama: H × 2H × C values, 2H a multiple of 64.

    Returns:
      `sphere.atlas_shape(2H)` × C.
    """
    panorama = tf.convert_to_tensor(panorama)
    width, channels = panorama.shape[1:]
    height, around = sphere.atlas_shape(width)
    turned = [tf.roll(panorama, -part * width // sphere.PARTS, 1) for part in range(sphere.PARTS)]
    quarters = _product(tf.reshape(tf.concat(turned, 2), [-1, sphere.PARTS * channels]), width)
    shape = height, around // sphere.PARTS, sphere.PARTS, channels
    atlas = tf.transpose(tf.reshape(quarters, shape), [0, 2, 1, 3])
    return tf.reshape(atlas, [height, around, channels])


def as_seen(panorama: np.ndarray) -> np.ndarray:
    """Return a panorama without what the atlas does not show, such as noise next to the poles.

    Each pixel becomes the mean of the pixels of the atlas that are made from it.

    Args:
      panorama: float32 H × 2H × 3.
    """
    weights = tf.constant(sphere.position_weights(panorama.shape[1]))[..., tf.newaxis]
    with tf.GradientTape(watch_accessed_variables=False) as tape:
        tape.watch(image := tf.concat([panorama, tf.ones_like(panorama[..., :1])], 2))
        atlas = atlas_of(image)
    sums = tape.gradient(atlas, image, atlas * weights)
    return (sums[..., :-1] / sums[..., -1:]).numpy()


def region_of(mask: np.ndarray, width: int) -> np.ndarray:
    """Return the atlas of a mask of a panorama.

    Args:
      mask: H × 2H of any size, from 0 to 1.
      width: of the panorama.
    """
    resized = picture_masks.mask_at(mask, *sphere.picture_shape(width))
    return atlas_of(resized[..., np.newaxis])[..., 0].numpy()


def weights_at(layer: str, width: int, region: np.ndarray | None = None) -> np.ndarray:
    """Return how much each position of a layer counts; see `sphere.position_weights`.

    Args:
      layer: of the network that looks at the atlas.
      width: of the panorama.
      region: result of `region_of`, where they count; None for everywhere.

    Returns:
      float32 H_j × W_j.
    """
    weights = sphere.position_weights(width)
    if region is not None:
        weights = weights * region
    return picture_masks.mask_at(weights, *feature_size(layer, *weights.shape))


def _product(columns: tf.Tensor, width: int) -> tf.Tensor:
    """Return the product of the matrix of `sphere.taps` and the pixels of a panorama, N × C."""
    matrix = _matrix(width, columns.dtype)

    def times(columns: tf.Tensor, adjoint: bool = False) -> tf.Tensor:
        with tf.device("CPU"):  # a GPU would add up in any order
            return tf.sparse.sparse_dense_matmul(matrix, columns, adjoint_a=adjoint)

    @tf.custom_gradient
    def product(columns: tf.Tensor) -> tuple[tf.Tensor, Callable[[tf.Tensor], tf.Tensor]]:
        return times(columns), functools.partial(times, adjoint=True)

    return product(columns)


@functools.lru_cache(maxsize=4)
def _matrix(width: int, dtype: tf.DType) -> tf.SparseTensor:
    pixel, source, weight = sphere.taps(width)
    height, around = sphere.atlas_shape(width)
    shape = height * around // sphere.PARTS, width * width // 2
    with tf.init_scope(), tf.device("CPU"):
        values = tf.constant(weight, dtype)
        return tf.SparseTensor(np.stack([pixel, source], axis=1), values, shape)
