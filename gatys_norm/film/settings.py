"""The settings of a film's transfer, and their bounds. No TensorFlow here."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from gatys_norm.config import FLAT, LARGEST_WEIGHT, ConfigError, TransferConfig

DEFAULT_TEMPORAL_WEIGHT = 1.0
LARGEST_DISTANCE = 100  # frames
MOST_PASSES = 20
FRAME_RATES = Fraction(1, 60), Fraction(1000)
FIRST_FRAME = "first frame"  # stands for the path of the start of later frames


@dataclass(frozen=True)
class FilmConfig:
    """The settings of the transfer of a film.

    Attributes:
      transfer: of each frame; `content` is the path of the film, `iterations` are those of the
        first frame of each shot.
      temporal_weight: λ_t, weight of the terms that compare a frame with earlier ones.
      temporal_frames: with which frames before it a frame is compared.
      later_iterations: largest number of iterations of the other frames of a shot.
      frame_rate: frames per second, if the film is a folder.
      passes: how often each shot is gone through: forward, then back, then forward, and so on.

    Raises:
      ConfigError: when made with a value out of range.
    """

    transfer: TransferConfig
    temporal_weight: float = DEFAULT_TEMPORAL_WEIGHT
    temporal_frames: tuple[int, ...] = (1,)
    later_iterations: int = 100
    frame_rate: Fraction = Fraction(25)
    passes: int = 1

    def __post_init__(self) -> None:
        if self.transfer.projection != FLAT:
            raise ConfigError(f"projection: must be {FLAT} for films")
        if not (0 <= self.temporal_weight <= LARGEST_WEIGHT):  # NaN too
            raise ConfigError(
                f"temporal_weight: must be a number from 0 to {LARGEST_WEIGHT:g}, "
                f"not {self.temporal_weight!r}"
            )
        distances = self.temporal_frames
        if not distances or list(distances) != sorted(set(distances)) or distances[0] != 1:
            raise ConfigError("temporal_frames: must be 1 and larger numbers in growing order")
        if distances[-1] > LARGEST_DISTANCE:
            raise ConfigError(f"temporal_frames: must be at most {LARGEST_DISTANCE}")
        if self.later_iterations < 1:
            raise ConfigError("later_iterations: must be a whole number of at least 1")
        if not 1 <= self.passes <= MOST_PASSES:
            raise ConfigError(f"passes: must be a whole number from 1 to {MOST_PASSES}")
        if not FRAME_RATES[0] <= self.frame_rate <= FRAME_RATES[1]:
            raise ConfigError(f"frame_rate: must be from {FRAME_RATES[0]} to {FRAME_RATES[1]}")

    def resolved(self) -> FilmConfig:
        """Return the same settings, those of the transfer resolved."""
        return dataclasses.replace(self, transfer=self.transfer.resolved())

    def of_later_frames(self) -> TransferConfig:
        """Return the settings of a frame that begins with the frame before, at the last size."""
        return dataclasses.replace(
            self.transfer,
            size=self.transfer.size[-1:],
            iterations=(self.later_iterations,),
            init=FIRST_FRAME,
            continuation="none",
        )

    def as_dict(self) -> dict[str, Any]:
        """Return the settings as plain JSON values."""
        values = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        return values | {
            "transfer": self.transfer.as_dict(),
            "temporal_frames": list(self.temporal_frames),
            "frame_rate": str(self.frame_rate),
        }


def is_settled(losses: dict[int, float], iterations: int = 50, least_fall: float = 1e-4) -> bool:
    """Tell whether a loss has nearly stopped falling.

    Args:
      losses: {iteration: loss} of some iterations, the last one among them.
      iterations: over how many the fall is measured.
      least_fall: relative to the loss, under which the answer is true.
    """
    last = max(losses)
    earlier = [iteration for iteration in losses if iteration <= last - iterations]
    if not earlier:
        return False
    before = losses[max(earlier)]
    return math.isfinite(before) and before - losses[last] < least_fall * before
