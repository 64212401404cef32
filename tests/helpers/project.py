"""What the project's own files say of it: setup.cfg and the Dockerfile."""

import configparser
import re

from helpers.programs import ROOT


def settings():
    """Return setup.cfg, as `configparser` reads it."""
    parser = configparser.ConfigParser()
    parser.read_string((ROOT / "setup.cfg").read_text(encoding="utf-8"))
    return parser


def lines_of(section, name):
    """Return a list of setup.cfg, whose values are lines; comments are left out."""
    lines = settings()[section][name].splitlines()
    return [line.strip() for line in lines if line.strip() and not line.startswith("#")]


def supported_pythons():
    """Return the versions that `python_requires` allows, such as ["3.10", "3.11"]."""
    required = settings()["options"]["python_requires"]
    first, end = map(int, re.fullmatch(r">=3\.(\d+),<3\.(\d+)", required).groups())
    return [f"3.{minor}" for minor in range(first, end)]


def dockerfile():
    """Return [(instruction, its arguments on one line)] of the Dockerfile."""
    text = re.sub(r"^#.*\n", "", (ROOT / "Dockerfile").read_text(), flags=re.MULTILINE)
    lines = re.sub(r"\\\n\s*", "", text).splitlines()
    return [tuple(line.split(maxsplit=1)) for line in lines if line]


def copied_by_dockerfile():
    """Return the files and folders that the Dockerfile copies into the image."""
    copies = [arguments.split()[:-1] for name, arguments in dockerfile() if name == "COPY"]
    return [path for paths in copies for path in paths]
