"""What a film is here: frames with their times, and the facts that belong to all of them."""

from __future__ import annotations

from fractions import Fraction
from typing import NamedTuple

import numpy as np

PIXEL_LIMIT = 40_000_000  # height · width of a frame; 8K has 33 million


class FilmError(ValueError):
    """A film that cannot be used; the message names it and says what would be right."""


class Frame(NamedTuple):
    """One frame of a film.

    Attributes:
      pixels: uint8 H × W × 3, RGB, upright.
      time: when it is shown, in seconds, as its file says; it need not begin at 0.
      duration: how long it is shown, in seconds; 0 if its file does not say so.
    """

    pixels: np.ndarray
    time: Fraction
    duration: Fraction = Fraction(0)


class Color(NamedTuple):
    """How the colors of a film are stored, as the numbers of ISO/IEC 23091-2; 2 is unspecified.

    Attributes:
      matrix: from RGB to luma and chroma.
      primaries: what red, green and blue are.
      transfer: from light to numbers.
      range: 1 for 16–235, 2 for 0–255, 0 for unspecified, which is read as 1.
    """

    matrix: int = 2
    primaries: int = 2
    transfer: int = 2
    range: int = 0


class FilmFacts(NamedTuple):
    """What a film's file says of all its frames.

    Attributes:
      height: of a frame in pixels, upright.
      width: the same.
      time_base: the unit of all times, in seconds.
      frame_rate: frames per second, on average.
      frame_count: number of frames, as far as it is known without reading them.
      color: how the colors are stored.
      pixel_aspect: width of a pixel over its height.
      sounds: name of the codec of each track of sound.
      bit_depth: bits per channel.
    """

    height: int
    width: int
    time_base: Fraction
    frame_rate: Fraction
    frame_count: int | None = None
    color: Color = Color()
    pixel_aspect: Fraction = Fraction(1)
    sounds: tuple[str, ...] = ()
    bit_depth: int = 8
