"""The clips that the project draws: their motion is what they say."""

import clips
import numpy as np
import pytest

SIDE = 64


@pytest.mark.parametrize(
    "make",
    [clips.pan, clips.zoom, clips.rotation, clips.whirl, clips.passing, clips.returning, clips.cut],
)
def test_visible_points_have_the_same_color_in_both_frames(make):
    """Compared where the pattern is drawn without averaging: at the very points of the flow."""
    clip = make(SIDE)
    flow, visible = clip.flow(5, 6), clip.visible(5, 6)
    points = clip._pixels()
    here = clip._colors(clip.view(5), points)
    there = clip._colors(clip.view(6), points + flow)
    assert visible.any() != (make is clips.cut)
    np.testing.assert_allclose(here[visible], there[visible], atol=1e-4)


def test_what_the_disc_covers_is_not_visible():
    clip = clips.passing(SIDE)
    assert 0.02 < 1 - clip.visible(5, 4).mean() < 0.2


def test_disc_that_returns_is_where_it_was_before():
    clip = clips.returning(SIDE)
    assert [clip.view(index).disc is None for index in range(24)] == (
        [False] * 8 + [True] * 10 + [False] * 6
    )
    place = SIDE // 2, SIDE - 1
    assert clip.view(18).disc == pytest.approx(clip.view(7).disc)
    assert clip.visible(18, 7)[place]
    assert not clip.visible(18, 17)[place]


def test_frames_are_pictures():
    frame = clips.fade(SIDE).frame(0)
    assert frame.dtype == np.uint8
    assert frame.shape == (SIDE, SIDE, 3)
    assert frame.std() > 30
    assert clips.fade(SIDE).frame(11).mean() == pytest.approx(frame.mean() / 4, rel=0.02)
    np.testing.assert_array_equal(clips.still(SIDE).frame(0), clips.still(SIDE).frame(99))
