"""Files and folders that a flag names: which pictures they stand for, and what is refused."""

import os
import warnings
from pathlib import Path

import numpy as np
import pytest

from gatys_norm.cli import errors
from gatys_norm.cli import pictures as picture_files
from gatys_norm.images import io as picture_io


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """Run in a folder with a.png, and shelf/ with b.png, c.png, a hidden file and a folder."""
    monkeypatch.chdir(tmp_path)
    Path("shelf/inner").mkdir(parents=True)
    Path("shelf/.hidden.png").write_bytes(b"hidden")
    for name in ("a", "shelf/c", "shelf/b"):
        picture_io.save_picture(f"{name}.png", np.zeros((16, 16, 3)))
    return tmp_path


def read(*paths, reader=picture_io.load_picture):
    return list(picture_files.readable("style", picture_files.listed("style", paths), reader))


def test_a_folder_stands_for_its_files_in_order():
    assert read("shelf", "a.png") == ["shelf/b.png", "shelf/c.png", "a.png"]


def test_a_file_is_taken_once_and_counts_as_named_if_it_is():
    for paths in (("shelf", "shelf/c.png"), ("shelf/c.png", "shelf", "shelf")):
        files = picture_files.listed("style", paths)
        assert files == {"shelf/b.png": "shelf", "shelf/c.png": None}


@pytest.mark.parametrize("reader", [picture_io.read_size, picture_io.load_picture])
@pytest.mark.parametrize("kind", ["text", "empty", "pipe"])
def test_a_file_that_is_no_picture_is_named_and_left_out(reader, kind):
    bad = Path("shelf/bad.png")
    if kind == "pipe":
        os.mkfifo(bad)
    else:
        bad.write_text("no picture" if kind == "text" else "")
    with pytest.warns(UserWarning, match=r"^style: shelf/bad\.png: .*; left out$") as caught:
        assert read("shelf", reader=reader) == ["shelf/b.png", "shelf/c.png"]
    assert len(caught) == 1
    for paths in (("shelf/bad.png",), ("shelf", "shelf/bad.png")):
        with pytest.raises(errors.InputError, match=r"^--style: shelf/bad\.png: "):
            read(*paths, reader=reader)


def test_a_picture_that_is_cut_short_is_seen_when_it_is_decoded():
    data = Path("a.png").read_bytes()
    Path("shelf/cut.png").write_bytes(data[: len(data) // 2])
    with pytest.warns(UserWarning, match=r"shelf/cut\.png: damaged"):
        assert len(read("shelf")) == 2


@pytest.mark.parametrize("content", [None, "no picture"])
def test_a_folder_without_pictures_is_refused_even_among_others(content):
    Path("without/inner").mkdir(parents=True)
    if content:
        Path("without/x.png").write_text(content)
    warnings.simplefilter("ignore")
    with pytest.raises(errors.InputError, match=r"^--style: without: there is no picture in this"):
        read("shelf", "without")


def test_a_folder_that_cannot_be_read_is_refused(monkeypatch):
    def listdir(_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(picture_files.os, "listdir", listdir)
    with pytest.raises(errors.InputError, match=r"^--style: .*Permission denied"):
        read("shelf")
