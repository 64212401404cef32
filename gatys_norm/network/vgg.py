"""The frozen feature extractor, built on `tf.keras.applications.VGG19`."""

from __future__ import annotations  # keras is loaded when it is first used, not before

import functools
import re
from collections.abc import Callable, Iterable, Sequence
from typing import TypeAlias

import tensorflow as tf

from gatys_norm.network import device, keras_vgg19, weights
from gatys_norm.network.memory import HEAD_BLOCKS
from gatys_norm.network.weights import WeightsFile
from gatys_norm.terms import block_of

HEAD_STRIDE = 2**HEAD_BLOCKS
SLOW_CHANNELS = 256
MINUS_MEANS = (-103.939, -116.779, -123.68)  # blue, green, red, of the ImageNet pictures
COMPUTE_DTYPES = {"float32": tf.float32, "bfloat16": tf.bfloat16}

# Name, convolution, bias; a pooling has only the name.
_Step: TypeAlias = tuple[str, Callable[[tf.Tensor], tf.Tensor] | None, tf.Tensor]


@functools.lru_cache(maxsize=2)
def load_model(weights_file: WeightsFile) -> tf.keras.Model:
    """Return Keras's VGG-19 without its classifier, holding the given weights.

    Args:
      weights_file: what `weights.locate` returned.

    Raises:
      WeightsError: the file cannot be read, has other shapes, or holds values that are not finite.
    """
    model = keras_vgg19.make()
    weights.load_into(model, weights_file)
    return model


@functools.lru_cache(maxsize=8)
def load_extractor(
    weights_file: WeightsFile, layers: frozenset[str], pooling: str, precision: str
) -> Extractor:
    """Return the `Extractor` of these weights; the same one when asked again.

    Args:
      weights_file: what `weights.locate` returned.
      layers: frozenset of names `convX_Y` or `reluX_Y`.
      pooling: "max" or "avg".
      precision: "float32" or "bfloat16".

    Raises:
      WeightsError: see `load_model`.
    """
    return Extractor(load_model(weights_file), layers, pooling, COMPUTE_DTYPES[precision])


class Extractor(tf.Module):
    """φ: a picture to the features of the wanted layers.

    Keras fuses the ReLU into each convolution layer, so its `block4_conv2` output is ReLU4_2. Here
    the chain is rebuilt with the two apart: `conv4_2` is the output before the ReLU, `relu4_2`
    after it. Nothing deeper than the deepest wanted layer is computed. Kernels are constants: only
    the picture can be differentiated.

    The chain is cut after block 2 into `head` and `tail`, because the head holds most of the
    memory and can be run on some rows of the picture at a time.
    """

    def __init__(
        self,
        model: tf.keras.Model,
        layers: Iterable[str],
        pooling: str = "max",
        compute_dtype: tf.DType = tf.float32,
    ) -> None:
        """Take the kernels out of a Keras model.

        Args:
          model: Keras model of `blockX_convY` convolutions and `blockX_pool` poolings, in order.
          layers: names `convX_Y` or `reluX_Y`.
          pooling: "max" or "avg".
          compute_dtype: type that the network computes in, and of the features.

        Raises:
          ValueError: a layer is not in the model; the message lists those that are.
        """
        super().__init__()
        self._compute_dtype = tf.as_dtype(compute_dtype)
        self._pool = {"max": tf.nn.max_pool2d, "avg": tf.nn.avg_pool2d}[pooling]
        self._layers = frozenset(layers)
        steps = _steps_up_to(model, self._layers, self._compute_dtype)
        head_length = sum(block_of(name) <= HEAD_BLOCKS for name, _, _ in steps)
        self._head, self._tail = steps[:head_length], steps[head_length:]

    @property
    def has_tail(self) -> bool:
        """Whether a wanted layer lies behind the head."""
        return bool(self._tail)

    def __call__(self, image: tf.Tensor) -> dict[str, tf.Tensor]:
        """Compute {layer: φ_j(image)}.

        Args:
          image: H × W × 3, RGB, 0–255 (values outside are allowed), H and W at least 16 for all
            of VGG-19.

        Returns:
          {layer: H_j × W_j × C_j} in the network's type.
        """
        features, value = self.head(image)
        return features | self.tail(value)

    def head(self, image: tf.Tensor) -> tuple[dict[str, tf.Tensor], tf.Tensor]:
        """Compute ({layer: φ_j(image)} of blocks 1 and 2, what block 3 takes in)."""
        return self._run(tf.cast(_preprocessed(image), self._compute_dtype), self._head)

    def tail(self, value: tf.Tensor) -> dict[str, tf.Tensor]:
        """Compute {layer: φ_j} of the blocks from 3 on, from what `head` gave."""
        return self._run(value, self._tail)[0]

    def _run(
        self, value: tf.Tensor, steps: Sequence[_Step]
    ) -> tuple[dict[str, tf.Tensor], tf.Tensor]:
        features = {}
        for name, convolve, bias in steps:
            if convolve is None:
                value = self._pool(value, 2, 2, "VALID")
                continue
            value = tf.nn.bias_add(convolve(value), bias)
            if f"conv{name}" in self._layers:
                features[f"conv{name}"] = tf.squeeze(value, 0)
            value = tf.nn.relu(value)
            if f"relu{name}" in self._layers:
                features[f"relu{name}"] = tf.squeeze(value, 0)
        return features, value


def feature_size(layer: str, height: int, width: int) -> tuple[int, int]:
    """Return (H_j, W_j) of a layer for a picture of H × W; each pooling halves, rounding down."""
    poolings = block_of(layer) - 1
    return height >> poolings, width >> poolings


def _preprocessed(image: tf.Tensor) -> tf.Tensor:
    """What `tf.keras.applications.vgg19.preprocess_input` makes of a picture, 1 × H × W × 3, BGR.

    Keras's own function goes by Keras's global number type and image layout.
    """
    image = tf.convert_to_tensor(image)
    return image[tf.newaxis, ..., ::-1] + tf.constant(MINUS_MEANS, image.dtype)


def _steps_up_to(model: tf.keras.Model, layers: frozenset[str], dtype: tf.DType) -> list[_Step]:
    """The chain as (name, convolution, bias) up to the deepest of `layers`; poolings have none."""
    steps: list[_Step] = []
    available: list[str] = []
    missing = set(layers)
    for layer in model.layers:
        match = re.fullmatch(r"block(\d+)_(?:conv(\d+)|pool)", layer.name)
        if not match:
            continue
        block, index = match.groups()
        name = f"{block}_{index or 'pool'}"
        if index is not None:
            available += [f"conv{name}", f"relu{name}"]
        if not missing:
            continue
        if index is None:
            steps.append((name, None, None))
        else:
            kernel, bias = tf.cast(layer.kernel, dtype), tf.cast(layer.bias, dtype)
            steps.append((name, _convolution(kernel), bias))
        missing -= {f"conv{name}", f"relu{name}"}
    if missing:
        raise ValueError(f"no layer {min(missing)!r}; there are {', '.join(sorted(available))}")
    return steps


def _convolution(kernel: tf.Tensor) -> Callable[[tf.Tensor], tf.Tensor]:
    """Return value → its convolution with a 3 × 3 kernel, stride 1, as large as the value.

    On a CPU oneDNN's float32 convolution slows down from 256 channels on while its transposed one
    does not; with the kernel mirrored the two are the same.
    """
    on_cpu = not device.gpus()
    if kernel.dtype != tf.float32 or kernel.shape[2] < SLOW_CHANNELS or not on_cpu:
        return lambda value: tf.nn.conv2d(value, kernel, 1, "SAME")
    mirrored = tf.reverse(tf.transpose(kernel, [0, 1, 3, 2]), [0, 1])

    @tf.custom_gradient
    def convolve(value: tf.Tensor) -> tuple[tf.Tensor, Callable[[tf.Tensor], tf.Tensor]]:
        def gradient(upstream: tf.Tensor) -> tf.Tensor:
            return tf.nn.conv2d_transpose(upstream, kernel, tf.shape(value), 1, "SAME")

        shape = tf.concat([tf.shape(value)[:3], [kernel.shape[3]]], axis=0)
        return tf.nn.conv2d_transpose(value, mirrored, shape, 1, "SAME"), gradient

    return convolve
