"""Measures of a finished picture, the same for both losses, so that they can be compared."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from gatys_norm.losses.functional import energy, squared_distance
from gatys_norm.record import Metrics
from gatys_norm.terms import content_term, style_term

if TYPE_CHECKING:
    import tensorflow as tf


def content_distance(target: tf.Tensor, features: tf.Tensor) -> float:
    """‖φ_j(o) − φ_j(x)‖² / ‖φ_j(o)‖²; NaN where φ_j(o) is zero.

    Args:
      target: φ_j(o), H_j × W_j × C_j.
      features: φ_j(x), the same shape.
    """
    return _ratio(squared_distance(target, features), energy(target))


def style_distance(target: tf.Tensor, gram: tf.Tensor) -> float:
    """‖G_j(s) − G_j(x)‖²_F / ‖G_j(s)‖²_F; NaN where G_j(s) is zero.

    Args:
      target: G_j(s), C_j × C_j.
      gram: G_j(x), the same shape.
    """
    return _ratio(squared_distance(target, gram), energy(target))


def style_reflection(target: tf.Tensor, gram: tf.Tensor, content_gram: tf.Tensor) -> float:
    """1 − ‖G_j(s) − G_j(x)‖_F / ‖G_j(s) − G_j(o)‖_F.

    It is 0 if nothing of the style was transferred, and 1 if all of it was.

    Args:
      target: G_j(s), C_j × C_j.
      gram: G_j(x), the same shape.
      content_gram: G_j(o), the same shape; NaN is returned where it equals G_j(s).
    """
    remaining = _ratio(squared_distance(target, gram), squared_distance(target, content_gram))
    return 1 - math.sqrt(remaining)


def measure(
    values: Mapping[str, tf.Tensor],
    content_values: Mapping[str, tf.Tensor],
    style_values: Mapping[str, tf.Tensor],
    content_layers: Iterable[str],
    style_layers: Iterable[str],
    styles: Iterable[str] = ("",),
) -> Metrics:
    """Return all three measures for every layer, and with several styles for every style.

    Args:
      values: {term: φ_j(x) for `content/j`, G_j(x) for `style/j`}.
      content_values: the same of o.
      style_values: the same of s, style terms only.
      content_layers: layers at which the content distance is measured.
      style_layers: layers at which style distance and style reflection are measured.
      styles: names of the styles; "" for a single style.

    Returns:
      {"content_distance": {layer: float}, "style_distance": …, "style_reflection": …}, computed in
      float32; an undefined value is None. With several styles the keys are `style/layer`.
    """
    distances = {
        layer: content_distance(content_values[term], values[term])
        for layer, term in ((layer, content_term(layer)) for layer in content_layers)
    }
    style_distances, reflections = {}, {}
    for style, layer in itertools.product(styles, style_layers):
        term, name = style_term(layer, style), f"{style}/{layer}" if style else layer
        target, gram = style_values[term], values[term]
        style_distances[name] = style_distance(target, gram)
        reflections[name] = style_reflection(target, gram, content_values[term])
    return {
        "content_distance": _defined(distances),
        "style_distance": _defined(style_distances),
        "style_reflection": _defined(reflections),
    }


def _ratio(numerator: tf.Tensor, denominator: tf.Tensor) -> float:
    denominator = float(denominator)
    return float(numerator) / denominator if denominator else math.nan


def _defined(values: Mapping[str, float]) -> dict[str, float | None]:
    return {layer: None if math.isnan(value) else value for layer, value in values.items()}
