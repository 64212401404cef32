"""Adam, as Keras has it, over any flat value-and-gradient, in the same resumable pieces as `lbfgs`.

It keeps two vectors of the size of x, where L-BFGS keeps two for each correction pair.
"""

import functools
from typing import NamedTuple

import tensorflow as tf

from gatys_norm import lbfgs

MOMENTUM, VELOCITY, EPSILON = 0.9, 0.999, 1e-7  # β₁, β₂ and ε as in Keras


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


def begin(value_and_gradient, position, data=()):
    """Evaluate the objective once; arguments, result and errors as for `lbfgs.begin`."""
    first, scale = lbfgs.first_results(value_and_gradient, position, data)
    none = tf.zeros_like(position)
    results = AdamResults(**first, momentum=none, velocity=none)
    return lbfgs.State(results, scale, iterations=0, restarts=0)


def minimize(
    value_and_gradient,
    state,
    iterations,
    learning_rate,
    stop_at_multiples_of=(),
    on_piece=None,
    data=(),
):
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
    run_piece = _compile(value_and_gradient)

    def advance(state, count):
        before = int(state.results.num_iterations)
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


def next_position(state, learning_rate):
    """Return x one step on, where a stalled run met what is not finite."""
    return _step(state.results, learning_rate)[0]


@functools.lru_cache(maxsize=8)
def _compile(value_and_gradient):
    @tf.function(autograph=False)
    def run_piece(results, scale, learning_rate, count, data):
        last = results.num_iterations + count

        def goes_on(results):
            return ~results.converged & ~results.failed & (results.num_iterations < last)

        def advance(results):
            position, momentum, velocity = _step(results, learning_rate)
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


def _step(results, learning_rate):
    """Return position, momentum and velocity one step on (Kingma and Ba, ICLR 2015)."""
    gradient = results.objective_gradient
    count = tf.cast(results.num_iterations + 1, gradient.dtype)
    momentum = results.momentum + (1 - MOMENTUM) * (gradient - results.momentum)
    velocity = results.velocity + (1 - VELOCITY) * (gradient**2 - results.velocity)
    rate = learning_rate * tf.sqrt(1 - VELOCITY**count) / (1 - MOMENTUM**count)
    return results.position - rate * momentum / (tf.sqrt(velocity) + EPSILON), momentum, velocity
