"""Colors: luminance and chroma against the matrix of BT.601, matching against NumPy's moments."""

import numpy as np
import pytest
from helpers.rounding import gamma, unit
from hypothesis import given
from hypothesis import strategies as st

from gatys_norm.images import color as colors

# Y, Cb and Cr of R, G and B; Cb = (B − Y) / 1.772 and Cr = (R − Y) / 1.402.
BT601 = np.array(
    [
        [0.299, 0.587, 0.114],
        [-0.299 / 1.772, -0.587 / 1.772, 0.886 / 1.772],
        [0.701 / 1.402, -0.587 / 1.402, -0.114 / 1.402],
    ]
)
MATRICES = 50  # roundings, at the most, of a number in products and roots of 3 × 3 matrices


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
    """Mean and covariance of the colors, each element by itself, float64."""
    values = picture.astype(np.float64).reshape(-1, 3)
    mean = values.sum(axis=0) / len(values)
    spread = values - mean
    covariance = [
        [(spread[:, a] * spread[:, b]).sum() / len(values) for b in range(3)] for a in range(3)
    ]
    return mean, np.array(covariance)


def luminance_error(picture):
    """The most by which float32 changes each luminance: 3 weights, their products, 2 additions."""
    return gamma(1 + 1 + 2, "float32") * (np.abs(picture.astype(np.float64)) @ BT601[0])


def storing_error(values):
    """The most by which float32 changes values worked out in float64 otherwise."""
    return unit("float32") * np.abs(values).max()


def map_error(style, content):
    """The most by which float64 changes a matched color.

    The map is made of roots and the inverse of the style's covariance, whose condition enlarges
    their rounding, and it is applied to colors whose mean is a sum over all pixels.
    """
    (_, own), (mean, wanted) = moments(style), moments(content)
    largest = np.sqrt(np.trace(wanted) * style[..., 0].size) + np.abs(mean).max()
    roundings = MATRICES + style[..., 0].size + content[..., 0].size
    return gamma(roundings) * np.linalg.cond(own) * largest


def lost_variation(content, pixels):
    """The most by which a content without variation in some direction moves a style in that.

    Rounding leaves it a variance of some units of the largest, of which the root is taken; no
    whitened color is longer than √pixels.
    """
    mean, covariance = moments(content)
    roundings = MATRICES + content[..., 0].size
    variance = gamma(roundings) * np.trace(covariance) + 3 * (gamma(roundings) * mean.max()) ** 2
    return np.sqrt(variance * pixels)


# --- luminance --------------------------------------------------------------------------------


def test_luminance_is_the_first_row_of_the_matrix():
    picture = noise(1)
    luminance = colors.luminance(picture)
    assert (luminance.shape, luminance.dtype) == (picture.shape[:2], np.float32)
    expected = chroma_and_luminance(picture)[..., 0]
    assert np.all(np.abs(luminance - expected) <= luminance_error(picture))


@pytest.mark.parametrize("level", [0, 1, 127.5, 255])
def test_luminance_of_a_grey_is_that_grey(level):
    luminance = colors.luminance(flat(level, level, level))
    np.testing.assert_allclose(luminance, level, rtol=gamma(4, "float32"))


@pytest.mark.parametrize(
    ("color", "expected"), [*zip(255 * np.eye(3), 255 * BT601[0], strict=True)]
)
def test_luminance_of_the_primaries(color, expected):
    luminance = colors.luminance(flat(*color))
    np.testing.assert_allclose(luminance, expected, rtol=gamma(4, "float32"))


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
    # Two luminances, their difference, and its sum with the content, in all three channels alike.
    error = luminance_error(picture).max() + luminance_error(content).max()
    error += unit("float32") * np.abs(wanted[..., 0]).max() * 2 + storing_error(result)
    error *= np.abs(BT601).sum(axis=1).max()
    assert error < 1e-3 * np.abs(wanted).max()
    np.testing.assert_allclose(chroma_and_luminance(result), wanted, rtol=0, atol=error)
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
    # Mean and deviation move by no more than what they are taken of: luminances, then storing.
    of_own, of_wanted = (luminance_error(picture).max() for picture in (style, content))
    error = of_wanted + storing_error(matched)
    assert error < 1e-4 * wanted.std()
    assert matched.astype(np.float64).mean() == pytest.approx(wanted.mean(), rel=0, abs=error)
    assert matched.astype(np.float64).std() == pytest.approx(wanted.std(), rel=0, abs=error)
    # It is a line through the luminances: brighter stays brighter.
    line = wanted.mean() + wanted.std() / own.std() * (own - own.mean())
    steepness = wanted.std() / own.std()
    of_steepness = of_wanted / wanted.std() + of_own / own.std()
    error += steepness * (2 * of_own + np.abs(own - own.mean()).max() * of_steepness)
    np.testing.assert_allclose(matched, line, rtol=0, atol=error)


def test_a_style_of_one_luminance_becomes_the_contents_mean():
    content = noise(8)
    for style in (flat(10, 200, 30), flat(0, 0, 0), flat(255, 255, 255)):
        matched = colors.match_luminance(style, content)
        mean = chroma_and_luminance(content)[..., 0].mean()
        error = luminance_error(content).max() + storing_error(mean)
        np.testing.assert_allclose(matched, mean, rtol=0, atol=error)


def test_a_content_of_one_luminance_flattens_the_style():
    style, content = noise(9), flat(50, 50, 50)
    matched = colors.match_luminance(style, content)
    error = luminance_error(content).max() + storing_error(50)
    # Equal luminances have a deviation of their mean's rounding; no value lies √pixels out.
    error += gamma(content[..., 0].size) * 50 * np.sqrt(style[..., 0].size)
    np.testing.assert_allclose(matched, 50, rtol=0, atol=error)


# --- matched colors --------------------------------------------------------------------------


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
    error = storing_error(matched) + map_error(style, content)
    np.testing.assert_allclose(got_mean, mean, rtol=0, atol=error)
    # Of a product of two spreads, each is wrong by that.
    error *= 2 * np.sqrt(np.trace(covariance)) + error
    assert error < 1e-5 * np.abs(covariance).max()
    np.testing.assert_allclose(got_covariance, covariance, rtol=0, atol=error)


def test_the_map_is_the_product_of_the_two_square_roots():
    style, content = noise(11), noise(12)
    (own_mean, own), (mean, wanted) = moments(style), moments(content)

    def power(matrix, exponent):
        values, vectors = np.linalg.eigh(matrix)
        return vectors @ np.diag(values**exponent) @ vectors.T

    matrix = power(wanted, 0.5) @ power(own, -0.5)
    expected = (style.astype(np.float64) - own_mean) @ matrix.T + mean
    error = storing_error(expected) + 2 * map_error(style, content)
    assert error < 1e-3
    np.testing.assert_allclose(colors.match_colors(style, content), expected, rtol=0, atol=error)


def test_equal_moments_leave_a_picture_as_it_is():
    style = noise(13)
    turned = style[::-1, ::-1]  # the same colors elsewhere
    error = storing_error(style) + map_error(style, turned)
    np.testing.assert_allclose(colors.match_colors(style, turned), style, rtol=0, atol=error)


@pytest.mark.parametrize("content", [noise(14), flat(200, 10, 90)], ids=["noise", "flat"])
@pytest.mark.parametrize("color", [(10, 200, 30), (0, 0, 0), (255, 255, 255)])
def test_a_style_of_one_color_becomes_the_contents_mean(color, content):
    matched = colors.match_colors(flat(*color), content)
    mean, _ = moments(content)
    error = storing_error(mean) + gamma(content[..., 0].size) * np.abs(content).max()
    np.testing.assert_allclose(matched, np.broadcast_to(mean, matched.shape), rtol=0, atol=error)


def test_a_content_of_one_color_makes_the_style_that_color():
    style, content = noise(15), flat(200, 10, 90)
    matched = colors.match_colors(style, content)
    error = storing_error(content) + lost_variation(content, style[..., 0].size)
    assert error < 1e-3
    expected = np.broadcast_to([200, 10, 90], matched.shape)
    np.testing.assert_allclose(matched, expected, rtol=0, atol=error)


def test_a_grey_style_varies_along_one_line_only():
    content = noise(16)
    matched = colors.match_colors(greys(17), content)
    mean, covariance = moments(matched)
    stored = storing_error(matched)
    error = stored + gamma(MATRICES + content[..., 0].size) * np.abs(matched).max()
    np.testing.assert_allclose(mean, moments(content)[0], rtol=0, atol=error)
    variances = np.linalg.eigvalsh(covariance)
    assert variances[-1] > 10
    # Off the line lies what storing three channels moved, and of the line its rounding.
    error = 3 * stored**2 + gamma(MATRICES + matched[..., 0].size) * variances[-1]
    np.testing.assert_allclose(variances[:-1], 0, rtol=0, atol=error)


def test_a_grey_content_makes_the_style_grey():
    style, content = noise(18), greys(19)
    matched = colors.match_colors(style, content)
    error = 2 * (storing_error(matched) + lost_variation(content, style[..., 0].size))
    assert error < 0.01
    np.testing.assert_allclose(matched, matched[..., :1].repeat(3, axis=2), rtol=0, atol=error)
    assert matched.std() > 5


def test_rounding_alone_is_not_taken_for_variation():
    """A style of one color but for the last bits would otherwise become loud noise."""
    generator = np.random.default_rng(20)
    style = flat(120, 80, 200) + generator.uniform(-1e-4, 1e-4, (9, 8, 3)).astype(np.float32)
    content = noise(21)
    matched = colors.match_colors(style, content)
    # It becomes the content's mean, stored.
    mean = moments(content)[0]
    error = storing_error(mean) + gamma(content[..., 0].size) * np.abs(content).max()
    assert np.abs(matched - mean).max() <= error
    mean = chroma_and_luminance(content)[..., 0].mean()
    error = luminance_error(content).max() + storing_error(mean)
    assert np.abs(colors.match_luminance(style, content) - mean).max() <= error


PICTURES = st.tuples(
    st.sampled_from([noise, greys, lambda seed: flat(seed % 256, seed % 7, seed % 90)]),
    st.integers(0, 999),
    st.sampled_from([1.0, 1e-3, 0.0]),
)


@given(PICTURES, PICTURES)
def test_whatever_the_pictures_the_result_is_finite_and_of_their_order(style, content):
    style, content = (make(seed) * np.float32(factor) for make, seed, factor in (style, content))
    for matched in (
        colors.match_colors(style, content),
        colors.grey(colors.match_luminance(style, content)),
    ):
        assert np.isfinite(matched).all()
        # No color is further from the mean than the content's spread, times what √pixels allow.
        limit = np.abs(content).max() * (1 + np.sqrt(style[..., 0].size))
        lost = lost_variation(content, style[..., 0].size)
        assert np.abs(matched).max() <= limit * (1 + gamma(9, "float32")) + lost
