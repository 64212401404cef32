"""Networks and pictures of small whole numbers, in which no sum is rounded.

Sums and products of whole numbers are exact in floating point while they have no more bits than the
type (float64 53, float32 24, bfloat16 8); halving, as averages of four do, costs none. So two ways
of computing the same, in whatever order they add up, must agree bit for bit on any machine.
"""

import numpy as np


def make_whole(model, terms=None, largest_bias=2):
    """Give a Keras model kernels of −1, 0 and 1 and whole biases, and return it.

    Args:
      model: of 3 × 3 convolutions and poolings.
      terms: how many weights of each output are not 0; all are drawn if it is left out.
      largest_bias: biases lie between this and its opposite.
    """
    generator = np.random.default_rng(0)
    for layer in model.layers:
        if not layer.get_weights():
            continue
        kernel, bias = layer.get_weights()
        signs = generator.integers(-1, 2, kernel.shape)
        if terms is not None:
            flat = np.zeros((kernel[..., 0].size, bias.size))
            for output in range(bias.size):
                places = generator.choice(len(flat), terms, replace=False)
                flat[places, output] = generator.choice([-1, 1], terms)
            signs = flat.reshape(kernel.shape)
        layer.set_weights([signs, generator.integers(-largest_bias, largest_bias + 1, bias.shape)])
    return model


def whole_numbers(shape, seed=0, largest=8):
    """Return random whole numbers between `largest` and its opposite, float64."""
    generator = np.random.default_rng(seed)
    return generator.integers(-largest, largest + 1, shape).astype(np.float64)


def leave_out_the_means(monkeypatch):
    """Make the networks take in a picture's own values, not less than the means of ImageNet."""
    from gatys_norm.network import vgg

    monkeypatch.setattr(vgg, "MINUS_MEANS", (0.0, 0.0, 0.0))
