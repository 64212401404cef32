"""Files that hold several pictures, and colors that need no profile."""

import io
import struct
import tempfile
import warnings
from pathlib import Path

import numpy as np
import pytest
from PIL import ExifTags, Image, ImageCms, TiffImagePlugin

from gatys_norm.images import io as picture_io

COLOR = (200, 120, 90)
SMALLER, PAGE, MASK = 1, 2, 4  # kinds of pages, as TIFF numbers them


def flat(color=COLOR, size=(40, 30), mode="RGB"):
    return Image.new("RGB", size, color).convert(mode)


def others(mode="RGB"):
    return [flat("blue", mode=mode), flat("lime", mode=mode)]


def encoded(picture, **options):
    content = io.BytesIO()
    picture.save(content, **options)
    return content.getvalue()


def tiff_of_kinds(*kinds):
    """A TIFF of a flat page and smaller ones, one a kind; None leaves the kind open."""
    content = io.BytesIO()
    with TiffImagePlugin.AppendingTiffWriter(content) as pages:
        for number, kind in enumerate(kinds):
            tags = TiffImagePlugin.ImageFileDirectory_v2()
            if kind is not None:
                tags[ExifTags.Base.NewSubfileType] = kind
            page = flat("blue", (20, 15)) if number else flat()
            page.save(pages, "TIFF", tiffinfo=tags)
            pages.newFrame()
    return content.getvalue()


def load(content):
    """Load the bytes of a file; returns its color, which must be one, and the warnings."""
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        path = Path(folder, "picture")
        path.write_bytes(content)
        image = picture_io.load_picture(path)
    assert image.shape == (30, 40, 3)
    assert (image == image[0, 0]).all()
    assert all(str(each.message).startswith(f"{path}: ") for each in caught)
    notes = [str(each.message).removeprefix(f"{path}: ") for each in caught]
    return image[0, 0], notes


PAGES = ["has several pages; its first is used"]


@pytest.mark.parametrize("compression", [None, "tiff_lzw", "tiff_adobe_deflate", "packbits"])
@pytest.mark.parametrize("big_tiff", [False, True])
def test_first_of_several_pages(compression, big_tiff):
    options = {"format": "TIFF", "compression": compression, "big_tiff": big_tiff}
    several = encoded(flat(), save_all=True, append_images=others(), **options)
    for content, expected in ((several, PAGES), (encoded(flat(), **options), [])):
        color, notes = load(content)
        assert tuple(color) == COLOR
        assert notes == expected


def test_pages_of_other_sizes_and_samples_change_nothing_of_the_first():
    pages = [flat("blue", (300, 200)), flat("lime", mode="L"), flat("lime", mode="F")]
    options = {"format": "TIFF", "save_all": True, "compression": "tiff_lzw"}
    color, notes = load(encoded(flat(), append_images=pages, **options))
    assert tuple(color) == COLOR
    assert notes == PAGES


@pytest.mark.parametrize(
    ("kinds", "expected"),
    [
        ((0, SMALLER), []),
        ((None, SMALLER, SMALLER, SMALLER), []),
        ((0, MASK), []),
        ((0, SMALLER | MASK), []),
        ((PAGE, PAGE), PAGES),
        ((0, SMALLER, 0), PAGES),
        ((SMALLER, 0), PAGES),
    ],
)
def test_smaller_versions_and_masks_are_no_pages(kinds, expected):
    color, notes = load(tiff_of_kinds(*kinds))
    assert tuple(color) == COLOR
    assert notes == expected


@pytest.mark.parametrize("offset", ["first", 1, 300, 10**8], ids=str)
def test_damage_behind_the_first_page_is_no_page(offset):
    content = bytearray(encoded(flat(), format="TIFF"))
    (first,) = struct.unpack_from("<L", content, 4)
    (entries,) = struct.unpack_from("<H", content, first)
    place = first + 2 + 12 * entries
    assert content[place : place + 4] == bytes(4)
    struct.pack_into("<L", content, place, first if offset == "first" else offset)
    color, notes = load(bytes(content))
    assert tuple(color) == COLOR
    assert notes == []


def test_search_for_pages_ends():
    """A file may name any number of them."""
    kinds = [0, *[SMALLER] * (picture_io._PAGES_SEARCHED + 5), 0]
    assert not picture_io._has_pages(io.BytesIO(tiff_of_kinds(*kinds)))
    assert picture_io._has_pages(io.BytesIO(tiff_of_kinds(*kinds[-3:])))


@pytest.mark.filterwarnings("error")
def test_cameras_file_of_several_pictures_is_an_ordinary_jpeg(tmp_path):
    path = tmp_path / "picture.jpg"
    flat().save(path, "MPO", save_all=True, append_images=others())
    with Image.open(path) as picture:
        assert picture.format == "MPO"
    assert np.abs(picture_io.load_picture(path) - COLOR).max() <= 3


def lab_picture():
    spaces = [ImageCms.createProfile(name) for name in ("sRGB", "LAB")]
    return ImageCms.profileToProfile(flat(), *spaces, outputMode="LAB")


def profile_of(space):
    return ImageCms.ImageCmsProfile(ImageCms.createProfile(space)).tobytes()


@pytest.mark.parametrize(
    "profile", [None, profile_of("LAB"), profile_of("sRGB"), b"none"], ids=["no", "LAB", "RGB", "x"]
)
def test_lab_says_its_colors_without_a_profile(profile):
    options = {} if profile is None else {"icc_profile": profile}
    color, notes = load(encoded(lab_picture(), format="TIFF", **options))
    assert np.abs(color - COLOR).max() <= 2
    assert notes == []


def test_profile_of_lab_is_unusable_for_other_colors():
    color, notes = load(encoded(flat(), format="TIFF", icc_profile=profile_of("LAB")))
    assert tuple(color) == COLOR
    assert notes == ["its color profile is unusable (made for Lab, not RGB); taken as sRGB"]
