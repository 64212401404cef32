"""Gram matrices, distances, coefficients and their sum, against NumPy and against hand values.

What is expected is written out here from the equations of Choi and Kim (2020), not taken from the
library.
"""

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gatys_norm import losses

CONTENT_WEIGHTS = {"conv4_2": 0.75, "conv5_1": 0.5}
STYLE_WEIGHTS = {"conv1_2": 0.2, "relu3_1": 0.7, "conv4_2": 0.4}
SHAPES = {"conv1_2": (6, 10, 3), "relu3_1": (3, 5, 4), "conv4_2": (2, 3, 5), "conv5_1": (1, 2, 6)}
LAMBDA_OS = 0.03
PIXELS = 6 * 10

positive = st.floats(1e-6, 1e6)
unhurried = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])


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
    terms = losses.term_names(content_weights, style_weights)
    targets = values_of(o, losses.term_names(content_weights, ()))
    targets |= values_of(s, losses.term_names((), style_weights))
    distances = losses.squared_distances(values_of(x, terms), targets)
    if loss == "original":
        shapes = {layer: value.shape for layer, value in x.items()}
        return distances, losses.original_coefficients(
            lambda_os, content_weights, style_weights, shapes
        )
    energies = {term: float(losses.energy(target)) for term, target in targets.items()}
    return distances, losses.normalized_coefficients(
        lambda_os, content_weights, style_weights, energies, PIXELS
    )


def values_of(features, terms):
    return losses.term_values(as_tensors(features), terms)


def total(loss, *features, **changes):
    return float(losses.weighted_sum(*parts(loss, *features, **changes)))


class TestGramMatrix:
    def test_all_ones_give_the_number_of_places(self):
        gram = losses.gram_matrix(tf.ones((3, 5, 4)))
        np.testing.assert_array_equal(gram, np.full((4, 4), 15))

    def test_hand_made(self):
        features = tf.constant([[[1.0, 0.0], [2.0, -1.0], [0.0, 3.0]]])  # 1 × 3 × 2
        np.testing.assert_array_equal(losses.gram_matrix(features), [[5, -2], [-2, 10]])

    def test_one_channel_a_place_gives_the_counts(self):
        channel_of_place = np.array([[0, 1, 1], [2, 1, 0]])
        gram = losses.gram_matrix(tf.constant(np.eye(3)[channel_of_place]))
        np.testing.assert_array_equal(gram, np.diag([2, 3, 1]))

    def test_equals_numpy(self):
        features = CONTENT["relu3_1"]
        gram = losses.gram_matrix(tf.constant(features))
        np.testing.assert_allclose(gram, numpy_gram(features), rtol=1e-12)

    def test_forgets_where_things_are(self):
        features = CONTENT["relu3_1"]
        places = features.reshape(-1, features.shape[-1])
        shuffled = np.random.default_rng(3).permutation(places).reshape(features.shape)
        np.testing.assert_allclose(
            losses.gram_matrix(tf.constant(shuffled)), numpy_gram(features), rtol=1e-12
        )


class TestGuidedGramMatrix:
    features = CONTENT["relu3_1"]
    mask = np.random.default_rng(8).uniform(0, 1, features.shape[:2])

    def test_equals_numpy(self):
        gram = losses.guided_gram_matrix(tf.constant(self.features), tf.constant(self.mask))
        expected = np.einsum("hw,hwa,hwb->ab", self.mask, self.features, self.features)
        np.testing.assert_allclose(gram, expected, rtol=1e-12)

    def test_of_places_inside_and_outside_it_counts_those_inside(self):
        mask = np.array([[0.0, 1.0, 1.0, 0.0, 1.0]] * 3)
        gram = losses.guided_gram_matrix(tf.constant(self.features), tf.constant(mask))
        inside = self.features[:, [1, 2, 4]]
        np.testing.assert_allclose(gram, numpy_gram(inside), rtol=1e-12)

    @pytest.mark.parametrize("dtype", [tf.bfloat16, tf.float32, tf.float64])
    def test_a_mask_of_ones_changes_no_bit(self, dtype):
        features = tf.cast(self.features, dtype)
        guided = losses.guided_gram_matrix(features, tf.ones(features.shape[:2]))
        plain = losses.gram_matrix(features)
        assert guided.dtype == plain.dtype
        np.testing.assert_array_equal(guided, plain)

    def test_a_mask_of_zeros_leaves_nothing(self):
        features = tf.constant(self.features)
        with tf.GradientTape() as tape:
            tape.watch(features)
            gram = losses.guided_gram_matrix(features, tf.zeros(features.shape[:2], tf.float64))
        np.testing.assert_array_equal(gram, np.zeros((4, 4)))
        np.testing.assert_array_equal(tape.gradient(gram, features), np.zeros(features.shape))

    def test_masks_that_share_out_the_picture_share_out_its_matrix(self):
        shares = np.random.default_rng(9).dirichlet(np.ones(3), self.features.shape[:2])
        parts = [
            losses.guided_gram_matrix(tf.constant(self.features), tf.constant(shares[..., index]))
            for index in range(3)
        ]
        np.testing.assert_allclose(sum(parts), numpy_gram(self.features), rtol=1e-12)

    def test_gradient_equals_finite_differences(self):
        by_gradient, by_differences = tf.test.compute_gradient(
            lambda features: losses.guided_gram_matrix(features, tf.constant(self.mask)),
            [tf.constant(self.features)],
            delta=1e-3,
        )
        np.testing.assert_allclose(by_gradient[0], by_differences[0], rtol=0, atol=1e-8)


def gradient_of_gram(features, upstream):
    with tf.GradientTape() as tape:
        tape.watch(features)
        gram = losses.gram_matrix(features)
    return tape.gradient(gram, features, upstream)


class TestGradientOfTheGramMatrix:
    features = CONTENT["relu3_1"]
    upstream = np.random.default_rng(4).normal(0, 1, (4, 4))  # not symmetric

    def test_equals_finite_differences(self):
        by_gradient, by_differences = tf.test.compute_gradient(
            losses.gram_matrix, [tf.constant(self.features)], delta=1e-3
        )
        # The matrix of all derivatives: each row is the gradient of one element of G, of which
        # those off the diagonal see the gradient from one side only.
        assert by_gradient[0].shape == (4 * 4, self.features.size)
        np.testing.assert_allclose(by_gradient[0], by_differences[0], rtol=0, atol=1e-8)

    def test_equals_numpy_where_the_upstream_is_not_symmetric(self):
        # Σ U[a, b] G[a, b] = Σ φ[p, a] U[a, b] φ[p, b], with φ[p, c] once in front, once behind.
        expected = np.zeros_like(self.features)
        for a in range(4):
            for b in range(4):
                expected[:, :, a] += self.upstream[a, b] * self.features[:, :, b]
                expected[:, :, b] += self.upstream[a, b] * self.features[:, :, a]
        gradient = gradient_of_gram(tf.constant(self.features), tf.constant(self.upstream))
        np.testing.assert_allclose(gradient, expected, rtol=0, atol=1e-13 * np.abs(expected).max())

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
            np.testing.assert_allclose(gradient, gradient_of_gram(*arguments), rtol=1e-9)


class TestCoarseFeatures:
    """Features in bfloat16: 8 bits, so that rounding changes a value by 2⁻⁸ of it at most."""

    features = tf.cast(np.random.default_rng(5).normal(1, 5, (20, 30, 8)), tf.bfloat16)
    upstream = tf.cast(np.random.default_rng(6).normal(0, 1, (8, 8)), tf.float32)

    def test_gram_matrix_is_that_of_the_features_as_float32(self):
        gram = losses.gram_matrix(self.features)
        assert gram.dtype == tf.float32
        np.testing.assert_array_equal(gram, losses.gram_matrix(tf.cast(self.features, tf.float32)))

    def test_gradient_is_within_half_a_per_cent(self):
        coarse = gradient_of_gram(self.features, self.upstream)
        assert coarse.dtype == tf.bfloat16
        exact = gradient_of_gram(tf.cast(self.features, tf.float32), self.upstream).numpy()
        error = tf.cast(coarse, tf.float32) - exact
        # dG + dGᵀ and the sum of 8 products are each rounded once.
        assert 0 < np.linalg.norm(error) < 0.005 * np.linalg.norm(exact)

    def test_values_of_terms_are_float32_or_wider(self):
        terms = losses.term_names(["conv4_2"], ["conv4_2"])
        for dtype, expected in (
            (tf.bfloat16, tf.float32),
            (tf.float16, tf.float32),
            (tf.float32, tf.float32),
            (tf.float64, tf.float64),
        ):
            features = tf.cast(CONTENT["conv4_2"], dtype)
            values = losses.term_values({"conv4_2": features}, terms)
            assert [value.dtype for value in values.values()] == [expected, expected]
            np.testing.assert_array_equal(values["content/conv4_2"], tf.cast(features, expected))


class TestDistancesAndEnergy:
    def test_squared_distance_by_hand(self):
        a, b = tf.constant([[1.0, 2.0], [3.0, 4.0]]), tf.constant([[1.0, 0.0], [6.0, 4.0]])
        assert float(losses.squared_distance(a, b)) == 4 + 9

    def test_energy_by_hand(self):
        assert float(losses.energy(tf.constant([[1.0, -2.0], [0.0, 3.0]]))) == 14
        assert float(losses.energy(tf.ones((3, 5, 4)))) == 60

    def test_distance_from_zero_is_the_energy(self):
        value = tf.constant(CONTENT["conv4_2"])
        distance = losses.squared_distance(value, tf.zeros_like(value))
        assert float(distance) == float(losses.energy(value))

    def test_terms_are_named_content_first_and_in_the_layers_order(self):
        assert losses.term_names(["conv4_2", "conv1_1"], ["conv2_2", "conv1_2"]) == (
            *("content/conv4_2", "content/conv1_1"),
            *("style/conv2_2", "style/conv1_2"),
        )
        assert losses.term_names((), {"conv1_2": 0.5}) == ("style/conv1_2",)

    def test_style_values_are_grams_and_content_values_are_features(self):
        targets = values_of(CONTENT, losses.term_names(["conv4_2"], ()))
        targets |= values_of(STYLE, losses.term_names((), ["conv4_2", "conv1_2"]))
        assert list(targets) == ["content/conv4_2", "style/conv4_2", "style/conv1_2"]
        np.testing.assert_array_equal(targets["content/conv4_2"], CONTENT["conv4_2"])
        for layer in ("conv4_2", "conv1_2"):
            np.testing.assert_allclose(
                targets[f"style/{layer}"], numpy_gram(STYLE[layer]), rtol=1e-12
            )

    def test_terms_of_several_styles_are_named_style_by_style(self):
        names = losses.term_names(["conv4_2"], ["conv1_2", "relu3_1"], ["a.b", "a.b#2"])
        assert names == (
            "content/conv4_2",
            *("style[a.b]/conv1_2", "style[a.b]/relu3_1"),
            *("style[a.b#2]/conv1_2", "style[a.b#2]/relu3_1"),
        )
        assert [losses.is_style(name) for name in names] == [False, True, True, True, True]
        assert [losses.layer_of(name) for name in names] == ["conv4_2", *["conv1_2", "relu3_1"] * 2]
        assert not losses.is_style(losses.TOTAL_VARIATION)

    def test_only_the_terms_that_have_a_mask_are_of_a_region(self):
        terms = losses.term_names(["conv4_2"], ["conv4_2", "conv1_2"], ["a", "b"])
        mask = np.random.default_rng(10).uniform(0, 1, SHAPES["conv4_2"][:2])
        values = losses.term_values(as_tensors(RESULT), terms, {"style[b]/conv4_2": mask})
        assert list(values) == list(terms)
        x = RESULT["conv4_2"]
        np.testing.assert_array_equal(values["content/conv4_2"], x)
        np.testing.assert_allclose(
            values["style[b]/conv4_2"], np.einsum("hw,hwa,hwb->ab", mask, x, x), rtol=1e-12
        )
        for term in ("style[a]/conv4_2", "style[a]/conv1_2", "style[b]/conv1_2"):
            expected = numpy_gram(RESULT[losses.layer_of(term)])
            np.testing.assert_allclose(values[term], expected, rtol=1e-12)

    def test_every_term_equals_numpy(self):
        distances, _ = parts("original", CONTENT, STYLE, RESULT)
        expected = {
            f"content/{j}": np.sum((CONTENT[j] - RESULT[j]) ** 2) for j in CONTENT_WEIGHTS
        } | {
            f"style/{j}": np.sum((numpy_gram(STYLE[j]) - numpy_gram(RESULT[j])) ** 2)
            for j in STYLE_WEIGHTS
        }
        assert list(distances) == list(expected)
        for term, value in expected.items():
            np.testing.assert_allclose(distances[term], value, rtol=1e-12)

    def test_total_variation_is_a_term_only_where_the_picture_is_given(self):
        targets = {"content/conv4_2": tf.constant(CONTENT["conv4_2"])}
        image = tf.constant(np.arange(12.0).reshape(2, 2, 3))
        values = values_of(RESULT, targets)
        without = losses.squared_distances(values, targets)
        with_image = losses.squared_distances(values, targets, image)
        assert list(without) == ["content/conv4_2"]
        assert list(with_image) == ["content/conv4_2", "total_variation"]
        assert float(with_image["total_variation"]) == 3 * (2 * 3**2 + 2 * 6**2)


class TestTotalVariation:
    def test_constant_picture_has_none(self):
        assert float(losses.total_variation(tf.fill((4, 5, 3), 7.0))) == 0

    def test_hand_made(self):
        grey = np.array([[0.0, 1.0], [3.0, 7.0]])
        image = tf.constant(np.stack([grey, 2 * grey, 0 * grey], axis=-1))
        assert float(losses.total_variation(image)) == (1 + 4**2 + 3**2 + 6**2) * (1 + 4 + 0)

    def test_chessboard_counts_the_neighbours(self):
        height, width = 4, 7
        chessboard = np.indices((height, width)).sum(axis=0) % 2
        image = tf.constant(chessboard[:, :, np.newaxis] * np.ones(3))
        neighbours = height * (width - 1) + (height - 1) * width
        assert float(losses.total_variation(image)) == 3 * neighbours

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
        np.testing.assert_allclose(losses.total_variation(tf.constant(image)), expected, rtol=1e-12)


class TestOriginalCoefficients:
    def test_hand_made(self):
        coefficients = losses.original_coefficients(
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
        coefficients = losses.original_coefficients(
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
        np.testing.assert_allclose(total("original", CONTENT, STYLE, RESULT), expected, rtol=1e-12)

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
        relative = losses.relative_weights({"conv1_2": 1.0, "conv2_2": 3.0, "conv3_4": 0})
        assert relative == {"conv1_2": 0.25, "conv2_2": 0.75, "conv3_4": 0}

    @unhurried
    @given(st.lists(positive | st.just(0), min_size=1, max_size=16).filter(any))
    def test_sum_is_one_and_ratios_stay(self, values):
        weights = {f"layer {index}": value for index, value in enumerate(values)}
        relative = losses.relative_weights(weights)
        assert list(relative) == list(weights)
        assert sum(relative.values()) == pytest.approx(1, abs=1e-14)
        total_weight = sum(values)
        for layer, value in weights.items():
            assert relative[layer] * total_weight == pytest.approx(value, rel=1e-13)

    @unhurried
    @given(st.lists(positive, min_size=1, max_size=16), st.integers(-20, 20))
    def test_only_ratios_matter(self, values, exponent):
        weights = dict(enumerate(values))
        scaled = {layer: value * 2.0**exponent for layer, value in weights.items()}
        assert losses.relative_weights(scaled) == losses.relative_weights(weights)


class TestNormalizedCoefficients:
    def test_hand_made(self):
        coefficients = losses.normalized_coefficients(
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
        coefficients = losses.normalized_coefficients(
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
        with pytest.raises(losses.ZeroEnergyError, match=r"layer a .* style picture y"):
            losses.normalized_coefficients(
                1.0, {"a": 1.0}, {"a": 1.0}, energies, 9, {"x": 1.0, "y": 1.0}
            )

    def test_style_weights_are_summed_over_the_style_layers(self):
        # The printed Eq. 14 sums them over C; here C and S have one layer in common.
        _, coefficients = parts("normalized", CONTENT, STYLE, RESULT)
        energies = {j: np.sum(numpy_gram(STYLE[j]) ** 2) for j in STYLE_WEIGHTS}
        shares = [coefficients[f"style/{j}"] * energies[j] / PIXELS for j in STYLE_WEIGHTS]
        assert sum(shares) == pytest.approx(1, rel=1e-12)

    def test_features_of_zero_cost_the_pixel_count(self):
        # Each distance is then its energy, and the relative weights sum to 1.
        nothing = {layer: np.zeros_like(value) for layer, value in RESULT.items()}
        expected = PIXELS * (LAMBDA_OS + 1)
        assert total("normalized", CONTENT, STYLE, nothing) == pytest.approx(expected, rel=1e-12)

    def test_sum_equals_numpy(self):
        expected = numpy_normalized(
            CONTENT, STYLE, RESULT, LAMBDA_OS, CONTENT_WEIGHTS, STYLE_WEIGHTS, PIXELS
        )
        np.testing.assert_allclose(
            total("normalized", CONTENT, STYLE, RESULT), expected, rtol=1e-12
        )

    @pytest.mark.parametrize("layer", STYLE_WEIGHTS)
    def test_doubling_a_style_weight_changes_only_the_ratios(self, layer):
        doubled = STYLE_WEIGHTS | {layer: 2 * STYLE_WEIGHTS[layer]}
        before = parts("normalized", CONTENT, STYLE, RESULT)[1]
        after = parts("normalized", CONTENT, STYLE, RESULT, style_weights=doubled)[1]
        old_sum, new_sum = sum(STYLE_WEIGHTS.values()), sum(doubled.values())
        for term in before:
            factor = 1 if term.startswith("content/") else old_sum / new_sum
            factor *= 2 if term == f"style/{layer}" else 1
            assert after[term] == pytest.approx(before[term] * factor, rel=1e-12)

    def test_doubling_all_style_weights_changes_nothing(self):
        doubled = {layer: 2 * weight for layer, weight in STYLE_WEIGHTS.items()}
        assert (
            parts("normalized", CONTENT, STYLE, RESULT, style_weights=doubled)[1]
            == parts("normalized", CONTENT, STYLE, RESULT)[1]
        )

    def test_the_pixel_count_scales_everything(self):
        energies = {"content/conv4_2": 3.0, "style/conv4_2": 5.0}
        one, four = (
            losses.normalized_coefficients(0.1, {"conv4_2": 1}, {"conv4_2": 1}, energies, pixels)
            for pixels in (100, 400)
        )
        assert four == {term: 4 * value for term, value in one.items()}

    @pytest.mark.parametrize("kind", ["content", "style"])
    def test_zero_energy_names_layer_and_picture(self, kind):
        pictures = {"content": CONTENT, "style": STYLE}
        zeros = np.zeros_like(pictures[kind]["conv4_2"])
        pictures[kind] = pictures[kind] | {"conv4_2": zeros}
        with pytest.raises(losses.ZeroEnergyError, match=rf"\bconv4_2\b.*\b{kind} picture"):
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


@unhurried
@given(st.lists(st.floats(1e-3, 1e3), min_size=len(SHAPES), max_size=len(SHAPES)))
def test_normalized_loss_does_not_see_the_scale_of_a_layer(values):
    factors = dict(zip(SHAPES, values, strict=True))
    pictures = [scaled(features, factors) for features in (CONTENT, STYLE, RESULT)]
    assert total("normalized", *pictures) == pytest.approx(
        total("normalized", CONTENT, STYLE, RESULT), rel=1e-9
    )


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
        np.testing.assert_allclose(distances[term], factor * unscaled[term], rtol=1e-12)


class TestWeightedSum:
    def test_hand_made(self):
        distances = {"content/a": tf.constant(3.0), "style/b": tf.constant(5.0)}
        assert float(losses.weighted_sum(distances, {"content/a": 2.0, "style/b": 0.5})) == 8.5

    def test_sums_the_terms_that_have_a_coefficient(self):
        distances = {"content/a": tf.constant(3.0), "total_variation": tf.constant(5.0)}
        assert float(losses.weighted_sum(distances, {"content/a": 2.0})) == 6
