"""TIFF and 16-bit PNG, read back by decoders that share nothing with the encoders."""

import itertools
import json
import struct
import zlib

import numpy as np
import pytest
from helpers.rounding import unit
from PIL import ExifTags, Image

from gatys_norm.images import encoders
from gatys_norm.images import io as picture_io

TEXT = {"config": '{"content": "ä\\"b.png"}', "größe": "two\nlines"}
# A picture of 0–255 times 257 in float32, and the quotient when it is loaded.
HALF_A_STEP = 0.5 + 2 * unit("float32") * 65535

SHAPES = [(16, 16), (1, 1), (64, 17), (65, 3), (200, 131)]  # bands of a PNG have 64 rows


def levels_of(height, width, dtype=np.uint16):
    return np.random.default_rng(3).integers(0, np.iinfo(dtype).max + 1, (height, width, 3), dtype)


def beyond(height, width):
    """An image with fractions, and values out of range."""
    image = np.random.default_rng(4).uniform(-20, 275, (height, width, 3)).astype(np.float32)
    image[0, 0] = (-np.inf, np.inf, 255)
    return image


def chunks_of(png):
    """Return [(name, content)] of a PNG, with every checksum verified."""
    assert png[:8] == b"\x89PNG\r\n\x1a\n"
    chunks, at = [], 8
    while at < len(png):
        length, name = struct.unpack_from(">I4s", png, at)
        content = png[at + 8 : at + 8 + length]
        (checksum,) = struct.unpack_from(">I", png, at + 8 + length)
        assert checksum == zlib.crc32(name + content)
        chunks.append((name, content))
        at += 12 + length
    return chunks


def decoded_png(png):
    """Return the pixels of a PNG of 16-bit RGB whose rows have the filters None or Sub."""
    chunks = chunks_of(png)
    assert (chunks[0][0], chunks[-1]) == (b"IHDR", (b"IEND", b""))
    width, height, *kind = struct.unpack(">IIBBBBB", chunks[0][1])
    assert kind == [16, 2, 0, 0, 0]  # bits, RGB, no interlacing
    packed = b"".join(content for name, content in chunks if name == b"IDAT")
    rows = np.frombuffer(zlib.decompress(packed), np.uint8).reshape(height, 1 + 6 * width)
    assert set(rows[:, 0]) <= {0, 1}
    samples = rows[:, 1:].reshape(height, width, 6).copy()
    is_sub = rows[:, 0] == 1
    samples[is_sub] = np.cumsum(samples[is_sub], axis=1, dtype=np.uint8)
    return samples.view(">u2").astype(np.uint16)


def tags_of(tiff):
    """Return {tag: values} of the one directory of a little-endian TIFF."""
    mark, at = struct.unpack_from("<4sI", tiff)
    assert mark == b"II*\0"
    (count,) = struct.unpack_from("<H", tiff, at)
    tags = {}
    for entry in range(at + 2, at + 2 + 12 * count, 12):
        tag, kind, length = struct.unpack_from("<HHI", tiff, entry)
        kind = {2: "s", 3: "H", 4: "I", 5: "II"}[kind]
        layout = f"<{length}s" if kind == "s" else "<" + kind * length
        is_inside = struct.calcsize(layout) <= 4
        start = entry + 8 if is_inside else struct.unpack_from("<I", tiff, entry + 8)[0]
        tags[tag] = struct.unpack_from(layout, tiff, start)
    assert list(tags) == sorted(tags)
    assert struct.unpack_from("<I", tiff, at + 2 + 12 * count) == (0,)
    return tags


def decoded_tiff(tiff):
    """Return the pixels of an uncompressed TIFF of RGB."""
    tags = tags_of(tiff)
    (width,), (height,), bits = tags[256], tags[257], tags[258]
    assert (tags[259], tags[262], tags[277]) == ((1,), (2,), (3,))
    pieces = zip(tags[273], tags[279], strict=True)
    data = b"".join(tiff[offset : offset + size] for offset, size in pieces)
    assert all(offset % 2 == 0 for offset in tags[273])
    dtype = {(8, 8, 8): "u1", (16, 16, 16): "<u2"}[bits]
    return np.frombuffer(data, dtype).reshape(height, width, 3)


DECODERS = {".png": decoded_png, ".tif": decoded_tiff, ".tiff": decoded_tiff}


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_a_png_holds_every_bit(shape):
    levels = levels_of(*shape)
    np.testing.assert_array_equal(decoded_png(encoders.png_16_bit(levels)), levels)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_a_tiff_holds_every_bit(shape, dtype):
    levels = levels_of(*shape, dtype)
    np.testing.assert_array_equal(decoded_tiff(encoders.tiff(levels, {})), levels)


def test_the_strips_of_a_tiff_are_short_and_cover_the_picture():
    tags = tags_of(encoders.tiff(levels_of(200, 131), {}))
    assert len(tags[279]) > 1
    assert max(tags[279]) <= 1 << 16
    assert sum(tags[279]) == 200 * 131 * 6
    assert len(tags_of(encoders.tiff(levels_of(3, 12_000), {}))[279]) == 3  # a row is longer


def test_a_tiff_of_more_than_4_gib_is_refused_before_it_is_made():
    levels = np.broadcast_to(np.uint16(0), (30_000, 30_000, 3))
    with pytest.raises(ValueError, match="4 GiB"):
        encoders.tiff(levels, {})


@pytest.mark.parametrize("suffix", DECODERS)
def test_a_picture_of_16_bits_is_within_half_a_step(suffix):
    image = beyond(40, 51)
    levels = DECODERS[suffix](picture_io.encode_picture(f"a{suffix}", image, bit_depth=16))
    assert levels.dtype.itemsize == 2
    expected = 257 * np.clip(image.astype(np.float64), 0, 255)
    np.testing.assert_allclose(levels, expected, rtol=0, atol=HALF_A_STEP)
    assert levels[0, 0].tolist() == [0, 65535, 65535]


@pytest.mark.parametrize("suffix", DECODERS)
def test_a_picture_of_16_bits_is_loaded_as_it_was_saved(tmp_path, suffix):
    path = tmp_path / f"a{suffix}"
    image = beyond(40, 51)
    picture_io.save_picture(path, image, bit_depth=16)
    loaded = picture_io.load_picture(path)
    assert loaded.dtype == np.float32
    expected = np.clip(image, 0, 255)
    np.testing.assert_allclose(loaded, expected, rtol=0, atol=HALF_A_STEP / 257)
    picture_io.save_picture(tmp_path / f"b{suffix}", loaded, bit_depth=16)
    assert (tmp_path / f"b{suffix}").read_bytes() == path.read_bytes()
    assert picture_io.read_bit_depth(path) == 16


@pytest.mark.parametrize("suffix", picture_io.SUFFIXES)
def test_eight_bits_are_told_apart(tmp_path, suffix):
    picture_io.save_picture(tmp_path / f"a{suffix}", beyond(16, 16))
    assert picture_io.read_bit_depth(tmp_path / f"a{suffix}") == 8


@pytest.mark.parametrize("suffix", DECODERS)
def test_other_programs_see_the_high_bytes(tmp_path, suffix):
    path = tmp_path / f"a{suffix}"
    picture_io.save_picture(path, beyond(20, 30), TEXT, bit_depth=16, dpi=(300, 300))
    with Image.open(path) as picture:
        expected = DECODERS[suffix](path.read_bytes()) // 256
        np.testing.assert_array_equal(np.asarray(picture), expected)


def test_a_tiff_of_eight_bits_is_rounded_as_a_png_is(tmp_path):
    image = beyond(20, 30)
    picture_io.save_picture(tmp_path / "a.tif", image)
    expected = np.rint(np.clip(image, 0, 255))
    np.testing.assert_array_equal(picture_io.load_picture(tmp_path / "a.tif"), expected)


@pytest.mark.parametrize(
    ("suffix", "bit_depth"), [*itertools.product([".tif", ".tiff"], [8, 16]), (".png", 16)]
)
def test_text_is_read_back(tmp_path, suffix, bit_depth):
    path = tmp_path / f"a{suffix}"
    picture_io.save_picture(path, beyond(16, 16), TEXT, bit_depth=bit_depth)
    assert picture_io.load_text(path) == TEXT
    assert picture_io.is_marked(path)


def test_the_chunks_of_16_bits_are_those_of_8(tmp_path):
    """All but the pixels: text, resolution and the mark of this program."""
    image = beyond(16, 16)
    both = [
        chunks_of(picture_io.encode_picture("a.png", image, TEXT, bit_depth=depth, dpi=(72, 72)))
        for depth in (8, 16)
    ]
    shallow, deep = ([chunk for chunk in chunks if chunk[0] != b"IDAT"] for chunks in both)
    assert [name for name, _ in deep] == [b"IHDR", b"iTXt", b"iTXt", b"pHYs", b"eXIf", b"IEND"]
    assert deep[1:] == shallow[1:]
    assert [name for name, _ in both[1]].index(b"IDAT") == 5  # text comes before the pixels


@pytest.mark.parametrize(
    "description",
    [
        *(" ", "a holiday", "[1, 2]", "3", '"text"', "{", "null"),
        *("[" * 100_000, "9" * 10_000, '{"config": 3}', '{"config": {"content": "a.png"}}'),
        "<OME/>",
    ],
    ids=lambda text: text[:20],
)
def test_descriptions_of_other_programs_are_no_text(tmp_path, description):
    path = tmp_path / "a.tif"
    Image.new("RGB", (16, 16)).save(path, description=description)
    assert picture_io.load_text(path) == {}


def test_text_of_a_tiff_is_bounded(tmp_path):
    path = tmp_path / "a.tif"
    description = json.dumps({"k": "x" * picture_io.TEXT_LIMIT})
    Image.new("RGB", (16, 16)).save(path, description=description)
    with pytest.raises(picture_io.PictureError, match=r"a\.tif.*1,048,576 characters"):
        picture_io.load_text(path)


@pytest.mark.parametrize("name", ["a.jpg", "a.jpeg", "a.webp"])
def test_formats_of_eight_bits_refuse_sixteen(tmp_path, name):
    with pytest.raises(picture_io.PictureError, match=rf"{name}: .*16 bits.* \.png, \.tif, \.tiff"):
        picture_io.save_picture(tmp_path / name, beyond(16, 16), bit_depth=16)
    assert list(tmp_path.iterdir()) == []


def test_a_picture_of_16_bits_is_turned_upright(tmp_path):
    image = beyond(20, 30)
    picture_io.save_picture(tmp_path / "upright.tif", image, bit_depth=16)
    levels = decoded_tiff((tmp_path / "upright.tif").read_bytes())
    turned = encoders.tiff(np.rot90(levels), {ExifTags.Base.Orientation: 6})
    (tmp_path / "turned.tif").write_bytes(turned)
    loaded = [picture_io.load_picture(tmp_path / f"{name}.tif") for name in ("upright", "turned")]
    np.testing.assert_array_equal(*loaded)
