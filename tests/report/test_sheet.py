"""The sheet of `gatys-norm explore`: what is written, and what a real browser makes of it."""

import html
import json
import os
import re
import shlex
import subprocess

import numpy as np
import pytest
from helpers.programs import wait_for
from PIL import Image
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import Select, WebDriverWait

from gatys_norm.report import sheet

HOSTILE = "<script>alert('&')</script>\"><img src=x onerror=alert(1)>{{ 7 * 7 }}</script>"
SHELL = ["gatys-norm", '--style=it\'s $(touch x) `y` "z";.jpg', "--output=λ.png"]
STYLES = ("waves", "an_uncommonly_long_name_of_a_style_in_one_word")
LAMBDAS = (1e-2, 1e-3, 1e-4)
PIXEL = 1  # to which a browser may round an edge


def paint(path, color=(200, 30, 30), size=(64, 48)):
    Image.new("RGB", size, color).save(path, "PNG")
    return path


def written(folder, *cells, title="A sheet"):
    """Write a page and return its text."""
    sheet.write(folder / "explore.html", title, cells, folder)
    return (folder / "explore.html").read_text(encoding="utf-8")


def data_of(text):
    """Return what the script of the page takes."""
    return json.loads(re.search(r'id="data">(.*?)</script>', text)[1])


# --- what is written ---------------------------------------------------------------------------


def test_hostile_texts_stay_texts(tmp_path):
    labels = {HOSTILE: HOSTILE, "λ_os": 1.0}
    done = sheet.Cell(labels, [HOSTILE], paint(tmp_path / "<b>'x.png"), {HOSTILE: 1.0})
    failed = sheet.Cell(labels | {HOSTILE: "other"}, [HOSTILE], error=HOSTILE)
    text = written(tmp_path, done, failed, title=HOSTILE)
    assert text.count("</script>") == 2
    assert text.count("<script") == 2
    assert text.count("<img") == 2  # the picture, and the place of the large one
    assert "onerror=alert(1)>" not in text
    assert "{{ 7 * 7 }}" in text
    data = data_of(text)
    assert data["cells"][1]["error"] == HOSTILE
    assert data["cells"][0]["measures"] == {HOSTILE: 1.0}
    assert data["cells"][0]["link"] == "%3Cb%3E%27x.png"


def test_nothing_is_fetched_from_elsewhere(tmp_path):
    text = written(tmp_path, sheet.Cell({"content": "a"}, [], paint(tmp_path / "x.png")))
    assert "//" not in re.sub(r"^.*?// .*$|base64,[^\"]*", "", text, flags=re.MULTILINE)
    assert "url(" not in text
    sources = re.findall(r'<img[^>]* src="(.{22})', text)
    assert sources == ["data:image/webp;base64,"[:22]]
    policy = html.unescape(re.search(r'Content-Security-Policy" content="([^"]*)"', text)[1])
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy


def test_a_page_is_recognized(tmp_path):
    written(tmp_path, sheet.Cell({"content": "a"}, []))
    (tmp_path / "other.html").write_text("<p>other</p>")
    pages = ("explore.html", "other.html", "none.html", ".")
    assert [sheet.is_page(tmp_path / name) for name in pages] == [True, False, False, False]


def test_a_page_of_200_cells_stays_below_10_million_bytes(tmp_path):
    """Noise is what compresses least."""
    noise = np.random.default_rng(0).integers(0, 256, (144, 192, 3), np.uint8)
    Image.fromarray(noise).save(tmp_path / "noise.png")
    cell = sheet.Cell({"content": "a", "λ_os": 1.0}, ["x" * 300], tmp_path / "noise.png")
    one, two = (len(written(tmp_path, *[cell] * count).encode()) for count in (1, 2))
    assert one + 199 * (two - one) < 10e6


def test_large_pictures_are_shown_small(tmp_path):
    picture = paint(tmp_path / "large.png", size=(2000, 1000))
    text = written(tmp_path, sheet.Cell({"content": "a"}, [], picture))
    assert re.search(r'<img src="data:[^"]*" alt="a"\s+width="2000" height="1000"', text)
    assert len(text) < 60_000


def test_captions_name_what_varies(tmp_path):
    cells = [
        sheet.Cell({"content": "town", "style": style, "λ_os": value}, [])
        for style in ("waves", "planes")
        for value in (1e-3, 1e-2)
    ]
    captions = re.findall(r'<p class="caption">(.*?)</p>', written(tmp_path, *cells))
    assert captions[:2] == ["waves, λ_os 0.001", "waves, λ_os 0.01"]
    options = re.findall(r'<option value="\d+">(.*?)</option>', written(tmp_path, *cells))
    assert options == ["waves", "planes", "0.001", "0.01"]  # numbers in their order
    (alone,) = re.findall(r'<p class="caption">(.*?)</p>', written(tmp_path, cells[0]))
    assert alone == "town, waves, λ_os 0.001"


@pytest.mark.parametrize("number", [float("nan"), float("inf")])
def test_numbers_that_json_lacks_leave_the_older_page(tmp_path, number):
    before = written(tmp_path, sheet.Cell({"content": "a"}, []))
    with pytest.raises(ValueError, match="JSON"):
        written(tmp_path, sheet.Cell({"content": "a"}, [], measures={"seconds": number}))
    assert (tmp_path / "explore.html").read_text() == before


# --- in a browser ------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A page of two styles and three λ_os; the last cell failed, the one before is not made."""
    folder = tmp_path_factory.mktemp("a folder with #, ' and ö")
    cells = []
    for index, (style, lambda_os) in enumerate((s, v) for s in STYLES for v in LAMBDAS):
        labels = {"content": "town", "style": style, "λ_os": lambda_os}
        command = [*SHELL[:2], f"--lambda_os={lambda_os}", SHELL[2]]
        if index < 4:
            picture = paint(folder / f"{index}?.png", (60 * index, 0, 0), (640, 480))
            measures = {"content distance": 0.1 * ((index * 3) % 4), "seconds": None}
            cells.append(sheet.Cell(labels, command, picture, measures))
        else:
            error = None if index == 4 else f"NonFiniteError: {'x' * 300}"
            cells.append(sheet.Cell(labels, command, error=error))
    sheet.write(folder / "explore.html", "A sheet", cells, folder)
    return folder


@pytest.fixture
def show(browser, folder):
    """Give the function that opens the page at a width; at the end nothing may be complained of."""

    def show_at(width=1280, height=800, mobile=False, address=folder / "explore.html"):
        metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": mobile}
        browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
        browser.get(address.as_uri())
        return browser

    yield show_at
    assert browser.get_log("browser") == []


def find(browser, selector):
    return browser.find_element(By.CSS_SELECTOR, selector)


def press(browser, *keys):
    ActionChains(browser).send_keys(*keys).perform()


def shown(browser):
    """The numbers of the cells on the sheet, in the order in which they stand there."""
    captions = [
        element.text
        for element in browser.find_elements(By.CSS_SELECTOR, ".sheet .caption")
        if element.is_displayed()
    ]
    order = [f"{style}, λ_os {value:g}" for style in STYLES for value in LAMBDAS]
    return [order.index(caption) for caption in captions]


def choose(browser, selector, text):
    Select(find(browser, selector)).select_by_visible_text(text)


def cell(browser, index):
    """The cell at a position of the sheet."""
    return browser.find_elements(By.CSS_SELECTOR, ".sheet > li:not([hidden])")[index]


def opened(browser, index):
    """Open the cell at a position of the sheet and return the dialog."""
    cell(browser, index).find_element(By.CSS_SELECTOR, ".open").click()
    dialog = find(browser, "dialog")
    assert dialog.is_displayed()
    return dialog


def place(browser):
    return find(browser, "#place").text


def test_filters_and_order(show):
    browser = show()
    assert shown(browser) == [0, 1, 2, 3, 4, 5]
    choose(browser, "#sort", "λ_os")
    assert shown(browser) == [2, 5, 1, 4, 0, 3]
    find(browser, "#backward").click()
    assert shown(browser) == [0, 3, 1, 4, 2, 5]
    choose(browser, "#sort", "content distance")
    assert shown(browser) == [1, 2, 3, 0, 4, 5]  # those without a value last
    choose(browser, "[data-facet='style']", STYLES[1])
    assert shown(browser) == [3, 4, 5]
    choose(browser, "[data-facet='λ_os']", "0.001")
    assert shown(browser) == [4]
    assert find(browser, "#count").text == "1 of 6 shown, 0 ticked"
    choose(browser, "[data-facet='style']", "all")
    choose(browser, "#sort", "as made")
    find(browser, "#backward").click()
    assert shown(browser) == [1, 4]


@pytest.mark.slow
def test_bounds_of_measures(show):
    browser = show()
    find(browser, "summary").click()
    find(browser, "[data-least='content distance']").send_keys("0.1")
    assert shown(browser) == [1, 2, 3]
    find(browser, "[data-most='content distance']").send_keys("0.25")
    assert shown(browser) == [2, 3]
    assert find(browser, "#count").text == "2 of 6 shown, 0 ticked"


def test_a_cell_opens_large_with_its_numbers_and_copies_its_command(show):
    browser = show()
    granted = {"permissions": ["clipboardReadWrite", "clipboardSanitizedWrite"]}
    browser.execute_cdp_cmd("Browser.grantPermissions", granted)
    dialog = opened(browser, 1)
    assert place(browser) == "waves, λ_os 0.001"
    rows = [row.text for row in dialog.find_elements(By.TAG_NAME, "tr")]
    assert rows == [
        "content town", "style waves", "λ_os 0.001", "content distance 0.3", "seconds –",
    ]  # fmt: skip
    picture = find(browser, "#picture")
    WebDriverWait(browser, 5).until(lambda _: picture.get_property("naturalWidth") == 640)
    assert picture.get_property("src").endswith("/1%3F.png")
    assert picture.get_property("alt") == "waves, λ_os 0.001"
    find(browser, "#copy").click()
    WebDriverWait(browser, 5).until(lambda _: find(browser, "#copied").text == "copied")
    copied = browser.execute_async_script(
        "navigator.clipboard.readText().then(arguments[0], (error) => arguments[0](`${error}`))"
    )
    assert shlex.split(copied.replace("\\\n", "")) == [*SHELL[:2], "--lambda_os=0.001", SHELL[2]]
    assert copied == find(browser, "#command").get_property("textContent")


@pytest.mark.slow
def test_without_the_clipboard_the_command_is_copied_all_the_same(show):
    browser = show()
    opened(browser, 0)
    browser.execute_script("Object.defineProperty(navigator, 'clipboard', { value: undefined })")
    browser.execute_script(
        "document.addEventListener('copy', () => { window.copied = String(getSelection()); })"
    )
    find(browser, "#copy").click()
    WebDriverWait(browser, 5).until(lambda _: find(browser, "#copied").text == "copied")
    assert browser.execute_script("return copied") == find(browser, "#command").text


@pytest.mark.slow
def test_keys_go_through_what_is_shown_and_give_the_focus_back(show):
    browser = show()
    choose(browser, "[data-facet='style']", STYLES[0])
    choose(browser, "#sort", "content distance")
    opener = cell(browser, 0).find_element(By.CSS_SELECTOR, ".open")
    browser.execute_script("arguments[0].focus()", opener)
    press(browser, Keys.ENTER)
    assert place(browser) == "waves, λ_os 0.01"
    for key, expected in (
        (Keys.ARROW_LEFT, "0.01"),  # there is nothing before
        (Keys.ARROW_RIGHT, "0.0001"),
        (Keys.ARROW_RIGHT, "0.001"),
        (Keys.ARROW_RIGHT, "0.001"),
        (Keys.ARROW_LEFT, "0.0001"),
    ):
        press(browser, key)
        assert place(browser) == f"waves, λ_os {expected}"
    find(browser, "#next").click()
    assert place(browser) == "waves, λ_os 0.001"
    assert find(browser, "#next").get_attribute("aria-disabled") == "true"
    press(browser, Keys.ESCAPE)
    assert not find(browser, "dialog").is_displayed()
    last = cell(browser, 2).find_element(By.CSS_SELECTOR, ".open")
    WebDriverWait(browser, 5).until(lambda _: browser.switch_to.active_element == last)
    last.click()
    find(browser, "#close").click()
    assert not find(browser, "dialog").is_displayed()


@pytest.mark.slow
def test_cells_without_a_picture_say_why(show):
    browser = show()
    assert "NonFiniteError: xxx" in cell(browser, 5).text
    dialog = opened(browser, 5)
    assert "NonFiniteError: xxx" in dialog.text
    assert not find(browser, "#picture").is_displayed()
    press(browser, Keys.ARROW_LEFT)
    assert "not made yet" in dialog.text
    press(browser, Keys.ARROW_LEFT)
    assert find(browser, "#picture").is_displayed()
    assert "not made yet" not in dialog.text


@pytest.mark.slow
def test_a_page_alone_still_shows_its_pictures(browser, folder, tmp_path):
    page = tmp_path / "moved.html"
    page.write_bytes((folder / "explore.html").read_bytes())
    browser.get(page.as_uri())
    opened(browser, 0)
    picture = find(browser, "#picture")
    WebDriverWait(browser, 5).until(lambda _: picture.get_property("naturalWidth") == 256)
    assert picture.get_property("src").startswith("data:image/webp")
    browser.get_log("browser")  # tells of the picture that is missing


@pytest.mark.slow
def test_print_sh_makes_what_is_ticked(show, folder, tmp_path):
    browser = show()
    browser.execute_cdp_cmd(
        "Browser.setDownloadBehavior", {"behavior": "allow", "downloadPath": str(tmp_path)}
    )
    save = find(browser, "#save")
    assert not save.is_enabled()
    find(browser, "#tick-shown").click()
    assert find(browser, "#count").text == "6 of 6 shown, 6 ticked"
    find(browser, "#tick-none").click()
    assert not save.is_enabled()
    cell(browser, 3).find_element(By.CSS_SELECTOR, "input").click()
    opened(browser, 0)
    find(browser, "#print").click()
    press(browser, Keys.ESCAPE)
    choose(browser, "[data-facet='style']", STYLES[1])  # what is ticked stays so
    assert find(browser, "#count").text == "3 of 6 shown, 2 ticked"
    save.click()
    script = tmp_path / "print.sh"
    wait_for(script.exists, 10)
    tool = tmp_path / "bin" / "gatys-norm"
    tool.parent.mkdir()
    tool.write_text('#!/bin/sh\npwd >> "$LOG"\nprintf "%s\\n" "$@" >> "$LOG"\n')
    tool.chmod(0o755)
    log = tmp_path / "log"
    path = f"{tool.parent}{os.pathsep}{os.environ['PATH']}"
    subprocess.run(["sh", script], check=True, env={"PATH": path, "LOG": str(log)}, cwd=tmp_path)
    expected = [
        line
        for value in ("0.01", "0.01")
        for line in (str(folder), SHELL[1], f"--lambda_os={value}", SHELL[2])
    ]
    assert log.read_text().splitlines() == expected


@pytest.mark.slow
@pytest.mark.parametrize(("width", "height"), [(1280, 800), (390, 844)])
def test_nothing_is_wider_than_the_screen(show, width, height):
    browser = show(width, height, mobile=width < 500)
    find(browser, "summary").click()
    fits = "return document.documentElement.scrollWidth <= document.documentElement.clientWidth"
    assert browser.execute_script(fits)
    for index in (0, 4, 5):
        dialog = opened(browser, index)
        assert dialog.rect["x"] >= -PIXEL
        assert dialog.rect["x"] + dialog.rect["width"] <= width + PIXEL
        assert browser.execute_script(
            "return arguments[0].scrollWidth <= arguments[0].clientWidth", dialog
        )
        press(browser, Keys.ESCAPE)


@pytest.mark.slow
def test_every_control_has_a_name(show):
    browser = show()
    opened(browser, 0)
    unnamed = browser.execute_script(
        "return [...document.querySelectorAll('button, input, select')].filter((control) =>"
        "  !(control.getAttribute('aria-label') || control.textContent.trim() ||"
        "    [...(control.labels ?? [])].some((label) => label.textContent.trim()) ||"
        "    control.querySelector('img[alt]'))).length"
    )
    assert unnamed == 0
