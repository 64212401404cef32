"""Which sizes a transfer goes through, in which precision, and up to which iteration."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from gatys_norm.config import TransferConfig

# bfloat16 is too coarse for a Wolfe test near the end, so the last tenth is float32.
FLOAT32_SHARE = 0.1


class Phase(NamedTuple):
    """A part of a size: what the network computes in, and the last iteration of the part."""

    precision: str
    last_iteration: int


@dataclass(frozen=True)
class Schedule:
    """The course of a transfer, worked out before it begins.

    Attributes:
      sizes: from coarse to fine; the index of one is the number of its stage.
      phases: of each size, at least one.
    """

    sizes: tuple[int, ...]
    phases: tuple[tuple[Phase, ...], ...]

    @property
    def last_stage(self) -> int:
        """The number of the last size."""
        return len(self.sizes) - 1

    def iterations(self, stage: int) -> int:
        """Return how many iterations a size takes."""
        return self.phases[stage][-1].last_iteration

    def iterations_from(self, stage: int) -> int:
        """Return how many iterations a size and those after it take."""
        return sum(self.iterations(index) for index in range(stage, len(self.sizes)))

    def seconds_left(
        self, stage: int, iteration: int, seconds: float, pixel_counts: Mapping[int, int]
    ) -> float:
        """Return how long the rest will take, an iteration taking time in proportion to the pixels.

        Args:
          stage: number of the present size.
          iteration: of the present size, 1 or more.
          seconds: that the iterations of the present size took.
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
      precision: what the network computes in on this device.
    """
    coarse = [(Phase(precision, count),) for count in config.iterations[:-1]]
    return Schedule(config.size, (*coarse, _last_phases(config.iterations[-1], precision)))


def _last_phases(iterations: int, precision: str) -> tuple[Phase, ...]:
    if precision == "float32":
        return (Phase(precision, iterations),)
    coarse = iterations - math.ceil(FLOAT32_SHARE * iterations)
    return Phase(precision, coarse), Phase("float32", iterations)
