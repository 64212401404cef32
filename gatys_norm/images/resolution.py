"""The resolution that a picture file gives: how large it is printed."""

import contextlib
from numbers import Real
from typing import Any, TypeAlias

from PIL import Image, ImageFile
from PIL.ExifTags import Base

DPI_LIMIT = 65535  # what a JPEG can hold
Dpi: TypeAlias = tuple[float, float]  # dots per inch (x, y)

_INCH = 2
_DOTS_PER_INCH = {_INCH: 1.0, 3: 2.54}  # by the unit in EXIF data; 3 are centimeters
_UNITS_OF_JFIF = (1, 2)  # inches and centimeters; with 0 a JPEG gives proportions alone


def of(picture: ImageFile.ImageFile) -> Dpi | None:
    """Return the resolution in the header of an opened picture.

    Returns:
      Numbers that round to 1–DPI_LIMIT; None if the file gives none, or others.
    """
    with contextlib.suppress(Exception):  # damaged metadata with intact pixels is common
        x, y = _unchecked(picture)
        if isinstance(x, Real) and isinstance(y, Real):
            dpi = float(x), float(y)
            if all(1 <= round(value) <= DPI_LIMIT for value in dpi):
                return dpi
    return None


def add(exif: Image.Exif, dpi: Dpi) -> None:
    """Add a resolution to EXIF data; WebP has no other place for it."""
    exif[Base.XResolution], exif[Base.YResolution] = dpi
    exif[Base.ResolutionUnit] = _INCH


def _unchecked(picture: ImageFile.ImageFile) -> tuple[Any, Any]:
    """Return (x, y) as the file gives it; KeyError or TypeError if it gives none."""
    if picture.format in ("PNG", "BMP") or picture.info.get("jfif_unit") in _UNITS_OF_JFIF:
        return picture.info["dpi"]
    exif = picture.getexif()  # of a TIFF, its tags
    scale = _DOTS_PER_INCH[exif.get(Base.ResolutionUnit, _INCH)]
    return exif[Base.XResolution] * scale, exif[Base.YResolution] * scale
