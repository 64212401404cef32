"""Hashes in place of bytes, so that a comparison that fails prints none of them."""

import hashlib


def digest(data):
    """Return the SHA-256 of bytes, as text."""
    return hashlib.sha256(data).hexdigest()


def digests(folder):
    """Return {path: SHA-256} of every file below a folder, None in place of one's for a folder."""
    return {
        path: digest(path.read_bytes()) if path.is_file() else None for path in folder.rglob("*")
    }
