"""The ways of computing the network: as a whole, or in strips."""

import contextlib

import pytest

from gatys_norm.network.memory import WHOLE, Strips

# Several strips even of small maps; the first block is computed once more, the others are kept.
LOW_STRIPS = Strips(rows=8, kept=4)
all_ways = pytest.mark.parametrize("strips", [WHOLE, LOW_STRIPS], ids=["whole", "strips"])


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
