"""HTTP for the pages that the program serves: what a client may send, and what it is told.

The path of a request is only compared with names and never leads to a file.
"""

import contextlib
import errno
import http.server
import io
import ipaddress
import os
import re
import socket
import socketserver
import sys
import time
from collections.abc import Callable, Generator, Mapping
from email.message import Message
from http import HTTPStatus
from typing import Any, NamedTuple, TypeAlias, TypeVar

BODY_LIMIT = 4 << 10  # bytes
LINE_LIMIT = 8 << 10  # bytes of a request's first line
READ_LIMIT = 64 << 10  # bytes of a request in all
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
Body: TypeAlias = bytes | Generator[bytes, None, None] | None
Reply: TypeAlias = tuple[HTTPStatus, Mapping[str, str], Body]  # status, headers, body


class RefusedError(Exception):
    """A request that is not done; says why."""

    def __init__(
        self, status: HTTPStatus, text: str, headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(text)
        self.status, self.headers = status, headers or {}


class Request(NamedTuple):
    """What a client asks for; `path` is as it was sent, up to a question mark."""

    method: str
    path: str
    headers: Message
    body: bytes

    def check_method(self, *methods: str) -> None:
        """Refuse every other method."""
        if self.method not in methods:
            allowed = ", ".join(methods)
            raise RefusedError(
                HTTPStatus.METHOD_NOT_ALLOWED, f"this takes {allowed}", {"Allow": allowed}
            )


class Server(http.server.ThreadingHTTPServer):
    """A server whose subclass says by `reply` what it answers; each connection has its thread.

    Args:
      address: where to listen: IPv4, IPv6 or a name.
      port: 0 is any free one.
      name: what the server calls itself.
      on_error: called with each exception that kept the server from doing what it should, such as
        that of a full disk; requests that are no good are not among them.

    Raises:
      OSError: the address or port cannot be had.
    """

    request_queue_size = 128

    def __init__(
        self,
        address: str,
        port: int,
        name: str,
        on_error: Callable[[Exception], object] | None = None,
    ) -> None:
        self.name, self._on_error = name, on_error
        self._connections: set[socket.socket] = set()
        self.address_family, where = _resolved(address, port)
        super().__init__(where, _Handler)
        self.hosts = _hosts(self.server_name)

    def reply(self, request: Request) -> Reply:
        """Do what a request asks for; return status, headers and body of the reply.

        A body that is a generator is sent as it comes, until it ends or the client is gone.

        Raises:
          RefusedError: the request is no good.
        """
        raise NotImplementedError

    def server_bind(self) -> None:
        """Bind, without asking the network for this machine's name."""
        socketserver.TCPServer.server_bind(self)
        host, self.server_port = self.server_address[:2]
        self.server_name = str(host)

    def server_close(self) -> None:
        """Take no more requests; replies under way are finished."""
        super().server_close()
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
        tell(self._on_error, error)


def tell(listener: Callable[[_Fact], object] | None, fact: _Fact) -> None:
    """Call a listener, if there is one; its own failure changes nothing."""
    if listener is not None:
        with contextlib.suppress(Exception):
            listener(fact)


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
    server: Server

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
        except RefusedError as refused:
            self.close_connection = True
            self._send(refused.status, {**TEXT, **refused.headers}, f"{refused}\n".encode())
        else:
            self._send(status, headers, reply)

    def _body(self) -> bytes:
        """Read what comes after the head of the request."""
        lengths = self.headers.get_all("Content-Length", [])
        if "Transfer-Encoding" in self.headers or (self.command == "POST" and not lengths):
            raise RefusedError(HTTPStatus.LENGTH_REQUIRED, "Content-Length is needed")
        if not lengths:
            return b""
        text = lengths[0].strip(" \t")
        if len(lengths) > 1 or not re.fullmatch("[0-9]{1,18}", text):
            raise RefusedError(HTTPStatus.BAD_REQUEST, "Content-Length must be a whole number")
        if int(text) > BODY_LIMIT:
            raise RefusedError(
                HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"at most {BODY_LIMIT} bytes can be sent"
            )
        body = self.rfile.read(int(text))
        if len(body) < int(text):
            raise RefusedError(HTTPStatus.BAD_REQUEST, "the body ends early")
        return body

    def _outcome(self, body: bytes) -> Reply:
        self._check_host()
        path = self.requestline.split()[1].partition("?")[0]
        try:
            return self.server.reply(Request(self.command, path, self.headers, body))
        except RefusedError:
            raise
        except Exception as error:
            self.server.report(error)
            raise RefusedError(
                HTTPStatus.INTERNAL_SERVER_ERROR, "the server could not do this"
            ) from error

    def _check_host(self) -> None:
        hosts = self.server.hosts
        given = [re.sub(":[0-9]*$", "", host.lower()) for host in self.headers.get_all("Host", [])]
        if hosts is not None and (len(given) != 1 or given[0] not in hosts):
            raise RefusedError(
                HTTPStatus.FORBIDDEN, "the server must be called by its address, or localhost"
            )

    def _send(self, status: int, headers: Mapping[str, str], body: Body) -> None:
        self.close_connection |= isinstance(body, Generator)
        self.connection.settimeout(SECONDS)
        self.send_response(status)
        for name, value in {**COMMON, **headers}.items():
            self.send_header(name, value)
        if isinstance(body, bytes):
            self.send_header("Content-Length", str(len(body)))
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        if isinstance(body, Generator):
            with contextlib.closing(body):
                for part in body:
                    self._write(part)
        elif body and self.command != "HEAD":
            self._write(body)

    def _write(self, data: bytes) -> None:
        for start in range(0, len(data), BLOCK):
            self.wfile.write(data[start : start + BLOCK])

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """Refuse what cannot be read as a request."""
        self.close_connection = True
        self._send(code, TEXT, f"{HTTPStatus(code).phrase}\n".encode())

    def version_string(self) -> str:
        """Return what the server calls itself."""
        return self.server.name

    def log_message(self, *_: object) -> None:
        """Print nothing."""
