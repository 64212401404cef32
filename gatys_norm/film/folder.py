"""A folder of numbered PNG files as a film: `0001.png` or `frame-0001.png`, and so on."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import TypeVar

import numpy as np

from gatys_norm.files import StrPath
from gatys_norm.film.model import FilmError, FilmFacts, Frame
from gatys_norm.images import io as picture_io

_Value = TypeVar("_Value")

_NAME = re.compile(r"(.*?)(\d+)\.png", re.IGNORECASE)


def paths(folder: StrPath) -> dict[int, Path]:
    """Return {number: path} of the frames in a folder, in the order of their numbers.

    Raises:
      FilmError: there are none, numbers are missing or double, or names begin in different ways.
    """
    try:
        names = sorted(path.name for path in Path(folder).iterdir())
    except OSError as error:
        raise FilmError(f"{folder}: {error.strerror}; expected a folder of PNG files") from error
    matches = [match for match in map(_NAME.fullmatch, names) if match and match[1][:1] != "."]
    if not matches:
        raise FilmError(f"{folder}: has no frames; expected PNG files such as 0001.png, 0002.png")
    starts = {match[1] for match in matches}
    if len(starts) > 1:
        raise FilmError(
            f"{folder}: has frames of several films, {min(starts)}… and {max(starts)}…; "
            "expected one"
        )
    numbered = {int(match[2]): Path(folder, match[0]) for match in matches}
    if len(numbered) < len(matches):
        raise FilmError(f"{folder}: several frames have the same number; expected one of each")
    first, last = min(numbered), max(numbered)
    missing = next((number for number in range(first, last) if number not in numbered), None)
    if missing is not None:
        raise FilmError(f"{folder}: frame {missing} is missing; expected all of {first} to {last}")
    return dict(sorted(numbered.items()))


def inspect(folder: StrPath, frame_rate: Fraction) -> FilmFacts:
    """Return the facts of the film that a folder of frames is, at a number of frames per second.

    Raises:
      FilmError: see `paths`; or the first frame cannot be read, or a frame has another size.
    """
    frames = list(paths(folder).values())
    sizes = [_checked(picture_io.read_size, path) for path in frames]
    for path, size in zip(frames, sizes, strict=True):
        if size != sizes[0]:
            raise FilmError(
                f"{path}: has {size[1]}×{size[0]} pixels; expected {sizes[0][1]}×{sizes[0][0]}, as "
                f"{frames[0].name}"
            )
    return FilmFacts(*sizes[0], 1 / frame_rate, frame_rate, len(frames))


def read(folder: StrPath, frame_rate: Fraction) -> Iterator[Frame]:
    """Yield the frames of a folder; only the present one is in memory.

    Args:
      folder: a folder that `inspect` has accepted.
      frame_rate: frames per second.

    Raises:
      FilmError: a frame cannot be read.
    """
    for index, path in enumerate(paths(folder).values()):
        pixels = np.rint(_checked(picture_io.load_picture, path)).astype(np.uint8)
        yield Frame(pixels, index / frame_rate, 1 / frame_rate)


def _checked(load: Callable[[Path], _Value], path: Path) -> _Value:
    """Return `load(path)`; a frame that cannot be read is a FilmError."""
    try:
        return load(path)
    except picture_io.PictureError as error:
        raise FilmError(str(error)) from error
