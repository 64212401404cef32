"""Folders of frames as films."""

from fractions import Fraction

import numpy as np
import pytest
from helpers.films import quarters
from PIL import Image

pytest.importorskip("av")

from gatys_norm.film import folder, source
from gatys_norm.film.model import FilmError

RATE = Fraction(30000, 1001)


def write_frames(path, names, shapes=((48, 64),)):
    """Write a frame for each name; shapes are repeated."""
    path.mkdir(exist_ok=True)
    for index, name in enumerate(names):
        Image.fromarray(quarters(*shapes[index % len(shapes)], shade=index)).save(path / name)
    return path


def refusal(path):
    """Return the message with which a folder is refused."""
    with pytest.raises(FilmError) as caught:
        folder.inspect(path, RATE)
    message = str(caught.value)
    assert "\n" not in message
    return message


def test_frames_and_facts(tmp_path):
    path = write_frames(tmp_path / "frames", ["f8.png", "f9.png", "f10.png"])
    (path / "notes.txt").write_text("no frame")
    (path / ".f11.png").write_text("hidden")
    facts = source.inspect(path, RATE)
    assert (facts.height, facts.width, facts.frame_count) == (48, 64, 3)
    assert facts.frame_rate == RATE
    frames = list(source.read(path, RATE))
    assert [frame.time for frame in frames] == [index / RATE for index in range(3)]
    assert [int(frame.pixels[0, 0, 0]) for frame in frames] == [255, 254, 253]
    assert frames[0].pixels.dtype == np.uint8


def test_missing_number(tmp_path):
    path = write_frames(tmp_path / "frames", ["1.png", "2.png", "4.png", "999999999999.png"])
    assert refusal(path) == f"{path}: frame 3 is missing; expected all of 1 to 999999999999"


def test_number_twice(tmp_path):
    path = write_frames(tmp_path / "frames", ["1.png", "01.png"])
    assert "several frames have the same number" in refusal(path)


def test_frames_of_several_films(tmp_path):
    path = write_frames(tmp_path / "frames", ["a1.png", "b2.png"])
    assert refusal(path) == f"{path}: has frames of several films, a… and b…; expected one"


def test_no_frames(tmp_path):
    path = write_frames(tmp_path / "frames", ["a.png"])
    assert "has no frames; expected PNG files such as 0001.png" in refusal(path)
    assert "No such file or directory" in refusal(tmp_path / "nowhere")


def test_different_sizes(tmp_path):
    path = write_frames(tmp_path / "frames", ["1.png", "2.png"], shapes=((48, 64), (48, 66)))
    assert refusal(path) == f"{path / '2.png'}: has 66×48 pixels; expected 64×48, as 1.png"


def test_damaged_frame(tmp_path):
    path = write_frames(tmp_path / "frames", ["1.png", "2.png"])
    data = (path / "2.png").read_bytes()
    (path / "2.png").write_bytes(data[: len(data) // 2])
    with pytest.raises(FilmError, match=r"2\.png: damaged or cut short"):
        list(folder.read(path, RATE))
    (path / "1.png").write_bytes(b"no picture")
    assert "its content is no picture this program knows" in refusal(path)
