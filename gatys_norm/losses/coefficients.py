"""The coefficients, in which the losses differ. No tensors here.

Every loss is L(x) = Σ coefficient · distance(features of x, target); see `functional`. Equation
numbers are those of Choi and Kim, JBE 25(6), 2020, doi 10.5909/JBE.2020.25.6.980.
"""

import math
import types
from collections.abc import Mapping

from gatys_norm.terms import content_term, is_style, layer_of, style_of, style_term

ONE_STYLE: Mapping[str, float] = types.MappingProxyType({"": 1.0})
ALL: Mapping[str, float] = types.MappingProxyType({})


class ZeroEnergyError(ValueError):
    """A layer is zero everywhere, so that its loss cannot be divided by its energy."""


class NonFiniteError(ArithmeticError):
    """A loss is not a finite number; the message names the term."""


def original_coefficients(
    lambda_os: float,
    content_weights: Mapping[str, float],
    style_weights: Mapping[str, float],
    feature_shapes: Mapping[str, tuple[int, int, int]],
    blend: Mapping[str, float] = ONE_STYLE,
    shares: Mapping[str, float] = ALL,
) -> dict[str, float]:
    """Coefficients of the original loss (Eq. 2–4).

    content/j: λ_os · ½ · λ_o(j); style/j: β · (1 / (2 H_j W_j C_j))² · λ_s(j). For a style that has
    a region of x, H_j W_j is the number of positions in the region.

    Args:
      lambda_os: λ_os.
      content_weights: {layer: λ_o(j)}.
      style_weights: {layer: λ_s(j)}.
      feature_shapes: {layer: (H_j, W_j, C_j)} of φ_j(x), for the style layers.
      blend: {style: weight}; β is the weight divided by the sum of all, so 1 for a single style.
      shares: {style term: share of the positions of φ_j(x) that lie in the style's region}; 1 where
        a term is missing.

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
      blend: {style: weight}; β is the weight divided by the sum of all, so 1 for a single style.

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
    # As printed, Eq. 14 sums the style weights over C; that is a misprint for S.
    style = _style_weights(relative_weights(style_weights), blend)
    return {
        term: pixel_count * weight / _nonzero_energy(term, energies[term])
        for term, weight in (content | style).items()
    }


def style_aware_coefficients(
    lambda_os: float,
    content_weights: Mapping[str, float],
    style_weights: Mapping[str, float],
    energies: Mapping[str, float],
    pixel_count: int,
    blend: Mapping[str, float] = ONE_STYLE,
) -> dict[str, float]:
    """Coefficients of the style-aware loss (Cheng et al., CVPR 2021), but for its content terms.

    content/j: λ_os · w · λᴿ_o(j) / E°_j, as in the normalized loss; style/j: β · w · λᴿ_s(j), since
    `functional.bounded_squared_distance` is divided already.

    Args, returns and raises: as for `normalized_coefficients`.
    """
    style_terms = _style_weights(style_weights, blend)
    for term in style_terms:  # at a target of zero the quotient is 1 for every x
        _nonzero_energy(term, energies[term])
    undivided = {**energies, **dict.fromkeys(style_terms, 1.0)}
    return normalized_coefficients(
        lambda_os, content_weights, style_weights, undivided, pixel_count, blend
    )


def temporal_coefficients(
    weight: float, energies: Mapping[str, float], style_scale: float
) -> dict[str, float]:
    """Coefficients of the terms that compare a frame of a film with earlier ones.

    temporal/k: S · λ_t / Σ m ‖warped x‖², with S = Σ coefficient · Eᴳ over the style terms, in the
    manner of Eq. 11; 0 where nothing is compared. So λ_t weighs relative squared distances against
    those of the style. In the normalized loss S = w.

    Args:
      weight: λ_t.
      energies: {temporal term: Σ m ‖warped x‖²}.
      style_scale: S.

    Returns:
      {term: float}.
    """
    return {
        term: style_scale * weight / energy if energy else 0.0 for term, energy in energies.items()
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
        picture = f"{kind} picture {style_of(term)}".strip()
        raise ZeroEnergyError(
            f"layer {layer} is zero everywhere for the {picture}, so the loss "
            f"cannot be divided by its energy; leave {layer} out of {kind}_layers"
        )
    return value
