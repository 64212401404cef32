"""What has to be known of a whole film before its first frame: its shots and their energies."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from gatys_norm.film import flow as flows

Energies: TypeAlias = Mapping[str, float]  # {content layer: E°_j}


class Shot(NamedTuple):
    """A part of a film without cuts.

    Attributes:
      first: number of its first frame, counted from 0.
      frame_count: number of its frames.
      energies: for each content layer the median of E°_j over its frames, so that the strength of
        the style does not flicker.
    """

    first: int
    frame_count: int
    energies: Energies

    @property
    def frames(self) -> range:
        """The numbers of its frames."""
        return range(self.first, self.first + self.frame_count)


def shots(
    frames: Iterable[np.ndarray], energies_of: Callable[[np.ndarray], Energies]
) -> tuple[Shot, ...]:
    """Divide a film at its cuts.

    Args:
      frames: uint8 H × W × 3 of one size, at least one; each is asked for when the one before is
        done with.
      energies_of: function from a frame to its energies.

    Raises:
      FilmError: the film cannot be read.
    """
    starts: list[int] = []
    energies: list[Energies] = []
    before = None
    for index, frame in enumerate(frames):
        if before is None or flows.motion(before, frame).is_cut:
            starts.append(index)
        energies.append(energies_of(frame))
        before = frame
    ends = [*starts[1:], len(energies)]
    return tuple(
        Shot(first, end - first, _medians(energies[first:end]))
        for first, end in zip(starts, ends, strict=True)
    )


def _medians(energies: list[Energies]) -> Energies:
    return {layer: statistics.median(values[layer] for values in energies) for layer in energies[0]}


def from_json(values: Any, layers: Iterable[str]) -> tuple[Shot, ...]:
    """Return the shots that were stored as lists, which may be forged.

    Args:
      values: a list of `Shot`s as JSON gives them back.
      layers: the content layers.

    Raises:
      ValueError, TypeError, LookupError: they are no shots that follow each other.
    """
    read = tuple(Shot(*value) for value in values)
    expected, names = 0, set(layers)
    for shot in read:
        energies = shot.energies.values()
        types = {type(shot.first), type(shot.frame_count)}, {int, *map(type, energies)}
        if set(shot.energies) != names or types[0] != {int} or not types[1] <= {int, float}:
            raise ValueError("a shot is incomplete")
        if (
            shot.first != expected
            or shot.frame_count < 1
            or not all(0 <= n < np.inf for n in energies)
        ):
            raise ValueError("the shots do not follow each other")
        expected += shot.frame_count
    if not read:
        raise ValueError("there are no shots")
    return read
