"""The checkpoint of a film may be damaged or forged."""

import copy

import numpy as np
import pytest

pytest.importorskip("av")
pytest.importorskip("cv2")

from gatys_norm.film import store
from gatys_norm.film.plan import Shot
from gatys_norm.film.store import State
from gatys_norm.network.memory import Strips
from gatys_norm.runs.checkpoint import CheckpointError
from gatys_norm.runs.identity import CheckpointMismatchError

SHAPE, DISTANCE, LAYERS = (16, 20), 2, ("conv4_2",)
IDENTITY = {"settings": {"x": 1, "list": [1, 2]}, "film": "ab"}


def row(number):
    return {
        "frame": number,
        "time": [number, 25],
        "duration": [1, 25],
        "seconds": 0.5,
        "lambda_os": 1e-3,
    }


def image(number):
    return np.full((*SHAPE, 3), number, np.float32)


STATE = State(
    (Shot(0, 2, {"conv4_2": 2.0}), Shot(2, 3, {"conv4_2": 2.5})),
    [row(number) for number in range(3)],
    {number: image(number) for number in (1, 2)},
    (Strips(8, 2),),
)


def saved(folder, state=STATE):
    """Save the frames of a state one by one; returns the path of the film."""
    output = folder / "out.mp4"
    for count in range(1, len(STATE.rows) + 1):
        rows = STATE.rows[:count]
        results = {number: image(number) for number in range(max(0, count - DISTANCE), count)}
        store.save_frame(output, image(count), STATE._replace(rows=rows, results=results), IDENTITY)
    store.save_frame(output, image(3), state, IDENTITY)
    return output


def load(output, identity=IDENTITY, shape=SHAPE):
    return store.load(output, identity, LAYERS, shape, DISTANCE)


def test_state_is_stored(tmp_path):
    loaded = load(saved(tmp_path))
    assert loaded.shots == STATE.shots
    assert (loaded.rows, loaded.strips) == (STATE.rows, STATE.strips)
    assert loaded.results.keys() == STATE.results.keys()
    for number, result in STATE.results.items():
        np.testing.assert_array_equal(loaded.results[number], result)


def changed(path, value):
    """Return the state with one value of its first row, or of its results, replaced."""
    rows, results = copy.deepcopy(STATE.rows), dict(STATE.results)
    part, key = path
    if part == "rows":
        rows[0][key] = value
    elif value is None:
        del results[key]
    else:
        results[key] = value
    return STATE._replace(rows=rows, results=results)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("rows", "frame"), 1),
        (("rows", "time"), [9, 1]),
        (("rows", "time"), [1, 0]),
        (("rows", "time"), "1e999999999"),
        (("rows", "time"), ["1e999999999", 1]),
        (("rows", "duration"), [-1, 25]),
        (("rows", "seconds"), -1),
        (("rows", "seconds"), "1"),
        (("rows", "lambda_os"), -1),
        (("rows", "lambda_os"), None),
        (("results", 1), None),
        (("results", 0), image(0)),
        (("results", 2), image(2)[:-1]),
        (("results", 2), image(2).astype(np.float64)),
        (("results", 2), image(np.nan)),
    ],
)
def test_forged_checkpoint_is_refused(tmp_path, path, value):
    output = saved(tmp_path, changed(path, value))
    with pytest.raises(CheckpointMismatchError, match="the checkpoint is damaged"):
        load(output)


def test_more_frames_than_the_film_has(tmp_path):
    output = saved(tmp_path, STATE._replace(shots=STATE.shots[:1]))
    with pytest.raises(CheckpointMismatchError, match="more frames than in the film"):
        load(output)


@pytest.mark.parametrize("strips", [Strips(-8, 2), Strips("8", 2), Strips(8, 99), Strips(1, 0)])
def test_strips_that_cannot_be(tmp_path, strips):
    output = saved(tmp_path, STATE._replace(strips=(strips,)))
    with pytest.raises(CheckpointMismatchError, match="the checkpoint is damaged"):
        load(output)


def test_other_size_or_film(tmp_path):
    output = saved(tmp_path)
    with pytest.raises(CheckpointMismatchError, match="another film: film differs"):
        load(output, IDENTITY | {"film": "cd"})
    with pytest.raises(CheckpointMismatchError, match="the checkpoint is damaged"):
        load(output, shape=(20, 16))


def test_no_checkpoint(tmp_path):
    with pytest.raises(CheckpointError, match="there is no checkpoint to continue from"):
        load(tmp_path / "out.mp4")
    (tmp_path / "out.mp4.checkpoint.npz").write_bytes(b"PK\x03\x04")
    with pytest.raises(CheckpointError, match="is damaged or not a checkpoint"):
        load(tmp_path / "out.mp4")
