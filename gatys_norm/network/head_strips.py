"""The first two blocks of the network, computed on a few rows of the picture at a time.

Blocks 1 and 2, the *head*, need two thirds of the memory of an evaluation and an eighth of its
work. Here the head runs on one *strip* after another, a few rows of the picture, and a second time
for the gradient. Only the features of one strip are in memory at any time.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple, TypeAlias

import tensorflow as tf

from gatys_norm.network.vgg import HEAD_STRIDE, Extractor
from gatys_norm.terms import block_of

ValuesOfStrip: TypeAlias = Callable[
    [Mapping[str, tf.Tensor], Callable[[tf.Tensor, int], tf.Tensor]], list[tf.Tensor]
]

# Rows above and below a strip that its features depend on: four 3 × 3 convolutions, two of them at
# half the size, reach 6 pixels. Rounded up to whole squares of the head's poolings.
HALO = 2 * HEAD_STRIDE
STRIP_PIXELS = 2**17
LEAST_ROWS = 64


class _Strip(NamedTuple):
    """Rows `start` to `stop` of the picture, computed from rows `first` to `last`."""

    start: int
    stop: int
    first: int
    last: int


def _strips(height: int, width: int) -> list[_Strip]:
    rows = max(LEAST_ROWS, STRIP_PIXELS // width) // HEAD_STRIDE * HEAD_STRIDE
    # The last strip needs at least one square of the poolings, so it includes a shorter rest.
    starts = range(0, max(1, height - HEAD_STRIDE + 1), rows)
    stops = [*starts[1:], height]
    return [
        _Strip(start, stop, max(0, start - HALO), min(height, stop + HALO))
        for start, stop in zip(starts, stops, strict=True)
    ]


def run_head(
    extractor: Extractor,
    image: tf.Tensor,
    values_of: ValuesOfStrip,
    strides: Sequence[int | None],
) -> tuple[tf.Tensor | None, list[tf.Tensor]]:
    """Run the head strip by strip, and combine values of its features; differentiable.

    Each strip is computed from its own rows and a halo of rows around them, which is cut off from
    the features. `values_of` then turns the features of the strip into values: a Gram matrix, which
    is a sum over positions, so the matrices of all strips are added up; or features themselves,
    whose rows are put one below the other. The gradient runs the head on every strip once more and
    adds up the gradients where halos overlap.

    Args:
      extractor: φ.
      image: H × W × 3, RGB, 0–255; its shape must be known while tracing.
      values_of: (features, rows_of) → list of the values of one strip. `features` is {layer: the
        strip's rows of φ_j}; `rows_of(array, stride)` returns the strip's rows of an array that
        covers the whole picture, such as a mask, and has one row per `stride` rows of the picture.
      strides: one entry per value: None if the values of the strips are added up; otherwise their
        rows are joined, and the entry is the number of rows of the picture per row of the value.

    Returns:
      (input of `extractor.tail`, or None if the extractor has no tail; list of the values of the
      whole picture).
    """
    strips = _strips(*image.shape[:2])
    # If there is a tail, its input is the first of the values.
    all_strides = [HEAD_STRIDE] * extractor.has_tail + list(strides)

    strip_values = functools.partial(_strip_values, extractor, values_of)

    @tf.custom_gradient
    def run(image: tf.Tensor) -> tuple[list[tf.Tensor], Callable[..., tf.Tensor]]:
        parts: list[list[tf.Tensor]] = []
        before: list[tf.Tensor] = []
        for strip in strips:
            parts.append(strip_values(_input_rows(image, strip, before), strip))
            before = parts[-1]

        def gradient(*upstream: tf.Tensor) -> tf.Tensor:
            return _gradient(strip_values, image, strips, upstream, all_strides)

        joined = zip(*parts, strict=True)
        return [
            tf.add_n(part) if stride is None else tf.concat(part, axis=0)
            for part, stride in zip(joined, all_strides, strict=True)
        ], gradient

    values = run(image)
    tail_input = values.pop(0)[tf.newaxis] if extractor.has_tail else None
    return tail_input, values


def _strip_values(
    extractor: Extractor, values_of: ValuesOfStrip, rows: tf.Tensor, strip: _Strip
) -> list[tf.Tensor]:
    """Return the values of one strip; if there is a tail, its input comes first."""
    features, pooled = extractor.head(rows)
    cropped = {layer: _crop(value, strip, stride_of(layer)) for layer, value in features.items()}
    tail_input = [_crop(tf.squeeze(pooled, 0), strip, HEAD_STRIDE)] * extractor.has_tail
    return tail_input + values_of(cropped, functools.partial(_rows_of, strip=strip))


def _gradient(
    strip_values: Callable[[tf.Tensor, _Strip], list[tf.Tensor]],
    image: tf.Tensor,
    strips: Sequence[_Strip],
    upstream: Sequence[tf.Tensor],
    strides: Sequence[int | None],
) -> tf.Tensor:
    """Return the gradient of the image, computed strip by strip from that of the values."""
    pieces: list[tf.Tensor] = []
    before = list(upstream)
    for strip in strips:
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            rows = _input_rows(image, strip, before)
            tape.watch(rows)
            values = strip_values(rows, strip)
        shares = [
            value if stride is None else _rows_of(value, stride, strip)
            for value, stride in zip(upstream, strides, strict=True)
        ]
        before = [tape.gradient(values, rows, shares)]
        pieces += before
    return _overlapped(pieces, strips)


def _input_rows(image: tf.Tensor, strip: _Strip, before: list[tf.Tensor]) -> tf.Tensor:
    """Return the rows that a strip is computed from, after `before` has been computed."""
    with tf.control_dependencies(before):
        return tf.identity(image[strip.first : strip.last])


def _crop(value: tf.Tensor, strip: _Strip, stride: int) -> tf.Tensor:
    """Return a strip's features without the rows of its halo."""
    top = (strip.start - strip.first) // stride
    return value[top : top + (strip.stop - strip.start) // stride]


def _rows_of(value: tf.Tensor, stride: int, strip: _Strip) -> tf.Tensor:
    """Return a strip's rows of an array that covers the whole picture."""
    return value[strip.start // stride : strip.stop // stride]


def _overlapped(pieces: list[tf.Tensor], strips: Sequence[_Strip]) -> tf.Tensor:
    """Join the gradients of all strips, adding them up where halos overlap."""
    gradient, carried = [], None
    for piece, strip, following in zip(pieces, strips, [*strips[1:], None], strict=True):
        if carried is not None:
            overlap = carried.shape[0]
            piece = tf.concat([piece[:overlap] + carried, piece[overlap:]], axis=0)
        end = piece.shape[0] if following is None else following.first - strip.first
        gradient.append(piece[:end])
        carried = piece[end:]
    return tf.concat(gradient, axis=0)


def stride_of(layer: str) -> int:
    """Return the rows of the picture per row of a layer's features: 2^(block − 1)."""
    return 2 ** (block_of(layer) - 1)
