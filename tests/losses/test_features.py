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
from helpers.strips import ALL, all_ways, set_head_strips, without_graphs

from gatys_norm.losses import features as loss_features
from gatys_norm.losses.functional import squared_distance
from gatys_norm.network import head_strips, vgg
from gatys_norm.network.convolution import DIRECT, WINOGRAD, fastest_way
from gatys_norm.network.memory import ALL_BLOCKS, HEAD, WHOLE, Strips
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
    """Compare both ways of computing in strips, `rows` high for all blocks, with the whole."""
    plain, plain_gradient = summary_and_gradient(extractor, image, terms, WHOLE, masks, largest)
    assert all(np.any(value) for value in plain.values())
    assert np.any(plain_gradient)
    for strips in (HEAD, Strips(ALL_BLOCKS, rows)):
        with without_graphs():
            values, gradient = summary_and_gradient(extractor, image, terms, strips, masks, largest)
        assert list(values) == list(plain) == list(terms)
        for term in terms:
            assert values[term].dtype == plain[term].dtype
            np.testing.assert_array_equal(values[term], plain[term])
        assert gradient.dtype == image.dtype
        np.testing.assert_array_equal(gradient, plain_gradient)


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
    set_head_strips(monkeypatch, rows, width)
    extractor = extractor_of(deep_model, IN_HEAD + IN_TAIL)
    assert_same_in_strips(extractor, picture(height, width), IN_HEAD + IN_TAIL, rows=rows)


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
    set_head_strips(monkeypatch, 8, 17)
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
    set_head_strips(monkeypatch, 8, 17)
    extractor = extractor_of(deep_model, TWO_STYLES)
    masks = random_masks(TWO_STYLES, height, 17)
    assert_same_in_strips(extractor, picture(height, 17), TWO_STYLES, masks=masks)
    only_b = {term: mask for term, mask in masks.items() if "[b]" in term}
    assert_same_in_strips(extractor, picture(height, 17), TWO_STYLES, masks=only_b)


@all_ways
def test_masked_values_are_numpys_in_the_order_asked_for(deep_model, strips, monkeypatch):
    set_head_strips(monkeypatch, 8, 17)
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
def test_masks_of_ones_change_no_bit(deep_model, strips, monkeypatch):
    set_head_strips(monkeypatch, 8, 17)
    extractor, image = extractor_of(deep_model, TWO_STYLES), picture(27, 17)
    ones = {term: tf.ones(mask.shape) for term, mask in random_masks(TWO_STYLES, 27, 17).items()}
    plain, plain_gradient = summary_and_gradient(extractor, image, TWO_STYLES, strips)
    values, gradient = summary_and_gradient(extractor, image, TWO_STYLES, strips, ones)
    for term in TWO_STYLES:
        np.testing.assert_array_equal(values[term], plain[term])
    np.testing.assert_array_equal(gradient, plain_gradient)


@pytest.mark.parametrize("terms", [IN_HEAD, IN_TAIL, MIXED])
def test_terms_may_need_fewer_layers_than_the_extractor_has(deep_model, terms, monkeypatch):
    set_head_strips(monkeypatch, 8, 17)
    extractor = extractor_of(deep_model, IN_HEAD + IN_TAIL + MIXED)
    assert_same_in_strips(extractor, picture(27, 17), terms)


@pytest.mark.parametrize("terms", [IN_HEAD, IN_HEAD + IN_TAIL])
def test_traced_equals_eager(deep_model, terms, monkeypatch):
    set_head_strips(monkeypatch, 8, 17)
    extractor, image = extractor_of(deep_model, terms), picture(27, 17)

    @tf.function(autograph=False)
    def traced(image):
        return summary_and_gradient(extractor, image, terms, HEAD)

    values, gradient = traced(image)
    plain, plain_gradient = summary_and_gradient(extractor, image, terms, WHOLE)
    np.testing.assert_array_equal(gradient, plain_gradient)
    compiled = loss_features.compiled(extractor, terms, HEAD)(image)
    for term in terms:
        np.testing.assert_array_equal(values[term], plain[term])
        np.testing.assert_array_equal(compiled[term], plain[term])


def test_whole_network_in_float32(monkeypatch):
    network = make_whole(
        tf.keras.applications.VGG19(include_top=False, weights=None), terms=2, largest_bias=0
    )
    terms = term_names(("conv4_2",), ("conv1_2", "conv2_2", "conv3_4", "conv4_4", "conv5_4"))
    set_head_strips(monkeypatch, 16, 45)
    image = tf.cast(picture(71, 45, largest=1), tf.float32)
    directly = extractor_of(network, terms, compute_dtype=tf.float32, rule=lambda *_: DIRECT)
    assert_same_in_strips(directly, image, terms, largest=1)
    # Winograd's way rounds.
    fastest = extractor_of(network, terms, compute_dtype=tf.float32)
    assert WINOGRAD in fastest.ways(71, 45).values()
    for extractor in (fastest, directly):
        for strips in (WHOLE, HEAD, ALL):
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
    other = HEAD if strips != HEAD else WHOLE
    assert loss_features.compiled(extractor, MIXED, other) is not function
    for image in (picture(19, 16), picture(16, 21)):
        expected = loss_features.term_values(extractor(image), MIXED)
        for term, value in function(image).items():
            np.testing.assert_array_equal(value, expected[term])


@pytest.mark.parametrize(
    ("height", "rows", "count"), [(43, 4, 10), (43, 8, 5), (44, 8, 6), (51, 16, 3), (19, 16, 1)]
)
def test_the_head_sees_a_strip_and_its_halo_at_a_time(
    deep_model, head_heights, height, rows, count, monkeypatch
):
    set_head_strips(monkeypatch, rows, 16)
    extractor = extractor_of(deep_model, MIXED)
    summary_and_gradient(extractor, picture(height, 16), MIXED, HEAD)
    assert len(head_heights) == 2 * count  # once more for the gradient
    assert head_heights[:count] == head_heights[count:]
    # Four convolutions, two at half the size, reach 1 + 1 + 2 + 2 rows; 8 are two whole squares.
    assert max(head_heights) < rows + 2 * 8 + vgg.HEAD_STRIDE


def test_strips_are_lower_where_the_picture_is_wider(deep_model, monkeypatch, head_heights):
    monkeypatch.setattr(head_strips, "STRIP_PIXELS", 16 * 20)
    monkeypatch.setattr(head_strips, "LEAST_ROWS", 8)
    extractor = extractor_of(deep_model, MIXED)
    for width, rows in ((20, 16), (21, 12), (40, 8), (80, 8)):
        head_heights.clear()
        image = picture(48, width)
        values = loss_features.compute(extractor, image, MIXED, HEAD)
        assert len(head_heights) == 48 // rows
        for term, expected in loss_features.compute(extractor, image, MIXED).items():
            np.testing.assert_array_equal(values[term], expected)


def test_a_picture_below_the_limit_is_one_strip(deep_model, head_heights):
    extractor = extractor_of(deep_model, MIXED)
    assert_same_in_strips(extractor, picture(37, 18), MIXED)
    # With its gradient and without; all blocks in strips do not run the head.
    assert head_heights == [37] * 3


def strips_of_graph(extractor, image):
    """Return the convolutions conv1_1 of (the strips, the strips once more for the gradient)."""

    @tf.function(autograph=False)
    def traced(image):
        with tf.GradientTape() as tape:
            tape.watch(image)
            values = loss_features.compute(extractor, image, MIXED, HEAD)
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
    set_head_strips(monkeypatch, 8, 17)
    for parts in strips_of_graph(extractor_of(deep_model, MIXED), picture(27, 17)):
        assert len(parts) == 3
        assert parts[0] in waited_for(parts[1])
        assert parts[1] in waited_for(parts[2])


def test_no_strip_is_computed_again_before_the_gradient_has_come_back_to_it(
    deep_model, monkeypatch
):
    # Else its features would be in memory beside those of the blocks behind.
    set_head_strips(monkeypatch, 8, 17)
    forward, again = strips_of_graph(extractor_of(deep_model, MIXED), picture(27, 17))
    assert forward[-1] in waited_for(again[0])


@pytest.mark.parametrize("dtype", [tf.float32, pytest.param(tf.bfloat16, marks=needs_bfloat16)])
def test_coarser_types_give_float32_and_are_the_same_in_strips(dtype, monkeypatch):
    set_head_strips(monkeypatch, 8, 17)
    terms = IN_HEAD + IN_TAIL
    model = make_deep_model(terms=2)
    extractor, exact = (extractor_of(model, terms, compute_dtype=t) for t in (dtype, tf.float64))
    image = tf.cast(picture(27, 17, largest=1), tf.float32)
    expected = loss_features.compute(exact, image, terms)
    for strips in (WHOLE, HEAD, ALL):
        with without_graphs():
            values, gradient = summary_and_gradient(extractor, image, terms, strips)
        assert {value.dtype for value in values.values()} == {tf.float32}
        assert gradient.dtype == tf.float32
        for term in terms:  # there were bits enough
            np.testing.assert_array_equal(values[term], expected[term])
    assert_same_in_strips(extractor, image, terms, largest=1)


@all_ways
@pytest.mark.parametrize("terms", [IN_HEAD, IN_TAIL, TWO_STYLES], ids=["head", "tail", "masks"])
def test_distances_are_those_of_the_values_from_their_targets(
    deep_model, strips, terms, monkeypatch
):
    set_head_strips(monkeypatch, 8, 17)
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
