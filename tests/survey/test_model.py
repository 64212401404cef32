"""survey.json: what it may hold."""

import json

import pytest

from gatys_norm.survey import build as survey_build
from gatys_norm.survey import model as survey_model
from gatys_norm.survey.model import Pair, SurveyError


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
    survey_build.build(folder, pairs)
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
