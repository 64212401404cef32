"""The estimate of a transfer's memory, and the way of computing that it leads to."""

import dataclasses
import math

import pytest

from gatys_norm.config import TransferConfig
from gatys_norm.network import memory

CONFIG = TransferConfig()
FAST = {"parametrization": "fourier", "continuation": "rank", "history": 30}
MANY_LAYERS = dataclasses.replace(CONFIG, style_layers=("conv1_1", "relu1_1", "conv1_2", "conv2_2"))


@pytest.mark.parametrize("history", [1, 10, 50])
def test_estimate_and_largest_size_agree(history):
    config = dataclasses.replace(CONFIG, history=history)
    pixels = memory.largest_pixel_count(8 * 2**30, config)
    assert memory.estimated_bytes(pixels, config, in_strips=True) == pytest.approx(8 * 2**30)
    assert memory.plan(pixels * 0.99, config, 8 * 2**30).byte_count < 8 * 2**30
    assert memory.plan(pixels * 1.01, config, 8 * 2**30).byte_count > 8 * 2**30


def test_no_pixel_fits_into_too_little():
    assert memory.largest_pixel_count(1000, CONFIG) == 0


@pytest.mark.parametrize(
    ("size", "in_strips", "change", "gigabytes"),
    [
        (512, False, {}, 1.77),
        (512, False, FAST, 2.42),
        (1024, False, {}, 3.35),
        (1024, False, {"precision": "bfloat16"}, 3.49),
        (1024, False, {"precision": "bfloat16", "parametrization": "fourier"}, 3.62),
        (1024, False, FAST, 4.98),
        (1024, True, {}, 2.53),
        (1024, True, {"history": 40}, 3.84),
        (1024, True, {"precision": "bfloat16"}, 2.63),
        (1024, True, {"parametrization": "fourier"}, 2.65),
        (1024, True, FAST, 4.50),
        (1024, True, {"precision": "bfloat16", "parametrization": "fourier"}, 2.86),
        (1024, True, {"style": ("a", "b")}, 2.64),
        (1024, True, {"style": ("a", "b"), "content_masks": ("m", "n")}, 2.71),
    ],
)
def test_estimate_is_what_was_measured(size, in_strips, change, gigabytes):
    """Peaks of whole processes; pictures 4:3. The fit lies above, by a fifth at the most."""
    config = dataclasses.replace(CONFIG, **change)
    estimate = memory.estimated_bytes(size * size * 3 // 4, config, in_strips)
    assert estimate / 1e9 == pytest.approx(gigabytes, rel=0.2)


def test_strips_are_taken_where_memory_is_short_and_only_there():
    plain = memory.plan(10**6, CONFIG, math.inf)
    assert plain == (memory.estimated_bytes(10**6, CONFIG, in_strips=False), False)
    short = memory.plan(10**6, CONFIG, plain.byte_count * 1.1)
    assert short == (memory.estimated_bytes(10**6, CONFIG, in_strips=True), True)
    assert short.byte_count < 0.75 * plain.byte_count
    assert memory.plan(10**6, CONFIG, plain.byte_count * 2) == plain


def test_more_layers_need_more_but_not_in_the_blocks_in_strips():
    for in_strips in (False, True):
        few = memory.estimated_bytes(10**6, CONFIG, in_strips)
        many = memory.estimated_bytes(10**6, MANY_LAYERS, in_strips)
        assert (many > few) == (not in_strips)


def test_adam_needs_what_one_correction_pair_does_whatever_the_history():
    for history in (1, 50):
        config = dataclasses.replace(CONFIG, history=history, optimizer="adam")
        one_pair = dataclasses.replace(CONFIG, history=1)
        for in_strips in (False, True):
            assert memory.estimated_bytes(10**6, config, in_strips) == memory.estimated_bytes(
                10**6, one_pair, in_strips
            )


def test_each_region_needs_its_styles_features_once_more_but_not_those_in_strips():
    """conv1_2 and conv2_2 have 64 and 128 / 4 channels a pixel, the others (16 + 8 + 2) · 4."""
    plain = dataclasses.replace(CONFIG, style=("a", "b"))
    masked = dataclasses.replace(plain, content_masks=("m", "n"))
    for in_strips, channels in ((False, 64 + 32 + 16 + 8 + 2), (True, 16 + 8 + 2)):
        more = memory.estimated_bytes(10**6, masked, in_strips) - memory.estimated_bytes(
            10**6, plain, in_strips
        )
        assert more == pytest.approx(2 * 4 * channels * 10**6)
    assert memory.estimated_bytes(10**6, plain, False) == memory.estimated_bytes(
        10**6, CONFIG, False
    )
