"""Surveys and answers with known scores, and their Table 1."""

import dataclasses
import itertools

from gatys_norm.survey import statistics as survey_statistics
from gatys_norm.survey.answers import Answer
from gatys_norm.survey.model import Pair, Survey

NAMES = ("original", "normalized")


def survey_of(names=NAMES, **items):
    """A survey of {item: {row: columns}}; its pictures are "0" (A) and "1" (B), "2" and "3", …"""
    numbers = map(str, itertools.count())
    pairs = tuple(
        Pair(item.replace("_", " "), row, column, next(numbers), next(numbers))
        for item, rows in items.items()
        for row, columns in rows.items()
        for column in columns
    )
    return Survey("f" * 32, names, pairs, None)


def with_items(survey, *items):
    """The same survey with other names for its items."""
    old = dict.fromkeys(pair.item for pair in survey.pairs)
    new = dict(zip(old, items, strict=True))
    pairs = tuple(pair._replace(item=new[pair.item]) for pair in survey.pairs)
    return Survey(survey.identity, survey.names, pairs, None)


def answered(survey, *viewers):
    """Answers of viewers, each given as [(score of A, score of B) or None if not reached, …]."""
    return [
        Answer(f"{viewer:032x}", number, pair.a, pair.b, *scores, 1)
        for viewer, scores_of_pairs in enumerate(viewers)
        for number, (pair, scores) in enumerate(
            zip(survey.pairs, scores_of_pairs, strict=True), start=1
        )
        if scores is not None
    ]


def answered_with_gaps():
    """A survey of three pairs, and answers of three viewers that miss scores and repeat pairs."""
    survey = survey_of(item={"row": ("1", "2", "3")})
    answers = answered(
        survey,
        [(1, None), (None, None), (3, 3)],
        [(1, 1), None, None],
        [None, (5, 5), None],
    )
    answers[0] = dataclasses.replace(answers[0], showings=3)
    answers[3] = dataclasses.replace(answers[3], showings=2)
    return survey, answers


def tabulated(survey, *viewers):
    return survey_statistics.tabulate(survey, answered(survey, *viewers))


def differing(*viewers):
    """The comparison of one item, of viewers given by their differences in each pair."""
    survey = survey_of(item={"row": tuple(map(str, range(len(viewers[0]))))})
    scores = [[(3, 3 + difference) for difference in differences] for differences in viewers]
    return tabulated(survey, *scores).items[0].comparison


def times(count, score):
    """The same score, so many times."""
    return [score] * count
