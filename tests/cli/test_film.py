"""The command `gatys-norm film`: what it refuses, what it leaves, how it is stopped and resumed."""

import contextlib
import errno
import json
import os
import re
import signal
import sys

import clips
import numpy as np
import pytest
from helpers.commands import outcome
from helpers.films import sound_packets, write_film
from helpers.strips import LOW_STRIPS
from helpers.transfer_command import TensorFlowStartedError
from PIL import Image

pytest.importorskip("av")
pytest.importorskip("cv2")

from gatys_norm.cli import film_reporter, loading
from gatys_norm.cli import main as cli
from gatys_norm.cli.film_reporter import FilmReporter

SIDE, COUNT = 32, 3
GIVEN = {
    "content": "clip.mp4",
    "style": "style.png",
    "output": "out.mp4",
    "size": str(SIDE),
    "iterations": "4",
    "later_iterations": "2",
    "content_layers": "conv2_1",
    "style_layers": "conv1_1,conv2_2",
}


@pytest.fixture
def folder(empty_folder):
    """Run in a folder with a film and a picture, where TensorFlow must not be started."""
    frames = [clips.pan(SIDE).frame(index) for index in range(COUNT)]
    write_film(empty_folder / "clip.mp4", frames, sound="aac")
    Image.fromarray(np.rot90(frames[0])).save("style.png")
    return empty_folder


def call(*words, **changes):
    """Run the command; returns (exit code, standard output, standard error)."""
    flags = [f"--{name}={value}" for name, value in (GIVEN | changes).items() if value is not None]
    return outcome(cli.run, ["gatys-norm", "film", *flags, *words])


def refusal(*words, **changes):
    """Return the one line with which bad input is refused before anything is written."""
    before = set(os.listdir())
    code, out, err = call(*words, **changes)
    assert (code, out) == (2, "")
    assert len(err.splitlines()) == 1
    assert set(os.listdir()) == before
    return err.removeprefix("gatys-norm film: ").rstrip("\n")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"content": None}, "--content: is needed"),
        ({"output": None}, "--output: is needed"),
        ({"style": "nowhere.png"}, "--style: nowhere.png: No such file or directory"),
        ({"content": "nowhere.mp4"}, "--content: nowhere.mp4: No such file or directory"),
        ({"content": "style.png"}, "--content: style.png: its content is no film"),
        ({"content": "http://127.0.0.1/a.mp4"}, "--content: http://127.0.0.1/a.mp4: No such file"),
        ({"content": "."}, "--content: .: has no frames; expected PNG files"),
        ({"output": "out.gif"}, "--output: out.gif: the name of a film to write ends in .mp4"),
        ({"output": "clip.mp4"}, "--output: clip.mp4: is one of the inputs"),
        ({"output": "out.webm"}, "--output: out.webm: cannot hold sound in aac; expected .mp4"),
        ({"output": "nowhere/out.mp4"}, "--output: nowhere/out.mp4: there is no folder nowhere"),
        ({"temporal_weight": "-1"}, "--temporal_weight: must be a number from 0"),
        ({"temporal_weight": "nan"}, "--temporal_weight: must be a number from 0"),
        ({"temporal_frames": "2,1"}, "--temporal_frames: must be 1 and larger numbers"),
        ({"temporal_frames": "1,x"}, "--temporal_frames: must be whole numbers"),
        ({"later_iterations": "0"}, "flag --later_iterations=0"),
        ({"passes": "0"}, "--passes: must be a whole number from 1 to 20"),
        ({"passes": "x"}, "flag --passes=x"),
        ({"executor": "cloud"}, "flag --executor=cloud"),
        ({"executor": "ray", "cpus_per_cell": "0"}, "--cpus_per_cell: must be a number above 0"),
        ({"executor": "ray", "gpus_per_cell": "nan"}, "--gpus_per_cell: must be a number from 0"),
        ({"executor": "ray", "preview": "0"}, "--preview: is not taken here; with --executor=ray"),
        ({"frame_rate": "1/0"}, "--frame_rate: must be a number such as 25 or 30000/1001"),
        ({"frame_rate": "1e99999999"}, "--frame_rate: must be a number such as 25"),
        ({"frame_rate": "0"}, "--frame_rate: must be from 1/60 to 1000"),
        ({"size": "8"}, "--size: must be a whole number from 16"),
        ({"projection": "equirectangular"}, "--projection: is not taken here; frames are flat"),
        ({"bit_depth": "16"}, "--bit_depth: is not taken here; frames have 8 bits"),
    ],
)
def test_bad_input(folder, changes, message):
    assert refusal(**changes).startswith(message)


def test_film_that_is_cut_short(folder):
    data = (folder / "clip.mp4").read_bytes()
    (folder / "clip.mp4").write_bytes(data[: len(data) // 2])
    assert "expected a whole film" in refusal()


def test_too_narrow_film(folder):
    frame = np.zeros((16, 128, 3), np.uint8)
    write_film(folder / "clip.mp4", [frame])
    assert "clip.mp4: would be 32×4 pixels as content at this size" in refusal()


def test_sound_that_cannot_be_held_may_be_left_out(folder):
    with pytest.raises(TensorFlowStartedError):
        call("--nosound", output="out.webm")


def test_files_of_others_are_left_alone(folder):
    (folder / "out.mp4.json").write_text("{}")
    assert "out.mp4.json: is there already and was not written by this program" in refusal()
    (folder / "out.mp4.json").unlink()
    (folder / "out.mp4.curves.png").write_bytes((folder / "style.png").read_bytes())
    assert "out.mp4.curves.png: is there already and was not written by this" in refusal()
    (folder / "out.mp4.curves.png").unlink()
    (folder / "out.mp4.frames").mkdir()
    (folder / "out.mp4.frames" / "000001.png").touch()
    assert "out.mp4.frames: is there already and is not empty" in refusal()


def test_missing_packages_are_named(folder, monkeypatch):
    monkeypatch.setitem(sys.modules, "av", None)
    assert refusal().startswith("pip install gatys-norm[film] first: ")


@pytest.fixture
def small_film(folder, monkeypatch, small_network, eagerly):
    """Let films be made, on a network of a few channels."""
    from gatys_norm import transfer

    monkeypatch.setattr(loading, "start_tensorflow", lambda: transfer)
    return folder


def test_film_is_made(small_film):
    code, out, err = call()
    assert code == 0, err
    assert re.search(r"completed in .*: out\.mp4, record in out\.mp4\.json\n", out)
    assert "Traceback" not in err
    assert sound_packets("out.mp4") == sound_packets("clip.mp4")
    assert not (small_film / "out.mp4.frames").exists()
    with Image.open("out.mp4.curves.png") as curves:
        assert len(curves.getcolors(2**24)) > 10


def test_curves_that_cannot_be_written_cost_nothing_else(small_film, monkeypatch):
    from gatys_norm.images import io as picture_io

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    def save(path, *given):
        (full if "curves" in str(path) else save_picture)(path, *given)

    save_picture = picture_io.save_picture
    monkeypatch.setattr(picture_io, "save_picture", save)
    code, out, err = call()
    assert code == 0
    assert "out.mp4.curves.png: could not be written (No space left on device)" in err
    assert "completed in" in out


def measures_in(record):
    """Return what the record of a film has of each frame that does not depend on time."""
    frames = json.loads(record.read_text())["frames"]
    return [{name: row[name] for name in ("time", "metrics", "warping_error")} for row in frames]


def test_interrupted_film_can_be_played_and_resumed_to_the_same_frames(small_film, monkeypatch):
    from gatys_norm.film import decode

    call(output="whole.mp4")
    on_progress = FilmReporter.on_progress

    def interrupt(reporter, progress):
        if progress.frame == 3:
            os.kill(os.getpid(), signal.SIGINT)
        return on_progress(reporter, progress)

    with monkeypatch.context() as patch:
        patch.setattr(FilmReporter, "on_progress", interrupt)
        code, out, _ = call()
    assert code == 128 + signal.SIGINT
    assert out == "interrupted; the 2 frames so far are out.mp4, continue with --resume\n"
    assert len(list(decode.read("out.mp4"))) == 2
    assert (small_film / "out.mp4.curves.png").is_file()
    code, _, err = call("--resume", temporal_weight="7")
    assert code == 2
    assert "--resume: the checkpoint is of another film: settings differs" in err
    code, _, err = call("--resume")
    assert code == 0, err
    assert measures_in(small_film / "out.mp4.json") == measures_in(small_film / "whole.mp4.json")


def executed(monkeypatch, execute):
    """Let films be computed by a function instead of a cluster."""
    from gatys_norm.cli import grid as grid_command
    from gatys_norm.experiments import ray_films

    @contextlib.contextmanager
    def connected(values):
        yield True

    monkeypatch.setattr(grid_command, "connected_from_flags", connected)
    monkeypatch.setattr(ray_films, "executor", lambda cpus, gpus: execute)


def test_several_shots_at_once_are_shown(small_film, monkeypatch):
    from gatys_norm.film.steps import Step
    from gatys_norm.film.work import Running, execute_here

    def execute(work, report):
        running = {number: Running(Step(number, 1, 0), 0.25, 3.0) for number in (0, 1)}
        assert report(running, None) is False
        yield from execute_here(work, report)

    words = []
    describe = film_reporter.description
    monkeypatch.setattr(
        film_reporter, "description", lambda progress: words.append(describe(progress)) or words[-1]
    )
    executed(monkeypatch, execute)
    code, _, err = call(executor="ray")
    assert code == 0, err
    assert words[0] == f"frame 1/{COUNT}, shot 1/1, 2 shots at once, ? left"
    assert "at once" not in words[1]


def test_shot_that_fails_elsewhere_is_named_and_the_frames_are_kept(small_film, monkeypatch):
    from gatys_norm.film.work import ShotError, execute_here

    def execute(work, report):
        yield next(execute_here(work, report))
        raise ShotError("shot 1 failed 3 times, the last time with OSError: it burns")

    with monkeypatch.context() as patch:
        executed(patch, execute)
        code, out, err = call(executor="ray")
    assert (code, out) == (1, "")
    assert err.splitlines()[-1] == (
        "gatys-norm film: shot 1 failed 3 times, the last time with OSError: it burns; the frames "
        "so far are kept, continue with --resume"
    )
    assert (small_film / "out.mp4.frames" / "000001.png").is_file()
    code, _, err = call("--resume")
    assert code == 0, err


def test_preview_shows_each_frame_and_can_stop_the_film(small_film, monkeypatch):
    """As the page asks for it, in the second frame."""
    from gatys_norm.web import live

    titles, statuses, frames = [], [], []

    class Watched(live.Preview):
        def start(self, output, config):
            titles.append(str(output))
            super().start(output, config)

        def update(self, progress):
            frames.append(len(titles))
            super().update(progress)
            self.stop_asked = len(titles) == 2

        def end(self, status):
            super().end(status)
            statuses.append((status, self._state.status))

    monkeypatch.setattr(live, "Preview", Watched)
    code, out, err = call(preview="0")
    assert code == 128 + signal.SIGINT, err
    assert "preview: http://" in out
    assert "the 1 frames so far are out.mp4" in out
    assert titles == [f"out.mp4, frame {number} of {COUNT}" for number in (1, 2)]
    assert statuses == [("interrupted", "interrupted")]
    assert frames.count(1) > 0
    assert frames.count(2) == 1


def test_passes_are_shown(small_film, monkeypatch):
    from gatys_norm.web import live

    titles, words = [], []

    class Watched(live.Preview):
        def start(self, output, config):
            titles.append(str(output))
            super().start(output, config)

    describe = film_reporter.description
    monkeypatch.setattr(live, "Preview", Watched)
    monkeypatch.setattr(
        film_reporter, "description", lambda progress: words.append(describe(progress)) or words[-1]
    )
    code, _, err = call(preview="0", passes="2")
    assert code == 0, err
    order = [(1, 1), (2, 1), (3, 1), (2, 2), (1, 2)]
    assert titles == [
        f"out.mp4, frame {frame} of {COUNT}, pass {number} of 2" for frame, number in order
    ]
    shown = dict.fromkeys(", ".join(text.split(", ")[:3]) for text in words)
    assert list(shown) == [
        f"frame {frame}/{COUNT}, shot 1/1, pass {number}/2" for frame, number in order
    ]


def test_resume_without_a_checkpoint(small_film):
    code, _, err = call("--resume")
    assert code == 2
    assert "out.mp4.checkpoint.npz: there is no checkpoint to continue from" in err


@pytest.fixture
def in_strips(monkeypatch):
    """Compute the network in strips; gives the frame of each strip, as the command sees them."""
    from gatys_norm.network import memory

    monkeypatch.setattr(memory, "plan_size", lambda *_: memory.Plan(2.0**30, LOW_STRIPS))
    frames = []
    on_strip, on_progress = FilmReporter.on_strip, FilmReporter.on_progress

    def watch_progress(reporter, progress):
        reporter.frame = progress.frame
        return on_progress(reporter, progress)

    def watch_strip(reporter, share):
        frames.append(getattr(reporter, "frame", 0))
        on_strip(reporter, share)

    monkeypatch.setattr(FilmReporter, "on_progress", watch_progress)
    monkeypatch.setattr(FilmReporter, "on_strip", watch_strip)
    return frames


@pytest.mark.parametrize("frame", [0, 1, 2])
def test_film_in_strips_is_stopped_within_an_evaluation(small_film, in_strips, monkeypatch, frame):
    """After the third strip that follows the first progress of a frame; 0: of none."""
    on_strip = FilmReporter.on_strip

    def interrupt(reporter, share):
        if in_strips[-2:] == [frame, frame]:
            os.kill(os.getpid(), signal.SIGINT)
        on_strip(reporter, share)

    monkeypatch.setattr(FilmReporter, "on_strip", interrupt)
    code, out, err = call()
    assert code == 128 + signal.SIGINT
    assert "Traceback" not in err
    assert in_strips.count(frame) == 3
    assert max(in_strips) == frame
    assert (small_film / "out.mp4").exists() == (frame == 2)
    assert ("the 1 frames so far are out.mp4" in out) == (frame == 2)


def test_stop_within_the_first_evaluation_of_a_frame_keeps_the_frames_before(
    small_film, in_strips, monkeypatch
):
    from gatys_norm.film import transfer

    class Stopped(transfer.Transfer):
        def run(self, *given):
            if self._inputs.frame.warped[1].mask.any():
                os.kill(os.getpid(), signal.SIGINT)
            return super().run(*given)

    monkeypatch.setattr(transfer, "Transfer", Stopped)
    code, out, _ = call()
    assert code == 128 + signal.SIGINT
    assert out == "interrupted; the 1 frames so far are out.mp4, continue with --resume\n"
