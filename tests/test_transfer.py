"""Whole transfers on the real network, of one size and one set of layers, so of one graph.

What does not need the real network is in test_transfer_course.py and test_transfer_variants.py.
"""

import dataclasses
import functools
import json
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from helpers.bfloat16 import needs_bfloat16
from helpers.rounding import gamma, squared_norm_error, unit
from helpers.transfers import run_transfer

from gatys_norm import transfer
from gatys_norm.config import TransferConfig
from gatys_norm.images import io as picture_io
from gatys_norm.images.sizes import resize
from gatys_norm.network import device

DATA = Path(__file__).parent.parent / "data"
CONFIG = TransferConfig(
    content=str(DATA / "river_town.jpg"),
    style=str(DATA / "flowing_strokes.jpg"),
    loss="normalized",
    size=(64,),
    iterations=(8,),
    log_every=3,
)
LONGER = (24,)
pytestmark = [pytest.mark.numeric, pytest.mark.weights, pytest.mark.usefixtures("real_weights")]


def stylize(real_weights, *arguments, **changes):
    """Run a transfer, from weights that are there, so that nothing is fetched."""
    config = dataclasses.replace(CONFIG, weights=real_weights.source, **changes)
    return run_transfer(config, *arguments)


def stylize_eagerly(real_weights, **changes):
    """Run a transfer without tracing it, where a graph of its own would take longer."""
    tf.config.run_functions_eagerly(True)
    try:
        return stylize(real_weights, **changes)
    finally:
        tf.config.run_functions_eagerly(False)


@pytest.fixture(scope="module")
def normalized(real_weights):
    """The short transfer that all tests share."""
    return stylize(real_weights)


@pytest.fixture(scope="module")
def longer(real_weights):
    """The record of a transfer of some more iterations."""
    return stylize(real_weights, iterations=LONGER).record


@pytest.fixture(
    scope="module",
    params=[
        "normalized",
        pytest.param("original", marks=pytest.mark.slow),
        pytest.param("fourier", marks=pytest.mark.slow),
    ],
)
def result(request, normalized, real_weights):
    """One short transfer with each loss, and one that moves frequencies."""
    if request.param == "original":
        return stylize(real_weights, loss="original")
    if request.param == "fourier":
        return stylize_eagerly(real_weights, parametrization="fourier")
    return normalized


# --- the loss, written once more ----------------------------------------------------------------


@functools.cache
def keras_network(path):
    """The network straight from the weights file."""
    return tf.keras.applications.VGG19(include_top=False, weights=str(path))


def pre_activations(path, image, wanted, dtype=tf.float32):
    """Compute {conv layer: H × W × C}, what each layer gives rounded to `dtype`."""
    value = tf.constant(image[np.newaxis, :, :, ::-1] - [103.939, 116.779, 123.68], tf.float32)
    features = {}
    for layer in keras_network(path).layers[1:]:
        if "conv" in layer.name:
            value = tf.nn.conv2d(value, layer.kernel, 1, "SAME") + layer.bias
            value = tf.cast(tf.cast(value, dtype), tf.float32)
            features[layer.name.replace("block", "conv").replace("_conv", "_")] = value.numpy()[0]
            value = tf.nn.relu(value)
        else:
            value = layer(value)
    return {name: features[name].astype(np.float64) for name in wanted}


def feature_errors(path, image, features):
    """Return {layer: the most by which rounding to float32 changes ‖φ_j‖ relatively}.

    A layer's value is a sum of at most 9 · 512 products and the bias. What became of such errors
    in all the layers before, the condition, is measured: by rounding what each layer gives to
    bfloat16, once, and comparing what comes out with that rounding.
    """
    coarse = pre_activations(path, image, features, tf.bfloat16)
    conditions = {
        layer: np.linalg.norm(coarse[layer] - value) / (np.linalg.norm(value) * unit("bfloat16"))
        for layer, value in features.items()
    }
    return {layer: value * gamma(9 * 512 + 1, "float32") for layer, value in conditions.items()}


def loss_from_the_paper(config, path, content, style, image):
    """Eq. 2–5 and 11–14 in NumPy, float64; returns the loss and by how much rounding changes it."""
    wanted = config.content_layers + config.style_layers
    pictures = (content, style, image)
    o, s, x = (pre_activations(path, picture, wanted) for picture in pictures)
    o_wrong, s_wrong, x_wrong = (
        feature_errors(path, picture, features)
        for picture, features in zip(pictures, (o, s, x), strict=True)
    )

    def gram(features):
        flat = features.reshape(-1, features.shape[-1])
        return flat.T @ flat

    def gram_error(features, relative):
        """‖G‖ changes by 2‖φ‖‖δφ‖, and each of its sums is rounded."""
        places = features.shape[0] * features.shape[1]
        return (2 * relative + relative**2 + gamma(places, "float32")) * np.sum(features**2)

    loss = error = 0
    pixels = content.shape[0] * content.shape[1]

    def add(factor, a, b, wrong):
        nonlocal loss, error
        squared = np.sum((a - b) ** 2)
        loss += factor * squared
        # Of the program's features and those here; the sums and factors, of one sign, are rounded.
        rounded = gamma(a.size + 20, "float32") * squared
        error += factor * (squared_norm_error(squared, 2 * wrong) + rounded)

    for layer in config.content_layers:
        factor = 0.5 if config.loss == "original" else pixels / np.sum(o[layer] ** 2)
        norms = [np.linalg.norm(features[layer]) for features in (o, x)]
        wrong = o_wrong[layer] * norms[0] + x_wrong[layer] * norms[1]
        add(config.lambda_os * factor, o[layer], x[layer], wrong)
    for layer in config.style_layers:
        target, found = gram(s[layer]), gram(x[layer])
        if config.loss == "original":
            factor = 1 / (2 * x[layer].size) ** 2
        else:
            factor = pixels / np.sum(target**2)
        wrong = gram_error(s[layer], s_wrong[layer]) + gram_error(x[layer], x_wrong[layer])
        add(0.2 * factor, target, found, wrong)
    return loss, error


def pictures_at_size(record):
    stage, config = record["stages"][-1], record["config"]
    shapes = {"content": (stage["height"], stage["width"]), "style": stage["style_shapes"][0]}
    return [resize(picture_io.load_picture(config[role]), *shape) for role, shape in shapes.items()]


def test_recorded_loss_is_the_papers_loss_of_the_picture(result, real_weights):
    config = dataclasses.replace(CONFIG, loss=result.record["config"]["loss"]).resolved()
    content, style = pictures_at_size(result.record)
    for image, when in ((content, "initial"), (result.image, "final")):
        expected, error = loss_from_the_paper(config, real_weights.path, content, style, image)
        print(
            "RATIO", when, abs(result.record["loss"][when] - expected) / expected, error / expected
        )
        assert error < 0.1 * expected  # or it would show little
        assert result.record["loss"][when] == pytest.approx(expected, rel=0, abs=error)


def test_loss_falls_and_is_the_sum_of_its_terms(result):
    record = result.record
    assert record["loss"]["final"] < 0.5 * record["loss"]["initial"]  # by far, not by rounding
    for when in ("initial", "final"):
        terms = [term["coefficient"] * term[when] for term in record["terms"].values()]
        # All above 0: each is a rounded product, in a sum of all, here and there.
        both_sides = 2 * gamma(len(terms))
        assert record["loss"][when] == pytest.approx(sum(terms), rel=both_sides)


def test_record_holds_what_its_readers_rely_on(result):
    record = json.loads(json.dumps(result.record, allow_nan=False))
    assert record["status"] == "completed"
    assert record["iterations"] == 8
    assert record["evaluations"] >= 9
    assert [row["iteration"] for row in record["history"]] == [0, 3, 6, 8]
    assert set(record["terms"]) <= set(record["history"][0])
    by_layer = {"content_distance", "style_distance", "style_reflection"}
    assert set(record["metrics"]) == by_layer | {"strength"}
    assert 0 < record["metrics"]["strength"] < 1
    assert record["strength_search"] is None
    assert record["timing"]["seconds_per_evaluation"] > 0
    assert len(record["weights"]["sha256"]) == 64
    assert record["environment"]["packages"]["tensorflow"] == tf.__version__


def test_style_is_reflected_and_content_left(result):
    measured = result.record["metrics"]
    assert np.mean(list(measured["style_reflection"].values())) > 0.1  # 0 is none, 1 is all
    assert measured["content_distance"]["conv4_2"] > 0


# --- the course of it ---------------------------------------------------------------------------


@pytest.mark.slow
def test_stopped_and_resumed_equals_never_stopped(normalized, real_weights):
    taken = []

    def stop(progress):
        if progress.iteration >= 3:
            taken.append(progress.checkpoint())
        return bool(taken)

    interrupted = stylize(real_weights, stop, None, (1,))
    assert interrupted.record["status"] == "interrupted"
    facts = json.loads(json.dumps(taken[0].facts))
    resumed = stylize(real_weights, None, transfer.Checkpoint(taken[0].arrays, facts))
    np.testing.assert_array_equal(resumed.image, normalized.image)
    assert resumed.record["history"] == normalized.record["history"]
    assert resumed.record["evaluations"] == normalized.record["evaluations"]


@pytest.mark.slow
def test_unit_step_search_stays_under_1_2_evaluations_an_iteration(longer, real_weights):
    """What the search was written for; the stock one takes two at least."""
    assert longer["evaluations"] / longer["iterations"] < 1.2
    record = stylize_eagerly(real_weights, iterations=(5,), line_search="hager_zhang").record
    assert record["evaluations"] / record["iterations"] > 2


@pytest.mark.slow
@needs_bfloat16
def test_bfloat16_comes_as_far_as_float32_in_half_as_many_iterations(
    longer, real_weights, monkeypatch
):
    """It rounds to 8 bits, so that the two go different ways; the last tenth is float32's."""
    monkeypatch.setattr(device, "has_fast_bfloat16", lambda: True)
    coarse = stylize_eagerly(real_weights, iterations=LONGER, precision="bfloat16").record
    assert coarse["iterations"] == LONGER[0]
    half_way = next(row for row in longer["history"] if row["iteration"] == LONGER[0] // 2)
    assert coarse["loss"]["final"] < half_way["loss"]
