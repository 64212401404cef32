"""What all optimizers share: the protocol that each keeps, and the driver that runs any of them.

An optimizer is a module of this folder with a function `make(config) -> Optimizer`, and a line in
`config.OPTIMIZER_SETTINGS`. The driver runs it in pieces and knows none of them.

The objective is multiplied by a constant so that the first step, minus the gradient, has a root
mean square of one pixel; without it the original loss would begin with steps of 1e10 grey levels.
"""

from __future__ import annotations

import importlib
import math
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, TypeAlias

import tensorflow as tf

if TYPE_CHECKING:
    import numpy as np

    from gatys_norm.config import TransferConfig

SECONDS_PER_PIECE = 1.0

# (x, *data) → (value, gradient like x, terms): x is flat, data is what the value depends on besides
# x, terms is a vector of what the value was summed up from, which is kept of the x that is taken.
Evaluate: TypeAlias = Callable[..., tuple[tf.Tensor, tf.Tensor, tf.Tensor]]
Data: TypeAlias = tuple[Any, ...]
OnPiece: TypeAlias = "Callable[[State, float], bool]"
ArrayShapes: TypeAlias = dict[str, tuple[tuple[int, ...], str]]  # {name: (shape, type)}


class Results(Protocol):
    """What every optimizer knows after an iteration; a NamedTuple of tensors, with more of its own.

    `terms` are those of `position`. `tried` is (value, slope, *terms) of another place
    where the last iteration looked; not finite, it tells why the optimizer got no further.
    """

    @property
    def converged(self) -> tf.Tensor: ...
    @property
    def failed(self) -> tf.Tensor: ...
    @property
    def num_iterations(self) -> tf.Tensor: ...
    @property
    def num_objective_evaluations(self) -> tf.Tensor: ...
    @property
    def position(self) -> tf.Tensor: ...
    @property
    def objective_value(self) -> tf.Tensor: ...
    @property
    def objective_gradient(self) -> tf.Tensor: ...
    @property
    def terms(self) -> tf.Tensor: ...
    @property
    def tried(self) -> tf.Tensor: ...

    @property
    def _replace(self) -> Callable[..., Any]: ...
    @property
    def _asdict(self) -> Callable[[], dict[str, Any]]: ...


class State(NamedTuple):
    """Everything a later piece needs.

    `results` counts iterations since the memory was last emptied, because TFP reads from that
    count how much of the memory is filled; `iterations` counts them all.
    """

    results: Results
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

    def arrays(self) -> dict[str, np.ndarray]:
        """Return the results as NumPy arrays by name, as far as a later piece needs them."""
        return {
            name: value.numpy() for name, value in self.results._asdict().items() if name != "tried"
        }


class Optimizer(Protocol):
    """A way to minimize a function of a flat x."""

    @property
    def max_restarts(self) -> int:
        """How often it may empty its memory and begin anew."""

    def init(self, evaluate: Evaluate, position: tf.Tensor, data: Data = ()) -> State:
        """Evaluate the objective once and set its scale.

        Args:
          evaluate: see `Evaluate`.
          position: x to start from, flat.
          data: what the objective depends on besides x.

        Raises:
          FloatingPointError: the value or the gradient is not finite.
        """

    def advance(
        self, evaluate: Evaluate, state: State, count: int, data: Data, may_restart: bool
    ) -> tuple[State, int]:
        """Return the state after at most `count` iterations, and how many they were.

        Args:
          evaluate: see `Evaluate`; a `tf.function`.
          state: what `init`, or an earlier piece, returned.
          count: of iterations; 0 only traces.
          data: with tensors of the same shapes another run traces nothing.
          may_restart: whether to begin anew, where the optimizer knows how, instead of failing.
        """

    def array_shapes(self, value_count: int, term_count: int) -> ArrayShapes:
        """Return {name: (shape, type)} of `State.arrays` for an x of `value_count` values."""

    def results_from(self, arrays: Mapping[str, np.ndarray]) -> Results:
        """Return the results that `State.arrays` was made of.

        Raises:
          ValueError: an array holds what no run has left in it.
        """


@dataclass(frozen=True)
class Minimum:
    """Where a minimization ended, and why.

    `status` is "completed" (the iterations are used up), "converged" (the gradient vanishes, or a
    step leaves x or its value as it was, to the bit), "stalled" (the optimizer finds no way on), or
    "interrupted" (`on_piece` asked to stop).
    """

    state: State
    status: str
    seconds: float


def load(config: TransferConfig) -> Optimizer:
    """Return the optimizer that `config.optimizer` names, with its settings."""
    module = importlib.import_module(f"gatys_norm.optimizers.{config.optimizer}")
    optimizer: Optimizer = module.make(config)
    return optimizer


def minimize(
    optimizer: Optimizer,
    evaluate: Evaluate,
    state: State,
    iterations: int,
    stop_at_multiples_of: Collection[int] = (),
    on_piece: OnPiece | None = None,
    data: Data = (),
    may_restart: bool = True,
) -> Minimum:
    """Continue from `state` until `iterations` are done.

    The pieces are as long as fit into about a second, so that progress is seen and an interruption
    is quick. Where the pieces end changes nothing in the result.

    Args:
      optimizer: `Optimizer`.
      evaluate: see `Evaluate`; a `tf.function`, or else the graph holds a copy of it at every
        place where a line search may probe.
      state: what `optimizer.init`, or an earlier run, returned.
      iterations: in all.
      stop_at_multiples_of: a piece ends at every multiple of these iteration counts.
      on_piece: called with the `State` and the seconds spent after each piece; returning True
        stops the run.
      data: what the objective depends on besides x.
      may_restart: see `Optimizer.advance`.

    Returns:
      Minimum.
    """
    optimizer.advance(evaluate, state, 0, data, may_restart)  # so that no timing holds the tracing
    seconds, seconds_per_iteration = 0.0, math.inf
    while True:
        status = _finished(state, iterations)
        if status:
            return Minimum(state, status, seconds)
        piece = max(1, int(SECONDS_PER_PIECE / seconds_per_iteration))
        target = _next_stop(state.iterations, piece, iterations, stop_at_multiples_of)
        began = time.perf_counter()
        count = target - state.iterations
        state, new_iterations = optimizer.advance(evaluate, state, count, data, may_restart)
        elapsed = time.perf_counter() - began
        seconds, seconds_per_iteration = seconds + elapsed, elapsed / max(new_iterations, 1)
        if on_piece is not None and on_piece(state, seconds):
            return Minimum(state, _finished(state, iterations) or "interrupted", seconds)


def first_results(
    evaluate: Evaluate, position: tf.Tensor, data: Data
) -> tuple[dict[str, tf.Tensor], float]:
    """Evaluate the objective at its start.

    Returns:
      The results that every optimizer begins with, by name, and the scale of the objective.

    Raises:
      FloatingPointError: the value or the gradient is not finite.
    """
    value, gradient, terms = evaluate(position, *data)
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
        "terms": terms,
        "tried": nothing_tried(terms),
    }, scale


def nothing_tried(terms: tf.Tensor) -> tf.Tensor:
    """Return what `Results.tried` is before anything was tried: zeros."""
    return tf.zeros([2 + terms.shape[0]], terms.dtype)


def reevaluate(evaluate: Evaluate, state: State, data: Data = ()) -> State:
    """Return `state` with value, gradient and terms of another objective of the same scale.

    The memory is kept: it describes the curvature of both where the two are nearly the same.
    """
    value, gradient, terms = evaluate(state.position, *data)
    results = state.results._replace(
        converged=tf.constant(False),
        failed=tf.constant(False),
        num_objective_evaluations=state.results.num_objective_evaluations + 1,
        objective_value=value * state.scale,
        objective_gradient=gradient * state.scale,
        terms=terms,
        tried=nothing_tried(terms),
    )
    return state._replace(results=results)


def common_shapes(value_count: int, term_count: int) -> ArrayShapes:
    """Return {name: (shape, type)} of what `State.arrays` has of every optimizer."""
    return {
        "converged": ((), "bool"),
        "failed": ((), "bool"),
        "num_iterations": ((), "int32"),
        "num_objective_evaluations": ((), "int32"),
        "position": ((value_count,), "float32"),
        "objective_value": ((), "float32"),
        "objective_gradient": ((value_count,), "float32"),
        "terms": ((term_count,), "float32"),
    }


def tensors_from(arrays: Mapping[str, np.ndarray]) -> dict[str, tf.Tensor]:
    """Return the tensors of `State.arrays`, and `tried`."""
    tensors = {name: tf.constant(value) for name, value in arrays.items()}
    return tensors | {"tried": nothing_tried(tensors["terms"])}


def _finished(state: State, iterations: int) -> str | None:
    if bool(state.results.converged):
        return "converged"
    if bool(state.results.failed):
        return "stalled"
    return "completed" if state.iterations >= iterations else None


def _next_stop(
    iterations_done: int, piece: int, iterations: int, multiples: Collection[int]
) -> int:
    stops = [iterations_done + piece, iterations]
    stops += [(iterations_done // multiple + 1) * multiple for multiple in multiples]
    return min(stops)
