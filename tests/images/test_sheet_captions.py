"""Captions and labels of sheets: none touches another or the edge, whatever is shown."""

import math

import numpy as np
import pytest

from gatys_norm.images import contact_sheet

RED = (255, 0, 0)
RESULTS = ["original loss\nλ_os = 0.0001", "normalized loss\nλ_os = 0.001"]
USUAL = ["content", "style", *RESULTS]
SEVERAL = [
    "content",
    "style a_very_long_name_of_a_painting_from_the_year_1889",
    "style IMG_20240131_121314_edited-final-2",
    "style " + "x" * 300,
    "style z",
    *RESULTS,
]
ODD = ["\n\nstyle\nof\nmany\nlines\n", "non-unicode \udcff\udcfe name", "tab\there", "画家の絵" * 9]
SHAPES = {  # (height, width) of every picture, height in the sheet
    "portrait": ((256, 64), 256),
    "panorama": ((64, 512), 64),
    "thin panorama": ((16, 800), 2),
    "64 pixels": ((48, 64), 48),
    "16 pixels": ((16, 16), 16),
    "thin": ((800, 16), 16),
    "large portrait": ((400, 40), 400),
}


def plain(height, width, color=RED):
    return np.full((height, width, 3), color, np.float32)


def row(captions, shape, height):
    return contact_sheet.labeled_row([(caption, plain(*shape)) for caption in captions], height)


def runs_of(inked, gap):
    """[(first, end)] of the stretches of True, where fewer than `gap` of False do not part them."""
    places = np.flatnonzero(inked)
    parts = np.split(places, np.flatnonzero(np.diff(places) > gap) + 1)
    return [(int(part[0]), int(part[-1]) + 1) for part in parts if part.size]


def is_ink(sheet):
    return sheet.max(axis=2) < 250


def is_red(sheet):
    return (sheet == np.float32(RED)).all(axis=2)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("captions", [USUAL, SEVERAL, ODD], ids=["usual", "several", "odd"])
def test_every_caption_has_its_own_place_below_its_picture(captions, shape):
    picture_shape, height = SHAPES[shape]
    sheet = row(captions, picture_shape, height)
    below = is_ink(sheet)[height + contact_sheet.MARGIN :]
    boxes = runs_of(below.any(axis=0), contact_sheet.MARGIN - 2)
    pictures = runs_of(is_red(sheet).any(axis=0), 1)
    assert len(boxes) == len(pictures) == len(captions)
    for (left, right), (picture_left, picture_right) in zip(boxes, pictures, strict=True):
        assert abs(left + right - picture_left - picture_right) <= 4  # in the middle, ± 2 pixels
    assert boxes[0][0] >= contact_sheet.MARGIN - 1
    assert boxes[-1][1] <= sheet.shape[1] - contact_sheet.MARGIN + 1
    lines = np.flatnonzero(below.any(axis=1))
    assert lines[0] >= contact_sheet.MARGIN - 1
    assert lines[-1] < len(below) - contact_sheet.MARGIN // 2


def test_a_caption_that_fits_changes_nothing():
    sheet = row(USUAL, (300, 400), 300)
    assert sheet.shape[1] == 4 * (400 + contact_sheet.MARGIN) + contact_sheet.MARGIN
    assert (
        row(["a", "b"], (16, 16), 16).shape[1]
        == 2 * (16 + contact_sheet.MARGIN) + contact_sheet.MARGIN
    )


def test_a_place_is_only_as_wide_as_its_caption():
    font = contact_sheet._font(12)
    wide = row(["style"], (16, 16), 16).shape[1] - 2 * contact_sheet.MARGIN
    assert wide == math.ceil(font.getlength("style"))
    widest = row(["style " + "x" * 300], (16, 16), 16).shape[1] - 2 * contact_sheet.MARGIN
    assert widest == contact_sheet.LABEL_EMS * 12


def test_captions_of_results_stay_whole_beside_the_narrowest_pictures():
    """Each keeps its two lines: the sheet is no higher than with wide pictures."""
    assert row(USUAL, (64, 16), 64).shape[0] == row(USUAL, (64, 640), 64).shape[0]


@pytest.mark.parametrize("where", [0, -1])
def test_a_shortened_name_keeps_its_beginning_and_end(where):
    name = ["x"] * 300
    other = [*name]
    other[where] = "W"
    drawn = [row([f"style {''.join(each)}"], (64, 64), 64) for each in (name, other)]
    assert not np.array_equal(*drawn)


@pytest.mark.parametrize("shape", [(64, 512), (16, 800)], ids=str)
def test_labels_of_low_rows_are_whole_and_apart(shape):
    labels = ["flowing_strokes", "angular_planes"]
    cells = [[plain(*shape), plain(*shape)]] * 2
    sheet = contact_sheet.labeled_grid(labels, ["a", "b"], cells, 160)
    left = is_ink(sheet)[:, : contact_sheet.MARGIN + sum(contact_sheet._font(12).getmetrics())]
    boxes = runs_of(left.any(axis=1), contact_sheet.GAP - 2)
    assert len(boxes) == 2
    for (top, bottom), label in zip(boxes, labels, strict=True):
        assert bottom - top > 0.95 * contact_sheet._font(12).getlength(label)
    rows = runs_of(is_red(sheet).any(axis=1), 1)
    for (top, bottom), (picture_top, picture_bottom) in zip(boxes, rows, strict=True):
        assert abs(top + bottom - picture_top - picture_bottom) <= 4


def test_a_label_makes_no_row_of_the_usual_shape_higher():
    cells = [[plain(30, 40)], [plain(30, 40)]]
    heights = {
        contact_sheet.labeled_grid([label, label], ["a"], cells, 160).shape[0]
        for label in ("a", "flowing_strokes", "style " * 40)
    }
    assert len(heights) == 1
