"""The note in a picture file that it is a panorama of all directions: XMP data in Google's terms.

The data of a file are searched for the name of the projection, and never parsed as XML. What is
written is a packet of our own, with no more than viewers need.
"""

import contextlib
import re
import struct
from typing import Any

from PIL import Image, ImageFile, PngImagePlugin
from PIL.ExifTags import Base

LIMIT = 1 << 20  # bytes of XMP data that are searched
NAMESPACE = "http://ns.google.com/photos/1.0/panorama/"
PNG_KEY = "XML:com.adobe.xmp"
_JPEG_PREFIX = b"http://ns.adobe.com/xap/1.0/\0"
_PROJECTION = re.compile(rb"GPano:ProjectionType(?:\s*=\s*[\"']|>\s{0,99})equirectangular\b")


def is_noted(picture: ImageFile.ImageFile) -> bool:
    """Tell whether the file of an opened picture says that it is an equirectangular panorama.

    One that is a part of a panorama says so too, but is not twice as wide as high.
    """
    width, height = picture.size
    if abs(width - 2 * height) > 1:
        return False
    with contextlib.suppress(Exception):  # damaged metadata with intact pixels is common
        return any(_PROJECTION.search(data[:LIMIT]) for data in _xmp(picture))
    return False


def packet(height: int, width: int) -> bytes:
    """Return the XMP data of a panorama of all directions, of H × W pixels."""
    sizes = {
        "CroppedAreaImageWidthPixels": width,
        "CroppedAreaImageHeightPixels": height,
        "FullPanoWidthPixels": width,
        "FullPanoHeightPixels": height,
        "CroppedAreaLeftPixels": 0,
        "CroppedAreaTopPixels": 0,
    }
    attributes = "".join(f' GPano:{name}="{value}"' for name, value in sizes.items())
    return (
        '<?xpacket begin="" id="W5M0MpCehiHzreSzNTczkc9d"?>'
        '<x:xmpmeta xmlns:x="adobe:ns:meta/">'
        '<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
        f'<rdf:Description rdf:about="" xmlns:GPano="{NAMESPACE}"'
        f' GPano:ProjectionType="equirectangular" GPano:UsePanoramaViewer="True"{attributes}/>'
        '</rdf:RDF></x:xmpmeta><?xpacket end="r"?>'
    ).encode()


def add(encoding: dict[str, Any], exif: Image.Exif, data: bytes) -> None:
    """Add XMP data to what Pillow is told to write.

    Args:
      encoding: what `Image.save` takes, with the `format`.
      exif: EXIF data; of a TIFF, its tags.
      data: result of `packet`.
    """
    if encoding["format"] == "TIFF":
        exif[Base.XMLPacket] = data
    elif encoding["format"] == "PNG":
        chunks: PngImagePlugin.PngInfo = encoding["pnginfo"]
        chunks.add_itxt(PNG_KEY, data.decode())
    elif encoding["format"] == "JPEG":
        segment = _JPEG_PREFIX + data
        encoding["extra"] = struct.pack(">2sH", b"\xff\xe1", len(segment) + 2) + segment
    else:
        encoding["xmp"] = data


def _xmp(picture: ImageFile.ImageFile) -> list[bytes]:
    """Return the XMP data of a file, as Pillow finds them in each format."""
    if picture.format == "JPEG":
        segments = [data for name, data in getattr(picture, "applist", ()) if name == "APP1"]
        return [data for data in segments if data.startswith(_JPEG_PREFIX)]
    if picture.format == "PNG":
        return [str(picture.info.get(PNG_KEY, "")).encode()]
    if picture.format == "TIFF":
        return [bytes(picture.getexif().get(Base.XMLPacket, b""))]
    return [bytes(picture.info.get("xmp", b""))]
