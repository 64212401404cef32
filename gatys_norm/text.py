"""Words and numbers as a reader sees them, the same in all of the package. No TensorFlow here."""

import math

NOTHING = "–"  # stands in a table where there is no value


def one_line(message: object) -> str:
    """Return a text, or the message of an exception, with one space for each run of white space."""
    return " ".join(str(message).split())


def duration(seconds: float) -> str:
    """Return a time in its unit: "0.4 s", "75 s", from ten minutes on "12 min", then "2.5 h"."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    if seconds < 600:
        return f"{seconds:.0f} s"
    if seconds < 7200:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"


def finite_or_none(number: float | None) -> float | None:
    """Return a number as a Python float; None for None, NaN and infinity."""
    return float(number) if number is not None and math.isfinite(number) else None


def replace_between(page: str, begin: str, end: str, content: str) -> str:
    """Return a page with `content` between two markers, instead of what was between them.

    Raises:
      ValueError: the page does not have each marker once, `begin` before `end`.
    """
    before, _, remainder = page.partition(begin)
    _, end_marker, after = remainder.partition(end)
    if page.count(begin) != 1 or page.count(end) != 1 or not end_marker:
        raise ValueError(f"has no {begin} … {end}")
    return f"{before}{begin}{content}{end}{after}"
