"""A film to read, whatever it is: a film file, or a folder of frames."""

from __future__ import annotations

import os
from collections.abc import Iterator
from fractions import Fraction

from gatys_norm.files import StrPath
from gatys_norm.film import decode, folder
from gatys_norm.film.model import FilmFacts, Frame

FOLDER_RATE = Fraction(25)  # frames per second of a folder


def inspect(path: StrPath, folder_rate: Fraction = FOLDER_RATE) -> FilmFacts:
    """Return the facts of a film; see `decode.inspect` and `folder.inspect`."""
    if os.path.isdir(path):
        return folder.inspect(path, folder_rate)
    return decode.inspect(path)


def read(path: StrPath, folder_rate: Fraction = FOLDER_RATE) -> Iterator[Frame]:
    """Return an iterator over the frames of a film that `inspect` has accepted."""
    if os.path.isdir(path):
        return folder.read(path, folder_rate)
    return decode.read(path)
