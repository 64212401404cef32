"""Viewers' scores → the paper's Table 1, as Markdown, CSV and HTML. No TensorFlow.

Choi and Kim, JBE 25(6), 2020, section IV and Table 1.
"""

from __future__ import annotations

import csv
import io
import itertools
import re
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, TypeAlias, TypeVar

import krippendorff
import markupsafe
import scipy.stats

from gatys_norm.survey import answers
from gatys_norm.web import templates

if TYPE_CHECKING:
    from gatys_norm.survey.model import Pair, Survey

TEMPLATE = "survey_table.html.jinja"
TITLE = "Table 1: how well the style was transferred"
COLUMNS = (
    *("item", "row", "column", "name", "mean", "standard_deviation", "scores", "missing", "mark"),
    *("paper_mean", "paper_standard_deviation"),
)
HIGH, LOW = 4.0, 2.0  # the paper's own limits: done well; not seen as a transfer
NOTHING = "–"
RESAMPLES = 9999
SIGNIFICANT = 0.05

_Scores: TypeAlias = Mapping[str, int | None]  # a viewer's, by picture; None is a missed one
_Value = TypeVar("_Value")


class Rating(NamedTuple):
    """What viewers thought of one picture.

    Attributes:
      mean: of the scores; None if there are none.
      standard_deviation: √(Σ (score − mean)² / (n − 1)); None below two scores.
      scores: how many there are, n.
      missing: how often the picture was shown and not scored.
    """

    mean: float | None
    standard_deviation: float | None
    scores: int
    missing: int

    @property
    def mark(self) -> str:
        """Return "high" or "low" where the mean, before rounding, is ≥ 4 or < 2; else ""."""
        if self.mean is None or LOW <= self.mean < HIGH:
            return ""
        return "high" if self.mean >= HIGH else "low"

    def __str__(self) -> str:
        if self.mean is None:
            return NOTHING
        deviation = self.standard_deviation
        return f"{self.mean:.1f}" + ("" if deviation is None else f"±{deviation:.2f}")


class Row(NamedTuple):
    """Both lines of a row, those of A and of B: a `Rating` a column, None where no pair is."""

    label: str
    lines: tuple[tuple[Rating | None, ...], tuple[Rating | None, ...]]


class Comparison(NamedTuple):
    """B against A, tested over viewers.

    Attributes:
      viewers: those who scored both pictures of a pair.
      changed: those whose difference is not 0.
      mean_difference: of the viewers' differences, B − A; None if there are none.
      p: of the Wilcoxon signed-rank test; None if no difference is other than 0.
    """

    viewers: int
    changed: int
    mean_difference: float | None
    p: float | None

    @property
    def smallest_p(self) -> float | None:
        """The p of differences that all have one sign, the smallest with so many viewers."""
        return 2 / 2**self.changed if self.changed else None


@dataclass(frozen=True)
class Item:
    """Two figures whose pictures correspond, such as "2(a) / 6(a)".

    `paper` are the rows of the paper that stand beside the first of `rows`; none where the layout
    is another. `agreement` is Krippendorff's α of its pictures, None where not defined.
    """

    name: str
    columns: tuple[str, ...]
    rows: tuple[Row, ...]
    paper: tuple[Row, ...]
    comparison: Comparison
    agreement: float | None


@dataclass(frozen=True)
class Table:
    """Table 1.

    Attributes:
      names: of A and B.
      items: the `Item`s, in the order of the survey.
      agreement: Krippendorff's α of all pictures; None where not defined.
      pairs: how many the survey has.
      viewers: how many answered at least one pair.
      complete: how many of them answered every pair, be it without a score.
      missing: scores of pictures that were shown, and missed.
      unreached: pairs that a viewer has no answer for, summed over viewers.
      repeated: answers to pairs that were shown more than once.
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


def _published(*lines: str) -> tuple[Row, ...]:
    """The paper's rows: of each the line of Figure 2, then that of Figure 6."""

    def rating(text: str) -> Rating:
        mean, deviation = map(float, text.split("±"))
        return Rating(mean, deviation, scores=10, missing=0)

    ratings = [tuple(map(rating, line.split())) for line in lines]
    return tuple(
        Row(f"row {number}", pair)
        for number, pair in enumerate(zip(ratings[::2], ratings[1::2], strict=True), start=1)
    )


# Table 1 as printed (doi 10.5909/JBE.2020.25.6.980), ten viewers. Some of its deviations have the
# divisor n − 1 (1.3±0.48), some n (1.8±0.40); ten whole scores give neither 1.9±0.36 nor 2.1±0.31.
PAPER = {
    "2(a) / 6(a)": _published(
        "1.0±0.00 1.3±0.48 2.3±0.48 4.3±0.48 4.9±0.30",
        "1.0±0.00 1.8±0.40 4.2±0.40 4.8±0.40 5.0±0.00",
        "1.0±0.00 4.3±0.48 4.6±0.52 3.6±0.52 3.5±0.53",
        "1.0±0.00 2.2±0.40 4.2±0.40 4.9±0.30 4.2±0.40",
    ),
    "2(b) / 6(b)": _published(
        "1.8±0.42 1.9±0.36 2.0±0.00 4.2±0.42 2.1±0.31",
        "2.5±0.50 2.9±0.30 2.8±0.40 4.5±0.50 4.3±0.46",
        "1.3±0.48 1.0±0.00 1.1±0.32 4.5±0.53 1.2±0.42",
        "2.8±0.40 4.2±0.40 4.9±0.30 4.9±0.30 4.2±0.40",
    ),
    "2(c) / 6(c)": _published(
        "2.0±0.00 4.5±0.53 1.4±0.52",
        "3.3±0.48 4.7±0.48 2.1±0.32",
        "2.0±0.00 4.5±0.53 1.0±0.00",
        "2.1±0.32 4.8±0.42 2.3±0.48",
    ),
}


# From answers to the table


def tabulate(survey: Survey, given: Sequence[answers.Answer]) -> Table:
    """Make Table 1.

    Items, rows and columns come in the order in which the survey first names them. The order of
    the answers has no influence.

    The deviations are those of a sample, divisor n − 1, while the paper mixes n − 1 and n, see
    `PAPER`. Its values stand beside an item of the same name and number of columns, row by row, if
    the item's first row lacks no column, so that the order of the columns is known.

    B is tested against A by the Wilcoxon signed-rank test, two-sided. A viewer's scores depend on
    each other, so the unit is the viewer: d_v = mean of (score B − score A) over the item's pairs
    of which v scored both pictures. Differences of 0 are dropped, which is scipy's zero_method
    "wilcox"; ties share their mean rank. p is exact, from all 2ⁿ changes of sign, up to 13
    differences other than 0, and estimated from 9999 random ones, always the same, beyond.

    The agreement is Krippendorff's α for ordinal data, 1 − D_observed / D_expected, over pictures
    with two or more scores; not defined if there are none, or if all their scores are the same.

    Args:
      survey: `survey_model.Survey`.
      given: list of `answers.Answer` from `answers.load`.

    Returns:
      `Table`.
    """
    viewers: dict[str, dict[str, int | None]] = {}
    for answer in given:
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
        complete=sum(len(each) == 2 * len(survey.pairs) for each in scores),
        missing=sum(score is None for each in scores for score in each.values()),
        unreached=len(viewers) * len(survey.pairs) - len(given),
        repeated=sum(answer.showings > 1 for answer in given),
    )


def _item(name: str, pairs: Sequence[Pair], viewers: Sequence[_Scores]) -> Item:
    """`viewers` are all viewers' {picture: score or None}."""
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
    paper = PAPER.get(name, ())
    corresponds = None not in rows[0].lines[0] and paper and len(columns) == len(paper[0].lines[0])
    return Item(
        name,
        columns,
        rows,
        paper[: len(rows)] if corresponds else (),
        _compared(pairs, viewers),
        _agreement(pairs, viewers),
    )


def _line(
    by_column: Mapping[str, Pair],
    columns: Iterable[str],
    side: str,
    viewers: Sequence[_Scores],
) -> tuple[Rating | None, ...]:
    pictures = (getattr(by_column.get(column), side, None) for column in columns)
    return tuple(picture and _rating(picture, viewers) for picture in pictures)


def _rating(picture: str, viewers: Sequence[_Scores]) -> Rating:
    shown = [each[picture] for each in viewers if picture in each]
    scores = _without_none(shown)
    return Rating(
        statistics.fmean(scores) if scores else None,
        statistics.stdev(scores) if len(scores) > 1 else None,
        len(scores),
        len(shown) - len(scores),
    )


def _without_none(values: Iterable[_Value | None]) -> list[_Value]:
    return [value for value in values if value is not None]


def _compared(pairs: Sequence[Pair], viewers: Sequence[_Scores]) -> Comparison:
    """Sorted, so that the order of the viewers has no influence on an estimated p.

    Ties are ties: differences are whole, so that means that are the same fraction are equal floats.
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
    """One viewer's mean of B − A; None without a pair of which both pictures were scored."""
    both = [(scores.get(pair.a), scores.get(pair.b)) for pair in pairs]
    differences = [b - a for a, b in both if a is not None and b is not None]
    return statistics.fmean(differences) if differences else None


def _wilcoxon(differences: Sequence[float]) -> float | None:
    if len(differences) < 2:
        return 1.0 if differences else None  # scipy takes two or more
    method = scipy.stats.PermutationMethod(n_resamples=RESAMPLES, rng=0)
    return float(scipy.stats.wilcoxon(differences, method=method).pvalue)


def _agreement(pairs: Sequence[Pair], viewers: Sequence[_Scores]) -> float | None:
    """Krippendorff's α, from how often each picture got each score."""
    pictures = itertools.chain.from_iterable((pair.a, pair.b) for pair in pairs)
    scored = [_without_none(each.get(picture) for each in viewers) for picture in pictures]
    comparable = [scores for scores in scored if len(scores) > 1]
    if len(set(itertools.chain(*comparable))) < 2:
        return None
    counts = [[scores.count(value) for value in answers.SCORES] for scores in comparable]
    return float(
        krippendorff.alpha(
            value_counts=counts, value_domain=answers.SCORES, level_of_measurement="ordinal"
        )
    )


# What all forms say


class _Grid(NamedTuple):
    """A table as it is printed; `names` are those of a row's two lines."""

    caption: str
    names: tuple[str, str]
    columns: tuple[str, ...]
    rows: tuple[Row, ...]


def _grids(item: Item, names: tuple[str, str]) -> list[_Grid]:
    """The item's own grid, and the paper's where there is one."""
    grids = [_Grid("This survey", names, item.columns, item.rows)]
    if item.paper:
        first, second = (f"Fig. {figure}" for figure in item.name.split(" / "))
        columns = tuple(f"column {number + 1}" for number in range(len(item.columns)))
        grids.append(_Grid("Choi and Kim (2020)", (first, second), columns, item.paper))
    return grids


def _introduction(table: Table) -> list[str]:
    """Paragraphs of plain text."""
    how = (
        f"Viewers saw corresponding pictures, {table.names[0]} and {table.names[1]}, a pair at a "
        "time in random order, and scored how well the style was transferred to each, from 1 (no "
        "transfer) to 5 (very well). A cell is the mean of one picture's scores ± their sample "
        f"standard deviation (divisor n − 1); {NOTHING} is no score."
    )
    if any(item.paper for item in table.items):
        how += (
            " The paper's own values, of ten viewers and its own pictures, are those of Table 1 in "
            "Choi and Kim, JBE 25(6), 2020 (doi 10.5909/JBE.2020.25.6.980); some of its deviations "
            "have the divisor n − 1, others n."
        )
    counts = (
        f"Viewers: {table.viewers}, of whom {table.complete} answered every pair. Pairs of "
        f"pictures: {table.pairs}. Missed scores: {table.missing}. Pairs that a viewer did not "
        f"reach: {table.unreached}. Pairs that a viewer was shown more than once: {table.repeated}."
    )
    return [how, counts]


COMPARED = "Difference and agreement"
COMPARED_COLUMNS = ("viewers", "mean difference", "p", "agreement α")


def _compared_rows(table: Table) -> list[tuple[str, tuple[str, ...]]]:
    """[(item's name, what stands in `COMPARED_COLUMNS`)], all pictures together last."""
    rows = [
        (
            item.name,
            (
                str(item.comparison.viewers),
                _signed(item.comparison.mean_difference),
                _p(item.comparison.p),
                _alpha(item.agreement),
            ),
        )
        for item in table.items
    ]
    return [*rows, ("all pictures", ("", "", "", _alpha(table.agreement)))]


def _compared_notes(table: Table) -> list[str]:
    """Paragraphs of plain text."""
    a, b = table.names
    notes = [
        f"Mean difference: {b} less {a}, of each viewer the mean over the pairs of which both "
        "pictures were scored, then over viewers. p: Wilcoxon signed-rank test over viewers, "
        "two-sided, differences of 0 dropped, exact for up to 13 viewers and estimated from "
        f"{RESAMPLES} random changes of sign beyond; not corrected for the number of tests. "
        "α: Krippendorff's, ordinal; 1 is perfect agreement between viewers, 0 that of chance. "
        f"{NOTHING} is not measured."
    ]
    for item in table.items:
        changed, smallest = item.comparison.changed, item.comparison.smallest_p
        if smallest is not None and smallest > SIGNIFICANT:
            whose = "the one viewer" if changed == 1 else f"the {changed} viewers"
            notes.append(
                f"{item.name}: with {whose} whose difference is not 0, no p below "
                f"{smallest:g} is possible."
            )
    return notes


def _signed(number: float | None) -> str:
    if number is None:
        return NOTHING
    text = f"{number:+.2f}".replace("-", "−")
    return text[1:] if float(text[1:]) == 0 else text


def _p(number: float | None) -> str:
    return NOTHING if number is None else f"{number:.3g}"


def _alpha(number: float | None) -> str:
    return NOTHING if number is None else f"{number:.2f}".replace("-", "−")


def _shown(rating: Rating | None) -> str:
    return NOTHING if rating is None else str(rating)


def _mark(rating: Rating | None) -> str:
    return "" if rating is None else rating.mark


# Markdown


def markdown(table: Table) -> str:
    """Return the table as GitHub's Markdown, with the paper's below each item's own."""
    blocks = [f"# {TITLE}", *map(_escaped, _introduction(table))]
    blocks.append(
        f"**Bold** is a mean of at least {HIGH}, *italic* one below {LOW}, both before rounding."
    )
    for item in table.items:
        blocks.append(f"## {_escaped(item.name)}")
        grids = _grids(item, table.names)
        for grid in grids:
            blocks += [f"{grid.caption}:"] if len(grids) > 1 else []
            blocks.append(_markdown_grid(grid))
    rows = [(_escaped(name), *values) for name, values in _compared_rows(table)]
    blocks += [f"## {COMPARED}", _markdown_table(("item", *COMPARED_COLUMNS), 1, rows)]
    blocks += map(_escaped, _compared_notes(table))
    return "\n\n".join(blocks) + "\n"


def _markdown_grid(grid: _Grid) -> str:
    rows = [
        (_escaped(row.label) if not index else "", _escaped(name), *map(_emphasized, line))
        for row in grid.rows
        for index, (name, line) in enumerate(zip(grid.names, row.lines, strict=True))
    ]
    return _markdown_table(("", "", *map(_escaped, grid.columns)), 2, rows)


def _markdown_table(heading: Sequence[str], labels: int, rows: Iterable[Sequence[str]]) -> str:
    """`labels` columns of words, then numbers; all texts are escaped already."""
    rule = ["---"] * labels + ["---:"] * (len(heading) - labels)
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (heading, rule, *rows))


def _emphasized(rating: Rating | None) -> str:
    sign = {"high": "**", "low": "*", "": ""}[_mark(rating)]
    return f"{sign}{_shown(rating)}{sign}"


def _escaped(text: str) -> str:
    """One line that means nothing but itself in Markdown."""
    return re.sub(r"([\\`*_\[\]<>|&~#$])", r"\\\1", " ".join(text.split()))


# CSV


def as_csv(table: Table) -> str:
    """Return `COLUMNS` as CSV, a line per picture.

    Numbers are in full, and empty where there is none. A label that a spreadsheet would take for
    a formula has an apostrophe before it.
    """
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n", quoting=csv.QUOTE_NONNUMERIC)
    writer.writerow(COLUMNS)
    for item in table.items:
        for row, paper in itertools.zip_longest(item.rows, item.paper):
            for side, name in enumerate(table.names):
                published = paper.lines[side] if paper else [None] * len(item.columns)
                cells = zip(item.columns, row.lines[side], published, strict=True)
                writer.writerows(
                    _csv_line((item.name, row.label, column, name), rating, beside)
                    for column, rating, beside in cells
                    if rating is not None
                )
    return text.getvalue()


def _csv_line(labels: Iterable[str], rating: Rating, paper: Rating | None) -> list[str | float]:
    numbers = (*rating, rating.mark, *(paper[:2] if paper else (None, None)))
    return [*map(_harmless, labels), *("" if number is None else number for number in numbers)]


def _harmless(label: str) -> str:
    return f"'{label}" if label[:1] in tuple("=+-@\t\r\n＝＋－＠") else label


# HTML


def as_html(table: Table) -> markupsafe.Markup:
    """Return the table as a section for `report_page.put_survey`: static, every text escaped."""
    environment = templates.environment()
    environment.filters |= {"mark": _mark, "shown": _shown}
    return markupsafe.Markup(
        environment.get_template(TEMPLATE).render(
            title=TITLE,
            high=HIGH,
            low=LOW,
            introduction=_introduction(table),
            items=[(item.name, _grids(item, table.names)) for item in table.items],
            compared=COMPARED,
            compared_columns=COMPARED_COLUMNS,
            compared_rows=_compared_rows(table),
            compared_notes=_compared_notes(table),
        )
    )
