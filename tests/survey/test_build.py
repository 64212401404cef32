"""Folders of surveys as they are built, without a browser."""

import json
import re

import numpy as np
import pytest
from helpers.disk import limited_file_size

from gatys_norm.images import io as picture_io
from gatys_norm.survey import answers
from gatys_norm.survey import build as survey_build
from gatys_norm.survey import model as survey_model
from gatys_norm.survey.model import SurveyError


def level_of(folder, token):
    picture = picture_io.load_picture(folder / "page" / "pictures" / f"{token}.png")
    assert len(np.unique(picture)) == 1
    return int(picture[0, 0, 0])


def page_of(folder):
    """What the page's script is given."""
    text = survey_model.page_path(folder).read_text()
    match = re.search(r'<script type="application/json" id="survey">(.*?)</script>', text, re.S)
    return json.loads(match[1])


def test_every_picture_is_there_under_its_name(tmp_path, pairs):
    folder = tmp_path / "survey"
    built = survey_build.build(folder, pairs, ("original loss", "normalized loss"))
    assert survey_model.load(folder) == built
    assert built.names == ("original loss", "normalized loss")
    rated = [
        (pair.column, level_of(folder, pair.a), level_of(folder, pair.b)) for pair in built.pairs
    ]
    assert rated == [(f"λ_os = {number}", 2 * number, 2 * number + 1) for number in range(3)]
    shown = {path.stem for path in (folder / "page" / "pictures").iterdir()}
    others = shown - {token for pair in built.pairs for token in (pair.a, pair.b)}
    assert sorted(level_of(folder, token) for token in others) == [6, 200]  # example's A, style
    assert list((folder / "answers").iterdir()) == []


def test_the_page_gets_pairs_times_and_columns(tmp_path, pairs):
    folder = tmp_path / "survey"
    built = survey_build.build(folder, pairs, show_seconds=2, score_seconds=0.5)
    page = page_of(folder)
    assert page["survey"] == built.identity
    assert page["seconds"] == {"show": 2, "score": 0.5}
    assert page["columns"] == list(answers.COLUMNS)
    assert set(map(frozenset, page["pairs"])) == set(built.by_pictures)
    text = survey_model.page_path(folder).read_text()
    assert re.search(r'<img[^>]*width="20"[^>]*height="16"', text)


def test_nothing_handed_out_says_which_is_which(tmp_path, pairs):
    folder = tmp_path / "survey"
    survey_build.build(folder, pairs, ("original loss", "normalized loss"))
    handed_out = [path for path in (folder / "page").rglob("*") if path.is_file()]
    assert len(handed_out) == 1 + 2 * 3 + 2
    for path in handed_out:
        assert path.name == "index.html" or re.fullmatch(r"[0-9a-f]{16}\.png", path.name)
        for secret in ("original", "normalized", "λ_os", "2(a)", "town", str(tmp_path)):
            assert secret.encode() not in path.read_bytes(), path
    assert (folder / "survey.json").stat().st_mtime_ns >= max(
        path.stat().st_mtime_ns for path in handed_out
    )


def test_order_and_names_in_the_page_are_those_of_chance(tmp_path, pairs):
    first_is_a, orders = [], set()
    for number in range(12):
        folder = tmp_path / f"survey-{number}"
        built = survey_build.build(folder, pairs)
        by_token = {pair.a: (place, "a") for place, pair in enumerate(built.pairs)}
        by_token |= {pair.b: (place, "b") for place, pair in enumerate(built.pairs)}
        listed = page_of(folder)["pairs"]
        first_is_a += [by_token[pair[0]][1] == "a" for pair in listed]
        orders.add(tuple(by_token[pair[0]][0] for pair in listed))
    assert {True, False} == set(first_is_a)
    assert 2 < sum(first_is_a) < 34  # 36 throws of a coin: fails once in 10^8
    assert len(orders) > 1


def test_the_reproduction_is_remembered_relative_to_the_survey(tmp_path, pairs):
    built = survey_build.build(tmp_path / "a" / "survey", pairs, run=tmp_path / "run")
    assert built.run == "../../run"
    assert survey_build.build(tmp_path / "other", pairs).run is None


@pytest.mark.parametrize("name", ["show_seconds", "score_seconds"])
@pytest.mark.parametrize("seconds", [0, -1, float("nan"), float("inf"), 1000])
def test_times_out_of_range_are_refused(tmp_path, pairs, name, seconds):
    with pytest.raises(SurveyError, match=f"{name}: must be 0.05 to 600"):
        survey_build.build(tmp_path / "survey", pairs, **{name: seconds})
    assert not (tmp_path / "survey").exists()


def test_an_older_survey_is_never_touched(tmp_path, pairs):
    folder = tmp_path / "survey"
    built = survey_build.build(folder, pairs)
    with pytest.raises(SurveyError, match="is not empty"):
        survey_build.build(folder, pairs)
    assert survey_model.load(folder) == built


def test_an_empty_folder_is_used_and_a_file_refused(tmp_path, pairs):
    folder = tmp_path / "survey"
    folder.mkdir()
    survey_build.build(folder, pairs)
    assert survey_model.load(folder).pairs
    file = tmp_path / "file"
    file.touch()
    with pytest.raises(SurveyError, match="cannot be used as a folder"):
        survey_build.build(file, pairs)


def test_a_picture_that_cannot_be_used_leaves_nothing_behind(tmp_path, pairs):
    before = sorted(tmp_path.rglob("*"))
    pairs[2].b.write_bytes(b"no picture")
    with pytest.raises(picture_io.PictureError, match=r"normalized-2\.png"):
        survey_build.build(tmp_path / "survey", pairs)
    assert sorted(tmp_path.rglob("*")) == before


def test_a_full_disk_leaves_nothing_behind(tmp_path, pairs):
    before = sorted(tmp_path.rglob("*"))
    with limited_file_size(200), pytest.raises(OSError, match="too large"):
        survey_build.build(tmp_path / "survey", pairs)
    assert sorted(tmp_path.rglob("*")) == before
