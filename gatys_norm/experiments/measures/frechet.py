"""The Fréchet distance between the features of two pictures, wherever they lie. No TensorFlow."""

import math
from typing import NamedTuple

import numpy as np

ROUNDING = 1e-10  # of the variance: a squared distance below is one of rounding


class Gaussian(NamedTuple):
    """The Gaussian fitted to features.

    Attributes:
      mean: μ, C.
      root: some Φ with ΦᵀΦ = Σ, at most C rows × C.
    """

    mean: np.ndarray
    root: np.ndarray


def fitted(features: np.ndarray) -> Gaussian:
    """Return the Gaussian with the mean and covariance of features, H × W × C, over positions."""
    values = features.reshape(-1, features.shape[-1]).astype(np.float64)
    mean = values.mean(axis=0)
    centered = (values - mean) / math.sqrt(len(values))
    if len(values) <= values.shape[1]:
        return Gaussian(mean, centered)
    return Gaussian(mean, np.asarray(np.linalg.qr(centered, mode="r")))


def distance(gaussian: Gaussian, reference: Gaussian) -> float:
    """Return the Fréchet (2-Wasserstein) distance of two Gaussians.

    d² = ‖μ − μ'‖² + tr(Σ + Σ' − 2 (Σ Σ')^½). Neither where features lie nor how many positions
    there are matters.

    Returns:
      d, in units of the features; 0 if both have the same mean and covariance.
    """
    # The singular values of Φ Φ'ᵀ are the square roots of the eigenvalues of Σ Σ'.
    overlap = np.linalg.svd(gaussian.root @ reference.root.T, compute_uv=False).sum()
    traces = np.square(gaussian.root).sum() + np.square(reference.root).sum()
    squared = np.square(gaussian.mean - reference.mean).sum() + traces - 2 * overlap
    return math.sqrt(squared) if squared > ROUNDING * traces else 0.0
