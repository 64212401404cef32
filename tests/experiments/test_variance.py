"""The analysis of variance, on tables whose shares are known."""

import numpy as np
import pytest

from gatys_norm.config import LOSSES, PAPER_LOSSES
from gatys_norm.experiments import variance
from gatys_norm.experiments.pairing import Measured
from gatys_norm.experiments.resampling import Drawn

LAMBDAS = (1.0, 0.1)
ROWS = {
    f"{style} on {content}": (style, content) for content in ("sea", "town") for style in "abcdef"
}


def table(values):
    """Rows of styles × contents of single values."""
    return [
        Drawn(style, content, (float(value),))
        for style, of_style in enumerate(values)
        for content, value in enumerate(of_style)
    ]


@pytest.mark.parametrize(
    ("values", "share"),
    [
        ([[1, 1], [2, 2], [3, 3]], 1.0),
        ([[1, 3], [1, 3], [1, 3]], 0.0),
        ([[1, 2], [2, 3]], 0.5),  # squares 2 · 2 · ¼ = 1 between styles, as many between contents
        ([[0, 2], [4, 6]], 0.8),  # 4 · 4 = 16 and 4 · 1 = 4
    ],
)
def test_share_of_the_style(values, share):
    assert variance.style_share(table(values)) == pytest.approx(share)


def test_shares_at_several_lambdas_are_averaged_not_their_squares():
    drawn = [
        Drawn(style, content, (float(style), 1000.0 * content))
        for style in range(3)
        for content in range(2)
    ]
    assert variance.style_share(drawn) == pytest.approx((1 + 0) / 2)


@pytest.mark.parametrize("values", [[[1], [2], [3]], [[1, 2]], [[5, 5], [5, 5]]], ids=str)
def test_share_is_undefined_without_contents_or_styles_or_variance(values):
    assert variance.style_share(table(values)) is None


def test_deviation_is_that_of_the_styles_means():
    assert variance.style_deviation(table([[0, 2], [4, 6]])) == pytest.approx(
        np.std([1, 5], ddof=1)
    )
    assert variance.style_deviation(table([[0, 2]])) is None


def sweeps(value, losses=PAPER_LOSSES):
    return [
        Measured(loss, name, at, value(loss, name, at))
        for loss in losses
        for name in ROWS
        for at in LAMBDAS
    ]


def distance_of(loss, name, at):
    """With the original loss the style alone counts, with the normalized one the content."""
    style, content = ROWS[name]
    value = "abcdef".index(style) if loss == "original" else float(content == "sea")
    return {"content_distance": {"conv4_2": value + at}}


def test_findings_of_both_losses():
    share, deviation = variance.style_effect(sweeps(distance_of), ROWS, ["content_distance"])
    assert (share.name, deviation.name) == (
        "style_share_content_distance",
        "style_deviation_content_distance",
    )
    assert (share.original, share.normalized) == pytest.approx((1, 0))
    spread = np.std(range(6), ddof=1)
    assert (deviation.original, deviation.normalized) == pytest.approx((spread, 0))
    assert share.holds
    assert share.note == ""
    assert share.details["by_row"]["original"]["c on sea"] == [3, 2.1]
    assert share.with_intervals(ROWS).intervals["original"] == pytest.approx([1, 1])


def test_a_third_loss_has_a_number_of_its_own():
    share, deviation = variance.style_effect(
        sweeps(distance_of, LOSSES), ROWS, ["content_distance"]
    )
    assert (share.original, share.normalized, share.style_aware) == pytest.approx((1, 0, 0))
    assert deviation.as_dict()["style_aware"] == pytest.approx(0)
    assert set(share.with_intervals(ROWS).intervals) == {
        *LOSSES,
        "difference",
        "style_aware − normalized",
    }
    two, _ = variance.style_effect(sweeps(distance_of), ROWS, ["content_distance"])
    assert "style_aware" not in two.as_dict()


def test_a_row_that_failed_once_is_left_out_of_both():
    def value(loss, name, at):
        failed = (loss, name, at) == ("normalized", "a on sea", 0.1)
        return None if failed else distance_of(loss, name, at)

    share, _ = variance.style_effect(sweeps(value), ROWS, ["content_distance"])
    assert "a on sea" not in share.details["by_row"]["original"]
    assert share.note == "left out, for lack of a value: a on sea (normalized)"


def test_one_content_leaves_the_share_undefined_and_says_why():
    rows = {style: (style, "town") for style in "abc"}
    runs = [
        Measured(loss, style, at, {"content_distance": {"conv4_2": float(ord(style))}})
        for loss in PAPER_LOSSES
        for style in rows
        for at in LAMBDAS
    ]
    share, deviation = variance.style_effect(runs, rows, ["content_distance"])
    assert (share.original, share.normalized) == (None, None)
    assert share.note == "undefined for lack of a second content"
    assert (deviation.original, deviation.note) == (1, "")


def test_what_was_not_run_says_so():
    for finding in variance.style_effect([], ROWS):
        assert (finding.original, finding.holds, finding.note) == (None, None, "not run")
