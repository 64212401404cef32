"""Table 1 as Markdown, CSV and HTML, next to the values in the paper."""

import csv
import functools
import io
import itertools
import re
from collections.abc import Iterable, Mapping, Sequence
from importlib import resources
from typing import NamedTuple

import markupsafe

from gatys_norm.report import markdown as markdown_tables
from gatys_norm.survey.statistics import HIGH, LOW, RESAMPLES, Item, Rating, Row, Table
from gatys_norm.text import NOTHING, one_line
from gatys_norm.web import templates

TEMPLATE = "survey_table.html.jinja"
TITLE = "Table 1: how well the style was transferred"
COLUMNS = (
    *("item", "row", "column", "name", "mean", "standard_deviation", "scores", "missing", "mark"),
    *("paper_mean", "paper_standard_deviation"),
)
SIGNIFICANT = 0.05


# The paper's values


class Grid(NamedTuple):
    """A table as it is printed; `names` are the names of the two lines of a row."""

    caption: str
    names: tuple[str, str]
    columns: tuple[str, ...]
    rows: tuple[Row, ...]


@functools.cache
def paper_grids() -> Mapping[str, Grid]:
    """Return {item: Grid} of Table 1 in the paper (doi 10.5909/JBE.2020.25.6.980), ten viewers.

    Some of its deviations have the divisor n − 1 (1.3±0.48), others n (1.8±0.40). Two values,
    1.9±0.36 and 2.1±0.31, are not possible for ten whole scores with either divisor.
    """
    text = resources.files("gatys_norm.survey").joinpath("paper_table.csv").read_text("utf-8")
    by_item: dict[str, list[dict[str, str]]] = {}
    for cell in csv.DictReader(io.StringIO(text)):
        by_item.setdefault(cell["item"], []).append(cell)
    return {item: _paper_grid(cells) for item, cells in by_item.items()}


def _paper_grid(cells: Sequence[Mapping[str, str]]) -> Grid:
    labels, columns, (first, second) = (
        tuple(dict.fromkeys(cell[name] for cell in cells)) for name in ("row", "column", "name")
    )
    ratings = {
        (cell["row"], cell["name"], cell["column"]): Rating(
            float(cell["mean"]), float(cell["standard_deviation"]), int(cell["scores"]), missing=0
        )
        for cell in cells
    }

    def line(label: str, name: str) -> tuple[Rating, ...]:
        return tuple(ratings[label, name, column] for column in columns)

    rows = tuple(Row(label, (line(label, first), line(label, second))) for label in labels)
    return Grid("Choi and Kim (2020)", (first, second), columns, rows)


def paper_rows(item: Item) -> tuple[Row, ...]:
    """Return the paper's rows that correspond to the first rows of an item.

    There are none unless the paper has an item of this name with the same number of columns, and
    the first row of the item has a pair in each: otherwise the columns may not correspond.
    """
    grid = paper_grids().get(item.name)
    has_all_columns = None not in item.rows[0].lines[0]
    if grid is None or not has_all_columns or len(grid.columns) != len(item.columns):
        return ()
    return grid.rows[: len(item.rows)]


# What all formats share


def _grids(item: Item, names: tuple[str, str]) -> list[Grid]:
    """Return the grid of the item, and that of the paper if there is one."""
    grids = [Grid("This survey", names, item.columns, item.rows)]
    rows = paper_rows(item)
    return [*grids, paper_grids()[item.name]._replace(rows=rows)] if rows else grids


def _introduction(table: Table) -> list[str]:
    """Return paragraphs of plain text."""
    method = (
        f"Viewers saw corresponding pictures, {table.names[0]} and {table.names[1]}, one pair "
        "after another in random order, and scored how well the style was transferred to each, "
        "from 1 (no transfer) to 5 (very well). A cell is the mean of one picture's scores ± their "
        f"sample standard deviation (divisor n − 1); {NOTHING} is no score."
    )
    if any(map(paper_rows, table.items)):
        method += (
            " The paper's own values, of ten viewers and its own pictures, are those of Table 1 in "
            "Choi and Kim, JBE 25(6), 2020 (doi 10.5909/JBE.2020.25.6.980); some of its deviations "
            "have the divisor n − 1, others n."
        )
    counts = (
        f"Viewers: {table.viewers}, of whom {table.complete} answered every pair. Pairs of "
        f"pictures: {table.pairs}. Missed scores: {table.missing}. Pairs that a viewer did not "
        f"reach: {table.unreached}. Pairs that a viewer was shown more than once: {table.repeated}."
    )
    return [method, counts]


COMPARED = "Difference and agreement"
COMPARED_COLUMNS = ("viewers", "mean difference", "p", "agreement α")


def _compared_rows(table: Table) -> list[tuple[str, tuple[str, ...]]]:
    """Return [(name of an item, texts for `COMPARED_COLUMNS`)]; the last is for all pictures."""
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
    """Return paragraphs of plain text."""
    a, b = table.names
    notes = [
        f"Mean difference: {b} minus {a}, first the mean for each viewer over the pairs of which "
        "both pictures were scored, then over viewers. p: Wilcoxon signed-rank test over viewers, "
        "two-sided, without differences of 0; exact for up to 13 viewers, for more estimated from "
        f"{RESAMPLES} random changes of sign; not corrected for the number of tests. "
        "α: Krippendorff's, ordinal; 1 is perfect agreement between viewers, 0 is agreement by "
        f"chance. {NOTHING} is not measured."
    ]
    for item in table.items:
        changed, smallest = item.comparison.changed, item.comparison.smallest_p
        if smallest is not None and smallest > SIGNIFICANT:
            viewers = "the one viewer" if changed == 1 else f"the {changed} viewers"
            notes.append(
                f"{item.name}: with {viewers} whose difference is not 0, no p below "
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


def as_text(rating: Rating | None) -> str:
    """Return a rating as it is printed, such as 2.3±0.48."""
    if rating is None or rating.mean is None:
        return NOTHING
    deviation = rating.standard_deviation
    return f"{rating.mean:.1f}" + ("" if deviation is None else f"±{deviation:.2f}")


def _mark(rating: Rating | None) -> str:
    return "" if rating is None else rating.mark


# Markdown


def markdown(table: Table) -> str:
    """Return the table as GitHub's Markdown, with the values of the paper below each item."""
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
    columns = ("item", *COMPARED_COLUMNS)
    compared = markdown_tables.table(columns, rows, numbers=range(1, len(columns)))
    blocks += [f"## {COMPARED}", compared]
    blocks += map(_escaped, _compared_notes(table))
    return "\n\n".join(blocks) + "\n"


def _markdown_grid(grid: Grid) -> str:
    rows = [
        (_escaped(row.label) if not index else "", _escaped(name), *map(_emphasized, line))
        for row in grid.rows
        for index, (name, line) in enumerate(zip(grid.names, row.lines, strict=True))
    ]
    columns = ("", "", *map(_escaped, grid.columns))
    return markdown_tables.table(columns, rows, numbers=range(2, len(columns)))


def _emphasized(rating: Rating | None) -> str:
    sign = {"high": "**", "low": "*", "": ""}[_mark(rating)]
    return f"{sign}{as_text(rating)}{sign}"


def _escaped(text: str) -> str:
    """Return a text as one line in which special characters of Markdown are escaped."""
    return re.sub(r"([\\`*_\[\]<>|&~#$])", r"\\\1", one_line(text))


# CSV


def as_csv(table: Table) -> str:
    """Return `COLUMNS` as CSV, one line per picture.

    Numbers are not rounded; missing ones are empty. A label that a spreadsheet would read as a
    formula gets an apostrophe before it.
    """
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n", quoting=csv.QUOTE_NONNUMERIC)
    writer.writerow(COLUMNS)
    for item in table.items:
        for row, paper_row in itertools.zip_longest(item.rows, paper_rows(item)):
            for side, name in enumerate(table.names):
                paper = paper_row.lines[side] if paper_row else [None] * len(item.columns)
                cells = zip(item.columns, row.lines[side], paper, strict=True)
                writer.writerows(
                    _csv_line((item.name, row.label, column, name), rating, paper_rating)
                    for column, rating, paper_rating in cells
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
    """Return the table as HTML for `report.page.insert_survey`: no scripts, all text escaped."""
    environment = templates.environment()
    environment.filters |= {"mark": _mark, "as_text": as_text}
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
