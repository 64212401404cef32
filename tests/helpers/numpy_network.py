"""The features of a network, computed with NumPy, and bounds of their rounding errors."""

import numpy as np

from helpers.rounding import convolution_error, convolved, unit

CHANNEL_MEANS = np.array([103.939, 116.779, 123.68])  # blue, green, red


def numpy_max_pool(value):
    """Maximum of whole 2 × 2 squares; what does not fill one is dropped."""
    height, width = value.shape[0] // 2, value.shape[1] // 2
    result = np.empty((height, width, value.shape[2]))
    for row in range(height):
        for column in range(width):
            square = value[2 * row : 2 * row + 2, 2 * column : 2 * column + 2]
            result[row, column] = square.max(axis=(0, 1))
    return result


def numpy_features(model, image, error=0.0, means=CHANNEL_MEANS):
    """Return {layer: features} and {layer: the most by which rounding may change each}.

    Args:
      model: a Keras model of 3 × 3 convolutions with ReLUs, and poolings by maxima.
      image: H × W × 3.
      error: the most by which its values are already wrong.
      means: what is taken off its channels, blue, green and red.
    """
    features, errors = {}, {}
    value = image[:, :, ::-1] - means
    error = error + unit() * np.abs(value)
    for layer in model.layers:
        if not layer.get_weights():
            value, error = numpy_max_pool(value), numpy_max_pool(error)
            continue
        name = layer.name.removeprefix("block").replace("_conv", "_")
        kernel, bias = layer.get_weights()
        error = convolution_error(value, kernel, bias, error=error)
        value = convolved(value, kernel) + bias
        features[f"conv{name}"], errors[f"conv{name}"] = value, error
        value = np.maximum(value, 0)
        features[f"relu{name}"], errors[f"relu{name}"] = value, error
    return features, errors
