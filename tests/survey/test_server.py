"""The server of a survey, talked to over real connections; tests/web has what lies below."""

import contextlib
import dataclasses
import http.client
import itertools
import json
import os
import shutil
import signal
import socket
import sys
import threading

import pytest
from helpers.digests import digest
from helpers.disk import limited_file_size
from helpers.http import ask, connect, say, serving, status_of
from helpers.programs import start_new, wait_for

from gatys_norm.survey import answers
from gatys_norm.survey import model as survey_model
from gatys_norm.survey import server as survey_server
from gatys_norm.survey.model import Pair, Survey, SurveyError
from gatys_norm.web import server as web_server

TOKENS = [f"{number:016x}" for number in range(0xA0, 0xA8)]
PAIRS = [Pair("2(a)", "town", str(number), *TOKENS[number : number + 2]) for number in (0, 2, 4, 6)]
SURVEY = Survey("5" * 32, ("original loss", "normalized loss"), tuple(PAIRS), "../run")
VIEWER = "1" * 32
INDEX = "<!DOCTYPE html><title>λ</title>".encode()
ROW = {
    "viewer": VIEWER,
    "number": "1",
    "first": TOKENS[1],
    "second": TOKENS[0],
    "score_first": "3",
    "score_second": "",
    "showings": "1",
    "survey": SURVEY.identity,
}
ANSWER = answers.parse(ROW, SURVEY)
OTHER = {"number": "2", "first": TOKENS[2], "second": TOKENS[3]}
JSON = {"Content-Type": "application/json"}


LARGE = TOKENS[3]


def picture(token):
    return b"\x89PNG\r\n\x1a\n" + token.encode() * (20_000 if token == LARGE else 1)


@pytest.fixture(scope="module")
def original(tmp_path_factory):
    """Make the folder of a survey without the template of its page."""
    folder = tmp_path_factory.mktemp("original")
    (folder / "page" / "pictures").mkdir(parents=True)
    survey_model.save(folder, SURVEY)
    survey_model.page_path(folder).write_bytes(INDEX)
    for token in TOKENS:
        (folder / "page" / "pictures" / f"{token}.png").write_bytes(picture(token))
    return folder


@pytest.fixture
def folder(tmp_path, original):
    return shutil.copytree(original, tmp_path / "survey")


def served(folder, **options):
    """Run the server of a survey until the end of the context."""
    return serving(survey_server.make_server(folder, **options))


@pytest.fixture
def server(folder, capfd):
    """Run a server, which fails at nothing and prints nothing."""
    errors = []
    with served(folder, on_error=errors.append) as server:
        yield server
    assert errors == []
    assert capfd.readouterr() == ("", "")


@pytest.fixture(scope="module")
def refusing(original, tmp_path_factory):
    """Run one server for all that is refused; it has stored one answer and stores no other."""
    folder = shutil.copytree(original, tmp_path_factory.mktemp("refusing") / "survey")
    errors = []
    with served(folder, on_error=errors.append) as server:
        (folder / "page" / "pictures" / "hidden.png").write_bytes(b"hidden")
        (folder / "page" / "pictures" / f"{'f' * 16}.png").write_bytes(b"made later")
        assert send(server, ROW)[0] == 204
        yield server
    assert errors == []
    assert stored(folder) == [ANSWER]
    assert len(list((folder / "answers").iterdir())) == 1


def send(server, row, **headers):
    """Post an answer; returns (status, body)."""
    body = row if isinstance(row, bytes) else json.dumps(row).encode()
    status, _, text = ask(server, "POST", "/answers", body, {**JSON, **headers})
    return status, text


def stored(folder):
    """All answers on disk, by the server's own reading."""
    paths = sorted((folder / "answers").glob("*.csv"))
    return answers.load(paths, SURVEY)


def rows(viewers):
    """The answers of so many viewers to all pairs."""
    for viewer, (number, pair) in itertools.product(range(viewers), enumerate(PAIRS, 1)):
        yield {
            **ROW,
            **{"viewer": f"{viewer:032x}", "number": str(number)},
            **{"first": pair.a, "second": pair.b, "score_second": str(viewer % 5 + 1)},
        }


# --- the page ----------------------------------------------------------------------------------


def test_it_listens_on_this_machine_alone(server):
    assert server.server_address[0] == "127.0.0.1"
    assert server.server_address[1] == server.server_port > 0


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize(
    ("path", "kind", "caching", "content"),
    [
        ("/", "text/html; charset=utf-8", "no-store", INDEX),
        ("/?from=mail", "text/html; charset=utf-8", "no-store", INDEX),
        (
            *(f"/pictures/{LARGE}.png", "image/png", "private, max-age=86400"),
            picture(LARGE),
        ),
    ],
)
def test_page_and_pictures_are_served(server, method, path, kind, caching, content):
    status, headers, body = ask(server, method, path)
    assert status == 200
    assert digest(body) == digest(b"" if method == "HEAD" else content)
    assert dict(headers) == {
        "Server": "survey",
        "Date": headers["Date"],
        "Content-Type": kind,
        "Content-Length": str(len(content)),
        "Cache-Control": caching,
        "Referrer-Policy": "no-referrer",
        "X-Content-Type-Options": "nosniff",
    }


@pytest.mark.parametrize(
    "path",
    [
        *("/survey.json", "/../survey.json", "/pictures/../../survey.json", "/page/index.html"),
        *("/%2e%2e/survey.json", "/pictures/%2e%2e%2f%2e%2e%2fsurvey.json", "/..%2fsurvey.json"),
        *("\\..\\survey.json", "/..\\survey.json", "/pictures\\..\\..\\survey.json"),
        *("/pictures/", "/pictures", "/index.html", "/pictures/..", "/.", "/..", "//", "///", ""),
        *("//survey.json", f"//pictures/{TOKENS[0]}.png", f"/pictures//{TOKENS[0]}.png"),
        *(f"/pictures/{TOKENS[0]}", f"/pictures/{TOKENS[0]}.png/", f"/./pictures/{TOKENS[0]}.png"),
        *("/\0", f"/pictures/{TOKENS[0]}.png\0", "/survey.json\0.png", "/%00", "/\x7f", "/\xff"),
        *("http://localhost/", "http://localhost/survey.json", "file:///etc/passwd", "*"),
        *(f"/answers/{VIEWER}.csv", "/answers/", f"/../answers/{VIEWER}.csv", "/.server.lock"),
        *("/" + "a" * 8000, "/" + "../" * 2000 + "etc/passwd"),
        *("/%2F", "/#", "/;", "/pictures/hidden.png", "/pictures/" + "f" * 16 + ".png"),
    ],
)
def test_nothing_else_is_served(refusing, path):
    request = f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
    reply = say(refusing, request.encode("latin-1"))
    assert status_of(reply) == 404
    assert reply.endswith(b"\r\n\r\nnot found\n")
    for secret in (b"normalized loss", b"hidden", b"made later", b"viewer", b"root", b"PNG"):
        assert secret not in reply
    assert INDEX not in reply


def test_a_link_is_not_followed(folder):
    key = folder / "page" / "pictures" / f"{'e' * 16}.png"
    key.symlink_to(folder / "survey.json")
    (folder / "page" / "pictures" / f"{'d' * 16}.png").mkdir()
    with served(folder) as server:
        assert len(server.pages) == 1 + len(TOKENS)
        for token in ("e", "d"):
            assert ask(server, "GET", f"/pictures/{token * 16}.png")[0] == 404


@pytest.mark.parametrize(
    ("method", "path", "status", "allowed"),
    [
        *((method, "/", 405, "GET, HEAD") for method in ("POST", "PUT", "DELETE", "OPTIONS")),
        ("POST", f"/pictures/{TOKENS[0]}.png", 405, "GET, HEAD"),
        *((name, "/answers", 405, "POST") for name in ("GET", "HEAD", "PUT", "OPTIONS")),
        ("GET", "/answers?x", 405, "POST"),
        ("POST", "/absent", 404, None),
    ],
)
def test_other_methods_are_refused(refusing, method, path, status, allowed):
    got, headers, _ = ask(refusing, method, path, b"{}", JSON)
    assert (got, headers["Allow"]) == (status, allowed)
    assert not [name for name in headers if name.startswith("Access-Control")]


# --- answers -----------------------------------------------------------------------------------


def test_an_answer_is_stored(server, folder):
    assert send(server, ROW) == (204, b"")
    path = folder / "answers" / f"{VIEWER}.csv"
    assert path.read_text() == (
        "viewer,number,first,second,score_first,score_second,showings,survey\n"
        f"{VIEWER},1,{TOKENS[1]},{TOKENS[0]},3,,1,{SURVEY.identity}\n"
    )
    assert send(server, ROW | OTHER) == (204, b"")
    assert stored(folder) == [ANSWER, answers.parse(ROW | OTHER, SURVEY)]


def test_the_same_answer_is_stored_once(server, folder):
    assert [send(server, ROW)[0] for _ in range(3)] == [204, 204, 204]
    assert stored(folder) == [ANSWER]


def test_another_answer_to_the_same_pair_is_a_conflict(server, folder):
    send(server, ROW)
    status, text = send(server, ROW | {"score_first": "4"})
    assert (status, text) == (409, b"this viewer has already answered the same pair differently\n")
    assert stored(folder) == [ANSWER]


def doubled(name, value):
    return json.dumps(ROW)[:-1].encode() + f', "{name}": "{value}"}}'.encode()


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (b"", "JSON"),
        (b"{", "JSON"),
        (b"\xff", "JSON"),
        (b"\xef\xbb\xbf" + json.dumps(ROW).encode(), "JSON"),
        (json.dumps(ROW).encode("utf-16"), "JSON"),
        pytest.param(b"[" * 4096, "JSON", id="nested lists"),
        pytest.param(b'{"viewer":' * 400, "JSON", id="nested objects"),
        (json.dumps(ROW).encode() + b"x", "JSON"),
        (b"NaN", "object of strings"),
        (b"null", "object of strings"),
        (b"[]", "object of strings"),
        (b'[["viewer", "1"]]', "object of strings"),
        (b'"viewer"', "object of strings"),
        (ROW | {"number": 1}, "object of strings"),
        (ROW | {"number": float("nan")}, "object of strings"),
        (ROW | {"score_first": None}, "object of strings"),
        (ROW | {"first": {"a": "b"}}, "object of strings"),
        (ROW | {"first": ["a"]}, "object of strings"),
        (doubled("number", "1"), "each name given once"),
        (doubled("number", "2"), "each name given once"),
        (b"{}", "the columns must be viewer,number"),
        (ROW | {"more": "x"}, "the columns must be viewer,number"),
        ({k: v for k, v in ROW.items() if k != "survey"}, "the columns must be viewer,number"),
        (ROW | {"viewer": "../../../../../../../../../../pw"}, "viewer must be 32 digits"),
        (ROW | {"viewer": "x"}, "viewer must be 32 digits"),
        (ROW | {"number": "5"}, "number must be a whole number from 1 to 4, not '5'"),
        (ROW | {"number": "\n=cmd()"}, "number must be a whole number from 1 to 4"),
        (ROW | {"score_first": "6"}, "score_first must be 1 to 5"),
        (ROW | {"first": TOKENS[2]}, "no pair of this survey"),
        (ROW | {"first": "\ud800"}, "no pair of this survey"),
        (ROW | {"survey": "6" * 32}, "survey must be 5555"),
    ],
)
def test_what_is_no_answer_is_refused(refusing, body, text):
    status, reply = send(refusing, body)
    assert status == 400
    assert text in reply.decode()
    assert reply.count(b"\n") == 1
    assert reply.endswith(b"\n")


@pytest.mark.parametrize(
    ("kind", "status"),
    [
        ("application/json", 204),
        ("application/json; charset=utf-8", 204),
        ("Application/JSON", 204),
        ("text/plain", 415),
        ("text/plain; application/json", 415),
        ("application/x-www-form-urlencoded", 415),
        ("multipart/form-data; boundary=application/json", 415),
        ("application/json, text/plain", 415),
        ("", 415),
    ],
)
def test_other_websites_cannot_post(server, folder, kind, status):
    """Their pages may send only the refused types without being allowed to, which they are not."""
    body = json.dumps(ROW).encode()
    headers = {"Content-Type": kind, "Origin": "http://elsewhere.example"}
    got, replied, _ = ask(server, "POST", "/answers", body, headers)
    assert got == status
    assert len(stored(folder)) == (status == 204)
    assert not [name for name in replied if name.startswith("Access-Control")]


def test_viewers_are_limited(folder, monkeypatch):
    monkeypatch.setattr(survey_server, "VIEWER_LIMIT", 2)
    (folder / "answers").mkdir()
    answers.append(folder / "answers", ANSWER, SURVEY)
    with served(folder) as server:
        assert send(server, ROW | {"viewer": "2" * 32})[0] == 204
        assert send(server, ROW | {"viewer": "3" * 32})[0] == 503
        assert send(server, ROW | OTHER)[0] == 204
    assert len(stored(folder)) == 3


# --- telling -----------------------------------------------------------------------------------


def test_new_answers_are_told(folder):
    told = []
    with served(folder, on_answer=told.append) as server:
        for row in (ROW, ROW, ROW | OTHER, ROW | {"score_first": "1"}, {}):
            send(server, row)
    assert told == [ANSWER, answers.parse(ROW | OTHER, SURVEY)]


def fail(*_):
    raise RuntimeError("a secret")


def test_a_listener_that_fails_costs_nothing(folder, capfd):
    with served(folder, on_answer=fail, on_error=fail) as server:
        assert send(server, ROW)[0] == 204
        server.pages["/"] = None
        assert ask(server, "GET", "/")[0] == 500
    assert stored(folder) == [ANSWER]
    assert capfd.readouterr() == ("", "")


def test_a_picture_that_is_gone_is_told_to_the_owner_alone(folder, capfd):
    errors = []
    with served(folder, on_error=errors.append) as server:
        (folder / "page" / "pictures" / f"{TOKENS[0]}.png").unlink()
        assert ask(server, "GET", f"/pictures/{TOKENS[0]}.png")[0] == 500
        assert ask(server, "GET", "/")[0] == 200
    assert [type(error) for error in errors] == [FileNotFoundError]
    assert capfd.readouterr() == ("", "")


def test_a_damaged_answer_file_is_told_to_the_owner_alone(folder):
    errors = []
    (folder / "answers").mkdir()
    (folder / "answers" / f"{VIEWER}.csv").write_text("shopping list\n")
    with served(folder, on_error=errors.append) as server:
        assert send(server, ROW) == (500, b"the server failed to do this\n")
    assert str(folder) in str(errors[0])
    assert (folder / "answers" / f"{VIEWER}.csv").read_text() == "shopping list\n"


# --- many --------------------------------------------------------------------------------------


def test_many_viewers_at_once_lose_nothing(server, folder):
    """Every answer is sent by two of eight threads."""
    every = list(rows(16))
    statuses = []

    def work(number):
        with contextlib.closing(connect(server)) as connection:
            for row in every[number % 4 :: 4]:
                connection.request("POST", "/answers", json.dumps(row), JSON)
                response = connection.getresponse()
                response.read()
                statuses.append(response.status)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert statuses == [204] * 2 * len(every)
    assert as_set(stored(folder)) == as_set(answers.parse(row, SURVEY) for row in every)
    assert len(stored(folder)) == len(every)
    assert {path.suffix for path in (folder / "answers").iterdir()} == {".csv"}


def as_set(several):
    return {dataclasses.astuple(answer) for answer in several}


# --- nothing lost ------------------------------------------------------------------------------

PROGRAM = """
import sys
from gatys_norm.survey import server as survey_server
server = survey_server.make_server(sys.argv[1])
print(server.server_port, flush=True)
server.serve_forever()
"""


@contextlib.contextmanager
def other_process(folder):
    """Serve in another process; gives it and the port."""
    with start_new(sys.executable, "-c", PROGRAM, folder) as process:
        try:
            yield process, int(process.stdout.readline())
        finally:
            process.kill()


def test_a_killed_server_loses_nothing_that_it_acknowledged(folder):
    every = list(rows(2000))
    acknowledged = []

    def work(port, part):
        connection = http.client.HTTPConnection("127.0.0.1", port)
        with (
            contextlib.closing(connection),
            contextlib.suppress(OSError, http.client.HTTPException),
        ):
            for row in part:
                connection.request("POST", "/answers", json.dumps(row), JSON)
                response = connection.getresponse()
                response.read()
                assert response.status == 204
                acknowledged.append(row)

    with other_process(folder) as (process, port):
        with pytest.raises(SurveyError, match="is already served"):
            survey_server.make_server(folder)
        threads = [
            threading.Thread(target=work, args=(port, every[number::4])) for number in range(4)
        ]
        for thread in threads:
            thread.start()
        wait_for(lambda: len(acknowledged) > 100)
        os.kill(process.pid, signal.SIGKILL)
        for thread in threads:
            thread.join()
    known = {(row["viewer"], row["number"]) for row in acknowledged}
    rest = [row for row in every if (row["viewer"], row["number"]) not in known][:50]
    with served(folder) as server:
        kept = as_set(stored(folder))
        assert as_set(answers.parse(row, SURVEY) for row in acknowledged) <= kept
        assert len(acknowledged) <= len(kept) <= len(acknowledged) + 4
        assert {send(server, row)[0] for row in rest} == {204}
        assert {send(server, row)[0] for row in acknowledged[:20]} == {204}
    sent = as_set(answers.parse(row, SURVEY) for row in acknowledged + rest)
    assert as_set(stored(folder)) == sent | kept


def test_a_torn_line_is_repaired_at_the_start(folder):
    (folder / "answers").mkdir()
    path = folder / "answers" / f"{VIEWER}.csv"
    for row in (ROW, ROW | OTHER):
        answers.append(folder / "answers", answers.parse(row, SURVEY), SURVEY)
    whole = path.read_bytes()
    path.write_bytes(whole[:-20])
    with served(folder) as server:
        assert stored(folder) == [ANSWER]
        assert send(server, ROW | OTHER)[0] == 204
    assert path.read_bytes() == whole


def test_a_full_disk_is_said_and_costs_nothing(folder):
    errors = []
    path = folder / "answers" / f"{VIEWER}.csv"
    with served(folder, on_error=errors.append) as server:
        with limited_file_size(50):
            assert send(server, ROW) == (507, b"the answer could not be stored\n")
        assert not list((folder / "answers").iterdir())
        assert send(server, ROW)[0] == 204
        before = path.read_bytes()
        with limited_file_size(len(before) + 50):
            assert send(server, ROW | OTHER)[0] == 507
            assert send(server, ROW)[0] == 204
            assert ask(server, "GET", "/")[0] == 200
        assert path.read_bytes() == before
        assert send(server, ROW | OTHER)[0] == 204
    assert len(stored(folder)) == 2
    assert all(isinstance(error, OSError) for error in errors)
    assert len(errors) == 2


def test_one_server_at_a_time(folder):
    with served(folder):
        for _ in range(2):
            with pytest.raises(SurveyError, match="is already served; end that server first"):
                survey_server.make_server(folder)
    with served(folder) as server:
        assert send(server, ROW)[0] == 204


def test_a_closed_server_stores_nothing(folder):
    with served(folder) as server:
        server.shutdown()
        server.server_close()
        with pytest.raises(web_server.RefusedError, match="the survey is closed"):
            server.store.add(ANSWER)
    assert stored(folder) == []


class NotedLock:
    """A lock that counts how often it was asked for."""

    def __init__(self):
        self.asked, self._lock = 0, threading.Lock()

    def __enter__(self):
        self.asked += 1
        self._lock.acquire()

    def __exit__(self, *_):
        self._lock.release()


def test_closing_waits_for_the_answer_being_stored(folder, monkeypatch):
    begun, goes_on = threading.Event(), threading.Event()
    append = answers.append

    def slowly(*arguments):
        begun.set()
        assert goes_on.wait(10)
        return append(*arguments)

    monkeypatch.setattr(answers, "append", slowly)
    replies = []
    with served(folder) as server:
        turn = server.store._turn = NotedLock()
        sender = threading.Thread(target=lambda: replies.append(send(server, ROW)))
        sender.start()
        assert begun.wait(10)
        server.shutdown()
        closer = threading.Thread(target=server.server_close)
        closer.start()
        wait_for(lambda: turn.asked == 2)
        with pytest.raises(SurveyError, match="is already served"):
            survey_server.make_server(folder)
        goes_on.set()
        closer.join(10)
        sender.join(10)
    assert replies == [(204, b"")]
    assert stored(folder) == [ANSWER]


# --- folders and addresses ---------------------------------------------------------------------


def test_the_folder_of_answers_is_made(folder):
    with served(folder):
        assert (folder / "answers").is_dir()


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda folder: (folder / "survey.json").unlink(), "holds no survey"),
        (lambda folder: (folder / "survey.json").write_text("{}"), "damaged"),
        (lambda folder: survey_model.page_path(folder).unlink(), "/ of its page is missing"),
        (
            lambda folder: (folder / "page" / "pictures" / f"{TOKENS[5]}.png").unlink(),
            f"/pictures/{TOKENS[5]}.png of its page is missing",
        ),
        (
            lambda folder: (folder / "page" / "pictures").rename(folder / "elsewhere"),
            r"cannot be served \(No such file or directory\)",
        ),
        (lambda folder: (folder / "answers").touch(), r"cannot be served \(File exists\)"),
        (
            lambda folder: (folder / "answers" / "x.csv").mkdir(parents=True),
            r"cannot be served \(Is a directory\)",
        ),
    ],
)
def test_a_damaged_folder_is_refused(folder, damage, message):
    damage(folder)
    for _ in range(2):  # and the lock let go of
        with pytest.raises(SurveyError, match=message) as caught:
            survey_server.make_server(folder)
        assert str(folder) in str(caught.value)


def test_where_it_cannot_listen_it_lets_go_of_the_folder(folder):
    with (
        socket.create_server(("127.0.0.1", 0)) as taken,
        pytest.raises(OSError, match="in use"),
    ):
        survey_server.make_server(folder, port=taken.getsockname()[1])
    with pytest.raises(OSError, match="assign"):
        survey_server.make_server(folder, "192.0.2.1")
    with served(folder) as server:
        assert send(server, ROW)[0] == 204
