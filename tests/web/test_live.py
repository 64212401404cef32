"""The page that shows a run: what it is told over real connections, and a real browser.

test_server.py tests the server below it.
"""

import base64
import contextlib
import dataclasses
import html.parser
import io
import itertools
import json
import os
import re
import signal
import socket
import threading
import time
import types
from pathlib import Path

import numpy as np
import pytest
from helpers.digests import digest
from helpers.http import ask, connect, posted, say, status_of
from helpers.programs import COMMAND, start, wait_for
from helpers.rounding import gamma
from PIL import Image
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import WebDriverWait

from gatys_norm.cli import loading
from gatys_norm.cli import main as cli
from gatys_norm.cli import transfer as transfer_command
from gatys_norm.config import TransferConfig
from gatys_norm.images import io as picture_io
from gatys_norm.record import term_value
from gatys_norm.web import live
from gatys_norm.web import server as web_server

ROOT = Path(__file__).parents[2]
HOSTILE = "<script>alert('&')</script>\"><img src=x onerror=alert(1)>{{ 7 * 7 }}"
CONFIG = TransferConfig(
    content="pictures/town.jpg", style=("a.png", "b.png"), size=(64, 96), iterations=(20, 30)
)
COEFFICIENTS = {"content/conv4_2": 0.5, "style/conv1_2": 2.0}


# Of one color, at quality 95 (steps of 2 between brightnesses and colors, eighths of which are
# kept): each of Y, Cb and Cr is rounded by 1/2 and wrong by 1/8, and B = Y + 1.772 Cb is rounded.
JPEG_ERROR = int((0.5 + 0.125) * (1 + 1.772) + 0.5)


def row(size, iteration, content=0.0, style=100.0):
    terms = {"content/conv4_2": content, "style/conv1_2": style}
    loss = sum(COEFFICIENTS[term] * value for term, value in terms.items())
    return {"size": size, "iteration": iteration, "evaluations": 2, "loss": loss, **terms}


ROWS = [row(64, 0), row(64, 10, 8.0, 10.0), row(64, 20, 6.0, 1.0), row(96, 0), row(96, 10, 4.0)]


class Progress(types.SimpleNamespace):
    """Stands in for `transfer.Progress`, and counts how often its picture is taken."""

    def __init__(self, iteration=5, rows=ROWS[:1], color=(200, 30, 30), **changes):
        usual = {"size": 64, "iterations": 50, "evaluations": 9, "loss": 12.5}
        times = {"seconds": 61.25, "seconds_left": 3600.0}
        super().__init__(iteration=iteration, **{**usual, **times, **changes})
        self.rows, self.color, self.taken = rows, color, 0

    def history(self):
        return list(self.rows), COEFFICIENTS

    def image(self):
        self.taken += 1
        return np.full((48, 64, 3), self.color, np.float32)


def result(status="completed", color=(0, 0, 255), rows=ROWS):
    record = {"status": status, "history": list(rows)}
    return types.SimpleNamespace(record=record, image=np.full((48, 64, 3), color, np.float32))


@pytest.fixture(autouse=True)
def at_once(monkeypatch):
    """Let a page show everything at once, and end at once."""
    serve_forever = web_server.Server.serve_forever
    monkeypatch.setattr(live, "SECONDS", 0.0)
    monkeypatch.setattr(
        live.Preview, "serve_forever", lambda page, _: serve_forever(page, 0.002), raising=False
    )


@pytest.fixture
def page(at_once):
    """Serve the page of a transfer that begins."""
    with contextlib.closing(live.Preview(0)) as served:
        served.start("results/out.png", CONFIG)
        yield served


class Viewer:
    """The events of a page as a browser gets them."""

    def __init__(self, page):
        self.connection = connect(page)
        self.connection.request("GET", "/events")
        self.response = self.connection.getresponse()
        assert self.response.status == 200

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.response.close()
        self.connection.close()

    def next(self):
        """Return the next event, or None if nothing more comes."""
        while line := self.response.readline():
            if line.startswith(b"data: "):
                return json.loads(line.removeprefix(b"data: "))
        return None

    def wait_for(self, is_so):
        while not is_so(event := self.next()):
            assert event is not None
        return event


def shown_picture(event):
    """The pixels of the picture that an event brings."""
    prefix, _, data = event["picture"].partition(",")
    assert prefix == "data:image/jpeg;base64"
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(data))))


# --- the server --------------------------------------------------------------------------------


def test_it_listens_on_this_machine_alone(page):
    host, port = page.server_address
    assert host == "127.0.0.1"
    assert page.address == f"http://127.0.0.1:{port}/"


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_the_page_is_served_with_its_headers(page, method):
    status, headers, body = ask(page, method, "/?x=../../etc/passwd")
    assert status == 200
    assert dict(headers) == {
        "Server": "preview",
        "Date": headers["Date"],
        "Content-Type": "text/html; charset=utf-8",
        "Content-Length": headers["Content-Length"],
        "Content-Security-Policy": "frame-ancestors 'none'",
        "Cross-Origin-Resource-Policy": "same-origin",
        "Cache-Control": "no-store",
        "Referrer-Policy": "no-referrer",
        "X-Content-Type-Options": "nosniff",
    }
    assert len(body) == (int(headers["Content-Length"]) if method == "GET" else 0)


class Tags(html.parser.HTMLParser):
    def __init__(self, text):
        super().__init__()
        self.start_tags = []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.start_tags.append((tag, dict(attributes)))


def test_the_page_needs_nothing_from_elsewhere(page):
    text = ask(page, "GET", "/")[2].decode()
    tags = Tags(text).start_tags
    policy = next(attributes["content"] for _, attributes in tags if "http-equiv" in attributes)
    assert policy.startswith("default-src 'none'; img-src data:; connect-src 'self';")
    assert "unsafe" not in policy
    assert not [
        attributes
        for _, attributes in tags
        for name in attributes
        if name == "style" or name[:2] == "on"
    ]
    assert [attributes["href"] for _, attributes in tags if "href" in attributes] == ["data:,"]
    assert not [attributes for _, attributes in tags if "src" in attributes]
    assert text.replace("http://www.w3.org/2000/svg", "").count("://") == 0
    assert "url(" not in text
    assert "@import" not in text


@pytest.mark.parametrize(
    "path",
    [
        *(
            "/out.png",
            "/results/out.png",
            "/../etc/passwd",
            "/events/",
            "/stop/",
            "//",
            "/events/..",
        ),
        *("/%2e%2e/setup.cfg", "/index.html", "/preview.py", "/%65vents", "", "http://127.0.0.1/"),
    ],
)
def test_nothing_else_is_served(page, path):
    reply = say(page, f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
    assert status_of(reply) == 404
    assert reply.endswith(b"\r\n\r\nnot found\n")


def test_events_are_not_kept_and_end_with_their_connection(page):
    with Viewer(page) as viewer:
        headers = dict(viewer.response.headers)
    assert headers == {
        "Server": "preview",
        "Date": headers["Date"],
        "Content-Type": "text/event-stream",
        "Cross-Origin-Resource-Policy": "same-origin",
        "Cache-Control": "no-store",
        "Referrer-Policy": "no-referrer",
        "X-Content-Type-Options": "nosniff",
        "Connection": "close",
    }


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        *((method, "/", "GET, HEAD") for method in ("POST", "PUT", "DELETE", "OPTIONS")),
        *((method, "/events", "GET") for method in ("HEAD", "POST")),
        *((method, "/stop", "POST") for method in ("GET", "HEAD", "PUT", "OPTIONS")),
    ],
)
def test_other_methods_are_refused(page, method, path, allowed):
    status, headers, _ = ask(page, method, path, b"")
    assert (status, headers["Allow"]) == (405, allowed)
    assert not [name for name in headers if name.startswith("Access-Control")]


def token(page):
    with Viewer(page) as viewer:
        return viewer.next()["token"]


def test_under_another_name_it_tells_nothing_and_stops_nothing(page):
    body, headers = token(page), {"Host": "elsewhere.example"}
    for method, path in (("GET", "/"), ("GET", "/events"), ("POST", "/stop")):
        status, _, text = ask(page, method, path, body, headers)
        assert status == 403
        assert body.encode() not in text
    assert not page.stop_asked


@pytest.mark.parametrize(
    "spoil",
    [
        *(lambda token: "", lambda token: token[:-1], lambda token: token + "\n"),
        *(lambda token: token.swapcase(), lambda token: "{}", lambda token: "é".encode()),
        *(lambda token: json.dumps(token), lambda token: "None"),
    ],
)
def test_only_the_page_may_stop_the_run(page, spoil):
    """A page of another website can neither read the token nor guess it."""
    headers = {"Origin": "http://elsewhere.example"}
    status, _, text = ask(page, "POST", "/stop", spoil(token(page)), headers)
    assert (status, text) == (403, b"only the page may stop the run\n")
    assert not page.stop_asked


def test_every_run_has_its_own_token(page):
    with contextlib.closing(live.Preview(0)) as other:
        assert ask(page, "POST", "/stop", token(other))[0] == 403
        assert len(token(other)) >= 32


def test_the_wish_to_stop_is_shown_to_all(page):
    with Viewer(page) as viewer, Viewer(page) as other:
        first = viewer.next()
        assert not first["stopping"]
        assert ask(page, "POST", "/stop", first["token"])[0] == 204
        assert viewer.next()["stopping"]
        assert other.wait_for(lambda event: event["stopping"])
    assert page.stop_asked


def test_a_refused_body_stops_nothing(page):
    body = token(page).encode()
    assert status_of(say(page, posted("/stop", body, length=False))) == 411
    assert status_of(say(page, posted("/stop", body * 200))) == 413
    assert not page.stop_asked


def test_a_port_that_is_taken_is_an_oserror(page):
    threads = threading.active_count()
    with pytest.raises(OSError, match="in use"):
        live.Preview(page.server_port)
    assert threading.active_count() <= threads


# --- what is shown -----------------------------------------------------------------------------


def test_what_is_shown_of_a_transfer_that_begins(page):
    with Viewer(page) as viewer:
        event = viewer.next()
    assert event == {
        "status": "starting",
        "stopping": False,
        "closed": False,
        "token": event["token"],
        "about": {
            "output": "out.png",
            "content": "town.jpg",
            "styles": ["a.png", "b.png"],
            "loss": "normalized",
            "sizes": [64, 96],
        },
        "progress": None,
        "curves": [],
        "picture": None,
    }


def test_what_is_shown_of_a_transfer_that_goes_on(page):
    page.update(Progress(rows=ROWS[:2]))
    with Viewer(page) as viewer:
        event = viewer.next()
    assert event["status"] == "running"
    assert event["progress"] == {
        **{"size": 64, "iteration": 5, "iterations": 50, "evaluations": 9},
        **{"loss": 12.5, "seconds": 61.25, "seconds_left": 3600},
    }
    assert event["curves"] == [
        {
            "size": 64,
            "iterations": [0, 10],
            "loss": [200, 24],
            "terms": {"content/conv4_2": [0, 4], "style/conv1_2": [200, 20]},
        }
    ]


def test_numbers_that_json_lacks_are_left_out(page):
    rows = [row(64, 0) | {"loss": float("inf"), "style/conv1_2": float("nan")}]
    page.update(Progress(rows=rows, loss=float("nan"), seconds_left=float("inf")))
    with Viewer(page) as viewer:
        event = viewer.next()
    assert event["progress"]["loss"] is event["progress"]["seconds_left"] is None
    assert event["curves"][0]["loss"] == event["curves"][0]["terms"]["style/conv1_2"] == [None]


def test_names_that_are_no_valid_unicode(page):
    page.start(os.fsdecode(b"\xff.png"), CONFIG)
    with Viewer(page) as viewer:
        assert viewer.next()["about"]["output"] == "\udcff.png"


def test_curves_of_several_sizes_follow_one_another():
    other = {"content/conv4_2": 1.0, "style/conv1_2": 1.0}
    parts = live.curves(ROWS, {64: COEFFICIENTS, 96: other})
    assert [part["size"] for part in parts] == [64, 96]
    assert [part["iterations"] for part in parts] == [[0, 10, 20], [20, 30]]
    assert parts[0]["terms"]["content/conv4_2"] == [0, 4, 3]
    assert parts[1]["terms"]["content/conv4_2"] == [0, 4]
    assert [len(part["loss"]) for part in parts] == [3, 2]


def test_terms_of_a_size_before_the_resumption_are_left_out():
    """A checkpoint does not hold the coefficients of sizes that are done."""
    parts = live.curves(ROWS, {96: COEFFICIENTS})
    assert parts[0]["terms"] == {}
    assert parts[0]["loss"] == [200, 24, 5]
    assert set(parts[1]["terms"]) == set(COEFFICIENTS)


def test_each_size_keeps_its_coefficients(page):
    page.update(Progress(rows=ROWS[:3]))
    later = Progress(rows=ROWS, size=96)
    later.history = lambda: (ROWS, {"content/conv4_2": 3.0, "style/conv1_2": 1.0})
    page.update(later)
    with Viewer(page) as viewer:
        parts = viewer.next()["curves"]
    assert parts[0]["terms"]["content/conv4_2"] == [0, 4, 3]
    assert parts[1]["terms"]["content/conv4_2"] == [0, 12]


@pytest.mark.parametrize("count", [1, 2, 499, 500, 1001, 100_000])
def test_long_histories_are_thinned_out(count):
    rows = [row(64, iteration) for iteration in range(count)]
    (part,) = live.curves(rows, {64: COEFFICIENTS})
    iterations = part["iterations"]
    assert len(iterations) <= 2 * live.POINT_LIMIT
    assert len(iterations) >= min(count, live.POINT_LIMIT)
    assert (iterations[0], iterations[-1]) == (0, count - 1)
    assert iterations == sorted(set(iterations))
    assert len(part["loss"]) == len(part["terms"]["style/conv1_2"]) == len(iterations)


def test_a_second_transfer_begins_anew(page):
    page.update(Progress(rows=ROWS))
    page.finish(result())
    page.start("other.png", CONFIG)
    with Viewer(page) as viewer:
        event = viewer.next()
    assert (event["status"], event["about"]["output"]) == ("starting", "other.png")
    assert (event["progress"], event["curves"], event["picture"]) == (None, [], None)


# --- the picture -------------------------------------------------------------------------------


@pytest.fixture
def encoded(monkeypatch):
    """Collect the pictures that are made into files."""
    made, encode = [], picture_io.encode_picture
    monkeypatch.setattr(
        picture_io, "encode_picture", lambda *given: made.append(given[1]) or encode(*given)
    )
    return made


def test_no_picture_is_taken_while_nobody_looks(page, encoded):
    progress = Progress()
    for _ in range(100):
        page.update(progress)
    ask(page, "GET", "/")
    page.update(progress)
    assert progress.taken == 0
    assert encoded == []


def test_the_picture_changes_with_the_progress(page, encoded):
    with Viewer(page) as viewer:
        assert viewer.next()["picture"] is None
        for color in ((250, 10, 10), (10, 250, 10)):
            page.update(Progress(color=color))
            picture = shown_picture(viewer.next())
            assert picture.shape == (48, 64, 3)
            assert np.abs(picture.astype(int) - color).max() <= JPEG_ERROR
    assert len(encoded) == 2


def test_the_same_picture_is_sent_once(page):
    with Viewer(page) as viewer:
        viewer.next()
        page.update(Progress())
        assert viewer.next()["picture"]
        page._change()
        assert "picture" not in viewer.next()
        with Viewer(page) as other:
            assert other.next()["picture"]


def test_pictures_are_taken_once_a_second_at_most(page, monkeypatch):
    clock = [1000.0]
    monkeypatch.setattr(live, "time", types.SimpleNamespace(monotonic=lambda: clock[0]))
    monkeypatch.setattr(live, "SECONDS", 1.0)
    progress = Progress()
    with Viewer(page) as viewer:
        viewer.next()
        for _ in range(50):
            page.update(progress)
            clock[0] += 0.1
    assert progress.taken == 5


def test_between_events_a_second_passes(page, monkeypatch):
    monkeypatch.setattr(live, "SECONDS", 0.2)
    started = time.monotonic()
    with Viewer(page) as viewer:
        viewer.next()
        for iteration in range(1, 40):
            page.update(Progress(iteration=iteration))
        assert viewer.next()["progress"]["iteration"] == 39
        assert time.monotonic() - started >= 0.2


def test_only_the_end_comes_before_its_second(page, monkeypatch):
    monkeypatch.setattr(live, "SECONDS", 3600.0)
    with Viewer(page) as viewer:
        viewer.next()
        for iteration in range(1, 40):
            page.update(Progress(iteration=iteration))
        page.close()
        event = viewer.next()
        assert (event["progress"]["iteration"], event["closed"]) == (39, True)


def test_no_picture_is_taken_after_the_last_viewer_left(page):
    progress = Progress()
    with Viewer(page) as viewer:
        viewer.next()
        assert page._viewers == 1
    # the server hears of it when it has something to tell
    wait_for(lambda: page.update(progress) or not page._viewers)
    taken = progress.taken
    page.update(progress)
    assert progress.taken == taken


def test_several_viewers_share_one_file(page, encoded):
    with contextlib.ExitStack() as stack:
        viewers = [stack.enter_context(Viewer(page)) for _ in range(4)]
        for viewer in viewers:
            viewer.next()
        page.update(Progress())
        pictures = [viewer.wait_for(lambda event: event.get("picture")) for viewer in viewers]
    assert len({event["picture"] for event in pictures}) == 1
    assert len(encoded) == 1


@pytest.mark.parametrize(
    ("shape", "shown"),
    [((3000, 1500), (1024, 512)), ((100, 1025), (100, 1024)), ((1024, 16), (1024, 16))],
)
def test_large_pictures_are_shown_smaller(page, shape, shown):
    progress = Progress()
    progress.image = lambda: np.zeros((*shape, 3), np.float32)
    with Viewer(page) as viewer:
        viewer.next()
        page.update(progress)
        assert shown_picture(viewer.next()).shape == (*shown, 3)


# --- the end -----------------------------------------------------------------------------------


@pytest.mark.parametrize("status", ["completed", "interrupted"])
def test_viewers_are_told_of_the_end_and_given_the_last_picture(page, status):
    with Viewer(page) as viewer:
        viewer.next()
        page.update(Progress(rows=ROWS[:4]))
        page.finish(result(status))
        page.close()
        event = viewer.wait_for(lambda event: event["closed"])
        assert event["status"] == status
        assert shown_picture(event)[0, 0, 2] >= 255 - JPEG_ERROR
        assert event["curves"][-1]["iterations"] == [20, 30]
        assert viewer.next() is None


def test_a_run_that_broke_off_leaves_its_status(page):
    with Viewer(page) as viewer:
        viewer.next()
        page.update(Progress())
        page.close()
        assert viewer.wait_for(lambda event: event["closed"])["status"] == "running"


def test_the_end_of_the_page_frees_its_port(page):
    page.close()
    with pytest.raises(ConnectionRefusedError):
        ask(page, "GET", "/")
    with contextlib.closing(live.Preview(page.server_port)) as other:
        assert ask(other, "GET", "/")[0] == 200


def test_without_viewers_the_end_takes_no_time(page):
    started = time.monotonic()
    page.close()
    assert time.monotonic() - started < live.SECONDS_TO_CLOSE / 2


def test_a_viewer_who_takes_nothing_does_not_hold_up_the_end(page, monkeypatch):
    monkeypatch.setattr(live, "SECONDS_TO_CLOSE", 0.3)
    progress = Progress()
    noise = np.random.default_rng(0).uniform(0, 255, (1024, 1024, 3)).astype(np.float32)
    progress.image = lambda: noise
    with socket.socket() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.connect(page.server_address)
        connection.sendall(b"GET /events HTTP/1.1\r\nHost: localhost\r\n\r\n")
        wait_for(lambda: page._viewers == 1)
        for accepted in page._connections:
            accepted.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        page.update(progress)  # its picture is larger than both buffers
        started = time.monotonic()
        page.close()
        assert 0.3 <= time.monotonic() - started < web_server.SECONDS / 2


# --- the command -------------------------------------------------------------------------------

TRANSFER = ("--content=content.png", "--style=style.png", "--output=out.png", "--iterations=6")
LAYERS = ("--content_layers=conv2_1", "--style_layers=conv1_1,conv2_2", "--log_every=2")


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Work in a folder with two pictures."""
    monkeypatch.chdir(tmp_path)
    for seed, name in enumerate(("content.png", "style.png")):
        picture = np.random.default_rng(seed).uniform(0, 255, (20, 24, 3))
        picture_io.save_picture(name, picture)
    return tmp_path


@pytest.fixture
def served(monkeypatch):
    """Collect the previews that are made."""
    made = []

    class Noted(live.Preview):
        def __init__(self, port):
            super().__init__(port)
            made.append(self)

    monkeypatch.setattr(live, "Preview", Noted)
    return made


def loss_error(terms):
    """How far the loss may be from Σ coefficient · squared distance: all are positive.

    A term is its coefficient, rounded to float32, times a distance; the terms are added; what is
    minimized is their sum times a constant, by which the loss is divided again.
    """
    return gamma(1 + 1 + (terms - 1) + 2, "float32")


def is_served(page):
    try:
        return ask(page, "GET", "/")[0] == 200
    except ConnectionRefusedError:
        return False


@pytest.mark.usefixtures("folder", "eagerly")
def test_the_command_says_where_the_page_is_and_ends_it(small_network, served, capsys):
    assert cli.run(["gatys-norm", *TRANSFER, *LAYERS, "--size=24", "--preview=0"]) == 0
    out = capsys.readouterr().out
    [page] = served
    assert out.startswith(f"preview: {page.address}\n")
    assert not is_served(page)
    assert (page._state.status, page._state.about["output"]) == ("completed", "out.png")
    [part] = live.curves(page._state.rows, page._state.coefficients)
    assert part["iterations"] == [0, 2, 4, 6]
    summed = np.sum(list(part["terms"].values()), axis=0)
    written = 2 * 0.5e-5  # six digits, of the terms and of the loss
    rounded = loss_error(len(part["terms"]))
    np.testing.assert_allclose(summed, part["loss"], rtol=written + rounded)
    record = json.loads(Path("out.json").read_text())
    assert page._state.rows == record["history"]


@pytest.mark.usefixtures("folder", "eagerly")
def test_without_the_flag_nothing_is_served(small_network, served, capsys):
    assert cli.run(["gatys-norm", *TRANSFER, *LAYERS, "--size=24"]) == 0
    assert served == []
    assert "preview" not in capsys.readouterr().out


@pytest.mark.usefixtures("eagerly")
def test_stopping_is_as_ctrl_c(small_network, served, capsys, folder, monkeypatch):
    update = live.Preview.update

    def stop_after_two(page, progress):
        update(page, progress)
        if progress.iteration >= 2 and not page.stop_asked:
            assert ask(page, "POST", "/stop", page._token)[0] == 204

    monkeypatch.setattr(live.Preview, "update", stop_after_two)
    command = ["gatys-norm", *TRANSFER, *LAYERS, "--size=24,32"]
    assert cli.run([*command, "--preview=0"]) == 130
    out = capsys.readouterr().out
    assert out.endswith("interrupted; the picture so far is out.png, continue with --resume\n")
    assert {path.name for path in folder.iterdir()} == {
        *("content.png", "style.png", "out.png", "out.json", "out.checkpoint.npz")
    }
    record = json.loads(Path("out.json").read_text())
    assert (record["status"], record["iterations"]) == ("interrupted", 2)
    assert served[0]._state.status == "interrupted"
    monkeypatch.setattr(live.Preview, "update", update)
    assert cli.run([*command, "--preview=0", "--resume"]) == 0
    resumed = picture_io.load_picture("out.png")
    assert cli.run(command) == 0
    np.testing.assert_array_equal(resumed, picture_io.load_picture("out.png"))


@pytest.mark.usefixtures("folder", "eagerly")
def test_the_preview_changes_no_bit_of_the_result(small_network, served, monkeypatch):
    update, taken = live.Preview.update, []

    def update_as_if_watched(page, progress):
        page._viewers, page._next_image = 1, 0.0
        update(page, progress)
        page._viewers = 0
        taken.append(page._state.image)

    monkeypatch.setattr(live.Preview, "update", update_as_if_watched)
    pictures = []
    for flags in (["--preview=0"], []):
        assert cli.run(["gatys-norm", *TRANSFER, *LAYERS, "--size=24", *flags]) == 0
        pictures.append(digest(Path("out.png").read_bytes()))
    assert pictures[0] == pictures[1]
    assert len(taken) >= 3
    assert not any(one is other for one, other in itertools.pairwise(taken))


@pytest.mark.usefixtures("folder")
def test_a_port_in_use_is_named(capsys, page):
    """Before TensorFlow is started, and nothing is left behind."""
    code = cli.run(["gatys-norm", *TRANSFER, f"--preview={page.server_port}"])
    out, err = capsys.readouterr()
    assert (code, out) == (2, "")
    assert re.fullmatch(rf"gatys-norm: --preview: port {page.server_port}: .*in use\n", err)
    assert not Path("out.png").exists()


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize("port", ["65536", "-1", "", "x", "8000.5"])
def test_a_port_that_is_none_is_named(capsys, port):
    assert cli.run(["gatys-norm", *TRANSFER, f"--preview={port}"]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert "preview" in err
    assert err.count("\n") == 1


@pytest.mark.usefixtures("folder")
def test_a_run_that_fails_ends_the_page(served, capsys, monkeypatch):
    def fail():
        assert is_served(served[0])
        raise ZeroDivisionError

    monkeypatch.setattr(loading, "start_tensorflow", fail)
    with pytest.raises(ZeroDivisionError):
        cli.run(["gatys-norm", *TRANSFER, "--preview=0"])
    assert not is_served(served[0])


@pytest.mark.usefixtures("folder")
def test_a_comparison_shows_both_transfers_on_one_page(served, monkeypatch, capsys):
    seen = []

    def run_transfer(config, _inputs, _output, _values, _resume, preview, later_transfers):
        assert is_served(preview)
        seen.append((config.loss, preview, later_transfers))
        return 0 if len(seen) == 1 else 130

    monkeypatch.setattr(transfer_command, "run_transfer", run_transfer)
    assert cli.run(["gatys-norm", "compare", *TRANSFER, "--preview=0"]) == 130
    assert seen == [("original", served[0], 1), ("normalized", served[0], 0)]
    assert len(served) == 1
    assert not is_served(served[0])


def test_a_reproduction_takes_no_preview(capsys):
    assert cli.run(["gatys-norm", "reproduce", "--preview=0"]) == 2
    assert "--preview: is not taken here" in capsys.readouterr().err


@pytest.mark.usefixtures("eagerly")
def test_progress_tells_the_history_of_every_size(small_network, folder):
    from gatys_norm import transfer

    config = TransferConfig(
        content="content.png",
        style="style.png",
        content_layers=("conv2_1",),
        style_layers=("conv1_1", "conv2_2"),
        size=(24, 32),
        iterations=(3, 4),
        log_every=1,
    )
    told = []
    finished = transfer.stylize(
        config, lambda progress: told.append((progress, *progress.history()))
    )
    assert {progress.size for progress, *_ in told} == {24, 32}
    assert len(told[0][1]) < len(told[-1][1])
    for progress, rows, coefficients in told:
        assert rows == finished.record["history"][: len(rows)]
        of_size = [row for row in rows if row["size"] == progress.size]
        assert of_size[0]["iteration"] == 0
        for row in of_size:
            summed = sum(factor * term_value(row, term) for term, factor in coefficients.items())
            assert summed == pytest.approx(row["loss"], rel=loss_error(len(coefficients)), abs=0)


# --- in a browser ------------------------------------------------------------------------------


class Page:
    """What is seen in the browser."""

    def __init__(self, browser):
        self.browser = browser

    def open(self, address, width=1280, height=800, mobile=False):
        self.browser.execute_cdp_cmd(
            "Emulation.setDeviceMetricsOverride",
            {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": mobile},
        )
        self.browser.get(address)

    def text(self, name):
        return self.browser.find_element(By.ID, name).text

    def run(self, script):
        return self.browser.execute_script(script)

    def wait(self, is_so, seconds=20):
        return WebDriverWait(self.browser, seconds, 0.05).until(lambda _: is_so())

    def wait_for(self, **texts):
        self.wait(lambda: all(self.text(name) == text for name, text in texts.items()))

    def color(self):
        """The color in the middle of the picture, or None if there is none."""
        return self.run("""
            const picture = document.getElementById("picture");
            if (picture.hidden || !picture.complete || !picture.naturalWidth) return null;
            const context = document.createElement("canvas").getContext("2d");
            context.drawImage(picture, 0, 0);
            return [...context.getImageData(8, 8, 1, 1).data].slice(0, 3);
        """)

    def shows(self, color):
        """Whether the picture is of one color, as near as JPEG keeps it."""
        seen = self.color()
        return bool(seen) and np.abs(np.subtract(seen, color)).max() <= JPEG_ERROR

    def curves(self):
        """{name of a curve in the legend: how many points are drawn of it, over all sizes}."""
        return self.run("""
            const drawn = {};
            for (const row of document.querySelectorAll("#legend tr")) {
              const look = row.querySelector("path").getAttribute("class");
              const paths = [...document.querySelectorAll("#chart path")]
                .filter((path) => path.getAttribute("class").startsWith(look));
              drawn[row.querySelector("th").textContent] =
                paths.reduce((sum, path) => sum + path.getAttribute("d").split("L").length, 0);
            }
            return drawn;
        """)

    def stop(self, answer=True):
        self.browser.find_element(By.ID, "stop").click()
        question = self.browser.switch_to.alert
        assert "--resume resumes the run" in question.text
        question.accept() if answer else question.dismiss()


COUNT_FAILURES = """
  window.failures = 0;
  window.EventSource = class extends EventSource {
    constructor(address) {
      super(address);
      this.addEventListener("error", () => { failures += 1; });
    }
  };
"""


@pytest.fixture(scope="module")
def browser(browser):
    """Headless Chromium that counts how often a page lost its events."""
    browser.execute_cdp_cmd("Page.addScriptToEvaluateOnNewDocument", {"source": COUNT_FAILURES})
    return browser


@pytest.fixture
def shown(browser):
    """Give the browser; what it complains of before this asks again is the test's to explain."""
    browser.get("about:blank")
    browser.get_log("browser")
    return Page(browser)


def test_the_browser_shows_what_happens(page, shown):
    shown.open(page.address)
    shown.wait_for(output="out.png", status="Starting …", iteration="–", left="–")
    assert shown.text("about") == "town.jpg in the style of a.png, b.png, normalized loss"
    assert shown.color() is None
    page.update(Progress(rows=ROWS[:3], loss=1234567.0, seconds_left=3725.0))
    shown.wait_for(status="Running", iteration="5 / 50", size="64 (1 of 2)", evaluations="9")
    shown.wait_for(loss="1.23e6", spent="1 min 1 s", left="1 h 2 min")
    shown.wait(lambda: shown.shows((200, 30, 30)))
    assert shown.curves() == {"sum": 3, "style/conv1_2": 3, "content/conv4_2": 2}  # 0 is not drawn
    names = shown.browser.find_elements(By.CSS_SELECTOR, "#legend th")
    assert [name.text for name in names] == ["sum", "style/conv1_2", "content/conv4_2"]
    assert shown.browser.title == "10 % · out.png"
    page.update(Progress(45, ROWS, (30, 200, 30), size=96))
    shown.wait_for(iteration="45 / 50", size="96 (2 of 2)")
    shown.wait(lambda: shown.shows((30, 200, 30)))
    assert shown.curves() == {"sum": 5, "style/conv1_2": 5, "content/conv4_2": 3}
    page._next_image = time.monotonic() + 60
    page.update(Progress(46, ROWS, size=96))
    shown.wait_for(iteration="46 / 50")
    assert shown.color() is not None  # that of before
    labels = shown.run("return document.getElementById('chart').textContent")
    assert "size 64" in labels
    assert "size 96" in labels
    assert [shown.text("first"), shown.text("last")] == ["at 20", "at 30"]
    assert shown.browser.get_log("browser") == []


def test_hostile_names_stay_texts_in_the_browser(page, shown):
    config = TransferConfig(content=HOSTILE, style=HOSTILE)
    page.start(f"x/{HOSTILE.replace('/', '')}", config)
    hostile = {f"style/{HOSTILE}": 1.0}
    progress = Progress()
    progress.history = lambda: ([row(64, 0) | {f"style/{HOSTILE}": 5.0}], hostile)
    shown.open(page.address)
    page.update(progress)
    shown.wait_for(output=HOSTILE.replace("/", ""), status="Running")
    name = Path(HOSTILE).name
    assert shown.text("about") == f"{name} in the style of {name}, normalized loss"
    assert f"style/{HOSTILE}" in shown.curves()
    assert shown.run("return document.querySelectorAll('img, script').length") == 2
    assert shown.browser.get_log("browser") == []


def test_the_button_asks_and_then_stops(page, shown):
    shown.open(page.address)
    page.update(Progress())
    shown.wait_for(status="Running")
    posts, reply = [], page.reply
    page.reply = lambda request: (
        (request.method == "POST" and posts.append(request.path)) or reply(request)
    )
    shown.stop(answer=False)
    assert shown.browser.find_element(By.ID, "stop").is_enabled()
    shown.stop()
    shown.wait_for(status="Stopping after this iteration …")
    assert page.stop_asked
    assert posts == ["/stop"]
    assert not shown.browser.find_element(By.ID, "stop").is_enabled()
    page.finish(result("interrupted"))
    shown.wait_for(status="Stopped. The same command with --resume resumes the run.")
    assert shown.browser.get_log("browser") == []


@pytest.mark.parametrize(
    ("ended", "text", "failures"),
    [
        pytest.param(result("completed"), "Completed.", 2, marks=pytest.mark.slow),  # tries again
        (result("converged"), "Ended: converged.", 1),
        (result("stalled"), "Ended: stalled.", 1),
        (None, "The run ended with an error; its terminal says which.", 1),
    ],
)
def test_the_browser_says_how_it_ended(page, shown, ended, text, failures):
    shown.open(page.address)
    page.update(Progress())
    shown.wait_for(status="Running")
    if ended:
        page.finish(ended)
    page.close()
    shown.wait_for(status=text)
    assert not shown.browser.find_element(By.ID, "stop").is_enabled()
    if ended:
        shown.wait(lambda: shown.shows((0, 0, 255)))
    shown.wait(lambda: shown.run("return failures") >= failures)
    assert shown.text("status") == text


@pytest.mark.slow
def test_the_browser_goes_on_with_the_next_run_at_the_port(page, shown, monkeypatch):
    shown.open(page.address)
    page.update(Progress())
    shown.wait_for(status="Running")
    page._state = dataclasses.replace(
        page._state, closed=False
    )  # as after a crash, nothing is said of the end
    page.server_close()
    page.shutdown()
    for connection in list(page._connections):
        with contextlib.suppress(OSError):  # it has ended by itself
            connection.shutdown(socket.SHUT_RDWR)
    shown.wait(lambda: shown.text("status").startswith("No connection"))
    with contextlib.closing(live.Preview(page.server_port)) as other:
        other.start("second.png", CONFIG)
        shown.wait_for(output="second.png", status="Starting …", iteration="–")
        assert shown.color() is None
        shown.stop()
        shown.wait(lambda: other.stop_asked)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("width", "height", "mobile"), [(1280, 800, False), (390, 844, True), (320, 568, True)]
)
def test_the_page_fits(page, shown, width, height, mobile):
    shown.open(page.address, width, height, mobile)
    shown.wait_for(status="Starting …")
    page.start("a_long_name_of_a_picture_without_any_gap_" * 4 + ".png", CONFIG)
    page.update(Progress(rows=ROWS[:4], size=96))
    shown.wait_for(status="Running")
    shown.wait(shown.color)
    assert shown.run("return document.documentElement.scrollWidth") <= width
    beside = 15  # px of Chromium's scroll bar
    assert shown.run("return document.documentElement.clientWidth") >= width - beside
    labels = shown.browser.find_elements(By.CSS_SELECTOR, "#chart text")
    assert "size 96" in [label.text for label in labels]
    for rect in (label.rect for label in labels):
        assert 0 <= rect["x"] <= rect["x"] + rect["width"] <= width
    button = shown.browser.find_element(By.ID, "stop")
    assert button.rect["y"] + button.rect["height"] < height
    assert button.rect["height"] >= 44  # px, what a finger meets (WCAG 2.2, 2.5.5)
    assert shown.browser.get_log("browser") == []


@pytest.mark.weights
@pytest.mark.slow
@pytest.mark.usefixtures("real_weights")
def test_a_real_run_is_watched_and_stopped(tmp_path, shown):
    output = tmp_path / "out & more.png"
    program = start(
        *(COMMAND, "--size=64", "--iterations=100000"),
        f"--content={ROOT / 'data' / 'river_town.jpg'}",
        f"--style={ROOT / 'data' / 'flowing_strokes.jpg'}",
        *("--content_layers=conv2_1", "--style_layers=conv1_1,conv1_2", "--log_every=1"),
        *(f"--output={output}", "--preview=0"),
    )
    try:
        said = r"preview: (http://127\.0\.0\.1:\d+/)\n"
        address = wait_for(lambda: re.match(said, program.output()[0]))
        shown.open(address[1])
        shown.wait_for(output=output.name)
        shown.wait(shown.color, seconds=120)
        source = "return document.getElementById('picture').src"
        before = shown.run(source), shown.text("iteration"), shown.curves()["sum"]
        shown.wait(lambda: shown.run(source) != before[0], seconds=60)
        shown.wait(lambda: shown.text("iteration") != before[1], seconds=60)
        shown.wait(lambda: shown.curves()["sum"] > before[2], seconds=60)
        assert set(shown.curves()) == {
            *("sum", "style/conv1_1", "style/conv1_2", "content/conv2_1")
        }
        assert shown.browser.get_log("browser") == []
        shown.stop()
        shown.wait_for(status="Stopped. The same command with --resume resumes the run.")
        finished = program.finish(120)
    finally:
        program.send_signal(signal.SIGKILL)
    assert finished.returncode == 130, finished.stderr
    assert finished.stdout.endswith(
        f"interrupted; the picture so far is {output}, continue with --resume\n"
    )
    names = {"out & more.png", "out & more.json", "out & more.checkpoint.npz"}
    assert {path.name for path in tmp_path.iterdir()} == names
    record = json.loads(output.with_suffix(".json").read_text())
    assert record["status"] == "interrupted"
    assert shown.text("iteration") == f"{record['iterations']} / 100000"
