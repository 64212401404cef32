"""The benchmark of passes as a program, and its measure."""

import clips
import numpy as np
import pytest
import report as benchmark_report
from helpers.benchmarks import assert_page_has_markers, assert_refused
from helpers.small_transfers import small_config

pytest.importorskip("av")
pytest.importorskip("cv2")

import film_measures
import film_passes

SIDE, COUNT = 32, 3


@pytest.mark.parametrize("kind", benchmark_report.KINDS)
def test_the_page_of_the_tables_has_its_markers(kind):
    assert_page_has_markers(film_passes, kind)


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--init=noise"], "--init: is not taken here"),
        (["--frames=2"], "flag --frames=2"),
        (["--later_iterations=0"], "flag --later_iterations=0"),
        (["--output=out.txt"], "--output: out.txt: must end in .json"),
    ],
)
def test_bad_flags_end_in_one_line(monkeypatch, capsys, flags, words):
    assert_refused(monkeypatch, capsys, film_passes, flags, words)


@pytest.mark.usefixtures("eagerly", "small_network")
def test_films_leave_their_facts(tmp_path, monkeypatch):
    monkeypatch.setattr(film_passes, "MOST_PASSES", 2)
    config = small_config(tmp_path, iterations=(2,), size=(SIDE,))
    rows = film_passes.measure(config, COUNT, 1, tmp_path / "films")
    assert [(row["passes"], row["later_iterations"]) for row in rows] == [(1, 1), (2, 1), (1, 2)]
    assert len({row["error"] for row in rows}) == 3
    monkeypatch.setattr(benchmark_report, "machine_line", lambda _: "a machine")
    settings = {"config": config.as_dict(), "frames": COUNT}
    table = film_passes.tables({"machine": {}, "settings": settings, "films": rows})
    assert f"| 2 | 1 | {rows[1]['error']:.5f} |" in table


def test_error_of_new_pixels_is_that_of_what_has_just_come_into_sight():
    clip = clips.pan(64, COUNT)
    frames = [clip.frame(index).astype(float) for index in range(COUNT)]
    error = film_measures.error_of_new_pixels(clip, frames)
    frames[1][~clip.visible(1, 0)] += 51
    changed = film_measures.error_of_new_pixels(clip, frames)
    assert changed == pytest.approx(error + 0.04, rel=0.3)
    frames[1][clip.visible(1, 0)] = np.nan
    assert np.isfinite(film_measures.error_of_new_pixels(clip, np.nan_to_num(frames)))
