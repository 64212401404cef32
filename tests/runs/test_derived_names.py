"""Files beside the picture: two pictures share none, and nobody else's file is replaced."""

import json
import os
import sys
from pathlib import Path

import numpy as np
import pytest
from helpers.programs import ROOT, run_new

from gatys_norm.cli import errors
from gatys_norm.cli import main as cli
from gatys_norm.config import TransferConfig
from gatys_norm.images import io as picture_io
from gatys_norm.report import page as report_page
from gatys_norm.runs import checkpoint as checkpoints
from gatys_norm.runs import folder as run_folder

PIXELS = np.random.default_rng(0).uniform(0, 255, (20, 24, 3))
FLAGS = (
    "--content=content.png",
    "--style=style.png",
    "--content_layers=conv2_1",
    "--style_layers=conv1_1,conv2_2",
    "--size=24",
    "--iterations=4",
)
FOREIGN = b'{"beach": "sunny"}'


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """Work in a folder with two pictures."""
    monkeypatch.chdir(tmp_path)
    for name in ("content.png", "style.png"):
        picture_io.save_picture(name, PIXELS)
    return tmp_path


def contents(folder):
    return {path.name: path.is_file() and path.read_bytes() for path in folder.iterdir()}


def transfer(*given):
    return cli.run(["gatys-norm", *FLAGS, *given])


def compare(*given):
    return cli.run(["gatys-norm", "compare", *FLAGS, *given])


def timelapse(*given):
    return cli.run(["gatys-norm", "timelapse", *given])


# --- names ------------------------------------------------------------------------------------


def test_a_png_gives_its_stem_and_others_their_whole_name():
    for derive, ending in (
        (run_folder.record_path, ".json"),
        (run_folder.checkpoint_path, ".checkpoint.npz"),
    ):
        assert derive("a/out.png") == Path(f"a/out{ending}")
        for name in ("out.jpg", "out.jpeg", "out.webp", "out.PNG", "v1.5.webp"):
            assert derive(f"a/{name}") == Path(f"a/{name}{ending}")


def test_no_two_pictures_share_a_derived_name():
    names = [
        f"out{a}{b}" for a in ("", *picture_io.SUFFIXES, ".PNG", ".x") for b in picture_io.SUFFIXES
    ]
    for derive in (
        run_folder.record_path,
        run_folder.checkpoint_path,
        lambda name: run_folder.derived_path(name, ".html"),
    ):
        assert len({derive(name) for name in names}) == len(set(names))


def test_two_endings_keep_their_records_apart(folder):
    for suffix in (".png", ".jpg"):
        run_folder.save_result(f"holiday{suffix}", PIXELS, {"config": {"seed": suffix}})
    assert json.loads(Path("holiday.json").read_text())["config"]["seed"] == ".png"
    assert json.loads(Path("holiday.jpg.json").read_text())["config"]["seed"] == ".jpg"


# --- whose a file is ----------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", picture_io.SUFFIXES)
def test_written_pictures_are_known_again_and_hold_the_same_pixels(suffix, monkeypatch):
    path = Path(f"x{suffix}")
    picture_io.save_picture(path, PIXELS)
    assert run_folder.is_our_picture(path)
    marked = picture_io.load_picture(path)
    monkeypatch.setattr(picture_io, "mark", picture_io.Image.Exif)
    picture_io.save_picture(path, PIXELS)
    assert not run_folder.is_our_picture(path)
    np.testing.assert_array_equal(picture_io.load_picture(path), marked)


def test_results_of_earlier_versions_are_known_by_their_settings(monkeypatch):
    monkeypatch.setattr(picture_io, "mark", picture_io.Image.Exif)
    for config, known in (({"content": "a.png"}, True), ({"colour": "blue"}, False), (3, False)):
        picture_io.save_picture("x.png", PIXELS, {"config": json.dumps(config)})
        assert run_folder.is_our_picture("x.png") is known


@pytest.mark.parametrize("content", [b"", b"text", b"\x89PNG\r\n\x1a\n"])
def test_what_is_no_picture_is_not_ours(content):
    Path("x.png").write_bytes(content)
    assert not run_folder.is_our_picture("x.png")


# --- the main command ---------------------------------------------------------------------------


def prepare(name, content):
    if isinstance(content, bytes):
        Path(name).write_bytes(content)
    elif content == "foreign picture":
        picture_io.Image.fromarray(PIXELS.astype(np.uint8)).save(name)
    elif content == "foreign arrays":
        with open(name, "wb") as file:
            np.savez(file, position=PIXELS)
    elif content == "pipe":
        os.mkfifo(name)
    elif content == "dangling link":
        Path(name).symlink_to("nowhere")
    else:
        Path(name).mkdir()


@pytest.mark.parametrize(
    ("output", "name", "content", "given"),
    [
        ("holiday.png", "holiday.json", FOREIGN, ()),
        ("holiday.png", "holiday.json", b'{"config": 1, "status": "mine"}', ()),
        ("holiday.png", "holiday.json", b"[" * 100_000, ()),
        ("holiday.png", "holiday.json", b"\xff", ()),
        ("holiday.png", "holiday.json", "pipe", ()),
        ("holiday.png", "holiday.json", "dangling link", ()),
        ("holiday.png", "holiday.json", FOREIGN, ("--resume",)),
        ("holiday.jpg", "holiday.jpg.json", FOREIGN, ()),
        ("holiday.png", "holiday.checkpoint.npz", b"mine", ()),
        ("holiday.png", "holiday.checkpoint.npz", "foreign arrays", ("--checkpoint_every=0",)),
        ("holiday.png", ".holiday.json.lock", b"mine", ()),
        ("shot.png", "shot-00002.png", "foreign picture", ("--snapshot_every=2",)),
        ("shot.webp", "shot-00004.webp", "foreign picture", ("--snapshot_every=1",)),
        ("shot.png", "shot-00004.png", b"text", ("--snapshot_every=2",)),
        ("shot.png", "shot-00004.png", "folder", ("--snapshot_every=2",)),
        (
            "shot.png",
            "shot-00003.png",
            "foreign picture",
            ("--snapshot_every=2", "--size=16,24", "--iterations=1,3"),
        ),
    ],
)
def test_a_file_of_somebody_else_is_refused(folder, capsys, output, name, content, given):
    prepare(name, content)
    before = contents(folder)
    assert transfer(f"--output={output}", *given) == errors.BAD_INPUT
    out, err = capsys.readouterr()
    assert out == ""
    assert err == (
        f"gatys-norm: --output: {name}: is there already and was not written by this program; "
        "move it away, or choose another name for the output\n"
    )
    assert contents(folder) == before


def check(output="shot.png", every=2, **changes):
    config = TransferConfig("content.png", "style.png", **changes)
    run_folder.check_derived(output, config, every, resume=False)


@pytest.mark.parametrize(
    "name", ["shot-00003.png", "shot-00006.png", "shot-000002.png", "shot-00002.jpg", "x-00002.png"]
)
def test_pictures_that_no_snapshot_replaces_are_left(name):
    prepare(name, "foreign picture")
    check(iterations=(5,))
    prepare("shot-00002.png", "foreign picture")
    check(every=0)
    with pytest.raises(run_folder.OutputError, match=r"shot-00002\.png: is there already"):
        check(iterations=(5,))


def test_a_checkpoint_of_ours_and_an_empty_lock_do_not_hinder():
    checkpoints.save("shot.checkpoint.npz", checkpoints.Checkpoint({}, {"stage": 0}))
    Path(".shot.json.lock").touch()
    check()


def test_a_folder_that_cannot_be_listed_is_refused(monkeypatch):
    def refuse(_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "iterdir", refuse)
    with pytest.raises(run_folder.OutputError, match=r"shot\.png: the folder cannot be read"):
        check()


@pytest.mark.usefixtures("eagerly", "small_network")
@pytest.mark.parametrize("output", ["out.png", "out.jpg"])
def test_the_same_command_goes_on_as_before(folder, output):
    given = (f"--output={output}", "--snapshot_every=2")
    assert transfer(*given) == 0
    before = contents(folder)
    assert transfer(*given, "--seed=1") == 0
    assert contents(folder).keys() == before.keys()
    assert json.loads(run_folder.record_path(output).read_text())["config"]["seed"] == 1


# --- the other programs -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("both-original.png", "foreign picture"),
        ("both-normalized.png", b"text"),
        ("both-normalized.json", FOREIGN),
        ("both-content.png", "foreign picture"),
        ("both-style.png", "foreign picture"),
        ("both-curves.png", "foreign picture"),
        ("both.html", b"<title>mine</title>"),
    ],
)
def test_compare_replaces_nothing_of_others(folder, capsys, name, content):
    prepare(name, content)
    before = contents(folder)
    assert compare("--output=both.png", "--report") == errors.BAD_INPUT
    assert f"--output: {name}: is there already" in capsys.readouterr().err
    assert contents(folder) == before


@pytest.mark.usefixtures("eagerly", "small_network")
def test_compare_again_and_beside_another_ending(folder):
    """What compare does not write, it does not refuse either."""
    Path("both.json").write_bytes(FOREIGN)
    for output in ("both.png", "both.jpg", "both.png"):
        assert compare(f"--output={output}", "--report") == 0
    names = contents(folder).keys()
    assert {"both.html", "both.jpg.html", "both-original.json", "both-original.jpg.json"} <= names
    assert "both-original.jpg" in Path("both.jpg.html").read_text()
    assert Path("both.json").read_bytes() == FOREIGN


def test_pages_are_known_again():
    report_page.write("page.html", "A page", [])
    assert report_page.is_page("page.html")
    report_page.insert_survey("page.html", "a table")
    assert report_page.is_page("page.html")
    assert not report_page.is_page("content.png")


def test_timelapse_replaces_its_own_animation_alone(folder, capsys):
    for name in ("out.png", "out-00010.png", "out.jpg", "out-00010.jpg"):
        picture_io.save_picture(name, PIXELS)
    for _ in range(2):
        assert timelapse("--output=out.png") == 0
        assert timelapse("--output=out.jpg") == 0
    assert run_folder.is_our_picture("out-timelapse.webp")
    assert run_folder.is_our_picture("out.jpg-timelapse.webp")
    prepare("out-timelapse.webp", "foreign picture")
    before = contents(folder)
    capsys.readouterr()
    assert timelapse("--output=out.png") == errors.BAD_INPUT
    assert "--output: out-timelapse.webp: is there already" in capsys.readouterr().err
    assert contents(folder) == before
    assert timelapse("--output=out.png", "--timelapse=out-timelapse.webp") == 0  # it is named


def test_the_checks_load_no_tensorflow(folder):
    code = (
        "import sys; from gatys_norm.cli import main as cli; from pathlib import Path\n"
        f"Path('x.json').write_bytes({FOREIGN!r})\n"
        f"assert cli.run(['gatys-norm', *{FLAGS!r}, '--output=x.png']) == 2\n"
        "assert 'tensorflow' not in sys.modules"
    )
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    assert run_new(sys.executable, "-c", code, cwd=folder, env=environment).returncode == 0
