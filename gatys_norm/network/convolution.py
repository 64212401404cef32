"""Convolutions with fixed kernels, each computed in the way that is fastest for it.

The way follows from a rule, not from a measurement at the start, so that the same machine computes
the same bytes. `scripts/benchmarks/convolutions.py` measured what the rule is drawn from.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Final, TypeAlias

import tensorflow as tf

from gatys_norm.network import borders, device, winograd

DIRECT: Final = "direct"
MIRRORED: Final = "mirrored"
TRANSPOSED: Final = "transposed"
WINOGRAD: Final = "winograd"

LEAST_CHANNELS = 64  # of the smaller side; the first layer has 3
LEAST_CHANNELS_WITHOUT_AVX512 = 128  # of the larger side
LEAST_TILES = 12

_Direction: TypeAlias = Callable[[tf.Tensor], tf.Tensor]
# (height, width, input channels, output channels) → way
Rule: TypeAlias = Callable[[int, int, int, int], str]


def fastest_way(height: int, width: int, inputs: int, outputs: int) -> str:
    """Return the way in which a 3 × 3 convolution in float32 is fastest on this device.

    - "winograd", see `winograd`: in layers of 64 channels and more, if the map has enough tiles for
      the products of matrices to be fast. Without AVX512, if one side has 128 channels or more.
    - "transposed": as the transposed convolution with mirrored kernels, which without AVX512 is
      faster in layers of 64 channels.
    - "mirrored": directly, and the gradient as the direct convolution with mirrored kernels: in
      wide layers with few tiles.
    - "direct": in the first layer, and on a GPU, whose library chooses for itself.

    Args:
      height, width: H and W of the map of features.
      inputs, outputs: its channels, C, and those of the result, C'.
    """
    if device.gpus() or min(inputs, outputs) < LEAST_CHANNELS:
        return DIRECT
    has_tiles = winograd.tile_count(height, width) >= LEAST_TILES
    is_wide = device.has_avx512() or max(inputs, outputs) >= LEAST_CHANNELS_WITHOUT_AVX512
    if has_tiles and is_wide:
        return WINOGRAD
    return MIRRORED if is_wide else TRANSPOSED


class Convolution:
    """The convolution with a fixed 3 × 3 kernel: stride 1, output as large as input.

    Gradients exist with respect to the input only.

    Attributes:
      kernel: 3 × 3 × C × C'.
      border: what it sees beyond the edges of its input.
    """

    def __init__(self, kernel: tf.Tensor, rule: Rule = fastest_way, border: str = "zero") -> None:
        """Keep the kernel; what a way needs besides is computed when it is first taken.

        Args:
          kernel: 3 × 3 × C × C'.
          rule: function that chooses the way; see `fastest_way`. It is asked for float32 only, as
            bfloat16 is fastest directly.
          border: a key of `borders.PADDED_AXES`. Unless it is "zero", shapes must be known.
        """
        self.kernel = kernel
        self.border = border
        self._rule = rule

    def way(self, height: int | None, width: int | None) -> str:
        """Return the way for a map of features; "direct" where its shape is not known."""
        inputs, outputs = self.kernel.shape[2:]
        if self.kernel.dtype != tf.float32 or height is None or width is None:
            return DIRECT
        return self._rule(*borders.padded_size(self.border, height, width), inputs, outputs)

    def __call__(self, value: tf.Tensor) -> tf.Tensor:
        """Convolve 1 × H × W × C to 1 × H × W × C'."""
        way = self.way(*value.shape[1:3])
        if self.border == "zero":
            return self._convolved(value, way)
        convolved = self._convolved(borders.padded(value, self.border), way)
        return borders.without_padding(convolved, self.border)

    def backward(self, upstream: tf.Tensor) -> tf.Tensor:
        """Return the gradient of the input, 1 × H × W × C, from that of the result."""
        way = self.way(*upstream.shape[1:3])
        if self.border == "zero":
            return self._gradient(upstream, way)
        of_padded = self._gradient(borders.with_zeros(upstream, self.border), way)
        return borders.folded(of_padded, self.border)

    def _convolved(self, value: tf.Tensor, way: str) -> tf.Tensor:
        """Convolve with zeros around the map."""
        if way == DIRECT:
            return _direct(value, self.kernel)
        return _with_gradient(*self._directions(way), value)

    def _gradient(self, upstream: tf.Tensor, way: str) -> tf.Tensor:
        """Return the gradient of `_convolved`."""
        if way == DIRECT:
            return _transposed(upstream, self.kernel)
        return self._directions(way)[1](upstream)

    def _directions(self, way: str) -> tuple[_Direction, _Direction]:
        """Return the convolution, and the function that gives its gradient."""
        if way == WINOGRAD:
            kernels = self._transformed_kernels
            forward = functools.partial(_by_tiles, kernels=kernels)
            return forward, functools.partial(forward, is_mirrored=True)
        kernel, mirrored = self.kernel, self._mirrored_kernel
        if way == TRANSPOSED:
            kernel, mirrored = mirrored, kernel
        convolve = {MIRRORED: _direct, TRANSPOSED: _transposed}[way]
        return functools.partial(convolve, kernel=kernel), functools.partial(
            convolve, kernel=mirrored
        )

    @functools.cached_property
    def _mirrored_kernel(self) -> tf.Tensor:
        with tf.init_scope():
            return tf.reverse(tf.transpose(self.kernel, [0, 1, 3, 2]), [0, 1])

    @functools.cached_property
    def _transformed_kernels(self) -> tf.Tensor:
        with tf.init_scope():
            return winograd.transformed(self.kernel)


def _by_tiles(value: tf.Tensor, kernels: tf.Tensor, is_mirrored: bool = False) -> tf.Tensor:
    """Return `winograd.convolve`, which takes long to trace: once for all layers of a shape."""
    return _traced_for(tuple(value.shape), tuple(kernels.shape), is_mirrored)(value, kernels)


@functools.lru_cache(maxsize=256)
def _traced_for(
    _shape: tuple[int, ...], _kernels_shape: tuple[int, ...], is_mirrored: bool
) -> Callable[[tf.Tensor, tf.Tensor], tf.Tensor]:
    convolve = functools.partial(winograd.convolve, is_mirrored=is_mirrored)
    return tf.function(convolve, autograph=False)


def _direct(value: tf.Tensor, kernel: tf.Tensor) -> tf.Tensor:
    return tf.nn.conv2d(value, kernel, 1, "SAME")


def _transposed(value: tf.Tensor, kernel: tf.Tensor) -> tf.Tensor:
    return tf.nn.conv2d_transpose(value, kernel, [*value.shape[:3], kernel.shape[2]], 1, "SAME")


def _with_gradient(forward: _Direction, backward: _Direction, value: tf.Tensor) -> tf.Tensor:
    @tf.custom_gradient
    def run(value: tf.Tensor) -> tuple[tf.Tensor, _Direction]:
        return forward(tf.stop_gradient(value)), backward  # which has no gradient of its own

    return run(value)
