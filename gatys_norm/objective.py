"""The loss of a transfer at one size, as a compiled function of the picture."""

import functools
import math
from dataclasses import dataclass

import numpy as np
import tensorflow as tf

from gatys_norm import losses
from gatys_norm.vgg import Extractor


@dataclass(frozen=True)
class Objective:
    """L(x) = Σ coefficient · distance for x of one shape, flat, float32, RGB, 0–255.

    `function(x, *data)` gives L(x) / unit and its gradient, `unit` being the largest coefficient:
    multiplying all coefficients by a constant then changes no bit of what the optimiser sees. The
    functions belong to the extractor, so objectives of one extractor and shape share their graph.
    """

    extractor: Extractor
    shape: tuple
    targets: dict
    coefficients: dict

    @property
    def unit(self):
        """The largest coefficient."""
        return max(self.coefficients.values())

    @property
    def function(self):
        """The compiled (x, *data) → (L(x) / unit, its gradient)."""
        return _compile(self.extractor)[0]

    @property
    def data(self):
        """What `function` needs besides x."""
        dtype = next(iter(self.targets.values())).dtype
        relative = {
            term: tf.constant(value / self.unit, dtype) for term, value in self.coefficients.items()
        }
        return self.shape, self.targets, relative

    def value_and_gradient(self, position):
        """Return L(x) / unit and its gradient."""
        return self.function(position, *self.data)

    def terms(self, position):
        """Return {term: squared distance} at x as floats."""
        distances = _compile(self.extractor)[1](position, *self.data)
        return {term: float(value) for term, value in distances.items()}

    def terms_not_finite(self, position):
        """Return the names of the terms whose value at x, or else gradient, is not finite.

        Where they are finite one by one and only their sum is not, it names all of them.
        """
        value, gradient = self.value_and_gradient(position)
        if _is_finite(value) and _is_finite(gradient):
            return []
        names = [name for name, value in self.terms(position).items() if not math.isfinite(value)]
        return names or self._gradients_not_finite(position) or list(self.coefficients)

    def _gradients_not_finite(self, position):
        with tf.GradientTape(persistent=True, watch_accessed_variables=False) as tape:
            tape.watch(position)
            distances = _distances(self.extractor, position, *self.data)
            terms = {name: value * distances[name] for name, value in self.data[-1].items()}
        gradients = {name: tape.gradient(value, position) for name, value in terms.items()}
        return [name for name, gradient in gradients.items() if not _is_finite(gradient)]

    def loss(self, terms):
        """Return L from what `terms` gave."""
        return sum(self.coefficients[term] * terms[term] for term in self.coefficients)


@functools.lru_cache(maxsize=8)
def _compile(extractor):
    """Return the compiled value-and-gradient and distances of this extractor."""

    def distances(position, *data):
        return _distances(extractor, position, *data)

    def value_and_gradient(position, *data):
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(position)
            value = losses.weighted_sum(distances(position, *data), data[-1])
        return value, tape.gradient(value, position)

    return (
        tf.function(value_and_gradient, autograph=False),
        tf.function(distances, autograph=False),
    )


def _distances(extractor, position, shape, targets, coefficients):
    image = tf.reshape(position, shape)
    with_variation = losses.TOTAL_VARIATION in coefficients
    return losses.squared_distances(extractor(image), targets, image if with_variation else None)


def _is_finite(tensor):
    return bool(tf.reduce_all(tf.math.is_finite(tensor)))


def pose(config, extractor, content, style):
    """Set up the loss of `config` (Eq. 2 with 3–4 or 11–14).

    Args:
      config: resolved `TransferConfig`.
      extractor: φ, with all layers of `config`.
      content: o, H × W × 3, at the size of x.
      style: s, H_s × W_s × 3.

    Returns:
      Objective.

    Raises:
      ZeroEnergyError: a layer is zero everywhere and the loss is the normalized one.
    """
    content_features = extractor.compiled(tf.constant(content))
    style_features = extractor.compiled(tf.constant(style))
    targets = losses.term_targets(
        content_features, style_features, config.content_layers, config.style_layers
    )
    shapes = {layer: tuple(value.shape) for layer, value in content_features.items()}
    coefficients = _coefficients(config, targets, shapes, content.shape[:2])
    return Objective(extractor, content.shape, targets, coefficients)


def _coefficients(config, targets, feature_shapes, picture_shape):
    content_weights = dict(zip(config.content_layers, config.content_weights, strict=True))
    style_weights = dict(zip(config.style_layers, config.style_weights, strict=True))
    if config.loss == "original":
        coefficients = losses.original_coefficients(
            config.lambda_os, content_weights, style_weights, feature_shapes
        )
    else:
        energies = {term: float(losses.energy(target)) for term, target in targets.items()}
        coefficients = losses.normalized_coefficients(
            config.lambda_os,
            content_weights,
            style_weights,
            energies,
            pixel_count=int(np.prod(picture_shape)),
        )
    if config.tv_weight:
        coefficients[losses.TOTAL_VARIATION] = config.tv_weight
    return coefficients
