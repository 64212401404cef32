"""A transfer in strips is stopped within an evaluation, wherever that is, and nothing is lost."""

import dataclasses

import numpy as np
import pytest
from helpers.small_transfers import WIDTH, small_config
from helpers.strips import LOW_STRIPS

from gatys_norm import transfer
from gatys_norm.network import memory, strips
from gatys_norm.optimizers.base import EvaluationStoppedError

SMALLER = 20

pytestmark = [pytest.mark.numeric, pytest.mark.usefixtures("eagerly", "small_network")]


@pytest.fixture
def config(tmp_path, monkeypatch):
    """Give the settings of a transfer of two sizes, 3 iterations each, in strips."""
    monkeypatch.setattr(memory, "plan_size", lambda *_: memory.Plan(2.0**30, LOW_STRIPS))
    return dataclasses.replace(
        small_config(tmp_path), size=(SMALLER, WIDTH), iterations=(3, 3), log_every=1
    )


class Stopper:
    """Raises the error of a stop at one strip, counted over a run; then says stop as well."""

    def __init__(self, at=None):
        self.at = at
        self.count = 0
        self.checkpoints = []
        self.raised_after = None

    def on_strip(self, _):
        self.count += 1
        if self.count == self.at:
            self.raised_after = len(self.checkpoints)
            raise EvaluationStoppedError

    def on_progress(self, progress):
        self.checkpoints.append(progress.checkpoint())
        return self.raised_after is not None


def run(config, stopper, checkpoint=None):
    one = transfer.Transfer(config)
    if checkpoint is not None:
        one.restore(checkpoint)
    with strips.watched_by(stopper.on_strip):
        return one.run(stopper.on_progress)


def strips_until_each_iteration(config):
    """Return the number of strips before each call of `on_progress`, and those of a whole run."""
    counts, stopper = [], Stopper()
    one = transfer.Transfer(config)
    with strips.watched_by(stopper.on_strip):
        result = one.run(lambda _: counts.append(stopper.count))
    return counts, stopper.count, result


@pytest.mark.slow
def test_a_stop_within_any_evaluation_resumes_to_the_same_bytes(config):
    counts, _, whole = strips_until_each_iteration(config)
    assert len(counts) == 6
    # The last iteration of the first size; of the second the opening, first and last iteration.
    for at in (counts[2] - 1, counts[2] + 1, counts[3] - 1, counts[5] - 1):
        stopper = Stopper(at)
        stopped = run(config, stopper)
        assert stopped.record["status"] == "interrupted"
        assert stopper.raised_after is not None
        assert len(stopper.checkpoints) == stopper.raised_after + 1  # told once more, for the file
        resumed = run(config, Stopper(), stopper.checkpoints[-1])
        assert resumed.image.tobytes() == whole.image.tobytes()
        assert resumed.record["history"] == whole.record["history"]
        assert resumed.record["iterations"] == 6


def test_a_stop_before_there_is_a_picture_is_told_to_the_caller(config):
    counts, _, _ = strips_until_each_iteration(config)
    stopper = Stopper(at=1)
    with pytest.raises(EvaluationStoppedError):
        run(config, stopper)
    assert not stopper.checkpoints
    stopper = Stopper(at=counts[0] - 1)  # the first iteration
    stopped = run(config, stopper)
    assert stopped.record["iterations"] == 0
    assert np.isfinite(stopped.image).all()


def test_a_stop_where_a_corrected_phase_begins_resumes_to_the_same_bytes(config, monkeypatch):
    from gatys_norm.runs import schedule as schedules

    monkeypatch.setattr(schedules, "LEAST_SIZE", 0)
    config = dataclasses.replace(config, size=(WIDTH,), iterations=(8,), continuation="rank")
    phases = schedules.schedule(config.resolved(), "float32").phases[0]
    assert len(phases) > 1
    counts, _, whole = strips_until_each_iteration(config)
    end = phases[0].last_iteration
    stopper = Stopper(at=counts[end - 1] + 1)
    stopped = run(config, stopper)
    assert stopped.record["status"] == "interrupted"
    resumed = run(config, Stopper(), stopper.checkpoints[-1])
    assert resumed.image.tobytes() == whole.image.tobytes()
