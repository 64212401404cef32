"""Lists of pairs and folders of surveys, without a browser."""

import contextlib
import json
import re
from pathlib import Path

import numpy as np
import pytest
from helpers.disk import limited_file_size
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image, PngImagePlugin

from gatys_norm.images import io as picture_io
from gatys_norm.survey import answers
from gatys_norm.survey import model as survey_model
from gatys_norm.survey.model import Pair, PictureFiles, SurveyError

HEADER = "item,row,column,a,b"


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


def level_of(folder, token):
    picture = picture_io.load_picture(folder / "page" / "pictures" / f"{token}.png")
    assert len(np.unique(picture)) == 1
    return int(picture[0, 0, 0])


def page_of(folder):
    """What the page's script is given."""
    text = survey_model.page_path(folder).read_text()
    found = re.search(r'<script type="application/json" id="survey">(.*?)</script>', text, re.S)
    return json.loads(found[1])


# --- lists of pairs ----------------------------------------------------------------------------


def test_a_list_is_read_as_it_was_written(tmp_path, pairs):
    path = tmp_path / "lists" / "pairs.csv"
    path.parent.mkdir()
    path.write_bytes(survey_model.list_pairs(pairs, path.parent))
    assert "../run/original-0.png" in path.read_text()
    read = survey_model.load_pairs(path)
    assert [pair[:3] + pair[6:] for pair in read] == [pair[:3] + pair[6:] for pair in pairs]
    for name in ("a", "b", "style"):
        files = [[getattr(pair, name).resolve() for pair in each] for each in (read, pairs)]
        assert files[0] == files[1]


def test_a_list_is_relative_to_its_folder_and_needs_only_five_columns(tmp_path):
    path = tmp_path / "pairs.csv"
    path.write_text(f"\ufeff{HEADER}\r\nhouses,one, left ,x/a.jpg,/b.jpg\r\n\r\n")
    assert survey_model.load_pairs(path) == [
        PictureFiles("houses", "one", "left", tmp_path / "x/a.jpg", Path("/b.jpg"))
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "first line must name the columns item,row,column,a,b"),
        ("item,row,column,a\n", "first line must name"),
        (f"{HEADER},b\n", "first line must name"),
        (f"{HEADER},loss\n", "first line must name"),
        (f"{HEADER}\n", "no pair to rate"),
        (f"{HEADER},use\ni,r,c,a,b,example\n", "no pair to rate"),
        (f"{HEADER}\ni,r,c,a\n", "line 2: 5 values are needed, not 4"),
        (f"{HEADER}\ni,r,c,a,b,c\n", "line 2: 5 values are needed, not 6"),
        (f"{HEADER}\ni,r, ,a,b\n", "line 2: column must have 1 to 200 characters"),
        (f"{HEADER}\ni,{'r' * 201},c,a,b\n", "line 2: row must have 1 to 200 characters"),
        (f"{HEADER}\ni,r,c,,b\n", "line 2: a must be the path of a picture"),
        (f"{HEADER}\ni,r,c,a,b\ni,r,c,d,e\n", "line 3: the same item, row and column as in"),
        (f"{HEADER},use\ni,r,c,a,b,rated\n", "line 2: use must be rate or example, not 'rated'"),
        (f'{HEADER}\ni,r,"c,a,b\n', "not CSV"),
        (b"\xff\xfe", "not text in UTF-8"),
        (HEADER + "\n" + "".join(f"i,r,{n},a,b\n" for n in range(1001)), "at most 1000 pairs"),
        ("x" * (survey_model.BYTE_LIMIT + 1), "larger than 4,194,304 bytes"),
    ],
)
def test_a_list_that_cannot_be_used_is_named_with_its_line(tmp_path, text, message):
    path = tmp_path / "pairs.csv"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(SurveyError, match=re.escape(message)) as refused:
        survey_model.load_pairs(path)
    assert str(refused.value).startswith(str(path))
    assert "\n" not in str(refused.value)


def test_a_list_that_is_not_there(tmp_path):
    with pytest.raises(SurveyError, match="cannot be read"):
        survey_model.load_pairs(tmp_path)


@given(data=st.binary(max_size=200))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_bytes_are_read_or_refused(tmp_path, data):
    path = tmp_path / "pairs.csv"
    path.write_bytes(HEADER.encode() + b"\ni,r,c,a,b\n" + data)
    with contextlib.suppress(SurveyError):
        assert survey_model.load_pairs(path)


# --- building ----------------------------------------------------------------------------------


def test_every_picture_is_there_under_its_name(tmp_path, pairs):
    folder = tmp_path / "survey"
    built = survey_model.build(folder, pairs, ("original loss", "normalized loss"))
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
    built = survey_model.build(folder, pairs, show_seconds=2, score_seconds=0.5)
    page = page_of(folder)
    assert page["survey"] == built.identity
    assert page["seconds"] == {"show": 2, "score": 0.5}
    assert page["columns"] == list(answers.COLUMNS)
    assert set(map(frozenset, page["pairs"])) == set(built.by_pictures)
    text = survey_model.page_path(folder).read_text()
    assert re.search(r'<img[^>]*width="20"[^>]*height="16"', text)


def test_nothing_handed_out_says_which_is_which(tmp_path, pairs):
    folder = tmp_path / "survey"
    survey_model.build(folder, pairs, ("original loss", "normalized loss"))
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
        built = survey_model.build(folder, pairs)
        by_token = {pair.a: (place, "a") for place, pair in enumerate(built.pairs)}
        by_token |= {pair.b: (place, "b") for place, pair in enumerate(built.pairs)}
        listed = page_of(folder)["pairs"]
        first_is_a += [by_token[pair[0]][1] == "a" for pair in listed]
        orders.add(tuple(by_token[pair[0]][0] for pair in listed))
    assert {True, False} == set(first_is_a)
    assert 2 < sum(first_is_a) < 34  # 36 throws of a coin: fails once in 10^8
    assert len(orders) > 1


def test_the_reproduction_is_remembered_relative_to_the_survey(tmp_path, pairs):
    built = survey_model.build(tmp_path / "a" / "survey", pairs, run=tmp_path / "run")
    assert built.run == "../../run"
    assert survey_model.build(tmp_path / "other", pairs).run is None


@pytest.mark.parametrize("name", ["show_seconds", "score_seconds"])
@pytest.mark.parametrize("seconds", [0, -1, float("nan"), float("inf"), 1000])
def test_times_out_of_range_are_refused(tmp_path, pairs, name, seconds):
    with pytest.raises(SurveyError, match=f"{name}: must be 0.05 to 600"):
        survey_model.build(tmp_path / "survey", pairs, **{name: seconds})
    assert not (tmp_path / "survey").exists()


def test_an_older_survey_is_never_touched(tmp_path, pairs):
    folder = tmp_path / "survey"
    built = survey_model.build(folder, pairs)
    with pytest.raises(SurveyError, match="is not empty"):
        survey_model.build(folder, pairs)
    assert survey_model.load(folder) == built


def test_an_empty_folder_is_used_and_a_file_refused(tmp_path, pairs):
    folder = tmp_path / "survey"
    folder.mkdir()
    survey_model.build(folder, pairs)
    assert survey_model.load(folder).pairs
    file = tmp_path / "file"
    file.touch()
    with pytest.raises(SurveyError, match="cannot be used as a folder"):
        survey_model.build(file, pairs)


def test_a_picture_that_cannot_be_used_leaves_nothing_behind(tmp_path, pairs):
    before = sorted(tmp_path.rglob("*"))
    pairs[2].b.write_bytes(b"no picture")
    with pytest.raises(picture_io.PictureError, match=r"normalized-2\.png"):
        survey_model.build(tmp_path / "survey", pairs)
    assert sorted(tmp_path.rglob("*")) == before


def test_a_full_disk_leaves_nothing_behind(tmp_path, pairs):
    before = sorted(tmp_path.rglob("*"))
    with limited_file_size(200), pytest.raises(OSError, match="too large"):
        survey_model.build(tmp_path / "survey", pairs)
    assert sorted(tmp_path.rglob("*")) == before


# --- survey.json -------------------------------------------------------------------------------


def test_a_folder_without_a_survey_is_refused(tmp_path):
    with pytest.raises(SurveyError, match="holds no survey"):
        survey_model.load(tmp_path)


@pytest.mark.parametrize(
    "damage",
    [
        lambda facts: [],
        lambda facts: facts | {"survey": "../../etc"},
        lambda facts: facts | {"survey": 7},
        lambda facts: facts | {"names": ["A"]},
        lambda facts: facts | {"names": ["A", 3]},
        lambda facts: facts | {"run": 3},
        lambda facts: facts | {"pairs": []},
        lambda facts: facts | {"pairs": [facts["pairs"][0], facts["pairs"][0]]},
        lambda facts: facts | {"pairs": [facts["pairs"][0] | {"a": "../secret"}]},
        lambda facts: facts | {"pairs": [facts["pairs"][0] | {"row": None}]},
        lambda facts: facts | {"pairs": [facts["pairs"][0] | {"more": "x"}]},
        lambda facts: {name: facts[name] for name in ("survey", "names", "pairs")},
    ],
)
def test_a_damaged_survey_is_refused(tmp_path, pairs, damage):
    folder = tmp_path / "survey"
    survey_model.build(folder, pairs)
    path = survey_model.key_path(folder)
    path.write_text(json.dumps(damage(json.loads(path.read_text()))))
    with pytest.raises(SurveyError, match=r"survey\.json: damaged"):
        survey_model.load(folder)


@pytest.mark.parametrize("text", ["{", "[" * 100_000, "null", '"x"'])
def test_what_is_no_survey_is_refused(tmp_path, text):
    (tmp_path / "survey.json").write_text(text)
    with pytest.raises(SurveyError, match="damaged"):
        survey_model.load(tmp_path)


def test_pairs_are_found_by_their_pictures_in_either_order():
    pair = Pair("i", "r", "c", "0" * 16, "1" * 16)
    found = survey_model.Survey("0" * 32, ("A", "B"), (pair,), None).by_pictures
    assert found == {frozenset(("1" * 16, "0" * 16)): pair}
