"""The network in strips, one block after another, against the same computed at once.

On a network as deep as VGG-19 and four channels wide. tests/losses/test_features.py compares the
two in whole numbers, bit for bit.
"""

import math
import weakref

import hypothesis
import numpy as np
import pytest
import tensorflow as tf
from helpers import narrow_network
from helpers.bfloat16 import needs_bfloat16
from helpers.strips import without_graphs
from hypothesis import strategies as st

from gatys_norm.config import CONVOLUTIONS_PER_BLOCK
from gatys_norm.losses import features as loss_features
from gatys_norm.network import low_rank, vgg
from gatys_norm.network import strips as network_strips
from gatys_norm.network.convolution import DIRECT, MIRRORED, TRANSPOSED, WINOGRAD
from gatys_norm.network.memory import BLOCKS, WHOLE, Strips
from gatys_norm.terms import is_style, layer_of, term_names

pytestmark = pytest.mark.numeric

VALUE = 1e-6  # what the value may differ by, relatively
GRADIENT = 1e-5  # what a gradient's entry may differ by, relative to the largest entry

TERMS = {
    "the paper's": term_names(
        ("conv4_2",), ("conv1_1", "conv2_1", "conv3_1", "conv4_1", "conv5_1")
    ),
    "first blocks": term_names(("relu2_2",), ("conv1_2", "relu2_1")),
    "last blocks": term_names(("conv5_2",), ("relu3_4", "conv4_3")),
    "both sides of the ReLU": term_names(("conv3_2", "relu3_2"), ("conv4_4", "relu4_4", "relu1_1")),
    "two contents": term_names(("conv1_1", "conv4_2"), ("relu5_4",)),
    "no style": term_names(("conv3_1",), ()),
} | {f"one of block {block}": term_names((), (f"relu{block}_2",)) for block in range(1, BLOCKS + 1)}
PAPERS = TERMS["the paper's"]


@pytest.fixture(scope="module")
def model():
    return narrow_network.load_biased_model()


def directly(*_):
    """Stand in for `fastest_way`."""
    return DIRECT


def by_tiles(_height, _width, inputs, _outputs):
    """Stand in for `fastest_way`, as in a wide network."""
    return WINOGRAD if inputs > 3 else DIRECT


def extractor_of(model, terms, pooling="max", dtype=tf.float32, rule=directly, border="zero"):
    return vgg.Extractor(model, {layer_of(term) for term in terms}, pooling, dtype, rule, border)


def picture(height, width, seed=0, dtype=np.float32):
    """Return squares of random colors under noise, of which deep layers see little."""
    generator = np.random.default_rng(seed)
    squares = generator.uniform(0, 200, (math.ceil(height / 16), math.ceil(width / 16), 3))
    colors = np.kron(squares, np.ones((16, 16, 1)))[:height, :width]
    return tf.constant((colors + generator.uniform(0, 55, (height, width, 3))).astype(dtype))


def targets_of(extractor, terms, shape, masks=None, dtype=np.float32):
    """Return the values of another picture, so dark that the distances are as large as the values.

    A small difference of large values would be mostly rounding.
    """
    dark = 0.2 * picture(*shape, seed=1, dtype=dtype)
    return loss_features.compute(extractor, dark, terms, WHOLE, masks)


def evaluate(extractor, image, targets, strips, masks=None, workspace=None):
    """Return {term: distance}, and the gradient of the sum of their logarithms.

    All terms, however large, have so an equal part in the gradient.
    """
    with tf.GradientTape() as tape:
        tape.watch(image)
        distances = loss_features.distances(extractor, image, targets, strips, masks, workspace)
        value = tf.add_n([tf.math.log(distance) for distance in distances.values()])
    values = {term: float(distance) for term, distance in distances.items()}
    return values, tape.gradient(value, image).numpy()


def assert_same(extractor, terms, shape, rows, kept=(0,), masks=None):
    """Compare evaluations in strips, with different numbers of blocks kept, with one at once."""
    image, targets = picture(*shape), targets_of(extractor, terms, shape, masks)
    expected, expected_gradient = evaluate(extractor, image, targets, WHOLE, masks)
    for count in kept:
        strips = Strips(rows, count)
        with without_graphs():
            values, gradient = evaluate(extractor, image, targets, strips, masks)
        assert list(values) == list(terms)
        assert values == pytest.approx(expected, rel=VALUE)
        assert gradient.dtype == expected_gradient.dtype
        assert relative_error(gradient, expected_gradient) <= GRADIENT


def relative_error(gradient, expected):
    """max |difference| / max |gradient|."""
    return np.max(np.abs(gradient - expected)) / np.max(np.abs(expected))


@pytest.mark.parametrize("name", TERMS)
def test_every_set_of_layers(model, name):
    assert_same(extractor_of(model, TERMS[name]), TERMS[name], (59, 32), rows=32)


@pytest.mark.parametrize("kind", ["conv", "relu"])
@pytest.mark.parametrize("index", [1, 2, 3, 4])
def test_every_layer_of_blocks_that_are_kept(model, kind, index):
    """But for the fourth, the deepest layer is not the last of its block."""
    layers = [
        f"{kind}{block}_{index}"
        for block, count in enumerate(CONVOLUTIONS_PER_BLOCK, start=1)
        if index <= count
    ]
    terms = term_names(layers[-1:], layers)
    assert_same(extractor_of(model, terms), terms, (43, 18), rows=16, kept=(5,))


@pytest.mark.parametrize("name", ["the paper's", "first blocks"])
def test_every_number_of_blocks_that_are_kept(model, name):
    shape = 43, 20
    assert_same(extractor_of(model, TERMS[name]), TERMS[name], shape, rows=16, kept=(2, 3, 4))


@pytest.mark.parametrize("name", ["the paper's", "first blocks", "last blocks"])
def test_means_instead_of_maxima(model, name):
    assert_same(
        extractor_of(model, TERMS[name], "avg"), TERMS[name], (43, 26), rows=16, kept=(0, 5)
    )


# Of which no map, the last map or no height is divided by the poolings; one higher than wide.
@pytest.mark.parametrize("shape", [(67, 99), (37, 18), (49, 32), (48, 34), (16, 16), (33, 81)])
def test_every_shape(model, shape):
    assert_same(extractor_of(model, PAPERS), PAPERS, shape, rows=12)


@pytest.mark.parametrize("height", [50, 55, 60, 63])
def test_every_rest_of_a_height(model, height):
    assert_same(extractor_of(model, PAPERS), PAPERS, (height, 20), rows=20)


@pytest.mark.parametrize("rows", [4, 20, 64, 1000])
def test_every_height_of_strips(model, rows):
    assert_same(extractor_of(model, PAPERS), PAPERS, (43, 26), rows)


@pytest.mark.parametrize(("rows", "kept"), [(12, 0), (32, 5)])
def test_masks_of_two_styles(model, rows, kept):
    shape = 43, 29
    terms = term_names(("conv4_2",), ("relu1_2", "conv3_1", "conv5_1"), ("a", "b"))
    generator = np.random.default_rng(2)
    sizes = {term: vgg.feature_size(layer_of(term), *shape) for term in terms if is_style(term)}
    masks = {
        term: tf.constant(generator.uniform(0, 1, size).astype(np.float32))
        for term, size in sizes.items()
    }
    extractor = extractor_of(model, terms)
    assert_same(extractor, terms, shape, rows, kept=(kept,), masks=masks)
    only_b = {term: mask for term, mask in masks.items() if "[b]" in term}
    assert_same(extractor, terms, shape, rows=32, kept=(kept,), masks=only_b)


def test_float64(model):
    extractor = extractor_of(model, PAPERS, dtype=tf.float64)
    image = picture(43, 29, dtype=np.float64)
    targets = targets_of(extractor, PAPERS, (43, 29), dtype=np.float64)
    expected, expected_gradient = evaluate(extractor, image, targets, WHOLE)
    for kept in (0, 5):
        with without_graphs():
            values, gradient = evaluate(extractor, image, targets, Strips(16, kept))
        assert values == pytest.approx(expected, rel=1e-12)
        assert gradient.dtype == np.float64
        assert relative_error(gradient, expected_gradient) <= 1e-12


@needs_bfloat16
@pytest.mark.parametrize("kept", [0, 5])
def test_bfloat16_is_as_near_to_float32_as_without_strips(model, kept):
    """Where strips meet, gradients are rounded to bfloat16 once more before they are added."""
    shape = 75, 61
    image = picture(*shape)
    coarse, fine = (extractor_of(model, PAPERS, dtype=dtype) for dtype in (tf.bfloat16, tf.float32))
    targets = targets_of(coarse, PAPERS, shape)
    exact = evaluate(fine, image, targets_of(fine, PAPERS, shape), WHOLE)
    plain = evaluate(coarse, image, targets, WHOLE)
    with without_graphs():
        values, gradient = evaluate(coarse, image, targets, Strips(16, kept))
    assert gradient.dtype == np.float32
    assert values == pytest.approx(plain[0], rel=2**-8)
    error, plain_error = (np.linalg.norm(found - exact[1]) for found in (gradient, plain[1]))
    assert plain_error > 0
    assert error <= 1.1 * plain_error
    assert np.linalg.norm(gradient - plain[1]) <= plain_error


def test_the_low_rank_network(model, monkeypatch):
    monkeypatch.setattr(low_rank, "RANK_STEP", 1)
    monkeypatch.setattr(low_rank, "LOST_SHARE", 0.02)
    extractor = extractor_of(model, PAPERS)
    reduced = low_rank.low_rank_extractor(extractor, extractor, [picture(64, 48).numpy()])
    assert any(hasattr(convolution, "small_shape") for _, convolution, _ in reduced.steps)
    assert_same(reduced, PAPERS, (43, 26), rows=16, kept=(0, 5))


@pytest.mark.parametrize("border", ["replicate", "reflect", "wrap", "wrap_x"])
def test_other_borders(model, border):
    extractor = extractor_of(model, PAPERS, border=border)
    assert_same(extractor, PAPERS, (48, 16), rows=12, kept=(0, 5))


@pytest.mark.parametrize(("height", "rows"), [(48, 4), (16, 64), (64, 20)])
def test_a_map_wrapped_around_many_strips_or_few(model, height, rows):
    """The last strip of a map can have fewer rows than those around it, which both edges share."""
    terms = TERMS["both sides of the ReLU"]
    assert_same(extractor_of(model, terms, border="wrap"), terms, (height, 16), rows, kept=(3,))


def test_a_wrapped_picture_in_the_low_rank_network(model, monkeypatch):
    monkeypatch.setattr(low_rank, "RANK_STEP", 1)
    monkeypatch.setattr(low_rank, "LOST_SHARE", 0.02)
    extractor = extractor_of(model, PAPERS, border="wrap")
    reduced = low_rank.low_rank_extractor(extractor, extractor, [picture(64, 48).numpy()])
    assert any(hasattr(convolution, "small_shape") for _, convolution, _ in reduced.steps)
    image = picture(64, 32)
    for layer, features in reduced(image).items():
        moved = reduced(tf.roll(image, [16, 16], [0, 1]))[layer]
        rows = 16 * features.shape[0] // 64
        difference = np.max(np.abs(moved - tf.roll(features, [rows, rows], [0, 1])))
        assert difference <= GRADIENT * np.max(np.abs(features))


@pytest.mark.parametrize("way", [MIRRORED, TRANSPOSED])
def test_other_ways(model, way):
    extractor = extractor_of(model, PAPERS, rule=lambda *_: way)
    assert set(extractor.ways(43, 26).values()) == {way}
    assert_same(extractor, PAPERS, (43, 26), rows=16, kept=(0, 5))


@pytest.mark.parametrize(("rows", "kept"), [(12, 0), (32, 0), (32, 5)])
def test_winograds_way(model, rows, kept):
    """Its tiles lie elsewhere in a strip, so that it rounds otherwise.

    A value next to 0 may so change its sign, and a maximum its place, with the gradient behind it.
    """
    shape = 67, 48
    extractor = extractor_of(model, PAPERS, rule=by_tiles)
    assert WINOGRAD in extractor.ways(*shape).values()
    image, targets = picture(*shape), targets_of(extractor, PAPERS, shape)
    expected, expected_gradient = evaluate(extractor, image, targets, WHOLE)
    with without_graphs():
        values, gradient = evaluate(extractor, image, targets, Strips(rows, kept))
    assert values == pytest.approx(expected, rel=10 * VALUE)
    errors = np.abs(gradient - expected_gradient) / np.max(np.abs(expected_gradient))
    assert np.median(errors) <= GRADIENT / 10
    assert np.mean(errors > GRADIENT) <= 0.02


def test_compiled_and_twice_it_is_the_same_to_the_bit(model):
    terms = term_names(("conv2_1",), ("relu1_1", "conv3_1"))
    extractor, image = extractor_of(model, terms), picture(37, 18)
    targets, strips = targets_of(extractor, terms, (37, 18)), Strips(12, kept=4)
    (values, gradient), again = (evaluate(extractor, image, targets, strips) for _ in range(2))
    assert values == again[0]
    np.testing.assert_array_equal(gradient, again[1])
    expected, expected_gradient = evaluate(extractor, image, targets, WHOLE)
    assert values == pytest.approx(expected, rel=VALUE)
    assert relative_error(gradient, expected_gradient) <= GRADIENT


# --- gradients, more than one -------------------------------------------------------------------


def gradients_by_term(extractor, image, targets, strips):
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(image)
        distances = loss_features.distances(extractor, image, targets, strips)
    return {term: tape.gradient(distances[term], image) for term in targets}


@pytest.mark.usefixtures("eagerly")
@pytest.mark.parametrize("kept", [0, 3])
def test_every_further_gradient_is_computed_again(model, kept):
    extractor, image = extractor_of(model, PAPERS), picture(33, 30)
    targets = targets_of(extractor, PAPERS, (33, 30))
    expected = gradients_by_term(extractor, image, targets, WHOLE)
    shares = []
    with network_strips.watched_by(shares.append):
        gradients = gradients_by_term(extractor, image, targets, Strips(12, kept))
    assert list(gradients) == list(PAPERS)
    for term, gradient in gradients.items():
        assert relative_error(gradient.numpy(), expected[term].numpy()) <= GRADIENT
    assert shares.count(0) == len(PAPERS)
    assert max(shares) < 1


# --- who watches --------------------------------------------------------------------------------


@pytest.fixture
def evaluation(model, eagerly):
    """Give a function that evaluates in strips, with a number of blocks kept."""
    extractor, image = extractor_of(model, PAPERS), picture(51, 30)
    targets = targets_of(extractor, PAPERS, (51, 30))
    return lambda kept=0: evaluate(extractor, image, targets, Strips(16, kept))


@pytest.mark.parametrize(("kept", "share_of_features"), [(0, 1 / 3), (5, 1 / 2)])
def test_shares_rise_from_0_to_below_1(evaluation, kept, share_of_features):
    shares = []
    with network_strips.watched_by(shares.append):
        evaluation(kept)
    counts = [len(network_strips._strips(51 >> index, 16, 2)) for index in range(BLOCKS)]
    assert len(shares) == 2 * sum(counts)
    assert shares[0] == 0
    assert all(np.diff(shares) > 0)
    assert shares[sum(counts)] == pytest.approx(share_of_features)
    assert 0.8 < shares[-1] < 1
    evaluation()
    assert len(shares) == 2 * sum(counts)  # nobody watches any longer


class StoppedError(Exception):
    """Raised by who watches."""


@pytest.mark.parametrize(
    ("error", "share"), [(StoppedError, 0), (StoppedError, 0.2), (KeyboardInterrupt, 0.6)]
)
def test_an_error_of_who_watches_ends_the_evaluation_and_harms_no_other(evaluation, error, share):
    values, gradient = evaluation()
    shares = []

    def stop(done):
        shares.append(done)
        if done >= share:
            raise error

    with network_strips.watched_by(stop), pytest.raises(error):
        evaluation()
    assert sum(done >= share for done in shares) == 1
    again = evaluation()
    assert again[0] == values
    np.testing.assert_array_equal(again[1], gradient)


# --- the workspace ------------------------------------------------------------------------------


def shapes_and_types(workspace):
    return {key: (tuple(array.shape), array.dtype) for key, array in workspace._arrays.items()}


@pytest.mark.usefixtures("eagerly")
def test_a_workspace_holds_what_blocks_take_in_but_for_the_picture(model):
    height, width = 131, 30
    extractor, image = extractor_of(model, PAPERS), picture(height, width)
    targets, workspace = targets_of(extractor, PAPERS, (height, width)), network_strips.Workspace()
    evaluate(extractor, image, targets, Strips(8), workspace=workspace)
    assert shapes_and_types(workspace) == {
        (block,): ((height >> block - 1, width >> block - 1, 4), tf.float32)
        for block in range(2, BLOCKS + 1)
    }


@pytest.mark.usefixtures("eagerly")
def test_of_kept_blocks_it_holds_signs_too_and_features_where_they_are_needed(model):
    height, width = 131, 30
    extractor, image = extractor_of(model, PAPERS), picture(height, width)
    targets, workspace = targets_of(extractor, PAPERS, (height, width)), network_strips.Workspace()
    evaluate(extractor, image, targets, Strips(8, kept=2), workspace=workspace)
    traces = {key: array.dtype for key, array in workspace._arrays.items() if len(key) > 1}
    # Of block 4, conv4_1 and conv4_2 are compared and conv4_4 is pooled; of block 5, conv5_1.
    features, signs = tf.float32, tf.bool
    dtypes = {(4, 0): features, (4, 1): features, (4, 2): signs, (4, 3): features}
    assert traces == dtypes | {(5, 0): features}
    assert all(
        array.shape == [height >> key[0] - 1, width >> key[0] - 1, 4]
        for key, array in workspace._arrays.items()
    )


@pytest.mark.usefixtures("eagerly")
@pytest.mark.parametrize("kept", [0, 2])
def test_one_evaluation_after_another_uses_the_same_arrays(model, kept):
    extractor = extractor_of(model, PAPERS)
    image, other = picture(51, 30), picture(51, 30, seed=2)
    targets, strips = targets_of(extractor, PAPERS, (51, 30)), Strips(16, kept)
    expected, expected_gradient = evaluate(extractor, image, targets, strips)
    workspace = network_strips.Workspace()
    evaluate(extractor, other, targets, strips, workspace=workspace)
    arrays = dict(workspace._arrays)
    values, gradient = evaluate(extractor, image, targets, strips, workspace=workspace)
    assert all(workspace._arrays[key] is array for key, array in arrays.items())
    assert values == expected
    np.testing.assert_array_equal(gradient, expected_gradient)


@pytest.mark.usefixtures("eagerly")
def test_a_workspace_of_another_size_or_number_format_is_taken_anew(model):
    workspace = network_strips.Workspace()
    for shape, dtype in (((51, 30), tf.float32), ((35, 30), tf.float32), ((35, 30), tf.float64)):
        extractor = extractor_of(model, PAPERS, dtype=dtype)
        targets = targets_of(extractor, PAPERS, shape)
        expected = evaluate(extractor, picture(*shape), targets, Strips(16))[0]
        values, _ = evaluate(extractor, picture(*shape), targets, Strips(16), workspace=workspace)
        assert values == expected
        assert {kind for _, kind in shapes_and_types(workspace).values()} == {dtype}


@pytest.mark.usefixtures("eagerly")
def test_an_evaluation_without_a_workspace_keeps_nothing(model, monkeypatch):
    alive = []
    keep = network_strips._uninitialized

    def noted(shape, dtype):
        array = keep(shape, dtype)
        alive.append(weakref.ref(array))
        return array

    monkeypatch.setattr(network_strips, "_uninitialized", noted)
    extractor, image = extractor_of(model, PAPERS), picture(51, 30)
    evaluate(extractor, image, targets_of(extractor, PAPERS, (51, 30)), Strips(16))
    assert len(alive) == BLOCKS  # what four blocks take in, and the gradient
    assert all(reference() is None for reference in alive)


# --- the strips --------------------------------------------------------------------------------


@hypothesis.given(
    height=st.integers(1, 3000),
    rows=st.integers(4, 3500),
    reach=st.integers(1, 4),
    is_wrapped=st.booleans(),
)
def test_strips_cover_a_map(height, rows, reach, is_wrapped):
    strips = network_strips._strips(height, rows, reach, is_wrapped)
    step = network_strips.ROW_STEP
    assert [strip.start for strip in strips] == [0, *(strip.stop for strip in strips[:-1])]
    assert strips[-1].stop == height
    assert all(strip.start % step == 0 for strip in strips)
    heights = [strip.stop - strip.start for strip in strips]
    assert len(set(heights[:-1])) <= 1
    assert min(heights) >= min(height, 2)  # at least one square of the pooling
    assert max(heights) <= 1.5 * step * math.ceil(rows / step)
    if is_wrapped and len(strips) > 1:
        assert height >= reach
        assert all(strip.first == strip.start - reach for strip in strips)
        assert all(strip.last == strip.stop + reach for strip in strips)
        return
    for strip in strips:
        assert strip.first == max(0, strip.start - reach)
        assert strip.last == min(height, strip.stop + reach)
