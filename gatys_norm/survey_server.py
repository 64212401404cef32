"""Serving a survey: its page and pictures, and a place to send the answers to.

Whoever can reach the server can answer; nobody can read answers, or which picture is which. The
path of a request is only looked up in a table made at the start and never leads to a file.
"""

import contextlib
import errno
import fcntl
import http.server
import io
import ipaddress
import json
import os
import re
import socket
import socketserver
import sys
import threading
import time
from collections.abc import Callable, Mapping
from http import HTTPStatus
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, TypeAlias, TypeVar

from gatys_norm import answers
from gatys_norm.answers import Answer
from gatys_norm.survey import Survey, SurveyError, load, page_path

ANSWERS = "/answers"
BODY_LIMIT = 4 << 10  # bytes of an answer
LINE_LIMIT = 8 << 10  # bytes of a request's first line
READ_LIMIT = 64 << 10  # bytes of a request in all
VIEWER_LIMIT = 10_000
CONNECTION_LIMIT = 256  # a browser opens six
SECONDS = 10.0  # for a request to arrive, and for a client to take a block of the reply
BLOCK = 64 << 10
COMMON = {
    "Cache-Control": "no-store",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
TEXT = {"Content-Type": "text/plain; charset=utf-8"}
BUSY = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"

_Fact = TypeVar("_Fact")
_Reply: TypeAlias = tuple[HTTPStatus, Mapping[str, str], bytes | None]  # status, headers, body


def make_server(
    folder: str | os.PathLike[str],
    address: str = "127.0.0.1",
    port: int = 0,
    on_answer: Callable[[Answer], object] | None = None,
    on_error: Callable[[Exception], object] | None = None,
) -> http.server.ThreadingHTTPServer:
    """Make the server of the survey in a folder; what crashes left in its answers is repaired.

    Args:
      folder: what `survey.build` made.
      address: where to listen: IPv4, IPv6 or a name.
      port: 0 is any free one.
      on_answer: called with each `answers.Answer` that was stored, one at a time.
      on_error: called with each exception that kept the server from doing what it should, such as
        that of a full disk; requests that are no good are not among them.

    Returns:
      `ThreadingHTTPServer`; its `server_close` lets go of the folder.

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
          _RefusedError: this is closed, has no room, or the viewer answered otherwise before.
          OSError, answers.AnswerError: see `answers.append`.
        """
        with self._turn:
            if self._lock.closed:
                raise _RefusedError(HTTPStatus.SERVICE_UNAVAILABLE, "the survey is closed")
            if answer.viewer not in self._viewers and len(self._viewers) >= VIEWER_LIMIT:
                raise _RefusedError(HTTPStatus.SERVICE_UNAVAILABLE, "there is no room for more")
            try:
                is_new = answers.append(self._folder, answer, self.survey)
            except answers.ContradictionError as error:
                raise _RefusedError(HTTPStatus.CONFLICT, str(error)) from error
            self._viewers.add(answer.viewer)
            if is_new:
                _tell(self._on_answer, answer)


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


def _tell(listener: Callable[[_Fact], object] | None, fact: _Fact) -> None:
    """Call a listener, if there is one; its own failure changes nothing."""
    if listener is not None:
        with contextlib.suppress(Exception):
            listener(fact)


def _answer(body: bytes, survey: Survey) -> Answer:
    """Return the `Answer` in the body of a request."""
    try:
        columns = json.loads(body.decode(), object_pairs_hook=tuple)
    except (ValueError, RecursionError) as error:
        raise _RefusedError(HTTPStatus.BAD_REQUEST, "the body must be JSON in UTF-8") from error
    is_object = isinstance(columns, tuple) and len(dict(columns)) == len(columns)
    if not is_object or not all(isinstance(text, str) for _, text in columns):
        raise _RefusedError(
            HTTPStatus.BAD_REQUEST,
            "the body must be a JSON object of strings, each name given once",
        )
    try:
        return answers.parse(dict(columns), survey)
    except answers.AnswerError as error:
        raise _RefusedError(HTTPStatus.BAD_REQUEST, str(error)) from error


# HTTP


class _RefusedError(Exception):
    """A request that is not done; says why."""

    def __init__(
        self, status: HTTPStatus, text: str, headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(text)
        self.status, self.headers = status, headers or {}


class _Server(http.server.ThreadingHTTPServer):
    request_queue_size = 128

    def __init__(
        self,
        address: str,
        port: int,
        store: _Store,
        pages: Mapping[str, _Page],
        on_error: Callable[[Exception], object] | None,
    ) -> None:
        self.store, self.pages, self._on_error = store, pages, on_error
        self._connections: set[socket.socket] = set()
        self.address_family, where = _resolved(address, port)
        super().__init__(where, _Handler)
        self.hosts = _hosts(self.server_name)

    def server_bind(self) -> None:
        """Bind, without asking the network for this machine's name."""
        socketserver.TCPServer.server_bind(self)
        host, self.server_port = self.server_address[:2]
        self.server_name = str(host)

    def server_close(self) -> None:
        """Take no more requests and let go of the folder; replies under way are finished."""
        super().server_close()
        self.store.close()
        for connection in list(self._connections):
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RD)

    def verify_request(self, request: Any, client_address: Any) -> bool:
        """Take a connection where there is room for it."""
        is_room = len(self._connections) < CONNECTION_LIMIT
        if is_room:
            self._connections.add(request)
        else:
            with contextlib.suppress(OSError):
                request.setblocking(False)
                request.send(BUSY)
        return is_room

    def shutdown_request(self, request: Any) -> None:
        """End a connection, taken or not."""
        self._connections.discard(request)
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Print nothing; hand on what is not the connection's failure."""
        error = sys.exc_info()[1]
        if isinstance(error, Exception) and not isinstance(error, OSError):
            self.report(error)

    def report(self, error: Exception) -> None:
        """Hand on what kept the server from doing what it should."""
        _tell(self._on_error, error)


def _resolved(address: str, port: int) -> tuple[socket.AddressFamily, Any]:
    """Return the family and the numbers of the first address that a name stands for."""
    try:
        found = socket.getaddrinfo(address, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except ValueError as error:
        raise OSError(errno.EADDRNOTAVAIL, os.strerror(errno.EADDRNOTAVAIL)) from error
    family, _, _, _, where = found[0]
    return family, (where[0], port, *where[2:])


def _hosts(address: str) -> set[str] | None:
    """Return what a browser may call the server, or None for anything.

    On a server for this machine only, another name is that of a website which had its name lead
    here, so that its own script may talk to the server.
    """
    if not ipaddress.ip_address(address).is_loopback:
        return None
    return {"localhost", "127.0.0.1", "[::1]", f"[{address}]" if ":" in address else address}


class _Reader(io.RawIOBase):
    """What a client sends: so much, and for so long, for each request."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self.begin()

    def begin(self) -> None:
        """Begin a request."""
        self._left, self._end = READ_LIMIT, time.monotonic() + SECONDS

    def readable(self) -> bool:
        """Yes."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Read what there is, or wait for it."""
        seconds = self._end - time.monotonic()
        if seconds <= 0 or self._left <= 0:
            raise TimeoutError
        self._connection.settimeout(seconds)
        count = self._connection.recv_into(buffer)
        self._left -= count
        return count


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    default_request_version = "HTTP/1.0"  # of a first line that says none
    disable_nagle_algorithm = True
    server: _Server

    def setup(self) -> None:
        """Read from the connection within limits."""
        super().setup()
        self.rfile.close()
        self._reader = _Reader(self.connection)
        self.rfile = io.BufferedReader(self._reader)

    def finish(self) -> None:
        """End the connection, but not before a client that still sends has seen the reply."""
        with contextlib.suppress(OSError):
            self.connection.shutdown(socket.SHUT_WR)
            while self._reader.read(BLOCK):
                pass
        super().finish()

    def handle_one_request(self) -> None:
        """Read a request and reply; a client that is slow, silent or gone ends the connection."""
        self._reader.begin()
        self.close_connection = True
        self.requestline = self.command = ""
        self.request_version = self.default_request_version
        try:
            self.raw_requestline = self.rfile.readline(LINE_LIMIT + 1)
            if len(self.raw_requestline) > LINE_LIMIT:
                self.send_error(HTTPStatus.REQUEST_URI_TOO_LONG)
            elif self.raw_requestline and self.parse_request():
                self._reply()
        except OSError:
            self.close_connection = True

    def _reply(self) -> None:
        try:
            body = self._body()
            status, headers, reply = self._outcome(body)
        except _RefusedError as refused:
            self.close_connection = True
            self._send(refused.status, {**TEXT, **refused.headers}, f"{refused}\n".encode())
        else:
            self._send(status, headers, reply)

    def _body(self) -> bytes:
        """Read what comes after the head of the request."""
        lengths = self.headers.get_all("Content-Length", [])
        if "Transfer-Encoding" in self.headers or (self.command == "POST" and not lengths):
            raise _RefusedError(HTTPStatus.LENGTH_REQUIRED, "Content-Length is needed")
        if not lengths:
            return b""
        text = lengths[0].strip(" \t")
        if len(lengths) > 1 or not re.fullmatch("[0-9]{1,18}", text):
            raise _RefusedError(HTTPStatus.BAD_REQUEST, "Content-Length must be a whole number")
        if int(text) > BODY_LIMIT:
            raise _RefusedError(
                HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"at most {BODY_LIMIT} bytes can be sent"
            )
        body = self.rfile.read(int(text))
        if len(body) < int(text):
            raise _RefusedError(HTTPStatus.BAD_REQUEST, "the body ends early")
        return body

    def _outcome(self, body: bytes) -> _Reply:
        """Do what the request asks for; return status, headers and body of the reply."""
        try:
            self._check_host()
            name = self.requestline.split()[1].partition("?")[0]
            if name == ANSWERS:
                self._check_method("POST")
                return self._take(body)
            if name in self.server.pages:
                self._check_method("GET", "HEAD")
                return self._show(self.server.pages[name])
        except _RefusedError:
            raise
        except Exception as error:
            self.server.report(error)
            raise _RefusedError(
                HTTPStatus.INTERNAL_SERVER_ERROR, "the server could not do this"
            ) from error
        raise _RefusedError(HTTPStatus.NOT_FOUND, "there is nothing of this name")

    def _check_host(self) -> None:
        hosts = self.server.hosts
        given = [re.sub(":[0-9]*$", "", host.lower()) for host in self.headers.get_all("Host", [])]
        if hosts is not None and (len(given) != 1 or given[0] not in hosts):
            raise _RefusedError(
                HTTPStatus.FORBIDDEN, "the server must be called by its address, or localhost"
            )

    def _check_method(self, *methods: str) -> None:
        if self.command not in methods:
            allowed = ", ".join(methods)
            raise _RefusedError(
                HTTPStatus.METHOD_NOT_ALLOWED, f"this takes {allowed}", {"Allow": allowed}
            )

    def _show(self, page: _Page) -> _Reply:
        headers = {"Content-Type": page.kind, "Cache-Control": page.caching}
        return HTTPStatus.OK, headers, page.path.read_bytes()

    def _take(self, body: bytes) -> _Reply:
        # Of a page on another website, a browser sends this type only if the server agrees.
        if self.headers.get_content_type() != "application/json":
            raise _RefusedError(
                HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "Content-Type must be application/json"
            )
        answer = _answer(body, self.server.store.survey)
        try:
            self.server.store.add(answer)
        except OSError as error:
            self.server.report(error)
            raise _RefusedError(
                HTTPStatus.INSUFFICIENT_STORAGE, "the answer could not be stored"
            ) from error
        return HTTPStatus.NO_CONTENT, {}, None

    def _send(self, status: int, headers: Mapping[str, str], body: bytes | None) -> None:
        self.connection.settimeout(SECONDS)
        self.send_response(status)
        for name, value in {**COMMON, **headers}.items():
            self.send_header(name, value)
        if body is not None:
            self.send_header("Content-Length", str(len(body)))
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        if body and self.command != "HEAD":
            for start in range(0, len(body), BLOCK):
                self.wfile.write(body[start : start + BLOCK])

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """Refuse what cannot be read as a request."""
        self.close_connection = True
        self._send(code, TEXT, f"{HTTPStatus(code).phrase}\n".encode())

    def version_string(self) -> str:
        """Return what the server calls itself."""
        return "survey"

    def log_message(self, *_: object) -> None:
        """Print nothing."""
