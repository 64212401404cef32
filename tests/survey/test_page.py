"""The page on which pairs are rated, as a real browser runs it."""

import collections
import contextlib
import csv
import functools
import html
import http.server
import itertools
import json
import re
import secrets
import threading
from pathlib import Path
from typing import Any

import pytest
from helpers.browser import chromium
from helpers.http import serving
from helpers.rounding import gamma
from PIL import Image
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import WebDriverWait

from gatys_norm.survey import answers
from gatys_norm.survey import build as survey_build
from gatys_norm.survey import model as survey_model

HOSTILE = "<script>alert('&')</script>\"><img src=x onerror=alert(1)>{{ 7 * 7 }}</script>"
NETWORK = "Failed to load resource"  # what the browser itself says of an answer that is no success
BROKEN = 0  # in place of a status: the connection is closed without an answer
OBSERVE = """
  window.phases = [];
  new MutationObserver(() => {
    const picture = document.querySelector("#picture img");
    const shown = picture && document.body.dataset.phase !== "score";
    const token = shown ? picture.src.match(/([0-9a-f]{16})[.]png$/)[1] : null;
    phases.push([document.body.dataset.phase, performance.now(), token]);
  }).observe(document, { subtree: true, attributeFilter: ["data-phase"] });
"""
# The pause before a pair and the one before another attempt to send pass sooner; a phase that
# begins after `hold` was set to its name lasts until the page is left.
HURRY = """
  const wait = setTimeout;
  const sooner = { 400: 20, 3000: 50 };
  window.hold = null;
  window.setTimeout = (task, milliseconds) => {
    if (hold !== null && document.body.dataset.phase === hold) return 0;
    return wait(task, sooner[milliseconds] ?? milliseconds);
  };
"""
# How late timers and frames are, at most, while the page works.
MEASURE_LATENESS = """
  window.late = { timer: 0, frame: 0 };
  let timer = performance.now();
  let frame = performance.now();
  setInterval(() => {
    late.timer = Math.max(late.timer, performance.now() - timer - 10);
    timer = performance.now();
  }, 10);
  requestAnimationFrame(function next() {
    late.frame = Math.max(late.frame, performance.now() - frame);
    frame = performance.now();
    requestAnimationFrame(next);
  });
"""


def write_page(folder, pairs=2, show=0.05, score=30.0, styles=1, examples=1, title="A survey"):
    """Write a page with one-color pictures and return its data."""
    (folder / "pictures").mkdir(parents=True)

    def picture(number):
        token = secrets.token_hex(8)
        color = (number * 37 % 256, number * 91 % 256, 200)
        Image.new("RGB", (40, 30), color).save(folder / "pictures" / f"{token}.png")
        return token

    def described(count):
        return [
            {"picture": f"pictures/{picture(number)}.png", "width": 40, "height": 30}
            for number in range(count)
        ]

    page = {
        "survey": secrets.token_hex(16),
        "pairs": sorted(sorted((picture(2 * n), picture(2 * n + 1))) for n in range(pairs)),
        "seconds": {"show": show, "score": score},
        "columns": list(answers.COLUMNS),
    }
    text = survey_build.render_page(title, described(styles), described(examples), page)
    (folder / "index.html").write_bytes(text)
    return page


class Server(http.server.ThreadingHTTPServer):
    """A page's folder over HTTP, and what was posted to it.

    `statuses` answer the next posts, 204 all later ones; `posts` are (status, address, type, row).
    While `pictures` is not set, no picture is answered.
    """

    daemon_threads = True

    def __init__(self, folder):
        super().__init__(("127.0.0.1", 0), functools.partial(Handler, directory=folder))
        self.statuses, self.posts = collections.deque(), []
        self.pictures = threading.Event()
        self.pictures.set()

    @property
    def address(self):
        return f"http://127.0.0.1:{self.server_port}/index.html"

    def stored(self):
        return [row for status, _, _, row in self.posts if status == 204]


class Handler(http.server.SimpleHTTPRequestHandler):
    server: Any  # a `Server`

    def do_GET(self):
        if self.path.startswith("/pictures/"):
            self.server.pictures.wait(20)
        with contextlib.suppress(ConnectionError):
            super().do_GET()

    def do_POST(self):
        row = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        status = self.server.statuses.popleft() if self.server.statuses else 204
        self.server.posts.append((status, self.path, self.headers["Content-Type"], row))
        if status == BROKEN:
            self.close_connection = True
        else:
            self.send_response(status)
            self.end_headers()

    def log_message(self, *_):
        pass


class Viewer:
    """What a viewer does in the browser, and what is seen there."""

    def __init__(self, browser, page):
        self.browser, self.page = browser, page

    def run(self, script, *arguments):
        return self.browser.execute_script(script, *arguments)

    def find(self, name):
        return self.browser.find_element(By.ID, name)

    def wait(self, condition, seconds=10):
        return WebDriverWait(self.browser, seconds, 0.02).until(lambda _: condition())

    def hold(self, phase):
        """Make a phase last until the page is left."""
        self.run("hold = arguments[0]", phase)
        return self

    def reach(self, *phases):
        self.wait(lambda: self.phase in phases)
        return self

    def press(self, *keys):
        ActionChains(self.browser).send_keys(*keys).perform()
        return self

    def begin(self):
        self.find("begin").click()
        return self.rested()

    def rested(self):
        """Wait until the pause can be ended."""
        self.reach("pause")
        self.wait(self.find("show").is_enabled)
        return self

    def start(self):
        """End the pause."""
        self.rested().find("show").click()
        return self

    def choice(self, row, score):
        return self.browser.find_elements(By.CSS_SELECTOR, ".row")[row].find_element(
            By.CSS_SELECTOR, f'[value="{score}"]'
        )

    def rate(self, first=4, second=2):
        """Go through one pair by keyboard."""
        self.start().reach("score").press(str(first), str(second), Keys.ENTER)
        return self.reach("pause", "end")

    def rate_all(self):
        """Rate the pairs that are left and return {number: (first, second score)}, as texts."""
        given = {}
        while self.phase != "end":
            number = len(self.state["answers"]) + 1
            scores = number % 5 + 1, (3 * number) % 5 + 1
            given[f"{number}"] = tuple(map(str, scores))
            self.rate(*scores)
        return given

    def reload(self):
        self.run("window.old = true")
        self.browser.refresh()
        self.wait(lambda: self.run("return window.old ? null : document.body?.dataset.phase"))
        return self

    def download(self, folder):
        """Download the answers and return (the file's name, its rows)."""
        self.browser.execute_cdp_cmd(
            "Browser.setDownloadBehavior", {"behavior": "allow", "downloadPath": str(folder)}
        )
        folder.mkdir(exist_ok=True)
        self.find("download").click()
        # the browser reserves the name with an empty file
        (path,) = self.wait(lambda: [file for file in folder.glob("*.csv") if file.stat().st_size])
        with path.open(newline="") as file:
            reader = csv.DictReader(file)
            assert reader.fieldnames == self.page["columns"]
            return path.name, list(reader)

    @property
    def phase(self):
        return self.run("return document.body?.dataset.phase")

    @property
    def state(self):
        return self.run("return state")

    @property
    def pressed(self):
        """The scores that the page shows as given."""
        return [
            [int(button.get_attribute("value")) for button in buttons if chosen(button)]
            for buttons in (
                row.find_elements(By.TAG_NAME, "button")
                for row in self.browser.find_elements(By.CSS_SELECTOR, ".row")
            )
        ]

    @property
    def phases(self):
        """(phase, milliseconds, picture that is shown) since the page was loaded."""
        return [tuple(phase) for phase in self.run("return phases")]

    @property
    def text(self):
        return self.browser.find_element(By.TAG_NAME, "main").text

    def complaints(self):
        return [entry["message"] for entry in self.browser.get_log("browser")]

    def requests(self):
        """The addresses that pages have requested since this was last asked."""
        messages = (
            json.loads(entry["message"])["message"] for entry in self.browser.get_log("performance")
        )
        return [
            message["params"]["request"]["url"]
            for message in messages
            if message["method"] == "Network.requestWillBeSent"
            and not message["params"]["documentURL"].startswith("chrome:")  # an empty tab's
        ]


def chosen(button):
    return button.get_attribute("aria-pressed") == "true"


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    """Headless Chromium that notes the page's phases and every request."""
    with chromium(tmp_path_factory.mktemp("profile"), "browser", "performance") as started:
        started.execute_cdp_cmd("Page.addScriptToEvaluateOnNewDocument", {"source": OBSERVE})
        yield started


@pytest.fixture
def visit(browser):
    """Give the function that makes a `Viewer` open a page.

    At the end nothing may have been complained of that the test has not looked at, and nothing
    requested from elsewhere.
    """
    viewers, scripts, origins = [], [], ["blob:", "data:"]

    def open_page(page, address, width=1280, height=800, mobile=False, hurry=True):
        viewer = Viewer(browser, page)
        viewers.append(viewer)
        viewer.requests()
        origins.append(address.removesuffix("index.html"))
        if hurry:
            scripts.append(
                browser.execute_cdp_cmd("Page.addScriptToEvaluateOnNewDocument", {"source": HURRY})
            )
        for method, parameters in (
            (
                "Emulation.setDeviceMetricsOverride",
                {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": mobile},
            ),
            ("Emulation.setTouchEmulationEnabled", {"enabled": mobile}),
        ):
            browser.execute_cdp_cmd(method, parameters)
        browser.get(address)
        viewer.wait(lambda: viewer.phase)
        return viewer

    yield open_page
    for script in scripts:
        browser.execute_cdp_cmd("Page.removeScriptToEvaluateOnNewDocument", script)
    browser.get("data:,")
    viewer = viewers[0]
    assert viewer.complaints() == []
    assert [url for url in viewer.requests() if not url.startswith(tuple(origins))] == []


@pytest.fixture
def servers():
    """Give the stack on which servers are put; they end after the browser has left their pages."""
    with contextlib.ExitStack() as stack:
        yield stack


@pytest.fixture
def served(tmp_path, servers, visit):
    """Give the function that writes a page and opens it over HTTP: (viewer, server)."""

    def open_page(statuses=(), **others):
        page = write_page(tmp_path / "page", **others)
        server = servers.enter_context(serving(Server(tmp_path / "page")))
        server.statuses.extend(statuses)
        return visit(page, server.address), server

    return open_page


@pytest.fixture
def opened(tmp_path, visit):
    """Give the function that writes a page and opens it as a file."""

    def open_page(width=1280, height=800, mobile=False, hurry=True, **others):
        page = write_page(tmp_path / "page", **others)
        address = (tmp_path / "page" / "index.html").as_uri()
        return visit(page, address, width, height, mobile, hurry)

    return open_page


# --- what is written ---------------------------------------------------------------------------


def test_a_hostile_title_stays_text(opened, tmp_path):
    viewer = opened(title=HOSTILE)
    assert viewer.browser.title == HOSTILE
    assert viewer.browser.find_element(By.TAG_NAME, "h1").text == HOSTILE
    assert (tmp_path / "page" / "index.html").read_text().count("</script>") == 2
    viewer.begin()


def test_nothing_tells_which_picture_is_which(tmp_path):
    page = write_page(tmp_path / "page")
    text = (tmp_path / "page" / "index.html").read_text()
    data = re.search(r'<script type="application/json" id="survey">(.*)</script>', text)[1]
    assert json.loads(data) == page
    for word in ("original", "normali", "lambda", "λ", "loss"):
        assert word not in text.lower().replace("-moz-", "")


def test_nothing_can_be_fetched_from_elsewhere(tmp_path):
    write_page(tmp_path / "page")
    text = (tmp_path / "page" / "index.html").read_text()
    policy = " ".join(html.unescape(re.search(r'Policy" content="([^"]*)"', text)[1]).split())
    parts = dict(part.split(" ", 1) for part in policy.split("; "))
    assert parts.pop("script-src").startswith("'sha256-")
    assert parts.pop("style-src").startswith("'sha256-")
    assert parts == {
        **dict.fromkeys(("default-src", "base-uri", "form-action"), "'none'"),
        **{"img-src": "'self' file: data: blob:", "connect-src": "'self'"},
    }
    assert "//" not in text.replace("// ", "")  # comments of the script
    assert "url(" not in text


@pytest.mark.slow
@pytest.mark.parametrize(
    ("facts", "said"),
    [
        (
            {"pairs": 26, "show": 5.0, "score": 5.0},
            ("26 pairs", "8 minutes", "shown for 5 seconds", "have 5 seconds"),
        ),
        (
            {"pairs": 1, "show": 1.0, "score": 2.5},
            ("1 pair of", "a minute", "shown for 1 second.", "have 2.5 seconds"),
        ),
    ],
)
def test_the_introduction_says_what_will_happen(opened, facts, said):
    viewer = opened(**facts)
    for words in (
        *said,
        "no transfer",
        "excessive or very weak",
        "somewhat weak or exaggerated",
        "done well",
        "very well",
    ):
        assert words in viewer.text
    assert viewer.phase == "intro"
    assert not viewer.find("unkept").is_displayed()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("styles", "examples", "said"),
    [
        (0, 0, ()),
        (1, 1, ("This is the style:", "It is not scored")),
        (3, 2, ("These are the styles:", "They are not scored")),
    ],
)
def test_styles_and_examples_are_shown(opened, styles, examples, said):
    viewer = opened(styles=styles, examples=examples)
    shown = viewer.run(
        "return Promise.all([...document.images].map(async (image) => {"
        " await image.decode(); return [image.alt.split(' ')[0], image.naturalWidth]; }))"
    )
    assert shown == [["Style", 40]] * styles + [["Example", 40]] * examples
    assert ("Examples" in viewer.text) == bool(examples)
    for words in said:
        assert words in viewer.text


# --- a whole run -------------------------------------------------------------------------------


def check_rows(viewer, rows, given, showings=("1",)):
    """Each pair once, in the viewer's order, with the scores that were given."""
    state = viewer.state
    assert [row["number"] for row in rows] == [
        f"{number}" for number in range(1, len(state["order"]) + 1)
    ]
    assert [[row["first"], row["second"]] for row in rows] == state["order"]
    assert sorted(sorted(pair) for pair in state["order"]) == viewer.page["pairs"]
    assert {row["viewer"] for row in rows} == {state["viewer"]}
    assert re.fullmatch("[0-9a-f]{32}", state["viewer"])
    assert {row["survey"] for row in rows} == {viewer.page["survey"]}
    assert {row["number"]: (row["score_first"], row["score_second"]) for row in rows} == given
    assert {row["showings"] for row in rows} == set(showings)


def test_a_whole_run_by_keyboard(served):
    viewer, server = served(pairs=3)
    viewer.press(Keys.TAB, Keys.ENTER)
    for number, (key, first, second) in enumerate(((Keys.SPACE, 5, 1), (Keys.ENTER, 2, 3))):
        assert f"Pair {number + 1} of 3" in viewer.rested().text
        assert viewer.find("progress").get_property("position") == pytest.approx(
            number / 3, rel=gamma(2), abs=0
        )
        viewer.press(key).reach("score").press(str(first), str(second), Keys.ENTER)
    viewer.rested().run("document.activeElement.blur()")
    viewer.press(Keys.SPACE).reach("score").press("4", "4", Keys.ENTER).reach("end")
    viewer.wait(lambda: "All answers reached the server." in viewer.text)
    assert "6 of 6 scores were given, 0 missed." in viewer.text
    given = {"1": ("5", "1"), "2": ("2", "3"), "3": ("4", "4")}
    check_rows(viewer, server.stored(), given)
    for _, address, kind, row in server.posts:
        assert (address, kind) == ("/answers", "application/json")
        assert set(row) == set(viewer.page["columns"])
    shown = [token for phase, _, token in viewer.phases if phase in ("first", "second")]
    assert shown == list(itertools.chain(*viewer.state["order"]))


def test_a_whole_run_by_mouse_from_a_file(opened, tmp_path):
    viewer = opened(pairs=3).begin()
    given = {}
    for number, scores in enumerate(((1, 5), (3, 2), (4, 4)), 1):
        viewer.start().reach("score")
        for row, score in enumerate(scores):
            viewer.choice(row, score).click()
        given[str(number)] = tuple(map(str, scores))
        viewer.find("done").click()
    viewer.reach("end")
    assert "only in this browser" in viewer.text
    name, rows = viewer.download(tmp_path / "downloads")
    assert name == f"answers-{viewer.state['viewer']}.csv"
    check_rows(viewer, rows, given)
    assert not [url for url in viewer.requests() if url.endswith("answers")]


@pytest.mark.slow
def test_answers_are_such_as_the_program_reads(opened, tmp_path):
    viewer = opened(pairs=2).begin()
    viewer.rate_all()
    name, _ = viewer.download(tmp_path / "downloads")
    pairs = tuple(survey_model.Pair("", "", "", *pair) for pair in viewer.page["pairs"])
    known = survey_model.Survey(viewer.page["survey"], ("A", "B"), pairs, None)
    assert len(answers.load([tmp_path / "downloads" / name], known)) == 2


@pytest.mark.slow
def test_a_run_by_touch(opened):
    viewer = opened(390, 844, mobile=True, pairs=1).begin()

    def tap(target):
        point = viewer.run(
            "const box = arguments[0].getBoundingClientRect();"
            "return {x: box.x + box.width / 2, y: box.y + box.height / 2};",
            target,
        )
        for kind, points in (("touchStart", [point]), ("touchEnd", [])):
            viewer.browser.execute_cdp_cmd(
                "Input.dispatchTouchEvent", {"type": kind, "touchPoints": points}
            )

    tap(viewer.find("show"))
    viewer.reach("score")
    for target in (viewer.choice(0, 3), viewer.choice(1, 5), viewer.find("done")):
        tap(target)
    viewer.reach("end")
    assert viewer.state["answers"][0]["scores"] == ["3", "5"]


# --- the pictures ------------------------------------------------------------------------------


@pytest.mark.slow
def test_each_picture_is_shown_for_its_time(opened):
    viewer = opened(pairs=2, show=0.3, score=0.5).begin()
    viewer.run(MEASURE_LATENESS)
    for _ in range(2):
        viewer.start().reach("score").reach("pause", "end")
    times = [(phase, time) for phase, time, _ in viewer.phases]
    lasted = collections.defaultdict(list)
    for (phase, since), (_, until) in itertools.pairwise(times):
        lasted[phase].append(until - since)
    late = viewer.run("return late")
    # A picture waits for two frames and then its time; the clock's steps are below a millisecond.
    longer = 1 + 3 * late["frame"] + 2 * late["timer"]
    for phase, seconds in (("first", 0.3), ("second", 0.3), ("score", 0.5)):
        assert len(lasted[phase]) == 2
        assert min(lasted[phase]) >= 1000 * seconds - 1
        assert max(lasted[phase]) <= 1000 * seconds + longer


@pytest.mark.slow
def test_one_picture_at_a_time_fills_the_screen(opened):
    viewer = opened(1000, 500, pairs=1).begin()
    for phase, mark in (("first", "1"), ("second", "2")):
        viewer.hold(phase).start().reach(phase)
        box = viewer.run(
            "const all = document.querySelectorAll('#picture img');"
            "const {x, y, width, height} = all[0].getBoundingClientRect();"
            "return [all.length, getComputedStyle(all[0]).objectFit, x, y, width, height];"
        )
        assert box == [1, "contain", 0, 0, 1000, 500]
        assert viewer.text == mark
        viewer.reload()
    viewer.start().reach("score")
    assert not viewer.find("picture").is_displayed()


@pytest.mark.slow
def test_begin_asks_for_the_full_screen(opened):
    viewer = opened(pairs=1).begin()
    viewer.wait(lambda: viewer.run("return document.fullscreenElement !== null"))
    viewer.rate().reach("end")
    viewer.wait(lambda: viewer.run("return document.fullscreenElement === null"))


@pytest.mark.slow
def test_no_pair_begins_before_its_pictures_are_there(served):
    viewer, server = served(pairs=4, styles=0, examples=0)
    viewer.begin().wait(lambda: viewer.run("return pictures.size") == 6)
    viewer.run("return Promise.all(pictures.values()).then(() => null)")
    server.pictures.clear()
    for _ in range(3):
        viewer.rate()
    viewer.reach("pause").wait(viewer.find("loading").is_displayed)
    assert not viewer.find("show").is_enabled()
    viewer.press(Keys.SPACE, Keys.ENTER)
    assert viewer.phase == "pause"
    server.pictures.set()
    viewer.rested()
    assert not viewer.find("loading").is_displayed()


@pytest.mark.slow
def test_the_next_pictures_are_loaded_ahead(served):
    viewer, _ = served(pairs=5, styles=0, examples=0)
    viewer.begin()
    ahead = [token for pair in viewer.state["order"][:3] for token in pair]
    viewer.wait(lambda: viewer.run("return pictures.size") == len(ahead))
    loaded = {Path(url).stem for url in viewer.requests() if url.endswith(".png")}
    assert loaded == set(ahead)
    viewer.rate().rested()
    assert {Path(url).stem for url in viewer.requests() if url.endswith(".png")} == set(
        viewer.state["order"][3]
    )


@pytest.mark.slow
def test_a_picture_that_cannot_be_loaded_can_be_tried_again(opened, tmp_path):
    viewer = opened(pairs=1, hurry=False)
    missing = tmp_path / "page" / "pictures" / f"{viewer.state['order'][0][1]}.png"
    content = missing.read_bytes()
    missing.unlink()
    viewer.reload().find("begin").click()
    for _ in range(2):
        viewer.wait(viewer.find("failed").is_displayed)
        assert not viewer.find("show").is_displayed()
        viewer.press(Keys.SPACE)  # tries again
        viewer.wait(lambda: not viewer.find("failed").is_displayed())
    viewer.wait(viewer.find("failed").is_displayed)
    missing.write_bytes(content)
    viewer.find("again").click()
    viewer.rate().reach("end")
    assert viewer.state["answers"][0]["showings"] == 1
    assert all("ERR_FILE_NOT_FOUND" in complaint for complaint in viewer.complaints())


# --- scoring -----------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize(
    ("keys", "scores", "count"),
    [
        ("", ["", ""], "0 of 2 scores were given, 2 missed."),
        ("3", ["3", ""], "1 of 2 scores were given, 1 missed."),
    ],
)
def test_scores_that_are_missed_stay_empty(opened, tmp_path, keys, scores, count):
    viewer = opened(pairs=1, score=0.7).begin().start().reach("score")
    if keys:
        viewer.press(*keys)
    viewer.reach("end")
    assert count in viewer.text
    _, (row,) = viewer.download(tmp_path / "downloads")
    assert [row["score_first"], row["score_second"]] == scores


@pytest.mark.slow
def test_the_second_alone_can_be_scored(opened):
    viewer = opened(pairs=1, score=1.5).begin().start().reach("score")
    viewer.choice(1, 5).click()
    viewer.reach("end")
    assert viewer.state["answers"][0]["scores"] == ["", "5"]


@pytest.mark.slow
def test_scores_can_be_changed(opened):
    viewer = opened(pairs=1).begin().start().reach("score")
    turns = "return rows.map((row) => row.classList.contains('turn'))"
    assert viewer.run(turns) == [True, False]
    viewer.press("1")
    assert viewer.run(turns) == [False, True]
    viewer.press("2", "3")
    assert viewer.pressed == [[1], [3]]
    viewer.press(Keys.BACKSPACE)
    assert viewer.run(turns) == [True, False]
    assert viewer.pressed == [[1], [3]]
    viewer.press("4")
    assert viewer.pressed == [[4], [3]]
    viewer.choice(1, 5).click()
    viewer.choice(0, 2).click()
    viewer.press(Keys.ENTER).reach("end")
    assert viewer.state["answers"][0]["scores"] == ["2", "5"]


@pytest.mark.slow
def test_other_keys_score_nothing(opened):
    viewer = opened(pairs=1).begin().start().reach("score")
    viewer.press("0", "6", "a", Keys.SPACE, Keys.ENTER, Keys.ESCAPE)
    ActionChains(viewer.browser).key_down(Keys.CONTROL).send_keys("3").key_up(
        Keys.CONTROL
    ).perform()
    assert viewer.pressed == [[], []]
    assert viewer.phase == "score"


@pytest.mark.slow
def test_a_key_held_down_is_one_press(opened):
    viewer = opened(pairs=1).begin().start().reach("score")
    for repeat in (False, True, True):
        viewer.browser.execute_cdp_cmd(
            "Input.dispatchKeyEvent",
            {"type": "keyDown", "key": "3", "code": "Digit3", "autoRepeat": repeat},
        )
    assert viewer.pressed == [[3], []]


@pytest.mark.slow
def test_digits_that_need_the_shift_key_elsewhere(opened):
    viewer = opened(pairs=1).begin().start().reach("score")
    viewer.browser.execute_cdp_cmd(
        "Input.dispatchKeyEvent", {"type": "keyDown", "key": "&", "code": "Digit1"}
    )
    assert viewer.pressed == [[1], []]


@pytest.mark.slow
def test_buttons_by_arrows_tab_and_enter(opened):
    viewer = opened(pairs=1).begin().start().reach("score")
    viewer.press(Keys.ARROW_RIGHT, Keys.ARROW_RIGHT, Keys.ARROW_RIGHT, Keys.ENTER)
    assert viewer.pressed == [[3], []]
    viewer.press(Keys.ARROW_DOWN, Keys.ARROW_LEFT, Keys.SPACE)
    assert viewer.pressed == [[3], [2]]
    viewer.press(Keys.TAB, Keys.ENTER)  # a new choice ends nothing
    assert viewer.pressed == [[3], [3]]
    viewer.press(Keys.TAB, Keys.TAB, Keys.TAB, Keys.ENTER).reach("end")
    assert viewer.state["answers"][0]["scores"] == ["3", "3"]


def test_done_needs_both_scores(opened):
    viewer = opened(pairs=2).begin().start().reach("score")
    viewer.press("4")
    assert not viewer.find("done").is_enabled()
    viewer.press(Keys.ENTER)
    assert viewer.phase == "score"
    viewer.press("5")
    viewer.find("done").click()
    assert viewer.phase == "pause"


@pytest.mark.slow
def test_a_double_click_on_done_begins_no_pair(opened):
    viewer = opened(pairs=2, hurry=False).begin().start().reach("score").press("4", "5")
    position = viewer.run(
        "const box = done.getBoundingClientRect();"
        "return [Math.round(box.x + box.width / 2), Math.round(box.y + box.height / 2)];"
    )
    viewer.run(
        "const area = show.closest('.actions').style;"
        "[area.position, area.inset] = ['fixed', '0'];"  # the button lies where the other was
        "show.style.height = '100%';"
    )
    mouse = ActionChains(viewer.browser, duration=0)
    mouse.w3c_actions.pointer_action.move_to_location(*position).click().click()
    mouse.perform()
    assert [phase for phase, _, _ in viewer.phases][-2:] == ["score", "pause"]
    viewer.rested()
    assert viewer.phase == "pause"


@pytest.mark.slow
def test_the_remaining_time_is_shown(opened):
    viewer = opened(pairs=1, score=2.0).begin().start().reach("score")
    seen = set()

    def ended():
        seen.add(viewer.find("left").get_property("textContent"))
        return viewer.phase == "end"

    viewer.wait(ended)
    assert seen <= {"2", "1", "0"}
    assert {"2", "1"} <= seen


@pytest.mark.slow
@pytest.mark.parametrize("motion", ["no-preference", "reduce"])
def test_the_clock_moves_by_seconds_where_motion_is_unwanted(opened, motion):
    viewer = opened(pairs=1, score=7.0)
    feature = {"name": "prefers-reduced-motion", "value": motion}
    viewer.browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [feature]})
    viewer.begin().start().reach("score")
    timing = viewer.run("return time.getAnimations()[0].effect.getTiming()")
    assert timing["duration"] == 7000
    assert timing["easing"] == ("steps(7)" if motion == "reduce" else "linear")
    viewer.browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})


@pytest.mark.slow
@pytest.mark.parametrize(("width", "height"), [(360, 640), (740, 360)])
def test_scoring_fits_a_phone(opened, width, height):
    viewer = opened(width, height, mobile=True, pairs=1).begin()
    assert viewer.find("show").rect["height"] >= 44
    viewer.start().reach("score")
    buttons = [*itertools.chain(*((viewer.choice(row, n) for n in range(1, 6)) for row in (0, 1)))]
    for button in (*buttons, viewer.find("done")):
        box = button.rect
        assert box["x"] >= 0
        assert box["y"] >= 0
        assert box["x"] + box["width"] <= width
        assert box["y"] + box["height"] <= height
        assert min(box["width"], box["height"]) >= 44
    assert viewer.run(
        "const {scrollHeight, clientHeight} = document.getElementById('score');"
        "return scrollHeight <= clientHeight && document.body.scrollWidth <= innerWidth"
    )
    for words in ("no transfer", "somewhat weak or exaggerated", "very well"):
        assert words in viewer.text
    assert viewer.find("left").is_displayed()


@pytest.mark.slow
@pytest.mark.parametrize("width", [360, 1366])
def test_no_page_scrolls_sideways(opened, width):
    viewer = opened(width, 740, mobile=width < 500, pairs=1, examples=5, title="x" * 200)
    for _ in range(2):
        assert viewer.run("return document.documentElement.scrollWidth <= innerWidth")
        if viewer.phase == "intro":
            viewer.begin().rate().reach("end")


# --- chance ------------------------------------------------------------------------------------


@pytest.mark.slow
def test_orders_are_drawn_anew_and_hold_each_pair_once(opened):
    viewer = opened(pairs=6, styles=0, examples=0)
    drawn = viewer.run("return Array.from({length: 200}, newState)")
    orders = [state["order"] for state in drawn]
    for order in orders:
        assert sorted(map(sorted, order)) == viewer.page["pairs"]
    assert len({json.dumps(order) for order in orders}) > 190  # of 6! · 2⁶
    assert len({state["viewer"] for state in drawn}) == 200
    for pair in viewer.page["pairs"]:
        assert 60 <= sum(pair in order for order in orders) <= 140
        assert {next(n for n, tokens in enumerate(order) if sorted(tokens) == pair)
                for order in orders} == set(range(6))  # fmt: skip


@pytest.mark.slow
def test_every_order_is_as_likely(opened):
    viewer = opened(pairs=1)
    counts = viewer.run(
        "const counts = {};"
        "for (let draw = 0; draw < 24000; draw += 1) {"
        "  const order = shuffled(['a', 'b', 'c', 'd']).join('');"
        "  counts[order] = (counts[order] ?? 0) + 1;"
        "}"
        "return counts;"
    )
    assert len(counts) == 24
    assert sum((count - 1000) ** 2 / 1000 for count in counts.values()) < 60  # χ², 23 d.o.f.


@pytest.mark.slow
def test_numbers_that_would_be_unfair_are_drawn_again(opened):
    viewer = opened(pairs=1)
    assert viewer.run(
        "const rest = [2 ** 32 - 1, 2 ** 32 - 2, 7];"
        "const draw = crypto.getRandomValues;"
        "crypto.getRandomValues = () => [rest.shift()];"
        "try { return [below(5), below(5), rest.length]; }"
        "finally { crypto.getRandomValues = draw; }"
    ) == [(2**32 - 2) % 5, 2, 0]


# --- reloads and other interruptions ------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("phase", ["intro", "pause", "first", "second", "score"])
def test_a_reload_goes_on_where_it_was(served, phase):
    viewer, server = served(pairs=3)
    before = viewer.state
    if phase != "intro":
        viewer.begin().rate(5, 1).rested()
    if phase in ("first", "second", "score"):
        viewer.hold(phase).start().reach(phase)
        if phase == "score":
            viewer.press("3")
    viewer.reload()
    assert viewer.phase == ("intro" if phase == "intro" else "pause")
    assert viewer.state["viewer"] == before["viewer"]
    assert viewer.state["order"] == before["order"]
    interrupted = phase in ("first", "second", "score")
    assert viewer.find("reason").is_displayed() == interrupted
    if interrupted:
        assert "starts again because the page was closed or reloaded" in viewer.text
    if phase == "intro":
        viewer.begin().rate(5, 1)
    assert "Pair 2 of 3" in viewer.rested().text
    given = {"1": ("5", "1"), **viewer.rate_all()}
    viewer.wait(lambda: len(server.stored()) == 3)
    showings = [row["showings"] for row in server.stored()]
    assert showings == ["1", "2" if interrupted else "1", "1"]
    check_rows(viewer, server.stored(), given, set(showings))


@pytest.mark.slow
def test_a_reload_at_the_end_keeps_the_answers(served, tmp_path):
    viewer, server = served(pairs=2)
    given = viewer.begin().rate_all()
    viewer.wait(lambda: "All answers reached the server." in viewer.text)
    viewer.reload()
    assert viewer.phase == "end"
    assert "All answers reached the server." in viewer.text
    check_rows(viewer, viewer.download(tmp_path / "downloads")[1], given)
    assert len(server.posts) == 2


@pytest.mark.slow
@pytest.mark.parametrize("phase", ["first", "second", "score"])
def test_a_pair_that_is_hidden_begins_again(opened, phase):
    viewer = opened(pairs=2).begin().hold(phase).start().reach(phase)
    browser, window = viewer.browser, viewer.browser.current_window_handle
    browser.switch_to.new_window("tab")
    browser.close()
    browser.switch_to.window(window)
    assert viewer.reach("pause").find("reason").is_displayed()
    assert "starts again because the page was hidden" in viewer.text
    assert viewer.state["answers"] == []
    viewer.hold(None).rate(2, 3).rested()
    assert not viewer.find("reason").is_displayed()
    assert viewer.rate(2, 3).phase == "end"
    assert [answer["showings"] for answer in viewer.state["answers"]] == [2, 1]
    assert [answer["scores"] for answer in viewer.state["answers"]] == [["2", "3"]] * 2


@pytest.mark.slow
def test_what_was_interrupted_does_not_go_on(opened):
    viewer = opened(pairs=1, show=0.5, score=0.5).begin().start().reach("first")
    viewer.run(
        "Object.defineProperty(document, 'hidden', {value: true, configurable: true});"
        "document.dispatchEvent(new Event('visibilitychange'));"
        "delete document.hidden;"
    )
    # If the first showing had not ended, its second picture would come before the pair restarts.
    viewer.start().reach("end")
    assert [phase for phase, _, _ in viewer.phases][-6:] == [
        *("first", "pause", "first", "second", "score", "end")
    ]


DAMAGES = (
    "'{'",
    "'null'",
    "'[]'",
    "'\"text\"'",
    "JSON.stringify({...state, viewer: 'x'})",
    "JSON.stringify({...state, viewer: undefined})",
    "JSON.stringify({...state, order: null})",
    "JSON.stringify({...state, order: state.order.slice(1)})",
    "JSON.stringify({...state, order: [['0', '1'], ['2', '3']]})",
    "JSON.stringify({...state, order: [state.order[0], state.order[0]]})",
    "JSON.stringify({...state, showings: -1})",
    "JSON.stringify({...state, answers: [null]})",
    "JSON.stringify({...state, answers: {length: 1}})",
    "JSON.stringify({...state, answers: [{...state.answers[0], scores: ['6', '1']}]})",
    "JSON.stringify({...state, answers: [{...state.answers[0], scores: ['1']}]})",
    "JSON.stringify({...state, answers: [{...state.answers[0], showings: 0}]})",
    "JSON.stringify({...state, answers: [{...state.answers[0], fate: 'x'}]})",
    "JSON.stringify({...state, answers: Array(3).fill(state.answers[0])})",
)
ONE_ANSWER = (
    "state.begun = true;state.answers = [{scores: ['1', ''], showings: 1, fate: ''}];saveState();"
)


def test_a_damaged_state_is_not_recalled(opened):
    viewer = opened(pairs=2, styles=0, examples=0)
    viewer.run(ONE_ANSWER)
    assert viewer.run("return loadState()") == viewer.state
    for damage in DAMAGES:
        viewer.run(f"localStorage.setItem(key, {damage})")
        assert viewer.run("return loadState()") is None, damage


@pytest.mark.slow
@pytest.mark.parametrize("damage", [DAMAGES[0], DAMAGES[-1]])
def test_a_damaged_state_is_dropped(opened, damage):
    viewer = opened(pairs=2, styles=0, examples=0)
    before = viewer.run(f"{ONE_ANSWER} return state.viewer;")
    assert viewer.reload().phase == "pause"
    viewer.run(f"localStorage.setItem(key, {damage})")
    assert viewer.reload().phase == "intro"
    assert viewer.state["viewer"] != before
    assert sorted(map(sorted, viewer.state["order"])) == viewer.page["pairs"]


@pytest.mark.slow
def test_without_a_store_the_page_says_so_and_works(opened, tmp_path):
    viewer = opened(pairs=2)
    browser = viewer.browser
    script = browser.execute_cdp_cmd(
        "Page.addScriptToEvaluateOnNewDocument",
        {
            "source": "Object.defineProperty(window, 'localStorage',"
            " {get() { throw new DOMException('refused', 'SecurityError'); }});"
        },
    )
    try:
        viewer.reload()
        assert "store anything" in viewer.find("unkept").text
        given = viewer.begin().rate_all()
        check_rows(viewer, viewer.download(tmp_path / "downloads")[1], given)
    finally:
        browser.execute_cdp_cmd("Page.removeScriptToEvaluateOnNewDocument", script)


@pytest.mark.slow
def test_two_tabs_are_one_viewer(served):
    viewer, server = served(pairs=3)
    browser, first = viewer.browser, viewer.browser.current_window_handle
    viewer.begin().rate(1, 2).rested()
    browser.switch_to.new_window("tab")
    browser.get(server.address)
    assert "Pair 2 of 3" in viewer.rested().text
    viewer.rate(3, 4).rested()
    browser.close()
    browser.switch_to.window(first)
    viewer.wait(lambda: "Pair 3 of 3" in viewer.text)
    viewer.rate(5, 5).reach("end")
    viewer.wait(lambda: len(server.stored()) == 3)
    check_rows(viewer, server.stored(), {"1": ("1", "2"), "2": ("3", "4"), "3": ("5", "5")})


# --- the way to the server ----------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("failure", [500, 503, BROKEN])
def test_what_the_server_missed_is_sent_again_in_order(served, failure):
    viewer, server = served(pairs=4, statuses=[204, failure, failure])
    given = viewer.begin().rate_all()
    viewer.wait(lambda: "All answers reached the server." in viewer.text)
    check_rows(viewer, server.stored(), given)
    assert [row["number"] for _, _, _, row in server.posts] == list("122234")
    assert all(NETWORK in complaint for complaint in viewer.complaints())


@pytest.mark.slow
def test_the_end_page_goes_on_trying_even_after_a_reload(served):
    viewer, server = served(pairs=2, statuses=[500] * 4)
    given = viewer.begin().rate_all()
    assert "2 of 2 answers have not reached the server yet." in viewer.text
    viewer.wait(lambda: len(server.posts) >= 3)
    viewer.reload()
    viewer.wait(lambda: "All answers reached the server." in viewer.text)
    check_rows(viewer, server.stored(), given)
    assert all(NETWORK in complaint for complaint in viewer.complaints())


@pytest.mark.slow
@pytest.mark.parametrize("status", [404, 405, 501, 200])
def test_where_there_is_no_such_server_it_is_asked_once(served, status):
    viewer, server = served(pairs=2, statuses=[status])
    viewer.begin().rate_all()
    viewer.reload()
    assert "The answers are only in this browser. Please download" in viewer.text
    assert len(server.posts) == 1
    assert len(viewer.complaints()) == (0 if status == 200 else 1)


@pytest.mark.slow
@pytest.mark.parametrize("status", [400, 409, 413])
def test_refused_answers_are_kept_and_not_sent_again(served, tmp_path, status):
    viewer, server = served(pairs=3, statuses=[204, status])
    given = viewer.begin().rate_all()
    viewer.wait(lambda: "The server refused 1 of 3 answers. Please download" in viewer.text)
    viewer.reload()
    assert "The server refused 1 of 3 answers. Please download" in viewer.text
    assert [status for status, _, _, _ in server.posts] == [204, status, 204]
    check_rows(viewer, viewer.download(tmp_path / "downloads")[1], given)
    assert len(viewer.complaints()) == 1


# --- the next viewer ----------------------------------------------------------------------------


@pytest.mark.slow
def test_the_next_viewer_has_to_be_confirmed_while_nothing_is_safe(opened, tmp_path):
    viewer = opened(pairs=4, styles=0, examples=0)
    before = viewer.state
    viewer.begin().rate_all()
    viewer.find("next").click()
    viewer.browser.switch_to.alert.dismiss()
    assert viewer.phase == "end"
    name, _ = viewer.download(tmp_path / "downloads")
    assert before["viewer"] in name
    viewer.find("next").click()
    assert viewer.phase == "intro"
    assert viewer.state["viewer"] != before["viewer"]
    assert viewer.state["answers"] == []
    given = viewer.begin().rate_all()
    viewer.find("next").click()
    viewer.browser.switch_to.alert.dismiss()
    check_rows(viewer, viewer.download(tmp_path / "second")[1], given)
    viewer.find("next").click()
    assert viewer.reload().phase == "intro"


@pytest.mark.slow
def test_discarding_is_possible(opened):
    viewer = opened(pairs=1)
    before = viewer.state["viewer"]
    viewer.begin().rate().reach("end").find("next").click()
    viewer.browser.switch_to.alert.accept()
    assert viewer.phase == "intro"
    assert viewer.state["viewer"] != before


@pytest.mark.slow
def test_two_viewers_on_a_server(served):
    viewer, server = served(pairs=3)
    for count in (3, 6):
        given = viewer.begin().rate_all()
        viewer.wait(lambda: "All answers reached the server." in viewer.text)
        check_rows(viewer, server.stored()[count - 3 :], given)
        viewer.find("next").click()
    assert len({row["viewer"] for row in server.stored()}) == 2
    assert len(server.posts) == 6
