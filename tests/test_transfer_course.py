"""The course of a transfer: where it starts, its sizes and precisions, its stops, its strips.

On a network of a few channels, so that each takes a fraction of a second.
"""

import contextlib
import dataclasses
import functools
import itertools
import json
import math

import numpy as np
import pytest
import tensorflow as tf
from helpers.bfloat16 import needs_bfloat16
from helpers.rounding import sum_error
from helpers.small_transfers import (
    HEIGHT,
    STYLE_SHAPE,
    WIDTH,
    noise,
    objective_at,
    small_config,
)
from helpers.strips import LOW_STRIPS
from helpers.transfers import run_transfer

from gatys_norm import stages, transfer
from gatys_norm.config import PRESETS
from gatys_norm.images import inputs as picture_inputs
from gatys_norm.images import io as picture_io
from gatys_norm.images.sizes import resize, size_for_long_side
from gatys_norm.network import device, low_rank, memory, vgg
from gatys_norm.network import strips as network_strips
from gatys_norm.network.memory import WHOLE
from gatys_norm.optimizers import base
from gatys_norm.runs import schedule as schedules
from gatys_norm.terms import TOTAL_VARIATION

SMALLER = 20  # a size to begin with

pytestmark = [pytest.mark.numeric, pytest.mark.usefixtures("eagerly", "small_network")]


@pytest.fixture
def config(tmp_path):
    return small_config(tmp_path)


def stylize(config, *arguments, on_plan=None, **changes):
    return run_transfer(dataclasses.replace(config, **changes), *arguments, on_plan=on_plan)


def loss_of(config, size, image, strips=WHOLE):
    """Compute the loss of a picture as a transfer computes it, to the bit."""
    target = objective_at(config, size, strips)
    return target.loss(target.terms(target.position(image)))


def checkpoint_at_first_stop(config):
    """Stop a transfer as soon as may be; returns its checkpoint, its facts through JSON."""
    taken = []
    stylize(config, lambda progress: taken.append(progress.checkpoint()) or True)
    arrays, facts = taken[0]
    return transfer.Checkpoint(arrays, json.loads(json.dumps(facts)))


# --- where it starts ----------------------------------------------------------------------------


@pytest.mark.parametrize("init", ["style", "noise", "another"])
@pytest.mark.parametrize("kind", ["pixel", "fourier"])
def test_it_starts_at_the_picture_asked_for(config, tmp_path, init, kind):
    content, style = (picture_io.load_picture(path) for path in (config.content, *config.style))
    another = tmp_path / "another.png"
    picture_io.save_picture(another, noise(HEIGHT, WIDTH, seed=3))
    (style_shape,) = picture_inputs.load(config).shapes[WIDTH].styles
    starts = {
        "style": resize(resize(style, *style_shape), HEIGHT, WIDTH),
        "noise": np.random.default_rng(7).uniform(0, 255, content.shape).astype(np.float32),
        "another": picture_io.load_picture(another),
    }
    config = dataclasses.replace(
        config,
        init=str(another) if init == "another" else init,
        seed=7,
        parametrization=kind,
        iterations=(1,),
    )
    record = stylize(config).record
    assert record["loss"]["initial"] == loss_of(config, WIDTH, starts[init])
    assert record["loss"]["initial"] != loss_of(config, WIDTH, content)


def test_every_seed_is_another_start(config):
    changes = {"init": "noise", "iterations": (1,)}
    first, second = (stylize(config, seed=seed, **changes).record["loss"] for seed in (0, 1))
    assert first["initial"] != second["initial"]


@pytest.mark.parametrize("loss", ["original", "normalized"])
def test_fourier_starts_at_the_content_and_goes_down_another_way(config, loss):
    pixel = stylize(config, loss=loss).record
    config = dataclasses.replace(config, loss=loss, parametrization="fourier")
    fourier = stylize(config).record
    content = picture_io.load_picture(config.content)
    assert fourier["loss"]["initial"] == loss_of(config, WIDTH, content)
    assert fourier["loss"]["final"] < 0.7 * fourier["loss"]["initial"]  # it goes down, and far
    assert fourier["history"] != pixel["history"]


def test_identical_style_and_content_converge_at_once(config):
    record = stylize(config, style=config.content).record
    assert record["status"] in ("converged", "stalled")
    assert record["loss"]["final"] <= record["loss"]["initial"]


# --- its terms ----------------------------------------------------------------------------------


@pytest.mark.parametrize("exponent", [20, -20])
def test_multiplying_the_original_loss_changes_no_bit_of_the_picture(config, exponent):
    """By a power of two, which changes no digit of the coefficients either."""
    config = dataclasses.replace(config, loss="original").resolved()
    multiplied = {
        name: tuple(weight * 2.0**exponent for weight in getattr(config, name))
        for name in ("content_weights", "style_weights")
    }
    plain, result = stylize(config), stylize(config, **multiplied)
    np.testing.assert_array_equal(result.image, plain.image)
    assert result.record["loss"]["final"] == plain.record["loss"]["final"] * 2.0**exponent


def test_total_variation_is_one_more_term(config):
    plain, smooth = stylize(config), stylize(config, tv_weight=0.1)
    assert TOTAL_VARIATION not in plain.record["terms"]
    term = smooth.record["terms"][TOTAL_VARIATION]
    assert term["coefficient"] == 0.1

    def squares(image):
        differences = [np.diff(image.astype(np.float64), axis=axis).ravel() for axis in (0, 1)]
        return np.concatenate(differences) ** 2

    expected = squares(smooth.image)
    # Each term is a difference, rounded, and its square.
    error = sum_error(expected, "float32", roundings=4)
    assert term["final"] == pytest.approx(expected.sum(), rel=0, abs=error)
    assert expected.sum() < 0.9 * squares(plain.image).sum()  # smoother to the eye


# --- sizes --------------------------------------------------------------------------------------


def test_coarse_to_fine_starts_from_the_enlarged_result(config):
    coarse = stylize(config, size=(SMALLER,)).image
    config = dataclasses.replace(config, size=(SMALLER, WIDTH), iterations=(5, 1))
    history = stylize(config).record["history"]
    first = next(row for row in history if row["size"] == WIDTH)
    assert first["loss"] == loss_of(config, WIDTH, resize(coarse, HEIGHT, WIDTH))


def test_style_size(config):
    pictures = picture_inputs.load(config).pictures
    shape = pictures.styles[0].shape[:2]
    for style_size, expected in (
        ("native", shape),
        ("20", size_for_long_side(*shape, 20)),
    ):
        changed = dataclasses.replace(config, style_size=style_size)
        assert picture_inputs.shapes_at(changed, pictures, 64).styles == (expected,)
    content_shape, (style_shape,) = picture_inputs.shapes_at(config, pictures, 64)
    # As many pixels, but for the rounding of the two sides to whole pixels.
    wanted = math.prod(content_shape)
    assert abs(math.prod(style_shape) - wanted) <= sum(style_shape) / 2 + 1 / 4


@pytest.mark.parametrize("role", ["content", "style"])
def test_a_picture_that_would_be_too_narrow_is_named(config, tmp_path, role):
    path = tmp_path / "narrow.png"
    picture_io.save_picture(path, np.zeros((400, 20, 3), np.float32))
    changed = dataclasses.replace(config, size=(32,), style_size="100", **{role: str(path)})
    with pytest.raises(picture_io.PictureError, match=r"narrow\.png"):
        picture_inputs.load(changed)


def test_progress_counts_up_to_the_end(config):
    seen = []
    stylize(
        config,
        lambda progress: seen.append(progress) and False,
        None,
        (2,),
        size=(SMALLER, WIDTH),
        iterations=(4, 6),
    )
    assert all(a.iteration < b.iteration for a, b in itertools.pairwise(seen))
    assert (seen[-1].iteration, seen[-1].iterations) == (10, 10)
    assert {progress.size for progress in seen} == {SMALLER, WIDTH}
    assert seen[-1].seconds_left == 0
    assert all(progress.seconds_left > 0 for progress in seen[:-1])


# --- stops --------------------------------------------------------------------------------------


def test_a_stop_asked_for_once_at_the_end_of_a_size_is_heeded(config):
    changes = {"size": (SMALLER, WIDTH), "iterations": (4, 6)}
    result = stylize(config, lambda progress: progress.iteration == 4, None, (4,), **changes)
    assert result.record["status"] == "interrupted"
    assert result.record["iterations"] == 4


def test_checkpoint_of_another_transfer_is_refused(config):
    checkpoint = checkpoint_at_first_stop(config)
    for change in ({"lambda_os": 0.5}, {"style": config.content}):
        with pytest.raises(transfer.CheckpointMismatchError, match="another transfer"):
            stylize(config, None, checkpoint, **change)


# --- precisions ---------------------------------------------------------------------------------


@pytest.fixture
def bfloat16_network(monkeypatch, small_model):
    """Let the device be one that computes in bfloat16, and the small network do so."""
    monkeypatch.setattr(device, "has_fast_bfloat16", lambda: True)

    @functools.cache
    def load_extractor(file, layers, pooling, precision, border):
        dtype = vgg.COMPUTE_DTYPES[precision]
        return vgg.Extractor(small_model, layers, pooling, dtype, border=border)

    monkeypatch.setattr(vgg, "load_extractor", load_extractor)


def precisions_of_evaluations(monkeypatch, config):
    """Run a transfer; returns the precision that each of its pieces of iterations computed in."""
    seen = []
    minimize = base.minimize

    def noting(optimizer, function, state, iterations, *arguments, **more):
        started = state.iterations
        minimum = minimize(optimizer, function, state, iterations, *arguments, **more)
        seen.append((precisions[id(function)], started, minimum.state.iterations))
        return minimum

    monkeypatch.setattr(base, "minimize", noting)
    precisions = {}
    objective_in = stages.Stage.objective_in

    def noted(stage, precision, *arguments):
        objective = objective_in(stage, precision, *arguments)
        precisions[id(objective.function)] = precision
        return objective

    monkeypatch.setattr(stages.Stage, "objective_in", noted)
    return seen, transfer.stylize(config).record


@needs_bfloat16
@pytest.mark.usefixtures("bfloat16_network")
def test_bfloat16_is_left_for_the_last_tenth_of_the_last_size(monkeypatch, config):
    config = dataclasses.replace(
        config, size=(SMALLER, WIDTH), iterations=(5, 20), precision="bfloat16", loss="normalized"
    )
    seen, record = precisions_of_evaluations(monkeypatch, config)
    assert seen == [("bfloat16", 0, 5), ("bfloat16", 0, 18), ("float32", 18, 20)]
    assert record["network_precision"] == "bfloat16"


@needs_bfloat16
@pytest.mark.usefixtures("bfloat16_network")
def test_bfloat16_is_left_earlier_if_its_line_search_fails(monkeypatch, config):
    minimize, failing = base.minimize, []

    def fails_at_six(optimizer, function, state, iterations, *arguments, **more):
        if failing:
            return minimize(optimizer, function, state, iterations, *arguments, **more)
        failing.append(True)
        minimum = minimize(optimizer, function, state, 6, *arguments, **more)
        failed = minimum.state.results._replace(failed=tf.constant(True))
        return dataclasses.replace(
            minimum, state=minimum.state._replace(results=failed), status="stalled"
        )

    monkeypatch.setattr(base, "minimize", fails_at_six)
    config = dataclasses.replace(config, iterations=(20,), precision="bfloat16")
    seen, record = precisions_of_evaluations(monkeypatch, config)
    assert seen == [("bfloat16", 0, 6), ("float32", 6, 20)]
    assert record["status"] == "completed"


def test_without_fast_bfloat16_it_runs_float32_and_says_so_once(monkeypatch, config):
    monkeypatch.setattr(device, "has_fast_bfloat16", lambda: False)
    with pytest.warns(UserWarning, match="^precision: .* float32 is at least as fast") as warned:
        result = stylize(config, precision="bfloat16")
    assert sum("precision" in str(warning.message) for warning in warned) == 1
    assert result.record["network_precision"] == "float32"
    np.testing.assert_array_equal(result.image, stylize(config).image)


# --- strips -------------------------------------------------------------------------------------


def test_the_plan_is_told_before_the_work_and_strips_are_taken_where_memory_is_short(
    config, monkeypatch
):
    plain = stylize(config).record
    shapes = (HEIGHT, WIDTH), (STYLE_SHAPE,)
    whole = memory.plan_size(WIDTH, config, shapes, math.inf)
    monkeypatch.setattr(device, "available_bytes", lambda: 1.05 * whole.byte_count)
    told = []
    record = stylize(
        config, lambda progress: told.append(progress) and False, on_plan=told.append
    ).record
    assert isinstance(told[0], memory.Plan)
    assert told[0].strips == memory.THRIFTIEST
    assert record["stages"][0]["strips"] == memory.THRIFTIEST._asdict()
    assert plain["stages"][0]["strips"] == WHOLE._asdict()
    content = picture_io.load_picture(config.content)
    assert record["loss"]["initial"] == loss_of(config, WIDTH, content, told[0].strips)
    assert record["loss"]["final"] < 0.7 * record["loss"]["initial"]  # it goes down, and far


def test_a_run_in_strips_goes_on_in_strips(config, monkeypatch):
    with monkeypatch.context() as patch:
        take_strips(patch)
        checkpoint = checkpoint_at_first_stop(config)
    assert stylize(config).record["stages"][0]["strips"] == WHOLE._asdict()
    record = stylize(config, None, checkpoint).record
    assert record["stages"][0]["strips"] == LOW_STRIPS._asdict()


def take_strips(monkeypatch):
    """Make every plan take strips."""
    monkeypatch.setattr(memory, "plan_size", lambda *_: memory.Plan(2.0**30, LOW_STRIPS))


@pytest.mark.parametrize(
    "changes",
    [
        {"size": (SMALLER, WIDTH), "iterations": (4, 4), "color": "luminance"},
        {"optimizer": "adam", "learning_rate": 2.0},
        {"parametrization": "fourier", "loss": "normalized"},
    ],
    ids=lambda changes: "-".join(changes),
)
def test_a_run_in_strips_ends_where_one_without_does(config, changes, monkeypatch):
    plain = stylize(config, **changes)
    take_strips(monkeypatch)
    result = stylize(config, **changes)
    assert all(stage["strips"] == LOW_STRIPS._asdict() for stage in result.record["stages"])
    # Rounding grows by every iteration, but not far in so few.
    np.testing.assert_allclose(result.image, plain.image, rtol=0, atol=0.05)
    assert result.record["loss"]["final"] == pytest.approx(plain.record["loss"]["final"], rel=1e-4)


@pytest.mark.parametrize("changes", [{}, {"optimizer": "adam", "learning_rate": 2.0}])
def test_a_resumed_run_in_strips_ends_with_the_same_bytes(config, changes, monkeypatch):
    take_strips(monkeypatch)
    config = dataclasses.replace(config, size=(SMALLER, WIDTH), iterations=(3, 4), **changes)
    taken = []

    def note(progress):
        if progress.iteration == 5:
            arrays, facts = progress.checkpoint()
            taken.append(transfer.Checkpoint(arrays, json.loads(json.dumps(facts))))

    whole = stylize(config, note, None, (2,))
    resumed = stylize(config, None, taken[0])
    np.testing.assert_array_equal(resumed.image, whole.image)
    assert resumed.record["loss"] == whole.record["loss"]


@pytest.mark.parametrize("changes", [{}, {"optimizer": "adam", "learning_rate": 2.0}])
def test_no_evaluation_in_strips_is_part_of_a_graph(config, changes, monkeypatch):
    """Else nobody could watch it."""
    take_strips(monkeypatch)
    shares = []
    with with_graphs(), network_strips.watched_by(shares.append):
        record = stylize(config, iterations=(3,), **changes).record
    # The targets of content and style.
    assert shares.count(0) == record["evaluations"] + 2
    assert record["loss"]["final"] < record["loss"]["initial"]


@contextlib.contextmanager
def with_graphs():
    """Return a context in which functions are traced, unlike in the other tests."""
    tf.config.run_functions_eagerly(False)
    try:
        yield
    finally:
        tf.config.run_functions_eagerly(True)


# --- rank continuation --------------------------------------------------------------------------


@pytest.fixture
def continuation(config, monkeypatch):
    """The settings of a transfer of which 7 of 12 iterations reduce a few channels."""
    monkeypatch.setattr(schedules, "LEAST_SIZE", 1)
    monkeypatch.setattr(schedules, "ITERATIONS_PER_CORRECTION", 2)
    monkeypatch.setattr(low_rank, "RANK_STEP", 1)
    monkeypatch.setattr(low_rank, "LOST_SHARE", 0.02)
    return dataclasses.replace(config, continuation="rank", iterations=(12,), loss="normalized")


@pytest.mark.parametrize("loss", ["normalized", "style_aware"])
def test_continuation_ends_with_the_loss_of_the_whole_network(continuation, loss):
    continuation = dataclasses.replace(continuation, loss=loss)
    result = stylize(continuation)
    assert result.record["loss"]["final"] == loss_of(continuation, WIDTH, result.image)
    plain = stylize(continuation, continuation="none")
    assert np.abs(result.image - plain.image).max() > 0.1  # it went another way
    assert result.record["loss"]["final"] < 0.2 * result.record["loss"]["initial"]
    (size,) = result.record["stages"]
    assert [phase["network"] for phase in size["phases"]] == 4 * ["low_rank"] + ["whole"]
    assert size["iterations"] == 12


def test_a_correction_changes_the_loss_to_that_of_the_whole_network(continuation):
    pictures = {}
    stylize(
        continuation,
        lambda progress: pictures.update({progress.iteration: (progress.loss, progress.image())}),
    )
    at_corrections = [pictures[iteration] for iteration in (2, 4, 6)]
    differences = [
        abs(loss / loss_of(continuation, WIDTH, image) - 1) for loss, image in at_corrections
    ]
    assert differences[0] > differences[-1]


@pytest.mark.parametrize(
    "changes",
    [
        {"loss": "original"},
        {"optimizer": "adam"},
        {"parametrization": "fourier"},
        {"color": "luminance"},
        {"pooling": "avg", "tv_weight": 1e-3},
        {"content_layers": ("relu1_1",), "style_layers": ("conv1_2",)},
        {"size": (SMALLER, WIDTH), "iterations": (9, 7)},
        {"init": "noise"},
    ],
    ids=lambda changes: "-".join(changes),
)
def test_continuation_goes_with_every_other_setting(continuation, changes):
    record = stylize(continuation, **changes).record
    assert record["status"] == "completed"
    assert record["loss"]["final"] < record["loss"]["initial"]
    for size in record["stages"]:
        assert size["phases"][0]["network"] == "low_rank"
        assert size["phases"][-1]["network"] == "whole"


def test_continuation_goes_with_strips_styles_and_masks(continuation, monkeypatch, tmp_path):
    mask = np.zeros((HEIGHT, WIDTH, 3), np.float32)
    mask[:, : WIDTH // 2] = 255
    picture_io.save_picture(tmp_path / "left.png", mask)
    picture_io.save_picture(tmp_path / "right.png", 255 - mask)
    masks = str(tmp_path / "left.png"), str(tmp_path / "right.png")
    take_strips(monkeypatch)
    record = stylize(
        continuation, style=(continuation.content, *continuation.style), content_masks=masks
    ).record
    (size,) = record["stages"]
    assert size["strips"] == LOW_STRIPS._asdict()
    assert len(size["phases"]) == 5
    assert record["loss"]["final"] < record["loss"]["initial"]


def test_the_fast_preset_goes_in_strips(continuation, monkeypatch):
    take_strips(monkeypatch)
    few = {"iterations": (8,), "precision": "float32"}
    record = stylize(continuation, **PRESETS["fast"] | few).record
    assert [phase["network"] for phase in record["stages"][0]["phases"]][-1] == "whole"
    assert record["loss"]["final"] < record["loss"]["initial"]


def test_below_its_least_size_continuation_changes_no_bit(config):
    results = [stylize(config, continuation=kind) for kind in ("none", "rank")]
    np.testing.assert_array_equal(results[0].image, results[1].image)
