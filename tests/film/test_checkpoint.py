"""The checkpoint of a film may be damaged or forged."""

import copy

import numpy as np
import pytest

pytest.importorskip("av")
pytest.importorskip("cv2")

from gatys_norm.film import checkpoint, store
from gatys_norm.film.checkpoint import State
from gatys_norm.film.plan import Shot
from gatys_norm.network.memory import Strips
from gatys_norm.runs.checkpoint import CheckpointError
from gatys_norm.runs.identity import CheckpointMismatchError

SHAPE, DISTANCE, PASSES, LAYERS = (16, 20), 2, 2, ("conv4_2",)
IDENTITY = {"settings": {"x": 1, "list": [1, 2]}, "film": "ab"}


def row(number):
    return {
        "frame": number,
        "pass": 1,
        "time": [number, 25],
        "duration": [1, 25],
        "seconds": 0.5,
        "lambda_os": 1e-3,
    }


def image(number):
    return np.full((*SHAPE, 3), number, np.float32)


STATE = State(  # the first shot is finished, the second one in its pass back
    (Shot(0, 2, {"conv4_2": 2.0}), Shot(2, 4, {"conv4_2": 2.5})),
    {number: row(number) | {"pass": 1 if number in (2, 3) else 2} for number in range(6)},
    {number: image(number) for number in (4, 5)},
    (Strips(8, 2),),
)
LAST = 4  # number of the frame that was finished last


def saved(folder, state=STATE):
    """Save the frames of a state one by one; returns the path of the film."""
    output = folder / "out.mp4"
    for number in STATE.rows:
        one = STATE._replace(results={number: image(number)})
        checkpoint.save_frame(output, number, one, IDENTITY)
    checkpoint.save_frame(output, max(state.results), state, IDENTITY)
    return output


def load(output, identity=IDENTITY, shape=SHAPE):
    return checkpoint.load(output, identity, LAYERS, shape, DISTANCE, PASSES)


def test_state_is_stored(tmp_path):
    loaded = load(saved(tmp_path))
    assert loaded.shots == STATE.shots
    assert (loaded.rows, loaded.strips) == (STATE.rows, STATE.strips)
    assert loaded.results.keys() == STATE.results.keys()
    for number, result in STATE.results.items():
        np.testing.assert_array_equal(loaded.results[number], result)


def test_last_result_is_written_by_whoever_resumes(tmp_path):
    """The program may have been stopped between the checkpoint and the picture."""
    output = saved(tmp_path)
    path = store.frame_path(output, LAST)
    written = path.read_bytes()
    for text in (b"a result of the pass before", None):
        path.write_bytes(text) if text else path.unlink()
        load(output)
        assert path.read_bytes() == written


def test_results_of_a_finished_shot_may_be_there_and_are_whole(tmp_path):
    results = STATE.results | {number: image(number) for number in (0, 1)}
    assert load(saved(tmp_path, STATE._replace(results=results))).results.keys() == {0, 1, 4, 5}
    del results[0]
    with pytest.raises(CheckpointMismatchError, match="other results"):
        load(saved(tmp_path, STATE._replace(results=results)))


def test_shots_may_be_unfinished_together(tmp_path):
    """As shots that are computed at the same time leave them."""
    rows = {number: row(number) for number in (0, 2, 3)}
    results = {number: image(number) for number in rows}
    loaded = load(saved(tmp_path, STATE._replace(rows=rows, results=results)))
    assert (loaded.rows, loaded.results.keys()) == (rows, results.keys())


def test_missing_frame(tmp_path):
    output = saved(tmp_path)
    store.frame_path(output, 2).unlink()
    with pytest.raises(CheckpointMismatchError, match=r"000003\.png is missing"):
        load(output)


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
        (("rows", "frame"), -1),
        (("rows", "frame"), 0.0),
        (("rows", "pass"), 1),
        (("rows", "pass"), 0),
        (("rows", "pass"), 3),
        (("rows", "pass"), True),
        (("rows", "pass"), "2"),
        (("rows", "time"), [9, 1]),
        (("rows", "time"), [1, 0]),
        (("rows", "time"), "1e999999999"),
        (("rows", "time"), ["1e999999999", 1]),
        (("rows", "duration"), [-1, 25]),
        (("rows", "seconds"), -1),
        (("rows", "seconds"), "1"),
        (("rows", "lambda_os"), -1),
        (("rows", "lambda_os"), None),
        (("results", 5), None),
        (("results", 0), image(0)),
        (("results", 3), image(3)),
        (("results", 9), image(9)),
        (("results", 4), image(4)[:-1]),
        (("results", 4), image(4).astype(np.float64)),
        (("results", 4), image(np.nan)),
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
