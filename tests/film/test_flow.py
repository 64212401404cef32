"""Motion between frames, against clips whose motion is known exactly."""

import itertools

import clips
import numpy as np
import pytest

pytest.importorskip("cv2")

import cv2

from gatys_norm.film import flow

SIDE = 192


def estimated(clip, earlier=3, later=4):
    """Return (motion, true flow, pixels truly visible in both) from a later to an earlier frame."""
    motion = flow.motion(clip.frame(earlier), clip.frame(later))
    return motion, clip.flow(later, earlier), clip.visible(later, earlier)


@pytest.mark.parametrize("make", [clips.pan, clips.zoom, clips.rotation, clips.passing])
def test_flow_is_within_a_tenth_of_a_pixel_and_occlusions_are_found(make):
    motion, true, visible = estimated(make(SIDE))
    errors = np.hypot(*np.moveaxis(motion.flow - true, 2, 0))
    assert errors[visible].mean() < 0.1
    assert motion.mask[visible].mean() >= 0.95
    assert not (~visible).any() or (1 - motion.mask)[~visible].mean() >= 0.95
    assert not motion.is_cut


def test_cut_is_found():
    clip = clips.cut(128)
    frames = [clip.frame(index) for index in (4, 5, 6, 7)]
    cuts = [flow.motion(*pair).is_cut for pair in itertools.pairwise(frames)]
    assert cuts == [False, True, False]


def test_fade_and_standstill_are_no_cuts():
    clip = clips.fade(128)
    assert flow.motion(clip.frame(0), clip.frame(1)).share > 0.9
    assert flow.motion(clip.frame(0), clip.frame(0)).share == 1


@pytest.mark.parametrize("earlier", [5, 6, 19, 20])
def test_what_an_object_uncovers_as_it_leaves_and_covers_as_it_returns(earlier):
    motion, _, visible = estimated(clips.returning(SIDE), earlier, earlier + 1)
    assert motion.mask[visible].mean() >= 0.95
    assert (1 - motion.mask)[~visible].mean() >= 0.95


def test_flow_does_not_depend_on_the_number_of_threads():
    clip, flows = clips.passing(128), []
    before = cv2.getNumThreads()
    for threads in (1, 4):
        cv2.setNumThreads(threads)
        flows.append(flow.optical_flow(clip.frame(0), clip.frame(1)))
    cv2.setNumThreads(before)
    assert flows[0].tobytes() == flows[1].tobytes()


def constant_flow(x, y, side=16):
    """Return a flow that is the same everywhere."""
    return np.broadcast_to(np.float32([x, y]), (side, side, 2))


def test_warp_takes_what_lies_where_the_flow_leads():
    picture = np.random.default_rng(0).uniform(0, 255, (16, 16, 3)).astype(np.float32)
    moved = flow.warp(picture, constant_flow(2, -1))
    np.testing.assert_array_equal(moved[1:, :-2], picture[:-1, 2:])
    assert moved.dtype == np.float32
    np.testing.assert_array_equal(flow.warp(picture, constant_flow(0, 0)), picture)


def test_warp_is_linear_between_pixels():
    y, x = np.mgrid[:16, :16].astype(np.float64)
    ramp = np.stack([x, y, 3 * x - 2 * y], axis=2)
    moved = flow.warp(ramp, constant_flow(0.3, 0.85))[:-1, :-1]
    expected = np.stack([x + 0.3, y + 0.85, 3 * (x + 0.3) - 2 * (y + 0.85)], axis=2)[:-1, :-1]
    np.testing.assert_allclose(moved, expected, atol=1e-6)


@pytest.mark.parametrize("far", [40, -40, 1e9, -1e9])
def test_warp_continues_the_border_outside(far):
    picture = np.random.default_rng(0).uniform(0, 255, (16, 16, 3)).astype(np.float32)
    moved = flow.warp(picture, constant_flow(far, 0))
    edge = picture[:, -1:] if far > 0 else picture[:, :1]
    np.testing.assert_array_equal(moved, np.broadcast_to(edge, picture.shape))


def test_what_leads_out_of_the_picture_is_not_reliable():
    mask = flow.reliable(constant_flow(3, 0), constant_flow(-3, 0))
    np.testing.assert_array_equal(mask, np.repeat([[1.0] * 13 + [0.0] * 3], 16, axis=0))


@pytest.mark.parametrize(
    ("back", "expected"),
    [((-4, 0), 1), ((-4.8, 0), 1), ((-5, 0), 0), ((4, 0), 0)],
)
def test_flow_that_does_not_return_is_not_reliable(back, expected):
    """|w + ŵ|² against 0.01 (16 + |ŵ|²) + 0.5: 0.64 < 0.89, and 1 > 0.91."""
    mask = flow.reliable(constant_flow(4, 0), constant_flow(*back))
    assert mask[:, :12].min() == mask[:, :12].max() == expected


def test_edges_of_motion_are_not_reliable():
    """A step of 0.2 pixels: |∇u|² = 0.01 next to it, against 0.002 + 0.01 |w|²."""
    step = constant_flow(0, 0).copy()
    step[:, 8:, 1] = 0.2
    mask = flow.reliable(step, -step)
    assert (mask[:-1, 7:9] == 0).all()
    assert mask[:-1, :7].all()
    assert mask[:-1, 9:].all()


def test_long_term_masks_leave_out_what_nearer_frames_show():
    near, far, farther = np.eye(2), np.ones((2, 2)), np.ones((2, 2))
    remaining = flow.without_nearer([near, far, farther])
    np.testing.assert_array_equal(remaining[0], near)
    np.testing.assert_array_equal(remaining[1], 1 - np.eye(2))
    np.testing.assert_array_equal(remaining[2], np.zeros((2, 2)))
    assert flow.without_nearer([]) == []
