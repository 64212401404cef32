"""The environment with PyTorch and the requests to it; PyTorch itself is not needed here."""

import subprocess
import sys

import numpy as np
import peer_process
import pytest

from gatys_norm.cli import errors

ANSWERS = """
import json, sys
for line in sys.stdin:
    request = json.loads(line)
    if request["do"] == "end":
        sys.exit(3)
    answer = {"arguments": sys.argv[1:], "device": "cpu", "loss": 2.0, **request}
    print(json.dumps(answer), flush=True)
"""


@pytest.fixture
def peer(tmp_path, monkeypatch):
    """A peer that repeats what it is asked, and has a loss of 2."""
    monkeypatch.setattr(peer_process, "PEER", tmp_path / "peer.py")
    (tmp_path / "peer.py").write_text(ANSWERS)
    with peer_process.Peer(sys.executable, "problem.npz", 3) as process:
        yield process


def test_requests_are_answered(peer):
    answer = peer.ask("evaluate", variant="float32 contiguous")
    assert answer["arguments"] == ["problem.npz", "3"]
    assert answer["variant"] == "float32 contiguous"
    with pytest.raises(RuntimeError, match=r"peer\.py ended with 3"):
        peer.ask("end")


@pytest.mark.parametrize(("loss", "agrees"), [(2.0, True), (2.0001, True), (2.001, False)])
def test_another_loss_is_refused(peer, tmp_path, loss, agrees):
    problem = tmp_path / "problem.npz"
    np.savez(problem, loss=loss)
    if agrees:
        peer_process.check_agreement(peer, problem)
        return
    with pytest.raises(RuntimeError, match=r"the first loss is 2\.0 in PyTorch and 2\.001 here"):
        peer_process.check_agreement(peer, problem)


@pytest.mark.parametrize(
    ("limit", "capability"), [("", None), ("AVX512_CORE", None), ("AVX2", "avx2")]
)
def test_pytorch_computes_as_the_kind_of_processor_that_is_compared(monkeypatch, limit, capability):
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", limit)
    monkeypatch.delenv("ATEN_CPU_CAPABILITY", raising=False)
    assert peer_process.environment().get("ATEN_CPU_CAPABILITY") == capability
    monkeypatch.setenv("ATEN_CPU_CAPABILITY", "default")
    assert peer_process.environment()["ATEN_CPU_CAPABILITY"] == "default"


def test_packages_that_cannot_be_installed_are_named_in_one_line(tmp_path, monkeypatch):
    commands = []

    def run(command, **_):
        commands.append([str(word) for word in command])
        code = int("pip" in commands[-1])
        return subprocess.CompletedProcess(command, code, "", "first\nno such version\n")

    monkeypatch.setattr(peer_process.subprocess, "run", run)
    with pytest.raises(errors.InputError) as raised:
        peer_process.install(tmp_path / "peer")
    assert str(raised.value) == "--peer_dir: PyTorch could not be installed: no such version"
    assert set(peer_process.PACKAGES) < set(commands[-1])


def test_rows_of_a_minimization_have_the_time_of_all(monkeypatch):
    """What is not in the seconds of the rows is the start, but for the losses that are logged."""

    class Minimizer:
        def __init__(self, *arguments):
            assert arguments[:2] == ("python", "problem.npz")

        def __enter__(self):
            return self

        def __exit__(self, *_):
            clock.append(clock[-1] + 10)

        def ask(self, request, **details):
            assert (request, details["loss"], details["log_every"]) == ("minimize", 5.0, 4)
            clock.append(clock[-1] + 20)
            rows = [{"seconds": 1.5, "evaluations": 1, "loss": 9.0}]
            return {"rows": rows, "seconds": 7.0}

    clock = [100.0]
    monkeypatch.setattr(peer_process.time, "monotonic", lambda: clock[-1])
    monkeypatch.setattr(peer_process, "Peer", Minimizer)
    rows = peer_process.minimize("python", "problem.npz", "float32 contiguous", 5.0, 100, 4)
    assert rows == [{"seconds": 1.5, "evaluations": [1], "loss": 9.0, "wall": 14.5}]
