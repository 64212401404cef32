"""The low-rank network: exact where channels depend on each other, and whole where it says so."""

import types

import numpy as np
import pytest
import tensorflow as tf
from helpers.bfloat16 import needs_bfloat16

from gatys_norm import machine
from gatys_norm.network import low_rank, vgg

pytestmark = pytest.mark.numeric

LAYERS = ("conv1_2", "relu2_1")
PICTURE, OTHER_PICTURE = (
    np.random.default_rng(seed).uniform(0, 255, (24, 20, 3)).astype(np.float32) for seed in (1, 2)
)


def layer(name, kernel, seed):
    bias = np.random.default_rng(seed).normal(0, 5, kernel.shape[3])
    return types.SimpleNamespace(name=name, kernel=np.float32(kernel), bias=np.float32(bias))


def random_kernel(inputs, outputs, seed):
    scale = (2 / (9 * inputs)) ** 0.5
    return np.random.default_rng(seed).normal(0, scale, (3, 3, inputs, outputs))


def dependent_model():
    """Return a model of which conv1_2 has 16 different inputs of 64, and outputs of rank 16.

    What `vgg.Extractor` reads of a Keras model.
    """
    first = layer("block1_conv1", np.tile(random_kernel(3, 16, 1), 4), 1)
    first.bias = np.tile(first.bias[:16], 4)
    second = random_kernel(64, 16, 2) @ np.random.default_rng(3).normal(0, 0.2, (16, 48))
    return types.SimpleNamespace(
        layers=[
            first,
            layer("block1_conv2", second, 4),
            types.SimpleNamespace(name="block1_pool"),
            layer("block2_conv1", random_kernel(48, 32, 5), 5),
        ]
    )


def extractor_of(dtype="float32", layers=LAYERS, pooling="max"):
    return vgg.Extractor(dependent_model(), layers, pooling, tf.as_dtype(dtype))


def small_kernels(extractor):
    """Return {name: (q, r)} of the convolutions that are reduced."""
    return {
        name: tuple(step.small_shape)
        for name, step, _ in extractor.steps
        if hasattr(step, "small_shape")
    }


@pytest.mark.parametrize("pooling", ["max", "avg"])
def test_channels_that_depend_on_each_other_are_computed_from_fewer(monkeypatch, pooling):
    monkeypatch.setattr(low_rank, "LOST_SHARE", 1e-6)  # more than rounding leaves
    whole = extractor_of(pooling=pooling)
    reduced = low_rank.low_rank_extractor(whole, whole, [PICTURE])
    assert small_kernels(reduced)["1_2"] == (16, 16)
    features, expected = reduced(OTHER_PICTURE), whole(OTHER_PICTURE)
    assert list(features) == list(expected)
    for name, values in expected.items():
        np.testing.assert_allclose(features[name], values, atol=2e-4 * np.abs(values).max())


@pytest.mark.parametrize("dtype", ["float32", pytest.param("bfloat16", marks=needs_bfloat16)])
def test_the_gradient_of_a_reduced_convolution_is_known_without_its_input(dtype):
    extractor, exact = extractor_of(dtype), extractor_of()
    steps = low_rank.low_rank_extractor(extractor, exact, [PICTURE]).steps
    ((convolve, channels),) = [
        (convolve, bias.shape[0])
        for _, convolve, bias in steps
        if hasattr(convolve, "small_shape") and bias.shape[0] == 48
    ]
    generator = np.random.default_rng(7)
    value, upstream = (
        tf.cast(generator.normal(size=(1, 9, 7, count)), dtype) for count in (64, channels)
    )
    with tf.GradientTape() as tape:
        tape.watch(value)
        output = convolve(value)
    gradient = tape.gradient(output, value, upstream)
    assert gradient.dtype == dtype
    error = np.abs(convolve.backward(upstream) - gradient).max()
    # A 1 × 1 convolution is not the gradient of one, and where the processor has no bfloat16 itself
    # the two round to its 8 bits at other places.
    is_native = not {"avx512_bf16", "amx_bf16"}.isdisjoint(machine.instruction_sets())
    tolerance = {"float32": 1e-5, "bfloat16": 0 if is_native else 2**-5}[dtype]
    assert float(error) <= tolerance * float(np.abs(gradient).max())


def test_it_is_the_same_every_time():
    whole = extractor_of()
    first, second = (low_rank.low_rank_extractor(whole, whole, [PICTURE]) for _ in range(2))
    for name, values in first(OTHER_PICTURE).items():
        np.testing.assert_array_equal(values, second(OTHER_PICTURE)[name])


def test_the_more_is_lost_the_fewer_channels_are_left(monkeypatch):
    monkeypatch.setattr(low_rank, "RANK_STEP", 1)
    whole = extractor_of()
    channels, errors = [], []
    for lost in (1e-4, 1e-2, 0.2):
        monkeypatch.setattr(low_rank, "LOST_SHARE", lost)
        reduced = low_rank.low_rank_extractor(whole, whole, [PICTURE])
        channels.append(sum(small_kernels(reduced)["1_2"]))
        difference = reduced(PICTURE)["conv1_2"] - whole(PICTURE)["conv1_2"]
        errors.append(float(tf.norm(difference)))
    assert channels == sorted(channels, reverse=True)
    assert channels[0] > channels[2]
    assert errors == sorted(errors)
    assert errors[0] < errors[2] / 3


def test_the_mean_output_stays_what_it_was(monkeypatch):
    """With all inputs kept, and outputs of rank 16 reduced to one channel."""
    monkeypatch.setattr(low_rank, "RANK_STEP", 1)
    projection = low_rank._projection

    def one_output(second_moment, importance):
        kept = projection(second_moment, importance)
        if len(second_moment) == 64:
            return low_rank._Projection(np.eye(64)[:, :16], np.tile(np.eye(16), 4))
        return low_rank._Projection(kept.reduce[:, -1:], kept.expand[-1:])

    monkeypatch.setattr(low_rank, "_projection", one_output)
    whole = extractor_of(layers=("conv1_2",))
    reduced = low_rank.low_rank_extractor(whole, whole, [PICTURE])
    means = [tf.reduce_mean(net(PICTURE)["conv1_2"], [0, 1]) for net in (whole, reduced)]
    assert small_kernels(reduced) == {"1_2": (16, 1)}
    np.testing.assert_allclose(means[1], means[0], atol=1e-4 * np.abs(means[0]).max())


def test_the_first_convolution_and_block_5_and_what_would_gain_nothing_stay_whole(monkeypatch):
    monkeypatch.setattr(low_rank, "LOST_SHARE", 1e-9)
    layers = [
        layer("block1_conv1", random_kernel(3, 32, 1), 1),
        layer("block1_conv2", random_kernel(32, 32, 2), 2),
        layer("block5_conv1", random_kernel(32, 16, 3) @ np.ones((16, 64)), 3),
    ]
    model = types.SimpleNamespace(layers=layers)
    whole = vgg.Extractor(model, ("conv5_1",))
    reduced = low_rank.low_rank_extractor(whole, whole, [PICTURE])
    assert small_kernels(reduced) == {}
    expected = whole(OTHER_PICTURE)["conv5_1"]
    np.testing.assert_array_equal(reduced(OTHER_PICTURE)["conv5_1"], expected)


@pytest.mark.parametrize("value", [0, 255])
def test_pictures_of_one_color_are_enough(value):
    whole = extractor_of()
    picture = np.full((16, 16, 3), value, np.float32)
    features = low_rank.low_rank_extractor(whole, whole, [picture])(OTHER_PICTURE)
    assert all(np.isfinite(values).all() for values in features.values())


@needs_bfloat16
def test_in_bfloat16_it_is_the_same_network():
    exact, coarse = extractor_of(), extractor_of("bfloat16")
    fine = low_rank.low_rank_extractor(exact, exact, [PICTURE])(PICTURE)
    for name, values in low_rank.low_rank_extractor(coarse, exact, [PICTURE])(PICTURE).items():
        assert values.dtype == tf.bfloat16
        error = tf.norm(tf.cast(values, tf.float32) - fine[name]) / tf.norm(fine[name])
        assert 0 < error < 0.05
