"""Making the folder of a survey, with a page on which viewers rate pairs, as in the paper.

Choi and Kim, JBE 25(6), 2020, section IV: two corresponding pictures of Figures 2 and 6 are shown
for 5 s each, in random order; then the viewer has 5 s to score both.
"""

import os
import random
import secrets
import shutil
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypedDict

from gatys_norm import files
from gatys_norm.files import StrPath
from gatys_norm.images import io as picture_io
from gatys_norm.survey import answers
from gatys_norm.survey.model import (
    Pair,
    Survey,
    SurveyError,
    answers_folder,
    page_path,
    pictures_folder,
    save,
)
from gatys_norm.survey.pairs import PictureFiles
from gatys_norm.web import templates

TEMPLATE = "survey.html.jinja"
TITLE = "Rating style transfers"
SECONDS_LIMITS = 0.05, 600.0


class ShownPicture(TypedDict):
    """A picture that the introduction shows: its path from the page, and its size in pixels."""

    picture: str
    width: int
    height: int


def check_folder(folder: StrPath) -> None:
    """Raise SurveyError unless `folder` does not exist or is empty."""
    try:
        if any(Path(folder).iterdir()):
            raise SurveyError(f"{folder}: is not empty; a survey needs a folder of its own")
    except FileNotFoundError:
        return
    except OSError as error:
        raise SurveyError(f"{folder}: cannot be used as a folder ({error.strerror})") from error


def check_seconds(**times: float) -> None:
    """Raise SurveyError unless every time is within SECONDS_LIMITS; times are given by name."""
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

        from gatys_norm.survey import pairs as survey_pairs

        pairs = survey_pairs.load("results/reproduction/pairs.csv")
        build("results/survey", pairs, ("original loss", "normalized loss"))

    Every picture is decoded and written again as PNG under a random name, so that neither its name
    nor its metadata tell what it is. The folder gets its name only when it is complete.

    Args:
      folder: folder to make; it must be empty or must not exist.
      pairs: the pictures; of an example only `a` is shown, as in the paper.
      names: names of A and B in the table.
      show_seconds: time for which each picture is shown.
      score_seconds: time to score both pictures of a pair.
      run: folder of the reproduction that the pictures belong to.

    Returns:
      The content of survey.json.

    Raises:
      SurveyError: the folder is not empty, or a time is out of range.
      images.io.PictureError: a picture cannot be used.
      OSError: the disk is full, and so on; no files remain.
    """
    folder = Path(folder)
    check_folder(folder)
    check_seconds(show_seconds=show_seconds, score_seconds=score_seconds)
    relative_run = None if run is None else os.path.relpath(Path(run).resolve(), folder.resolve())
    folder.parent.mkdir(parents=True, exist_ok=True)
    unfinished = Path(tempfile.mkdtemp(prefix=f".{folder.name[:50]}.", dir=folder.parent))
    try:
        survey = _write(unfinished, pairs, names, (show_seconds, score_seconds), relative_run)
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
    run: str | None,
) -> Survey:
    """Write pictures, page and survey.json."""
    rated = [pair for pair in pairs if pair.use == "rate"]
    styles = _by_random_name(dict.fromkeys(pair.style for pair in pairs if pair.style))
    examples = _by_random_name(pair.a for pair in pairs if pair.use == "example")
    pictures = _by_random_name(picture for pair in rated for picture in (pair.a, pair.b))
    for new_folder in (pictures_folder(folder), answers_folder(folder)):
        new_folder.mkdir(parents=True)
    page_pictures = _write_pictures(folder, {**styles, **examples, **pictures})
    tokens = iter(pictures)
    survey = Survey(
        secrets.token_hex(16),
        names,
        tuple(Pair(*pair[:3], next(tokens), next(tokens)) for pair in rated),
        run,
    )
    page = {
        "survey": survey.identity,
        "pairs": sorted(sorted((pair.a, pair.b)) for pair in survey.pairs),
        "seconds": dict(zip(("show", "score"), seconds, strict=True)),
        "columns": answers.COLUMNS,
    }
    shown_styles = [page_pictures[token] for token in styles]
    shown_examples = random.sample([page_pictures[token] for token in examples], len(examples))
    files.write_atomically(
        page_path(folder), render_page(TITLE, shown_styles, shown_examples, page)
    )
    save(folder, survey)
    return survey


def _by_random_name(paths: Iterable[Path]) -> dict[str, Path]:
    """Return {random name: path}, in the order of the paths."""
    return {secrets.token_hex(8): path for path in paths}


def _write_pictures(folder: Path, paths: Mapping[str, Path]) -> dict[str, ShownPicture]:
    """Write the pictures of {name: path}; return {name: description for the page}.

    They are written in the order of their random names, so that the times of the files tell
    nothing about the pictures.
    """
    pictures: dict[str, ShownPicture] = {}
    for token, path in sorted(paths.items()):
        picture = picture_io.load_picture(path)
        height, width, _ = picture.shape
        target = pictures_folder(folder) / f"{token}.png"
        picture_io.save_picture(target, picture)
        pictures[token] = {"picture": f"pictures/{target.name}", "width": width, "height": height}
    return pictures


def render_page(
    title: str,
    styles: Sequence[ShownPicture],
    examples: Sequence[ShownPicture],
    page: Mapping[str, Any],
) -> bytes:
    """Return the page as bytes.

    Args:
      title: heading of the page.
      styles: the style pictures.
      examples: transfers that viewers see and do not rate.
      page: the data for the script: `survey`, `pairs`, `seconds`, `columns`.
    """
    template = templates.environment().get_template(TEMPLATE)
    return template.render(title=title, styles=styles, examples=examples, page=page).encode()
