"""What a transfer does once and no more: opens, hashes, and evaluates."""

import dataclasses
import hashlib
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
import tensorflow as tf
from helpers import network
from helpers.small_transfers import WIDTH, noise, objective_at, small_config
from helpers.transfers import run_transfer

from gatys_norm import sphere, stages, transfer
from gatys_norm.cli import main as cli
from gatys_norm.images import inputs as picture_inputs
from gatys_norm.images import io as picture_io
from gatys_norm.losses import atlas
from gatys_norm.optimizers import base
from gatys_norm.run_log import RunLog
from gatys_norm.runs.schedule import Phase

pytestmark = pytest.mark.usefixtures("eagerly")


@pytest.fixture
def config(tmp_path):
    return small_config(tmp_path)


class Counting(tf.Module):
    """An extractor that counts the pictures that pass through it."""

    def __init__(self, extractor):
        super().__init__()
        self.extractor, self.count = extractor, 0

    def __call__(self, image):
        self.count += 1
        return self.extractor(image)

    def ways(self, height, width):
        return self.extractor.ways(height, width)


@pytest.mark.parametrize("optimizer", ["lbfgs", "adam"])
def test_the_log_costs_no_pass_through_the_network(monkeypatch, small_model, config, optimizer):
    made = []

    def counted(extractor):
        made.append(Counting(extractor))
        return made[-1]

    config = dataclasses.replace(config, optimizer=optimizer, iterations=(6,))
    passes = []
    for log_every in (1, 6):
        network.use(monkeypatch, small_model, counted)
        record = run_transfer(dataclasses.replace(config, log_every=log_every)).record
        assert len(record["history"]) == 1 + 6 // log_every
        # The targets are of two pictures.
        assert made[-1].count == record["evaluations"] + 2
        passes.append(made[-1].count)
    assert passes[0] == passes[1]


@pytest.mark.usefixtures("small_network")
def test_rows_of_the_log_are_of_the_pictures_that_were_accepted(config):
    """Row by row, the distances of x at that iteration, as an objective of its own gives them."""
    pictures = {}

    def keep(progress):
        pictures[progress.iteration] = progress.image()

    config = dataclasses.replace(config, log_every=1)
    history = run_transfer(config, keep, stop_at_multiples_of=(1,)).record["history"]
    target = objective_at(config, WIDTH)
    assert [row["iteration"] for row in history] == [0, 1, 2, 3, 4, 5]
    for row in history[1:]:
        terms = target.terms(target.position(pictures[row["iteration"]]))
        assert {name: row[name] for name in terms} == terms
        assert row["loss"] == target.loss(terms)


@pytest.mark.usefixtures("small_network")
def test_a_command_opens_each_picture_once_and_hashes_it_once(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    small_config(Path())
    opened, hashed, load, sha256 = [], [], picture_io.load_picture, hashlib.sha256

    def loading(path):
        opened.append(path)
        return load(path)

    def hashing(data):
        hashed.append(len(data))
        return sha256(data)

    monkeypatch.setattr(picture_io, "load_picture", loading)
    monkeypatch.setattr(picture_io, "read_size", lambda path: pytest.fail("opened for its size"))
    monkeypatch.setattr(picture_inputs.hashlib, "sha256", hashing)
    flags = ["--content=content.png", "--style=style.png", "--output=out.png", "--size=24"]
    flags += ["--iterations=4", "--checkpoint_every=1", "--snapshot_every=2"]
    flags += ["--content_layers=conv2_1", "--style_layers=conv1_1,conv2_2"]
    assert cli.run(["gatys-norm", *flags]) == 0
    assert sorted(map(str, opened)) == ["content.png", "style.png"]
    pixels = [picture.nbytes for picture in map(load, ("content.png", "style.png"))]
    assert [size for size in hashed if size in pixels] == pixels


@pytest.mark.usefixtures("small_network")
def test_a_restored_state_is_not_held_during_the_run(config):
    """Its correction pairs are as large as all others that a run needs."""
    taken = []
    run_transfer(config, lambda progress: taken.append(progress.checkpoint()) or True)
    resumed = transfer.Transfer(config)
    resumed.restore(taken[0])
    assert resumed._restored is not None
    assert resumed.run(lambda progress: resumed._restored is not None).record["status"] != (
        "interrupted"
    )


def test_rows_are_logged_once_and_counts_add_up_over_sizes():
    log = RunLog()
    stage, state = stage_of(24), state_at(4, evaluations=5)
    log.add_row(stage, state_at(0, evaluations=1))
    log.add_row(stage, state)
    log.add_row(stage, state)
    phases = (Phase("bfloat16", 3), Phase("float32", 4))
    log.close_stage(stage, phases, state, "completed", seconds=2.0)
    assert [row["iteration"] for row in log.history] == [0, 4]
    second, state = stage_of(48), state_at(3, evaluations=4)
    log.add_row(second, state_at(0, evaluations=1))
    log.close_stage(second, phases[:1], state, "stalled", seconds=0.5)
    assert (log.iterations_before(), log.evaluations_before()) == (7, 9)
    assert log.seconds_before() == 2.5
    assert [stage["status"] for stage in log.stages] == ["completed", "stalled"]
    assert [stage["size"] for stage in log.stages] == [24, 48]
    assert [stage["convolutions"]["conv1_1"] for stage in log.stages] == ["16×24", "16×48"]
    assert [stage["phases"][-1]["last_iteration"] for stage in log.stages] == [4, 3]
    # Of the terms 2 and 3, with the coefficients 10 and 100.
    assert log.stages[0]["loss"] == {"initial": 320.0, "final": 320.0}


def test_noise_on_a_panorama_is_as_strong_at_the_poles_as_elsewhere(tmp_path):
    width = 512  # whose atlas has pixels larger than its own
    config = small_config(tmp_path, init="noise", projection="equirectangular", size=(width,))
    content = np.zeros((width // 2, width, 3), np.float32)
    pictures = picture_inputs.ResizedInputs(content, (content,))
    loaded = picture_inputs.LoadedInputs(picture_inputs.Inputs(content, (content,)), {})
    start = stages.first_picture(config, loaded, pictures)
    seen = atlas.atlas_of(start).numpy()
    weights = sphere.position_weights(width)[..., np.newaxis] * np.ones(3)
    next_to_pole, equator = (
        np.average(np.square(seen[rows] - stages.GREY), weights=weights[rows])
        for rows in (slice(24, 44), slice(192, 224))
    )
    assert 0.8 < next_to_pole / equator < 1.25


def stage_of(size):
    """Return a stage whose objective has two terms, and whose network is never run."""
    network = mock.Mock(ways=lambda height, width: {"conv1_1": f"{height}×{width}"})
    objective = stages.Objective(network, (16, size, 3), {}, {"content/a": 10.0, "style/b": 100.0})
    pictures = picture_inputs.ResizedInputs(noise(16, size, 1), (noise(8, 9, 2),))
    return stages.Stage(0, size, ((8, 9),), lambda: pictures, objective)


def state_at(iterations, evaluations):
    """Return a state of an optimizer whose terms are 2 and 3."""
    position = tf.zeros([3])
    first, _ = base.first_results(
        lambda x: (tf.reduce_sum(x), tf.ones([3]), tf.constant([2.0, 3.0])), position, ()
    )
    first["num_objective_evaluations"] = tf.constant(evaluations)
    none = np.zeros(3)
    from gatys_norm.optimizers.adam import AdamResults

    return base.State(AdamResults(**first, momentum=none, velocity=none), 1.0, iterations, 0)
