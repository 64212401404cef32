"""How far the structure of a picture is that of another one, by its luminance alone."""

import numpy as np
import tensorflow as tf

from gatys_norm.images import color as colors
from gatys_norm.text import finite_or_none


def structural_similarity(picture: np.ndarray, reference: np.ndarray) -> float:
    """Return the SSIM of the luminance (Wang et al. 2004, window of 11 × 11, σ = 1.5).

    Args:
      picture: H × W × 3, RGB, 0–255; both sides at least 11.
      reference: the same shape.

    Returns:
      From −1 to 1, which is the same picture.
    """
    images = [
        tf.constant(colors.luminance(image)[..., np.newaxis], tf.float32)
        for image in (picture, reference)
    ]
    return float(tf.image.ssim(*images, max_val=255.0))


def gradient_correlation(picture: np.ndarray, reference: np.ndarray) -> float | None:
    """Return the correlation of the gradients of the luminance.

    Args:
      picture: H × W × 3, RGB, 0–255.
      reference: the same shape.

    Returns:
      The mean of the correlations of the vertical and of the horizontal differences, from −1 to 1;
      None if a picture does not vary in one of these directions.
    """
    gradients = [
        np.gradient(colors.luminance(image.astype(np.float64))) for image in (picture, reference)
    ]
    with np.errstate(invalid="ignore", divide="ignore"):
        correlations = [
            np.corrcoef(values.ravel(), others.ravel())[0, 1]
            for values, others in zip(*gradients, strict=True)
        ]
    return finite_or_none(float(np.mean(correlations)))
