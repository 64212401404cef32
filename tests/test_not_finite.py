"""Never a NaN without a message: whatever the settings, and wherever in a run it happens.

On a network of a few channels, without tracing, so that a whole transfer takes a fraction of a
second.
"""

import dataclasses
import functools
import itertools
import json
import warnings

import numpy as np
import pytest
import tensorflow as tf
from helpers import network
from helpers.rounding import gamma
from helpers.small_transfers import noise, small_config
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gatys_norm import transfer
from gatys_norm.config import TransferConfig
from gatys_norm.images import inputs as picture_inputs
from gatys_norm.images import io as picture_io
from gatys_norm.images.inputs import Inputs
from gatys_norm.losses.coefficients import NonFiniteError, ZeroEnergyError
from gatys_norm.terms import TOTAL_VARIATION

LAYERS = [f"{tap}{name}" for tap in ("conv", "relu") for name in ("1_1", "1_2", "2_1", "2_2")]


pytestmark = pytest.mark.usefixtures("eagerly")


def assert_no_rise(record):
    """The loss may rise by what the search takes for rounding, and by its own rounding.

    The first is Hager and Zhang's ε, 1e-6 an iteration. The second is a sum of coefficient ·
    distance in float32 at either end, where the record has float64's; all terms are above 0.
    """
    loss, terms = record["loss"], len(record["terms"])
    rise = 1e-6 * record["iterations"] + 2 * gamma(terms + 3, "float32")
    assert loss["final"] <= (1 + 1.01 * rise) * loss["initial"]


# --- in the midst of a run ----------------------------------------------------------------------

REACH = 8.0


class Spoilt(tf.Module):
    """An extractor that spoils conv2_2, or its gradient, further than REACH from a picture."""

    def __init__(self, extractor, centre, spoil):
        super().__init__()
        self.extractor, self.centre, self.spoil = extractor, centre, spoil

    def __call__(self, image):
        features = self.extractor(image)
        if image.shape != self.centre.shape:  # the style picture
            return features
        far = tf.reduce_max(tf.abs(image - self.centre)) > REACH
        return features | {"conv2_2": self.spoil(features["conv2_2"], far)}

    def ways(self, height, width):
        return self.extractor.ways(height, width)


def value_of(bad):
    return lambda features, far: tf.where(far, tf.constant(bad, features.dtype), features)


def gradient_of(bad):
    @tf.custom_gradient
    def spoil(features, far):
        def gradient(upstream):
            return tf.where(far, tf.constant(bad, upstream.dtype), upstream), None

        return tf.identity(features), gradient

    return spoil


@pytest.fixture
def config(tmp_path):
    """Write two pictures; give the settings of a transfer between them."""
    return small_config(tmp_path, iterations=(60,), log_every=1)


def stylize(config):
    """Run a transfer; returns (result, the texts of its warnings)."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        result = transfer.stylize(config)
    return result, [str(note.message) for note in caught if note.category is UserWarning]


def assert_sound(result):
    """The picture and every number of the record are finite."""
    assert np.isfinite(result.image).all()
    json.dumps(result.record, allow_nan=False)


VALUE, GRADIENT = "style/conv2_2", "the gradient of the loss"  # as a warning names them


@pytest.mark.parametrize(
    ("changes", "spoilt", "bad"),
    [
        ({"line_search": "unit_step"}, VALUE, np.nan),
        # From an infinite value the search creeps back in as many steps as the machine rounds.
        pytest.param({"line_search": "unit_step"}, VALUE, np.inf, marks=pytest.mark.slow),
        ({"line_search": "unit_step"}, GRADIENT, np.nan),
        ({"line_search": "unit_step"}, GRADIENT, -np.inf),
        pytest.param({"line_search": "hager_zhang"}, VALUE, np.inf, marks=pytest.mark.slow),
        ({"line_search": "hager_zhang"}, GRADIENT, np.nan),
        ({"parametrization": "fourier"}, VALUE, np.nan),
        ({"parametrization": "fourier"}, GRADIENT, np.nan),
        ({"optimizer": "adam", "learning_rate": 3.0}, VALUE, np.nan),
        ({"optimizer": "adam", "learning_rate": 3.0}, GRADIENT, np.inf),
        (
            {"optimizer": "adam", "learning_rate": 1.0, "parametrization": "fourier"},
            GRADIENT,
            np.nan,
        ),
    ],
)
def test_the_last_finite_picture_is_kept_and_what_is_not_finite_named(
    config, monkeypatch, small_model, changes, spoilt, bad
):
    config = dataclasses.replace(config, **changes)
    start = picture_io.load_picture(config.content)
    spoil = {VALUE: value_of, GRADIENT: gradient_of}[spoilt](bad)
    network.use(monkeypatch, small_model, lambda extractor: Spoilt(extractor, start, spoil))
    result, notes = stylize(config)
    record = result.record
    assert_sound(result)
    assert record["status"] == "stalled"
    assert 0 < record["iterations"] < 60
    assert 0 < np.abs(result.image - start).max() <= REACH
    assert record["loss"]["final"] < record["loss"]["initial"]
    assert notes == [
        f"{spoilt}: not finite after iteration {record['iterations']}; "
        "the picture of that iteration is kept"
    ]


def test_a_size_that_cannot_be_begun_leaves_the_one_before(config, monkeypatch, small_model):
    """The finer picture lies beyond what float32 can hold; the coarser one does not."""

    class SpoiltWhenFine(Spoilt):
        def __call__(self, image):
            features = self.extractor(image)
            bad = features["conv2_2"] * float("inf")
            return features if image.shape[1] < 30 else features | {"conv2_2": bad}

    config = dataclasses.replace(config, size=(24, 40), iterations=(5, 5), loss="original")
    network.use(monkeypatch, small_model, lambda extractor: SpoiltWhenFine(extractor, None, None))
    result, notes = stylize(config)
    assert_sound(result)
    assert result.image.shape == (20, 24, 3)
    assert result.record["status"] == "stalled"
    assert [stage["size"] for stage in result.record["stages"]] == [24]
    assert (result.record["iterations"], result.record["metrics"]["content_distance"].keys()) == (
        5,
        {"conv2_1"},
    )
    assert notes == [
        "style/conv2_2: not finite at the start of size 40; the picture of the size before is kept"
    ]
    coarse, _ = stylize(dataclasses.replace(config, size=(24,), iterations=(5,)))
    np.testing.assert_array_equal(result.image, coarse.image)


@functools.cache
def scaled(model, decade):
    """The model with all its kernels and biases so many decades larger."""
    copy = tf.keras.models.clone_model(model)
    copy.set_weights([10.0**decade * values for values in model.get_weights()])
    return copy


@pytest.mark.parametrize("loss", ["original", "normalized"])
@pytest.mark.parametrize("decade", [9, 30])
def test_kernels_too_large_are_named_at_the_start(config, monkeypatch, small_model, decade, loss):
    network.use(monkeypatch, scaled(small_model, decade))
    with pytest.raises(NonFiniteError, match=r"/conv2_[12].* not finite"):
        stylize(dataclasses.replace(config, loss=loss))


# --- whatever the settings ----------------------------------------------------------------------

PICTURES = {
    "noise": noise,
    "grey": lambda height, width, seed: noise(height, width, seed)[..., :1].repeat(3, axis=2),
    "flat": lambda height, width, seed: np.full((height, width, 3), seed % 256, np.float32),
    "one color": lambda height, width, seed: np.tile(
        np.random.default_rng(seed).integers(0, 256, 3).astype(np.float32), (height, width, 1)
    ),
    "black": lambda height, width, seed: np.zeros((height, width, 3), np.float32),
    "dark": lambda height, width, seed: noise(height, width, seed) / 100,
}


@pytest.mark.parametrize("loss", ["original", "normalized"])
@pytest.mark.parametrize("color", ["luminance", "match"])
def test_grey_and_plain_pictures_give_numbers_whatever_becomes_of_colors(
    config, small_network, color, loss
):
    config = dataclasses.replace(config, color=color, loss=loss, iterations=(1,))
    plain = ("grey", "one color")
    for content, style in (
        *itertools.product(["noise"], plain),
        *itertools.product(plain, ["noise"]),
    ):
        picture_io.save_picture(config.content, PICTURES[content](20, 24, 1))
        picture_io.save_picture(config.style[0], PICTURES[style](24, 22, 2))
        result, notes = stylize(config)
        assert_sound(result)
        assert notes == []
        assert_no_rise(result.record)


WEIGHT = st.just(0.0) | st.floats(-30, 30).map(lambda decade: 10.0**decade)


def weighted_layers(draw):
    layers = draw(st.lists(st.sampled_from(LAYERS), min_size=1, max_size=4, unique=True))
    some = st.lists(WEIGHT, min_size=len(layers) - 1, max_size=len(layers) - 1)
    return tuple(layers), (*draw(some), 10.0 ** draw(st.floats(-30, 30)))


@st.composite
def transfers(draw):
    """Draw (settings, pictures, decade of all kernels); a picture is (kind, h, w, seed)."""
    content_layers, content_weights = weighted_layers(draw)
    style_layers, style_weights = weighted_layers(draw)
    count = draw(st.integers(1, 2))
    names, shares = ("s", "t")[:count], (draw(WEIGHT), draw(WEIGHT) or 1.0)
    side, kind = st.integers(24, 40), st.sampled_from(sorted(PICTURES))
    content, *styles = (
        (draw(kind), draw(side), draw(side), draw(st.integers(0, 999))) for _ in range(1 + count)
    )
    lighter = st.sampled_from(sorted(set(PICTURES) - {"black", "flat", "one color"}))
    masks = [
        tuple(
            (draw(lighter), height, width, draw(st.integers(0, 999))) for _, height, width, _ in of
        )
        if draw(st.booleans())
        else None
        for of in ([content] * count, styles)
    ]
    config = TransferConfig(
        content="o",
        style=names,
        style_blend=shares[-count:],
        content_masks=masks[0] and names,
        style_masks=masks[1] and names,
        color=draw(st.sampled_from(["style", "luminance", "match"])),
        optimizer=draw(st.sampled_from(["lbfgs", "adam"])),
        learning_rate=10.0 ** draw(st.floats(-6, 3)),
        loss=draw(st.sampled_from(["original", "normalized"])),
        lambda_os=draw(WEIGHT),
        tv_weight=draw(WEIGHT),
        content_layers=content_layers,
        content_weights=content_weights,
        style_layers=style_layers,
        style_weights=style_weights,
        size=(draw(st.integers(16, 40)),),
        iterations=(2,),
        init=draw(st.sampled_from(["content", "style", "noise"])),
        pooling=draw(st.sampled_from(["max", "avg"])),
        parametrization=draw(st.sampled_from(["pixel", "fourier"])),
        history=draw(st.integers(1, 3)),
        log_every=1,
    )
    pictures = Inputs(content, tuple(styles), None, masks[0] or (), masks[1] or ())
    return config, pictures, draw(st.integers(-12, 12))


@pytest.mark.slow
@settings(
    max_examples=settings().max_examples * 3 // 5,  # each a transfer
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(drawn=transfers())
def test_any_settings_give_numbers_or_a_message(drawn, monkeypatch, small_model):
    config, pictures, decade = drawn
    network.use(monkeypatch, scaled(small_model, decade))
    pictures = pictures.map(lambda how: PICTURES[how[0]](*how[1:]))
    shapes = {size: picture_inputs.shapes_at(config, pictures, size) for size in config.size}
    loaded = picture_inputs.LoadedInputs(pictures, shapes)
    monkeypatch.setattr(picture_inputs, "load", lambda config: loaded)
    try:
        result, messages = stylize(config)
    except (NonFiniteError, ZeroEnergyError) as error:
        result, messages = None, [str(error)]
    layers = [*config.content_layers, *config.style_layers, TOTAL_VARIATION]
    assert all(any(layer in message for layer in layers) for message in messages)
    if result is not None:
        assert_sound(result)
        if config.optimizer != "adam":  # whose steps do not look at the loss
            assert_no_rise(result.record)
