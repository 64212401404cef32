"""Labeled sheets of pictures."""

import itertools

import numpy as np
import pytest
from helpers.pictures import assert_is_picture

from gatys_norm.images import contact_sheet

RED, GREEN, BLUE = (255, 0, 0), (0, 255, 0), (0, 0, 255)
YELLOW, CYAN, MAGENTA = (255, 255, 0), (0, 255, 255), (255, 0, 255)


def test_labeled_row_holds_every_picture_at_one_height():
    colors = [(255, 0, 0), (0, 255, 0), (0, 0, 255)]
    pictures = [
        (f"picture {index}\nλ_os", np.full((40, 40 * (index + 1), 3), color, np.float32))
        for index, color in enumerate(colors)
    ]
    sheet = contact_sheet.labeled_row(pictures, 80)
    for index, color in enumerate(colors):
        assert (sheet == np.float32(color)).all(axis=2).sum() == 80 * 80 * (index + 1)
    below = sheet[80 + contact_sheet.MARGIN :]
    assert (below.max(axis=2) < 100).any()


def test_every_caption_character_has_a_glyph():
    def drawn(caption):
        return contact_sheet.labeled_row([(caption, np.full((64, 64, 3), 255, np.float32))], 64)

    assert not np.array_equal(drawn("λ"), drawn("\uffff"))


def plain(color, height=30, width=40):
    return np.full((height, width, 3), color, np.float32)


def box_of(sheet, color):
    """Return (top, bottom, left, right) of the rectangle of a color; it must be a full one."""
    found = (sheet == np.float32(color)).all(axis=2)
    lines, columns = np.flatnonzero(found.any(axis=1)), np.flatnonzero(found.any(axis=0))
    top, bottom, left, right = lines[0], lines[-1] + 1, columns[0], columns[-1] + 1
    assert found[top:bottom, left:right].all()
    return top, bottom, left, right


def is_inked(part):
    return bool((part.max(axis=2) < 128).any())


def test_grid_places_each_cell_in_its_row_and_column():
    colors = [[RED, GREEN, BLUE], [YELLOW, CYAN, MAGENTA]]
    cells = [[plain(color) for color in row] for row in colors]
    sheet = contact_sheet.labeled_grid(["first", "second"], ["a", "b", "c"], cells, 120, "title")
    assert_is_picture(sheet)
    boxes = np.array([[box_of(sheet, color) for color in row] for row in colors])
    top, bottom, left, right = boxes.transpose(2, 0, 1)
    assert (right - left == 120).all()
    assert (bottom - top == 90).all()
    assert (top == top[:, :1]).all()
    assert (left == left[:1]).all()
    assert (left[:, 1:] - right[:, :-1] == contact_sheet.GAP).all()
    assert (top[1] - bottom[0] == contact_sheet.GAP).all()
    assert sheet.shape[:2] == (
        bottom.max() + contact_sheet.MARGIN,
        right.max() + contact_sheet.MARGIN,
    )


def test_pictures_of_several_sizes_fill_equal_cells():
    colors = [RED, GREEN, BLUE]
    sizes = [(191, 256), (383, 512), (765, 1024)]  # one shape, each rounded to pixels
    row = [plain(color, *size) for color, size in zip(colors, sizes, strict=True)]
    sheet = contact_sheet.labeled_grid(["s"], ["256 px", "512 px", "1024 px"], [row], 200)
    boxes = [box_of(sheet, color) for color in colors]
    assert {(bottom - top, right - left) for top, bottom, left, right in boxes} == {(149, 200)}


def test_a_picture_of_another_shape_is_seen_whole():
    halves = np.concatenate([plain(BLUE, 100, 40), plain(YELLOW, 100, 40)])
    row = [plain(RED), halves]
    sheet = contact_sheet.labeled_grid(["s"], ["a", "b"], [row], 120)
    first = box_of(sheet, RED)
    whole = (sheet == np.float32(BLUE)).all(axis=2) | (sheet == np.float32(YELLOW)).all(axis=2)
    lines = np.flatnonzero(whole.any(axis=1))
    assert first[0] <= lines[0] <= first[0] + 1
    assert first[1] - 1 <= lines[-1] + 1 <= first[1]
    assert abs(whole.any(axis=0).sum() - 90 * 40 / 200) <= 1


@pytest.mark.parametrize("message", ["", "no space left on device", "x" * 5000, "two words " * 500])
def test_a_failed_cell_is_a_grey_box_with_its_message_inside(message):
    cells = [[plain(RED), message], [plain(BLUE), plain(GREEN)]]
    sheet = contact_sheet.labeled_grid(["first", "second"], ["a", "b"], cells, 160)
    top, bottom, _, _ = box_of(sheet, RED)
    _, _, left, right = box_of(sheet, GREEN)
    box = sheet[top:bottom, left:right]
    edges = [box[0], box[-1], box[:, 0], box[:, -1]]
    assert all((edge == np.float32(contact_sheet.GREY)).all() for edge in edges)
    assert is_inked(box)


def test_a_failed_cell_says_failed_and_why():
    def failed(message):
        return contact_sheet.labeled_grid(["s"], ["a", "b"], [[plain(RED), message]], 200)

    bare, told, other = failed(""), failed("no space left"), failed("lost the GPU")
    assert bare.shape == told.shape
    assert (told < 128).sum() > (bare < 128).sum() > 0
    assert not np.array_equal(told, other)


def test_a_row_without_pictures_has_the_shape_of_the_others():
    cells = [["lost", "lost"], [plain(RED, 80, 40), None]]
    sheet = contact_sheet.labeled_grid(["first", "second"], ["a", "b"], cells, 100)
    top, bottom, left, right = box_of(sheet, RED)
    assert bottom - top == 200
    grey = (sheet[:, left:right] == np.float32(contact_sheet.GREY)).all(axis=2)
    assert grey[:, 0].sum() == 200
    assert (sheet[top:bottom, -100 - contact_sheet.MARGIN :] == 255).all()


@pytest.mark.parametrize("label", ["W" * 300, "wide_words_" * 40, "many short words " * 40])
def test_a_long_label_keeps_to_its_own_row_and_column(label):
    cells = [[plain(RED), plain(GREEN)], [plain(BLUE), plain(YELLOW)]]
    sheet = contact_sheet.labeled_grid([label, ""], [label, ""], cells, 150)
    top, bottom, left, right = box_of(sheet, RED)
    assert is_inked(sheet[:top, left:right])
    assert not is_inked(sheet[:top, :left])
    assert not is_inked(sheet[:top, right:])
    assert is_inked(sheet[top:bottom, :left])
    assert not is_inked(sheet[bottom:, :left])


def test_long_labels_that_differ_in_their_end_still_differ():
    def drawn(end):
        label = "a_very_long_stem_of_a_file_" * 5 + end
        return contact_sheet.labeled_grid([label], [""], [[plain(RED)]], 150)

    assert not np.array_equal(drawn("1"), drawn("2"))


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("short", ["short"]),
        ("λ_os = 0.00001", ["λ_os =", "0.00001"]),
        ("flow_strokes", ["flow_", "strokes"]),
        ("indivisibleword", ["indivisibl", "eword"]),
        ("", []),
    ],
)
def test_labels_break_at_spaces_then_at_joints_of_names(text, lines):
    font = contact_sheet._font(12)
    assert contact_sheet._wrapped(text, font, font.getlength("indivisibl") + 1, 2) == lines


@pytest.mark.parametrize("place", ["row", "column", "title"])
def test_every_grid_label_is_drawn_with_its_own_glyphs(place):
    def drawn(text):
        labels = {"row": "", "column": "", "title": ""} | {place: text}
        return contact_sheet.labeled_grid(
            [labels["row"]], [labels["column"]], [[plain(RED)]], 150, labels["title"]
        )

    pictures = [drawn(text) for text in ("λ_os = 1e-05", "\uffff_os = 1e-05", "λ_os = 1e-06")]
    for one, other in itertools.combinations(pictures, 2):
        assert not np.array_equal(one, other)


def test_a_grid_takes_names_that_are_no_unicode():
    assert_is_picture(
        contact_sheet.labeled_grid(["\udcff"], ["a\nb"], [["\udcff\n" * 9]], 100, "\udcff")
    )


@pytest.mark.parametrize(
    ("rows", "columns"), [(["s"], ["a"]), (["s"], ["a", "b", "c"]), ([], ["a", "b"])]
)
def test_a_grid_refuses_labels_that_do_not_match_its_cells(rows, columns):
    with pytest.raises(ValueError, match="argument"):
        contact_sheet.labeled_grid(rows, columns, [[plain(RED), plain(GREEN)]], 100)
