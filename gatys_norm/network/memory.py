"""How much memory a transfer needs, estimated before it starts, and how it is computed then."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from gatys_norm import sphere
from gatys_norm.config import CONVOLUTIONS_PER_BLOCK, FLAT, SIZE_RANGE
from gatys_norm.terms import block_of

if TYPE_CHECKING:
    from gatys_norm.config import TransferConfig

# (height, width) of the content, and of each style.
Shapes: TypeAlias = tuple[tuple[int, int], tuple[tuple[int, int], ...]]

COMFORTABLE_SHARE = 0.7
BLOCKS = len(CONVOLUTIONS_PER_BLOCK)
CHANNELS = dict(enumerate((64, 128, 256, 512, 512), start=1))  # of a block's layers


class OutOfMemoryError(ValueError):
    """A size needs more memory than there is; the message says how much, and which size fits."""


class Strips(NamedTuple):
    """How the network is computed: as a whole, or in strips, a few rows at a time.

    Attributes:
      rows: of a block's map that a strip has at most, see `network.strips`; 0 if the network is
        computed as a whole.
      kept: with strips, number of last blocks whose features are kept for the gradient, as far as
        it needs them.
    """

    rows: int = 0
    kept: int = 0


WHOLE = Strips()
# From the fastest to the one that needs least memory.
CHOICES = (
    WHOLE,
    Strips(rows=128, kept=5),
    Strips(rows=128, kept=3),
    Strips(rows=64),
    Strips(rows=32),
)
THRIFTIEST = CHOICES[-1]
# Above, an evaluation takes so long that it has to show its progress, which it does in strips.
LARGEST_WHOLE = 8e6  # pixels
HALO = 8  # rows above and below a strip that its features depend on, together
# Of a pixel of an atlas: the matrix that makes a quarter of it, and the panorama in four turns.
BYTES_OF_ATLAS = 250
# Of an evaluation in strips without halos, relative to one without strips, by the number of blocks
# kept. Measured for 0, 3 and 5.
RELATIVE_SECONDS = (1.85, 1.70, 1.55, 1.40, 1.30, 1.20)


def thriftier(a: Strips, b: Strips) -> Strips:
    """Return the one of two that needs less memory."""
    return max(a, b, key=lambda strips: (strips != WHOLE, -strips.kept, -strips.rows))


def relative_seconds(strips: Strips) -> float:
    """Return the time of an evaluation, relative to that of the same size without strips."""
    if strips == WHOLE:
        return 1.0
    return RELATIVE_SECONDS[strips.kept] * (1 + HALO / 2 / strips.rows)


class Costs(NamedTuple):
    """Bytes that the parts of a transfer take at its peak on a kind of device, as upper bounds.

    Attributes:
      at_rest: of the process, and of the network whose kernels are transformed; see `winograd`.
      low_rank: of the second network that continuation "rank" needs.
      whole: of a pixel, if the network is computed as a whole.
      in_strips: of a pixel, if it is computed in strips.
      strip_position: of a column of a strip's row, the halo included; the same for every block,
        whose maps are narrower the more channels they have.
      traces: of each byte that kept blocks keep, the memory of its gradient included.
      padded: of a pixel, or of a position of a strip, for maps that are padded; see `borders`.
      fourier: of a pixel, for the parametrization of that name.
      pair: of a pixel, for each pair of vectors that the optimizer stores.
    """

    at_rest: float
    low_rank: float
    whole: float
    in_strips: float
    strip_position: float
    traces: float
    padded: float
    fourier: float
    pair: float


# Peaks measured with TensorFlow 2.21; see tests/network/test_memory.py.
CPU = Costs(
    at_rest=1.35e9,
    low_rank=0.5e9,
    whole=1850,
    in_strips=285,
    strip_position=2560,
    traces=1.2,
    padded=512,
    fourier=580,
    pair=30,
)
# Peaks of the memory that TensorFlow allocates, measured on an H200; see docs/performance.md.
GPU = Costs(
    at_rest=0.3e9,
    low_rank=0.5e9,
    whole=1530,
    in_strips=265,
    strip_position=1350,
    traces=1.05,
    padded=512,  # not measured
    fourier=580,  # not measured
    pair=30,
)


class Plan(NamedTuple):
    """How a size is computed, and what that takes.

    Attributes:
      byte_count: bytes that the transfer needs at most.
      strips: how the network is computed.
      available: bytes that the transfer may use; infinite if unknown.
    """

    byte_count: float
    strips: Strips
    available: float = math.inf


def plan_transfer(
    config: TransferConfig, shapes: Mapping[int, Shapes], free: float, costs: Costs = CPU
) -> tuple[Plan, ...]:
    """Choose how each size of a transfer is computed.

    Args:
      config: `TransferConfig`.
      shapes: {size: (height, width) of the content at that size, and of each style}.
      free: bytes that the process may use; see `device.available_bytes`.
      costs: of the kind of device.

    Returns:
      A `Plan` per size.

    Raises:
      OutOfMemoryError: a size does not fit; the message gives the estimate and what would fit.
    """
    largest_first = [
        plan_size(size, config, shapes[size], free, costs) for size in reversed(config.size)
    ]
    return tuple(reversed(largest_first))


def plan_size(
    size: int, config: TransferConfig, shapes: Shapes, free: float, costs: Costs = CPU
) -> Plan:
    """Choose the fastest way of computing a size that leaves a comfortable share of memory free.

    If there is none, it is the one that needs least. Pictures of more than `LARGEST_WHOLE` pixels
    are always computed in strips. Arguments and errors as for `plan_transfer`.
    """
    shapes = _shapes_in_view(shapes, config)
    pixels, _ = _extent(shapes)
    available = min(free, config.memory_limit_bytes)
    plans = [
        Plan(estimated_bytes(shapes, config, strips, costs), strips, available)
        for strips in CHOICES[pixels > LARGEST_WHOLE :]
    ]
    for plan in plans:
        if plan.byte_count <= COMFORTABLE_SHARE * available:
            return plan
    if plans[-1].byte_count > available:
        fitting = int(size * fitting_scale(shapes, config, available, costs))
        raise _out_of_memory(size, fitting, plans[-1], config.memory_limit * (available < free))
    return plans[-1]


def _shapes_in_view(shapes: Shapes, config: TransferConfig) -> Shapes:
    """Return the shapes of what the network looks at."""
    content, styles = shapes
    return (content if config.projection == FLAT else sphere.atlas_shape(content[1])), styles


def _out_of_memory(size: int, fitting: int, plan: Plan, limit: str) -> OutOfMemoryError:
    """Return the error for a size that needs too much.

    Args:
      size: the size.
      fitting: size that would fit.
      plan: what the size needs, and what there is.
      limit: the setting that there is not more; "" if memory is full.
    """
    needed, there = (number / 2**30 for number in (plan.byte_count, plan.available))
    fits = fitting >= SIZE_RANGE[0]
    if limit:
        way_out = f"size {fitting} would fit" if fits else "set a higher limit"
        return OutOfMemoryError(
            f"memory_limit: {limit} is too little, size {size} needs about {needed:.1f} GiB; "
            f"{way_out}"
        )
    way_out = f"{fitting} would fit" if fits else "make room first"
    return OutOfMemoryError(
        f"size: {size} needs about {needed:.1f} GiB of memory and {there:.1f} are free; {way_out}"
    )


def estimated_bytes(
    shapes: Shapes, config: TransferConfig, strips: Strips, costs: Costs = CPU
) -> float:
    """Return the bytes that a size needs at most; arguments as for `plan_size`."""
    at_rest, per_width, per_pixel = _bytes(config, strips, costs)
    pixels, width = _extent(shapes)
    return at_rest + width * per_width + pixels * per_pixel


def fitting_scale(
    shapes: Shapes, config: TransferConfig, byte_count: float, costs: Costs = CPU
) -> float:
    """Return the factor by which pictures must be scaled to need `byte_count` bytes.

    They are computed in the way that needs least memory. 0 if not even the network fits.
    """
    at_rest, per_width, per_pixel = _bytes(config, THRIFTIEST, costs)
    pixels, width = _extent(shapes)
    # a · scale² + b · scale = c
    a, b, c = pixels * per_pixel, width * per_width, byte_count - at_rest
    return (math.sqrt(b * b + 4 * a * c) - b) / (2 * a) if c > 0 else 0.0


def _extent(shapes: Shapes) -> tuple[int, int]:
    """Return the number of pixels and the width of the largest picture."""
    content, styles = shapes
    pictures = (content, *styles)
    return max(map(math.prod, pictures)), max(width for _, width in pictures)


def _bytes(config: TransferConfig, strips: Strips, costs: Costs) -> tuple[float, float, float]:
    """Return the bytes that do not depend on the pictures, those of a column, of a pixel."""
    at_rest = costs.at_rest + (costs.low_rank if config.continuation == "rank" else 0)
    is_whole = strips == WHOLE
    padded = 0 if config.network_border == "zero" else costs.padded
    per_width = 0 if is_whole else (costs.strip_position + padded) * (strips.rows + HALO)
    features = [*config.content_layers]
    if is_whole:
        features += config.style_layers * (1 + len(config.content_masks or ()))
    per_pixel = (
        (costs.whole + padded if is_whole else costs.in_strips)
        + sum(map(_bytes_of_features, features))
        + (0 if config.projection == FLAT else BYTES_OF_ATLAS)
        + (costs.fourier if config.parametrization == "fourier" else 0)
        + config.stored_pairs * costs.pair
        + costs.traces * sum(_bytes_of_traces(block, config) for block in _last_blocks(strips.kept))
    )
    return at_rest, per_width, per_pixel


def _bytes_of_features(layer: str) -> float:
    """Return the bytes of a layer's float32 features, per pixel of the picture."""
    block = block_of(layer)
    return 4 * CHANNELS[block] / 4 ** (block - 1)


def _last_blocks(count: int) -> range:
    return range(BLOCKS - count + 1, BLOCKS + 1)


def _bytes_of_traces(block: int, config: TransferConfig) -> float:
    """Return the bytes that a block keeps for its gradient, per pixel of the picture.

    They are all of the features that are compared or pooled, and the signs of the others, a fourth
    of that.
    """
    names = {f"{block}_{index + 1}" for index in range(CONVOLUTIONS_PER_BLOCK[block - 1])}
    compared = {layer[-3:] for layer in (*config.content_layers, *config.style_layers)}
    whole = len(names & (compared | {max(names)}))
    signs = len(names) - whole
    return (whole + signs / 4) * _bytes_of_features(f"conv{block}_1")
