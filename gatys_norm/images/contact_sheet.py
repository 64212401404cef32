"""Sheets of labeled pictures. No TensorFlow.

Every picture, as argument or result, is float32 H × W × 3, RGB, 0–255.
"""

import bisect
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeAlias

import matplotlib
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from gatys_norm.text import one_line

MARGIN = 12
GAP = 6  # pixels between the cells of a grid
LABEL_LINES = 2
LABEL_EMS = 8  # least width of the place for a label, unless the label is narrower
INK, PAPER, GREY = (32, 32, 32), (255, 255, 255), (222, 222, 222)

Cell: TypeAlias = np.ndarray | str | None  # a picture, the message of a failed cell, or nothing
_Font: TypeAlias = ImageFont.FreeTypeFont


def labeled_row(pictures: Sequence[tuple[str, np.ndarray]], height: int) -> np.ndarray:
    """Return pictures side by side, all of one height, with a caption under each.

    A caption is broken into lines as wide as its picture, or wider, if a narrow picture would make
    it unreadable. In a line that needs more than two lines, "…" replaces the middle.

    Args:
      pictures: list of (caption, float32 H × W × 3, RGB, 0–255); a caption may have two lines.
      height: height of each picture in the result, in pixels.

    Returns:
      float32 H × W × 3, RGB, 0–255.
    """
    font = _font(max(12, height // 22))
    parts = [caption.split("\n", 1) for caption, _ in pictures]
    scaled = [_at_height(picture, height) for _, picture in pictures]
    widths = [
        max(picture.width, _label_width(part, font))
        for picture, part in zip(scaled, parts, strict=True)
    ]
    captions = [
        [line for text in part for line in _wrapped(text, font, width, LABEL_LINES)]
        for part, width in zip(parts, widths, strict=True)
    ]
    caption_height = max(map(len, captions)) * sum(font.getmetrics())
    size = sum(widths) + MARGIN * (len(widths) + 1), height + caption_height + 3 * MARGIN
    sheet = Image.new("RGB", size, PAPER)
    draw = ImageDraw.Draw(sheet)
    left = MARGIN
    for picture, caption, width in zip(scaled, captions, widths, strict=True):
        sheet.paste(picture, (left + (width - picture.width) // 2, MARGIN))
        draw.multiline_text(
            (left + width // 2, height + 2 * MARGIN),
            "\n".join(caption),
            font=font,
            fill=INK,
            anchor="ma",
            align="center",
        )
        left += width + MARGIN
    return np.asarray(sheet, np.float32)


def labeled_grid(
    rows: Sequence[str],
    columns: Sequence[str],
    cells: Sequence[Sequence[Cell]],
    cell_width: int,
    title: str = "",
) -> np.ndarray:
    """Return a grid of pictures, with column labels above and rotated row labels at the left.

    A row is as high as its first picture at `cell_width`, or higher if its label needs more space.
    A picture of another shape is shrunk to fit into its cell. In a label that needs more than two
    lines, "…" replaces the middle.

    Args:
      rows, columns: labels, one per row and one per column.
      cells: per row, one cell per column: a picture, float32 H × W × 3 of any size, RGB, 0–255; or
        the message of a failed run; or None for an empty cell.
      cell_width: width of each cell in the result, in pixels.
      title: stands above everything.

    Raises:
      ValueError: the labels and the cells differ in number.
    """
    font = _font(max(12, cell_width // 20))
    line = sum(font.getmetrics())
    least = [max(LABEL_LINES * line, _label_width([label], font)) for label in rows]
    heights = _row_heights(cells, cell_width, least)
    column_lines = [_wrapped(label, font, cell_width, LABEL_LINES) for label in columns]
    row_lines = [
        _wrapped(label, font, height, LABEL_LINES)
        for label, height in zip(rows, heights, strict=True)
    ]
    side, top = (line * max(map(len, labels), default=0) for labels in (row_lines, column_lines))
    width = side + len(columns) * (cell_width + GAP)
    grid = Image.new("RGB", (width, top + sum(heights) + GAP * len(heights)), PAPER)
    lefts = [side + GAP + index * (cell_width + GAP) for index in range(len(columns))]
    for left, label in zip(lefts, column_lines, strict=True):
        grid.paste(_text(label, font, cell_width, top), (left, 0))
    for height, label, row in zip(heights, row_lines, cells, strict=True):
        top += GAP
        grid.paste(_text(label, font, height, side).transpose(Image.Transpose.ROTATE_90), (0, top))
        for left, cell in zip(lefts, row, strict=True):
            grid.paste(_cell(cell, font, cell_width, height), (left, top))
        top += height
    return np.asarray(_titled(grid, title, font.size * 5 // 4), np.float32)


def shortened(text: str, length: Callable[[str], float], most: float) -> str:
    """Return `text`; if `length(text)` is above `most`, with "…" instead of its middle."""

    def keeping(count: int) -> str:
        return f"{text[: (count + 1) // 2]}…{text[len(text) - count // 2 :]}"

    if length(text) <= most:
        return text
    fitting = bisect.bisect_right(range(len(text)), most, key=lambda count: length(keeping(count)))
    return keeping(max(0, fitting - 1))


def unicode_line(text: str) -> str:
    """Return `text` as one line of valid Unicode; a file name may be neither."""
    return one_line(text.encode(errors="replace").decode())


def _font(size: float, bold: bool = False) -> _Font:
    """Return DejaVu Sans, which is part of matplotlib: the font of Pillow has no λ."""
    name = "DejaVuSans-Bold.ttf" if bold else "DejaVuSans.ttf"
    return ImageFont.truetype(str(Path(matplotlib.get_data_path(), "fonts", "ttf", name)), size)


def _label_width(lines: Sequence[str], font: _Font) -> int:
    """Return the width in pixels that a label of these lines needs, at most `LABEL_EMS` ems."""
    return math.ceil(
        min(LABEL_EMS * font.size, max(font.getlength(unicode_line(x)) for x in lines))
    )


def _at_height(picture: np.ndarray, height: int) -> Image.Image:
    return _scaled(picture, max(1, round(picture.shape[1] * height / picture.shape[0])), height)


def _scaled(picture: np.ndarray, width: int, height: int) -> Image.Image:
    eight_bits = np.clip(np.rint(picture), 0, 255).astype(np.uint8)
    return Image.fromarray(eight_bits).resize((width, height), Image.Resampling.LANCZOS)


def _row_heights(
    cells: Sequence[Sequence[Cell]], cell_width: int, least: Sequence[int]
) -> list[int]:
    """Return the height of each row; without pictures it is that of another row, or ¾ width."""
    heights = [
        next((_height(cell, cell_width) for cell in row if isinstance(cell, np.ndarray)), None)
        for row in cells
    ]
    usual = next(filter(None, heights), cell_width * 3 / 4)
    return [
        max(needed, round(height or usual)) for needed, height in zip(least, heights, strict=True)
    ]


def _height(picture: np.ndarray, width: int) -> float:
    """Return the height of a picture at a width, unrounded."""
    return width * picture.shape[0] / picture.shape[1]


def _cell(cell: Cell, font: _Font, width: int, height: int) -> Image.Image:
    """Return the picture of one cell, exactly width × height."""
    if cell is None:
        return Image.new("RGB", (width, height), PAPER)
    if isinstance(cell, str):
        return _failure(cell, font, width, height)
    picture_height = _height(cell, width)
    if abs(picture_height / height - 1) < 0.01:  # the same shape, except for rounding
        return _scaled(cell, width, height)
    scale = min(1, height / picture_height)
    fitted = _scaled(cell, max(1, round(width * scale)), max(1, round(picture_height * scale)))
    frame = Image.new("RGB", (width, height), PAPER)
    frame.paste(fitted, ((width - fitted.width) // 2, (height - fitted.height) // 2))
    return frame


def _failure(message: str, font: _Font, width: int, height: int) -> Image.Image:
    line = sum(font.getmetrics())
    lines = _wrapped(message, font, width - 2 * MARGIN, max(0, (height - 2 * GAP) // line - 2))
    heading = shortened("failed", font.getlength, width)
    return _text([heading, *([""] if lines else []), *lines], font, width, height, GREY)


def _text(
    lines: Sequence[str],
    font: _Font,
    width: int,
    height: int,
    background: tuple[int, int, int] = PAPER,
) -> Image.Image:
    """Return width × height pixels with the lines in the middle."""
    tile = Image.new("RGB", (width, height), background)
    draw = ImageDraw.Draw(tile)
    line = sum(font.getmetrics())
    for index, text in enumerate(lines):
        middle = height / 2 + (index - (len(lines) - 1) / 2) * line
        draw.text((width / 2, middle), text, font=font, fill=INK, anchor="mm")
    return tile


def _titled(grid: Image.Image, title: str, size: float) -> Image.Image:
    """Return the grid with a margin around it and, if there is one, the title above it."""
    font = _font(size, bold=True)
    lines = _wrapped(title, font, grid.width, LABEL_LINES)
    height = len(lines) * sum(font.getmetrics())
    top = MARGIN + (height + GAP if lines else 0)
    sheet = Image.new("RGB", (grid.width + 2 * MARGIN, top + grid.height + MARGIN), PAPER)
    sheet.paste(_text(lines, font, grid.width, height), (MARGIN, MARGIN))
    sheet.paste(grid, (MARGIN, top))
    return sheet


def _wrapped(text: str, font: _Font, width: int, most: int) -> list[str]:
    """Break text into at most `most` lines of at most `width` pixels, the last one shortened."""
    remainder = unicode_line(text)
    lines: list[str] = []
    while remainder and len(lines) < most:
        if len(lines) == most - 1 or font.getlength(remainder) <= width:
            return [*lines, shortened(remainder, font.getlength, width)]
        cut = _break_at(remainder, font, width)
        lines.append(remainder[:cut].rstrip())
        remainder = remainder[cut:].lstrip()
    return lines


def _break_at(text: str, font: _Font, width: float) -> int:
    """Return the length of a line, which ends at a space, or else after _, - or /, if possible."""
    lengths = range(1, len(text) + 1)
    fitting = bisect.bisect_right(lengths, width, key=lambda count: font.getlength(text[:count]))
    space = text.rfind(" ", 0, fitting + 1)
    joint = max(text.rfind(mark, 0, fitting) for mark in "_-/")
    return next((position + 1 for position in (space, joint) if position > 0), max(1, fitting))
