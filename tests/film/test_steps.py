"""The order in which the frames of a shot are computed."""

import pytest

pytest.importorskip("cv2")

from gatys_norm.film import steps
from gatys_norm.film.plan import Shot

SHOT = Shot(5, 3, {})
FORWARD, BACK = [5, 6, 7], [7, 6, 5]


def rows(*passes, first=SHOT.first):
    """Return rows of which each frame was last computed in such a pass."""
    return {first + index: {"pass": number} for index, number in enumerate(passes)}


def test_passes_run_forward_and_back():
    order = [steps.at(SHOT, index) for index in range(steps.count(SHOT, 3))]
    assert [step.frame for step in order] == FORWARD + BACK + FORWARD
    assert [step.pass_number for step in order] == [1] * 3 + [2] * 3 + [3] * 3
    assert [step.position for step in order] == [0, 1, 2] * 3


def test_neighbors_are_those_before_in_the_same_pass():
    neighbors = [steps.at(SHOT, index).neighbors((1, 2)) for index in range(6)]
    assert neighbors == [{}, {1: 5}, {1: 6, 2: 5}, {}, {1: 7}, {1: 6, 2: 7}]


@pytest.mark.parametrize("passes", [1, 2, 3])
@pytest.mark.parametrize("distance", [1, 2, 5])
def test_results_that_are_needed_are_those_of_the_neighbors_of_the_next_step(passes, distance):
    for done in range(1, steps.count(SHOT, passes)):
        needed = steps.results_needed(SHOT, done, distance)
        following = steps.at(SHOT, done).neighbors(range(1, distance + 1))
        assert needed >= set(following.values())
        assert steps.at(SHOT, done - 1).frame in needed
        assert len(needed) <= distance
    assert steps.results_needed(SHOT, 0, distance) == set()


def test_steps_that_are_done_are_counted_from_the_rows_of_the_shot():
    others = rows(2, 2, first=0) | rows(9, first=8)
    assert steps.done(SHOT, {}) == steps.done(SHOT, others) == 0
    for done in range(1, steps.count(SHOT, 3) + 1):
        passes = [sum(steps.at(SHOT, k).frame == number for k in range(done)) for number in FORWARD]
        of_shot = rows(*[number for number in passes if number])
        assert steps.done(SHOT, of_shot | others) == done
        steps.check(SHOT, of_shot | others, 3)


@pytest.mark.parametrize(
    ("passes", "reason"),
    [
        ((2,), "another order"),
        ((2, 1, 1), "another order"),
        ((1, 2, 1), "another order"),
        ((1, 1, 3), "another order"),
        ((2, 2, 3), "another order"),
        ((1, 3, 3), "another order"),
        ((4, 4, 4), "more passes"),
        ((4, 3, 3), "more passes"),
    ],
)
def test_forged_passes_are_refused(passes, reason):
    with pytest.raises(ValueError, match=reason):
        steps.check(SHOT, rows(*passes), 3)


def test_frames_in_the_middle_of_the_first_pass_are_refused():
    with pytest.raises(ValueError, match="another order"):
        steps.check(SHOT, rows(1, first=6), 3)


def test_a_forged_shot_of_any_length_costs_no_time():
    endless = Shot(0, 10**15, {})
    steps.check(endless, rows(1, 1, first=0), 3)
    with pytest.raises(ValueError, match="another order"):
        steps.check(endless, rows(2, 3, first=0), 3)
