"""What is left of a film, and its computation: here, or by another `Execute` elsewhere."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

import numpy as np

from gatys_norm.film import steps
from gatys_norm.film.frame import Row, Sources
from gatys_norm.film.plan import Shot
from gatys_norm.film.steps import Step

if TYPE_CHECKING:
    from gatys_norm.film.transfer import Done, FilmTransfer
    from gatys_norm.transfer import Progress


class ShotError(RuntimeError):
    """A shot could not be computed elsewhere; the message says which and why."""


class Running(NamedTuple):
    """A frame that is being computed.

    Attributes:
      step: which frame it is, and in which pass.
      share: of the frame that is done, 0 to 1.
      seconds: that it has taken so far.
    """

    step: Step
    share: float
    seconds: float


class Work(NamedTuple):
    """What is left of a film, and what it is computed from.

    Attributes:
      transfer: of its frames.
      shots: {number of the shot, counted from 0: `Shot`} of those that are not finished.
      rows: {number of a frame: its row} of the frames that are done; grows with what is yielded.
      results: {number of a frame: image} that the next frames are compared with; follows `rows`.
      sources: where the frames come from; of the film and of its results so far.
    """

    transfer: FilmTransfer
    shots: Mapping[int, Shot]
    rows: Mapping[int, Row]
    results: Mapping[int, np.ndarray]
    sources: Sources


# Is called with {number of a shot: what runs of it} and the transfer, if that is of this process;
# a true value stops.
Report: TypeAlias = "Callable[[Mapping[int, Running], Progress | None], bool]"
# Yields (number of the shot, finished frame), in the order of each shot.
Execute: TypeAlias = "Callable[[Work, Report], Iterator[tuple[int, Done]]]"


def execute_here(work: Work, report: Report) -> Iterator[tuple[int, Done]]:
    """Yield what is left of a film, computed in this process, one shot after the other."""
    for number, shot in work.shots.items():
        watch = functools.partial(_watch, number, report)
        for done in work.transfer.run(shot, work.sources, work.rows, work.results, watch):
            yield number, done
        if steps.done(shot, work.rows) < steps.count(shot, work.transfer.config.passes):
            return


def _watch(number: int, report: Report, step: Step, progress: Progress) -> bool:
    share = progress.iteration / progress.iterations
    return report({number: Running(step, share, progress.seconds)}, progress)
