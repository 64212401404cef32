"""Both losses in one command; its page is in report/test_page.py."""

import re

import pytest
from helpers import network
from helpers.commands import outcome
from helpers.small_transfers import small_config

from gatys_norm.cli import main as cli
from gatys_norm.cli import transfer as transfer_command
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
