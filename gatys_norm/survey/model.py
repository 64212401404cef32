"""Table 1: pairs of pictures → a page on which viewers rate them, as the paper's viewers did.

A survey is a folder:

    survey.json     which picture is which; not for viewers
    page/           index.html and pictures/: what is handed out or served
    answers/        one file per viewer, where a server puts them

Choi and Kim, JBE 25(6), 2020, section IV: every two corresponding pictures of Figures 2 and 6 are
shown for 5 s each in random order, then there are 5 s to score both.
"""

import csv
import io
import json
import os
import random
import re
import secrets
import shutil
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from gatys_norm import files
from gatys_norm.files import StrPath
from gatys_norm.images import io as picture_io
from gatys_norm.web import templates

TEMPLATE = "survey.html.jinja"
TITLE = "Rating style transfers"
ANSWER_COLUMNS = (
    *("viewer", "number", "first", "second", "score_first", "score_second", "showings"),
    "survey",
)
PAIR_COLUMNS = ("item", "row", "column", "a", "b")
OPTIONAL_COLUMNS = ("style", "use")
USES = ("rate", "example")
SECONDS_LIMITS = 0.05, 600.0
PAIR_LIMIT = 1000
TEXT_LIMIT = 200  # characters of a name
BYTE_LIMIT = 1 << 22  # of survey.json or a list of pairs


class SurveyError(ValueError):
    """A list of pairs, a folder or a time that cannot be used; says what would be right."""


class PictureFiles(NamedTuple):
    """One line of a list of pairs: the files of both pictures and what they are.

    `use` is "rate", or "example" for a transfer that the introduction shows and nobody rates.
    """

    item: str
    row: str
    column: str
    a: Path
    b: Path
    style: Path | None = None
    use: str = "rate"


class Pair(NamedTuple):
    """A pair of a survey: `a` and `b` are what its pictures are called there, and say nothing."""

    item: str
    row: str
    column: str
    a: str
    b: str


@dataclass(frozen=True)
class Survey:
    """What `survey_model.json` holds.

    `names` are those of A and B; `run` is the folder of the reproduction it was made from,
    relative to the survey's, or None.
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
    """Where the page of a survey lies; what is beside it belongs to it."""
    return Path(folder) / "page" / "index.html"


def key_path(folder: StrPath) -> Path:
    """Where a survey keeps which picture is which."""
    return Path(folder) / "survey.json"


# The list of pairs


def list_pairs(pairs: Iterable[PictureFiles], folder: StrPath) -> bytes:
    """Return a list of pairs (`PictureFiles`) as CSV, with paths relative to `folder`: bytes."""

    def shown(value: str | Path | None) -> str:
        if isinstance(value, Path):
            return os.path.relpath(value.resolve(), Path(folder).resolve())
        return value or ""

    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(PAIR_COLUMNS + OPTIONAL_COLUMNS)
    writer.writerows(map(shown, pair) for pair in pairs)
    return text.getvalue().encode("utf-8", "surrogateescape")


def load_pairs(path: StrPath) -> list[PictureFiles]:
    """Read a list of pairs: CSV with `PAIR_COLUMNS`, and `OPTIONAL_COLUMNS` where wanted.

    Returns:
      list of `PictureFiles`; relative paths are taken from the list's own folder.

    Raises:
      SurveyError: names the file, the line and what is wrong.
    """
    pairs: list[PictureFiles] = []
    places: dict[tuple[str, str, str], str] = {}
    lines = csv.reader(io.StringIO(_text(path), newline=""), strict=True)
    try:
        columns = next(lines, [])
        known = {*PAIR_COLUMNS, *OPTIONAL_COLUMNS}
        if (
            set(columns) - known
            or set(PAIR_COLUMNS) - set(columns)
            or len(set(columns)) < len(columns)
        ):
            raise SurveyError(
                f"{path}: the first line must name the columns {','.join(PAIR_COLUMNS)}, and may "
                f"name {','.join(OPTIONAL_COLUMNS)}"
            )
        for values in filter(None, lines):
            place = f"{path}, line {lines.line_num}"
            if len(values) != len(columns):
                raise SurveyError(f"{place}: {len(columns)} values are needed, not {len(values)}")
            pair = _pair(dict(zip(columns, values, strict=True)), Path(path).parent, place)
            before = places.setdefault(pair[:3], place)
            if before != place:
                raise SurveyError(f"{place}: the same item, row and column as in {before}")
            pairs.append(pair)
    except csv.Error as error:
        raise SurveyError(f"{path}: not CSV ({error})") from error
    if not any(pair.use == "rate" for pair in pairs):
        raise SurveyError(f"{path}: holds no pair to rate")
    if len(pairs) > PAIR_LIMIT:
        raise SurveyError(f"{path}: at most {PAIR_LIMIT} pairs are possible, not {len(pairs)}")
    return pairs


def _pair(row: Mapping[str, str], folder: Path, place: str) -> PictureFiles:
    for name in ("item", "row", "column"):
        if not 0 < len(row[name].strip()) <= TEXT_LIMIT:
            raise SurveyError(f"{place}: {name} must have 1 to {TEXT_LIMIT} characters")
    for name in ("a", "b"):
        if not row[name]:
            raise SurveyError(f"{place}: {name} must be the path of a picture")
    use = row.get("use") or USES[0]
    if use not in USES:
        raise SurveyError(f"{place}: use must be {' or '.join(USES)}, not {use[:40]!a}")
    style = folder / row["style"] if row.get("style") else None
    item, label, column = (row[name].strip() for name in ("item", "row", "column"))
    return PictureFiles(item, label, column, folder / row["a"], folder / row["b"], style, use)


def _text(path: StrPath) -> str:
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


# Building


def check_folder(folder: StrPath) -> None:
    """Raise SurveyError unless a survey can be built at `folder`: nothing, or nothing in it."""
    try:
        if any(Path(folder).iterdir()):
            raise SurveyError(f"{folder}: is not empty; a survey needs a folder of its own")
    except FileNotFoundError:
        return
    except OSError as error:
        raise SurveyError(f"{folder}: cannot be used as a folder ({error.strerror})") from error


def check_seconds(**times: float) -> None:
    """Raise SurveyError unless every time, given by its name, is within SECONDS_LIMITS."""
    least, most = SECONDS_LIMITS
    for name, seconds in times.items():
        if not least <= seconds <= most:
            raise SurveyError(f"{name}: must be {least:g} to {most:g}, not {seconds:g}")


def build(
    folder: StrPath,
    pairs: Sequence[PictureFiles],
    names: tuple[str, str] = ("A", "B"),
    show_seconds: float = 5.0,
    score_seconds: float = 5.0,
    run: StrPath | None = None,
) -> Survey:
    """Make the folder of a survey.

    Every picture is decoded and written anew as PNG under a name drawn by chance, so that neither
    name nor metadata says what it is. The folder appears only when all of it is written.

    Args:
      folder: where to; nothing, or an empty folder.
      pairs: `PictureFiles`; of those to be shown as examples only `a` is, as in the paper.
      names: what A and B are, for the table.
      show_seconds: how long each picture is shown.
      score_seconds: how long both can be scored.
      run: folder of the reproduction whose pictures they are.

    Returns:
      Survey.

    Raises:
      SurveyError: the folder is not empty, or a time is out of range.
      images.PictureError: a picture cannot be used.
      OSError: the disk is full, and so on; nothing is left behind.
    """
    folder = Path(folder)
    check_folder(folder)
    check_seconds(show_seconds=show_seconds, score_seconds=score_seconds)
    folder.parent.mkdir(parents=True, exist_ok=True)
    unfinished = Path(tempfile.mkdtemp(prefix=f".{folder.name[:50]}.", dir=folder.parent))
    try:
        survey = _write(unfinished, pairs, names, (show_seconds, score_seconds))
        where = None if run is None else os.path.relpath(Path(run).resolve(), folder.resolve())
        survey = Survey(survey.identity, survey.names, survey.pairs, where)
        _save(unfinished, survey)
        unfinished.chmod(0o755)
        unfinished.replace(folder)
    except BaseException:
        shutil.rmtree(unfinished, ignore_errors=True)
        raise
    return survey


def _write(
    folder: Path,
    pairs: Sequence[PictureFiles],
    names: tuple[str, str],
    seconds: tuple[float, float],
) -> Survey:
    """Write page and pictures, in the order of their names, which is none."""
    rated = [pair for pair in pairs if pair.use == "rate"]
    styles = list(dict.fromkeys(pair.style for pair in pairs if pair.style))
    examples = [pair.a for pair in pairs if pair.use == "example"]
    shown = [*styles, *examples, *(picture for pair in rated for picture in (pair.a, pair.b))]
    tokens = [secrets.token_hex(8) for _ in shown]
    for name in ("page/pictures", "answers"):
        (folder / name).mkdir(parents=True)
    sizes = {}
    for token, path in sorted(zip(tokens, shown, strict=True)):
        picture = picture_io.load_picture(path)
        sizes[token] = picture.shape
        picture_io.save_picture(folder / "page" / "pictures" / f"{token}.png", picture)

    def described(names: Iterable[str]) -> list[dict[str, str | int]]:
        return [
            {
                "picture": f"pictures/{name}.png",
                "width": sizes[name][1],
                "height": sizes[name][0],
            }
            for name in names
        ]

    rest = iter(tokens)
    style_tokens = [next(rest) for _ in styles]
    example_tokens = random.sample([next(rest) for _ in examples], len(examples))
    survey = Survey(
        secrets.token_hex(16),
        (*names,),
        tuple(Pair(*pair[:3], next(rest), next(rest)) for pair in rated),
        None,
    )
    page = {
        "survey": survey.identity,
        "pairs": sorted(sorted((pair.a, pair.b)) for pair in survey.pairs),
        "seconds": dict(zip(("show", "score"), seconds, strict=True)),
        "columns": ANSWER_COLUMNS,
    }
    files.write_atomically(
        page_path(folder),
        render_page(TITLE, described(style_tokens), described(example_tokens), page),
    )
    return survey


def render_page(
    title: str,
    styles: Sequence[Mapping[str, str | int]],
    examples: Sequence[Mapping[str, str | int]],
    page: Mapping[str, Any],
) -> bytes:
    """Return the page as bytes.

    Args:
      title: its heading.
      styles, examples: lists of {"picture": path, "width": pixels, "height": pixels}.
      page: what its script works with: `survey`, `pairs`, `seconds`, `columns`.
    """
    template = templates.environment().get_template(TEMPLATE)
    return template.render(title=title, styles=styles, examples=examples, page=page).encode()


# survey.json


def _save(folder: Path, survey: Survey) -> None:
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
      SurveyError: there is none, or it is damaged.
    """
    path = key_path(folder)
    if not path.is_file():
        raise SurveyError(f"{folder}: holds no survey (no {path.name})")
    try:
        facts = json.loads(_text(path))
        pairs = tuple(Pair(**pair) for pair in facts["pairs"])
        survey = Survey(facts["survey"], tuple(facts["names"]), pairs, facts["run"])
        texts = [survey.identity, *survey.names, *(text for pair in pairs for text in pair)]
        tokens = [token for pair in pairs for token in (pair.a, pair.b)]
        is_whole = (
            all(isinstance(text, str) for text in texts)
            and isinstance(survey.run, str | None)
            and len(survey.names) == 2
            and re.fullmatch("[0-9a-f]{32}", survey.identity)
            and all(re.fullmatch("[0-9a-f]{16}", token) for token in tokens)
            and 0 < len(tokens) == len(set(tokens))
        )
    except SurveyError:
        raise
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise SurveyError(f"{path}: damaged") from error
    if not is_whole:
        raise SurveyError(f"{path}: damaged")
    return survey
