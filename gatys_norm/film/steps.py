"""The order in which the frames of a shot are computed: forward, then back, and so on."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple, TypeAlias

from gatys_norm.film.plan import Shot

# {number of a frame: what the record has of it}, `pass` the last one in which it was computed.
Rows: TypeAlias = Mapping[int, Mapping[str, Any]]


class Step(NamedTuple):
    """A frame of a shot in one of the passes over it.

    Attributes:
      frame: its number in the film.
      pass_number: counted from 1; those with an even number run from the last frame to the first.
      position: number of the frames of the shot that come before it in this pass.
    """

    frame: int
    pass_number: int
    position: int

    @property
    def direction(self) -> int:
        """1 in a pass forward, -1 in a pass back."""
        return 1 if self.pass_number % 2 else -1

    def neighbors(self, distances: Iterable[int]) -> dict[int, int]:
        """Return {distance: number of the frame so many before it in this pass}."""
        return {k: self.frame - k * self.direction for k in distances if k <= self.position}


def at(shot: Shot, steps_done: int) -> Step:
    """Return the step of a shot that follows so many others, counted over its passes."""
    passes_done, position = divmod(steps_done, shot.frame_count)
    offset = shot.frame_count - 1 - position if passes_done % 2 else position
    return Step(shot.first + offset, passes_done + 1, position)


def count(shot: Shot, passes: int) -> int:
    """Return the number of steps of a shot."""
    return passes * shot.frame_count


def done(shot: Shot, rows: Rows) -> int:
    """Return how many steps of a shot are done."""
    return sum(_passes_done(shot, rows).values())


def _passes_done(shot: Shot, rows: Rows) -> dict[int, int]:
    """Return {number of a frame of a shot: number of passes in which it was computed}."""
    numbers = shot.frames if shot.frame_count < len(rows) else rows
    return {n: rows[n]["pass"] for n in numbers if n in rows and n in shot.frames}


def results_needed(shot: Shot, steps_done: int, distance: int) -> set[int]:
    """Return the numbers of the frames whose results the next step of a shot may need.

    The last one that was computed is always among them.

    Args:
      shot: the shot.
      steps_done: how many of its steps are done.
      distance: with how distant frames a frame is compared, at most.
    """
    if not steps_done:
        return set()
    last = at(shot, steps_done - 1)
    return {last.frame, *last.neighbors(range(1, distance)).values()}


def check(shot: Shot, rows: Rows, passes: int) -> None:
    """Raise ValueError unless the frames of a shot were computed in its order.

    Args:
      shot: the shot.
      rows: of a film, which may be forged; but each `pass` is a whole number.
      passes: number of passes over the shot.
    """
    passes_done, step_count = _passes_done(shot, rows), done(shot, rows)
    if step_count > count(shot, passes):
        raise ValueError("there are more passes than in the film")
    full, rest = divmod(step_count, shot.frame_count)
    is_complete = len(passes_done) == min(step_count, shot.frame_count)
    latest = {at(shot, step_count - 1 - k).frame for k in range(rest)} if is_complete else set()
    if not is_complete or passes_done != {n: full + (n in latest) for n in passes_done}:
        raise ValueError("the frames were computed in another order")
