"""One frame of a film: what it is compared with, where it begins, what the record has of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import numpy as np

from gatys_norm.film import measures, plan
from gatys_norm.film.flow import Motion
from gatys_norm.film.steps import Step
from gatys_norm.record import lambda_os_of
from gatys_norm.text import finite_or_none

if TYPE_CHECKING:
    from gatys_norm.transfer import TransferResult

Row: TypeAlias = dict[str, Any]  # what the record has of a frame
FrameOf: TypeAlias = Callable[[int], np.ndarray]  # from the number of a frame in the film

_NO_WORK: Row = dict.fromkeys(("iterations", "evaluations", "seconds", "flow_seconds"), 0)
_NOT_COMPARED: Row = dict.fromkeys(("reliable_share", "warping_error", "warping_error_of_film"))


class Sources(NamedTuple):
    """Where the frames of a shot come from.

    Attributes:
      content_of: function to a frame of the film at the size of the transfer, uint8 H × W × 3.
      earlier_result_of: function to the last result of a frame, rounded to 8 bits as it is stored,
        H × W × 3; used in the passes after the first.
    """

    content_of: FrameOf
    earlier_result_of: FrameOf


class FrameToCompute(NamedTuple):
    """A frame to be computed, and what it is compared with.

    Attributes:
      step: which frame it is, and in which pass.
      content: of the film, uint8 H × W × 3.
      opening: the same of the first frame of its shot.
      energies: of its shot.
      otherwise: its start where no frame before shows the same, H × W × 3: its result in the pass
        before; in the first pass the result of the frame before, moved, plus what has changed in
        the film.
      motions: {distance: from the frame so many before, in the order of the pass}.
      moved: {distance: the result of that frame, moved}.
      masks: {distance: where that frame is the nearest one that shows the same}.
      flow_seconds: time that the motions and the moves took.
    """

    step: Step
    content: np.ndarray
    opening: np.ndarray
    energies: plan.Energies
    otherwise: np.ndarray
    motions: Mapping[int, Motion]
    moved: Mapping[int, np.ndarray]
    masks: Mapping[int, np.ndarray]
    flow_seconds: float


def start_of(frame: FrameToCompute) -> np.ndarray:
    """Return the start of a later frame: the nearest result that shows the same, or `otherwise`."""
    remaining = np.ones(frame.content.shape[:2], np.float32)
    start = np.zeros(frame.content.shape, np.float32)
    for distance, mask in frame.masks.items():
        start += mask[..., np.newaxis] * frame.moved[distance]
        remaining -= mask
    return start + remaining[..., np.newaxis] * frame.otherwise


def row_of(frame: FrameToCompute, result: TransferResult, sources: Sources) -> Row:
    """Return what the record has of a frame."""
    record = result.record
    row = {
        "frame": frame.step.frame,
        "pass": frame.step.pass_number,
        "status": "settled" if record["status"] == "interrupted" else record["status"],
        "iterations": record["iterations"],
        "evaluations": record["evaluations"],
        "seconds": record["timing"]["seconds"],
        "flow_seconds": frame.flow_seconds,
        "lambda_os": lambda_os_of(record),
        "metrics": record["metrics"],
        **_NOT_COMPARED,
    }
    if not frame.moved:
        return row
    [neighbor] = frame.step.neighbors([1]).values()
    motion, standstill = frame.motions[1], np.zeros_like(frame.motions[1].flow)
    error = measures.warping_error(result.image, frame.moved[1], standstill, motion.mask)
    of_film = measures.warping_error(
        frame.content, sources.content_of(neighbor), motion.flow, motion.mask
    )
    return row | {
        "reliable_share": motion.share,
        "warping_error": finite_or_none(error),
        "warping_error_of_film": finite_or_none(of_film),
    }


def repeated(before: Row, number: int) -> Row:
    """Return the row of a frame with the result of the one before, from the row of that."""
    errors = {"reliable_share": 1.0, "warping_error": 0.0, "warping_error_of_film": 0.0}
    return before | {"frame": number, "status": "repeated"} | _NO_WORK | errors


def kept(step: Step) -> Row:
    """Return what changes in the row of a frame that keeps its result in another pass."""
    return {"pass": step.pass_number, "status": "kept"} | _NO_WORK | _NOT_COMPARED
