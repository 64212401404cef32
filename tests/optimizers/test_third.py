"""A third optimizer is a module of `optimizers` and a line in the settings, and nothing else.

Steepest descent, made up here, goes through a whole transfer: it is found by its name, is stopped
and resumed, and its settings and memory are known.
"""

import dataclasses
import sys
import types
from typing import NamedTuple

import numpy as np
import pytest
import tensorflow as tf
from helpers.small_transfers import small_config
from helpers.transfers import run_transfer

from gatys_norm import config as settings
from gatys_norm.optimizers import base
from gatys_norm.runs import checkpoint as checkpoints

pytestmark = pytest.mark.usefixtures("eagerly", "small_network")
STEP = 0.5


class DescentResults(NamedTuple):
    converged: tf.Tensor
    failed: tf.Tensor
    num_iterations: tf.Tensor
    num_objective_evaluations: tf.Tensor
    position: tf.Tensor
    objective_value: tf.Tensor
    objective_gradient: tf.Tensor
    terms: tf.Tensor
    tried: tf.Tensor


class Descent:
    max_restarts = 0

    def init(self, evaluate, position, data=()):
        first, scale = base.first_results(evaluate, position, data)
        return base.State(DescentResults(**first), scale, 0, 0)

    def advance(self, evaluate, state, count, data, may_restart):
        for _ in range(count):
            results = state.results
            position = results.position - STEP * results.objective_gradient
            moved = base.State(results._replace(position=position), state.scale, 0, 0)
            results = base.reevaluate(evaluate, moved, data).results
            results = results._replace(num_iterations=results.num_iterations + 1)
            state = base.State(results, state.scale, state.iterations + 1, 0)
        return state, count

    def array_shapes(self, value_count, term_count):
        return base.common_shapes(value_count, term_count)

    def results_from(self, arrays):
        return DescentResults(**base.tensors_from(arrays))


@pytest.fixture
def config(tmp_path, monkeypatch):
    module = types.SimpleNamespace(make=lambda _config: Descent())
    monkeypatch.setitem(sys.modules, "gatys_norm.optimizers.descent", module)
    monkeypatch.setitem(settings.OPTIMIZER_SETTINGS, "descent", ())
    # The choices of the setting are those of the table, which a test is too late to change.
    monkeypatch.setattr(settings, "_check_choices", lambda config: None)
    return small_config(tmp_path, optimizer="descent", iterations=(6,))


def test_it_runs_and_needs_less_memory_than_correction_pairs(config):
    result = run_transfer(config)
    assert result.record["status"] == "completed"
    assert result.record["evaluations"] == 7
    assert result.record["loss"]["final"] < result.record["loss"]["initial"]
    assert config.stored_pairs == 1


def test_it_is_stopped_and_resumed(config, tmp_path):
    whole = run_transfer(config)
    taken = []

    def stop(progress):
        taken.append(progress.checkpoint())
        return progress.iteration == 3

    run_transfer(config, stop, stop_at_multiples_of=(1,))
    checkpoints.save(tmp_path / "x.npz", taken[-1])
    stored = checkpoints.load(tmp_path / "x.npz")
    assert stored.facts["iterations"] == 3
    resumed = run_transfer(config, checkpoint=stored)
    np.testing.assert_array_equal(resumed.image, whole.image)
    assert resumed.record["history"] == whole.record["history"]
    other = dataclasses.replace(config, optimizer="lbfgs")
    with pytest.raises(ValueError, match="optimizer is descent there and lbfgs here"):
        run_transfer(other, checkpoint=stored)
