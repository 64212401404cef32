"""A copy of the network that computes almost the same features for about a third of the work.

The channels of a layer are far from independent: in the pictures of one transfer most of what they
say lies in a few directions. Here a convolution of C to C' channels becomes three: 1 × 1 to the q
main directions of its inputs, 3 × 3 from these to the r main directions of its outputs, and 1 × 1
back to all C' channels.

Which directions are the main ones depends on what comes next. Let K_t, C × C', be the kernel of a
convolution at its tap t. An error e of its inputs changes its outputs by about K_tᵀ e, so it counts
as eᵀ W e with the *importance* W = Σ_t K_t K_tᵀ. With W = F Fᵀ and the second moments M of the
inputs, the main directions are the eigenvectors of Fᵀ M F with the largest eigenvalues, and the
share of the other eigenvalues is the error. Outputs are inputs of the convolution after them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from gatys_norm.network.convolution import Convolution
from gatys_norm.network.vgg import Extractor, Step
from gatys_norm.terms import block_of

LOST_SHARE = 6e-4  # of the eigenvalues, at either reduction
RANK_STEP = 16  # number of channels that a processor computes at once
RIDGE = 1e-6  # share of its mean eigenvalue that is added to W, so that F has an inverse
FIRST = "1_1"  # the convolution of the three colors
# The few positions of block 5 do not tell its main directions, and it is a twentieth of the work.
REDUCED_BLOCKS = range(1, 5)


class _Projection(NamedTuple):
    """The matrix that reduces C channels to r, C × r, and the one that expands them, r × C."""

    reduce: np.ndarray
    expand: np.ndarray


def low_rank_extractor(
    extractor: Extractor, exact: Extractor, pictures: Sequence[np.ndarray]
) -> Extractor:
    """Return an extractor of the same layers with reduced convolutions; the same every time.

    The first convolution and those of block 5 stay whole, and those that would not gain anything.

    Args:
      extractor: φ, in the precision of the result.
      exact: φ in float32.
      pictures: where the second moments are taken from, each H × W × 3, RGB, 0–255.
    """
    observers = {
        name: _Observer(convolution)
        for name, convolution, _ in exact.steps
        if isinstance(convolution, Convolution)
    }
    observed = exact.with_steps(
        [(name, observers.get(name), bias) for name, _, bias in exact.steps]
    )
    for picture in pictures:
        observed(tf.constant(picture))
    following = dict(zip(observers, [*observers.values()][1:], strict=False))
    return extractor.with_steps(
        [
            _reduced(step, observers[step[0]], following.get(step[0]))
            if step[0] in observers
            else step
            for step in extractor.steps
        ]
    )


def _reduced(step: Step, observer: _Observer, following: _Observer | None) -> Step:
    """Return the step with its convolution reduced, or as it is if that would not gain anything."""
    name, _, bias = step
    channels, channels_after = observer.kernel.shape[2:]
    if name == FIRST or block_of(name) not in REDUCED_BLOCKS:
        return step
    inputs = _projection(observer.inputs, observer.importance)
    # After the last convolution all directions of the outputs are equally important.
    importance = np.eye(channels_after) if following is None else following.importance
    outputs = _projection(observer.covariance, importance)
    kernel = tf.matmul(tf.matmul(inputs.expand, observer.kernel), outputs.reduce).numpy()
    q, r = kernel.shape[2:]
    if channels * q + 9 * q * r + r * channels_after >= 9 * channels * channels_after:
        return step
    mean = observer.mean
    shift = mean - mean @ outputs.reduce @ outputs.expand  # keeps the mean output what it was
    convolution = _Reduced(inputs.reduce, kernel, outputs.expand, bias.dtype, observer.border)
    return name, convolution, bias + _constant(shift, bias.dtype)


class _Reduced:
    """A convolution in three steps: 1 × 1, 3 × 3 and 1 × 1.

    Attributes:
      small_shape: (q, r), the channels that the 3 × 3 convolution has.
    """

    def __init__(
        self,
        reduce: np.ndarray,
        kernel: np.ndarray,
        expand: np.ndarray,
        dtype: tf.DType,
        border: str,
    ) -> None:
        self.small_shape = kernel.shape[2:]
        self._reduce = _constant(reduce[np.newaxis, np.newaxis], dtype)
        self._convolve = Convolution(_constant(kernel, dtype), border=border)
        self._expand = _constant(expand[np.newaxis, np.newaxis], dtype)

    def __call__(self, value: tf.Tensor) -> tf.Tensor:
        """Convolve 1 × H × W × C to 1 × H × W × C'."""
        reduced = tf.nn.conv2d(value, self._reduce, 1, "SAME")
        return tf.nn.conv2d(self._convolve(reduced), self._expand, 1, "SAME")

    def backward(self, upstream: tf.Tensor) -> tf.Tensor:
        """Return the gradient of the input, 1 × H × W × C, from that of the result."""
        reduced = tf.nn.conv2d(upstream, tf.transpose(self._expand, [0, 1, 3, 2]), 1, "SAME")
        expanded = self._convolve.backward(reduced)
        return tf.nn.conv2d(expanded, tf.transpose(self._reduce, [0, 1, 3, 2]), 1, "SAME")


class _Observer:
    """A convolution that adds up the first and second moments of its inputs v and outputs u.

    The outputs are those without the bias.
    """

    def __init__(self, convolution: Convolution) -> None:
        self._convolution = convolution
        self.border = convolution.border
        self.kernel = convolution.kernel.numpy().astype(np.float64)
        channels, channels_after = self.kernel.shape[2:]
        self._count = 0
        self._inputs = np.zeros([channels, channels])
        self._outputs = np.zeros([channels_after, channels_after])
        self._sum = np.zeros(channels_after)

    def __call__(self, value: tf.Tensor) -> tf.Tensor:
        """Convolve 1 × H × W × C to 1 × H × W × C'."""
        outputs = self._convolution(value)
        self._count += math.prod(outputs.shape[1:3])
        self._inputs += _sum_of_products(value)
        self._outputs += _sum_of_products(outputs)
        self._sum += tf.reduce_sum(outputs, [0, 1, 2]).numpy()
        return outputs

    def backward(self, upstream: tf.Tensor) -> tf.Tensor:
        """Return the gradient of the input, 1 × H × W × C, from that of the result."""
        return self._convolution.backward(upstream)

    @property
    def importance(self) -> np.ndarray:
        """W = Σ_t K_t K_tᵀ, C × C."""
        products = tf.matmul(self.kernel, self.kernel, transpose_b=True)
        return tf.reduce_sum(products, [0, 1]).numpy()

    @property
    def inputs(self) -> np.ndarray:
        """The mean of v vᵀ, C × C."""
        return self._inputs / self._count

    @property
    def mean(self) -> np.ndarray:
        """The mean of u, C'."""
        return self._sum / self._count

    @property
    def covariance(self) -> np.ndarray:
        """The covariance of u, C' × C'."""
        return self._outputs / self._count - np.outer(self.mean, self.mean)


def _projection(second_moment: np.ndarray, importance: np.ndarray) -> _Projection:
    """Return the projection to the main directions.

    By TensorFlow, since the threads of NumPy's eigenvectors hinder each other on a busy machine.
    """
    ridge = RIDGE * np.trace(importance) / len(importance)
    factor = tf.linalg.cholesky(importance + ridge * np.eye(len(importance)))
    weighted = tf.matmul(factor, tf.matmul(second_moment, factor), transpose_a=True)
    values, vectors = tf.linalg.eigh(weighted)  # smallest first
    eigenvalues = values.numpy()
    count = np.count_nonzero(np.cumsum(eigenvalues) > LOST_SHARE * eigenvalues.sum())
    rank = RANK_STEP * max(1, math.ceil(count / RANK_STEP))
    main = vectors[:, -rank:]
    expand = tf.linalg.triangular_solve(factor, main, adjoint=True)
    return _Projection(tf.matmul(factor, main).numpy(), tf.transpose(expand).numpy())


def _sum_of_products(value: tf.Tensor) -> np.ndarray:
    """Return Σ v vᵀ over all positions of 1 × H × W × C."""
    flat = tf.reshape(value, [-1, value.shape[3]])
    return tf.matmul(flat, flat, transpose_a=True).numpy()


def _constant(values: np.ndarray, dtype: tf.DType) -> tf.Tensor:
    return tf.cast(tf.constant(values, tf.float32), dtype)
