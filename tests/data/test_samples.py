"""The sample pictures: what lies in `data/` is what `draw.py` draws and `README.md` describes."""

import draw
import numpy as np
import pytest
from PIL import Image

from gatys_norm.cli import study

STYLES = (*study.STYLES, "bright_dots", "carved_lines", "leaded_glass")
LARGEST = 300_000  # bytes


def pixels(name):
    with Image.open(draw.DATA / f"{name}.jpg") as picture:
        return np.asarray(picture.convert("RGB")) / 255


def test_every_picture_is_there_described_and_small():
    words = (draw.DATA / "README.md").read_text(encoding="utf-8")
    assert {path.stem for path in draw.DATA.glob("*.jpg")} == set(draw.PICTURES)
    for name in draw.PICTURES:
        assert f"`{name}.jpg`" in words
        assert (draw.DATA / f"{name}.jpg").stat().st_size <= LARGEST
    assert set(STYLES) < set(draw.PICTURES)


@pytest.mark.parametrize("name", ["bright_dots", "carved_lines", "leaded_glass", "kitchen_table"])
def test_sizes_are_those_of_the_first_samples(name):
    height, width, _ = pixels(name).shape
    assert (width, height) in {(512, 384), (400, 512)}


def test_the_new_styles_are_of_other_manners_than_the_first():
    """Contrast, color and detail: one of each new picture is unlike all of the first."""
    contrast, color, detail = {}, {}, {}
    for name in STYLES:
        picture = pixels(name)
        grey = picture.mean(axis=2)
        contrast[name], color[name] = grey.std(), np.ptp(picture, axis=2).mean()
        detail[name] = np.abs(np.diff(grey, axis=1)).mean() / grey.std()
    assert contrast["carved_lines"] > 1.5 * max(contrast[name] for name in study.STYLES)
    assert color["carved_lines"] < min(color[name] for name in study.STYLES)
    colored = [name for name in STYLES if color[name] > 0.3]
    assert sorted(colored, key=detail.get) == ["leaded_glass", "bright_dots", "flowing_strokes"]
    assert detail["leaded_glass"] < detail["bright_dots"] / 2
    assert pixels("bright_dots").mean() > pixels("flowing_strokes").mean() + 0.15


def test_no_default_takes_the_new_ones():
    assert study.STYLES == ("flowing_strokes", "angular_planes", "soft_washes")
    assert study.CONTENT == "river_town"
