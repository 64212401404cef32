"""The ways of computing the network: as a whole, its head in strips, all its blocks in strips."""

import contextlib

import pytest

from gatys_norm.network.memory import ALL_BLOCKS, HEAD, WHOLE, Strips

# Several strips even of small maps; the first block is computed once more, the others are kept.
ALL = Strips(ALL_BLOCKS, rows=8, kept=4)
all_ways = pytest.mark.parametrize("strips", [WHOLE, HEAD, ALL], ids=["whole", "head", "all"])


def set_head_strips(monkeypatch, rows, width):
    """Make the strips of the head so many rows high for pictures of a width."""
    from gatys_norm.network import head_strips, vgg

    monkeypatch.setattr(head_strips, "STRIP_PIXELS", rows * width)
    monkeypatch.setattr(head_strips, "LEAST_ROWS", vgg.HEAD_STRIDE)


@contextlib.contextmanager
def without_graphs():
    """Return a context in which functions are not traced, which takes longer than small maps do."""
    import tensorflow as tf

    before = tf.config.functions_run_eagerly()
    tf.config.run_functions_eagerly(True)
    try:
        yield
    finally:
        tf.config.run_functions_eagerly(before)
