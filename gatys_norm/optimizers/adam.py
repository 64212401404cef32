"""Adam (Kingma and Ba, 2015) with the protocol of `base`.

It stores two vectors as large as x; L-BFGS stores two for each correction pair.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import tensorflow as tf

from gatys_norm.config import filled_in
from gatys_norm.optimizers import base
from gatys_norm.optimizers.base import ArrayShapes, Data, Evaluate, State

if TYPE_CHECKING:
    import numpy as np

    from gatys_norm.config import TransferConfig

BETA_1, BETA_2, EPSILON = 0.9, 0.999, 1e-7  # as in Keras


class AdamResults(NamedTuple):
    """The fields of `base.Results`, and the running means of the gradient and of its square."""

    converged: tf.Tensor
    failed: tf.Tensor
    num_iterations: tf.Tensor
    num_objective_evaluations: tf.Tensor
    position: tf.Tensor
    objective_value: tf.Tensor
    objective_gradient: tf.Tensor
    terms: tf.Tensor
    tried: tf.Tensor
    momentum: tf.Tensor
    velocity: tf.Tensor


# (results of Adam, scale, learning rate, iterations, data) → results
_Piece: TypeAlias = Callable[[Any, tf.Tensor, tf.Tensor, tf.Tensor, Data], AdamResults]


def make(config: TransferConfig) -> Adam:
    """Return Adam with the settings of `config`, which is resolved."""
    return Adam(filled_in(config.learning_rate))


@dataclass(frozen=True)
class Adam:
    """Adam, with one evaluation per iteration.

    A step to a value or gradient that is not finite is undone, and Adam stops as stalled.

    Attributes:
      learning_rate: η, about the largest change of a value of x in one step, in grey levels.
    """

    learning_rate: float

    @property
    def max_restarts(self) -> int:
        """See `base.Optimizer.max_restarts`."""
        return 0

    def init(self, evaluate: Evaluate, position: tf.Tensor, data: Data = ()) -> State:
        """See `base.Optimizer.init`."""
        first, scale = base.first_results(evaluate, position, data)
        zeros = tf.zeros_like(position)
        results = AdamResults(**first, momentum=zeros, velocity=zeros)
        return State(results, scale, iterations=0, restarts=0)

    def advance(
        self, evaluate: Evaluate, state: State, count: int, data: Data, may_restart: bool
    ) -> tuple[State, int]:
        """See `base.Optimizer.advance`; it never empties its memory."""
        before = int(state.results.num_iterations)
        dtype = state.position.dtype
        results = _compile(evaluate)(
            state.results,
            tf.constant(state.scale, dtype),
            tf.constant(self.learning_rate, dtype),
            tf.constant(count),
            data,
        )
        new_iterations = int(results.num_iterations) - before
        return state._replace(
            results=results, iterations=state.iterations + new_iterations
        ), new_iterations

    def array_shapes(self, value_count: int, term_count: int) -> ArrayShapes:
        """See `base.Optimizer.array_shapes`."""
        shapes = dict.fromkeys(("momentum", "velocity"), ((value_count,), "float32"))
        return base.common_shapes(value_count, term_count) | shapes

    def results_from(self, arrays: Mapping[str, np.ndarray]) -> AdamResults:
        """See `base.Optimizer.results_from`."""
        if arrays["velocity"].min() < 0:
            raise ValueError("its velocity is below 0")
        return AdamResults(**base.tensors_from(arrays))


def step(results: AdamResults, learning_rate: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Return position, momentum and velocity after one step.

    With the number t of the step and the gradient g: m ← β₁ m + (1 − β₁) g,
    v ← β₂ v + (1 − β₂) g², x ← x − η √(1 − β₂ᵗ) / (1 − β₁ᵗ) · m / (√v + ε).
    """
    gradient = results.objective_gradient
    t = tf.cast(results.num_iterations + 1, gradient.dtype)
    momentum = results.momentum + (gradient - results.momentum) * (1 - BETA_1)
    velocity = results.velocity + (tf.square(gradient) - results.velocity) * (1 - BETA_2)
    rate = learning_rate * tf.sqrt(1 - BETA_2**t) / (1 - BETA_1**t)
    position = results.position - momentum * rate / (tf.sqrt(velocity) + EPSILON)
    return position, momentum, velocity


@functools.lru_cache(maxsize=8)
def _compile(evaluate: Evaluate) -> _Piece:
    """Return the iterations up to the last one; see `base.compiled`."""

    def run_piece(
        results: AdamResults,
        scale: tf.Tensor,
        learning_rate: tf.Tensor,
        count: tf.Tensor,
        data: Data,
    ) -> AdamResults:
        last = results.num_iterations + count

        def is_under_way(results: AdamResults) -> tf.Tensor:
            return ~results.converged & ~results.failed & (results.num_iterations < last)

        def advance(results: AdamResults) -> list[AdamResults]:
            position = step(results, learning_rate)[0]
            value, gradient, terms = evaluate(position, *data)
            value, gradient = value * scale, gradient * scale
            finite = tf.math.is_finite(value) & tf.reduce_all(tf.math.is_finite(gradient))
            # Instead of a slope: 0, or NaN if the gradient is not finite.
            tried = tf.concat([[value, tf.reduce_sum(0 * gradient)], terms], axis=0)
            evaluations = results.num_objective_evaluations + 1
            undone = results._replace(
                failed=tf.constant(True), num_objective_evaluations=evaluations, tried=tried
            )

            def stepped() -> AdamResults:
                # Computed a second time, so that the evaluation need not share the memory with it.
                _, momentum, velocity = step(results, learning_rate)
                return AdamResults(
                    converged=tf.reduce_all(gradient == 0),
                    failed=tf.constant(False),
                    num_iterations=results.num_iterations + 1,
                    num_objective_evaluations=evaluations,
                    position=position,
                    objective_value=value,
                    objective_gradient=gradient,
                    terms=terms,
                    tried=tried,
                    momentum=momentum,
                    velocity=velocity,
                )

            return [tf.cond(finite, stepped, lambda: undone)]

        return tf.while_loop(is_under_way, advance, [results])[0]

    return base.compiled(run_piece, evaluate)
