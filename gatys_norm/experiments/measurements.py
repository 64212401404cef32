"""Other measurements: layer powers, gradient norms, distances between results, frequencies."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import numpy as np
import tensorflow as tf

from gatys_norm.config import LAYERS
from gatys_norm.images import color as colors
from gatys_norm.images import inputs as picture_inputs
from gatys_norm.images import io as picture_io
from gatys_norm.images.inputs import ResizedInputs
from gatys_norm.images.sizes import resize
from gatys_norm.losses import features as loss_features
from gatys_norm.losses.coefficients import ZeroEnergyError
from gatys_norm.losses.objective import build_objective
from gatys_norm.network import vgg, weights
from gatys_norm.terms import content_term
from gatys_norm.text import finite_or_none

if TYPE_CHECKING:
    from gatys_norm.config import TransferConfig
    from gatys_norm.files import StrPath

FEATURE_LAYER = "relu4_2"


def layer_powers(config: TransferConfig) -> dict[str, float | None]:
    """Return the mean squared output of every layer of VGG-19 for the style picture (Fig. 4).

    Args:
      config: `TransferConfig`; the style picture has the size that it has in the transfer.

    Returns:
      {layer: mean of φ_j(s)²} for all 16 layers, before (`convX_Y`) and after the ReLU
      (`reluX_Y`); None where it is not finite.
    """
    extractor = _extractor(config, LAYERS)

    @tf.function(autograph=False)
    def powers(image: tf.Tensor) -> dict[str, tf.Tensor]:
        return {name: tf.reduce_mean(tf.square(phi)) for name, phi in extractor(image).items()}

    style = _inputs(config).styles[0]
    return {
        layer: finite_or_none(float(value)) for layer, value in powers(tf.constant(style)).items()
    }


def gradient_norms(config: TransferConfig) -> dict[str, float | None]:
    """Return the norm of the gradient of each term at x = o (Eq. 9–10), with its coefficient.

    Args:
      config: `TransferConfig`; the gradient is always with respect to pixels.

    Returns:
      {term: ‖coefficient · ∂ squared distance / ∂x‖}; 0 for the content term, because x = o, and
      None where it is not finite. Empty if the normalized loss is undefined because a layer is zero
      everywhere.
    """
    config = dataclasses.replace(config, parametrization="pixel").resolved()
    inputs = _inputs(config)
    extractor = _extractor(config, config.content_layers + config.style_layers)
    try:
        objective = build_objective(config, extractor, inputs)
    except ZeroEnergyError:
        return {}
    gradients = objective.gradients(objective.position(inputs.content))
    return {
        term: finite_or_none(float(tf.norm(value)) * objective.unit)
        for term, value in gradients.items()
    }


def picture_distances(
    config: TransferConfig, paths: Iterable[StrPath]
) -> dict[str, list[list[float]]]:
    """Return the distances between results, pair by pair.

    Args:
      config: `TransferConfig` with the content picture and the network.
      paths: paths of the results, all of the same size.

    Returns:
      {"grey_levels": matrix, "features": matrix}, rows and columns in the order of `paths`: the
      root mean square difference in grey levels, and ‖φ(a) − φ(b)‖ / ‖φ(o)‖, where φ is the output
      of ReLU4_2.
    """
    pictures = [picture_io.load_picture(path) for path in paths]
    height, width = pictures[0].shape[:2]
    content = picture_inputs.load(config).pictures.content
    content = resize(content, height, width, config.wrapped_axes)
    features_of = loss_features.compiled(
        _extractor(config, (FEATURE_LAYER,)), (content_term(FEATURE_LAYER),)
    )
    features = [
        next(iter(features_of(tf.constant(picture), {}).values())).numpy()
        for picture in [content, *pictures]
    ]
    scale = np.sqrt(np.mean(np.square(features[0])))
    return {
        "grey_levels": _pairwise(pictures, 1.0),
        "features": _pairwise(features[1:], scale),
    }


def spectral_centroid(picture: np.ndarray) -> float:
    """Return the mean spatial frequency of the luminance, weighted by its power.

    It measures how large strokes are: a picture enlarged twice has half the centroid. A Hann window
    keeps the borders, which do not meet, from counting as edges.

    Args:
      picture: H × W × 3, RGB, 0–255.

    Returns:
      Cycles per pixel, from 0 to √½; 0 for a picture of one luminance.
    """
    height, width = picture.shape[:2]
    luminance = colors.luminance(picture.astype(np.float64))
    if luminance.var() <= colors.LEAST_VARIANCE:
        return 0.0
    window = np.outer(np.hanning(height + 1)[:-1], np.hanning(width + 1)[:-1])  # of one period
    windowed = window * (luminance - np.average(luminance, weights=window))
    power = np.square(np.abs(np.fft.fft2(windowed)))
    frequencies = np.hypot(np.fft.fftfreq(height)[:, np.newaxis], np.fft.fftfreq(width))
    return float(np.average(frequencies, weights=power))


def _pairwise(arrays: Sequence[np.ndarray], scale: float) -> list[list[float]]:
    matrix = np.zeros((len(arrays), len(arrays)))
    for (i, a), (j, b) in itertools.combinations(enumerate(arrays), 2):
        matrix[i, j] = matrix[j, i] = np.sqrt(np.mean(np.square(a - b))) / scale
    return matrix.tolist()


def _extractor(config: TransferConfig, layers: Iterable[str]) -> vgg.Extractor:
    return vgg.load_extractor(
        weights.locate(config.weights), frozenset(layers), config.pooling, "float32", config.border
    )


def _inputs(config: TransferConfig) -> ResizedInputs:
    """Return the pictures at the last size of a transfer."""
    return picture_inputs.resized(config, picture_inputs.load(config), config.size[-1])
