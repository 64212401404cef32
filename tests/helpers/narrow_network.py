"""A network as deep as VGG-19 and four channels wide."""

import types

import numpy as np

from gatys_norm.network import imagenet_8bit


def load_model(_file=None):
    """Return what `vgg.Extractor` reads of Keras's VGG-19, with random kernels.

    It replaces `vgg.load_model`.
    """
    generator = np.random.default_rng(0)
    layers, inputs = [], 3
    for name in imagenet_8bit.LAYERS:
        block, _, index = name.removeprefix("block").partition("_conv")
        if index == "1" and block != "1":
            pool = f"block{int(block) - 1}_pool"
            layers.append(types.SimpleNamespace(name=pool))
        kernel = generator.normal(0, (2 / 9 / inputs) ** 0.5, (3, 3, inputs, 4))
        bias = np.zeros(4, np.float32)
        layers.append(types.SimpleNamespace(name=name, kernel=kernel.astype("f4"), bias=bias))
        inputs = 4
    return types.SimpleNamespace(layers=layers)


def load_biased_model():
    """Return the same with random biases."""
    model, generator = load_model(), np.random.default_rng(1)
    for layer in model.layers:
        if hasattr(layer, "bias"):
            layer.bias = generator.normal(0, 1, layer.bias.shape).astype("f4")
    return model
