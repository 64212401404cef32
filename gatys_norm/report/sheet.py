"""An HTML page of many small results to choose from, which needs no other file. No TensorFlow."""

from __future__ import annotations

import base64
import io
import os
import shlex
import urllib.parse
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from gatys_norm import files
from gatys_norm.files import StrPath
from gatys_norm.images import io as picture_io
from gatys_norm.images.sizes import resize, size_for_long_side
from gatys_norm.web import templates

TEMPLATE = "explore.html.jinja"
MARK = b'<meta name="generator" content="gatys-norm explore">'  # in every page
THUMBNAIL_SIDE = 256  # pixels, at most
ENCODING: dict[str, Any] = {"format": "WEBP", "quality": 80}


@dataclass(frozen=True)
class Cell:
    """A transfer on the sheet.

    Attributes:
      labels: {what varies: its value here}, the same keys in every cell.
      command: words of the command that makes it at full size.
      picture: path of the result; None if there is none.
      measures: {name: value} of the result; None where undefined.
      error: message that says why there is no result; None if it is not made yet.
    """

    labels: Mapping[str, str | float]
    command: Sequence[str]
    picture: Path | None = None
    measures: Mapping[str, float | None] | None = None
    error: str | None = None


class Thumbnail(NamedTuple):
    """A small version of a picture as a data URL, and the width and height of the picture."""

    source: str
    width: int
    height: int


def write(path: StrPath, title: str, cells: Sequence[Cell], folder: StrPath) -> None:
    """Write the page; an older page is replaced.

    Small versions of the pictures are in the page. The large view shows the pictures themselves,
    by their paths relative to the page, as long as they are there.

    Args:
      path: where the page goes.
      title: its heading.
      cells: at least one.
      folder: where the commands are to be run.

    Raises:
      PictureError: a picture cannot be read.
      OSError: see `files.write_atomically`.
    """
    facets = {label: values_of(label, cells) for label in cells[0].labels}
    measures = dict.fromkeys(name for cell in cells for name in cell.measures or ())
    varied = [label for label, values in facets.items() if len(values) > 1]
    data = {
        "cells": [_described(cell, facets, Path(path).parent) for cell in cells],
        "enter": shlex.join(["cd", str(folder)]),
    }
    environment = templates.environment()
    environment.policies["json.dumps_kwargs"] = {"allow_nan": False}
    text = environment.get_template(TEMPLATE).render(
        title=title,
        facets={label: [as_text(value) for value in facets[label]] for label in varied},
        measures=list(measures),
        cells=[(cell, caption(cell, varied or facets), _thumbnail(cell.picture)) for cell in cells],
        data=data,
        folder=str(folder),
    )
    # A file name may not be valid Unicode.
    files.write_atomically(path, text.encode("utf-8", "backslashreplace"))


def is_page(path: StrPath) -> bool:
    """Tell whether a file is a page that `write` made."""
    try:
        return MARK in Path(path).read_bytes()
    except OSError:
        return False


def values_of(label: str, cells: Sequence[Cell]) -> list[str | float]:
    """Return the different values of a label: numbers in their order, texts as they come."""
    values = dict.fromkeys(cell.labels[label] for cell in cells)
    numbers = [value for value in values if not isinstance(value, str)]
    return [*sorted(numbers), *(value for value in values if isinstance(value, str))]


def as_text(value: str | float) -> str:
    """Return a value as text for a reader."""
    return value if isinstance(value, str) else f"{value:.4g}"


def _described(
    cell: Cell, facets: Mapping[str, Sequence[str | float]], folder: Path
) -> dict[str, Any]:
    """Return a cell as the script of the page takes it, in JSON values."""
    return {
        "labels": {label: as_text(value) for label, value in cell.labels.items()},
        "positions": {label: facets[label].index(value) for label, value in cell.labels.items()},
        "measures": dict(cell.measures or {}),
        "command": " \\\n  ".join(map(shlex.quote, cell.command)),
        "link": _link(cell.picture, folder),
        "error": cell.error,
    }


def caption(cell: Cell, labels: Iterable[str]) -> str:
    """Return the values of some labels in a line; numbers with their label."""
    values = {label: cell.labels[label] for label in labels}
    return ", ".join(
        value if isinstance(value, str) else f"{label} {as_text(value)}"
        for label, value in values.items()
    )


def _link(picture: Path | None, folder: Path) -> str | None:
    """Return the URL of a picture relative to the folder of the page."""
    if picture is None:
        return None
    relative = os.path.relpath(os.path.abspath(picture), os.path.abspath(folder))
    return urllib.parse.quote(os.fsencode(relative))


def _thumbnail(picture: Path | None) -> Thumbnail | None:
    """Return a small version of a picture."""
    if picture is None:
        return None
    image = picture_io.load_picture(picture)
    height, width, _ = image.shape
    long_side = min(THUMBNAIL_SIDE, max(height, width))
    small = resize(image, *size_for_long_side(height, width, long_side))
    encoded = io.BytesIO()
    Image.fromarray(np.rint(small.clip(0, 255)).astype(np.uint8)).save(encoded, **ENCODING)
    data = base64.b64encode(encoded.getvalue()).decode()
    return Thumbnail(f"data:image/webp;base64,{data}", width, height)
