"""Table 1 from the scores of viewers: means, deviations, a test of B against A, agreement.

Choi and Kim, JBE 25(6), 2020, section IV and Table 1.
"""

import itertools
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias, TypeVar

import krippendorff
import scipy.stats

from gatys_norm.survey import answers
from gatys_norm.survey.model import Pair, Survey

HIGH, LOW = 4.0, 2.0  # limits in the paper: transferred well; not seen as a transfer
RESAMPLES = 9999

_Scores: TypeAlias = Mapping[str, int | None]  # of a viewer, {picture: score}; None if missed
_Value = TypeVar("_Value")


class Rating(NamedTuple):
    """The scores of one picture, from all viewers.

    Attributes:
      mean: mean score, 1 to 5; None without scores.
      standard_deviation: √(Σ (score − mean)² / (n − 1)); None with fewer than two scores.
      scores: number of scores, n.
      missing: how often the picture was shown and not scored.
    """

    mean: float | None
    standard_deviation: float | None
    scores: int
    missing: int

    @property
    def mark(self) -> str:
        """The mark "high" or "low" if the mean, before rounding, is ≥ 4 or < 2; otherwise ""."""
        if self.mean is None or LOW <= self.mean < HIGH:
            return ""
        return "high" if self.mean >= HIGH else "low"


class Row(NamedTuple):
    """A row: a line of A and one of B, each with one `Rating` per column; None without a pair."""

    label: str
    lines: tuple[tuple[Rating | None, ...], tuple[Rating | None, ...]]


class Comparison(NamedTuple):
    """B against A, tested over viewers.

    Attributes:
      viewers: number of viewers who scored both pictures of a pair.
      changed: number of these viewers whose difference is not 0.
      mean_difference: mean difference B − A of the viewers; None without viewers.
      p: p-value of the Wilcoxon signed-rank test; None if all differences are 0.
    """

    viewers: int
    changed: int
    mean_difference: float | None
    p: float | None

    @property
    def smallest_p(self) -> float | None:
        """The smallest possible p for so many viewers: all differences have the same sign."""
        return 2 / 2**self.changed if self.changed else None


@dataclass(frozen=True)
class Item:
    """Two figures whose pictures correspond, such as "2(a) / 6(a)".

    Attributes:
      name: name of the item.
      columns: labels of the columns.
      rows: the rows of ratings.
      comparison: comparison of B with A.
      agreement: Krippendorff's α for the pictures of the item; None if undefined.
    """

    name: str
    columns: tuple[str, ...]
    rows: tuple[Row, ...]
    comparison: Comparison
    agreement: float | None


@dataclass(frozen=True)
class Table:
    """Table 1.

    Attributes:
      names: names of A and B.
      items: the `Item`s, in the order of the survey.
      agreement: Krippendorff's α for all pictures; None if undefined.
      pairs: number of pairs in the survey.
      viewers: number of viewers who answered at least one pair.
      complete: number of viewers who answered every pair, even without a score.
      missing: number of scores that were not given, of pictures that were shown.
      unreached: number of pairs without an answer, summed over viewers.
      repeated: number of answers to pairs that were shown more than once.
    """

    names: tuple[str, str]
    items: tuple[Item, ...]
    agreement: float | None
    pairs: int
    viewers: int
    complete: int
    missing: int
    unreached: int
    repeated: int


def tabulate(survey: Survey, viewer_answers: Sequence[answers.Answer]) -> Table:
    """Compute Table 1.

        from gatys_norm.survey import model, table

        survey = model.load("results/survey")
        viewer_answers = answers.load(["results/survey/answers/viewer.csv"], survey)
        print(table.markdown(tabulate(survey, viewer_answers)))

    Items, rows and columns have the order in which the survey first names them. The order of the
    answers does not matter.

    The deviations are those of a sample, with the divisor n − 1; the paper uses both n − 1 and n.

    B is tested against A with the two-sided Wilcoxon signed-rank test. The scores of a viewer
    depend on each other, so the unit is the viewer: d_v is the mean of (score B − score A) over the
    pairs of the item of which viewer v scored both pictures. Differences of 0 are left out, which
    is scipy's zero_method "wilcox"; ties get their mean rank. With up to 13 differences other than
    0, p is exact, from all 2ⁿ changes of sign; with more, it is estimated from 9999 random changes,
    which are always the same.

    The agreement is Krippendorff's α for ordinal data, 1 − D_observed / D_expected, over pictures
    with at least two scores; it is undefined if there are none, or if all scores are the same.

    Args:
      survey: the survey.
      viewer_answers: answers to it, from `answers.load`.

    Returns:
      `Table`.
    """
    viewers: dict[str, dict[str, int | None]] = {}
    for answer in viewer_answers:
        viewers.setdefault(answer.viewer, {}).update(answer.scores)
    scores = list(viewers.values())
    by_item: dict[str, list[Pair]] = {}
    for pair in survey.pairs:
        by_item.setdefault(pair.item, []).append(pair)
    return Table(
        survey.names,
        tuple(_item(name, pairs, scores) for name, pairs in by_item.items()),
        _agreement(survey.pairs, scores),
        len(survey.pairs),
        viewers=len(viewers),
        complete=sum(len(by_picture) == 2 * len(survey.pairs) for by_picture in scores),
        missing=sum(score is None for by_picture in scores for score in by_picture.values()),
        unreached=len(viewers) * len(survey.pairs) - len(viewer_answers),
        repeated=sum(answer.showings > 1 for answer in viewer_answers),
    )


def _item(name: str, pairs: Sequence[Pair], viewers: Sequence[_Scores]) -> Item:
    """Compute one item from all viewers' scores."""
    columns = tuple(dict.fromkeys(pair.column for pair in pairs))
    by_row: dict[str, dict[str, Pair]] = {}
    for pair in pairs:
        by_row.setdefault(pair.row, {})[pair.column] = pair
    rows = tuple(
        Row(
            label,
            (_line(by_column, columns, "a", viewers), _line(by_column, columns, "b", viewers)),
        )
        for label, by_column in by_row.items()
    )
    return Item(name, columns, rows, _compare(pairs, viewers), _agreement(pairs, viewers))


def _line(
    by_column: Mapping[str, Pair],
    columns: Iterable[str],
    side: str,
    viewers: Sequence[_Scores],
) -> tuple[Rating | None, ...]:
    pictures = (getattr(by_column.get(column), side, None) for column in columns)
    return tuple(picture and _rating(picture, viewers) for picture in pictures)


def _rating(picture: str, viewers: Sequence[_Scores]) -> Rating:
    picture_scores = [scores[picture] for scores in viewers if picture in scores]
    given_scores = _without_none(picture_scores)
    return Rating(
        statistics.fmean(given_scores) if given_scores else None,
        statistics.stdev(given_scores) if len(given_scores) > 1 else None,
        len(given_scores),
        len(picture_scores) - len(given_scores),
    )


def _without_none(values: Iterable[_Value | None]) -> list[_Value]:
    return [value for value in values if value is not None]


def _compare(pairs: Sequence[Pair], viewers: Sequence[_Scores]) -> Comparison:
    """Test B against A.

    The differences are sorted, so that an estimated p does not depend on the order of the viewers.
    Ties are found exactly: the differences of a viewer are whole numbers, and means that are the
    same fraction are equal floats.
    """
    differences = sorted(_without_none(_mean_difference(pairs, scores) for scores in viewers))
    changed = [difference for difference in differences if difference]
    return Comparison(
        len(differences),
        len(changed),
        statistics.fmean(differences) if differences else None,
        _wilcoxon(changed),
    )


def _mean_difference(pairs: Sequence[Pair], scores: _Scores) -> float | None:
    """Return a viewer's mean of B − A; None if the viewer scored both pictures of no pair."""
    score_pairs = [(scores.get(pair.a), scores.get(pair.b)) for pair in pairs]
    differences = [b - a for a, b in score_pairs if a is not None and b is not None]
    return statistics.fmean(differences) if differences else None


def _wilcoxon(differences: Sequence[float]) -> float | None:
    if len(differences) < 2:
        return 1.0 if differences else None  # scipy needs two or more
    method = scipy.stats.PermutationMethod(n_resamples=RESAMPLES, rng=0)
    return float(scipy.stats.wilcoxon(differences, method=method).pvalue)


def _agreement(pairs: Sequence[Pair], viewers: Sequence[_Scores]) -> float | None:
    """Return Krippendorff's α, from the number of times that each picture got each score."""
    pictures = itertools.chain.from_iterable((pair.a, pair.b) for pair in pairs)
    by_picture = [_without_none(scores.get(picture) for scores in viewers) for picture in pictures]
    comparable = [scores for scores in by_picture if len(scores) > 1]
    if len(set(itertools.chain(*comparable))) < 2:
        return None
    counts = [[scores.count(value) for value in answers.SCORES] for scores in comparable]
    return float(
        krippendorff.alpha(
            value_counts=counts, value_domain=answers.SCORES, level_of_measurement="ordinal"
        )
    )
