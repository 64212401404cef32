"""The sizes of a transfer, their precisions, and their numbers of iterations."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from gatys_norm.config import TransferConfig

# Near the end bfloat16 is too coarse for the Wolfe conditions, so the last tenth uses float32.
FLOAT32_SHARE = 0.1


class Phase(NamedTuple):
    """A part of a size: the precision of the network, and the last iteration of the part."""

    precision: str
    last_iteration: int


@dataclass(frozen=True)
class Schedule:
    """The plan of a transfer, made before it begins.

    Attributes:
      sizes: long sides in pixels, from coarse to fine; the index of a size is its stage number.
      phases: the phases of each size, at least one.
    """

    sizes: tuple[int, ...]
    phases: tuple[tuple[Phase, ...], ...]

    @property
    def last_stage(self) -> int:
        """The number of the last size."""
        return len(self.sizes) - 1

    def iterations(self, stage: int) -> int:
        """Return the number of iterations of a size."""
        return self.phases[stage][-1].last_iteration

    def iterations_from(self, stage: int) -> int:
        """Return the number of iterations of a size and all later ones."""
        return sum(self.iterations(index) for index in range(stage, len(self.sizes)))

    def seconds_left(
        self, stage: int, iteration: int, seconds: float, pixel_counts: Mapping[int, int]
    ) -> float:
        """Estimate the time until the end: that of an iteration is proportional to the pixels.

        Args:
          stage: number of the present size.
          iteration: iterations done at the present size, 1 or more.
          seconds: time that they took.
          pixel_counts: {size: number of pixels}.
        """
        costs = {
            index: self.iterations(index) * pixel_counts[self.sizes[index]]
            for index in range(stage, len(self.sizes))
        }
        cost_so_far = iteration * pixel_counts[self.sizes[stage]]
        return seconds * (sum(costs.values()) - cost_so_far) / cost_so_far


def schedule(config: TransferConfig, precision: str) -> Schedule:
    """Return the `Schedule` of resolved settings.

    Args:
      config: resolved `TransferConfig`.
      precision: number format of the network on this device.
    """
    coarse = [(Phase(precision, count),) for count in config.iterations[:-1]]
    return Schedule(config.size, (*coarse, _last_phases(config.iterations[-1], precision)))


def _last_phases(iterations: int, precision: str) -> tuple[Phase, ...]:
    if precision == "float32":
        return (Phase(precision, iterations),)
    coarse = iterations - math.ceil(FLOAT32_SHARE * iterations)
    return Phase(precision, coarse), Phase("float32", iterations)
