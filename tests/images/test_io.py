"""Odd files are made here, and their pixels compared with values worked out by hand."""

import io
import os
import struct
import subprocess
import sys
import tempfile
import warnings
import zlib
from pathlib import Path

import numpy as np
import pytest
from helpers.rounding import gamma, unit
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import ExifTags, Image, ImageCms, ImageOps, PngImagePlugin

from gatys_norm.images import io as picture_io
from gatys_norm.images.sizes import (
    resize,
    size_for_long_side,
    size_for_pixel_count,
    size_for_wrapping,
)

WHITE = (255, 255, 255)

# Laying transparency over white in float32: alpha, a difference, a product, a sum.
OVER_WHITE = gamma(4, "float32") * 255
# Tolerances in whole grey levels, of steps that round to such.
ONE_STEP = 1  # two roundings to 8 bits, of half a level each: ours and what it is compared with
TWO_STEPS = 2  # the same after another such step: ink and color, or JPEG's luma and chroma
PROFILE = 1.5  # one step, and half a level for the profile's 16-bit numbers and its table
JPEG = 4  # quality 95 rounds each wave to its step; else chroma is kept by pairs of pixels 4 apart


def flat(mode, color, size=(20, 18)):
    return Image.new(mode, size, color)


def noise(height, width, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3)).astype(np.uint8)


def smooth(height, width):
    """A picture that JPEG keeps to within a level or two, with no symmetry."""
    y, x = np.mgrid[0:height, 0:width]
    return np.stack([40 + 3 * x, 200 - 4 * y, 90 + x + y], axis=-1).clip(0, 255).astype(np.uint8)


def encoded(picture, suffix, **options):
    buffer = io.BytesIO()
    picture.save(buffer, format=Image.registered_extensions()[suffix], **options)
    return buffer.getvalue()


def one_color(image):
    """The color of an image that has only one."""
    assert image.dtype == np.float32
    assert image.shape[2] == 3
    assert (image == image[0, 0]).all()
    return tuple(image[0, 0].tolist())


def png(depth, color_type, row, chunks=(), height=16, width=16):
    """A PNG by hand, for depths that Pillow does not write: `row` repeated `height` times."""

    def chunk(name, data):
        return (
            struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        )

    header = struct.pack(">IIBBBBB", width, height, depth, color_type, 0, 0, 0)
    parts = [(b"IHDR", header), *chunks]
    parts += [(b"IDAT", zlib.compress((b"\0" + row) * height)), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*part) for part in parts)


def fixed(*numbers):
    """ICC's s15Fixed16 numbers."""
    return struct.pack(f">{len(numbers)}i", *(round(number * 65536) for number in numbers))


def profile(space, tags, device_class=b"mntr", connection=b"XYZ "):
    """An ICC version 2 profile with nothing but `tags`."""
    table, data = struct.pack(">I", len(tags)), b""
    start = 128 + 4 + 12 * len(tags)
    for name, content in tags.items():
        table += name + struct.pack(">II", start + len(data), len(content))
        data += content + bytes(-len(content) % 4)
    header = struct.pack(">I4sI", start + len(data), bytes(4), 0x02400000)
    header += device_class + space + connection + bytes(12) + b"acsp" + bytes(28)
    header += fixed(0.9642, 1, 0.8249) + bytes(48)
    return header + table + data


def gamma_curve(gamma):
    return b"curv" + struct.pack(">IIH", 0, 1, round(gamma * 256)) + bytes(2)


def xyz(*numbers):
    return b"XYZ " + bytes(4) + fixed(*numbers)


P3_TO_XYZ = np.array(  # Display P3's primaries, adapted to D50, as columns
    [[0.5151, 0.2920, 0.1571], [0.2412, 0.6922, 0.0666], [-0.0011, 0.0419, 0.7841]]
)
SRGB_TO_XYZ = np.array(  # IEC 61966-2-1, adapted to D50
    [[0.4360, 0.3851, 0.1431], [0.2225, 0.7169, 0.0606], [0.0139, 0.0971, 0.7141]]
)


def encode_srgb(linear):
    linear = np.asarray(linear)
    curved = 1.055 * linear ** (1 / 2.4) - 0.055
    return 255 * np.where(linear <= 0.0031308, 12.92 * linear, curved)


def wide_gamut_profile(gamma=2.2):
    tags = {name + b"XYZ": xyz(*P3_TO_XYZ[:, i]) for i, name in enumerate((b"r", b"g", b"b"))}
    tags |= {name + b"TRC": gamma_curve(gamma) for name in (b"r", b"g", b"b")}
    return profile(b"RGB ", tags | {b"wtpt": xyz(0.9642, 1, 0.8249)})


def grey_profile(gamma):
    return profile(b"GRAY", {b"kTRC": gamma_curve(gamma), b"wtpt": xyz(0.9642, 1, 0.8249)})


def black_ink_only_profile():
    """A press whose colored inks leave no trace: L* = 100 · (1 − K), a* = b* = 0."""
    identity = bytes(range(256))
    corners = [(255 * (1 - index % 2), 128, 128) for index in range(16)]  # K turns fastest
    table = b"mft1" + bytes(4) + bytes([4, 3, 2, 0]) + fixed(1, 0, 0, 0, 1, 0, 0, 0, 1)
    table += identity * 4 + b"".join(bytes(corner) for corner in corners) + identity * 3
    return profile(b"CMYK", {b"A2B0": table}, device_class=b"prtr", connection=b"Lab ")


def load(content, suffix=".png", **options):
    """Load a picture, or the bytes of a file, by way of a file."""
    if not isinstance(content, bytes):
        content = encoded(content, suffix, **options)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, f"picture{suffix}")
        path.write_bytes(content)
        return picture_io.load_picture(path)


# --- what each mode of pixel becomes ---


@pytest.mark.parametrize(
    ("mode", "color", "expected"),
    [
        ("RGB", (1, 2, 3), (1, 2, 3)),
        ("L", 77, (77, 77, 77)),
        ("1", 1, WHITE),
        ("1", 0, (0, 0, 0)),
        ("RGBA", (255, 0, 0, 128), (255, 127, 127)),
        ("RGBA", (10, 20, 30, 0), WHITE),
        ("RGBA", (10, 20, 30, 255), (10, 20, 30)),
        ("LA", (0, 51), (204, 204, 204)),
        ("I;16", 65535, WHITE),
        ("I;16", 25700, (100, 100, 100)),
        ("I;16", 0, (0, 0, 0)),
    ],
)
def test_png_modes(mode, color, expected):
    image = load(flat(mode, color))
    assert image.shape == (18, 20, 3)
    assert one_color(image) == pytest.approx(expected, abs=OVER_WHITE)


def test_sixteen_bit_grey_is_scaled_to_within_half_a_level():
    values = np.linspace(0, 65535, 20 * 18).astype(np.uint16).reshape(18, 20)
    image = load(Image.fromarray(values))
    half_a_level = 0.5 + unit("float32") * 255  # of a quotient in float32
    np.testing.assert_allclose(image[..., 0], values / 257, rtol=0, atol=half_a_level)
    assert abs(load(flat("I;16", 32768))[0, 0, 0] - 127.5) <= 0.5


def test_sixteen_bit_grey_pgm():
    assert one_color(load(b"P5 16 16 65535 " + b"\x64\x64" * 256, ".pgm")) == (100, 100, 100)


def test_sixteen_bit_color_is_kept():
    row = struct.pack(">48H", *[65535, 1, 32768] * 16)
    expected = (255, 1 / 257, 32768 / 257)
    one_rounding = unit("float32") * 255
    assert one_color(load(png(16, 2, row))) == pytest.approx(expected, abs=one_rounding)


@pytest.mark.parametrize("profiled", [False, True])
def test_sixteen_bit_color_with_transparency_or_a_profile_is_scaled_to_eight(profiled):
    row = struct.pack(">64H", *[65535, 1, 32768, 65535] * 16)
    chunk = (b"iCCP", b"x\0\0" + zlib.compress(wide_gamut_profile()))
    image = load(png(16, 6, row, [chunk] if profiled else []))
    assert profiled or one_color(image) == (255, 0, 128)
    assert (image == np.rint(image)).all()


def test_palette():
    assert one_color(load(flat("RGB", (10, 200, 30)).quantize(4))) == (10, 200, 30)


@pytest.mark.parametrize(
    ("transparency", "expected"), [(0, WHITE), (b"\x80", (255, 127, 127)), (b"\xff", (255, 0, 0))]
)
def test_palette_with_transparency(transparency, expected, recwarn):
    picture = flat("P", 0)
    picture.putpalette([255, 0, 0, 0, 0, 255])
    image = load(picture, transparency=transparency)
    assert one_color(image) == pytest.approx(expected, abs=OVER_WHITE)
    assert not recwarn.list  # Pillow's advice on palettes is not for users


@pytest.mark.parametrize(
    ("depth", "color_type", "key", "row", "left", "right"),
    [
        (1, 0, (0,), b"\x00\xff", WHITE, WHITE),
        (1, 0, (1,), b"\x00\xff", (0, 0, 0), WHITE),
        (2, 0, (1,), b"\x55" * 2 + b"\xaa" * 2, WHITE, (170, 170, 170)),
        (4, 0, (3,), b"\x33" * 4 + b"\x88" * 4, WHITE, (136, 136, 136)),
        (8, 0, (7,), b"\x07" * 8 + b"\x09" * 8, WHITE, (9, 9, 9)),
        (16, 0, (257,), b"\x01\x01" * 8 + b"\x02\x02" * 8, WHITE, (2, 2, 2)),
        (8, 2, (5, 6, 7), b"\5\6\7" * 8 + b"\5\6\x09" * 8, WHITE, (5, 6, 9)),
        (
            16,
            2,
            (65535, 0, 32768),
            b"\xff\xff\0\0\x80\0" * 8 + b"\0" * 48,
            WHITE,
            (0, 0, 0),
        ),
    ],
)
def test_transparent_color_at_every_depth(depth, color_type, key, row, left, right):
    chunk = (b"tRNS", struct.pack(f">{len(key)}H", *key))
    image = load(png(depth, color_type, row, [chunk]))
    assert one_color(image[:, :8]) == left
    assert one_color(image[:, 8:]) == right


@pytest.mark.parametrize(
    ("ink", "expected"),
    [
        ((0, 0, 0, 0), WHITE),
        ((255, 0, 0, 0), (0, 255, 255)),
        ((0, 255, 0, 0), (255, 0, 255)),
        ((0, 0, 0, 255), (0, 0, 0)),
        ((0, 0, 255, 127), (128, 128, 0)),
    ],
)
@pytest.mark.parametrize("suffix", [".jpg", ".tif"])
def test_cmyk_without_a_profile(ink, expected, suffix):
    data = encoded(flat("CMYK", ink), suffix, quality=100)
    if suffix == ".jpg":
        assert b"Adobe" in data  # so its samples are stored inverted
    assert one_color(load(data, suffix)) == pytest.approx(expected, abs=TWO_STEPS)


def test_grey_jpeg_and_other_formats():
    assert one_color(load(flat("L", 90), ".jpg")) == pytest.approx((90, 90, 90), abs=ONE_STEP)
    for suffix in (".gif", ".bmp", ".tif", ".ppm"):
        assert one_color(load(flat("RGB", (10, 20, 30)), suffix)) == (10, 20, 30)
    assert one_color(load(flat("RGB", (9, 8, 7)), ".webp", lossless=True)) == (9, 8, 7)


@pytest.mark.parametrize(
    ("mode", "stored", "expected"),
    [("RGBA", (128, 0, 0, 128), (255, 127, 127)), ("LA", (64, 128), (191, 191, 191))],
)
def test_premultiplied_tiff(mode, stored, expected):
    """Associated alpha (ExtraSamples 1): the stored color is already multiplied by alpha."""
    straight = encoded(flat(mode, stored), ".tif")
    mark = struct.pack("<HHI", 338, 3, 1)
    at = straight.index(mark) + len(mark)
    premultiplied = straight[:at] + b"\1" + straight[at + 1 :]
    assert one_color(load(premultiplied, ".tif")) == pytest.approx(expected, abs=ONE_STEP)


@pytest.mark.parametrize("mode", ["F", "I"])
def test_samples_of_unknown_range_are_refused(mode):
    with pytest.raises(picture_io.PictureError, match=r"picture\.tif.*8 or 16"):
        load(flat(mode, 1), ".tif")


# --- orientation ---


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".tif", ".webp"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation(suffix, orientation):
    stored = smooth(18, 30)
    shown = {
        1: stored,
        2: stored[:, ::-1],
        3: np.rot90(stored, 2),
        4: stored[::-1],
        5: stored.swapaxes(0, 1),
        6: np.rot90(stored, -1),
        7: np.rot90(stored.swapaxes(0, 1), 2),
        8: np.rot90(stored, 1),
    }[orientation]
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    image = load(Image.fromarray(stored), suffix, exif=exif, quality=100, lossless=True)
    assert image.shape == shown.shape
    assert image.flags["C_CONTIGUOUS"]
    np.testing.assert_allclose(image, shown, rtol=0, atol=JPEG if suffix == ".jpg" else 0)


@pytest.mark.parametrize("exif", [b"Exif\0\0garbage", b"Exif\0\0MM\0*\0\0\0\x08\xff\xff", b"x"])
def test_damaged_metadata_does_not_matter(exif):
    assert load(Image.fromarray(smooth(18, 30)), exif=exif).shape == (18, 30, 3)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGBA", "I;16"])
def test_pictures_of_any_mode_are_turned(mode):
    picture = Image.fromarray(smooth(18, 30))
    deep = Image.fromarray(np.arange(18 * 30, dtype=np.uint16).reshape(18, 30) * 100)
    picture = deep if mode == "I;16" else picture.convert(mode)
    assert picture.mode == mode
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    np.testing.assert_array_equal(load(picture, exif=exif), np.rot90(load(picture), -1))


def test_other_damaged_metadata_does_not_keep_a_picture_from_being_turned():
    """No byte of the EXIF data behind the orientation has a say in it."""
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    exif[ExifTags.Base.XResolution] = 1.5
    exif[ExifTags.Base.Artist] = "somebody"
    data = exif.tobytes()
    picture = Image.fromarray(smooth(18, 30))
    orientation = data.index(ExifTags.Base.Orientation.to_bytes(2, "big"))
    refused = 0
    for place in range(orientation + 12, len(data)):
        damaged = data[:place] + bytes([data[place] ^ 0xFF]) + data[place + 1 :]
        assert load(picture, exif=damaged).shape == (30, 18, 3)
        try:
            ImageOps.exif_transpose(Image.open(io.BytesIO(encoded(picture, ".png", exif=damaged))))
        except Exception:
            refused += 1
    assert refused > 0  # which shows that some of it is damage to Pillow


# --- color profiles ---


@pytest.mark.parametrize("color", [(200, 120, 90), (60, 100, 130), (128, 128, 128), WHITE])
def test_wide_gamut_profile_against_numpy(color):
    linear = (np.array(color) / 255) ** 2.2
    expected = encode_srgb(np.linalg.solve(SRGB_TO_XYZ, P3_TO_XYZ @ linear))
    for suffix in (".png", ".tif"):
        image = load(flat("RGB", color), suffix, icc_profile=wide_gamut_profile())
        assert one_color(image) == pytest.approx(expected, abs=PROFILE)


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp"])
def test_profile_against_pillow(suffix):
    data = encoded(
        Image.fromarray(noise(18, 30)), suffix, icc_profile=wide_gamut_profile(), lossless=True
    )
    with Image.open(io.BytesIO(data)) as picture:
        source = ImageCms.ImageCmsProfile(io.BytesIO(picture.info["icc_profile"]))
        target = ImageCms.createProfile("sRGB")
        expected = ImageCms.profileToProfile(picture.convert("RGB"), source, target)
    np.testing.assert_array_equal(load(data, suffix), np.asarray(expected))


def test_srgb_profile_changes_nothing():
    data = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    stored = noise(18, 30)
    image = load(Image.fromarray(stored), icc_profile=data)
    np.testing.assert_allclose(image, stored, rtol=0, atol=ONE_STEP)


@pytest.mark.parametrize("mode", ["L", "LA", "I;16"])
def test_grey_profile(mode):
    color = {"L": 128, "LA": (128, 255), "I;16": 128 * 257}[mode]
    expected = encode_srgb(128 / 255)  # a linear grey scale
    image = load(flat(mode, color), icc_profile=grey_profile(1.0))
    assert one_color(image) == pytest.approx([expected] * 3, abs=ONE_STEP)


def test_color_profile_on_a_grey_picture():
    image = load(flat("L", 128), icc_profile=wide_gamut_profile(1.0))
    assert one_color(image) == pytest.approx([encode_srgb(128 / 255)] * 3, abs=ONE_STEP)


def test_profile_and_transparency_together():
    opaque = load(flat("RGB", (200, 120, 90)), icc_profile=wide_gamut_profile())
    half = load(flat("RGBA", (200, 120, 90, 51)), icc_profile=wide_gamut_profile())
    np.testing.assert_allclose(half, 255 + (opaque - 255) * 0.2, rtol=0, atol=2 * OVER_WHITE)


@pytest.mark.parametrize("suffix", [".jpg", ".tif"])
@pytest.mark.parametrize("black", [0, 128, 255])
def test_cmyk_with_a_profile(suffix, black):
    """Without the profile the cyan would show; with it only black ink counts."""
    lightness = 100 * (1 - black / 255)
    luminance = ((lightness + 16) / 116) ** 3 if lightness > 8 else lightness / 903.3
    picture = flat("CMYK", (255, 0, 0, black))
    image = load(picture, suffix, icc_profile=black_ink_only_profile(), quality=100)
    assert one_color(image) == pytest.approx([encode_srgb(luminance)] * 3, abs=TWO_STEPS)


@pytest.mark.parametrize(
    "broken", [b"no profile", wide_gamut_profile()[:150], grey_profile(2.2), bytes(200)]
)
def test_unusable_profile_is_noted_and_ignored(broken):
    with pytest.warns(UserWarning, match=r"picture\.png: its color profile.*sRGB") as notes:
        assert one_color(load(flat("RGB", (10, 20, 30)), icc_profile=broken)) == (10, 20, 30)
    assert len(notes) == 1
    assert "\n" not in str(notes[0].message)


# --- animations ---


@pytest.mark.parametrize("suffix", [".gif", ".webp", ".png"])
def test_first_frame_of_an_animation(suffix):
    frames = [flat("RGB", color) for color in [(250, 0, 0), (0, 250, 0), (0, 0, 250)]]
    with pytest.warns(UserWarning, match=rf"picture\{suffix}: .*first frame") as notes:
        image = load(frames[0], suffix, save_all=True, append_images=frames[1:], lossless=True)
    assert one_color(image) == (250, 0, 0)
    assert len(notes) == 1
    assert notes[0].filename == __file__


@pytest.mark.parametrize("suffix", [".gif", ".webp", ".png", ".jpg", ".tif"])
def test_a_still_picture_needs_no_note(suffix, recwarn):
    load(flat("RGB", (250, 0, 0)), suffix)
    assert not recwarn.list


# --- what is refused ---


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".gif", ".webp", ".bmp", ".tif", ".ppm"])
@pytest.mark.parametrize("share", [0.3, 0.6, 0.9])
def test_truncated_files_are_refused(suffix, share):
    data = encoded(Image.fromarray(noise(64, 64)), suffix)
    with pytest.raises(picture_io.PictureError, match=rf"picture\{suffix}.*expected"):
        load(data[: int(share * len(data))], suffix)


@pytest.mark.parametrize(
    "data",
    [
        b"hello, I am text",
        b"",
        b"\x89PNG\r\n\x1a\n",
        b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 99 99\n",
        b"<svg xmlns='http://www.w3.org/2000/svg' width='99' height='99'/>",
    ],
)
def test_what_is_no_picture_is_refused(data):
    with pytest.raises(picture_io.PictureError, match=r"picture\.png.*expected a whole picture"):
        load(data)


def test_other_external_formats_are_refused():
    with pytest.raises(picture_io.PictureError, match="no picture this program knows"):
        load(encoded(flat("RGB", 0), ".eps"), ".eps")


def test_missing_file_folder_and_pipe(tmp_path):
    with pytest.raises(picture_io.PictureError, match=r"absent\.png: No such file"):
        picture_io.load_picture(tmp_path / "absent.png")
    with pytest.raises(picture_io.PictureError, match="is a folder"):
        picture_io.load_picture(tmp_path)
    with pytest.raises(picture_io.PictureError, match="expected a whole picture"):
        picture_io.load_picture(str(tmp_path / ("n" * 5000)))
    with pytest.raises(picture_io.PictureError, match="expected a whole picture"):
        picture_io.load_picture("a\0b.png")
    os.mkfifo(tmp_path / "pipe.png")
    with pytest.raises(picture_io.PictureError, match="no regular file"):
        picture_io.load_picture(tmp_path / "pipe.png")


def test_unreadable_file(tmp_path, monkeypatch):
    path = tmp_path / "secret.png"
    flat("RGB", 0).save(path)

    def refuse(*_, **__):
        raise PermissionError(13, "Permission denied", str(path))

    if os.geteuid() == 0:  # root may read everything
        monkeypatch.setattr(Image, "open", refuse)
    path.chmod(0)
    with pytest.raises(picture_io.PictureError, match=r"secret\.png: Permission denied"):
        picture_io.load_picture(path)


@pytest.mark.parametrize(
    ("size", "refusal"),
    [
        ((16, 16), None),
        ((15, 16), "at least 16"),
        ((16, 15), "at least 16"),
        ((16, 800), None),
        ((801, 16), "at most 50×"),
        ((16, 801), "at most 50×"),
    ],
)
def test_limits_of_shape(size, refusal):
    picture = flat("RGB", 0, size)
    if refusal is None:
        assert load(picture).shape == (*size[::-1], 3)
    else:
        with pytest.raises(picture_io.PictureError, match=rf"picture\.png: {size[0]}×.*{refusal}"):
            load(picture)


@pytest.mark.parametrize(
    "data",
    [
        png(8, 2, b"", height=20_000, width=20_000),
        png(8, 2, b"", height=2**31 - 1, width=2**31 - 1),
        b"GIF89a" + b"\xff" * 4 + encoded(flat("L", 0), ".gif")[10:],
        b"P6 20000 20000 255 ",
        b"P6 14000 14300 255 ",  # 200.2 million, a little too many
    ],
)
def test_decompression_bombs_stop_at_the_header(data, monkeypatch):
    monkeypatch.setattr(Image.Image, "load", pytest.fail)
    with pytest.raises(picture_io.PictureError, match="200,000,000"):
        load(data)


def test_the_pixel_limit_is_ours_not_pillows(monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)
    monkeypatch.setattr(picture_io, "PIXEL_LIMIT", 400)
    assert load(flat("RGB", 0, (20, 20))).shape == (20, 20, 3)
    with pytest.raises(picture_io.PictureError, match="400"):
        load(flat("RGB", 0, (20, 21)))
    assert Image.MAX_IMAGE_PIXELS == 10


@pytest.mark.parametrize("kind", [b"iTXt", b"zTXt"])
def test_text_that_swells_is_refused(tmp_path, kind):
    middle = {b"iTXt": b"\0\1\0\0\0", b"zTXt": b"\0\0"}[kind]
    bomb = (kind, b"key" + middle + zlib.compress(bytes(30_000_000), 9))
    with pytest.raises(picture_io.PictureError, match=r"picture\.png"):
        load(png(8, 2, bytes(48), [bomb]))
    with pytest.raises(picture_io.PictureError, match=r"picture\.png"):
        picture_io.load_text(tmp_path / "picture.png")


def test_text_keys_that_pose_as_metadata():
    chunks = [(b"tEXt", key + b"\0text") for key in (b"icc_profile", b"exif", b"gamma", b"xmp")]
    with pytest.warns(UserWarning, match="color profile"):
        assert one_color(load(png(8, 2, bytes([1, 2, 3]) * 16, chunks))) == (1, 2, 3)


# --- fuzzing: any bytes give an image or a PictureError ---

SEEDS = {
    suffix: encoded(picture, suffix, **options)
    for suffix, picture, options in [
        (".png", Image.fromarray(smooth(24, 32)), {"icc_profile": wide_gamut_profile()}),
        (".apng", flat("RGB", 3), {"save_all": True, "append_images": [flat("RGB", 9)]}),
        (".jpg", Image.fromarray(smooth(24, 32)), {"exif": Image.Exif()}),
        (".gif", flat("P", 3), {"save_all": True, "append_images": [flat("P", 9)]}),
        (".webp", flat("RGBA", (9, 8, 7, 99)), {}),
        (".tif", Image.fromarray(smooth(24, 32)), {"compression": "tiff_lzw"}),
        (".bmp", Image.fromarray(smooth(24, 32)), {}),
        (".ppm", Image.fromarray(smooth(24, 32)), {}),
    ]
}
SEEDS |= {
    f"16{suffix}": picture_io.encode_picture(
        f"a{suffix}", smooth(24, 32) / 2, {"config": "{}"}, bit_depth=16, dpi=(300, 300)
    )
    for suffix in (".png", ".tif")
}
FUZZ = settings(max_examples=3 * settings.default.max_examples)


@pytest.fixture(scope="module")
def survives(tmp_path_factory):
    path = tmp_path_factory.mktemp("fuzz") / "picture"

    def outcome(function):
        try:
            return function(path)
        except picture_io.PictureError as refusal:
            return str(refusal)

    def survives(data):
        path.write_bytes(data)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            image, text = outcome(picture_io.load_picture), outcome(picture_io.load_text)
            dpi, depth = outcome(picture_io.read_dpi), outcome(picture_io.read_bit_depth)
        for refusal in (found for found in (image, text, dpi, depth) if isinstance(found, str)):
            assert refusal.startswith(f"{path}: ")
            assert "\n" not in refusal
        if isinstance(image, np.ndarray):
            assert image.dtype == np.float32
            assert image.min() >= 0
            assert image.max() <= 255

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(picture_io, "PIXEL_LIMIT", 1_000_000)  # a damaged size need not be large
        yield survives


@FUZZ
@given(st.binary(max_size=200), st.sampled_from([b"", *(seed[:16] for seed in SEEDS.values())]))
def test_random_bytes(survives, data, start):
    survives(start + data)


@FUZZ
@given(st.sampled_from(sorted(SEEDS)), st.data())
def test_truncations(survives, suffix, data):
    survives(SEEDS[suffix][: data.draw(st.integers(0, len(SEEDS[suffix])))])


@FUZZ
@given(st.sampled_from(sorted(SEEDS)), st.data())
def test_flipped_bits(survives, suffix, data):
    damaged = bytearray(SEEDS[suffix])
    position = st.integers(0, len(damaged) - 1) | st.integers(0, min(60, len(damaged) - 1))
    for at in data.draw(st.lists(position, min_size=1, max_size=8)):
        damaged[at] ^= data.draw(st.integers(1, 255))
    survives(bytes(damaged))


@FUZZ
@given(
    st.sampled_from(
        [b"iCCP", b"tRNS", b"eXIf", b"iTXt", b"PLTE", b"gAMA", b"acTL", b"fcTL", b"pHYs"]
    ),
    st.binary(max_size=60),
    st.sampled_from([(8, 0), (8, 2), (8, 3), (16, 0), (16, 2), (4, 0)]),
)
def test_strange_chunks_with_good_checksums(survives, name, content, kind):
    survives(png(*kind, bytes(48), [(name, content)]))


@pytest.mark.parametrize(
    "error",
    [MemoryError(), struct.error("x"), SyntaxError("x"), OverflowError("x"), zlib.error("x")],
)
def test_whatever_a_decoder_raises(monkeypatch, error):
    def fail(*_):
        raise error

    monkeypatch.setattr(PngImagePlugin.PngImageFile, "load", fail)
    with pytest.raises(picture_io.PictureError, match=rf"damaged.*({type(error).__name__}|x)"):
        load(flat("RGB", 0))


# --- saving ---


@pytest.mark.parametrize(
    ("name", "tolerance"),
    [
        ("a.png", 0),
        ("ein Bild – 絵.PNG", 0),
        ("a.webp", 0),
        ("a.tif", 0),
        ("a.TIFF", 0),
        ("a.jpg", JPEG),
        ("a b.jpeg", JPEG),
    ],
)
def test_round_trip(tmp_path, name, tolerance):
    image = smooth(40, 50).astype(np.float32)
    picture_io.save_picture(tmp_path / name, image)
    loaded = picture_io.load_picture(tmp_path / name)
    np.testing.assert_allclose(loaded, image, rtol=0, atol=tolerance)
    assert os.listdir(tmp_path) == [name]


def test_saved_values_are_clipped_and_rounded(tmp_path):
    image = np.zeros((16, 16, 3), np.float32)
    image[0, :6, 0] = [-5, 300, 1.4, 1.6, 254.6, np.inf]
    before = image.copy()
    picture_io.save_picture(tmp_path / "a.png", image)
    loaded = picture_io.load_picture(tmp_path / "a.png")
    assert loaded[0, :6, 0].tolist() == [0, 255, 1, 2, 255, 255]
    np.testing.assert_array_equal(image, before)


def test_jpeg_keeps_full_resolution_color(tmp_path):
    stripes = np.zeros((32, 32, 3), np.float32)
    stripes[:, ::2] = (200, 40, 40)
    stripes[:, 1::2] = (40, 40, 200)
    picture_io.save_picture(tmp_path / "a.jpg", stripes)
    # Kept by pairs of pixels, the colors would meet half-way, 80 levels off.
    assert np.abs(picture_io.load_picture(tmp_path / "a.jpg") - stripes).max() < 3 * JPEG


@pytest.mark.parametrize(
    "image",
    [np.zeros((16, 16)), np.zeros((16, 16, 4)), np.full((16, 16, 3), np.nan, np.float32)],
)
def test_saving_what_is_no_image(tmp_path, image):
    with pytest.raises(ValueError, match="H×W×3"):
        picture_io.save_picture(tmp_path / "a.png", image)
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("name", ["a.gif", "a", "a.png.txt", ".png"])
def test_unknown_suffix(tmp_path, name):
    with pytest.raises(
        picture_io.PictureError, match=r"\.png, \.jpg, \.jpeg, \.webp, \.tif, \.tiff"
    ):
        picture_io.check_output_suffix(tmp_path / name)
    with pytest.raises(picture_io.PictureError, match=name):
        picture_io.save_picture(tmp_path / name, np.zeros((16, 16, 3), np.float32))
    assert os.listdir(tmp_path) == []


def test_too_large_for_the_format(tmp_path):
    with pytest.raises(picture_io.PictureError, match=r"a\.webp.*PNG holds any size"):
        picture_io.save_picture(tmp_path / "a.webp", np.zeros((16, 16_400, 3), np.float32))
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("step", ["fsync", "replace"])
def test_failed_save_leaves_the_old_picture(tmp_path, monkeypatch, step):
    path = tmp_path / "a.png"
    picture_io.save_picture(path, np.full((16, 16, 3), 7, np.float32))

    def fail(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, step, fail)
    with pytest.raises(OSError, match="No space left"):
        picture_io.save_picture(path, np.zeros((16, 16, 3), np.float32))
    assert one_color(picture_io.load_picture(path)) == (7, 7, 7)
    assert os.listdir(tmp_path) == ["a.png"]


TEXTS = st.dictionaries(
    st.sampled_from(["gatys_norm", "Title", "größe"]),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=80),
)


@given(TEXTS)
def test_text_round_trip(tmp_path_factory, text):
    path = tmp_path_factory.getbasetemp() / "text.png"
    picture_io.save_picture(path, np.zeros((16, 16, 3), np.float32), text)
    loaded = picture_io.load_text(path)
    assert loaded == text
    assert all(type(value) is str for value in loaded.values())


def test_text_beside_other_metadata(tmp_path):
    info = PngImagePlugin.PngInfo()
    info.add_text("plain", "é")
    info.add_text("packed", "z" * 1000, zip=True)
    path = tmp_path / "a.png"
    picture = flat("RGB", 0)
    picture.save(path, pnginfo=info, dpi=(72, 72), icc_profile=wide_gamut_profile())
    assert picture_io.load_text(path) == {"plain": "é", "packed": "z" * 1000}


def test_text_is_bounded(tmp_path):
    path = tmp_path / "a.png"
    picture_io.save_picture(
        path, np.zeros((16, 16, 3), np.float32), {"k": "x" * picture_io.TEXT_LIMIT}
    )
    with pytest.raises(picture_io.PictureError, match=r"a\.png.*1,048,576 characters"):
        picture_io.load_text(path)


@pytest.mark.parametrize("name", ["a.jpg", "a.webp"])
def test_other_formats_carry_no_text(tmp_path, name):
    picture_io.save_picture(tmp_path / name, np.zeros((16, 16, 3), np.float32), {"key": "value"})
    assert picture_io.load_text(tmp_path / name) == {}


# --- sizes ---

SIDES = st.integers(1, 60)


@given(SIDES, SIDES, SIDES, SIDES, st.floats(-500, 500, width=32))
def test_a_constant_stays_that_constant(height, width, new_height, new_width, value):
    image = np.full((height, width, 3), value, np.float32)
    resized = resize(image, new_height, new_width)
    np.testing.assert_array_equal(resized, np.full((new_height, new_width, 3), value, np.float32))


@given(SIDES, SIDES, SIDES, SIDES, st.integers(0, 99))
def test_resizing_stays_within_each_channels_range(height, width, new_height, new_width, seed):
    image = noise(height, width, seed).astype(np.float32)
    resized = resize(image, new_height, new_width)
    assert resized.shape == (new_height, new_width, 3)
    assert resized.dtype == np.float32
    assert (resized.min((0, 1)) >= image.min((0, 1))).all()
    assert (resized.max((0, 1)) <= image.max((0, 1))).all()


def test_resizing_to_the_same_size_changes_nothing():
    image = noise(20, 30).astype(np.float32)
    np.testing.assert_array_equal(resize(image, 20, 30), image)


@pytest.mark.parametrize("width", [32, 64, 100, 256])
def test_a_ramp_stays_a_ramp(width):
    """Pixel centres: new pixel i lies at (i + ½) · 128 / width − ½ of the old ones."""
    ramp = np.broadcast_to(np.arange(128, dtype=np.float32)[None, :, None], (20, 128, 3))
    expected = (np.arange(width) + 0.5) * 128 / width - 0.5
    interior = (expected > 14) & (expected < 113)
    resized = resize(ramp, 20, width)
    # Three lobes, of weights made to sum to 1, keep a slope of 1 but for their ripple.
    ripple = 0.05
    np.testing.assert_allclose(resized[10, interior, 1], expected[interior], rtol=0, atol=ripple)


def test_channels_are_resized_apart_and_in_place():
    image = np.zeros((20, 30, 3), np.float32)
    image[..., 1] = 100
    image[:10, :, 2] = 200
    resized = resize(image, 40, 60)
    assert (resized[..., 0] == 0).all()
    assert (resized[..., 1] == 100).all()
    assert (resized[:15, :, 2] > 199).all()
    assert (resized[25:, :, 2] < 1).all()


def test_shrinking_averages_what_it_covers():
    checks = np.indices((64, 64)).sum(0) % 2 * 255
    image = np.repeat(checks[..., None], 3, -1).astype(np.float32)
    ripple = 0.01 * 255  # of the contrast; three lobes are no whole average
    averages = resize(image, 8, 8)[2:-2, 2:-2]
    np.testing.assert_allclose(averages, 127.5, rtol=0, atol=ripple)


@pytest.mark.parametrize("size", [(16, 24), (80, 120), (20, 180), (4, 6)], ids=str)
@pytest.mark.parametrize("axis", [0, 1])
def test_a_wrapped_axis_has_no_edges_when_it_is_resized(size, axis):
    """Moved and then resized, it is what it is resized and then moved."""
    image = noise(40, 60).astype(np.float32)
    shift = 20 * size[axis] // image.shape[axis]
    for axes in ((axis,), (0, 1), (1 - axis,), ()):
        moved = resize(np.roll(image, 20, axis), *size, axes)
        expected = np.roll(resize(image, *size, axes), shift, axis)
        # The weights of a pixel are rounded otherwise where it lies elsewhere.
        is_same = np.allclose(moved, expected, rtol=0, atol=1e-2)
        assert is_same is (axis in axes)


@pytest.mark.parametrize(
    ("size", "axes", "expected"),
    [
        ((341, 512), (0, 1), (336, 512)),
        ((341, 500), (1,), (341, 496)),
        ((341, 500), (), (341, 500)),
        ((15, 23), (0, 1), (15, 16)),
        ((16, 24), (0, 1), (16, 32)),
    ],
)
def test_size_for_wrapping(size, axes, expected):
    assert size_for_wrapping(*size, axes) == expected


@pytest.mark.parametrize(
    ("size", "long_side", "expected"),
    [
        ((600, 800), 512, (384, 512)),
        ((800, 600), 512, (512, 384)),
        ((512, 512), 256, (256, 256)),
        ((100, 100), 1000, (1000, 1000)),
        ((16, 800), 10, (1, 10)),
        ((1000, 333), 100, (100, 33)),
        ((1, 4096), 7, (1, 7)),
    ],
)
def test_size_for_long_side(size, long_side, expected):
    assert size_for_long_side(*size, long_side) == expected


@given(st.integers(1, 20_000), st.integers(1, 20_000), st.integers(1, 8192))
def test_the_long_side_is_exact_and_the_other_within_rounding(height, width, long_side):
    new = size_for_long_side(height, width, long_side)
    assert max(new) == long_side
    half_a_pixel = 0.5 + gamma(2) * long_side  # of a product and a quotient
    for side, new_side in zip((height, width), new, strict=True):
        assert abs(new_side - max(1, side * long_side / max(height, width))) <= half_a_pixel


@given(st.integers(16, 5000), st.integers(16, 5000), st.integers(10_000, 16_000_000))
def test_size_for_pixel_count(height, width, pixel_count):
    tall, wide = size_for_pixel_count(height, width, pixel_count)
    scale = (pixel_count / (height * width)) ** 0.5
    assert abs(tall - height * scale) <= 1
    assert abs(wide - width * scale) <= 1
    assert abs(tall * wide - pixel_count) <= max(tall, wide)  # 1 % for a short side of 100


@given(st.integers(1, 5000), st.integers(1, 5000))
def test_a_size_that_fits_is_kept(height, width):
    assert size_for_pixel_count(height, width, height * width) == (height, width)


def test_size_for_pixel_count_by_hand():
    assert size_for_pixel_count(300, 400, 1_200 * 1_600) == (1200, 1600)
    assert size_for_pixel_count(1000, 1000, 512 * 384) in [(443, 444), (444, 443)]
    assert size_for_pixel_count(5000, 1, 100) == (707, 1)


# --- imports ---


def test_importing_leaves_tensorflow_and_pillows_limit_alone():
    program = (
        "import sys; from PIL import Image; limit = Image.MAX_IMAGE_PIXELS; "
        "import gatys_norm.images; "
        "assert 'tensorflow' not in sys.modules; assert Image.MAX_IMAGE_PIXELS == limit"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
