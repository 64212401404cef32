"""Transfers that take a fraction of a second: pictures of noise, layers of the small network."""

import numpy as np

from gatys_norm.config import TransferConfig
from gatys_norm.images import inputs as picture_inputs
from gatys_norm.images import io as picture_io
from gatys_norm.losses import objective
from gatys_norm.network import vgg
from gatys_norm.network.memory import WHOLE

HEIGHT, WIDTH = 20, 24
STYLE_SHAPE = 24, 22
LAYERS = {"content_layers": ("conv2_1",), "style_layers": ("conv1_1", "conv2_2")}


def noise(height, width, seed, low=0):
    """Return a picture of noise from `low` to 255."""
    values = np.random.default_rng(seed).uniform(low, 255, (height, width, 3))
    return values.astype(np.float32)


def small_config(folder, **changes):
    """Write content.png and style.png; returns the settings of a transfer between them."""
    picture_io.save_picture(folder / "content.png", noise(HEIGHT, WIDTH, seed=1))
    picture_io.save_picture(folder / "style.png", noise(*STYLE_SHAPE, seed=2))
    settings = {"size": (WIDTH,), "iterations": (5,), "log_every": 2} | LAYERS | changes
    return TransferConfig(
        content=str(folder / "content.png"), style=str(folder / "style.png"), **settings
    )


def objective_at(config, size, strips=WHOLE):
    """Return the objective of a transfer at a size, as the transfer itself sets it up.

    On the same extractor, so that losses agree to the bit.
    """
    config = config.resolved()
    layers = frozenset(config.content_layers + config.style_layers)
    extractor = vgg.load_extractor(None, layers, config.pooling, "float32", config.border)
    inputs = picture_inputs.resized(config, picture_inputs.load(config), size)
    return objective.build_objective(config, extractor, inputs, strips)
