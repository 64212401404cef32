"""The same command makes the same files, and a picture carries what is needed to make it again."""

import functools
import json

import pytest
from helpers.digests import digest
from helpers.programs import COMMAND, ROOT, run
from helpers.weights_files import write_weights

from gatys_norm.cli import main as cli
from gatys_norm.runs import folder as run_folder

SETTINGS = {
    "content": str(ROOT / "data" / "river_town.jpg"),
    "style": str(ROOT / "data" / "flowing_strokes.jpg"),
    "content_layers": "conv1_2",
    "style_layers": "conv1_1,conv3_2",  # the second is computed as those of many channels are
    "size": "64",
    "iterations": "4",
    "init": "noise",
    "seed": "7",
    "lambda_os": "0.01",
    "tv_weight": "1e-4",
    "log_every": "1",
}

OPTIMIZERS = {1: "adam", 2: "lbfgs"}  # by the number of threads

pytestmark = [pytest.mark.slow]


@pytest.fixture(scope="module")
def make(tmp_path_factory):
    """The pictures of processes of their own, by (number of threads, which of the two)."""
    weights = tmp_path_factory.mktemp("weights") / "weights.h5"
    write_weights(weights, kernel=0.002)
    flags = [f"--{name}={value}" for name, value in (SETTINGS | {"weights": weights}).items()]

    @functools.cache
    def picture(threads, _which=0):
        output = tmp_path_factory.mktemp("run") / "out.png"
        optimizer = f"--optimizer={OPTIMIZERS[threads]}"
        environment = {f"TF_NUM_{kind}_THREADS": str(threads) for kind in ("INTRAOP", "INTEROP")}
        finished = run(COMMAND, *flags, optimizer, f"--output={output}", env=environment)
        assert finished.returncode == 0, finished.stderr
        return output

    return picture


def digest_of(picture):
    return digest(picture.read_bytes())


def record_of(picture):
    return json.loads(run_folder.record_path(picture).read_text())


def without_times(record):
    """The record without what a clock put in."""
    assert record["timing"]["seconds"] > 0
    stages = [{**stage, "seconds": None} for stage in record["stages"]]
    return record | {"timing": None, "stages": stages}


@pytest.mark.parametrize("threads", [1, 2])
def test_two_processes_make_the_same_files(make, threads):
    first, second = make(threads), make(threads, 1)
    assert digest_of(second) == digest_of(first)
    assert without_times(record_of(second)) == without_times(record_of(first))


@pytest.mark.parametrize("suffix", [".png", ".json"])
def test_settings_taken_from_a_run_make_its_picture_again(make, tmp_path, suffix):
    first, again = make(1), tmp_path / "again.png"  # this process has one thread too
    source = first.with_suffix(suffix)
    assert cli.run(["gatys-norm", f"--config_from={source}", f"--output={again}"]) == 0
    assert digest_of(again) == digest_of(first)
    assert without_times(record_of(again)) == without_times(record_of(first))


def test_flags_override_the_settings_of_a_run(make, tmp_path):
    first, other = make(1), tmp_path / "other.jpg"
    given = ["--seed=8", "--iterations=2", "--style_weights=1,0"]
    assert cli.run(["gatys-norm", f"--config_from={first}", f"--output={other}", *given]) == 0
    changed = {"seed": 8, "iterations": [2], "style_weights": [1, 0]}
    record = record_of(other)
    assert record["config"] == record_of(first)["config"] | changed
    assert record["iterations"] == 2
    assert record["history"][0]["loss"] != record_of(first)["history"][0]["loss"]
