"""A disk that fills up in the midst of a run costs no file that was whole before.

Real transfers on a network of a few channels; the operating system refuses the writing.
"""

import contextlib
import json
import os
import signal
from pathlib import Path

import numpy as np
import pytest
from helpers.commands import outcome
from helpers.disk import limited_file_size

from gatys_norm import files
from gatys_norm.cli import main as cli
from gatys_norm.cli import reporter
from gatys_norm.images import io as picture_io
from gatys_norm.runs import checkpoint as checkpoints

FLAGS = (
    "--content=content.png",
    "--style=style.png",
    "--output=out.png",
    "--content_layers=conv2_1",
    "--style_layers=conv1_1,conv2_2",
    "--size=24",
    "--iterations=6",
    "--checkpoint_every=2",
)
INPUTS = {"content.png", "style.png"}
FULL = "could not be written (File too large)"

pytestmark = pytest.mark.usefixtures("eagerly")


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch, small_network):
    """Run in a folder with two pictures."""
    monkeypatch.chdir(tmp_path)
    generator = np.random.default_rng(0)
    for name in sorted(INPUTS):
        picture_io.save_picture(name, generator.uniform(0, 255, (20, 24, 3)))
    return tmp_path


def run(*flags):
    """Run the main command; returns (exit code, standard output, lines of standard error)."""
    code, out, err = outcome(cli.run, ["gatys-norm", *FLAGS, *flags])
    return code, out, err.splitlines()


@pytest.fixture
def disk_is_full_for(monkeypatch):
    """Give {file name: how often it can be written before the disk is full}, to be filled."""
    left = {}
    really_open = files.open_atomically

    @contextlib.contextmanager
    def open_atomically(path):
        name = Path(path).name
        with contextlib.ExitStack() as stack:
            if left.get(name) == 0:
                stack.enter_context(limited_file_size(500))
            elif name in left:
                left[name] -= 1
            yield stack.enter_context(really_open(path))

    monkeypatch.setattr(files, "open_atomically", open_atomically)
    return left


def contents(folder):
    """{name: bytes} of all files but the inputs, hidden ones too."""
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.name not in INPUTS}


def warned(lines):
    return [line for line in lines if "warning: " in line]


@pytest.fixture
def expected_picture(folder):
    """The bytes of the picture when nothing goes wrong; its files are removed again."""
    assert run()[0] == 0
    made = contents(folder)
    assert set(made) == {"out.png", "out.json"}
    for name in made:
        (folder / name).unlink()
    return made["out.png"]


def test_at_every_checkpoint(folder, expected_picture, disk_is_full_for):
    disk_is_full_for["out.checkpoint.npz"] = 0
    code, _, err = run()
    assert code == 0
    assert warned(err) == [f"gatys-norm: warning: out.checkpoint.npz: {FULL}"]
    assert set(contents(folder)) == {"out.png", "out.json"}
    assert contents(folder)["out.png"] == expected_picture


def test_from_the_second_checkpoint_on(folder, expected_picture, disk_is_full_for):
    disk_is_full_for |= {"out.checkpoint.npz": 1, "out.png": 0}
    code, out, err = run()
    assert code == 1
    assert "completed" not in out
    assert warned(err) == [
        f"gatys-norm: warning: out.checkpoint.npz: {FULL}; the older one is kept"
    ]
    kept = "out.checkpoint.npz is kept, continue with --resume"
    assert err[-1] == f"gatys-norm: out.png: {FULL}; {kept}"
    assert set(contents(folder)) == {"out.checkpoint.npz"}
    assert checkpoints.load("out.checkpoint.npz")[1]["iterations"] == 2
    disk_is_full_for.clear()
    assert run("--resume")[0] == 0
    assert set(contents(folder)) == {"out.png", "out.json"}
    assert contents(folder)["out.png"] == expected_picture


def test_at_a_snapshot(folder, expected_picture, disk_is_full_for):
    disk_is_full_for["out-00003.png"] = 0
    code, _, err = run("--snapshot_every=3")
    assert code == 0
    assert warned(err) == [f"gatys-norm: warning: out-00003.png: {FULL}"]
    assert set(contents(folder)) == {"out-00006.png", "out.png", "out.json"}
    assert contents(folder)["out.png"] == expected_picture


@pytest.mark.parametrize("name", ["out.png", "out.json"])
def test_at_the_result(folder, disk_is_full_for, name):
    """Picture and record belong together: an earlier pair stays, and both of it."""
    assert run("--seed=1")[0] == 0
    earlier = contents(folder)
    disk_is_full_for[name] = 0
    code, out, err = run("--checkpoint_every=0", "--lambda_os=0.5")
    assert code == 1
    assert "completed" not in out
    assert err[-1] == f"gatys-norm: out.png: {FULL}; nothing of this run is kept"
    assert contents(folder) == earlier
    disk_is_full_for.clear()
    assert run("--lambda_os=0.5")[0] == 0
    assert contents(folder).keys() == earlier.keys()
    assert json.loads(contents(folder)["out.json"])["config"]["lambda_os"] == 0.5
    assert contents(folder)["out.png"] != earlier["out.png"]


@pytest.mark.parametrize("name", ["both.png", "both-curves.png", "both.html"])
def test_at_the_comparison(folder, disk_is_full_for, capsys, name):
    command = ["gatys-norm", "compare", *FLAGS, "--output=both.png", "--report"]
    disk_is_full_for[name] = 0
    assert cli.run(command) == 1
    message = capsys.readouterr().err.splitlines()[-1]
    assert message.startswith(f"gatys-norm: both.png or a file next to it: {FULL}; both results")
    pictures = {"both-original.png", "both-normalized.png"}
    assert pictures <= set(contents(folder))
    assert name not in contents(folder)
    before = {picture: Path(picture).stat().st_mtime_ns for picture in pictures}
    disk_is_full_for.clear()
    again = cli.run([*command, "--resume"])
    assert again == 0
    assert {picture: Path(picture).stat().st_mtime_ns for picture in pictures} == before
    assert name in contents(folder)


@pytest.mark.parametrize("written_before", [0, 1])
def test_when_interrupted(folder, disk_is_full_for, monkeypatch, written_before):
    """What is said of `--resume` depends on whether there is anything to go on from."""
    disk_is_full_for["out.checkpoint.npz"] = written_before
    keep, interruptions = reporter.Reporter._keep, [signal.SIGTERM]

    def keep_then_interrupt(*arguments):
        keep(*arguments)
        while interruptions:
            os.kill(os.getpid(), interruptions.pop())

    monkeypatch.setattr(reporter.Reporter, "_keep", keep_then_interrupt)
    code, out, _ = run()
    assert code == 128 + signal.SIGTERM
    assert ("continue with --resume" in out) == bool(written_before)
    assert "the picture so far is out.png" in out
    checkpoint = {"out.checkpoint.npz"} if written_before else set()
    assert set(contents(folder)) == {"out.png", "out.json"} | checkpoint
    assert json.loads(contents(folder)["out.json"])["status"] == "interrupted"
