"""The list of pairs to rate, as CSV: the files of both pictures, and the position in Table 1."""

import csv
import io
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from gatys_norm.files import StrPath
from gatys_norm.survey.model import SurveyError, read_text

COLUMNS = ("item", "row", "column", "a", "b")
OPTIONAL_COLUMNS = ("style", "use")
USES = ("rate", "example")
PAIR_LIMIT = 1000
TEXT_LIMIT = 200  # characters of a name


class PictureFiles(NamedTuple):
    """One line of a list of pairs: the files of both pictures, and what they show.

    `use` is "rate", or "example" for a transfer that only the introduction shows.
    """

    item: str
    row: str
    column: str
    a: Path
    b: Path
    style: Path | None = None
    use: str = "rate"


def as_csv(pairs: Iterable[PictureFiles], folder: StrPath) -> bytes:
    """Return a list of pairs as CSV, with paths relative to the folder of the list."""

    def as_text(value: str | Path | None) -> str:
        if isinstance(value, Path):
            return os.path.relpath(value.resolve(), Path(folder).resolve())
        return value or ""

    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS + OPTIONAL_COLUMNS)
    writer.writerows(map(as_text, pair) for pair in pairs)
    return text.getvalue().encode("utf-8", "surrogateescape")


def load(path: StrPath) -> list[PictureFiles]:
    """Read a list of pairs, for example

        item,row,column,a,b
        2(a) / 6(a),town,λ_os = 0.01,original.png,normalized.png

    Args:
      path: CSV file with `COLUMNS`, and perhaps some of `OPTIONAL_COLUMNS`, in any order.

    Returns:
      list of `PictureFiles`; relative paths are relative to the folder of the list.

    Raises:
      SurveyError: the list is not valid; the message names file, line and reason.
    """
    pairs: list[PictureFiles] = []
    first_lines: dict[tuple[str, str, str], str] = {}
    for line, row in _rows(path):
        pair = _pair(row, Path(path).parent, line)
        first_line = first_lines.setdefault(pair[:3], line)
        if first_line != line:
            raise SurveyError(f"{line}: the same item, row and column as in {first_line}")
        pairs.append(pair)
    if not any(pair.use == "rate" for pair in pairs):
        raise SurveyError(f"{path}: holds no pair to rate")
    if len(pairs) > PAIR_LIMIT:
        raise SurveyError(f"{path}: at most {PAIR_LIMIT} pairs are possible, not {len(pairs)}")
    return pairs


def _rows(path: StrPath) -> Iterator[tuple[str, dict[str, str]]]:
    """Yield (file and number of a line, {column: text}) for every line that is not blank."""
    lines = csv.reader(io.StringIO(read_text(path), newline=""), strict=True)
    try:
        columns = next(lines, [])
        _check_columns(path, columns)
        for values in filter(None, lines):
            line = f"{path}, line {lines.line_num}"
            if len(values) != len(columns):
                raise SurveyError(f"{line}: {len(columns)} values are needed, not {len(values)}")
            yield line, dict(zip(columns, values, strict=True))
    except csv.Error as error:
        raise SurveyError(f"{path}: not CSV ({error})") from error


def _check_columns(path: StrPath, columns: Sequence[str]) -> None:
    names = set(columns)
    is_known = names <= {*COLUMNS, *OPTIONAL_COLUMNS}
    if not is_known or not names >= set(COLUMNS) or len(names) < len(columns):
        raise SurveyError(
            f"{path}: the first line must name the columns {','.join(COLUMNS)}, and may name "
            f"{','.join(OPTIONAL_COLUMNS)}"
        )


def _pair(row: Mapping[str, str], folder: Path, line: str) -> PictureFiles:
    for name in ("item", "row", "column"):
        if not 0 < len(row[name].strip()) <= TEXT_LIMIT:
            raise SurveyError(f"{line}: {name} must have 1 to {TEXT_LIMIT} characters")
    for name in ("a", "b"):
        if not row[name]:
            raise SurveyError(f"{line}: {name} must be the path of a picture")
    use = row.get("use") or USES[0]
    if use not in USES:
        raise SurveyError(f"{line}: use must be {' or '.join(USES)}, not {use[:40]!a}")
    style = folder / row["style"] if row.get("style") else None
    item, label, column = (row[name].strip() for name in ("item", "row", "column"))
    return PictureFiles(item, label, column, folder / row["a"], folder / row["b"], style, use)
