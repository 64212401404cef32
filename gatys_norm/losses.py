"""The original and the normalized style-transfer loss as one sum of named terms.

Both are L(x) = Σ coefficient · squared distance(features of x, target); they differ in the
coefficients alone. A term is named after what it compares: `content/conv4_2`, `style/conv1_2`
(`style[waves]/conv1_2` where there are several styles), `total_variation`. Equation numbers are
those of Choi and Kim, JBE 25(6), 2020, doi 10.5909/JBE.2020.25.6.980.
"""

import functools
import math
import types
from collections.abc import Callable, Collection, Iterable, Mapping

import tensorflow as tf

TOTAL_VARIATION = "total_variation"
ONE_STYLE: Mapping[str, float] = types.MappingProxyType({"": 1.0})
ALL: Mapping[str, float] = types.MappingProxyType({})


class ZeroEnergyError(ValueError):
    """A layer gives nothing but zeros, so that its loss cannot be divided by its energy."""


class NonFiniteError(ArithmeticError):
    """A loss is not a finite number; the message names the term."""


def guided_gram_matrix(features: tf.Tensor, mask: tf.Tensor) -> tf.Tensor:
    """Φ_jᵀ diag(m) Φ_j: the Gram matrix of a region (Gatys et al., CVPR 2017, with T² = m).

    Args:
      features: φ_j, H_j × W_j × C_j.
      mask: m, H_j × W_j, from 0 (outside) to 1 (inside); all ones give `gram_matrix`.

    Returns:
      C_j × C_j, symmetric, float32 or wider.
    """
    guide = tf.cast(tf.sqrt(mask), features.dtype)
    return gram_matrix(features * guide[..., tf.newaxis])


@tf.custom_gradient
def gram_matrix(features: tf.Tensor) -> tuple[tf.Tensor, Callable[[tf.Tensor], tf.Tensor]]:
    """G(φ_j) = Φ_jᵀΦ_j, divided by nothing (Eq. 5).

    Its gradient Φ_j (dG + dGᵀ) takes one product in the features' own type; TensorFlow's takes two.

    Args:
      features: φ_j, H_j × W_j × C_j; Φ_j is the same as (H_j W_j) × C_j.

    Returns:
      C_j × C_j, symmetric, float32 or wider.
    """
    flat = tf.reshape(features, [-1, features.shape[-1]])
    wide = at_least_float32(flat)

    def gradient(upstream: tf.Tensor) -> tf.Tensor:
        both = tf.cast(upstream + tf.transpose(upstream), features.dtype)
        return tf.reshape(tf.matmul(flat, both), tf.shape(features))

    return tf.matmul(wide, wide, transpose_a=True), gradient


def at_least_float32(values: tf.Tensor) -> tf.Tensor:
    """Return `values` as float32, or in their own type if that is wider."""
    return tf.cast(values, tf.float32) if values.dtype.size < tf.float32.size else values


def squared_distance(a: tf.Tensor, b: tf.Tensor) -> tf.Tensor:
    """‖a − b‖², summed over all elements."""
    return tf.reduce_sum(tf.math.squared_difference(a, b))


def energy(values: tf.Tensor) -> tf.Tensor:
    """E = Σ values² (Eq. 13): E°_j of content features, Eᴳ_j of a style Gram matrix."""
    return tf.reduce_sum(tf.square(values))


def total_variation(image: tf.Tensor) -> tf.Tensor:
    """Sum of squared differences between each pixel and its right and lower neighbour.

    Args:
      image: x, H × W × 3.
    """
    return squared_distance(image[1:], image[:-1]) + squared_distance(image[:, 1:], image[:, :-1])


def content_term(layer: str) -> str:
    """Return the name of the layer's content term."""
    return f"content/{layer}"


def style_term(layer: str, style: str = "") -> str:
    """Return the name of the layer's term of a style; a style alone has no name."""
    return f"style[{style}]/{layer}" if style else f"style/{layer}"


def term_names(
    content_layers: Iterable[str], style_layers: Collection[str], styles: Iterable[str] = ("",)
) -> tuple[str, ...]:
    """Return the names of the terms that compare layers: those of C, then S for each style."""
    content = tuple(content_term(layer) for layer in content_layers)
    return content + tuple(style_term(layer, style) for style in styles for layer in style_layers)


def is_style(term: str) -> bool:
    """Whether a term compares Gram matrices."""
    return term.startswith("style")


def layer_of(term: str) -> str:
    """Return the layer that a term compares."""
    return term.split("/")[1]


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


def squared_distances(
    values: Mapping[str, tf.Tensor],
    targets: Mapping[str, tf.Tensor],
    image: tf.Tensor | None = None,
) -> dict[str, tf.Tensor]:
    """The distance of every term, before its coefficient.

    Args:
      values: {term: φ_j(x) or G(φ_j(x))}.
      targets: {term: φ_j(o) or G(φ_j(s))}.
      image: x, H × W × 3; given, `total_variation` is a term too.

    Returns:
      {term: scalar}: ‖φ_j(o) − φ_j(x)‖² or ‖G(φ_j(s)) − G(φ_j(x))‖²_F.
    """
    distances = {term: squared_distance(values[term], targets[term]) for term in targets}
    if image is not None:
        distances[TOTAL_VARIATION] = total_variation(image)
    return distances


def weighted_sum(
    distances: Mapping[str, tf.Tensor], coefficients: Mapping[str, tf.Tensor | float]
) -> tf.Tensor:
    """L(x) = Σ coefficient · distance over the terms of `coefficients`."""
    return tf.add_n([coefficients[term] * distances[term] for term in coefficients])


def original_coefficients(
    lambda_os: float,
    content_weights: Mapping[str, float],
    style_weights: Mapping[str, float],
    feature_shapes: Mapping[str, tuple[int, int, int]],
    blend: Mapping[str, float] = ONE_STYLE,
    shares: Mapping[str, float] = ALL,
) -> dict[str, float]:
    """Coefficients of the original loss (Eq. 2–4).

    content/j: λ_os · ½ · λ_o(j); style/j: β · (1 / (2 H_j W_j C_j))² · λ_s(j), H_j W_j being the
    number of positions that count: those of the region, if a style is kept to one.

    Args:
      lambda_os: λ_os.
      content_weights: {layer: λ_o(j)}.
      style_weights: {layer: λ_s(j)}.
      feature_shapes: {layer: (H_j, W_j, C_j)} of φ_j(x), for the style layers.
      blend: {style: its weight}, of which β is the share of the sum; 1 for one style.
      shares: {style term: share of φ_j(x)'s positions that lie in the style's region}, 1 if none.

    Returns:
      {term: float}.
    """
    content = {
        content_term(layer): lambda_os * 0.5 * weight for layer, weight in content_weights.items()
    }
    style = {
        term: weight / (2 * math.prod(feature_shapes[layer_of(term)]) * shares.get(term, 1)) ** 2
        for term, weight in _style_weights(style_weights, blend).items()
    }
    return content | style


def normalized_coefficients(
    lambda_os: float,
    content_weights: Mapping[str, float],
    style_weights: Mapping[str, float],
    energies: Mapping[str, float],
    pixel_count: int,
    blend: Mapping[str, float] = ONE_STYLE,
) -> dict[str, float]:
    """Coefficients of the normalized loss (Eq. 2, 11–14).

    content/j: λ_os · w · λᴿ_o(j) / E°_j; style/j: β · w · λᴿ_s(j) / Eᴳ_j.

    Args:
      lambda_os: λ_os.
      content_weights: {layer: λ_o(j)}.
      style_weights: {layer: λ_s(j)}.
      energies: {term: E°_j or Eᴳ_j}, the energy of each term's target (Eq. 13).
      pixel_count: w = H_o · W_o.
      blend: {style: its weight}, of which β is the share of the sum; 1 for one style.

    Returns:
      {term: float}.

    Raises:
      ZeroEnergyError: an energy is zero.
      NonFiniteError: an energy is not finite.
    """
    content = {
        content_term(layer): lambda_os * weight
        for layer, weight in relative_weights(content_weights).items()
    }
    # The printed Eq. 14 sums the style weights over C, a misprint for S.
    style = _style_weights(relative_weights(style_weights), blend)
    return {
        term: pixel_count * weight / _nonzero_energy(term, energies[term])
        for term, weight in (content | style).items()
    }


def relative_weights(weights: Mapping[str, float]) -> dict[str, float]:
    """λᴿ(j) = λ(j) / Σ_k λ(k) (Eq. 14): the same weights, with sum 1.

    Args:
      weights: {layer: λ(j)}, not all zero.
    """
    total = math.fsum(weights.values())
    return {name: weight / total for name, weight in weights.items()}


def _style_weights(weights: Mapping[str, float], blend: Mapping[str, float]) -> dict[str, float]:
    """Return {style term: weight of its layer times its style's share}."""
    return {
        style_term(layer, style): weight * share
        for style, share in relative_weights(blend).items()
        for layer, weight in weights.items()
    }


def _nonzero_energy(term: str, value: float) -> float:
    kind, layer = "style" if is_style(term) else "content", layer_of(term)
    if not math.isfinite(value):
        raise NonFiniteError(f"{term}: the {kind} picture's energy at this layer is not finite")
    if not value > 0:
        name = term.partition("[")[2].partition("]")[0]  # of one style among several
        picture = f"{kind} picture {name}".strip()
        raise ZeroEnergyError(
            f"layer {layer} is zero everywhere for the {picture}, so the normalized loss "
            f"cannot be divided by its energy; leave {layer} out of {kind}_layers"
        )
    return value
