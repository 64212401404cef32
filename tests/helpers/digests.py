"""Hashes instead of bytes, so that a failing comparison does not print the bytes."""

import hashlib


def digest(data):
    """Return the SHA-256 of bytes, as text."""
    return hashlib.sha256(data).hexdigest()


def digests(folder):
    """Return {path: SHA-256} of every file below a folder, and {path: None} of every folder."""
    return {
        path: digest(path.read_bytes()) if path.is_file() else None for path in folder.rglob("*")
    }
