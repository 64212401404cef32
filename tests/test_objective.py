"""The loss of a transfer on a small network, against NumPy and against finite differences."""

import dataclasses
import math

import numpy as np
import pytest
import tensorflow as tf

from gatys_norm import losses, objective, parametrization, scenes, summary, vgg
from gatys_norm.config import TransferConfig

CHANNEL_MEANS = np.array([103.939, 116.779, 123.68])  # blue, green, red
SETTINGS = TransferConfig(
    lambda_os=0.3,
    content_layers=("conv2_1", "relu1_2"),
    content_weights=(1.0, 0.25),
    style_layers=("conv1_2", "relu1_2", "conv2_2"),
    style_weights=(0.2, 0.5, 0.1),
)
LAYERS = SETTINGS.content_layers + SETTINGS.style_layers
CASES = [
    dataclasses.replace(SETTINGS, loss="original", tv_weight=0.0),
    dataclasses.replace(SETTINGS, loss="original", tv_weight=3.0),
    dataclasses.replace(SETTINGS, loss="normalized", tv_weight=0.0),
    dataclasses.replace(SETTINGS, loss="normalized", tv_weight=1e-4),
]
all_cases = pytest.mark.parametrize(
    "config", CASES, ids=[f"{case.loss}-tv{case.tv_weight:g}" for case in CASES]
)
CONTENT = np.random.default_rng(1).uniform(0, 255, (7, 6, 3))  # odd height: pooling drops a row
STYLE = np.random.default_rng(2).uniform(0, 255, (5, 9, 3))
RESULT = np.random.default_rng(3).uniform(-20, 275, CONTENT.shape)  # may leave 0–255


@pytest.fixture(scope="module")
def extractor(small_model):
    return vgg.Extractor(small_model, LAYERS, compute_dtype=tf.float64)


def pose(config, extractor, **changes):
    config = dataclasses.replace(config, **changes)
    return objective.pose(config.resolved(), extractor, scenes.Scene(CONTENT, (STYLE,)))


def flat(image):
    return tf.constant(image.reshape(-1))


def numpy_convolution(value, kernel, bias):
    """3 × 3, zeros around, output as large as the input."""
    height, width, _ = value.shape
    padded = np.pad(value, ((1, 1), (1, 1), (0, 0)))
    result = np.tile(bias, (height, width, 1))
    for row in range(height):
        for column in range(width):
            window = padded[row : row + 3, column : column + 3]
            result[row, column] += np.einsum("abi,abio->o", window, kernel)
    return result


def numpy_max_pool(value):
    """Maximum of whole 2 × 2 squares; what does not fill one is dropped."""
    height, width = value.shape[0] // 2, value.shape[1] // 2
    result = np.empty((height, width, value.shape[2]))
    for row in range(height):
        for column in range(width):
            square = value[2 * row : 2 * row + 2, 2 * column : 2 * column + 2]
            result[row, column] = square.max(axis=(0, 1))
    return result


def numpy_features(small_model, image):
    features, value = {}, image[:, :, ::-1] - CHANNEL_MEANS
    for layer in small_model.layers:
        if not layer.get_weights():
            value = numpy_max_pool(value)
            continue
        name = layer.name.removeprefix("block").replace("_conv", "_")
        value = numpy_convolution(value, *layer.get_weights())
        features[f"conv{name}"] = value
        value = np.maximum(value, 0)
        features[f"relu{name}"] = value
    return features


def numpy_terms(small_model, config, image):
    """{term: (squared distance, coefficient)} by Eq. 3–4 or 11–14, and total variation."""
    o, s, x = (numpy_features(small_model, picture) for picture in (CONTENT, STYLE, image))
    terms = {}
    for layer, weight in zip(config.content_layers, config.content_weights, strict=True):
        if config.loss == "original":
            coefficient = config.lambda_os * 0.5 * weight
        else:
            share = weight / sum(config.content_weights)
            coefficient = config.lambda_os * 7 * 6 * share / np.sum(o[layer] ** 2)
        terms[f"content/{layer}"] = np.sum((o[layer] - x[layer]) ** 2), coefficient
    for layer, weight in zip(config.style_layers, config.style_weights, strict=True):
        target, gram = (np.einsum("hwa,hwb->ab", value[layer], value[layer]) for value in (s, x))
        if config.loss == "original":
            height, width, channels = x[layer].shape
            coefficient = (1 / (2 * height * width * channels)) ** 2 * weight
        else:
            coefficient = 7 * 6 * weight / sum(config.style_weights) / np.sum(target**2)
        terms[f"style/{layer}"] = np.sum((target - gram) ** 2), coefficient
    if config.tv_weight:
        variation = np.sum(np.diff(image, axis=0) ** 2) + np.sum(np.diff(image, axis=1) ** 2)
        terms["total_variation"] = variation, config.tv_weight
    return terms


@all_cases
def test_every_term_equals_numpy(config, small_model, extractor):
    posed = pose(config, extractor)
    expected = numpy_terms(small_model, config, RESULT)
    terms = posed.terms(flat(RESULT))
    assert list(terms) == list(posed.coefficients) == list(expected)
    for term, (distance, coefficient) in expected.items():
        assert terms[term] == pytest.approx(distance, rel=1e-9)
        assert posed.coefficients[term] == pytest.approx(coefficient, rel=1e-9)


@all_cases
def test_value_equals_numpy(config, small_model, extractor):
    posed = pose(config, extractor)
    expected = sum(
        coefficient * distance
        for distance, coefficient in numpy_terms(small_model, config, RESULT).values()
    )
    assert posed.loss(posed.terms(flat(RESULT))) == pytest.approx(expected, rel=1e-9)
    value, _ = posed.value_and_gradient(flat(RESULT))
    assert float(value) * posed.unit == pytest.approx(expected, rel=1e-9)


@all_cases
@pytest.mark.parametrize("kind", ["pixel", "fourier"])
def test_gradient_equals_central_differences(config, kind, extractor):
    posed = pose(config, extractor, parametrization=kind)
    position = posed.position(RESULT)
    value, gradient = posed.value_and_gradient(position)
    step = 1e-4
    differences = np.empty(RESULT.size)
    for index in range(RESULT.size):
        moved = np.zeros(RESULT.size)
        moved[index] = step
        ahead, _ = posed.value_and_gradient(position + moved)
        behind, _ = posed.value_and_gradient(position - moved)
        differences[index] = (float(ahead) - float(behind)) / (2 * step)
    assert gradient.shape == (RESULT.size,)
    assert value.shape == ()
    scale = np.abs(differences).max()
    np.testing.assert_allclose(gradient, differences, rtol=0, atol=1e-6 * scale)


@pytest.mark.parametrize("kind", ["pixel", "fourier"])
def test_the_position_of_a_picture_gives_it_again(kind, extractor):
    posed = pose(SETTINGS, extractor, parametrization=kind)
    position = posed.position(RESULT)
    assert position.shape == (RESULT.size,)
    np.testing.assert_allclose(posed.image(position), RESULT, rtol=0, atol=1e-10)


def assert_close(actual, expected, relative=1e-10):
    bound = relative * np.abs(expected).max()
    np.testing.assert_allclose(actual, expected, rtol=0, atol=bound)


@all_cases
def test_fourier_is_the_same_loss_of_the_same_picture(config, extractor):
    pixel = pose(config, extractor)
    fourier = pose(config, extractor, parametrization="fourier")
    position = fourier.position(RESULT)
    assert np.abs(position - pixel.position(RESULT)).max() > 10
    assert fourier.coefficients == pixel.coefficients
    assert fourier.terms(position) == pytest.approx(pixel.terms(flat(RESULT)), rel=1e-10)
    value, gradient = fourier.value_and_gradient(position)
    pixel_value, pixel_gradient = pixel.value_and_gradient(flat(RESULT))
    assert float(value) == pytest.approx(float(pixel_value), rel=1e-10)
    # The map is its own transpose, so the gradient is what it makes of the pixels' gradient.
    channels = tf.transpose(tf.reshape(pixel_gradient, RESULT.shape), [2, 0, 1])
    mapped = parametrization.to_image(tf.reshape(channels, [-1]), RESULT.shape, "fourier")
    assert_close(gradient, tf.reshape(tf.transpose(mapped, [2, 0, 1]), [-1]))


@pytest.mark.parametrize("in_strips", [False, True])
@pytest.mark.parametrize("kind", ["pixel", "fourier"])
def test_a_term_of_which_only_the_gradient_is_not_finite_is_named(kind, in_strips, extractor):
    posed = dataclasses.replace(
        pose(SETTINGS, extractor, parametrization=kind), in_strips=in_strips
    )
    position = posed.position(RESULT)
    assert posed.terms_not_finite(position) == []
    infinite = posed.coefficients | {"style/relu1_2": math.inf}
    spoilt = dataclasses.replace(posed, coefficients=infinite)
    assert spoilt.terms_not_finite(position) == ["style/relu1_2"]


@pytest.mark.parametrize(("config", "kind"), [(CASES[1], "pixel"), (CASES[3], "fourier")])
def test_strips_change_nothing(config, kind, small_model, monkeypatch):
    generator = np.random.default_rng(4)
    content, style, result = (
        generator.uniform(0, 255, (height, width, 3))
        for height, width in ((29, 18), (33, 21), (29, 18))
    )
    monkeypatch.setattr(summary, "STRIP_PIXELS", 1)
    monkeypatch.setattr(summary, "LEAST_ROWS", 12)
    heights = []
    head = vgg.Extractor.head
    monkeypatch.setattr(
        vgg.Extractor,
        "head",
        lambda self, image: heights.append(image.shape[0]) or head(self, image),
    )
    config = dataclasses.replace(config, parametrization=kind).resolved()
    extractor, other = (
        vgg.Extractor(small_model, LAYERS, compute_dtype=tf.float64) for _ in range(2)
    )
    posed = objective.pose(config, extractor, scenes.Scene(content, (style,)), in_strips=True)
    position = posed.position(result)
    value, gradient = posed.value_and_gradient(position)
    assert max(heights) < len(content)  # the targets too are computed in strips
    plain = objective.pose(config, other, scenes.Scene(content, (style,)))
    plain_value, plain_gradient = plain.value_and_gradient(position)
    for term, target in plain.targets.items():
        assert_close(posed.targets[term], target)
    assert posed.coefficients == pytest.approx(plain.coefficients, rel=1e-10)
    assert posed.terms(position) == pytest.approx(plain.terms(position), rel=1e-10)
    assert float(value) == pytest.approx(float(plain_value), rel=1e-10)
    assert_close(gradient, plain_gradient)


@pytest.mark.parametrize("config", [CASES[0], CASES[2]], ids=["original", "normalized"])
def test_bfloat16_changes_the_value_by_one_and_the_gradient_by_five_per_cent(config, small_model):
    content, style, result = (np.float32(image) for image in (CONTENT, STYLE, RESULT))
    extractor, coarser = (
        vgg.Extractor(small_model, LAYERS, compute_dtype=dtype)
        for dtype in (tf.float32, tf.bfloat16)
    )
    fine = objective.pose(config.resolved(), extractor, scenes.Scene(content, (style,)))
    coarse = dataclasses.replace(fine, extractor=coarser)
    expected, expected_gradient = fine.value_and_gradient(flat(result))
    value, gradient = coarse.value_and_gradient(flat(result))
    assert value.dtype == gradient.dtype == tf.float32
    assert float(value) == pytest.approx(float(expected), rel=0.01)
    error = np.linalg.norm(gradient - expected_gradient)
    assert 0 < error < 0.05 * np.linalg.norm(expected_gradient)


@all_cases
def test_the_unit_is_the_largest_coefficient(config, extractor):
    posed = pose(config, extractor)
    assert posed.unit == max(posed.coefficients.values())


@all_cases
@pytest.mark.parametrize("factor", [1e6, 3e-9, 2.0**40])
def test_common_factor_of_the_coefficients_changes_no_bit(config, factor, small_model):
    extractor = vgg.Extractor(small_model, LAYERS)
    content, style, result = (np.float32(image) for image in (CONTENT, STYLE, RESULT))
    posed = objective.pose(config.resolved(), extractor, scenes.Scene(content, (style,)))
    multiplied = dataclasses.replace(
        posed, coefficients={term: factor * value for term, value in posed.coefficients.items()}
    )
    value, gradient = posed.value_and_gradient(flat(result))
    same_value, same_gradient = multiplied.value_and_gradient(flat(result))
    np.testing.assert_array_equal(same_gradient, gradient)
    assert float(same_value) == float(value)
    assert multiplied.unit == factor * posed.unit


def test_at_the_content_picture_the_normalized_loss_is_style_alone(extractor):
    config = CASES[2]
    terms = pose(config, extractor).terms(flat(CONTENT))
    for term, value in terms.items():
        assert (value == 0) == term.startswith("content/")


def test_objectives_of_one_extractor_and_shape_share_their_graph(small_model):
    extractor = vgg.Extractor(small_model, LAYERS, compute_dtype=tf.float64)
    posed = pose(CASES[0], extractor)
    value, _ = posed.value_and_gradient(flat(RESULT))
    for config in (CASES[2], dataclasses.replace(CASES[2], lambda_os=0.7, style_weights=(1, 2, 3))):
        other = objective.pose(
            config.resolved(), extractor, scenes.Scene(CONTENT[::-1], (STYLE[:4],))
        )
        other_value, _ = other.value_and_gradient(flat(RESULT))
        assert float(other_value) * other.unit == pytest.approx(
            other.loss(other.terms(flat(RESULT))), rel=1e-9
        )
        assert other.function is posed.function
    for changes in ({"parametrization": "fourier"}, {"in_strips": True}):
        different = dataclasses.replace(posed, **changes)
        assert different.function is not posed.function
        position = different.position(RESULT)
        assert float(different.value_and_gradient(position)[0]) == pytest.approx(float(value))
    assert posed.function.experimental_get_tracing_count() == 1
    # The other objectives' targets and coefficients have left no trace in this one.
    assert float(posed.value_and_gradient(flat(RESULT))[0]) == float(value)


def test_silent_layer_is_refused_by_the_normalized_loss_alone(small_model):
    silent = tf.keras.models.clone_model(small_model)
    silent.set_weights(small_model.get_weights())
    last = silent.get_layer("block2_conv2")
    last.set_weights([0 * value for value in last.get_weights()])
    extractor = vgg.Extractor(silent, LAYERS, compute_dtype=tf.float64)
    with pytest.raises(losses.ZeroEnergyError, match=r"conv2_2 .* style picture"):
        pose(dataclasses.replace(SETTINGS, loss="normalized"), extractor)
    posed = pose(dataclasses.replace(SETTINGS, loss="original"), extractor)
    assert posed.terms(flat(RESULT))["style/conv2_2"] == 0
