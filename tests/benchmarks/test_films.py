"""The benchmark of films as a program, its measures, and what its tables say."""

import clips
import numpy as np
import pytest
import report as benchmark_report
from helpers.benchmarks import assert_page_has_markers, assert_refused
from helpers.small_transfers import small_config

pytest.importorskip("av")
pytest.importorskip("cv2")

import film_measures
import films

from gatys_norm import transfer
from gatys_norm.losses import objective

SIDE, COUNT = 32, 3


@pytest.mark.parametrize("kind", benchmark_report.KINDS)
def test_the_page_of_the_tables_has_its_markers(kind):
    assert_page_has_markers(films, kind)


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--style=a.png"], "--style: is not taken here; see --styles"),
        (["--content=a.png"], "--content: is not taken here; the films are drawn"),
        (["--init=noise"], "--init: is not taken here"),
        (["--styles="], "--styles: is needed"),
        (["--clips=cut"], "--clips: cut: must be of pan, zoom, rotation, passing"),
        (["--sizes=32,128"], "--size, --sizes: must be 64 or more"),
        (["--size=48"], "--size, --sizes: must be 64 or more"),
        (["--sizes=x"], "--sizes: must be whole numbers"),
        (["--frames=2"], "flag --frames=2"),
        (["--output=out.txt"], "--output: out.txt: must end in .json"),
    ],
)
def test_bad_flags_end_in_one_line(monkeypatch, capsys, flags, words):
    assert_refused(monkeypatch, capsys, films, flags, words)


@pytest.fixture
def settings(tmp_path):
    """Settings of all films, of three small frames each."""
    config = small_config(tmp_path, iterations=(2,), size=(SIDE,))
    styles = (config.style[0],)
    return films.Settings(config, ("pan",), styles, (SIDE,), COUNT, COUNT, 1)


@pytest.mark.slow
@pytest.mark.usefixtures("eagerly", "small_network")
def test_films_leave_their_facts_and_are_not_made_twice(settings, tmp_path, monkeypatch):
    monkeypatch.setattr(films, "RETURN_COUNT", COUNT)
    monkeypatch.setattr(films, "RETURN_DISTANCES", (1, 2))
    returning = clips.returning
    monkeypatch.setattr(clips, "returning", lambda *size: returning(*size, away=range(1, 2)))
    measured = films.measure(settings, tmp_path / "films")
    monkeypatch.setattr(transfer, "Transfer", lambda *_: pytest.fail("it went to work"))
    monkeypatch.setattr(film_measures, "make", lambda *_: pytest.fail("it went to work"))
    assert films.measure(settings, tmp_path / "films") == measured
    film = measured["steady"][0]["made"]["film"]
    assert len(film["evaluations"]) == COUNT
    assert 0 < film["flow_share"] < 1
    assert set(measured["returning"]) == {"1", "1,2"}
    assert set(measured["equal"]) == {"0", "1"}
    assert [(facts["loss"], facts["made"]) for facts in measured["fade"]] == [
        ("normalized", "film"),
        ("normalized", "frames alone"),
        ("original", "film"),
        ("original", "frames alone"),
    ]
    monkeypatch.setattr(benchmark_report, "machine_line", lambda _: "a machine")
    plain = settings._asdict() | {"config": settings.config.as_dict()}
    tables = films.tables({"machine": {}, "settings": plain, **measured})
    assert "| pan | 0.0" in tables
    assert "in the film of size 32 with the first style" in tables


@pytest.mark.usefixtures("eagerly", "small_network")
def test_a_film_that_was_stopped_is_continued(settings, tmp_path, monkeypatch):
    from gatys_norm.film import run

    film = films.film_of(settings, tmp_path, "pan", COUNT)
    film_measures.drawn(film)
    output = film_measures.output_of(film, tmp_path)
    run.FilmRun(film.config).run(output, on_progress=lambda progress: progress.frame == 2)
    run_folder_record = output.with_name(f"{output.name}.json")
    run_folder_record.unlink()  # as if it had been killed
    resumed = []
    resume = run.FilmRun.resume
    monkeypatch.setattr(run.FilmRun, "resume", lambda *given: resumed.append(1) or resume(*given))
    _, frames = film_measures.made(film, tmp_path)
    assert (len(frames), resumed) == (COUNT, [1])


@pytest.mark.usefixtures("eagerly", "small_network")
def test_weights_of_both_kinds_give_the_first_film_the_same_coefficient(
    settings, tmp_path, monkeypatch
):
    """About: the energy of the moved frames is estimated from the frames."""
    seen = {True: [], False: []}
    build = objective.build_objective

    def spy(*given):
        posed = build(*given)
        seen[is_relative].append(posed.coefficients["temporal/1"])
        return posed

    from gatys_norm import stages

    monkeypatch.setattr(stages, "build_objective", spy)
    is_relative = True
    film = films.film_of(settings, tmp_path, "pan", COUNT)
    weight = film_measures.peer_weight(film, tmp_path)
    is_relative = False
    other = films.film_of(
        settings, tmp_path, "pan", COUNT, is_relative=False, film={"temporal_weight": weight}
    )
    assert film_measures.output_of(other, tmp_path) != film_measures.output_of(film, tmp_path)
    film_measures.made(other, tmp_path)
    assert seen[False][0] == 0
    assert seen[False][1:] == pytest.approx(seen[True][1:], rel=0.1)
    assert seen[False][1:] == pytest.approx([weight / SIDE**2] * 2)


def test_frames_of_the_clip_itself_have_its_own_error_and_other_frames_more(settings, tmp_path):
    film = films.film_of(settings, tmp_path, "passing", COUNT)
    frames = film_measures.drawn(film)
    error = film_measures.mean_warping_error(film.clip, frames)
    assert 0 < error < 0.01
    unsteady = [frame + 30 * (-1) ** index for index, frame in enumerate(frames)]
    assert film_measures.mean_warping_error(film.clip, unsteady) > error + (50 / 255) ** 2


def test_disc_that_comes_back_with_another_color_has_an_error_of_its_own(settings, tmp_path):
    film = films.film_of(settings, tmp_path, "returning", 21)
    frames, last = film_measures.drawn(film), 20
    frames[last] = frames[last] + 51.0
    assert film_measures.error_on_disc(film.clip, frames, last, 5) == pytest.approx(0.04, rel=0.2)
    assert film_measures.error_on_disc(film.clip, frames, 4, 3) < 0.01
    assert np.isnan(film_measures.error_on_disc(film.clip, frames, 12, 11))


def test_grain_is_noise_of_its_own_in_each_frame(settings, tmp_path):
    same, grainy = (
        film_measures.drawn(films.film_of(settings, tmp_path, "still", COUNT, grain=grain))
        for grain in (0, 1)
    )
    assert np.ptp(same, axis=0).max() == 0
    assert set(np.unique(np.subtract(grainy, same))) == {-1, 0, 1}


def test_goals_that_are_missed_are_named():
    assert films.verdict(0.2, 0.25) == "0.2 (goal: at most 0.25, met)"
    assert films.verdict(0.3, 0.25) == "0.3 (goal: at most 0.25, not met)"


def test_range_of_a_fade_is_compared_with_that_of_the_original_loss():
    fade = [
        {"loss": loss, "made": made, "content_distances": [0.5, 0.5 + reach]}
        for loss, made, reach in (
            ("normalized", "film", 0.1),
            ("normalized", "frames alone", 0.03),
            ("original", "film", 0.125),
            ("original", "frames alone", 0.3),
        )
    ]
    _, words = films.fade_table({"fade": fade})
    assert "of the film: 0.8 (goal: at most 0.5, not met)" in words
    assert "of frames alone: 0.1 (goal: at most 0.5, met)" in words


def test_sizes_are_compared_with_each_other_and_styles_too():
    def row(size, style, relative, per_pixel):
        facts = {"size": size, "style": style, "relative": 2 * size, "per pixel": 1}
        reliable = {"where reliable, relative": relative, "where reliable, per pixel": per_pixel}
        return facts | reliable | {"reflection, relative": 0.9, "reflection, per pixel": 0.9}

    rows = [row(64, "waves", 3, 3), row(128, "waves", 3.3, 9), row(64, "planes", 4.5, 12)]
    part = {"weight per pixel": 0.5, "films": rows}
    report = {"settings": {"config": {"size": [64]}}, "weights_over_sizes_and_styles": part}
    table, words = films.weights_table(report)
    assert "| 128 | waves | 3.30 | 9.00 | 256.00 | 1.00 | 0.900 | 0.900 |" in table
    assert "over sizes 1.1 (goal: at most 1.2, met) against 3; over all 1.5 against 4." in words
    assert "over sizes 2 (goal: at most 1.2, not met) against 1;" in words
