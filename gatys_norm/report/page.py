"""An HTML page of records and pictures, which needs only the pictures. No TensorFlow."""

import functools
import itertools
import os
import re
import urllib.parse
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import jinja2
import markupsafe

from gatys_norm import files
from gatys_norm.files import StrPath
from gatys_norm.images import io as picture_io
from gatys_norm.record import Record, lambda_os_of
from gatys_norm.report import markdown
from gatys_norm.text import NOTHING, replace_between
from gatys_norm.web import templates

TEMPLATE = "report.html.jinja"
EXPECTED = {"less": "normalized below original", "more": "normalized above original"}
USUAL_RATIO = 4 / 3  # width over height of the box of a picture whose size cannot be read
END_OF_SURVEY = b"<!-- end of survey -->"  # in every page
SURVEY_LINK = markupsafe.Markup('<li><a href="#survey">Table 1</a></li>')


class ReportError(ValueError):
    """A file is not a page that `write` made."""


@dataclass(frozen=True)
class Cell:
    """A finished or failed transfer.

    Attributes:
      caption: text under the picture.
      picture: path of the picture; one that does not exist is shown as missing.
      record: record of the transfer.
      error: message that says why there is no result.
    """

    caption: str
    picture: Path | None
    record: Record | None
    error: str | None = None


@dataclass(frozen=True)
class Grid:
    """A table of pictures, of one loss.

    Raises:
      ValueError: there is not one cell per row and column.
    """

    title: str
    rows: tuple[str, ...]
    columns: tuple[str, ...]
    cells: tuple[tuple[Cell, ...], ...]

    def __post_init__(self) -> None:
        if [len(row) for row in self.cells] != [len(self.columns)] * len(self.rows):
            raise ValueError(
                f"{self.title}: needs {len(self.rows)} rows of {len(self.columns)} cells"
            )


@dataclass(frozen=True)
class Section:
    """A part of the page: plain text, one or two grids whose cells correspond, and plots.

    `text` is divided into paragraphs at empty lines; `plots` are (caption, picture file).

    Raises:
      ValueError: there are more than two grids, or two of different shapes.
    """

    title: str
    text: str
    grids: tuple[Grid, ...] = ()
    plots: tuple[tuple[str, Path], ...] = ()

    def __post_init__(self) -> None:
        if len(self.grids) > 2 or len(set(map(_shape, self.grids))) > 1:
            raise ValueError(f"{self.title}: expected one grid or two of as many rows and columns")


class _Picture(NamedTuple):
    """A picture file: its URL relative to the page, and (width, height); None if unreadable."""

    link: str
    size: tuple[int, int] | None


class _Side(NamedTuple):
    """A cell that is shown large, the label that names it there, and the key of its record."""

    label: str
    cell: Cell
    key: str


class _View(NamedTuple):
    """What is shown large: the cells at one position of the grids of a section, or a plot.

    `neighbors` is {"left", "right", "up" or "down": key of the view there}, as far as they exist.
    """

    key: str
    caption: str
    sides: tuple[_Side, ...]
    neighbors: dict[str, str]


def write(
    path: StrPath,
    title: str,
    sections: Sequence[Section],
    findings: Sequence[Mapping[str, Any]] = (),
    settings: Mapping[str, Mapping[str, Any]] | None = None,
) -> None:
    """Write the page.

    It refers to the pictures by paths relative to its folder, so that they can be moved together.
    An older page is replaced; a table that `insert_survey` put into it is lost.

    Args:
      path: where the page goes.
      title: its heading.
      sections: list of `Section`.
      findings: dicts of `name`, `claim` (what the paper says), `measure`, `unit`, `original`,
        `normalized` (the two numbers, or None), `expected` ("less" or "more" if the paper expects
        the number of the normalized loss to be less or more, or other words), `holds` (None if not
        measured), `note` and `details` (dict, text or None); perhaps of `style_aware` (its number),
        `verdict` (words) and `intervals` ({"difference": [low, high]} or empty). Those of one claim
        follow each other.
      settings: {name of a group: {name: value}}; values may be dicts too.

    Raises:
      ValueError: a record holds NaN or an infinity, which JSON does not have.
      OSError: see `files.write_atomically`.
    """
    folder = Path(path).parent
    views = [_views(str(number), section) for number, section in enumerate(sections)]
    page = _environment(folder).get_template(TEMPLATE)
    text = page.render(
        title=title,
        sections=sections,
        views=views,
        records=_records(itertools.chain(*views)),
        claims=_by_claim(findings),
        settings=settings or {},
    )
    # A file name may not be valid Unicode.
    files.write_atomically(path, text.encode("utf-8", "backslashreplace"))


def is_page(path: StrPath) -> bool:
    """Tell whether a file is a page that `write` made."""
    try:
        return Path(path).read_bytes().count(END_OF_SURVEY) == 1
    except OSError:
        return False


def insert_survey(path: StrPath, fragment: str) -> None:
    """Insert the table of a survey into a page, and a link to it at the top.

    An older table is replaced; the rest of the page does not change. The Content-Security-Policy
    of the page allows no script and no style in the fragment.

    Args:
      path: a page that `write` made.
      fragment: `markupsafe.Markup`, a section with the id "survey"; plain text is escaped.

    Raises:
      ReportError: the file is not such a page.
      OSError: it cannot be read, or see `files.write_atomically`.
    """
    try:
        page = Path(path).read_bytes().decode()
    except UnicodeDecodeError as error:
        raise ReportError(f"{path}: not a report page, nor text in UTF-8 ({error})") from error
    try:
        for name, content in (
            ("survey link", SURVEY_LINK),
            ("survey", markupsafe.escape(fragment)),
        ):
            page = replace_between(page, f"<!-- {name} -->", f"<!-- end of {name} -->", content)
    except ValueError as error:
        raise ReportError(
            f"{path}: not a report page with a place for a survey's table ({error})"
        ) from error
    files.write_atomically(path, page.encode("utf-8", "backslashreplace"))


def _environment(folder: Path) -> jinja2.Environment:
    environment = templates.environment()
    environment.policies["json.dumps_kwargs"] = {"allow_nan": False}
    picture = functools.cache(functools.partial(_picture, folder))
    environment.filters |= {"breakable": _breakable, "picture": picture, "as_text": _as_text}
    environment.globals |= {
        "EXPECTED": EXPECTED,
        "facts": _facts,
        "flat": _flat,
        "interval": markdown.interval,
        "ratio": _ratio,
    }
    return environment


def _picture(folder: Path, path: Path | None) -> _Picture | None:
    """Return the `_Picture` at `path`, or None if there is none."""
    if path is None or not os.path.isfile(path):
        return None
    relative = os.path.relpath(os.path.abspath(path), os.path.abspath(folder))
    try:
        height, width = picture_io.read_size(path)
        size = width, height
    except picture_io.PictureError:  # for example SVG: browsers know more formats
        size = None
    return _Picture(urllib.parse.quote(os.fsencode(relative)), size)


def _ratio(pictures: Iterable[_Picture | None]) -> float:
    """Return width / height of the box in which pictures lie on top of each other."""
    sizes = [picture.size for picture in pictures if picture and picture.size]
    return round(sizes[0][0] / sizes[0][1], 4) if sizes else USUAL_RATIO


def _breakable(name: str) -> markupsafe.Markup:
    """Allow line breaks in a name after an underscore, but not in λ_os."""
    return markupsafe.Markup("<wbr>").join(re.split("(?<=[^λ]_)", name))


# What is seen large


def _views(number: str, section: Section) -> list[_View]:
    """Return the views of a section, its grids' in reading order and then its plots'."""
    rows, columns = _shape(section.grids[0]) if section.grids else (0, 0)
    cells = {
        (row, column): _cell_view(number, section.grids, row, column)
        for row, column in itertools.product(range(rows), range(columns))
    }
    plots = {
        (0, index): _plot_view(f"{number}-plot-{index}", *plot)
        for index, plot in enumerate(section.plots)
    }
    return _with_neighbors(cells) + _with_neighbors(plots)


def _shape(grid: Grid) -> tuple[int, int]:
    return len(grid.rows), len(grid.columns)


def _cell_view(number: str, grids: Sequence[Grid], row: int, column: int) -> _View:
    rows = dict.fromkeys(grid.rows[row] for grid in grids)  # one, if both are the same
    columns = dict.fromkeys(grid.columns[column] for grid in grids)
    return _View(
        f"{number}-{row}-{column}",
        f"{' / '.join(rows)} · {' / '.join(columns)}",
        tuple(
            _Side(label, grid.cells[row][column], f"{number}-{index}-{row}-{column}")
            for index, (label, grid) in enumerate(zip(_labels(grids), grids, strict=True))
        ),
        {},
    )


def _labels(grids: Sequence[Grid]) -> list[str]:
    """Return a name for each grid: its loss, if that distinguishes them, or else its title."""
    losses = [
        {cell.record["config"]["loss"] for row in grid.cells for cell in row if cell.record}
        for grid in grids
    ]
    names = [f"{loss} loss" for losses_of_grid in losses for loss in losses_of_grid]
    if len(names) == len(set(names)) == len(grids) and all(losses):
        return names
    return [grid.title for grid in grids]


def _plot_view(key: str, caption: str, path: Path) -> _View:
    return _View(key, caption, (_Side("", Cell(caption, path, None), ""),), {})


def _with_neighbors(views: Mapping[tuple[int, int], _View]) -> list[_View]:
    """Return the views of {(row, column): view} in reading order, with their neighbors."""
    positions = list(views)
    linked = []
    for index, (row, column) in enumerate(positions):
        around = {
            "left": positions[index - 1] if index else None,
            "right": positions[index + 1] if index + 1 < len(positions) else None,
            "up": (row - 1, column),
            "down": (row + 1, column),
        }
        keys = {
            direction: views[position].key
            for direction, position in around.items()
            if position and position in views
        }
        linked.append(views[row, column]._replace(neighbors=keys))
    return linked


# Records and findings


def _records(views: Iterable[_View]) -> dict[str, dict[str, Any]]:
    """Return {key: record}, without the histories, which only plots use."""
    return {
        side.key: {name: value for name, value in side.cell.record.items() if name != "history"}
        for view in views
        for side in view.sides
        if side.cell.record
    }


def _facts(cells: Sequence[Cell]) -> list[tuple[str, list[Any]]]:
    """Return the facts that the page compares: [(name, [value of each cell])]."""
    described = [_facts_of(cell.record) if cell.record else {} for cell in cells]
    names = dict.fromkeys(itertools.chain(*described))
    return [(name, [facts.get(name) for facts in described]) for name in names]


def _facts_of(record: Record) -> dict[str, Any]:
    config = record["config"]
    return {
        "loss": config["loss"],
        "λ_os": lambda_os_of(record),
        "size": _size(record),
        **_raised_weights(config),
        "iterations": record["iterations"],
        "evaluations": record["evaluations"],
        "status": record["status"],
        "final loss": record["loss"]["final"],
        "seconds": record["timing"]["seconds"],
        "strength": record["metrics"].get("strength"),
        **{
            f"{measure.replace('_', ' ')} {layer}": value
            for measure in ("content_distance", "style_reflection")
            for layer, value in record["metrics"][measure].items()
        },
    }


def _size(record: Record) -> str:
    *coarse, last = record["stages"]
    after = ", ".join(str(stage["size"]) for stage in coarse)
    return f"{last['width']} × {last['height']}" + (f" after {after}" if after else "")


def _raised_weights(config: Mapping[str, Any]) -> dict[str, str]:
    """Return the layers that have a larger weight than others, if the weights differ."""
    raised = {}
    for kind in ("content", "style"):
        weights = dict(zip(config[f"{kind}_layers"], config[f"{kind}_weights"], strict=True))
        least = min(weights.values())
        heavier = [f"{layer} {weight:g}" for layer, weight in weights.items() if weight > least]
        if heavier:
            raised[f"raised {kind} weights"] = f"{', '.join(heavier)} (others {least:g})"
    return raised


def _by_claim(
    findings: Iterable[Mapping[str, Any]],
) -> list[tuple[str, list[Mapping[str, Any]]]]:
    """Return [(claim, its findings)], in the order given."""
    groups = itertools.groupby(findings, lambda finding: finding["claim"])
    return [(claim, list(measured)) for claim, measured in groups]


def _flat(values: Mapping[str, Any]) -> dict[str, Any]:
    """Flatten dicts in a dict: {"packages": {"numpy": 2}} becomes {"packages numpy": 2}."""
    flat: dict[str, Any] = {}
    for name, value in values.items():
        if isinstance(value, dict):
            flat |= {f"{name} {inner}": part for inner, part in _flat(value).items()}
        else:
            flat[name] = value
    return flat


def _as_text(value: object) -> str:
    """Return a value as text for a reader."""
    if value is None:
        return NOTHING
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, (list, tuple)):
        separator = "; " if any(isinstance(part, (list, tuple)) for part in value) else ", "
        return separator.join(map(_as_text, value)) or NOTHING
    return str(value)
