"""The pictures of docs/film.md: the journey, the sheet, the animation."""

import dataclasses

import numpy as np
import pytest
from helpers.small_transfers import small_config
from PIL import Image

pytest.importorskip("av")
pytest.importorskip("cv2")

import film_gallery
import film_measures

from gatys_norm.cli import program
from gatys_norm.film.settings import FilmConfig
from gatys_norm.images import io as picture_io

COUNT = 3


@pytest.fixture
def journey(tmp_path):
    """Return a journey over a picture whose red grows to the right, and its green downward."""
    rows, columns = np.indices((60, 80)) * 3.0
    picture = np.stack([columns, rows, np.full((60, 80), 50.0)], axis=2)
    picture_io.save_picture(tmp_path / "picture.png", picture)
    return film_gallery.Journey(str(tmp_path / "picture.png"), 40, COUNT)


def test_the_camera_moves_over_the_picture_and_comes_nearer(journey):
    frames = [journey.frame(index).astype(float) for index in range(COUNT)]
    assert {frame.shape for frame in frames} == {(30, 40, 3)}
    left, _, width = film_gallery.FIRST_VIEW
    assert frames[0][..., 0].mean() == pytest.approx(3 * 80 * (left + width / 2), abs=3)
    reach = [np.ptp(frame[..., 0]) for frame in frames]
    assert reach == sorted(reach, reverse=True)
    assert reach[2] / reach[0] == pytest.approx(0.6 / 0.9, abs=0.05)


@pytest.mark.usefixtures("eagerly", "small_network")
def test_films_are_made_once_and_become_pictures(journey, tmp_path, monkeypatch):
    config = small_config(tmp_path, iterations=(1,), size=(40,))
    config = dataclasses.replace(config, content=str(tmp_path / "clip"))
    film = film_measures.Film(journey, FilmConfig(config, later_iterations=1).resolved())
    rows = film_gallery.frames_of(film, tmp_path / "films")
    assert [len(frames) for frames in rows.values()] == [COUNT] * 4
    monkeypatch.setattr(film_measures, "make", lambda *_: pytest.fail("it went to work"))
    film_gallery.frames_of(film, tmp_path / "films")
    sheet = film_gallery.sheet_of(rows)
    assert sheet.shape[1] > 3 * film_gallery.CELL_WIDTH


def test_differences_are_those_of_the_result_alone():
    frames = [np.full((32, 32, 3), 100, np.float32)] * COUNT
    flickering = [frame + 20 * (index % 2) for index, frame in enumerate(frames)]
    cells = []

    def keep(rows, columns, given, width):
        cells.extend(given)
        return np.zeros((1, 1, 3))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(film_gallery.contact_sheet, "labeled_grid", keep)
        film_gallery.sheet_of({"film": frames, "flickering": flickering})
    assert [np.unique(row[2]).tolist() for row in cells] == [[0.0], [80.0]]


def test_the_animation_runs_to_the_end_and_back(tmp_path):
    frames = [np.full((16, 16, 3), shade, np.float32) for shade in (0, 80, 160, 240)]
    pictures = [*film_gallery.animated(frames, frames)]
    assert [picture[0, 0, 0] for picture in pictures] == [0, 80, 160, 240, 160, 80]
    size = film_gallery.save_animation(tmp_path / "film.webp", pictures)
    assert size == (tmp_path / "film.webp").stat().st_size
    with Image.open(tmp_path / "film.webp") as animation:
        animation.seek(5)
        with pytest.raises(EOFError):
            animation.seek(6)
        assert animation.size == (32 + film_gallery.GAP, 16)
        assert animation.info["loop"] == 0


@pytest.mark.parametrize(
    ("flag", "words"),
    [
        ("--init=noise", "--init: is not taken here"),
        ("--frames=2", "flag --frames=2"),
        ("--output=/dev/null/a", "--output: "),
    ],
)
def test_bad_flags_end_in_one_line(monkeypatch, capsys, flag, words):
    argv = ["film_gallery.py", flag]
    assert program.call("", film_gallery.gallery, argv, film_gallery.define_flags) == 2
    printed = capsys.readouterr()
    assert words in printed.err
    assert printed.err.count("\n") == 1
