"""The features and Gram matrices that the losses and the measures compare, by term.

The *value* of a content term is φ_j of a picture, that of a style term is the Gram matrix G(φ_j).
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Mapping, Sequence

import tensorflow as tf

from gatys_norm.losses.functional import (
    at_least_float32,
    gram_matrix,
    guided_gram_matrix,
    squared_distance,
)
from gatys_norm.network import block_strips, head_strips
from gatys_norm.network.memory import HEAD_BLOCKS, WHOLE, Strips
from gatys_norm.network.vgg import Extractor
from gatys_norm.terms import block_of, is_style, layer_of


def compute(
    extractor: Extractor,
    image: tf.Tensor,
    terms: Sequence[str],
    strips: Strips = WHOLE,
    masks: Mapping[str, tf.Tensor] | None = None,
) -> dict[str, tf.Tensor]:
    """Compute the values of terms for a picture; differentiable.

    Args:
      extractor: φ, with the layers of `terms`.
      image: H × W × 3, RGB, 0–255; with strips its shape must be known while tracing.
      terms: names of content and style terms; see `gatys_norm.terms`.
      strips: how much of the network is computed strip by strip, which needs less memory and more
        time; see `network.head_strips` and `network.block_strips`. All blocks are so computed
        outside of graphs only.
      masks: see `term_values`.

    Returns:
      {term: φ_j, H_j × W_j × C_j, or G(φ_j), C_j × C_j}, float32 or wider, in the order of
      `terms`. With strips the values differ by rounding only.
    """
    if not strips.blocks:
        return term_values(extractor(image), terms, masks)
    if strips.cover_all:
        values_of = _values_of_block_strip(tuple(terms))
        content = [term for term in terms if not is_style(term)]
        values = block_strips.compute(
            extractor,
            image,
            values_of,
            masks or {},
            strips._replace(kept=0),
            _depth(terms),
            content,
        )
        return {term: values[term] for term in terms}
    head_terms = [term for term in terms if block_of(layer_of(term)) <= HEAD_BLOCKS]
    tail_terms = [term for term in terms if term not in head_terms]
    pooled, head_values = head_strips.run_head(
        extractor,
        image,
        functools.partial(_values_of_strip, terms=head_terms, masks=masks or {}),
        [None if is_style(term) else head_strips.stride_of(layer_of(term)) for term in head_terms],
    )
    values = dict(zip(head_terms, head_values, strict=True))
    if tail_terms:
        values |= term_values(extractor.tail(pooled), tail_terms, masks)
    return {term: values[term] for term in terms}


def distances(
    extractor: Extractor,
    image: tf.Tensor,
    targets: Mapping[str, tf.Tensor],
    strips: Strips = WHOLE,
    masks: Mapping[str, tf.Tensor] | None = None,
) -> dict[str, tf.Tensor]:
    """Return {term: squared distance from its target}; differentiable; arguments as for `compute`.

    If all blocks are computed in strips, the features that belong to a content term are compared
    with their target strip by strip, and never held as a whole.
    """
    if not strips.cover_all:
        values = compute(extractor, image, tuple(targets), strips, masks)
        return {term: squared_distance(values[term], targets[term]) for term in targets}
    content = {term: target for term, target in targets.items() if not is_style(term)}
    values = block_strips.compute(
        extractor,
        image,
        _values_of_block_strip(tuple(targets)),
        content | dict(masks or {}),
        strips,
        _depth(targets),
    )
    return {
        term: squared_distance(values[term], target) if is_style(term) else values[term]
        for term, target in targets.items()
    }


def _values_of_strip(
    features: Mapping[str, tf.Tensor],
    rows_of: Callable[[tf.Tensor, int], tf.Tensor],
    terms: Sequence[str],
    masks: Mapping[str, tf.Tensor],
) -> list[tf.Tensor]:
    """Return the values of `terms` for one strip; `head_strips.run_head` calls it for every strip.

    Args:
      features: {layer: the strip's rows of φ_j}.
      rows_of: (array, stride) → the strip's rows of an array that covers the whole picture.
      terms: names of terms of blocks 1 and 2.
      masks: {style term: m of the whole picture, H_j × W_j}.
    """
    masks_of_rows = {
        term: rows_of(masks[term], head_strips.stride_of(layer_of(term)))
        for term in terms
        if term in masks
    }
    return list(term_values(features, terms, masks_of_rows).values())


def _depth(terms: Iterable[str]) -> int:
    """Return the number of the deepest block that the terms compare."""
    return max(block_of(layer_of(term)) for term in terms)


@functools.lru_cache(maxsize=64)
def _values_of_block_strip(terms: tuple[str, ...]) -> block_strips.ValuesOfStrip:
    """Return the function from the features of a strip of one block to the values of its terms.

    For a content term that has an array, its target, the value is the squared distance from it. The
    array of a style term is its mask.
    """

    def values_of(
        features: Mapping[str, tf.Tensor], arrays: Mapping[str, tf.Tensor]
    ) -> dict[str, tf.Tensor]:
        present = [term for term in terms if layer_of(term) in features]
        masks = {term: array for term, array in arrays.items() if is_style(term)}
        values = term_values(features, present, masks)
        compared = {
            term: squared_distance(values[term], target)
            for term, target in arrays.items()
            if not is_style(term)
        }
        return values | compared

    return values_of


@functools.lru_cache(maxsize=16)
def compiled(
    extractor: Extractor, terms: tuple[str, ...], strips: Strips = WHOLE
) -> Callable[[tf.Tensor, Mapping[str, tf.Tensor]], dict[str, tf.Tensor]]:
    """Return `compute` for fixed terms, compiled as far as it can be: (image, masks) → values."""

    def run(image: tf.Tensor, masks: Mapping[str, tf.Tensor] | None = None) -> dict[str, tf.Tensor]:
        return compute(extractor, image, terms, strips, masks)

    return run if strips.cover_all else tf.function(run, autograph=False)


def term_values(
    features: Mapping[str, tf.Tensor],
    terms: Iterable[str],
    masks: Mapping[str, tf.Tensor] | None = None,
) -> dict[str, tf.Tensor]:
    """Return the values of terms, from features of a picture or of some of its rows.

    φ_j for a content term; G(φ_j) for a style term; Φ_jᵀ diag(m) Φ_j for a style term with a mask.

    Args:
      features: {layer: φ_j}, each H_j × W_j × C_j.
      terms: names of content and style terms.
      masks: {style term: m, H_j × W_j} for the terms that compare a region only.

    Returns:
      {term: value}, float32 or wider.
    """
    gram_of = functools.cache(lambda layer: gram_matrix(features[layer]))
    values = {}
    for term in terms:
        layer = layer_of(term)
        if not is_style(term):
            values[term] = at_least_float32(features[layer])
        elif masks and term in masks:
            values[term] = guided_gram_matrix(features[layer], masks[term])
        else:
            values[term] = gram_of(layer)
    return values
