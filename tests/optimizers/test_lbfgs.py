"""What is particular to L-BFGS: its line searches, its memory, its direction, and how it fails.

What it has in common with Adam is in test_optimizer_contract.py.
"""

import functools
import itertools
import threading

import numpy as np
import pytest
import scipy.optimize
import tensorflow as tf
import tensorflow_probability as tfp
from helpers.minimizing import (
    FOREVER,
    GROUNDS,
    HISTORY,
    ONE_ITERATION,
    STARTS,
    VALUES,
    assert_same_state,
    begin,
    counted,
    ground,
    rosenbrock,
    run,
    solve,
    value_error,
    value_of,
)
from helpers.rounding import gamma
from tensorflow_probability.python.optimizer import bfgs_utils
from tensorflow_probability.python.optimizer import lbfgs as tfp_lbfgs
from tensorflow_probability.python.optimizer.linesearch.hager_zhang import hager_zhang

from gatys_norm.optimizers import base, lbfgs
from gatys_norm.optimizers import line_search as replacements

pytestmark = pytest.mark.numeric

STOCK_LINE_SEARCH_STEP = bfgs_utils.line_search_step
STOCK_SEARCH_DIRECTION = tfp_lbfgs._get_search_direction
STOCK_QUEUE_PUSH = tfp_lbfgs._queue_push
SEARCHES = ("unit_step", "hager_zhang")
MEMORY = ("position_deltas", "gradient_deltas")
SOLVED = 1e-10  # what 200 iterations leave of a problem's value, at most: ten digits
HAGER_ZHANG_RISE = 1e-6  # ε of the approximate Wolfe condition, a rise that it takes for rounding


def begin_with_unusable_memory(line_search):
    """Begin where the last two gradients were equal, so that TFP's γ = s·y / y·y is 0/0."""
    state = begin(line_search, STARTS["quadratic"], ground())
    steps = np.zeros([HISTORY, VALUES])
    steps[-1] = 1
    results = state.results._replace(
        num_iterations=tf.constant(1), position_deltas=tf.constant(steps)
    )
    return state._replace(results=results)


@functools.cache
def solve_from_unusable_memory(line_search, seconds=ONE_ITERATION):
    """Run from such a memory."""
    return run(line_search, begin_with_unusable_memory(line_search), 120, ground(), seconds)


@functools.cache
def solve_in_float32():
    """Run Rosenbrock's function in float32, and, to save a graph, operation by operation."""
    on = rosenbrock(dtype="float32")
    return run("unit_step", STARTS["rosenbrock"], 200, on, ONE_ITERATION, counted().trace)


@functools.cache
def solve_with_scipy(problem):
    """Return the value of every evaluation that SciPy's L-BFGS-B makes, and the last x."""
    values, on = [], GROUNDS[problem]()

    def fun(x):
        value, gradient, _ = counted().value_and_gradient(tf.constant(x), on)
        values.append(float(value))
        return values[-1], gradient.numpy()

    options = {"maxcor": HISTORY, "maxiter": 200, "maxfun": 10_000, "ftol": 0, "gtol": 1e-9}
    start = STARTS[problem]
    end = scipy.optimize.minimize(fun, start, jac=True, method="L-BFGS-B", options=options)
    return values, end


# --- known minima -----------------------------------------------------------------------------


def farthest(problem, value):
    """Return how far from all ones x can lie where the function has this value."""
    if problem == "quadratic":
        return np.sqrt(2 * value)  # ½ Σ cᵢ (xᵢ − 1)², no curvature below 1
    # (1 − xᵢ)² ≤ v for all but the last, for which |xₙ − xₙ₋₁²| ≤ √v / 10 as well.
    return np.sqrt(value) * (2.1 + np.sqrt(value))


@pytest.mark.parametrize("line_search", SEARCHES)
@pytest.mark.parametrize("problem", STARTS)
def test_finds_the_known_minimum(problem, line_search):
    assert_solved(solve(line_search, problem), problem)


@pytest.mark.slow
def test_finds_the_known_minimum_in_float32():
    assert_solved(solve_in_float32(), "rosenbrock", "float32")


def assert_solved(found, problem, dtype="float64"):
    assert found.minimum.status in ("completed", "converged")
    assert found.state.position.dtype == dtype
    on = GROUNDS[problem](dtype=dtype)
    for state in (found.states[0], found.states[5], found.state):
        expected = value_of(tf.cast(state.position, tf.float64), GROUNDS[problem]())
        error = value_error(state.position, on) + 2 * gamma(2, dtype) * state.value  # the scale
        assert state.value == pytest.approx(float(expected), rel=0, abs=2 * error)
    assert state.value <= SOLVED * found.states[0].value
    np.testing.assert_allclose(
        state.position, 1, rtol=0, atol=farthest(problem, state.value + 2 * error)
    )


@pytest.mark.parametrize("problem", STARTS)
def test_value_never_rises_beyond_the_searchs_own_tolerance(problem):
    values = [state.value for state in solve("unit_step", problem).states]
    for before, after in itertools.pairwise(values):
        assert after <= before * (1 + HAGER_ZHANG_RISE)


# Wanted of the searches, not of the arithmetic: about one evaluation an iteration, as SciPy's
# needs, and about two where each iteration evaluates twice at least.
@pytest.mark.parametrize(("line_search", "most"), [("unit_step", 1.3), ("hager_zhang", 2.2)])
@pytest.mark.parametrize("problem", STARTS)
def test_needs_about_as_many_evaluations_as_scipy(problem, line_search, most):
    values, end = solve_with_scipy(problem)
    found = solve(line_search, problem)
    goal = 1e-6 * values[0]
    scipys = next(count for count, value in enumerate(values, 1) if value <= goal)
    ours = next(state.evaluations for state in found.states if state.value <= goal)
    assert scipys / 2 < ours < most * scipys
    assert end.fun <= SOLVED * values[0]  # the same minimum, of which the test above knows
    np.testing.assert_allclose(end.x, 1, rtol=0, atol=farthest(problem, SOLVED * values[0]))


@pytest.mark.parametrize("problem", STARTS)
def test_unit_step_costs_fewer_evaluations_an_iteration(problem):
    """The search was written for that: nearly one an iteration, where the stock one takes two."""
    cost = {}
    for line_search in SEARCHES:
        state = solve(line_search, problem).state
        cost[line_search] = state.evaluations / state.iterations
    assert 1 <= cost["unit_step"] < 1.4
    assert cost["unit_step"] < 0.6 * cost["hager_zhang"]


@pytest.mark.usefixtures("eagerly")
def test_hager_zhang_is_the_stock_search():
    """Their first iterations agree; then the direction rounds otherwise, and they part."""
    on, start = rosenbrock(), tf.constant(STARTS["rosenbrock"])
    state = run("hager_zhang", start, 1, on).state

    def scaled(x):
        value, gradient, _ = counted().trace(x, on)
        return value * state.scale, gradient * state.scale

    stock = tfp.optimizer.lbfgs_minimize(
        scaled, start, num_correction_pairs=HISTORY, max_iterations=1
    )
    assert state.evaluations == int(stock.num_objective_evaluations) > 2
    np.testing.assert_array_equal(state.position, stock.position)
    np.testing.assert_array_equal(state.results.position_deltas, stock.position_deltas)


# --- the replaced line search -----------------------------------------------------------------


def assert_tfp_is_as_it_was():
    assert bfgs_utils.hager_zhang is hager_zhang
    assert bfgs_utils.line_search_step is STOCK_LINE_SEARCH_STEP
    assert tfp_lbfgs._get_search_direction is STOCK_SEARCH_DIRECTION
    assert tfp_lbfgs._queue_push is STOCK_QUEUE_PUSH


@pytest.mark.parametrize("line_search", SEARCHES)
def test_tfps_own_functions_are_back_after_tracing(line_search):
    solve(line_search, "rosenbrock")
    assert_tfp_is_as_it_was()


@pytest.mark.parametrize("line_search", SEARCHES)
def test_tfps_own_functions_are_back_after_a_failed_trace(line_search):
    seen = []

    def fails_when_traced(x):
        if not tf.executing_eagerly():
            seen.append(bfgs_utils.line_search_step)
            raise RuntimeError("while tracing")
        return sum_of(x)

    optimizer = lbfgs.LBFGS(HISTORY, line_search)
    state = optimizer.init(fails_when_traced, tf.ones(VALUES))
    with pytest.raises(RuntimeError, match="while tracing"):
        base.minimize(optimizer, tf.function(fails_when_traced, autograph=False), state, 5)
    assert seen[0] is not STOCK_LINE_SEARCH_STEP
    assert_tfp_is_as_it_was()


class NotingLock:
    """A lock that says when someone has to wait for it."""

    def __init__(self):
        self.lock, self.awaited = threading.Lock(), threading.Event()

    def __enter__(self):
        if not self.lock.acquire(blocking=False):
            self.awaited.set()
            self.lock.acquire()

    def __exit__(self, *error):
        self.lock.release()


def test_threads_do_not_see_each_others_line_search(monkeypatch):
    lock, seen = NotingLock(), []
    monkeypatch.setattr(replacements, "_patching", lock)

    def other():
        with replacements.in_place_of_stock("hager_zhang"):
            seen.append(bfgs_utils.line_search_step)

    thread = threading.Thread(target=other)
    with replacements.in_place_of_stock("unit_step"):
        thread.start()
        assert lock.awaited.wait(60)
        first = bfgs_utils.line_search_step
        assert seen == []
    thread.join()
    assert len({first, *seen, STOCK_LINE_SEARCH_STEP}) == 3


# --- direction and memory ---------------------------------------------------------------------


def sum_of(x):
    return tf.reduce_sum(x), x, x[:1]


def random_results(dtype, filled, history=5):
    """A state with `filled` correction pairs of positive curvature, the others zero."""
    generator = np.random.default_rng(0)
    steps = generator.normal(size=(history, VALUES))
    changes = steps * generator.uniform(0.5, 50, VALUES)
    changes += 0.1 * generator.normal(size=steps.shape)
    empty = np.arange(history)[:, np.newaxis] < history - filled
    start = tf.ones(VALUES, dtype)
    results = lbfgs.LBFGS(history).init(sum_of, start).results
    return results._replace(
        num_iterations=tf.constant(filled),
        objective_gradient=tf.constant(generator.normal(size=VALUES), dtype),
        position_deltas=tf.constant(np.where(empty, 0, steps), dtype),
        gradient_deltas=tf.constant(np.where(empty, 0, changes), dtype),
    )


def direction_error(results):
    """Return by how much rounding may change each value of the direction.

    Multiplied out, the direction is a sum of products of inner products, for the two loops and the
    compact form alike. This adds up the sizes of its terms. Each is rounded no more often than
    this: both loops take two inner products a pair, and γ is a quotient of two more.
    """
    gradient, steps, changes = (
        np.abs(np.asarray(value, np.float64))
        for value in (
            results.objective_gradient,
            results.position_deltas,
            results.gradient_deltas,
        )
    )
    products = np.sum(np.multiply(results.position_deltas, results.gradient_deltas), axis=1)
    pairs = np.flatnonzero(products)
    size, first = gradient, {}
    for pair in pairs[::-1]:
        first[pair] = steps[pair] @ size / products[pair]
        size = size + first[pair] * changes[pair]
    if len(pairs):
        size = size * products[-1] / np.sum(changes[-1] ** 2)
    for pair in pairs:
        size = size + steps[pair] * (first[pair] + changes[pair] @ size / products[pair])
    # s·y is a divisor; random_results has them of terms of nearly one sign, of condition 2 at most.
    roundings = 2 * len(pairs) * (3 * VALUES + 3) + 3 * VALUES + 10
    return gamma(roundings, results.objective_gradient.dtype) * size


def assert_direction_is_that_of_the_two_loops(results):
    direction = replacements._search_direction(results).numpy()
    exact = {
        name: tf.cast(value, tf.float64)
        for name, value in results._asdict().items()
        if value.dtype.is_floating
    }
    expected = STOCK_SEARCH_DIRECTION(results._replace(**exact)).numpy()
    error = direction_error(results)
    if results.objective_gradient.dtype == "float64":
        error *= 2  # the two loops are rounded as much
    assert np.linalg.norm(error) < 0.1 * np.linalg.norm(expected)
    assert direction.dtype == results.objective_gradient.dtype
    assert np.all(np.abs(direction - expected) <= error)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("filled", [0, 1, 3, 5])
def test_direction_is_that_of_the_two_loops(filled, dtype):
    assert_direction_is_that_of_the_two_loops(random_results(dtype, filled))


@pytest.mark.parametrize("pair", [0, 2])
def test_pair_without_curvature_is_left_out_as_by_the_two_loops(pair):
    results = random_results("float64", 5)
    steps, changes = results.position_deltas.numpy(), results.gradient_deltas.numpy()
    steps[pair], changes[pair] = 0, 0
    steps[pair, 0], changes[pair, 1] = 1, 1  # orthogonal
    assert_direction_is_that_of_the_two_loops(
        results._replace(position_deltas=tf.constant(steps), gradient_deltas=tf.constant(changes))
    )


@pytest.mark.parametrize("compiled", [True, False])
@pytest.mark.parametrize("update", [True, False])
@pytest.mark.parametrize("history", [1, 2, 5])
def test_memory_takes_the_newest_and_drops_the_oldest(update, history, compiled):
    rows = np.arange(2.0 * history).reshape(history, 2)
    newest, update = tf.constant([80.0, 90.0], tf.float64), tf.constant(update)
    push = tf.function(replacements._pushed) if compiled else replacements._pushed
    queue = tf.constant(rows)
    pushed = push(queue, update, newest)
    np.testing.assert_array_equal(pushed, STOCK_QUEUE_PUSH(tf.constant(rows), update, newest))
    assert (pushed[-1].numpy() == newest.numpy()).all() == bool(update)
    assert address(pushed) == address(queue)


def address(tensor):
    """Return where the values of a tensor lie; `np.asarray` makes no copy of them."""
    return np.asarray(tensor).ctypes.data


@pytest.mark.parametrize("compiled", [True, False])
@pytest.mark.parametrize("line_search", SEARCHES)
def test_there_is_one_copy_of_the_memory(line_search, compiled):
    """Also when it is emptied, after the first step, and across searches."""
    optimizer = lbfgs.LBFGS(HISTORY, line_search)
    function = counted().value_and_gradient if compiled else counted().trace
    state, places = begin_with_unusable_memory(line_search), []
    for count in (0, 1, 1, 3):
        state, _ = optimizer.advance(function, state, count, (ground(),), may_restart=True)
        memory = [getattr(state.results, name) for name in MEMORY]
        places.append([address(queue) for queue in memory])
    assert (state.iterations, state.restarts) == (5, 1)
    assert all(np.any(queue[-4:], axis=1).all() for queue in memory)
    assert places == 4 * places[:1]
    assert len({*places[0]}) == 2


def test_the_memory_is_not_that_of_a_constant_of_tensorflow():
    """TensorFlow keeps a tensor of the number 0 and gives it to all who ask for one such value."""
    optimizer, zero = lbfgs.LBFGS(1), tf.zeros([1, 1])

    def parabola(x):
        return tf.reduce_sum(3 * x**2 + x**4), 6 * x + 4 * x**3, x

    state = optimizer.init(parabola, tf.constant([5.0]))
    state, _ = optimizer.advance(parabola, state, 3, (), may_restart=True)
    assert all(float(getattr(state.results, name)[0, 0]) != 0 for name in MEMORY)
    assert float(zero[0, 0]) == float(tf.zeros([1, 1])[0, 0]) == 0


@pytest.mark.parametrize("line_search", SEARCHES)
def test_a_gradient_is_kept_for_a_search_alone(line_search):
    for state in solve(line_search, "rosenbrock").states:
        assert state.results.tried_gradient.shape == [0]


# --- the unit step ----------------------------------------------------------------------------


def step_along(step, minimum, slope=1.0):
    """Step along φ(t) = ½ slope (t − minimum)², from 0; return the results and the places tried."""
    places, dtype = [], tf.float64

    def phi(x):
        places.append(float(x[0]))
        gradient = slope * (x - minimum)
        value = 0.5 * slope * tf.reduce_sum((x - minimum) ** 2)
        return value, gradient, tf.stack([value])

    start = lbfgs.LBFGS(HISTORY).init(phi, tf.constant([0.0], dtype)).results
    value, gradient, _ = phi(start.position)
    start = start._replace(objective_value=value, objective_gradient=gradient)
    places.clear()
    tolerances = [tf.constant(0, dtype)] * 3
    limits = (*tolerances, None, tf.constant(50), tf.constant(0, dtype))
    return step(start, phi, tf.constant([1.0], dtype), *limits), places


@pytest.mark.parametrize("minimum", [0.6, 1.0, 1.8, 9.0])
def test_a_unit_step_that_meets_the_wolfe_conditions_is_taken(minimum):
    results, places = step_along(replacements._unit_step, minimum)
    assert places == [1.0]
    assert (float(results.position[0]), int(results.num_objective_evaluations)) == (1.0, 2)
    assert bool(results.converged) == (minimum == 1)
    assert not bool(results.failed)


@pytest.mark.parametrize("minimum", [0.05, 0.4, 11.0, 300.0, -1.0])
def test_a_unit_step_too_long_too_short_or_uphill_is_refused_and_changes_nothing(minimum):
    """Beyond 10 the slope falls by less than a tenth; below 0.5 the value rises."""
    results, places = step_along(replacements._unit_step, minimum)
    assert places == [1.0]
    assert bool(results.failed)
    assert (float(results.position[0]), int(results.num_objective_evaluations)) == (0.0, 1)
    assert int(results.num_iterations) == 0
    value, slope = 0.5 * (1 - minimum) ** 2, 1 - minimum
    np.testing.assert_array_equal(results.tried, [value, slope, value])
    np.testing.assert_array_equal(results.tried_gradient, [slope])


@pytest.mark.parametrize("minimum", [0.05, 0.4, 11.0, 300.0])
def test_a_search_from_the_unit_step_finds_the_minimum(minimum):
    results, places = step_along(replacements._searched_step, minimum)
    assert places[0] == 1.0
    assert len(places) + 1 == int(results.num_objective_evaluations) > 2
    # φ′ is a line: one secant finds its zero, from two slopes of opposite signs, so that all terms
    # of the quotient have one sign.
    assert float(results.position[0]) == pytest.approx(minimum, rel=gamma(20))
    assert not bool(results.failed)


def test_no_step_is_taken_uphill():
    results, places = step_along(replacements._searched_step, -1.0)
    assert places == [1.0]
    assert bool(results.failed)
    assert float(results.position[0]) == 0


def test_a_search_does_not_evaluate_the_refused_step_again():
    """The first step, of one pixel, is too short: it is searched from, and every point counts."""
    on = ground(curvatures=1.0, minimum=300.0)
    found = run("unit_step", np.zeros(VALUES), 1, on)
    state = found.state
    assert (state.iterations, found.minimum.status) == (1, "converged")
    assert state.evaluations == found.evaluated > 2
    assert state.evaluations == run("hager_zhang", np.zeros(VALUES), 1, on).state.evaluations


# --- scale ------------------------------------------------------------------------------------


def test_first_step_has_a_root_mean_square_of_one():
    """½·7·‖x − 1‖² from 3: one pixel down each axis; the second step, 1/γ exact, arrives."""
    on = ground(curvatures=7.0)
    found = run("unit_step", np.full(VALUES, 3.0), 50, on, ONE_ITERATION)
    # 3 − scale · gradient: the gradient's roundings and those of the sum of squares and its root.
    first = gamma(VALUES + 12)
    np.testing.assert_allclose(found.states[1].position, 2, rtol=0, atol=first)
    # Of one pair's direction the sizes add up to 5 (see `direction_error`), and it begins as wrong
    # as the first step ended.
    second = 5 * (gamma(9 * VALUES + 16) + 2 * first)
    np.testing.assert_allclose(found.states[2].position, 1, rtol=0, atol=second)
    assert (found.minimum.status, found.state.iterations) == ("converged", 2)
    assert found.state.evaluations == 3


# --- ways to end ------------------------------------------------------------------------------


def test_a_failing_search_restarts_the_memory_a_few_times_and_then_stalls():
    found = run("hager_zhang", np.zeros(VALUES), 1000, ground(noise=1.0))
    state = found.state
    assert found.minimum.status == "stalled"
    assert 1 <= state.restarts <= lbfgs.MAX_RESTARTS
    assert state.iterations < 1000
    assert state.value < 0.01 * found.states[0].value  # 1639: it still got down to the noise of ±1
    assert np.isfinite(state.position).all()
    assert state.evaluations == found.evaluated


def test_no_restart_where_none_is_allowed():
    found = run("unit_step", np.zeros(VALUES), 1000, ground(noise=1.0), max_restarts=0)
    assert found.minimum.status == "stalled"
    assert found.state.restarts == 0


@pytest.mark.parametrize("line_search", SEARCHES)
def test_a_direction_that_is_not_finite_empties_the_memory_and_keeps_the_place(line_search):
    """Regression: a step of length 0 along NaN lost the position."""
    found = solve_from_unusable_memory(line_search)
    start, restarted = found.states[:2]
    assert (restarted.iterations, restarted.restarts) == (1, 1)
    assert int(restarted.results.num_iterations) == 0
    assert not restarted.results.position_deltas.numpy().any()
    np.testing.assert_array_equal(restarted.position, start.position)
    assert restarted.value == start.value
    assert found.minimum.status in ("completed", "converged")
    assert found.state.restarts == 1
    assert found.state.value < 1e-6 * start.value  # far down, with a memory that was filled anew


def test_pieces_equal_one_long_run_across_restarts():
    """A piece that ends in a failed line search empties the memory just as a long one does."""
    pieces = solve_from_unusable_memory("unit_step")
    long = solve_from_unusable_memory("unit_step", seconds=FOREVER)
    assert len(long.states) < 5 < len(pieces.states)
    assert long.state.restarts == 1
    assert_same_state(pieces.state, long.state)


def test_a_search_that_fails_with_an_empty_memory_stalls_at_once():
    """Nothing but the start, whose mean is 0, has a value."""
    found = run("unit_step", np.zeros(VALUES), 50, ground(wall=0.0, spoilt_value=np.nan))
    assert (found.minimum.status, found.state.iterations) == ("stalled", 1)
    assert found.state.restarts == 0
    np.testing.assert_array_equal(found.state.position, 0)
