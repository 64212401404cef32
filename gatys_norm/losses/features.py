"""The features and Gram matrices that the losses and the measures compare, by term.

The *value* of a content term is φ_j of a picture, that of a style term is the Gram matrix G(φ_j).
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Mapping, Sequence

import tensorflow as tf

from gatys_norm.losses.functional import (
    Distance,
    at_least_float32,
    gram_matrix,
    guided_gram_matrix,
    squared_distance,
)
from gatys_norm.network import strips as network_strips
from gatys_norm.network.memory import WHOLE, Strips
from gatys_norm.network.strips import Workspace
from gatys_norm.network.vgg import Extractor
from gatys_norm.terms import block_of, is_style, layer_of

_MASK = "/mask"


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
      image: H × W × 3, RGB, 0–255.
      terms: names of content and style terms; see `gatys_norm.terms`.
      strips: whether the network is computed strip by strip, which needs less memory and more
        time, and works outside of graphs only; see `network.strips`.
      masks: see `term_values`.

    Returns:
      {term: φ_j, H_j × W_j × C_j, or G(φ_j), C_j × C_j}, float32 or wider, in the order of
      `terms`. With strips the values differ by rounding only.
    """
    if strips == WHOLE:
        return term_values(extractor(image), terms, masks)
    values = network_strips.compute(
        extractor,
        image,
        _values_of_strip(tuple(terms)),
        _named_masks(masks),
        strips._replace(kept=0),
        _depth(terms),
        joined=[term for term in terms if not is_style(term)],
    )
    return {term: values[term] for term in terms}


def distances(
    extractor: Extractor,
    image: tf.Tensor,
    targets: Mapping[str, tf.Tensor],
    strips: Strips = WHOLE,
    masks: Mapping[str, tf.Tensor] | None = None,
    workspace: Workspace | None = None,
    style_distance: Distance = squared_distance,
) -> dict[str, tf.Tensor]:
    """Return {term: distance from its target}; differentiable; arguments as for `compute`.

    The distance is the squared one; that of style terms can be another. In strips, which can have a
    workspace, the features that belong to a content term are compared
    with their target strip by strip, and never held as a whole.
    """
    if strips == WHOLE:
        values = compute(extractor, image, tuple(targets), strips, masks)
        return {
            term: (style_distance if is_style(term) else squared_distance)(values[term], target)
            for term, target in targets.items()
        }
    arrays = {term: target for term, target in targets.items() if not is_style(term)}
    values = network_strips.compute(
        extractor,
        image,
        _values_of_strip(tuple(targets)),
        arrays | _named_masks(masks),
        strips,
        _depth(targets),
        workspace=workspace,
    )
    return {
        term: style_distance(values[term], target) if is_style(term) else values[term]
        for term, target in targets.items()
    }


def _named_masks(masks: Mapping[str, tf.Tensor] | None) -> dict[str, tf.Tensor]:
    """Return masks under names that their terms' targets do not have."""
    return {f"{term}{_MASK}": mask for term, mask in (masks or {}).items()}


def _depth(terms: Iterable[str]) -> int:
    """Return the number of the deepest block that the terms compare."""
    return max(block_of(layer_of(term)) for term in terms)


@functools.lru_cache(maxsize=64)
def _values_of_strip(terms: tuple[str, ...]) -> network_strips.ValuesOfStrip:
    """Return the function from the features of a strip of one block to the values of its terms.

    For a content term that has an array, its target, the value is the squared distance from it. The
    other arrays are `_named_masks`.
    """

    def values_of(
        features: Mapping[str, tf.Tensor], arrays: Mapping[str, tf.Tensor]
    ) -> dict[str, tf.Tensor]:
        present = [term for term in terms if layer_of(term) in features]
        masks = {
            name.removesuffix(_MASK): array
            for name, array in arrays.items()
            if name.endswith(_MASK)
        }
        values = term_values(features, present, masks)
        compared = {
            term: squared_distance(values[term], target)
            for term, target in arrays.items()
            if term in values
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

    return tf.function(run, autograph=False) if strips == WHOLE else run


def term_values(
    features: Mapping[str, tf.Tensor],
    terms: Iterable[str],
    masks: Mapping[str, tf.Tensor] | None = None,
) -> dict[str, tf.Tensor]:
    """Return the values of terms, from features of a picture or of some of its rows.

    φ_j for a content term; G(φ_j) for a style term. With a mask m, √m φ_j and Φ_jᵀ diag(m) Φ_j:
    squared distances are then sums over positions that count as much as m says.

    Args:
      features: {layer: φ_j}, each H_j × W_j × C_j.
      terms: names of content and style terms.
      masks: {term: m, H_j × W_j} for the terms that do not compare all positions alike.

    Returns:
      {term: value}, float32 or wider.
    """
    gram_of = functools.cache(lambda layer: gram_matrix(features[layer]))
    values = {}
    for term in terms:
        layer = layer_of(term)
        if not is_style(term):
            values[term] = at_least_float32(features[layer])
            if masks and term in masks:
                values[term] *= tf.sqrt(tf.cast(masks[term], values[term].dtype))[..., tf.newaxis]
        elif masks and term in masks:
            values[term] = guided_gram_matrix(features[layer], masks[term])
        else:
            values[term] = gram_of(layer)
    return values
