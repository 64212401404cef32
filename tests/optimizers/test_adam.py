"""What is particular to Adam: its steps, against the paper and against Keras, and how it ends.

What it has in common with L-BFGS is in test_optimizer_contract.py.
"""

import itertools

import numpy as np
import pytest
import tensorflow as tf
from helpers.minimizing import (
    ONE_ITERATION,
    RATE,
    VALUES,
    assert_same_state,
    counted,
    ground,
    run,
)
from helpers.rounding import gamma, unit

from gatys_norm.optimizers import adam, base

pytestmark = pytest.mark.numeric

START = np.linspace(-3, 4, VALUES)
BETA_1, BETA_2, EPSILON = 0.9, 0.999, 1e-7
# Keras holds β₂ in float32: 1 − β₂ᵗ then changes relatively by up to 1 / (1 − β₂) times as much,
# and so does the step, whatever the type of x. β₁ and the rate matter a hundredth of that.
STEP_ERROR = 1.1 * unit("float32") / (1 - BETA_2)


def steps(dtype="float64", iterations=20, **more):
    """Return the states of a run, one iteration a piece."""
    return run(
        "adam", START.astype(dtype), iterations, ground(dtype=dtype), ONE_ITERATION, **more
    ).states


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_every_step_is_that_of_the_algorithm(dtype):
    """Algorithm 1 of Kingma and Ba with the bias corrections of the end of its section 2.

    From each state to the next, so that no rounding adds up.
    """
    states = steps(dtype)
    assert len(states) == 21
    assert not np.any([states[0].results.momentum, states[0].results.velocity])
    for t, (before, after) in enumerate(itertools.pairwise(states), 1):
        x, gradient, first, second = (
            np.asarray(value, np.float64)
            for value in (
                before.position,
                before.results.objective_gradient,
                before.results.momentum,
                before.results.velocity,
            )
        )
        # A difference, a product with a constant held in float32, a sum.
        few = gamma(4, dtype) + 10 * unit("float32")
        sizes = np.abs(first) + np.abs(gradient)
        first = BETA_1 * first + (1 - BETA_1) * gradient
        np.testing.assert_allclose(after.results.momentum, first, rtol=0, atol=few * sizes.max())
        sizes = second + gradient**2
        second = BETA_2 * second + (1 - BETA_2) * gradient**2
        np.testing.assert_allclose(after.results.velocity, second, rtol=0, atol=few * sizes.max())
        first, second = (
            np.asarray(value, np.float64)
            for value in (after.results.momentum, after.results.velocity)
        )
        step = RATE * np.sqrt(1 - BETA_2**t) / (1 - BETA_1**t)
        step *= first / (np.sqrt(second) + EPSILON)
        error = (STEP_ERROR + gamma(10, dtype)) * np.abs(step) + unit(dtype) * np.abs(x)
        assert after.position.dtype == dtype
        assert np.all(np.abs(after.position - (x - step)) <= error)


def test_every_step_is_that_of_keras():
    """In float32, with the gradients of the states themselves."""
    states = steps("float32", 12)
    variable = tf.keras.Variable(states[0].position)
    keras_adam = tf.keras.optimizers.Adam(RATE)
    keras_adam.build([variable])
    error = np.zeros(VALUES)
    for before, after in itertools.pairwise(states):
        keras_adam.apply([before.results.objective_gradient])
        # Both round on their own: each step, of the size that it has, and each sum.
        step = np.abs(after.position - before.position)
        error += 2 * (STEP_ERROR + gamma(20, "float32")) * step
        error += 2 * unit("float32") * np.abs(after.position)
        assert np.all(np.abs(after.position - variable.value) <= error)


def test_the_first_step_is_the_rate_against_the_gradients_sign():
    before, after = steps(iterations=1, learning_rate=0.25)
    gradient = before.results.objective_gradient.numpy()
    damped = gradient / (np.abs(gradient) + EPSILON / np.sqrt(1 - BETA_2))
    np.testing.assert_array_equal(np.sign(gradient), np.sign(START - 1))
    np.testing.assert_allclose(
        after.position, START - 0.25 * damped, rtol=0, atol=0.25 * STEP_ERROR + gamma(20)
    )
    assert np.all(damped * np.sign(gradient) > 0.999)  # ε takes next to nothing


def test_small_steps_go_down_further_at_an_evaluation_an_iteration():
    found = run("adam", START, 600, ground(), learning_rate=0.05)
    assert found.minimum.status == "completed"
    assert (found.state.iterations, found.state.restarts) == (600, 0)
    assert found.state.evaluations == found.evaluated == 601
    assert found.state.value < 1e-4 * found.states[0].value  # the region of the minimum, no more


def test_another_rate_traces_nothing_anew():
    steps()
    traces = counted().traces
    assert steps(learning_rate=0.01)[-1].value > steps()[-1].value
    assert counted().traces == traces


# --- ways to end --------------------------------------------------------------------------------


def flat_beyond_two(x):
    """Σ max(x − 2, 0): its gradient vanishes where all are below 2."""
    value = tf.reduce_sum(tf.maximum(x - 2, 0))
    return value, tf.cast(x > 2, x.dtype), tf.stack([value])


def test_a_gradient_that_vanishes_on_the_way_is_converged():
    function = tf.function(flat_beyond_two, autograph=False)
    optimizer = adam.Adam(RATE)
    start = optimizer.init(function, tf.constant(np.full(5, 4.0)))
    minimum = base.minimize(optimizer, function, start, 200)
    assert minimum.status == "converged"
    assert 0 < minimum.state.iterations < 200
    assert minimum.state.evaluations == minimum.state.iterations + 1
    assert minimum.state.value == 0
    assert np.all(minimum.state.position <= 2)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("where", ["spoilt_value", "spoilt_gradient"])
def test_a_step_to_what_is_not_finite_is_undone_and_stalls(where, bad):
    """The way from 0 to the minimum at 1 leads into a region, beyond mean 0.5, that is not."""
    start, more = np.zeros(VALUES), {"learning_rate": 0.07}
    sound = run("adam", start, 20, ground(), ONE_ITERATION, **more).states
    last = next(state for state in sound if np.mean(state.position) > 0.5).iterations - 1
    on = ground(wall=0.5, **{where: bad})
    found = run("adam", start, 20, on, **more)
    assert found.minimum.status == "stalled"
    undone = {"failed": tf.constant(True), "num_objective_evaluations": tf.constant(last + 2)}
    undone["tried"] = found.state.results.tried  # (value, slope, terms) of the step
    assert not np.isfinite(undone["tried"]).all()
    expected = sound[last]._replace(results=sound[last].results._replace(**undone))
    assert_same_state(found.state, expected)
    # Going on stalls again at once, at the same place.
    again = run("adam", found.state, 20, on, **more)
    assert again.minimum.status == "stalled"
    assert_same_state(again.state, found.state)


def test_what_is_kept_is_four_vectors_and_no_correction_pairs():
    sizes = {name: value.shape.rank for name, value in steps()[-1].results._asdict().items()}
    vectors = [name for name, rank in sizes.items() if rank == 1]
    assert {*vectors} - {"terms", "tried"} == {
        *("position", "objective_gradient", "momentum", "velocity"),
    }
    assert max(sizes.values()) == 1
