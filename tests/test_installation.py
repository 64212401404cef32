"""What is built and installed: sdist, wheel, and the program in an empty virtual environment.

All of it happens far from the clone: a copy of it gives the sdist, the unpacked sdist the wheel.
The packages that the program needs come from the environment of the tests, by a .pth file, which
reads no other .pth file, and so not that of a clone installed as editable.
"""

import importlib.metadata
import json
import os
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import venv
import zipfile
from pathlib import Path

import numpy as np
import pytest
from helpers import project
from helpers.programs import ROOT
from helpers.weights_files import write_weights
from PIL import Image

COMMANDS = ("", "compare", "explore", "film", "reproduce", "survey", "timelapse")
VERSION = project.settings()["metadata"]["version"]
DESCRIPTION = {
    *("CHANGELOG.md", "CITATION.cff", "LICENSE", "MANIFEST.in", "PKG-INFO", "README.md"),
    *("pyproject.toml", "setup.cfg"),
}
PICTURES = ("--content=content.png", "--style=style.png")
TINY = (
    *("--size=32", "--iterations=2", "--optimizer=adam", "--weights=weights.h5"),
    *("--content_layers=conv1_2", "--style_layers=conv1_1"),
)


@pytest.fixture(scope="module")
def clone(tmp_path_factory):
    """Return a copy of the clone, with an environment in it, as a user has one."""
    copy = tmp_path_factory.mktemp("clone") / "clone"
    unneeded = (".*", "__pycache__", "*.egg-info", "build", "dist", "results", "docs")
    shutil.copytree(ROOT, copy, ignore=shutil.ignore_patterns(*unneeded))
    (copy / ".venv" / "gatys_norm").mkdir(parents=True)
    (copy / ".venv" / "gatys_norm" / "__init__.py").touch()
    return copy


@pytest.fixture(scope="module")
def package(clone):
    """Return the paths of the package's files."""
    files = (path for path in (clone / "gatys_norm").rglob("*") if path.is_file())
    return {str(path.relative_to(clone)) for path in files}


@pytest.fixture(scope="module")
def sdist(clone, tmp_path_factory):
    """Return the folder of an unpacked source distribution."""
    folder = tmp_path_factory.mktemp("sdist")
    with tarfile.open(build("sdist", clone, folder)) as archive:
        archive.extractall(folder, filter="data")
    return next(path for path in folder.iterdir() if path.is_dir())


@pytest.fixture(scope="module")
def wheel(sdist, tmp_path_factory):
    """Return the path of the wheel that the source distribution gives."""
    return build("wheel", sdist, tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory):
    """Install the wheel; returns the folder of the virtual environment."""
    folder = tmp_path_factory.mktemp("environment")
    venv.create(folder, symlinks=True)
    packages = next(folder.glob("lib/python*/site-packages"))
    (packages / "tests.pth").write_text(sysconfig.get_path("purelib"))
    pip = [sys.executable, "-m", "pip", f"--python={folder / 'bin' / 'python'}", "install"]
    options = ["--no-deps", "--no-index", "--quiet", "--force-reinstall"]
    finished = subprocess.run([*pip, *options, wheel], capture_output=True, text=True, cwd=folder)
    assert finished.returncode == 0, finished.stderr
    return folder


@pytest.fixture(scope="module")
def work(tmp_path_factory):
    """Return a folder with two small pictures and weights."""
    folder = tmp_path_factory.mktemp("work")
    for seed, name in enumerate(("content.png", "style.png")):
        pixels = np.random.default_rng(seed).integers(0, 256, (32, 32, 3), np.uint8)
        Image.fromarray(pixels).save(folder / name)
    write_weights(folder / "weights.h5", kernel=0.02)
    return folder


def build(kind, sources, folder):
    """Build a distribution as pip does, with the tools of this environment; returns its path."""
    command = f"from setuptools import build_meta; print(build_meta.build_{kind}({str(folder)!r}))"
    finished = subprocess.run(
        [sys.executable, "-c", command], capture_output=True, text=True, cwd=sources
    )
    assert finished.returncode == 0, finished.stderr
    return folder / finished.stdout.splitlines()[-1]


def names_in(wheel):
    """Return the names of a wheel's files, without what describes them."""
    names = zipfile.ZipFile(wheel).namelist()
    return {name for name in names if not name.startswith(f"gatys_norm-{VERSION}.dist-info/")}


def call(installed, folder, *words):
    """Run the installed program in a folder, as a user would."""
    hidden = ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV")
    environment = {name: value for name, value in os.environ.items() if name not in hidden}
    return subprocess.run(
        [installed / "bin" / "gatys-norm", *words],
        capture_output=True,
        text=True,
        cwd=folder,
        env=environment,
        timeout=300,
    )


def test_the_sdist_has_what_the_wheel_needs_and_no_tests(sdist, package):
    files = {str(path.relative_to(sdist)) for path in sdist.rglob("*") if path.is_file()}
    information = {name for name in files if name.startswith("gatys_norm.egg-info/")}
    assert files - information == package | DESCRIPTION
    assert {Path(name).suffix for name in package} == {".py", ".typed", ".csv", ".jinja"}


def test_the_wheel_has_every_file_of_the_package_and_the_license(wheel, package):
    assert names_in(wheel) == package
    folder = f"gatys_norm-{VERSION}.dist-info"
    names = zipfile.ZipFile(wheel).namelist()
    assert {f"{folder}/LICENSE", f"{folder}/licenses/LICENSE"} & set(names)


def test_what_the_dockerfile_copies_gives_the_same_wheel(clone, wheel, tmp_path):
    for name in project.copied_by_dockerfile():
        copy = shutil.copytree if (clone / name).is_dir() else shutil.copy
        copy(clone / name, tmp_path / name)
    assert names_in(build("wheel", tmp_path, tmp_path)) == names_in(wheel)


def test_what_is_known_of_the_installed_package(installed):
    packages = next(installed.glob("lib/python*/site-packages"))
    (distribution,) = importlib.metadata.distributions(name="gatys-norm", path=[str(packages)])
    about = distribution.metadata
    assert (about["Version"], about["Author"]) == (VERSION, "The gatys_norm authors")
    assert set(about["Requires-Python"].split(",")) == {">=3.10", "<3.14"}
    extras = {"cuda", "film", "measures", "ray", "survey", "test"}
    assert set(about.get_all("Provides-Extra")) == extras
    (command,) = distribution.entry_points
    assert (command.group, command.name) == ("console_scripts", "gatys-norm")


def test_the_clone_is_not_used(installed, work):
    command = "import gatys_norm; print(gatys_norm.__file__)"
    python = [installed / "bin" / "python", "-I", "-c", command]
    path = subprocess.run(python, capture_output=True, text=True, cwd=work, check=True).stdout
    assert installed in Path(path.strip()).parents


def test_the_version_is_that_of_setup_cfg(installed, work):
    finished = call(installed, work, "--version")
    assert (finished.returncode, finished.stderr) == (0, "")
    assert finished.stdout.startswith(f"gatys-norm {VERSION}, TensorFlow ")


@pytest.mark.parametrize("command", COMMANDS)
def test_help_of_every_command(installed, work, command):
    finished = call(installed, work, *command.split(), "--help")
    assert (finished.returncode, finished.stderr) == (0, "")
    assert f"gatys-norm {command}".strip() in finished.stdout


@pytest.mark.slow
def test_a_transfer_then_its_timelapse(installed, work):
    flags = (*PICTURES, *TINY, "--snapshot_every=1", "--output=out.png")
    finished = call(installed, work, *flags)
    assert finished.returncode == 0, finished.stderr
    assert json.loads((work / "out.json").read_text())["status"] == "completed"
    finished = call(installed, work, "timelapse", "--output=out.png")
    assert finished.returncode == 0, finished.stderr
    assert finished.stdout.startswith("3 pictures, ")
    assert (work / "out-timelapse.webp").is_file()


@pytest.mark.slow
def test_a_comparison_with_its_page(installed, work):
    finished = call(installed, work, "compare", *PICTURES, *TINY, "--report", "--output=both.png")
    assert finished.returncode == 0, finished.stderr
    assert "both.html" in finished.stdout
    assert "both-normalized.png" in (work / "both.html").read_text()


@pytest.mark.slow
def test_a_reproduction_needs_pictures_here_and_its_pairs_make_a_survey(installed, work):
    finished = call(installed, work, "reproduce")
    assert finished.returncode == 2
    assert finished.stderr == (
        "gatys-norm reproduce: --styles: is needed, the paths of the style pictures\n"
    )
    figures = ("--figures=2a,6a", "--lambdas_original=1", "--lambdas_normalized=1", "--sizes=32")
    pictures = (PICTURES[0], "--styles=style.png", "--lambdas_by_style=1")
    finished = call(installed, work, "reproduce", *figures, *pictures, *TINY, "--output_dir=run")
    assert finished.returncode == 0, finished.stderr
    assert (work / "run" / "report.html").is_file()
    build = ("survey", "build", "--run_dir=run", "--output_dir=survey")
    finished = call(installed, work, *build)
    assert finished.returncode == 0, finished.stderr
    assert (work / "survey" / "page" / "index.html").is_file()
