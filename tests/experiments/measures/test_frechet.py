"""The Fréchet distance, against its formula and where it is known."""

import numpy as np
import pytest
import scipy.linalg

from gatys_norm.experiments.measures import frechet


def features(positions, seed, channels=5):
    generator = np.random.default_rng(seed)
    mixing = generator.normal(size=(channels, channels))
    return generator.normal(generator.normal(), 1, (positions, channels)) @ mixing


def distance(values, others):
    return frechet.distance(frechet.fitted(values), frechet.fitted(others))


@pytest.mark.parametrize("positions", [3, 5, 200])
def test_it_is_the_formula_for_few_and_for_many_positions(positions):
    values, others = features(positions, 0), features(150, 1)
    means = [array.mean(axis=0) for array in (values, others)]
    sigma, other_sigma = (np.cov(array, rowvar=False, bias=True) for array in (values, others))
    root = scipy.linalg.sqrtm(sigma @ other_sigma + 1e-12 * np.eye(5)).real
    squared = np.sum((means[0] - means[1]) ** 2) + np.trace(sigma + other_sigma - 2 * root)
    assert distance(values, others) == pytest.approx(np.sqrt(squared), rel=1e-4)


def test_where_features_lie_does_not_matter():
    values = features(48, 0)
    assert distance(values.reshape(6, 8, 5), np.random.default_rng(2).permutation(values)) == 0


def test_features_moved_by_a_vector_are_as_far_as_it_is_long():
    values = features(48, 0)
    assert distance(values + np.array([3, 4, 0, 0, 0]), values) == pytest.approx(5)


def test_features_scaled_about_their_mean_move_by_the_share_of_their_spread():
    values = features(48, 0)
    mean, spread = values.mean(axis=0), np.sqrt(values.var(axis=0).sum())
    assert distance(mean + 3 * (values - mean), values) == pytest.approx(2 * spread)


def test_it_is_symmetric_and_obeys_the_triangle_inequality():
    first, second, third = (features(48, seed) for seed in range(3))
    assert distance(first, second) == pytest.approx(distance(second, first))
    assert distance(first, third) <= distance(first, second) + distance(second, third)
