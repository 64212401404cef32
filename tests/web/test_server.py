"""The server below the program's pages, talked to over real connections by clients good and bad."""

import contextlib
import socket
import threading
import time
from http import HTTPStatus

import pytest
from helpers.digests import digest
from helpers.http import ask, connect, heard, posted, say, serving, status_of
from helpers.programs import wait_for
from PIL import Image

from gatys_norm.survey import build as survey_build
from gatys_norm.survey import pairs as survey_pairs
from gatys_norm.survey import server as survey_server
from gatys_norm.web import live
from gatys_norm.web import server as web_server

PAGE = "<!DOCTYPE html><title>λ</title>".encode()
LARGE = bytes(range(256)) * 1300  # several blocks, the last one not full
HUGE = bytes(30 << 20)  # more than fits into the buffers of a connection
BODY = b'{"a": "b"}'
SHORT = 0.1  # seconds, in place of web_server.SECONDS
LONG = web_server.SECONDS / 2  # what takes less was not waited for


class Server(web_server.Server):
    """Notes what it is asked, and what goes wrong."""

    def __init__(self, address="127.0.0.1", port=0, on_error=None):
        self.asked, self.errors = [], []
        self.goes_on, self.has_ended = threading.Event(), threading.Event()
        super().__init__(address, port, "a name", on_error or self.errors.append)

    def reply(self, request):
        self.asked.append(request)
        match request.path:
            case "/":
                request.check_method("GET", "HEAD")
                return HTTPStatus.OK, {"Content-Type": "text/html", "Cache-Control": "x"}, PAGE
            case "/large":
                return HTTPStatus.OK, {}, LARGE
            case "/huge":
                return HTTPStatus.OK, {}, HUGE
            case "/parts":
                return HTTPStatus.OK, {}, self.parts()
            case "/take":
                request.check_method("POST")
                return HTTPStatus.NO_CONTENT, {}, None
            case "/fail":
                raise RuntimeError("a secret")
        raise web_server.RefusedError(HTTPStatus.NOT_FOUND, "there is no such thing")

    def parts(self):
        try:
            yield b"one, "
            yield b"two"
            assert self.goes_on.wait(30)
            while not self.has_ended.is_set():
                yield LARGE
        finally:
            self.has_ended.set()

    @property
    def taken(self):
        """The bodies that were posted."""
        return [request.body for request in self.asked if request.path == "/take"]


@pytest.fixture
def server(capfd):
    """Run a server, which fails at nothing and prints nothing."""
    with serving(Server()) as server:
        yield server
    assert server.errors == []
    assert capfd.readouterr() == ("", "")


# --- what is replied ---------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize(
    ("path", "own_headers", "content"),
    [
        ("/", {"Content-Type": "text/html", "Cache-Control": "x"}, PAGE),
        ("/?from=mail", {"Content-Type": "text/html", "Cache-Control": "x"}, PAGE),
        ("/large", {"Cache-Control": "no-store"}, LARGE),
    ],
)
def test_a_reply_has_the_common_headers_and_its_own(server, method, path, own_headers, content):
    status, headers, body = ask(server, method, path)
    assert status == 200
    assert digest(body) == digest(b"" if method == "HEAD" else content)
    assert dict(headers) == {
        "Server": "a name",
        "Date": headers["Date"],
        "Content-Length": str(len(content)),
        "Referrer-Policy": "no-referrer",
        "X-Content-Type-Options": "nosniff",
        **own_headers,
    }


def test_a_refusal_says_why_and_nothing_of_the_program(server):
    status, headers, body = ask(server, "GET", "/absent")
    assert (status, body) == (404, b"there is no such thing\n")
    assert dict(headers) == {
        "Server": "a name",
        "Date": headers["Date"],
        "Content-Type": "text/plain; charset=utf-8",
        "Content-Length": str(len(body)),
        "Connection": "close",
        **web_server.COMMON_HEADERS,
    }


def test_a_connection_serves_several_requests(server):
    with contextlib.closing(connect(server)) as connection:
        connection.connect()
        used = connection.sock
        for _ in range(3):
            connection.request("GET", "/large")
            assert digest(connection.getresponse().read()) == digest(LARGE)
            connection.request("HEAD", "/", b"with a body", {})
            assert connection.getresponse().read() == b""
            connection.request("POST", "/take", BODY)
            response = connection.getresponse()
            assert (response.status, response.read()) == (204, b"")
            assert connection.sock is used
    assert server.taken == [BODY] * 3


def test_the_limits_hold_for_each_request_anew(server, monkeypatch):
    monkeypatch.setattr(web_server, "READ_LIMIT", 500)
    with contextlib.closing(connect(server)) as connection:
        connection.connect()
        used = connection.sock
        for _ in range(20):
            connection.request("GET", "/")
            assert connection.getresponse().read() == PAGE
        assert connection.sock is used


def test_a_reply_in_parts_comes_as_they_do_and_is_closed_with_its_connection(server):
    with contextlib.closing(connect(server)) as connection:
        connection.request("GET", "/parts")
        with connection.getresponse() as response:
            assert response.read(8) == b"one, two"
            assert response.headers["Connection"] == "close"
            assert response.headers["Content-Length"] is None
            assert not server.has_ended.is_set()
    server.goes_on.set()
    assert server.has_ended.wait(30)


# --- what is asked for -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("target", "path"),
    [
        *(("/x?y=/z", "/x"), ("/x?", "/x"), ("?/x", ""), ("/x#y", "/x#y"), ("*", "*")),
        *((path, path) for path in ("/%2e%2e/x", "/../x", "/./x", "//x", "///", "/x/", "\\..\\x")),
        *((path, path) for path in ("/\0", "/x\0.png", "/\x7f", "/\xff", "/;", "/" + "a" * 8000)),
        *((path, path) for path in ("http://localhost/", "file:///etc/passwd")),
    ],
)
def test_a_path_is_passed_on_as_it_was_sent(server, target, path):
    reply = say(server, f"GET {target} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode("latin-1"))
    assert status_of(reply) == 404
    assert [request.path for request in server.asked] == [path]


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "FOO", "do_GET", "get"])
def test_other_methods_are_refused(server, method):
    status, headers, _ = ask(server, method, "/", BODY)
    assert (status, headers["Allow"]) == (405, "GET, HEAD")
    assert not [name for name in headers if name.startswith("Access-Control")]
    assert [request.method for request in server.asked] == [method]


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"GET\r\n\r\n", 400),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", 400),
        (b"GET / HTTP/x\r\n\r\n", 400),
        (b"GET / HTTP/\xb2.1\r\n\r\n", 400),
        (b"GET / HTTP/9.9\r\n\r\n", 505),
        (b"GET / HTTP/1.1 more\r\n\r\n", 400),
        (b"GET /a b HTTP/1.1\r\nHost: localhost\r\n\r\n", 400),
        (b"GET / / HTTP/1.1\r\nHost: localhost\r\n\r\n", 400),
        (b"G" * 9000, 414),
        (b"GET /" + b"a" * 20_000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n", 414),
        (b"GET / HTTP/1.1\r\n" + b"A: b\r\n" * 200 + b"\r\n", 431),
    ],
)
def test_what_is_no_request_is_refused(server, data, status):
    reply = say(server, data)
    assert status_of(reply) == status
    assert b"\r\nServer: a name\r\n" in reply
    assert b"ython" not in reply
    assert server.asked == []


def test_a_request_of_before_http_1_is_answered(server):
    assert status_of(say(server, b"GET /\r\nHost: localhost\r\n\r\n")) == 200


@pytest.mark.parametrize("data", [b"\r\n\r\n", b"\0" * 9, b"", b"GET / HTTP/1.1\r\nHost: loc"])
def test_what_ends_early_is_given_up(server, data):
    assert not say(server, data, ends=True).startswith(b"HTTP/1.1 2")
    assert server.asked == []
    assert ask(server, "GET", "/")[0] == 200


def test_too_long_a_head_is_given_up(server):
    started = time.monotonic()
    head = b"GET / HTTP/1.1\r\n" + (b"A: " + b"b" * 8000 + b"\r\n") * 20
    with contextlib.suppress(ConnectionError):
        assert say(server, head) == b""
    assert time.monotonic() - started < LONG
    assert server.asked == []


# --- names of this machine ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("host", "is_known"),
    [
        *((host, True) for host in ("localhost", "127.0.0.1", "127.0.0.1:80", "LOCALHOST:8000")),
        *((host, True) for host in ("[::1]", "[::1]:8000", "localhost:")),
        *((host, False) for host in ("elsewhere.example", "elsewhere.example:8000", "", ":80")),
        *((host, False) for host in ("localhost.elsewhere.example", "localhost:80:80", "::1")),
        *((host, False) for host in ("127.0.0.1.elsewhere.example", "127.0.0.2", "0.0.0.0")),
        ("localhost@elsewhere.example", False),
    ],
)
def test_another_name_for_this_machine_is_refused(server, host, is_known):
    reply = say(server, posted("/take", BODY, "Connection: close", host=host))
    assert status_of(reply) == (204 if is_known else 403)
    assert len(server.taken) == is_known
    request = f"GET / HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n"
    assert (PAGE in say(server, request.encode())) == is_known


@pytest.mark.parametrize("hosts", ["", "Host: localhost\r\nHost: elsewhere.example\r\n"])
def test_a_host_is_named_once(server, hosts):
    assert status_of(say(server, f"GET / HTTP/1.1\r\n{hosts}\r\n".encode())) == 403
    assert server.asked == []


@pytest.mark.parametrize("address", ["127.0.0.1", "127.3.2.1"])
def test_its_own_address_is_a_name_for_it(address):
    with serving(Server(address)) as server:
        assert server.server_address == (address, server.server_port)
        assert ask(server, "GET", "/", headers={"Host": f"{address}:1"})[0] == 200
        assert ask(server, "GET", "/", headers={"Host": "127.9.9.9"})[0] == 403


def test_elsewhere_any_name_will_do():
    with serving(Server("0.0.0.0")) as server:
        assert ask(server, "GET", "/", headers={"Host": "lab.example"})[0] == 200


def test_it_serves_over_ipv6():
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        pytest.skip("no IPv6")
    with serving(Server("::1")) as server:
        assert server.server_address[0] == "::1"
        assert ask(server, "GET", "/")[0] == 200
        assert ask(server, "POST", "/take", BODY)[0] == 204
        assert ask(server, "GET", "/", headers={"Host": "elsewhere.example"})[0] == 403


# --- bodies ------------------------------------------------------------------------------------


def chunked(length, body=BODY):
    return posted("/take", body, "Transfer-Encoding: chunked", length=length)


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (posted("/take", b"", length=False), 411),
        (posted("/take", BODY, length=False), 411),
        (chunked(False, b"2\r\n{}\r\n0\r\n\r\n"), 411),
        (chunked(len(BODY)), 411),
        (posted("/take", BODY, "Transfer-Encoding: identity"), 411),
        (posted("/take", b"", length=4097), 413),
        (posted("/take", b"", length=10**12), 413),
        (posted("/take", b"x" * 4097), 413),
        (posted("/take", b"x" * 50_000), 413),
        (posted("/take", b"", length="9" * 5000), 400),
        *(
            (posted("/take", BODY, length=length), 400)
            for length in ("", "-1", "+2", "2.0", "0x2", "1_0", "²", "2, 2", "x")
        ),
        (posted("/take", BODY, f"Content-Length: {len(BODY)}"), 400),
    ],
)
def test_a_body_must_say_its_length_and_be_short(server, data, status):
    reply = say(server, data)
    assert status_of(reply) == status
    assert b"Connection: close" in reply
    assert server.asked == []


@pytest.mark.parametrize("body", [b"", b"x" * 4096, "\0é\r\n\r\n".encode()])
def test_a_body_of_the_length_it_says_is_taken(server, body):
    assert status_of(say(server, posted("/take", body, "Connection: close"))) == 204
    assert server.taken == [body]


def test_a_body_too_long_is_not_waited_for(server):
    started = time.monotonic()
    assert status_of(say(server, posted("/take", b"", length=100_000))) == 413
    assert time.monotonic() - started < LONG


def test_a_client_that_still_sends_is_heard_out(server):
    with socket.create_connection(server.server_address, timeout=30) as connection:
        connection.sendall(posted("/take", b"x", length=50_000))
        assert status_of(heard(connection)) == 413
        for _ in range(4):  # the second would fail, had the server left
            connection.sendall(b"x" * 1000)


@pytest.mark.parametrize("missing", [1, len(BODY) - 1, len(BODY)])
def test_a_body_that_ends_early_is_not_taken(server, missing):
    data = posted("/take", BODY[:-missing], length=len(BODY))
    assert status_of(say(server, data, ends=True)) == 400
    with socket.create_connection(server.server_address) as connection:
        connection.sendall(data)  # and gone
    wait_for(lambda: not server._connections)
    assert server.taken == []
    assert ask(server, "POST", "/take", BODY)[0] == 204


def test_clients_that_do_not_wait_for_the_reply_cost_nothing(server):
    abrupt = (1).to_bytes(4, "little") + (0).to_bytes(4, "little")  # RST instead of FIN
    for data in (
        posted("/take", BODY),
        b"GET /large HTTP/1.1\r\nHost: localhost\r\n\r\n" * 50,
    ):
        for _ in range(5):
            with socket.create_connection(server.server_address) as connection:
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, abrupt)
                connection.sendall(data)
    assert ask(server, "GET", "/")[0] == 200
    assert ask(server, "POST", "/take", BODY)[0] == 204


# --- its own failures --------------------------------------------------------------------------


def fail(*_):
    raise RuntimeError("another secret")


def test_a_failure_of_its_own_is_told_to_the_owner_alone(capfd):
    with serving(Server()) as server:
        status, _, body = ask(server, "GET", "/fail")
        assert (status, body) == (500, b"the server failed to do this\n")
        assert ask(server, "GET", "/")[0] == 200
    assert [str(error) for error in server.errors] == ["a secret"]
    assert capfd.readouterr() == ("", "")


def test_a_listener_that_fails_costs_nothing(capfd):
    with serving(Server(on_error=fail)) as server:
        assert ask(server, "GET", "/fail")[0] == 500
        assert ask(server, "GET", "/")[0] == 200
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("error", [RuntimeError(), ConnectionResetError()])
def test_a_connection_that_fails_is_told_only_if_that_is_not_its_own_doing(
    monkeypatch, capfd, error
):
    def fail(_):
        raise error

    with serving(Server()) as server:
        monkeypatch.setattr(web_server._Handler, "setup", fail)
        assert say(server, b"GET / HTTP/1.1\r\n\r\n") == b""
        monkeypatch.undo()
        assert ask(server, "GET", "/")[0] == 200
    assert server.errors == ([] if isinstance(error, OSError) else [error])
    assert capfd.readouterr() == ("", "")


# --- slow and many -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "data",
    [b"", b"GET / HTTP/1.1\r\nHost: ", posted("/take", b"{", length=100), b"GET / HTTP/1.0"],
)
def test_a_silent_client_is_given_up(server, monkeypatch, data):
    monkeypatch.setattr(web_server, "SECONDS", SHORT)
    started = time.monotonic()
    assert say(server, data) == b""
    assert SHORT <= time.monotonic() - started < LONG
    assert server.asked == []


@pytest.mark.parametrize("start", [b"GET / HTTP/1.1\r\nA: ", posted("/take", b"", length=4096)])
def test_a_client_that_drips_is_given_up(server, monkeypatch, start):
    monkeypatch.setattr(web_server, "SECONDS", SHORT)
    started = time.monotonic()
    with socket.create_connection(server.server_address, timeout=SHORT / 10) as connection:
        connection.sendall(start)
        with contextlib.suppress(ConnectionError):
            wait_for(lambda: connection.sendall(b"x") or has_ended(connection), LONG)
    assert SHORT <= time.monotonic() - started < LONG
    assert server.asked == []


def has_ended(connection):
    """Whether the other side ends a connection before its time-out."""
    try:
        return connection.recv(100) == b""
    except TimeoutError:
        return False


def test_a_client_that_does_not_take_the_reply_is_given_up(server, monkeypatch):
    monkeypatch.setattr(web_server, "SECONDS", SHORT)
    with socket.socket() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.connect(server.server_address)
        connection.sendall(b"GET /huge HTTP/1.0\r\nHost: localhost\r\n\r\n")
        wait_for(lambda: server.asked)
        wait_for(lambda: not server._connections, LONG)


def test_connections_are_limited(server, monkeypatch):
    monkeypatch.setattr(web_server, "CONNECTION_LIMIT", 3)
    with contextlib.ExitStack() as stack:
        held = [
            stack.enter_context(socket.create_connection(server.server_address)) for _ in range(3)
        ]
        wait_for(lambda: len(server._connections) == 3)
        for _ in range(3):
            assert status_of(say(server, b"")) == 503
        held.pop().close()
        wait_for(lambda: len(server._connections) == 2)
        assert ask(server, "GET", "/")[0] == 200
    wait_for(lambda: not server._connections)


def test_silent_clients_keep_nobody_waiting(server):
    with contextlib.ExitStack() as stack:
        for _ in range(50):
            connection = socket.create_connection(server.server_address)
            stack.enter_context(connection).sendall(b"POST /take HTTP/1.1\r\n")
        started = time.monotonic()
        assert ask(server, "POST", "/take", BODY)[0] == 204
        assert time.monotonic() - started < LONG


# --- begin and end -----------------------------------------------------------------------------


def test_a_closed_server_lets_its_clients_go(server):
    with socket.create_connection(server.server_address, timeout=LONG) as connection:
        connection.sendall(b"HEAD / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert connection.recv(1 << 16).startswith(b"HTTP/1.1 200")
        server.shutdown()
        server.server_close()
        assert connection.recv(1 << 16) == b""
    with pytest.raises(ConnectionRefusedError):
        ask(server, "GET", "/")


def test_an_address_that_cannot_be_had_is_an_oserror():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        with pytest.raises(OSError, match="in use"):
            Server(port=taken.getsockname()[1])
        for address in ("192.0.2.1", "256.1.1.1", "", "..", "a" * 70):
            with pytest.raises(OSError) as caught:  # noqa: PT011
                Server(address)
            assert caught.value.strerror


# --- both pages that use it --------------------------------------------------------------------


@pytest.fixture(scope="module")
def of_preview():
    with contextlib.closing(live.Preview(0)) as server:
        yield server


@pytest.fixture(scope="module")
def of_survey(tmp_path_factory):
    folder = tmp_path_factory.mktemp("survey")
    pictures = [folder / "a.png", folder / "b.png"]
    for picture in pictures:
        Image.new("RGB", (16, 16)).save(picture)
    survey_build.build(
        folder / "built", [survey_pairs.PictureFiles("item", "row", "column", *pictures)]
    )
    with serving(survey_server.make_server(folder / "built")) as server:
        yield server


@pytest.mark.parametrize("user", ["preview", "survey"])
@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n", 200),
        (b"GET / HTTP/1.1\r\nHost: elsewhere.example\r\n\r\n", 403),
        (b"GET / HTTP/1.1\r\n\r\n", 403),
        (b"GET /absent HTTP/1.1\r\nHost: localhost\r\n\r\n", 404),
        (b"FOO / HTTP/1.1\r\nHost: localhost\r\n\r\n", 405),
        (posted("/", b"", length=False), 411),
        (posted("/", b"", length=4097), 413),
        (b"G" * 9000, 414),
        (b"GET / HTTP/9.9\r\n\r\n", 505),
    ],
)
def test_the_pages_keep_to_its_limits(request, user, data, status):
    reply = say(request.getfixturevalue(f"of_{user}"), data)
    assert status_of(reply) == status
    assert f"\r\nServer: {user}\r\n".encode() in reply


@pytest.mark.parametrize("user", ["preview", "survey"])
def test_the_pages_take_no_more_clients_than_it(request, user, monkeypatch):
    monkeypatch.setattr(web_server, "CONNECTION_LIMIT", 0)
    assert status_of(say(request.getfixturevalue(f"of_{user}"), b"")) == 503
