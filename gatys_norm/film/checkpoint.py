"""The checkpoint of a film: which frames are done, and what the next ones are compared with."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from fractions import Fraction
from typing import Any, NamedTuple, cast

import numpy as np

from gatys_norm.config import LARGEST_WEIGHT
from gatys_norm.files import StrPath
from gatys_norm.film import plan, steps, store
from gatys_norm.film.frame import Row
from gatys_norm.film.plan import Shot
from gatys_norm.images import io as picture_io
from gatys_norm.network.memory import Strips
from gatys_norm.runs import checkpoint as checkpoints
from gatys_norm.runs import folder as run_folder
from gatys_norm.runs.checkpoint import Checkpoint
from gatys_norm.runs.identity import DAMAGED, CheckpointMismatchError, check_number, damaged


class State(NamedTuple):
    """A film of which some frames are done.

    Attributes:
      shots: of the film.
      rows: {number: what the record has of it} of each finished frame.
      results: {number: image, float32 H × W × 3} of those that later frames are compared with, and
        of the last one that was finished; see `steps.results_needed`.
      strips: how the network is computed; see `film.transfer.FilmTransfer`.
    """

    shots: tuple[Shot, ...]
    rows: Mapping[int, Row]
    results: Mapping[int, np.ndarray]
    strips: tuple[Strips, ...]


def save_frame(output: StrPath, number: int, state: State, identity: Mapping[str, Any]) -> None:
    """Store a state, then the result that has been added to it.

    If the program is stopped between the two, `load` writes that result: it may replace the one of
    an earlier pass, which must be there as long as the state does not hold the new one.

    Args:
      output: path of the film.
      number: of the frame that has been added.
      state: the film, this frame included.
      identity: what distinguishes this transfer from others, as plain JSON values.

    Raises:
      OSError: the disk is full, and so on; the older state is unchanged.
    """
    store.frames_folder(output).mkdir(exist_ok=True)
    facts: Any = {
        "identity": identity,
        "shots": state.shots,
        "rows": [row for _, row in sorted(state.rows.items())],
        "strips": [strips._asdict() for strips in state.strips],
    }
    arrays = {str(number): result for number, result in state.results.items()}
    checkpoints.save(run_folder.checkpoint_path(output), Checkpoint(arrays, facts))
    picture_io.save_picture(store.frame_path(output, number), state.results[number])


def load(
    output: StrPath,
    identity: Mapping[str, Any],
    layers: Collection[str],
    shape: tuple[int, int],
    distance: int,
    passes: int,
) -> State:
    """Return the state that `save_frame` stored, checked; write its last results once more.

    Args:
      output: path of the film.
      identity: of the transfer that is to continue.
      layers: its content layers.
      shape: (height, width) of its frames.
      distance: how many frames before it a frame is compared with, at most.
      passes: how often each shot is gone through.

    Raises:
      OSError: a result could not be written.
      CheckpointError: it is missing or damaged.
      CheckpointMismatchError: it is of another transfer, or a frame is missing.
    """
    arrays, facts = checkpoints.load(run_folder.checkpoint_path(output))
    try:
        stored = cast("Mapping[str, Any]", facts)
        for name, value in identity.items():
            if stored["identity"][name] != json.loads(json.dumps(value)):
                raise CheckpointMismatchError(f"the checkpoint is of another film: {name} differs")
        shots = plan.from_json(stored["shots"], layers)
        rows = _checked_rows(stored["rows"], shots, passes)
        results = {int(number): array for number, array in arrays.items()}
        _check_results(results, shots, rows, passes, distance, shape)
        for strips in stored["strips"]:
            checkpoints.check_strips(strips)
        planned = tuple(Strips(**strips) for strips in stored["strips"])
    except CheckpointMismatchError:
        raise
    except DAMAGED as error:
        raise damaged(error) from error
    state = State(shots, rows, results, planned)
    _write_last(output, state)
    for number in rows:
        path = store.frame_path(output, number)
        if not path.is_file():
            raise CheckpointMismatchError(f"the frame {path} is missing, which was finished")
    return state


def _checked_rows(rows: Sequence[Row], shots: Sequence[Shot], passes: int) -> dict[int, Row]:
    """Return {number: row} of stored rows, which may be forged."""
    count = sum(shot.frame_count for shot in shots)
    if len(rows) > count:
        raise ValueError("there are more frames than in the film")
    json.dumps(rows, allow_nan=False)
    for index, row in enumerate(rows):
        check_number(row, "frame", rows[index - 1]["frame"] + 1 if index else 0, count - 1, int)
        check_number(row, "pass", 1, passes, int)
        check_number(row, "lambda_os", 0, LARGEST_WEIGHT)
        check_number(row, "seconds")
        if Fraction(*row["duration"]) < 0:
            raise ValueError(f"frame {row['frame']} is damaged")
        if index and Fraction(*row["time"]) <= Fraction(*rows[index - 1]["time"]):
            raise ValueError("the times of the frames do not grow")
    by_number = {row["frame"]: row for row in rows}
    for shot in shots:
        steps.check(shot, by_number, passes)
    return by_number


def _check_results(
    results: Mapping[int, np.ndarray],
    shots: Sequence[Shot],
    rows: Mapping[int, Row],
    passes: int,
    distance: int,
    shape: tuple[int, int],
) -> None:
    """Raise ValueError unless the results are those of the frames that the next ones need."""
    needed: set[int] = set()
    for shot in shots:
        done = steps.done(shot, rows)
        of_shot = steps.results_needed(shot, done, distance)
        if done < steps.count(shot, passes) or not of_shot.isdisjoint(results):
            needed |= of_shot
    if set(results) != needed:
        raise ValueError("other results than those of the last frames")
    for result in results.values():
        if result.shape != (*shape, 3) or result.dtype != np.float32:
            raise ValueError("a result has another shape or type")
        if not np.isfinite(result).all():
            raise ValueError("a result has values that are not finite")


def _write_last(output: StrPath, state: State) -> None:
    """Write the last result of each shot, in case the program was stopped before that."""
    for shot in state.shots:
        done = steps.done(shot, state.rows)
        number = steps.at(shot, done - 1).frame
        if done and number in state.results:
            picture_io.save_picture(store.frame_path(output, number), state.results[number])
