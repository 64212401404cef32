"""TIFF, and PNG with 16 bits per channel, whose pixels Pillow cannot write.

Pillow writes everything that is not pixels.
"""

import io
import struct
import zlib
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from PIL import Image, PngImagePlugin, TiffImagePlugin
from PIL.ExifTags import Base

_PNG_SUB = 1  # the filter that stores the difference from the pixel to the left
_PNG_BAND = 64  # rows per IDAT chunk
_TIFF_STRIP = 1 << 16  # bytes per strip, at least one row
_TIFF_LIMIT = 1 << 32  # bytes


def png_16_bit(levels: np.ndarray, **metadata: Any) -> bytes:
    """Return a PNG with 16 bits per channel.

    Args:
      levels: uint16 H×W×3, RGB.
      metadata: what `Image.save` takes for a PNG, such as `dpi` and `pnginfo`.
    """
    height, width, _ = levels.shape
    encoded = io.BytesIO()
    encoded.write(b"\x89PNG\r\n\x1a\n")
    # Pillow encodes one pixel in 8 bits with all metadata; the real pixels then take its place.
    for name, data, _ in PngImagePlugin.getchunks(Image.new("RGB", (1, 1)), **metadata):
        if name == b"IHDR":
            data = struct.pack(">IIB", width, height, 16) + data[9:]
        for piece in _compressed_bands(levels) if name == b"IDAT" else (data,):
            PngImagePlugin.putchunk(encoded, name, piece)
    return encoded.getvalue()


def _compressed_bands(levels: np.ndarray) -> Iterator[bytes]:
    """Yield the rows of a PNG, filtered and compressed, one band after another."""
    compressor = zlib.compressobj()
    for top in range(0, levels.shape[0], _PNG_BAND):
        band = levels[top : top + _PNG_BAND].astype(">u2")
        pixels = band.view(np.uint8).reshape(*band.shape[:2], -1)
        pixels[:, 1:] -= pixels[:, :-1].copy()  # modulo 256
        rows = pixels.reshape(len(band), -1)
        if compressed := compressor.compress(np.insert(rows, 0, _PNG_SUB, axis=1).tobytes()):
            yield compressed
    yield compressor.flush()


def tiff(levels: np.ndarray, metadata: Mapping[int, Any]) -> bytes:
    """Return an uncompressed baseline TIFF.

    Args:
      levels: uint8 or uint16 H×W×3, RGB.
      metadata: {tag: value} of tags that do not describe how the pixels are stored.

    Raises:
      ValueError: the file would be larger than 4 GiB.
    """
    height, width, channels = levels.shape
    row_bytes = width * channels * levels.itemsize
    if height * row_bytes > _TIFF_LIMIT - _TIFF_STRIP - 8 * height:
        raise ValueError("a TIFF holds at most 4 GiB")
    strip_rows = max(1, _TIFF_STRIP // row_bytes)
    starts = range(0, height, strip_rows)
    tags = TiffImagePlugin.ImageFileDirectory_v2()
    tags[Base.ImageWidth], tags[Base.ImageLength] = width, height
    tags[Base.BitsPerSample] = (8 * levels.itemsize,) * channels
    tags[Base.Compression] = 1  # none
    tags[Base.PhotometricInterpretation] = 2  # RGB
    tags[Base.SamplesPerPixel] = channels
    tags[Base.RowsPerStrip] = strip_rows
    tags[Base.StripByteCounts] = tuple(
        min(strip_rows, height - start) * row_bytes for start in starts
    )
    tags.tagtype[Base.StripOffsets] = tags.tagtype[Base.StripByteCounts] = 4  # 32 bits
    tags[Base.StripOffsets] = tuple(start * row_bytes for start in starts)  # behind the tags
    # A baseline TIFF has a resolution; without a unit it says that pixels are square.
    tags[Base.XResolution] = tags[Base.YResolution] = tags[Base.ResolutionUnit] = 1
    for tag, value in metadata.items():
        tags[tag] = value
    encoded = io.BytesIO()
    tags.save(encoded)
    encoded.write(levels.astype(levels.dtype.newbyteorder("<"), copy=False).tobytes())
    return encoded.getvalue()
