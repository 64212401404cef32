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


# --- several styles and regions -----------------------------------------------------------------

OTHER_STYLE = np.random.default_rng(5).uniform(0, 255, (6, 8, 3))
NAMES = ("a", "b_c")
SHARES = (0.3, 1.7)


def random_mask(height, width, seed):
    return np.random.default_rng(seed).uniform(0, 1, (height, width)).astype(np.float32)


# Each is a whole number of times as large as the layers are, 7 × 6 and 3 × 3, or those of a style.
CONTENT_MASKS = (random_mask(21, 12, 6), random_mask(42, 6, 7))
STYLE_MASKS = (random_mask(10, 36, 8), random_mask(12, 16, 9))
SCENES = {
    "blended": scenes.Scene(CONTENT, (STYLE, OTHER_STYLE)),
    "in regions": scenes.Scene(CONTENT, (STYLE, OTHER_STYLE), CONTENT_MASKS),
    "of regions": scenes.Scene(CONTENT, (STYLE, OTHER_STYLE), (), STYLE_MASKS),
    "region by region": scenes.Scene(CONTENT, (STYLE, OTHER_STYLE), CONTENT_MASKS, STYLE_MASKS),
}
TWO_STYLES = [
    dataclasses.replace(case, style=("x/a.png", "b c.jpg"), style_blend=SHARES) for case in CASES
]
both_losses = pytest.mark.parametrize(
    "config", [TWO_STYLES[0], TWO_STYLES[2]], ids=["original", "normalized"]
)


def numpy_mask(masks, index, height, width):
    """The means of the blocks of a mask, one a value of the layer; ones where there is none."""
    if not masks:
        return np.ones((height, width))
    mask = masks[index].astype(np.float64)
    tall, wide = mask.shape[0] // height, mask.shape[1] // width
    return mask.reshape(height, tall, width, wide).mean(axis=(1, 3))


def numpy_style_terms(small_model, config, scene, image):
    """{term: (squared distance, coefficient)} of the style terms, region by region."""
    x = numpy_features(small_model, image)
    terms = {}
    for index, (name, style) in enumerate(zip(NAMES, scene.styles, strict=True)):
        s = numpy_features(small_model, style)
        share = SHARES[index] / sum(SHARES)
        for layer, weight in zip(config.style_layers, config.style_weights, strict=True):
            wanted = numpy_mask(scene.content_masks, index, *x[layer].shape[:2])
            own = numpy_mask(scene.style_masks, index, *s[layer].shape[:2])
            target, gram = (
                np.einsum("hw,hwa,hwb->ab", mask, value[layer], value[layer])
                for mask, value in ((own, s), (wanted, x))
            )
            target *= wanted.mean() / own.mean()
            if config.loss == "original":
                places, channels = wanted.sum(), x[layer].shape[-1]
                coefficient = share * weight / (2 * places * channels) ** 2
            else:
                coefficient = 7 * 6 * share * weight / sum(config.style_weights)
                coefficient /= np.sum(target**2)
            terms[f"style[{name}]/{layer}"] = np.sum((target - gram) ** 2), coefficient
    return terms


@both_losses
@pytest.mark.parametrize("kind", SCENES)
def test_every_term_of_several_styles_equals_numpy(config, kind, small_model, extractor):
    posed = objective.pose(config, extractor, SCENES[kind])
    terms = posed.terms(flat(RESULT))
    expected = numpy_style_terms(small_model, config, SCENES[kind], RESULT)
    plain = numpy_terms(small_model, config, RESULT)
    expected |= {term: value for term, value in plain.items() if term.startswith("content/")}
    assert set(terms) == set(posed.coefficients) == set(expected)
    for term, (distance, coefficient) in expected.items():
        assert terms[term] == pytest.approx(distance, rel=1e-5)  # masks are float32
        assert posed.coefficients[term] == pytest.approx(coefficient, rel=1e-5)
    value, _ = posed.value_and_gradient(flat(RESULT))
    total = sum(distance * coefficient for distance, coefficient in expected.values())
    assert float(value) * posed.unit == pytest.approx(total, rel=1e-5)


@both_losses
@pytest.mark.parametrize("kind", SCENES)
def test_the_loss_is_the_blend_of_the_single_styles_losses(config, kind, extractor):
    scene, losses_alone = SCENES[kind], []
    for index in (0, 1):
        one = slice(index, index + 1)
        alone = dataclasses.replace(config, style="s.png", style_blend=(1.0,))
        masks = (masks[one] for masks in (scene.content_masks, scene.style_masks))
        posed = objective.pose(alone, extractor, scenes.Scene(CONTENT, scene.styles[one], *masks))
        losses_alone.append(posed.loss(posed.terms(flat(RESULT))))
    posed = objective.pose(config, extractor, scene)
    expected = sum(
        share / sum(SHARES) * loss for share, loss in zip(SHARES, losses_alone, strict=True)
    )
    assert losses_alone[0] != pytest.approx(losses_alone[1], rel=0.01)
    assert posed.loss(posed.terms(flat(RESULT))) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("color", ["style", "luminance"])
@pytest.mark.parametrize("config", TWO_STYLES[1::2], ids=["original", "normalized"])
def test_gradient_of_several_regions_equals_central_differences(config, color, extractor):
    config = dataclasses.replace(config, color=color)
    posed = objective.pose(config, extractor, SCENES["region by region"])
    position = posed.position(RESULT)
    _, gradient = posed.value_and_gradient(position)
    places = np.random.default_rng(11).choice(RESULT.size, 40, replace=False)
    step = 1e-4
    differences = np.empty(len(places))
    for number, index in enumerate(places):
        moved = np.zeros(RESULT.size)
        moved[index] = step
        ahead, behind = (
            float(posed.value_and_gradient(position + sign * moved)[0]) for sign in (1, -1)
        )
        differences[number] = (ahead - behind) / (2 * step)
    scale = np.abs(differences).max()
    np.testing.assert_allclose(gradient.numpy()[places], differences, rtol=0, atol=1e-6 * scale)


@both_losses
@pytest.mark.parametrize("kind", ["pixel", "fourier"])
def test_luminance_is_the_loss_of_the_grey_picture(config, kind, extractor):
    config = dataclasses.replace(config, parametrization=kind)
    grey = np.repeat(RESULT @ [[0.299], [0.587], [0.114]], 3, axis=2)
    in_color = objective.pose(config, extractor, SCENES["in regions"])
    posed = objective.pose(
        dataclasses.replace(config, color="luminance"), extractor, SCENES["in regions"]
    )
    position = posed.position(RESULT)
    np.testing.assert_allclose(posed.image(position), grey, rtol=0, atol=1e-9)
    expected = in_color.terms(in_color.position(grey))
    assert posed.terms(position) == pytest.approx(expected, rel=1e-9)
    assert in_color.terms(position) != pytest.approx(expected, rel=1e-3)
    assert posed.coefficients == in_color.coefficients
    value, _ = posed.value_and_gradient(position)
    assert float(value) == pytest.approx(posed.loss(expected) / posed.unit, rel=1e-9)


@both_losses
def test_strips_change_nothing_in_regions(config, small_model, monkeypatch):
    monkeypatch.setattr(summary, "STRIP_PIXELS", 1)
    monkeypatch.setattr(summary, "LEAST_ROWS", 12)
    generator = np.random.default_rng(4)
    content, style, other, result = (
        generator.uniform(0, 255, (height, width, 3))
        for height, width in ((29, 18), (33, 21), (26, 19), (29, 18))
    )
    masks = [tuple(random_mask(41, 23, seed) for seed in seeds) for seeds in ((1, 2), (3, 4))]
    scene = scenes.Scene(content, (style, other), *masks)
    posed, plain = (
        objective.pose(
            config, vgg.Extractor(small_model, LAYERS, compute_dtype=tf.float64), scene, in_strips
        )
        for in_strips in (True, False)
    )
    value, gradient = posed.value_and_gradient(flat(result))
    plain_value, plain_gradient = plain.value_and_gradient(flat(result))
    for term, target in plain.targets.items():
        assert_close(posed.targets[term], target)
    assert posed.coefficients == pytest.approx(plain.coefficients, rel=1e-10)
    assert float(value) == pytest.approx(float(plain_value), rel=1e-10)
    assert_close(gradient, plain_gradient)


@both_losses
@pytest.mark.parametrize("in_strips", [False, True])
def test_white_masks_change_no_bit(config, in_strips, small_model, monkeypatch):
    monkeypatch.setattr(summary, "STRIP_PIXELS", 1)
    monkeypatch.setattr(summary, "LEAST_ROWS", 4)
    config = dataclasses.replace(config, style="s.png", style_blend=(1.0,))
    extractor = vgg.Extractor(small_model, LAYERS)
    generator = np.random.default_rng(4)
    content, style, result = (
        generator.uniform(0, 255, size).astype(np.float32)
        for size in ((23, 18, 3), (21, 25, 3), (23, 18, 3))
    )
    white = (np.ones((46, 36), np.float32),), (np.ones((10, 12), np.float32),)
    posed, plain = (
        objective.pose(config, extractor, scenes.Scene(content, (style,), *masks), in_strips)
        for masks in (white, ())
    )
    assert posed.coefficients == plain.coefficients
    for term, target in plain.targets.items():
        np.testing.assert_array_equal(posed.targets[term], target)
    for actual, expected in zip(
        posed.value_and_gradient(flat(result)), plain.value_and_gradient(flat(result)), strict=True
    ):
        np.testing.assert_array_equal(actual, expected)


@both_losses
def test_a_style_without_a_share_changes_no_bit(config, small_model):
    extractor = vgg.Extractor(small_model, LAYERS)
    content, style, other, result = (
        np.float32(image) for image in (CONTENT, STYLE, OTHER_STYLE, RESULT)
    )
    blended = objective.pose(
        dataclasses.replace(config, style_blend=(1, 0)),
        extractor,
        scenes.Scene(content, (style, other)),
    )
    alone = objective.pose(
        dataclasses.replace(config, style="a.png", style_blend=(1,)),
        extractor,
        scenes.Scene(content, (style,)),
    )
    assert {
        term.replace("[a]", ""): value for term, value in blended.coefficients.items() if value
    } == (alone.coefficients)
    for actual, expected in zip(
        blended.value_and_gradient(flat(result)),
        alone.value_and_gradient(flat(result)),
        strict=True,
    ):
        np.testing.assert_array_equal(actual, expected)


def test_a_style_draws_at_its_region_and_what_its_layer_sees_beside_it(small_model):
    """Features of conv1_2 see two pixels far."""
    config = dataclasses.replace(
        SETTINGS,
        style_layers=("conv1_2",),
        style_weights=(1.0,),
        style=("a", "b_c"),
        style_blend=(1.0, 1.0),
    )
    extractor = vgg.Extractor(small_model, LAYERS, compute_dtype=tf.float64)
    generator = np.random.default_rng(12)
    content, style, result = generator.uniform(0, 255, (3, 12, 20, 3))
    left = np.tile(np.repeat(np.float32([1, 0]), 10), (12, 1))
    posed = objective.pose(
        config, extractor, scenes.Scene(content, (style, style), (left, 1 - left))
    )
    gradients = {
        term: np.abs(gradient.numpy().reshape(12, 20, 3)).max(axis=(0, 2))
        for term, gradient in posed.gradients(flat(result)).items()
    }
    of_left, of_right = (gradients[f"style[{name}]/conv1_2"] for name in NAMES)
    assert (of_left[:12] > 0).all()
    assert (of_left[12:] == 0).all()
    assert (of_right[8:] > 0).all()
    assert (of_right[:8] == 0).all()


def test_a_region_of_a_style_counts_as_if_it_filled_the_picture(small_model):
    """A style whose left half is texture A, of which that is taken, as a whole picture of A."""
    config = dataclasses.replace(SETTINGS, style="s.png", loss="original").resolved()
    extractor = vgg.Extractor(small_model, LAYERS, compute_dtype=tf.float64)
    a, b = np.random.default_rng(13).uniform(0, 255, (2, 4, 4, 3))
    full, half = (np.tile(a, (24, columns, 1)) for columns in (24, 12))
    halves = np.concatenate([half, np.tile(b, (24, 12, 1))], axis=1)
    taken = np.zeros((96, 96), np.float32)
    taken[:, :40] = 1  # no feature there sees B
    content = np.tile(b, (24, 24, 1))
    white = (np.ones((96, 96), np.float32),)

    def targets(style, *masks):
        return objective.pose(config, extractor, scenes.Scene(content, (style,), *masks)).targets

    wanted, unmasked = targets(full), targets(halves)
    for masks in (((), (taken,)), (white, (taken,))):
        for term, target in targets(halves, *masks).items():
            if not losses.is_style(term):
                continue
            error, without_mask = (
                np.linalg.norm(found[term] - wanted[term]) / np.linalg.norm(wanted[term])
                for found in ({term: target}, unmasked)
            )
            # The rest is the picture's edge, of which the half has another share.
            assert error < 0.12
            assert without_mask > 3 * error


def test_regions_in_another_precision_are_those_of_the_first(small_model):
    config = TWO_STYLES[2]
    pictures = [np.float32(image) for image in (CONTENT, STYLE, OTHER_STYLE)]
    scene = scenes.Scene(pictures[0], tuple(pictures[1:]), CONTENT_MASKS, STYLE_MASKS)
    fine, coarse = (
        vgg.Extractor(small_model, LAYERS, compute_dtype=dtype)
        for dtype in (tf.float32, tf.bfloat16)
    )
    posed = objective.pose(config, fine, scene)
    other = objective.in_precision_of(coarse, posed, config, scene)
    assert other.coefficients == posed.coefficients
    assert list(other.targets) == list(posed.targets)
    for term, target in posed.targets.items():
        error = np.linalg.norm(other.targets[term] - target) / np.linalg.norm(target)
        assert 0 < error < 0.03
    value, _ = posed.value_and_gradient(flat(np.float32(RESULT)))
    other_value, _ = other.value_and_gradient(flat(np.float32(RESULT)))
    assert float(other_value) == pytest.approx(float(value), rel=0.03)
