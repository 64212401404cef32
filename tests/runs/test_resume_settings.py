"""Going on from a checkpoint: what is the same transfer, and what differs, in words.

On a network of a few channels.
"""

import dataclasses
import itertools
import os
import sys

import numpy as np
import pytest
from helpers.programs import ROOT, run_new
from helpers.transfers import run_transfer

from gatys_norm import transfer
from gatys_norm.cli import main as cli
from gatys_norm.config import TransferConfig
from gatys_norm.images import inputs as picture_inputs
from gatys_norm.images import io as picture_io
from gatys_norm.network import low_rank
from gatys_norm.runs import checkpoint as checkpoints
from gatys_norm.runs import identity
from gatys_norm.runs import schedule as schedules

CONFIG = TransferConfig(
    content="content.png",
    style="a.png",
    content_layers=("conv2_1",),
    style_layers=("conv1_1", "conv2_2"),
    size=(24,),
    iterations=(6,),
    log_every=2,
)
TWO_STYLES = dataclasses.replace(CONFIG, style=("a.png", "b.png"))
COARSE_TO_FINE = dataclasses.replace(CONFIG, size=(20, 24), iterations=(3, 5))
BY_ADAM = {"optimizer": "adam", "learning_rate": 2.0}
both_optimizers = pytest.mark.parametrize("changes", [{}, BY_ADAM], ids=["lbfgs", "adam"])
real_transfers = pytest.mark.usefixtures("eagerly", "small_network")


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """Work in a folder with three pictures."""
    monkeypatch.chdir(tmp_path)
    generator = np.random.default_rng(0)
    for name in ("content.png", "a.png", "b.png"):
        picture_io.save_picture(name, generator.uniform(0, 255, (20, 24, 3)))
    return tmp_path


def checkpoint_at(config, iteration, file="x.npz"):
    """Stop a transfer there; returns its checkpoint, through the file and back."""
    taken = []

    def stop(progress):
        if progress.iteration >= iteration:
            taken.append(progress.checkpoint())
        return bool(taken)

    run_transfer(config, stop, stop_at_multiples_of=(1,))
    checkpoints.save(file, taken[0])
    return checkpoints.load(file)


def assert_same(result, other):
    np.testing.assert_array_equal(result.image, other.image)
    for name in ("config", "status", "iterations", "evaluations", "loss", "terms", "history"):
        assert result.record[name] == other.record[name], name


# --- the same transfer, bit for bit -------------------------------------------------------------


@real_transfers
@both_optimizers
@pytest.mark.parametrize("taken_at", [3, 6])
def test_a_longer_run_resumed_is_the_one_asked_for_from_the_start(changes, taken_at):
    shorter = dataclasses.replace(CONFIG, **changes)
    longer = dataclasses.replace(shorter, iterations=(10,))
    checkpoint = checkpoint_at(shorter, taken_at)
    resumed = run_transfer(longer, checkpoint=checkpoint)
    assert_same(resumed, transfer.stylize(longer))
    assert resumed.record["iterations"] == 10


@real_transfers
@both_optimizers
def test_where_pieces_end_and_checkpoints_are_taken_does_not_matter(changes, monkeypatch):
    from gatys_norm.optimizers import base

    longer = dataclasses.replace(CONFIG, iterations=(10,), **changes)
    whole = transfer.stylize(longer)
    checkpoint = None
    monkeypatch.setattr(base, "SECONDS_PER_PIECE", 0)
    for iterations, taken_at in ((4, 1), (6, 4), (9, 7)):
        config = dataclasses.replace(longer, iterations=(iterations,))
        taken = []

        def stop(progress, taken=taken, taken_at=taken_at):
            if progress.iteration == taken_at:
                taken.append(progress.checkpoint())
            return bool(taken)

        run_transfer(config, stop, checkpoint)
        checkpoint = taken[0]
    assert_same(run_transfer(longer, checkpoint=checkpoint), whole)


@pytest.fixture
def small_continuation(monkeypatch):
    """Continuation at any size and of few channels, corrected every third iteration."""
    monkeypatch.setattr(schedules, "LEAST_SIZE", 1)
    monkeypatch.setattr(schedules, "ITERATIONS_PER_CORRECTION", 3)
    monkeypatch.setattr(low_rank, "RANK_STEP", 1)
    monkeypatch.setattr(low_rank, "LOST_SHARE", 0.05)
    return dataclasses.replace(CONFIG, continuation="rank", iterations=(20,))


@real_transfers
@both_optimizers
@pytest.mark.parametrize("taken_at", [2, 4, 6, 7, 12, 14])
def test_resumed_in_any_phase_it_has_the_same_bits(changes, taken_at, small_continuation):
    """The phases end after 4, 7, 10 and 12 iterations in the low-rank network, and 20."""
    config = dataclasses.replace(small_continuation, **changes)
    checkpoint = checkpoint_at(config, taken_at)
    whole = transfer.stylize(config)
    assert_same(run_transfer(config, checkpoint=checkpoint), whole)
    (size,) = whole.record["stages"]
    assert [phase["last_iteration"] for phase in size["phases"]] == [4, 7, 10, 12, 20]
    assert [phase["corrects"] for phase in size["phases"]] == [False, True, True, True, False]


@real_transfers
def test_the_place_of_the_last_correction_is_checked(small_continuation):
    checkpoint = checkpoint_at(small_continuation, 6)
    arrays = dict(checkpoint.arrays)
    place = arrays.pop("phase_start")
    for damaged in ({}, {"phase_start": place[1:]}, {"phase_start": place * np.float32("inf")}):
        other = checkpoints.Checkpoint(arrays | damaged, checkpoint.facts)
        with pytest.raises(identity.CheckpointMismatchError, match="is damaged"):
            run_transfer(small_continuation, checkpoint=other)


@pytest.mark.parametrize(
    ("phase", "done", "planned", "same"),
    [
        (0, 50, 400, True),
        (2, 80, 400, True),
        (7, 240, 400, True),
        (0, 50, 100, False),  # where its own targets are left after 24 iterations
        (6, 140, 200, False),
    ],
)
def test_continuation_must_not_have_gone_another_way(phase, done, planned, same):
    config = dataclasses.replace(CONFIG, size=(512,), iterations=(250,), continuation="rank")
    facts = facts_of(config, phase=phase, iterations=done)
    other = dataclasses.replace(config, iterations=(planned,))
    if same:
        check_before_work(facts, other)
    else:
        assert "when the network or its number format changes" in refusal(facts, other)


@real_transfers
def test_fewer_iterations_than_planned_but_not_than_done_are_the_same_transfer():
    shorter = dataclasses.replace(CONFIG, iterations=(4,))
    for taken_at in (2, 4):
        resumed = run_transfer(shorter, checkpoint=checkpoint_at(CONFIG, taken_at))
        assert_same(resumed, transfer.stylize(shorter))


@real_transfers
@pytest.mark.parametrize(("taken_at", "iterations"), [(2, (4, 2)), (5, (3, 6))])
def test_other_iterations_at_this_size_and_the_sizes_to_come(taken_at, iterations):
    checkpoint = checkpoint_at(COARSE_TO_FINE, taken_at)
    config = dataclasses.replace(COARSE_TO_FINE, iterations=iterations)
    assert_same(run_transfer(config, checkpoint=checkpoint), transfer.stylize(config))


@real_transfers
def test_pictures_under_other_names_are_the_same_pictures(folder):
    """Several styles give their names to the terms, in the rows so far too."""
    (folder / "away").mkdir()
    checkpoint = checkpoint_at(TWO_STYLES, 3)
    for old, new in (("content.png", "away/c.webp"), ("b.png", "away/other.png")):
        picture_io.save_picture(new, picture_io.load_picture(old))
    picture_io.save_picture("a1.png", picture_io.load_picture("a.png"))
    moved = dataclasses.replace(
        TWO_STYLES, content="away/c.webp", style=(str(folder / "a1.png"), "away/other.png")
    )
    resumed = run_transfer(moved, checkpoint=checkpoint)
    assert_same(resumed, transfer.stylize(moved))
    assert "style[other]/conv1_1" in resumed.record["history"][0]


@real_transfers
@both_optimizers
def test_settings_that_x_does_not_depend_on_do_not_count(changes):
    checkpoint = checkpoint_at(dataclasses.replace(CONFIG, **changes), 3)
    unused = {"history": 5, "line_search": "hager_zhang"} if changes else {"learning_rate": 3.0}
    other = dataclasses.replace(CONFIG, **changes, log_every=5, seed=9, weights="w.h5", **unused)
    resumed, whole = run_transfer(other, checkpoint=checkpoint), transfer.stylize(other)
    np.testing.assert_array_equal(resumed.image, whole.image)
    assert [row["iteration"] for row in resumed.record["history"]] == [0, 2, 5, 6]


# --- what differs, in words ---------------------------------------------------------------------


def facts_of(config, **changes):
    """Return the facts that count of a checkpoint after the third iteration."""
    pictures = picture_inputs.load(config).hashes
    facts = {
        "config": config.resolved().as_dict(),
        "network_precision": config.precision,
        "weights": {"source": "imagenet", "sha256": "ab"},
        "pictures": pictures,
        "stage": 0,
        "phase": 0,
        "iterations": 3,
    }
    return facts | changes


def check_before_work(facts, config):
    """Check as the command line does before TensorFlow is loaded."""
    identity.check(facts, {"pictures": picture_inputs.load(config).hashes}, config)


def refusal(facts, config):
    """Return what is said, after the words that are always the same."""
    with pytest.raises(identity.CheckpointMismatchError) as info:
        check_before_work(facts, config)
    always = "the checkpoint is of another transfer: "
    assert str(info.value).startswith(always)
    return str(info.value).removeprefix(always)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"lambda_os": 0.5}, "lambda_os is 0.001 there and 0.5 here"),
        ({"loss": "original"}, "loss is normalized there and original here"),
        ({"size": (20, 24)}, "size is 24 there and 20,24 here"),
        (
            {"style_layers": ("conv1_1",)},
            "style_layers is conv1_1,conv2_2 there and conv1_1 here",
        ),
        ({"style_weights": (1.0, 2.0)}, "style_weights is 0.2,0.2 there and 1.0,2.0 here"),
        ({"optimizer": "adam"}, "optimizer is lbfgs there and adam here"),
        ({"history": 3}, "history is 10 there and 3 here"),
        ({"stroke_size": 0.9}, "stroke_size is 1.0 there and 0.9 here"),
        ({"init": "noise"}, "init is content there and noise here"),
        ({"init": "b.png"}, "init is content there and b.png here"),
        ({"style": "b.png"}, "the style picture is another one, b.png here and a.png there"),
        ({"style": ("a.png", "b.png")}, "style is a.png there and a.png,b.png here"),
        ({"content_masks": ("b.png",)}, "content_masks is none there and b.png here"),
        ({"iterations": (2,)}, "iterations is 6 there and 2 here, and 3 are done"),
        ({"precision": "bfloat16"}, None),  # whether the device computes in it is not known yet
        ({"iterations": (60,)}, None),
        ({"log_every": 5, "seed": 4, "learning_rate": 3.0, "weights": "imagenet"}, None),
    ],
)
def test_setting_and_both_values_are_named(changes, words):
    config = dataclasses.replace(CONFIG, **changes)
    if words is None:
        check_before_work(facts_of(CONFIG), config)
    else:
        assert refusal(facts_of(CONFIG), config) == words


def test_a_checkpoint_without_a_setting_had_its_default():
    facts = facts_of(CONFIG)
    del facts["config"]["stroke_size"]
    check_before_work(facts, CONFIG)
    other = dataclasses.replace(CONFIG, stroke_size=0.9)
    assert refusal(facts, other) == "stroke_size is 1.0 there and 0.9 here"


def test_seed_and_masks_count_where_they_are_used():
    noise = dataclasses.replace(CONFIG, init="noise", content_masks=("b.png",))
    other = dataclasses.replace(noise, seed=3)
    assert refusal(facts_of(noise), other) == "seed is 0 there and 3 here"
    facts = facts_of(noise)
    picture_io.save_picture("b.png", 255 - picture_io.load_picture("b.png"))
    assert refusal(facts, noise) == "the content mask is another one, b.png has changed"


def test_iterations_of_finished_sizes_count():
    facts = facts_of(COARSE_TO_FINE, stage=1)
    other = dataclasses.replace(COARSE_TO_FINE, iterations=(4, 5))
    assert refusal(facts, other) == "iterations is 3,5 there and 4,5 here, and size 20 is finished"
    check_before_work(facts, dataclasses.replace(COARSE_TO_FINE, iterations=(3, 9)))


@pytest.mark.parametrize(
    ("phase", "done", "planned", "same"),
    [
        (0, 12, 30, True),  # neither plan has changed to float32 by then
        (0, 18, 30, True),
        (0, 12, 13, False),
        (1, 19, 30, False),
        (1, 19, 20, True),
    ],
)
def test_in_bfloat16_the_change_to_float32_must_not_have_been_passed(phase, done, planned, same):
    config = dataclasses.replace(CONFIG, iterations=(20,), precision="bfloat16")
    facts = facts_of(config, phase=phase, iterations=done)
    other = dataclasses.replace(config, iterations=(planned,))
    if same:
        check_before_work(facts, other)
    else:
        change = planned - -(-planned // 10)
        assert refusal(facts, other) == (
            f"iterations is 20 there and {planned} here; from these follows when the network or "
            f"its number format changes, which is after iteration 18 there and {change} here"
        )


def test_the_networks_precision_counts_once_it_is_known():
    coarse = dataclasses.replace(CONFIG, precision="bfloat16")
    assert refusal(facts_of(coarse), CONFIG) == "precision is bfloat16 there and float32 here"
    emulated = facts_of(coarse, network_precision="float32")
    check_before_work(emulated, CONFIG)
    known = {"pictures": emulated["pictures"], "network_precision": "float32"}
    identity.check(emulated, known, coarse)
    with pytest.raises(identity.CheckpointMismatchError, match="is bfloat16 there and float32"):
        identity.check(facts_of(coarse), known, coarse)


def test_weights_count_by_their_hash():
    facts = facts_of(CONFIG)
    known = {"pictures": facts["pictures"], "network_precision": "float32"}
    identity.check(facts, known | {"weights": {"source": "w.h5", "sha256": "ab"}}, CONFIG)
    with pytest.raises(identity.CheckpointMismatchError) as info:
        identity.check(facts, known | {"weights": {"source": "w.h5", "sha256": "cd"}}, CONFIG)
    assert "weights is imagenet (SHA-256 ab) there and w.h5 (SHA-256 cd) here" in str(info.value)


HOSTILE = (None, [], {}, 7, "x", float("nan"), [[]], {"content": [1]})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *itertools.product(("config", "pictures", "stage", "iterations"), HOSTILE),
        ("config", "gone"),
    ],
)
def test_hostile_facts_are_refused(name, value):
    facts = facts_of(CONFIG)
    if value == "gone":
        del facts[name]
    else:
        facts[name] = value
    with pytest.raises(identity.CheckpointMismatchError, match=r"^the checkpoint is "):
        check_before_work(facts, CONFIG)


# --- on the command line ------------------------------------------------------------------------

FLAGS = (
    "--content=content.png",
    "--style=a.png",
    "--content_layers=conv2_1",
    "--style_layers=conv1_1,conv2_2",
    "--size=24",
    "--output=out.png",
    "--resume",
)


def test_what_differs_is_said_in_one_line_before_tensorflow_is_loaded(folder):
    checkpoints.save("out.checkpoint.npz", checkpoints.Checkpoint({}, facts_of(CONFIG)))
    before = (folder / "out.checkpoint.npz").read_bytes()
    code = (
        "import sys; from gatys_norm.cli import main as cli\n"
        f"assert cli.run(['gatys-norm', *{FLAGS!r}, '--lambda_os=0.5']) == 2\n"
        "assert 'tensorflow' not in sys.modules"
    )
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    finished = run_new(sys.executable, "-c", code, cwd=folder, env=environment)
    assert finished.returncode == 0
    assert finished.stderr == (
        "gatys-norm: --resume: the checkpoint is of another transfer: "
        "lambda_os is 0.001 there and 0.5 here\n"
    )
    assert (folder / "out.checkpoint.npz").read_bytes() == before


@real_transfers
def test_a_longer_run_by_command_has_the_bytes_of_one_from_the_start(folder):
    checkpoint_at(CONFIG, 4, "out.checkpoint.npz")
    assert cli.run(["gatys-norm", *FLAGS, "--iterations=9"]) == 0
    assert cli.run(["gatys-norm", *FLAGS[:-2], "--output=whole.png", "--iterations=9"]) == 0
    assert (folder / "out.png").read_bytes() == (folder / "whole.png").read_bytes()
