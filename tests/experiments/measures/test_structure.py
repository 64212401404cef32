"""SSIM and gradient correlation where they are known."""

import numpy as np
import pytest
from helpers.altered import blurred, shuffled

from gatys_norm.experiments.measures import structure


@pytest.fixture(scope="module")
def picture():
    """Return stripes of a few sizes and directions, and a little noise."""
    rows, columns = np.indices((48, 64))
    waves = 128 + 60 * np.sin(columns / 3) + 40 * np.sin((rows + columns) / 7)
    noise = np.random.default_rng(0).normal(0, 5, (48, 64, 3))
    return (waves[..., np.newaxis] + noise).astype(np.float32)


MEASURES = (structure.structural_similarity, structure.gradient_correlation)


@pytest.mark.parametrize("measure", MEASURES)
def test_a_picture_is_itself(measure, picture):
    assert measure(picture, picture) == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize("measure", MEASURES)
def test_it_falls_from_the_picture_to_a_blurred_and_then_to_a_shuffled_one(measure, picture):
    values = [measure(other, picture) for other in (blurred(picture, 2), shuffled(picture, 8))]
    assert 1 > values[0] > values[1] + 0.1
    assert abs(values[1]) < 0.35


@pytest.mark.parametrize("measure", MEASURES)
def test_chroma_does_not_count(measure, picture):
    """Red up and blue down, so that 0.299 R + 0.587 G + 0.114 B stays."""
    colored = picture + np.float32([11.4, 0, -29.9])
    assert measure(colored, picture) == pytest.approx(1, abs=1e-4)


def test_gradients_have_a_sign_and_no_offset_or_scale(picture):
    assert structure.gradient_correlation(255 - picture, picture) == pytest.approx(-1)
    assert structure.gradient_correlation(20 + picture / 2, picture) == pytest.approx(1)


def test_gradient_correlation_is_undefined_without_gradients(picture):
    assert structure.gradient_correlation(np.full_like(picture, 7), picture) is None


def test_similarity_of_constants_is_the_formula_of_their_means():
    """(2 μ μ' + c) / (μ² + μ'² + c) with c = (0.01 · 255)²; the variances are 0."""
    one, two = (np.full((16, 16, 3), level, np.float32) for level in (50, 100))
    constant = 2.55**2
    expected = (2 * 50 * 100 + constant) / (50**2 + 100**2 + constant)
    assert structure.structural_similarity(one, two) == pytest.approx(expected, rel=1e-3)
