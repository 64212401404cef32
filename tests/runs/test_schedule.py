"""The course of a transfer, worked out before it begins: sizes, precisions, last iterations."""

import pytest

from gatys_norm.config import TransferConfig
from gatys_norm.runs.schedule import Phase, schedule


def course(precision="float32", **changes):
    return schedule(TransferConfig(**changes).resolved(), precision)


def test_in_float32_every_size_is_one_phase():
    found = course(size=(64, 128, 256), iterations=(10, 20, 30))
    assert found.sizes == (64, 128, 256)
    assert found.phases == tuple((Phase("float32", count),) for count in (10, 20, 30))
    assert found.last_stage == 2


@pytest.mark.parametrize(
    ("iterations", "coarse"), [(1, 0), (2, 1), (9, 8), (10, 9), (11, 9), (600, 540)]
)
def test_in_bfloat16_the_last_tenth_of_the_last_size_is_float32(iterations, coarse):
    found = course("bfloat16", size=(64, 128), iterations=(7, iterations))
    assert found.phases == (
        (Phase("bfloat16", 7),),
        (Phase("bfloat16", coarse), Phase("float32", iterations)),
    )


def test_iterations_of_a_size_and_of_those_to_come():
    found = course("bfloat16", size=(64, 128, 256), iterations=(10, 20, 30))
    assert [found.iterations(stage) for stage in range(3)] == [10, 20, 30]
    assert [found.iterations_from(stage) for stage in range(3)] == [60, 50, 30]


def test_time_left_goes_by_pixels():
    """Half of the first size, at a second per iteration; the second has four times the pixels."""
    found = course(size=(64, 128), iterations=(10, 10))
    pixel_counts = {64: 1000, 128: 4000}
    assert found.seconds_left(0, 5, 5.0, pixel_counts) == 5 + 10 * 4
    assert found.seconds_left(1, 4, 16.0, pixel_counts) == 6 * 4
    assert found.seconds_left(1, 10, 40.0, pixel_counts) == 0
