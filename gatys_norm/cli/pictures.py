"""Picture files that a flag names, alone or as folders of them. No TensorFlow."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Iterable, Mapping
from typing import TypeAlias

from gatys_norm.cli.errors import InputError, refusing
from gatys_norm.images import io as picture_io
from gatys_norm.text import one_line

Files: TypeAlias = Mapping[str, str | None]  # {file: its folder, or None if it was named itself}


def listed(flag: str, paths: Iterable[str]) -> Files:
    """Return the files that a flag names; those of a folder are sorted.

    Hidden files and folders within a folder are left out.

    Args:
      flag: name of the flag.
      paths: paths of files and folders.

    Raises:
      InputError: a folder cannot be read, or has no files.
    """
    files: dict[str, str | None] = {}
    for path in paths:
        if not os.path.isdir(path):
            files[path] = None
            continue
        with refusing(OSError, prefix=f"--{flag}: "):
            names = sorted(name for name in os.listdir(path) if not name.startswith("."))
        inside = [os.path.join(path, name) for name in names]
        inside = [file for file in inside if not os.path.isdir(file)]
        if not inside:
            raise _no_picture(flag, path)
        files |= {file: path for file in inside if file not in files}
    return files


def readable(flag: str, files: Files, read: Callable[[str], object]) -> Files:
    """Return the files that can be read; warn of others in a folder, which are left out.

    Args:
      flag: name of the flag.
      files: see `Files`.
      read: function of `images.io`, such as `read_size` or `load_picture`.

    Raises:
      InputError: a file that was named itself cannot be read, or none of a folder.
    """
    pictures: dict[str, str | None] = {}
    for file, folder in files.items():
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # the transfer gives them
                read(file)
        except picture_io.PictureError as error:
            if folder is None:
                raise InputError(f"--{flag}: {one_line(error)}") from error
            warnings.warn(f"{flag}: {one_line(error)}; left out", stacklevel=2)
        else:
            pictures[file] = folder
    for folder in filter(None, files.values()):
        if folder not in pictures.values():
            raise _no_picture(flag, folder)
    return pictures


def _no_picture(flag: str, folder: str) -> InputError:
    return InputError(f"--{flag}: {folder}: there is no picture in this folder; choose another one")
