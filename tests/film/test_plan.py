"""Shots, the settings of a film, and when a frame is finished."""

import json
from fractions import Fraction

import clips
import numpy as np
import pytest

pytest.importorskip("cv2")

from gatys_norm.config import ConfigError, TransferConfig
from gatys_norm.film import plan
from gatys_norm.film.plan import Shot
from gatys_norm.film.settings import FilmConfig, is_settled

SHOTS = (Shot(0, 4, {"conv4_2": 2.0}), Shot(4, 3, {"conv4_2": 7.5}))


def brightness(frame):
    return {"conv4_2": float(frame.mean())}


def test_film_is_divided_at_its_cut_with_the_median_of_energies():
    clip = clips.cut(64, count=6)
    frames = [clip.frame(index) for index in range(6)]
    means = [frame.mean() for frame in frames]
    shots = plan.shots(iter(frames), brightness)
    assert [(shot.first, shot.frame_count) for shot in shots] == [(0, 3), (3, 3)]
    assert [shot.energies["conv4_2"] for shot in shots] == [
        pytest.approx(np.median(means[:3])),
        pytest.approx(np.median(means[3:])),
    ]
    assert [list(shot.frames) for shot in shots] == [[0, 1, 2], [3, 4, 5]]


def test_film_of_one_frame():
    frame = clips.still(64).frame(0)
    assert plan.shots([frame], brightness) == (Shot(0, 1, brightness(frame)),)


def test_shots_are_stored_as_json():
    assert plan.from_json(json.loads(json.dumps(SHOTS)), ["conv4_2"]) == SHOTS


@pytest.mark.parametrize(
    "values",
    [
        [],
        None,
        [[0]],
        [[0, 0, {"conv4_2": 1}]],
        [[1, 4, {"conv4_2": 1}]],
        [[0, 4, {"conv4_2": 1}], [5, 1, {"conv4_2": 1}]],
        [[0, 4, {}]],
        [[0, 4, {"conv4_2": -1}]],
        [[0, 4, {"conv4_2": float("inf")}]],
        [[0, 4, {"conv4_2": float("nan")}]],
        [[0, 4, {"conv4_2": "1"}]],
        [[0, True, {"conv4_2": 1}]],
        [[0, 4, {"conv4_2": 1}, 5]],
        [[0.0, 4, {"conv4_2": 1}]],
        [[0, 4.5, {"conv4_2": 1}]],
        [[0, 4, {"conv4_2": True}]],
    ],
)
def test_forged_shots_are_refused(values):
    with pytest.raises((ValueError, TypeError, LookupError, AttributeError)):
        plan.from_json(values, ["conv4_2"])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"temporal_weight": -1.0}, "temporal_weight: must be a number from 0 to"),
        ({"temporal_weight": float("nan")}, "temporal_weight: must be a number from 0 to"),
        ({"temporal_frames": ()}, "temporal_frames: must be 1 and larger numbers"),
        ({"temporal_frames": (2, 4)}, "temporal_frames: must be 1 and larger numbers"),
        ({"temporal_frames": (1, 4, 2)}, "temporal_frames: must be 1 and larger numbers"),
        ({"temporal_frames": (1, 101)}, "temporal_frames: must be at most 100"),
        ({"later_iterations": 0}, "later_iterations: must be a whole number of at least 1"),
        ({"passes": 0}, "passes: must be a whole number from 1 to 20"),
        ({"passes": 21}, "passes: must be a whole number from 1 to 20"),
        ({"frame_rate": Fraction(0)}, "frame_rate: must be from 1/60 to 1000"),
    ],
)
def test_settings_out_of_range(changes, message):
    with pytest.raises(ConfigError) as caught:
        FilmConfig(TransferConfig(), **changes)
    assert str(caught.value).startswith(message)


def test_settings_of_later_frames():
    transfer = TransferConfig(size=(64, 128), iterations=(5, 6), continuation="rank")
    later = FilmConfig(transfer, later_iterations=7).resolved().of_later_frames()
    assert (later.size, later.iterations, later.continuation) == ((128,), (7,), "none")
    assert json.dumps(FilmConfig(transfer).as_dict())


def test_loss_that_nearly_stopped_falling():
    losses = {iteration: 1 + 2.0**-iteration for iteration in range(0, 30, 10)}
    assert not is_settled(losses)
    assert is_settled(losses | {70: 1 + 2.0**-70})
    assert not is_settled({0: 1.0, 50: 1 - 2e-4})
    assert is_settled({0: 1.0, 50: 1 - 0.5e-4})
    assert not is_settled({10: 1.0, 50: 1.0})
    assert not is_settled({0: float("inf"), 50: 1.0})
