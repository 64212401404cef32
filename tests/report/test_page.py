"""The page as a parser reads it, and as a real browser shows it."""

import html.parser
import io
import json
import os
import urllib.parse
from pathlib import Path

import markupsafe
import pytest
from helpers.digests import digest
from helpers.disk import limited_file_size
from helpers.programs import ROOT
from PIL import Image
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import WebDriverWait

from gatys_norm.cli import errors
from gatys_norm.cli import main as cli
from gatys_norm.images import io as picture_io
from gatys_norm.report import page as report_page
from gatys_norm.survey import model as survey_model
from gatys_norm.survey import statistics as survey_statistics
from gatys_norm.survey import table as survey_table
from gatys_norm.survey.answers import Answer

RED, BLUE, GREEN = (255, 0, 0), (0, 0, 255), (0, 255, 0)
LAYERS = ("conv1_2", "conv5_4")
HOSTILE = "<script>alert('&')</script>\"><img src=x onerror=alert(1)>{{ 7 * 7 }}</script>"
PIXEL = 1  # to which a browser may round an edge
PADDING = 2  # px in a .scroller
NAMES = (
    "plain.png",
    "a b.png",
    "50%#?ö&.png",
    "a:b.png",
    "c\\d'\"e.png",
    "<script>alert(1).png",
)


def record(loss="original", lambda_os=1e-4, weights=(0.2, 0.2), final=1.5, sizes=(64,)):
    """What a run writes, with all that the page reads of it."""
    return {
        "config": {
            "content": "<b>town</b>.jpg",
            "loss": loss,
            "lambda_os": lambda_os,
            "content_layers": ["conv4_2"],
            "content_weights": [1.0],
            "style_layers": list(LAYERS),
            "style_weights": list(weights),
        },
        "status": "completed",
        "iterations": 5,
        "evaluations": 7,
        "loss": {"initial": 100.0, "final": final},
        "history": [{"iteration": 0, "loss": 123456.789}],
        "stages": [{"size": size, "width": size, "height": size * 3 // 4} for size in sizes],
        "metrics": {
            "content_distance": {"conv4_2": 0.25},
            "style_distance": {"conv1_2": 0.125, "conv5_4": 0.5},
            "style_reflection": {"conv1_2": 0.75, "conv5_4": None},
        },
        "timing": {"seconds": 12.25, "seconds_per_evaluation": 1.75},
    }


def paint(path, color, size=(64, 48)):
    Image.new("RGB", size, color).save(path, "PNG")
    return path


def one_by_one(cell, title="original loss", row="row", column="column"):
    return report_page.Grid(title, (row,), (column,), ((cell,),))


class Elements(html.parser.HTMLParser):
    """The tags of a page with their attributes, and its texts by the tag they stand in."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.texts, self.open = [], {}, []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        if tag not in ("meta", "link", "img", "input", "wbr"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        tag = self.open[-1] if self.open else None
        self.texts[tag] = self.texts.get(tag, "") + data

    def of(self, tag):
        return [attributes for name, attributes in self.tags if name == tag]

    @property
    def text(self):
        return " ".join(" ".join(self.texts.values()).split())


def written(folder, *sections, **others):
    """Write a page and return its (text, `Elements`)."""
    path = folder / "report.html"
    report_page.write(path, others.pop("title", "A title"), sections, **others)
    text = path.read_text(encoding="utf-8")
    return text, Elements(text)


def embedded(elements):
    """The records as the page holds them."""
    assert [tag.get("type") for tag in elements.of("script")] == ["application/json", None]
    return json.JSONDecoder().raw_decode(elements.texts["script"])[0]


# --- what is written ---------------------------------------------------------------------------


def test_hostile_texts_stay_texts(tmp_path):
    cell = report_page.Cell(HOSTILE, None, record(HOSTILE) | {"status": HOSTILE}, HOSTILE)
    grid = one_by_one(cell, HOSTILE, HOSTILE, HOSTILE)
    picture = paint(tmp_path / NAMES[-1], RED)
    section = report_page.Section(HOSTILE, HOSTILE, (grid,), ((HOSTILE, picture),))
    finding = dict.fromkeys(("name", "claim", "measure", "unit", "expected", "note"), HOSTILE)
    finding |= {
        "original": HOSTILE,
        "normalized": 1.0,
        "holds": True,
        "details": {HOSTILE: HOSTILE},
    }
    settings = {HOSTILE: {HOSTILE: HOSTILE, "inner": {HOSTILE: [HOSTILE]}}}
    text, elements = written(
        tmp_path, section, title=HOSTILE, findings=[finding], settings=settings
    )
    assert text.count("</script>") == len(elements.of("script")) == 2
    assert {urllib.parse.unquote(image["src"]) for image in elements.of("img")} == {NAMES[-1]}
    assert not [name for _, tag in elements.tags for name in tag if name.startswith("on")]
    assert "49" not in elements.text
    for tag in ("title", "h1", "h2", "h3", "p", "th", "td", "figcaption", "span", "a"):
        assert HOSTILE in elements.texts[tag], tag
    assert embedded(elements)["0-0-0-0"]["status"] == HOSTILE


def test_records_are_embedded_without_their_history(tmp_path):
    cells = [record("original"), record("normalized")]
    grids = [one_by_one(report_page.Cell("", None, cell), cell["config"]["loss"]) for cell in cells]
    text, elements = written(tmp_path, report_page.Section("", "", tuple(grids)))
    for cell in cells:
        del cell["history"]
    assert embedded(elements) == {"0-0-0-0": cells[0], "0-1-0-0": cells[1]}
    assert "123456.789" not in text


@pytest.mark.parametrize("name", NAMES)
def test_pictures_are_linked_relative_to_the_page(tmp_path, name):
    page, cells = tmp_path / "page", tmp_path / "cells & more"
    page.mkdir()
    cells.mkdir()
    picture = paint(cells / name, RED, (40, 30))
    cell = report_page.Cell("", picture, record())
    _, elements = written(page, report_page.Section("", "", (one_by_one(cell),)))
    (link,) = {image["src"] for image in elements.of("img")}
    assert link in {anchor["href"] for anchor in elements.of("a")}
    assert link.startswith("../cells%20%26%20more/")
    assert not set(link) & set(" #?&:<>\"'ö\\")
    assert (page / urllib.parse.unquote(link)).samefile(picture)
    assert {(image["width"], image["height"]) for image in elements.of("img")} == {("40", "30")}
    thumbnail, _ = elements.of("img")
    assert thumbnail["loading"] == "lazy"
    assert thumbnail["alt"] == "original loss, row, column"


def test_a_name_that_is_no_valid_unicode(tmp_path):
    picture = paint(tmp_path / os.fsdecode(b"\xff.png"), RED)
    _, elements = written(
        tmp_path, report_page.Section(picture.name, "", (), ((picture.name, picture),))
    )
    assert elements.of("img")[0]["src"] == "%FF.png"


def test_a_page_named_without_a_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    picture = paint(tmp_path / "x.png", RED)
    report_page.write("page.html", "", [report_page.Section("", "", (), (("", picture),))])
    assert Elements((tmp_path / "page.html").read_text()).of("img")[0]["src"] == "x.png"


def test_nothing_is_fetched_from_elsewhere(tmp_path):
    picture = paint(tmp_path / "x.png", RED)
    cell = report_page.Cell("", picture, record())
    text, elements = written(tmp_path, report_page.Section("", "", (one_by_one(cell),)))
    assert "//" not in text.replace("// ", "")  # comments of the script
    assert "url(" not in text
    assert "@import" not in text
    assert "default-src 'none'" in elements.of("meta")[1]["content"]
    assert elements.of("link") == [{"rel": "icon", "href": "data:,"}]


def test_failed_and_missing_pictures_are_told_apart(tmp_path):
    cells = (
        report_page.Cell("a", None, None, "NonFiniteError: at the start"),
        report_page.Cell("b", tmp_path / "gone.png", record()),
        report_page.Cell("c", None, None),
    )
    grid = report_page.Grid("", ("row",), ("1", "2", "3"), (cells,))
    _, elements = written(tmp_path, report_page.Section("", "", (grid,)))
    assert not elements.of("img")
    assert len([tag for tag in elements.of("button") if "data-view" in tag]) == 3
    assert elements.texts["strong"].count("no picture") == 2 * 2  # in the table and large
    assert elements.texts["strong"].count("failed") == 2
    assert elements.texts["span"].count("NonFiniteError: at the start") == 2


@pytest.mark.parametrize(
    ("holds", "verdict"),
    [
        (True, "✓ as the paper says"),
        (False, "✗ not as the paper says"),
        (None, "– not measured"),
    ],
)
def test_verdicts_are_words(tmp_path, holds, verdict):
    finding = {
        **dict.fromkeys(("name", "claim", "measure", "unit", "expected", "note"), ""),
        **{"original": 1.83125, "normalized": None, "holds": holds, "details": None},
    }
    _, elements = written(tmp_path, findings=[finding])
    assert " ".join(elements.texts["span"].split()) == verdict
    assert "1.831" in elements.texts["td"]
    assert "–" in elements.texts["td"]


def test_the_verdict_over_styles_and_its_interval_are_words(tmp_path):
    finding = {
        **dict.fromkeys(("name", "claim", "measure", "unit", "expected", "note"), ""),
        **{"original": 1.0, "normalized": 2.0, "holds": True, "details": None},
        "verdict": "cannot tell",
    }
    findings = [
        finding | {"intervals": {"difference": [-0.5, 2.25]}},
        finding | {"intervals": {}},
        finding | {"holds": None, "intervals": {}},
    ]
    _, elements = written(tmp_path, findings=findings)
    words = " ".join(elements.texts["p"].split())
    assert words.count("Other styles and contents: cannot tell") == 2
    assert words.count("cannot tell; difference -0.5 … 2.25") == 1


def test_details_may_be_words_a_table_or_nothing(tmp_path):
    finding = dict.fromkeys(("name", "claim", "measure", "unit", "expected", "note"), "")
    finding |= {"original": None, "normalized": None, "holds": None}
    details = ["in words", {"original": {"starry": 1e-5, "nude": None}}, None]
    _, elements = written(tmp_path, findings=[finding | {"details": value} for value in details])
    assert len(elements.of("details")) == 2
    assert "in words" in elements.text
    assert "original starry" in elements.texts["th"]
    assert "1e-05" in elements.texts["td"]


@pytest.mark.parametrize(
    ("expected", "words"),
    [
        ("less", "normalized below original"),
        ("more", "normalized above original"),
        ("own words", "own words"),
    ],
)
def test_findings_of_one_claim_stand_together(tmp_path, expected, words):
    finding = dict.fromkeys(("original", "normalized", "holds", "details"))
    finding |= {"claim": "a claim", "unit": "decades", "note": "", "expected": expected}
    findings = [finding | {"name": name, "measure": f"{name} measure"} for name in ("one", "two")]
    _, elements = written(tmp_path, findings=findings)
    assert elements.texts["th"].count("a claim") == 1
    assert elements.texts["th"].index("one measure") < elements.texts["th"].index("two measure")
    assert elements.texts["td"].count(words) == 2


def test_a_caption_that_repeats_row_and_column_is_left_out_of_the_grid(tmp_path):
    captions = ("first", "second", "row, third", "a caption")
    cells = tuple(report_page.Cell(caption, None, None) for caption in captions)
    grid = report_page.Grid("", ("row",), ("first", "second", "third", "fourth"), (cells,))
    _, elements = written(tmp_path, report_page.Section("", "", (grid,)))
    assert elements.texts["td"].split() == []
    assert elements.texts["span"].count("a caption") == 1
    assert elements.texts["span"].count("first") + elements.texts["span"].count("third") == 0


def test_settings_are_laid_out_by_group(tmp_path):
    pairs = ((1, 2), (3, 4))
    settings = {"versions": {"packages": {"numpy": "2.4"}, "sizes": pairs, "init": None}}
    _, elements = written(tmp_path, settings=settings)
    assert "versions" in elements.texts["h3"]
    assert elements.texts["th"] == "packages numpysizesinit"
    assert elements.texts["td"] == "2.41, 2; 3, 4–"


def test_an_empty_page_is_a_page(tmp_path):
    text, elements = written(tmp_path)
    assert text.startswith("<!DOCTYPE html>")
    assert elements.open == []
    assert embedded(elements) == {}


def test_grids_that_do_not_fit_are_refused():
    cell = report_page.Cell("", None, None)
    with pytest.raises(ValueError, match="2 rows of 1 cells"):
        report_page.Grid("", ("a", "b"), ("c",), ((cell,),))
    narrow, wide = (
        report_page.Grid("", ("row",), tuple("x" * count), ((cell,) * count,)) for count in (1, 2)
    )
    for grids in ((narrow, wide), (narrow, narrow, narrow)):
        with pytest.raises(ValueError, match="one grid or two"):
            report_page.Section("", "", grids)


@pytest.mark.parametrize("number", [float("nan"), float("inf")])
def test_numbers_that_json_lacks_leave_the_older_page(tmp_path, number):
    (tmp_path / "report.html").write_text("older")
    section = report_page.Section(
        "", "", (one_by_one(report_page.Cell("", None, record(final=number))),)
    )
    with pytest.raises(ValueError, match="JSON"):
        report_page.write(tmp_path / "report.html", "", [section])
    assert [path.name for path in tmp_path.iterdir()] == ["report.html"]
    assert (tmp_path / "report.html").read_text() == "older"


def test_facts_of_records_side_by_side():
    plain = record(sizes=(256, 512))
    raised = record("normalized", weights=(0.2, 20.0), final=None)
    cells = [report_page.Cell("", None, facts) for facts in (plain, raised, None)]
    facts = dict(report_page._facts(cells))
    assert facts["loss"] == ["original", "normalized", None]
    assert facts["λ_os"] == [1e-4, 1e-4, None]
    assert facts["size"] == ["512 × 384 after 256", "64 × 48", None]
    assert facts["raised style weights"] == [None, "conv5_4 20 (others 0.2)", None]
    assert facts["final loss"] == [1.5, None, None]
    assert facts["content distance conv4_2"] == [0.25, 0.25, None]
    assert facts["style reflection conv5_4"] == [None, None, None]
    assert not any("distance conv1_2" in name for name in facts)


# --- the table of a survey ----------------------------------------------------------------------


def insert(path, text, tag="p"):
    """Insert a survey of one paragraph in a page; returns what the page is then."""
    section = '<section id="survey"><{0}>{1}</{0}></section>'
    report_page.insert_survey(path, markupsafe.Markup(section).format(markupsafe.Markup(tag), text))
    return path.read_text(encoding="utf-8")


def policy_and_sources(text):
    elements = Elements(text)
    return elements.of("meta")[1], elements.texts["style"], elements.texts["script"]


def test_a_survey_is_inserted_in_a_page_and_the_rest_stays(tmp_path):
    settings = {"group": {HOSTILE: "<!-- survey --> <!-- end of survey link -->"}}
    section = report_page.Section("A section", HOSTILE)
    before, _ = written(tmp_path, section, title="<!-- end of survey -->", settings=settings)
    after = insert(tmp_path / "report.html", "λ & more")
    inserted = '<section id="survey"><p>λ &amp; more</p></section>', report_page.SURVEY_LINK
    assert before == after.replace(inserted[0], "").replace(inserted[1], "")
    assert policy_and_sources(before) == policy_and_sources(after)
    elements = Elements(after)
    assert elements.open == []
    ids = [tag["id"] for tag in elements.of("section")]
    assert ids == ["section-0", "survey", "settings"]
    assert [tag["href"] for tag in elements.of("a")] == [f"#{name}" for name in ids]
    assert [path.name for path in tmp_path.iterdir()] == ["report.html"]


def test_a_second_survey_replaces_the_first(tmp_path):
    written(tmp_path)
    one = insert(tmp_path / "report.html", "number one")
    other = insert(tmp_path / "report.html", "number two")
    assert one.replace("number one", "number two") == other
    assert insert(tmp_path / "report.html", "number one") == one


def test_a_page_written_anew_has_no_survey(tmp_path):
    before, _ = written(tmp_path)
    insert(tmp_path / "report.html", "first")
    assert written(tmp_path)[0] == before


def test_text_that_is_no_markup_is_escaped(tmp_path):
    written(tmp_path)
    for text in (HOSTILE, "<!-- survey --><!-- end of survey -->", "\ud800"):
        report_page.insert_survey(tmp_path / "report.html", text)
        elements = Elements((tmp_path / "report.html").read_text(encoding="utf-8"))
        shown = text.encode("utf-8", "backslashreplace").decode()
        assert " ".join(shown.split()) in elements.text
        assert len(elements.of("script")) == 2


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"<!DOCTYPE html><p>another page",
        b"\x89PNG\r\n\x1a\n",
        b"<!-- survey --><!-- end of survey --> no place for a link",
        b"<!-- survey link --><!-- end of survey link --> no place for a table",
        b"<!-- survey link --><!-- end of survey link --><!-- end of survey --><!-- survey -->",
        b"<!-- survey link --><!-- end of survey link -->"
        + b"<!-- survey --><!-- end of survey -->." * 2,
    ],
)
def test_other_files_are_refused_and_stay(tmp_path, data):
    path = tmp_path / "other.html"
    path.write_bytes(data)
    with pytest.raises(report_page.ReportError, match=r"other\.html: not a report page"):
        insert(path, "text")
    assert path.read_bytes() == data
    assert list(tmp_path.iterdir()) == [path]


def test_a_page_that_is_not_there_is_an_oserror(tmp_path):
    with pytest.raises(FileNotFoundError):
        insert(tmp_path / "report.html", "text")
    assert list(tmp_path.iterdir()) == []


def test_a_survey_that_does_not_fit_on_the_disk_leaves_the_page(tmp_path):
    before, _ = written(tmp_path)
    with limited_file_size(len(before.encode()) + 10), pytest.raises(OSError, match="too large"):
        insert(tmp_path / "report.html", "text")
    assert (tmp_path / "report.html").read_text() == before
    assert [path.name for path in tmp_path.iterdir()] == ["report.html"]


# --- in a browser ------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    """A page with a pair of 2 × 2 grids, red and blue, one cell failed; a lone grid; two plots."""
    folder = tmp_path_factory.mktemp("a folder with #, ? and ö")
    red, blue = paint(folder / "r e d.png", RED), paint(folder / "blue.png", BLUE, (128, 96))
    rows, columns = ("an_uncommonly_long_name_of_a_style_in_one_word", "nude"), ("λ 1", "λ 2")

    def grid(loss, picture):
        cells = [
            [report_page.Cell(f"{loss} {row} {column}", picture, record(loss, 10**-column))
             for column in range(2)]
            for row in range(2)
        ]  # fmt: skip
        if loss == "original":
            cells[1][1] = report_page.Cell("", None, None, "NonFiniteError: " + "x" * 300)
        return report_page.Grid(f"{loss} loss, a title", rows, columns, tuple(map(tuple, cells)))

    wide = [report_page.Cell(f"{index}", blue, record()) for index in range(7)]
    sections = [
        report_page.Section("Pairs", "Text", (grid("original", red), grid("normalized", blue))),
        report_page.Section(
            "A lone grid and plots",
            "",
            (report_page.Grid("Wide", ("row",), tuple(map(str, range(7))), (tuple(wide),)),),
            (("first plot", red), ("second plot", paint(folder / "green.png", GREEN))),
        ),
    ]
    finding = {
        **dict.fromkeys(("name", "claim", "measure", "unit", "expected", "note"), "word " * 20),
        **{"original": 1.8, "normalized": None, "holds": False, "details": "y" * 300},
    }
    settings = {"group": {"long": "z" * 300}}
    path = folder / "report.html"
    report_page.write(path, "A page", sections, [finding], settings)
    return path.as_uri()


@pytest.fixture
def show(browser, page):
    """Give the function that opens the page at a width; at the end nothing may be complained of."""

    def show_at(width=1280, height=800, mobile=False, address=page):
        browser.execute_cdp_cmd(
            "Emulation.setDeviceMetricsOverride",
            {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": mobile},
        )
        browser.execute_cdp_cmd("Emulation.setTouchEmulationEnabled", {"enabled": mobile})
        browser.get(address)
        return browser

    yield show_at
    assert browser.get_log("browser") == []


@pytest.fixture(scope="module")
def page_with_survey(tmp_path_factory):
    """A page with a table laid out like the paper's, of labels that are long without a gap."""
    rows = ("flowing_strokes", "x" * 200)
    columns = ("1", "0.1", "0.01", "0.001", "y" * 100)
    pairs = tuple(
        survey_model.Pair(
            "2(a) / 6(a)", row, f"λ_os = {column}", f"a {row} {column}", f"b {row} {column}"
        )
        for row in rows
        for column in columns
    )
    asked = survey_model.Survey("f" * 32, ("original loss", "z" * 100), pairs, None)
    given = [
        Answer("0" * 32, number, pair.a, pair.b, 1 + number % 5, 5, 1)
        for number, pair in enumerate(pairs, start=1)
    ]
    path = tmp_path_factory.mktemp("survey") / "report.html"
    report_page.write(path, "A page", [report_page.Section("A section", "Text")])
    report_page.insert_survey(path, survey_table.as_html(survey_statistics.tabulate(asked, given)))
    return path.as_uri()


def find(browser, selector):
    return browser.find_element(By.CSS_SELECTOR, selector)


def press(browser, *keys):
    ActionChains(browser).send_keys(*keys).perform()


def opened(browser, view="0-0-0", side=0):
    """Open a cell by clicking on it and return the dialog."""
    find(browser, f'[data-view="{view}"][data-side="{side}"]').click()
    dialog = find(browser, "dialog")
    assert dialog.is_displayed()
    return dialog


def position(browser):
    return find(browser, "#place").text


def shown_records(browser):
    """The records that the dialog shows in full."""
    return [
        json.loads(text.get_property("textContent"))
        for text in browser.find_elements(By.CSS_SELECTOR, "#shown pre")
    ]


def stage(browser):
    """Left, top, width and height of the large picture on the screen."""
    return browser.execute_script(
        "const box = document.querySelector('#shown .stage').getBoundingClientRect();"
        "return [box.left, box.top, box.width, box.height];"
    )


def colors(browser, *shares):
    """The colors of the large picture, high up, at shares of its width."""
    left, top, width, height = stage(browser)
    screen = Image.open(io.BytesIO(browser.get_screenshot_as_png())).convert("RGB")
    return [
        screen.getpixel((round(left + share * (width - 1)), round(top + 0.25 * height)))
        for share in shares
    ]


@pytest.mark.slow
def test_every_picture_loads(show):
    browser = show()
    height = browser.execute_script("return document.documentElement.scrollHeight")
    for top in range(0, height, 400):
        browser.execute_async_script(
            "scrollTo(0, arguments[0]); requestAnimationFrame(() => arguments[1]())", top
        )
    widths = browser.execute_async_script(
        "const all = [...document.images].map(async (image) => {"
        "  await image.decode();"
        "  return image.naturalWidth;"
        "});"
        "Promise.all(all).then(arguments[0], (error) => arguments[0]([`${error}`]));"
    )
    assert len(widths) == 4 + 3 + 7 + 2
    assert set(widths) == {64, 128}


def test_a_click_shows_both_records(show):
    browser = show()
    dialog = opened(browser, "0-1-0", side=1)
    assert position(browser) == "nude · λ 1"
    configs = [shown["config"] for shown in shown_records(browser)]
    assert [config["loss"] for config in configs] == ["original", "normalized"]
    assert [config["lambda_os"] for config in configs] == [1, 1]
    assert {config["content"] for config in configs} == {"<b>town</b>.jpg"}
    assert "history" not in shown_records(browser)[0]
    rows = [row.text.split() for row in dialog.find_elements(By.TAG_NAME, "tr")]
    assert rows[0][:2] == ["original", "loss"]
    assert ["λ_os", "1", "1"] in rows
    assert ["style", "reflection", "conv5_4", "–", "–"] in rows
    summary = find(browser, "#shown summary")
    summary.click()
    assert find(browser, "#shown pre").text.startswith("{")


def test_enter_opens_and_escape_closes_and_gives_the_focus_back(show):
    browser = show()
    cell = find(browser, '[data-view="0-0-1"][data-side="1"]')
    browser.execute_script("arguments[0].focus()", cell)
    press(browser, Keys.ENTER)
    assert find(browser, "dialog").is_displayed()
    assert position(browser).endswith("λ 2")
    press(browser, Keys.ESCAPE)
    assert not find(browser, "dialog").is_displayed()
    assert browser.switch_to.active_element == cell
    assert browser.current_url.endswith("report.html")


@pytest.mark.slow
def test_the_close_button_closes(show):
    browser = show()
    dialog = opened(browser)
    find(browser, "#close").click()
    assert not dialog.is_displayed()


@pytest.mark.slow
def test_neighbors_by_keys_and_buttons(show):
    browser = show()
    opened(browser, "0-0-0", side=1)
    first, second = "an_uncommonly_long_name_of_a_style_in_one_word", "nude"
    for key, expected in (
        (Keys.ARROW_LEFT, (first, "λ 1")),  # there is nothing before
        (Keys.ARROW_UP, (first, "λ 1")),
        (Keys.ARROW_RIGHT, (first, "λ 2")),
        (Keys.ARROW_RIGHT, (second, "λ 1")),
        (Keys.ARROW_UP, (first, "λ 1")),
        (Keys.ARROW_DOWN, (second, "λ 1")),
        (Keys.ARROW_LEFT, (first, "λ 2")),
    ):
        press(browser, key)
        assert position(browser) == " · ".join(expected)
        assert shown_records(browser)[1]["config"]["lambda_os"] == (
            1 if expected[1] == "λ 1" else 0.1
        )
    forward, back = (find(browser, f'[data-go="{name}"]') for name in ("right", "left"))
    forward.click()
    assert position(browser) == f"{second} · λ 1"
    back.click()
    back.click()
    assert position(browser) == f"{first} · λ 1"
    assert back.get_attribute("aria-disabled") == "true"
    back.click()
    assert position(browser) == f"{first} · λ 1"
    press(browser, Keys.ARROW_RIGHT, Keys.ESCAPE)
    wanted = find(browser, '[data-view="0-0-1"][data-side="1"]')
    WebDriverWait(browser, 5).until(lambda _: browser.switch_to.active_element == wanted)


@pytest.mark.slow
def test_pictures_of_different_sizes_fill_the_same_box(show):
    browser = show()
    opened(browser)
    boxes = browser.execute_script(
        "return [...document.querySelectorAll('#shown img')].map((image) => {"
        "const {x, y, width, height} = image.getBoundingClientRect();"
        "return [x, y, width, height]; })"
    )
    assert boxes[0] == boxes[1]
    _, _, width, height = boxes[0]
    assert abs(width / height - 64 / 48) <= PIXEL * (1 + 64 / 48) / height
    assert width > 600


@pytest.mark.slow
def test_the_slider_by_keyboard(show):
    browser = show()
    opened(browser)
    assert colors(browser, 0.01, 0.45, 0.55, 0.99) == [RED, RED, BLUE, BLUE]
    slider = find(browser, "#shown input")
    label = find(browser, f'label[for="{slider.get_attribute("id")}"]').text
    assert "original loss on the left" in " ".join(label.split())
    slider.send_keys(Keys.ARROW_RIGHT * 20)
    assert position(browser).endswith("λ 1")  # the arrows are the slider's here
    assert colors(browser, 0.01, 0.65, 0.75, 0.99) == [RED, RED, BLUE, BLUE]
    slider.send_keys(Keys.HOME)
    assert colors(browser, 0.04, 0.99) == [BLUE, BLUE]
    slider.send_keys(Keys.END)
    assert colors(browser, 0.01, 0.96) == [RED, RED]


@pytest.mark.slow
@pytest.mark.parametrize("share", [0.2, 0.9])
def test_the_slider_by_mouse(show, share):
    browser = show()
    opened(browser)
    slider = find(browser, "#shown input")
    travel = round((share - 0.5) * stage(browser)[2])
    ActionChains(browser).click_and_hold(slider).move_by_offset(travel, 30).release().perform()
    assert find(browser, "dialog").is_displayed()
    assert colors(browser, share - 0.04, share + 0.04) == [RED, BLUE]
    press(browser, Keys.TAB)  # out of the slider
    find(browser, '[data-go="right"]').click()
    assert colors(browser, share - 0.04, share + 0.04) == [RED, BLUE]  # kept


@pytest.mark.slow
def test_the_slider_by_touch(show):
    browser = show(390, 844, mobile=True)
    opened(browser)
    left, top, width, height = stage(browser)
    for kind, share in (("touchStart", 0.5), ("touchMove", 0.4), ("touchMove", 0.2)):
        points = [{"x": left + share * width, "y": top + height / 2}]
        browser.execute_cdp_cmd("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})
    browser.execute_cdp_cmd("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})
    assert colors(browser, 0.1, 0.3) == [RED, BLUE]


def test_a_failed_cell_leaves_its_counterpart_alone(show):
    browser = show()
    dialog = opened(browser, "0-1-1")
    assert "NonFiniteError: xxx" in dialog.text
    assert not dialog.find_elements(By.TAG_NAME, "input")
    assert colors(browser, 0.01, 0.99) == [BLUE, BLUE]
    assert [shown["config"]["loss"] for shown in shown_records(browser)] == ["normalized"]


@pytest.mark.slow
def test_lone_cells_and_plots_have_no_slider(show):
    browser = show()
    dialog = opened(browser, "1-0-6")
    assert not dialog.find_elements(By.TAG_NAME, "input")
    assert len(shown_records(browser)) == 1
    press(browser, Keys.ESCAPE)
    opened(browser, "1-plot-0")
    assert position(browser) == "first plot"
    assert colors(browser, 0.01, 0.99) == [RED, RED]
    press(browser, Keys.ARROW_RIGHT)
    assert position(browser) == "second plot"
    assert colors(browser, 0.01, 0.99) == [GREEN, GREEN]
    assert shown_records(browser) == []


@pytest.mark.slow
@pytest.mark.parametrize(("width", "height"), [(1280, 800), (390, 844)])
def test_only_grids_scroll_sideways(show, width, height):
    browser = show(width, height, mobile=width < 500)
    for details in browser.find_elements(By.CSS_SELECTOR, "details"):
        browser.execute_script("arguments[0].open = true", details)
    scroller = browser.find_elements(By.CSS_SELECTOR, ".scroller")[2]
    label = scroller.find_element(By.CSS_SELECTOR, "tbody th")
    browser.execute_script("arguments[0].scrollLeft = 300; scrollBy(300, 0)", scroller)
    assert browser.execute_script("return arguments[0].scrollLeft", scroller) > 100
    assert browser.execute_script("return scrollX") == 0
    assert 0 <= label.rect["x"] - scroller.rect["x"] <= PADDING + PIXEL
    assert browser.execute_script(
        "const page = document.documentElement; return page.scrollWidth == page.clientWidth"
    )
    for view in ("0-0-0", "0-1-1", "1-plot-0"):
        dialog = opened(browser, view)
        assert dialog.rect["x"] >= 0
        assert dialog.rect["x"] + dialog.rect["width"] <= width
        browser.execute_script(
            "document.querySelectorAll('#shown details').forEach((part) => (part.open = true))"
        )
        assert browser.execute_script(
            "return arguments[0].scrollWidth <= arguments[0].clientWidth", dialog
        )
        press(browser, Keys.ESCAPE)


@pytest.mark.slow
@pytest.mark.parametrize(("width", "height"), [(1366, 900), (390, 844)])
def test_the_table_of_a_survey_keeps_to_the_page(show, page_with_survey, width, height):
    browser = show(width, height, mobile=width < 500, address=page_with_survey)
    find(browser, 'nav a[href="#survey"]').click()
    assert browser.execute_script("return scrollY") > 0
    for element in browser.find_elements(By.CSS_SELECTOR, "#survey > *, #survey .scroller"):
        assert element.rect["x"] + element.rect["width"] <= width
    browser.execute_script("scrollBy(300, 0)")
    assert browser.execute_script("return scrollX") == 0
    assert browser.execute_script(
        "const page = document.documentElement; return page.scrollWidth == page.clientWidth"
    )
    high, low = (find(browser, f"td.{mark}") for mark in ("high", "low"))
    assert (high.text.split(), low.text.split()) == (["4.0", "▲", "(high)"], ["1.0", "▽", "(low)"])
    backgrounds = {cell.value_of_css_property("background-color") for cell in (high, low)}
    assert len(backgrounds - {"rgba(0, 0, 0, 0)"}) == 2


@pytest.mark.slow
def test_the_papers_table_stands_next_to_ours_where_there_is_room(show, page_with_survey):
    browser = show(1366, 900, address=page_with_survey)
    ours, paper, _ = browser.find_elements(By.CSS_SELECTOR, "#survey .scroller")
    assert paper.rect["x"] >= ours.rect["x"] + ours.rect["width"]
    ends = [table.rect["y"] + table.rect["height"] for table in (ours, paper)]
    assert abs(ends[0] - ends[1]) <= PIXEL  # so that rows of one height are level


@pytest.mark.slow
def test_the_papers_table_stands_below_on_a_phone_and_both_scroll(show, page_with_survey):
    browser = show(390, 844, mobile=True, address=page_with_survey)
    ours, paper, _ = browser.find_elements(By.CSS_SELECTOR, "#survey .scroller")
    assert paper.rect["y"] >= ours.rect["y"] + ours.rect["height"]
    for table in (ours, paper):
        browser.execute_script("arguments[0].scrollLeft = 50", table)
        assert browser.execute_script("return arguments[0].scrollLeft", table) == 50
        for name in table.find_elements(By.CSS_SELECTOR, 'th[scope="row"]'):
            # only scores move
            assert 0 <= name.rect["x"] - table.rect["x"] <= PADDING + PIXEL


@pytest.mark.slow
def test_pictures_open_without_the_script(show, page):
    browser = show()
    link = find(browser, '[data-view="0-0-0"]').get_attribute("href")
    assert link == page.replace("report.html", "r%20e%20d.png")


# --- gatys-norm compare --report ----------------------------------------------------------------


INPUTS = (f"--content={ROOT / 'data/river_town.jpg'}", f"--style={ROOT / 'data/soft_washes.jpg'}")
LIMITS = (
    "--size=64",
    "--iterations=5",
    "--content_layers=conv2_1",
    "--style_layers=conv1_1,conv2_2",
)


def compare(output, *arguments):
    """Run the command here; returns its exit code."""
    words = [f"--output={output}", "--report", *LIMITS, *arguments]
    return cli.run(["gatys-norm", "compare", *words])


@pytest.mark.slow
@pytest.mark.usefixtures("small_network", "eagerly")
def test_compare_writes_a_page_that_can_be_moved(tmp_path, browser, capsys):
    made, moved = tmp_path / "made", tmp_path / "moved"
    made.mkdir()
    assert compare(made / "a pair.png", *INPUTS) == 0
    assert str(made / "a pair.html") in capsys.readouterr().out.splitlines()[-1]
    made.rename(moved)
    browser.get((moved / "a pair.html").as_uri())
    thumbnails = browser.find_elements(By.CSS_SELECTOR, ".cell img")
    shown = [
        Path(urllib.parse.unquote(thumbnail.get_attribute("src"))).name for thumbnail in thumbnails
    ]
    assert shown == [
        f"a pair-{part}.png" for part in ("original", "normalized", "content", "style", "curves")
    ]
    for thumbnail in thumbnails:
        browser.execute_script("arguments[0].scrollIntoView()", thumbnail)
        assert browser.execute_script("return arguments[0].decode().then(() => true)", thumbnail)
    opened(browser)
    assert position(browser) == "soft_washes.jpg · λ_os = 0.0001 / λ_os = 0.001"
    records = shown_records(browser)
    assert [shown["config"]["loss"] for shown in records] == ["original", "normalized"]
    assert len(browser.find_elements(By.CSS_SELECTOR, "#shown input")) == 1
    sizes = records[0]["stages"][0]
    content, style = (
        picture_io.load_picture(moved / f"a pair-{role}.png") for role in ("content", "style")
    )
    assert content.shape[:2] == (sizes["height"], sizes["width"])
    assert list(style.shape[:2]) == sizes["style_shapes"][0]
    press(browser, Keys.ESCAPE)
    assert "small" in find(browser, "#settings").text  # what the network is called
    assert browser.get_log("browser") == []


@pytest.mark.slow
@pytest.mark.usefixtures("small_network", "eagerly")
def test_compare_shows_every_style(tmp_path, capsys):
    styles = [ROOT / "data" / f"{name}.jpg" for name in ("soft_washes", "flowing_strokes")]
    output = tmp_path / "pair.png"
    assert compare(output, INPUTS[0], f"--style={styles[0]},{styles[1]}", "--iterations=2") == 0
    said = capsys.readouterr().out
    results = [
        f"pair-{loss}.{kind}" for loss in ("original", "normalized") for kind in ("png", "json")
    ]
    shown = [f"pair-{part}.png" for part in ("content", "curves")]
    copies = [f"pair-style-{style.stem}.png" for style in styles]
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {"pair.png", "pair.html", *results, *shown, *copies}
    record = json.loads((tmp_path / "pair-original.json").read_text())
    for name, shape in zip(copies, record["stages"][0]["style_shapes"], strict=True):
        assert list(picture_io.load_picture(tmp_path / name).shape[:2]) == shape
    page = (tmp_path / "pair.html").read_text()
    assert "river_town.jpg in the manner of soft_washes.jpg, flowing_strokes.jpg." in page
    for style, copy in zip(styles, copies, strict=True):
        assert f"style {style.stem}: {style.name}" in page
        assert copy in page
    rows = {tuple(line.split()[:3]): line.split()[3:] for line in said.splitlines()}
    reflections = record["metrics"]["style_reflection"]
    for name in ("soft_washes/conv2_2", "flowing_strokes/conv1_1"):
        assert rows["style", "reflection", name][0] == f"{reflections[name]:.4f}"
    # Five pictures as high as the results, side by side.
    height = record["stages"][0]["height"]
    widths = [
        picture.shape[1] * height / picture.shape[0]
        for picture in map(picture_io.load_picture, [ROOT / "data/river_town.jpg", *styles])
    ]
    assert picture_io.load_picture(output).shape[1] > sum(widths) + 2 * 64


def test_compare_overwrites_no_input_with_its_copies(tmp_path, capsys):
    content = paint(tmp_path / "pair-content.png", RED)
    before = digest(content.read_bytes())
    assert compare(tmp_path / "pair.png", f"--content={content}", INPUTS[1]) == errors.BAD_INPUT
    assert "pair-content.png: is one of the inputs" in capsys.readouterr().err
    assert digest(content.read_bytes()) == before
    assert list(tmp_path.iterdir()) == [content]


def test_compare_sees_a_folder_in_place_of_the_page_before_the_work(tmp_path, capsys):
    (tmp_path / "pair.html").mkdir()
    assert compare(tmp_path / "pair.png", *INPUTS) == errors.BAD_INPUT
    assert "pair.html: is a folder" in capsys.readouterr().err
