"""The note in a picture file that it is a panorama, and files that lie."""

import io
import time
import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest
from PIL import Image, PngImagePlugin

from gatys_norm.images import io as picture_io
from gatys_norm.images import panorama

SUFFIXES = [".png", ".jpg", ".tif", ".webp"]
IMAGE = np.random.default_rng(0).uniform(0, 255, (32, 64, 3)).astype(np.float32)
ATTRIBUTE = b'<r xmlns:GPano="x" GPano:ProjectionType="equirectangular"/>'
ELEMENT = b"<GPano:ProjectionType>\n equirectangular</GPano:ProjectionType>"


def jpeg_with(path, data, size=(64, 32)):
    """Write a JPEG with XMP data."""
    encoding = {"format": "JPEG"}
    panorama.add(encoding, Image.Exif(), data)
    Image.new("RGB", size).save(path, **encoding)
    return path


@pytest.mark.parametrize(
    ("suffix", "bit_depth"), [*((suffix, 8) for suffix in SUFFIXES), (".png", 16), (".tif", 16)]
)
def test_what_is_noted_is_read_and_changes_no_pixel(tmp_path, suffix, bit_depth):
    noted, plain = tmp_path / f"noted{suffix}", tmp_path / f"plain{suffix}"
    text = {"config": "{}"}
    picture_io.save_picture(noted, IMAGE, text, bit_depth=bit_depth, is_panorama=True)
    picture_io.save_picture(plain, IMAGE, text, bit_depth=bit_depth)
    assert picture_io.read_is_panorama(noted)
    assert not picture_io.read_is_panorama(plain)
    pictures = [picture_io.load_picture(path) for path in (noted, plain)]
    np.testing.assert_array_equal(*pictures)
    assert all(picture_io.is_marked(path) for path in (noted, plain))
    if suffix in (".png", ".tif"):
        assert picture_io.load_text(noted)["config"] == "{}"


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_picture_that_is_no_panorama_has_no_note(suffix):
    encoded = picture_io.encode_picture(f"a{suffix}", IMAGE)
    assert b"GPano" not in encoded
    assert "xmp" not in Image.open(io.BytesIO(encoded)).info


def test_the_packet_is_xml_that_names_projection_and_size():
    root = ElementTree.fromstring(panorama.packet(512, 1024))
    [description] = root.iter("{http://www.w3.org/1999/02/22-rdf-syntax-ns#}Description")
    names = {
        name.removeprefix(f"{{{panorama.NAMESPACE}}}"): value
        for name, value in description.attrib.items()
    }
    assert names["ProjectionType"] == "equirectangular"
    assert (names["FullPanoWidthPixels"], names["FullPanoHeightPixels"]) == ("1024", "512")
    assert names["CroppedAreaImageWidthPixels"] == "1024"


@pytest.mark.parametrize("data", [ATTRIBUTE, ELEMENT, ATTRIBUTE.replace(b'"', b"'")])
def test_other_programs_notes_are_read(tmp_path, data):
    assert picture_io.read_is_panorama(jpeg_with(tmp_path / "a.jpg", data))


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xff\xfe\0garbage",
        ATTRIBUTE.replace(b"equirectangular", b"cylindrical"),
        ATTRIBUTE.replace(b"equirectangular", b"equirectangularish"),
        b"<!-- equirectangular GPano -->",
        b"<GPano:ProjectionType>" + b" " * 60_000,
    ],
)
def test_other_data_are_no_note(tmp_path, data):
    assert not picture_io.read_is_panorama(jpeg_with(tmp_path / "a.jpg", data))


def test_a_part_of_a_panorama_is_not_all_of_it(tmp_path):
    path = jpeg_with(tmp_path / "a.jpg", ATTRIBUTE, size=(64, 40))
    assert not picture_io.read_is_panorama(path)


def test_entities_are_not_expanded_and_large_data_are_not_searched(tmp_path):
    """A billion laughs, and 60 MB of what looks like the beginning of a note."""
    laughs = b'<!DOCTYPE l [<!ENTITY a "lol">' + b"".join(
        b'<!ENTITY %c "%s">' % (98 + i, b"&%c;" % (97 + i) * 10) for i in range(9)
    )
    assert not picture_io.read_is_panorama(jpeg_with(tmp_path / "a.jpg", laughs + b"]>&j;"))
    chunks = PngImagePlugin.PngInfo()
    chunks.add_itxt(panorama.PNG_KEY, "GPano:ProjectionType>" * 40_000, zip=True)
    Image.new("RGB", (64, 32)).save(tmp_path / "b.png", pnginfo=chunks)
    began = time.process_time()
    assert not picture_io.read_is_panorama(tmp_path / "b.png")
    assert time.process_time() - began < 1
