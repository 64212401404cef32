"""How much memory a transfer needs, estimated before it starts."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from gatys_norm.config import SIZE_RANGE
from gatys_norm.terms import block_of

if TYPE_CHECKING:
    from gatys_norm.config import TransferConfig

# (height, width) of the content, and of each style.
Shapes: TypeAlias = tuple[tuple[int, int], tuple[tuple[int, int], ...]]

# Fitted from above to peaks measured with TensorFlow 2.21 on a CPU; see tests/test_memory.py.
BYTES_AT_REST = 1.1e9
BYTES_PER_PIXEL = 1850
BYTES_PER_PIXEL_IN_STRIPS = 950
BYTES_PER_PIXEL_IN_FOURIER = 750
BYTES_PER_PIXEL_AND_PAIR = 60
COMFORTABLE_SHARE = 0.7
HEAD_BLOCKS = 2  # blocks of the network that are computed in strips; see `strips`
CHANNELS = dict(enumerate((64, 128, 256, 512, 512), start=1))  # of a block's layers


class OutOfMemoryError(ValueError):
    """A size needs more memory than there is; the message says how much and what would fit."""


class Plan(NamedTuple):
    """What a transfer needs at its peak, and whether its first blocks are computed in strips."""

    byte_count: float
    in_strips: bool


def plan_transfer(config: TransferConfig, shapes: Shapes, available: float) -> Plan:
    """Choose how the largest size of a transfer is computed.

    Args:
      config: `TransferConfig`.
      shapes: the content's (height, width) at that size, and those of the styles.
      available: bytes that the process may grow to; see `machine.available_bytes`.

    Returns:
      Plan.

    Raises:
      OutOfMemoryError: the size does not fit; the message gives the estimate and what would fit.
    """
    content_shape, style_shapes = shapes
    pixels = max(math.prod(shape) for shape in (content_shape, *style_shapes))
    size, chosen = config.size[-1], plan(pixels, config, available)
    if chosen.byte_count > available:
        share = largest_pixel_count(available, config) / pixels
        fitting = int(size * math.sqrt(share))
        raise OutOfMemoryError(
            f"size: {size} needs about {chosen.byte_count / 2**30:.1f} GiB of memory "
            f"and {available / 2**30:.1f} are free; "
            + (f"{fitting} would fit" if fitting >= SIZE_RANGE[0] else "make room first")
        )
    return chosen


def plan(pixel_count: int, config: TransferConfig, available: float) -> Plan:
    """Choose between the two ways of computing: in strips where the faster one would be a squeeze.

    Args:
      pixel_count: H · W of the larger of x and the style picture.
      config: `TransferConfig`; its layers, history and parametrization count.
      available: bytes that the process may grow to; see `machine.available_bytes`.

    Returns:
      Plan.
    """
    plain = estimated_bytes(pixel_count, config, in_strips=False)
    if plain <= COMFORTABLE_SHARE * available:
        return Plan(plain, in_strips=False)
    return Plan(estimated_bytes(pixel_count, config, in_strips=True), in_strips=True)


def estimated_bytes(pixel_count: int, config: TransferConfig, in_strips: bool) -> float:
    """Return the bytes that a transfer needs at its peak; arguments as for `plan`."""
    return BYTES_AT_REST + pixel_count * _bytes_per_pixel(config, in_strips)


def largest_pixel_count(byte_count: float, config: TransferConfig) -> float:
    """Return how many pixels a transfer in strips may have that fits into `byte_count` bytes."""
    return max(0, (byte_count - BYTES_AT_REST) / _bytes_per_pixel(config, in_strips=True))


def _bytes_per_pixel(config: TransferConfig, in_strips: bool) -> float:
    layers = config.content_layers + config.style_layers
    whole = [layer for layer in layers if not (in_strips and block_of(layer) <= HEAD_BLOCKS)]
    network = BYTES_PER_PIXEL_IN_STRIPS if in_strips else BYTES_PER_PIXEL
    fourier = BYTES_PER_PIXEL_IN_FOURIER if config.parametrization == "fourier" else 0
    pairs = config.stored_pairs * BYTES_PER_PIXEL_AND_PAIR
    masked = [layer for layer in whole if layer in config.style_layers]
    features = whole + masked * len(config.content_masks or ())
    return network + sum(map(_bytes_of_features, features)) + fourier + pairs


def _bytes_of_features(layer: str) -> float:
    """float32 features of a layer for each pixel of the picture."""
    block = block_of(layer)
    return 4 * CHANNELS[block] / 4 ** (block - 1)
