"""Adam: against NumPy and against Keras, in pieces, resumed, and every way it can end."""

import functools
import itertools
import threading

import numpy as np
import pytest
import tensorflow as tf

from gatys_norm import adam, lbfgs

CURVATURES = np.logspace(0, 3, 40)
START = np.linspace(-3, 4, 40)
RATE = 0.3
FOREVER, ONE_ITERATION = 1e9, 0.0  # seconds a piece may take


class Counted:
    """A compiled value-and-gradient that counts how often it is traced and how often it runs."""

    def __init__(self, function):
        self.traces = 0
        self.runs = tf.Variable(0)

        def trace(x, *data):
            self.traces += 1
            self.runs.assign_add(1)
            return function(x, *data)

        self.value_and_gradient = tf.function(trace, autograph=False)


counted = functools.cache(Counted)


def quadratic(x):
    """½ Σ wᵢ (xᵢ − 1)² and its gradient; the minimum is 0 at all ones."""
    curvatures = tf.constant(CURVATURES, x.dtype)
    return tf.reduce_sum(curvatures / 2 * (x - 1) ** 2), curvatures * (x - 1)


def scaled_quadratic(x, factor):
    value, gradient = quadratic(x)
    return factor * value, factor * gradient


def numpy_adam(start, iterations, rate=RATE, beta_1=0.9, beta_2=0.999, epsilon=1e-7):
    """Algorithm 1 of Kingma and Ba with the bias corrections of the end of its section 2.

    The gradient is divided by the root mean square of the first one, as for L-BFGS.
    """
    x = start.astype(np.float64)
    scale = 1 / np.sqrt(np.mean((CURVATURES * (x - 1)) ** 2))
    first = second = np.zeros_like(x)
    places = [x]
    for t in range(1, iterations + 1):
        gradient = scale * CURVATURES * (x - 1)
        first = beta_1 * first + (1 - beta_1) * gradient
        second = beta_2 * second + (1 - beta_2) * gradient**2
        step = rate * np.sqrt(1 - beta_2**t) / (1 - beta_1**t)
        x = x - step * first / (np.sqrt(second) + epsilon)
        places.append(x)
    return places


def run(iterations, start=START, function=quadratic, seconds=FOREVER, rate=RATE, data=(), **more):
    """Minimise from `start`, an x or a state; returns (minimum, the states after each piece)."""
    value_and_gradient = counted(function).value_and_gradient
    if not isinstance(start, lbfgs.State):
        start = adam.begin(value_and_gradient, tf.constant(start), data)
    states = [start]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lbfgs, "SECONDS_PER_PIECE", seconds)
        minimum = adam.minimize(
            value_and_gradient,
            start,
            iterations,
            rate,
            on_piece=lambda state, _: states.append(state),
            data=data,
            **more,
        )
    return minimum, states


def assert_same_state(actual, expected):
    """Every tensor and every count agree bit for bit."""
    for name, value in expected.results._asdict().items():
        got = getattr(actual.results, name)
        assert got.dtype == value.dtype, name
        assert got.numpy().tobytes() == value.numpy().tobytes(), name
    assert actual[1:] == expected[1:]


def through_numpy(state):
    """Take a state apart as a checkpoint does, and put it together again."""
    arrays = {name: np.array(value) for name, value in state.results._asdict().items()}
    results = adam.AdamResults(**{name: tf.constant(value) for name, value in arrays.items()})
    return state._replace(results=results)


# --- steps --------------------------------------------------------------------------------------


# Keras holds its rate in float32.
@pytest.mark.parametrize(("dtype", "tolerance"), [("float64", 1e-4), ("float32", 1e-3)])
def test_every_step_is_that_of_the_algorithm(dtype, tolerance):
    _, states = run(60, START.astype(dtype), seconds=ONE_ITERATION)
    expected = numpy_adam(START, 60)
    assert len(states) == len(expected) == 61
    for state, place in zip(states, expected, strict=True):
        assert state.position.dtype == dtype
        np.testing.assert_allclose(state.position, place, rtol=0, atol=tolerance)


def test_every_step_is_that_of_keras():
    """In float32, with the gradients of the states themselves, so that no rounding adds up."""
    _, states = run(12, START.astype("float32"), seconds=ONE_ITERATION)
    variable = tf.keras.Variable(states[0].position)
    keras_adam = tf.keras.optimizers.Adam(RATE)
    keras_adam.build([variable])
    for before, after in itertools.pairwise(states):
        keras_adam.apply([before.results.objective_gradient])
        np.testing.assert_allclose(after.position, variable.value, rtol=0, atol=1e-4)


def test_the_first_step_is_the_rate_against_the_gradients_sign():
    _, states = run(1, rate=0.25)
    signs = np.sign(START - 1)
    np.testing.assert_allclose(states[1].position, START - 0.25 * signs, rtol=0, atol=1e-3)


def test_finds_the_known_minimum_and_counts_an_evaluation_an_iteration():
    before = int(counted(quadratic).runs)
    minimum, states = run(600, rate=0.05)
    assert minimum.status == "completed"
    assert (minimum.state.iterations, minimum.state.restarts) == (600, 0)
    assert minimum.state.evaluations == int(counted(quadratic).runs) - before == 601
    assert minimum.state.value < 1e-4 * states[0].value
    np.testing.assert_allclose(minimum.state.position, 1, atol=0.05)


def test_value_and_gradient_are_those_of_the_position_unscaled():
    minimum, states = run(7, seconds=ONE_ITERATION)
    for state in (*states, minimum.state):
        value, gradient = quadratic(state.position)
        assert state.value == pytest.approx(float(value), rel=1e-12)
        np.testing.assert_allclose(state.results.objective_gradient / state.scale, gradient)


@pytest.mark.parametrize("factor", [1e12, 1e-12, 2.0**30])
def test_the_objectives_size_does_not_matter(factor):
    """ε would see it, were the objective not brought to one scale first."""
    (expected, _), (minimum, _) = (
        run(40, function=scaled_quadratic, data=(tf.constant(value, tf.float64),))
        for value in (1.0, factor)
    )
    np.testing.assert_allclose(minimum.state.position, expected.state.position, rtol=1e-9)
    assert minimum.state.value == pytest.approx(factor * expected.state.value, rel=1e-9)
    assert minimum.state.scale == pytest.approx(expected.state.scale / factor)


# --- pieces -------------------------------------------------------------------------------------


def test_pieces_of_one_iteration_equal_one_long_run():
    long, few = run(50)
    pieces, many = run(50, seconds=ONE_ITERATION)
    assert (len(few), len(many)) == (3, 51)
    assert_same_state(pieces.state, long.state)


def test_a_run_stopped_saved_and_resumed_equals_one_long_run():
    long, _ = run(50)
    first, _ = run(23)
    second, _ = run(50, through_numpy(first.state))
    assert second.status == "completed"
    assert_same_state(second.state, long.state)


def test_an_interruption_ends_the_run_at_its_piece():
    value_and_gradient = counted(quadratic).value_and_gradient
    minimum = adam.minimize(
        value_and_gradient,
        adam.begin(value_and_gradient, tf.constant(START)),
        50,
        RATE,
        stop_at_multiples_of=(8,),
        on_piece=lambda state, _: state.iterations >= 8,
    )
    assert (minimum.status, minimum.state.iterations) == ("interrupted", 8)
    assert_same_state(minimum.state, run(8)[0].state)


def test_pieces_end_at_the_multiples_asked_for():
    minimum, states = run(33, stop_at_multiples_of=(7, 10))
    stops = [state.iterations for state in states]
    assert stops == [0, 1, 7, 10, 14, 20, 21, 28, 30, 33]
    assert minimum.status == "completed"


def test_nothing_is_done_where_the_iterations_are_used_up():
    done = run(20)[0].state
    before = int(counted(quadratic).runs)
    minimum, states = run(20, done)
    assert (minimum.status, states) == ("completed", [done])
    assert int(counted(quadratic).runs) == before


def test_neither_pieces_nor_another_run_or_rate_trace_anything_anew():
    run(5, seconds=ONE_ITERATION)
    traces = counted(quadratic).traces
    run(9, -START, seconds=ONE_ITERATION, rate=0.01)
    assert counted(quadratic).traces == traces


def test_data_reaches_the_objective():
    half, _ = run(1, function=scaled_quadratic, data=(tf.constant(0.5, tf.float64),))
    assert half.state.value == pytest.approx(0.5 * float(quadratic(half.state.position)[0]))


def test_runs_in_two_threads_do_not_see_each_other():
    starts = [START, -START]
    expected = [run(150, start, seconds=ONE_ITERATION)[0].state for start in starts]
    found, value_and_gradient = {}, counted(quadratic).value_and_gradient

    def work(index):
        state = adam.begin(value_and_gradient, tf.constant(starts[index]))
        for iterations in range(1, 151):  # each call its own piece
            state = adam.minimize(value_and_gradient, state, iterations, RATE).state
        found[index] = state

    threads = [threading.Thread(target=work, args=[index]) for index in (0, 1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for index, state in enumerate(expected):
        assert_same_state(found[index], state)


# --- ways to end --------------------------------------------------------------------------------


def test_a_vanishing_gradient_at_the_start_is_converged():
    minimum, states = run(50, np.ones(40))
    assert minimum.status == "converged"
    assert (minimum.state.iterations, minimum.state.evaluations) == (0, 1)
    assert states == [minimum.state]


def flat_beyond_two(x):
    """Σ max(x − 2, 0): its gradient vanishes where all are below 2."""
    return tf.reduce_sum(tf.maximum(x - 2, 0)), tf.cast(x > 2, x.dtype)


def test_a_gradient_that_vanishes_on_the_way_is_converged():
    minimum, _ = run(200, np.full(5, 4.0), function=flat_beyond_two)
    assert minimum.status == "converged"
    assert 0 < minimum.state.iterations < 200
    assert minimum.state.evaluations == minimum.state.iterations + 1
    assert minimum.state.value == 0
    assert np.all(minimum.state.position <= 2)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("where", ["value", "gradient"])
def test_a_start_that_is_not_finite_is_refused(where, bad):
    def value_and_gradient(x):
        worst = tf.constant(bad, x.dtype)
        return (worst, x) if where == "value" else (quadratic(x)[0], tf.fill([40], worst))

    with pytest.raises(FloatingPointError, match="not finite at the start"):
        adam.begin(value_and_gradient, tf.constant(START))


@pytest.mark.parametrize("bad", [np.nan, np.inf])
@pytest.mark.parametrize("where", ["value", "gradient"])
def test_a_step_to_what_is_not_finite_is_undone_and_stalls(where, bad):
    """The way from 0 to the minimum at 1 leads into a region, beyond mean 0.5, that is not."""

    @tf.function(autograph=False)
    def value_and_gradient(x):
        value, gradient = quadratic(x)
        beyond = tf.reduce_mean(x) > 0.5
        worst = tf.constant(bad, x.dtype)
        if where == "value":
            return tf.where(beyond, worst, value), gradient
        return value, tf.where(beyond & (tf.range(40) == 3), worst, gradient)

    start = adam.begin(value_and_gradient, tf.zeros(40, tf.float64))
    minimum = adam.minimize(value_and_gradient, start, 100, 0.07)
    state = minimum.state
    expected = numpy_adam(np.zeros(40), 100, rate=0.07)
    last = next(index for index, place in enumerate(expected) if place.mean() > 0.5) - 1
    assert minimum.status == "stalled"
    assert (state.iterations, state.evaluations) == (last, last + 2)  # the start, and one in vain
    np.testing.assert_allclose(state.position, expected[last], rtol=0, atol=1e-4)
    np.testing.assert_allclose(
        adam.next_position(state, 0.07), expected[last + 1], rtol=0, atol=1e-4
    )
    assert all(np.isfinite(value).all() for value in state.results)
    # Going on stalls again at once, at the same place.
    again = adam.minimize(value_and_gradient, state, 100, 0.07)
    assert again.status == "stalled"
    assert_same_state(again.state, state)


def test_another_objective_from_the_same_place_keeps_the_moments():
    state = run(12)[0].state
    double = counted(scaled_quadratic).value_and_gradient
    data = (tf.constant(2.0, tf.float64),)
    after = lbfgs.reevaluate(double, state, data)
    assert after.value == pytest.approx(2 * state.value)
    assert after.evaluations == state.evaluations + 1
    np.testing.assert_allclose(
        after.results.objective_gradient, 2 * state.results.objective_gradient
    )
    for name in ("position", "momentum", "velocity", "num_iterations"):
        np.testing.assert_array_equal(getattr(after.results, name), getattr(state.results, name))


def test_what_is_kept_is_four_vectors_and_no_correction_pairs():
    sizes = {name: value.shape.rank for name, value in run(3)[0].state.results._asdict().items()}
    vectors = [name for name, rank in sizes.items() if rank == 1]
    assert vectors == ["position", "objective_gradient", "momentum", "velocity"]
    assert max(sizes.values()) == 1
