"""What the losses and measures need of a picture: features and Gram matrices, by term.

Blocks 1 and 2 of the network hold two thirds of an evaluation's memory and take an eighth of its
work. In strips they are computed on some rows of the picture at a time, and again for the
gradient, so that only one strip's features are there at once.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import tensorflow as tf

from gatys_norm import losses
from gatys_norm.losses import layer_of
from gatys_norm.vgg import HEAD_BLOCKS, HEAD_STRIDE, Extractor, block_of

# Rows on either side of a strip that its features depend on, rounded up to whole squares of the
# head's poolings: four 3 × 3 convolutions, two of them at half the size, reach 6 pixels.
HALO = 2 * HEAD_STRIDE
STRIP_PIXELS = 2**17
LEAST_ROWS = 64


def summarize(
    extractor: Extractor,
    image: tf.Tensor,
    terms: Sequence[str],
    in_strips: bool = False,
    masks: Mapping[str, tf.Tensor] | None = None,
) -> dict[str, tf.Tensor]:
    """Compute what the terms compare of a picture; differentiable.

    Args:
      extractor: φ, with the layers of `terms`.
      image: H × W × 3, RGB, 0–255; of known shape if `in_strips`.
      terms: names `content/…` or `style/…`.
      in_strips: whether to save memory, for an eighth more work.
      masks: see `losses.term_values`.

    Returns:
      {term: φ_j or G(φ_j)}, float32 or wider; strips change them by rounding only.
    """
    if not in_strips:
        return losses.term_values(extractor(image), terms, masks)
    head_terms = tuple(term for term in terms if block_of(layer_of(term)) <= HEAD_BLOCKS)
    pooled, values = _head_in_strips(extractor, image, head_terms, masks or {})
    tail_terms = [term for term in terms if term not in head_terms]
    values |= losses.term_values(extractor.tail(pooled), tail_terms, masks) if tail_terms else {}
    return {term: values[term] for term in terms}


@functools.lru_cache(maxsize=16)
def compiled(
    extractor: Extractor, terms: tuple[str, ...], in_strips: bool = False
) -> Callable[[tf.Tensor, Mapping[str, tf.Tensor]], dict[str, tf.Tensor]]:
    """Return the compiled (image, masks) → {term: value} of this extractor."""

    def run(image: tf.Tensor, masks: Mapping[str, tf.Tensor] | None = None) -> dict[str, tf.Tensor]:
        return summarize(extractor, image, terms, in_strips, masks)

    return tf.function(run, autograph=False)


class _Strip(NamedTuple):
    """Rows `start` to `stop` of the picture, computed from rows `first` to `last`."""

    start: int
    stop: int
    first: int
    last: int


def _strips(height: int, width: int) -> list[_Strip]:
    rows = max(LEAST_ROWS, STRIP_PIXELS // width) // HEAD_STRIDE * HEAD_STRIDE
    # The last strip must fill a square of the poolings, so it takes up a shorter rest.
    starts = range(0, max(1, height - HEAD_STRIDE + 1), rows)
    stops = [*starts[1:], height]
    return [
        _Strip(start, stop, max(0, start - HALO), min(height, stop + HALO))
        for start, stop in zip(starts, stops, strict=True)
    ]


def _head_in_strips(
    extractor: Extractor,
    image: tf.Tensor,
    terms: Sequence[str],
    masks: Mapping[str, tf.Tensor],
) -> tuple[tf.Tensor | None, dict[str, tf.Tensor]]:
    """Return (what `extractor.tail` takes, {term: value}), one strip after the other."""
    strips = _strips(*image.shape[:2])

    def values_of(rows: tf.Tensor, strip: _Strip) -> list[tf.Tensor]:
        features, pooled = extractor.head(rows)
        cropped = {layer: _crop(value, strip, _stride(layer)) for layer, value in features.items()}
        pooled = [_crop(tf.squeeze(pooled, 0), strip, HEAD_STRIDE)] * extractor.has_tail
        guides = {
            term: _share(masks[term], strip, _stride(layer_of(term)))
            for term in terms
            if term in masks
        }
        return pooled + list(losses.term_values(cropped, terms, guides).values())

    # Of each value: how many rows of the picture fall on one of its own; None if they are summed.
    strides: list[int | None] = [HEAD_STRIDE] * extractor.has_tail
    strides += [None if losses.is_style(term) else _stride(layer_of(term)) for term in terms]

    @tf.custom_gradient
    def run(
        image: tf.Tensor,
    ) -> tuple[list[tf.Tensor], Callable[..., tf.Tensor]]:
        parts: list[list[tf.Tensor]] = []
        before: list[tf.Tensor] = []
        for strip in strips:
            parts.append(values_of(_rows(image, strip, before), strip))
            before = parts[-1]

        def gradient(*upstream: tf.Tensor) -> tf.Tensor:
            pieces: list[tf.Tensor] = []
            before = list(upstream)
            for strip in strips:
                with tf.GradientTape(watch_accessed_variables=False) as tape:
                    rows = _rows(image, strip, before)
                    tape.watch(rows)
                    values = values_of(rows, strip)
                shares = [
                    value if stride is None else _share(value, strip, stride)
                    for value, stride in zip(upstream, strides, strict=True)
                ]
                before = [tape.gradient(values, rows, shares)]
                pieces += before
            return _overlapped(pieces, strips)

        joined = zip(*parts, strict=True)
        return [
            tf.add_n(part) if stride is None else tf.concat(part, axis=0)
            for part, stride in zip(joined, strides, strict=True)
        ], gradient

    values = run(image)
    pooled = values.pop(0)[tf.newaxis] if extractor.has_tail else None
    return pooled, dict(zip(terms, values, strict=True))


def _rows(image: tf.Tensor, strip: _Strip, before: list[tf.Tensor]) -> tf.Tensor:
    """The strip's rows of the picture, not before the values of the strip before are there."""
    with tf.control_dependencies(before):
        return tf.identity(image[strip.first : strip.last])


def _crop(value: tf.Tensor, strip: _Strip, stride: int) -> tf.Tensor:
    """The rows of a strip's features that its halo has no part in."""
    top = (strip.start - strip.first) // stride
    return value[top : top + (strip.stop - strip.start) // stride]


def _share(value: tf.Tensor, strip: _Strip, stride: int) -> tf.Tensor:
    """The rows of the whole picture's features that are the strip's."""
    return value[strip.start // stride : strip.stop // stride]


def _overlapped(pieces: list[tf.Tensor], strips: list[_Strip]) -> tf.Tensor:
    """Add up gradients of strips whose halos overlap."""
    gradient, carried = [], None
    for piece, strip, following in zip(pieces, strips, [*strips[1:], None], strict=True):
        if carried is not None:
            overlap = carried.shape[0]
            piece = tf.concat([piece[:overlap] + carried, piece[overlap:]], axis=0)
        own = piece.shape[0] if following is None else following.first - strip.first
        gradient.append(piece[:own])
        carried = piece[own:]
    return tf.concat(gradient, axis=0)


def _stride(layer: str) -> int:
    return 2 ** (block_of(layer) - 1)
