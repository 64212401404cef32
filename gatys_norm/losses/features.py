"""The features and Gram matrices that the losses and the measures compare, by term.

The *value* of a content term is φ_j of a picture, that of a style term is the Gram matrix G(φ_j).
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Mapping, Sequence

import tensorflow as tf

from gatys_norm.losses.functional import at_least_float32, gram_matrix, guided_gram_matrix
from gatys_norm.network import strips
from gatys_norm.network.memory import HEAD_BLOCKS
from gatys_norm.network.vgg import Extractor
from gatys_norm.terms import block_of, is_style, layer_of


def compute(
    extractor: Extractor,
    image: tf.Tensor,
    terms: Sequence[str],
    in_strips: bool = False,
    masks: Mapping[str, tf.Tensor] | None = None,
) -> dict[str, tf.Tensor]:
    """Compute the values of terms for a picture; differentiable.

    Args:
      extractor: φ, with the layers of `terms`.
      image: H × W × 3, RGB, 0–255; its shape must be known while tracing if `in_strips`.
      terms: names of content and style terms; see `gatys_norm.terms`.
      in_strips: whether to compute blocks 1 and 2 strip by strip, which needs less memory and an
        eighth more work; see `network.strips`.
      masks: see `term_values`.

    Returns:
      {term: φ_j, H_j × W_j × C_j, or G(φ_j), C_j × C_j}, float32 or wider, in the order of
      `terms`. With strips the values differ by rounding only.
    """
    if not in_strips:
        return term_values(extractor(image), terms, masks)
    head_terms = [term for term in terms if block_of(layer_of(term)) <= HEAD_BLOCKS]
    tail_terms = [term for term in terms if term not in head_terms]
    pooled, head_values = strips.run_head(
        extractor,
        image,
        functools.partial(_values_of_strip, terms=head_terms, masks=masks or {}),
        [None if is_style(term) else strips.stride_of(layer_of(term)) for term in head_terms],
    )
    values = dict(zip(head_terms, head_values, strict=True))
    if tail_terms:
        values |= term_values(extractor.tail(pooled), tail_terms, masks)
    return {term: values[term] for term in terms}


def _values_of_strip(
    features: Mapping[str, tf.Tensor],
    rows_of: Callable[[tf.Tensor, int], tf.Tensor],
    terms: Sequence[str],
    masks: Mapping[str, tf.Tensor],
) -> list[tf.Tensor]:
    """Return the values of `terms` for one strip; `strips.run_head` calls it for every strip.

    Args:
      features: {layer: the strip's rows of φ_j}.
      rows_of: (array, stride) → the strip's rows of an array that covers the whole picture.
      terms: names of terms of blocks 1 and 2.
      masks: {style term: m of the whole picture, H_j × W_j}.
    """
    masks_of_rows = {
        term: rows_of(masks[term], strips.stride_of(layer_of(term)))
        for term in terms
        if term in masks
    }
    return list(term_values(features, terms, masks_of_rows).values())


@functools.lru_cache(maxsize=16)
def compiled(
    extractor: Extractor, terms: tuple[str, ...], in_strips: bool = False
) -> Callable[[tf.Tensor, Mapping[str, tf.Tensor]], dict[str, tf.Tensor]]:
    """Return `compute` for fixed terms, compiled: (image, masks) → {term: value}."""

    def run(image: tf.Tensor, masks: Mapping[str, tf.Tensor] | None = None) -> dict[str, tf.Tensor]:
        return compute(extractor, image, terms, in_strips, masks)

    return tf.function(run, autograph=False)


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
