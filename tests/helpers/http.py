"""Servers that run in a thread, and requests to them over real connections."""

import contextlib
import http.client
import socket
import threading
import urllib.parse


@contextlib.contextmanager
def serving(server):
    """Run a `socketserver` server in a thread, and close it at the end of the context."""
    with server:
        thread = threading.Thread(target=server.serve_forever, args=(0.002,), daemon=True)
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


def connect(server):
    """Return an `http.client.HTTPConnection` to a server."""
    return http.client.HTTPConnection(*server.server_address[:2], timeout=30)


def ask(server, method, path, body=None, headers=None):
    """Make a request of its own connection; returns (status, headers, body)."""
    with contextlib.closing(connect(server)) as connection:
        connection.request(method, path, body, headers or {})
        response = connection.getresponse()
        return response.status, response.headers, response.read()


def status_at(address):
    """Return the status of the reply at http://HOST:PORT/PATH."""
    parts = urllib.parse.urlsplit(address)
    with contextlib.closing(http.client.HTTPConnection(parts.netloc, timeout=30)) as connection:
        connection.request("GET", parts.path)
        return connection.getresponse().status


def say(server, data, ends=False):
    """Send bytes and return all that comes back until the server ends the connection."""
    with socket.create_connection(server.server_address[:2], timeout=30) as connection:
        connection.sendall(data)
        if ends:
            connection.shutdown(socket.SHUT_WR)
        return heard(connection)


def heard(connection):
    """Return all that comes over a connection until the other side ends it."""
    return b"".join(iter(lambda: connection.recv(1 << 16), b""))


def status_of(reply):
    """Return the status that the bytes of a reply say."""
    version, status, _ = reply.split(b" ", 2)
    assert version == b"HTTP/1.1"
    return int(status)


def posted(path, body, *lines, length=None, host="localhost"):
    """Return the bytes of a POST; `length` is that of `body`, or what is given, or False for none.

    Args:
      path: what is posted to.
      body: bytes.
      lines: further lines of the head.
      length: what the head says of the body's length.
      host: what the head says of the server's name.
    """
    length = len(body) if length is None else length
    lengths = [] if length is False else [f"Content-Length: {length}"]
    head = [f"POST {path} HTTP/1.1", f"Host: {host}", *lengths, *lines]
    return "\r\n".join([*head, "", ""]).encode() + body
