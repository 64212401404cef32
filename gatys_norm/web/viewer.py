"""A page to look around in a panorama; it holds the picture, and needs nothing else."""

from __future__ import annotations

import base64

import numpy as np

from gatys_norm.files import StrPath
from gatys_norm.images import io as picture_io
from gatys_norm.web import templates

TEMPLATE = "viewer.html.jinja"
GENERATOR = "gatys-norm, a viewer of panoramas"  # by which a page is recognized
_HEAD = 1000  # bytes of a page, in which that stands


def page(panorama: np.ndarray, title: str) -> bytes:
    """Return the page, which is HTML.

    Args:
      panorama: equirectangular, H × 2H × 3, RGB; clipped to 0–255.
      title: its name, any text.
    """
    encoded = base64.b64encode(picture_io.encode_picture("panorama.jpg", panorama)).decode()
    html = (
        templates.environment()
        .get_template(TEMPLATE)
        .render(generator=GENERATOR, title=title, picture=f"data:image/jpeg;base64,{encoded}")
    )
    return html.encode("utf-8", "backslashreplace")  # a path may not be valid Unicode


def is_page(path: StrPath) -> bool:
    """Tell whether `page` made a file."""
    try:
        with open(path, "rb") as file:
            return GENERATOR.encode() in file.read(_HEAD)
    except OSError:
        return False
