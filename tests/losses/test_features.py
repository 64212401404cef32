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

from gatys_norm.losses import features as loss_features
from gatys_norm.network import strips, vgg
from gatys_norm.network.convolution import DIRECT, WINOGRAD, fastest_way
from gatys_norm.terms import is_style, layer_of, term_names

IN_HEAD = term_names(("conv1_1", "relu2_1", "conv2_2"), ("conv1_2", "relu2_2", "conv2_1"))
IN_TAIL = term_names(("conv3_1",), ("relu3_1", "conv4_1"))
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


def summary_and_gradient(extractor, image, terms, in_strips, masks=None, largest=3):
    """Return ({term: value}, the gradient of Σ random whole numbers · values)."""
    with tf.GradientTape() as tape:
        tape.watch(image)
        values = loss_features.compute(extractor, image, terms, in_strips, masks)
    upstream = {
        term: tf.cast(whole_numbers(value.shape, len(term), largest), value.dtype)
        for term, value in values.items()
    }
    return values, tape.gradient(values, image, upstream)


def assert_same_in_strips(extractor, image, terms, masks=None, largest=3):
    plain, plain_gradient = summary_and_gradient(extractor, image, terms, False, masks, largest)
    values, gradient = summary_and_gradient(extractor, image, terms, True, masks, largest)
    assert list(values) == list(plain) == list(terms)
    for term in terms:
        assert values[term].dtype == plain[term].dtype
        assert np.any(plain[term])
        np.testing.assert_array_equal(values[term], plain[term])
    assert gradient.dtype == image.dtype
    assert np.any(plain_gradient)
    np.testing.assert_array_equal(gradient, plain_gradient)


def set_strips(monkeypatch, rows, width):
    """Make strips so many rows high for pictures of a width."""
    monkeypatch.setattr(strips, "STRIP_PIXELS", rows * width)
    monkeypatch.setattr(strips, "LEAST_ROWS", vgg.HEAD_STRIDE)


@pytest.fixture
def head_heights(monkeypatch):
    """Give the list of how many rows the head is run on, in order."""
    heights = []
    head = vgg.Extractor.head

    def counted(self, image):
        heights.append(image.shape[0])
        return head(self, image)

    monkeypatch.setattr(vgg.Extractor, "head", counted)
    return heights


# Every rest of a strip of 4 or 8 rows, and so of a square of the poolings; of 12 those that are
# longer than a strip's halo or taken up by the strip before; many strips.
STRIPS = [(4, range(16, 20)), (8, range(16, 24)), (12, (20, 23, 26)), (4, [35]), (12, [35])]


@pytest.mark.parametrize(
    ("rows", "height"), [(rows, height) for rows, heights in STRIPS for height in heights]
)
def test_strips_change_nothing(deep_model, rows, height, monkeypatch):
    width = 16 + height % 5
    set_strips(monkeypatch, rows, width)
    extractor = extractor_of(deep_model, IN_HEAD + IN_TAIL)
    assert_same_in_strips(extractor, picture(height, width), IN_HEAD + IN_TAIL)


@pytest.mark.parametrize(
    "terms",
    [
        IN_HEAD,
        IN_TAIL,
        MIXED,
        ("content/conv3_1",),
        ("content/relu1_1",),
        ("style/conv2_2",),
        term_names(("conv2_1",), ("conv2_1",)),
    ],
    ids=["head", "tail", "mixed", "content of tail", "content of head", "style of head", "both"],
)
@pytest.mark.parametrize("pooling", ["max", "avg"])
def test_all_terms_and_poolings(deep_model, terms, pooling, monkeypatch):
    set_strips(monkeypatch, 8, 17)
    extractor = extractor_of(deep_model, terms, pooling)
    assert extractor.has_tail == any(term in IN_TAIL for term in terms)
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
def test_strips_change_nothing_under_masks(deep_model, height, monkeypatch):
    set_strips(monkeypatch, 8, 17)
    extractor = extractor_of(deep_model, TWO_STYLES)
    masks = random_masks(TWO_STYLES, height, 17)
    assert_same_in_strips(extractor, picture(height, 17), TWO_STYLES, masks=masks)
    only_b = {term: mask for term, mask in masks.items() if "[b]" in term}
    assert_same_in_strips(extractor, picture(height, 17), TWO_STYLES, masks=only_b)


@pytest.mark.parametrize("in_strips", [False, True])
def test_masked_values_are_numpys_in_the_order_asked_for(deep_model, in_strips, monkeypatch):
    set_strips(monkeypatch, 8, 17)
    terms = TWO_STYLES[::-1]
    extractor, image = extractor_of(deep_model, terms), picture(27, 17)
    masks = random_masks(terms, 27, 17)
    values = loss_features.compiled(extractor, terms, in_strips)(image, masks)
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


@pytest.mark.parametrize("in_strips", [False, True])
def test_masks_of_ones_change_no_bit(deep_model, in_strips, monkeypatch):
    set_strips(monkeypatch, 8, 17)
    extractor, image = extractor_of(deep_model, TWO_STYLES), picture(27, 17)
    ones = {term: tf.ones(mask.shape) for term, mask in random_masks(TWO_STYLES, 27, 17).items()}
    plain, plain_gradient = summary_and_gradient(extractor, image, TWO_STYLES, in_strips)
    values, gradient = summary_and_gradient(extractor, image, TWO_STYLES, in_strips, ones)
    for term in TWO_STYLES:
        np.testing.assert_array_equal(values[term], plain[term])
    np.testing.assert_array_equal(gradient, plain_gradient)


@pytest.mark.parametrize("terms", [IN_HEAD, IN_TAIL, MIXED])
def test_terms_may_need_fewer_layers_than_the_extractor_has(deep_model, terms, monkeypatch):
    set_strips(monkeypatch, 8, 17)
    extractor = extractor_of(deep_model, IN_HEAD + IN_TAIL + MIXED)
    assert_same_in_strips(extractor, picture(27, 17), terms)


@pytest.mark.parametrize("terms", [IN_HEAD, IN_HEAD + IN_TAIL])
def test_traced_equals_eager(deep_model, terms, monkeypatch):
    set_strips(monkeypatch, 8, 17)
    extractor, image = extractor_of(deep_model, terms), picture(27, 17)

    @tf.function(autograph=False)
    def traced(image):
        return summary_and_gradient(extractor, image, terms, in_strips=True)

    values, gradient = traced(image)
    plain, plain_gradient = summary_and_gradient(extractor, image, terms, in_strips=False)
    np.testing.assert_array_equal(gradient, plain_gradient)
    compiled = loss_features.compiled(extractor, terms, in_strips=True)(image)
    for term in terms:
        np.testing.assert_array_equal(values[term], plain[term])
        np.testing.assert_array_equal(compiled[term], plain[term])


def test_whole_network_in_float32(monkeypatch):
    network = make_whole(
        tf.keras.applications.VGG19(include_top=False, weights=None), terms=2, largest_bias=0
    )
    terms = term_names(("conv4_2",), ("conv1_2", "conv2_2", "conv3_4", "conv4_4", "conv5_4"))
    set_strips(monkeypatch, 16, 45)
    image = tf.cast(picture(71, 45, largest=1), tf.float32)
    directly = extractor_of(network, terms, compute_dtype=tf.float32, rule=lambda *_: DIRECT)
    assert_same_in_strips(directly, image, terms, largest=1)
    # Winograd's way rounds.
    fastest = extractor_of(network, terms, compute_dtype=tf.float32)
    assert WINOGRAD in fastest.ways(71, 45).values()
    for extractor in (fastest, directly):
        for in_strips in (False, True):
            values = loss_features.compute(extractor, image, terms, in_strips)
            for term, expected in loss_features.compute(directly, image, terms).items():
                error = np.max(np.abs(values[term] - expected))
                assert error <= 1e-5 * np.max(np.abs(expected))


@pytest.mark.parametrize("in_strips", [False, True])
def test_compiled_is_given_again_and_serves_every_size(deep_model, in_strips):
    extractor = extractor_of(deep_model, MIXED)
    function = loss_features.compiled(extractor, MIXED, in_strips)
    assert loss_features.compiled(extractor, MIXED, in_strips) is function
    assert loss_features.compiled(extractor, MIXED, not in_strips) is not function
    for image in (picture(19, 16), picture(16, 21)):
        expected = loss_features.term_values(extractor(image), MIXED)
        for term, value in function(image).items():
            np.testing.assert_array_equal(value, expected[term])


@pytest.mark.parametrize(
    ("height", "rows", "strips"), [(43, 4, 10), (43, 8, 5), (44, 8, 6), (51, 16, 3), (19, 16, 1)]
)
def test_the_head_sees_a_strip_and_its_halo_at_a_time(
    deep_model, head_heights, height, rows, strips, monkeypatch
):
    set_strips(monkeypatch, rows, 16)
    extractor = extractor_of(deep_model, MIXED)
    summary_and_gradient(extractor, picture(height, 16), MIXED, in_strips=True)
    assert len(head_heights) == 2 * strips  # once more for the gradient
    assert head_heights[:strips] == head_heights[strips:]
    # Four convolutions, two at half the size, reach 1 + 1 + 2 + 2 rows; 8 are two whole squares.
    assert max(head_heights) < rows + 2 * 8 + vgg.HEAD_STRIDE


def test_strips_are_lower_where_the_picture_is_wider(deep_model, monkeypatch, head_heights):
    monkeypatch.setattr(strips, "STRIP_PIXELS", 16 * 20)
    monkeypatch.setattr(strips, "LEAST_ROWS", 8)
    extractor = extractor_of(deep_model, MIXED)
    for width, rows in ((20, 16), (21, 12), (40, 8), (80, 8)):
        head_heights.clear()
        image = picture(48, width)
        values = loss_features.compute(extractor, image, MIXED, in_strips=True)
        assert len(head_heights) == 48 // rows
        for term, expected in loss_features.compute(extractor, image, MIXED).items():
            np.testing.assert_array_equal(values[term], expected)


def test_a_picture_below_the_limit_is_one_strip(deep_model, head_heights):
    extractor = extractor_of(deep_model, MIXED)
    assert_same_in_strips(extractor, picture(37, 18), MIXED)
    assert head_heights == [37] * 3


def strips_of_graph(extractor, image):
    """Return the convolutions conv1_1 of (the strips, the strips once more for the gradient)."""

    @tf.function(autograph=False)
    def traced(image):
        with tf.GradientTape() as tape:
            tape.watch(image)
            values = loss_features.compute(extractor, image, MIXED, in_strips=True)
            value = tf.add_n([tf.reduce_sum(value**2) for value in values.values()])
        return tape.gradient(value, image)

    graph = traced.get_concrete_function(image).graph
    convolutions = [
        operation
        for operation in graph.get_operations()
        if operation.type == "Conv2D" and operation.inputs[1].shape == (3, 3, 3, 4)
    ]
    return convolutions[: len(convolutions) // 2], convolutions[len(convolutions) // 2 :]


def waited_for(operation):
    """All operations that must have run before this one."""
    found, new = set(), {operation}
    while new:
        one = new.pop()
        before = {tensor.op for tensor in one.inputs} | set(one.control_inputs)
        new |= before - found
        found |= before
    return found


def test_strips_wait_for_each_other(deep_model, monkeypatch):
    # Else several strips' features would be in memory at once.
    set_strips(monkeypatch, 8, 17)
    for parts in strips_of_graph(extractor_of(deep_model, MIXED), picture(27, 17)):
        assert len(parts) == 3
        assert parts[0] in waited_for(parts[1])
        assert parts[1] in waited_for(parts[2])


def test_no_strip_is_computed_again_before_the_gradient_has_come_back_to_it(
    deep_model, monkeypatch
):
    # Else its features would be in memory beside those of the blocks behind.
    set_strips(monkeypatch, 8, 17)
    forward, again = strips_of_graph(extractor_of(deep_model, MIXED), picture(27, 17))
    assert forward[-1] in waited_for(again[0])


@pytest.mark.parametrize("dtype", [tf.float32, pytest.param(tf.bfloat16, marks=needs_bfloat16)])
def test_coarser_types_give_float32_and_are_the_same_in_strips(dtype, monkeypatch):
    set_strips(monkeypatch, 8, 17)
    terms = IN_HEAD + IN_TAIL
    model = make_deep_model(terms=2)
    extractor, exact = (extractor_of(model, terms, compute_dtype=t) for t in (dtype, tf.float64))
    image = tf.cast(picture(27, 17, largest=1), tf.float32)
    expected = loss_features.compute(exact, image, terms)
    for in_strips in (False, True):
        values, gradient = summary_and_gradient(extractor, image, terms, in_strips)
        assert {value.dtype for value in values.values()} == {tf.float32}
        assert gradient.dtype == tf.float32
        for term in terms:  # there were bits enough
            np.testing.assert_array_equal(values[term], expected[term])
    assert_same_in_strips(extractor, image, terms, largest=1)
