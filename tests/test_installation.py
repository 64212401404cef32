"""What `pip install .` installs, in an empty virtual environment, far from the clone.

The packages that the program needs come from the environment of the tests, by a .pth file, which
reads no other .pth file, and so not that of a clone installed as editable.
"""

import json
import os
import shutil
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import numpy as np
import pytest
from helpers.programs import ROOT
from helpers.weights_files import write_weights
from PIL import Image

SOURCES = ("pyproject.toml", "setup.cfg", "README.md", "LICENSE", "gatys_norm")
COMMANDS = ("", "compare", "reproduce", "survey", "timelapse")
PICTURES = ("--content=content.png", "--style=style.png")
TINY = (
    *("--size=32", "--iterations=2", "--optimizer=adam", "--weights=weights.h5"),
    *("--content_layers=conv1_2", "--style_layers=conv1_1"),
)


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """Install a copy of the sources; returns the folder of the virtual environment."""
    folder, copy = tmp_path_factory.mktemp("environment"), tmp_path_factory.mktemp("sources")
    for name in SOURCES:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(ROOT / name, copy)
    venv.create(folder, symlinks=True)
    packages = next(folder.glob("lib/python*/site-packages"))
    (packages / "tests.pth").write_text(sysconfig.get_path("purelib"))
    pip = [sys.executable, "-m", "pip", f"--python={folder / 'bin' / 'python'}", "install"]
    options = ["--no-deps", "--no-build-isolation", "--no-index", "--quiet", "--force-reinstall"]
    finished = subprocess.run([*pip, *options, copy], capture_output=True, text=True, cwd=folder)
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


def test_every_file_of_the_package_is_installed_and_the_clone_is_not_used(installed, work):
    command = "import gatys_norm, sys; print(gatys_norm.__file__)"
    python = [installed / "bin" / "python", "-I", "-c", command]
    place = subprocess.run(python, capture_output=True, text=True, cwd=work, check=True).stdout
    package = Path(place.strip()).parent
    assert installed in package.parents
    files = {path for path in (ROOT / "gatys_norm").rglob("*.*") if path.suffix != ".pyc"}
    paths = {path.relative_to(ROOT / "gatys_norm") for path in files}
    assert {path for path in paths if not (package / path).is_file()} == set()
    assert {path.suffix for path in paths} >= {".py", ".typed", ".csv", ".jinja"}


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
