"""Pictures and records → labelled pictures. No TensorFlow."""

from pathlib import Path

import matplotlib
import numpy as np
from PIL import Image, ImageDraw, ImageFont

MARGIN = 12
INK, PAPER = (32, 32, 32), (255, 255, 255)


def labelled_row(pictures, height):
    """Lay pictures side by side at one height, a caption under each.

    Args:
      pictures: list of (caption, float32 H × W × 3, RGB, 0–255); a caption may have two lines.
      height: height of each picture in the result, in pixels.

    Returns:
      float32 H × W × 3, RGB, 0–255.
    """
    font = _font(max(12, height // 22))
    line = sum(font.getmetrics())
    lines = max(caption.count("\n") + 1 for caption, _ in pictures)
    scaled = [(caption, _at_height(picture, height)) for caption, picture in pictures]
    width = sum(picture.width + MARGIN for _, picture in scaled) + MARGIN
    sheet = Image.new("RGB", (width, height + lines * line + 3 * MARGIN), PAPER)
    draw = ImageDraw.Draw(sheet)
    left = MARGIN
    for caption, picture in scaled:
        sheet.paste(picture, (left, MARGIN))
        draw.multiline_text(
            (left + picture.width // 2, height + 2 * MARGIN),
            caption,
            font=font,
            fill=INK,
            anchor="ma",
            align="center",
        )
        left += picture.width + MARGIN
    return np.asarray(sheet, np.float32)


def _font(size):
    """DejaVu Sans, which matplotlib carries: Pillow's own font has no λ."""
    path = Path(matplotlib.get_data_path(), "fonts", "ttf", "DejaVuSans.ttf")
    return ImageFont.truetype(str(path), size)


def _at_height(picture, height):
    eight_bits = np.clip(np.rint(picture), 0, 255).astype(np.uint8)
    width = max(1, round(picture.shape[1] * height / picture.shape[0]))
    return Image.fromarray(eight_bits).resize((width, height), Image.Resampling.LANCZOS)
