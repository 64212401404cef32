"""Both losses in one command; its page is in report/test_page.py."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
from helpers import network
from helpers.commands import outcome
from helpers.small_transfers import small_config

from gatys_norm import strength_search
from gatys_norm.cli import compare as compare_command
from gatys_norm.cli import main as cli
from gatys_norm.cli import transfer as transfer_command
from gatys_norm.config import PAPER_LOSSES
from gatys_norm.images import io as picture_io
from gatys_norm.network import weights
from gatys_norm.runs import folder as run_folder

CAUSE = "imagenet: Keras could not fetch it (URL fetch failure on https://host/vgg19.h5)"
FALLBACK = "gatys-norm: warning: --weights: VGG-19's own file could not be fetched, so the 8-bit"


@pytest.fixture
def compare(tmp_path, monkeypatch):
    """Give a function that compares two small pictures; it takes more flags."""
    monkeypatch.chdir(tmp_path)
    small_config(tmp_path)
    words = ["--content=content.png", "--style=style.png", "--output=both.png"]
    words += ["--size=32", "--content_layers=conv2_1", "--style_layers=conv1_1,conv2_2"]

    def call(*flags):
        return outcome(cli.run, ["gatys-norm", "compare", *words, "--iterations=2", *flags])

    return call


@pytest.fixture
def attempts(monkeypatch, small_model):
    """Let the server of Keras's file be out of reach; give the attempts to reach it."""
    locate, attempts = weights.locate, []

    def fetch():
        attempts.append(1)
        raise weights.WeightsError(CAUSE)

    network.use(monkeypatch, small_model)
    monkeypatch.setattr(weights, "locate", locate)
    monkeypatch.setattr(weights, "_imagenet", fetch)
    copy = weights.WeightsFile("copy.h5", "imagenet-8bit", "0" * 64)
    monkeypatch.setattr(weights, "_imagenet_8bit", lambda: copy)
    monkeypatch.setattr(weights, "_fetch_failure", None)
    return attempts


@pytest.mark.usefixtures("eagerly")
@pytest.mark.parametrize("verbosity", [0, 1])
def test_an_unreachable_server_is_said_once_and_its_address_only_if_asked_for(
    compare, attempts, verbosity
):
    code, out, err = compare(f"--verbosity={verbosity}")
    assert code == 0, err
    lines = [line for line in err.splitlines() if line.startswith("gatys-norm: ")]
    assert sum(FALLBACK in line for line in lines) == len(attempts) == 1
    assert lines.count(f"gatys-norm: {CAUSE}") == verbosity
    assert len(lines) == (4 if verbosity else 1)  # which file each transfer uses
    assert ("https://" in err) == bool(verbosity)
    assert re.search(r"^side by side in \d+\.\d s: both\.png$", out, re.MULTILINE)


@pytest.mark.parametrize(
    ("finished", "resume", "expected"),
    [
        ((), False, [("original", 1), ("normalized", 0)]),
        ((), True, [("original", 1), ("normalized", 0)]),
        (("original",), True, [("normalized", 0)]),
        (("original",), False, [("original", 1), ("normalized", 0)]),
    ],
)
def test_a_transfer_knows_how_many_follow(compare, monkeypatch, finished, resume, expected):
    received = []

    def note(config, *_given, later_transfers):
        received.append((config.loss, later_transfers))
        return 130 if later_transfers == 0 else 0  # so that nothing is put side by side

    monkeypatch.setattr(transfer_command, "run_transfer", note)
    monkeypatch.setattr(run_folder, "is_finished", lambda _output, config: config.loss in finished)
    code, _, err = compare(*["--resume"] * resume)
    assert code == 130, err
    assert received == expected


@pytest.mark.usefixtures("small_network", "eagerly")
def test_both_results_have_the_depth_and_the_resolution_and_the_sheet_has_neither(compare):
    flags = ("--output=both.tif", "--bit_depth=16", "--dpi=300", "--resume")
    code, out, err = compare(*flags)
    assert code == 0, err
    names = ("both-original.tif", "both-normalized.tif", "both.tif")
    assert [picture_io.read_bit_depth(name) for name in names] == [16, 16, 8]
    assert [picture_io.read_dpi(name) for name in names] == [(300, 300), (300, 300), None]
    code, again, err = compare(*flags)
    assert code == 0, err
    assert "loss, λ_os" in out
    assert "loss, λ_os" not in again  # both are there already


@pytest.mark.usefixtures("small_network", "eagerly")
def test_each_loss_finds_its_own_weight_for_a_strength(compare, monkeypatch):
    monkeypatch.setattr(strength_search, "FIRST_ITERATIONS", 6)
    monkeypatch.setattr(strength_search, "LATER_ITERATIONS", 3)
    code, out, err = compare("--output=both.png", "--strength=0.2", "--report")
    assert code == 0, err
    assert "original loss, strength 0.2\n" in out
    records = [json.loads(Path(f"both-{loss}.json").read_text()) for loss in PAPER_LOSSES]
    weights = [record["strength_search"]["lambda_os"] for record in records]
    assert weights[0] != weights[1]
    for record, weight in zip(records, weights, strict=True):
        assert f"{record['metrics']['strength']:.2f} with λ_os {weight:.4g}" in out
        assert f"λ_os = {weight:.4g} for strength 0.2" in Path("both.html").read_text()
    assert re.search(r"^strength +0\.\d{4} +0\.\d{4}$", out, re.MULTILINE)


@pytest.mark.parametrize(
    ("bit_depth", "stored", "expected"),
    [(8, 8, True), (8, 16, True), (16, 8, False), (16, 16, True)],
)
def test_a_result_of_8_bits_is_no_result_of_16(tmp_path, monkeypatch, bit_depth, stored, expected):
    monkeypatch.setattr(run_folder, "is_finished", lambda _output, _config: True)
    picture_io.save_picture(tmp_path / "a.png", np.zeros((16, 16, 3)), bit_depth=stored)
    assert compare_command.is_finished(tmp_path / "a.png", None, bit_depth) is expected
    (tmp_path / "a.png").write_bytes(b"text")
    assert compare_command.is_finished(tmp_path / "a.png", None, 16) is False


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (("--output=both.jpg", "--bit_depth=16"), "--bit_depth: both-original.jpg: "),
        (
            ("--loss=style_aware",),
            "--loss: this command runs original and normalized; leave it out",
        ),
        (("--output=both.tif", "--report"), "--report: no browser shows .tif; choose .png, "),
    ],
)
def test_what_cannot_be_compared_stored_or_shown_is_refused_before_the_work(
    compare, tmp_path, flags, words
):
    before = set(tmp_path.iterdir())
    code, out, err = compare(*flags)
    assert (code, out, len(err.splitlines())) == (2, "", 1)
    assert words in err
    assert set(tmp_path.iterdir()) == before
