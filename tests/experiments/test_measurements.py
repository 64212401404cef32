"""Layer powers, gradient norms and distances of results."""

import dataclasses

import numpy as np
import pytest
import tensorflow as tf
from helpers import network
from helpers.exact import leave_out_the_means
from helpers.numpy_network import numpy_features
from helpers.rounding import gamma, gram_error, squared_distance_error

from gatys_norm.config import TransferConfig
from gatys_norm.experiments import measurements
from gatys_norm.images import io as picture_io
from gatys_norm.images.inputs import ResizedInputs
from gatys_norm.images.sizes import resize
from gatys_norm.losses.objective import build_objective
from gatys_norm.network import vgg, weights

LAYERS = {"content_layers": ("conv2_2",), "style_layers": ("conv1_2", "conv2_1")}


@pytest.fixture
def config(tmp_path, small_network, eagerly, monkeypatch):
    """Settings for two small pictures of one size and a small network."""
    monkeypatch.setattr(measurements, "LAYERS", ("conv1_1", "relu1_1", "conv2_2", "relu2_2"))
    monkeypatch.setattr(measurements, "FEATURE_LAYER", "relu2_1")
    generator = np.random.default_rng(0)
    for name in ("content", "style"):
        picture = generator.uniform(0, 255, (24, 32, 3)).astype(np.float32)
        picture_io.save_picture(tmp_path / f"{name}.png", picture)
    return TransferConfig(
        content=str(tmp_path / "content.png"),
        style=str(tmp_path / "style.png"),
        size=(32,),
        **LAYERS,
    )


def features(config, path, layer):
    extractor = vgg.load_extractor(weights.locate("auto"), frozenset((layer,)), "max", "float32")
    return extractor(picture_io.load_picture(path))[layer].numpy().astype(np.float64)


def test_layer_powers_are_the_styles_mean_squares(config):
    powers = measurements.layer_powers(config)
    assert set(powers) == {"conv1_1", "relu1_1", "conv2_2", "relu2_2"}
    for layer, power in powers.items():
        squares = features(config, *config.style, layer) ** 2
        # No square is negative: as many roundings as there are additions, the square, the mean.
        error = gamma(squares.size + 1, "float32")
        assert power == pytest.approx(np.mean(squares), rel=error)
    assert powers["relu1_1"] < powers["conv1_1"]


def test_what_is_not_finite_is_none_so_that_it_can_be_written(config, small_model, monkeypatch):
    """With kernels so large float32 holds the features and not their squares."""
    huge = tf.keras.models.clone_model(small_model)
    huge.set_weights([1e12 * values for values in small_model.get_weights()])
    network.use(monkeypatch, huge, lambda extractor: InFloat32(extractor))
    powers = measurements.layer_powers(config)
    assert None in powers.values()
    assert all(power is None or np.isfinite(power) for power in powers.values())


class InFloat32:
    """An extractor whose features are rounded to float32."""

    def __init__(self, extractor):
        self.extractor = extractor

    def __call__(self, image):
        return {name: tf.cast(value, tf.float32) for name, value in self.extractor(image).items()}


@pytest.mark.parametrize(
    ("loss", "parametrization"), [("original", "fourier"), ("normalized", "pixel")]
)
def test_gradient_norms_are_those_of_differences(
    config, loss, parametrization, small_model, monkeypatch
):
    """In float64 but for the norm itself, so that differences of values have digits left."""
    leave_out_the_means(monkeypatch)
    network.use(monkeypatch, small_model, in_float64(small_model))
    config = dataclasses.replace(config, loss=loss, parametrization=parametrization)
    norms = measurements.gradient_norms(config)
    assert norms["content/conv2_2"] == 0
    pixels = dataclasses.replace(config, parametrization="pixel").resolved()
    pictures = [picture_io.load_picture(path) for path in (config.content, *config.style)]
    content, style = (picture.astype(np.float64) for picture in pictures)
    layers = frozenset(config.content_layers + config.style_layers)
    extractor = vgg.load_extractor(weights.locate("auto"), layers, "max", "float32")
    objective = build_objective(pixels, extractor, ResizedInputs(content, (style,)))
    start, step = objective.position(content), 0.01
    for term in ("style/conv1_2", "style/conv2_1"):
        gradient = objective.gradients(start)[term]
        direction = gradient / np.linalg.norm(gradient)
        values = [
            objective.terms(start + steps * step * direction)[term] for steps in (1, -1, 2, -2)
        ]
        # Of degree four between two changes of a ReLU or a maximum, so this is exact.
        slope = (8 * (values[0] - values[1]) - (values[2] - values[3])) / (12 * step)
        error = (8 + 8 + 1 + 1) / 12 * distance_error(small_model, term, content, style) / step
        assert error < 1e-3 * slope
        # The norm in float32: each value, its square, their sum, with no negative term.
        error += gamma(content.size + 2, "float32") * slope
        coefficient = objective.coefficients[term]
        assert norms[term] == pytest.approx(coefficient * slope, rel=0, abs=coefficient * error)


def in_float64(model):
    """Return what makes an extractor one that computes in float64."""
    return lambda extractor: vgg.Extractor(model, extractor._layers, compute_dtype=tf.float64)


def distance_error(model, term, content, style):
    """The most by which rounding changes a style term's distance at the content picture."""
    matrices = []
    layer = term.removeprefix("style/")
    for picture in (content, style):
        features, errors = numpy_features(model, picture, means=0.0)
        phi = features[layer]
        matrices.append((np.einsum("hwa,hwb->ab", phi, phi), gram_error(phi, error=errors[layer])))
    (of_content, wrong), (of_style, also_wrong) = matrices
    return squared_distance_error(of_content, of_style, error=wrong + also_wrong)


def test_gradient_norms_of_an_undefined_loss_are_none(config, small_model):
    """A black picture, and a network without biases, give nothing but zeros."""
    picture_io.save_picture(config.style[0], np.zeros((24, 32, 3), np.float32))
    dark = dataclasses.replace(config, style_layers=("relu1_1",), loss="normalized")
    kernel, bias = small_model.get_layer("block1_conv1").get_weights()
    small_model.get_layer("block1_conv1").set_weights([0 * kernel, bias - 1e6])
    try:
        assert measurements.gradient_norms(dark) == {}
        assert measurements.gradient_norms(dataclasses.replace(dark, loss="original"))
    finally:
        small_model.get_layer("block1_conv1").set_weights([kernel, bias])


def test_picture_distances(config, tmp_path):
    flat = {level: np.full((24, 32, 3), level, np.float32) for level in (10, 40, 100)}
    paths = [tmp_path / f"{level}.png" for level in flat]
    for path, picture in zip(paths, flat.values(), strict=True):
        picture_io.save_picture(path, picture)
    distances = measurements.picture_distances(config, paths)
    assert distances["grey_levels"] == [[0, 30, 90], [30, 0, 60], [90, 60, 0]]
    phi = [features(config, path, "relu2_1") for path in [config.content, *paths]]
    for i, j in ((0, 1), (0, 2), (1, 2)):
        expected = np.linalg.norm(phi[i + 1] - phi[j + 1]) / np.linalg.norm(phi[0])
        # Features are float32: each is squared as a difference, rounded twice, in a sum without
        # negative terms, divided by another such; the roots halve all that.
        error = gamma(2 * (phi[0].size + 3), "float32")
        assert distances["features"][i][j] == pytest.approx(expected, rel=error)
        assert distances["features"][j][i] == distances["features"][i][j]


def grating(height, width, cycles_down, cycles_across):
    """Return a grey picture of waves, so many cycles of them from edge to edge."""
    down, across = np.arange(height)[:, np.newaxis] / height, np.arange(width) / width
    waves = np.cos(2 * np.pi * (cycles_down * down + cycles_across * across))
    return np.repeat((100 + 80 * waves)[..., np.newaxis], 3, axis=2)


@pytest.mark.parametrize(
    ("cycles_down", "cycles_across"), [(0, 12), (8, 0), (8, 12), (-8, 12), (8.5, 12.5), (32, 48)]
)
def test_the_spectral_centroid_of_a_grating_is_its_frequency(cycles_down, cycles_across):
    frequency = np.hypot(cycles_down / 64, cycles_across / 96)
    centroid = measurements.spectral_centroid(grating(64, 96, cycles_down, cycles_across))
    # The window puts some power into the frequencies next to it.
    assert centroid == pytest.approx(frequency, rel=0.02)


def test_an_enlarged_picture_has_half_the_spectral_centroid():
    small = resize(np.random.default_rng(6).uniform(0, 255, (24, 20, 3)), 96, 80)
    large = resize(small, 192, 160)
    centroid = measurements.spectral_centroid(small)
    assert measurements.spectral_centroid(large) == pytest.approx(centroid / 2, rel=0.02)
    assert measurements.spectral_centroid(0.3 * small + 20) == pytest.approx(centroid)


def test_the_spectral_centroid_is_of_luminance_and_0_where_that_is_one():
    down, across = grating(64, 64, 4, 0), grating(64, 64, 0, 16)
    picture = np.stack([down[..., 0], down[..., 0], across[..., 0]], axis=2)
    weights = (0.299 + 0.587) ** 2, 0.114**2
    expected = np.average([4 / 64, 16 / 64], weights=weights)
    assert measurements.spectral_centroid(picture) == pytest.approx(expected, rel=0.02)
    assert measurements.spectral_centroid(np.full((9, 7, 3), 100.1, np.float32)) == 0


@pytest.mark.weights
def test_powers_of_the_real_network_peak_before_the_relu_in_block_4(real_weights):
    config = TransferConfig(
        content="data/river_town.jpg",
        style="data/flowing_strokes.jpg",
        size=(128,),
        weights=real_weights.source,
    )
    powers = measurements.layer_powers(config)
    assert len(powers) == 32
    before = {layer: power for layer, power in powers.items() if layer.startswith("conv")}
    assert max(before, key=before.get).startswith("conv4_")
