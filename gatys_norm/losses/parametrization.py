"""What the optimizer moves instead of the pixels: x is a linear map of it.

Natural pictures hold power at low spatial frequencies, and so do the changes that a transfer
makes; weighting the frequencies that way brings L-BFGS there in fewer evaluations.
"""

import functools
from collections.abc import Callable

import numpy as np
import tensorflow as tf

from gatys_norm.images.color import LUMINANCE

EXPONENT = -0.5


def to_image(
    position: tf.Tensor,
    shape: tuple[int, int, int],
    parametrization: str,
    is_grey: bool = False,
) -> tf.Tensor:
    """Return x for a position; differentiable.

    "pixel": x is the position itself. "fourier": x = F⁻¹(g · F(position)), channel by channel,
    with the gain g = f^−½ of the spatial frequency f, scaled to mean 1.

    Args:
      position: flat, of as many values as the picture.
      shape: (H, W, 3).
      parametrization: "pixel" or "fourier".
      is_grey: whether x is the luminance of that only, in all three channels.

    Returns:
      H × W × 3.
    """
    image = _to_color(position, shape, parametrization)
    if not is_grey:
        return image
    weights = tf.constant(LUMINANCE, image.dtype)
    return tf.repeat(tf.reduce_sum(image * weights, axis=2, keepdims=True), 3, axis=2)


def _to_color(position: tf.Tensor, shape: tuple[int, int, int], parametrization: str) -> tf.Tensor:
    if parametrization == "pixel":
        return tf.reshape(position, shape)
    height, width, channels = shape
    gain = _gain(height, width)

    @tf.custom_gradient
    def spread(planes: tf.Tensor) -> tuple[tf.Tensor, Callable[[tf.Tensor], tf.Tensor]]:
        # g is real and the same for f and −f, so the map is its own transpose
        return _filtered(planes, gain), lambda upstream: _filtered(upstream, gain)

    planes = spread(tf.reshape(position, [channels, height, width]))
    return tf.transpose(planes, [1, 2, 0])


def from_image(image: tf.Tensor | np.ndarray, parametrization: str) -> tf.Tensor:
    """Return the flat position at which `to_image` gives `image` (H × W × 3), to rounding."""
    image = tf.convert_to_tensor(image)
    if parametrization == "fourier":
        height, width, _ = image.shape
        image = _filtered(tf.transpose(image, [2, 0, 1]), 1 / _gain(height, width))
    return tf.reshape(image, [-1])


def _filtered(planes: tf.Tensor, gain: np.ndarray) -> tf.Tensor:
    spectrum = tf.signal.rfft2d(planes)
    spectrum *= tf.cast(gain, spectrum.dtype)
    return tf.signal.irfft2d(spectrum, fft_length=planes.shape[-2:])


@functools.lru_cache(maxsize=8)
def _gain(height: int, width: int) -> np.ndarray:
    """g for every frequency that a real picture's transform keeps, H × (W / 2 + 1)."""
    vertical, horizontal = np.fft.fftfreq(height)[:, np.newaxis], np.fft.fftfreq(width)
    frequency = np.hypot(vertical, horizontal)
    frequency[0, 0] = 1 / max(height, width)  # the mean goes with the lowest frequency
    gain = frequency**EXPONENT
    return (gain / gain.mean())[:, : width // 2 + 1]
