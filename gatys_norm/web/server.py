"""The HTTP server of the program's pages: it limits and checks requests, and sends replies.

`Server` has one thread per connection. In it `_Handler` reads a request through `_LimitedReader`,
which limits its size and its time; checks the body's length and the Host header; calls
`Server.reply`, which a subclass defines; and sends the reply. The path of a request is only
compared with names, and never used as the path of a file.
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

BODY_LIMIT = 4 << 10  # bytes of the body of a request
LINE_LIMIT = 8 << 10  # bytes of the first line of a request
READ_LIMIT = 64 << 10  # bytes of a request in all
CONNECTION_LIMIT = 256  # connections at the same time; a browser opens six
SECONDS = 10.0  # time limit for a request to arrive, and for a client to receive a block of a reply
BLOCK = 64 << 10  # bytes of a reply that are sent at once
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
    """The server refuses a request.

    Args:
      status: status of the reply.
      text: one line with the reason, which is the body of the reply.
      headers: further headers of the reply.
    """

    def __init__(
        self, status: HTTPStatus, text: str, headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(text)
        self.status, self.headers = status, headers or {}


class Request(NamedTuple):
    """A request of a client.

    Attributes:
      method: for example GET, as the client sent it.
      path: up to the first question mark, as the client sent it: not decoded, not resolved, and
        perhaps without a slash at its beginning.
      headers: headers of the request.
      body: at most BODY_LIMIT bytes; empty if the request has no body.
    """

    method: str
    path: str
    headers: Message
    body: bytes

    def check_method(self, *methods: str) -> None:
        """Raise RefusedError unless the request has one of these methods."""
        if self.method not in methods:
            allowed = ", ".join(methods)
            raise RefusedError(
                HTTPStatus.METHOD_NOT_ALLOWED, f"allowed here: {allowed}", {"Allow": allowed}
            )


class Server(http.server.ThreadingHTTPServer):
    """A server with one thread per connection; a subclass defines its replies:

        class Greeting(Server):
            def reply(self, request):
                request.check_method("GET", "HEAD")
                return HTTPStatus.OK, {"Content-Type": "text/plain"}, b"hello"

        Greeting("127.0.0.1", 8000, "greeting").serve_forever()

    `reply` is called only for requests that arrived within SECONDS, have at most READ_LIMIT bytes,
    have a body with a Content-Length of at most BODY_LIMIT or no body, and, if the server listens
    on a loopback address, name this machine in their Host header. At most CONNECTION_LIMIT
    connections are open at the same time; further ones are refused.

    Args:
      address: IPv4 address, IPv6 address or name to listen on.
      port: port to listen on; 0 for any free one.
      name: Server header of every reply.
      on_error: called with every exception that makes a valid request fail, for example because
        the disk is full.

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
        """Handle a request, in the thread of its connection.

        Returns:
          (status, headers, body). The body is bytes, or None, or a generator of bytes. The parts of
          a generator are sent as soon as they are yielded, until it ends or the client disconnects;
          then the generator and the connection are closed.

        Raises:
          RefusedError: the request is not valid or not allowed.
        """
        raise NotImplementedError

    def server_bind(self) -> None:
        """Bind to the address, without looking up the name of this machine in the network."""
        socketserver.TCPServer.server_bind(self)
        host, self.server_port = self.server_address[:2]
        self.server_name = str(host)

    def server_close(self) -> None:
        """Accept no more requests; let replies that have begun finish."""
        super().server_close()
        for connection in list(self._connections):
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RD)

    def verify_request(self, request: Any, client_address: Any) -> bool:
        """Accept a connection, or reply that the server is busy if CONNECTION_LIMIT are open."""
        is_accepted = len(self._connections) < CONNECTION_LIMIT
        if is_accepted:
            self._connections.add(request)
        else:
            with contextlib.suppress(OSError):
                request.setblocking(False)
                request.send(BUSY)
        return is_accepted

    def shutdown_request(self, request: Any) -> None:
        """Close a connection, whether it was accepted or not."""
        self._connections.discard(request)
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Report an exception of a connection's thread, unless the connection itself failed."""
        error = sys.exc_info()[1]
        if isinstance(error, Exception) and not isinstance(error, OSError):
            self.report(error)

    def report(self, error: Exception) -> None:
        """Call `on_error` with the exception that made a request fail."""
        notify(self._on_error, error)


def notify(listener: Callable[[_Event], object] | None, event: _Event) -> None:
    """Call a listener, if there is one, with an event; ignore the exceptions that it raises."""
    if listener is not None:
        with contextlib.suppress(Exception):
            listener(event)


def _resolve(address: str, port: int) -> tuple[socket.AddressFamily, Any]:
    """Return the address family and the socket address of a host name or an IP address.

    Raises:
      OSError: the name is not known or not valid.
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
    """Return the values that the Host header may have, in lower case; None if any is allowed.

    A server on a loopback address accepts only the names of this machine. Otherwise a website could
    make its own name resolve to this machine (DNS rebinding): for a browser, both would then be the
    same website, whose scripts may read the replies of this server.
    """
    if not ipaddress.ip_address(address).is_loopback:
        return None
    return {"localhost", "127.0.0.1", "[::1]", f"[{address}]" if ":" in address else address}


class _LimitedReader(io.RawIOBase):
    """A stream of what a client sends: at most READ_LIMIT bytes within SECONDS per request.

    The time limit starts with the request, not with the last byte that arrived, so that a client
    cannot keep a connection open by sending one byte from time to time.
    """

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self.reset()

    def reset(self) -> None:
        """Start the limits for the next request."""
        self._bytes_left, self._end = READ_LIMIT, time.monotonic() + SECONDS

    def readable(self) -> bool:
        """Return True: the stream can be read."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Wait for bytes, read them into a buffer, and return their number.

        Raises:
          TimeoutError: the request has reached one of its limits.
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
    default_request_version = "HTTP/1.0"  # of a first line without a version
    disable_nagle_algorithm = True
    server: Server

    def setup(self) -> None:
        """Replace the input stream by one with limits."""
        super().setup()
        self.rfile.close()
        self._reader = _LimitedReader(self.connection)
        self.rfile = io.BufferedReader(self._reader)

    def finish(self) -> None:
        """Close the connection, after reading what the client still sends, up to the limits.

        If a connection is closed while bytes are unread, it is reset, and the client may not
        receive the reply.
        """
        with contextlib.suppress(OSError):
            self.connection.shutdown(socket.SHUT_WR)
            while self._reader.read(BLOCK):
                pass
        super().finish()

    def handle_one_request(self) -> None:
        """Read a request and reply; close the connection if the client is slow or disconnects."""
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
        """Refuse something that is not an HTTP request, without the details that Python sends."""
        self.close_connection = True
        self._send(code, TEXT_HEADERS, f"{HTTPStatus(code).phrase}\n".encode())

    def version_string(self) -> str:
        """Return the value of the Server header."""
        return self.server.name

    def log_message(self, *_: object) -> None:
        """Log nothing."""
