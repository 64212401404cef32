"""Disks that are full."""

import contextlib
import resource


@contextlib.contextmanager
def limited_file_size(limit):
    """Let no file grow beyond `limit` bytes, as on a full disk.

    Python ignores the signal that this causes, so writing raises an error.
    """
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
