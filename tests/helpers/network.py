"""A network with a few channels that replaces VGG-19."""

import numpy as np

from gatys_norm.network import weights

SMALL_NETWORK = (  # name, channels in, channels out
    ("1_1", 3, 4),
    ("1_2", 4, 3),
    ("1_pool", None, None),
    ("2_1", 3, 5),
    ("2_2", 5, 4),
)


def build(layers, **options):
    """Return a Keras model of 3 × 3 convolutions and poolings named like VGG-19's, float64.

    Args:
      layers: (name, channels in, channels out) of each; a pooling has no channels.
      options: of each convolution.
    """
    import tensorflow as tf

    network = tf.keras.Sequential([tf.keras.Input((None, None, 3), dtype="float64")])
    for name, inputs, outputs in layers:
        block, index = name.split("_")
        if inputs is None:
            network.add(tf.keras.layers.MaxPooling2D(2, name=f"block{block}_pool"))
            continue
        name = f"block{block}_conv{index}"
        convolution = tf.keras.layers.Conv2D(
            outputs, 3, padding="same", name=name, dtype="float64", **options
        )
        network.add(convolution)
    return network


def make_small_model():
    """Return a Keras model named like the first two blocks of VGG-19, with random weights."""
    generator = np.random.default_rng(0)
    network = build(SMALL_NETWORK, activation="relu")
    for layer in network.layers:
        if layer.get_weights():
            shape = layer.kernel.shape
            kernel = generator.normal(0, (2 / (9 * shape[2])) ** 0.5, shape)
            layer.set_weights([kernel, generator.normal(0, 10, shape[3])])
    return network


def use(monkeypatch, model, wrap=lambda extractor: extractor):
    """Make every transfer use `model`, its extractor perhaps wrapped."""
    from gatys_norm.network import vgg

    file = weights.WeightsFile("small.h5", "small", "0" * 64)
    monkeypatch.setattr(weights, "locate", lambda source: file)
    extractors = {}

    def load_extractor(_file, layers, pooling, _precision, border="zero"):
        key = layers, pooling, border
        if key not in extractors:
            extractors[key] = wrap(vgg.Extractor(model, layers, pooling, border=border))
        return extractors[key]

    monkeypatch.setattr(vgg, "load_extractor", load_extractor)
