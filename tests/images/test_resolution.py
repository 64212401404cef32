"""The resolution of a picture file: kept in every format, and never believed blindly."""

import struct

import numpy as np
import pytest
from helpers.rounding import gamma
from helpers.small_transfers import small_config
from PIL import ExifTags, Image, PngImagePlugin, TiffImagePlugin

from gatys_norm.images import inputs as picture_inputs
from gatys_norm.images import io as picture_io
from gatys_norm.images import resolution

IMAGE = np.full((16, 20, 3), 99, np.float32)
METERS = 0.0254 / 2  # half a dot per meter, in dots per inch: a PNG counts whole ones
BOTH = gamma(3, "float64") * 65535

Rational = TiffImagePlugin.IFDRational


def written(path, **options):
    """Write a picture with Pillow; returns what is read from it."""
    Image.new("RGB", (16, 20)).save(path, **options)
    return picture_io.read_dpi(path)


def exif(**tags):
    data = Image.Exif()
    for name, value in tags.items():
        data[ExifTags.Base[name]] = value
    return data


@pytest.mark.parametrize(
    ("bit_depth", "suffix"),
    [(depth, end) for depth, ends in picture_io.SUFFIXES_BY_BIT_DEPTH.items() for end in ends],
)
@pytest.mark.parametrize("dpi", [(300, 300), (72, 144), (1, resolution.DPI_LIMIT)], ids=str)
def test_what_is_saved_is_read(tmp_path, suffix, bit_depth, dpi):
    path = tmp_path / f"a{suffix}"
    picture_io.save_picture(path, IMAGE, bit_depth=bit_depth, dpi=dpi)
    tolerance = METERS if suffix == ".png" else BOTH
    assert picture_io.read_dpi(path) == pytest.approx(dpi, abs=tolerance)
    assert picture_io.is_marked(path)
    picture_io.save_picture(tmp_path / f"b{suffix}", IMAGE, dpi=picture_io.read_dpi(path))
    assert picture_io.read_dpi(tmp_path / f"b{suffix}") == picture_io.read_dpi(path)


@pytest.mark.parametrize("suffix", picture_io.SUFFIXES)
def test_without_a_resolution_none_is_written_or_read(tmp_path, suffix):
    path = tmp_path / f"a{suffix}"
    picture_io.save_picture(path, IMAGE)
    assert picture_io.read_dpi(path) is None  # Pillow takes 72 for a JPEG with EXIF data


@pytest.mark.parametrize("name", ["a.png", "a.jpg", "a.webp"])
def test_without_a_resolution_the_bytes_are_as_ever(tmp_path, name):
    options = {
        "a.png": {"pnginfo": PngImagePlugin.PngInfo()},
        "a.jpg": {"quality": 95, "subsampling": 0},
        "a.webp": {"lossless": True},
    }[name]
    picture = Image.fromarray(IMAGE.astype(np.uint8))
    picture.save(tmp_path / name, exif=exif(Software="gatys-norm"), **options)
    assert picture_io.encode_picture(name, IMAGE) == (tmp_path / name).read_bytes()


@pytest.mark.parametrize(
    ("name", "options", "expected"),
    [
        ("a.png", {"dpi": (96, 96)}, (96, 96)),
        ("a.bmp", {"dpi": (96, 96)}, (96, 96)),
        ("a.jpg", {"dpi": (200, 100)}, (200, 100)),
        ("a.tif", {"dpi": (200, 100)}, (200, 100)),
        ("a.tif", {"resolution": 100, "resolution_unit": "cm"}, (254, 254)),
        ("a.tif", {"resolution": 100, "resolution_unit": "inch"}, (100, 100)),
        (
            "a.jpg",
            {"exif": exif(XResolution=10.0, YResolution=20.0, ResolutionUnit=3)},
            (25.4, 50.8),
        ),
        ("a.jpg", {"exif": exif(XResolution=90.0, YResolution=90.0)}, (90, 90)),
        ("a.webp", {"exif": exif(XResolution=90.0, YResolution=90.0)}, (90, 90)),
        ("a.gif", {}, None),
        ("a.ppm", {}, None),
        ("a.tif", {}, None),
        ("a.jpg", {}, None),
    ],
)
def test_what_other_programs_write(tmp_path, name, options, expected):
    read = written(tmp_path / name, **options)
    assert read == (expected and pytest.approx(expected, abs=METERS))


HOSTILE = [
    *(Rational(0, 1), Rational(0, 0), Rational(1, 0), Rational(1, 2), Rational(2**32 - 1, 1)),
    *("300", b"300"),
]


@pytest.mark.parametrize("value", HOSTILE, ids=repr)
@pytest.mark.parametrize("name", ["a.jpg", "a.webp", "a.tif"])
def test_values_that_cannot_be_right_are_ignored(tmp_path, name, value):
    tags = TiffImagePlugin.ImageFileDirectory_v2()
    kind = 2 if isinstance(value, str) else 7 if isinstance(value, bytes) else 5
    for tag in (ExifTags.Base.XResolution, ExifTags.Base.YResolution):
        tags.tagtype[tag] = kind
        tags[tag] = value
    tags[ExifTags.Base.ResolutionUnit] = 2
    options = {"tiffinfo": tags} if name == "a.tif" else {"exif": b"Exif\0\0" + exif_bytes(tags)}
    assert written(tmp_path / name, **options) is None
    assert picture_io.load_picture(tmp_path / name).shape == (20, 16, 3)


def exif_bytes(tags):
    return b"II*\0\x08\0\0\0" + tags.tobytes(8)


@pytest.mark.parametrize("unit", [0, 1, 4, 65535])
@pytest.mark.parametrize("name", ["a.jpg", "a.tif"])
def test_an_unknown_unit_is_no_resolution(tmp_path, name, unit):
    tags = exif(XResolution=300.0, YResolution=300.0, ResolutionUnit=unit)
    assert written(tmp_path / name, exif=tags) is None


@pytest.mark.parametrize("dots", [(0, 0), (0, 11811), (2**32 - 1, 11811), (1, 1)])
@pytest.mark.parametrize("unit", [0, 1, 2])
def test_a_png_with_a_resolution_that_cannot_be_right(tmp_path, dots, unit):
    path = tmp_path / "a.png"
    chunks = PngImagePlugin.getchunks(Image.new("RGB", (16, 16)))
    chunks.insert(1, (b"pHYs", struct.pack(">IIB", *dots, unit), b""))
    with open(path, "wb") as file:
        file.write(b"\x89PNG\r\n\x1a\n")
        for name, data, _ in chunks:
            PngImagePlugin.putchunk(file, name, data)
    assert picture_io.read_dpi(path) is None


@pytest.mark.parametrize("text", ["300", "(300, 300)", "ab"])
def test_text_that_poses_as_a_resolution(tmp_path, text):
    info = PngImagePlugin.PngInfo()
    info.add_text("dpi", text)
    info.add_text("jfif_unit", "1")
    assert written(tmp_path / "a.png", pnginfo=info) is None


@pytest.mark.parametrize("data", [b"Exif\0\0garbage", b"Exif\0\0MM\0*\0\0\0\x08\xff\xff", b"x"])
@pytest.mark.parametrize("name", ["a.jpg", "a.webp", "a.png"])
def test_damaged_metadata_are_no_resolution(tmp_path, name, data):
    assert written(tmp_path / name, exif=data) is None


def test_a_file_that_is_no_picture_is_named(tmp_path):
    (tmp_path / "a.png").write_bytes(b"text")
    with pytest.raises(picture_io.PictureError, match=r"a\.png"):
        picture_io.read_dpi(tmp_path / "a.png")


def test_the_pictures_of_a_transfer_come_with_the_resolution_of_the_content(tmp_path):
    config = small_config(tmp_path)
    assert picture_inputs.load(config).dpi is None
    picture_io.save_picture(config.content, IMAGE, dpi=(300, 300))
    picture_io.save_picture(config.style[0], IMAGE, dpi=(72, 72))
    inputs = picture_inputs.load(config)
    assert inputs.dpi == pytest.approx((300, 300), abs=METERS)
