"""Colours: luminance and chroma against the matrix of BT.601, matching against NumPy's moments."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gatys_norm import colors

# Y, Cb and Cr of R, G and B; Cb = (B − Y) / 1.772 and Cr = (R − Y) / 1.402.
BT601 = np.array(
    [
        [0.299, 0.587, 0.114],
        [-0.299 / 1.772, -0.587 / 1.772, 0.886 / 1.772],
        [0.701 / 1.402, -0.587 / 1.402, -0.114 / 1.402],
    ]
)
ROUNDING = 1e-3  # of float32 at a few hundred grey levels, after some sums


def noise(seed, height=21, width=17):
    """A picture whose channels differ in mean and spread and vary together, float32."""
    generator = np.random.default_rng(seed)
    mixed = generator.normal(0, 1, (height, width, 3)) @ generator.uniform(-25, 25, (3, 3))
    return (generator.uniform(90, 160, 3) + mixed).astype(np.float32)


def flat(*color, height=9, width=8):
    return np.tile(np.array(color, np.float32), (height, width, 1))


def greys(seed):
    return np.repeat(noise(seed)[..., :1], 3, axis=2)


def chroma_and_luminance(picture):
    """Y, Cb and Cr, H × W × 3, float64."""
    return picture.astype(np.float64) @ BT601.T


def moments(picture):
    """Mean and covariance of the colours, each element by itself, float64."""
    values = picture.astype(np.float64).reshape(-1, 3)
    mean = values.sum(axis=0) / len(values)
    spread = values - mean
    covariance = [
        [(spread[:, a] * spread[:, b]).sum() / len(values) for b in range(3)] for a in range(3)
    ]
    return mean, np.array(covariance)


# --- luminance --------------------------------------------------------------------------------


def test_luminance_is_the_first_row_of_the_matrix():
    picture = noise(1)
    luminance = colors.luminance(picture)
    assert (luminance.shape, luminance.dtype) == (picture.shape[:2], np.float32)
    np.testing.assert_allclose(luminance, chroma_and_luminance(picture)[..., 0], atol=ROUNDING)


@pytest.mark.parametrize("level", [0, 1, 127.5, 255])
def test_luminance_of_a_grey_is_that_grey(level):
    luminance = colors.luminance(flat(level, level, level))
    np.testing.assert_allclose(luminance, level, rtol=1e-6)


@pytest.mark.parametrize(
    ("color", "expected"), [*zip(255 * np.eye(3), 255 * BT601[0], strict=True)]
)
def test_luminance_of_the_primaries(color, expected):
    np.testing.assert_allclose(colors.luminance(flat(*color)), expected, rtol=1e-6)


def test_a_grey_picture_has_its_luminance_in_every_channel():
    luminance = colors.luminance(noise(2))
    picture = colors.grey(luminance)
    assert picture.shape == (*luminance.shape, 3)
    for channel in range(3):
        np.testing.assert_array_equal(picture[..., channel], luminance)


def test_new_luminance_leaves_the_chroma_of_every_pixel():
    content, picture = noise(3), noise(4)
    result = colors.with_luminance_of(picture, content)
    wanted = chroma_and_luminance(content)
    wanted[..., 0] = chroma_and_luminance(picture)[..., 0]
    np.testing.assert_allclose(chroma_and_luminance(result), wanted, atol=ROUNDING)
    assert np.abs(wanted[..., 1:]).max() > 10  # there is chroma to be kept
    assert result.dtype == np.float32


def test_its_own_luminance_changes_no_bit():
    content = noise(5)
    np.testing.assert_array_equal(colors.with_luminance_of(content, content), content)


def test_matched_luminance_has_the_contents_mean_and_deviation():
    style, content = noise(6), noise(7, height=30)
    own, wanted = (chroma_and_luminance(picture)[..., 0] for picture in (style, content))
    matched = colors.match_luminance(style, content)
    assert matched.dtype == np.float32
    assert abs(own.mean() - wanted.mean()) > 1
    assert matched.astype(np.float64).mean() == pytest.approx(wanted.mean(), rel=1e-6)
    assert matched.astype(np.float64).std() == pytest.approx(wanted.std(), rel=1e-5)
    # It is a line through the luminances: brighter stays brighter.
    line = wanted.mean() + wanted.std() / own.std() * (own - own.mean())
    np.testing.assert_allclose(matched, line, atol=ROUNDING)


def test_a_style_of_one_luminance_becomes_the_contents_mean():
    content = noise(8)
    for style in (flat(10, 200, 30), flat(0, 0, 0), flat(255, 255, 255)):
        matched = colors.match_luminance(style, content)
        mean = chroma_and_luminance(content)[..., 0].mean()
        np.testing.assert_allclose(matched, mean, rtol=1e-6)


def test_a_content_of_one_luminance_flattens_the_style():
    matched = colors.match_luminance(noise(9), flat(50, 50, 50))
    np.testing.assert_allclose(matched, 50, atol=ROUNDING)


# --- matched colours --------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(4))
def test_a_matched_picture_has_the_contents_mean_and_covariance(seed):
    style, content = noise(seed), noise(seed + 100, height=33)
    mean, covariance = moments(content)
    own_mean, own_covariance = moments(style)
    assert np.abs(own_mean - mean).max() > 1
    assert np.abs(own_covariance - covariance).max() > 10
    matched = colors.match_colors(style, content)
    assert (matched.shape, matched.dtype) == (style.shape, np.float32)
    got_mean, got_covariance = moments(matched)
    np.testing.assert_allclose(got_mean, mean, rtol=1e-6)
    np.testing.assert_allclose(got_covariance, covariance, atol=1e-6 * np.abs(covariance).max())


def test_the_map_is_the_product_of_the_two_square_roots():
    style, content = noise(11), noise(12)
    (own_mean, own), (mean, wanted) = moments(style), moments(content)

    def power(matrix, exponent):
        values, vectors = np.linalg.eigh(matrix)
        return vectors @ np.diag(values**exponent) @ vectors.T

    matrix = power(wanted, 0.5) @ power(own, -0.5)
    expected = (style.astype(np.float64) - own_mean) @ matrix.T + mean
    np.testing.assert_allclose(colors.match_colors(style, content), expected, atol=ROUNDING)


def test_equal_moments_leave_a_picture_as_it_is():
    style = noise(13)
    turned = style[::-1, ::-1]  # the same colours elsewhere
    np.testing.assert_allclose(colors.match_colors(style, turned), style, atol=ROUNDING)


@pytest.mark.parametrize("content", [noise(14), flat(200, 10, 90)], ids=["noise", "flat"])
@pytest.mark.parametrize("color", [(10, 200, 30), (0, 0, 0), (255, 255, 255)])
def test_a_style_of_one_colour_becomes_the_contents_mean(color, content):
    matched = colors.match_colors(flat(*color), content)
    mean, _ = moments(content)
    np.testing.assert_allclose(matched, np.broadcast_to(mean, matched.shape), rtol=1e-6)


def test_a_content_of_one_colour_makes_the_style_that_colour():
    matched = colors.match_colors(noise(15), flat(200, 10, 90))
    np.testing.assert_allclose(matched, np.broadcast_to([200, 10, 90], matched.shape), atol=0.01)


def test_a_grey_style_varies_along_one_line_only():
    content = noise(16)
    matched = colors.match_colors(greys(17), content)
    mean, covariance = moments(matched)
    np.testing.assert_allclose(mean, moments(content)[0], rtol=1e-5)
    variances = np.linalg.eigvalsh(covariance)
    assert variances[-1] > 10
    np.testing.assert_allclose(variances[:-1], 0, atol=1e-4)


def test_a_grey_content_makes_the_style_grey():
    matched = colors.match_colors(noise(18), greys(19))
    np.testing.assert_allclose(matched, matched[..., :1].repeat(3, axis=2), atol=0.01)
    assert matched.std() > 5


def test_rounding_alone_is_not_taken_for_variation():
    """A style of one colour but for the last bits would otherwise become loud noise."""
    generator = np.random.default_rng(20)
    style = flat(120, 80, 200) + generator.uniform(-1e-4, 1e-4, (9, 8, 3)).astype(np.float32)
    content = noise(21)
    matched = colors.match_colors(style, content)
    assert np.abs(matched - moments(content)[0]).max() < 0.1
    mean = chroma_and_luminance(content)[..., 0].mean()
    assert np.abs(colors.match_luminance(style, content) - mean).max() < 0.1


PICTURES = st.tuples(
    st.sampled_from([noise, greys, lambda seed: flat(seed % 256, seed % 7, seed % 90)]),
    st.integers(0, 999),
    st.sampled_from([1.0, 1e-3, 0.0]),
)


@settings(deadline=None)
@given(PICTURES, PICTURES)
def test_whatever_the_pictures_the_result_is_finite_and_of_their_order(style, content):
    style, content = (make(seed) * np.float32(factor) for make, seed, factor in (style, content))
    for matched in (
        colors.match_colors(style, content),
        colors.grey(colors.match_luminance(style, content)),
    ):
        assert np.isfinite(matched).all()
        # No colour is further from the mean than the content's spread, times what √pixels allow.
        limit = np.abs(content).max() * (1 + np.sqrt(style[..., 0].size))
        assert np.abs(matched).max() <= limit + 1
