"""The L-BFGS driver: known minima, SciPy beside it, pieces, scale, and every way it can end.

Tracing one `minimize` takes over a second, so the objectives, and with them their graphs, are
shared between tests, and `solve` keeps its runs for all tests that read them.
"""

import functools
import itertools
import threading
from typing import NamedTuple

import numpy as np
import pytest
import scipy.optimize
import tensorflow as tf
import tensorflow_probability as tfp
from tensorflow_probability.python.optimizer import bfgs_utils
from tensorflow_probability.python.optimizer import lbfgs as tfp_lbfgs
from tensorflow_probability.python.optimizer.linesearch.hager_zhang import hager_zhang

from gatys_norm import lbfgs

STOCK_LINE_SEARCH_STEP = bfgs_utils.line_search_step
STOCK_SEARCH_DIRECTION = tfp_lbfgs._get_search_direction
STOCK_QUEUE_PUSH = tfp_lbfgs._queue_push
HISTORY = 10
SEARCHES = ("unit_step", "hager_zhang")
WIDE_SPECTRUM = np.logspace(0, 3, 60)
FOREVER, ONE_ITERATION = 1e9, 0.0  # seconds a piece may take


def quadratic(x):
    """½ Σ wᵢ (xᵢ − 1)²; its minimum is 0 at all ones."""
    return tf.reduce_sum(tf.constant(WIDE_SPECTRUM / 2, x.dtype) * (x - 1) ** 2)


def rosenbrock(x):
    """The chained Rosenbrock function; its minimum is 0 at all ones."""
    return tf.reduce_sum(100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2)


PROBLEMS = {
    "quadratic": (quadratic, np.zeros(60)),
    "rosenbrock": (rosenbrock, np.tile([-1.2, 1.0], 5)),
}
CASES = (
    ("quadratic", "float64", "unit_step"),
    ("quadratic", "float64", "hager_zhang"),
    ("rosenbrock", "float64", "unit_step"),
    ("rosenbrock", "float64", "hager_zhang"),
    ("rosenbrock", "float32", "unit_step"),
)


class Counted:
    """A compiled value-and-gradient that counts how often it is traced and how often it runs."""

    def __init__(self, value):
        self.value = value
        self.traces = 0
        self.runs = tf.Variable(0)
        self.value_and_gradient = tf.function(self.trace, autograph=False)

    def trace(self, x, *data):
        self.traces += 1
        self.runs.assign_add(1)
        with tf.GradientTape() as tape:
            tape.watch(x)
            value = self.value(x, *data)
        return value, tape.gradient(value, x)


counted = functools.cache(Counted)


class Run(NamedTuple):
    """A finished minimisation, what its objective counted, and what was so after every piece."""

    minimum: lbfgs.Minimum
    evaluated: int
    states: list
    seconds: list
    traces: list


def run_from(
    value,
    start,
    iterations,
    line_search="unit_step",
    seconds=FOREVER,
    compiled=True,
    data=(),
    **more,
):
    """Minimise `value` from `start`, an x or a state, in pieces of `seconds` or one iteration."""
    objective = counted(value)
    function = objective.value_and_gradient if compiled else objective.trace
    before = int(objective.runs)
    if not isinstance(start, lbfgs.State):
        start = lbfgs.begin(function, tf.constant(start), HISTORY, data)
    states, times, traces = [start], [0.0], []

    def on_piece(state, elapsed):
        states.append(state)
        times.append(elapsed)
        traces.append(objective.traces)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lbfgs, "SECONDS_PER_PIECE", seconds)
        minimum = lbfgs.minimize(
            function, start, iterations, line_search, on_piece=on_piece, data=data, **more
        )
    return Run(minimum, int(objective.runs) - before, states, times, traces)


@functools.cache
def solve(problem, dtype, line_search, seconds=ONE_ITERATION):
    """Run a problem to its end, one iteration a piece."""
    value, start = PROBLEMS[problem]
    return run_from(value, start.astype(dtype), 200, line_search, seconds)


@functools.cache
def solve_from_unusable_memory(line_search, seconds=ONE_ITERATION):
    """Start where the last two gradients were equal, so that TFP's γ = s·y / y·y is 0/0."""
    start = tf.constant(PROBLEMS["quadratic"][1])
    state = lbfgs.begin(counted(quadratic).value_and_gradient, start, HISTORY)
    steps = np.zeros([HISTORY, *start.shape])
    steps[-1] = 1
    results = state.results._replace(
        num_iterations=tf.constant(1), position_deltas=tf.constant(steps)
    )
    return run_from(quadratic, state._replace(results=results), 120, line_search, seconds)


@functools.cache
def solve_with_scipy(problem):
    """Return the value of every evaluation that SciPy's L-BFGS-B makes, and where it ends."""
    value, start = PROBLEMS[problem]
    objective, values = counted(value), []

    def fun(x):
        value, gradient = objective.value_and_gradient(tf.constant(x))
        values.append(float(value))
        return values[-1], gradient.numpy()

    options = {"maxcor": HISTORY, "maxiter": 200, "maxfun": 10_000, "ftol": 0, "gtol": 1e-9}
    end = scipy.optimize.minimize(fun, start, jac=True, method="L-BFGS-B", options=options)
    return values, end


def assert_same_state(actual, expected):
    """Every tensor and every count agree bit for bit."""
    for name, value in expected.results._asdict().items():
        got = getattr(actual.results, name)
        assert got.dtype == value.dtype, name
        assert got.numpy().tobytes() == value.numpy().tobytes(), name
    assert (actual.scale, actual.iterations, actual.restarts) == (
        expected.scale,
        expected.iterations,
        expected.restarts,
    )


def through_numpy(state):
    """Take a state apart as a checkpoint does, and put it together again."""
    arrays = {name: value.numpy() for name, value in state.results._asdict().items()}
    results = lbfgs.LBfgsOptimizerResults(
        **{name: tf.constant(np.array(value)) for name, value in arrays.items()}
    )
    return lbfgs.State(results, state.scale, state.iterations, state.restarts)


# --- known minima -----------------------------------------------------------------------------


@pytest.mark.parametrize(("problem", "dtype", "line_search"), CASES)
def test_finds_the_known_minimum(problem, dtype, line_search):
    run = solve(problem, dtype, line_search)
    assert run.minimum.status in ("completed", "converged")
    assert run.minimum.state.value <= 1e-10 * run.states[0].value
    np.testing.assert_allclose(run.minimum.state.position, 1, atol=1e-4)
    assert run.minimum.state.position.dtype == dtype


@pytest.mark.parametrize(("problem", "dtype", "line_search"), CASES)
def test_counts_are_those_of_the_objective_itself(problem, dtype, line_search):
    run = solve(problem, dtype, line_search)
    assert run.states[0].evaluations == 1
    assert run.minimum.state.evaluations == run.evaluated
    assert run.minimum.state.iterations == len(run.states) - 1
    if run.minimum.status == "completed":
        assert run.minimum.state.iterations == 200


@pytest.mark.parametrize(("problem", "dtype", "line_search"), CASES)
def test_value_is_the_unscaled_objective_at_the_position(problem, dtype, line_search):
    run = solve(problem, dtype, line_search)
    for state in (run.states[0], run.states[5], run.minimum.state):
        expected = float(PROBLEMS[problem][0](state.position))
        assert state.value == pytest.approx(expected, rel=1e-6, abs=1e-30)


@pytest.mark.parametrize("problem", ["quadratic", "rosenbrock"])
def test_value_never_rises_beyond_the_searchs_own_tolerance(problem):
    values = [state.value for state in solve(problem, "float64", "unit_step").states]
    for before, after in itertools.pairwise(values):
        assert after <= before * (1 + 1e-6)  # Hager and Zhang's approximate Wolfe condition


@pytest.mark.parametrize(("line_search", "most"), [("unit_step", 1.3), ("hager_zhang", 2.2)])
@pytest.mark.parametrize("problem", ["quadratic", "rosenbrock"])
def test_needs_about_as_many_evaluations_as_scipy(problem, line_search, most):
    values, end = solve_with_scipy(problem)
    run = solve(problem, "float64", line_search)
    goal = 1e-6 * values[0]
    scipys = next(count for count, value in enumerate(values, 1) if value <= goal)
    ours = next(state.evaluations for state in run.states if state.value <= goal)
    assert scipys / 2 < ours < most * scipys
    assert run.minimum.state.value == pytest.approx(end.fun, abs=1e-10 * values[0])
    np.testing.assert_allclose(run.minimum.state.position, end.x, atol=1e-4)


@pytest.mark.parametrize("problem", ["quadratic", "rosenbrock"])
def test_unit_step_costs_fewer_evaluations_an_iteration(problem):
    cost = {}
    for line_search in SEARCHES:
        state = solve(problem, "float64", line_search).minimum.state
        cost[line_search] = state.evaluations / state.iterations
    assert 1 <= cost["unit_step"] < 1.4
    assert cost["unit_step"] < 0.6 * cost["hager_zhang"]


def test_hager_zhang_is_the_stock_search():
    value, start = PROBLEMS["rosenbrock"]
    run = run_from(rosenbrock, start, 30, line_search="hager_zhang")
    objective, scale = counted(value), run.minimum.state.scale

    def scaled(x):
        value, gradient = objective.value_and_gradient(x)
        return value * scale, gradient * scale

    @tf.function(autograph=False)
    def stock():
        return tfp.optimizer.lbfgs_minimize(
            scaled, tf.constant(start), num_correction_pairs=HISTORY, max_iterations=30
        )

    expected = stock()
    assert run.minimum.state.evaluations == int(expected.num_objective_evaluations)
    np.testing.assert_allclose(run.minimum.state.position, expected.position, rtol=1e-9)


# --- pieces -----------------------------------------------------------------------------------


@pytest.mark.parametrize("line_search", SEARCHES)
def test_pieces_of_one_iteration_equal_one_long_run(line_search):
    pieces = solve("rosenbrock", "float64", line_search)
    long = solve("rosenbrock", "float64", line_search, seconds=FOREVER)
    assert len(pieces.states) > 50
    assert len(long.states) == 3  # begun, one iteration to learn the pace, all the others
    assert_same_state(pieces.minimum.state, long.minimum.state)
    assert pieces.minimum.status == long.minimum.status


def test_pieces_equal_one_long_run_across_restarts():
    """A piece that ends in a failed line search empties the memory just as a long one does."""
    pieces = solve_from_unusable_memory("unit_step")
    long = solve_from_unusable_memory("unit_step", seconds=FOREVER)
    assert len(long.states) < 5 < len(pieces.states)
    assert long.minimum.state.restarts == 1
    assert_same_state(pieces.minimum.state, long.minimum.state)


def test_a_run_stopped_saved_and_resumed_equals_one_long_run():
    long = solve("rosenbrock", "float64", "unit_step", seconds=FOREVER)
    objective = counted(rosenbrock)
    before = int(objective.runs)
    start = tf.constant(PROBLEMS["rosenbrock"][1])
    first = lbfgs.minimize(
        objective.value_and_gradient,
        lbfgs.begin(objective.value_and_gradient, start, HISTORY),
        200,
        stop_at_multiples_of=(23,),
        on_piece=lambda state, _: state.iterations >= 23,
    )
    assert (first.status, first.state.iterations) == ("interrupted", 23)
    second = lbfgs.minimize(
        objective.value_and_gradient,
        through_numpy(first.state),
        200,
        on_piece=lambda state, _: bool(state.results.converged),  # too late to interrupt
    )
    assert second.status == long.minimum.status == "converged"
    assert_same_state(second.state, long.minimum.state)
    assert second.state.evaluations == int(objective.runs) - before


def test_nothing_is_done_where_the_iterations_are_used_up():
    done = solve("quadratic", "float64", "unit_step").states[20]
    run = run_from(quadratic, done, 20)
    assert run.minimum.status == "completed"
    assert_same_state(run.minimum.state, done)
    assert (run.evaluated, run.states) == (0, [done])


def test_pieces_end_at_the_multiples_asked_for():
    run = run_from(quadratic, np.zeros(60), 33, compiled=False, stop_at_multiples_of=(7, 10))
    stops = [state.iterations for state in run.states]
    assert stops == [0, 1, 7, 10, 14, 20, 21, 28, 30, 33]
    assert run.minimum.status == "completed"
    assert run.seconds == sorted(run.seconds)
    assert run.minimum.seconds == run.seconds[-1] > 0
    # The objective is no `tf.function`: the graph holds copies of it, but no piece adds one.
    assert set(run.traces) == {run.traces[0]}
    assert run.traces[0] > 2


@pytest.mark.parametrize(("problem", "dtype", "line_search"), CASES)
def test_no_piece_traces_anything_anew(problem, dtype, line_search):
    run = solve(problem, dtype, line_search)
    assert len(run.traces) > 50
    assert set(run.traces) == {run.traces[0]}


def test_another_run_of_the_same_objective_traces_nothing():
    solve("rosenbrock", "float64", "unit_step")
    traces = counted(rosenbrock).traces
    run = run_from(rosenbrock, np.linspace(-1, 1, 10), 5)
    assert run.minimum.state.iterations == 5
    assert counted(rosenbrock).traces == traces


# --- the replaced line search -----------------------------------------------------------------


def assert_tfp_is_as_it_was():
    assert bfgs_utils.hager_zhang is hager_zhang
    assert bfgs_utils.line_search_step is STOCK_LINE_SEARCH_STEP
    assert tfp_lbfgs._get_search_direction is STOCK_SEARCH_DIRECTION
    assert tfp_lbfgs._queue_push is STOCK_QUEUE_PUSH


@pytest.mark.parametrize("line_search", SEARCHES)
def test_tfps_own_functions_are_back_after_tracing(line_search):
    solve("rosenbrock", "float64", line_search)
    assert_tfp_is_as_it_was()


@pytest.mark.parametrize("line_search", SEARCHES)
def test_tfps_own_functions_are_back_after_a_failed_trace(line_search):
    seen = []

    def fails_when_traced(x):
        if not tf.executing_eagerly():
            seen.append(bfgs_utils.hager_zhang)
            raise RuntimeError("while tracing")
        return quadratic(x), x

    state = lbfgs.begin(fails_when_traced, tf.ones(60), HISTORY)
    with pytest.raises(RuntimeError, match="while tracing"):
        lbfgs.minimize(fails_when_traced, state, 5, line_search)
    assert (seen[0] is hager_zhang) == (line_search == "hager_zhang")
    assert_tfp_is_as_it_was()


def test_threads_do_not_see_each_others_line_search():
    entered, seen = threading.Event(), []

    def other():
        entered.set()
        with lbfgs._line_search("hager_zhang"):
            seen.append(bfgs_utils.hager_zhang)

    thread = threading.Thread(target=other)
    with lbfgs._line_search("unit_step"):
        thread.start()
        assert entered.wait(10)
        thread.join(0.1)
        assert bfgs_utils.hager_zhang is not hager_zhang
        assert seen == []
    thread.join(10)
    assert seen == [hager_zhang]


# --- direction and memory ---------------------------------------------------------------------


def random_results(dtype, filled, history=5, values=60, seed=0):
    """A state with `filled` correction pairs of positive curvature, the others zero."""
    generator = np.random.default_rng(seed)
    steps = generator.normal(size=(history, values))
    changes = steps * generator.uniform(0.5, 50, values) + 0.1 * generator.normal(size=steps.shape)
    empty = np.arange(history)[:, np.newaxis] < history - filled
    results = lbfgs.begin(lambda x: (quadratic(x), x), tf.ones(values, dtype), history).results
    return results._replace(
        num_iterations=tf.constant(filled),
        objective_gradient=tf.constant(generator.normal(size=values), dtype),
        position_deltas=tf.constant(np.where(empty, 0, steps), dtype),
        gradient_deltas=tf.constant(np.where(empty, 0, changes), dtype),
    )


@pytest.mark.parametrize(("dtype", "rtol"), [("float64", 1e-9), ("float32", 1e-3)])
@pytest.mark.parametrize("filled", [0, 1, 3, 5])
def test_direction_is_that_of_the_two_loops(filled, dtype, rtol):
    results = random_results(dtype, filled)
    direction = lbfgs._search_direction(results).numpy()
    expected = STOCK_SEARCH_DIRECTION(results).numpy()
    assert direction.dtype == dtype
    assert np.linalg.norm(direction - expected) <= rtol * np.linalg.norm(expected)


@pytest.mark.parametrize("pair", [0, 2])
def test_pair_without_curvature_is_left_out_as_by_the_two_loops(pair):
    results = random_results("float64", 5)
    steps, changes = results.position_deltas.numpy(), results.gradient_deltas.numpy()
    steps[pair], changes[pair] = 0, 0
    steps[pair, 0], changes[pair, 1] = 1, 1  # orthogonal
    results = results._replace(
        position_deltas=tf.constant(steps), gradient_deltas=tf.constant(changes)
    )
    np.testing.assert_allclose(
        lbfgs._search_direction(results), STOCK_SEARCH_DIRECTION(results), rtol=1e-9, atol=1e-12
    )


@pytest.mark.parametrize("update", [True, False])
def test_memory_takes_the_newest_and_drops_the_oldest(update):
    queue, newest = tf.reshape(tf.range(6.0), [3, 2]), tf.constant([8.0, 9.0])
    pushed = lbfgs._pushed(queue, tf.constant(update), newest)
    np.testing.assert_array_equal(pushed, STOCK_QUEUE_PUSH(queue, tf.constant(update), newest))
    assert (pushed[-1].numpy() == newest.numpy()).all() == update


# --- the unit step ----------------------------------------------------------------------------


def search_along(minimum, slope=1.0):
    """Search φ(t) = ½ slope (t − minimum)² from 0; returns the result and where φ was evaluated."""
    places = []

    def phi(t):
        places.append(float(t))
        gradient = tf.reshape(slope * (t - minimum), [1])
        value = 0.5 * slope * (t - minimum) ** 2
        return bfgs_utils.ValueAndGradient(t, value, gradient[0], gradient)

    zero = phi(tf.constant(0.0, tf.float64))
    places.clear()
    result = lbfgs._unit_step_first(
        phi, tf.constant(1.0, tf.float64), zero, tf.constant(False), max_iterations=50
    )
    return result, places


@pytest.mark.parametrize("minimum", [0.6, 1.0, 1.8, 9.0])
def test_a_unit_step_that_meets_the_wolfe_conditions_is_taken(minimum):
    result, places = search_along(minimum)
    assert places == [1.0]
    assert (float(result.left.x), int(result.func_evals)) == (1.0, 1)
    assert bool(result.converged)
    assert not bool(result.failed)


@pytest.mark.parametrize("minimum", [0.05, 0.4, 11.0, 300.0])
def test_a_unit_step_too_long_or_too_short_is_searched_from(minimum):
    """Beyond 10 the slope falls by less than a tenth; below 0.5 the value rises."""
    result, places = search_along(minimum)
    assert places[0] == 1.0
    assert len(places) == int(result.func_evals) > 1
    assert float(result.left.x) == pytest.approx(minimum)
    assert bool(result.converged)


def test_no_step_is_taken_uphill():
    result, places = search_along(-1.0)
    assert places == [1.0]
    assert not bool(result.converged)
    assert float(result.left.x) == 0


# --- scale ------------------------------------------------------------------------------------


def test_first_step_has_a_root_mean_square_of_one():
    """½·7·‖x − 1‖² from 3: one pixel down each axis; the second step, 1/γ exact, arrives."""
    run = run_from(
        lambda x: 3.5 * tf.reduce_sum((x - 1) ** 2), np.full(12, 3.0), 50, seconds=ONE_ITERATION
    )
    np.testing.assert_allclose(run.states[1].position, 2, rtol=1e-12)
    np.testing.assert_allclose(run.states[2].position, 1, rtol=1e-12)
    assert (run.minimum.status, run.minimum.state.iterations) == ("converged", 2)
    assert run.minimum.state.evaluations == 3


@pytest.mark.parametrize("problem", ["quadratic", "rosenbrock"])
def test_begin_scales_the_gradient_to_a_root_mean_square_of_one(problem):
    value, start = PROBLEMS[problem]
    objective = counted(value)
    state = lbfgs.begin(objective.value_and_gradient, tf.constant(start), HISTORY)
    _, gradient = objective.value_and_gradient(tf.constant(start))
    assert np.sqrt(np.mean(state.results.objective_gradient.numpy() ** 2)) == pytest.approx(1)
    np.testing.assert_allclose(state.results.objective_gradient, gradient * state.scale)


@pytest.mark.parametrize("factor", [1e25, 1e-25])
def test_begin_scales_gradients_whose_squares_leave_float32(factor):
    start = tf.zeros(60)
    state = lbfgs.begin(lambda x: (factor * quadratic(x), factor * (x - 1)), start, HISTORY)
    np.testing.assert_allclose(state.results.objective_gradient, -1, rtol=1e-6)
    assert not bool(state.results.converged)


def scaled_rosenbrock(x, factor):
    return factor * rosenbrock(x)


def run_scaled(factor, iterations):
    data = (tf.constant(factor, tf.float64),)
    return run_from(scaled_rosenbrock, PROBLEMS["rosenbrock"][1], iterations, data=data)


def test_a_power_of_two_times_the_objective_changes_no_bit():
    expected = solve("rosenbrock", "float64", "unit_step").states[25]
    run = run_scaled(2.0**-20, 25)
    assert run.minimum.state.scale == expected.scale * 2**20
    assert_same_state(run.minimum.state._replace(scale=expected.scale), expected)


@pytest.mark.parametrize("factor", [1e6, 1e-6])
def test_the_objectives_size_hardly_matters(factor):
    """The factor rounds, so the runs part by an ulp; 20 iterations have not grown that to 1e-8."""
    expected = solve("rosenbrock", "float64", "unit_step").states[20]
    run = run_scaled(factor, 20)
    np.testing.assert_allclose(run.minimum.state.position, expected.position, rtol=1e-8)
    assert run.minimum.state.evaluations == expected.evaluations
    assert run.minimum.state.value == pytest.approx(factor * expected.value, rel=1e-8)


def distance(x, target):
    return tf.reduce_sum((x - target) ** 2)


def test_data_reaches_the_objective_and_a_change_of_it_traces_nothing():
    traces = []
    for target in (np.linspace(0, 5, 30), np.linspace(9, -2, 30)):
        run = run_from(distance, np.ones(30), 20, data=(tf.constant(target),))
        np.testing.assert_allclose(run.minimum.state.position, target, atol=1e-6)
        traces.append(counted(distance).traces)
    assert traces[0] == traces[1]


# --- ways to end ------------------------------------------------------------------------------


def test_a_vanishing_gradient_at_the_start_is_converged():
    run = run_from(quadratic, np.ones(60), 50)
    assert run.minimum.status == "converged"
    assert (run.minimum.state.iterations, run.minimum.state.evaluations) == (0, 1)
    assert run.states == [run.minimum.state]  # no piece
    assert run.evaluated == 1


def noisy(x):
    """A value whose noise of ±1 the gradient knows nothing of."""
    noise = tf.sin(1e7 * tf.stop_gradient(tf.reduce_sum(x)))
    return quadratic(x) + noise


def test_a_failing_search_restarts_the_memory_a_few_times_and_then_stalls():
    run = run_from(noisy, np.zeros(60), 1000, "hager_zhang")
    state = run.minimum.state
    assert run.minimum.status == "stalled"
    assert 1 <= state.restarts <= lbfgs.MAX_RESTARTS
    assert state.iterations < 1000
    assert state.value < 0.01 * run.states[0].value  # it still got down to the noise
    assert np.isfinite(state.position).all()
    assert state.evaluations == run.evaluated


def test_no_restart_where_none_is_allowed():
    run = run_from(noisy, np.zeros(60), 1000, max_restarts=0)
    assert run.minimum.status == "stalled"
    assert run.minimum.state.restarts == 0


@pytest.mark.parametrize("line_search", SEARCHES)
def test_a_direction_that_is_not_finite_empties_the_memory_and_keeps_the_place(line_search):
    """Regression: a step of length 0 along NaN lost the position."""
    run = solve_from_unusable_memory(line_search)
    start, restarted = run.states[:2]
    assert (restarted.iterations, restarted.restarts) == (1, 1)
    assert int(restarted.results.num_iterations) == 0
    assert not restarted.results.position_deltas.numpy().any()
    np.testing.assert_array_equal(restarted.position, start.position)
    assert restarted.value == start.value
    assert run.minimum.status in ("completed", "converged")
    assert run.minimum.state.restarts == 1
    assert run.minimum.state.value < 1e-6 * start.value


def test_a_search_that_fails_with_an_empty_memory_stalls_at_once():
    start = tf.zeros(60, tf.float64)

    @tf.function(autograph=False)
    def only_at_the_start(x):
        elsewhere = tf.reduce_any(x != start)
        value = tf.where(elsewhere, tf.constant(np.nan, x.dtype), quadratic(x))
        return value, tf.constant(WIDE_SPECTRUM) * (x - 1)

    minimum = lbfgs.minimize(only_at_the_start, lbfgs.begin(only_at_the_start, start, HISTORY), 50)
    assert (minimum.status, minimum.state.iterations) == ("stalled", 1)
    assert minimum.state.restarts == 0
    np.testing.assert_array_equal(minimum.state.position, start)


# --- values that are not finite ---------------------------------------------------------------


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("where", ["value", "gradient"])
def test_a_start_that_is_not_finite_is_refused(where, bad):
    def value_and_gradient(x):
        worst = tf.constant(bad, x.dtype)
        if where == "value":
            return worst, x
        return quadratic(x), tf.concat([x[:-1], [worst]], 0)

    with pytest.raises(FloatingPointError, match="not finite at the start"):
        lbfgs.begin(value_and_gradient, tf.ones(60), HISTORY)


@pytest.mark.parametrize(
    ("where", "bad", "line_search"),
    [
        ("value", np.inf, "unit_step"),
        ("gradient", np.nan, "hager_zhang"),
    ],
)
def test_no_position_is_lost_to_values_that_are_not_finite(where, bad, line_search):
    """The way to the minimum at 1 leads into a region, beyond mean 0.5, without finite values."""

    def wall(x, inside):
        return tf.where(tf.reduce_mean(x) > 0.5, tf.constant(bad, x.dtype), inside)

    @tf.function(autograph=False)
    def value_and_gradient(x):
        value, gradient = quadratic(x), tf.constant(WIDE_SPECTRUM) * (x - 1)
        if where == "value":
            return wall(x, value), gradient
        return value, wall(x, gradient)

    states = [lbfgs.begin(value_and_gradient, tf.zeros(60, tf.float64), HISTORY)]
    minimum = lbfgs.minimize(
        value_and_gradient, states[0], 100, line_search, (1,), lambda *now: states.append(now[0])
    )
    assert minimum.status in ("stalled", "converged")  # the latter: pressed against the wall
    for state in states:
        assert np.isfinite(state.position).all()
        assert np.isfinite(state.value)
    assert minimum.state.value <= states[0].value


# --- another objective from the same place ----------------------------------------------------


def test_reevaluate_keeps_place_memory_and_scale_and_counts_one():
    before = solve("quadratic", "float64", "unit_step").states[12]
    stuck = before._replace(results=before.results._replace(failed=tf.constant(True)))
    double = counted(lambda x: 2 * quadratic(x))
    after = lbfgs.reevaluate(double.value_and_gradient, stuck)
    assert after.value == pytest.approx(2 * before.value)
    assert after.evaluations == before.evaluations + 1
    assert not bool(after.results.failed)
    assert not bool(after.results.converged)
    np.testing.assert_allclose(
        after.results.objective_gradient, 2 * before.results.objective_gradient
    )
    assert (after.scale, after.iterations) == (before.scale, before.iterations)
    for name in ("position", "position_deltas", "gradient_deltas", "num_iterations"):
        np.testing.assert_array_equal(getattr(after.results, name), getattr(before.results, name))
