"""Tables in GitHub's Markdown. No TensorFlow."""

import itertools
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from gatys_norm.config import PAPER_LOSSES
from gatys_norm.text import NOTHING, finite_or_none, one_line

VERDICTS = {True: "yes", False: "no", None: "not measured"}


def table(
    columns: Sequence[str], rows: Iterable[Sequence[str]], numbers: Collection[int] = ()
) -> str:
    """Return a table, without a line break at its end.

    Args:
      columns: the heading of each column.
      rows: the cells of each row. Headings and cells are Markdown; see `cell` for plain text.
      numbers: indices of the columns that are aligned to the right.
    """
    rule = ["---:" if index in numbers else "---" for index in range(len(columns))]
    return "\n".join(f"| {' | '.join(row)} |" for row in (columns, rule, *rows))


def cell(words: str) -> str:
    """Return plain text as a cell of `table`: in one line, with each | escaped."""
    return one_line(words).replace("|", "\\|")


def findings_table(findings: Sequence[Mapping[str, Any]]) -> str:
    """Return a table of findings, one row each, and their notes below it.

    The last two columns say how sure the order of the two numbers is: the interval of normalized −
    original over styles and contents, and the verdict. Where a finding has a number of the
    style-aware loss, two more columns have it and its interval.

    Args:
      findings: see `report.page.write`. A claim is named in the first of its consecutive rows.
    """
    notes = list(dict.fromkeys(finding["note"] for finding in findings if finding["note"]))
    rows = [
        ("" if index else claim, *_finding_row(finding, notes))
        for claim, group in itertools.groupby(findings, lambda finding: finding["claim"])
        for index, finding in enumerate(group)
    ]
    columns = [
        "claim",
        "measured",
        *PAPER_LOSSES,
        "as the paper says",
        "difference, 95 %",
        "verdict",
    ]
    numbers = [columns.index(loss) for loss in PAPER_LOSSES]
    if any("style_aware" in finding for finding in findings):
        columns += ["style-aware", "style-aware − normalized, 95 %"]
        numbers.append(columns.index("style-aware"))
        rows = [
            (
                *row,
                _number(finding.get("style_aware")),
                interval(finding["intervals"].get("style_aware − normalized")),
            )
            for row, finding in zip(rows, findings, strict=True)
        ]
    parts = [table(columns, [[*map(cell, row)] for row in rows], numbers)]
    parts += [f"Note {number}: {one_line(note)}" for number, note in enumerate(notes, start=1)]
    return "\n\n".join(parts)


def _finding_row(finding: Mapping[str, Any], notes: Sequence[str]) -> tuple[str, ...]:
    """Return all cells except that of the claim."""
    measure, unit, note = finding["measure"], finding["unit"], finding["note"]
    verdict = VERDICTS[finding["holds"]]
    return (
        f"{measure} ({unit})" if unit else measure,
        *(_number(finding[loss]) for loss in PAPER_LOSSES),
        f"{verdict} (note {notes.index(note) + 1})" if note else verdict,
        interval(finding["intervals"].get("difference")),
        finding["verdict"],
    )


def interval(ends: Sequence[float] | None) -> str:
    """Return an interval as text, "–" for None."""
    return NOTHING if ends is None else " … ".join(map(_number, ends))


def _number(number: float | None) -> str:
    finite = finite_or_none(number)
    return NOTHING if finite is None else f"{finite:.3g}"
