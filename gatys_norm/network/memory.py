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

# Upper bounds of peaks measured with TensorFlow 2.21 on a CPU; see tests/network/test_memory.py.
BYTES_AT_REST = 1.35e9  # 0.32e9 of them for transformed kernels; see `winograd`
BYTES_OF_LOW_RANK = 0.5e9  # of the second network that continuation "rank" needs
BYTES_PER_PIXEL = 1850
BYTES_PER_PIXEL_IN_STRIPS = 950
BYTES_PER_PIXEL_IN_FOURIER = 580
BYTES_PER_PIXEL_AND_PAIR = 60
COMFORTABLE_SHARE = 0.7
HEAD_BLOCKS = 2  # first blocks of the network, which can be computed in strips; see `strips`
ALL_BLOCKS = 5
CHANNELS = dict(enumerate((64, 128, 256, 512, 512), start=1))  # of a block's layers


class OutOfMemoryError(ValueError):
    """A size needs more memory than is free; the message says how much, and which size fits."""


class Strips(NamedTuple):
    """How much of the network is computed in strips, a few rows at a time.

    Attributes:
      blocks: number of its first blocks that are: 0, `HEAD_BLOCKS` (see `strips`) or `ALL_BLOCKS`
        (see `block_strips`).
      rows: of a block's map that a strip has at most; 0 unless all blocks are in strips.
    """

    blocks: int = 0
    rows: int = 0

    @property
    def cover_all(self) -> bool:
        """Whether all blocks are computed in strips."""
        return self.blocks == ALL_BLOCKS


def thriftier(a: Strips, b: Strips) -> Strips:
    """Return the one of two that needs less memory."""
    return max(a, b, key=lambda strips: (strips.blocks, -strips.rows))


class Plan(NamedTuple):
    """The bytes that a transfer needs at most, and how much of the network runs in strips."""

    byte_count: float
    strips: Strips


WHOLE = Strips()
HEAD = Strips(HEAD_BLOCKS)


def plan_transfer(config: TransferConfig, shapes: Shapes, available: float) -> Plan:
    """Choose how the largest size of a transfer is computed: in strips or not.

    Args:
      config: `TransferConfig`.
      shapes: (height, width) of the content at that size, and of each style.
      available: bytes that the process may use; see `machine.available_bytes`.

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
    """Choose strips, which are slower, only where the memory would otherwise be almost full.

    Args:
      pixel_count: H · W of the largest of x and the style pictures.
      config: `TransferConfig`; its layers, optimizer and parametrization matter.
      available: bytes that the process may use; see `machine.available_bytes`.

    Returns:
      Plan.
    """
    plain = estimated_bytes(pixel_count, config, WHOLE)
    if plain <= COMFORTABLE_SHARE * available:
        return Plan(plain, WHOLE)
    return Plan(estimated_bytes(pixel_count, config, HEAD), HEAD)


def estimated_bytes(pixel_count: int, config: TransferConfig, strips: Strips) -> float:
    """Return the bytes that a transfer needs at most; arguments as for `plan`."""
    return _bytes_at_rest(config) + pixel_count * _bytes_per_pixel(config, strips)


def largest_pixel_count(byte_count: float, config: TransferConfig) -> float:
    """Return the number of pixels of a transfer in strips that fits into `byte_count` bytes."""
    return max(0, (byte_count - _bytes_at_rest(config)) / _bytes_per_pixel(config, HEAD))


def _bytes_at_rest(config: TransferConfig) -> float:
    return BYTES_AT_REST + (BYTES_OF_LOW_RANK if config.continuation == "rank" else 0)


def _bytes_per_pixel(config: TransferConfig, strips: Strips) -> float:
    layers = config.content_layers + config.style_layers
    whole = [layer for layer in layers if block_of(layer) > strips.blocks]
    network = BYTES_PER_PIXEL_IN_STRIPS if strips.blocks else BYTES_PER_PIXEL
    fourier = BYTES_PER_PIXEL_IN_FOURIER if config.parametrization == "fourier" else 0
    pairs = config.stored_pairs * BYTES_PER_PIXEL_AND_PAIR
    masked = [layer for layer in whole if layer in config.style_layers]
    features = whole + masked * len(config.content_masks or ())
    return network + sum(map(_bytes_of_features, features)) + fourier + pairs


def _bytes_of_features(layer: str) -> float:
    """Return the bytes of a layer's float32 features, per pixel of the picture."""
    block = block_of(layer)
    return 4 * CHANNELS[block] / 4 ** (block - 1)
