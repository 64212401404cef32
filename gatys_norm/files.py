"""Writing files so that no half-written one is ever seen under its final name."""

import contextlib
import errno
import hashlib
import os
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import BinaryIO, TypeAlias

StrPath: TypeAlias = str | os.PathLike[str]


@contextlib.contextmanager
def open_atomically(path: StrPath) -> Iterator[BinaryIO]:
    """Open a file for writing bytes, which gets the name `path` only when it is complete.

    It is written as a temporary file in the same folder, synced, then renamed. After any failure
    an earlier file at `path` is unchanged, and the temporary file is removed.

    Args:
      path: where the file goes.

    Yields:
      The open file.

    Raises:
      OSError: the disk is full, the folder is missing or read-only, and so on.
    """
    path = Path(path)
    temporary = path.with_name(f"{_temporary_prefix(path)}{uuid.uuid4().hex}.tmp")
    try:
        with open(temporary, "xb") as file:
            yield file
            _sync(file)
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    _sync_folder(path.parent)


def write_atomically(path: StrPath, data: bytes) -> None:
    """Write `data` (bytes) to `path` in one step; see `open_atomically`."""
    with open_atomically(path) as file:
        file.write(data)


def write_together(contents: Mapping[Path, bytes]) -> None:
    """Write several files, none of which gets its name before all are complete.

    Args:
      contents: {path: bytes}; the first gets its name last.

    Raises:
      OSError: see `open_atomically`.
    """
    with contextlib.ExitStack() as stack:
        for path, data in contents.items():
            file = stack.enter_context(open_atomically(path))
            file.write(data)
            _sync(file)


def can_be_written_to(folder: StrPath) -> bool:
    """Tell whether a file can be made in a folder, by making one: its access rights may mislead."""
    probe = Path(folder, f".{uuid.uuid4().hex}.tmp")
    try:
        probe.open("xb").close()
        probe.unlink()
    except OSError:
        return False
    return True


def remove_leftovers(path: StrPath) -> None:
    """Remove temporary files that killed writers of `path` left; call it while nobody writes."""
    path = Path(path)
    for temporary in path.parent.glob(f"{_temporary_prefix(path)}*.tmp"):
        temporary.unlink(missing_ok=True)


def _sync(file: BinaryIO) -> None:
    """Bring what was written to the disk, unless the file system says that it cannot do that."""
    file.flush()
    try:
        os.fsync(file.fileno())
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP, errno.ENOSYS):
            raise


def _temporary_prefix(path: Path) -> str:
    """Return a hash of the name, because the name may have the greatest length already."""
    return f".{hashlib.sha256(os.fsencode(path.name)).hexdigest()[:16]}."


def _sync_folder(folder: Path) -> None:
    """Make the rename itself survive a power cut, where the system can sync folders."""
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
