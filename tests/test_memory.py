"""The estimate of a transfer's memory."""

import pytest

from gatys_norm import memory


@pytest.mark.parametrize("history", [1, 10, 50])
def test_estimate_and_largest_size_agree(history):
    pixels = memory.largest_pixel_count(8 * 2**30, history)
    assert memory.estimated_bytes(pixels, history) == pytest.approx(8 * 2**30)


def test_no_pixel_fits_into_too_little():
    assert memory.largest_pixel_count(1000, 10) == 0


def test_estimate_is_what_was_measured():
    """Peaks of whole processes, in MiB: 512 and 1024 pixels long, 4:3, and 50 pairs."""
    for pixels, history, mebibytes in (
        (512 * 384, 10, 1592),
        (1024 * 768, 10, 3306),
        (1024 * 768, 50, 5335),
    ):
        assert memory.estimated_bytes(pixels, history) == pytest.approx(mebibytes * 2**20, rel=0.1)


def test_available_memory_is_plausible():
    assert 2**27 < memory.available_bytes() < 2**50
