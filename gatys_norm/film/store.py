"""The files of a film's transfer: its frames, its checkpoint, its record, the film itself.

Each frame is stored as a PNG as soon as it is done, next to `out.mp4` in the folder
`out.mp4.frames`, and the film is made from them at the end: so it does not depend on where the run
was stopped and resumed. If the output is a folder, the frames are stored there, and stay.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias, cast

import numpy as np

from gatys_norm import files
from gatys_norm.config import LARGEST_WEIGHT
from gatys_norm.files import StrPath
from gatys_norm.film import encode, plan, steps
from gatys_norm.film.model import FilmError, FilmFacts, Frame
from gatys_norm.film.plan import Shot
from gatys_norm.images import io as picture_io
from gatys_norm.network.memory import Strips
from gatys_norm.runs import checkpoint as checkpoints
from gatys_norm.runs import folder as run_folder
from gatys_norm.runs.checkpoint import Checkpoint
from gatys_norm.runs.folder import OutputError
from gatys_norm.runs.identity import DAMAGED, CheckpointMismatchError, check_number, damaged

Row: TypeAlias = dict[str, Any]  # what the record has of a frame


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


def is_folder(output: StrPath) -> bool:
    """Tell whether the output is a folder of frames: its name has no suffix."""
    return not Path(output).suffix


def frames_folder(output: StrPath) -> Path:
    """Return the folder that the frames are stored in."""
    output = Path(output)
    return output if is_folder(output) else output.with_name(f"{output.name}.frames")


def frame_path(output: StrPath, number: int) -> Path:
    """Return the path of a frame, `000001.png` for number 0."""
    return frames_folder(output) / f"{number + 1:06d}.png"


def curves_path(output: StrPath) -> Path:
    """Return the path of the picture of the measures by frame, `out.mp4.curves.png`."""
    return run_folder.derived_path(output, ".curves.png")


def check_output(
    output: StrPath, inputs: Collection[StrPath], sound_of: StrPath | None, resume: bool
) -> None:
    """Check, before the work starts, that all files can be written and replace no foreign ones.

    Args:
      output: path of the film, or of the folder of frames, to write.
      inputs: paths of the files that are read.
      sound_of: see `encode.check_output`.
      resume: whether frames that are there already are continued.

    Raises:
      OutputError: a file cannot be written, or one is there that this program did not write.
      FilmError: see `encode.check_output`.
    """
    output = Path(output)
    record, checkpoint = run_folder.record_path(output), run_folder.checkpoint_path(output)
    curves = curves_path(output)
    targets = [record, checkpoint, curves]
    if not is_folder(output):
        encode.check_output(output, sound_of)
        targets.append(output)
    run_folder.check_targets(output, targets, inputs)
    folder = frames_folder(output)
    if folder.is_dir() and any(Path(path).is_dir() and folder.samefile(path) for path in inputs):
        raise OutputError(f"{folder}: is one of the inputs; choose another name")
    run_folder.check_ours(record, _is_record)
    run_folder.check_ours(curves, run_folder.is_our_picture)
    if resume:
        return
    run_folder.check_ours(checkpoint, checkpoints.is_checkpoint)
    try:
        is_taken = folder.is_file() or (folder.is_dir() and any(folder.iterdir()))
    except OSError as error:
        raise OutputError(f"{folder}: {error.strerror}") from error
    if is_taken:
        raise OutputError(
            f"{folder}: is there already and is not empty; resume its film, or remove it"
        )


def _is_record(path: Path) -> bool:
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        return isinstance(record["frames"], list) and isinstance(record["config"], dict)
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return False


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
    frames_folder(output).mkdir(exist_ok=True)
    facts: Any = {
        "identity": identity,
        "shots": state.shots,
        "rows": [row for _, row in sorted(state.rows.items())],
        "strips": [strips._asdict() for strips in state.strips],
    }
    arrays = {str(number): result for number, result in state.results.items()}
    checkpoints.save(run_folder.checkpoint_path(output), Checkpoint(arrays, facts))
    picture_io.save_picture(frame_path(output, number), state.results[number])


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
        path = frame_path(output, number)
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
            picture_io.save_picture(frame_path(output, number), state.results[number])


def stored_frame(output: StrPath, number: int, shape: tuple[int, int]) -> np.ndarray:
    """Return a frame of the result that is stored, uint8 H × W × 3.

    Args:
      output: path of the film.
      number: of the frame.
      shape: (height, width) that it must have.

    Raises:
      FilmError: it cannot be read, or is another picture.
    """
    path = frame_path(output, number)
    try:
        pixels = picture_io.load_picture(path).astype(np.uint8)
    except picture_io.PictureError as error:
        raise FilmError(str(error)) from error
    if pixels.shape[:2] != shape:
        raise FilmError(f"{path}: is not the frame that was stored; remove all, and begin anew")
    return pixels


def finish(
    output: StrPath,
    facts: FilmFacts,
    record: Mapping[str, Any],
    sound_of: StrPath | None,
) -> None:
    """Write the film of the frames so far, and the record; then remove what is not needed.

    Args:
      output: path of the film.
      facts: of the film that was read.
      record: plain JSON values with the rows of the `frames`, at least one, and a `status`; if that
        is "interrupted", frames and checkpoint stay.
      sound_of: film whose sound is copied; None for no sound.

    Raises:
      OSError: a file could not be written; the frames and the checkpoint are kept.
    """
    is_whole, rows = record["status"] != "interrupted", record["frames"]
    if not is_folder(output):
        last_duration = Fraction(*rows[-1]["duration"]) or 1 / facts.frame_rate
        end = Fraction(*rows[-1]["time"]) + last_duration
        until = None if is_whole else end
        encode.write(output, _stored_frames(output, record), facts, sound_of, until)
    text = json.dumps(record, indent=1, allow_nan=False)
    files.write_atomically(run_folder.record_path(output), text.encode() + b"\n")
    if is_whole:
        run_folder.checkpoint_path(output).unlink(missing_ok=True)
        if not is_folder(output):
            _remove_frames(output, len(rows))


def _stored_frames(output: StrPath, record: Mapping[str, Any]) -> Iterator[Frame]:
    shape = record["film"]["height"], record["film"]["width"]
    for row in record["frames"]:
        times = (Fraction(*row[name]) for name in ("time", "duration"))
        yield Frame(stored_frame(output, row["frame"], shape), *times)


def _remove_frames(output: StrPath, count: int) -> None:
    """Remove the frames of a finished film, and their folder if nothing else is in it."""
    for number in range(count):
        frame_path(output, number).unlink(missing_ok=True)
    folder = frames_folder(output)
    if not any(folder.iterdir()):
        folder.rmdir()
