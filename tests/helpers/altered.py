"""Pictures made from others, for measures whose answer is then known."""

import numpy as np
from scipy import ndimage


def blurred(picture, sigma):
    """Return a picture blurred by a Gaussian of `sigma` pixels."""
    return ndimage.gaussian_filter(picture, (sigma, sigma, 0))


def shuffled(picture, side):
    """Return a picture whose square patches, `side` pixels wide, have changed places."""
    rows, columns = (length // side for length in picture.shape[:2])
    inside = picture[: rows * side, : columns * side]
    patches = inside.reshape(rows, side, columns, side, 3).swapaxes(1, 2).reshape(-1, side, side, 3)
    patches = np.random.default_rng(0).permutation(patches)
    whole = patches.reshape(rows, columns, side, side, 3).swapaxes(1, 2)
    return whole.reshape(inside.shape)
