"""The page to look around in a panorama, in a real browser; the panorama tells directions."""

import html.parser
import io
import math
import re

import numpy as np
import pytest
from PIL import Image
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.actions.wheel_input import ScrollOrigin
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import WebDriverWait

from gatys_norm.web import viewer

HOSTILE = "<script>alert('&')</script>\"><img src=x onerror=alert(1)>{{ 7 * 7 }}"
TURN = 18  # presses of an arrow key for 90°
# A JPEG of smooth colors, its interpolation between pixels of 3°, and the corner of the middle.
ERROR = 8  # grey levels


def color_of(latitude, longitude):
    """Return the color of a direction; each is the only one with its color."""
    sine = np.cos(latitude) * np.sin(longitude)
    cosine = np.cos(latitude) * np.cos(longitude)
    height = np.sin(latitude) + 0 * longitude
    return 127.5 + 120 * np.stack([sine, cosine, height], axis=-1)


def panorama(height=64):
    latitude = math.pi * (0.5 - (np.arange(height) + 0.5) / height)[:, np.newaxis]
    return color_of(latitude, math.pi * (np.arange(2 * height) + 0.5) / height)


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    path = tmp_path_factory.mktemp("viewer") / "view.html"
    path.write_bytes(viewer.page(panorama(), HOSTILE))
    return path


@pytest.fixture
def shown(browser, path):
    """The browser with the page, as soon as it has drawn."""
    browser.set_window_size(320, 400)
    browser.get(path.as_uri())
    wait_until_drawn(browser)
    yield browser
    errors = [entry for entry in browser.get_log("browser") if entry["level"] == "SEVERE"]
    assert errors == []


def wait_until_drawn(browser):
    """Wait until the canvas has a size, and no frame is asked for."""
    script = "return image.complete && canvas.width !== 300 && !isAsked"
    WebDriverWait(browser, 20).until(lambda browser: browser.execute_script(script))


def middle(browser):
    """Return the color in the middle of the view."""
    wait_until_drawn(browser)
    screenshot = browser.find_element(By.CSS_SELECTOR, "canvas").screenshot_as_png
    picture = np.asarray(Image.open(io.BytesIO(screenshot)).convert("RGB"), float)
    row, column = (side // 2 for side in picture.shape[:2])
    return picture[row - 1 : row + 1, column - 1 : column + 1].mean(axis=(0, 1))


def press(browser, *keys):
    ActionChains(browser).send_keys(*keys).perform()


def assert_shows(browser, latitude, longitude):
    expected = color_of(np.radians(latitude), np.radians(longitude))
    np.testing.assert_allclose(middle(browser), expected, atol=ERROR)


def test_arrow_keys_look_in_all_directions(shown):
    assert_shows(shown, 0, 180)  # the middle of the picture
    press(shown, *[Keys.ARROW_RIGHT] * TURN)
    assert_shows(shown, 0, 270)
    press(shown, *[Keys.ARROW_UP] * (TURN // 2))
    assert_shows(shown, 45, 270)
    press(shown, *[Keys.ARROW_UP] * TURN)  # no farther than straight up
    assert_shows(shown, 90, 0)
    press(shown, *[Keys.ARROW_DOWN] * TURN, *[Keys.ARROW_LEFT] * (2 * TURN))
    assert_shows(shown, 0, 90)


def test_the_picture_has_no_seam_at_its_sides(shown):
    press(shown, *[Keys.ARROW_LEFT] * (2 * TURN))
    assert_shows(shown, 0, 0)


def test_dragging_and_the_wheel_and_keys_zoom(shown):
    canvas = shown.find_element(By.CSS_SELECTOR, "canvas")
    before = shown.execute_script("return [yaw, pitch]")
    ActionChains(shown).drag_and_drop_by_offset(canvas, 40, 20).perform()
    after = shown.execute_script("return [yaw, pitch]")
    assert after[0] < before[0]  # what was in the middle goes right with the pointer
    assert after[1] > before[1]
    angle = shown.execute_script("return angle")
    press(shown, "+")
    nearer = shown.execute_script("return angle")
    assert nearer < angle
    ActionChains(shown).scroll_from_origin(
        ScrollOrigin.from_element(canvas), delta_x=0, delta_y=200
    ).perform()
    assert shown.execute_script("return angle") > nearer
    press(shown, *["-"] * 40)
    assert shown.execute_script("return angle") < math.pi / 1.5


def test_zooming_makes_what_is_seen_larger(shown):
    """The color to the right of the middle is nearer to that of the middle."""

    def spread():
        wait_until_drawn(shown)
        screenshot = shown.find_element(By.CSS_SELECTOR, "canvas").screenshot_as_png
        row = np.asarray(Image.open(io.BytesIO(screenshot)).convert("RGB"), float)[20]
        return np.abs(row[0] - row[-1]).max()

    before = spread()
    press(shown, *["+"] * 10)
    assert spread() < before / 2


def test_the_title_is_text_and_nothing_is_loaded(path):
    text = path.read_text(encoding="utf-8")
    tags = []

    class Parser(html.parser.HTMLParser):
        def handle_starttag(self, tag, attributes):
            tags.append((tag, dict(attributes)))

    Parser().feed(text)
    assert [tag for tag, _ in tags].count("script") == 1
    [image] = [attributes for tag, attributes in tags if tag == "img"]
    assert image["src"].startswith("data:image/jpeg;base64,")
    assert HOSTILE in image["alt"]
    assert not re.search(r"https?://", text)
    script = text.partition("<script>")[2].partition("</script>")[0]
    assert script.count("\n") < 200


def test_a_page_is_recognized(path, tmp_path):
    assert viewer.is_page(path)
    other = tmp_path / "other.html"
    other.write_text("<!DOCTYPE html><title>my own</title>")
    assert not viewer.is_page(other)
    assert not viewer.is_page(tmp_path / "nowhere.html")
    assert not viewer.is_page(tmp_path)
