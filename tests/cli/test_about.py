"""What the program says about itself: --version and --devices."""

import importlib.metadata
import math
import os
import re
import sys
from pathlib import Path

import pytest
from helpers.commands import outcome
from helpers.programs import COMMAND, ROOT, run, run_new
from helpers.weights_files import write_weights

from gatys_norm.cli import about
from gatys_norm.cli import main as cli
from gatys_norm.network import device, gpu_memory, weights

VERSIONS = {name: importlib.metadata.version(name) for name in ("gatys-norm", "tensorflow")}


def test_version_is_one_line():
    line = f"gatys-norm {VERSIONS['gatys-norm']}, TensorFlow {VERSIONS['tensorflow']}\n"
    assert outcome(cli.run, ["gatys-norm", "--version"]) == (0, line, "")


def test_version_loads_no_tensorflow():
    code = (
        "import sys; from gatys_norm.cli import main\n"
        "assert main.run(['gatys-norm', '--version']) == 0\n"
        "sys.exit('tensorflow' in sys.modules)"
    )
    assert run_new(sys.executable, "-c", code, cwd=ROOT).returncode == 0


def test_what_is_not_installed_is_said(monkeypatch):
    def version(name):
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "version", version)
    assert about.version() == "gatys-norm not installed, TensorFlow not installed"


def test_devices_is_what_a_report_of_a_fault_needs(tmp_path):
    write_weights(tmp_path / "tiny.h5")
    environment = {"TF_NUM_INTRAOP_THREADS": "1", "ONEDNN_MAX_CPU_ISA": "AVX2"}
    environment |= {"TF_ENABLE_ONEDNN_OPTS": "1"}
    finished = run(COMMAND, "--devices", "--weights=tiny.h5", cwd=tmp_path, env=environment)
    assert (finished.returncode, finished.stderr) == (0, "")
    facts = dict(re.split(": +", line, maxsplit=1) for line in finished.stdout.splitlines())
    assert list(facts) == [
        *("versions", "python", "device", "instruction sets", "threads per operation", "oneDNN"),
        *("memory", "weights", "variables in effect"),
    ]
    assert f"tensorflow {VERSIONS['tensorflow']}" in facts["versions"]
    assert facts["python"].startswith(sys.version.split()[0])
    assert facts["threads per operation"] == "1"
    assert facts["oneDNN"] in ("on", "off")
    available, total = map(float, re.findall(r"[\d.]+(?= GiB)", facts["memory"]))
    assert 0 < available <= total
    assert facts["weights"] == "tiny.h5"
    assert facts["variables in effect"] == "TF_ENABLE_ONEDNN_OPTS=1, ONEDNN_MAX_CPU_ISA=AVX2"
    assert os.listdir(tmp_path) == ["tiny.h5"]


@pytest.mark.parametrize(
    ("source", "cached", "line"),
    [
        ("auto", ("imagenet", "imagenet-8bit"), "imagenet, /cache/imagenet"),
        ("auto", ("imagenet-8bit",), "imagenet would be fetched; if that fails: /cache/imagenet-8"),
        ("auto", (), "imagenet would be fetched"),
        ("imagenet", ("imagenet-8bit",), "imagenet would be fetched"),
        ("imagenet-8bit", ("imagenet-8bit",), "imagenet-8bit, /cache/imagenet-8bit"),
        ("imagenet-8bit", ("imagenet",), "imagenet-8bit would be fetched"),
        ("absent.h5", (), "absent.h5: no such file"),
    ],
)
def test_weights_are_named_and_not_fetched(monkeypatch, source, cached, line):
    def fetch(source):
        raise AssertionError(f"fetched {source}")

    monkeypatch.setattr(weights, "locate", fetch)
    monkeypatch.setattr(
        weights, "cached_files", lambda: {name: Path("/cache", name) for name in cached}
    )
    assert about._weights(source).startswith(line)


@pytest.mark.parametrize(
    ("on_gpu", "end"),
    [
        (75.25 * 2**30, "; GPU: 75.2 GiB available"),
        (math.inf, "; GPU: an unknown amount available"),
    ],
)
def test_memory_of_a_gpu_is_said_too(monkeypatch, on_gpu, end):
    monkeypatch.setattr(device, "gpus", lambda: [])
    line = re.sub(r"[\d.]+(?= GiB available)", "…", about._memory())
    monkeypatch.setattr(device, "gpus", lambda: ["a GPU"])
    monkeypatch.setattr(gpu_memory, "available_bytes", lambda: on_gpu)
    with_gpu = about._memory()
    assert with_gpu.endswith(end)
    assert re.sub(r"[\d.]+(?= GiB available)", "…", with_gpu.removesuffix(end)) == line
