"""The programs as their users start them."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from gatys_norm import images

ROOT = Path(__file__).parent.parent
CONTENT, STYLE = ROOT / "data" / "river_town.jpg", ROOT / "data" / "flowing_strokes.jpg"
TRANSFER = [
    sys.executable,
    "-m",
    "gatys_norm",
    f"--content={CONTENT}",
    f"--style={STYLE}",
    "--size=64",
]


def start(*arguments):
    return subprocess.Popen(
        [str(argument) for argument in arguments],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(*arguments):
    process = start(*arguments)
    stdout, stderr = process.communicate(timeout=600)
    return process.returncode, stdout, stderr


@pytest.mark.weights
@pytest.mark.usefixtures("real_weights")
def test_main_command(tmp_path):
    output = tmp_path / "a name with spaces, ö.png"
    code, stdout, stderr = finish(*TRANSFER, "--iterations=8", f"--output={output}")
    assert code == 0, stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(
        [output.name, output.with_suffix(".json").name]
    )
    record = json.loads(output.with_suffix(".json").read_text())
    assert json.loads(images.load_text(output)["config"]) == record["config"]
    with Image.open(output) as picture:
        assert picture.size == (record["stages"][0]["width"], record["stages"][0]["height"])
    for term in record["terms"]:
        assert term in stdout
    assert str(output) in stdout.splitlines()[-1]
    assert "8/8" in stderr
    assert "oneDNN" not in stderr


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory, real_weights):
    """The picture of a run that was never stopped, with the flags that made it."""
    flags = ["--iterations=60", "--checkpoint_every=2", "--weights=imagenet-8bit"]
    whole = tmp_path_factory.mktemp("whole") / "whole.png"
    assert finish(*TRANSFER, *flags, f"--output={whole}")[0] == 0
    return images.load_picture(whole), flags


@pytest.mark.weights
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_stopped_then_resumed_equals_never_stopped(tmp_path, uninterrupted, number):
    expected, flags = uninterrupted
    output = tmp_path / "parts.png"
    process = start(*TRANSFER, *flags, f"--output={output}")
    checkpoint = output.with_suffix(".checkpoint.npz")
    while not checkpoint.exists() and process.poll() is None:
        time.sleep(0.02)
    process.send_signal(number)
    stdout, stderr = process.communicate(timeout=60)
    if number == signal.SIGKILL:
        assert process.returncode == -number
        assert not output.exists()
    else:
        assert process.returncode == 128 + number, stderr
        assert "--resume" in stdout
        assert json.loads(output.with_suffix(".json").read_text())["status"] == "interrupted"
    code, _, stderr = finish(*TRANSFER, *flags, f"--output={output}", "--resume")
    assert code == 0, stderr
    assert {path.name for path in tmp_path.iterdir()} == {"parts.png", "parts.json"}
    np.testing.assert_array_equal(images.load_picture(output), expected)


@pytest.mark.weights
@pytest.mark.usefixtures("real_weights")
def test_snapshots(tmp_path):
    output = tmp_path / "out.jpg"
    flags = ["--iterations=6", "--snapshot_every=2", f"--output={output}"]
    assert finish(*TRANSFER, *flags)[0] == 0
    assert {path.name for path in tmp_path.glob("out-*.jpg")} == {
        "out-00002.jpg",
        "out-00004.jpg",
        "out-00006.jpg",
    }


@pytest.mark.weights
@pytest.mark.slow
@pytest.mark.usefixtures("real_weights")
def test_demo_makes_the_labelled_picture():
    """The demo's own command, cut short; later flags win over earlier ones."""
    output = ROOT / "results" / f"test-{os.getpid()}.png"
    try:
        code, stdout, stderr = finish(
            "bash", "scripts/demo.sh", "--size=64", "--iterations=5", f"--output={output}"
        )
        assert code == 0, stderr
        records = {
            loss: json.loads(output.with_name(f"{output.stem}-{loss}.json").read_text())
            for loss in ("original", "normalized")
        }
        assert {loss: record["config"]["loss"] for loss, record in records.items()} == {
            "original": "original",
            "normalized": "normalized",
        }
        sheet = images.load_picture(output)
        width = sum(
            round(picture.shape[1] * 48 / picture.shape[0])
            for picture in (images.load_picture(CONTENT), images.load_picture(STYLE))
        )
        assert sheet.shape[1] > width + 2 * 64
        assert str(output) in stdout
        reflections = [
            record["metrics"]["style_reflection"]["conv5_4"] for record in records.values()
        ]
        rows = {tuple(line.split()[:3]): line.split()[3:] for line in stdout.splitlines()}
        expected = [f"{value:.4f}" for value in reflections]
        assert rows["style", "reflection", "conv5_4"] == expected
    finally:
        for path in output.parent.glob(f"{output.stem}*"):
            path.unlink()


def test_samples_are_what_their_script_draws(tmp_path):
    code, _, stderr = finish(sys.executable, "scripts/make_samples.py", f"--output_dir={tmp_path}")
    assert code == 0, stderr
    drawn = sorted(path.name for path in tmp_path.iterdir())
    assert drawn == sorted(path.name for path in (ROOT / "data").glob("*.jpg"))
    for name in drawn:
        difference = images.load_picture(tmp_path / name) - images.load_picture(
            ROOT / "data" / name
        )
        assert np.abs(difference).mean() < 1
    assert sum(path.stat().st_size for path in (ROOT / "data").iterdir()) < 1_000_000


@pytest.mark.weights
@pytest.mark.slow
@pytest.mark.usefixtures("real_weights")
def test_short_soak():
    code, stdout, stderr = finish(sys.executable, "scripts/soak.py", "--kills=6")
    assert code == 0, stderr
    figures = json.loads(stdout)
    assert figures["kills_survived"] == 6
    assert figures["transfers_finished"] >= 1
    assert (figures["corrupt_files"], figures["mismatches"]) == (0, 0)
