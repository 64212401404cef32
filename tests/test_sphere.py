"""The charts of a panorama's sphere, against geometry and against pictures drawn by direction."""

import math

import numpy as np
import pytest

from gatys_norm import sphere

WIDTHS = [64, 128, 320]
all_widths = pytest.mark.parametrize("width", WIDTHS)
WAVES = np.random.default_rng(0).normal(0, 1.5, (6, 3))


def directions(latitude, longitude):
    """Return unit vectors, … × 3; the third is north."""
    flat = np.cos(latitude)
    return np.stack(
        [flat * np.cos(longitude), flat * np.sin(longitude), np.sin(latitude) + 0 * longitude], -1
    )


def scene(latitude, longitude):
    """Return a smooth brightness of each direction, about 0 to 1."""
    return 0.5 + np.sin(directions(latitude, longitude) @ WAVES.T).sum(-1) / 12


def panorama(width):
    """Return the scene, H × W."""
    height = width // 2
    latitude = math.pi * (0.5 - (np.arange(height) + 0.5) / height)
    return scene(latitude[:, np.newaxis], 2 * math.pi * (np.arange(width) + 0.5) / width)


def read(width, picture):
    """Return the first quarter of the atlas of a picture, H × W."""
    pixel, source, weight = sphere.taps(width)
    height, around = sphere.atlas_shape(width)
    values = np.bincount(pixel, weight * picture.ravel()[source])
    return values.reshape(height, around // 4)


@pytest.mark.parametrize(
    ("width", "rounded"), [(1, 64), (64, 64), (95, 64), (97, 128), (1024, 1024), (1050, 1024)]
)
def test_panoramas_are_twice_as_wide_as_high_and_divide_into_quarters(width, rounded):
    assert sphere.picture_shape(width) == (rounded // 2, rounded)


@pytest.mark.parametrize("width", [64, 128, 1024, 4096])
def test_an_atlas_has_whole_positions_of_the_last_maps_in_each_quarter(width):
    height, around = sphere.atlas_shape(width)
    assert height % 16 == 0
    assert around % 64 == 0
    assert around == sphere.circumference(width)
    assert width == 64 or 0.8 <= around / width <= 1


@pytest.mark.parametrize("width", [1024, 2048, 4096])
def test_an_atlas_has_at_most_1_5_times_the_pixels_of_six_faces(width):
    assert math.prod(sphere.atlas_shape(width)) <= 1.5 * 6 * (width / 4) ** 2


@all_widths
def test_charts_enlarge_as_much_as_they_say_and_alike_in_all_directions(width):
    charts = sphere.charts(width)
    pixel = 2 * math.pi / sphere.circumference(width)
    places = directions(charts.latitude, charts.longitude)
    for axis in (0, 1):
        steps = np.linalg.norm(np.diff(places, axis=axis), axis=-1)
        means = (np.delete(charts.scale, -1, axis) + np.delete(charts.scale, 0, axis)) / 2
        # Not from one chart to the next one, whose margins show different places.
        is_inside = np.delete(charts.coverage, -1, axis) * np.delete(charts.coverage, 0, axis) == 1
        assert is_inside.any()
        # A chord is shorter than its arc by a share of pixel² / 24; the mean of the scales at the
        # ends of a step is that in its middle but for (pixel² / 8) · scale'' / scale ≤ pixel² / 4.
        np.testing.assert_allclose((steps * means / pixel)[is_inside], 1, atol=pixel**2 / 2)


@all_widths
def test_charts_have_north_above_and_east_to_the_right(width):
    charts = sphere.charts(width)
    is_exact = charts.coverage == 1
    middle = charts.latitude.shape[1] // 2
    column = charts.latitude[:, middle][is_exact[:, middle]]
    assert (np.diff(column) < 0).all()
    both = is_exact[:, 1:] & is_exact[:, :-1]
    assert (np.diff(charts.longitude, axis=1)[both] > 0).all()
    assert charts.longitude[is_exact].min() > 0
    assert charts.longitude[is_exact].max() < math.pi / 2


@all_widths
def test_charts_enlarge_by_1_to_5_4_and_alike_where_they_meet(width):
    charts = sphere.charts(width)
    exact = charts.scale[charts.coverage == 1]
    assert 1 <= exact.min() < exact.max() <= 1.25
    middle = charts.scale.shape[1] // 2
    coverage, scale = charts.coverage[:, middle], charts.scale[:, middle]
    ends = np.flatnonzero(
        np.diff(coverage == 0)
    )  # of the sectors and the band, from north to south
    assert len(ends) == 6
    # Within a pixel and a half, on which the scale changes by at most 1 per radian.
    atol = 1.5 * 2 * math.pi / sphere.circumference(width)
    np.testing.assert_allclose(scale[ends[1:5]], 1.25, atol=atol)
    np.testing.assert_allclose(scale[ends[[0, 5]]], 1, atol=atol)


@all_widths
def test_margins_are_wide_enough_above_and_below(width):
    coverage = sphere.charts(width).coverage
    empty = np.flatnonzero((coverage == 0).all(axis=1))
    runs = np.split(empty, np.flatnonzero(np.diff(empty) > 1) + 1)
    assert len(runs) == 4
    for run, margins in zip(runs, (1, 2, 2, 1), strict=True):
        assert len(run) >= margins * (sphere.MARGIN - 1)


@all_widths
def test_each_part_of_the_sphere_counts_as_much_as_its_surface(width):
    weights = sphere.position_weights(width)
    around = sphere.circumference(width)
    assert weights.shape == sphere.atlas_shape(width)
    assert weights.min() == 0
    assert weights.max() <= 1
    assert weights.sum() == pytest.approx(around**2 / math.pi, rel=1e-5)
    charts = sphere.charts(width)
    quarter = weights[:, : around // 4]
    for low, high in [(-1, -0.8), (-0.8, -0.3), (-0.3, 0.3), (0.3, 0.7), (0.7, 1)]:
        is_between = (np.sin(charts.latitude) > low) & (np.sin(charts.latitude) < high)
        share = quarter[is_between].sum() / quarter.sum()
        # Pixels whose middle lies between: half a row more or less at either end.
        assert share == pytest.approx((high - low) / 2, abs=4 / around)


@all_widths
def test_positions_are_counted_at_each_layer(width):
    assert sphere.position_count(width, 3) == pytest.approx(sphere.position_count(width) / 64)


@all_widths
def test_an_atlas_shows_what_lies_in_each_direction(width):
    charts = sphere.charts(width)
    seen = read(width, panorama(width))
    # A mean over three pixels around the place. Second derivatives of the scene are below
    # Σ |wave|² / 12 ≈ 3.5 per square radian, the variance of the weights 1/6 of a pixel squared.
    pixel = 2 * math.pi / sphere.circumference(width)
    error = np.abs(seen - scene(charts.latitude, charts.longitude))
    assert error.max() < 2 * 3.5 * pixel**2


def test_an_atlas_of_one_brightness_has_one_brightness():
    np.testing.assert_allclose(read(128, np.full((64, 128), 0.7)), 0.7, rtol=1e-12)


@all_widths
def test_every_pixel_is_read_as_much_as_its_part_of_the_surface(width):
    """Or the optimizer could never change it, and what the content has there would stay."""
    height, around = width // 2, sphere.circumference(width)
    pixel, source, weight = sphere.taps(width)
    counts = sphere.position_weights(width)[:, : around // 4].ravel()[pixel]
    sums = np.bincount(source, counts * weight, width * height).reshape(height, width)
    sums = sum(np.roll(sums, part * width // 4, axis=1) for part in range(4))
    surface = np.sin(math.pi * (np.arange(height) + 0.5) / height)[:, np.newaxis]
    relative = sums / surface / (sums.sum() / (surface.sum() * width))
    assert relative.min() > 0.5
    assert relative.max() < 1.5
    assert relative.std() < 0.1


def test_rows_beyond_a_pole_continue_on_the_other_side():
    width = 128
    around = sphere.circumference(width)
    charts = sphere.charts(width)
    is_beyond = np.abs(charts.longitude - math.pi / 4) > math.pi / 2
    assert is_beyond.any()
    east = panorama(width) * 0
    east[:, : width // 2] = 1  # longitudes from 0 to π
    seen = read(width, east)
    angle = np.mod(charts.longitude, 2 * math.pi)
    is_far = np.abs(np.cos(charts.latitude) * np.sin(angle)) > 4 * 2 * math.pi / around
    np.testing.assert_array_equal(seen[is_far] > 0.5, (angle < math.pi)[is_far])


@all_widths
def test_circles_show_as_many_waves_as_half_their_pixels(width):
    waves = sphere.waves_around(width)
    assert len(waves) == width // 2
    np.testing.assert_allclose(waves, waves[::-1])
    latitude = math.pi * (0.5 - (np.arange(len(waves)) + 0.5) / len(waves))
    np.testing.assert_array_equal(np.isinf(waves), np.abs(np.sin(latitude)) <= sphere.SEAM)
    caps = np.isfinite(waves)
    scale = 2 / (1 + np.abs(np.sin(latitude)))  # of the stereographic projection
    expected = sphere.circumference(width) * scale * np.cos(latitude) / 2
    np.testing.assert_allclose(waves[caps], expected[caps])
    assert waves[0] > 1
