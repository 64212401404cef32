"""A cache to fill, made-up weights to fill it with, and a network to load weights into."""

import pytest
import tensorflow as tf
from helpers.weights_files import codebooks, expected_arrays, legacy_layout, offer_wheel

from gatys_norm.network import imagenet_8bit


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """Give an empty folder in place of the user's cache."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "gatys_norm"


@pytest.fixture
def small_wheel(tmp_path, monkeypatch):
    """Offer a wheel of small kernels as if it were the real one; give its folder."""
    tensors = codebooks()
    expected = imagenet_8bit.sha256_of(expected_arrays(tensors))
    monkeypatch.setattr(imagenet_8bit, "ARRAYS_SHA256", expected)
    return offer_wheel(monkeypatch, tmp_path / "shelf", legacy_layout(tensors))


@pytest.fixture(scope="module")
def model():
    """Give Keras's VGG-19, random weights in it."""
    return tf.keras.applications.VGG19(include_top=False, weights=None)
