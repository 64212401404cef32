"""The sizes of a transfer, their precisions, and their numbers of iterations."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from gatys_norm.config import TransferConfig

# Near the end bfloat16 is too coarse for the Wolfe conditions, so the last tenth uses float32.
FLOAT32_SHARE = 0.1
# Rank continuation; see `network.low_rank`. Nearer to the minimum than it comes in these iterations
# the difference between the gradients of the two networks counts for too much.
LEAST_SIZE = 192  # smaller ones are done before the low-rank network is made
OWN_TARGETS_ITERATIONS = 60
CORRECTED_ITERATIONS = 90
ITERATIONS_PER_CORRECTION = 15
LOW_RANK_SHARE = 0.6  # of the iterations of a size, at most
# λ_os for a strength is corrected where the low-rank network ends, if as many follow as it needs to
# have an effect.
ITERATIONS_BEFORE_STRENGTH = OWN_TARGETS_ITERATIONS + CORRECTED_ITERATIONS
ITERATIONS_AFTER_STRENGTH = 50
ITERATIONS_TO_COMPARE = 100  # at which the strength is known too, so that it is seen to fall
# For the forecast of a transfer's time; docs/performance.md has the measurements.
EVALUATIONS_PER_ITERATION = 1.07
GROWTH = 0.95  # seconds of an evaluation are proportional to pixels ** GROWTH
LOW_RANK_SECONDS = 0.6  # of an evaluation by the low-rank network, relative to the whole one
BFLOAT16_SECONDS = 0.25  # where bfloat16 is taken, relative to float32


class Phase(NamedTuple):
    """A part of a size.

    Attributes:
      precision: number format of the network.
      last_iteration: last iteration of the part, counted from the beginning of the size.
      network: "whole" or "low_rank"; see `network.low_rank`.
      corrects: whether the targets are corrected at the beginning of the part; see
        `losses.objective.with_corrected_targets`.
      corrects_strength: whether λ_os is corrected at the beginning of the part; see
        `strength_search.corrected`.
    """

    precision: str
    last_iteration: int
    network: str = "whole"
    corrects: bool = False
    corrects_strength: bool = False

    @property
    def cost(self) -> float:
        """The time of an evaluation, relative to that of the whole network in float32."""
        network = LOW_RANK_SECONDS if self.network == "low_rank" else 1.0
        return network * (BFLOAT16_SECONDS if self.precision == "bfloat16" else 1.0)


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

    def seconds(self, seconds_per_evaluation: float, scales: Sequence[float]) -> float:
        """Estimate the time of all iterations from that of one evaluation.

        Args:
          seconds_per_evaluation: in the first phase of the first size.
          scales: see `evaluation_scale`; of each size.
        """
        measured_cost = scales[0] * self.phases[0][0].cost
        cost = sum(self._cost(stage, scales) for stage in range(len(self.sizes)))
        return seconds_per_evaluation * EVALUATIONS_PER_ITERATION * cost / measured_cost

    def seconds_left(
        self, stage: int, iteration: int, seconds: float, scales: Sequence[float]
    ) -> float:
        """Estimate the time until the end; 0 before the first iteration of a size.

        Args:
          stage: number of the present size.
          iteration: iterations done at the present size.
          seconds: time that they took.
          scales: see `evaluation_scale`; of each size.
        """
        cost = sum(self._cost(later, scales) for later in range(stage, len(self.sizes)))
        cost_so_far = self._cost(stage, scales, iteration)
        return seconds * (cost - cost_so_far) / cost_so_far if cost_so_far else 0.0

    def _cost(self, stage: int, scales: Sequence[float], iterations: float = math.inf) -> float:
        """Return the time of the first iterations of a size, in a unit that all sizes share."""
        cost, first = 0.0, 0
        for phase in self.phases[stage]:
            last = min(phase.last_iteration, iterations)
            cost += phase.cost * max(0, last - first)
            first = phase.last_iteration
        return scales[stage] * cost


def evaluation_scale(pixel_count: int, factor: float) -> float:
    """Return the time of an evaluation, in a unit that all sizes share.

    Args:
      pixel_count: H · W of x.
      factor: time relative to an evaluation without strips.
    """
    return factor * pixel_count**GROWTH


def schedule(config: TransferConfig, precision: str) -> Schedule:
    """Return the `Schedule` of resolved settings.

    Args:
      config: resolved `TransferConfig`.
      precision: number format of the network on this device.
    """
    stages = range(len(config.size))
    return Schedule(config.size, tuple(_phases(config, precision, stage) for stage in stages))


def _phases(config: TransferConfig, precision: str, stage: int) -> tuple[Phase, ...]:
    iterations = config.iterations[stage]
    low_rank: tuple[Phase, ...] = ()
    if config.continuation == "rank" and config.size[stage] >= LEAST_SIZE:
        low_rank = _low_rank_phases(iterations, precision, is_first=stage == 0)
    is_last = stage == len(config.size) - 1
    whole = [Phase(precision, iterations)]
    if precision != "float32" and is_last:
        coarse = iterations - math.ceil(FLOAT32_SHARE * iterations)
        whole = [Phase(precision, coarse), Phase("float32", iterations)]
    phases = (*low_rank, *whole)
    return _with_strength_corrected(phases) if config.strength is not None and is_last else phases


def _with_strength_corrected(phases: tuple[Phase, ...]) -> tuple[Phase, ...]:
    """Return the phases of the last size, in the first whole one of which λ_os is corrected."""
    index = next(index for index, phase in enumerate(phases) if phase.network == "whole")
    first = phases[index]
    if first.last_iteration < ITERATIONS_BEFORE_STRENGTH + ITERATIONS_AFTER_STRENGTH:
        return phases
    divided = [first._replace(corrects_strength=True)]
    if index == 0 or phases[index - 1].last_iteration < ITERATIONS_BEFORE_STRENGTH:
        divided.insert(0, first._replace(last_iteration=ITERATIONS_BEFORE_STRENGTH))
    return (*phases[:index], *divided, *phases[index + 1 :])


def _low_rank_phases(iterations: int, precision: str, is_first: bool) -> tuple[Phase, ...]:
    """Return the phases in the low-rank network: at first with its own targets, then corrected.

    Later sizes begin with a picture that is good already, so all their targets are corrected.
    """
    own = OWN_TARGETS_ITERATIONS if is_first else 0
    share = min(1, LOW_RANK_SHARE * iterations / (own + CORRECTED_ITERATIONS))
    own, last = int(share * own), int(share * (own + CORRECTED_ITERATIONS))
    ends = [*range(own + ITERATIONS_PER_CORRECTION, last, ITERATIONS_PER_CORRECTION), last]
    phases = [Phase(precision, own, "low_rank")] * (own > 0)
    phases += [Phase(precision, end, "low_rank", corrects=True) for end in ends if end > own]
    return tuple(phases)
