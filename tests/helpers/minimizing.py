"""A function to minimize, whose properties are all data, and the methods that minimize it.

Tracing L-BFGS takes two seconds of CPU time. All tests of a file therefore share its graphs: they
differ in the `Ground`, which is data, and not in the function.
"""

import dataclasses
import functools
from typing import NamedTuple

import numpy as np
import pytest
import tensorflow as tf

from gatys_norm.optimizers import adam, base, lbfgs
from helpers.rounding import gamma, squared_distance_error, unit

VALUES = 20
HISTORY = 10
RATE = 0.3
WIDE_SPECTRUM = np.logspace(0, 3, VALUES)
FOREVER, ONE_ITERATION = 1e9, 0.0  # seconds a piece may take


class Ground(NamedTuple):
    """The function factor · (½ Σ cᵢ (xᵢ − mᵢ)² + valley · R(x) + noise · sin(10⁷ Σ xᵢ)).

    R is the chained Rosenbrock function, whose minimum is 0 at all ones. The gradient knows
    nothing of the noise. Where the mean of x is beyond the wall, `spoilt_value` is added to the
    value, and `spoilt_gradient` to one value of the gradient.
    """

    curvatures: tf.Tensor
    minimum: tf.Tensor
    valley: tf.Tensor
    noise: tf.Tensor
    factor: tf.Tensor
    wall: tf.Tensor
    spoilt_value: tf.Tensor
    spoilt_gradient: tf.Tensor


def ground(
    curvatures=WIDE_SPECTRUM,
    minimum=1.0,
    valley=0.0,
    noise=0.0,
    factor=1.0,
    wall=np.inf,
    spoilt_value=0.0,
    spoilt_gradient=0.0,
    dtype="float64",
):
    """Return a `Ground`: where nothing else is said, ½ Σ cᵢ (xᵢ − 1)², its condition 1000."""
    vectors = (np.broadcast_to(vector, [VALUES]) for vector in (curvatures, minimum))
    numbers = (valley, noise, factor, wall, spoilt_value, spoilt_gradient)
    return Ground(*(tf.constant(value, dtype) for value in (*vectors, *numbers)))


def rosenbrock(**traits):
    """Return a `Ground` that is the chained Rosenbrock function."""
    return ground(curvatures=0.0, valley=1.0, **traits)


STARTS = {
    "quadratic": np.zeros(VALUES),
    "rosenbrock": np.tile([-1.2, 1.0], VALUES // 2),
}
GROUNDS = {"quadratic": ground, "rosenbrock": rosenbrock}


def value_of(x, on):
    """Compute the function without its wall."""
    quadratic = tf.reduce_sum(on.curvatures / 2 * (x - on.minimum) ** 2)
    valley = tf.reduce_sum(100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2)
    noise = tf.sin(1e7 * tf.stop_gradient(tf.reduce_sum(x)))
    return on.factor * (quadratic + on.valley * valley + on.noise * noise)


def value_error(x, on):
    """Return by how much rounding may change `value_of`, absolutely, without noise.

    Of the quadratic, a sum of numbers above 0, n − 1 additions and ten roundings in each. Of the
    valley, two squared distances whose parts cancel. The factor is the last rounding.
    """
    dtype = on.factor.dtype
    x = np.asarray(x, np.float64)
    curvatures, minimum = (np.asarray(value, np.float64) for value in (on.curvatures, on.minimum))
    quadratic = gamma(VALUES + 10, dtype) * np.sum(curvatures / 2 * (x - minimum) ** 2)
    squares = x[:-1] ** 2
    valley = 100 * squared_distance_error(x[1:], squares, dtype, error=unit(dtype) * squares)
    valley += squared_distance_error(1, x[:-1], dtype)
    valley *= 1 + gamma(4, dtype)  # 100 times, and the sums put together
    valley += gamma(4, dtype) * np.sum(100 * (x[1:] - squares) ** 2 + (1 - x[:-1]) ** 2)
    return float(on.factor) * (quadratic + float(on.valley) * valley)


class Counted:
    """A compiled value-and-gradient that counts how often it is traced and how often it runs."""

    def __init__(self, value=value_of):
        self.value = value
        self.traces = 0
        self.runs = tf.Variable(0)
        self.value_and_gradient = tf.function(self.trace, autograph=False)

    def trace(self, x, on):
        self.traces += 1
        self.runs.assign_add(1)
        with tf.GradientTape() as tape:
            tape.watch(x)
            value = self.value(x, on)
        gradient = tape.gradient(value, x)
        beyond = tf.reduce_mean(x) > on.wall
        spoilt = tf.one_hot(3, VALUES, on.spoilt_gradient, tf.zeros([], x.dtype))
        value = tf.where(beyond, value + on.spoilt_value, value)
        return (
            value,
            tf.where(beyond, gradient + spoilt, gradient),
            tf.stack([value, -value]) / on.factor,
        )


@functools.cache
def counted():
    """Return the `Counted` of this process, which is made when the first test needs it."""
    return Counted()


METHODS = {name: lbfgs.LBFGS(HISTORY, name) for name in ("unit_step", "hager_zhang")}
METHODS |= {"adam": adam.Adam(RATE)}


class Run(NamedTuple):
    """A finished minimization, and its states at the start and after every piece.

    `evaluated` is how often its function says that it ran, `traces` how often it was traced.
    """

    minimum: base.Minimum
    evaluated: int
    states: list
    seconds: list
    traces: list

    @property
    def state(self):
        """The last state."""
        return self.minimum.state


def begin(method, start, on):
    """Return the first state of a method, from x = `start`."""
    function = counted().value_and_gradient
    return METHODS[method].init(function, tf.constant(start, on.factor.dtype), (on,))


def run(
    method,
    start,
    iterations,
    on,
    seconds=FOREVER,
    objective=None,
    stop=None,
    stop_at_multiples_of=(),
    **changes,
):
    """Minimize from `start`, an x or a state.

    Args:
      method: one of `METHODS`.
      start: x, or a state, of which a copy is consumed.
      iterations: in all.
      on: `Ground`.
      seconds: how long a piece may take; 0 is one iteration.
      objective: what to run, if not the compiled function that all share.
      stop: state → whether to interrupt.
      stop_at_multiples_of: see `base.minimize`.
      changes: settings of the method.

    Returns:
      `Run`.
    """
    function = objective or counted().value_and_gradient
    before = int(counted().runs)
    state = start if isinstance(start, base.State) else begin(method, start, on)
    states, times, traces = [through_numpy(state)], [0.0], [counted().traces]

    def on_piece(state, elapsed):
        states.append(through_numpy(state))
        times.append(elapsed)
        traces.append(counted().traces)
        return stop is not None and stop(state)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(base, "SECONDS_PER_PIECE", seconds)
        minimum = base.minimize(
            dataclasses.replace(METHODS[method], **changes),
            function,
            through_numpy(state),
            iterations,
            stop_at_multiples_of,
            on_piece,
            (on,),
        )
    return Run(minimum, int(counted().runs) - before, states, times, traces)


@functools.cache
def solve(method, problem, iterations=200, seconds=ONE_ITERATION, dtype="float64"):
    """Run a problem, one iteration per piece; the result is cached for all tests."""
    return run(method, STARTS[problem], iterations, GROUNDS[problem](dtype=dtype), seconds)


def assert_same_state(actual, expected):
    """Every tensor and every count agree bit for bit."""
    for name, value in expected.results._asdict().items():
        actual_value = getattr(actual.results, name)
        assert actual_value.dtype == value.dtype, name
        assert actual_value.numpy().tobytes() == value.numpy().tobytes(), name
    assert actual[1:] == expected[1:]


def through_numpy(state):
    """Take a state apart as a checkpoint does, and put it together again."""
    arrays = {name: np.array(value) for name, value in state.results._asdict().items()}
    tensors = {name: tf.constant(value) for name, value in arrays.items()}
    return state._replace(results=type(state.results)(**tensors))
