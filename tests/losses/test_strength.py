"""The strength, against sums over all pairs of positions in NumPy."""

import math

import numpy as np
import pytest
import tensorflow as tf

from gatys_norm.losses import strength

pytestmark = pytest.mark.numeric

GENERATOR = np.random.default_rng(0)
CONTENT = GENERATOR.normal(1, 3, (4, 6, 5))
STYLES = GENERATOR.normal(2, 4, (3, 8, 5)), GENERATOR.normal(-1, 2, (5, 5, 5))
REGIONS = GENERATOR.uniform(0.1, 1, (2, 4, 6)).astype(np.float32)
STYLE_MASKS = tuple(GENERATOR.uniform(0, 1, style.shape[:2]).astype(np.float32) for style in STYLES)


def mean_distance(position, style, mask=None):
    """Return the mean of ‖φ(o)_i − φ(s)_k‖² over the positions k of a style."""
    weights = np.ones(style.shape[:2]) if mask is None else mask
    distances = np.sum((style - position) ** 2, axis=-1)
    return np.sum(weights * distances) / np.sum(weights)


@pytest.mark.parametrize("masks", [(None, None), STYLE_MASKS], ids=["all", "in regions"])
def test_unrelated_distance_is_the_mean_over_all_pairs_of_positions(masks):
    moments = [
        strength.moments(tf.constant(style), mask)
        for style, mask in zip(STYLES, masks, strict=True)
    ]
    shares = strength.shares_of_styles((0.3, 0.9), REGIONS, 4, 6)
    wanted = sum(
        shares[index, row, column] * mean_distance(CONTENT[row, column], style, masks[index])
        for index, style in enumerate(STYLES)
        for row in range(4)
        for column in range(6)
    )
    distance = strength.unrelated_distance(tf.constant(CONTENT), moments, shares)
    assert distance == pytest.approx(wanted, rel=1e-6)


def test_shares_follow_the_blend_without_masks():
    shares = strength.shares_of_styles((1.0, 3.0), (), 4, 6)
    np.testing.assert_allclose(shares[0], np.full((4, 6), 0.25))
    np.testing.assert_allclose(shares[1], np.full((4, 6), 0.75))


def test_shares_of_a_position_sum_to_one_inside_and_to_zero_outside():
    left, right = np.zeros((2, 4, 6), np.float32)
    left[:, :3], right[:, 2:5] = 0.5, 1
    shares = strength.shares_of_styles((1.0, 1.0), (left, right), 4, 6)
    np.testing.assert_allclose(shares.sum(axis=0)[:, :5], 1, rtol=1e-6)
    assert not shares[:, :, 5].any()
    np.testing.assert_allclose(shares[0, :, 2], 1 / 3, rtol=1e-6)


def test_a_mask_that_is_black_at_a_layer_gives_zeros():
    moments = strength.moments(tf.constant(CONTENT), np.zeros((8, 12), np.float32))
    assert not moments.mean.numpy().any()
    assert moments.energy == 0


TERMS = ("content/conv4_2", "content/conv5_2")


@pytest.mark.parametrize(
    ("distances", "unrelated", "weights", "wanted"),
    [
        ((0.0, 0.0), (2.0, 3.0), (1.0, 1.0), 0.0),
        ((2.0, 3.0), (2.0, 3.0), (1.0, 5.0), 1 / strength.STYLE_ALONE),
        ((0.5, 3.0), (2.0, 3.0), (3.0, 1.0), math.sqrt(0.25 * 0.75 + 0.25) / strength.STYLE_ALONE),
        ((0.5, 3.0), (2.0, 0.0), (3.0, 0.0), 0.5 / strength.STYLE_ALONE),
    ],
    ids=["content", "unrelated", "weighted", "without weight"],
)
def test_strength_is_the_root_of_the_weighted_ratio(distances, unrelated, weights, wanted):
    values = (dict(zip(TERMS, numbers, strict=True)) for numbers in (distances, unrelated, weights))
    assert strength.strength(*values) == pytest.approx(wanted)


def test_strength_is_undefined_if_content_and_style_have_the_same_features():
    values = ({TERMS[0]: number} for number in (0.0, 0.0, 1.0))
    assert math.isnan(strength.strength(*values))
