"""The files of one run: picture, record and checkpoint, side by side and written atomically."""

import json
import os
from pathlib import Path

import numpy as np

from gatys_norm import files, images

FACTS = "facts"


class OutputError(ValueError):
    """The picture cannot be written where it was asked for; the message names path and reason."""


class CheckpointError(ValueError):
    """A checkpoint is missing or cannot be used; the message names path and reason."""


def record_path(output):
    """`out.json` for `out.png`."""
    return Path(output).with_suffix(".json")


def checkpoint_path(output):
    """`out.checkpoint.npz` for `out.png`."""
    return Path(output).with_suffix(".checkpoint.npz")


def snapshot_path(output, iteration):
    """`out-00050.png` for `out.png` and iteration 50."""
    output = Path(output)
    return output.with_name(f"{output.stem}-{iteration:05d}{output.suffix}")


def check_output(output, inputs):
    """See before the work starts that picture and record can be written.

    Args:
      output: path of the picture to come.
      inputs: paths of the pictures that must not be overwritten.

    Raises:
      OutputError: unknown suffix, missing or read-only folder, a name too long, a folder in the
        place of a file to write, or one of the inputs.
    """
    output = Path(output)
    try:
        images.check_output_suffix(output)
    except images.PictureError as error:
        raise OutputError(str(error)) from error
    if not os.path.isdir(output.parent):  # unlike `is_dir`, false where a name is too long
        raise OutputError(f"{output}: there is no folder {output.parent}; make it first")
    if not os.access(output.parent, os.W_OK | os.X_OK):
        raise OutputError(f"{output}: the folder {output.parent} cannot be written to")
    for path in (output, record_path(output), checkpoint_path(output)):
        try:
            if path.is_dir():
                raise OutputError(f"{path}: is a folder; a file will be written there")
        except OSError as error:
            raise OutputError(f"{path}: {error.strerror}") from error
    for path in inputs:
        if output.exists() and os.path.exists(path) and os.path.samefile(output, path):
            raise OutputError(f"{output}: is one of the inputs; choose another name")


def save_result(output, image, record):
    """Write the picture, with the settings inside if it is a PNG, and the record beside it.

    Args:
      output: path of the picture.
      image: float32 H × W × 3, RGB; clipped to 0–255.
      record: plain JSON values with a `config`.

    Raises:
      OSError: nothing half-written is left behind.
    """
    images.save_picture(output, image, {"config": json.dumps(record["config"])})
    text = json.dumps(record, indent=1, allow_nan=False)  # ASCII: a path may be no valid Unicode
    files.write_atomically(record_path(output), text.encode() + b"\n")


def save_checkpoint(path, arrays, facts):
    """Write arrays and facts, uncompressed; the previous checkpoint stays until this one is whole.

    Args:
      path: where to.
      arrays: {name: NumPy array}.
      facts: plain JSON values.

    Raises:
      OSError: see `files.open_atomically`.
    """
    described = {"arrays": _describe(arrays), "facts": facts}
    text = np.frombuffer(json.dumps(described).encode(), np.uint8)
    with files.open_atomically(path) as file:
        np.savez(file, **{FACTS: text}, **arrays)


def load_checkpoint(path):
    """Return the (arrays, facts) that `save_checkpoint` wrote.

    Raises:
      CheckpointError: the file is missing, damaged or not a checkpoint.
    """
    try:
        with np.load(path, allow_pickle=False) as stored:
            arrays = {name: stored[name] for name in stored.files}
        described = json.loads(arrays.pop(FACTS).tobytes())
        if _describe(arrays) != described["arrays"]:  # the archive's index has no checksum
            raise ValueError("its arrays are not those it should hold")
        return arrays, described["facts"]
    except FileNotFoundError as error:
        raise CheckpointError(f"{path}: there is no checkpoint to go on from") from error
    except Exception as error:  # zipfile and NumPy's reader let a dozen types through
        raise CheckpointError(f"{path}: is damaged or not a checkpoint ({error})") from error


def _describe(arrays):
    return {name: [str(value.dtype), list(value.shape)] for name, value in arrays.items()}
