"""HED, a network that finds edges (Xie and Tu, ICCV 2015): edge strength, and its own features.

It was trained on contours that people drew, and no loss of this program uses it.
"""

import functools
from collections.abc import Callable
from typing import TypeAlias

import h5py
import numpy as np
import tensorflow as tf

from gatys_norm.experiments.measures import packages

Parameters: TypeAlias = dict[str, tuple[tf.Tensor, tf.Tensor]]  # kernel, bias

CONVOLUTIONS = (2, 2, 3, 3, 3)  # in each block of VGG-16
LAYERS = tuple(f"relu{block}_{count}" for block, count in enumerate(CONVOLUTIONS, start=1))
MINUS_MEANS = (-104.00699, -116.66877, -122.67892)  # of blue, green and red, as in the training
EDGES = "edges"


def outputs(picture: np.ndarray) -> dict[str, np.ndarray]:
    """Return the edge strength of a picture, and the last features of each block.

    Args:
      picture: H × W × 3, RGB, 0–255; both sides at least 16.

    Returns:
      {"edges": H × W, from 0 to 1; layer: H_j × W_j × C_j, after the ReLU, for each of `LAYERS`}.

    Raises:
      MeasuresError: see `packages.locate`.
    """
    values = _network()(tf.constant(picture, tf.float32))
    return {name: value.numpy() for name, value in values.items()}


@functools.lru_cache(maxsize=1)
def _network() -> Callable[[tf.Tensor], dict[str, tf.Tensor]]:
    parameters = _read_parameters()
    signature = [tf.TensorSpec((None, None, 3), tf.float32)]

    @tf.function(autograph=False, input_signature=signature)
    def run(image: tf.Tensor) -> dict[str, tf.Tensor]:
        return _forward(image, parameters)

    return run


def _forward(image: tf.Tensor, parameters: Parameters) -> dict[str, tf.Tensor]:
    value = image[tf.newaxis, ..., ::-1] + tf.constant(MINUS_MEANS)
    height_and_width = tf.shape(image)[:2]
    features, sides = {}, []
    for block, count in enumerate(CONVOLUTIONS, start=1):
        if block > 1:
            value = tf.nn.max_pool2d(value, 2, 2, "SAME")
        for index in range(1, count + 1):
            value = tf.nn.relu(_convolved(value, parameters[f"conv{block}_{index}"]))
        features[f"relu{block}_{count}"] = value[0]
        side = _convolved(value, parameters[f"side{block}"])
        sides.append(tf.image.resize(side, height_and_width, "bilinear"))
    fused = _convolved(tf.concat(sides, axis=-1), parameters["fuse"])
    return features | {EDGES: tf.sigmoid(fused)[0, ..., 0]}


def _convolved(value: tf.Tensor, parameters: tuple[tf.Tensor, tf.Tensor]) -> tf.Tensor:
    kernel, bias = parameters
    return tf.nn.bias_add(tf.nn.conv2d(value, kernel, 1, "SAME"), bias)


def _read_parameters() -> Parameters:
    """Read the parameters by name from the verified file; nothing else in it matters."""
    groups = {"fuse": "fuse"}
    for block, count in enumerate(CONVOLUTIONS, start=1):
        groups[f"side{block}"] = f"dsn{block}"
        for index in range(1, count + 1):
            layer = "conv2d" if index == 1 else f"conv2d_{index - 1}"
            groups[f"conv{block}_{index}"] = f"block{block}/layers/{layer}"
    with h5py.File(packages.locate(packages.HED), "r") as file:
        return {
            name: (
                tf.constant(file[f"{group}/vars/0"][()]),
                tf.constant(file[f"{group}/vars/1"][()]),
            )
            for name, group in groups.items()
        }
