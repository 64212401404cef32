"""The frozen feature extractor, built on `tf.keras.applications.VGG19`."""

import functools
import re

import tensorflow as tf

from gatys_norm import weights as weights_module

COMPUTE_DTYPES = {"float32": tf.float32, "bfloat16": tf.bfloat16}


@functools.lru_cache(maxsize=2)
def load_model(weights_file):
    """Return Keras's VGG-19 without its classifier, holding the given weights.

    Args:
      weights_file: what `weights.locate` returned.

    Raises:
      WeightsError: the file cannot be read, has other shapes, or holds values that are not finite.
    """
    model = tf.keras.applications.VGG19(include_top=False, weights=None)
    weights_module.load_into(model, weights_file)
    return model


@functools.lru_cache(maxsize=8)
def load_extractor(weights_file, layers, pooling, precision):
    """Return the `Extractor` of these weights; the same one, graphs and all, when asked again.

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
    """

    def __init__(self, model, layers, pooling="max", compute_dtype=tf.float32):
        """Take the kernels out of a Keras model.

        Args:
          model: Keras model of `blockX_convY` convolutions and `blockX_pool` poolings, in order.
          layers: names `convX_Y` or `reluX_Y`.
          pooling: "max" or "avg".
          compute_dtype: type that the network computes in; features and gradients of the picture
            have the picture's own type.

        Raises:
          ValueError: a layer is not in the model; the message lists those that are.
        """
        super().__init__()
        self._compute_dtype = tf.as_dtype(compute_dtype)
        self._pool = {"max": tf.nn.max_pool2d, "avg": tf.nn.avg_pool2d}[pooling]
        self._layers = frozenset(layers)
        self._steps = _steps_up_to(model, self._layers, self._compute_dtype)
        self.compiled = tf.function(self.__call__, autograph=False)

    def __call__(self, image):
        """Compute {layer: φ_j(image)}.

        Args:
          image: H × W × 3, RGB, 0–255 (values outside are allowed), H and W at least 16 for all
            of VGG-19.

        Returns:
          {layer: H_j × W_j × C_j} in the type of `image`.
        """
        features = {}
        value = tf.keras.applications.vgg19.preprocess_input(image[tf.newaxis])
        value = tf.cast(value, self._compute_dtype)
        for name, kernel, bias in self._steps:
            if kernel is None:
                value = self._pool(value, 2, 2, "VALID")
                continue
            value = tf.nn.bias_add(tf.nn.conv2d(value, kernel, 1, "SAME"), bias)
            if f"conv{name}" in self._layers:
                features[f"conv{name}"] = tf.cast(value[0], image.dtype)
            value = tf.nn.relu(value)
            if f"relu{name}" in self._layers:
                features[f"relu{name}"] = tf.cast(value[0], image.dtype)
        return features


def _steps_up_to(model, layers, dtype):
    """The chain as (name, kernel, bias) up to the deepest of `layers`; poolings have no kernel."""
    steps, available, missing = [], [], set(layers)
    for layer in model.layers:
        match = re.fullmatch(r"block(\d+)_(?:conv(\d+)|pool)", layer.name)
        if not match:
            continue
        block, index = match.groups()
        if index is None:
            step = (f"{block}_pool", None, None)
        else:
            name = f"{block}_{index}"
            step = (name, tf.cast(layer.kernel, dtype), tf.cast(layer.bias, dtype))
            available += [f"conv{name}", f"relu{name}"]
        if missing:
            steps.append(step)
            missing -= {f"conv{step[0]}", f"relu{step[0]}"}
    if missing:
        raise ValueError(f"no layer {min(missing)!r}; there are {', '.join(sorted(available))}")
    return steps
