"""Serving a survey: its page and pictures, and a place to send the answers to.

Whoever can reach the server can answer; nobody can read answers, or which picture is which. The
path of a request is only looked up in a table made at the start and never leads to a file.
"""

import contextlib
import fcntl
import json
import os
import re
import threading
from collections.abc import Callable, Mapping
from http import HTTPStatus
from pathlib import Path
from typing import BinaryIO, NamedTuple

from gatys_norm.survey import answers
from gatys_norm.survey.answers import Answer
from gatys_norm.survey.model import Survey, SurveyError, load, page_path
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
    """Make the server of the survey in a folder; what crashes left in its answers is repaired.

    Args:
      folder: what `survey_model.build` made.
      address: where to listen: IPv4, IPv6 or a name.
      port: 0 is any free one.
      on_answer: called with each `answers.Answer` that was stored, one at a time.
      on_error: called with each exception that kept the server from doing what it should, such as
        that of a full disk; requests that are no good are not among them.

    Returns:
      `web_server.Server`; its `server_close` lets go of the folder.

    Raises:
      SurveyError: the folder holds no survey or a damaged one, is served already, or cannot be
        written to.
      OSError: the address or port cannot be had.
    """
    folder = Path(folder)
    with contextlib.ExitStack() as stack:
        try:
            survey = load(folder)
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
    """Return {path of a request: _Page}."""
    index = page_path(folder)
    pages = {"/": _Page(index, "text/html; charset=utf-8", "no-store")}
    for path in (index.parent / "pictures").iterdir():
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
            raise SurveyError(f"{folder}: damaged; of its page, {name} is missing")
    return pages


# Keeping answers


class _Store:
    """The answers of a survey, which no other server writes to until this is closed."""

    def __init__(
        self, folder: Path, survey: Survey, on_answer: Callable[[Answer], object] | None
    ) -> None:
        self.survey = survey
        self._folder = folder / "answers"
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
        """Let go of the folder, once the answer that is being stored is."""
        with self._turn:
            self._lock.close()

    def add(self, answer: Answer) -> None:
        """Store an answer; it is on disk when this returns.

        Raises:
          RefusedError: this is closed, has no room, or the viewer answered otherwise before.
          OSError, answers.AnswerError: see `answers.append`.
        """
        with self._turn:
            if self._lock.closed:
                raise RefusedError(HTTPStatus.SERVICE_UNAVAILABLE, "the survey is closed")
            if answer.viewer not in self._viewers and len(self._viewers) >= VIEWER_LIMIT:
                raise RefusedError(HTTPStatus.SERVICE_UNAVAILABLE, "there is no room for more")
            try:
                is_new = answers.append(self._folder, answer, self.survey)
            except answers.ContradictionError as error:
                raise RefusedError(HTTPStatus.CONFLICT, str(error)) from error
            self._viewers.add(answer.viewer)
            if is_new:
                web_server.tell(self._on_answer, answer)


def _lock(folder: Path) -> BinaryIO:
    """Return the open lock file of a survey, for this process alone.

    It ends with the process, however that ends. The file stays: if it were removed, two servers
    could each lock one of that name.
    """
    with contextlib.ExitStack() as stack:
        lock = stack.enter_context(open(folder / ".server.lock", "ab"))
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise SurveyError(f"{folder}: is served already; end that server first") from error
        stack.pop_all()
    return lock


def _answer(body: bytes, survey: Survey) -> Answer:
    """Return the `Answer` in the body of a request."""
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
        """Take no more requests and let go of the folder; replies under way are finished."""
        super().server_close()
        self.store.close()

    def reply(self, request: Request) -> Reply:
        """Take an answer, or show the page or a picture of it."""
        if request.path == ANSWERS:
            request.check_method("POST")
            return self._take(request)
        if request.path in self.pages:
            request.check_method("GET", "HEAD")
            page = self.pages[request.path]
            headers = {"Content-Type": page.kind, "Cache-Control": page.caching}
            return HTTPStatus.OK, headers, page.path.read_bytes()
        raise RefusedError(HTTPStatus.NOT_FOUND, "there is nothing of this name")

    def _take(self, request: Request) -> Reply:
        # Of a page on another website, a browser sends this type only if the server agrees.
        if request.headers.get_content_type() != "application/json":
            raise RefusedError(
                HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "Content-Type must be application/json"
            )
        answer = _answer(request.body, self.store.survey)
        try:
            self.store.add(answer)
        except OSError as error:
            self.report(error)
            raise RefusedError(
                HTTPStatus.INSUFFICIENT_STORAGE, "the answer could not be stored"
            ) from error
        return HTTPStatus.NO_CONTENT, {}, None
