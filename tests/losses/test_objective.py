"""The loss of a transfer on a small network, against NumPy and against finite differences."""

import contextlib
import dataclasses
import math
from typing import NamedTuple

import numpy as np
import pytest
import tensorflow as tf
from helpers import narrow_network
from helpers.bfloat16 import needs_bfloat16
from helpers.exact import leave_out_the_means, make_whole, whole_numbers
from helpers.numpy_network import numpy_features
from helpers.rounding import (
    filter_error,
    gamma,
    gram_error,
    squared_distance_error,
    there_and_back_error,
    unit,
)
from helpers.strips import LOW_STRIPS, all_ways, without_graphs

from gatys_norm.config import TransferConfig
from gatys_norm.images import masks as picture_masks
from gatys_norm.images.inputs import ResizedInputs
from gatys_norm.losses import objective, parametrization
from gatys_norm.losses.coefficients import ZeroEnergyError
from gatys_norm.network import vgg
from gatys_norm.network.convolution import DIRECT
from gatys_norm.network.memory import WHOLE, Strips
from gatys_norm.terms import TOTAL_VARIATION, block_of, is_style, layer_of, style_of

pytestmark = pytest.mark.numeric

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
STYLE_AWARE = dataclasses.replace(SETTINGS, loss="style_aware")
all_cases = pytest.mark.parametrize(
    "config", CASES, ids=[f"{case.loss}-tv{case.tv_weight:g}" for case in CASES]
)


def full_gain(height, width):
    """The gain of each frequency, those left out by a real picture's transform included."""
    half = parametrization._gain(height, width)
    return np.concatenate([half, half[:, 1 : (width + 1) // 2]], axis=1)


CONTENT = np.random.default_rng(1).uniform(0, 255, (7, 6, 3))  # odd height: pooling drops a row
STYLE = np.random.default_rng(2).uniform(0, 255, (5, 9, 3))
RESULT = np.random.default_rng(3).uniform(-20, 275, CONTENT.shape)  # may leave 0–255
OTHER_STYLE = np.random.default_rng(5).uniform(0, 255, (6, 8, 3))
NAMES = ("a", "b_c")
SHARES = (0.3, 1.7)


def random_mask(height, width, seed):
    return np.random.default_rng(seed).uniform(0, 1, (height, width)).astype(np.float32)


# Each is a whole number of times as large as the layers are, 7 × 6 and 3 × 3, or those of a style.
CONTENT_MASKS = (random_mask(21, 12, 6), random_mask(42, 6, 7))
STYLE_MASKS = (random_mask(10, 36, 8), random_mask(12, 16, 9))
ONE_STYLE = ResizedInputs(CONTENT, (STYLE,))
SCENES = {
    "blended": ResizedInputs(CONTENT, (STYLE, OTHER_STYLE)),
    "in regions": ResizedInputs(CONTENT, (STYLE, OTHER_STYLE), CONTENT_MASKS),
    "of regions": ResizedInputs(CONTENT, (STYLE, OTHER_STYLE), (), STYLE_MASKS),
    "region by region": ResizedInputs(CONTENT, (STYLE, OTHER_STYLE), CONTENT_MASKS, STYLE_MASKS),
}
GAIN = full_gain(*CONTENT.shape[:2])
TIGHT = 1e-6  # what no relative error in float64 may exceed here, so that a wrong layer shows
TIGHT_FLOAT32 = 1e-3  # the same of masks, whose type is float32


@pytest.fixture(autouse=True)
def blocks_without_graphs(request):
    """Do not trace the network in strips, which has a graph for each height of a strip."""
    parameters = request.node.callspec.params if hasattr(request.node, "callspec") else {}
    with without_graphs() if parameters.get("strips") == LOW_STRIPS else contextlib.nullcontext():
        yield


@pytest.fixture(scope="module")
def extractor(small_model):
    return vgg.Extractor(small_model, LAYERS, compute_dtype=tf.float64)


def pose(config, extractor, **changes):
    config = dataclasses.replace(config, **changes)
    return objective.build_objective(config.resolved(), extractor, ONE_STYLE)


def flat(image):
    return tf.constant(image.reshape(-1))


COEFFICIENT = 9  # roundings: sums of weights and shares, quotients by them, λ_os, w, a mask's share


class Term(NamedTuple):
    """A squared distance and its coefficient, and how far two ways of computing them may differ."""

    distance: float
    coefficient: float
    distance_error: float
    coefficient_error: float

    @property
    def value(self):
        return self.distance * self.coefficient

    @property
    def error(self):
        return (
            self.distance_error * self.coefficient
            + (self.coefficient_error + gamma(2) * self.coefficient) * self.distance
        )


def term_of(target, target_error, value, value_error, coefficient, is_normalized, share_error=0.0):
    """Make a `Term` from what it compares, how wrong that is, and its coefficient.

    In the normalized loss the coefficient is yet to be divided by the target's energy.
    """
    energy = np.sum(target**2)
    relative = 2 * gamma(COEFFICIENT) + share_error
    if is_normalized:
        coefficient /= energy
        relative += 2 * squared_distance_error(target, 0, error=target_error) / energy
    return Term(
        np.sum((target - value) ** 2),
        coefficient,
        2 * squared_distance_error(target, value, error=target_error + value_error),
        coefficient * relative,
    )


def numpy_mask(masks, index, height, width):
    """Return the means of a mask's blocks, one a value of the layer, and their relative error.

    Means are of float32, of as many numbers as a block is high and wide; their roots are rounded,
    and come twice. There are ones where there is no mask.
    """
    if not masks:
        return np.ones((height, width)), 0.0
    mask = masks[index].astype(np.float64)
    tall, wide = mask.shape[0] // height, mask.shape[1] // width
    means = mask.reshape(height, tall, width, wide).mean(axis=(1, 3))
    return means, gamma(tall + wide + 2, "float32")


def masked_gram(features, error, mask, mask_error):
    """Return the Gram matrix of a region and the most by which rounding may change it."""
    gram = np.einsum("hw,hwa,hwb->ab", mask, features, features)
    sizes = np.abs(features)
    of_mask = mask_error * np.einsum("hw,hwa,hwb->ab", mask, sizes, sizes)
    return gram, gram_error(features, error=error, mask=mask) + of_mask


def numpy_terms(small_model, config, image, scene=ONE_STYLE, image_error=0.0, same_masks=False):
    """{term: `Term`} by Eq. 3–4 or 11–14, style by style, and total variation.

    Args:
      small_model: a Keras model.
      config: settings.
      image: x.
      scene: content, styles, and masks a whole number of times as large as the layers.
      image_error: the most by which a value of x is already wrong.
      same_masks: whether what is compared shares its masks, so that they may be wrong.
    """
    height, width = scene.content.shape[:2]
    is_normalized = config.loss == "normalized"
    o, o_error = numpy_features(small_model, scene.content)
    x, x_error = numpy_features(small_model, image, image_error)
    terms = {}
    for layer, weight in zip(config.content_layers, config.content_weights, strict=True):
        if is_normalized:
            coefficient = config.lambda_os * height * width * weight / sum(config.content_weights)
        else:
            coefficient = config.lambda_os * 0.5 * weight
        terms[f"content/{layer}"] = term_of(
            o[layer], o_error[layer], x[layer], x_error[layer], coefficient, is_normalized
        )
    names = NAMES if len(scene.styles) > 1 else ("",)
    shares = SHARES if len(scene.styles) > 1 else (1.0,)
    for index, (name, style) in enumerate(zip(names, scene.styles, strict=True)):
        s, s_error = numpy_features(small_model, style)
        share = shares[index] / sum(shares)
        for layer, weight in zip(config.style_layers, config.style_weights, strict=True):
            wanted, wanted_error = numpy_mask(scene.content_masks, index, *x[layer].shape[:2])
            own, own_error = numpy_mask(scene.style_masks, index, *s[layer].shape[:2])
            if same_masks:
                wanted_error = own_error = 0.0
            gram, gram_wrong = masked_gram(x[layer], x_error[layer], wanted, wanted_error)
            target, target_wrong = masked_gram(s[layer], s_error[layer], own, own_error)
            # Means of the masks over all places: float32 too.
            share_error = sum(
                gamma(mask.size, "float32") + error
                for mask, error in ((wanted, wanted_error), (own, own_error))
                if error
            )
            scale = wanted.mean() / own.mean()
            target, target_wrong = (
                scale * target,
                scale * (target_wrong + share_error * np.abs(target)),
            )
            if is_normalized:
                coefficient = height * width * share * weight / sum(config.style_weights)
            else:
                places, channels = wanted.sum(), x[layer].shape[-1]
                coefficient = share * weight / (2 * places * channels) ** 2
            terms[f"style[{name}]/{layer}" if name else f"style/{layer}"] = term_of(
                target, target_wrong, gram, gram_wrong, coefficient, is_normalized, 2 * share_error
            )
    if config.tv_weight:
        differences = np.diff(image, axis=0), np.diff(image, axis=1)
        variation = sum(np.sum(difference**2) for difference in differences)
        error = sum(
            squared_distance_error(difference, 0, error=2 * image_error + unit() * difference)
            for difference in differences
        )
        terms["total_variation"] = Term(
            variation, config.tv_weight, 2 * (error + unit() * variation), 0.0
        )
    return terms


def assert_terms(terms, coefficients, expected, tight=TIGHT):
    """Compare an objective's terms and coefficients with {term: `Term`}, to what is rounded."""
    assert set(terms) == set(coefficients) == set(expected)
    for name, term in expected.items():
        assert term.distance_error < tight * term.distance
        assert term.coefficient_error < tight * term.coefficient
        assert terms[name] == pytest.approx(term.distance, rel=0, abs=term.distance_error)
        assert coefficients[name] == pytest.approx(
            term.coefficient, rel=0, abs=term.coefficient_error
        )


def total_and_error(terms, tight=TIGHT):
    """Return Σ coefficient · distance, and how far two ways of computing it may lie apart."""
    total = sum(term.value for term in terms.values())
    error = sum(term.error for term in terms.values()) + 2 * gamma(len(terms)) * total
    assert error < tight * total
    return total, error


@all_cases
def test_every_term_equals_numpy(config, small_model, extractor):
    posed = pose(config, extractor)
    expected = numpy_terms(small_model, config, RESULT)
    terms = posed.terms(flat(RESULT))
    assert list(terms) == list(posed.coefficients) == list(expected)
    assert_terms(terms, posed.coefficients, expected)


@all_cases
def test_value_equals_numpy(config, small_model, extractor):
    posed = pose(config, extractor)
    expected, error = total_and_error(numpy_terms(small_model, config, RESULT))
    assert posed.loss(posed.terms(flat(RESULT))) == pytest.approx(expected, rel=0, abs=error)
    value, _ = posed.value_and_gradient(flat(RESULT))
    assert float(value) * posed.unit == pytest.approx(expected, rel=0, abs=error)


STEP = 1e-3  # grey levels; no ReLU and no maximum changes over within two of them


def slope(function, position, index):
    """Return the derivative by one value of the position, from four values of the function.

    Between two changes of a ReLU or a maximum the loss is of degree four along a line: features of
    one, Gram matrices of two. (8 f(h) − 8 f(−h) − f(2h) + f(−2h)) / 12h is then exact.
    """
    moved = np.zeros(position.shape[0])
    moved[index] = STEP
    ahead, behind, farther, before = (
        float(function(position + steps * moved)[0]) for steps in (1, -1, 2, -2)
    )
    return (8 * (ahead - behind) - (farther - before)) / (12 * STEP)


def slope_error(value_error, position, gradient):
    """Return how far rounding may carry a `slope`.

    Args:
      value_error: the most by which rounding changes a value of the function.
      position, gradient: the position moved, which is rounded, and what that changes of a value.
    """
    moved = unit() * np.abs(position).max() * np.abs(gradient).max()
    return (8 + 8 + 1 + 1) / 12 * (value_error + moved) / STEP


def assert_gradient_is_slope(posed, position, value_error, places):
    """Compare the gradient at some places with differences of values that are so far wrong."""
    _, gradient = posed.value_and_gradient(position)
    gradient = gradient.numpy()
    slopes = [slope(posed.value_and_gradient, position, index) for index in places]
    error = slope_error(value_error / posed.unit, position, gradient)
    assert error < 1e-3 * np.abs(gradient).max()  # so that a missing factor shows
    # The gradient's terms are the value's, each without one factor of some grey levels: its own
    # rounding is less than the value's, which is divided by no step here.
    error += value_error / posed.unit
    np.testing.assert_allclose(gradient[places], slopes, rtol=0, atol=error)


# Each loss in both parametrizations, and each with total variation in one of them.
@pytest.mark.parametrize(
    ("config", "kind"),
    [(CASES[1], "pixel"), (CASES[2], "pixel"), (CASES[0], "fourier"), (CASES[3], "fourier")],
)
def test_gradient_equals_central_differences(config, kind, small_model, extractor):
    posed = pose(config, extractor, parametrization=kind)
    position = posed.position(RESULT)
    value, gradient = posed.value_and_gradient(position)
    assert gradient.shape == (RESULT.size,)
    assert value.shape == ()
    terms = numpy_terms(small_model, config, RESULT, image_error=map_error(position, kind))
    error = total_and_error(terms)[1]
    assert_gradient_is_slope(posed, position, error, np.arange(RESULT.size))


def map_error(position, kind):
    """The most by which rounding changes a value of the picture of a position."""
    return 0.0 if kind == "pixel" else filter_error(position, GAIN)


def numpy_style_aware(small_model, config, image, scene=ONE_STYLE):
    """{term: (distance, coefficient)} of the style-aware loss, and the energies of the targets.

    Cheng et al.: ‖G_s − G_x‖² / (‖G_s‖² + ‖G_x‖²) in each style layer; the content as in Eq. 11.
    """
    normalized = numpy_terms(
        small_model, dataclasses.replace(config, loss="normalized"), image, scene
    )
    posed = objective.build_objective(
        config.resolved(), vgg.Extractor(small_model, LAYERS, compute_dtype=tf.float64), scene
    )
    features, _ = numpy_features(small_model, image)
    terms = {}
    for name, term in normalized.items():
        if not is_style(name):
            terms[name] = term.distance, term.coefficient
            continue
        mask = posed.masks.get(name, np.ones(features[layer_of(name)].shape[:2]))
        gram = np.einsum("hw,hwa,hwb->ab", mask, *[features[layer_of(name)]] * 2)
        energy = np.sum(np.square(posed.targets[name]))
        bound = energy + np.sum(gram**2)
        terms[name] = term.distance / bound, term.coefficient * energy
    return terms


@pytest.mark.parametrize("kind", ["one style", *SCENES])
def test_style_terms_of_the_style_aware_loss_are_divided_by_their_bound(
    kind, small_model, extractor
):
    scene = SCENES.get(kind, ONE_STYLE)
    changes = {} if kind == "one style" else {"style": ("a", "b c.jpg"), "style_blend": SHARES}
    config = dataclasses.replace(STYLE_AWARE, **changes).resolved()
    posed = objective.build_objective(config, extractor, scene)
    expected = numpy_style_aware(small_model, config, RESULT, scene)
    terms = posed.terms(flat(RESULT))
    assert set(terms) == set(expected)
    for name, (distance, coefficient) in expected.items():
        assert terms[name] == pytest.approx(distance, rel=TIGHT_FLOAT32)
        assert posed.coefficients[name] == pytest.approx(coefficient, rel=TIGHT_FLOAT32)
        assert not is_style(name) or 0 < terms[name] < 1
    value, _ = posed.value_and_gradient(flat(RESULT))
    total = sum(math.prod(pair) for pair in expected.values())
    assert float(value) * posed.unit == pytest.approx(total, rel=TIGHT_FLOAT32)


@pytest.mark.parametrize("kind", ["pixel", "fourier"])
def test_gradient_of_the_style_aware_loss_equals_central_differences(kind, extractor):
    """The quotient is no polynomial: the differences are right to the step's fourth power."""
    posed = pose(STYLE_AWARE, extractor, parametrization=kind, lambda_os=1e-6)
    position = posed.position(RESULT)
    _, gradient = posed.value_and_gradient(position)
    places = np.arange(0, RESULT.size, 3)
    slopes = [slope(posed.value_and_gradient, position, index) for index in places]
    largest = np.abs(gradient).max()
    np.testing.assert_allclose(gradient.numpy()[places], slopes, rtol=0, atol=1e-6 * largest)
    undivided = posed.with_squared_distances().value_and_gradient(position)[1]
    direction = np.sum(gradient * undivided) / np.linalg.norm(gradient) / np.linalg.norm(undivided)
    assert direction < 0.999  # the bound changes it


def test_the_measures_compare_squared_distances_whatever_the_loss(extractor):
    posed, normalized = (
        pose(SETTINGS, extractor, loss=loss) for loss in ("style_aware", "normalized")
    )
    assert posed.with_squared_distances().terms(flat(RESULT)) == normalized.terms(flat(RESULT))
    assert normalized.with_squared_distances() is normalized


@pytest.mark.parametrize("kind", ["pixel", "fourier"])
def test_the_position_of_a_picture_gives_it_again(kind, extractor):
    posed = pose(SETTINGS, extractor, parametrization=kind)
    position = posed.position(RESULT)
    assert position.shape == (RESULT.size,)
    np.testing.assert_allclose(posed.image(position), RESULT, rtol=0, atol=back_error(RESULT, kind))


def back_error(image, kind):
    """The most by which rounding changes a value of the picture of a picture's position."""
    return 0.0 if kind == "pixel" else there_and_back_error(image, GAIN)


@all_cases
def test_fourier_is_the_same_loss_of_the_same_picture(config, small_model, extractor):
    pixel = pose(config, extractor)
    fourier = pose(config, extractor, parametrization="fourier")
    position = fourier.position(RESULT)
    assert np.abs(position - pixel.position(RESULT)).max() > 10
    assert fourier.coefficients == pixel.coefficients
    error = back_error(RESULT, "fourier")
    expected = numpy_terms(small_model, config, RESULT, image_error=error)
    assert_terms(fourier.terms(position), fourier.coefficients, expected)
    total, error = total_and_error(expected)
    value, _ = fourier.value_and_gradient(position)
    assert float(value) * fourier.unit == pytest.approx(total, rel=0, abs=error)
    terms = numpy_terms(small_model, config, fourier.image(position).numpy())
    assert_gradient_is_mapped(fourier, position, total_and_error(terms)[1])


def assert_gradient_is_mapped(fourier, position, value_error):
    """Compare the gradient by a position with what the map makes of that by its picture's pixels.

    The map is its own transpose. Each of the gradient's terms is one of the value's without a
    factor of some grey levels, so that its rounding is less than the value's; the map enlarges
    what is wrong by its largest gain.
    """
    pixel = dataclasses.replace(fourier, parametrization="pixel")
    _, gradient = fourier.value_and_gradient(position)
    _, of_pixels = pixel.value_and_gradient(tf.reshape(fourier.image(position), [-1]))
    channels = tf.transpose(tf.reshape(of_pixels, fourier.shape), [2, 0, 1])
    mapped = parametrization.to_image(tf.reshape(channels, [-1]), fourier.shape, "fourier")
    gain = full_gain(*fourier.shape[:2])
    wrong = 2 * value_error / fourier.unit * np.sqrt(channels.numpy().size)
    error = gain.max() * wrong + 2 * filter_error(channels, gain)
    assert error < 1e-4 * np.abs(gradient).max()
    expected = tf.reshape(tf.transpose(mapped, [2, 0, 1]), [-1])
    np.testing.assert_allclose(gradient, expected, rtol=0, atol=error)


@all_ways
@pytest.mark.parametrize("kind", ["pixel", "fourier"])
def test_a_term_of_which_only_the_gradient_is_not_finite_is_named(kind, strips, extractor):
    posed = dataclasses.replace(pose(SETTINGS, extractor, parametrization=kind), strips=strips)
    position = posed.position(RESULT)
    assert posed.terms_not_finite(position) == []
    infinite = posed.coefficients | {"style/relu1_2": math.inf}
    spoilt = dataclasses.replace(posed, coefficients=infinite)
    assert spoilt.terms_not_finite(position) == ["style/relu1_2"]


@pytest.fixture(scope="module")
def whole_model(small_model):
    """A model of small whole numbers, in which nothing is rounded."""
    return make_whole(tf.keras.models.clone_model(small_model))


@pytest.fixture
def heights(monkeypatch):
    """Give the list of how many rows the first layer is traced for."""
    heights = []
    preprocessed = vgg._preprocessed
    monkeypatch.setattr(
        vgg, "_preprocessed", lambda image: heights.append(image.shape[0]) or preprocessed(image)
    )
    return heights


def assert_same_bits(one, other, image):
    """Compare two objectives whose numbers are whole: targets, terms, value and gradient.

    The second's terms may be fewer: those that count.
    """
    for term, target in other.targets.items():
        np.testing.assert_array_equal(one.targets[term], target)
    terms = one.terms(flat(image))
    assert {term: terms[term] for term in other.targets} == {
        term: value for term, value in other.terms(flat(image)).items() if term in other.targets
    }
    # Powers of two as coefficients, and value and gradient too are sums of whole numbers.
    powers = dict.fromkeys(one.coefficients, 0.0)
    powers |= {term: 2.0 ** (index % 3) for index, term in enumerate(other.coefficients)}
    (value, gradient), (other_value, other_gradient) = (
        dataclasses.replace(
            each, coefficients={term: powers[term] for term in each.coefficients}
        ).value_and_gradient(flat(image))
        for each in (one, other)
    )
    assert float(value) == float(other_value) != 0
    assert np.any(gradient)
    np.testing.assert_array_equal(gradient, other_gradient)


def assert_same_in_strips(config, extractors, scene, image):
    """Compare an objective in strips with the same at once, bit for bit; all numbers are whole."""
    posed, plain = (
        objective.build_objective(config, extractor, scene, way)
        for extractor, way in zip(extractors, (LOW_STRIPS, WHOLE), strict=True)
    )
    assert posed.coefficients == plain.coefficients
    assert_same_bits(posed, plain, image)


def two_extractors(model):
    return [vgg.Extractor(model, LAYERS, compute_dtype=tf.float64) for _ in range(2)]


@pytest.mark.usefixtures("eagerly")
def test_strips_change_nothing(whole_model, monkeypatch, heights):
    leave_out_the_means(monkeypatch)
    content, style, result = (
        whole_numbers((height, width, 3), height * width, largest=2)
        for height, width in ((29, 18), (33, 21), (29, 18))
    )
    scene, extractors = ResizedInputs(content, (style,)), two_extractors(whole_model)
    for config in (CASES[1], CASES[3]):
        assert_same_in_strips(config.resolved(), extractors, scene, result)
    before_the_whole = heights[: heights.index(len(content))]
    assert max(before_the_whole) < len(content)  # the targets too


@pytest.mark.usefixtures("eagerly")
def test_strips_under_the_fourier_transform_equal_numpy(small_model, heights):
    generator = np.random.default_rng(4)
    content, style, result = (
        generator.uniform(0, 255, (height, width, 3))
        for height, width in ((29, 18), (33, 21), (29, 18))
    )
    scene = ResizedInputs(content, (style,))
    config = dataclasses.replace(CASES[3], parametrization="fourier").resolved()
    extractor = vgg.Extractor(small_model, LAYERS, compute_dtype=tf.float64)
    posed = objective.build_objective(config, extractor, scene, LOW_STRIPS)
    position = posed.position(result)
    error = there_and_back_error(result, full_gain(29, 18))
    expected = numpy_terms(small_model, config, result, scene, image_error=error)
    assert_terms(posed.terms(position), posed.coefficients, expected, 1e-5)
    assert max(heights) < len(content)
    terms = numpy_terms(small_model, config, posed.image(position).numpy(), scene)
    assert_gradient_is_mapped(posed, position, total_and_error(terms)[1])


DEEP = TransferConfig(
    content_layers=("conv4_2", "relu2_1"),
    style_layers=("conv1_1", "relu2_1", "conv3_1", "conv4_1", "relu5_1"),
)
BLENDED = {"style": ("a", "b"), "style_blend": SHARES}


@pytest.fixture(scope="module")
def deep_extractor():
    """φ of all five blocks, a few channels wide, in float32."""
    layers = DEEP.content_layers + DEEP.style_layers
    return vgg.Extractor(narrow_network.load_biased_model(), layers, rule=lambda *_: DIRECT)


@pytest.mark.usefixtures("eagerly")
@pytest.mark.parametrize(
    ("changes", "regions"),
    [
        ({"loss": "normalized", "tv_weight": 1e-3}, False),
        ({"loss": "original", "color": "luminance", "tv_weight": 1e-3}, False),
        ({"loss": "original"} | BLENDED, True),
        ({"loss": "normalized", "parametrization": "fourier"} | BLENDED, True),
        ({"loss": "style_aware"} | BLENDED, True),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, dict) else None,
)
def test_strips_give_the_value_and_gradient(changes, regions, deep_extractor):
    shape, other_shape = (37, 29), (33, 40)
    generator = np.random.default_rng(14)
    content, result, style, other = (
        generator.uniform(0, largest, (*size, 3)).astype(np.float32)
        for largest, size in ((255, shape), (120, shape), (60, other_shape), (255, shape))
    )
    masks = tuple(random_mask(*shape, seed) for seed in (15, 16)) if regions else ()
    config = dataclasses.replace(DEEP, **changes).resolved()
    styles = (style, other)[: len(config.style_names)]
    scene = ResizedInputs(content, styles, masks, masks)
    plain, posed = (
        objective.build_objective(config, deep_extractor, scene, strips)
        for strips in (WHOLE, Strips(8))
    )
    assert posed.coefficients == pytest.approx(plain.coefficients, rel=1e-6)
    position = plain.position(result)
    expected, expected_gradient = plain.value_and_gradient(position)
    value, gradient = posed.value_and_gradient(position)
    assert float(value) == pytest.approx(float(expected), rel=1e-6)
    error = np.max(np.abs(gradient - expected_gradient))
    assert error <= 1e-5 * np.max(np.abs(expected_gradient))
    assert posed.terms(position) == pytest.approx(plain.terms(position), rel=1e-5)


# Not what rounding allows, which is more, but what the program's users may count on.
@needs_bfloat16
@pytest.mark.parametrize("config", [CASES[0], CASES[2], STYLE_AWARE], ids=lambda case: case.loss)
def test_bfloat16_changes_the_value_by_one_and_the_gradient_by_five_per_cent(config, small_model):
    content, style, result = (np.float32(image) for image in (CONTENT, STYLE, RESULT))
    extractor, coarser = (
        vgg.Extractor(small_model, LAYERS, compute_dtype=dtype)
        for dtype in (tf.float32, tf.bfloat16)
    )
    fine = objective.build_objective(config.resolved(), extractor, ResizedInputs(content, (style,)))
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


@pytest.fixture(scope="module")
def float32_extractor(small_model):
    return vgg.Extractor(small_model, LAYERS)


@pytest.mark.parametrize("config", [CASES[1], CASES[3]], ids=["original", "normalized"])
@pytest.mark.parametrize("factor", [1e6, 3e-9, 2.0**40])
def test_common_factor_of_the_coefficients_changes_no_bit(config, factor, float32_extractor):
    content, style, result = (np.float32(image) for image in (CONTENT, STYLE, RESULT))
    posed = objective.build_objective(
        config.resolved(), float32_extractor, ResizedInputs(content, (style,))
    )
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
    scene = ResizedInputs(CONTENT[::-1], (STYLE[:4],))
    for other_config in (
        CASES[2],
        dataclasses.replace(CASES[2], lambda_os=0.7, style_weights=(1, 2, 3)),
    ):
        other = objective.build_objective(other_config.resolved(), extractor, scene)
        other_value, _ = other.value_and_gradient(flat(RESULT))
        # The same sum by two graphs: each distance as wrong as it may be.
        error = total_and_error(numpy_terms(small_model, other_config, RESULT, scene))[1]
        assert float(other_value) * other.unit == pytest.approx(
            other.loss(other.terms(flat(RESULT))), rel=0, abs=error
        )
        assert other.function is posed.function
    error = back_error(RESULT, "fourier")
    terms = numpy_terms(small_model, CASES[0], RESULT, image_error=error)
    error = total_and_error(terms)[1] / posed.unit
    for changes in ({"parametrization": "fourier"}, {"strips": LOW_STRIPS}):
        different = dataclasses.replace(posed, **changes)
        assert different.function is not posed.function
        position = different.position(RESULT)
        different_value, _ = different.value_and_gradient(position)
        assert float(different_value) == pytest.approx(float(value), rel=0, abs=error)
    assert posed.function.experimental_get_tracing_count() == 1
    # The other objectives' targets and coefficients have left no trace in this one.
    assert float(posed.value_and_gradient(flat(RESULT))[0]) == float(value)


def test_silent_layer_is_refused_by_the_losses_that_divide(small_model):
    silent = tf.keras.models.clone_model(small_model)
    silent.set_weights(small_model.get_weights())
    last = silent.get_layer("block2_conv2")
    last.set_weights([0 * value for value in last.get_weights()])
    extractor = vgg.Extractor(silent, LAYERS, compute_dtype=tf.float64)
    for loss in ("normalized", "style_aware"):
        with pytest.raises(ZeroEnergyError, match=r"conv2_2 .* style picture"):
            pose(dataclasses.replace(SETTINGS, loss=loss), extractor)
    posed = pose(dataclasses.replace(SETTINGS, loss="original"), extractor)
    assert posed.terms(flat(RESULT))["style/conv2_2"] == 0


# --- several styles and regions -----------------------------------------------------------------

TWO_STYLES = [
    dataclasses.replace(case, style=("x/a.png", "b c.jpg"), style_blend=SHARES) for case in CASES
]
both_losses = pytest.mark.parametrize(
    "config", [TWO_STYLES[0], TWO_STYLES[2]], ids=["original", "normalized"]
)


@both_losses
@pytest.mark.parametrize("kind", SCENES)
def test_every_term_of_several_styles_equals_numpy(config, kind, small_model, extractor):
    posed = objective.build_objective(config, extractor, SCENES[kind])
    expected = numpy_terms(small_model, config, RESULT, SCENES[kind])
    assert_terms(posed.terms(flat(RESULT)), posed.coefficients, expected, TIGHT_FLOAT32)
    value, _ = posed.value_and_gradient(flat(RESULT))
    total, error = total_and_error(expected, TIGHT_FLOAT32)
    assert float(value) * posed.unit == pytest.approx(total, rel=0, abs=error)


@both_losses
@pytest.mark.parametrize("kind", SCENES)
def test_the_loss_is_the_blend_of_the_single_styles_losses(config, kind, small_model, extractor):
    scene, losses_alone = SCENES[kind], []
    for index in (0, 1):
        one = slice(index, index + 1)
        alone = dataclasses.replace(config, style="s.png", style_blend=(1.0,))
        masks = (masks[one] for masks in (scene.content_masks, scene.style_masks))
        posed = objective.build_objective(
            alone, extractor, ResizedInputs(CONTENT, scene.styles[one], *masks)
        )
        losses_alone.append(posed.loss(posed.terms(flat(RESULT))))
    posed = objective.build_objective(config, extractor, scene)
    expected = sum(
        share / sum(SHARES) * loss for share, loss in zip(SHARES, losses_alone, strict=True)
    )
    assert losses_alone[0] != pytest.approx(losses_alone[1], rel=0.01)
    terms = numpy_terms(small_model, config, RESULT, scene, same_masks=True)
    error = total_and_error(terms)[1]
    assert posed.loss(posed.terms(flat(RESULT))) == pytest.approx(expected, rel=0, abs=error)


BT601 = np.array([[0.299], [0.587], [0.114]])
GREY = np.repeat(RESULT @ BT601, 3, axis=2)


def grey_error(image_error=0.0):
    """The most by which rounding changes a luminance, of a picture that is already so wrong."""
    return image_error + gamma(3) * (np.abs(RESULT).max() + image_error)


@pytest.mark.parametrize("color", ["style", "luminance"])
@pytest.mark.parametrize("config", TWO_STYLES[1::2], ids=["original", "normalized"])
def test_gradient_of_several_regions_equals_central_differences(
    config, color, small_model, extractor
):
    scene = SCENES["region by region"]
    posed = objective.build_objective(dataclasses.replace(config, color=color), extractor, scene)
    image, error = (RESULT, 0.0) if color == "style" else (GREY, grey_error())
    terms = numpy_terms(small_model, config, image, scene, image_error=error, same_masks=True)
    places = np.random.default_rng(11).choice(RESULT.size, 20, replace=False)
    assert_gradient_is_slope(posed, posed.position(RESULT), total_and_error(terms)[1], places)


@both_losses
@pytest.mark.parametrize("kind", ["pixel", "fourier"])
def test_luminance_is_the_loss_of_the_grey_picture(config, kind, small_model, extractor):
    config = dataclasses.replace(config, parametrization=kind)
    scene = SCENES["in regions"]
    in_color = objective.build_objective(config, extractor, scene)
    posed = objective.build_objective(
        dataclasses.replace(config, color="luminance"), extractor, scene
    )
    position = posed.position(RESULT)
    error = grey_error(back_error(RESULT, kind))
    np.testing.assert_allclose(posed.image(position), GREY, rtol=0, atol=2 * error)
    terms = numpy_terms(small_model, config, GREY, scene, image_error=2 * error)
    assert_terms(posed.terms(position), posed.coefficients, terms, TIGHT_FLOAT32)
    colored = in_color.terms(position)
    assert all(abs(colored[name] / term.distance - 1) > 1e-3 for name, term in terms.items())
    assert posed.coefficients == in_color.coefficients
    value, _ = posed.value_and_gradient(position)
    total, error = total_and_error(terms, TIGHT_FLOAT32)
    assert float(value) * posed.unit == pytest.approx(total, rel=0, abs=error)


@pytest.mark.usefixtures("eagerly")
def test_strips_change_nothing_in_regions(whole_model, monkeypatch, heights):
    leave_out_the_means(monkeypatch)
    content, style, other, result = (
        whole_numbers((height, width, 3), height * width, largest=2)
        for height, width in ((29, 18), (33, 20), (28, 19), (29, 18))
    )
    monkeypatch.setattr(picture_masks, "mask_at", mask_of_squares)
    masks = np.eye(4, dtype=np.float32)
    scene = ResizedInputs(content, (style, other), tuple(masks[:2]), tuple(masks[2:]))
    extractors = two_extractors(whole_model)
    for config in (TWO_STYLES[0], TWO_STYLES[2]):
        assert_same_in_strips(config, extractors, scene, result)
    assert min(heights) < len(content)


def mask_of_squares(mask, height, width):
    """Stand in for `mask_at`: a mask with exact roots, ¼ at one half of the places, ¾ at the rest.

    All have the same mean, so that no Gram matrix is scaled to another region's share.
    """
    seed = 100 * int(mask.argmax()) + height
    places = np.random.default_rng(seed).permutation(height * width) % 2
    return np.float32([1 / 16, 9 / 16])[places.reshape(height, width)]


@all_ways
def test_white_masks_change_no_bit(strips, whole_model, monkeypatch, heights):
    leave_out_the_means(monkeypatch)
    content, style, result = (
        whole_numbers((height, width, 3), height * width, largest=2)
        for height, width in ((29, 18), (31, 25), (29, 18))
    )
    white = (np.ones((58, 36), np.float32),), (np.ones((10, 12), np.float32),)
    extractor = vgg.Extractor(whole_model, LAYERS, compute_dtype=tf.float64)
    for config in (TWO_STYLES[0], TWO_STYLES[2]):
        config = dataclasses.replace(config, style="s.png", style_blend=(1.0,))
        posed, plain = (
            objective.build_objective(
                config, extractor, ResizedInputs(content, (style,), *masks), strips
            )
            for masks in (white, ())
        )
        assert posed.coefficients == plain.coefficients
        assert_same_bits(posed, plain, result)
    assert (min(heights) < len(content)) == (strips != WHOLE)


def test_a_style_without_a_share_changes_no_bit(whole_model, monkeypatch):
    leave_out_the_means(monkeypatch)
    content, style, other, result = (
        whole_numbers(image.shape, seed, largest=2)
        for seed, image in enumerate((CONTENT, STYLE, OTHER_STYLE, RESULT))
    )
    extractor = vgg.Extractor(whole_model, LAYERS, compute_dtype=tf.float64)
    for config in (TWO_STYLES[0], TWO_STYLES[2]):
        blended = objective.build_objective(
            dataclasses.replace(config, style_blend=(1, 0)),
            extractor,
            ResizedInputs(content, (style, other)),
        )
        alone = objective.build_objective(
            dataclasses.replace(config, style="a.png", style_blend=(1,)),
            extractor,
            ResizedInputs(content, (style,)),
        )
        counted = {term: value for term, value in blended.coefficients.items() if value}
        assert {term.replace("[a]", ""): value for term, value in counted.items()} == (
            alone.coefficients
        )
        renamed = dataclasses.replace(
            alone,
            targets={term: blended.targets[term] for term in counted},
            coefficients=counted,
        )
        for term, target in alone.targets.items():
            name = term.replace("style/", "style[a]/")
            np.testing.assert_array_equal(blended.targets[name], target)
        assert_same_bits(blended, renamed, result)


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
    posed = objective.build_objective(
        config, extractor, ResizedInputs(content, (style, style), (left, 1 - left))
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
        return objective.build_objective(
            config, extractor, ResizedInputs(content, (style,), *masks)
        ).targets

    wanted, unmasked = targets(full), targets(halves)
    for masks in (((), (taken,)), (white, (taken,))):
        for term, target in targets(halves, *masks).items():
            if not is_style(term):
                continue
            error, without_mask = (
                np.linalg.norm(found[term] - wanted[term]) / np.linalg.norm(wanted[term])
                for found in ({term: target}, unmasked)
            )
            # The rest is the picture's edge, of which the half has another share.
            assert error < 0.12
            assert without_mask > 3 * error


@all_ways
@pytest.mark.parametrize("config", TWO_STYLES, ids=[case.loss for case in TWO_STYLES])
@pytest.mark.parametrize("kind", ["blended", "region by region"])
def test_targets_are_scaled_to_the_positions_at_stroke_size_1(config, kind, strips, extractor):
    """The coefficients of the normalized loss are those of the scaled targets."""
    shapes = ((12, 20), (3, 4))
    plain = objective.build_objective(config, extractor, SCENES[kind], strips)
    scene = SCENES[kind]._replace(reference_shapes=shapes)
    posed = objective.build_objective(config, extractor, scene, strips)
    ratios = {  # {(style, block): positions at stroke size 1 / those of the style}
        ("a", 1): (12 * 20) / (5 * 9),
        ("a", 2): (6 * 10) / (2 * 4),
        ("b_c", 1): (3 * 4) / (6 * 8),
        ("b_c", 2): (1 * 2) / (3 * 4),
    }
    for term, target in plain.targets.items():
        place = style_of(term), block_of(layer_of(term))
        ratio = ratios[place] if is_style(term) else 1
        np.testing.assert_allclose(posed.targets[term], ratio * target, rtol=gamma(3), atol=0)
        power = ratio**2 if config.loss == "normalized" else 1
        error = 2 * gamma(int(tf.size(target)) + 3)
        assert posed.coefficients[term] * power == pytest.approx(
            plain.coefficients[term], rel=error
        )
    again = objective.with_extractor(extractor, posed, config, scene)
    for term, target in posed.targets.items():
        np.testing.assert_array_equal(again.targets[term], target)


def test_a_piece_of_a_texture_counts_as_the_whole(small_model):
    config = dataclasses.replace(SETTINGS, style="s.png", loss="original").resolved()
    extractor = vgg.Extractor(small_model, LAYERS, compute_dtype=tf.float64)
    tile = np.random.default_rng(17).uniform(0, 255, (4, 4, 3))
    whole, piece = (np.tile(tile, (count, count, 1)) for count in (24, 12))
    wanted = objective.build_objective(config, extractor, ResizedInputs(whole, (whole,)))
    scene = ResizedInputs(whole, (piece,), reference_shapes=(whole.shape[:2],))
    for term, target in objective.build_objective(config, extractor, scene).targets.items():
        difference = np.linalg.norm(target - wanted.targets[term])
        # The rest is the picture's edge, of which the piece has twice the share.
        assert difference < 0.12 * np.linalg.norm(wanted.targets[term])


@needs_bfloat16
def test_regions_in_another_precision_are_those_of_the_first(small_model):
    config = TWO_STYLES[2]
    pictures = [np.float32(image) for image in (CONTENT, STYLE, OTHER_STYLE)]
    scene = ResizedInputs(pictures[0], tuple(pictures[1:]), CONTENT_MASKS, STYLE_MASKS)
    fine, coarse = (
        vgg.Extractor(small_model, LAYERS, compute_dtype=dtype)
        for dtype in (tf.float32, tf.bfloat16)
    )
    posed = objective.build_objective(config, fine, scene)
    other = objective.with_extractor(coarse, posed, config, scene)
    assert other.coefficients == posed.coefficients
    assert list(other.targets) == list(posed.targets)
    for term, target in posed.targets.items():
        error = np.linalg.norm(other.targets[term] - target) / np.linalg.norm(target)
        assert 0 < error < 0.03  # the program's word, as above
    value, _ = posed.value_and_gradient(flat(np.float32(RESULT)))
    other_value, _ = other.value_and_gradient(flat(np.float32(RESULT)))
    assert float(other_value) == pytest.approx(float(value), rel=0.03)


@pytest.mark.parametrize(
    "config",
    [
        TWO_STYLES[0],
        TWO_STYLES[2],
        dataclasses.replace(STYLE_AWARE, style=("a", "b"), style_blend=SHARES),
    ],
    ids=lambda case: case.loss,
)
@all_ways
def test_corrected_targets_give_the_loss_of_another_network_at_one_picture(
    config, strips, small_model, whole_model
):
    config, scene = dataclasses.replace(config, tv_weight=0.1), SCENES["in regions"]
    exact = objective.build_objective(
        config, vgg.Extractor(small_model, LAYERS, compute_dtype=tf.float64), scene, strips
    )
    other = objective.with_extractor(
        vgg.Extractor(whole_model, LAYERS, compute_dtype=tf.float64), exact, config, scene
    )
    place, elsewhere = flat(RESULT), flat(np.flip(RESULT, 1))
    corrected = objective.with_corrected_targets(other, exact, place)
    assert corrected.extractor is other.extractor
    assert corrected.coefficients == exact.coefficients
    # In the style-aware loss the norms that it divides by remain those of the other network.
    corrected, exact, other = (each.with_squared_distances() for each in (corrected, exact, other))
    terms, others = exact.terms(place), other.terms(place)
    for name, value in corrected.terms(place).items():
        assert value == pytest.approx(terms[name], rel=1e-6), name
        assert name == TOTAL_VARIATION or others[name] != pytest.approx(terms[name], rel=1e-3)
    assert corrected.terms(elsewhere) != pytest.approx(exact.terms(elsewhere), rel=1e-3)


# --- wrapped pictures ---------------------------------------------------------------------------


def test_the_style_and_variation_of_a_tile_do_not_depend_on_where_it_begins():
    """With λ_os = 0, and the total variation across the seams."""
    generator = np.random.default_rng(0)
    content, style, image = generator.uniform(0, 255, (3, 32, 48, 3)).astype(np.float32)
    layers = ("conv1_1", "conv3_1", "conv5_1")
    config = TransferConfig(
        content_layers=("conv4_1",), style_layers=layers, lambda_os=0, tv_weight=1e-4
    ).resolved()
    model = narrow_network.load_biased_model()
    for border, is_seamless in (("wrap", True), ("zero", False)):
        tile = vgg.Extractor(model, (*layers, "conv4_1"), rule=lambda *_: DIRECT, border=border)
        problem = objective.build_objective(config, tile, ResizedInputs(content, (style,)))
        moved = np.roll(image, (16, 32), (0, 1))
        with without_graphs():
            (loss, gradient, _), (other, of_moved, _) = (
                problem.function(flat(picture), *problem.data) for picture in (image, moved)
            )
        assert (float(other) == pytest.approx(float(loss), rel=1e-5)) is is_seamless
        expected = np.roll(tf.reshape(gradient, image.shape), (16, 32), (0, 1))
        error = np.max(np.abs(tf.reshape(of_moved, image.shape) - expected))
        assert bool(error <= 1e-4 * np.max(np.abs(expected))) is is_seamless
