"""The programs as their users start them."""

import json
import os
import re
import signal

import numpy as np
import pytest
from helpers.programs import COMMAND, ROOT, end_of, run, run_new, start, start_new, wait_for
from helpers.weights_files import write_weights
from PIL import Image

from gatys_norm.images import io as picture_io
from gatys_norm.runs import folder as run_folder

CONTENT, STYLE = ROOT / "data" / "river_town.jpg", ROOT / "data" / "flowing_strokes.jpg"
PICTURES = (f"--content={CONTENT}", f"--style={STYLE}")
SHALLOW = ("--size=32", "--content_layers=conv1_2", "--style_layers=conv1_1")


@pytest.fixture(scope="module")
def shallow(tmp_path_factory):
    """Flags of a transfer that takes little: two layers, weights of one value."""
    path = tmp_path_factory.mktemp("weights") / "weights.h5"
    write_weights(path, kernel=0.02)
    return (*PICTURES, *SHALLOW, f"--weights={path}")


@pytest.mark.weights
@pytest.mark.slow
@pytest.mark.usefixtures("real_weights")
def test_main_command(tmp_path):
    """Its own defaults but for the size; the one run here with the real weights."""
    output = tmp_path / "a name with spaces, ö.png"
    flags = ("--size=48", "--iterations=4", "--snapshot_every=2")
    finished = run_new(COMMAND, *PICTURES, *flags, f"--output={output}")
    assert finished.returncode == 0, finished.stderr
    assert {path.name for path in tmp_path.iterdir()} == {
        output.name,
        output.with_suffix(".json").name,
        "a name with spaces, ö-00002.png",
        "a name with spaces, ö-00004.png",
    }
    record = json.loads(output.with_suffix(".json").read_text())
    assert json.loads(picture_io.load_text(output)["config"]) == record["config"]
    with Image.open(output) as picture:
        assert picture.size == (record["stages"][0]["width"], record["stages"][0]["height"])
    for term in record["terms"]:
        assert term in finished.stdout
    assert str(output) in finished.stdout.splitlines()[-1]
    assert "4/4" in finished.stderr
    assert "oneDNN" not in finished.stderr
    last = picture_io.load_picture(run_folder.snapshot_path(output, 4))
    np.testing.assert_array_equal(last, picture_io.load_picture(output))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("number", "optimizer", "begin"),
    [(signal.SIGINT, "lbfgs", start_new), (signal.SIGTERM, "adam", start)],
)
def test_stopped_then_resumed_equals_never_stopped(tmp_path, shallow, number, optimizer, begin):
    """What SIGKILL leaves is for test_kills.py."""
    flags = (*shallow, f"--optimizer={optimizer}", "--iterations=100", "--checkpoint_every=1")
    whole, output = tmp_path / "whole.png", tmp_path / "parts.png"
    process = begin(COMMAND, *flags, f"--output={output}")
    wait_for(lambda: run_folder.checkpoint_path(output).exists() or process.poll() is not None)
    process.send_signal(number)
    code, stdout, stderr = end_of(process)
    assert code == 128 + number, stderr
    assert "--resume" in stdout
    assert json.loads(output.with_suffix(".json").read_text())["status"] == "interrupted"
    for finished in (
        run(COMMAND, *flags, f"--output={output}", "--resume"),
        run(COMMAND, *flags, f"--output={whole}"),
    ):
        assert finished.returncode == 0, finished.stderr
    assert {path.name for path in tmp_path.iterdir()} == {
        *("parts.png", "parts.json", "whole.png", "whole.json"),
    }
    np.testing.assert_array_equal(picture_io.load_picture(output), picture_io.load_picture(whole))


def timed_steps(text):
    """Return the steps of the demo whose time is said."""
    return re.findall(r"^([a-z ]+) in \d\S* (?:s|min)\b", text, re.MULTILINE)


@pytest.mark.slow
def test_demo_makes_the_labeled_picture(shallow):
    """The demo's own command, cut short; later flags win over earlier ones."""
    output = ROOT / "results" / f"test-{os.getpid()}.png"
    flags = (*shallow, "--optimizer=adam", "--size=64", "--iterations=5")
    try:
        finished = run_new("bash", "scripts/demo.sh", *flags, f"--output={output}")
        assert finished.returncode == 0, finished.stderr
        records = {
            loss: json.loads(output.with_name(f"{output.stem}-{loss}.json").read_text())
            for loss in ("original", "normalized")
        }
        assert {loss: record["config"]["loss"] for loss, record in records.items()} == {
            "original": "original",
            "normalized": "normalized",
        }
        sheet = picture_io.load_picture(output)
        width = sum(
            round(picture.shape[1] * 48 / picture.shape[0])
            for picture in (picture_io.load_picture(CONTENT), picture_io.load_picture(STYLE))
        )
        assert sheet.shape[1] > width + 2 * 64
        assert timed_steps(finished.stdout) == [
            *("installed", "completed", "completed", "side by side", "done"),
        ]
        reflections = [
            record["metrics"]["style_reflection"]["conv1_1"] for record in records.values()
        ]
        lines = [line.split() for line in finished.stdout.splitlines()]
        rows = {tuple(words[:3]): words[3:] for words in lines}
        expected = [f"{value:.4f}" for value in reflections]
        assert rows["style", "reflection", "conv1_1"] == expected
        again = run_new("bash", "scripts/demo.sh", *flags, f"--output={output}", "--resume")
        assert timed_steps(again.stdout) == ["installed", "side by side", "done"]
    finally:
        for path in output.parent.glob(f"{output.stem}*"):
            path.unlink()


@pytest.mark.slow
def test_samples_are_what_their_program_draws(tmp_path):
    finished = run(ROOT / "data" / "draw" / "draw.py", f"--output_dir={tmp_path}")
    assert finished.returncode == 0, finished.stderr
    drawn = sorted(path.name for path in tmp_path.iterdir())
    assert drawn == sorted(path.name for path in (ROOT / "data").glob("*.jpg"))
    for name in drawn:
        difference = picture_io.load_picture(tmp_path / name) - picture_io.load_picture(
            ROOT / "data" / name
        )
        assert np.abs(difference).mean() < 1
    assert sum(path.stat().st_size for path in (ROOT / "data").iterdir()) < 1_000_000
