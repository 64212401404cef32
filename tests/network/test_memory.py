"""The estimate of a transfer's memory, and the way of computing that it leads to."""

import dataclasses
import math
import re

import pytest

from gatys_norm import sphere
from gatys_norm.config import TransferConfig
from gatys_norm.network import memory
from gatys_norm.network.memory import THRIFTIEST, WHOLE, Strips

GIB = 2**30
CONFIG = TransferConfig()
FAST = {"parametrization": "fourier", "continuation": "rank", "history": 30}
MANY_LAYERS = dataclasses.replace(CONFIG, style_layers=("conv1_1", "relu1_1", "conv1_2", "conv2_2"))
SHAPES = (1000, 1000), ()


def shapes(size):
    """Return the shapes of a content 4:3 and of a style that has as many pixels."""
    return (size * 3 // 4, size), ((size, size * 3 // 4),)


def estimate(size, strips, config=CONFIG):
    return memory.estimated_bytes(shapes(size), config, strips)


def plan(size, config, free):
    return memory.plan_size(size, config, shapes(size), free)


@pytest.mark.parametrize("history", [1, 10, 50])
def test_estimate_and_largest_size_agree(history):
    config = dataclasses.replace(CONFIG, history=history)
    scale = memory.fitting_scale(shapes(1000), config, 8 * GIB)
    assert estimate(1000 * scale, THRIFTIEST, config) == pytest.approx(8 * GIB, rel=1e-3)
    size = int(1000 * scale)
    assert plan(size - 4, config, 8 * GIB).byte_count < 8 * GIB
    with pytest.raises(memory.OutOfMemoryError) as caught:
        plan(size + 8, config, 8 * GIB)
    fitting = int(re.search(r"8\.0 are free; (\d+) would fit", str(caught.value))[1])
    assert abs(fitting - size) <= 4


def test_no_pixel_fits_into_too_little():
    assert memory.fitting_scale(SHAPES, CONFIG, 1000) == 0
    with pytest.raises(memory.OutOfMemoryError, match=r"^size: 512 needs .*; make room first$"):
        plan(512, CONFIG, 1000)


@pytest.mark.parametrize(
    ("size", "strips", "change", "gigabytes"),
    [
        (512, WHOLE, {}, 1.77),
        (512, WHOLE, FAST, 2.42),
        (1024, WHOLE, {}, 3.35),
        (1024, WHOLE, {"precision": "bfloat16"}, 3.49),
        (1024, WHOLE, {"precision": "bfloat16", "parametrization": "fourier"}, 3.62),
        (1024, WHOLE, FAST, 4.98),
        (1024, Strips(128, kept=5), {}, 2.55),
        (1024, Strips(128, kept=3), {}, 2.16),
        (1024, Strips(64), {}, 1.86),
        (1024, Strips(32), {"history": 2}, 1.68),
        (2048, Strips(128, kept=5), {"history": 2}, 5.44),
        (2048, Strips(128, kept=3), {"history": 2}, 3.77),
        (2048, Strips(64), {"history": 2}, 2.64),
        (2048, Strips(32), {"history": 2}, 2.52),
        (4096, Strips(32), {"history": 2}, 5.71),
        (8192, Strips(32), {"history": 2}, 20.2),
    ],
)
def test_estimate_is_what_was_measured(size, strips, change, gigabytes):
    """Peaks of whole processes; pictures 4:3. The fit is off by 15 % at the most."""
    config = dataclasses.replace(CONFIG, **change)
    assert estimate(size, strips, config) / 1e9 == pytest.approx(gigabytes, rel=0.15)


def test_the_fastest_way_is_taken_that_leaves_a_comfortable_share():
    chosen = []
    for strips in memory.CHOICES:
        needed = estimate(2048, strips)
        comfortable = plan(2048, CONFIG, needed / memory.COMFORTABLE_SHARE * (1 + 1e-9))
        assert comfortable.byte_count <= needed
        chosen.append(comfortable.strips)
    assert chosen == list(memory.CHOICES)
    assert plan(2048, CONFIG, math.inf) == (estimate(2048, WHOLE), WHOLE, math.inf)


def test_where_none_is_comfortable_the_one_that_needs_least_is_taken_as_long_as_it_fits():
    needed = estimate(2048, THRIFTIEST)
    assert plan(2048, CONFIG, needed) == (needed, THRIFTIEST, needed)
    with pytest.raises(memory.OutOfMemoryError):
        plan(2048, CONFIG, needed - 1)


def test_each_way_needs_less_than_the_one_before():
    for size in (512, 1100, 2048, 8192):
        needed = [estimate(size, strips) for strips in memory.CHOICES]
        assert needed == sorted(needed, reverse=True)
    assert estimate(4096, THRIFTIEST) < 0.5 * estimate(4096, WHOLE)


def test_the_ways_are_ordered_by_what_they_need():
    for first, second in zip(memory.CHOICES, memory.CHOICES[1:], strict=False):
        assert memory.thriftier(first, second) == memory.thriftier(second, first) == second


def test_the_ways_are_ordered_by_their_time_too():
    seconds = [memory.relative_seconds(strips) for strips in memory.CHOICES]
    assert seconds == sorted(seconds)
    assert seconds[0] == 1
    assert seconds[-1] < 2.1


def test_each_further_block_that_is_kept_saves_time():
    seconds = [memory.relative_seconds(Strips(32, kept)) for kept in range(memory.BLOCKS + 1)]
    assert seconds == sorted(set(seconds), reverse=True)
    assert seconds[-1] > 1


def test_very_large_pictures_are_never_computed_as_a_whole():
    assert plan(3200, CONFIG, math.inf).strips == WHOLE
    assert plan(3300, CONFIG, math.inf).strips == memory.CHOICES[1]


def test_sizes_are_planned_each_for_itself():
    config = dataclasses.replace(CONFIG, size=(256, 1024, 4096))
    by_size = {size: shapes(size) for size in config.size}
    strips = memory.CHOICES[2]
    free = estimate(4096, strips, config) / memory.COMFORTABLE_SHARE * (1 + 1e-9)
    plans = memory.plan_transfer(config, by_size, free)
    assert [size_plan.strips for size_plan in plans] == [WHOLE, WHOLE, strips]
    assert plans == tuple(plan(size, config, free) for size in config.size)
    with pytest.raises(memory.OutOfMemoryError, match=r"^size: 4096 needs about "):
        memory.plan_transfer(config, by_size, 1 * GIB)  # none of them fits


def test_strips_take_memory_by_the_width_of_the_widest_picture():
    tall, wide = ((1000, 250), ()), ((250, 1000), ())
    for strips in memory.CHOICES:
        needed = [memory.estimated_bytes(shape, CONFIG, strips) for shape in (tall, wide)]
        assert (needed[0] < needed[1]) == (strips != WHOLE)
    with_style = (250, 250), ((250, 1000),)
    assert memory.estimated_bytes(with_style, CONFIG, THRIFTIEST) == memory.estimated_bytes(
        wide, CONFIG, THRIFTIEST
    )


def test_more_style_layers_need_more_unless_their_blocks_are_computed_once_more():
    for strips in memory.CHOICES:
        more = estimate(1024, strips, MANY_LAYERS) > estimate(1024, strips)
        assert more == (strips == WHOLE or strips.kept == memory.BLOCKS)


def test_targets_of_content_layers_are_held_as_a_whole_in_every_way():
    """conv1_1 and conv1_2 have 64 channels in every pixel."""
    config = dataclasses.replace(CONFIG, content_layers=("conv1_1", "conv1_2", "conv4_2"))
    for strips in memory.CHOICES:
        more = memory.estimated_bytes(SHAPES, config, strips) - memory.estimated_bytes(
            SHAPES, CONFIG, strips
        )
        # Where block 1 is kept, all of conv1_1 is kept instead of the signs.
        kept = memory.CPU.traces * (1 - 1 / 4) * (strips.kept == memory.BLOCKS)
        assert more == pytest.approx((2 + kept) * 4 * 64 * 10**6)


def test_padded_maps_count_where_the_network_is_held():
    """All of them as a whole, and those of one strip; of the network's zeros there are none."""
    padded = memory.CPU.padded
    for border in ("replicate", "wrap_x"):
        config = dataclasses.replace(CONFIG, border=border)
        more = estimate(1024, WHOLE, config) - estimate(1024, WHOLE)
        assert more == pytest.approx(1024 * 768 * padded)
        more = estimate(1024, Strips(64), config) - estimate(1024, Strips(64))
        assert more == pytest.approx(1024 * (64 + memory.HALO) * padded)


def test_a_panorama_needs_what_its_atlas_does_and_the_matrix_that_makes_it():
    panorama = dataclasses.replace(CONFIG, projection="equirectangular")
    wrapped = dataclasses.replace(CONFIG, border="wrap_x")
    shape = sphere.atlas_shape(1024)
    plan = memory.plan_size(1024, panorama, ((512, 1024), ((500, 500),)), free=1e12)
    flat = memory.plan_size(1024, wrapped, (shape, ((500, 500),)), free=1e12)
    assert plan.strips == flat.strips
    more = plan.byte_count - flat.byte_count
    assert more == pytest.approx(math.prod(shape) * memory.BYTES_OF_ATLAS)


def test_adam_needs_what_one_correction_pair_does_whatever_the_history():
    one_pair = dataclasses.replace(CONFIG, history=1)
    for history in (1, 50):
        config = dataclasses.replace(CONFIG, history=history, optimizer="adam")
        for strips in memory.CHOICES:
            assert estimate(1024, strips, config) == estimate(1024, strips, one_pair)


def test_each_region_needs_its_styles_features_once_more_but_not_those_in_strips():
    """conv1_2 and conv2_2 have 64 and 128 / 4 channels a pixel, the others (16 + 8 + 2) · 4."""
    plain = dataclasses.replace(CONFIG, style=("a", "b"))
    masked = dataclasses.replace(plain, content_masks=("m", "n"))
    for strips in memory.CHOICES:
        count = (64 + 32 + 16 + 8 + 2) * (strips == WHOLE)
        needed, more = (
            memory.estimated_bytes(SHAPES, config, strips) for config in (plain, masked)
        )
        assert more - needed == pytest.approx(2 * 4 * count * 10**6)
        assert needed == memory.estimated_bytes(SHAPES, CONFIG, strips)


def test_blocks_that_are_kept_need_their_features_or_the_signs_of_them():
    def more(kept, **changes):
        config = dataclasses.replace(CONFIG, **changes)
        needed = [memory.estimated_bytes(SHAPES, config, Strips(64, count)) for count in (0, kept)]
        return (needed[1] - needed[0]) / 1e6 / 4 / memory.CPU.traces

    # The last of a block is pooled or compared; of three others in block 5 signs are enough.
    assert more(1) == pytest.approx(2 * (1 + 3 / 4))
    assert more(1, style_layers=("conv5_2", "relu5_2")) == pytest.approx(2 * (2 + 2 / 4))
    assert more(1, content_layers=("conv5_1", "relu5_3")) == pytest.approx(2 * (3 + 1 / 4))
    # conv4_2 is compared too.
    assert more(2) - more(1) == pytest.approx(8 * (2 + 2 / 4))
    assert more(5) - more(4) == pytest.approx(64 * (1 + 1 / 4))


def test_the_costs_of_another_device_count():
    costs = memory.CPU._replace(at_rest=memory.CPU.at_rest + GIB)
    needed = [
        memory.plan_size(512, CONFIG, shapes(512), math.inf, costs=of).byte_count
        for of in (memory.CPU, costs)
    ]
    assert needed[1] - needed[0] == GIB


# --- a limit ------------------------------------------------------------------------------------


def limited(limit):
    return dataclasses.replace(CONFIG, memory_limit=limit)


def test_a_limit_counts_like_memory_that_is_not_there():
    for limit, free in (("5GiB", 20 * GIB), ("20GiB", 5 * GIB)):
        assert plan(2048, limited(limit), free) == plan(2048, CONFIG, 5 * GIB)
    assert plan(2048, CONFIG, 5 * GIB).strips != WHOLE


def test_a_limit_that_is_too_low_is_refused_with_what_is_needed():
    needed = f"{estimate(2048, THRIFTIEST) / GIB:.1f}"
    with pytest.raises(memory.OutOfMemoryError) as caught:
        plan(2048, limited("2GiB"), math.inf)
    line = f"memory_limit: 2GiB is too little, size 2048 needs about {needed} GiB; size "
    assert str(caught.value).startswith(line)
    with pytest.raises(memory.OutOfMemoryError, match=r"about .* GiB; set a higher limit$"):
        plan(2048, limited("800 MB"), math.inf)


def test_a_limit_above_what_is_free_is_not_blamed():
    with pytest.raises(memory.OutOfMemoryError, match=r"^size: 2048 needs"):
        plan(2048, limited("3GiB"), 2 * GIB)
