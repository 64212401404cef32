"""The loss of a transfer at one size, as a compiled function of the picture."""

from __future__ import annotations

import dataclasses
import functools
import itertools
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import tensorflow as tf

from gatys_norm import sphere
from gatys_norm.config import BORDERS, FLAT, filled_in
from gatys_norm.images import masks as picture_masks
from gatys_norm.images.inputs import FilmFrame, ResizedInputs
from gatys_norm.losses import features as loss_features
from gatys_norm.losses import functional, parametrization, strength
from gatys_norm.losses.atlas import region_of, view_of, view_shape, weights_at
from gatys_norm.losses.coefficients import (
    normalized_coefficients,
    original_coefficients,
    style_aware_coefficients,
    temporal_coefficients,
)
from gatys_norm.losses.strength import Moments
from gatys_norm.network.memory import WHOLE, Strips
from gatys_norm.network.strips import Workspace
from gatys_norm.network.vgg import Extractor, feature_size
from gatys_norm.terms import (
    TOTAL_VARIATION,
    block_of,
    content_term,
    is_style,
    layer_of,
    style_term,
    temporal_term,
    term_names,
)

if TYPE_CHECKING:
    from gatys_norm.config import TransferConfig

_Tensors: TypeAlias = Mapping[str, tf.Tensor]
_Shape: TypeAlias = tuple[int, int, int]
_Warped: TypeAlias = Mapping[str, tuple[tf.Tensor, tf.Tensor]]  # {temporal term: picture, mask}


@dataclass(frozen=True)
class Objective:
    """The loss L(x) = Σ_t c_t · d_t(x) at one size, as a function of a flat position.

    t runs over the terms; d_t is the squared distance of its features, or Gram matrices, of x from
    its target, or their `style_distance`, and c_t its coefficient. x is a picture, H × W × 3, RGB,
    0–255. The optimizer moves the position, a vector of 3 · H · W values, from which x follows by
    the parametrization.

    The optimizer sees L / unit, with unit = max_t c_t, so that multiplying all coefficients by the
    same constant does not change a single bit of the result. Objectives of the same extractor,
    parametrization and `strips` share one compiled function, which is traced once per shape.

    Attributes:
      extractor: φ.
      shape: (H, W, 3) of x.
      targets: {term: φ_j(o), or G(φ_j(s))}.
      coefficients: {term: c_t}; it decides the order of the terms.
      content_grams: {style term: G(φ_j(o))}, which the loss does not need, but its measures do.
      unrelated_distances: {content term: U_j}, likewise; see `losses.strength`.
      parametrization: "pixel" or "fourier"; see `parametrization.to_image`.
      strips: how the network is computed.
      is_grey: whether x has three equal channels, as for color "luminance".
      masks: {term: H_j × W_j}: for styles that have a region of x, or for all terms of a panorama,
        how much each position counts.
      workspace: of evaluations in strips.
      warped: {temporal term: (picture, H × W × 3, mask, H × W)} of a frame of a film.
      style_distance: d_t of style terms, as a function of Gram matrix and target.
      projection: of x; the network looks at `atlas.view_of` x.
    """

    extractor: Extractor
    shape: _Shape
    targets: dict[str, tf.Tensor]
    coefficients: dict[str, float]
    content_grams: dict[str, tf.Tensor] = dataclasses.field(default_factory=dict)
    unrelated_distances: dict[str, float] = dataclasses.field(default_factory=dict)
    parametrization: str = "pixel"
    strips: Strips = WHOLE
    is_grey: bool = False
    masks: dict[str, tf.Tensor] = dataclasses.field(default_factory=dict)
    workspace: Workspace = dataclasses.field(default_factory=Workspace)
    warped: dict[str, tuple[tf.Tensor, tf.Tensor]] = dataclasses.field(default_factory=dict)
    style_distance: functional.Distance = functional.squared_distance
    projection: str = FLAT

    @property
    def unit(self) -> float:
        """The largest coefficient."""
        return max(self.coefficients.values())

    @property
    def function(self) -> Callable[..., tuple[tf.Tensor, tf.Tensor, tf.Tensor]]:
        """(position, *data) → (L / unit, its gradient, the d_t as one vector).

        It is compiled, unless the network is computed in strips, each of which is compiled.
        """
        return _compile(
            self.extractor,
            self.parametrization,
            self.strips,
            self.is_grey,
            self.style_distance,
            self.projection,
        )

    @property
    def data(self) -> tuple[Any, ...]:
        """The arguments of `function` after the position."""
        workspace = () if self.strips == WHOLE else (self.workspace,)
        return self.shape, self.targets, self.masks, self._relative(), self.warped, *workspace

    def _relative(self) -> dict[str, tf.Tensor]:
        """Return {term: c_t / unit}."""
        dtype = next(iter(self.targets.values())).dtype
        return {
            term: tf.constant(value / self.unit, dtype) for term, value in self.coefficients.items()
        }

    def image(self, position: tf.Tensor) -> tf.Tensor:
        """Return x, H × W × 3."""
        return parametrization.to_image(
            position, self.shape, self.parametrization, self.is_grey, self.projection
        )

    def position(self, image: tf.Tensor | np.ndarray) -> tf.Tensor:
        """Return the flat position that belongs to x = `image`."""
        return parametrization.from_image(image, self.parametrization, self.projection)

    def value_and_gradient(self, position: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Return L / unit and its gradient."""
        return self.function(position, *self.data)[:2]

    def with_squared_distances(self) -> Objective:
        """Return the objective whose d_t are all squared distances, which the measures need."""
        if self.style_distance is functional.squared_distance:
            return self
        return dataclasses.replace(self, style_distance=functional.squared_distance)

    def terms(self, position: tf.Tensor) -> dict[str, float]:
        """Return {term: d_t} at a position, as floats."""
        return self.by_term(self.function(position, *self.data)[2])

    def by_term(self, distances: tf.Tensor) -> dict[str, float]:
        """Return {term: d_t} for the d_t that `function` returned."""
        return dict(zip(self.coefficients, distances.numpy().tolist(), strict=True))

    def terms_not_finite(self, position: tf.Tensor) -> list[str]:
        """Return the names of the terms that make the loss or its gradient infinite or NaN.

        These are the terms whose value is not finite; if there are none, those whose gradient is
        not finite; if there are none either, all terms, because only their sum is not finite. The
        list is empty if the loss and its gradient are finite.
        """
        value, gradient, distances = self.function(position, *self.data)
        if _is_finite(value) and _is_finite(gradient):
            return []
        terms = self.by_term(distances).items()
        names = [name for name, value in terms if not math.isfinite(value)]
        if not names:
            gradients = self.gradients(position).items()
            names = [name for name, gradient in gradients if not _is_finite(gradient)]
        return names or list(self.coefficients)

    def gradients(self, position: tf.Tensor) -> dict[str, tf.Tensor]:
        """Return {term: gradient of coefficient / unit · distance} (Eq. 9–10)."""
        with tf.GradientTape(persistent=True, watch_accessed_variables=False) as tape:
            tape.watch(position)
            image = self.image(position)
            values = _distances(
                self.extractor,
                image,
                self.strips,
                self.style_distance,
                self.projection,
                *self.data[1:],
            )
            terms = {name: value * values[name] for name, value in self._relative().items()}
        return {name: tape.gradient(value, position) for name, value in terms.items()}

    def loss(self, terms: Mapping[str, float]) -> float:
        """Return L for the result of `terms`."""
        return sum(self.coefficients[term] * terms[term] for term in self.coefficients)


@functools.lru_cache(maxsize=8)
def _compile(
    extractor: Extractor,
    kind: str,
    strips: Strips,
    is_grey: bool,
    style_distance: functional.Distance,
    projection: str,
) -> Callable[..., tuple[tf.Tensor, tf.Tensor, tf.Tensor]]:
    """Return `Objective.function`."""

    def evaluate(
        position: tf.Tensor,
        shape: _Shape,
        targets: _Tensors,
        masks: _Tensors,
        coefficients: _Tensors,
        warped: _Warped,
        workspace: Workspace | None = None,
    ) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(position)
            image = parametrization.to_image(position, shape, kind, is_grey, projection)
            distances = _distances(
                extractor,
                image,
                strips,
                style_distance,
                projection,
                targets,
                masks,
                coefficients,
                warped,
                workspace,
            )
            value = functional.weighted_sum(distances, coefficients)
        gradient = tape.gradient(value, position)
        return value, gradient, tf.stack([distances[term] for term in coefficients])

    if strips != WHOLE:
        return evaluate
    return tf.function(evaluate, autograph=False, experimental_attributes={"_noinline": True})


def _distances(
    extractor: Extractor,
    image: tf.Tensor,
    strips: Strips,
    style_distance: functional.Distance,
    projection: str,
    targets: _Tensors,
    masks: _Tensors,
    coefficients: _Tensors,
    warped: _Warped,
    workspace: Workspace | None = None,
) -> dict[str, tf.Tensor]:
    """Return {term: d_t} of x = `image`."""
    view = view_of(image, projection)
    distances = loss_features.distances(
        extractor, view, targets, strips, masks, workspace, style_distance
    )
    if TOTAL_VARIATION in coefficients:
        distances[TOTAL_VARIATION] = functional.total_variation(image, BORDERS[extractor.border])
    for term, (picture, mask) in warped.items():
        distances[term] = functional.masked_energy(image - picture, mask)
    return distances


def _is_finite(tensor: tf.Tensor) -> bool:
    return bool(tf.reduce_all(tf.math.is_finite(tensor)))


def build_objective(
    config: TransferConfig, extractor: Extractor, inputs: ResizedInputs, strips: Strips = WHOLE
) -> Objective:
    """Set up the loss of `config` (Eq. 2 with 3–4 or 11–14, or the style-aware one).

    Args:
      config: resolved `TransferConfig`.
      extractor: φ, with all layers of `config`.
      inputs: the pictures at one size; x has the shape of the content.
      strips: see `losses.features.compute`.

    Returns:
      Objective.

    Raises:
      ZeroEnergyError: the loss is not the original one and a layer is zero everywhere.
      NonFiniteError: the loss is not the original one and the energy of a layer is not finite.
    """
    shape = inputs.content.shape
    regions = _regions(config, inputs)
    masks = _masks(config, config.style_names, regions, shape)
    terms = term_names(config.content_layers, config.style_layers, config.style_names)
    view = view_of(inputs.content, config.projection)
    content = loss_features.compiled(extractor, terms, strips)(view, masks)
    targets = {term: value for term, value in content.items() if not is_style(term)}
    grams, moments = _style_targets(config, extractor, inputs, regions, strips)
    unrelated = _unrelated_distances(config, targets, moments, regions, masks)
    targets |= grams
    coefficients = _coefficients(config, targets, _shares(masks), shape, inputs.frame)
    warped = _warped_tensors(inputs.frame)
    if inputs.frame is not None:
        energies = {term: float(functional.masked_energy(*pair)) for term, pair in warped.items()}
        style_scale = math.fsum(
            coefficients[term] * float(functional.energy(gram)) for term, gram in grams.items()
        )
        coefficients |= temporal_coefficients(inputs.frame.temporal_weight, energies, style_scale)
    return Objective(
        extractor,
        shape,
        targets,
        coefficients,
        {term: value for term, value in content.items() if is_style(term)},
        unrelated,
        config.parametrization,
        strips,
        config.color == "luminance",
        masks,
        warped=warped,
        style_distance=functional.bounded_squared_distance
        if config.loss == "style_aware"
        else functional.squared_distance,
        projection=config.projection,
    )


def _warped_tensors(frame: FilmFrame | None) -> dict[str, tuple[tf.Tensor, tf.Tensor]]:
    return {
        temporal_term(distance): (tf.constant(warped.picture), tf.constant(warped.mask))
        for distance, warped in (frame.warped.items() if frame else ())
    }


def with_extractor(
    extractor: Extractor, objective: Objective, config: TransferConfig, inputs: ResizedInputs
) -> Objective:
    """Return an objective whose features another extractor computes, in another precision.

    The targets are computed again with this extractor: features of x and targets then have similar
    rounding errors, which cancel in their difference. Compared with targets in float32, the
    rounding error would soon be larger than the distance that is left. The coefficients stay the
    same, so that the values of both objectives can be compared.

    Args:
      extractor: φ in the other precision.
      objective: result of `build_objective`.
      config: resolved `TransferConfig`.
      inputs: the pictures that `objective` was built from.
    """
    content_terms = term_names(config.content_layers, ())
    values_of = loss_features.compiled(extractor, content_terms, objective.strips)
    masks = {term: mask for term, mask in objective.masks.items() if not is_style(term)}
    targets = values_of(view_of(inputs.content, objective.projection), masks)
    regions = _regions(config, inputs)
    targets |= _style_targets(config, extractor, inputs, regions, objective.strips)[0]
    return dataclasses.replace(objective, extractor=extractor, targets=targets)


def with_lambda_os(
    objective: Objective, config: TransferConfig, frame: FilmFrame | None
) -> Objective:
    """Return an objective at another λ_os, as `build_objective` would set it up.

    Args:
      objective: result of `build_objective`.
      config: resolved `TransferConfig`, which has that λ_os.
      frame: of the pictures that `objective` was built from.
    """
    shape, shares = objective.shape, _shares(objective.masks)
    coefficients = _coefficients(config, objective.targets, shares, shape, frame)
    temporal = {term: objective.coefficients[term] for term in objective.warped}
    return dataclasses.replace(objective, coefficients=coefficients | temporal)


def with_corrected_targets(
    objective: Objective, exact: Objective, position: tf.Tensor
) -> Objective:
    """Return an objective whose loss at a position is that of another one, term by term.

    Targets become t' = f(x) + (t − f*(x)) with the values f and f* that the two networks compute at
    that x: the differences from the targets are then the same in both, and so is the loss, but for
    the norms by which the style-aware loss divides. The gradients differ as far as the derivatives
    of f and f* do.

    Args:
      objective: whose features a cheaper network computes.
      exact: result of `build_objective`, with the same terms.
      position: where they are to agree.
    """
    view = view_of(exact.image(position), exact.projection)
    terms = tuple(exact.targets)

    def values(objective: Objective) -> _Tensors:
        return loss_features.compute(
            objective.extractor, view, terms, objective.strips, objective.masks
        )

    cheap, true = values(objective), values(exact)
    targets = {term: cheap[term] + (exact.targets[term] - true[term]) for term in terms}
    return dataclasses.replace(objective, targets=targets)


def strength_of(
    objective: Objective, distances: Mapping[str, float], config: TransferConfig
) -> float:
    """Return the strength of a picture; see `losses.strength.strength`.

    Args:
      objective: result of `build_objective`.
      distances: {term: squared distance of the picture}.
      config: resolved `TransferConfig`.
    """
    terms = term_names(config.content_layers, ())
    weights = dict(zip(terms, filled_in(config.content_weights), strict=True))
    return strength.strength(distances, objective.unrelated_distances, weights)


def _regions(config: TransferConfig, inputs: ResizedInputs) -> Sequence[np.ndarray]:
    """Return the mask of each style as it lies over what the network looks at."""
    if config.projection == FLAT:
        return inputs.content_masks
    return [region_of(mask, inputs.content.shape[1]) for mask in inputs.content_masks]


def _masks(
    config: TransferConfig,
    styles: Sequence[str],
    regions: Sequence[np.ndarray],
    shape: _Shape,
) -> dict[str, tf.Tensor]:
    """Return `Objective.masks` of some styles, and of the content, for x of a shape."""
    if config.projection == FLAT:
        return region_masks(config, styles, regions, shape)
    width = shape[1]
    content = {
        term: tf.constant(weights_at(layer_of(term), width))
        for term in term_names(config.content_layers, ())
    }
    return content | {
        style_term(layer, style): tf.constant(weights_at(layer, width, region))
        for style, region in itertools.zip_longest(styles, regions)
        for layer in config.style_layers
    }


def region_masks(
    config: TransferConfig,
    styles: Iterable[str],
    masks: Iterable[np.ndarray],
    shape: Sequence[int],
) -> dict[str, tf.Tensor]:
    """Resize the mask of each style to the size of each style layer.

    A mask m says which part of a picture counts for a style. At layer j the Gram matrix of that
    region is G_j = Φ_jᵀ diag(m_j) Φ_j, where m_j is m averaged down to H_j × W_j.

    Args:
      config: `TransferConfig`, of which the style layers are used.
      styles: names of the styles.
      masks: one per style, H × W of any size, from 0 (outside) to 1 (inside); or none at all.
      shape: (H, W, …) of the picture that the masks belong to.

    Returns:
      {style term: m_j, H_j × W_j}; empty without masks.
    """
    height, width = shape[:2]
    return {
        style_term(layer, style): tf.constant(
            picture_masks.mask_at(mask, *feature_size(layer, height, width))
        )
        for style, mask in zip(styles, masks, strict=False)
        for layer in config.style_layers
    }


def _style_targets(
    config: TransferConfig,
    extractor: Extractor,
    inputs: ResizedInputs,
    regions: Sequence[np.ndarray],
    strips: Strips,
) -> tuple[dict[str, tf.Tensor], dict[str, list[Moments]]]:
    """Return what the loss and its measures need of the styles.

    Args:
      config, extractor, inputs, strips: as for `build_objective`.
      regions: result of `_regions`.

    Returns:
      ({style term: G(φ_j(s)), scaled to the stroke size and to its region in x},
       {content term: moments of each style at its layer}).
    """
    targets: dict[str, tf.Tensor] = {}
    moments: dict[str, list[Moments]] = {term: [] for term in term_names(config.content_layers, ())}
    for index, (name, style) in enumerate(zip(config.style_names, inputs.styles, strict=True)):
        selection = slice(index, index + 1)
        shares_of_image = _shares_of_image(config, name, regions[selection], inputs.content.shape)
        masks_of_style = region_masks(config, [name], inputs.style_masks[selection], style.shape)
        terms = term_names(config.content_layers, config.style_layers, (name,))
        values = loss_features.compiled(extractor, terms, strips)(
            tf.constant(style), masks_of_style
        )
        for term in moments:
            mask = inputs.style_masks[index] if inputs.style_masks else None
            moments[term].append(strength.moments(values.pop(term), mask))
        if config.projection != FLAT and config.style_size == "match":
            values = _scaled_to_sphere(values, style.shape, inputs.content.shape[1])
        elif inputs.reference_shapes:
            values = _scaled_to_shape(values, style.shape, inputs.reference_shapes[index])
        targets |= _scaled_to_region(values, _shares(masks_of_style), shares_of_image)
    return targets, moments


def _unrelated_distances(
    config: TransferConfig,
    content_targets: _Tensors,
    moments: Mapping[str, Sequence[Moments]],
    regions: Sequence[np.ndarray],
    masks: _Tensors,
) -> dict[str, float]:
    """Return {content term: U_j}; see `losses.strength`."""
    blend = filled_in(config.style_blend)
    distances = {}
    for term, target in content_targets.items():
        shares = strength.shares_of_styles(blend, regions, *target.shape[:2])
        if term in masks:  # the target is √m φ_j(o)
            mask = tf.cast(masks[term], target.dtype)
            target = tf.math.divide_no_nan(target, tf.sqrt(mask)[..., tf.newaxis])
            shares = shares * mask.numpy()
        distances[term] = strength.unrelated_distance(target, moments[term], shares)
    return distances


def _scaled_to_shape(
    grams: _Tensors, shape: Sequence[int], reference_shape: Sequence[int]
) -> dict[str, tf.Tensor]:
    """Scale the Gram matrices of a style picture to the number of positions of another shape.

    A Gram matrix is a sum over the M_j positions of layer j. Of a style that is resized by the
    stroke size f the result is G_s(f) · M_j(1) / M_j(f), which compares with x as G_s(1) does.

    Args:
      grams: {term: G_s(f), C_j × C_j}.
      shape: (H, W, …) of the style picture.
      reference_shape: the same at stroke size 1.
    """

    def positions(term: str, shape: Sequence[int]) -> int:
        return math.prod(feature_size(layer_of(term), shape[0], shape[1]))

    return {
        term: gram * (positions(term, reference_shape) / positions(term, shape))
        for term, gram in grams.items()
    }


def _scaled_to_sphere(grams: _Tensors, shape: Sequence[int], width: int) -> dict[str, tf.Tensor]:
    """Scale the Gram matrices of a style picture to the surface of a panorama, in positions.

    Args:
      grams: {term: G_s, C_j × C_j}.
      shape: (H, W, …) of the style picture.
      width: of the panorama.
    """
    return {
        term: gram
        * (
            sphere.position_count(width, block_of(layer_of(term)) - 1)
            / math.prod(feature_size(layer_of(term), shape[0], shape[1]))
        )
        for term, gram in grams.items()
    }


def _scaled_to_region(
    grams: _Tensors, style_shares: Mapping[str, float], image_shares: Mapping[str, float]
) -> dict[str, tf.Tensor]:
    """Scale the Gram matrices of a style picture to the size of the style's region in x.

    A Gram matrix is a sum over positions, so it grows with its region: with the mask m and N
    positions, G = Φᵀ diag(m) Φ is Σ m = N · r times the average of φ φᵀ in the region, r being the
    share of the picture that the region covers. The result is G_s · r_x / r_s: the average of the
    style's region, as if that region had the share r_x of the style picture instead of r_s.

    Args:
      grams: {term: G_s, C_j × C_j}.
      style_shares: {term: r_s}; 1 where a term is missing.
      image_shares: {term: r_x}; 1 where a term is missing.
    """
    return {
        term: gram * (image_shares.get(term, 1) / style_shares.get(term, 1))
        for term, gram in grams.items()
    }


def _shares_of_image(
    config: TransferConfig, style: str, regions: Sequence[np.ndarray], shape: _Shape
) -> dict[str, float]:
    """Return {style term: share that the region of a style has in x, or in the whole sphere}."""
    shares = _shares(_masks(config, [style], regions, shape))
    if config.projection == FLAT:
        return shares
    whole = _shares(_masks(config, [style], (), shape))
    return {term: share / whole[term] for term, share in shares.items()}


def _shares(masks: _Tensors) -> dict[str, float]:
    """Return {term: share of the positions that lie in its region, the mean of the mask}."""
    return {term: float(tf.reduce_mean(mask)) for term, mask in masks.items()}


def _coefficients(
    config: TransferConfig,
    targets: _Tensors,
    shares: Mapping[str, float],
    shape: _Shape,
    frame: FilmFrame | None,
) -> dict[str, float]:
    lambda_os = filled_in(config.lambda_os)
    blend = dict(zip(config.style_names, filled_in(config.style_blend), strict=True))
    content_weights = dict(
        zip(config.content_layers, filled_in(config.content_weights), strict=True)
    )
    style_weights = dict(zip(config.style_layers, filled_in(config.style_weights), strict=True))
    if config.loss == "original":
        shapes = {
            layer: (
                *feature_size(layer, *view_shape(shape, config.projection)),
                targets[style_term(layer, config.style_names[0])].shape[-1],
            )
            for layer in config.style_layers
        }
        coefficients = original_coefficients(
            lambda_os, content_weights, style_weights, shapes, blend, shares
        )
    else:
        energies = {term: float(functional.energy(target)) for term, target in targets.items()}
        of_shot = frame.content_energies if frame else {}
        energies |= {content_term(layer): energy for layer, energy in of_shot.items()}
        coefficients_of = (
            style_aware_coefficients if config.loss == "style_aware" else normalized_coefficients
        )
        coefficients = coefficients_of(
            lambda_os,
            content_weights,
            style_weights,
            energies,
            pixel_count=pixel_count(config, shape[:2]),
            blend=blend,
        )
    if config.tv_weight:
        coefficients[TOTAL_VARIATION] = config.tv_weight
    return coefficients


def pixel_count(config: TransferConfig, shape: tuple[int, int]) -> int:
    """Return w: the number of pixels of o, H × W; of a panorama, those of the sphere's surface."""
    if config.projection == FLAT:
        return math.prod(shape)
    return round(sphere.position_count(shape[1]))
