"""What all optimizers share: the protocol that each follows, and `minimize`, which runs each.

An optimizer is a module of this folder with a function `make(config) -> Optimizer`, and a line in
`config.OPTIMIZER_SETTINGS`. `minimize` runs it piece by piece, and knows the protocol only.

The objective is multiplied by a constant, its *scale*, so that the first step, minus the gradient,
has a root mean square of one grey level. Otherwise the first step of the original loss would be
1e10 grey levels.
"""

from __future__ import annotations

import importlib
import math
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, TypeAlias, TypeVar

import numpy as np
import tensorflow as tf

if TYPE_CHECKING:
    from gatys_norm.config import TransferConfig

SECONDS_PER_PIECE = 1.0

# (x, *data) → (value, gradient, terms). x and its gradient are vectors, `data` is everything else
# that the value depends on, `terms` is a vector of the numbers that the value is the sum of.
Evaluate: TypeAlias = Callable[..., tuple[tf.Tensor, tf.Tensor, tf.Tensor]]
Data: TypeAlias = tuple[Any, ...]
OnPiece: TypeAlias = "Callable[[State, float], bool]"
_Function = TypeVar("_Function", bound=Callable[..., Any])
ArrayShapes: TypeAlias = dict[str, tuple[tuple[int, ...], str]]  # {name: (shape, type)}


class EvaluationStoppedError(Exception):
    """Raised by an evaluation that is not a `tf.function`, to end the minimization before it."""


class Results(Protocol):
    """The state of an optimizer after an iteration, a NamedTuple of tensors.

    These are the fields that all optimizers have; each adds fields of its own.

    Attributes:
      converged: whether the gradient is 0, or the last step changed nothing.
      failed: whether the optimizer found no better x.
      num_iterations: iterations since the memory was last emptied.
      num_objective_evaluations: evaluations of the objective.
      position: x, a vector.
      objective_value: value at `position`, multiplied by the scale.
      objective_gradient: gradient at `position`, multiplied by the scale.
      terms: terms of the value at `position`.
      tried: (value, slope, *terms) at another x that the last iteration evaluated. If they are not
        finite, they tell why the optimizer stopped.
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
    """The state of an optimization between two pieces.

    Attributes:
      results: `Results`. They count the iterations since the memory was last emptied, because TFP
        derives from that count how much of the memory is used.
      scale: constant that the objective is multiplied by.
      iterations: number of all iterations.
      restarts: how often the memory was emptied.
    """

    results: Results
    scale: float
    iterations: int
    restarts: int

    @property
    def position(self) -> tf.Tensor:
        """The present x, a vector."""
        return self.results.position

    @property
    def evaluations(self) -> int:
        """The number of evaluations of the objective so far."""
        return int(self.results.num_objective_evaluations)

    @property
    def value(self) -> float:
        """The objective at the present x, not multiplied by the scale."""
        return float(self.results.objective_value) / self.scale

    def arrays(self, copy: bool = True) -> dict[str, np.ndarray]:
        """Return {field of `results`: NumPy array}, without those that no later piece needs.

        Args:
          copy: whether the arrays are copies. Others may be changed by the next piece.
        """
        return {
            name: value.numpy() if copy else np.asarray(value)
            for name, value in self.results._asdict().items()
            if not name.startswith("tried")
        }


class Optimizer(Protocol):
    """A method that minimizes a function of a vector x."""

    @property
    def max_restarts(self) -> int:
        """How often it may empty its memory and start again from its present x."""

    def init(self, evaluate: Evaluate, position: tf.Tensor, data: Data = ()) -> State:
        """Evaluate the objective once and set its scale.

        Args:
          evaluate: see `Evaluate`.
          position: first x, a vector.
          data: further arguments of the objective.

        Raises:
          FloatingPointError: the value or the gradient is not finite.
        """

    def advance(
        self, evaluate: Evaluate, state: State, count: int, data: Data, may_restart: bool
    ) -> tuple[State, int]:
        """Return the state after at most `count` iterations, and the number of iterations done.

        Args:
          evaluate: see `Evaluate`. A `tf.function` becomes part of a graph of many iterations;
            any other function is called by each iteration, and is not traced.
          state: result of `init` or of an earlier piece. It is consumed: its arrays may be changed
            in place, so that only the state that is returned may be used afterwards. If `evaluate`
            raises an exception in the first iteration, `state` is as it was.
          count: largest number of iterations; 0 only traces the graph.
          data: further arguments of the objective; tensors of the same shapes need no new tracing.
          may_restart: whether the optimizer, instead of failing, may empty its memory and start
            again, if it can do that.
        """

    def array_shapes(self, value_count: int, term_count: int) -> ArrayShapes:
        """Return {name: (shape, type)} of `State.arrays` for an x of `value_count` values."""

    def results_from(self, arrays: Mapping[str, np.ndarray]) -> Results:
        """Return the results from which `State.arrays` made these arrays.

        Raises:
          ValueError: an array holds values that no run can have.
        """


@dataclass(frozen=True)
class Minimum:
    """The end of a minimization.

    Attributes:
      state: the last state.
      status: "completed" if all iterations were done, "converged" if the gradient is 0 or a step
        changes not a single bit of x or of its value, "stalled" if the optimizer finds no better x,
        "interrupted" if `on_piece` asked to stop.
      seconds: time that the iterations took.
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
    """Minimize a function, from `state` until a number of iterations is done.

        from gatys_norm.config import TransferConfig

        @tf.function
        def evaluate(x):
            terms = tf.square(x - 1)
            return tf.reduce_sum(terms), 2 * (x - 1), terms

        optimizer = load(TransferConfig(optimizer="lbfgs"))
        state = optimizer.init(evaluate, tf.zeros([3]))
        minimum = minimize(optimizer, evaluate, state, iterations=20)
        print(minimum.status, minimum.state.position)

    It runs in pieces of about one second, so that progress can be shown and a run can be stopped
    soon; of one iteration, if `evaluate` is not a `tf.function`. Such an evaluation can end the run
    by raising `EvaluationStoppedError`: the state before it is then the last one, and is given to
    `on_piece` once more. The result does not depend on where pieces end.

    Args:
      optimizer: `Optimizer`.
      evaluate: see `Evaluate` and `Optimizer.advance`.
      state: result of `optimizer.init` or of an earlier run; it is consumed.
      iterations: number of iterations, those of `state` included.
      stop_at_multiples_of: a piece ends at every multiple of these numbers of iterations.
      on_piece: called after each piece with the `State`, which the next piece consumes, and the
        seconds that the iterations of this call took; if it returns True, the run ends.
      data: further arguments of the objective.
      may_restart: see `Optimizer.advance`.

    Returns:
      Minimum.
    """
    optimizer.advance(evaluate, state, 0, data, may_restart)  # traces before the clock starts
    seconds, seconds_per_iteration = 0.0, math.inf
    is_graph = _is_graph(evaluate)
    while True:
        status = _finished(state, iterations)
        if status:
            return Minimum(state, status, seconds)
        piece = max(1, int(SECONDS_PER_PIECE / seconds_per_iteration)) if is_graph else 1
        target = _next_stop(state.iterations, piece, iterations, stop_at_multiples_of)
        began = time.perf_counter()
        count = target - state.iterations
        try:
            state, new_iterations = optimizer.advance(evaluate, state, count, data, may_restart)
        except EvaluationStoppedError:
            if on_piece is not None:
                on_piece(state, seconds)
            return Minimum(state, "interrupted", seconds)
        elapsed = time.perf_counter() - began
        seconds, seconds_per_iteration = seconds + elapsed, elapsed / max(new_iterations, 1)
        if on_piece is not None and on_piece(state, seconds):
            return Minimum(state, _finished(state, iterations) or "interrupted", seconds)


def compiled(function: _Function, evaluate: Evaluate) -> _Function:
    """Return a function that calls `evaluate` as a graph, if `evaluate` is a `tf.function`."""
    if _is_graph(evaluate):
        graph: _Function = tf.function(function, autograph=False)
        return graph
    return function


def _is_graph(evaluate: Evaluate) -> bool:
    return isinstance(evaluate, tf.types.experimental.PolymorphicFunction)


def first_results(
    evaluate: Evaluate, position: tf.Tensor, data: Data
) -> tuple[dict[str, tf.Tensor], float]:
    """Evaluate the objective at the first x.

    Returns:
      ({field of `Results`: tensor}, scale of the objective).

    Raises:
      FloatingPointError: the value or the gradient is not finite.
    """
    value, gradient, terms = evaluate(position, *data)
    # float64, because the squares of the gradient of the original loss can exceed float32.
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
    """Return `Results.tried` before an optimizer has evaluated another x: zeros."""
    return tf.zeros([2 + terms.shape[0]], terms.dtype)


def reevaluate(evaluate: Evaluate, state: State, data: Data = (), unit_ratio: float = 1.0) -> State:
    """Return `state` with value, gradient and terms of another objective.

    The optimizer keeps its memory: the curvatures of two similar objectives are similar too.

    Args:
      evaluate: the other objective.
      state: where the optimizer is.
      data: arguments of `evaluate` after the position.
      unit_ratio: unit of the other objective, relative to that of the one before.
    """
    state = state._replace(scale=state.scale * unit_ratio)
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
    """Return {name: (shape, number type)} of the arrays that every optimizer has."""
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
    """Return {field of `Results`: tensor} for `State.arrays`; `tried` is zero."""
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
