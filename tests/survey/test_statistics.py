"""Table 1's numbers, against means, tests and agreement worked out by hand or otherwise."""

import itertools
import random
from fractions import Fraction

import pytest
import scipy.stats
from helpers.rounding import condition, gamma
from helpers.surveys import NAMES, answered, answered_with_gaps, differing, survey_of, tabulated

from gatys_norm.survey import statistics as survey_statistics
from gatys_norm.survey.answers import Answer


def nearly(value, roundings=4):
    """A number up to rounding: on either side a division and a root, or two divisions."""
    return pytest.approx(value, rel=gamma(roundings), abs=0)


# --- what is counted ---------------------------------------------------------------------------


def test_a_small_survey_by_hand():
    survey = survey_of(first={"town": ("l", "r"), "sea": ("l",)}, second={"town": ("l",)})
    table = tabulated(
        survey,
        [(1, 4), (2, 5), (3, None), (5, 5)],
        [(2, 4), (None, 5), (3, 4), None],
        [(4, 5), (3, 3), (3, 1), (4, 5)],
    )
    assert table.names == NAMES
    assert [item.name for item in table.items] == ["first", "second"]
    first, second = table.items
    assert first.columns == ("l", "r")
    assert [row.label for row in first.rows] == ["town", "sea"]
    town_a, town_b = first.rows[0].lines
    # 1, 2, 4: mean 7/3, deviations −4/3, −1/3, 5/3, squares 42/9, half of it 7/3
    assert town_a[0] == (nearly(7 / 3), nearly((7 / 3) ** 0.5), 3, 0)
    assert town_a[1] == (2.5, nearly(0.5**0.5), 2, 1)
    assert town_b[0] == (nearly(13 / 3), nearly((1 / 3) ** 0.5), 3, 0)
    sea_a, sea_b = first.rows[1].lines
    assert sea_a == ((3.0, 0.0, 3, 0), None)
    assert sea_b == ((2.5, nearly(4.5**0.5), 2, 1), None)
    assert second.rows[0].lines[0] == ((4.5, nearly(0.5**0.5), 2, 0),)
    # Means of B − A: (3 + 3) / 2, (2 + 1) / 2, (1 + 0 − 2) / 3.
    means = (3, 1.5, -1 / 3)  # each a quotient, as is theirs; here two additions more
    roundings = 2 * (1 + 1) + 2
    expected = pytest.approx(sum(means) / 3, rel=gamma(roundings) * condition(means), abs=0)
    assert first.comparison.mean_difference == expected
    assert first.comparison.viewers == first.comparison.changed == 3
    assert second.comparison == (2, 1, 0.5, 1.0)


def test_viewers_and_gaps_are_counted():
    table = survey_statistics.tabulate(*answered_with_gaps())
    assert (table.pairs, table.viewers, table.complete) == (3, 3, 1)
    assert (table.missing, table.unreached, table.repeated) == (3, 4, 2)
    second = table.items[0].rows[0].lines[1][1]
    assert (second.scores, second.missing) == (1, 1)


def test_one_viewer():
    table = tabulated(survey_of(item={"row": ("1", "2")}), [(4, 5), (2, None)])
    (item,) = table.items
    assert item.rows[0].lines == (
        ((4.0, None, 1, 0), (2.0, None, 1, 0)),
        ((5.0, None, 1, 0), (None, None, 0, 1)),
    )
    assert item.comparison == (1, 1, 1.0, 1.0)
    assert item.agreement is table.agreement is None


def test_no_answers():
    table = survey_statistics.tabulate(survey_of(item={"row": ("1",)}), [])
    assert table.items[0].comparison == (0, 0, None, None)
    assert table.items[0].rows[0].lines == (((None, None, 0, 0),),) * 2


def test_the_order_of_answers_has_no_influence(monkeypatch):
    monkeypatch.setattr(survey_statistics, "RESAMPLES", 999)
    survey = survey_of(one={"x": ("1", "2"), "y": ("1",)}, two={"x": ("1",)})
    chance = random.Random(1)
    scores = [None, 1, 2, 3, 4, 5]
    viewers = [
        [(chance.choice(scores), chance.choice(scores)) for _ in survey.pairs] for _ in range(20)
    ]
    given = answered(survey, *viewers)
    table = survey_statistics.tabulate(survey, given)
    assert table.items[0].comparison.changed > 13  # beyond what is enumerated
    for _ in range(2):
        chance.shuffle(given)
        turned = [
            Answer(
                *(answer.viewer, answer.number, answer.second, answer.first),
                *(answer.score_second, answer.score_first, answer.showings),
            )
            if chance.random() < 0.5
            else answer
            for answer in given
        ]
        assert survey_statistics.tabulate(survey, turned) == table


# --- the test and the agreement ----------------------------------------------------------------


def enumerated_p(differences):
    """Two-sided p of the Wilcoxon signed-rank test, by its definition: every choice of signs."""
    sizes = [abs(difference) for difference in differences if difference]
    ranks = [  # twice the mean rank, which is whole
        sum(other < size for other in sizes) + sum(other <= size for other in sizes) + 1
        for size in sizes
    ]
    observed = sum(
        rank * (1 if difference > 0 else -1)
        for rank, difference in zip(ranks, filter(None, differences), strict=True)
    )
    sums = [sum(signed) for signed in itertools.product(*((rank, -rank) for rank in ranks))]
    return sum(abs(ranked) >= abs(observed) for ranked in sums) / len(sums)


@pytest.mark.parametrize("seed", range(12))
def test_p_is_that_of_all_changes_of_sign(seed):
    chance = random.Random(seed)
    viewers = [
        [chance.choice((-2, -1, 0, 1, 2, 2)) for _ in range(3)] for _ in range(chance.randint(2, 9))
    ]
    means = [Fraction(sum(differences), 3) for differences in viewers]
    compared = differing(*viewers)
    assert compared.p == nearly(enumerated_p(means))
    assert compared.changed == sum(mean != 0 for mean in means)
    # Of each mean the division, of theirs the sum and the division; of the fraction one rounding.
    error = gamma(1 + 2 + 1) * float(sum(map(abs, means)) / len(means))
    assert compared.mean_difference == pytest.approx(
        float(sum(means) / len(means)), rel=0, abs=error
    )


def test_zeros_are_dropped_as_wilcoxon_did():
    viewers = [[1], [2], [-1], [2], [1]]
    compared = differing(*viewers, [0], [0])
    assert compared[:2] == (7, 5)
    assert compared.p == differing(*viewers).p
    other = scipy.stats.wilcoxon(
        [1, 2, -1, 2, 1, 0, 0],
        zero_method="wilcox",
        method=scipy.stats.PermutationMethod(n_resamples=9999),
    )
    assert compared.p == other.pvalue


def test_thirteen_viewers_are_exact_and_zeros_do_not_count():
    compared = differing(*([1],) * 13, *([0],) * 9)
    assert compared.p == compared.smallest_p == 2 / 2**13


def test_more_viewers_are_estimated():
    viewers = [[difference] for difference in (2, 2, 2, 1, 1, 1, 1, 1, 2, 1, -2, -2, -1, -1)]
    exact = enumerated_p([difference for (difference,) in viewers])
    deviation = (exact * (1 - exact) / survey_statistics.RESAMPLES) ** 0.5
    assert differing(*viewers).p == pytest.approx(exact, rel=0, abs=4 * deviation)


def test_ties_are_seen_in_means_of_thirds():
    # A third of three pairs and two sixths of six are one size of difference.
    survey = survey_of(item={"row": "abcdef"})
    third, sixth = [(3, 4), (3, 3), (3, 3)], [None] * 3
    viewers = [third + sixth, third + third, [*sixth, (4, 3), (3, 3), (3, 3)], third + third]
    compared = tabulated(survey, *viewers).items[0].comparison
    assert compared.p == nearly(enumerated_p([1, 1, -1, 1]))


def test_only_pairs_scored_in_both_pictures_are_compared():
    survey = survey_of(item={"row": "abc"})
    viewers = [[(1, 2), (1, None), (None, 5)], [(None, 5), None, (5, None)], [(2, 2), (4, 5), None]]
    assert tabulated(survey, *viewers).items[0].comparison == (2, 2, 0.75, 0.5)


@pytest.mark.parametrize("viewers", [[[0]], [[0], [0], [0]], [[1, -1], [0, 0]]])
def test_no_difference_at_all_is_not_measured(viewers):
    compared = differing(*viewers)
    assert compared == (len(viewers), 0, 0.0, None)
    assert compared.smallest_p is None


@pytest.mark.parametrize("viewers", [1, 4, 5, 6])
def test_the_smallest_p_is_that_of_differences_of_one_sign(viewers):
    assert differing(*([1],) * viewers, [0]).smallest_p == enumerated_p([1] * viewers)


# K. Krippendorff, "Computing Krippendorff's Alpha-Reliability" (2011),
# https://repository.upenn.edu/asc_papers/43: four observers, twelve units, ordinal α = 0.815.
KRIPPENDORFF = (
    "1 2 3 3 2 1 4 1 2 . . .",
    "1 2 3 3 2 2 4 1 2 5 . 3",
    ". 3 3 3 2 3 4 2 2 5 1 .",
    "1 2 3 3 2 4 4 1 2 5 1 .",
)


PRINTED = {"rel": 0, "abs": 0.0005}  # α has three digits there


def krippendorffs_viewers():
    rows = [[None if score == "." else int(score) for score in row.split()] for row in KRIPPENDORFF]
    return [list(zip(row[::2], row[1::2], strict=True)) for row in rows]


def test_agreement_of_krippendorffs_own_example():
    table = tabulated(survey_of(item={"row": "abcdef"}), *krippendorffs_viewers())
    assert table.agreement == table.items[0].agreement == pytest.approx(0.815, **PRINTED)


def test_agreement_of_an_item_is_that_of_its_own_pictures():
    survey = survey_of(one={"row": "abcdef"}, two={"row": "a"})
    others = [(1, 5), (5, 1), (1, 5), None]
    viewers = [
        [*given, other] for given, other in zip(krippendorffs_viewers(), others, strict=True)
    ]
    table = tabulated(survey, *viewers)
    assert table.items[0].agreement == pytest.approx(0.815, **PRINTED)
    assert table.items[1].agreement < 0 < table.agreement < table.items[0].agreement


@pytest.mark.parametrize(
    "viewers",
    [
        [],
        [[(1, 2), (3, 4)]],
        [[(1, 2), None], [None, (3, 4)]],  # nothing in common
        [[(3, 3), (3, None)], [(3, 3), (3, 5)]],  # what both scored is all the same
    ],
)
def test_agreement_that_is_not_defined(viewers):
    table = tabulated(survey_of(item={"row": "ab"}), *viewers)
    assert table.agreement is None
    assert table.items[0].agreement is None
