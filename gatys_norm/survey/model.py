"""A survey and its folder: which pictures form pairs, and where the files are.

A survey is a folder:

    survey.json     which picture is which; not for viewers
    page/           index.html and pictures/: the part that viewers get
    answers/        one file per viewer, where a server stores them

The module `pairs` reads the list of pairs, `build` makes the folder, `server` serves it, `answers`
reads the answers, and `statistics` and `table` make Table 1 from them.
"""

import json
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from gatys_norm import files
from gatys_norm.files import StrPath

BYTE_LIMIT = 1 << 22  # of survey.json or a list of pairs


class SurveyError(ValueError):
    """A list of pairs, a folder or a time cannot be used; the message says what would be right."""


class Pair(NamedTuple):
    """A pair of a survey.

    `a` and `b` are the names of its pictures on the page: 16 random hexadecimal digits, which do
    not tell what the pictures are. `item`, `row` and `column` are its position in Table 1.
    """

    item: str
    row: str
    column: str
    a: str
    b: str


@dataclass(frozen=True)
class Survey:
    """The content of survey.json.

    Attributes:
      identity: 32 random hexadecimal digits, which every answer contains.
      names: names of A and B.
      pairs: the `Pair`s to rate.
      run: folder of the reproduction it was made from, relative to that of the survey; or None.
      by_pictures: {names of both pictures: the pair}.
    """

    identity: str
    names: tuple[str, str]
    pairs: tuple[Pair, ...]
    run: str | None
    by_pictures: dict[frozenset[str], Pair] = field(init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        by_pictures = {frozenset((pair.a, pair.b)): pair for pair in self.pairs}
        object.__setattr__(self, "by_pictures", by_pictures)


def page_path(folder: StrPath) -> Path:
    """Return the path of the page of a survey; everything in its folder belongs to the page."""
    return Path(folder) / "page" / "index.html"


def pictures_folder(folder: StrPath) -> Path:
    """Return the folder of the pictures of the page."""
    return page_path(folder).parent / "pictures"


def answers_folder(folder: StrPath) -> Path:
    """Return the folder in which a server stores the answers."""
    return Path(folder) / "answers"


def key_path(folder: StrPath) -> Path:
    """Return the path of the file that tells which picture is which."""
    return Path(folder) / "survey.json"


def save(folder: StrPath, survey: Survey) -> None:
    """Write survey.json into a folder.

    Raises:
      OSError: see `files.write_atomically`.
    """
    facts = {
        "survey": survey.identity,
        "names": survey.names,
        "run": survey.run,
        "pairs": [pair._asdict() for pair in survey.pairs],
    }
    text = json.dumps(facts, indent=1, ensure_ascii=False) + "\n"
    files.write_atomically(key_path(folder), text.encode("utf-8", "surrogateescape"))


def load(folder: StrPath) -> Survey:
    """Read the `Survey` in a folder.

    Raises:
      SurveyError: the folder holds no survey, or a damaged one.
    """
    path = key_path(folder)
    if not path.is_file():
        raise SurveyError(f"{folder}: holds no survey (no {path.name})")
    text = read_text(path)
    try:
        facts = json.loads(text)
        pairs = tuple(Pair(**pair) for pair in facts["pairs"])
        survey = Survey(facts["survey"], tuple(facts["names"]), pairs, facts["run"])
        is_valid = _is_valid(survey)
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise SurveyError(f"{path}: damaged") from error
    if not is_valid:
        raise SurveyError(f"{path}: damaged")
    return survey


def _is_valid(survey: Survey) -> bool:
    """Tell whether all values, which were read from a file, have the required types and forms."""
    texts = [survey.identity, *survey.names, *(text for pair in survey.pairs for text in pair)]
    pictures = [picture for pair in survey.pairs for picture in (pair.a, pair.b)]
    return (
        all(isinstance(text, str) for text in texts)
        and isinstance(survey.run, str | None)
        and len(survey.names) == 2
        and re.fullmatch("[0-9a-f]{32}", survey.identity) is not None
        and all(re.fullmatch("[0-9a-f]{16}", picture) for picture in pictures)
        and 0 < len(pictures) == len(set(pictures))
    )


def read_text(path: StrPath) -> str:
    """Read a text file of at most `BYTE_LIMIT` bytes in UTF-8, with or without a byte order mark.

    Raises:
      SurveyError: it cannot be read, is larger, or is not text in UTF-8.
    """
    try:
        with open(path, "rb") as file:
            data = file.read(BYTE_LIMIT + 1)
    except OSError as error:
        raise SurveyError(f"{path}: cannot be read ({error.strerror})") from error
    if len(data) > BYTE_LIMIT:
        raise SurveyError(f"{path}: larger than {BYTE_LIMIT:,} bytes")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise SurveyError(f"{path}: not text in UTF-8 ({error})") from error
