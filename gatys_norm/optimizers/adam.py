"""Keras's Adam over any flat value-and-gradient, in the same resumable pieces as `lbfgs`.

It keeps two vectors of the size of x, where L-BFGS keeps two for each correction pair.
"""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable, Collection
from typing import NamedTuple, TypeAlias

import tensorflow as tf

from gatys_norm.optimizers import lbfgs


class AdamResults(NamedTuple):
    """What `lbfgs.State` holds of Adam; the names are those of L-BFGS where they mean the same."""

    converged: tf.Tensor
    failed: tf.Tensor
    num_iterations: tf.Tensor
    num_objective_evaluations: tf.Tensor
    position: tf.Tensor
    objective_value: tf.Tensor
    objective_gradient: tf.Tensor
    momentum: tf.Tensor
    velocity: tf.Tensor


_Piece: TypeAlias = Callable[
    [AdamResults, tf.Tensor, tf.Tensor, tf.Tensor, lbfgs.Data], AdamResults
]


def init(
    value_and_gradient: lbfgs.ValueAndGradient, position: tf.Tensor, data: lbfgs.Data = ()
) -> lbfgs.State:
    """Evaluate the objective once; arguments, result and errors as for `lbfgs.init`."""
    first, scale = lbfgs.first_results(value_and_gradient, position, data)
    none = tf.zeros_like(position)
    results = AdamResults(**first, momentum=none, velocity=none)
    return lbfgs.State(results, scale, iterations=0, restarts=0)


def minimize(
    value_and_gradient: lbfgs.ValueAndGradient,
    state: lbfgs.State,
    iterations: int,
    learning_rate: float,
    stop_at_multiples_of: Collection[int] = (),
    on_piece: lbfgs.OnPiece | None = None,
    data: lbfgs.Data = (),
) -> lbfgs.Minimum:
    """Go on from `state` until `iterations` are done, one evaluation each.

    Args:
      value_and_gradient: (x, *data) → (scalar, gradient like x), x being flat; a `tf.function`.
      state: what `begin`, or an earlier run, returned.
      iterations: Adam's iterations in all.
      learning_rate: about the largest step of a value of x, in its own unit.
      stop_at_multiples_of: as for `lbfgs.minimize`, and so are the others.

    Returns:
      `lbfgs.Minimum`; "stalled" if a step leads to a value or gradient that is not finite, which
      is undone; "converged" if the gradient vanishes.
    """
    keras_adam = _keras_adam(state.position.shape[0], state.position.dtype)
    run_piece = _compile(value_and_gradient, keras_adam)

    def advance(state: lbfgs.State, count: int) -> tuple[lbfgs.State, int]:
        before = int(state.results.num_iterations)
        with keras_adam.lock:
            results = run_piece(
                state.results,
                tf.constant(state.scale, state.position.dtype),
                tf.constant(learning_rate, state.position.dtype),
                tf.constant(count),
                data,
            )
        done = int(results.num_iterations) - before
        return state._replace(results=results, iterations=state.iterations + done), done

    return lbfgs.run_in_pieces(advance, state, iterations, stop_at_multiples_of, on_piece)


def next_position(state: lbfgs.State, learning_rate: float) -> tf.Tensor:
    """Return x one step on, where a stalled run met what is not finite."""
    keras_adam = _keras_adam(state.position.shape[0], state.position.dtype)
    with keras_adam.lock:
        return keras_adam.step(state.results, learning_rate)[0]


class _KerasAdam:
    """Keras's optimiser of a vector, whose state comes from results and goes back into them.

    Keras keeps it in variables, so only one run at a time may step: the one that has the lock.
    """

    def __init__(self, value_count: int, dtype: tf.DType) -> None:
        self.lock = threading.Lock()
        self._position = tf.keras.Variable(tf.zeros([value_count], dtype), dtype=dtype.name)
        self._optimizer = tf.keras.optimizers.Adam()
        self._optimizer.build([self._position])
        self._momentum, self._velocity = (
            next(variable for variable in self._optimizer.variables if variable.name.endswith(name))
            for name in ("_momentum", "_velocity")
        )

    def step(
        self, results: AdamResults, learning_rate: tf.Tensor | float
    ) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        """Return position, momentum and velocity one step on."""
        own = (self._position, self._momentum, self._velocity)
        kept = (results.position, results.momentum, results.velocity)
        for variable, value in zip(own, kept, strict=True):
            variable.assign(value)
        iterations = self._optimizer.iterations
        iterations.assign(tf.cast(results.num_iterations, iterations.dtype))
        self._optimizer.learning_rate.assign(tf.cast(learning_rate, tf.float32))
        self._optimizer.apply([results.objective_gradient])
        position, momentum, velocity = (tf.identity(variable.value) for variable in own)
        return position, momentum, velocity


_keras_adam = functools.lru_cache(maxsize=8)(_KerasAdam)


@functools.lru_cache(maxsize=8)
def _compile(value_and_gradient: lbfgs.ValueAndGradient, keras_adam: _KerasAdam) -> _Piece:
    @tf.function(autograph=False)
    def run_piece(
        results: AdamResults,
        scale: tf.Tensor,
        learning_rate: tf.Tensor,
        count: tf.Tensor,
        data: lbfgs.Data,
    ) -> AdamResults:
        last = results.num_iterations + count

        def goes_on(results: AdamResults) -> tf.Tensor:
            return ~results.converged & ~results.failed & (results.num_iterations < last)

        def advance(results: AdamResults) -> list[AdamResults]:
            position, momentum, velocity = keras_adam.step(results, learning_rate)
            value, gradient = value_and_gradient(position, *data)
            value, gradient = value * scale, gradient * scale
            finite = tf.math.is_finite(value) & tf.reduce_all(tf.math.is_finite(gradient))
            evaluations = results.num_objective_evaluations + 1
            stepped = AdamResults(
                converged=tf.reduce_all(gradient == 0),
                failed=tf.constant(False),
                num_iterations=results.num_iterations + 1,
                num_objective_evaluations=evaluations,
                position=position,
                objective_value=value,
                objective_gradient=gradient,
                momentum=momentum,
                velocity=velocity,
            )
            back = results._replace(failed=tf.constant(True), num_objective_evaluations=evaluations)
            chosen = [tf.where(finite, a, b) for a, b in zip(stepped, back, strict=True)]
            return [AdamResults(*chosen)]

        return tf.while_loop(goes_on, advance, [results])[0]

    return run_piece
