"""Lists of pairs: what they may hold, and how a bad line is named."""

import contextlib
import re
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gatys_norm.survey import model as survey_model
from gatys_norm.survey import pairs as survey_pairs
from gatys_norm.survey.model import SurveyError
from gatys_norm.survey.pairs import PictureFiles

HEADER = "item,row,column,a,b"


def test_a_list_is_read_as_it_was_written(tmp_path, pairs):
    path = tmp_path / "lists" / "pairs.csv"
    path.parent.mkdir()
    path.write_bytes(survey_pairs.as_csv(pairs, path.parent))
    assert "../run/original-0.png" in path.read_text()
    read = survey_pairs.load(path)
    assert [pair[:3] + pair[6:] for pair in read] == [pair[:3] + pair[6:] for pair in pairs]
    for name in ("a", "b", "style"):
        files = [[getattr(pair, name).resolve() for pair in listed] for listed in (read, pairs)]
        assert files[0] == files[1]


def test_a_list_is_relative_to_its_folder_and_needs_only_five_columns(tmp_path):
    path = tmp_path / "pairs.csv"
    path.write_text(f"\ufeff{HEADER}\r\nhouses,one, left ,x/a.jpg,/b.jpg\r\n\r\n")
    assert survey_pairs.load(path) == [
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
        survey_pairs.load(path)
    assert str(refused.value).startswith(str(path))
    assert "\n" not in str(refused.value)


def test_a_list_that_is_not_there(tmp_path):
    with pytest.raises(SurveyError, match="cannot be read"):
        survey_pairs.load(tmp_path)


@given(data=st.binary(max_size=200))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_bytes_are_read_or_refused(tmp_path, data):
    path = tmp_path / "pairs.csv"
    path.write_bytes(HEADER.encode() + b"\ni,r,c,a,b\n" + data)
    with contextlib.suppress(SurveyError):
        assert survey_pairs.load(path)
