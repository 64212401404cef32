"""The panorama that the project draws: a function of direction, without a seam."""

import numpy as np
import panoramas


def test_a_panorama_has_all_sides_alike():
    picture = panoramas.panorama(128)
    assert picture.shape == (64, 128, 3)
    assert picture.dtype == np.float32
    assert 0 <= picture.min() < picture.max() <= 255
    assert picture.std() > 30
    steps = np.abs(np.diff(picture, axis=1, append=picture[:, :1])).mean(axis=(0, 2))
    assert steps[-1] < 1.5 * np.median(steps)


def test_rows_next_to_the_poles_have_nearly_one_color():
    picture = panoramas.panorama(256)
    spread = picture.std(axis=1).mean(axis=1)
    assert spread[[0, -1]].max() < 5 < spread[64:192].mean()


def test_colors_follow_directions():
    sun = np.divide(panoramas.SUN, np.linalg.norm(panoramas.SUN))
    directions = np.array([sun, [0, 0, 1], [0, 0, -1]])
    colors = panoramas.colors_of(directions)
    np.testing.assert_allclose(colors[0], panoramas.COLORS["sun"])
    np.testing.assert_allclose(colors[1], panoramas.COLORS["zenith"], atol=0.2)
    np.testing.assert_allclose(colors[2], panoramas.COLORS["path"])
