"""Pictures of pairs that the tests of surveys share."""

import pytest
from PIL import Image, PngImagePlugin

from gatys_norm.survey.pairs import PictureFiles


def paint(path, level, size=(20, 16)):
    """Write a grey PNG that says in its metadata what it is."""
    path.parent.mkdir(parents=True, exist_ok=True)
    text = PngImagePlugin.PngInfo()
    text.add_text("config", "normalized loss")
    Image.new("RGB", size, (level, level, level)).save(path, "PNG", pnginfo=text)
    return path


@pytest.fixture
def pairs(tmp_path):
    """Three pairs to rate and one example, of pictures that are told apart by their grey level."""
    style = paint(tmp_path / "run" / "style.png", 200)
    return [
        PictureFiles(
            "2(a) / 6(a)",
            "town",
            f"λ_os = {number}",
            paint(tmp_path / "run" / f"original-{number}.png", 2 * number),
            paint(tmp_path / "run" / f"normalized-{number}.png", 2 * number + 1, (24, 16)),
            style,
            "example" if number == 3 else "rate",
        )
        for number in range(4)
    ]
