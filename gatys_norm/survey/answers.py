"""The answers of viewers: the format of answer files, checking, reading and appending.

An answer is one line of CSV: both scores of one pair, from one viewer. The identity of the survey
is last and has a fixed length, so that a line that a crash cut off is never read as a complete one.
"""

from __future__ import annotations

import codecs
import csv
import io
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from gatys_norm import files
from gatys_norm.files import StrPath
from gatys_norm.survey.model import Survey

COLUMNS = (
    *("viewer", "number", "first", "second", "score_first", "score_second", "showings"),
    "survey",
)
SEPARATORS = ",;\t"  # spreadsheets write a semicolon where numbers have a comma
SCORES = (1, 2, 3, 4, 5)
BYTE_LIMIT = 1 << 20  # of one answer file
SHOWINGS_LIMIT = 1000
_HEADER = ",".join(COLUMNS).encode()
_HEADERS = _HEADER, codecs.BOM_UTF8 + _HEADER
_WHOLE_LINE = re.compile(rb"([^,]*,){%d}[0-9a-f]{32}" % (len(COLUMNS) - 1))


class AnswerError(ValueError):
    """An answer or an answer file cannot be used; the message says what would be right."""


class ContradictionError(AnswerError):
    """The viewer has already answered the same pair differently."""


@dataclass(frozen=True)
class Answer:
    """One viewer's scores of one pair.

    Attributes:
      viewer: 32 random hexadecimal digits.
      number: position of the pair in the order of this viewer, counted from 1.
      first, second: names of the pictures, in the order in which they were shown.
      score_first, score_second: 1 to 5; None if the viewer gave no score in time.
      showings: how often the pair was shown: once, unless it was interrupted.
    """

    viewer: str
    number: int
    first: str
    second: str
    score_first: int | None
    score_second: int | None
    showings: int

    @property
    def pictures(self) -> frozenset[str]:
        """The names of both pictures, without an order."""
        return frozenset((self.first, self.second))

    @property
    def scores(self) -> dict[str, int | None]:
        """{picture: score or None}."""
        return {self.first: self.score_first, self.second: self.score_second}


def parse(row: Mapping[str, str], survey: Survey) -> Answer:
    """Return the `Answer` in a row.

    Args:
      row: {column: text} with exactly `COLUMNS`.
      survey: the survey that the answer must belong to.

    Raises:
      AnswerError: a column is missing or unknown, or its text is not valid.
    """
    if set(row) != set(COLUMNS):
        raise AnswerError(f"the columns must be {','.join(COLUMNS)}")
    if row["survey"] != survey.identity:
        raise AnswerError(f"survey must be {survey.identity}, not {_quoted(row['survey'])}")
    if not re.fullmatch("[0-9a-f]{32}", row["viewer"]):
        raise AnswerError(f"viewer must be 32 digits 0-9a-f, not {_quoted(row['viewer'])}")
    answer = Answer(
        row["viewer"],
        _whole(row, "number", len(survey.pairs)),
        row["first"],
        row["second"],
        _score(row, "score_first"),
        _score(row, "score_second"),
        _whole(row, "showings", SHOWINGS_LIMIT),
    )
    if answer.pictures not in survey.by_pictures:
        raise AnswerError(
            f"no pair of this survey: {_quoted(answer.first)}, {_quoted(answer.second)}"
        )
    return answer


def _whole(row: Mapping[str, str], column: str, most: int) -> int:
    text = row[column]
    if not re.fullmatch("[1-9][0-9]{0,4}", text) or int(text) > most:
        raise AnswerError(f"{column} must be a whole number from 1 to {most}, not {_quoted(text)}")
    return int(text)


def _score(row: Mapping[str, str], column: str) -> int | None:
    text = row[column]
    if text == "":
        return None
    if text not in map(str, SCORES):
        raise AnswerError(f"{column} must be 1 to 5, or empty where missed, not {_quoted(text)}")
    return int(text)


def _quoted(text: str) -> str:
    return ascii(text if len(text) <= 40 else f"{text[:40]}…")


def load(paths: Iterable[StrPath], survey: Survey, separators: str = SEPARATORS) -> list[Answer]:
    """Read answer files.

    Args:
      paths: CSV files with `COLUMNS`.
      survey: the survey that the answers must belong to.
      separators: characters that may separate values; each file uses one of them.

    Returns:
      list of `Answer`.

    Raises:
      AnswerError: the columns are wrong, a score is not valid, a picture or pair is not in the
        survey, or a viewer answered a pair twice; the message names file and line.
    """
    answers: list[Answer] = []
    lines: dict[tuple[str, frozenset[str]], str] = {}
    for path in paths:
        for line, row in _rows(path, separators):
            try:
                answer = parse(row, survey)
            except AnswerError as error:
                raise AnswerError(f"{line}: {error}") from error
            key = answer.viewer, answer.pictures
            if key in lines:
                raise AnswerError(f"{line}: this viewer answered the same pair in {lines[key]}")
            lines[key] = line
            answers.append(answer)
    return answers


def _rows(path: StrPath, separators: str) -> Iterator[tuple[str, dict[str, str]]]:
    """Yield (file and number of a line, {column: text}) for every line that is not blank."""
    try:
        with open(path, "rb") as file:
            data = file.read(BYTE_LIMIT + 1)
        if len(data) > BYTE_LIMIT:
            raise AnswerError(f"{path}: larger than an answer file can be ({BYTE_LIMIT:,} bytes)")
        text = data.decode("utf-8-sig")
        separators_found = (mark for mark in separators if text.startswith(COLUMNS[0] + mark))
        stream = io.StringIO(text, newline="")
        lines = csv.reader(stream, delimiter=next(separators_found, ","), strict=True)
        columns = tuple(next(lines, ()))
        if columns != COLUMNS:
            raise AnswerError(f"{path}: the first line must be {','.join(COLUMNS)}")
        for values in filter(None, lines):
            line = f"{path}, line {lines.line_num}"
            if len(values) != len(COLUMNS):
                raise AnswerError(f"{line}: {len(COLUMNS)} values are needed, not {len(values)}")
            yield line, dict(zip(COLUMNS, values, strict=True))
    except OSError as error:
        raise AnswerError(f"{path}: cannot be read ({error.strerror})") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise AnswerError(f"{path}: not CSV in UTF-8 ({error})") from error


def append(folder: StrPath, answer: Answer, survey: Survey) -> bool:
    """Add an answer to the file of its viewer in `folder`; it is on the disk when this returns.

    A line is written at once. If that fails, or if a crash cut off an earlier line, the incomplete
    line is removed, so that the file always contains complete answers. An answer that is already
    in the file is not added again.

    Returns:
      Whether the answer was added.

    Raises:
      ContradictionError: the viewer has already answered the pair differently.
      AnswerError: the file contains something else than answers to this survey.
      OSError: the disk is full, and so on; the file is unchanged.
    """
    path = Path(folder) / f"{answer.viewer}.csv"
    line = ",".join(_texts(answer, survey)).encode() + b"\n"
    repair(path)
    if not path.exists():
        files.remove_leftovers(path)
        files.write_atomically(path, _HEADER + b"\n" + line)
        return True
    stored = load([path], survey, separators=",")
    earlier = next((item for item in stored if item.pictures == answer.pictures), None)
    if earlier not in (None, answer):
        raise ContradictionError("this viewer has already answered the same pair differently")
    _write_at_end(path, b"" if earlier else line)
    return earlier is None


def _write_at_end(path: Path, data: bytes) -> None:
    with open(path, "ab", buffering=0) as file:
        size = file.tell()
        try:
            if file.write(data) != len(data):
                raise OSError(f"{path}: only a part could be written")
            os.fsync(file.fileno())
        except OSError:
            file.truncate(size)
            raise


def repair(path: StrPath) -> None:
    """Repair the last line of an answer file, if a crash or an editor left it without an end.

    An incomplete line is removed, a complete one gets its line break, and a file without a complete
    line is deleted. Files that are not answer files, or do not exist, are ignored.

    Raises:
      OSError: the file cannot be read or written.
    """
    path = Path(path)
    if not path.exists():
        return
    data = path.read_bytes()
    last = data[max(data.rfind(b"\n"), data.rfind(b"\r")) + 1 :]
    if any(header.startswith(data) for header in _HEADERS):
        path.unlink()
    elif not data.startswith(_HEADERS):
        return
    elif _WHOLE_LINE.fullmatch(last):
        _write_at_end(path, b"\n")
    elif last:
        os.truncate(path, len(data) - len(last))


def _texts(answer: Answer, survey: Survey) -> list[str]:
    """Return the values of `COLUMNS`."""
    values = {**vars(answer), "survey": survey.identity}
    return ["" if values[name] is None else str(values[name]) for name in COLUMNS]
