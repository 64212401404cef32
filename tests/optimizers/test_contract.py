"""What every optimizer keeps to: L-BFGS with either line search, and Adam.

What is particular to one of them is in test_lbfgs.py and test_adam.py.
"""

import threading
from unittest import mock

import numpy as np
import pytest
import tensorflow as tf
from helpers.minimizing import (
    FOREVER,
    METHODS,
    ONE_ITERATION,
    STARTS,
    VALUES,
    WIDE_SPECTRUM,
    assert_same_state,
    begin,
    counted,
    ground,
    rosenbrock,
    run,
    solve,
    through_numpy,
)
from helpers.rounding import gamma

from gatys_norm.optimizers import base

pytestmark = pytest.mark.numeric

FELL = 1e-6  # what 200 iterations leave of the quadratic's value, at most: six digits
# The difference, the square, the curvature and its half, the factor, the scale and its division.
ROUNDINGS = VALUES + 10
every_method = pytest.mark.parametrize("method", METHODS)


@pytest.fixture(scope="module", autouse=True)
def traced():
    """Trace each method before the first test, which would have to pay for it."""
    for method in METHODS:
        solve(method, "quadratic")


# --- what it finds and counts -------------------------------------------------------------------


@every_method
def test_goes_down_to_the_known_minimum(method):
    found = solve(method, "quadratic")
    assert found.minimum.status in ("completed", "converged")
    assert found.state.value <= FELL * found.states[0].value
    # The value is ½ Σ cᵢ (xᵢ − 1)², rounded, and no curvature is below 1.
    most = np.sqrt(2 * found.state.value * (1 + gamma(ROUNDINGS)))
    np.testing.assert_allclose(found.state.position, 1, rtol=0, atol=most)


@every_method
@pytest.mark.parametrize("problem", STARTS)
def test_counts_are_those_of_the_function_itself(method, problem):
    found = solve(method, problem)
    assert found.states[0].evaluations == 1
    assert found.state.evaluations == found.evaluated
    assert [state.iterations for state in found.states] == [*range(found.state.iterations + 1)]
    assert found.minimum.status == "converged" or found.state.iterations == 200
    assert found.state.restarts == 0


@every_method
def test_value_and_gradient_are_those_of_the_position_unscaled(method):
    found = solve(method, "quadratic")
    for state in (*found.states[:8], found.state):
        away = state.position.numpy() - 1
        both_sides = 2 * gamma(ROUNDINGS)  # of each, and nothing cancels
        assert state.value == pytest.approx(np.sum(WIDE_SPECTRUM / 2 * away**2), rel=both_sides)
        gradient = state.results.objective_gradient / state.scale
        np.testing.assert_allclose(gradient, WIDE_SPECTRUM * away, rtol=both_sides)


# --- the objective's size -----------------------------------------------------------------------


@every_method
@pytest.mark.parametrize("problem", [ground, rosenbrock])
def test_begin_scales_the_gradient_to_a_root_mean_square_of_one(method, problem):
    start = np.linspace(-2, 3, VALUES)
    state = begin(method, start, problem())
    _, gradient, _ = counted().value_and_gradient(tf.constant(start), problem())
    scaled = state.results.objective_gradient.numpy()
    # A sum of squares and its root, once in the program and once here.
    assert np.sqrt(np.mean(scaled**2)) == pytest.approx(1, rel=2 * gamma(VALUES + 6))
    np.testing.assert_allclose(scaled, gradient * state.scale, rtol=gamma(2))


@every_method
@pytest.mark.parametrize("factor", [1e25, 1e-25])
def test_begin_scales_gradients_whose_squares_leave_float32(method, factor):
    on = ground(curvatures=1.0, factor=factor, dtype="float32")
    state = begin(method, np.zeros(VALUES), on)  # every value of the gradient is −factor
    # The scale, rounded to float32, and its product with the gradient.
    np.testing.assert_allclose(state.results.objective_gradient, -1, rtol=gamma(3, "float32"))
    assert not bool(state.results.converged)


@every_method
@pytest.mark.parametrize("exponent", [-40, 30])
def test_a_power_of_two_times_the_objective_changes_no_bit(method, exponent):
    """All sums and products are the same but for their exponents; Adam's ε sees none of it."""
    expected = solve(method, "rosenbrock").states[40]
    on = rosenbrock(factor=2.0**exponent)
    found = run(method, STARTS["rosenbrock"], 40, on).state
    assert found.scale == expected.scale / 2**exponent
    assert found.value == expected.value * 2**exponent
    assert_same_state(found._replace(scale=expected.scale), expected)


@pytest.mark.parametrize("method", ["unit_step", "adam"])
@pytest.mark.parametrize("factor", [1e6, 1e-6])
def test_the_first_step_does_not_depend_on_the_objectives_size(method, factor):
    """Any factor but a power of two rounds, so that the runs part later on."""
    first, other = (
        run(method, np.full(VALUES, 3.0), 1, ground(curvatures=1.0, factor=size)).state.position
        for size in (1.0, factor)
    )
    # Of the step, which is 1 or less, the gradient's roundings, the scale's and Adam's dozen.
    np.testing.assert_allclose(other, first, rtol=0, atol=2 * gamma(ROUNDINGS + VALUES + 12))
    assert np.all(np.abs(first - 3) > 0.1)


@every_method
def test_data_reaches_the_objective_and_a_change_of_it_traces_nothing(method):
    solve(method, "quadratic")
    traces = counted().traces
    for minimum in (np.linspace(0, 2, VALUES), np.linspace(3, -1, VALUES)):
        on = ground(curvatures=1.0, minimum=minimum)
        found = run(method, np.ones(VALUES), 200, on)
        assert found.state.value <= FELL * found.states[0].value
        most = np.sqrt(2 * found.state.value * (1 + gamma(ROUNDINGS)))
        np.testing.assert_allclose(found.state.position, minimum, rtol=0, atol=most)
    assert counted().traces == traces


# --- pieces -------------------------------------------------------------------------------------


@every_method
def test_pieces_of_one_iteration_equal_one_long_run(method):
    pieces = solve(method, "rosenbrock")
    long = solve(method, "rosenbrock", seconds=FOREVER)
    assert len(pieces.states) > 50
    assert len(long.states) == 3  # begun, one iteration to learn the pace, all the others
    assert_same_state(pieces.state, long.state)
    assert pieces.minimum.status == long.minimum.status


@every_method
def test_no_piece_traces_anything_anew(method):
    traces = solve(method, "rosenbrock").traces[1:]
    assert len(traces) > 50
    assert len(set(traces)) == 1


@every_method
def test_pieces_end_at_the_multiples_asked_for(method):
    found = run(method, STARTS["rosenbrock"], 33, rosenbrock(), stop_at_multiples_of=(7, 10))
    stops = [state.iterations for state in found.states]
    assert stops == [0, 1, 7, 10, 14, 20, 21, 28, 30, 33]
    assert found.minimum.status == "completed"
    assert found.seconds == sorted(found.seconds)
    assert found.minimum.seconds == found.seconds[-1] > 0


@every_method
def test_a_run_stopped_saved_and_resumed_equals_one_that_was_not(method):
    expected = solve(method, "rosenbrock").states[60]
    first = run(
        method,
        STARTS["rosenbrock"],
        200,
        rosenbrock(),
        stop=lambda state: state.iterations >= 23,
        stop_at_multiples_of=(23,),
    )
    assert (first.minimum.status, first.state.iterations) == ("interrupted", 23)
    assert_same_state(first.state, solve(method, "rosenbrock").states[23])
    second = run(method, through_numpy(first.state), 60, rosenbrock())
    assert second.minimum.status == "completed"
    assert_same_state(second.state, expected)
    assert second.state.evaluations == first.evaluated + second.evaluated


@every_method
def test_it_is_too_late_to_interrupt_at_the_end(method):
    found = run(
        method, STARTS["rosenbrock"], 9, rosenbrock(), stop=lambda state: state.iterations == 9
    )
    assert (found.minimum.status, found.state.iterations) == ("completed", 9)


@every_method
def test_nothing_is_done_where_the_iterations_are_used_up(method):
    done = solve(method, "quadratic").states[20]
    found = run(method, done, 20, ground())
    assert found.minimum.status == "completed"
    assert_same_state(found.state, done)
    assert (found.evaluated, len(found.states)) == (0, 1)


@every_method
def test_runs_in_two_threads_do_not_see_each_other(method):
    """Each call is a piece of its own, so that the two take turns."""
    on, iterations = rosenbrock(), 40
    starts = [STARTS["rosenbrock"], np.linspace(-1, 1, VALUES)]
    expected = [run(method, start, iterations, on).state for start in starts]
    function, found = counted().value_and_gradient, {}

    def work(index):
        state = begin(method, starts[index], on)
        for count in range(1, iterations + 1):
            state = base.minimize(METHODS[method], function, state, count, data=(on,)).state
        found[index] = state

    threads = [threading.Thread(target=work, args=[index]) for index in (0, 1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for index, state in enumerate(expected):
        assert_same_state(found[index], state)


# --- what a piece consumes ----------------------------------------------------------------------


@every_method
def test_arrays_of_a_state_and_those_it_was_made_from_outlive_the_next_piece(method):
    state = through_numpy(solve(method, "rosenbrock").states[20])
    arrays = state.arrays()
    results = METHODS[method].results_from(arrays)
    copies = {name: array.copy() for name, array in arrays.items()}
    function, on = counted().value_and_gradient, rosenbrock()
    for consumed in (state, state._replace(results=results)):
        base.minimize(METHODS[method], function, consumed, 30, data=(on,))
        for name, array in arrays.items():
            np.testing.assert_array_equal(array, copies[name], name)


@every_method
def test_an_exception_of_the_objective_leaves_the_state_as_it_was(method):
    """A piece of one iteration, compiled or not, which can be done again."""
    solved, on = solve(method, "rosenbrock"), rosenbrock()
    state = through_numpy(solved.states[20])

    def fails(x, on):
        raise KeyboardInterrupt

    def fails_in_a_graph(x, on):
        with tf.control_dependencies([tf.debugging.Assert(x[0] > 1e9, [x])]):
            return counted().trace(tf.identity(x), on)

    for function, error in (
        (fails, KeyboardInterrupt),
        (tf.function(fails_in_a_graph, autograph=False), tf.errors.InvalidArgumentError),
    ):
        with pytest.raises(error):
            METHODS[method].advance(function, state, 1, (on,), may_restart=True)
        assert_same_state(state, solved.states[20])
    function = counted().value_and_gradient
    state, count = METHODS[method].advance(function, state, 1, (on,), may_restart=True)
    assert count == 1
    assert_same_state(state, solved.states[21])


@every_method
def test_arrays_without_copies_hold_the_same_and_share_their_memory(method):
    state = solve(method, "rosenbrock").states[20]
    copies, views = state.arrays(), state.arrays(copy=False)
    assert copies.keys() == views.keys()
    for name, view in views.items():
        np.testing.assert_array_equal(view, copies[name], name)
        assert (view.dtype, view.shape) == (copies[name].dtype, copies[name].shape)
        assert np.shares_memory(view, np.asarray(getattr(state.results, name)))
        assert not np.shares_memory(view, copies[name])


# --- an objective that is no tf.function --------------------------------------------------------


def not_compiled(x, on):
    """Return what `counted` does, and refuse to be traced."""
    assert tf.executing_eagerly()
    return counted().trace(x, on)


@every_method
@pytest.mark.parametrize("problem", STARTS)
def test_an_objective_that_is_not_compiled_gives_the_same(method, problem):
    """Up to rounding, which optimizing a graph changes; whatever the pieces, bit for bit."""
    on = {"quadratic": ground, "rosenbrock": rosenbrock}[problem]()
    pieces = run(method, STARTS[problem], 12, on, ONE_ITERATION, not_compiled)
    assert pieces.evaluated == pieces.state.evaluations
    for found, expected in zip(pieces.states[:6], solve(method, problem).states, strict=False):
        np.testing.assert_allclose(found.position, expected.position, rtol=1e-9)
        assert found.evaluations == expected.evaluations
    long = run(method, STARTS[problem], 12, on, FOREVER, not_compiled)
    assert_same_state(long.state, pieces.state)


@every_method
def test_no_iterations_of_an_objective_that_is_not_compiled_are_no_evaluations(method):
    state = through_numpy(solve(method, "rosenbrock").states[20])
    after, count = METHODS[method].advance(
        mock.Mock(side_effect=AssertionError), state, 0, (), True
    )
    assert count == 0
    assert_same_state(after, solve(method, "rosenbrock").states[20])


# --- ways to end --------------------------------------------------------------------------------


@every_method
def test_a_vanishing_gradient_at_the_start_is_converged(method):
    found = run(method, np.ones(VALUES), 50, ground())
    assert found.minimum.status == "converged"
    assert (found.state.iterations, found.state.evaluations) == (0, 1)
    assert len(found.states) == 1  # no piece
    assert found.evaluated == 1


@every_method
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("where", ["spoilt_value", "spoilt_gradient"])
def test_a_start_that_is_not_finite_is_refused(method, where, bad):
    with pytest.raises(FloatingPointError, match="not finite at the start"):
        begin(method, np.zeros(VALUES), ground(wall=-1.0, **{where: bad}))


@every_method
@pytest.mark.parametrize("bad", [np.nan, np.inf])
@pytest.mark.parametrize("where", ["spoilt_value", "spoilt_gradient"])
def test_no_position_is_lost_to_values_that_are_not_finite(method, where, bad):
    """The way to the minimum at 1 leads into a region, beyond mean 0.5, without finite values."""
    on = ground(wall=0.5, **{where: bad})
    found = run(method, np.zeros(VALUES), 100, on, stop_at_multiples_of=(1,))
    assert found.minimum.status in ("stalled", "converged")  # the latter: pressed against the wall
    assert 0 < found.state.iterations < 100
    for state in found.states:
        assert np.mean(state.position) <= 0.5 + gamma(VALUES)  # which the program adds up too
        assert all(np.isfinite(value).all() for value in state.arrays().values())
    assert found.state.value <= found.states[0].value


# --- another objective from the same place ------------------------------------------------------


@every_method
def test_reevaluate_keeps_place_memory_and_scale_and_counts_one(method):
    before = solve(method, "quadratic").states[12]
    stuck = before._replace(results=before.results._replace(failed=tf.constant(True)))
    after = base.reevaluate(counted().value_and_gradient, stuck, (ground(factor=2.0),))
    both_sides = 2 * gamma(ROUNDINGS)
    assert after.value == pytest.approx(2 * before.value, rel=both_sides)
    np.testing.assert_allclose(
        after.results.objective_gradient, 2 * before.results.objective_gradient, rtol=both_sides
    )
    assert after.evaluations == before.evaluations + 1
    assert after[1:] == before[1:]
    assert not bool(after.results.failed)
    assert not bool(after.results.converged)
    rescaled = base.reevaluate(
        counted().value_and_gradient, stuck, (ground(factor=2.0),), unit_ratio=4.0
    )
    assert rescaled.scale == 4 * before.scale
    assert rescaled.value == pytest.approx(after.value)  # value is that of the objective
    changed = {
        "failed",
        "num_objective_evaluations",
        "objective_value",
        "objective_gradient",
        "tried",
    }
    for name in set(before.results._fields) - changed:
        expected = getattr(before.results, name)
        np.testing.assert_array_equal(getattr(after.results, name), expected, name)
