"""Measures of how steady a film is."""

import math

import clips
import numpy as np
import pytest

pytest.importorskip("cv2")

from gatys_norm.film import measures

STANDSTILL = np.zeros((16, 16, 2), np.float32)
ALL = np.ones((16, 16))


def test_warping_error_is_the_mean_square_of_colors_from_0_to_1():
    earlier = np.full((16, 16, 3), 100.0)
    assert measures.warping_error(earlier + 51, earlier, STANDSTILL, ALL) == pytest.approx(0.04)
    assert measures.warping_error(earlier, earlier, STANDSTILL, ALL) == 0


def test_warping_error_counts_visible_pixels_alone():
    earlier = np.zeros((16, 16, 3))
    later = earlier.copy()
    later[:4] = 255
    visible = ALL.copy()
    visible[:2] = 0
    assert measures.warping_error(later, earlier, STANDSTILL, visible) == pytest.approx(2 / 14)
    assert math.isnan(measures.warping_error(later, earlier, STANDSTILL, 0 * ALL))


@pytest.mark.parametrize("distance", [1, 4])
def test_warping_error_of_a_steady_clip_is_that_of_interpolation(distance):
    clip = clips.pan(128)
    frames = [clip.frame(index).astype(np.float32) for index in (4, 4 - distance)]
    flow, visible = clip.flow(4, 4 - distance), clip.visible(4, 4 - distance)
    error = measures.warping_error(*frames, flow, visible)
    assert error < 5e-4
    random = np.random.default_rng(0)
    flickering = frames[0] + random.normal(0, 25.5, frames[0].shape)
    assert measures.warping_error(flickering, frames[1], flow, visible) == pytest.approx(
        error + 0.01, rel=0.05
    )


def test_mean_leaves_out_what_is_undefined():
    assert measures.mean_error([1.0, math.nan, 3.0]) == 2
    assert math.isnan(measures.mean_error([math.nan]))
