"""The frozen feature extractor, built on `tf.keras.applications.VGG19`."""

from __future__ import annotations  # Keras is loaded when it is first used

import copy
import functools
import itertools
import re
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple, Protocol, TypeAlias

import tensorflow as tf

from gatys_norm.network import keras_vgg19, weights
from gatys_norm.network.convolution import Convolution, Rule, fastest_way
from gatys_norm.network.weights import WeightsFile
from gatys_norm.terms import block_of

MINUS_MEANS = (-103.939, -116.779, -123.68)  # of blue, green and red in the ImageNet pictures
COMPUTE_DTYPES = {"float32": tf.float32, "bfloat16": tf.bfloat16}


class Convolve(Protocol):
    """A convolution without its bias, 1 × H × W × C to 1 × H × W × C'."""

    def __call__(self, value: tf.Tensor) -> tf.Tensor:
        """Convolve."""

    def backward(self, upstream: tf.Tensor) -> tf.Tensor:
        """Return the gradient of the input from that of the result."""


# Name, convolution, bias; a pooling has a name only.
Step: TypeAlias = tuple[str, Convolve | None, tf.Tensor]


class BlockResult(NamedTuple):
    """Some rows of a block.

    Attributes:
      features: {layer: rows of φ_j}.
      output: rows of what the next block takes in; None if the block is the last one.
      traces: what the gradient needs of each convolution, without computing it again.
    """

    features: dict[str, tf.Tensor]
    output: tf.Tensor | None
    traces: list[tf.Tensor]


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
    weights_file: WeightsFile,
    layers: frozenset[str],
    pooling: str,
    precision: str,
    border: str = "zero",
) -> Extractor:
    """Return the `Extractor` of these weights; the same object for the same arguments.

        from gatys_norm.images import io as picture_io

        weights_file = weights.locate("auto")
        layers = frozenset({"conv4_2", "relu5_1"})
        extractor = load_extractor(weights_file, layers, pooling="max", precision="float32")
        features = extractor(picture_io.load_picture("town.jpg"))["conv4_2"]  # H_j × W_j × 512

    Args:
      weights_file: what `weights.locate` returned.
      layers: names `convX_Y` (before the ReLU) or `reluX_Y` (after it).
      pooling: "max" or "avg".
      precision: "float32" or "bfloat16".
      border: what convolutions see beyond the edges; a key of `borders.PADDED_AXES`.

    Raises:
      WeightsError: see `load_model`.
    """
    model = load_model(weights_file)
    return Extractor(model, layers, pooling, COMPUTE_DTYPES[precision], border=border)


class Extractor(tf.Module):
    """φ: the features of a picture at some layers of VGG-19.

    In Keras each convolution layer includes its ReLU, so the output of `block4_conv2` is ReLU4_2.
    Here the two are separate: `conv4_2` is the output before the ReLU, `relu4_2` the one after it.
    Layers deeper than the deepest one asked for are not computed. Kernels are constants: gradients
    exist with respect to the picture only.

    Attributes:
      steps: convolutions and poolings in their order.
      border: what convolutions see beyond the edges.
    """

    def __init__(
        self,
        model: tf.keras.Model,
        layers: Iterable[str],
        pooling: str = "max",
        compute_dtype: tf.DType = tf.float32,
        rule: Rule = fastest_way,
        border: str = "zero",
    ) -> None:
        """Take the kernels and biases from a Keras model.

        Args:
          model: Keras model of `blockX_convY` convolutions and `blockX_pool` poolings, in order.
          layers: names `convX_Y` or `reluX_Y`.
          pooling: "max" or "avg".
          compute_dtype: number type of the computation and of the features.
          rule: see `convolution.Convolution`.
          border: the same. Where it wraps, a side must be a multiple of 16 for the layers of block
            5, so that no pooling drops a position.

        Raises:
          ValueError: the model does not have a layer; the message lists those that it has.
        """
        super().__init__()
        self._compute_dtype = tf.as_dtype(compute_dtype)
        self._pool = {"max": tf.nn.max_pool2d, "avg": tf.nn.avg_pool2d}[pooling]
        self._layers = frozenset(layers)
        self.border = border
        self.steps: Sequence[Step] = _steps_up_to(
            model, self._layers, self._compute_dtype, rule, border
        )

    @property
    def blocks(self) -> list[list[Step]]:
        """The steps of each block; all but the last one end with a pooling."""
        grouped = itertools.groupby(self.steps, key=lambda step: block_of(step[0]))
        return [list(steps) for _, steps in grouped]

    def with_steps(self, steps: Sequence[Step]) -> Extractor:
        """Return a copy that computes the same layers in other steps."""
        other = copy.copy(self)
        other.steps = steps
        return other

    def ways(self, height: int, width: int) -> dict[str, str]:
        """Return {layer: how its convolution is computed} for a picture of H × W.

        See `convolution.fastest_way`.
        """
        return {
            f"conv{name}": convolve.way(*feature_size(f"conv{name}", height, width))
            for name, convolve, _ in self.steps
            if isinstance(convolve, Convolution)
        }

    def __call__(self, image: tf.Tensor) -> dict[str, tf.Tensor]:
        """Compute {layer: φ_j(image)}.

        Args:
          image: H × W × 3, RGB, 0–255 (values outside are allowed); H and W must be at least 16
            for the layers of block 5.

        Returns:
          {layer: H_j × W_j × C_j} in the number type of the network.
        """
        value = tf.cast(_preprocessed(image), self._compute_dtype)
        features: dict[str, tf.Tensor] = {}
        for step in self.steps:
            if step[1] is None:
                value = self._pool(value, 2, 2, "VALID")
            else:
                value = self._tapped(step[0], _convolved(value, step), features)
        return features

    def run_block(
        self, index: int, value: tf.Tensor, rows: slice, traces: Sequence[tf.Tensor] = ()
    ) -> BlockResult:
        """Compute some rows of one block.

        Args:
          index: number of the block, counted from 0.
          value: what the block takes in, H × W × C; for the first block the picture.
          rows: those of the result; `value` includes all that they depend on.
          traces: those of an earlier computation of all rows of `value`. With them no convolution
            is computed, only its gradient, and the contents of `value` do not matter.
        """
        steps = [step for step in self.blocks[index] if step[1] is not None]
        has_pooling = len(steps) < len(self.blocks[index])
        if index == 0:
            value = tf.cast(_preprocessed(value), self._compute_dtype)
        else:
            value = value[tf.newaxis]
        features: dict[str, tf.Tensor] = {}
        traced = []
        for step, trace in itertools.zip_longest(steps, traces):
            output = _convolved(value, step, trace)
            is_last = step is steps[-1]
            if is_last:  # what follows needs no other rows
                output = output[0][rows][tf.newaxis]
            traced.append(self._trace(step[0], output[0] if is_last else output[0][rows], is_last))
            value = self._tapped(step[0], output, features)
        cropped = {
            layer: feature if layer.endswith(steps[-1][0]) else feature[rows]
            for layer, feature in features.items()
        }
        if not has_pooling:
            return BlockResult(cropped, None, traced)
        return BlockResult(cropped, tf.squeeze(self._pool(value, 2, 2, "VALID"), 0), traced)

    def _trace(self, name: str, output: tf.Tensor, is_last: bool) -> tf.Tensor:
        """Return what the gradient needs of a convolution's output.

        That is all of it if it is one of the features, or pooled. Otherwise its signs are enough.
        """
        is_feature = not self._layers.isdisjoint({f"conv{name}", f"relu{name}"})
        return output if is_feature or is_last else output > 0

    def _tapped(self, name: str, output: tf.Tensor, features: dict[str, tf.Tensor]) -> tf.Tensor:
        """Add the features of a convolution that are asked for, and return its ReLU."""
        if f"conv{name}" in self._layers:
            features[f"conv{name}"] = tf.squeeze(output, 0)
        value = tf.nn.relu(output)
        if f"relu{name}" in self._layers:
            features[f"relu{name}"] = tf.squeeze(value, 0)
        return value


def _convolved(value: tf.Tensor, step: Step, trace: tf.Tensor | None = None) -> tf.Tensor:
    """Return the output of a convolution before the ReLU, 1 × H × W × C'.

    Args:
      value: its input, 1 × H × W × C; with a trace only its gradient matters.
      step: the convolution.
      trace: its output, or the signs of it, H × W × C'. It is returned, as ±1 if it is signs, with
        the gradient of the convolution.
    """
    _, convolve, bias = step
    assert convolve is not None
    if trace is None:
        return tf.nn.bias_add(convolve(value), bias)
    if trace.dtype == tf.bool:
        trace = tf.where(trace, tf.ones([], value.dtype), -tf.ones([], value.dtype))

    @tf.custom_gradient
    def known(_: tf.Tensor) -> tuple[tf.Tensor, Callable[[tf.Tensor], tf.Tensor]]:
        return trace[tf.newaxis], convolve.backward

    return known(value)


def feature_size(layer: str, height: int, width: int) -> tuple[int, int]:
    """Return (H_j, W_j) of a layer for a picture of H × W; each pooling halves, rounding down."""
    poolings = block_of(layer) - 1
    return height >> poolings, width >> poolings


def _preprocessed(image: tf.Tensor) -> tf.Tensor:
    """Return the result of `tf.keras.applications.vgg19.preprocess_input`, 1 × H × W × 3, BGR.

    Keras's function itself depends on the global number type and image layout of Keras.
    """
    image = tf.convert_to_tensor(image)
    return image[tf.newaxis, ..., ::-1] + tf.constant(MINUS_MEANS, image.dtype)


def _steps_up_to(
    model: tf.keras.Model, layers: frozenset[str], dtype: tf.DType, rule: Rule, border: str
) -> list[Step]:
    """Return (name, convolution, bias) up to the deepest of `layers`; None, None for poolings."""
    steps: list[Step] = []
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
            steps.append((name, Convolution(kernel, rule, border), bias))
        missing -= {f"conv{name}", f"relu{name}"}
    if missing:
        raise ValueError(f"no layer {min(missing)!r}; there are {', '.join(sorted(available))}")
    return steps
