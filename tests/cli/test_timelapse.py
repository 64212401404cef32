"""`gatys-norm timelapse`: an animation of a run's snapshots, and what it refuses."""

import os
import re
import sys
from pathlib import Path

import numpy as np
import pytest
from helpers.commands import outcome
from helpers.digests import digests
from helpers.disk import limited_file_size
from helpers.programs import ROOT, run_new
from PIL import Image, ImageSequence

from gatys_norm.cli import errors, timelapse
from gatys_norm.images import io as picture_io
from gatys_norm.images.sizes import resize
from gatys_norm.runs import folder as run_folder

SCRIPT = ROOT / "scripts" / "timelapse.py"
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT)}
SHADES = {5: 40, 10: 80, 100_000: 120}  # of the snapshots, by iteration
LAST = 200
NEAR = 10  # the animation is lossy; the shades are at least four times that apart


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Work in a folder with a finished picture, three snapshots, and pictures like snapshots."""
    monkeypatch.chdir(tmp_path)
    for iteration, shade in SHADES.items():
        paint(run_folder.snapshot_path("out.png", iteration), shade)
    paint("out.png", LAST)
    for other in ("out-123.png", "out-00020.jpg", "out-0002x.png", "other-00020.png"):
        paint(other, 255)
    paint("out-00020.png.png", 255)
    return tmp_path


def paint(path, shade, size=(64, 48)):
    picture_io.save_picture(path, np.full((*size[::-1], 3), shade, np.float32))


def call(*arguments):
    """Run the program here; returns (code, output, errors)."""
    return outcome(timelapse.run, ["gatys-norm timelapse", *arguments])


def frames_of(path):
    """[(shade, milliseconds)] of an animation's frames, and the size of all."""
    with Image.open(path) as animation:
        assert animation.format == "WEBP"
        found = []
        for frame in ImageSequence.Iterator(animation):
            frame.load()
            pixels = np.asarray(frame.convert("RGB"), int)
            assert np.ptp(pixels) < NEAR
            found.append((round(pixels.mean()), frame.info["duration"]))
        return found, animation.size


def near(shades, expected):
    return all(abs(one - other) < NEAR for one, other in zip(shades, expected, strict=True))


def test_snapshots_in_their_order_and_the_finished_picture_last(folder):
    before = {path.name for path in folder.iterdir()}
    code, out, err = call("--output=out.png")
    assert (code, err) == (0, "")
    assert out == "4 pictures, 3.6 s: out-timelapse.webp\n"
    assert {path.name for path in folder.iterdir()} - before == {"out-timelapse.webp"}
    frames, size = frames_of("out-timelapse.webp")
    assert near([shade for shade, _ in frames], [*SHADES.values(), LAST])
    assert [milliseconds for _, milliseconds in frames] == [200, 200, 200, 3000]
    assert size == (64, 48)


@pytest.mark.parametrize(("flag", "loops"), [([], 0), (["--noloop"], 1), (["--loop"], 0)])
def test_times_and_repetition(folder, flag, loops):
    assert call("--output=out.png", "--frame_ms=50", "--hold_ms=700", *flag)[0] == 0
    frames, _ = frames_of("out-timelapse.webp")
    assert [milliseconds for _, milliseconds in frames] == [50, 50, 50, 700]
    with Image.open("out-timelapse.webp") as animation:
        assert animation.info["loop"] == loops


@pytest.mark.parametrize(
    ("flag", "size"),
    [([], (101, 75)), (["--long_side=40"], (40, 30)), (["--long_side=5000"], (101, 75))],
)
def test_all_have_the_size_of_the_finished_picture_or_a_smaller_one(folder, flag, size):
    """Of a run over several sizes the first snapshots are smaller."""
    paint("out.png", LAST, (101, 75))
    assert call("--output=out.png", *flag)[0] == 0
    frames, found = frames_of("out-timelapse.webp")
    assert found == size
    assert near([shade for shade, _ in frames], [*SHADES.values(), LAST])


def test_smaller_snapshots_are_enlarged_as_everywhere(folder):
    small = np.random.default_rng(0).uniform(0, 255, (24, 32, 3)).astype(np.float32)
    picture_io.save_picture("small.png", small)
    bar = timelapse.tqdm(disable=True)
    pixels = np.asarray(timelapse.Frames([Path("small.png")], (48, 64), bar))
    expected = resize(picture_io.load_picture("small.png"), 48, 64)
    np.testing.assert_array_equal(pixels, np.rint(expected))


def test_the_name_of_the_animation_can_be_given(folder):
    (folder / "films").mkdir()
    code, out, _ = call("--output=out.png", "--timelapse=films/ä ö.WEBP")
    assert (code, out) == (0, "4 pictures, 3.6 s: films/ä ö.WEBP\n")
    assert len(frames_of("films/ä ö.WEBP")[0]) == 4


def test_names_with_marks_of_patterns(folder):
    for name in ("a.*[b](c)+-00010.png", "a.*[b](c)+.png", "axx-00010.png"):
        paint(name, 90)
    assert call("--output=a.*[b](c)+.png")[1].startswith("2 pictures")


def test_an_older_animation_is_replaced(folder):
    paint("out-timelapse.webp", 7)
    assert call("--output=out.png")[0] == 0
    assert len(frames_of("out-timelapse.webp")[0]) == 4


def test_one_picture_at_a_time_is_held(folder):
    """Thirty pictures more, of 2 MB each once decoded, take less than half of that in memory."""
    code = (
        "import pathlib, re, runpy, sys\n"
        "sys.argv = sys.argv[1:]\n"
        "try: runpy.run_path(sys.argv[0], run_name='__main__')\n"
        # getrusage's counts the memory of the process that started this one
        "finally: print(re.search(r'VmHWM:\\s+(\\d+) kB', "
        "pathlib.Path('/proc/self/status').read_text())[1])"
    )

    def peak():
        finished = run_new(
            sys.executable, "-c", code, SCRIPT, "--output=out.png", cwd=folder, env=ENVIRONMENT
        )
        assert finished.returncode == 0, finished.stderr
        return int(finished.stdout.split()[-1]) / 1024

    for number, path in enumerate([Path("out.png"), *Path().glob("out-?????.png")]):
        paint(path, 100 + number, (700, 700))
    few = peak()
    whole = Path("out-00010.png").read_bytes()
    for iteration in range(200, 230):
        run_folder.snapshot_path("out.png", iteration).write_bytes(whole)
    assert peak() < few + 30


# --- what is refused ---------------------------------------------------------------------------


def prepare_nothing():
    pass


def damage_snapshot():
    path = Path("out-00010.png")
    path.write_bytes(path.read_bytes()[:-30])


def no_picture():
    Path("out-00010.png").write_bytes(b"text")


def remove_output():
    Path("out.png").unlink()


def remove_snapshots():
    for iteration in SHADES:
        run_folder.snapshot_path("out.png", iteration).unlink()


def as_webp():
    for path in [*map(run_folder.snapshot_path, ["out.png"] * 3, SHADES), Path("out.png")]:
        picture_io.save_picture(path.with_suffix(".webp"), picture_io.load_picture(path))


def make_folder():
    Path("folder.webp").mkdir()


def link():
    as_webp()
    Path("link.webp").symlink_to("out-00010.webp")


@pytest.mark.parametrize(
    ("prepare", "arguments", "message"),
    [
        (prepare_nothing, [], "--output: is needed, the finished picture of the run"),
        (prepare_nothing, ["--output=absent.png"], "--output: absent.png: No such file"),
        (prepare_nothing, ["--output=absent/x.png"], "--output: .*absent"),
        (prepare_nothing, ["--output=out.gif"], r"--output: out\.gif: .* ends in \.png"),
        (prepare_nothing, ["--output=other-00020.png"], "has no snapshots next to it, such as "),
        (remove_snapshots, ["--output=out.png"], r"has no snapshots .*out-00010\.png.*_every"),
        (remove_output, ["--output=out.png"], r"--output: out\.png: No such file"),
        (no_picture, ["--output=out.png"], r"--output: out-00010\.png: its content is no picture"),
        (damage_snapshot, ["--output=out.png"], r"out-00010\.png: damaged or cut short"),
        (prepare_nothing, ["--output=out.png", "--timelapse=x.gif"], r"--timelapse: x\.gif: "),
        (prepare_nothing, ["--output=out.png", "--timelapse=x.png"], r"--timelapse: x\.png: "),
        (prepare_nothing, ["--output=out.png", "--timelapse=x"], r"--timelapse: x: .*\.webp"),
        (prepare_nothing, ["--output=out.png", "--timelapse=no/x.webp"], "there is no folder no"),
        (make_folder, ["--output=out.png", "--timelapse=folder.webp"], "is a folder"),
        (as_webp, ["--output=out.webp", "--timelapse=out.webp"], "is one of the inputs"),
        (as_webp, ["--output=out.webp", "--timelapse=out-00010.webp"], "is one of the inputs"),
        (link, ["--output=out.webp", "--timelapse=link.webp"], "is one of the inputs"),
        (prepare_nothing, ["--output=out.png", "--frame_ms=0"], "frame_ms"),
        (prepare_nothing, ["--output=out.png", "--hold_ms=x"], "hold_ms"),
        (prepare_nothing, ["--output=out.png", "--long_side=15"], "long_side"),
        (prepare_nothing, ["--output=out.png", "--long_side=16384"], "long_side"),
        (prepare_nothing, ["--output=out.png", "--size=5"], "size"),
        (prepare_nothing, ["out.png"], "unexpected 'out.png'"),
    ],
)
def test_what_cannot_be_used_is_refused_in_one_line(folder, prepare, arguments, message):
    prepare()
    before = digests(folder)
    code, out, err = call(*arguments)
    assert (code, out) == (errors.BAD_INPUT, "")
    assert re.fullmatch(rf"gatys-norm timelapse: .*{message}.*\n", err)
    assert digests(folder) == before


def test_a_full_disk_leaves_the_older_animation(folder):
    paint("out-timelapse.webp", 7)
    older = Path("out-timelapse.webp").read_bytes()
    with limited_file_size(100):
        code, out, err = call("--output=out.png")
    assert (code, out) == (errors.FAILED, "")
    assert err == (
        "gatys-norm: out-timelapse.webp: could not be written (File too large); "
        "the snapshots are as they were\n"
    )
    assert Path("out-timelapse.webp").read_bytes() == older
    assert not list(folder.glob(".*"))


def test_as_a_process_without_tensorflow(folder):
    finished = run_new(
        *(sys.executable, "-X", "importtime", SCRIPT, "--output=out.png"),
        cwd=folder,
        env=ENVIRONMENT,
    )
    assert finished.returncode == 0
    assert finished.stdout == "4 pictures, 3.6 s: out-timelapse.webp\n"
    loaded = {line.split("|")[-1].strip().split(".")[0] for line in finished.stderr.splitlines()}
    assert "PIL" in loaded
    assert not loaded & {"tensorflow", "keras", "h5py"}
