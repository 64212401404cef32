"""Features and Gram matrices computed in strips of rows, against the same without strips.

All numbers are small and whole, so that nothing is rounded: what strips and the whole picture give
must be equal bit for bit, in whatever order they are added up.
"""

import numpy as np
import pytest
import tensorflow as tf
from helpers.bfloat16 import needs_bfloat16
from helpers.exact import leave_out_the_means, make_whole, whole_numbers
from helpers.network import SMALL_NETWORK, build
from helpers.strips import LOW_STRIPS, all_ways, without_graphs

from gatys_norm.losses import features as loss_features
from gatys_norm.losses.functional import squared_distance
from gatys_norm.network import vgg
from gatys_norm.network.convolution import DIRECT, WINOGRAD, fastest_way
from gatys_norm.network.memory import WHOLE, Strips
from gatys_norm.terms import is_style, layer_of, term_names

SHALLOW = term_names(("conv1_1", "relu2_1", "conv2_2"), ("conv1_2", "relu2_2", "conv2_1"))
DEEP = term_names(("conv3_1",), ("relu3_1", "conv4_1"))
MIXED = ("style/relu3_1", "content/conv2_2", "content/conv3_1", "style/conv1_2", "style/conv2_2")


DEEP_NETWORK = (
    *SMALL_NETWORK,
    ("2_pool", None, None),
    ("3_1", 4, 4),
    ("3_pool", None, None),
    ("4_1", 4, 4),
)


@pytest.fixture(autouse=True)
def whole_pictures_stay_whole(monkeypatch):
    leave_out_the_means(monkeypatch)


def make_deep_model(**options):
    """Return the first two blocks of VGG-19 and a convolution each of the next two, narrow."""
    return make_whole(build(DEEP_NETWORK), **options)


@pytest.fixture(scope="module")
def deep_model():
    return make_deep_model()


def extractor_of(model, terms, pooling="max", compute_dtype=tf.float64, rule=fastest_way):
    layers = {term.split("/")[1] for term in terms}
    return vgg.Extractor(model, layers, pooling, compute_dtype, rule)


def picture(height, width, seed=0, largest=8):
    return tf.constant(whole_numbers((height, width, 3), seed, largest))


def summary_and_gradient(extractor, image, terms, strips, masks=None, largest=3):
    """Return ({term: value}, the gradient of Σ random whole numbers · values)."""
    with tf.GradientTape() as tape:
        tape.watch(image)
        values = loss_features.compute(extractor, image, terms, strips, masks)
    upstream = {
        term: tf.cast(whole_numbers(value.shape, len(term), largest), value.dtype)
        for term, value in values.items()
    }
    return values, tape.gradient(values, image, upstream)


def assert_same_in_strips(extractor, image, terms, masks=None, largest=3, rows=4):
    """Compare computing in strips, which are `rows` high, with computing the whole."""
    plain, plain_gradient = summary_and_gradient(extractor, image, terms, WHOLE, masks, largest)
    assert all(np.any(value) for value in plain.values())
    assert np.any(plain_gradient)
    strips = Strips(rows)
    with without_graphs():
        values, gradient = summary_and_gradient(extractor, image, terms, strips, masks, largest)
    assert list(values) == list(plain) == list(terms)
    for term in terms:
        assert values[term].dtype == plain[term].dtype
        np.testing.assert_array_equal(values[term], plain[term])
    assert gradient.dtype == image.dtype
    np.testing.assert_array_equal(gradient, plain_gradient)


# Every rest of a strip of 4 or 8 rows, and so of a square of the poolings; of 12 some; many strips.
STRIPS = [(4, range(16, 20)), (8, range(16, 24)), (12, (20, 23, 26)), (4, [35]), (12, [35])]


@pytest.mark.parametrize(
    ("rows", "height"), [(rows, height) for rows, heights in STRIPS for height in heights]
)
def test_strips_change_nothing(deep_model, rows, height):
    width = 16 + height % 5
    extractor = extractor_of(deep_model, SHALLOW + DEEP)
    assert_same_in_strips(extractor, picture(height, width), SHALLOW + DEEP, rows=rows)


@pytest.mark.parametrize(
    "terms",
    [
        SHALLOW,
        DEEP,
        MIXED,
        ("content/conv3_1",),
        ("content/relu1_1",),
        ("style/conv2_2",),
        term_names(("conv2_1",), ("conv2_1",)),
    ],
    ids=["shallow", "deep", "mixed", "deep content", "shallow content", "style", "both"],
)
@pytest.mark.parametrize("pooling", ["max", "avg"])
def test_all_terms_and_poolings(deep_model, terms, pooling):
    extractor = extractor_of(deep_model, terms, pooling)
    assert_same_in_strips(extractor, picture(27, 17), terms)


TWO_STYLES = term_names(
    ("conv2_1", "conv3_1"), ("conv1_2", "relu2_2", "conv3_1", "conv4_1"), ("a", "b")
)


def random_masks(terms, height, width, seed=0):
    """A mask for each style term, as large as its layer's features, whose roots are quarters."""
    generator = np.random.default_rng(seed)
    sizes = {
        term: vgg.feature_size(layer_of(term), height, width) for term in terms if is_style(term)
    }
    return {
        term: tf.constant((generator.integers(0, 5, size) / 4) ** 2) for term, size in sizes.items()
    }


@pytest.mark.parametrize("height", range(16, 24))
def test_strips_change_nothing_under_masks(deep_model, height):
    extractor = extractor_of(deep_model, TWO_STYLES)
    masks = random_masks(TWO_STYLES, height, 17)
    assert_same_in_strips(extractor, picture(height, 17), TWO_STYLES, masks=masks)
    only_b = {term: mask for term, mask in masks.items() if "[b]" in term}
    assert_same_in_strips(extractor, picture(height, 17), TWO_STYLES, masks=only_b)


@all_ways
def test_masked_values_are_numpys_in_the_order_asked_for(deep_model, strips):
    terms = TWO_STYLES[::-1]
    extractor, image = extractor_of(deep_model, terms), picture(27, 17)
    masks = random_masks(terms, 27, 17)
    values = loss_features.compiled(extractor, terms, strips)(image, masks)
    features = extractor(image)
    assert set(values) == set(terms)
    for term in terms:
        layer = features[layer_of(term)].numpy()
        if not is_style(term):
            np.testing.assert_array_equal(values[term], layer)
            continue
        # The root of the mask is what the features are multiplied by.
        expected = np.einsum("hw,hwa,hwb->ab", masks[term], layer, layer)
        np.testing.assert_array_equal(values[term], expected)


@all_ways
@pytest.mark.usefixtures("eagerly")
def test_masks_of_ones_change_no_bit(deep_model, strips):
    extractor, image = extractor_of(deep_model, TWO_STYLES), picture(27, 17)
    ones = {term: tf.ones(mask.shape) for term, mask in random_masks(TWO_STYLES, 27, 17).items()}
    plain, plain_gradient = summary_and_gradient(extractor, image, TWO_STYLES, strips)
    values, gradient = summary_and_gradient(extractor, image, TWO_STYLES, strips, ones)
    for term in TWO_STYLES:
        np.testing.assert_array_equal(values[term], plain[term])
    np.testing.assert_array_equal(gradient, plain_gradient)


@pytest.mark.parametrize("terms", [SHALLOW, DEEP, MIXED])
def test_terms_may_need_fewer_layers_than_the_extractor_has(deep_model, terms):
    extractor = extractor_of(deep_model, SHALLOW + DEEP + MIXED)
    assert_same_in_strips(extractor, picture(27, 17), terms)


@pytest.mark.parametrize("terms", [SHALLOW, SHALLOW + DEEP])
def test_traced_equals_eager(deep_model, terms):
    extractor, image = extractor_of(deep_model, terms), picture(27, 17)

    @tf.function(autograph=False)
    def traced(image):
        return summary_and_gradient(extractor, image, terms, WHOLE)

    values, gradient = traced(image)
    plain, plain_gradient = summary_and_gradient(extractor, image, terms, WHOLE)
    np.testing.assert_array_equal(gradient, plain_gradient)
    compiled, in_strips = (
        loss_features.compiled(extractor, terms, strips)(image) for strips in (WHOLE, LOW_STRIPS)
    )
    for term in terms:
        for other in (values, compiled, in_strips):
            np.testing.assert_array_equal(other[term], plain[term])


def test_whole_network_in_float32():
    network = make_whole(
        tf.keras.applications.VGG19(include_top=False, weights=None), terms=2, largest_bias=0
    )
    terms = term_names(("conv4_2",), ("conv1_2", "conv2_2", "conv3_4", "conv4_4", "conv5_4"))
    image = tf.cast(picture(71, 45, largest=1), tf.float32)
    directly = extractor_of(network, terms, compute_dtype=tf.float32, rule=lambda *_: DIRECT)
    assert_same_in_strips(directly, image, terms, largest=1)
    # Winograd's way rounds.
    fastest = extractor_of(network, terms, compute_dtype=tf.float32)
    assert WINOGRAD in fastest.ways(71, 45).values()
    for extractor in (fastest, directly):
        for strips in (WHOLE, LOW_STRIPS):
            with without_graphs():
                values = loss_features.compute(extractor, image, terms, strips)
            for term, expected in loss_features.compute(directly, image, terms).items():
                error = np.max(np.abs(values[term] - expected))
                assert error <= 1e-5 * np.max(np.abs(expected))


@all_ways
def test_compiled_is_given_again_and_serves_every_size(deep_model, strips):
    extractor = extractor_of(deep_model, MIXED)
    function = loss_features.compiled(extractor, MIXED, strips)
    assert loss_features.compiled(extractor, MIXED, strips) is function
    other = LOW_STRIPS if strips == WHOLE else WHOLE
    assert loss_features.compiled(extractor, MIXED, other) is not function
    for image in (picture(19, 16), picture(16, 21)):
        expected = loss_features.term_values(extractor(image), MIXED)
        for term, value in function(image).items():
            np.testing.assert_array_equal(value, expected[term])


@pytest.mark.parametrize("dtype", [tf.float32, pytest.param(tf.bfloat16, marks=needs_bfloat16)])
def test_coarser_types_give_float32_and_are_the_same_in_strips(dtype):
    terms = SHALLOW + DEEP
    model = make_deep_model(terms=2)
    extractor, exact = (extractor_of(model, terms, compute_dtype=t) for t in (dtype, tf.float64))
    image = tf.cast(picture(27, 17, largest=1), tf.float32)
    expected = loss_features.compute(exact, image, terms)
    for strips in (WHOLE, LOW_STRIPS):
        with without_graphs():
            values, gradient = summary_and_gradient(extractor, image, terms, strips)
        assert {value.dtype for value in values.values()} == {tf.float32}
        assert gradient.dtype == tf.float32
        for term in terms:  # there were bits enough
            np.testing.assert_array_equal(values[term], expected[term])
    assert_same_in_strips(extractor, image, terms, largest=1)


@all_ways
@pytest.mark.parametrize("terms", [SHALLOW, DEEP, TWO_STYLES], ids=["shallow", "deep", "masks"])
def test_distances_are_those_of_the_values_from_their_targets(deep_model, strips, terms):
    extractor, image = extractor_of(deep_model, terms), picture(27, 17)
    masks = random_masks(terms, 27, 17) if terms == TWO_STYLES else None
    targets = loss_features.compute(extractor, picture(27, 17, seed=1), terms, WHOLE, masks)
    with without_graphs(), tf.GradientTape(persistent=True) as tape:
        tape.watch(image)
        values = loss_features.compute(extractor, image, terms, WHOLE, masks)
        expected = {term: squared_distance(values[term], targets[term]) for term in terms}
        distances = loss_features.distances(extractor, image, targets, strips, masks)
    assert list(distances) == list(terms)
    for term in terms:
        assert float(distances[term]) == pytest.approx(float(expected[term]), rel=1e-13)
        assert float(expected[term]) > 0
    with without_graphs():
        gradient, expected_gradient = (
            tape.gradient(result, image) for result in (distances, expected)
        )
    # Products of distances have more digits than float64.
    error = np.max(np.abs(gradient - expected_gradient))
    assert error <= 1e-13 * np.max(np.abs(expected_gradient))
