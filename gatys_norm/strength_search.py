"""λ_os for a strength: a search in log λ_os, on a small proxy of the transfer.

How strong a transfer is at one λ_os depends little on the size of its picture, so the search runs
at `PROXY_SHARE` of the size, with L-BFGS over pixels. Its unit is the balanced λ_os, at which the
content loss of a picture unrelated to the content equals the style loss of the content picture. In
that unit the curves of all pairs of content and style, and of both losses, are alike: the first
probe is near already. Each later one begins with the picture of the one before, so that the last
one has all these iterations behind it.

A transfer has more of them, and its strength falls to its end like 1/n, n being the number of
iterations. By how much, the two halves of the first probe tell: see `strength_at` and `overshoot`.
What the small size makes different is made good within the transfer: see `corrected`.
"""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, TypeAlias

from gatys_norm.config import filled_in, preset_without_iterations
from gatys_norm.images.inputs import LoadedInputs, resized
from gatys_norm.losses.objective import (
    Objective,
    build_objective,
    pixel_count,
    strength_of,
    with_lambda_os,
)
from gatys_norm.network.vgg import Extractor
from gatys_norm.optimizers import base
from gatys_norm.optimizers.base import State
from gatys_norm.record import Probe, StrengthCorrection, StrengthSearch
from gatys_norm.stages import first_picture

if TYPE_CHECKING:
    from gatys_norm.config import TransferConfig

PROXY_SHARE = 3 / 8  # of the last size; an evaluation then takes a seventh of its time
PROXY_SIZES = 128, 384  # least and most, long side of x in pixels
FIRST_ITERATIONS = 120
LATER_ITERATIONS = 50
MAX_PROBES = 6
TOLERANCE = 0.04  # within which the strength of a probe ends the search, but for one more step
MISSED = 0.05  # by which the strongest result may miss the strength asked for
# log10 of λ_os / balanced λ_os at which strengths 1 and 0 are looked for first, and the least and
# the most of it. The strength falls by FALL per unit; near the ends, where it hardly falls, a step
# is taken as if it fell by LEAST_FALL.
FIRST_GUESS = (-2.9, 1.8)
RANGE = (-5.0, 4.0)
FALL, LEAST_FALL, MOST_FALL = 0.25, 0.08, 0.6
MOST_CORRECTION = 1.0  # log10 of the factor by which λ_os is corrected within the transfer

OnSearch: TypeAlias = Callable[[float], object]  # is given the share that is done, 0 to 1
_Point: TypeAlias = tuple[float, float]  # log10 of λ_os in the search's unit, strength


class StrengthError(ValueError):
    """No λ_os gives the strength asked for; the message says which strengths can be reached."""


def search(
    config: TransferConfig,
    inputs: LoadedInputs,
    extractor: Extractor,
    on_search: OnSearch | None = None,
) -> StrengthSearch:
    """Find the λ_os that gives `config.strength`.

    Args:
      config: resolved `TransferConfig`.
      inputs: the pictures.
      extractor: φ, in float32 or bfloat16.
      on_search: called about once a second. If it raises an error, the search ends with it.

    Returns:
      StrengthSearch.

    Raises:
      StrengthError: the strength is out of reach, or not defined.
      ZeroEnergyError, NonFiniteError: see `losses.objective.build_objective`.
    """
    target, began = filled_in(config.strength), time.perf_counter()
    proxy_config = _proxy_config(config)
    proxy = _Proxy(proxy_config, inputs, extractor, config.size[-1])
    weak, strong = FIRST_GUESS[1], FIRST_GUESS[0]
    logarithm = weak + (strong - weak) * target
    probes: list[_Point] = []

    def on_share(share: float) -> None:
        if on_search is not None:
            on_search((len(probes) + share) / MAX_PROBES)

    while len(probes) < MAX_PROBES:
        strength = proxy.probe(logarithm, on_share)
        if not math.isfinite(strength):
            raise StrengthError("strength: is not defined for these pictures; give lambda_os")
        probes.append((logarithm, strength))
        following = next_logarithm(probes, target)
        if abs(strength - target) <= TOLERANCE or following == logarithm:
            break
        logarithm = following
    if target - probes[-1][1] > MISSED:
        raise StrengthError(
            f"strength: {target:g} is out of reach for these pictures and settings; "
            f"up to {math.floor(100 * probes[-1][1]) / 100:g} is possible"
        )
    return {
        "target": target,
        "lambda_os": proxy.full_size_lambda_os(next_logarithm(probes, target)),
        "probes": [
            Probe(lambda_os=proxy.full_size_lambda_os(logarithm), strength=reached)
            for logarithm, reached in probes
        ],
        "overshoot": proxy.overshoot,
        "correction": None,
        "proxy_size": max(proxy.objective.shape[:2]),
        "seconds": time.perf_counter() - began,
    }


def corrected(
    search: StrengthSearch, iterations: int, last: int, strength: float, own_overshoot: float
) -> StrengthSearch:
    """Return a search whose λ_os is corrected by the strength that the transfer itself has.

    The proxy is small, and what a style of small strokes does in it differs from what it does at
    full size. So λ_os is moved once, as if one more probe had been made: the transfer's present
    strength tells the one at its end, and how fast the strength falls with λ_os is known from the
    probes. But if a style is so strong that the strength of the first probe still rises, the probes
    tell neither: then the transfer's own overshoot counts, and the usual fall with λ_os.

    Args:
      search: result of `search`.
      iterations: of the transfer, done so far, over all sizes.
      last: number of all its iterations.
      strength: of the present picture.
      own_overshoot: `overshoot` of the transfer so far.
    """
    if not math.isfinite(strength):
        return search
    points = [(math.log10(probe["lambda_os"]), probe["strength"]) for probe in search["probes"]]
    known = search["overshoot"], _fall(points)
    overshoot, fall = known if search["overshoot"] else (own_overshoot, FALL)
    expected = strength_at(last, iterations, strength, overshoot)
    step = (expected - search["target"]) / fall
    step = min(max(step, -MOST_CORRECTION), MOST_CORRECTION)
    lambda_os = search["lambda_os"] * 10**step
    correction: StrengthCorrection = {
        "iteration": iterations,
        "strength": strength,
        "expected": expected,
        "lambda_os": lambda_os,
    }
    return {**search, "lambda_os": lambda_os, "correction": correction}


def next_logarithm(probes: Sequence[_Point], target: float) -> float:
    """Return where the strength should be the target: a step of the secant method, kept in bounds.

    Args:
      probes: (log10 of λ_os in the search's unit, strength) of each probe so far, at least one.
      target: the strength asked for.
    """
    logarithm, strength = probes[-1]
    return min(max(logarithm + (strength - target) / _fall(probes), RANGE[0]), RANGE[1])


def _fall(probes: Sequence[_Point]) -> float:
    """Return by how much the strength falls per unit of log10 λ_os, near the last probe."""
    logarithm, strength = probes[-1]
    if len(probes) == 1 or logarithm == probes[-2][0]:
        return FALL
    measured = (probes[-2][1] - strength) / (logarithm - probes[-2][0])
    return min(max(measured, LEAST_FALL), MOST_FALL)


def strength_at(last: int, iterations: int, strength: float, overshoot: float) -> float:
    """Return the strength to be expected after more iterations, or fewer, than were made.

    s(n) = s(∞) + c/n, so that s(last) = s(n) − c (1/n − 1/last).

    Args:
      last: number of iterations at which the strength is asked for.
      iterations: n, of those that were made.
      strength: s(n).
      overshoot: c; see `overshoot`.
    """
    if overshoot == 0:  # as where not one iteration was needed
        return strength
    return max(0.0, strength - overshoot * (1 / iterations - 1 / last))


def overshoot(earlier: tuple[int, float], later: tuple[int, float]) -> float:
    """Return c = (s(m) − s(n)) / (1/m − 1/n) of `strength_at`, 0 if the strength rises.

    Args:
      earlier, later: (number of iterations, strength after them); m < n.
    """
    (m, strength_then), (n, strength_now) = earlier, later
    return max(0.0, (strength_then - strength_now) / (1 / m - 1 / n))


class _Proxy:
    """The transfer, small, at any λ_os."""

    def __init__(
        self, config: TransferConfig, inputs: LoadedInputs, extractor: Extractor, size: int
    ) -> None:
        """Set up the loss.

        Args:
          config: settings of the proxy.
          inputs: the pictures.
          extractor: φ.
          size: long side of x of the transfer, to which styles of other sizes are related.
        """
        least, most = PROXY_SIZES
        proxy_size = min(max(least, round(PROXY_SHARE * size)), most, size)
        pictures = resized(config, inputs, size, scale=proxy_size / size)
        self._config = config
        self._frame = pictures.frame
        self.objective = build_objective(config, extractor, pictures)
        self._balance = _balanced(self.objective)
        self._optimizer = base.load(config)
        self._start = first_picture(config, inputs, pictures)
        self._state: State | None = None
        self._unit = self.objective.unit
        self.overshoot = 0.0
        # The first half of the first probe is the earliest at which the strength is known to fall.
        self._last = max(sum(filled_in(config.iterations)), FIRST_ITERATIONS // 2)
        shapes = self.objective.shape[:2], inputs.shapes[size].content
        # In the original loss the content's part grows with the number of pixels (Eq. 3).
        is_original = config.loss == "original"
        count, full_count = (pixel_count(config, shape) for shape in shapes)
        self._scale = count / full_count if is_original else 1.0

    def lambda_os(self, logarithm: float) -> float:
        """Return λ_os of the proxy."""
        return float(self._balance * 10**logarithm)

    def full_size_lambda_os(self, logarithm: float) -> float:
        """Return λ_os of the transfer."""
        return self.lambda_os(logarithm) * self._scale

    def probe(self, logarithm: float, on_share: OnSearch) -> float:
        """Minimize the loss from the picture of the probe before.

        Args:
          logarithm: log10 of λ_os over its balanced value.
          on_share: called with the share of the iterations that are done.

        Returns:
          The strength to be expected after as many iterations as the transfer has.
        """
        config = dataclasses.replace(self._config, lambda_os=self.lambda_os(logarithm))
        objective = with_lambda_os(self.objective, config, self._frame)
        if self._state is None:
            position = objective.position(self._start)
            state = self._optimizer.init(objective.function, position, objective.data)
            half = FIRST_ITERATIONS // 2
            state = self._minimized(objective, state, half, lambda share: on_share(share / 2))
            earlier = self._strength(objective, state)
            state = self._minimized(
                objective, state, FIRST_ITERATIONS - half, lambda share: on_share((1 + share) / 2)
            )
            strength = self._strength(objective, state)
            self.overshoot = overshoot((half, earlier), (FIRST_ITERATIONS, strength))
        else:
            unit_ratio = objective.unit / self._unit
            state = base.reevaluate(objective.function, self._state, objective.data, unit_ratio)
            state = self._minimized(objective, state, LATER_ITERATIONS, on_share)
            strength = self._strength(objective, state)
        self._state, self._unit = state, objective.unit
        return strength_at(self._last, state.iterations, strength, self.overshoot)

    def _minimized(
        self, objective: Objective, state: State, iterations: int, on_share: OnSearch
    ) -> State:
        """Return the state after more iterations."""
        first = state.iterations

        def on_piece(state: State, _: float) -> bool:
            on_share((state.iterations - first) / iterations)
            return False

        return base.minimize(
            self._optimizer,
            objective.function,
            state,
            first + iterations,
            on_piece=on_piece,
            data=objective.data,
        ).state

    def _strength(self, objective: Objective, state: State) -> float:
        distances = objective.by_term(state.results.terms)
        return strength_of(objective, distances, self._config)


def _proxy_config(config: TransferConfig) -> TransferConfig:
    """Return the settings of a transfer with λ_os = 1, optimized in the paper's way."""
    paper = preset_without_iterations("paper")
    return dataclasses.replace(
        config, strength=None, lambda_os=1.0, optimizer="lbfgs", line_search="unit_step", **paper
    )


def _balanced(objective: Objective) -> float:
    """Return the balanced λ_os of an objective at λ_os = 1."""
    coefficients = objective.coefficients
    content = math.fsum(
        coefficients[term] * distance for term, distance in objective.unrelated_distances.items()
    )
    style = math.fsum(
        coefficients[term] * float(objective.style_distance(gram, objective.targets[term]))
        for term, gram in objective.content_grams.items()
    )
    return style / content if content > 0 and style > 0 else 1.0
