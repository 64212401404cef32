"""Whole transfers on the real network, at sizes that take seconds."""

import dataclasses
import itertools
import json
import math
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from gatys_norm import images, lbfgs, losses, memory, scenes, summary, transfer, vgg
from gatys_norm.config import TransferConfig

DATA = Path(__file__).parent.parent / "data"
CONFIG = TransferConfig(
    content=str(DATA / "river_town.jpg"),
    style=str(DATA / "flowing_strokes.jpg"),
    size=(64,),
    iterations=(12,),
    log_every=5,
)
pytestmark = [pytest.mark.weights, pytest.mark.usefixtures("real_weights")]


@pytest.fixture(
    scope="module",
    params=[
        {"loss": "original"},
        {"loss": "normalized"},
        {"loss": "normalized", "parametrization": "fourier"},
    ],
    ids=lambda changes: "-".join(changes.values()),
)
def result(request, real_weights):
    """One short transfer with each loss, and one that moves frequencies."""
    return transfer.stylize(dataclasses.replace(CONFIG, **request.param))


def pre_activations(path, image, wanted):
    """The network written once more, straight from the weights file: {conv layer: H × W × C}."""
    model = tf.keras.applications.VGG19(include_top=False, weights=str(path))
    value = tf.constant(image[np.newaxis, :, :, ::-1] - [103.939, 116.779, 123.68], tf.float32)
    features = {}
    for layer in model.layers[1:]:
        if "conv" in layer.name:
            layer.activation = tf.keras.activations.linear
            value = layer(value)
            features[layer.name.replace("block", "conv").replace("_conv", "_")] = value.numpy()[0]
            value = tf.nn.relu(value)
        else:
            value = layer(value)
    return {name: features[name].astype(np.float64) for name in wanted}


def loss_from_the_paper(config, path, content, style, image):
    """Eq. 2–5 and 11–14 in NumPy, float64."""
    wanted = config.content_layers + config.style_layers
    o, s, x = (pre_activations(path, picture, wanted) for picture in (content, style, image))

    def gram(features):
        flat = features.reshape(-1, features.shape[-1])
        return flat.T @ flat

    content_loss = style_loss = 0
    pixels = content.shape[0] * content.shape[1]
    for layer in config.content_layers:
        distance = ((o[layer] - x[layer]) ** 2).sum()
        if config.loss == "original":
            content_loss += 0.5 * 1.0 * distance
        else:
            content_loss += pixels * 1.0 * distance / (o[layer] ** 2).sum()
    for layer in config.style_layers:
        distance = ((gram(s[layer]) - gram(x[layer])) ** 2).sum()
        if config.loss == "original":
            style_loss += 0.2 * distance / (2 * x[layer].size) ** 2
        else:
            style_loss += pixels * 0.2 / 1.0 * distance / (gram(s[layer]) ** 2).sum()
    return config.lambda_os * content_loss + style_loss


def pictures_at_size(record):
    stage, config = record["stages"][-1], record["config"]
    shapes = {"content": (stage["height"], stage["width"]), "style": stage["style_shapes"][0]}
    return [
        images.resize(images.load_picture(config[role]), *shape) for role, shape in shapes.items()
    ]


def test_recorded_loss_is_the_papers_loss_of_the_picture(result, real_weights):
    config = dataclasses.replace(CONFIG, loss=result.record["config"]["loss"]).resolved()
    content, style = pictures_at_size(result.record)
    for image, when in ((content, "initial"), (result.image, "final")):
        expected = loss_from_the_paper(config, real_weights.path, content, style, image)
        assert result.record["loss"][when] == pytest.approx(expected, rel=1e-3)


def test_loss_falls_and_is_the_sum_of_its_terms(result):
    record = result.record
    assert record["loss"]["final"] < 0.5 * record["loss"]["initial"]
    for when in ("initial", "final"):
        total = sum(term["coefficient"] * term[when] for term in record["terms"].values())
        assert record["loss"][when] == pytest.approx(total, rel=1e-12)


def test_record_holds_what_its_readers_rely_on(result):
    record = json.loads(json.dumps(result.record, allow_nan=False))
    assert record["status"] == "completed"
    assert record["iterations"] == 12
    assert record["evaluations"] >= 13
    assert [row["iteration"] for row in record["history"]] == [0, 5, 10, 12]
    assert set(record["terms"]) <= set(record["history"][0])
    assert set(record["metrics"]) == {"content_distance", "style_distance", "style_reflection"}
    assert record["timing"]["seconds_per_evaluation"] > 0
    assert len(record["weights"]["sha256"]) == 64
    assert record["environment"]["packages"]["tensorflow"] == tf.__version__


def test_style_is_reflected_and_content_left(result):
    measured = result.record["metrics"]
    assert np.mean(list(measured["style_reflection"].values())) > 0.1
    assert measured["content_distance"]["conv4_2"] > 0


def test_multiplying_the_original_loss_changes_no_grey_level():
    config = dataclasses.replace(CONFIG, loss="original", iterations=(30,))
    plain = transfer.stylize(config).image
    for factor in (1e6, 1e-6):
        multiplied = dataclasses.replace(
            config, content_weights=(factor,), style_weights=(0.2 * factor,) * 5
        )
        assert np.abs(transfer.stylize(multiplied).image - plain).max() <= 1


def test_stopped_and_resumed_equals_never_stopped():
    config = dataclasses.replace(CONFIG, size=(48, 64), iterations=(6, 9))
    whole = transfer.stylize(config)
    for stop_at in (3, 6, 8, 11):
        taken = []

        def stop(progress, stop_at=stop_at, taken=taken):
            if progress.iteration >= stop_at:
                taken.append(progress.checkpoint())
            return bool(taken)

        interrupted = transfer.stylize(config, stop, stop_at_multiples_of=(1,))
        assert interrupted.record["status"] == "interrupted"
        facts = json.loads(json.dumps(taken[0].facts))
        resumed = transfer.stylize(config, checkpoint=transfer.Checkpoint(taken[0].arrays, facts))
        np.testing.assert_array_equal(resumed.image, whole.image)
        assert resumed.record["history"] == whole.record["history"]
        assert resumed.record["evaluations"] == whole.record["evaluations"]


def test_a_stop_asked_for_once_at_the_end_of_a_size_is_heeded():
    config = dataclasses.replace(CONFIG, size=(48, 64), iterations=(4, 6))
    result = transfer.stylize(config, lambda progress: progress.iteration == 4, None, (4,))
    assert result.record["status"] == "interrupted"
    assert result.record["iterations"] == 4


def test_checkpoint_of_another_transfer_is_refused():
    taken = []
    transfer.stylize(CONFIG, lambda progress: taken.append(progress.checkpoint()) or True)
    for change in ({"lambda_os": 0.5}, {"style": CONFIG.content}):
        with pytest.raises(transfer.CheckpointMismatchError, match="another transfer"):
            transfer.stylize(dataclasses.replace(CONFIG, **change), checkpoint=taken[0])


def test_unit_step_search_stays_under_1_2_evaluations_an_iteration():
    config = dataclasses.replace(CONFIG, size=(96,), iterations=(60,))
    record = transfer.stylize(config).record
    assert record["evaluations"] / record["iterations"] < 1.2
    stock = dataclasses.replace(config, iterations=(15,), line_search="hager_zhang")
    record = transfer.stylize(stock).record
    assert record["evaluations"] / record["iterations"] > 2


def test_coarse_to_fine_starts_from_the_enlarged_result():
    coarse = dataclasses.replace(CONFIG, size=(48,), iterations=(6,))
    coarse_image = transfer.stylize(coarse).image
    both = transfer.stylize(dataclasses.replace(CONFIG, size=(48, 64), iterations=(6, 1)))
    started_with = images.resize(coarse_image, *both.image.shape[:2])
    first = next(row for row in both.record["history"] if row["size"] == 64)
    own_path = dataclasses.replace(CONFIG, iterations=(1,)).resolved()
    path = transfer.weights.locate("auto").path
    content, style = pictures_at_size(both.record)
    expected = loss_from_the_paper(own_path, path, content, style, started_with)
    assert first["loss"] == pytest.approx(expected, rel=1e-3)


@pytest.mark.parametrize(
    ("init", "seed"), [("style", 0), ("noise", 0), ("noise", 1), (str(DATA / "soft_washes.jpg"), 0)]
)
def test_every_start_is_a_different_picture(init, seed):
    start = {}

    def keep_first(progress):
        start.setdefault("image", progress.image())
        return True

    config = dataclasses.replace(CONFIG, init=init, seed=seed)
    result = transfer.stylize(config, keep_first)
    content, _ = pictures_at_size(result.record)
    assert start["image"].shape == content.shape
    assert np.abs(start["image"] - content).mean() > 10


def test_style_size():
    pictures = scenes.load_pictures(CONFIG)
    shape = pictures.styles[0].shape[:2]
    for style_size, expected in (
        ("native", shape),
        ("40", images.size_for_long_side(*shape, 40)),
    ):
        config = dataclasses.replace(CONFIG, style_size=style_size)
        assert scenes.picture_shapes(config, pictures, 64)[1] == (expected,)
    content_shape, (style_shape,) = scenes.picture_shapes(CONFIG, pictures, 64)
    assert np.prod(style_shape) == pytest.approx(np.prod(content_shape), rel=0.05)


def test_total_variation_is_one_more_term():
    plain = transfer.stylize(CONFIG)
    smooth = transfer.stylize(dataclasses.replace(CONFIG, tv_weight=0.1))
    assert losses.TOTAL_VARIATION not in plain.record["terms"]
    assert smooth.record["terms"][losses.TOTAL_VARIATION]["coefficient"] == 0.1
    variation = [float(losses.total_variation(r.image)) for r in (smooth, plain)]
    assert variation[0] < 0.8 * variation[1]
    assert smooth.record["terms"][losses.TOTAL_VARIATION]["final"] == pytest.approx(variation[0])


def test_bfloat16_ends_in_float32_near_the_float32_loss():
    config = dataclasses.replace(CONFIG, iterations=(40,))
    fine = transfer.stylize(config).record["loss"]["final"]
    coarse = transfer.stylize(dataclasses.replace(config, precision="bfloat16")).record
    assert coarse["iterations"] == 40
    assert coarse["loss"]["final"] == pytest.approx(fine, rel=0.2)


def precisions_of_evaluations(monkeypatch, config):
    """Run a transfer; returns the precision that each of its pieces of iterations computed in."""
    seen = []
    minimize = lbfgs.minimize

    def noting(function, state, iterations, *arguments, **more):
        started = state.iterations
        minimum = minimize(function, state, iterations, *arguments, **more)
        precision = {id(f): name for name, f in functions.items()}[id(function)]
        seen.append((precision, started, minimum.state.iterations))
        return minimum

    monkeypatch.setattr(lbfgs, "minimize", noting)
    functions = {}
    replace = transfer._Run._phase_objective

    def phase_objective(run):
        objective = replace(run)
        functions[run._phases(run.stage)[run.phase][0]] = objective.function
        return objective

    monkeypatch.setattr(transfer._Run, "_phase_objective", phase_objective)
    return seen, transfer.stylize(config).record


def test_bfloat16_is_left_for_the_last_tenth_of_the_last_size(monkeypatch):
    monkeypatch.setattr(vgg, "has_fast_bfloat16", lambda: True)
    config = dataclasses.replace(
        CONFIG, size=(48, 64), iterations=(5, 20), precision="bfloat16", loss="normalized"
    )
    seen, record = precisions_of_evaluations(monkeypatch, config)
    assert seen == [("bfloat16", 0, 5), ("bfloat16", 0, 18), ("float32", 18, 20)]
    assert record["network_precision"] == "bfloat16"


def test_bfloat16_is_left_earlier_if_its_line_search_fails(monkeypatch):
    monkeypatch.setattr(vgg, "has_fast_bfloat16", lambda: True)
    minimize, failing = lbfgs.minimize, []

    def fails_at_six(function, state, iterations, *arguments, **more):
        if failing:
            return minimize(function, state, iterations, *arguments, **more)
        failing.append(True)
        minimum = minimize(function, state, 6, *arguments, **more)
        failed = minimum.state.results._replace(failed=tf.constant(True))
        return dataclasses.replace(
            minimum, state=minimum.state._replace(results=failed), status="stalled"
        )

    monkeypatch.setattr(lbfgs, "minimize", fails_at_six)
    config = dataclasses.replace(CONFIG, iterations=(20,), precision="bfloat16")
    seen, record = precisions_of_evaluations(monkeypatch, config)
    assert seen == [("bfloat16", 0, 6), ("float32", 6, 20)]
    assert record["status"] == "completed"


def test_without_fast_bfloat16_it_runs_float32_and_says_so_once(monkeypatch):
    monkeypatch.setattr(vgg, "has_fast_bfloat16", lambda: False)
    config = dataclasses.replace(CONFIG, precision="bfloat16")
    with pytest.warns(UserWarning, match="--precision: .* float32 is faster here") as warned:
        result = transfer.stylize(config)
    assert sum("--precision" in str(warning.message) for warning in warned) == 1
    assert result.record["network_precision"] == "float32"
    np.testing.assert_array_equal(result.image, transfer.stylize(CONFIG).image)


def test_fourier_starts_at_the_same_picture_and_goes_down():
    pixel = transfer.stylize(CONFIG).record
    fourier = transfer.stylize(dataclasses.replace(CONFIG, parametrization="fourier")).record
    assert fourier["loss"]["initial"] == pytest.approx(pixel["loss"]["initial"], rel=1e-3)
    assert fourier["loss"]["final"] < 0.2 * fourier["loss"]["initial"]
    assert fourier["history"] != pixel["history"]


def test_the_plan_is_told_before_the_work_and_strips_change_little(monkeypatch):
    plain = transfer.stylize(CONFIG)
    told = []
    monkeypatch.setattr(memory, "available_bytes", lambda: 1.05 * told_without_strips.byte_count)
    told_without_strips = memory.plan(64 * 48, CONFIG, math.inf)
    monkeypatch.setattr(summary, "LEAST_ROWS", 16)
    monkeypatch.setattr(summary, "STRIP_PIXELS", 1)

    def tell(plan):
        told.append(plan)

    result = transfer.stylize(
        CONFIG, lambda progress: told.append(progress) and False, on_plan=tell
    )
    assert isinstance(told[0], memory.Plan)
    assert told[0].in_strips
    assert result.record["stages"][0]["in_strips"]
    assert not plain.record["stages"][0]["in_strips"]
    assert result.record["loss"]["initial"] == pytest.approx(
        plain.record["loss"]["initial"], rel=1e-5
    )
    assert result.record["loss"]["final"] == pytest.approx(plain.record["loss"]["final"], rel=0.02)


def test_a_run_in_strips_goes_on_in_strips(monkeypatch):
    taken = []
    available = memory.available_bytes
    monkeypatch.setattr(memory, "COMFORTABLE_SHARE", 0.0)
    transfer.stylize(CONFIG, lambda progress: taken.append(progress.checkpoint()) or True)
    monkeypatch.undo()
    assert memory.available_bytes is available
    facts = json.loads(json.dumps(taken[0].facts))
    resumed = transfer.stylize(CONFIG, checkpoint=transfer.Checkpoint(taken[0].arrays, facts))
    assert resumed.record["stages"][0]["in_strips"]


def test_identical_style_and_content_converge_at_once():
    record = transfer.stylize(dataclasses.replace(CONFIG, style=CONFIG.content)).record
    assert record["status"] in ("converged", "stalled")
    assert record["loss"]["final"] <= record["loss"]["initial"]


@pytest.mark.parametrize("role", ["content", "style"])
def test_a_picture_that_would_be_too_narrow_is_named(tmp_path, role):
    path = tmp_path / "narrow.png"
    images.save_picture(path, np.zeros((400, 20, 3), np.float32))
    config = dataclasses.replace(CONFIG, size=(32,), style_size="100", **{role: str(path)})
    with pytest.raises(images.PictureError, match=r"narrow\.png"):
        scenes.load_pictures(config)


def test_progress_counts_up_to_the_end():
    seen = []
    transfer.stylize(
        dataclasses.replace(CONFIG, size=(48, 64), iterations=(4, 6)),
        lambda progress: seen.append(progress) and False,
        stop_at_multiples_of=(2,),
    )
    assert all(a.iteration < b.iteration for a, b in itertools.pairwise(seen))
    assert (seen[-1].iteration, seen[-1].iterations) == (10, 10)
    assert {progress.size for progress in seen} == {48, 64}
    assert seen[-1].seconds_left == 0
    assert all(progress.seconds_left > 0 for progress in seen[:-1])
