"""What the losses and measures compare of a picture: features and Gram matrices, by term."""

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
    """Compute what the terms compare of a picture; differentiable.

    Args:
      extractor: φ, with the layers of `terms`.
      image: H × W × 3, RGB, 0–255; of known shape if `in_strips`.
      terms: names `content/…` or `style/…`.
      in_strips: whether to save memory, for an eighth more work; see `network.strips`.
      masks: see `term_values`.

    Returns:
      {term: φ_j or G(φ_j)}, float32 or wider; strips change them by rounding only.
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
    """Return the values of `terms` for the rows of one strip; see `strips.run_head`."""
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
    """Return the compiled (image, masks) → {term: value} of this extractor."""

    def run(image: tf.Tensor, masks: Mapping[str, tf.Tensor] | None = None) -> dict[str, tf.Tensor]:
        return compute(extractor, image, terms, in_strips, masks)

    return tf.function(run, autograph=False)


def term_values(
    features: Mapping[str, tf.Tensor],
    terms: Iterable[str],
    masks: Mapping[str, tf.Tensor] | None = None,
) -> dict[str, tf.Tensor]:
    """What is compared of one picture: its features for content terms, Gram matrices for style.

    Args:
      features: {layer: φ_j}, each H_j × W_j × C_j.
      terms: names.
      masks: {style term: m, H_j × W_j}, where a term is of a region only.

    Returns:
      {term: φ_j or G(φ_j)}, float32 or wider.
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
