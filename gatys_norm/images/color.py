"""Two ways to treat colors: transfer the luminance only, or match the colors of the style first.

Gatys et al., "Preserving Color in Neural Artistic Style Transfer", arXiv:1606.05897, describes
both. Pictures are float32 H × W × 3, RGB, 0–255.
"""

import numpy as np

LUMINANCE = (0.299, 0.587, 0.114)  # of R, G and B: Y of ITU-R BT.601
LEAST_VARIANCE = 1e-3  # in squared grey levels; below it a direction has rounding errors only


def luminance(picture: np.ndarray) -> np.ndarray:
    """Return Y, H × W."""
    return picture @ np.asarray(LUMINANCE, picture.dtype)


def grey(values: np.ndarray) -> np.ndarray:
    """Return the grey picture whose luminance is `values`, H × W."""
    return np.repeat(values[..., np.newaxis], 3, axis=2)


def with_luminance_of(picture: np.ndarray, content: np.ndarray) -> np.ndarray:
    """Return `content` with the luminance of `picture`; the chroma stays that of `content`.

    The same amount is added to all three channels, which does not change Cb and Cr. The result may
    be outside of 0–255.
    """
    return content + grey(luminance(picture) - luminance(content))


def match_luminance(style: np.ndarray, content: np.ndarray) -> np.ndarray:
    """Return Y of the style, with the mean and standard deviation of Y of the content.

    If the style has the same luminance everywhere, the result is the mean luminance of the content.
    """
    of_style, of_content = (luminance(picture).astype(np.float64) for picture in (style, content))
    varies = of_style.var() > LEAST_VARIANCE
    factor = of_content.std() / of_style.std() if varies else 0.0
    return (of_content.mean() + factor * (of_style - of_style.mean())).astype(np.float32)


def match_colors(style: np.ndarray, content: np.ndarray) -> np.ndarray:
    """Return the style with the mean and covariance of the colors of the content.

    s' = A (s − μ_s) + μ_o with A = Σ_o^½ Σ_s^−½, the only such map that is symmetric if the two
    covariances commute. Directions in which the colors of the style do not vary, such as those
    away from the grey axis in a grey picture, do not vary in the result. The result may be outside
    of 0–255.
    """
    of_style, of_content = (
        picture.reshape(-1, 3).astype(np.float64) for picture in (style, content)
    )
    values, vectors = np.linalg.eigh(_covariance(of_style))
    varies = values > LEAST_VARIANCE
    inverse = np.where(varies, 1 / np.sqrt(np.where(varies, values, 1.0)), 0.0)
    whitened = (vectors * inverse) @ vectors.T
    values, vectors = np.linalg.eigh(_covariance(of_content))
    colored = (vectors * np.sqrt(np.maximum(values, 0.0))) @ vectors.T
    moved = (of_style - of_style.mean(axis=0)) @ (colored @ whitened).T
    matched = moved + of_content.mean(axis=0)
    return matched.reshape(style.shape).astype(np.float32)


def _covariance(colors: np.ndarray) -> np.ndarray:
    return np.cov(colors, rowvar=False, bias=True)
