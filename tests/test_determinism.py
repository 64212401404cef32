"""The same command makes the same files, and a picture carries what is needed to make it again."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from gatys_norm import cli

ROOT = Path(__file__).parent.parent
SETTINGS = {
    "content": str(ROOT / "data" / "river_town.jpg"),
    "style": str(ROOT / "data" / "flowing_strokes.jpg"),
    "size": "64",
    "iterations": "4",
    "init": "noise",
    "seed": "7",
    "lambda_os": "0.01",
    "tv_weight": "1e-4",
    "log_every": "1",
}

pytestmark = [pytest.mark.weights, pytest.mark.usefixtures("real_weights")]


def flags(settings):
    return [f"--{name}={value}" for name, value in settings.items()]


@pytest.fixture(scope="module")
def first(tmp_path_factory, real_weights):
    """The picture of a process of its own."""
    return run_process(tmp_path_factory.mktemp("first") / "out.png", real_weights)


def run_process(output, real_weights):
    finished = subprocess.run(
        [
            *(sys.executable, "-m", "gatys_norm", f"--output={output}"),
            *flags(SETTINGS | {"weights": real_weights.source}),
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert finished.returncode == 0, finished.stderr
    return output


def record_of(picture):
    return json.loads(picture.with_suffix(".json").read_text())


def without_times(record):
    """The record without what a clock put in."""
    assert record["timing"]["seconds"] > 0
    stages = [{**stage, "seconds": None} for stage in record["stages"]]
    return record | {"timing": None, "stages": stages}


def test_two_processes_make_the_same_files(first, tmp_path, real_weights):
    second = run_process(tmp_path / "out.png", real_weights)
    assert second.read_bytes() == first.read_bytes()
    assert without_times(record_of(second)) == without_times(record_of(first))


@pytest.mark.parametrize("suffix", [".png", ".json"])
def test_settings_taken_from_a_run_make_its_picture_again(first, tmp_path, suffix):
    again = tmp_path / "again.png"
    source = first.with_suffix(suffix)
    assert cli.run(["gatys-norm", f"--config_from={source}", f"--output={again}"]) == 0
    assert again.read_bytes() == first.read_bytes()
    assert without_times(record_of(again)) == without_times(record_of(first))


def test_flags_override_the_settings_of_a_run(first, tmp_path):
    other = tmp_path / "other.jpg"
    given = ["--seed=8", "--iterations=2", "--style_weights=1,0,0,0,0"]
    assert cli.run(["gatys-norm", f"--config_from={first}", f"--output={other}", *given]) == 0
    changed = {"seed": 8, "iterations": [2], "style_weights": [1, 0, 0, 0, 0]}
    record = record_of(other)
    assert record["config"] == record_of(first)["config"] | changed
    assert record["iterations"] == 2
    assert record["history"][0]["loss"] != record_of(first)["history"][0]["loss"]
