"""Replacements for parts of TFP's L-BFGS: search direction, memory and line search.

TFP has no arguments for them, so they replace functions of TFP by name while L-BFGS is traced or
run. Only this module does that, and it is the reason why the version of TFP is pinned.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple, TypeAlias
from unittest import mock

import tensorflow as tf

from gatys_norm.optimizers import stock
from gatys_norm.optimizers.base import Evaluate
from gatys_norm.optimizers.stock import HagerZhangLineSearchResult

SUFFICIENT_DECREASE = 1e-4
CURVATURE = 0.9
_MAX_ITERATIONS = 4  # the place of this number among the limits that TFP gives

_patching = threading.Lock()


class LBFGSResults(NamedTuple):
    """The fields of TFP's `LBfgsOptimizerResults`, `terms` and `tried` of `base.Results`.

    And `tried_gradient`, the gradient at a unit step that was refused, until the search from it has
    ended; otherwise it is an empty vector. `tried` holds the value, slope and terms of that step.
    """

    converged: tf.Tensor
    failed: tf.Tensor
    num_iterations: tf.Tensor
    num_objective_evaluations: tf.Tensor
    position: tf.Tensor
    objective_value: tf.Tensor
    objective_gradient: tf.Tensor
    position_deltas: tf.Tensor
    gradient_deltas: tf.Tensor
    terms: tf.Tensor
    tried: tf.Tensor
    tried_gradient: tf.Tensor


class _Point(NamedTuple):
    """The objective at a step `x` along a direction.

    Attributes:
      x: length of the step, as a multiple of the direction.
      f: value.
      df: slope, the derivative of f with respect to x.
      full_gradient: gradient with respect to the position.
      terms: see `base.Evaluate`.

    The search of TFP uses the first three, under these names, and passes the others through.
    """

    x: tf.Tensor
    f: tf.Tensor
    df: tf.Tensor
    full_gradient: tf.Tensor
    terms: tf.Tensor


_AlongLine: TypeAlias = Callable[[tf.Tensor], _Point]


@contextlib.contextmanager
def in_place_of_stock(name: str) -> Iterator[None]:
    """Return a context in which `lbfgs_minimize` steps along its direction in the way of this name.

    Args:
      name: "unit_step", which takes the unit step or gives up with `failed`; or "hager_zhang",
        which searches from the unit step.
    """
    step = {"unit_step": _unit_step, "hager_zhang": _searched_step}[name]
    with (
        _patching,
        mock.patch.multiple(stock.bfgs_utils, line_search_step=step),
        mock.patch.multiple(
            stock.lbfgs, _get_search_direction=_search_direction, _queue_push=_pushed
        ),
    ):
        yield


def _search_direction(results: LBFGSResults) -> tf.Tensor:
    """Return the L-BFGS direction, in the compact form of Byrd, Nocedal and Schnabel (1994).

    S and Y hold the steps and the changes of the gradient as rows, the oldest first; ρ is the
    diagonal and U the upper triangle of S Yᵀ, and γ = ρ_last / ‖y_last‖². The first loop of L-BFGS
    solves U α = S g, the second Uᵀ δ = ρ α − γ Y (g − Yᵀ α); the direction is
    −(γ (g − Yᵀ α) + Sᵀ δ). TFP computes the same in two loops over the corrections, and stores
    every vector in between.
    """
    steps, changes = results.position_deltas, results.gradient_deltas
    gradient = results.objective_gradient

    def products(a: tf.Tensor, b: tf.Tensor) -> tf.Tensor:
        return tf.cast(tf.matmul(a, b, transpose_b=True), tf.float64)

    step_changes = products(steps, changes)
    is_used = tf.cast(tf.linalg.diag_part(step_changes) != 0, tf.float64)
    upper = tf.linalg.band_part(step_changes, 0, -1) * is_used * is_used[:, tf.newaxis]
    upper += tf.linalg.diag(1 - is_used)
    curvature = tf.linalg.diag_part(step_changes)[:, tf.newaxis]
    between_changes = products(changes, changes)
    gamma = curvature[-1] / between_changes[-1, -1]
    is_used = is_used[:, tf.newaxis]
    first = tf.linalg.triangular_solve(
        upper, is_used * products(steps, gradient[tf.newaxis]), lower=False
    )
    remaining = products(changes, gradient[tf.newaxis]) - between_changes @ first
    second = tf.linalg.triangular_solve(
        upper, is_used * (curvature * first - gamma * remaining), lower=False, adjoint=True
    )

    def combined(coefficients: tf.Tensor, rows: tf.Tensor) -> tf.Tensor:
        coefficients = tf.cast(coefficients, rows.dtype)
        return tf.squeeze(tf.matmul(coefficients, rows, transpose_a=True), 0)

    gamma = tf.cast(gamma, gradient.dtype)
    direction = gamma * (gradient - combined(first, changes)) + combined(second, steps)
    return tf.where(results.num_iterations == 0, -gradient, -direction)


def _pushed(queue: tf.Tensor, should_update: tf.Tensor, newest: tf.Tensor) -> tf.Tensor:
    """Return the queue without its oldest row and with a new last one, if it is to be updated.

    The rows move in place, so that there is never a second copy of them: afterwards `queue` holds
    what is returned. All that reads the queue must be needed for `newest`, as the direction is.
    """
    last = queue.shape[0] - 1

    def moved_up(row: tf.Tensor, queue: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        return row + 1, _with_row(queue, row, queue[row + 1])

    def pushed() -> tf.Tensor:
        _, rest = tf.while_loop(
            lambda row, _: row < last, moved_up, (tf.constant(0), queue), parallel_iterations=1
        )
        return _with_row(rest, last, newest)

    with tf.control_dependencies([newest]):
        return tf.cond(should_update, pushed, lambda: queue)


def emptied(queue: tf.Tensor) -> tf.Tensor:
    """Return the queue after its rows have been set to zero in place."""
    zeros = tf.zeros_like(queue[0])
    for row in range(queue.shape[0]):
        queue = _with_row(queue, row, zeros)
    return queue


def _with_row(queue: tf.Tensor, row: tf.Tensor | int, vector: tf.Tensor) -> tf.Tensor:
    return tf.raw_ops.InplaceUpdate(x=queue, i=[row], v=vector[tf.newaxis])


def _unit_step(
    results: LBFGSResults, evaluate: Evaluate, direction: tf.Tensor, *limits: Any
) -> LBFGSResults:
    """Move by the whole direction if that meets the strong Wolfe conditions.

    They are f(1) ≤ f(0) + c₁ f′(0) and |f′(1)| ≤ c₂ |f′(0)| along the direction. TFP's Hager–Zhang
    search evaluates this step too, but does not test it and brackets a minimum first. It needs
    about 2.9 evaluations per iteration; here one is nearly always enough.

    Returns:
      The results after the step. If it is refused, the results as they were, with `failed`, and
      with `tried` and `tried_gradient` of the step, so that a search need not evaluate it again.
    """
    direction, start, along = _line(results, evaluate, direction)
    trial = along(tf.constant(1, direction.dtype))
    taken = HagerZhangLineSearchResult(
        converged=tf.constant(True),
        failed=tf.constant(False),
        func_evals=tf.constant(1),
        iterations=tf.constant(0),
        left=trial,
        right=trial,
    )
    refused = results._replace(
        failed=tf.constant(True), tried=_summary(trial), tried_gradient=trial.full_gradient
    )
    return tf.cond(
        ~results.converged & ~results.failed & _meets_wolfe_conditions(trial, start),
        lambda: _moved(results, direction, trial, taken, *limits),
        lambda: refused,
    )


def _meets_wolfe_conditions(trial: _Point, start: _Point) -> tf.Tensor:
    enough_decrease = trial.f <= start.f + SUFFICIENT_DECREASE * start.df
    flat_enough = tf.abs(trial.df) <= CURVATURE * tf.abs(start.df)
    return (start.df < 0) & enough_decrease & flat_enough & tf.math.is_finite(trial.f)


def _searched_step(
    results: LBFGSResults, evaluate: Evaluate, direction: tf.Tensor, *limits: Any
) -> LBFGSResults:
    """Search along the direction with TFP's search, which begins with the unit step."""
    direction, start, along = _line(results, evaluate, direction)
    gradients: list[tf.Tensor] = []

    def kept_apart(point: _Point) -> _Point:
        """Replace the gradient by its number: the search would copy it at every choice."""
        if not tf.executing_eagerly():
            return point
        gradients.append(point.full_gradient)
        return point._replace(full_gradient=tf.constant(len(gradients) - 1))

    trial = kept_apart(along(tf.constant(1, direction.dtype)))
    found = stock.hager_zhang(
        lambda step: kept_apart(along(step)),
        value_at_initial_step=trial,
        value_at_zero=kept_apart(start),
        converged=results.converged | results.failed,
        max_iterations=limits[_MAX_ITERATIONS],
    )
    best = found.left
    if gradients:
        best = best._replace(full_gradient=gradients[int(best.full_gradient)])
    found = found._replace(left=best, func_evals=found.func_evals + 1)
    del gradients[:]
    return _moved(results, direction, trial, found, *limits)


def _line(
    results: LBFGSResults, evaluate: Evaluate, direction: tf.Tensor
) -> tuple[tf.Tensor, _Point, _AlongLine]:
    """Return the direction, the point at step 0, and the function from a step to its point.

    If the direction is not finite, it is replaced by zeros: the search then fails and the position
    stays the same. That happens after two equal gradients in a row, for which TFP divides 0 by 0; a
    step along NaN would destroy the position.
    """
    direction = tf.cond(_all_finite(direction), lambda: direction, lambda: tf.zeros_like(direction))

    def point_at(
        step: tf.Tensor, value: tf.Tensor, gradient: tf.Tensor, terms: tf.Tensor
    ) -> _Point:
        return _Point(step, value, tf.reduce_sum(gradient * direction), gradient, terms)

    def along(step: tf.Tensor) -> _Point:
        return point_at(step, *evaluate(results.position + step[tf.newaxis] * direction))

    present = results.objective_value, results.objective_gradient, results.terms
    return direction, point_at(tf.constant(0, direction.dtype), *present), along


def _moved(
    results: LBFGSResults,
    direction: tf.Tensor,
    trial: _Point,
    search_result: HagerZhangLineSearchResult,
    gradient_tolerance: tf.Tensor,
    value_relative_tolerance: tf.Tensor,
    position_tolerance: tf.Tensor,
    _stopping_condition: Callable[[tf.Tensor, tf.Tensor], tf.Tensor],
    _max_iterations: tf.Tensor,
    value_absolute_tolerance: tf.Tensor,
) -> LBFGSResults:
    """Move to the best point of a search, as `line_search_step` of TFP does.

    Unlike TFP's it also stores `terms` and `tried`.
    """
    point: _Point = search_result.left
    failed = results.failed | (~results.converged & ~search_result.converged)
    failed |= ~(tf.math.is_finite(point.f) & _all_finite(point.full_gradient))
    position = results.position + direction * point.x
    change = tf.abs(point.f - results.objective_value)
    converged = (
        (_largest(point.full_gradient) <= gradient_tolerance)
        | (_largest(position - results.position) <= position_tolerance)
        | (change <= value_relative_tolerance * results.objective_value)
        | (change <= value_absolute_tolerance)
    )
    before = results._replace(
        failed=failed,
        num_iterations=results.num_iterations + 1,
        num_objective_evaluations=results.num_objective_evaluations + search_result.func_evals,
    )
    after = before._replace(
        converged=~failed & converged,
        position=position,
        objective_value=point.f,
        objective_gradient=point.full_gradient,
        terms=point.terms,
        tried=_first_not_finite(_summary(trial), _summary(search_result.right)),
    )
    # If the loss was not finite before the search, the position stays the same.
    return tf.cond(results.failed, lambda: before, lambda: after)


def _summary(point: _Point) -> tf.Tensor:
    """Return (value, slope, *terms) of a point."""
    return tf.concat([[point.f, point.df], point.terms], axis=0)


def _first_not_finite(summary: tf.Tensor, other_summary: tf.Tensor) -> tf.Tensor:
    return tf.where(_all_finite(summary), other_summary, summary)


def _all_finite(vector: tf.Tensor) -> tf.Tensor:
    return tf.reduce_all(tf.math.is_finite(vector))


def _largest(vector: tf.Tensor) -> tf.Tensor:
    return tf.norm(vector, ord=float("inf"))
