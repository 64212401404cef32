"""Keras's VGG-19, which is the same for all global settings of Keras."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from typing import Any

import tensorflow as tf

from gatys_norm import surroundings
from gatys_norm.text import one_line

_lock = threading.RLock()  # the settings belong to the whole process


class KerasError(RuntimeError):
    """Keras cannot be used here; the message says why and what would be right."""


def make() -> tf.keras.Model:
    """Return `tf.keras.applications.VGG19` without its classifier, float32, channels last.

    Raises:
      KerasError: see `load_keras`.
    """
    load_keras()
    with _settings_held():
        return tf.keras.applications.VGG19(include_top=False, weights=None)


def load_keras() -> None:
    """Load Keras on top of TensorFlow, even if KERAS_BACKEND or ~/.keras/keras.json differ.

    Raises:
      KerasError: Keras cannot be loaded, or is loaded with another backend than TensorFlow.
    """
    try:
        surroundings.import_keras()
        backend = tf.keras.backend.backend()
    except (ImportError, ValueError, AttributeError) as error:
        raise KerasError(f"Keras cannot be loaded: {one_line(error)}") from error
    if backend != surroundings.KERAS_BACKEND:
        raise KerasError(
            f"Keras is loaded with the backend {backend} and this program needs "
            f"{surroundings.KERAS_BACKEND}: set the environment variable "
            f"KERAS_BACKEND={surroundings.KERAS_BACKEND} before Keras is imported"
        )


@contextlib.contextmanager
def _settings_held() -> Iterator[None]:
    """Set number type, policy and image layout to Keras's defaults; restore them afterwards."""
    backend, policies = tf.keras.backend, tf.keras.mixed_precision
    settings: tuple[tuple[Any, Any, Any], ...] = (
        (backend.floatx, backend.set_floatx, "float32"),
        (policies.global_policy, policies.set_global_policy, "float32"),
        (backend.image_data_format, backend.set_image_data_format, "channels_last"),
    )
    with _lock, contextlib.ExitStack() as stack:
        for get, put, value in settings:
            stack.callback(put, get())
            put(value)
        yield
