"""Environment variables and settings of Keras that must not change a picture. No TensorFlow."""

from __future__ import annotations

import contextlib
import gc
import importlib
import os
import sys
from collections.abc import Iterator, Mapping

KERAS_BACKEND = "tensorflow"
# TensorFlow reads it once, when it is imported. Its own default depends on the processor: with
# AVX512 on, with AVX2 alone off, where a transfer then takes about 1.4 times as long.
ONEDNN = "TF_ENABLE_ONEDNN_OPTS"
# Variables that make TensorFlow, XLA and oneDNN compute in other ways, or with fewer digits.
COARSER = (
    "TF_XLA_FLAGS",
    "XLA_FLAGS",
    "TF_SET_ONEDNN_FPMATH_MODE",
    "ONEDNN_DEFAULT_FPMATH_MODE",
    "DNNL_DEFAULT_FPMATH_MODE",
    "NVIDIA_TF32_OVERRIDE",
)
# Variables that keep oneDNN from instruction sets that the processor has.
LIMITS = ("ONEDNN_MAX_CPU_ISA", "DNNL_MAX_CPU_ISA")
# Variables that choose among ways of equal accuracy. The user may set them; records keep them.
RECORDED = (ONEDNN, *LIMITS)


@contextlib.contextmanager
def importing_tensorflow() -> Iterator[None]:
    """Return a context in which to import TensorFlow: with oneDNN, and with Keras on top of it.

    If the user has switched oneDNN on or off, that is kept. Afterwards the environment is as it
    was, so that processes started later decide by the same rule.
    """
    onednn = os.environ.get(ONEDNN) or "1"
    with environment_variables({"KERAS_BACKEND": KERAS_BACKEND, ONEDNN: onednn}), _uncollected():
        yield


@contextlib.contextmanager
def _uncollected() -> Iterator[None]:
    """Pause the garbage collection, which takes a fifth of the time of so large an import."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


@contextlib.contextmanager
def environment_variables(changes: Mapping[str, str | None]) -> Iterator[None]:
    """Set environment variables, or remove those that are None; restore them afterwards."""
    before = {name: os.environ.get(name) for name in changes}
    _put_variables(changes)
    try:
        yield
    finally:
        _put_variables(before)


def _put_variables(values: Mapping[str, str | None]) -> None:
    for name, value in values.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value


def drop_coarser_ways() -> None:
    """Remove the variables of `COARSER` from the environment of this process."""
    _put_variables(dict.fromkeys(COARSER))


def variables_in_effect() -> dict[str, str]:
    """Return the variables that are set and that the rounding of TensorFlow depends on."""
    return {name: os.environ[name] for name in (*RECORDED, *COARSER) if os.environ.get(name)}


def import_keras() -> None:
    """Import Keras on top of TensorFlow, unless it is imported already.

    The import of TensorFlow tries to import Keras too. If that fails, because the user asked for
    another backend that is not installed, a part of Keras stays loaded that knows only that
    backend; it is unloaded first.
    """
    if "keras" not in sys.modules:
        for name in [name for name in sys.modules if name.startswith("keras.")]:
            del sys.modules[name]
        with importing_tensorflow():
            importlib.import_module("keras")
