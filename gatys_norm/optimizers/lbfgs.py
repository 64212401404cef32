"""`tfp.optimizer.lbfgs_minimize`, run in resumable pieces over any flat value-and-gradient.

The objective is multiplied by a constant so that the first step, minus the gradient, has a root
mean square of one pixel; without it the original loss would begin with steps of 1e10 grey levels.
"""

from __future__ import annotations

import contextlib
import functools
import math
import threading
import time
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeAlias
from unittest import mock

import tensorflow as tf
import tensorflow_probability as tfp
from tensorflow_probability.python.optimizer import bfgs_utils
from tensorflow_probability.python.optimizer import lbfgs as tfp_lbfgs
from tensorflow_probability.python.optimizer.lbfgs import LBfgsOptimizerResults
from tensorflow_probability.python.optimizer.linesearch.hager_zhang import (
    HagerZhangLineSearchResult,
)

SUFFICIENT_DECREASE = 1e-4
CURVATURE = 0.9
MAX_RESTARTS = 5
SECONDS_PER_PIECE = 1.0

_stock_hager_zhang = bfgs_utils.hager_zhang
_stock_line_search_step = bfgs_utils.line_search_step
_patching = threading.Lock()

# (x, *data) → (scalar, gradient like x), x being flat; data is what it depends on besides x.
ValueAndGradient: TypeAlias = Callable[..., tuple[tf.Tensor, tf.Tensor]]
Data: TypeAlias = tuple[Any, ...]
Advance: TypeAlias = "Callable[[State, int], tuple[State, int]]"
OnPiece: TypeAlias = "Callable[[State, float], bool]"
_Piece: TypeAlias = Callable[
    [LBfgsOptimizerResults, tf.Tensor, tf.Tensor, Data], LBfgsOptimizerResults
]
_AlongLine: TypeAlias = Callable[[tf.Tensor], bfgs_utils.ValueAndGradient]


class State(NamedTuple):
    """Everything a later piece needs; its arrays are all that a checkpoint has to keep.

    `results` counts iterations since the memory was last emptied, because TFP reads from that
    count how much of the memory is filled; `iterations` counts them all.
    """

    results: Any
    scale: float
    iterations: int
    restarts: int

    @property
    def position(self) -> tf.Tensor:
        """The present x, flat."""
        return self.results.position

    @property
    def evaluations(self) -> int:
        """Evaluations of the objective so far."""
        return int(self.results.num_objective_evaluations)

    @property
    def value(self) -> float:
        """The objective at the present x, unscaled."""
        return float(self.results.objective_value) / self.scale


@dataclass(frozen=True)
class Minimum:
    """Where a minimisation ended, and why.

    `status` is "completed" (the iterations are used up), "converged" (the gradient vanishes, or a
    step leaves x or its value as it was, to the bit), "stalled" (the line search fails even with
    an empty memory, or too often), or "interrupted" (`on_piece` asked to stop).
    """

    state: State
    status: str
    seconds: float


def init(
    value_and_gradient: ValueAndGradient, position: tf.Tensor, history: int, data: Data = ()
) -> State:
    """Evaluate the objective once and set its scale.

    Args:
      value_and_gradient: (x, *data) → (scalar, gradient like x), x being flat.
      position: x to start from, flat.
      history: L-BFGS correction pairs.
      data: what the objective depends on besides x.

    Returns:
      State.

    Raises:
      FloatingPointError: the value or the gradient is not finite.
    """
    first, scale = first_results(value_and_gradient, position, data)
    memory = tf.zeros([history, *position.shape], position.dtype)
    results = LBfgsOptimizerResults(**first, position_deltas=memory, gradient_deltas=memory)
    return State(results, scale, iterations=0, restarts=0)


def first_results(
    value_and_gradient: ValueAndGradient, position: tf.Tensor, data: Data
) -> tuple[dict[str, tf.Tensor], float]:
    """Evaluate the objective at its start.

    Returns:
      The results that every optimiser begins with, by name, and the scale of the objective.

    Raises:
      FloatingPointError: the value or the gradient is not finite.
    """
    value, gradient = value_and_gradient(position, *data)
    # float64, because the squares of the original loss's gradients can leave float32's range.
    step = float(tf.sqrt(tf.reduce_mean(tf.square(tf.cast(gradient, tf.float64)))))
    if not (math.isfinite(float(value)) and math.isfinite(step)):
        raise FloatingPointError("the loss or its gradient is not finite at the start")
    scale = 1 / step if step > 0 else 1.0
    return {
        "converged": tf.constant(step == 0),
        "failed": tf.constant(False),
        "num_iterations": tf.constant(0),
        "num_objective_evaluations": tf.constant(1),
        "position": position,
        "objective_value": value * scale,
        "objective_gradient": gradient * scale,
    }, scale


def reevaluate(value_and_gradient: ValueAndGradient, state: State, data: Data = ()) -> State:
    """Return `state` with value and gradient of another objective of the same scale.

    The memory is kept: it describes the curvature of both where the two are nearly the same.
    """
    value, gradient = value_and_gradient(state.position, *data)
    results = state.results._replace(
        converged=tf.constant(False),
        failed=tf.constant(False),
        num_objective_evaluations=state.results.num_objective_evaluations + 1,
        objective_value=value * state.scale,
        objective_gradient=gradient * state.scale,
    )
    return state._replace(results=results)


def minimize(
    value_and_gradient: ValueAndGradient,
    state: State,
    iterations: int,
    line_search: str = "unit_step",
    stop_at_multiples_of: Collection[int] = (),
    on_piece: OnPiece | None = None,
    max_restarts: int = MAX_RESTARTS,
    data: Data = (),
) -> Minimum:
    """Go on from `state` until `iterations` are done.

    The pieces are as long as fit into about a second, so that progress is seen and an interruption
    is quick. Where the pieces end changes nothing in the result.

    Args:
      value_and_gradient: (x, *data) → (scalar, gradient like x), x being flat; a `tf.function`,
        or else the graph holds a copy of it at every place where the line search may probe.
      state: what `begin`, or an earlier run, returned.
      iterations: L-BFGS iterations in all.
      line_search: "unit_step" or "hager_zhang".
      stop_at_multiples_of: a piece ends at every multiple of these iteration counts.
      on_piece: called with the `State` and the seconds spent after each piece; returning True
        stops the run.
      max_restarts: how often a failed line search may empty the memory.
      data: what the objective depends on besides x; with tensors of the same shapes another run
        of the same `value_and_gradient` traces nothing.

    Returns:
      Minimum.
    """
    run_piece = _compile(value_and_gradient, line_search)

    def advance(state: State, count: int) -> tuple[State, int]:
        return _advance(run_piece, state, count, max_restarts, data)

    return run_in_pieces(advance, state, iterations, stop_at_multiples_of, on_piece)


def run_in_pieces(
    advance: Advance,
    state: State,
    iterations: int,
    stop_at_multiples_of: Collection[int],
    on_piece: OnPiece | None,
) -> Minimum:
    """Go on from `state` in pieces until `iterations` are done.

    Args:
      advance: (state, count) → the state after at most `count` iterations, and how many they were.
      state: `State`, of this or another optimiser.
      iterations: as for `minimize`, and so are the others.

    Returns:
      Minimum.
    """
    advance(state, 0)  # traces, so that no timing holds the tracing
    seconds, seconds_per_iteration = 0.0, math.inf
    while True:
        status = _finished(state, iterations)
        if status:
            return Minimum(state, status, seconds)
        piece = max(1, int(SECONDS_PER_PIECE / seconds_per_iteration))
        target = _next_stop(state.iterations, piece, iterations, stop_at_multiples_of)
        began = time.perf_counter()
        count = target - state.iterations
        state, done = advance(state, count)
        elapsed = time.perf_counter() - began
        seconds, seconds_per_iteration = seconds + elapsed, elapsed / max(done, 1)
        if on_piece is not None and on_piece(state, seconds):
            return Minimum(state, _finished(state, iterations) or "interrupted", seconds)


@functools.lru_cache(maxsize=8)
def _compile(value_and_gradient: ValueAndGradient, line_search: str) -> _Piece:
    @tf.function(autograph=False)
    def run_piece(
        results: LBfgsOptimizerResults, scale: tf.Tensor, max_iterations: tf.Tensor, data: Data
    ) -> LBfgsOptimizerResults:
        def scaled(position: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            value, gradient = value_and_gradient(position, *data)
            return value * scale, gradient * scale

        with _line_search(line_search):
            return tfp.optimizer.lbfgs_minimize(
                scaled, None, previous_optimizer_results=results, max_iterations=max_iterations
            )

    return run_piece


def _advance(
    run_piece: _Piece, state: State, count: int, max_restarts: int, data: Data
) -> tuple[State, int]:
    """Run `count` iterations; a failed line search ends them early and empties the memory."""
    before = int(state.results.num_iterations)
    results = run_piece(
        state.results,
        tf.constant(state.scale, state.results.position.dtype),
        tf.constant(before + count),
        data,
    )
    done = int(results.num_iterations) - before
    state = state._replace(results=results, iterations=state.iterations + done)
    if bool(results.failed) and _may_restart(state, max_restarts):
        state = _restart(state)
    return state, done


def _may_restart(state: State, max_restarts: int) -> bool:
    """An empty memory that failed at once would fail again from the same place."""
    fresh = int(state.results.num_iterations) <= 1
    finite = math.isfinite(float(state.results.objective_value))
    return state.restarts < max_restarts and not fresh and finite


def _restart(state: State) -> State:
    results: LBfgsOptimizerResults = state.results
    empty = tf.zeros_like(results.position_deltas)
    return state._replace(
        results=results._replace(
            failed=tf.constant(False),
            num_iterations=tf.constant(0),
            position_deltas=empty,
            gradient_deltas=empty,
        ),
        restarts=state.restarts + 1,
    )


def _finished(state: State, iterations: int) -> str | None:
    if bool(state.results.converged):
        return "converged"
    if bool(state.results.failed):
        return "stalled"
    return "completed" if state.iterations >= iterations else None


def _next_stop(done: int, piece: int, iterations: int, multiples: Collection[int]) -> int:
    stops = [done + piece, iterations]
    stops += [(done // multiple + 1) * multiple for multiple in multiples]
    return min(stops)


@contextlib.contextmanager
def _line_search(name: str) -> Iterator[None]:
    """Let `lbfgs_minimize` be traced with the wanted line search.

    TFP has no argument for it, so the names it looks up are replaced while tracing; this is the
    one place that does so, and the reason why the TFP series is pinned.
    """
    search = {"unit_step": _unit_step_first, "hager_zhang": _stock_hager_zhang}[name]
    with (
        _patching,
        mock.patch.multiple(
            bfgs_utils, hager_zhang=search, line_search_step=_step_along_finite_direction
        ),
        mock.patch.multiple(
            tfp_lbfgs, _get_search_direction=_search_direction, _queue_push=_pushed
        ),
    ):
        yield


def _search_direction(state: LBfgsOptimizerResults) -> tf.Tensor:
    """The direction of TFP's two loops, in the compact form of Byrd, Nocedal and Schnabel (1994).

    With the corrections as rows of S and Y, oldest first, ρ the diagonal and U the upper triangle
    of S Yᵀ, the first loop solves U α = S g and the second Uᵀ δ = ρ α − γ Y (g − Yᵀ α). TFP walks
    over the corrections one by one and keeps every vector in between.
    """
    steps, changes = state.position_deltas, state.gradient_deltas
    gradient = state.objective_gradient

    def products(a: tf.Tensor, b: tf.Tensor) -> tf.Tensor:
        return tf.cast(tf.matmul(a, b, transpose_b=True), tf.float64)

    across = products(steps, changes)
    used = tf.cast(tf.linalg.diag_part(across) != 0, tf.float64)
    upper = tf.linalg.band_part(across, 0, -1) * used * used[:, tf.newaxis]
    upper += tf.linalg.diag(1 - used)
    curvature = tf.linalg.diag_part(across)[:, tf.newaxis]
    own = products(changes, changes)
    gamma = curvature[-1] / own[-1, -1]
    used = used[:, tf.newaxis]
    first = tf.linalg.triangular_solve(
        upper, used * products(steps, gradient[tf.newaxis]), lower=False
    )
    remaining = products(changes, gradient[tf.newaxis]) - own @ first
    second = tf.linalg.triangular_solve(
        upper, used * (curvature * first - gamma * remaining), lower=False, adjoint=True
    )

    def combined(coefficients: tf.Tensor, rows: tf.Tensor) -> tf.Tensor:
        coefficients = tf.cast(coefficients, rows.dtype)
        return tf.squeeze(tf.matmul(coefficients, rows, transpose_a=True), 0)

    gamma = tf.cast(gamma, gradient.dtype)
    direction = gamma * (gradient - combined(first, changes)) + combined(second, steps)
    return tf.where(state.num_iterations == 0, -gradient, -direction)


def _pushed(queue: tf.Tensor, should_update: tf.Tensor, newest: tf.Tensor) -> tf.Tensor:
    return tf.cond(
        should_update, lambda: tf.concat([queue[1:], newest[tf.newaxis]], axis=0), lambda: queue
    )


def _step_along_finite_direction(
    state: LBfgsOptimizerResults,
    value_and_gradients_function: _AlongLine,
    direction: tf.Tensor,
    *limits: Any,
) -> LBfgsOptimizerResults:
    """Search along zeros, which fails and stays where it is, if the direction is not finite.

    Two equal gradients in a row, as on one side of a kink, make TFP divide 0 by 0; its step of
    length 0 along NaN would lose the position.
    """
    finite = tf.reduce_all(tf.math.is_finite(direction))
    direction = tf.where(finite, direction, tf.zeros_like(direction))
    return _stock_line_search_step(state, value_and_gradients_function, direction, *limits)


def _unit_step_first(
    value_and_gradients_function: _AlongLine,
    initial_step_size: tf.Tensor,
    value_at_zero: bfgs_utils.ValueAndGradient,
    converged: tf.Tensor,
    max_iterations: tf.Tensor,
) -> HagerZhangLineSearchResult:
    """Take the unit step if it meets the strong Wolfe conditions, else search from it.

    f(1) ≤ f(0) + c₁ f′(0) and |f′(1)| ≤ c₂ |f′(0)| along the search direction. TFP's Hager–Zhang
    search evaluates this step too but never asks whether it would do, and brackets first: about
    2.9 evaluations an iteration where one is nearly always enough.
    """
    trial = value_and_gradients_function(initial_step_size)
    enough_decrease = trial.f <= value_at_zero.f + SUFFICIENT_DECREASE * value_at_zero.df
    flat_enough = tf.abs(trial.df) <= CURVATURE * tf.abs(value_at_zero.df)
    downhill = value_at_zero.df < 0

    def accept() -> HagerZhangLineSearchResult:
        return HagerZhangLineSearchResult(
            converged=tf.constant(True),
            failed=tf.constant(False),
            func_evals=tf.constant(1),
            iterations=tf.constant(0),
            left=trial,
            right=trial,
        )

    def search() -> HagerZhangLineSearchResult:
        result = _stock_hager_zhang(
            value_and_gradients_function,
            value_at_initial_step=trial,
            value_at_zero=value_at_zero,
            converged=converged,
            max_iterations=max_iterations,
        )
        return result._replace(func_evals=result.func_evals + 1)

    return tf.cond(downhill & enough_decrease & flat_enough, accept, search)
