"""Words and numbers as a reader sees them."""

import math

import numpy as np
import pytest

from gatys_norm import text

BEGIN, END = "<!-- a -->", "<!-- end of a -->"


@pytest.mark.parametrize(
    ("message", "line"),
    [
        (ValueError("two\n  lines"), "two lines"),
        ("\t one\u00a0\r\n", "one"),
        (ValueError(), ""),
        (OSError(28, "No space left"), "[Errno 28] No space left"),
    ],
)
def test_a_message_becomes_one_line(message, line):
    assert text.one_line(message) == line


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0, "0.0 s"),
        (0.44, "0.4 s"),
        (10, "10 s"),
        (599.4, "599 s"),
        (600, "10 min"),
        (3600, "60 min"),
        (7200, "2.0 h"),
        (9000, "2.5 h"),
    ],
)
def test_a_time_is_in_its_unit(seconds, words):
    assert text.duration(seconds) == words


@pytest.mark.parametrize("number", [None, math.nan, math.inf, -math.inf, np.float32("nan")])
def test_what_is_not_finite_is_none(number):
    assert text.finite_or_none(number) is None


@pytest.mark.parametrize("number", [0, -1.5, np.float32(0.5), np.int64(3)])
def test_a_finite_number_is_a_float_of_python(number):
    assert text.finite_or_none(number) == number
    assert type(text.finite_or_none(number)) is float


@pytest.mark.parametrize("content", ["", "new", f"{BEGIN[:3]}\nnew\n", "\\1 \\g<0>"])
def test_only_what_lies_between_the_markers_is_replaced(content):
    page = f"before {BEGIN}old{END} after"
    assert text.replace_between(page, BEGIN, END, content) == (
        f"before {BEGIN}{content}{END} after"
    )


@pytest.mark.parametrize(
    "page", ["", BEGIN, END, f"{END}{BEGIN}", f"{BEGIN}{END}{END}", f"{BEGIN}{BEGIN}{END}"]
)
def test_a_page_without_one_pair_of_markers_is_refused(page):
    with pytest.raises(ValueError, match=f"^has no {BEGIN} … {END}$"):
        text.replace_between(page, BEGIN, END, "new")
