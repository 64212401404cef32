"""Gram matrices, distances, coefficients and their sum, against NumPy and against hand values.

What is expected is written out here from the equations of Choi and Kim (2020), not taken from the
library.
"""

import numpy as np
import pytest
import tensorflow as tf
from helpers.bfloat16 import needs_bfloat16
from helpers.rounding import (
    difference_quotient_error,
    gamma,
    gram_error,
    squared_distance_error,
    unit,
)
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gatys_norm.losses import features as loss_features
from gatys_norm.losses import functional
from gatys_norm.losses.coefficients import (
    ZeroEnergyError,
    normalized_coefficients,
    original_coefficients,
    relative_weights,
    style_aware_coefficients,
)
from gatys_norm.terms import TOTAL_VARIATION, is_style, layer_of, term_names

pytestmark = pytest.mark.numeric

CONTENT_WEIGHTS = {"conv4_2": 0.75, "conv5_1": 0.5}
STYLE_WEIGHTS = {"conv1_2": 0.2, "relu3_1": 0.7, "conv4_2": 0.4}
SHAPES = {"conv1_2": (6, 10, 3), "relu3_1": (3, 5, 4), "conv4_2": (2, 3, 5), "conv5_1": (1, 2, 6)}
LAMBDA_OS = 0.03
PIXELS = 6 * 10

positive = st.floats(1e-6, 1e6)
unhurried = settings(suppress_health_check=[HealthCheck.too_slow])


def random_features(seed, pixels_factor=1):
    """{layer: φ_j}, float64, of some size; the style picture's may have another one."""
    generator = np.random.default_rng(seed)
    return {
        layer: generator.normal(1, 5, (height * pixels_factor, width, channels))
        for layer, (height, width, channels) in SHAPES.items()
    }


CONTENT, STYLE, RESULT = random_features(0), random_features(1, pixels_factor=2), random_features(2)


def as_tensors(features):
    return {layer: tf.constant(value) for layer, value in features.items()}


def numpy_gram(features):
    """Eq. 5 by its elements: G[a, b] = Σ over places of φ[place, a] · φ[place, b]."""
    channels = features.shape[-1]
    gram = np.zeros((channels, channels))
    for a in range(channels):
        for b in range(channels):
            gram[a, b] = np.sum(features[:, :, a] * features[:, :, b])
    return gram


def assert_is_gram(actual, expected, features, mask=None):
    """Compare two Gram matrices of the same features; both are rounded."""
    error = 2 * gram_error(features, mask=mask)
    assert error.max() < 1e-10 * np.abs(expected).max()  # so that a wrong layer or mask shows
    assert np.all(np.abs(np.asarray(actual) - expected) <= error)


def distance_errors(o, s, x, each=0.0):
    """{term: how far two ways of computing its squared distance may lie apart}.

    Args:
      o, s, x: features.
      each: how far a feature of one may be from that of the other, relatively.
    """
    wrong = {
        name: {j: each * np.abs(value) for j, value in features.items()}
        for name, features in (("o", o), ("s", s), ("x", x))
    }
    content = {
        f"content/{j}": squared_distance_error(o[j], x[j], error=wrong["o"][j] + wrong["x"][j])
        for j in CONTENT_WEIGHTS
    }
    style = {
        f"style/{j}": squared_distance_error(
            numpy_gram(s[j]),
            numpy_gram(x[j]),
            error=gram_error(s[j], error=wrong["s"][j]) + gram_error(x[j], error=wrong["x"][j]),
        )
        for j in STYLE_WEIGHTS
    }
    return {term: 2 * error for term, error in (content | style).items()}


def energy_errors(o, s, each=0.0):
    """{term: how far two ways of computing its target's energy may lie apart, relatively}."""
    content = {f"content/{j}": (o[j], each * np.abs(o[j])) for j in CONTENT_WEIGHTS}
    style = {
        f"style/{j}": (numpy_gram(s[j]), gram_error(s[j], error=each * np.abs(s[j])))
        for j in STYLE_WEIGHTS
    }
    return {
        term: 2 * squared_distance_error(target, 0, error=error) / np.sum(target**2)
        for term, (target, error) in (content | style).items()
    }


COEFFICIENT = 6  # roundings: sum of the weights, share of it, λ_os, w, style's share, division


def total_error(loss, o, s, x, each=0.0):
    """Return how far two ways of computing the loss may lie apart, relatively to it.

    Each term as far as its distance, its coefficient and, in the normalized loss, the energy in
    that; the terms, none of which is negative, are then added up. Arguments as above.
    """
    distances, coefficients = parts(loss, o, s, x)
    of_distances = distance_errors(o, s, x, each)
    of_energies = energy_errors(o, s, each)
    error = 0.0
    for term, distance in distances.items():
        relative = of_distances[term] / float(distance) + gamma(2 * COEFFICIENT)
        relative += of_energies[term] if loss == "normalized" else 0.0
        error += coefficients[term] * float(distance) * (relative + gamma(2 * len(distances)))
    error /= total(loss, o, s, x)
    assert error < 1e-10  # so that a wrong layer or factor shows
    return error


def numpy_original(o, s, x, lambda_os, content_weights, style_weights):
    """Eq. 2–4."""
    content = sum(
        0.5 * weight * np.sum((o[j] - x[j]) ** 2) for j, weight in content_weights.items()
    )
    style = 0
    for j, weight in style_weights.items():
        height, width, channels = x[j].shape
        difference = numpy_gram(s[j]) - numpy_gram(x[j])
        style += (1 / (2 * height * width * channels)) ** 2 * weight * np.sum(difference**2)
    return lambda_os * content + style


def numpy_normalized(o, s, x, lambda_os, content_weights, style_weights, pixels):
    """Eq. 2 and 11–14."""
    content = style = 0
    for j, weight in content_weights.items():
        share = weight / sum(content_weights.values())
        content += share * np.sum((o[j] - x[j]) ** 2) / np.sum(o[j] ** 2)
    for j, weight in style_weights.items():
        share = weight / sum(style_weights.values())
        target = numpy_gram(s[j])
        style += share * np.sum((target - numpy_gram(x[j])) ** 2) / np.sum(target**2)
    return lambda_os * pixels * content + pixels * style


def parts(loss, o, s, x, lambda_os=LAMBDA_OS, content_weights=None, style_weights=None):
    """Return the library's ({term: distance}, {term: coefficient}) for features of NumPy."""
    content_weights = content_weights or CONTENT_WEIGHTS
    style_weights = style_weights or STYLE_WEIGHTS
    terms = term_names(content_weights, style_weights)
    targets = values_of(o, term_names(content_weights, ()))
    targets |= values_of(s, term_names((), style_weights))
    values = values_of(x, terms)
    distances = {
        term: functional.squared_distance(values[term], target) for term, target in targets.items()
    }
    if loss == "original":
        shapes = {layer: value.shape for layer, value in x.items()}
        return distances, original_coefficients(lambda_os, content_weights, style_weights, shapes)
    energies = {term: float(functional.energy(target)) for term, target in targets.items()}
    return distances, normalized_coefficients(
        lambda_os, content_weights, style_weights, energies, PIXELS
    )


def values_of(features, terms):
    return loss_features.term_values(as_tensors(features), terms)


def total(loss, *features, **changes):
    return float(functional.weighted_sum(*parts(loss, *features, **changes)))


class TestGramMatrix:
    def test_all_ones_give_the_number_of_places(self):
        gram = functional.gram_matrix(tf.ones((3, 5, 4)))
        np.testing.assert_array_equal(gram, np.full((4, 4), 15))

    def test_hand_made(self):
        features = tf.constant([[[1.0, 0.0], [2.0, -1.0], [0.0, 3.0]]])  # 1 × 3 × 2
        np.testing.assert_array_equal(functional.gram_matrix(features), [[5, -2], [-2, 10]])

    def test_one_channel_a_place_gives_the_counts(self):
        channel_of_place = np.array([[0, 1, 1], [2, 1, 0]])
        gram = functional.gram_matrix(tf.constant(np.eye(3)[channel_of_place]))
        np.testing.assert_array_equal(gram, np.diag([2, 3, 1]))

    def test_equals_numpy(self):
        features = CONTENT["relu3_1"]
        gram = functional.gram_matrix(tf.constant(features))
        assert_is_gram(gram, numpy_gram(features), features)

    def test_forgets_where_things_are(self):
        features = CONTENT["relu3_1"]
        places = features.reshape(-1, features.shape[-1])
        shuffled = np.random.default_rng(3).permutation(places).reshape(features.shape)
        gram = functional.gram_matrix(tf.constant(shuffled))
        assert_is_gram(gram, numpy_gram(features), features)


class TestBoundedSquaredDistance:
    @pytest.mark.parametrize(
        ("a", "b", "expected"),
        [
            ([[2.0, 0.0], [0.0, 0.0]], [[0.0, 0.0], [0.0, 3.0]], 1),  # nothing in common
            ([[0.0, 0.0], [0.0, 0.0]], [[1.0, 2.0], [2.0, 5.0]], 1),
            ([[1.0, 2.0], [2.0, 5.0]], [[1.0, 2.0], [2.0, 5.0]], 0),
            ([[2.0, 4.0], [4.0, 10.0]], [[1.0, 2.0], [2.0, 5.0]], 1 / 5),  # (2 − 1)² / (2² + 1²)
        ],
    )
    def test_hand_made(self, a, b, expected):
        distance = functional.bounded_squared_distance(tf.constant(a), tf.constant(b))
        assert float(distance) == pytest.approx(expected, rel=1e-6)
        assert float(functional.bounded_squared_distance(tf.constant(b), tf.constant(a))) == float(
            distance
        )

    def test_is_half_the_relative_distance_near_the_target(self):
        target = numpy_gram(STYLE["relu3_1"])
        near = tf.constant(target * 1.001)
        distance = float(functional.bounded_squared_distance(near, tf.constant(target)))
        relative = float(functional.squared_distance(near, tf.constant(target)))
        relative /= float(functional.energy(tf.constant(target)))
        assert distance == pytest.approx(relative / 2, rel=2e-3)

    @pytest.mark.parametrize("size", [1e-15, 1e15])  # squares of squares would not be finite
    def test_value_and_gradient_are_finite_for_large_and_small_matrices(self, size):
        a, b = (
            size * tf.constant(numpy_gram(features["relu3_1"]) / 1e3, tf.float32)
            for features in (RESULT, STYLE)
        )
        with tf.GradientTape() as tape:
            tape.watch(a)
            distance = functional.bounded_squared_distance(a, b)
        gradient = tape.gradient(distance, a).numpy().astype(float) * size
        x, s = (matrix.numpy().astype(float) for matrix in (a, b))
        bound = np.sum(x**2) + np.sum(s**2)
        expected = 2 * size * ((x - s) - np.sum((x - s) ** 2) / bound * x) / bound
        assert float(distance) == pytest.approx(np.sum((x - s) ** 2) / bound, rel=1e-5)
        np.testing.assert_allclose(gradient, expected, rtol=1e-4, atol=1e-5 * expected.max())


ENERGIES = {
    term: 2.0 + index for index, term in enumerate(term_names(CONTENT_WEIGHTS, STYLE_WEIGHTS))
}


class TestStyleAwareCoefficients:
    def test_content_is_that_of_the_normalized_loss_and_style_is_not_divided(self):
        given = LAMBDA_OS, CONTENT_WEIGHTS, STYLE_WEIGHTS, ENERGIES, PIXELS
        normalized = normalized_coefficients(*given)
        for term, value in style_aware_coefficients(*given).items():
            factor = ENERGIES[term] if is_style(term) else 1
            assert value == pytest.approx(normalized[term] * factor)

    def test_a_style_of_zero_is_refused(self):
        energies = ENERGIES | {"style/conv4_2": 0.0}
        with pytest.raises(ZeroEnergyError, match="layer conv4_2 is zero everywhere for the style"):
            style_aware_coefficients(LAMBDA_OS, CONTENT_WEIGHTS, STYLE_WEIGHTS, energies, PIXELS)


DELTA = 1e-2  # of features near 5, for differences of Gram matrices


def difference_error(features, mask=None):
    """Return how far a difference quotient of a Gram matrix may lie from the derivative.

    The matrix is of degree two in the features, so only its rounding counts, and that of the moved
    feature itself, by which the derivative is twice itself at most.
    """
    moved = np.abs(features) + DELTA
    value_error = gram_error(moved, mask=mask).max() + unit() * moved.max() * 2 * moved.max()
    error = difference_quotient_error(DELTA, 0, value_error)
    assert error < 1e-8 * np.abs(features).max()
    return error


class TestGuidedGramMatrix:
    features = CONTENT["relu3_1"]
    mask = np.random.default_rng(8).uniform(0, 1, features.shape[:2])

    def test_equals_numpy(self):
        gram = functional.guided_gram_matrix(tf.constant(self.features), tf.constant(self.mask))
        expected = np.einsum("hw,hwa,hwb->ab", self.mask, self.features, self.features)
        assert_is_gram(gram, expected, self.features, self.mask)

    def test_of_places_inside_and_outside_it_counts_those_inside(self):
        mask = np.array([[0.0, 1.0, 1.0, 0.0, 1.0]] * 3)
        gram = functional.guided_gram_matrix(tf.constant(self.features), tf.constant(mask))
        inside = self.features[:, [1, 2, 4]]
        assert_is_gram(gram, numpy_gram(inside), self.features, mask)

    @pytest.mark.parametrize("dtype", [tf.bfloat16, tf.float32, tf.float64])
    def test_a_mask_of_ones_changes_no_bit(self, dtype):
        features = tf.cast(self.features, dtype)
        guided = functional.guided_gram_matrix(features, tf.ones(features.shape[:2]))
        plain = functional.gram_matrix(features)
        assert guided.dtype == plain.dtype
        np.testing.assert_array_equal(guided, plain)

    def test_a_mask_of_zeros_leaves_nothing(self):
        features = tf.constant(self.features)
        with tf.GradientTape() as tape:
            tape.watch(features)
            gram = functional.guided_gram_matrix(features, tf.zeros(features.shape[:2], tf.float64))
        np.testing.assert_array_equal(gram, np.zeros((4, 4)))
        np.testing.assert_array_equal(tape.gradient(gram, features), np.zeros(features.shape))

    def test_masks_that_share_out_the_picture_share_out_its_matrix(self):
        shares = np.random.default_rng(9).dirichlet(np.ones(3), self.features.shape[:2])
        parts = [
            functional.guided_gram_matrix(
                tf.constant(self.features), tf.constant(shares[..., index])
            )
            for index in range(3)
        ]
        # Each share is of its own mask, and the three are added up; nor do they sum to 1 exactly.
        error = sum(gram_error(self.features, mask=shares[..., index]) for index in range(3))
        error += gram_error(self.features)
        sizes = np.abs(self.features)
        error += gamma(3 + 3) * np.einsum("hwa,hwb->ab", sizes, sizes)
        assert np.all(np.abs(sum(parts) - numpy_gram(self.features)) <= error)

    def test_gradient_equals_finite_differences(self):
        by_gradient, by_differences = tf.test.compute_gradient(
            lambda features: functional.guided_gram_matrix(features, tf.constant(self.mask)),
            [tf.constant(self.features)],
            delta=DELTA,
        )
        error = difference_error(self.features, self.mask)
        np.testing.assert_allclose(by_gradient[0], by_differences[0], rtol=0, atol=error)


def gradient_of_gram(features, upstream):
    with tf.GradientTape() as tape:
        tape.watch(features)
        gram = functional.gram_matrix(features)
    return tape.gradient(gram, features, upstream)


class TestGradientOfTheGramMatrix:
    features = CONTENT["relu3_1"]
    upstream = np.random.default_rng(4).normal(0, 1, (4, 4))  # not symmetric

    def error_of_products(self, features):
        """Of Φ (U + Uᵀ): 8 products of a feature, each rounded, and their sum."""
        sizes = np.abs(self.upstream) + np.abs(self.upstream.T)
        return gamma(2 * 4) * (np.abs(features) @ sizes).max()

    def test_equals_finite_differences(self):
        by_gradient, by_differences = tf.test.compute_gradient(
            functional.gram_matrix, [tf.constant(self.features)], delta=DELTA
        )
        # The matrix of all derivatives: each row is the gradient of one element of G, of which
        # those off the diagonal see the gradient from one side only.
        assert by_gradient[0].shape == (4 * 4, self.features.size)
        error = difference_error(self.features)
        np.testing.assert_allclose(by_gradient[0], by_differences[0], rtol=0, atol=error)

    def test_equals_numpy_where_the_upstream_is_not_symmetric(self):
        # Σ U[a, b] G[a, b] = Σ φ[p, a] U[a, b] φ[p, b], with φ[p, c] once in front, once behind.
        expected = np.zeros_like(self.features)
        for a in range(4):
            for b in range(4):
                expected[:, :, a] += self.upstream[a, b] * self.features[:, :, b]
                expected[:, :, b] += self.upstream[a, b] * self.features[:, :, a]
        gradient = gradient_of_gram(tf.constant(self.features), tf.constant(self.upstream))
        error = 2 * self.error_of_products(self.features)
        np.testing.assert_allclose(gradient, expected, rtol=0, atol=error)

    def test_works_where_the_size_is_known_only_when_run(self):
        traced = tf.function(
            gradient_of_gram,
            input_signature=[
                tf.TensorSpec([None, None, 4], tf.float64),
                tf.TensorSpec([4, 4], tf.float64),
            ],
            autograph=False,
        )
        for features in (self.features, self.features[:2, :3]):
            arguments = tf.constant(features), tf.constant(self.upstream)
            gradient = traced(*arguments)
            assert gradient.shape == features.shape
            error = 2 * self.error_of_products(features)
            np.testing.assert_allclose(gradient, gradient_of_gram(*arguments), rtol=0, atol=error)


class TestCoarseFeatures:
    """Features in bfloat16: 8 bits, so that rounding changes a value by 2⁻⁸ of it at most."""

    features = tf.cast(np.random.default_rng(5).normal(1, 5, (20, 30, 8)), tf.bfloat16)
    upstream = tf.cast(np.random.default_rng(6).normal(0, 1, (8, 8)), tf.float32)

    def test_gram_matrix_is_that_of_the_features_as_float32(self):
        gram = functional.gram_matrix(self.features)
        assert gram.dtype == tf.float32
        np.testing.assert_array_equal(
            gram, functional.gram_matrix(tf.cast(self.features, tf.float32))
        )

    @needs_bfloat16
    def test_gradient_of_few_bits_is_exact(self):
        # Whole numbers up to 256 have 8 bits, so none of the 8 products and sums is rounded.
        generator = np.random.default_rng(7)
        features = tf.cast(generator.integers(-4, 5, (20, 30, 8)), tf.bfloat16)
        upstream = tf.cast(generator.integers(-4, 5, (8, 8)), tf.float32)
        coarse = gradient_of_gram(features, upstream)
        assert coarse.dtype == tf.bfloat16
        exact = gradient_of_gram(tf.cast(features, tf.float32), upstream)
        assert np.abs(exact).max() <= 8 * 4 * 8
        np.testing.assert_array_equal(tf.cast(coarse, tf.float32), exact)

    @needs_bfloat16
    def test_gradient_is_within_its_roundings(self):
        coarse = gradient_of_gram(self.features, self.upstream)
        assert coarse.dtype == tf.bfloat16
        exact = gradient_of_gram(tf.cast(self.features, tf.float32), self.upstream).numpy()
        error = np.abs(tf.cast(coarse, tf.float32) - exact)
        # dG + dGᵀ is rounded, then each of its 8 products; some processors round each sum too.
        both = np.abs(self.upstream + tf.transpose(self.upstream))
        products = np.abs(tf.cast(self.features, tf.float32)) @ both
        assert error.max() > 0
        assert np.all(error <= gamma(1 + 8 + 1, "bfloat16") * products)

    def test_values_of_terms_are_float32_or_wider(self):
        terms = term_names(["conv4_2"], ["conv4_2"])
        for dtype, expected in (
            (tf.bfloat16, tf.float32),
            (tf.float16, tf.float32),
            (tf.float32, tf.float32),
            (tf.float64, tf.float64),
        ):
            features = tf.cast(CONTENT["conv4_2"], dtype)
            values = loss_features.term_values({"conv4_2": features}, terms)
            assert [value.dtype for value in values.values()] == [expected, expected]
            np.testing.assert_array_equal(values["content/conv4_2"], tf.cast(features, expected))


class TestDistancesAndEnergy:
    def test_squared_distance_by_hand(self):
        a, b = tf.constant([[1.0, 2.0], [3.0, 4.0]]), tf.constant([[1.0, 0.0], [6.0, 4.0]])
        assert float(functional.squared_distance(a, b)) == 4 + 9

    def test_energy_by_hand(self):
        assert float(functional.energy(tf.constant([[1.0, -2.0], [0.0, 3.0]]))) == 14
        assert float(functional.energy(tf.ones((3, 5, 4)))) == 60

    def test_distance_from_zero_is_the_energy(self):
        value = tf.constant(CONTENT["conv4_2"])
        distance = functional.squared_distance(value, tf.zeros_like(value))
        assert float(distance) == float(functional.energy(value))

    def test_terms_are_named_content_first_and_in_the_layers_order(self):
        assert term_names(["conv4_2", "conv1_1"], ["conv2_2", "conv1_2"]) == (
            *("content/conv4_2", "content/conv1_1"),
            *("style/conv2_2", "style/conv1_2"),
        )
        assert term_names((), {"conv1_2": 0.5}) == ("style/conv1_2",)

    def test_style_values_are_grams_and_content_values_are_features(self):
        targets = values_of(CONTENT, term_names(["conv4_2"], ()))
        targets |= values_of(STYLE, term_names((), ["conv4_2", "conv1_2"]))
        assert list(targets) == ["content/conv4_2", "style/conv4_2", "style/conv1_2"]
        np.testing.assert_array_equal(targets["content/conv4_2"], CONTENT["conv4_2"])
        for layer in ("conv4_2", "conv1_2"):
            assert_is_gram(targets[f"style/{layer}"], numpy_gram(STYLE[layer]), STYLE[layer])

    def test_terms_of_several_styles_are_named_style_by_style(self):
        names = term_names(["conv4_2"], ["conv1_2", "relu3_1"], ["a.b", "a.b#2"])
        assert names == (
            "content/conv4_2",
            *("style[a.b]/conv1_2", "style[a.b]/relu3_1"),
            *("style[a.b#2]/conv1_2", "style[a.b#2]/relu3_1"),
        )
        assert [is_style(name) for name in names] == [False, True, True, True, True]
        assert [layer_of(name) for name in names] == ["conv4_2", *["conv1_2", "relu3_1"] * 2]
        assert not is_style(TOTAL_VARIATION)

    def test_only_the_terms_that_have_a_mask_are_of_a_region(self):
        terms = term_names(["conv4_2"], ["conv4_2", "conv1_2"], ["a", "b"])
        mask = np.random.default_rng(10).uniform(0, 1, SHAPES["conv4_2"][:2])
        values = loss_features.term_values(as_tensors(RESULT), terms, {"style[b]/conv4_2": mask})
        assert list(values) == list(terms)
        x = RESULT["conv4_2"]
        np.testing.assert_array_equal(values["content/conv4_2"], x)
        expected = np.einsum("hw,hwa,hwb->ab", mask, x, x)
        assert_is_gram(values["style[b]/conv4_2"], expected, x, mask)
        for term in ("style[a]/conv4_2", "style[a]/conv1_2", "style[b]/conv1_2"):
            features = RESULT[layer_of(term)]
            assert_is_gram(values[term], numpy_gram(features), features)

    def test_every_term_equals_numpy(self):
        distances, _ = parts("original", CONTENT, STYLE, RESULT)
        expected = {
            f"content/{j}": np.sum((CONTENT[j] - RESULT[j]) ** 2) for j in CONTENT_WEIGHTS
        } | {
            f"style/{j}": np.sum((numpy_gram(STYLE[j]) - numpy_gram(RESULT[j])) ** 2)
            for j in STYLE_WEIGHTS
        }
        assert list(distances) == list(expected)
        errors = distance_errors(CONTENT, STYLE, RESULT)
        for term, value in expected.items():
            assert errors[term] < 1e-10 * value
            np.testing.assert_allclose(distances[term], value, rtol=0, atol=errors[term])


class TestTotalVariation:
    def test_constant_picture_has_none(self):
        assert float(functional.total_variation(tf.fill((4, 5, 3), 7.0))) == 0

    def test_hand_made(self):
        grey = np.array([[0.0, 1.0], [3.0, 7.0]])
        image = tf.constant(np.stack([grey, 2 * grey, 0 * grey], axis=-1))
        assert float(functional.total_variation(image)) == (1 + 4**2 + 3**2 + 6**2) * (1 + 4 + 0)

    def test_chessboard_counts_the_neighbors(self):
        height, width = 4, 7
        chessboard = np.indices((height, width)).sum(axis=0) % 2
        image = tf.constant(chessboard[:, :, np.newaxis] * np.ones(3))
        neighbors = height * (width - 1) + (height - 1) * width
        assert float(functional.total_variation(image)) == 3 * neighbors

    def test_where_axes_are_wrapped_the_opposite_edges_are_neighbors(self):
        image = tf.constant([[[0.0], [1.0]], [[3.0], [7.0]], [[3.0], [7.0]]])
        inside = (1 + 4**2 + 4**2) + (3**2 + 6**2)
        below, beside = 3**2 + 6**2, 1 + 4**2 + 4**2
        for axes, expected in (((), 0), ((0,), below), ((1,), beside), ((0, 1), below + beside)):
            assert float(functional.total_variation(image, axes)) == inside + expected

    def test_equals_numpy_pixel_by_pixel(self):
        image = np.random.default_rng(4).uniform(0, 255, (5, 4, 3))
        expected = 0
        for row in range(5):
            for column in range(4):
                for channel in range(3):
                    here = image[row, column, channel]
                    if row + 1 < 5:
                        expected += (image[row + 1, column, channel] - here) ** 2
                    if column + 1 < 4:
                        expected += (image[row, column + 1, channel] - here) ** 2
        # Σ squares of differences, no term negative: the additions, the square, the subtraction
        # that counts twice, both ways.
        error = gamma(2 * (3 * (4 * 4 + 5 * 3) + 2))
        found = functional.total_variation(tf.constant(image))
        np.testing.assert_allclose(found, expected, rtol=error)


class TestOriginalCoefficients:
    def test_hand_made(self):
        coefficients = original_coefficients(
            lambda_os=10.0,
            content_weights={"conv4_2": 0.5},
            style_weights={"conv1_2": 0.25, "conv4_2": 1.0},
            feature_shapes={"conv1_2": (2, 4, 1), "conv4_2": (1, 2, 4)},
        )
        assert coefficients == {
            "content/conv4_2": 10 * 0.5 * 0.5,
            "style/conv1_2": 0.25 / 16**2,
            "style/conv4_2": 1 / 16**2,
        }

    def test_blended_styles_and_regions_by_hand(self):
        coefficients = original_coefficients(
            lambda_os=10.0,
            content_weights={"conv4_2": 0.5},
            style_weights={"conv1_2": 0.25, "conv4_2": 1.0},
            feature_shapes={"conv1_2": (2, 4, 1), "conv4_2": (1, 2, 4)},
            blend={"a": 3.0, "b": 1.0},
            shares={"style[b]/conv1_2": 0.5, "style[b]/conv4_2": 0.25},
        )
        assert coefficients == {
            "content/conv4_2": 10 * 0.5 * 0.5,
            "style[a]/conv1_2": 0.75 * 0.25 / 16**2,
            "style[a]/conv4_2": 0.75 * 1 / 16**2,
            "style[b]/conv1_2": 0.25 * 0.25 / 8**2,
            "style[b]/conv4_2": 0.25 * 1 / 4**2,
        }

    def test_ones_against_zeros(self):
        # Gram matrix of ones: all entries H·W, so ‖G‖² = C²(HW)² and the style loss is λ_s / 4.
        ones, zeros = {"conv4_2": np.ones((3, 5, 4))}, {"conv4_2": np.zeros((3, 5, 4))}
        one = {"conv4_2": 1.0}
        weights = {"content_weights": one, "style_weights": one}
        assert total("original", zeros, ones, zeros, lambda_os=1, **weights) == 1 / 4
        assert total("original", ones, zeros, zeros, lambda_os=1, **weights) == 0.5 * 60

    def test_sum_equals_numpy(self):
        expected = numpy_original(CONTENT, STYLE, RESULT, LAMBDA_OS, CONTENT_WEIGHTS, STYLE_WEIGHTS)
        error = total_error("original", CONTENT, STYLE, RESULT)
        assert total("original", CONTENT, STYLE, RESULT) == pytest.approx(expected, rel=error)

    @pytest.mark.parametrize("layer", STYLE_WEIGHTS)
    def test_doubling_a_style_weight_doubles_exactly_that_term(self, layer):
        doubled = STYLE_WEIGHTS | {layer: 2 * STYLE_WEIGHTS[layer]}
        before = parts("original", CONTENT, STYLE, RESULT)[1]
        after = parts("original", CONTENT, STYLE, RESULT, style_weights=doubled)[1]
        assert after == before | {f"style/{layer}": 2 * before[f"style/{layer}"]}

    @pytest.mark.parametrize("layer", CONTENT_WEIGHTS)
    def test_doubling_a_content_weight_doubles_exactly_that_term(self, layer):
        doubled = CONTENT_WEIGHTS | {layer: 2 * CONTENT_WEIGHTS[layer]}
        before = parts("original", CONTENT, STYLE, RESULT)[1]
        after = parts("original", CONTENT, STYLE, RESULT, content_weights=doubled)[1]
        assert after == before | {f"content/{layer}": 2 * before[f"content/{layer}"]}


class TestRelativeWeights:
    def test_hand_made(self):
        relative = relative_weights({"conv1_2": 1.0, "conv2_2": 3.0, "conv3_4": 0})
        assert relative == {"conv1_2": 0.25, "conv2_2": 0.75, "conv3_4": 0}

    @unhurried
    @given(st.lists(positive | st.just(0), min_size=1, max_size=16).filter(any))
    def test_sum_is_one_and_ratios_stay(self, values):
        weights = {f"layer {index}": value for index, value in enumerate(values)}
        relative = relative_weights(weights)
        assert list(relative) == list(weights)
        # No sum has a negative term: the total, the quotients, then their additions.
        additions = len(values) - 1
        error = gamma(additions + 1 + additions)
        assert sum(relative.values()) == pytest.approx(1, rel=error)
        total_weight = sum(values)
        error = gamma(2 * additions + 2)  # a total each, the quotient, the product
        for layer, value in weights.items():
            assert relative[layer] * total_weight == pytest.approx(value, rel=error, abs=0)

    @unhurried
    @given(st.lists(positive, min_size=1, max_size=16), st.integers(-20, 20))
    def test_only_ratios_matter(self, values, exponent):
        weights = dict(enumerate(values))
        scaled = {layer: value * 2.0**exponent for layer, value in weights.items()}
        assert relative_weights(scaled) == relative_weights(weights)


class TestNormalizedCoefficients:
    def test_hand_made(self):
        coefficients = normalized_coefficients(
            lambda_os=0.5,
            content_weights={"conv4_2": 7.0},
            style_weights={"conv1_2": 3.0, "conv4_2": 1.0},
            energies={"content/conv4_2": 10.0, "style/conv1_2": 6.0, "style/conv4_2": 4.0},
            pixel_count=80,
        )
        assert coefficients == {
            "content/conv4_2": 0.5 * 80 * 1 / 10,
            "style/conv1_2": 80 * 0.75 / 6,
            "style/conv4_2": 80 * 0.25 / 4,
        }

    def test_blended_styles_by_hand(self):
        coefficients = normalized_coefficients(
            lambda_os=0.5,
            content_weights={"conv4_2": 7.0},
            style_weights={"conv1_2": 3.0, "conv4_2": 1.0},
            energies={
                "content/conv4_2": 10.0,
                **{"style[a]/conv1_2": 6.0, "style[a]/conv4_2": 4.0},
                **{"style[b]/conv1_2": 5.0, "style[b]/conv4_2": 2.0},
            },
            pixel_count=80,
            blend={"a": 6.0, "b": 2.0},
        )
        assert coefficients == {
            "content/conv4_2": 0.5 * 80 * 1 / 10,
            "style[a]/conv1_2": 80 * (0.75 * 0.75) / 6,
            "style[a]/conv4_2": 80 * (0.25 * 0.75) / 4,
            "style[b]/conv1_2": 80 * (0.75 * 0.25) / 5,
            "style[b]/conv4_2": 80 * (0.25 * 0.25) / 2,
        }

    def test_zero_energy_of_one_of_several_styles_names_the_layer(self):
        energies = {"content/a": 1.0, "style[x]/a": 1.0, "style[y]/a": 0.0}
        with pytest.raises(ZeroEnergyError, match=r"layer a .* style picture y"):
            normalized_coefficients(1.0, {"a": 1.0}, {"a": 1.0}, energies, 9, {"x": 1.0, "y": 1.0})

    def test_style_weights_are_summed_over_the_style_layers(self):
        # The printed Eq. 14 sums them over C; here C and S have one layer in common.
        _, coefficients = parts("normalized", CONTENT, STYLE, RESULT)
        energies = {j: np.sum(numpy_gram(STYLE[j]) ** 2) for j in STYLE_WEIGHTS}
        shares = [coefficients[f"style/{j}"] * energies[j] / PIXELS for j in STYLE_WEIGHTS]
        error = max(energy_errors(CONTENT, STYLE).values()) + gamma(2 * COEFFICIENT)
        assert sum(shares) == pytest.approx(1, rel=error + gamma(2 * len(shares)))

    def test_features_of_zero_cost_the_pixel_count(self):
        # Each distance is then its energy, and the relative weights sum to 1.
        nothing = {layer: np.zeros_like(value) for layer, value in RESULT.items()}
        expected = PIXELS * (LAMBDA_OS + 1)
        error = max(energy_errors(CONTENT, STYLE).values()) + gamma(2 * COEFFICIENT + 2 * 5)
        assert total("normalized", CONTENT, STYLE, nothing) == pytest.approx(expected, rel=error)

    def test_sum_equals_numpy(self):
        expected = numpy_normalized(
            CONTENT, STYLE, RESULT, LAMBDA_OS, CONTENT_WEIGHTS, STYLE_WEIGHTS, PIXELS
        )
        error = total_error("normalized", CONTENT, STYLE, RESULT)
        assert total("normalized", CONTENT, STYLE, RESULT) == pytest.approx(expected, rel=error)

    @pytest.mark.parametrize("layer", STYLE_WEIGHTS)
    def test_doubling_a_style_weight_changes_only_the_ratios(self, layer):
        doubled = STYLE_WEIGHTS | {layer: 2 * STYLE_WEIGHTS[layer]}
        before = parts("normalized", CONTENT, STYLE, RESULT)[1]
        after = parts("normalized", CONTENT, STYLE, RESULT, style_weights=doubled)[1]
        old_sum, new_sum = sum(STYLE_WEIGHTS.values()), sum(doubled.values())
        for term in before:
            factor = 1 if term.startswith("content/") else old_sum / new_sum
            factor *= 2 if term == f"style/{layer}" else 1
            # Two coefficients, and the factor: two sums of 3 weights, their ratio, its product.
            error = gamma(2 * COEFFICIENT + 2 * 2 + 2)
            assert after[term] == pytest.approx(before[term] * factor, rel=error, abs=0)

    def test_doubling_all_style_weights_changes_nothing(self):
        doubled = {layer: 2 * weight for layer, weight in STYLE_WEIGHTS.items()}
        assert (
            parts("normalized", CONTENT, STYLE, RESULT, style_weights=doubled)[1]
            == parts("normalized", CONTENT, STYLE, RESULT)[1]
        )

    def test_the_pixel_count_scales_everything(self):
        energies = {"content/conv4_2": 3.0, "style/conv4_2": 5.0}
        one, four = (
            normalized_coefficients(0.1, {"conv4_2": 1}, {"conv4_2": 1}, energies, pixels)
            for pixels in (100, 400)
        )
        assert four == {term: 4 * value for term, value in one.items()}

    @pytest.mark.parametrize("kind", ["content", "style"])
    def test_zero_energy_names_layer_and_picture(self, kind):
        pictures = {"content": CONTENT, "style": STYLE}
        zeros = np.zeros_like(pictures[kind]["conv4_2"])
        pictures[kind] = pictures[kind] | {"conv4_2": zeros}
        with pytest.raises(ZeroEnergyError, match=rf"\bconv4_2\b.*\b{kind} picture"):
            parts("normalized", pictures["content"], pictures["style"], RESULT)

    def test_zero_energy_of_a_layer_not_asked_for_does_not_matter(self):
        silent = CONTENT | {"conv1_2": np.zeros_like(CONTENT["conv1_2"])}  # a style layer only
        assert total("normalized", silent, STYLE, RESULT) == total(
            "normalized", CONTENT, STYLE, RESULT
        )


@pytest.mark.parametrize("loss", ["original", "normalized"])
class TestBothLosses:
    def test_content_terms_are_zero_at_the_content_picture(self, loss):
        distances, coefficients = parts(loss, CONTENT, STYLE, CONTENT)
        values = {term: coefficients[term] * float(distances[term]) for term in coefficients}
        assert all(values[f"content/{layer}"] == 0 for layer in CONTENT_WEIGHTS)
        assert all(values[f"style/{layer}"] > 0 for layer in STYLE_WEIGHTS)

    def test_style_terms_are_zero_at_the_style_picture(self, loss):
        distances, _ = parts(loss, CONTENT, CONTENT, CONTENT)
        assert all(float(value) == 0 for value in distances.values())

    def test_lambda_os_scales_the_content_part_alone(self, loss):
        once = parts(loss, CONTENT, STYLE, RESULT)[1]
        eightfold = parts(loss, CONTENT, STYLE, RESULT, lambda_os=8 * LAMBDA_OS)[1]
        for term, value in once.items():
            assert eightfold[term] == value * (8 if term.startswith("content/") else 1)

    def test_lambda_os_of_zero_leaves_the_style(self, loss):
        coefficients = parts(loss, CONTENT, STYLE, RESULT, lambda_os=0)[1]
        for term, value in coefficients.items():
            assert (value == 0) == term.startswith("content/")

    def test_terms_are_named_alike_in_distances_and_coefficients(self, loss):
        distances, coefficients = parts(loss, CONTENT, STYLE, RESULT)
        assert list(distances) == list(coefficients)


def scaled(features, factors):
    return {layer: value * factors[layer] for layer, value in features.items()}


# Scaling rounds each feature once.
SCALED_ERROR = total_error("normalized", CONTENT, STYLE, RESULT, each=unit())


@unhurried
@given(st.lists(st.floats(1e-3, 1e3), min_size=len(SHAPES), max_size=len(SHAPES)))
def test_normalized_loss_does_not_see_the_scale_of_a_layer(values):
    factors = dict(zip(SHAPES, values, strict=True))
    pictures = [scaled(features, factors) for features in (CONTENT, STYLE, RESULT)]
    expected = total("normalized", CONTENT, STYLE, RESULT)
    assert total("normalized", *pictures) == pytest.approx(expected, rel=SCALED_ERROR)


@pytest.mark.parametrize("layer", SHAPES)
def test_original_loss_sees_the_scale_of_every_layer(layer):
    factors = dict.fromkeys(SHAPES, 1.0) | {layer: 1.5}
    pictures = [scaled(features, factors) for features in (CONTENT, STYLE, RESULT)]
    distances, coefficients = parts("original", *pictures)
    unscaled, same_coefficients = parts("original", CONTENT, STYLE, RESULT)
    assert coefficients == same_coefficients
    for term in distances:
        power = 2 if term.startswith("content/") else 4
        factor = 1.5**power if term.endswith(f"/{layer}") else 1
        error = factor * distance_errors(CONTENT, STYLE, RESULT, each=unit())[term]
        np.testing.assert_allclose(distances[term], factor * unscaled[term], rtol=0, atol=error)


class TestWeightedSum:
    def test_hand_made(self):
        distances = {"content/a": tf.constant(3.0), "style/b": tf.constant(5.0)}
        assert float(functional.weighted_sum(distances, {"content/a": 2.0, "style/b": 0.5})) == 8.5

    def test_sums_the_terms_that_have_a_coefficient(self):
        distances = {"content/a": tf.constant(3.0), "total_variation": tf.constant(5.0)}
        assert float(functional.weighted_sum(distances, {"content/a": 2.0})) == 6
