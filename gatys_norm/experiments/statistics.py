"""Means, minima and ranges of values, some of which may be undefined. No TensorFlow.

`metrics` is always a record's `metrics`: {"content_distance": {layer: number or None},
"style_distance": …, "style_reflection": …}, perhaps with those of `INDEPENDENT` in the same form.
"""

import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeAlias

from gatys_norm.text import finite_or_none

CONTENT_DISTANCE, STYLE_REFLECTION = "content_distance", "style_reflection"
EDGE_COHERENCE = "edge_coherence"
OTHER_LAYERS, EDGE_NETWORK = "other_layers_reflection", "edge_network_reflection"
MEASURES = {CONTENT_DISTANCE: "content distance", STYLE_REFLECTION: "mean style reflection"}
# By networks that no loss optimizes, see `measures.independent`.
INDEPENDENT = {
    EDGE_COHERENCE: "coherence of edges (HED)",
    "structural_similarity": "structural similarity of the luminance",
    "gradient_correlation": "correlation of the luminance's gradients",
    "style_vector_reflection": "reflection of the style's vector (style predictor)",
    OTHER_LAYERS: "mean style reflection in layers outside S (Fréchet)",
    EDGE_NETWORK: "mean style reflection in HED's own layers (Fréchet)",
}

Metrics: TypeAlias = Mapping[str, Any]
Reduce: TypeAlias = Callable[[Iterable[float | None]], float | None]


def layer_values(metrics: Metrics | None, measure: str) -> dict[str, float | None]:
    """Return {layer: value} of a measure, None where undefined; empty without metrics."""
    values = (metrics or {}).get(measure) or {}
    return {layer: finite_or_none(value) for layer, value in values.items()}


def mean_over_layers(metrics: Metrics | None, measure: str) -> float | None:
    """Return the mean of a measure over its layers; None if a layer's is undefined."""
    return mean(layer_values(metrics, measure).values())


def mean(values: Iterable[float | None]) -> float | None:
    """Return the mean; None if there is no value or one of them is undefined."""
    numbers = _complete(values)
    return math.fsum(numbers) / len(numbers) if numbers else None


def least(values: Iterable[float | None]) -> float | None:
    """Return the minimum; None if there is no value or one of them is undefined."""
    return min(_complete(values), default=None)


def spread(values: Iterable[float | None]) -> float | None:
    """Return the largest minus the smallest; None for fewer than two, or if one is undefined."""
    numbers = _complete(values)
    return max(numbers) - min(numbers) if len(numbers) > 1 else None


def difference(value: float | None, reference: float | None) -> float | None:
    """Return value − reference; None if either is undefined."""
    return None if value is None or reference is None else value - reference


def _complete(values: Iterable[float | None]) -> list[float]:
    """Return the values, or an empty list if one of them is undefined."""
    numbers = list(values)
    defined = [number for number in numbers if number is not None]
    return defined if len(defined) == len(numbers) else []
