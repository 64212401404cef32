"""Errors that end a command with one line and an exit code. No TensorFlow."""

from __future__ import annotations

import contextlib
import dataclasses
import sys
from collections.abc import Iterator

from gatys_norm.config import TransferConfig
from gatys_norm.files import StrPath
from gatys_norm.text import one_line

FAILED = 1
BAD_INPUT = 2
SETTINGS = {field.name for field in dataclasses.fields(TransferConfig)}


class LoadingError(Exception):
    """TensorFlow, or a package that it needs, cannot be loaded; one line, exit code 1."""


class InputError(Exception):
    """Something on the command line cannot be used; one line, exit code 2."""


@contextlib.contextmanager
def refusing(*errors: type[Exception], prefix: str = "") -> Iterator[None]:
    """Convert errors of the library to `InputError`.

    Args:
      errors: types of errors that are converted; all others are passed on.
      prefix: beginning of the line, for example `--output: `. Without a prefix, a message that
        begins with the name of a setting gets the dashes of its flag.
    """
    try:
        yield
    except errors as error:
        line = one_line(error)
        raise InputError(prefix + line if prefix else with_dashes(line)) from error


def with_dashes(message: str) -> str:
    """Return a message of the library, `size: …`, for the command line: `--size: …`."""
    name, separator, _ = message.partition(": ")
    return f"--{message}" if separator and name in SETTINGS else message


def report_unwritten(path: StrPath, error: Exception, note: str) -> int:
    """Print one line: a file could not be written, and a note; return the exit code."""
    print(f"gatys-norm: {path}: could not be written ({reason(error)}); {note}", file=sys.stderr)
    return FAILED


def reason(error: Exception) -> str:
    """Return the reason why a file could not be written, without its name."""
    return getattr(error, "strerror", None) or str(error)
