"""Measures of a finished picture, the same for both losses, so that they can be compared."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from gatys_norm.losses.functional import energy, squared_distance
from gatys_norm.record import LayerMetrics
from gatys_norm.terms import content_term, style_term

if TYPE_CHECKING:
    import tensorflow as tf


def relative_distance(distance: float, target: tf.Tensor) -> float:
    """‖φ_j(o) − φ_j(x)‖² / ‖φ_j(o)‖², or ‖G_j(s) − G_j(x)‖²_F / ‖G_j(s)‖²_F.

    Args:
      distance: the squared distance.
      target: φ_j(o) or G_j(s), of any shape; NaN is returned where it is zero.
    """
    return _ratio(distance, energy(target))


def style_reflection(distance: float, target: tf.Tensor, content_gram: tf.Tensor) -> float:
    """1 − ‖G_j(s) − G_j(x)‖_F / ‖G_j(s) − G_j(o)‖_F.

    It is 0 if nothing of the style was transferred, and 1 if all of it was.

    Args:
      distance: ‖G_j(s) − G_j(x)‖²_F.
      target: G_j(s), C_j × C_j.
      content_gram: G_j(o), the same shape; NaN is returned where it equals G_j(s).
    """
    return 1 - math.sqrt(_ratio(distance, squared_distance(target, content_gram)))


def measure(
    distances: Mapping[str, float],
    targets: Mapping[str, tf.Tensor],
    content_grams: Mapping[str, tf.Tensor],
    content_layers: Iterable[str],
    style_layers: Iterable[str],
    styles: Iterable[str] = ("",),
) -> LayerMetrics:
    """Return all three measures for every layer, and with several styles for every style.

    Args:
      distances: {term: ‖φ_j(o) − φ_j(x)‖² for `content/j`, ‖G_j(s) − G_j(x)‖²_F for `style/j`}.
      targets: {term: φ_j(o) or G_j(s)}.
      content_grams: {style term: G_j(o)}.
      content_layers: layers at which the content distance is measured.
      style_layers: layers at which style distance and style reflection are measured.
      styles: names of the styles; "" for a single style.

    Returns:
      {"content_distance": {layer: float}, "style_distance": …, "style_reflection": …}; an undefined
      value is None. With several styles the keys are `style/layer`.
    """
    content_distances = {
        layer: relative_distance(distances[term], targets[term])
        for layer, term in ((layer, content_term(layer)) for layer in content_layers)
    }
    style_distances, reflections = {}, {}
    for style, layer in itertools.product(styles, style_layers):
        term, name = style_term(layer, style), f"{style}/{layer}" if style else layer
        distance, target = distances[term], targets[term]
        style_distances[name] = relative_distance(distance, target)
        reflections[name] = style_reflection(distance, target, content_grams[term])
    return {
        "content_distance": _defined(content_distances),
        "style_distance": _defined(style_distances),
        "style_reflection": _defined(reflections),
    }


def _ratio(numerator: float, denominator: tf.Tensor) -> float:
    denominator = float(denominator)
    return numerator / denominator if denominator else math.nan


def _defined(values: Mapping[str, float]) -> dict[str, float | None]:
    return {layer: None if math.isnan(value) else value for layer, value in values.items()}
