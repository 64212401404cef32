"""The course of a transfer, worked out before it begins: sizes, precisions, last iterations."""

import pytest

from gatys_norm.config import TransferConfig
from gatys_norm.runs import schedule as schedules
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
    scales = [1000.0, 4000.0]
    assert found.seconds_left(0, 5, 5.0, scales) == 5 + 10 * 4
    assert found.seconds_left(1, 4, 16.0, scales) == 6 * 4
    assert found.seconds_left(1, 10, 40.0, scales) == 0


def test_time_left_goes_by_phases(monkeypatch):
    """90 iterations in bfloat16, then 10 in float32 that take four times as long."""
    monkeypatch.setattr(schedules, "BFLOAT16_SECONDS", 0.25)
    found = course("bfloat16", size=(64,), iterations=(100,))
    assert found.seconds_left(0, 30, 30.0, [7.0]) == pytest.approx(60 + 10 * 4)
    assert found.seconds_left(0, 95, 110.0, [7.0]) == pytest.approx(5 * 4)


def test_an_evaluation_takes_longer_with_pixels_and_strips(monkeypatch):
    monkeypatch.setattr(schedules, "GROWTH", 0.5)
    assert schedules.evaluation_scale(900, 1.0) == 30
    assert schedules.evaluation_scale(900, 1.5) == 45


def seconds(planned, *scales):
    """Forecast a transfer whose first evaluation takes 2 s, with one evaluation per iteration."""
    return planned.seconds(2.0, scales) / schedules.EVALUATIONS_PER_ITERATION


def test_the_time_of_all_iterations_follows_from_one_evaluation():
    planned = course(size=(64,), iterations=(10,))
    assert seconds(planned, 1000) == pytest.approx(10 * 2)
    planned = course(size=(64, 128), iterations=(10, 20))
    assert seconds(planned, 1000, 2000) == pytest.approx(10 * 2 + 20 * 4)
    assert seconds(planned, 1500, 3000) == pytest.approx(10 * 2 + 20 * 4)


def test_phases_in_cheaper_networks_and_numbers_take_their_share(monkeypatch):
    monkeypatch.setattr(schedules, "LOW_RANK_SECONDS", 0.5)
    monkeypatch.setattr(schedules, "BFLOAT16_SECONDS", 0.25)
    in_bfloat16 = course("bfloat16", size=(64,), iterations=(100,))  # 90, then 10 in float32
    assert seconds(in_bfloat16, 7) == pytest.approx(90 * 2 + 10 * 8)
    rank = course(continuation="rank", size=(512,), iterations=(400,))  # 150 cheap ones at first
    assert seconds(rank, 7) == pytest.approx(150 * 2 + 250 * 4)
    both = course("bfloat16", continuation="rank", size=(512,), iterations=(400,))
    assert seconds(both, 7) == pytest.approx(150 * 2 + 210 * 4 + 40 * 16)


def low_rank(*lasts, own=True):
    """Return phases in the low-rank network: one with its own targets, the others corrected."""
    kinds = [not own] + [True] * (len(lasts) - 1)
    return tuple(
        Phase("float32", last, "low_rank", corrects)
        for last, corrects in zip(lasts, kinds, strict=True)
    )


def test_continuation_begins_in_the_low_rank_network_and_ends_in_the_whole_one():
    planned = course(continuation="rank", size=(512,), iterations=(400,))
    wanted = low_rank(60, 75, 90, 105, 120, 135, 150)
    assert planned.phases == ((*wanted, Phase("float32", 400)),)


def test_continuation_in_bfloat16_ends_in_float32():
    planned = course("bfloat16", continuation="rank", size=(512,), iterations=(400,))
    *first, middle, last = planned.phases[0]
    assert {phase.precision for phase in first} == {"bfloat16"}
    assert (middle, last) == (Phase("bfloat16", 360), Phase("float32", 400))


def test_later_sizes_begin_with_corrected_targets():
    planned = course(continuation="rank", size=(256, 512), iterations=(200, 200))
    corrected = low_rank(15, 30, 45, 60, 75, 90, own=False)
    assert planned.phases[1] == (*corrected, Phase("float32", 200))
    assert planned.phases[0][0] == Phase("float32", 48, "low_rank")


@pytest.mark.parametrize("iterations", [*range(1, 12), 100, 249, 251, 1000])
def test_phases_of_continuation_end_one_after_another(iterations):
    for precision in ("float32", "bfloat16"):
        planned = course(precision, continuation="rank", size=(512,), iterations=(iterations,))
        (phases,) = planned.phases
        lasts = [phase.last_iteration for phase in phases]
        assert lasts == sorted(lasts)
        assert lasts[-1] == planned.iterations(0) == iterations
        assert (phases[-1].network, phases[-1].precision) == ("whole", "float32")
        low = [phase.last_iteration for phase in phases if phase.network == "low_rank"]
        assert max(low, default=0) <= 0.6 * iterations
        assert len(set(low)) == len(low)


def test_small_sizes_do_without_continuation():
    plain, planned = (
        course(continuation=kind, size=(128, 191), iterations=(9,)) for kind in ("none", "rank")
    )
    assert planned == plain


def test_the_weight_of_a_strength_is_corrected_once_at_the_last_size():
    planned = course(strength=0.5, size=(128, 256), iterations=(300, 600))
    corrected = Phase("float32", 600, corrects_strength=True)
    assert planned.phases == ((Phase("float32", 300),), (Phase("float32", 150), corrected))
    (phases,) = course("bfloat16", strength=0.5, size=(256,), iterations=(600,)).phases
    assert phases[1:] == (
        Phase("bfloat16", 540, corrects_strength=True),
        Phase("float32", 600),
    )


def test_it_is_corrected_where_the_low_rank_network_ends():
    (phases,) = course(strength=0.5, continuation="rank", size=(512,), iterations=(400,)).phases
    assert phases[-1] == Phase("float32", 400, corrects_strength=True)
    assert phases[-2].last_iteration == 150
    assert phases[-2].network == "low_rank"


@pytest.mark.parametrize(("iterations", "count"), [(199, 1), (200, 2)])
def test_it_is_corrected_if_enough_iterations_follow(iterations, count):
    (phases,) = course(strength=0.5, size=(512,), iterations=(iterations,)).phases
    assert len(phases) == count
