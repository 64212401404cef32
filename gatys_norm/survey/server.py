"""The server of a survey: it serves the page and its pictures, and stores the answers.

Everyone who can reach the server can answer. No one can read answers, or learn which picture is
which. The path of a request is only looked up in a table, which is made at the start; it is never
used as the path of a file.
"""

import contextlib
import json
import os
import re
import threading
from collections.abc import Callable, Mapping
from http import HTTPStatus
from pathlib import Path
from typing import BinaryIO, NamedTuple

import filelock

from gatys_norm.survey import answers
from gatys_norm.survey import model as survey_model
from gatys_norm.survey.answers import Answer
from gatys_norm.survey.model import Survey, SurveyError
from gatys_norm.web import server as web_server
from gatys_norm.web.server import RefusedError, Reply, Request

ANSWERS = "/answers"
VIEWER_LIMIT = 10_000


def make_server(
    folder: str | os.PathLike[str],
    address: str = "127.0.0.1",
    port: int = 0,
    on_answer: Callable[[Answer], object] | None = None,
    on_error: Callable[[Exception], object] | None = None,
) -> web_server.Server:
    """Make the server of the survey in a folder, and repair answer files after crashes.

        with make_server("results/survey", port=8000) as server:
            server.serve_forever()

    Args:
      folder: folder that `survey.build.build` made.
      address: IPv4 address, IPv6 address or name to listen on.
      port: port to listen on; 0 for any free one.
      on_answer: called with each answer that was stored, one at a time.
      on_error: called with every exception that makes a valid request fail, for example because
        the disk is full.

    Returns:
      The server; its `server_close` unlocks the folder.

    Raises:
      SurveyError: the folder has no survey or a damaged one, is already being served, or cannot be
        written to.
      OSError: the address or the port is not available.
    """
    folder = Path(folder)
    with contextlib.ExitStack() as stack:
        try:
            survey = survey_model.load(folder)
            pages = _pages(folder, survey)
            store = stack.enter_context(contextlib.closing(_Store(folder, survey, on_answer)))
        except OSError as error:
            raise SurveyError(f"{folder}: cannot be served ({error.strerror})") from error
        server = _Server(address, port, store, pages, on_error)
        stack.pop_all()
    return server


class _Page(NamedTuple):
    path: Path
    kind: str
    caching: str


def _pages(folder: Path, survey: Survey) -> dict[str, _Page]:
    """Return {path of a request: file to send}."""
    index = survey_model.page_path(folder)
    pages = {"/": _Page(index, "text/html; charset=utf-8", "no-store")}
    for path in survey_model.pictures_folder(folder).iterdir():
        if re.fullmatch(r"[0-9a-f]{16}\.png", path.name):
            pages[f"/pictures/{path.name}"] = _Page(path, "image/png", "private, max-age=86400")
    pages = {
        name: page
        for name, page in pages.items()
        if page.path.is_file() and not page.path.is_symlink()
    }
    pictures = [f"/pictures/{token}.png" for pair in survey.pairs for token in (pair.a, pair.b)]
    for name in ("/", *pictures):
        if name not in pages:
            raise SurveyError(f"{folder}: damaged; {name} of its page is missing")
    return pages


# Storing answers


class _Store:
    """The answers of a survey, locked for other servers until this store is closed."""

    def __init__(
        self, folder: Path, survey: Survey, on_answer: Callable[[Answer], object] | None
    ) -> None:
        self.survey = survey
        self._folder = survey_model.answers_folder(folder)
        self._on_answer = on_answer
        self._turn = threading.Lock()
        self._lock = _lock(folder)
        try:
            self._folder.mkdir(exist_ok=True)
            for path in self._folder.glob("*.csv"):
                answers.repair(path)
            self._viewers = {path.stem for path in self._folder.glob("*.csv")}
        except BaseException:
            self._lock.close()
            raise

    def close(self) -> None:
        """Unlock the folder, after an answer that is being stored at the moment."""
        with self._turn:
            self._lock.close()

    def add(self, answer: Answer) -> None:
        """Store an answer; it is on the disk when this returns.

        Raises:
          RefusedError: the store is closed, VIEWER_LIMIT viewers have answered already, or the
            viewer has already answered the pair differently.
          OSError, answers.AnswerError: see `answers.append`.
        """
        with self._turn:
            if self._lock.closed:
                raise RefusedError(HTTPStatus.SERVICE_UNAVAILABLE, "the survey is closed")
            if answer.viewer not in self._viewers and len(self._viewers) >= VIEWER_LIMIT:
                raise RefusedError(HTTPStatus.SERVICE_UNAVAILABLE, "no more viewers can take part")
            try:
                is_new = answers.append(self._folder, answer, self.survey)
            except answers.ContradictionError as error:
                raise RefusedError(HTTPStatus.CONFLICT, str(error)) from error
            self._viewers.add(answer.viewer)
            if is_new:
                web_server.notify(self._on_answer, answer)


def _lock(folder: Path) -> BinaryIO:
    """Return the open lock file of a survey, which is locked until it is closed.

    The lock also ends when the process ends, for any reason. The file is not removed: otherwise two
    servers could each lock a different file of that name.
    """
    with contextlib.ExitStack() as stack:
        lock = stack.enter_context(open(folder / ".server.lock", "ab"))
        if not filelock.lock_descriptor(lock.fileno(), blocking=False):
            raise SurveyError(f"{folder}: is already served; end that server first")
        stack.pop_all()
    return lock


def _parse(body: bytes, survey: Survey) -> Answer:
    """Return the `Answer` in the body of a request.

    Raises:
      RefusedError: the body is not a JSON object of strings, or not a valid answer.
    """
    try:
        columns = json.loads(body.decode(), object_pairs_hook=tuple)
    except (ValueError, RecursionError) as error:
        raise RefusedError(HTTPStatus.BAD_REQUEST, "the body must be JSON in UTF-8") from error
    is_object = isinstance(columns, tuple) and len(dict(columns)) == len(columns)
    if not is_object or not all(isinstance(text, str) for _, text in columns):
        raise RefusedError(
            HTTPStatus.BAD_REQUEST,
            "the body must be a JSON object of strings, each name given once",
        )
    try:
        return answers.parse(dict(columns), survey)
    except answers.AnswerError as error:
        raise RefusedError(HTTPStatus.BAD_REQUEST, str(error)) from error


# HTTP


class _Server(web_server.Server):
    def __init__(
        self,
        address: str,
        port: int,
        store: _Store,
        pages: Mapping[str, _Page],
        on_error: Callable[[Exception], object] | None,
    ) -> None:
        self.store, self.pages = store, pages
        super().__init__(address, port, "survey", on_error)

    def server_close(self) -> None:
        """Accept no more requests, let replies that have begun finish, and unlock the folder."""
        super().server_close()
        self.store.close()

    def reply(self, request: Request) -> Reply:
        """Store an answer, or send the page or one of its pictures."""
        if request.path == ANSWERS:
            request.check_method("POST")
            return self._store_answer(request)
        if request.path in self.pages:
            request.check_method("GET", "HEAD")
            page = self.pages[request.path]
            headers = {"Content-Type": page.kind, "Cache-Control": page.caching}
            return HTTPStatus.OK, headers, page.path.read_bytes()
        raise RefusedError(HTTPStatus.NOT_FOUND, "not found")

    def _store_answer(self, request: Request) -> Reply:
        # A browser sends this type from a page of another website only if the server allows it.
        if request.headers.get_content_type() != "application/json":
            raise RefusedError(
                HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "Content-Type must be application/json"
            )
        answer = _parse(request.body, self.store.survey)
        try:
            self.store.add(answer)
        except OSError as error:
            self.report(error)
            raise RefusedError(
                HTTPStatus.INSUFFICIENT_STORAGE, "the answer could not be stored"
            ) from error
        return HTTPStatus.NO_CONTENT, {}, None
