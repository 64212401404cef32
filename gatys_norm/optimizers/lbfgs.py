"""L-BFGS: `tfp.optimizer.lbfgs_minimize` with the protocol of `base`.

Iterations that take the unit step run in a graph. Where it is refused, a search runs operation by
operation: that is rare, and a graph that contains the search takes seconds to build.

The memory is by far the largest part of a state. It is changed in place: there is one copy of it.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import tensorflow as tf

from gatys_norm.optimizers import base, stock
from gatys_norm.optimizers.base import ArrayShapes, Data, Evaluate, Results, State
from gatys_norm.optimizers.line_search import LBFGSResults, emptied, in_place_of_stock

if TYPE_CHECKING:
    import numpy as np

    from gatys_norm.config import TransferConfig

MAX_RESTARTS = 5

# (results of L-BFGS, scale, last iteration, data) → results
_Piece: TypeAlias = Callable[[Any, tf.Tensor, tf.Tensor, Data], LBFGSResults]
_Value: TypeAlias = tuple[tf.Tensor, tf.Tensor, tf.Tensor]  # value, gradient, terms


def make(config: TransferConfig) -> LBFGS:
    """Return L-BFGS with the settings of `config`."""
    return LBFGS(config.history, config.line_search)


@dataclass(frozen=True)
class LBFGS:
    """L-BFGS. When a line search fails, it empties its memory and starts again, a few times.

    Attributes:
      history: number of correction pairs in the memory.
      line_search: "unit_step" or "hager_zhang"; see `line_search`.
      max_restarts: how often the memory may be emptied.
    """

    history: int
    line_search: str = "unit_step"
    max_restarts: int = MAX_RESTARTS

    def init(self, evaluate: Evaluate, position: tf.Tensor, data: Data = ()) -> State:
        """See `base.Optimizer.init`."""
        first, scale = base.first_results(evaluate, position, data)
        shape = [self.history, *position.shape]

        def memory() -> tf.Tensor:  # not tf.zeros, which may share the memory of a constant
            return tf.raw_ops.Empty(shape=shape, dtype=position.dtype, init=True)

        results = LBFGSResults(
            **first,
            position_deltas=memory(),
            gradient_deltas=memory(),
            tried_gradient=position[:0],
        )
        return State(results, scale, iterations=0, restarts=0)

    def advance(
        self, evaluate: Evaluate, state: State, count: int, data: Data, may_restart: bool
    ) -> tuple[State, int]:
        """See `base.Optimizer.advance`."""
        before = int(state.results.num_iterations)
        results = self._minimize(evaluate, state, before + count, data)
        results = results._replace(tried_gradient=results.tried_gradient[:0])
        new_iterations = int(results.num_iterations) - before
        state = state._replace(results=results, iterations=state.iterations + new_iterations)
        if bool(results.failed) and may_restart and self._would_help(state):
            state = _restarted(state)
        return state, new_iterations

    def _minimize(
        self, evaluate: Evaluate, state: State, last_iteration: int, data: Data
    ) -> LBFGSResults:
        run_piece = _compile(evaluate, self.line_search)
        scale = tf.constant(state.scale, state.position.dtype)
        results = run_piece(state.results, scale, tf.constant(last_iteration), data)
        may_search = self.line_search == "unit_step" and not bool(state.results.failed)
        while may_search and bool(results.failed):
            results = _search_from_refused(evaluate, results, scale, data)
            may_search = not bool(results.failed)
            if may_search:
                results = run_piece(results, scale, tf.constant(last_iteration), data)
        return results

    def _would_help(self, state: State) -> bool:
        """Tell whether an empty memory may help: not where it has just failed with an empty one."""
        fresh = int(state.results.num_iterations) <= 1
        finite = math.isfinite(float(state.results.objective_value))
        return state.restarts < self.max_restarts and not fresh and finite

    def array_shapes(self, value_count: int, term_count: int) -> ArrayShapes:
        """See `base.Optimizer.array_shapes`."""
        memory = (self.history, value_count), "float32"
        shapes = {"position_deltas": memory, "gradient_deltas": memory}
        return base.common_shapes(value_count, term_count) | shapes

    def results_from(self, arrays: Mapping[str, np.ndarray]) -> LBFGSResults:
        """See `base.Optimizer.results_from`."""
        tensors = base.tensors_from(arrays)
        return LBFGSResults(**tensors, tried_gradient=tensors["position"][:0])


@functools.lru_cache(maxsize=8)
def _compile(evaluate: Evaluate, line_search: str) -> _Piece:
    """Return the iterations up to the last one or to a refused unit step; see `base.compiled`."""

    def run_piece(
        results: Any, scale: tf.Tensor, last_iteration: tf.Tensor, data: Data
    ) -> LBFGSResults:
        # The gradient has no values before a step is refused; a loop must know that this changes.
        gradient = tf.raw_ops.PlaceholderWithDefault(input=results.tried_gradient, shape=[None])
        results = results._replace(tried_gradient=gradient)
        return _run(line_search, _scaled(evaluate, scale, data), results, last_iteration)

    return base.compiled(run_piece, evaluate)


def _search_from_refused(
    evaluate: Evaluate, results: LBFGSResults, scale: tf.Tensor, data: Data
) -> LBFGSResults:
    """Run one iteration with TFP's search, not compiled, after a unit step that was refused.

    Its first evaluation is that of the unit step, which is known already.
    """
    scaled = _scaled(evaluate, scale, data)
    known = iter([(results.tried[0], results.tried_gradient, results.tried[2:])])

    def value_at(position: tf.Tensor) -> _Value:
        return next(known, None) or scaled(position)

    before = results._replace(failed=tf.constant(False), tried_gradient=results.tried_gradient[:0])
    return _run("hager_zhang", value_at, before, results.num_iterations + 1)


def _run(
    step: str,
    value_at: Callable[[tf.Tensor], _Value],
    results: Results,
    last_iteration: tf.Tensor,
) -> LBFGSResults:
    with in_place_of_stock(step):
        return stock.lbfgs_minimize(
            value_at, None, previous_optimizer_results=results, max_iterations=last_iteration
        )


def _scaled(evaluate: Evaluate, scale: tf.Tensor, data: Data) -> Callable[[tf.Tensor], _Value]:
    def value_at(position: tf.Tensor) -> _Value:
        value, gradient, terms = evaluate(position, *data)
        return value * scale, gradient * scale, terms

    return value_at


def _restarted(state: State) -> State:
    results: Any = state.results
    return state._replace(
        results=results._replace(
            failed=tf.constant(False),
            num_iterations=tf.constant(0),
            position_deltas=emptied(results.position_deltas),
            gradient_deltas=emptied(results.gradient_deltas),
        ),
        restarts=state.restarts + 1,
    )
