"""`data/draw/solids.py` and `rays.py`: distances from solids, and what rays meet."""

import math

import numpy as np
import pytest
import rays
import solids

HERE = np.zeros(3)
RAYS = np.array([[0.0, 0.0, -1.0], [0.0, 1.0, 0.0]])


def at(distance, *point):
    return float(distance(np.array([point], float))[0])


@pytest.mark.parametrize(
    ("point", "expected"),
    [
        ((3, 1, 0), 2.0),
        ((0, 1, 3), 2.0),
        ((0, 3, 0), 1.0),
        ((4, 6, 0), 5.0),  # from the rim
        ((0.6, 1, 0), -0.4),
    ],
)
def test_a_turned_outline_is_a_cylinder(point, expected):
    cylinder = solids.turned([(0, 0), (1, 0), (1, 2), (0, 2)], HERE, thickness=0.0)
    assert at(cylinder, *point) == pytest.approx(expected)


def test_a_ball_and_a_box():
    assert at(solids.ball(HERE, 2.0), 0, 5, 0) == pytest.approx(3)
    assert at(solids.ball(HERE, 1.0, (2, 1, 1)), 2, 0, 0) == pytest.approx(0)
    turned = solids.box(HERE, (1, 1, 2), math.pi / 2, rounding=0.0)
    assert at(turned, 5, 0, 0) == pytest.approx(3)
    assert at(turned, 0, 0, 5) == pytest.approx(4)
    assert at(turned, 0, 0.5, 0) == pytest.approx(-0.5)


def test_a_solid_far_away_is_never_nearer_than_told():
    ball = solids.Thing(solids.ball(HERE, 1.0), None, HERE, 1.3)
    points = np.array([[0, 0, 9.0], [0, 0, 1.5], [0, 1.02, 0]])
    near = ball.distance_near(points)
    assert np.all(near <= ball.distance(points) + 1e-12)
    assert near[1:] == pytest.approx([0.5, 0.02])


def test_a_ray_meets_the_nearest_solid():
    things = [
        solids.Thing(solids.ball(np.array([0, 0, z]), 1.0), None, np.array([0, 0, z]), 1.0)
        for z in (-9.0, -4.0)
    ]
    reach, number = rays.follow(things, np.zeros((2, 3)), RAYS)
    assert reach[0] == pytest.approx(3, abs=0.01)
    assert number[0] == 1
    assert reach[1] >= rays.FAR  # met nothing
