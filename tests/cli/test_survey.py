"""`gatys-norm survey`: what it refuses, and a whole survey with two viewers in a real browser."""

import contextlib
import csv
import io
import re
import signal

import pytest
from helpers.digests import digests
from helpers.http import status_at
from helpers.programs import ROOT, start_new
from PIL import Image
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import WebDriverWait

from gatys_norm.cli import errors, survey
from gatys_norm.report import page as report_page
from gatys_norm.survey import answers
from gatys_norm.survey import model as survey_model
from gatys_norm.survey import pairs as survey_pairs

SCRIPT = ROOT / "scripts" / "survey.py"
ROWS, COLUMNS = ("one", "two"), ("λ_os = 0.01 / 1", "λ_os = 0.001 / 0.1")
MISSED = ("two", COLUMNS[1])
SCORES = [{"a": "2", "b": "4"}, {"a": "1", "b": "5"}]  # of the first and the second viewer


@pytest.fixture
def run_dir(tmp_path):
    """A folder like that of a reproduction: two rows to rate, one of examples, and a page."""
    folder = tmp_path / "run"
    folder.mkdir()
    pairs = []
    for index, row in enumerate((*ROWS, "three")):
        for column in COLUMNS:
            paths = [folder / f"{row}-{len(pairs)}-{side}.png" for side in "ab"]
            for level, path in enumerate(paths):
                Image.new("RGB", (48, 32), (40 * len(pairs), 200 * level, 90)).save(path)
            use = survey_pairs.USES[index == 2]
            pairs.append(
                survey_pairs.PictureFiles("2(a) / 6(a)", row, column, *paths, paths[0], use)
            )
    (folder / "pairs.csv").write_bytes(survey_pairs.as_csv(pairs, folder))
    report_page.write(folder / "report.html", "A reproduction", [])
    return folder


def call(*arguments):
    """Run the command here; returns (code, output, errors)."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = survey.run(["gatys-norm survey", *map(str, arguments)])
    return code, out.getvalue(), err.getvalue()


def build(run_dir, *arguments):
    """Build a survey of the run, beside it; returns its folder."""
    folder = run_dir.parent / "survey"
    code, out, err = call("build", f"--run_dir={run_dir}", f"--output_dir={folder}", *arguments)
    assert (code, err) == (0, "")
    assert "4 pairs to rate" in out
    assert f"page: {folder / 'page' / 'index.html'}" in out
    return folder


# --- a whole survey ----------------------------------------------------------------------------


def phase(browser):
    return browser.execute_script("return document.body.dataset.phase")


def wait_for(browser, *phases):
    WebDriverWait(browser, 15, 0.01).until(lambda _: phase(browser) in phases)
    return phase(browser)


def press(browser, *keys):
    ActionChains(browser).send_keys(*keys).perform()


def start_pair(browser):
    ready = "return !document.querySelector('#show').disabled"
    WebDriverWait(browser, 10, 0.01).until(lambda _: browser.execute_script(ready))
    while phase(browser) == "pause":  # the page waits a moment against a click too many
        press(browser, Keys.SPACE)


def shown_picture(browser):
    source = browser.execute_script("return document.querySelector('#picture img').src")
    return re.search(r"([0-9a-f]{16})\.png", source)[1]


def rate(browser, built, scores, reload_at=None):
    """Go through the survey as one viewer; returns the pairs in their order."""
    kinds = {getattr(pair, side): (pair, side) for pair in built.pairs for side in "ab"}
    order = []
    while wait_for(browser, "pause", "end") == "pause":
        start_pair(browser)
        shown = []
        for place in ("first", "second"):
            wait_for(browser, place)
            shown.append(kinds[shown_picture(browser)])
            if (len(order), place) == (reload_at, "second"):
                reload_at = None
                browser.refresh()
                break
        else:
            assert wait_for(browser, "score") == "score"
            (pair, _), (other, _) = shown
            assert pair == other
            if scores is SCORES[0] or (pair.row, pair.column) != MISSED:
                press(browser, *(scores[side] for _, side in shown), Keys.ENTER)
            order.append((pair, shown[0][1]))
    return order


def stored(folder):
    return answers.load((folder / "answers").glob("*.csv"), survey_model.load(folder))


@pytest.mark.slow
def test_two_viewers_go_through_a_survey(run_dir, browser):
    folder = build(run_dir, "--show_seconds=0.2", "--score_seconds=1")
    built = survey_model.load(folder)
    server = start_new(SCRIPT, "serve", f"--survey_dir={folder}", "--port=0")
    try:
        address = re.fullmatch(r"serving (http://127\.0\.0\.1:\d+/)\n", server.stdout.readline())[1]
        browser.get(address)
        assert wait_for(browser, "intro")
        browser.find_element("id", "begin").click()
        orders = [rate(browser, built, SCORES[0])]
        assert WebDriverWait(browser, 10).until(lambda _: len(stored(folder)) == 4)
        browser.find_element("id", "next").click()
        assert wait_for(browser, "intro")
        browser.find_element("id", "begin").click()
        orders.append(rate(browser, built, SCORES[1], reload_at=2))
        assert WebDriverWait(browser, 10).until(lambda _: len(stored(folder)) == 8)
        assert browser.get_log("browser") == []
        assert status_at(f"{address}survey.json") == 404
    finally:
        server.send_signal(signal.SIGINT)
        out, err = server.communicate(timeout=20)
    assert (server.returncode, err) == (0, "")
    assert out.count("reached the end") == 2
    assert all(sorted(pair for pair, _ in order) == sorted(built.pairs) for order in orders)
    check_answers(stored(folder), orders)
    check_table(folder, run_dir)


def check_answers(given, orders):
    viewers = list(dict.fromkeys(answer.viewer for answer in given))
    assert len(viewers) == 2
    for viewer in viewers:
        own = sorted(
            (answer for answer in given if answer.viewer == viewer), key=lambda each: each.number
        )
        reloaded = [answer.showings for answer in own] == [1, 1, 2, 1]
        assert reloaded or [answer.showings for answer in own] == [1, 1, 1, 1]
        scores, order = SCORES[reloaded], orders[reloaded]
        assert [answer.number for answer in own] == [1, 2, 3, 4]
        assert [answer.first for answer in own] == [getattr(*each) for each in order]
        for answer, (pair, _) in zip(own, order, strict=True):
            missed = reloaded and (pair.row, pair.column) == MISSED
            for side in "ab":
                expected = None if missed else int(scores[side])
                assert answer.scores[getattr(pair, side)] == expected


def check_table(folder, run_dir):
    """Of 2 and 1: 1.5 ± 0.71; of 4 and 5: 4.5 ± 0.71; the second viewer missed one pair."""
    code, out, err = call("table", *sorted((folder / "answers").glob("*.csv")))
    assert (code, err) == (0, "")
    assert out.startswith((folder / "table-1.md").read_text())
    cells = {(row, name): [] for row in ROWS for name in ("original loss", "normalized loss")}
    for line in csv.DictReader(io.StringIO((folder / "table-1.csv").read_text())):
        assert line["item"] == "2(a) / 6(a)"
        assert (line["scores"], line["missing"]) == (
            ("1", "1") if (line["row"], line["column"]) == MISSED else ("2", "0")
        )
        cells[line["row"], line["name"]].append(float(line["mean"]))
    assert cells == {
        ("one", "original loss"): [1.5, 1.5],
        ("one", "normalized loss"): [4.5, 4.5],
        ("two", "original loss"): [1.5, 2],
        ("two", "normalized loss"): [4.5, 4],
    }
    assert out.count(" *1.5±0.71* ") == out.count("**4.5±0.71**") == 3
    assert out.count("**4.0**") == 1
    page = (run_dir / "report.html").read_text()
    assert page.count("4.5±0.71") == 3
    assert page.count("<!-- survey -->") == 1


# --- what is refused ---------------------------------------------------------------------------


def refused(*arguments):
    """The one line with which the command refuses its arguments."""
    code, out, err = call(*arguments)
    assert (code, out) == (errors.BAD_INPUT, "")
    assert err.startswith("gatys-norm survey")
    assert err.count("\n") == 1
    return err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "a command is needed: build, serve, table"),
        (["biuld"], "a command is needed: build, serve, table, not 'biuld'"),
        (["build"], "--run_dir: is needed, or --pairs, and not both"),
        (["build", "--run_dir=x", "--pairs=y"], "--run_dir: is needed, or --pairs, and not both"),
        (["build", "--run_dir=/nowhere", "--output_dir=x"], "--run_dir: /nowhere: holds no pairs"),
        (["build", "--pairs=/nowhere", "--output_dir=x"], "--pairs: /nowhere: cannot be read"),
        (["build", "--pairs=x.csv"], "--output_dir: is needed, folder to make"),
        (["build", "--pairs=x", "--names=a,b,c", "--output_dir=x"], "--names: must be two"),
        (["build", "--pairs=x", "--names=a,a", "--output_dir=x"], "--names: must be two"),
        (["build", "a.csv"], "unexpected 'a.csv'"),
        (["build", "--size=5"], "Unknown command line flag 'size'"),
        (["serve"], "--survey_dir: is needed"),
        (["serve", "--survey_dir=/nowhere"], "--survey_dir: /nowhere: holds no survey"),
        (["serve", "--port=70000"], "port"),
        (["table"], "answer files are needed"),
        (["table", "/nowhere/answers/x.csv"], "--survey_dir: /nowhere: holds no survey"),
    ],
)
def test_what_cannot_be_meant_is_refused_in_one_line(arguments, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert message in refused(*arguments)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ("--show_seconds=0", "--show_seconds: must be 0.05 to 600, not 0"),
        ("--score_seconds=nan", "--score_seconds: must be 0.05 to 600, not nan"),
        ("--score_seconds=five", "--score_seconds=five"),
    ],
)
def test_times_are_refused(run_dir, tmp_path, argument, message):
    folder = tmp_path / "survey"
    text = refused("build", f"--run_dir={run_dir}", f"--output_dir={folder}", argument)
    assert message in text
    assert not folder.exists()


def test_a_folder_that_holds_something_is_left_as_it_is(run_dir):
    folder = build(run_dir)
    before = digests(folder)
    message = refused("build", f"--run_dir={run_dir}", f"--output_dir={folder}")
    assert f"--output_dir: {folder}: is not empty" in message
    assert digests(folder) == before


def test_a_bad_picture_in_the_list_is_named(run_dir, tmp_path):
    (run_dir / "one-0-b.png").write_bytes(b"?")
    folder = tmp_path / "survey"
    message = refused("build", f"--run_dir={run_dir}", f"--output_dir={folder}")
    assert "one-0-b.png" in message
    assert not folder.exists()


def test_answers_of_another_survey_are_named(run_dir):
    folder = build(run_dir)
    answer = f"{'a' * 32},1,x,y,1,2,1,{'0' * 32}"
    file = folder / "answers" / "other.csv"
    file.write_text(",".join(answers.COLUMNS) + f"\n{answer}\n")
    assert f"{file}, line 2: survey must be" in refused("table", str(file))
    assert not (folder / "table-1.md").exists()


def test_an_address_that_is_not_there_is_refused(run_dir):
    folder = build(run_dir)
    message = refused("serve", f"--survey_dir={folder}", "--address=203.0.113.7", "--port=0")
    assert "--address, --port: 203.0.113.7:0" in message


def test_help_of_every_command():
    for command in ("build", "serve", "table"):
        code, out, err = call(command, "--help")
        assert (code, err) == (0, "")
        assert f"gatys-norm survey {command}" in out
        assert "--size" not in out
