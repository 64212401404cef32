"""Style vectors: what a network that predicts styles says of a picture (Ghiasi et al., 2017).

It was trained to steer another network than VGG-19, and no loss of this program uses it.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import onnxruntime

from gatys_norm.experiments.measures import packages
from gatys_norm.images.sizes import resize

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

SIDE = 256  # pixels, of the picture that the network takes
WARNINGS_OFF = 3


def style_vector(picture: np.ndarray) -> np.ndarray:
    """Return the style vector of a picture.

    Args:
      picture: H × W × 3, RGB, 0–255. The square in its middle counts, resized to 256 × 256.

    Returns:
      100 numbers.

    Raises:
      MeasuresError: see `packages.locate`.
    """
    height, width = picture.shape[:2]
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    square = resize(picture[top : top + side, left : left + side], SIDE, SIDE)
    session = _session()
    name = session.get_inputs()[0].name
    return session.run(None, {name: square[np.newaxis].astype(np.float32) / 255})[0].ravel()


def distances(pictures: Sequence[np.ndarray]) -> list[list[float]]:
    """Return the matrix of Euclidean distances between the style vectors of pictures."""
    vectors = np.stack([style_vector(picture) for picture in pictures])
    matrix = np.zeros((len(vectors), len(vectors)))
    for i, j in itertools.combinations(range(len(vectors)), 2):
        matrix[i, j] = matrix[j, i] = np.linalg.norm(vectors[i] - vectors[j])
    return matrix.tolist()


@functools.lru_cache(maxsize=1)
def _session() -> InferenceSession:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = WARNINGS_OFF
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    model = packages.locate(packages.STYLE_PREDICTOR).read_bytes()
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
