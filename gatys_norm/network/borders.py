"""What a convolution sees beyond the edges of a map: padding by one position, and its transpose.

The convolutions of `convolution` have zeros around a map. For another border the map is padded by
one position, convolved with zeros around that, and what was padded is cut off again.
"""

from __future__ import annotations

from collections.abc import Callable

import tensorflow as tf

ROWS, COLUMNS = 1, 2  # axes of 1 × H × W × C
# {border: the axes that are padded}; on the others there are zeros.
PADDED_AXES = {
    "zero": (),
    "replicate": (ROWS, COLUMNS),
    "reflect": (ROWS, COLUMNS),
    "wrap": (ROWS, COLUMNS),
    "wrap_x": (COLUMNS,),
}


def padded_size(border: str, height: int, width: int) -> tuple[int, int]:
    """Return (height, width) of `padded` for a map of H × W."""
    margins = _margins(border)
    return height + 2 * margins[ROWS], width + 2 * margins[COLUMNS]


def padded(value: tf.Tensor, border: str) -> tf.Tensor:
    """Return a map with one position more on either side of every axis that the border pads.

    Args:
      value: 1 × H × W × C; its shape must be known while tracing.
      border: a key of `PADDED_AXES`. An axis of one position is repeated by "reflect" too.

    Returns:
      1 × (H + 2) × (W + 2) × C, with the axes that are padded.
    """

    @tf.custom_gradient
    def pad(value: tf.Tensor) -> tuple[tf.Tensor, Callable[[tf.Tensor], tf.Tensor]]:
        for axis in PADDED_AXES[border]:
            first, last = (
                _part(value, axis, source, source + 1)
                for source in _sources(border, value.shape[axis])
            )
            value = tf.concat([first, value, last], axis)
        return value, lambda upstream: folded(upstream, border)

    return pad(value)


def folded(gradient: tf.Tensor, border: str) -> tf.Tensor:
    """Return the gradient of a map from that of the result of `padded`.

    The gradient of each position that was added belongs to the position that it was copied from.

    Args:
      gradient: of the shape that `padded` returns.
      border: a key of `PADDED_AXES`.

    Returns:
      1 × H × W × C.
    """
    for axis in reversed(PADDED_AXES[border]):
        gradient = _folded_on(axis, gradient, border)
    return gradient


def with_zeros(value: tf.Tensor, border: str) -> tf.Tensor:
    """Return a map with zeros where `padded` adds positions: the transpose of `without_padding`."""
    return tf.pad(value, [[margin, margin] for margin in _margins(border)])


def without_padding(value: tf.Tensor, border: str) -> tf.Tensor:
    """Return the result of a convolution of `padded` without the positions that were added."""
    margins = _margins(border)
    sizes = [size - 2 * margin for size, margin in zip(value.shape, margins, strict=True)]
    return tf.slice(value, margins, sizes)


def _margins(border: str) -> list[int]:
    """Return how many positions are added on either side of each axis of 1 × H × W × C."""
    return [int(axis in PADDED_AXES[border]) for axis in range(4)]


def _folded_on(axis: int, gradient: tf.Tensor, border: str) -> tf.Tensor:
    size = gradient.shape[axis] - 2
    added: dict[int, list[tf.Tensor]] = {}
    for end, source in zip((0, size + 1), _sources(border, size), strict=True):
        added.setdefault(source, []).append(_part(gradient, axis, end, end + 1))
    pieces, start = [], 0
    for source in sorted(added):
        pieces.append(_part(gradient, axis, start + 1, source + 1))
        pieces.append(tf.add_n([_part(gradient, axis, source + 1, source + 2), *added[source]]))
        start = source + 1
    pieces.append(_part(gradient, axis, start + 1, size + 1))
    return tf.concat(pieces, axis)


def _sources(border: str, size: int) -> tuple[int, int]:
    """Return the positions, of `size`, that the ones before the first and after the last copy."""
    return {
        "replicate": (0, size - 1),
        "reflect": (min(1, size - 1), max(size - 2, 0)),
        "wrap": (size - 1, 0),
        "wrap_x": (size - 1, 0),
    }[border]


def _part(value: tf.Tensor, axis: int, start: int, stop: int) -> tf.Tensor:
    return value[:, start:stop] if axis == ROWS else value[:, :, start:stop]
