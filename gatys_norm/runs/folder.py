"""The files of one run: picture, record and checkpoint, in one folder, written atomically."""

import contextlib
import errno
import itertools
import json
import os
import re
import shutil
from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from typing import Any, BinaryIO

import filelock
import numpy as np

from gatys_norm import files
from gatys_norm.config import FLAT, TransferConfig
from gatys_norm.files import StrPath
from gatys_norm.images import io as picture_io
from gatys_norm.images.resolution import Dpi
from gatys_norm.record import Record
from gatys_norm.runs import checkpoint

RECORD_LIMIT = 100_000_000  # bytes


class OutputError(ValueError):
    """The picture cannot be written at the given path; the message names path and reason."""


class RecordError(ValueError):
    """Settings cannot be read from a file; the message names path and reason."""


def derived_path(output: StrPath, ending: str) -> Path:
    """Return the path of a file that belongs to one picture and to no other.

    It is `out` + `ending` for `out.png`, but `out.jpg` + `ending` for `out.jpg`, so that two
    pictures whose names differ only in the suffix do not share files.
    """
    output = Path(output)
    stem = Path(output.stem)
    is_short = output.suffix == ".png" and stem.suffix.lower() not in picture_io.SUFFIXES
    return output.with_name(f"{stem if is_short else output.name}{ending}")


def record_path(output: StrPath) -> Path:
    """`out.json` for `out.png`; see `derived_path`."""
    return derived_path(output, ".json")


def checkpoint_path(output: StrPath) -> Path:
    """`out.checkpoint.npz` for `out.png`; see `derived_path`."""
    return derived_path(output, ".checkpoint.npz")


def snapshot_path(output: StrPath, iteration: int) -> Path:
    """`out-00050.png` for `out.png` and iteration 50."""
    output = Path(output)
    return output.with_name(f"{output.stem}-{iteration:05d}{output.suffix}")


def snapshots(output: StrPath) -> dict[int, Path]:
    """Return {iteration: path} of the snapshots next to a picture, in the order of iterations.

    Raises:
      OSError: the folder cannot be read.
    """
    output = Path(output)
    name = re.compile(re.escape(output.stem) + r"-(\d{5,})" + re.escape(output.suffix))
    names = {path.name for path in output.parent.iterdir()}
    numbers = sorted(int(match[1]) for match in map(name.fullmatch, names) if match)
    paths = {number: snapshot_path(output, number) for number in numbers}
    return {number: path for number, path in paths.items() if path.name in names}


def result_paths(output: StrPath) -> tuple[Path, Path]:
    """Return the files of a finished run; the first is the one that gets its name last."""
    return record_path(output), Path(output)


def _written_files(output: StrPath) -> tuple[Path, Path, Path]:
    return *result_paths(output), checkpoint_path(output)


@contextlib.contextmanager
def locked(output: StrPath) -> Iterator[None]:
    """Lock the files of a run, so that no other process writes them.

    The lock belongs to the operating system and ends when the process ends, in any way.

    Args:
      output: path of the picture to write.

    Raises:
      OutputError: another run is writing there, or the folder cannot be written to.
    """
    path = _lock_path(output)
    lock: BinaryIO | None = None
    try:
        try:
            lock = open(path, "ab")  # noqa: SIM115  # `_let_go` closes it
            is_ours = _acquire(lock, path)
        except OSError as error:
            reason = error.strerror
            if lock is not None:
                reason = f"cannot be locked ({reason}); choose a folder on another disk"
            raise OutputError(f"{path}: {reason}") from error
        if not is_ours:
            raise OutputError(f"{output}: another run is writing there; wait for it")
        for target in _written_files(output):
            files.remove_leftovers(target)
        yield
    finally:
        _let_go(lock, path)


def _let_go(lock: BinaryIO | None, path: Path) -> None:
    """Remove the lock file unless another process holds the lock.

    Args:
      lock: the open lock file; None if a signal or an error interrupted its opening.
      path: path of the lock file.
    """
    with contextlib.suppress(OSError), lock or open(path, "ab") as file:
        try:
            is_ours = _acquire(file, path)
        except OSError:  # this file system has no locks
            is_ours = True
        if is_ours:
            path.unlink(missing_ok=True)


def _lock_path(output: StrPath) -> Path:
    return Path(output).with_name(f".{record_path(output).name}.lock")


def _acquire(lock: BinaryIO, path: Path) -> bool:
    """Lock the open file; return False if another process holds it, or has replaced it."""
    try:
        is_ours = filelock.lock_descriptor(lock.fileno(), blocking=False)
    except OSError as error:
        if filelock.has_fcntl or error.errno != errno.ENOSYS:
            raise
        is_ours = True  # a system without locks: no process can hold one
    try:
        return is_ours and os.path.samestat(os.fstat(lock.fileno()), path.stat())
    except FileNotFoundError:  # its holder has just removed it
        return False


def check_output(output: StrPath, inputs: Collection[StrPath], snapshots: bool = False) -> None:
    """Check, before the work starts, that picture and record can be written.

    Args:
      output: path of the picture to write.
      inputs: paths of the pictures that must not be overwritten.
      snapshots: whether snapshots will be written too.

    Raises:
      OutputError: the suffix is unknown, the folder is missing or read-only, the name is too long,
        or a file to write is a folder or one of the inputs.
    """
    output = Path(output)
    try:
        picture_io.check_output_suffix(output)
    except picture_io.PictureError as error:
        raise OutputError(str(error)) from error
    check_targets(output, _written_files(output), inputs)
    snapshot = re.compile(re.escape(output.stem) + r"-\d{5,}" + re.escape(output.suffix))
    for path in map(Path, inputs if snapshots else ()):
        if path.resolve().parent == output.resolve().parent and snapshot.fullmatch(path.name):
            raise OutputError(f"{path}: is one of the inputs, and a snapshot would overwrite it")


def check_targets(output: Path, targets: Collection[Path], inputs: Collection[StrPath]) -> None:
    """Check, before the work starts, that files can be written in the folder of an output.

    Args:
      output: path that the user has named.
      targets: paths of the files to write, in the same folder.
      inputs: paths of the files that must not be overwritten.

    Raises:
      OutputError: the folder is missing or read-only, a name is too long, or a file to write is a
        folder or one of the inputs.
    """
    if not os.path.isdir(output.parent):  # unlike `is_dir`, false where a name is too long
        raise OutputError(f"{output}: there is no folder {output.parent}; make it first")
    if not files.can_be_written_to(output.parent):
        raise OutputError(f"{output}: the folder {output.parent} cannot be written to")
    for path in targets:
        try:
            if path.is_dir():
                raise OutputError(f"{path}: is a folder; a file will be written there")
        except OSError as error:
            raise OutputError(f"{path}: {error.strerror}") from error
    for source, target in itertools.product(inputs, targets):
        if target.exists() and os.path.exists(source) and os.path.samefile(target, source):
            raise OutputError(f"{target}: is one of the inputs; choose another name")


def check_derived(
    output: StrPath, config: TransferConfig, snapshot_every: int, resume: bool
) -> None:
    """Check, before the work starts, that the files next to the picture replace no foreign files.

    The picture itself is not checked: the user has named it.

    Args:
      output: path of the picture to write, which `check_output` has accepted.
      config: `TransferConfig`.
      snapshot_every: iterations between snapshots; 0 for no snapshots.
      resume: whether the run continues from the checkpoint, which is then checked when it is read.

    Raises:
      OutputError: a file to write exists and was not written by this program.
    """
    check_ours(record_path(output), _is_record)
    if not resume:
        check_ours(checkpoint_path(output), checkpoint.is_checkpoint)
    if not _lock_path(output).is_dir():
        check_ours(_lock_path(output), lambda path: path.stat().st_size == 0)
    if not snapshot_every:
        return
    try:
        earlier = snapshots(output)
    except OSError as error:
        raise OutputError(f"{output}: the folder cannot be read ({error.strerror})") from error
    for iteration, path in earlier.items():
        # After the first size, the iteration of a snapshot may be any number above a multiple.
        is_taken = len(config.size) > 1 or iteration % snapshot_every == 0
        if is_taken and iteration <= sum(config.resolved().iterations):
            check_ours(path, is_our_picture)


def check_ours(path: StrPath, is_ours: Callable[[Path], bool]) -> None:
    """Raise OutputError if there is a file at `path` that this program has not written.

    Args:
      path: path of a file to write.
      is_ours: function that tells whether this program wrote a regular file, as `is_our_picture`.
    """
    path = Path(path)
    if os.path.lexists(path) and not (path.is_file() and is_ours(path)):
        raise OutputError(
            f"{path}: is there already and was not written by this program; move it away, or "
            "choose another name for the output"
        )


def is_our_picture(path: StrPath) -> bool:
    """Tell whether this program wrote a picture: it is marked, or holds the settings of a run."""
    try:
        return picture_io.is_marked(path) or "content" in load_config(path)
    except (picture_io.PictureError, RecordError, TypeError):
        return False


def _is_record(path: Path) -> bool:
    try:
        record = _load_json(path)
        return isinstance(record["config"], dict) and isinstance(record["status"], str)
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return False


def check_space(output: StrPath, config: TransferConfig, pixel_count: int) -> None:
    """Check, before the work starts, that the disk has space for two checkpoints.

    Two, because the old one stays until the new one is complete.

    Args:
      output: path of the picture to write.
      config: `TransferConfig`.
      pixel_count: H · W of x at the last size.

    Raises:
      OutputError: the disk has too little space.
    """
    arrays = 2 * config.stored_pairs + 2  # the optimizer's memory, position and gradient
    needed = 2 * arrays * pixel_count * 3 * np.dtype(np.float32).itemsize
    free = shutil.disk_usage(Path(output).parent).free
    if free < needed:
        raise OutputError(
            f"{output}: the disk has {free / 2**20:.0f} MiB left and checkpoints need "
            f"{needed / 2**20:.0f}; make room, or set checkpoint_every to 0"
        )


def save_result(
    output: StrPath,
    image: np.ndarray,
    record: Record,
    *,
    bit_depth: int = 8,
    dpi: Dpi | None = None,
    is_panorama: bool = False,
) -> None:
    """Write the picture, with the settings if it is a PNG or TIFF, and the record next to it.

    Args:
      output: path of the picture.
      image: float32 H × W × 3, RGB; clipped to 0–255.
      record: plain JSON values with a `config`.
      bit_depth, dpi: see `images.io.save_picture`.
      is_panorama: whether the content says that it is a panorama; the picture then says so too, and
        always if the settings say it.

    Raises:
      OSError: they could not be written; earlier files are unchanged.
    """
    text = json.dumps(record, indent=1, allow_nan=False)  # ASCII: a path may not be valid Unicode
    settings = {"config": json.dumps(record["config"])}
    is_panorama |= record["config"].get("projection", FLAT) != FLAT
    picture = picture_io.encode_picture(
        output, image, settings, bit_depth=bit_depth, dpi=dpi, is_panorama=is_panorama
    )
    contents = (text.encode() + b"\n", picture)
    # The record gets its name last: if it exists, the picture does too.
    files.write_together(dict(zip(result_paths(output), contents, strict=True)))


def load_config(path: StrPath) -> Any:
    """Return the settings in a picture (.png or .tif) or a record (.json), not checked yet.

    Raises:
      RecordError: the file is missing, is neither, or holds no settings.
    """
    try:
        if Path(path).suffix.lower() == ".json":
            return _load_json(path)["config"]
        return json.loads(picture_io.load_text(path)["config"])
    except OSError as error:
        raise RecordError(
            f"{path}: {error.strerror}; a .png, .tif or .json of a run is needed"
        ) from error
    except picture_io.PictureError as error:
        raise RecordError(str(error)) from error
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise RecordError(f"{path}: holds no settings of a run") from error


def _load_json(path: StrPath) -> Any:
    if os.path.getsize(path) > RECORD_LIMIT:
        raise RecordError(f"{path}: too large for a record")
    return json.loads(Path(path).read_text(encoding="utf-8"))


def is_finished(output: StrPath, config: TransferConfig) -> bool:
    """Tell whether picture and record of a run with exactly these settings exist and are complete.

    Args:
      output: path of the picture.
      config: `TransferConfig`.
    """
    try:
        record = json.loads(record_path(output).read_text(encoding="utf-8"))
        is_complete = record["status"] != "interrupted"
        return (
            is_complete
            and Path(output).is_file()
            and record["config"] == config.resolved().as_dict()
        )
    except (OSError, ValueError, KeyError, TypeError):
        return False
