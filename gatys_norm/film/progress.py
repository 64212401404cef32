"""How far a film is, and when it will be done."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gatys_norm.film import steps
from gatys_norm.film.frame import Row
from gatys_norm.film.plan import Shot
from gatys_norm.film.work import Running

if TYPE_CHECKING:
    from gatys_norm.transfer import Progress


@dataclass(frozen=True)
class FilmProgress:
    """How far a film is.

    Attributes:
      frame: number of the present frame, counted from 1; of the first shot that is running.
      frames: number of frames.
      shot: number of the present shot, counted from 1.
      shots: number of shots.
      pass_number: of the present pass over the shot, counted from 1.
      passes: number of passes over each shot.
      running: number of shots that are computed at present.
      share: of the film that is done, 0 to 1.
      seconds_left: estimated time until the end; NaN before the first frame is done.
      transfer: `Progress` of the present frame; None if another process computes it.
    """

    frame: int
    frames: int
    shot: int
    shots: int
    pass_number: int
    passes: int
    running: int
    share: float
    seconds_left: float
    transfer: Progress | None


def progress_of(
    shots: Sequence[Shot],
    rows: Mapping[int, Row],
    passes: int,
    running: Mapping[int, Running],
    transfer: Progress | None,
) -> FilmProgress:
    """Return how far a film is.

    Args:
      shots: all of them.
      rows: {number: its row} of each frame that is done.
      passes: number of passes over each shot.
      running: {number of a shot, counted from 0: what runs of it}, at least one.
      transfer: see `FilmProgress`.
    """
    first = min(running)
    step_count = sum(steps.count(shot, passes) for shot in shots)
    done = step_count - steps_left(shots, rows, passes)
    seconds = _seconds_left(shots, rows, passes) - sum(one.seconds for one in running.values())
    return FilmProgress(
        frame=running[first].step.frame + 1,
        frames=sum(shot.frame_count for shot in shots),
        shot=first + 1,
        shots=len(shots),
        pass_number=running[first].step.pass_number,
        passes=passes,
        running=len(running),
        share=min(1, (done + sum(one.share for one in running.values())) / step_count),
        seconds_left=seconds / len(running),
        transfer=transfer,
    )


def steps_left(shots: Sequence[Shot], rows: Mapping[int, Row], passes: int) -> int:
    """Return how many steps of a film are not done."""
    count = sum(steps.count(shot, passes) for shot in shots)
    return count - sum(row["pass"] for row in rows.values())


def _seconds_left(shots: Sequence[Shot], rows: Mapping[int, Row], passes: int) -> float:
    """Estimate the time of the steps that are left, one after the other; NaN if none is done."""
    firsts = {shot.first for shot in shots}
    seconds: dict[bool, list[float]] = {True: [], False: []}  # {whether in a shot's first frame:}
    for row in rows.values():
        if row["status"] != "kept":
            seconds[row["frame"] in firsts and row["pass"] == 1].append(row["seconds"])
    if not any(seconds.values()):
        return math.nan
    mean = statistics.fmean(seconds[False] or seconds[True])
    mean_of_first = statistics.fmean(seconds[True] or seconds[False])
    firsts_left = len(firsts - rows.keys())
    others_left = steps_left(shots, rows, passes) - firsts_left
    return firsts_left * mean_of_first + others_left * mean
