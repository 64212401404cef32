"""3 × 3 convolutions with a quarter of the multiplications: Winograd's F(4×4, 3×3).

A *tile* is a square of 6 × 6 inputs d; together with a kernel g it gives 4 × 4 outputs, which are
Aᵀ [(G g Gᵀ) ⊙ (Bᵀ d B)] A (Lavin and Gray 2016, arXiv:1509.09308). That takes 36 products for 16
outputs, where the definition takes 9 for each. Summed over the input channels, the products ⊙ are
36 products of matrices.

A, B and G interpolate polynomials at six points. These are 0, ±3/2, ±2/3 and ∞: points of the form
±c, ±1/c round least (Alam et al. 2022, arXiv:2201.10369), and they stay the same set if each is
replaced by its reciprocal. That turns a kernel into its mirror image, so the gradient, which is the
convolution with mirrored kernels, takes the same transformed kernels in another order. Errors are
2e-6 of the largest output, against 1e-5 with the usual points 0, ±1, ±2, ∞.
"""

from __future__ import annotations

import functools
import math
from typing import NamedTuple

import numpy as np
import tensorflow as tf

KERNEL_SIDE = 3
OUTPUT_SIDE = 4
INPUT_SIDE = OUTPUT_SIDE + KERNEL_SIDE - 1
PRODUCTS = INPUT_SIDE**2
POINTS = (0.0, 3 / 2, -3 / 2, 2 / 3, -2 / 3, math.inf)
RECIPROCALS = (5, 3, 4, 1, 2, 0)  # of each point, as its place in `POINTS`
BAND_TILES = 128  # of a band: enough for fast products, few enough for the cache


class _Transforms(NamedTuple):
    """B ⊗ B transposed, 36 × 36, and A ⊗ A transposed, 16 × 36."""

    of_inputs: np.ndarray
    of_products: np.ndarray


def tile_count(height: int, width: int) -> int:
    """Return the number of tiles that cover a map of features."""
    return math.ceil(height / OUTPUT_SIDE) * math.ceil(width / OUTPUT_SIDE)


def transformed(kernel: tf.Tensor) -> tf.Tensor:
    """Return G g Gᵀ of every pair of channels.

    Args:
      kernel: 3 × 3 × C × C', float32.

    Returns:
      36 × C × C', four times the memory of the kernel.
    """
    flat = tf.reshape(kernel, [KERNEL_SIDE**2, -1])
    return tf.reshape(tf.matmul(_squared(_g()), flat), [PRODUCTS, *kernel.shape[2:]])


def convolve(value: tf.Tensor, kernels: tf.Tensor, is_mirrored: bool = False) -> tf.Tensor:
    """Convolve with zeros around the map, stride 1.

    The map is computed in *bands*, a few rows of tiles at a time, so that tiles and products stay
    in the cache, and take little memory.

    Args:
      value: 1 × H × W × C, float32; its shape must be known while tracing.
      kernels: result of `transformed`, 36 × C × C'; or 36 × C' × C if `is_mirrored`.
      is_mirrored: whether to convolve with the mirrored kernels with inputs and outputs exchanged:
        the gradient of the convolution, of which `value` is the gradient of the output.

    Returns:
      1 × H × W × C'.
    """
    _, height, width, _ = value.shape
    channels = kernels.shape[1 if is_mirrored else 2]
    tile_rows, tile_columns = math.ceil(height / OUTPUT_SIDE), math.ceil(width / OUTPUT_SIDE)
    band_count = math.ceil(tile_rows / max(1, BAND_TILES // tile_columns))
    rows = math.ceil(tile_rows / band_count)  # of tiles in a band
    band_count = math.ceil(tile_rows / rows)
    of_inputs, of_products = _transforms(is_mirrored)
    input_indices = _input_indices(rows, tile_columns)
    output_indices = _output_indices(rows, tile_columns, width)
    value = tf.squeeze(value, 0)

    def band(index: tf.Tensor | int) -> tf.Tensor:
        """Return 4 · rows × W × C'."""
        inputs = tf.gather(_padded_rows(value, index, rows, tile_columns), input_indices)
        tiles = _linear(of_inputs, inputs)
        products = tf.matmul(tiles, kernels, transpose_b=is_mirrored)
        outputs = _linear(of_products, products)
        return tf.gather(tf.reshape(outputs, [-1, channels]), output_indices)

    if band_count == 1:
        return band(0)[tf.newaxis, :height]
    # Bands are written into one array, so that there is no second copy of all of them. It is made
    # when its turn has come, not at the beginning like other arrays without inputs.
    with tf.control_dependencies([value]):
        shape = [band_count, OUTPUT_SIDE * rows, width, channels]
        empty = tf.raw_ops.Empty(shape=shape, dtype=value.dtype)
    _, bands = tf.while_loop(
        lambda index, _: index < band_count,
        lambda index, bands: (
            index + 1,
            tf.raw_ops.InplaceUpdate(x=bands, i=[index], v=band(index)[tf.newaxis]),
        ),
        (tf.constant(0), empty),
        parallel_iterations=1,
    )
    joined = tf.reshape(bands, [-1, width, channels])
    return joined[tf.newaxis, :height]


def _padded_rows(
    value: tf.Tensor, index: tf.Tensor | int, rows: int, tile_columns: int
) -> tf.Tensor:
    """Return the inputs of a band with the zeros around the map, one row per position."""
    height, width, channels = value.shape
    above = OUTPUT_SIDE * rows * index - 1
    below = above + OUTPUT_SIDE * rows + 2
    first, last = tf.maximum(above, 0), tf.minimum(below, height)
    right = OUTPUT_SIDE * tile_columns + 2 - 1 - width
    padding = [[first - above, below - last], [1, right], [0, 0]]
    padded = tf.pad(value[first:last], padding)
    position_count = (OUTPUT_SIDE * rows + 2) * (OUTPUT_SIDE * tile_columns + 2)
    return tf.reshape(padded, [position_count, channels])


def _linear(matrix: np.ndarray, arrays: tf.Tensor) -> tf.Tensor:
    """Return the linear combinations of arrays, along their first axis."""
    combined = tf.matmul(tf.constant(matrix), tf.reshape(arrays, [matrix.shape[1], -1]))
    return tf.reshape(combined, [matrix.shape[0], *arrays.shape[1:]])


def _input_indices(rows: int, columns: int) -> np.ndarray:
    """Return the position of each input of each tile in the padded rows of a band, 36 × tiles."""
    inside = np.arange(INPUT_SIDE)[:, np.newaxis]
    y = OUTPUT_SIDE * np.arange(rows) + inside
    x = OUTPUT_SIDE * np.arange(columns) + inside
    positions = y[:, np.newaxis, :, np.newaxis] * (OUTPUT_SIDE * columns + 2) + x[:, np.newaxis]
    return positions.reshape(PRODUCTS, rows * columns).astype(np.int32)


def _output_indices(rows: int, columns: int, width: int) -> np.ndarray:
    """Return where each output of a band lies among 16 × tiles, 4 · rows × W."""
    y, x = np.arange(OUTPUT_SIDE * rows)[:, np.newaxis], np.arange(width)
    inside = y % OUTPUT_SIDE * OUTPUT_SIDE + x % OUTPUT_SIDE
    tile = y // OUTPUT_SIDE * columns + x // OUTPUT_SIDE
    return (inside * rows * columns + tile).astype(np.int32)


@functools.cache
def _transforms(is_mirrored: bool) -> _Transforms:
    order = RECIPROCALS if is_mirrored else range(INPUT_SIDE)
    # A polynomial of degree 5 from its values at the points, and its values from it.
    b_transposed = np.linalg.inv(_powers(INPUT_SIDE)).T / _scales()[:, np.newaxis]
    a_transposed = _powers(OUTPUT_SIDE).T
    return _Transforms(_squared(b_transposed[order,]), _squared(a_transposed[:, order]))


def _g() -> np.ndarray:
    return _powers(KERNEL_SIDE) * _scales()[:, np.newaxis]


def _powers(count: int) -> np.ndarray:
    """Return 1, p, p² … of each point, and of ∞ the highest power alone; points × `count`."""
    highest = np.eye(count)[-1]
    return np.array([p ** np.arange(count) if math.isfinite(p) else highest for p in POINTS])


def _scales() -> np.ndarray:
    """Return 1 / (1 + p²): with it a point and its reciprocal give mirrored rows of G."""
    return np.array([1 / (1 + p**2) if math.isfinite(p) else 1 for p in POINTS])


def _squared(matrix: np.ndarray) -> np.ndarray:
    """Return what `matrix` does along both axes of a square, as one matrix."""
    return np.kron(matrix, matrix).astype(np.float32)
