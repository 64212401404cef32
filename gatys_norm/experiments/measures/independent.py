"""Measures of a result by networks that no loss optimizes, and by its luminance alone.

What is optimized flatters the result: the measures of a record use the layers of the loss. These do
not. The measures of content compare the result x with the content o and are 1 if it still is the
content; those of style are 1 − d(x, s) / d(o, s), 0 if nothing of the style s was transferred and
1 if all of it was, like the style reflection of `losses.metrics`.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias, TypeVar

import numpy as np
import tensorflow as tf

from gatys_norm import files
from gatys_norm.experiments.measures import (
    edges,
    frechet,
    hed,
    packages,
    structure,
    style_vectors,
)
from gatys_norm.images import inputs as picture_inputs
from gatys_norm.images import io as picture_io
from gatys_norm.network import vgg, weights
from gatys_norm.runs import folder as run_folder
from gatys_norm.text import finite_or_none

if TYPE_CHECKING:
    from pathlib import Path

    from gatys_norm.config import TransferConfig
    from gatys_norm.experiments.measures.frechet import Gaussian

Measures: TypeAlias = dict[str, dict[str, float | None]]  # {measure: {layer or network: value}}
_Features: TypeAlias = "dict[str, Gaussian]"

T = TypeVar("T")

# What the numbers in a file depend on, besides the settings; raise the number with the formulas.
VERSION = [1, packages.HED.sha256, packages.STYLE_PREDICTOR.sha256]
OTHER_LAYERS = tuple(f"relu{block}_1" for block in range(1, 6))  # those of S are left out


class _Seen(NamedTuple):
    """A picture, and what the networks say of it."""

    picture: np.ndarray
    edge_strength: np.ndarray
    style_vector: np.ndarray
    other_layers: _Features
    edge_network: _Features


def of_result(config: TransferConfig, output: Path) -> Measures:
    """Return the independent measures of a result, from the file next to it if it was measured.

    Args:
      config: resolved settings of the transfer, with one style.
      output: path of the result. The measures are kept as `result.measures.json` next to it.

    Returns:
      {"edge_coherence", "structural_similarity", "gradient_correlation": {what is compared: value},
      "style_vector_reflection", "other_layers_reflection", "edge_network_reflection":
      {layer: value}}; None where a value is undefined.

    Raises:
      MeasuresError: see `packages.check`.
      OSError: the file cannot be written.
    """
    path = run_folder.derived_path(output, ".measures.json")
    key = {"version": VERSION, "picture": hashlib.sha256(output.read_bytes()).hexdigest()}
    try:
        kept = json.loads(path.read_text(encoding="utf-8"))
        if kept["key"] == key:
            return kept["measures"]
    except (OSError, ValueError, KeyError, TypeError):  # not measured yet, or damaged
        pass
    measures = measure(config, picture_io.load_picture(output))
    text = json.dumps({"key": key, "measures": measures}, indent=1, allow_nan=False)
    files.write_atomically(path, f"{text}\n".encode())
    return measures


def measure(config: TransferConfig, picture: np.ndarray) -> Measures:
    """Compute the independent measures of a picture as a result of some settings.

    Args:
      config: resolved settings of the transfer, with one style.
      picture: H × W × 3, RGB, 0–255, in the last size of the transfer.

    Returns:
      See `of_result`.
    """
    content, style = _references(_pictures_alone(config))
    result = _seen(picture, config)
    compared = (result, content, style)
    return {
        "edge_coherence": {
            "hed": edges.coherence(result.edge_strength, content.edge_strength),
        },
        "structural_similarity": {
            "luminance": structure.structural_similarity(picture, content.picture),
        },
        "gradient_correlation": {
            "luminance": structure.gradient_correlation(picture, content.picture),
        },
        "style_vector_reflection": {
            "predictor": _reflection(_between_vectors, *(seen.style_vector for seen in compared)),
        },
        "other_layers_reflection": _reflections(*(seen.other_layers for seen in compared)),
        "edge_network_reflection": _reflections(*(seen.edge_network for seen in compared)),
    }


def _pictures_alone(config: TransferConfig) -> TransferConfig:
    """Return settings that are equal for all transfers of the same pictures at the same size."""
    plain = type(config)
    varied = ("loss", "lambda_os", "strength", "style_weights", "init", "seed", "iterations")
    defaults: dict[str, Any] = {name: getattr(plain, name) for name in varied}
    return dataclasses.replace(config, size=config.size[-1:], **defaults)


@functools.lru_cache(maxsize=4)
def _references(config: TransferConfig) -> tuple[_Seen, _Seen]:
    """Return content and style as the networks see them, at the size of the transfer."""
    inputs = picture_inputs.resized(config, picture_inputs.load(config), config.size[-1])
    return _seen(inputs.content, config), _seen(inputs.styles[0], config)


def _seen(picture: np.ndarray, config: TransferConfig) -> _Seen:
    of_edge_network = hed.outputs(picture)
    layers = frozenset(OTHER_LAYERS).difference(config.style_layers)
    extractor = vgg.load_extractor(
        weights.locate(config.weights), layers, config.pooling, "float32"
    )
    others = extractor(tf.constant(picture)) if layers else {}
    return _Seen(
        picture,
        of_edge_network[hed.EDGES],
        style_vectors.style_vector(picture),
        {layer: frechet.fitted(others[layer].numpy()) for layer in sorted(others)},
        {layer: frechet.fitted(of_edge_network[layer]) for layer in hed.LAYERS},
    )


def _reflections(
    result: _Features, content: _Features, style: _Features
) -> dict[str, float | None]:
    return {
        layer: _reflection(frechet.distance, result[layer], content[layer], style[layer])
        for layer in result
    }


def _reflection(distance: Callable[[T, T], float], result: T, content: T, style: T) -> float | None:
    """Return 1 − d(x, s) / d(o, s); None if content and style are the same."""
    whole = distance(content, style)
    return finite_or_none(1 - distance(result, style) / whole) if whole else None


def _between_vectors(vector: np.ndarray, other: np.ndarray) -> float:
    return float(np.linalg.norm(vector - other))
