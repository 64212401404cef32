"""Fixtures of tests that call the command of one transfer; see helpers/transfer_command.py."""

import pytest
from helpers.transfer_command import TensorFlowStartedError, inputs_without_files

from gatys_norm.cli import loading
from gatys_norm.cli import transfer as transfer_command
from gatys_norm.network import weights


@pytest.fixture
def empty_folder(tmp_path, monkeypatch):
    """Run in an empty folder, where weights count as there and TensorFlow must not be started."""

    def start_tensorflow():
        raise TensorFlowStartedError

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(loading, "start_tensorflow", start_tensorflow)
    monkeypatch.setattr(weights, "check_path", lambda source: None)
    return tmp_path


@pytest.fixture
def folder(empty_folder, monkeypatch):
    """The same, where pictures count as there too."""
    monkeypatch.setattr(transfer_command, "load_inputs", inputs_without_files)
    return empty_folder


@pytest.fixture
def received(monkeypatch):
    """Collect the (config, output, flags, resume) of every transfer instead of running it."""
    calls = []

    def note(config, _inputs, *given):
        calls.append((config, *given[:3]))
        return 0

    monkeypatch.setattr(transfer_command, "run_transfer", note)
    return calls
