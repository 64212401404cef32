"""A device whose memory is full: once more in strips, then one line; nothing is lost or changed.

On a network of a few channels; the fullness is made up.
"""

import dataclasses
import itertools
import math
import types

import numpy as np
import pytest
import tensorflow as tf
from helpers.small_transfers import WIDTH, objective_at, small_config
from helpers.transfers import run_transfer

from gatys_norm import stages, transfer
from gatys_norm.losses import objective as objectives
from gatys_norm.network import memory
from gatys_norm.network.memory import THRIFTIEST, WHOLE
from gatys_norm.optimizers import base

SMALLER = 20
FULL = tf.errors.ResourceExhaustedError(None, None, "OOM when allocating tensor")

pytestmark = [pytest.mark.numeric, pytest.mark.usefixtures("eagerly", "small_network")]
in_both_optimizers = pytest.mark.parametrize(
    "changes", [{}, {"optimizer": "adam", "learning_rate": 2.0}], ids=["lbfgs", "adam"]
)


@pytest.fixture
def config(tmp_path):
    return small_config(tmp_path, log_every=1)


def fill(monkeypatch, at_calls=(), strips_too=False):
    """Let evaluations of these numbers find the memory full, counted from 1.

    Args:
      monkeypatch: pytest's.
      at_calls: numbers of evaluations without strips.
      strips_too: whether evaluations in strips find it full too, all of them.

    Returns:
      List of the `Strips` of all evaluations.
    """
    calls, function_of = [], vars(objectives.Objective)["function"].fget

    def function(self):
        def evaluate(*arguments):
            calls.append(self.strips)
            number = sum(strips == WHOLE for strips in calls)
            if (self.strips == WHOLE and number in at_calls) or (
                self.strips != WHOLE and strips_too
            ):
                raise FULL
            return function_of(self)(*arguments)

        return evaluate

    monkeypatch.setattr(objectives.Objective, "function", property(function))
    return calls


def run_with_warning(config, *arguments):
    line = f"^memory is full; size {config.size[-1]} continues .* in strips of 32 rows$"
    with pytest.warns(UserWarning, match=line) as warned:
        result = run_transfer(config, *arguments)
    assert len(warned) == 1
    return result


@in_both_optimizers
def test_a_first_evaluation_without_room_is_made_again_in_strips(config, monkeypatch, changes):
    config = dataclasses.replace(config, **changes)
    with monkeypatch.context() as patch:
        patch.setattr(memory, "plan_size", lambda *_: memory.Plan(2.0**30, THRIFTIEST))
        in_strips = run_transfer(config)
    calls = fill(monkeypatch, at_calls=(1,))
    result = run_with_warning(config)
    assert calls[:2] == [WHOLE, THRIFTIEST]
    np.testing.assert_array_equal(result.image, in_strips.image)
    assert result.record["stages"][0]["strips"] == THRIFTIEST._asdict()
    assert result.record["history"] == in_strips.record["history"]


@in_both_optimizers
def test_iterations_continue_from_the_present_picture(config, monkeypatch, changes):
    config = dataclasses.replace(config, iterations=(9,), **changes)
    fill(monkeypatch, at_calls=(6,))
    seen = []

    def look(progress):
        seen.append((progress.iteration, progress.evaluations, progress.loss, progress.image()))

    pieces = pytest.MonkeyPatch()
    pieces.setattr(base, "SECONDS_PER_PIECE", 0.0)
    result = run_with_warning(config, look)
    pieces.undo()
    record = result.record
    iterations = [row["iteration"] for row in record["history"]]
    assert iterations == list(range(10))
    assert (record["status"], record["iterations"]) == ("completed", 9)
    losses = [row["loss"] for row in record["history"]]
    assert losses[-1] < losses[3] < losses[0]
    evaluations = [row["evaluations"] for row in record["history"]]
    assert evaluations == sorted(set(evaluations))  # they go on being counted
    assert record["evaluations"] >= 10
    (size,) = record["stages"]
    assert size["strips"] == THRIFTIEST._asdict()
    target = objective_at(config, WIDTH, THRIFTIEST)
    expected = target.loss(target.terms(target.position(result.image)))
    assert record["loss"]["final"] == pytest.approx(expected, rel=1e-6)


def test_a_second_time_is_the_last_one(config, monkeypatch):
    fill(monkeypatch, at_calls=(1,), strips_too=True)
    line = f"^size: {WIDTH} does not fit into the device's memory"
    with (
        pytest.warns(UserWarning, match="^memory is full"),
        pytest.raises(memory.OutOfMemoryError, match=line),
    ):
        run_transfer(config)


def test_in_the_thriftiest_strips_there_is_no_second_time(config, monkeypatch):
    monkeypatch.setattr(memory, "plan_size", lambda *_: memory.Plan(2.0**30, THRIFTIEST))
    calls = fill(monkeypatch, strips_too=True)
    with pytest.raises(memory.OutOfMemoryError):  # a warning would be an error here
        run_transfer(config)
    assert calls == [THRIFTIEST]


def test_a_size_that_does_not_open_is_opened_again_and_later_ones_are_in_strips(
    config, monkeypatch
):
    config = dataclasses.replace(config, size=(SMALLER, WIDTH), iterations=(2, 2))
    build, opened = stages.build_objective, []

    def build_objective(config, extractor, inputs, strips):
        opened.append((len(inputs.content[0]), strips))
        if len(opened) == 1:
            raise FULL
        return build(config, extractor, inputs, strips)

    monkeypatch.setattr(stages, "build_objective", build_objective)
    with pytest.warns(UserWarning, match=f"^memory is full; size {SMALLER} continues"):
        record = run_transfer(config).record
    assert opened == [(SMALLER, WHOLE), (SMALLER, THRIFTIEST), (WIDTH, THRIFTIEST)]
    assert [size["strips"] for size in record["stages"]] == [THRIFTIEST._asdict()] * 2
    assert record["status"] == "completed"


def test_the_size_before_stays_as_it_was(config, monkeypatch):
    config = dataclasses.replace(config, size=(SMALLER, WIDTH), iterations=(2, 2))
    plain = run_transfer(config).record
    first = plain["stages"][0]["evaluations"]
    fill(monkeypatch, at_calls=(first + 1,))
    record = run_with_warning(config).record
    assert [size["strips"] for size in record["stages"]] == [WHOLE._asdict(), THRIFTIEST._asdict()]
    assert record["stages"][0]["loss"] == plain["stages"][0]["loss"]


def test_a_checkpoint_taken_afterwards_resumes_in_strips(config, monkeypatch):
    config = dataclasses.replace(config, iterations=(9,))
    taken = []
    with monkeypatch.context() as patch:
        patch.setattr(base, "SECONDS_PER_PIECE", 0.0)
        fill(patch, at_calls=(6,))
        whole = run_with_warning(
            config, lambda progress: taken.append((progress.iteration, progress.checkpoint()))
        )
    checkpoint = dict(taken)[7]
    assert checkpoint.facts["strips"] == THRIFTIEST._asdict()
    resumed = run_transfer(config, None, checkpoint)
    np.testing.assert_array_equal(resumed.image, whole.image)
    assert resumed.record["history"] == whole.record["history"]


def test_a_resumed_size_without_room_is_resumed_in_strips(config, monkeypatch):
    taken = []
    run_transfer(config, lambda progress: taken.append(progress.checkpoint()) or True)
    fill(monkeypatch, at_calls=(1,))
    record = run_with_warning(config, None, taken[0]).record
    assert (record["status"], record["iterations"]) == ("completed", 5)
    assert record["stages"][0]["strips"] == THRIFTIEST._asdict()


def test_measures_without_room_end_in_one_line(config, monkeypatch):
    def measure(*_):
        raise FULL

    monkeypatch.setattr(transfer.metrics, "measure", measure)
    with pytest.raises(memory.OutOfMemoryError, match=r"^size: "):
        run_transfer(config)


# --- the forecast -------------------------------------------------------------------------------


def forecast_of(config, checkpoint=None):
    """Run a transfer; returns (its result, the forecasts that it told)."""
    told = []
    run = transfer.Transfer(config)
    if checkpoint is not None:
        run.restore(checkpoint)
    return run.run(on_forecast=told.append), told


def test_the_time_is_told_before_the_first_iteration_and_changes_nothing(config):
    config = dataclasses.replace(config, size=(SMALLER, WIDTH), iterations=(3, 2))
    plain = run_transfer(config)
    result, (seconds,) = forecast_of(config)
    assert math.isfinite(seconds)
    assert seconds > 0
    np.testing.assert_array_equal(result.image, plain.image)
    for name in ("history", "evaluations", "loss"):
        assert result.record[name] == plain.record[name]


def test_nothing_is_evaluated_for_a_small_size_or_where_nobody_asks(config, monkeypatch):
    calls = fill(monkeypatch)
    run_transfer(config)
    plain_count = len(calls)
    assert forecast_of(config)[1] == []
    assert len(calls) == 2 * plain_count
    monkeypatch.setattr(transfer, "FORECAST_SIZE", WIDTH)
    assert len(forecast_of(config)[1]) == 1
    assert len(calls) == 3 * plain_count + 1


@pytest.mark.parametrize(("iterations", "evaluations"), [(3, 1), (4, 2)])
def test_where_many_iterations_follow_two_evaluations_are_timed(
    config, monkeypatch, iterations, evaluations
):
    monkeypatch.setattr(transfer, "FORECAST_SIZE", WIDTH)
    monkeypatch.setattr(transfer, "FORECAST_TWICE", 4)
    ticks = itertools.count()
    clock = types.SimpleNamespace(perf_counter=lambda: next(ticks))
    monkeypatch.setattr(transfer, "time", clock)
    run = transfer.Transfer(dataclasses.replace(config, size=(WIDTH,), iterations=(iterations,)))
    present = run._begun(None)
    before = next(ticks)
    run._forecast(present)
    assert next(ticks) - before - 1 == 2 * evaluations


def test_an_evaluation_for_the_forecast_without_room_is_made_in_strips(config, monkeypatch):
    monkeypatch.setattr(transfer, "FORECAST_SIZE", WIDTH)
    fill(monkeypatch, at_calls=(2,))
    with pytest.warns(UserWarning, match="^memory is full"):
        result, told = forecast_of(config)
    assert len(told) == 1
    assert result.record["stages"][0]["strips"] == THRIFTIEST._asdict()
    assert result.record["status"] == "completed"


def test_no_time_is_told_from_a_checkpoint(config, monkeypatch):
    monkeypatch.setattr(transfer, "FORECAST_SIZE", WIDTH)
    taken = []
    run_transfer(config, lambda progress: taken.append(progress.checkpoint()) or True)
    assert forecast_of(config, taken[0])[1] == []
