"""How far the edges of two pictures agree: the F-score of edge detection. No TensorFlow.

The coherence of Yeh et al. (arXiv:1804.00118, 1910.09447) asks the same of a result: whether its
contours still are those of the content. There the reference is drawn by people; here it is what
the edge detector finds in the content. As in the benchmark of BSDS500 edges are thinned, matched
one to one within a few pixels, and the threshold is the best one for the picture.
"""

import math

import numpy as np
from scipy import ndimage, sparse, spatial

REFERENCE_THRESHOLD = 0.5
THRESHOLDS = np.arange(0.1, 0.95, 0.1)
TOLERANCE = 0.0075  # of the diagonal, as in the benchmark of BSDS500


def coherence(
    strength: np.ndarray, reference: np.ndarray, tolerance: float | None = None
) -> float | None:
    """Return how far the edges of a picture are those of another one, from 0 to 1.

    Args:
      strength: edge strength of the picture, H × W, from 0 to 1.
      reference: edge strength of the other picture, the same shape.
      tolerance: distance in pixels at which edges still meet; 0.0075 diagonals if None, at least 1.

    Returns:
      The F-score at the best of `THRESHOLDS`; None if the other picture has no edges.
    """
    if tolerance is None:
        tolerance = max(1.0, TOLERANCE * math.hypot(*strength.shape))
    expected = thinned(reference) & (reference >= REFERENCE_THRESHOLD)
    ridges = thinned(strength)
    scores = [
        f_score(ridges & (strength >= threshold), expected, tolerance) for threshold in THRESHOLDS
    ]
    return max((score for score in scores if score is not None), default=None)


def f_score(edges: np.ndarray, expected: np.ndarray, tolerance: float) -> float | None:
    """Return 2PR / (P + R), the harmonic mean of precision P and recall R.

    Edge pixels and expected ones are matched in pairs, as many as possible; P is the matched share
    of the edge pixels, R that of the expected ones.

    Args:
      edges: where there are edges, H × W booleans.
      expected: where there should be edges, the same shape.
      tolerance: largest distance in a pair, in pixels.

    Returns:
      From 0 to 1; 0 if there are no edges, None if none are expected.
    """
    if not expected.any():
        return None
    if not edges.any():
        return 0.0
    positions, expected_positions = map(np.argwhere, (edges, expected))
    trees = [spatial.cKDTree(points) for points in (positions, expected_positions)]
    near = trees[0].sparse_distance_matrix(trees[1], tolerance, output_type="coo_matrix")
    ones = np.ones(near.nnz, np.uint8)  # a distance of 0 would count as no pair
    pairs = sparse.csr_matrix((ones, (near.row, near.col)), shape=near.shape)
    matches = sparse.csgraph.maximum_bipartite_matching(pairs, perm_type="column")
    return float(2 * np.sum(matches >= 0) / (len(positions) + len(expected_positions)))


def thinned(strength: np.ndarray) -> np.ndarray:
    """Return where an edge strength, H × W, is largest across its edge (booleans, H × W).

    The direction across an edge is the one in which the slope of the smoothed strength changes
    most, an eigenvector of its second derivatives.
    """
    rows, columns = np.gradient(ndimage.gaussian_filter(strength, 1.0))
    rows_twice, mixed = np.gradient(rows)
    columns_twice = np.gradient(columns, axis=1)
    across = 0.5 * np.arctan2(2 * mixed, columns_twice - rows_twice)
    across += np.where(rows_twice + columns_twice > 0, 0.0, np.pi / 2)
    step = np.stack([np.sin(across), np.cos(across)])
    positions = np.indices(strength.shape)
    neighbors = [
        ndimage.map_coordinates(strength, positions + sign * step, order=1, mode="nearest")
        for sign in (1, -1)
    ]
    return (strength >= np.maximum(*neighbors)) & (strength > np.minimum(*neighbors))
