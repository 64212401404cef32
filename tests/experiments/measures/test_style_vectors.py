"""Style vectors: alike for the same style, unlike for another."""

import numpy as np
import pytest
from helpers.programs import ROOT

from gatys_norm.experiments.measures import style_vectors
from gatys_norm.images import io as picture_io

STYLES = ("flowing_strokes", "angular_planes", "soft_washes")


@pytest.fixture(scope="module")
def pictures():
    return [picture_io.load_picture(ROOT / "data" / f"{name}.jpg") for name in STYLES]


def test_parts_of_a_style_are_nearer_than_other_styles(pictures):
    """The left and the right square of each picture."""
    parts = [
        part
        for picture in pictures
        for side in [min(picture.shape[0], picture.shape[1] // 2)]
        for part in (picture[:side, :side], picture[:side, -side:])
    ]
    matrix = np.array(style_vectors.distances(parts))
    assert np.array_equal(matrix, matrix.T)
    for index in range(len(parts)):
        others = np.delete(matrix[index], index)
        twin = matrix[index, index ^ 1]
        assert 0 < twin == others.min()


def test_only_the_square_in_the_middle_counts(pictures):
    picture = pictures[0]
    height, width = picture.shape[:2]
    left = (width - height) // 2
    changed = np.zeros_like(picture)
    changed[:, left : left + height] = picture[:, left : left + height]
    vector = style_vectors.style_vector(changed)
    assert vector.shape == (100,)
    np.testing.assert_array_equal(vector, style_vectors.style_vector(picture))
