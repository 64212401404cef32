"""HTTP for the pages that the program serves: the limits of a request, and the form of a reply.

The path of a request is only compared with names; it is never used as the path of a file.
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

BODY_LIMIT = 4 << 10  # bytes of a request's body
LINE_LIMIT = 8 << 10  # bytes of a request's first line
READ_LIMIT = 64 << 10  # bytes of a whole request
CONNECTION_LIMIT = 256  # at the same time; a browser opens six
SECONDS = 10.0  # in which a whole request must arrive, and a client must take a block of a reply
BLOCK = 64 << 10  # bytes of a reply that are sent at a time
COMMON_HEADERS = {
    "Cache-Control": "no-store",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
TEXT_HEADERS = {"Content-Type": "text/plain; charset=utf-8"}
BUSY = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"

_Event = TypeVar("_Event")
Body: TypeAlias = bytes | Generator[bytes, None, None] | None
Reply: TypeAlias = tuple[HTTPStatus, Mapping[str, str], Body]  # status, headers, body


class RefusedError(Exception):
    """A request that the server does not carry out.

    Args:
      status: of the reply.
      text: one line that says why; it is the body of the reply.
      headers: further headers of the reply.
    """

    def __init__(
        self, status: HTTPStatus, text: str, headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(text)
        self.status, self.headers = status, headers or {}


class Request(NamedTuple):
    """What a client asks for.

    Attributes:
      method: such as GET, as it was sent.
      path: as it was sent, up to a question mark: nothing in it is decoded or resolved, and it
        need not begin with a slash.
      headers: of the request.
      body: at most BODY_LIMIT bytes; empty if there is none.
    """

    method: str
    path: str
    headers: Message
    body: bytes

    def check_method(self, *methods: str) -> None:
        """Raise RefusedError unless the method is one of these."""
        if self.method not in methods:
            allowed = ", ".join(methods)
            raise RefusedError(
                HTTPStatus.METHOD_NOT_ALLOWED, f"allowed here: {allowed}", {"Allow": allowed}
            )


class Server(http.server.ThreadingHTTPServer):
    """A server with a thread per connection; a subclass defines what it replies:

        class Greeting(Server):
            def reply(self, request):
                request.check_method("GET", "HEAD")
                return HTTPStatus.OK, {"Content-Type": "text/plain"}, b"hello"

        Greeting("127.0.0.1", 8000, "greeting").serve_forever()

    Before `reply` is called, a request has passed these checks: it arrived within SECONDS, all of
    it is at most READ_LIMIT bytes, its body has a Content-Length of at most BODY_LIMIT, and on a
    loopback address its Host header names this machine. More than CONNECTION_LIMIT connections
    at a time are refused.

    Args:
      address: where to listen: an IPv4 or IPv6 address, or a name.
      port: 0 is any free one.
      name: the Server header of every reply.
      on_error: called with each exception that kept the server from carrying out a request, such
        as that of a full disk; not with those of requests that are not valid.

    Raises:
      OSError: the address or the port is not available.
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
        self.address_family, socket_address = _resolve(address, port)
        super().__init__(socket_address, _Handler)
        self.hosts = _allowed_hosts(self.server_name)

    def reply(self, request: Request) -> Reply:
        """Carry out a request, in the thread of its connection.

        Returns:
          Status, headers and body of the reply. A generator as the body is sent part by part, each
          as soon as it is there, until it ends or the client is gone; then it is closed, and the
          connection with it. None is no body.

        Raises:
          RefusedError: the request is not valid, or is not allowed.
        """
        raise NotImplementedError

    def server_bind(self) -> None:
        """Bind, without asking the network for this machine's name."""
        socketserver.TCPServer.server_bind(self)
        host, self.server_port = self.server_address[:2]
        self.server_name = str(host)

    def server_close(self) -> None:
        """Accept no more requests; replies that have begun are finished."""
        super().server_close()
        for connection in list(self._connections):
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RD)

    def verify_request(self, request: Any, client_address: Any) -> bool:
        """Accept a connection unless there are CONNECTION_LIMIT, and say so to one that is not."""
        is_accepted = len(self._connections) < CONNECTION_LIMIT
        if is_accepted:
            self._connections.add(request)
        else:
            with contextlib.suppress(OSError):
                request.setblocking(False)
                request.send(BUSY)
        return is_accepted

    def shutdown_request(self, request: Any) -> None:
        """End a connection, accepted or not."""
        self._connections.discard(request)
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Report an exception of a connection's thread unless the connection itself failed."""
        error = sys.exc_info()[1]
        if isinstance(error, Exception) and not isinstance(error, OSError):
            self.report(error)

    def report(self, error: Exception) -> None:
        """Call `on_error` with what kept the server from carrying out a request."""
        notify(self._on_error, error)


def notify(listener: Callable[[_Event], object] | None, event: _Event) -> None:
    """Call a listener, if there is one, with an event; an exception of its own is ignored."""
    if listener is not None:
        with contextlib.suppress(Exception):
            listener(event)


def _resolve(address: str, port: int) -> tuple[socket.AddressFamily, Any]:
    """Return the family and the socket address of the first result for a name or an address.

    Raises:
      OSError: there is no result, also where the text cannot be a name at all.
    """
    try:
        results = socket.getaddrinfo(
            address, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
    except ValueError as error:
        raise OSError(errno.EADDRNOTAVAIL, os.strerror(errno.EADDRNOTAVAIL)) from error
    family, _, _, _, socket_address = results[0]
    return family, (socket_address[0], port, *socket_address[2:])


def _allowed_hosts(address: str) -> set[str] | None:
    """Return the host names that a request may give, in small letters; None if any will do.

    A server on a loopback address answers to names of this machine only. Otherwise a website could
    let its own name resolve to this machine (DNS rebinding): the browser would take both for one
    website, and let its scripts read what this server replies.
    """
    if not ipaddress.ip_address(address).is_loopback:
        return None
    return {"localhost", "127.0.0.1", "[::1]", f"[{address}]" if ":" in address else address}


class _LimitedReader(io.RawIOBase):
    """The bytes that a client sends: READ_LIMIT bytes within SECONDS, per request.

    The time runs from the beginning of the request, not from its last byte, so that a client
    cannot hold a connection by sending one byte now and then.
    """

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self.reset()

    def reset(self) -> None:
        """Start the limits again, for the next request."""
        self._bytes_left, self._end = READ_LIMIT, time.monotonic() + SECONDS

    def readable(self) -> bool:
        """Return True, as a stream for reading must."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Read into a buffer what has arrived, or wait for it; return the number of bytes.

        Raises:
          TimeoutError: a limit of the request is reached.
        """
        seconds = self._end - time.monotonic()
        if seconds <= 0 or self._bytes_left <= 0:
            raise TimeoutError
        self._connection.settimeout(seconds)
        count = self._connection.recv_into(buffer)
        self._bytes_left -= count
        return count


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    default_request_version = "HTTP/1.0"  # of a first line that says none
    disable_nagle_algorithm = True
    server: Server

    def setup(self) -> None:
        """Replace the stream that is read by one with limits."""
        super().setup()
        self.rfile.close()
        self._reader = _LimitedReader(self.connection)
        self.rfile = io.BufferedReader(self._reader)

    def finish(self) -> None:
        """End the connection, but read what the client still sends, until it ends or a limit.

        A connection that is closed with bytes unread is reset, and the client may lose the reply.
        """
        with contextlib.suppress(OSError):
            self.connection.shutdown(socket.SHUT_WR)
            while self._reader.read(BLOCK):
                pass
        super().finish()

    def handle_one_request(self) -> None:
        """Read a request and reply; end the connection if the client is slow, silent or gone."""
        self._reader.reset()
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
            request_body = self._read_body()
            status, headers, body = self._carry_out(request_body)
        except RefusedError as refused:
            self.close_connection = True
            headers = {**TEXT_HEADERS, **refused.headers}
            status, body = refused.status, f"{refused}\n".encode()
        self._send(status, headers, body)

    def _read_body(self) -> bytes:
        """Read the body of the request."""
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
                HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"the body may have at most {BODY_LIMIT} bytes"
            )
        body = self.rfile.read(int(text))
        if len(body) < int(text):
            raise RefusedError(HTTPStatus.BAD_REQUEST, "the body ends early")
        return body

    def _carry_out(self, body: bytes) -> Reply:
        self._check_host()
        path = self.requestline.split()[1].partition("?")[0]
        try:
            return self.server.reply(Request(self.command, path, self.headers, body))
        except RefusedError:
            raise
        except Exception as error:
            self.server.report(error)
            raise RefusedError(
                HTTPStatus.INTERNAL_SERVER_ERROR, "the server failed to do this"
            ) from error

    def _check_host(self) -> None:
        allowed = self.server.hosts
        hosts = [re.sub(":[0-9]*$", "", host.lower()) for host in self.headers.get_all("Host", [])]
        if allowed is not None and (len(hosts) != 1 or hosts[0] not in allowed):
            raise RefusedError(
                HTTPStatus.FORBIDDEN, "Host must be the address of this server, or localhost"
            )

    def _send(self, status: int, headers: Mapping[str, str], body: Body) -> None:
        self.close_connection |= isinstance(body, Generator)
        self.connection.settimeout(SECONDS)
        self.send_response(status)
        for name, value in {**COMMON_HEADERS, **headers}.items():
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
        """Refuse what is not a request in HTTP, without the details that Python would send."""
        self.close_connection = True
        self._send(code, TEXT_HEADERS, f"{HTTPStatus(code).phrase}\n".encode())

    def version_string(self) -> str:
        """Return the Server header."""
        return self.server.name

    def log_message(self, *_: object) -> None:
        """Log nothing."""
