"""The variable that the optimizer moves instead of the pixels: x is a linear function of it.

In natural pictures low spatial frequencies have most of the power, and so they have in the changes
that a transfer makes. With the frequencies weighted accordingly, L-BFGS needs fewer evaluations.
"""

import functools

import numpy as np
import tensorflow as tf

from gatys_norm.config import FLAT
from gatys_norm.images.color import LUMINANCE
from gatys_norm.losses import functional, spherical

EXPONENT = -0.5


def to_image(
    position: tf.Tensor,
    shape: tuple[int, int, int],
    parametrization: str,
    is_grey: bool = False,
    projection: str = FLAT,
) -> tf.Tensor:
    """Return x for a position; differentiable.

    "pixel": x is the position itself. "fourier": x = F⁻¹(g · F(position)), channel by channel,
    with the gain g = f^−½ of the spatial frequency f, scaled to mean 1.

    Of a panorama f is the frequency on the sphere, see `spherical.weighted`, and each row of that
    is divided by √c, with c the length of its circle of latitude relative to the equator. Pixels
    next to the poles are small, and many of them have to change for one to be seen; so the
    optimizer moves what is seen of each as fast as elsewhere. Then each row loses the waves that
    the atlas cannot show; see `sphere.waves_around`.

    Args:
      position: vector of 3 · H · W values.
      shape: (H, W, 3) of x.
      parametrization: "pixel" or "fourier".
      is_grey: whether all three channels of x are the luminance of that picture.
      projection: of x; see `config.PROJECTIONS`.

    Returns:
      H × W × 3.
    """
    if projection == FLAT:
        image = _to_color(position, shape, parametrization)
    else:
        image = _to_panorama(tf.reshape(position, shape), parametrization)
    if not is_grey:
        return image
    weights = tf.constant(LUMINANCE, image.dtype)
    return tf.repeat(tf.reduce_sum(image * weights, axis=2, keepdims=True), 3, axis=2)


def _to_panorama(image: tf.Tensor, parametrization: str) -> tf.Tensor:
    if parametrization == "fourier":
        image = spherical.weighted(image, EXPONENT)
    lengths = tf.constant(spherical.row_lengths(image.shape[0]), image.dtype)
    return spherical.without_rays(image / lengths)


def _to_color(position: tf.Tensor, shape: tuple[int, int, int], parametrization: str) -> tf.Tensor:
    if parametrization == "pixel":
        return tf.reshape(position, shape)
    height, width, channels = shape
    gain = _gain(height, width)

    def spread(planes: tf.Tensor) -> tf.Tensor:
        return _filtered(planes, gain)  # g is real and the same for f and −f

    planes = functional.own_transpose(spread, tf.reshape(position, [channels, height, width]))
    return tf.transpose(planes, [1, 2, 0])


def from_image(
    image: tf.Tensor | np.ndarray, parametrization: str, projection: str = FLAT
) -> tf.Tensor:
    """Return the position for which `to_image` gives `image`, H × W × 3, except for rounding.

    Of a panorama it gives the image without the waves that the atlas cannot show.
    """
    image = tf.convert_to_tensor(image)
    height, width, _ = image.shape
    if projection != FLAT:
        image *= tf.constant(spherical.row_lengths(height), image.dtype)
        if parametrization == "fourier":
            image = spherical.weighted(image, EXPONENT, inverse=True)
    elif parametrization == "fourier":
        image = _filtered(tf.transpose(image, [2, 0, 1]), 1 / _gain(height, width))
    return tf.reshape(image, [-1])


def _filtered(planes: tf.Tensor, gain: np.ndarray) -> tf.Tensor:
    spectrum = tf.signal.rfft2d(planes)
    spectrum *= tf.cast(gain, spectrum.dtype)
    return tf.signal.irfft2d(spectrum, fft_length=planes.shape[-2:])


@functools.lru_cache(maxsize=8)
def _gain(height: int, width: int) -> np.ndarray:
    """Return g for every frequency of the transform of a real picture, H × (W / 2 + 1)."""
    vertical, horizontal = np.fft.fftfreq(height)[:, np.newaxis], np.fft.fftfreq(width)
    frequency = np.hypot(vertical, horizontal)
    frequency[0, 0] = 1 / max(height, width)  # the mean is treated as the lowest frequency
    gain = frequency**EXPONENT
    return (gain / gain.mean())[:, : width // 2 + 1]
