"""The F-score of edges, on edges drawn by hand."""

import numpy as np
import pytest

from gatys_norm.experiments.measures import edges


def line(column, shape=(40, 60), width=0.0):
    """Edge strength of a vertical line, 1 at its column and falling on both sides."""
    distance = np.abs(np.arange(shape[1]) - column)
    return np.tile(np.exp(-np.square(distance / (width or 1.5))), (shape[0], 1))


def pixels(*positions, shape=(20, 20)):
    grid = np.zeros(shape, bool)
    grid[tuple(np.transpose(positions))] = True
    return grid


def test_the_same_edges_score_one():
    assert edges.coherence(line(20), line(20)) == 1


def test_edges_within_the_tolerance_are_the_same_and_those_beyond_are_not():
    assert edges.coherence(line(22), line(20), tolerance=2) == 1
    assert edges.coherence(line(23), line(20), tolerance=2) == 0


def test_the_tolerance_grows_with_the_picture():
    small, large = (40, 60), (400, 600)  # 0.0075 diagonals are under 1 pixel, and 5.4
    assert edges.coherence(line(21, small), line(20, small)) == 1
    assert edges.coherence(line(22, small), line(20, small)) == 0
    assert edges.coherence(line(205, large), line(200, large)) == 1


def test_faint_edges_count_at_the_best_threshold():
    assert edges.coherence(0.35 * line(20), line(20)) == 1
    assert edges.coherence(0.05 * line(20), line(20)) == 0


def test_more_edges_cost_precision():
    """Two lines of which one is expected: P is ½, R is 1."""
    both = np.maximum(line(15), line(45))
    assert edges.coherence(both, line(15)) == pytest.approx(2 * 0.5 / 1.5)


def test_without_edges_in_the_reference_it_is_undefined():
    assert edges.coherence(line(20), 0.4 * line(20)) is None


@pytest.mark.parametrize(
    ("found", "expected", "score"),
    [
        ([(5, 5)], [(5, 5)], 1.0),
        ([(5, 5)], [(5, 7)], 1.0),
        ([(5, 5)], [(7, 7)], 0.0),  # at a distance of √8
        ([(5, 4), (5, 6)], [(5, 5)], 2 / 3),  # one of the two stays without a partner
        ([(5, 4), (5, 6)], [(5, 5), (5, 8)], 1.0),  # only if 4 meets 5 and 6 meets 8
        ([(5, 5)], [(5, 5), (15, 15)], 2 / 3),
    ],
)
def test_edges_are_matched_one_to_one(found, expected, score):
    assert edges.f_score(pixels(*found), pixels(*expected), 2.0) == pytest.approx(score)


def test_no_edges_score_zero_and_none_expected_is_undefined():
    nothing = np.zeros((20, 20), bool)
    assert edges.f_score(nothing, pixels((5, 5)), 2.0) == 0
    assert edges.f_score(pixels((5, 5)), nothing, 2.0) is None


@pytest.mark.parametrize("angle", [0, 30, 45, 60, 90, 135])
def test_a_wide_edge_is_thinned_to_a_line_in_every_direction(angle):
    rows, columns = np.indices((61, 61)) - 30
    across = columns * np.cos(np.radians(angle)) + rows * np.sin(np.radians(angle))
    thin = edges.thinned(np.exp(-np.square(across / 4))) & (np.abs(across) < 8)
    inside = np.hypot(rows, columns) < 25
    assert np.abs(across[thin & inside]).max() <= 1
    assert (thin & inside).sum() == pytest.approx(50, abs=25)


def test_a_flat_strength_has_no_edges():
    assert not edges.thinned(np.full((20, 30), 0.7)).any()
