"""Reading and writing of picture files.

In all of the program an image is a float32 array H×W×3, channels in the order red, green, blue,
values from 0 to 255 in sRGB. Files are not trusted: everything that can be wrong with one ends in a
`PictureError`.
"""

import contextlib
import io
import json
import os
import stat
import sys
import threading
import warnings
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import IO, Any

import numpy as np
from PIL import ExifTags, Image, ImageCms, ImageFile, ImageOps, PngImagePlugin, TiffImagePlugin

from gatys_norm import files
from gatys_norm.files import StrPath
from gatys_norm.images import encoders, panorama, resolution
from gatys_norm.images.resolution import Dpi
from gatys_norm.images.sizes import MIN_SIDE
from gatys_norm.text import one_line

PIXEL_LIMIT = 200_000_000  # height · width; 2.4 GB as float32
ASPECT_LIMIT = 50  # long side over short side
TEXT_LIMIT = 1 << 20  # characters of text in a picture, keys included

# Only formats that Pillow decodes itself: for EPS, for example, it would start Ghostscript.
READ_FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF", "PPM")
ENCODINGS: dict[str, dict[str, Any]] = {
    ".png": {"format": "PNG"},
    ".jpg": {"format": "JPEG", "quality": 95, "subsampling": 0},
    ".jpeg": {"format": "JPEG", "quality": 95, "subsampling": 0},
    ".webp": {"format": "WEBP", "lossless": True},
    ".tif": {"format": "TIFF"},
    ".tiff": {"format": "TIFF"},
}
SUFFIXES = tuple(ENCODINGS)
SUFFIXES_BY_BIT_DEPTH = {8: SUFFIXES, 16: (".png", ".tif", ".tiff")}
PROGRAM = "gatys-norm"  # in the EXIF data of every picture written, so that it is recognized later

_EXPECTED = f"expected a whole picture file ({', '.join(READ_FORMATS)})"
_FORMATS_THAT_MOVE = ("PNG", "WEBP", "GIF")
_PAGES_SEARCHED = 100  # of a TIFF, at most, for a second picture
_SMALLER_OR_MASK = 0b101  # bits of a TIFF page's kind: a smaller version or a mask of another
_MODES_OF_PROFILES = {"RGB ": "RGB", "GRAY": "L", "CMYK": "CMYK"}
_MODES_OF_COLOR = {"1": "L", "L": "L", "LA": "L", "CMYK": "CMYK"}  # any other: RGB
# How Pillow is told to read the high bytes of 16-bit samples, and how the low ones.
_LOW_BYTES = {
    "RGB;16B": "RGB;16L",
    "RGB;16L": "RGB;16B",
    "RGB;16N": "RGB;16B" if sys.byteorder == "little" else "RGB;16L",
}
_pillow_lock = threading.Lock()


class PictureError(ValueError):
    """A picture file that cannot be used; the message names it and says what would be right."""


def load_picture(path: StrPath) -> np.ndarray:
    """Read a picture file as a viewer would show it.

    The EXIF orientation is applied, color profiles are converted to sRGB, and transparent pixels
    are blended with white. 16 bits per channel are kept in opaque RGB without a profile, as
    `save_picture` writes it, and scaled to 8 bits in all other pictures. Of an animation the first
    frame is read, of several pages the first page. CMYK without a profile is converted by Pillow's
    formula.

    Args:
      path: a file in one of `READ_FORMATS`, recognized by its content, not by its name.

    Returns:
      float32 H×W×3, RGB, 0–255, sRGB.

    Raises:
      PictureError: the file cannot be read, is not a complete picture, has samples without a known
        range (floats, 32-bit integers), or exceeds PIXEL_LIMIT, MIN_SIDE or ASPECT_LIMIT.

    Warns:
      UserWarning: one line with the name of the file, for an animation, several pages, or a color
        profile that cannot be used.
    """
    notes: list[str] = []
    with _opened(path) as picture:
        tiles = _tiles_of_low_bytes(picture)
        image = _decode(picture, notes)
    if tiles:
        with _opened(path) as picture:
            picture.tile = tiles
            image *= 256
            image += _decode(picture, [])
            image /= 257
    for note in notes:
        warnings.warn(f"{path}: {note}", stacklevel=2)
    return image


def read_size(path: StrPath) -> tuple[int, int]:
    """Return (height, width) from the header of a file, before any EXIF rotation.

    Raises:
      PictureError: as for `load_picture`, if the header shows the reason.
    """
    with _opened(path) as picture:
        return picture.height, picture.width


def read_bit_depth(path: StrPath) -> int:
    """Return 16 if the header of a file says that it has 16 bits per channel, else 8.

    Raises:
      PictureError: as for `load_picture`, if the header shows the reason.
    """
    with _opened(path) as picture:
        return 16 if any(";16" in str(_decoder_arguments(tile)[0]) for tile in picture.tile) else 8


def read_dpi(path: StrPath) -> Dpi | None:
    """Return the resolution that the header of a file gives; see `resolution.of`.

    Raises:
      PictureError: as for `load_picture`, if the header shows the reason.
    """
    with _opened(path) as picture:
        return resolution.of(picture)


def read_is_panorama(path: StrPath) -> bool:
    """Tell whether a file says that it is a panorama of all directions; see `panorama.is_noted`.

    Raises:
      PictureError: as for `load_picture`, if the header shows the reason.
    """
    with _opened(path) as picture:
        return panorama.is_noted(picture)


def load_text(path: StrPath) -> dict[str, str]:
    """Read the text that `save_picture` put into a PNG or TIFF.

    Of a PNG only chunks before the pixels are read, where `save_picture` puts them, so that no
    pixels are decoded. The text is not checked: it may be forged, as the file may be.

    Returns:
      dict of str to str; empty for the other formats.

    Raises:
      PictureError: as for `load_picture`, or more than TEXT_LIMIT characters.
    """
    with _opened(path) as picture:
        items: Iterable[tuple[Any, Any]] = ()
        if picture.format == "PNG":
            items = picture.info.items()
        elif picture.format == "TIFF":
            items = _items_of_json(picture.getexif().get(ExifTags.Base.ImageDescription))
        text = {str(key): str(value) for key, value in items if isinstance(value, str)}
    if sum(len(key) + len(value) for key, value in text.items()) > TEXT_LIMIT:
        raise PictureError(f"{path}: more than {TEXT_LIMIT:,} characters of text; expected fewer")
    return text


def _items_of_json(text: object) -> Iterable[tuple[Any, Any]]:
    """Return the items of a JSON object; none if `text` is something else."""
    value = None
    if isinstance(text, str):
        with contextlib.suppress(ValueError, RecursionError):
            value = json.loads(text)
    return value.items() if isinstance(value, dict) else ()


def check_output_suffix(path: StrPath, bit_depth: int = 8) -> None:
    """Raise PictureError unless the end of `path` names a format that can hold `bit_depth`."""
    suffixes = SUFFIXES_BY_BIT_DEPTH[bit_depth]
    if Path(path).suffix.lower() not in suffixes:
        kind = "a picture to write" if bit_depth == 8 else f"a picture of {bit_depth} bits"
        raise PictureError(f"{path}: the name of {kind} ends in {', '.join(suffixes)}")


def save_picture(
    path: StrPath,
    image: np.ndarray,
    text: Mapping[str, str] | None = None,
    *,
    bit_depth: int = 8,
    dpi: Dpi | None = None,
    is_panorama: bool = False,
) -> None:
    """Write an image in the format of its suffix, in one step (see `files.write_atomically`).

    PNG, TIFF and WebP are lossless; JPEG has quality 95 and full-resolution color.

    Args:
      path: ends in one of SUFFIXES, in either case.
      image: H×W×3, RGB, sRGB; clipped to 0–255 and rounded to the nearest level.
      text: {key: text} to store in a PNG or TIFF, keys of 1–79 Latin-1 characters; other formats
        do not store it.
      bit_depth: bits per channel, 8 or 16; 16 for PNG and TIFF only. A level of 16 bits is 1/257.
      dpi: resolution to store, in dots per inch; None for none.
      is_panorama: whether to store that the image is an equirectangular panorama.

    Raises:
      PictureError: a suffix that is unknown or cannot hold `bit_depth`, or a picture too large for
        the format.
      ValueError: `image` is not H×W×3 or holds NaN.
      OSError: the disk is full, the folder is missing, and so on; an older file is unchanged.
    """
    encoded = encode_picture(
        path, image, text, bit_depth=bit_depth, dpi=dpi, is_panorama=is_panorama
    )
    files.write_atomically(path, encoded)


def encode_picture(
    path: StrPath,
    image: np.ndarray,
    text: Mapping[str, str] | None = None,
    *,
    bit_depth: int = 8,
    dpi: Dpi | None = None,
    is_panorama: bool = False,
) -> bytes:
    """Return the bytes that `save_picture` writes; raises the same errors except OSError."""
    check_output_suffix(path, bit_depth)
    pixels = levels(image, bit_depth)
    exif = mark()
    encoding = ENCODINGS[Path(path).suffix.lower()] | {"exif": exif}
    if dpi:
        encoding["dpi"] = dpi
        resolution.add(exif, dpi)
    if encoding["format"] == "PNG":
        encoding["pnginfo"] = _png_text(text or {})
    if is_panorama:
        panorama.add(encoding, exif, panorama.packet(*image.shape[:2]))
    try:
        if encoding["format"] == "TIFF":
            if text:
                exif[ExifTags.Base.ImageDescription] = json.dumps(dict(text))
            return encoders.tiff(pixels, exif)
        if bit_depth == 16:
            return encoders.png_16_bit(pixels, **encoding)
        encoded = io.BytesIO()
        Image.fromarray(pixels).save(encoded, **encoding)
    except (OSError, ValueError) as error:  # nothing is written to the disk here
        raise PictureError(f"{path}: {_message(error)}; PNG holds any size") from error
    return encoded.getvalue()


def levels(image: np.ndarray, bit_depth: int = 8) -> np.ndarray:
    """Return an image of 0–255 as `save_picture` stores it: as uint8, or as uint16 of 0–65535.

    Raises:
      ValueError: it is not H×W×3 or holds NaN.
    """
    pixels = np.clip(image, 0, 255)
    if pixels.ndim != 3 or pixels.shape[2] != 3 or np.isnan(pixels).any():
        raise ValueError(f"expected H×W×3 numbers without NaN, got shape {pixels.shape}")
    if bit_depth == 8:
        return np.rint(pixels).astype(np.uint8)
    scaled = pixels * np.float32(257)
    return np.rint(scaled, out=scaled).astype(np.uint16)


def mark() -> Image.Exif:
    """Return EXIF data with the name of this program."""
    exif = Image.Exif()
    exif[ExifTags.Base.Software] = PROGRAM
    return exif


def is_marked(path: StrPath) -> bool:
    """Tell whether `encode_picture` made a picture: its EXIF data name this program.

    Raises:
      PictureError: as for `load_picture`, if the header shows the reason.
    """
    with _opened(path) as picture:
        has_exif = picture.format == "TIFF" or "exif" in picture.info
        return has_exif and picture.getexif().get(ExifTags.Base.Software) == PROGRAM


@contextlib.contextmanager
def _opened(path: StrPath) -> Iterator[ImageFile.ImageFile]:
    """Yield the Pillow picture, of which the header is checked; any failure is a PictureError."""
    try:
        _check_file(path)
        with _pillow_settings(), Image.open(path, formats=READ_FORMATS) as picture:
            _check_header(path, picture)
            yield picture
    except PictureError:
        raise
    except Exception as error:  # the decoders of Pillow raise a dozen types
        raise PictureError(f"{path}: {_reason(error)}; {_EXPECTED}") from error


@contextlib.contextmanager
def _pillow_settings() -> Iterator[None]:
    """Make Pillow refuse more than PIXEL_LIMIT pixels, and ignore its warnings about metadata.

    Both settings belong to the whole process, so they are locked, and restored afterwards.
    """
    with _pillow_lock, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        previous = Image.MAX_IMAGE_PIXELS
        Image.MAX_IMAGE_PIXELS = PIXEL_LIMIT // 2  # Pillow refuses at twice this
        try:
            yield
        finally:
            Image.MAX_IMAGE_PIXELS = previous


def _check_file(path: StrPath) -> None:
    status = os.stat(path)
    if not stat.S_ISREG(status.st_mode):
        kind = "a folder" if stat.S_ISDIR(status.st_mode) else "no regular file"
        raise PictureError(f"{path}: is {kind}; {_EXPECTED}")
    if status.st_size == 0:
        raise PictureError(f"{path}: is empty; {_EXPECTED}")


def _check_header(path: StrPath, picture: ImageFile.ImageFile) -> None:
    width, height = picture.size
    size = f"{path}: {width}×{height} pixels;"
    if width * height > PIXEL_LIMIT:
        raise PictureError(f"{size} expected at most {PIXEL_LIMIT:,} in all")
    if min(width, height) < MIN_SIDE:
        raise PictureError(f"{size} expected at least {MIN_SIDE} on each side")
    if max(width, height) > ASPECT_LIMIT * min(width, height):
        raise PictureError(f"{size} expected a long side at most {ASPECT_LIMIT}× the short one")
    if picture.mode == "F" or (picture.mode == "I" and picture.format == "TIFF"):
        raise PictureError(f"{path}: float or signed samples; expected 8 or 16 unsigned bits")


def _reason(error: Exception) -> str:
    if isinstance(error, Image.DecompressionBombError):
        return f"over {PIXEL_LIMIT:,} pixels"
    if isinstance(error, Image.UnidentifiedImageError):
        return "its content is no picture this program knows, or its header is damaged"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return f"damaged or cut short ({_message(error)})"


def _message(error: Exception) -> str:
    return one_line(error) or type(error).__name__


def _decode(opened: ImageFile.ImageFile, notes: list[str]) -> np.ndarray:
    """Return an opened picture as float32 H×W×3; add what the user should know to `notes`."""
    if opened.format in _FORMATS_THAT_MOVE and getattr(opened, "is_animated", False):
        notes.append("is animated; its first frame is used")
    if opened.format == "TIFF" and opened.fp is not None and _has_pages(opened.fp):
        notes.append("has several pages; its first is used")
    _scale_color_key(opened)
    opened.load()
    profile = opened.info.get("icc_profile")
    _turn_upright(opened)
    picture = _eight_bits(opened)
    image: np.ndarray = np.asarray(_to_srgb(picture, profile, notes), np.float32)
    if picture.has_transparency_data:
        alpha = np.asarray(picture.convert("RGBA").getchannel("A"), np.float32)[..., None] / 255
        image = 255 + (image - 255) * alpha
    return image


def _decoder_arguments(tile: ImageFile._Tile) -> tuple[Any, ...]:
    """Return how Pillow decodes a part of a file; first how its samples are stored."""
    return (tile.args,) if isinstance(tile.args, str) else tile.args or ("",)


def _tiles_of_low_bytes(picture: ImageFile.ImageFile) -> list[ImageFile._Tile]:
    """Return what makes Pillow read the low bytes of 16-bit samples; it reads the high ones.

    Returns:
      The parts of the file, for the attribute `tile`; empty unless all have RGB samples of 16 bits
      that neither a color profile nor transparency changes.
    """
    if picture.info.keys() & {"icc_profile", "transparency"}:
        return []
    tiles = []
    for tile in picture.tile:
        stored, *others = _decoder_arguments(tile)
        if stored not in _LOW_BYTES:
            return []
        tiles.append(tile._replace(args=(_LOW_BYTES[stored], *others)))
    return tiles


def _has_pages(file: IO[bytes]) -> bool:
    """Tell whether a TIFF has a second picture, not only smaller versions or masks of the first."""
    with contextlib.suppress(Exception):  # EOFError: no more pages; others: damaged
        file.seek(0)
        pages = TiffImagePlugin.TiffImageFile(file)
        for number in range(1, _PAGES_SEARCHED):
            pages.seek(number)
            if not pages.tag_v2.get(ExifTags.Base.NewSubfileType, 0) & _SMALLER_OR_MASK:
                return True
    return False


def _turn_upright(picture: ImageFile.ImageFile) -> None:
    """Apply the EXIF orientation in place, even if other EXIF data are damaged."""
    with contextlib.suppress(Exception):  # damaged metadata with intact pixels is common
        ImageOps.exif_transpose(picture, in_place=True)


def _scale_color_key(picture: ImageFile.ImageFile) -> None:
    """Scale the transparent color of a PNG to 8 bits; Pillow leaves it in the depth of the file."""
    if picture.format == "PNG" and picture.tile and "transparency" in picture.info:
        scale = {"L;2": 85, "L;4": 17, "RGB;16B": 1 / 256}.get(str(picture.tile[0][3]), 1)
        if scale != 1:
            key = [int(part * scale) for part in np.atleast_1d(picture.info["transparency"])]
            picture.info["transparency"] = tuple(key) if len(key) > 1 else key[0]


def _eight_bits(picture: Image.Image) -> Image.Image:
    """Return `picture` in a mode that Pillow converts right: it clips 16-bit grey, refuses La."""
    if picture.mode.startswith("I"):
        deep = np.asarray(picture)
        key = picture.info.get("transparency")
        picture = Image.fromarray(np.rint(deep / np.float32(257)).astype(np.uint8))
        if key is not None:
            picture.putalpha(Image.fromarray((deep != key).astype(np.uint8) * 255))
    return picture.convert("LA") if picture.mode == "La" else picture


def _to_srgb(picture: Image.Image, profile: bytes | None, notes: list[str]) -> Image.Image:
    """Return `picture` in mode RGB, converted from its ICC `profile` (bytes or None) to sRGB."""
    mode = _MODES_OF_COLOR.get(picture.mode, "RGB")
    if profile and picture.mode != "LAB":  # LAB needs no profile
        try:
            source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
            profile_mode = _MODES_OF_PROFILES.get(source.profile.xcolor_space)
            if profile_mode != mode and (mode, profile_mode) != ("L", "RGB"):
                raise ValueError(f"made for {source.profile.xcolor_space.strip()}, not {mode}")
            converted = ImageCms.profileToProfile(
                picture.convert(profile_mode),
                source,
                ImageCms.createProfile("sRGB"),
                outputMode="RGB",
            )
            assert converted is not None  # None is for a conversion in place
            return converted
        except Exception as error:
            notes.append(f"its color profile is unusable ({_message(error)}); taken as sRGB")
    return picture.convert("RGB")


def _png_text(text: Mapping[str, str]) -> PngImagePlugin.PngInfo:
    chunks = PngImagePlugin.PngInfo()
    for key, value in text.items():
        chunks.add_itxt(key, value)
    return chunks
