"""Whole films, on a network of a few channels."""

import dataclasses
import errno
import itertools

import clips
import numpy as np
import pytest
from helpers.disk import limited_file_size
from helpers.films import sound_packets, write_film
from helpers.small_transfers import LAYERS, noise
from PIL import Image

pytest.importorskip("av")
pytest.importorskip("cv2")

from gatys_norm import transfer as picture_transfer
from gatys_norm.config import TransferConfig
from gatys_norm.film import decode, run, store, transfer
from gatys_norm.film.frame import Sources
from gatys_norm.film.model import FilmError
from gatys_norm.film.settings import FilmConfig
from gatys_norm.images import io as picture_io
from gatys_norm.network.memory import WHOLE, Strips
from gatys_norm.runs import folder as run_folder
from gatys_norm.runs.checkpoint import CheckpointError
from gatys_norm.runs.identity import CheckpointMismatchError

SIDE, COUNT = 32, 4
pytestmark = pytest.mark.usefixtures("small_network", "eagerly")


@pytest.fixture
def config(tmp_path):
    """Settings of a short film with sound that pans."""
    frames = [clips.pan(SIDE).frame(index) for index in range(COUNT)]
    write_film(tmp_path / "clip.mp4", frames, sound="aac")
    picture_io.save_picture(tmp_path / "style.png", noise(24, 22, seed=2))
    settings = TransferConfig(
        content=str(tmp_path / "clip.mp4"),
        style=str(tmp_path / "style.png"),
        size=(SIDE,),
        iterations=(6,),
        **LAYERS,
    )
    return FilmConfig(settings, temporal_frames=(1, 2), later_iterations=3)


def with_transfer(config, **changes):
    """Return settings of which those of each frame are changed."""
    return dataclasses.replace(config, transfer=dataclasses.replace(config.transfer, **changes))


def stopping_at(number):
    """Return a function that stops a film during a frame, counted from 1."""
    return lambda progress: progress.frame == number


def stopping_in(number, frame):
    """Return a function that stops a film in a pass, during a frame, both counted from 1."""
    return lambda progress: (progress.pass_number, progress.frame) == (number, frame)


def files_below(folder):
    """Return {name: bytes} of the files below a folder."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def done_frames(film, frames, shots=None, **given):
    """Return an iterator over what `FilmTransfer.run` yields for each shot of frames."""
    results = {}
    sources = Sources(frames.__getitem__, results.__getitem__)
    for shot in film.transfer.shots(frames) if shots is None else shots:
        for done in film.transfer.run(shot, sources, **given):
            results[done.step.frame] = np.rint(np.clip(done.image, 0, 255))
            yield done


def pixels_of(folder):
    """Return the frames of a folder as float arrays."""
    return [np.asarray(Image.open(path), float) for path in sorted(folder.glob("*.png"))]


def test_film_and_record(config, tmp_path):
    output, shown = tmp_path / "out.mp4", []
    record = run.FilmRun(config).run(output, on_progress=lambda progress: shown.append(progress))
    assert record["status"] == "completed"
    assert [row["frame"] for row in record["frames"]] == list(range(COUNT))
    assert [row["iterations"] for row in record["frames"]] == [6, 3, 3, 3]
    assert {(row["shot"], row["pass"]) for row in record["frames"]} == {(0, 1)}
    assert record["frames"][0]["warping_error"] is None
    assert all(0 < row["warping_error"] < 1 for row in record["frames"][1:])
    assert set(record["frames"][1]["metrics"]) >= {"style_reflection", "content_distance"}
    assert [shot["frame_count"] for shot in record["shots"]] == [COUNT]
    assert {(progress.frames, progress.shot, progress.shots) for progress in shown} == {
        (COUNT, 1, 1)
    }
    assert shown[-1].transfer.image().shape == (SIDE, SIDE, 3)
    times = [frame.time for frame in decode.read(config.transfer.content)]
    assert [frame.time for frame in decode.read(output)] == times
    assert sound_packets(output) == sound_packets(config.transfer.content)
    left = {path.name for path in tmp_path.iterdir()}
    assert left == {"clip.mp4", "style.png", "out.mp4", "out.mp4.json"}


def test_stopped_and_resumed_film_has_the_same_frames_to_the_byte(config, tmp_path):
    run.FilmRun(config).run(tmp_path / "whole")
    output = tmp_path / "out"
    for number in (3, 4, None):
        film = run.FilmRun(config)
        state = film.resume(output) if number != 3 else None
        record = film.run(output, state, stopping_at(number))
        if number:
            assert record["status"] == "interrupted"
            assert len(list(output.glob("*.png"))) == len(record["frames"]) == number - 1
    assert record["status"] == "completed"
    assert files_below(output) == files_below(tmp_path / "whole")


@pytest.fixture
def in_passes(config, tmp_path):
    """Settings of a film of two shots, of three frames and of two, in three passes."""
    frames = tmp_path / "frames"
    frames.mkdir()
    for number, index in enumerate((3, 4, 5, 6, 7)):
        Image.fromarray(clips.cut(SIDE).frame(index)).save(frames / f"{number}.png")
    config = with_transfer(config, content=str(frames), iterations=(4,))
    return dataclasses.replace(config, later_iterations=2, passes=3)


def test_passes_go_back_and_forth_within_each_shot(in_passes, tmp_path):
    shown = []
    film = run.FilmRun(in_passes)
    record = film.run(tmp_path / "out", on_progress=lambda progress: shown.append(progress))
    order = dict.fromkeys((one.shot, one.pass_number, one.frame) for one in shown)
    assert list(order) == [
        *((1, 1, 1), (1, 1, 2), (1, 1, 3), (1, 2, 2), (1, 2, 1), (1, 3, 2), (1, 3, 3)),
        *((2, 1, 4), (2, 1, 5), (2, 2, 4), (2, 3, 5)),
    ]
    assert {one.passes for one in shown} == {3}
    shares = [one.share for one in shown]
    assert shares == sorted(shares)
    assert (0 < shares[0] < 0.1, shares[-1]) == (True, 1)
    rows = record["frames"]
    assert [(row["frame"], row["shot"]) for row in rows] == [(0, 0), (1, 0), (2, 0), (3, 1), (4, 1)]
    assert {row["pass"] for row in rows} == {3}
    assert [row["status"] for row in rows] == ["kept", *["completed"] * 2, "kept", "completed"]
    assert [row["warping_error"] is None for row in rows] == [True, False, False, True, False]
    assert record["status"] == "completed"


@pytest.mark.slow
def test_film_in_passes_is_resumed_to_the_byte_in_any_of_them(in_passes, tmp_path, monkeypatch):
    """With few frames in memory; and once its last result was not written any more."""
    whole = run.FilmRun(in_passes).run(tmp_path / "whole")
    monkeypatch.setattr(run, "FRAMES_BYTES", 0)
    output = tmp_path / "out"
    stops = [(1, 1), (1, 3), (2, 2), (2, 1), (3, 2), (1, 4), (2, 4), (3, 5), None]
    for stop in stops:
        film = run.FilmRun(in_passes)
        state = None if stop == stops[0] else film.resume(output) if output.exists() else None
        record = film.run(output, state, stopping_in(*stop) if stop else None)
        if stop == (2, 1):  # the result of frame 2 in the pass back
            store.frame_path(output, 1).write_bytes(b"")
    assert files_below(output) == files_below(tmp_path / "whole")
    assert measured(record) == measured(whole)


def measured(record):
    """Return what the record of a film has of its frames, without times."""
    names = ("frame", "shot", "pass", "status", "iterations", "metrics", "warping_error")
    return [{name: row[name] for name in names} for row in record["frames"]]


def test_film_that_is_stopped_in_a_pass_back_has_all_frames_so_far(in_passes, tmp_path):
    output = tmp_path / "out.mp4"
    record = run.FilmRun(in_passes).run(output, on_progress=stopping_in(2, 1))
    assert record["status"] == "interrupted"
    assert [row["pass"] for row in record["frames"]] == [1, 2, 2]
    assert len(list(decode.read(output))) == 3


def test_first_pass_of_several_is_that_of_a_film_with_one(in_passes, tmp_path):
    film = run.FilmRun(dataclasses.replace(in_passes, passes=1))
    film.run(tmp_path / "one")
    run.FilmRun(in_passes).run(tmp_path / "out", on_progress=stopping_in(2, 2))
    names = ("000001.png", "000002.png", "000003.png")
    assert [(tmp_path / "one" / name).read_bytes() for name in names] == [
        (tmp_path / "out" / name).read_bytes() for name in names
    ]


def test_frame_of_a_later_pass_starts_from_its_result_where_no_neighbor_shows_the_same(
    in_passes, monkeypatch
):
    starts = []

    class Watched(transfer.Transfer):
        def run(self, *arguments):
            starts.append(self._inputs)
            return super().run(*arguments)

    monkeypatch.setattr(transfer, "Transfer", Watched)
    frames = [clips.pan(SIDE).frame(index) for index in range(3)]
    film = run.FilmRun(dataclasses.replace(in_passes, passes=2))
    done = list(done_frames(film, frames))
    second, third, third_again, second_again = *done[1:4], done[4]
    np.testing.assert_array_equal(third_again.image, np.rint(np.clip(third.image, 0, 255)))
    assert (third_again.step.pass_number, third_again.row["status"]) == (2, "kept")
    assert (second_again.step.frame, second_again.row["status"]) == (1, "completed")
    warped, start = starts[3].frame.warped[1], starts[3].pictures.init
    visible = warped.mask == 1
    assert 0.5 < visible.mean() < 1
    np.testing.assert_array_equal(start[visible], warped.picture[visible])
    earlier = np.rint(np.clip(second.image, 0, 255))
    np.testing.assert_array_equal(start[~visible], earlier[~visible])


def test_frames_of_later_passes_have_the_lambda_of_the_first(in_passes, tmp_path, monkeypatch):
    numbers = itertools.count(1)

    def found(*_):
        number = next(numbers) / 10
        return {
            "target": 0.5,
            "lambda_os": number,
            "probes": [],
            "proxy_size": SIDE,
            "seconds": 0.0,
        }

    monkeypatch.setattr(picture_transfer, "search", found)
    record = run.FilmRun(with_transfer(in_passes, strength=0.5)).run(tmp_path / "out")
    assert [row["lambda_os"] for row in record["frames"]] == [0.1] * 3 + [0.2] * 2


def test_still_film_does_not_drift_in_passes(in_passes):
    film = run.FilmRun(in_passes)
    done = list(done_frames(film, still(4)[:3]))
    pictures = {np.rint(np.clip(one.image, 0, 255)).tobytes() for one in done}
    assert len(pictures) == 1
    assert [one.row["status"] for one in done[3:6]] == ["kept", "repeated", "repeated"]
    assert [one.row["frame"] for one in done] == [0, 1, 2, 2, 1, 0, 0, 1, 2]


def test_resumed_film_has_the_lambda_that_its_strength_had_found(config, tmp_path, monkeypatch):
    found = {"target": 0.5, "lambda_os": 0.37, "probes": [], "proxy_size": SIDE, "seconds": 0.0}
    monkeypatch.setattr(picture_transfer, "search", lambda *_: found)
    config = with_transfer(config, strength=0.5)
    whole = run.FilmRun(config).run(tmp_path / "whole")
    run.FilmRun(config).run(tmp_path / "out", on_progress=stopping_at(3))
    film = run.FilmRun(config)
    resumed = film.run(tmp_path / "out", film.resume(tmp_path / "out"))
    for record in (whole, resumed):
        assert [row["lambda_os"] for row in record["frames"]] == [0.37] * COUNT
    assert files_below(tmp_path / "out") == files_below(tmp_path / "whole")


def still(count=COUNT):
    """Return frames of which all but the last are the same."""
    same = [clips.pan(SIDE).frame(0)] * (count - 1)
    return [*same, clips.pan(SIDE).frame(1)]


def test_a_frame_that_is_the_same_as_the_one_before_keeps_its_result(config):
    film = run.FilmRun(config)
    first, *repeated, last = done_frames(film, still())
    for number, done in enumerate(repeated, start=1):
        assert done.image.tobytes() == first.image.tobytes()
        row = done.row
        assert (row["frame"], row["status"], row["evaluations"]) == (number, "repeated", 0)
        assert (row["warping_error"], row["reliable_share"]) == (0, 1)
        assert row["metrics"] == first.row["metrics"]
        assert row["lambda_os"] == first.row["lambda_os"]
        assert set(row) == set(first.row)
    assert last.row["evaluations"] > 0
    assert last.row["warping_error"] > 0


def test_same_frames_of_different_shots_are_computed(config):
    film = run.FilmRun(config)
    shots = tuple(shot._replace(frame_count=1) for shot in film.transfer.shots(still(2)))
    shots = (shots[0], shots[0]._replace(first=1))
    frames = still(3)[:2]
    assert [done.row["status"] for done in done_frames(film, frames, shots)] == ["completed"] * 2
    row = next(done_frames(film, frames, shots)).row
    [done] = done_frames(film, frames, shots, rows={0: row})
    assert done.row["status"] == "completed"


def test_resumed_film_repeats_the_last_result_that_was_stored(config):
    film = run.FilmRun(config)
    shots = film.transfer.shots(still())
    first, second = itertools.islice(done_frames(film, still(), shots), 2)
    rows, results = {0: first.row, 1: second.row}, {1: second.image}
    rest = list(done_frames(film, still(), shots, rows=rows, results=results))
    assert [done.row["status"] for done in rest] == ["repeated", "completed"]
    assert rest[0].image.tobytes() == first.image.tobytes()


def test_resumed_film_has_the_strips_of_its_beginning(config, tmp_path, monkeypatch):
    """Even if there is less memory by then."""
    output, strips = tmp_path / "out.mp4", []

    class Watched(transfer.Transfer):
        def run(self, *arguments):
            strips.append(self._strips)
            return super().run(*arguments)

    monkeypatch.setattr(transfer, "Transfer", Watched)
    run.FilmRun(config).run(output, on_progress=stopping_at(3))
    film = run.FilmRun(config)
    assert film.transfer.strips == (WHOLE,)
    film.transfer.strips = (Strips(8, 0),)
    film.run(output, film.resume(output))
    assert strips == [[WHOLE]] * 5  # one frame was begun twice


def test_film_stopped_in_its_first_frame_leaves_nothing(config, tmp_path):
    output = tmp_path / "out.mp4"
    record = run.FilmRun(config).run(output, on_progress=stopping_at(1))
    assert record["status"] == "interrupted"
    assert {path.name for path in tmp_path.iterdir()} == {"clip.mp4", "style.png"}
    with pytest.raises(CheckpointError, match="there is no checkpoint to continue from"):
        run.FilmRun(config).resume(output)


def test_folder_of_frames_to_folder_of_frames(config, tmp_path):
    frames = tmp_path / "frames"
    frames.mkdir()
    for index in range(COUNT):
        Image.fromarray(clips.pan(SIDE).frame(index)).save(frames / f"{index}.png")
    config = with_transfer(config, content=str(frames))
    run.FilmRun(config).run(tmp_path / "out")
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert names == {f"{number:06d}.png" for number in range(1, COUNT + 1)}
    assert (tmp_path / "out.json").is_file()


@pytest.mark.slow
def test_temporal_term_makes_the_film_steadier(config):
    """As much as nothing, against a weight that outweighs the style."""
    errors = []
    for weight in (0.0, 1e3):
        changed = dataclasses.replace(config, temporal_weight=weight, later_iterations=6)
        film = run.FilmRun(changed)
        frames = [frame.pixels for frame in decode.read(config.transfer.content)]
        done = list(done_frames(film, frames))
        errors.append(np.mean([frame.row["warping_error"] for frame in done[1:]]))
    assert errors[1] < errors[0] / 4


def test_each_shot_starts_anew(config):
    film = run.FilmRun(config)
    one = [clips.pan(SIDE).frame(index) for index in range(2)]
    other = [clips.cut(SIDE).frame(index) for index in (10, 11)]
    shots = film.transfer.shots(one + other)
    assert [(shot.first, shot.frame_count) for shot in shots] == [(0, 2), (2, 2)]
    together = list(done_frames(film, one + other, shots))
    alone = list(done_frames(film, other))
    for done, expected in zip(together[2:], alone, strict=True):
        assert done.image.tobytes() == expected.image.tobytes()


def test_later_frame_starts_from_the_moved_result_and_what_has_changed_in_the_film(
    config, monkeypatch
):
    starts = []

    class Watched(transfer.Transfer):
        def run(self, *arguments):
            starts.append((self._config, self._inputs))
            return super().run(*arguments)

    monkeypatch.setattr(transfer, "Transfer", Watched)
    film = run.FilmRun(config)
    frames = [frame.pixels for frame in decode.read(config.transfer.content)]
    first, _ = itertools.islice(done_frames(film, frames), 2)
    (first_config, _), (later_config, inputs) = starts
    assert (first_config.init, later_config.iterations) == ("content", (3,))
    warped = inputs.frame.warped[1]
    visible, start = warped.mask == 1, inputs.pictures.init
    assert 0.5 < visible.mean() < 1
    np.testing.assert_array_equal(start[visible], warped.picture[visible])
    motion = transfer.flows.motion(*frames[:2])
    before = transfer.flows.warp(frames[0].astype(np.float32), motion.flow)
    changed = frames[1] + (warped.picture - before)
    np.testing.assert_array_equal(start[~visible], changed[~visible])
    assert not inputs.frame.warped[2].mask.any()
    assert abs(warped.picture[visible].mean() - first.image.mean()) < 20


def test_start_is_the_nearest_result_that_shows_the_same(config, monkeypatch):
    starts = []

    class Watched(transfer.Transfer):
        def run(self, *arguments):
            starts.append(self._inputs.pictures.init)
            return super().run(*arguments)

    def motion(earlier, later):
        """Nothing moves; of the frame before, only the upper half is reliable."""
        mask = np.ones((SIDE, SIDE), np.float32)
        if np.array_equal(earlier, frames[1]):
            mask[SIDE // 2 :] = 0
        else:
            mask[:, SIDE // 2 :] = 0
        return transfer.flows.Motion(np.zeros((SIDE, SIDE, 2), np.float32), mask)

    film = run.FilmRun(config)
    frames = [clips.pan(SIDE).frame(index) for index in range(3)]
    shots = film.transfer.shots(frames)
    monkeypatch.setattr(transfer, "Transfer", Watched)
    monkeypatch.setattr(transfer.flows, "motion", motion)
    first, second, _ = done_frames(film, frames, shots)
    half = SIDE // 2
    np.testing.assert_array_equal(starts[2][:half], second.image[:half])
    np.testing.assert_array_equal(starts[2][half:, :half], first.image[half:, :half])
    changed = frames[2] + (second.image - frames[1])
    np.testing.assert_array_equal(starts[2][half:, half:], changed[half:, half:])


@pytest.mark.parametrize("color", ["luminance", "match"])
def test_colors(config, color, tmp_path):
    run.FilmRun(with_transfer(config, color=color)).run(tmp_path / "out")
    assert len(pixels_of(tmp_path / "out")) == COUNT


def test_frame_ends_when_its_loss_has_settled(config, monkeypatch):
    monkeypatch.setattr(transfer, "is_settled", lambda losses: max(losses) >= 2)
    changed = with_transfer(dataclasses.replace(config, later_iterations=9), log_every=1)
    film = run.FilmRun(changed)
    frames = [frame.pixels for frame in decode.read(config.transfer.content)]
    rows = [done.row for done in done_frames(film, frames)]
    assert [(row["iterations"], row["status"]) for row in rows] == [(2, "settled")] * COUNT


@pytest.mark.parametrize(
    ("changes", "name"),
    [
        ({"temporal_weight": 7.0}, "settings"),
        ({"later_iterations": 4}, "settings"),
        ({"passes": 2}, "settings"),
    ],
)
def test_checkpoint_of_other_settings_is_refused(config, tmp_path, changes, name):
    output = tmp_path / "out.mp4"
    run.FilmRun(config).run(output, on_progress=stopping_at(2))
    with pytest.raises(CheckpointMismatchError, match=f"of another film: {name} differs"):
        run.FilmRun(dataclasses.replace(config, **changes)).resume(output)


def test_checkpoint_of_other_pictures_is_refused(config, tmp_path):
    output = tmp_path / "out.mp4"
    run.FilmRun(config).run(output, on_progress=stopping_at(2))
    frames = [clips.pan(SIDE).frame(index) for index in range(1, COUNT + 1)]
    write_film(tmp_path / "clip.mp4", frames, sound="aac")
    with pytest.raises(CheckpointMismatchError, match="of another film: pictures differs"):
        run.FilmRun(config).resume(output)


def test_missing_frame_is_noticed(config, tmp_path):
    output = tmp_path / "out.mp4"
    run.FilmRun(config).run(output, on_progress=stopping_at(3))
    path = store.frame_path(output, 0)
    path.unlink()
    with pytest.raises(CheckpointMismatchError, match=r"000001\.png is missing"):
        run.FilmRun(config).resume(output)


def test_disk_that_fills_up_costs_no_frame_that_was_finished(config, tmp_path):
    output = tmp_path / "out.mp4"
    run.FilmRun(config).run(output, on_progress=stopping_at(3))
    before = files_below(tmp_path)
    film = run.FilmRun(config)
    with limited_file_size(2000), pytest.raises(OSError) as caught:  # noqa: PT011
        film.run(output, film.resume(output))
    assert caught.value.errno == errno.EFBIG
    assert files_below(tmp_path).items() >= before.items()
    record = film.run(output, film.resume(output))
    assert record["status"] == "completed"


def refusal(output, inputs=(), sound_of=None, resume=False):
    """Return the message with which an output is refused."""
    with pytest.raises((run_folder.OutputError, FilmError)) as caught:
        store.check_output(output, inputs, sound_of, resume)
    return str(caught.value)


def test_outputs_that_are_refused(config, tmp_path):
    clip = config.transfer.content
    assert "is one of the inputs" in refusal(tmp_path / "clip.mp4", [clip])
    assert "the name of a film to write ends in" in refusal(tmp_path / "out.gif")
    assert "cannot hold sound in aac" in refusal(tmp_path / "out.webm", [clip], clip)
    assert "there is no folder" in refusal(tmp_path / "nowhere" / "out.mp4")
    (tmp_path / "out").mkdir()
    assert "is one of the inputs" in refusal(tmp_path / "out", [tmp_path / "out"])
    (tmp_path / "out" / "notes.txt").touch()
    assert "is there already and is not empty" in refusal(tmp_path / "out")
    (tmp_path / "film.mp4.json").write_text("{}")
    assert "was not written by this program" in refusal(tmp_path / "film.mp4")
    (tmp_path / "other.mp4.checkpoint.npz").write_text("")
    assert "was not written by this program" in refusal(tmp_path / "other.mp4")
    store.check_output(tmp_path / "good.mp4", [clip], clip, resume=False)
