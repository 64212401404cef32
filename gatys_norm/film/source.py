"""A film to read, whatever it is: a film file, or a folder of frames; and its frames by number."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from fractions import Fraction

import numpy as np

from gatys_norm.files import StrPath
from gatys_norm.film import decode, folder
from gatys_norm.film.model import FilmError, FilmFacts, Frame

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


class Frames:
    """The frames of a film by number. It is read forward, and begun anew for one that is gone.

    Attributes:
      read: function that returns an iterator over the frames from the first one on, uint8.
      length: number of frames of the film.
      in_memory: so many frames, up to the last one that was read, are in memory.
    """

    def __init__(
        self, read: Callable[[], Iterator[np.ndarray]], length: int, in_memory: int
    ) -> None:
        self.read = read
        self.length = length
        self.in_memory = in_memory
        self._unread = enumerate(read())
        self._frames: dict[int, np.ndarray] = {}

    def __getitem__(self, number: int) -> np.ndarray:
        """Return a frame, counted from 0.

        Raises:
          FilmError: it cannot be read, or the film has fewer or more frames than it had before.
        """
        if self._frames and number < min(self._frames):
            self._frames = {}
            self._unread = enumerate(self.read())
        while number not in self._frames:
            index, frame = next(self._unread, (number, None))
            if frame is None:
                raise FilmError(f"the film has no frame {number + 1}, which it had before")
            self._frames[index] = frame
            self._frames.pop(index - self.in_memory, None)
            if index == self.length - 1 and next(self._unread, None):
                raise FilmError(f"the film has a frame {index + 2} that it did not have before")
        return self._frames[number]
