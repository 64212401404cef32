"""The files of a film's transfer: its frames, its record, the film itself.

Each frame is stored as a PNG as soon as it is done, next to `out.mp4` in the folder
`out.mp4.frames`, and the film is made from them at the end: so it does not depend on where the run
was stopped and resumed. If the output is a folder, the frames are stored there, and stay.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from gatys_norm import files
from gatys_norm.files import StrPath
from gatys_norm.film import encode
from gatys_norm.film.model import FilmError, FilmFacts, Frame
from gatys_norm.images import io as picture_io
from gatys_norm.runs import checkpoint as checkpoints
from gatys_norm.runs import folder as run_folder
from gatys_norm.runs.folder import OutputError


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
