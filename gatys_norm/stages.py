"""The sizes of a transfer, one after another: their pictures, their loss, their measures."""

from __future__ import annotations

import functools
import math
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from gatys_norm.config import FLAT, filled_in
from gatys_norm.images.inputs import LoadedInputs, ResizedInputs, Shape, resized
from gatys_norm.images.sizes import MIN_SIDE, resize, size_for_long_side
from gatys_norm.losses.atlas import as_seen
from gatys_norm.losses.objective import Objective, build_objective, with_extractor
from gatys_norm.losses.spherical import row_lengths
from gatys_norm.network.low_rank import low_rank_extractor
from gatys_norm.network.memory import Strips
from gatys_norm.network.vgg import Extractor
from gatys_norm.optimizers.base import State

if TYPE_CHECKING:
    from gatys_norm.config import TransferConfig

GREY = 127.5  # mean of the noise
SAMPLE_SIZE = 256  # long side in pixels of the pictures that the low-rank network is made from

ExtractorOf: TypeAlias = Callable[[str], Extractor]  # of a precision


@dataclass(frozen=True, eq=False)
class Stage:
    """One size of a transfer.

    Attributes:
      index: number of the size, counted from 0.
      size: long side of the content in pixels.
      style_shapes: (height, width) of each style.
      pictures: function that returns the pictures at this size. They are resized again when they
        are needed, because they take 24 bytes per pixel and are seldom needed.
      objective: the loss, computed by the network in float32.
    """

    index: int
    size: int
    style_shapes: tuple[Shape, ...]
    pictures: Callable[[], ResizedInputs]
    objective: Objective
    _low_rank: list[Objective] = field(default_factory=list)  # empty until it is needed

    def objective_in(
        self, precision: str, extractor_of: ExtractorOf, config: TransferConfig
    ) -> Objective:
        """Return the loss, computed by the network in another number format.

        Args:
          precision: "float32" or "bfloat16".
          extractor_of: function from a precision to φ in that precision.
          config: resolved `TransferConfig`.
        """
        if precision == "float32":
            return self.objective
        return with_extractor(extractor_of(precision), self.objective, config, self.pictures())

    def low_rank_objective(self, extractor: Extractor, config: TransferConfig) -> Objective:
        """Return the loss, computed by the low-rank network, with its own targets.

        It is built once for a size, from the content and the styles of this size.

        Args:
          extractor: φ in the precision of the result.
          config: resolved `TransferConfig`.
        """
        if not self._low_rank:
            pictures = self.pictures()
            samples = [_sample(picture) for picture in (pictures.content, *pictures.styles)]
            cheap = low_rank_extractor(extractor, self.objective.extractor, samples)
            self._low_rank.append(with_extractor(cheap, self.objective, config, pictures))
        return self._low_rank[0]


def open_stage(
    config: TransferConfig,
    inputs: LoadedInputs,
    index: int,
    extractor: Extractor,
    strips: Strips,
    coarse: np.ndarray | None = None,
) -> tuple[Stage, np.ndarray | None]:
    """Resize the pictures to one size, set up the loss, and choose the first picture.

    Args:
      config: resolved `TransferConfig`.
      inputs: the pictures.
      index: number of the size, counted from 0.
      extractor: φ in float32.
      strips: how the network is computed.
      coarse: result of the previous size, H × W × 3; None at the first size, and where x comes
        from a checkpoint.

    Returns:
      (Stage, first picture of the optimization, H × W × 3, RGB, 0–255). The picture is None where
      x comes from a checkpoint, after the first size.

    Raises:
      ZeroEnergyError, NonFiniteError: see `losses.objective.build_objective`.
    """
    size = config.size[index]
    pictures = functools.partial(resized, config, inputs, size)
    present = pictures()
    objective = build_objective(config, extractor, present, strips)
    start = None
    if coarse is not None:
        height, width, _ = present.content.shape
        start = resize(coarse, height, width, config.wrapped_axes)
    elif index == 0:
        start = first_picture(config, inputs, present)
    style_shapes = inputs.shapes[size].styles
    return Stage(index, size, style_shapes, pictures, objective), start


def first_picture(
    config: TransferConfig, inputs: LoadedInputs, resized_inputs: ResizedInputs
) -> np.ndarray:
    """Return the picture that `config.init` names, H × W × 3, RGB, 0–255.

    Where x is a panorama, noise is as strong per surface of the sphere everywhere, though there are
    more pixels next to the poles. "noise" and "style" are `as_seen`: what the network does not see
    of them would stay in the result.

    Args:
      config: `TransferConfig`.
      inputs: the pictures.
      resized_inputs: the same at the size that is to begin.
    """
    height, width, _ = shape = resized_inputs.content.shape
    if config.init == "content":
        return resized_inputs.content
    if config.init == "noise":
        noise = np.random.default_rng(config.seed).uniform(0, 255, shape).astype(np.float32)
        return noise if config.projection == FLAT else as_seen(_even_on_sphere(noise))
    if config.init == "style":
        start = resize(resized_inputs.styles[0], height, width)
        return start if config.projection == FLAT else as_seen(start)
    return resize(filled_in(inputs.pictures.init), height, width, config.wrapped_axes)


def _even_on_sphere(noise: np.ndarray) -> np.ndarray:
    lengths = row_lengths(len(noise)).astype(np.float32)
    return GREY + (noise - GREY) / lengths


def _sample(picture: np.ndarray) -> np.ndarray:
    """Resize a picture to `SAMPLE_SIZE`, or larger if it would be too narrow for the network."""
    height, width, _ = picture.shape
    least = math.ceil(MIN_SIDE * max(height, width) / min(height, width))
    return resize(picture, *size_for_long_side(height, width, max(SAMPLE_SIZE, least)))


def checked_status(objective: Objective, state: State, status: str) -> str:
    """Return `status`; but warn and return "stalled" if a loss or gradient was not finite.

    A line search that meets an infinite loss makes its steps smaller and smaller, until it stops as
    if the optimization had converged.
    """
    if status not in ("stalled", "converged"):
        return status
    value, slope, *distances = state.results.tried.numpy()
    names = [
        term
        for term, distance in zip(objective.coefficients, distances, strict=True)
        if not math.isfinite(distance)
    ]
    if not names and not math.isfinite(value):
        names = ["the loss"]
    if not names and not math.isfinite(slope):
        names = ["the gradient of the loss"]
    if not names:
        return status
    warnings.warn(
        f"{', '.join(names)}: not finite after iteration {state.iterations}; "
        "the picture of that iteration is kept",
        stacklevel=2,
    )
    return "stalled"
