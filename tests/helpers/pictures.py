"""What pictures are."""

import numpy as np


def assert_is_picture(picture):
    """Assert what every picture is: float32 H × W × 3, 0–255."""
    assert picture.dtype == np.float32
    assert picture.ndim == 3
    assert picture.shape[2] == 3
    assert picture.min() >= 0
    assert picture.max() <= 255
