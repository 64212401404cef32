"""What a user's surroundings hold that must not change a picture. No TensorFlow at import."""

from __future__ import annotations

import contextlib
import importlib
import os
import sys
from collections.abc import Iterator, Mapping

KERAS_BACKEND = "tensorflow"
# Variables by which TensorFlow, XLA and oneDNN compute in other ways, or in fewer digits.
COARSER = (
    "TF_XLA_FLAGS",
    "XLA_FLAGS",
    "TF_SET_ONEDNN_FPMATH_MODE",
    "ONEDNN_DEFAULT_FPMATH_MODE",
    "DNNL_DEFAULT_FPMATH_MODE",
    "NVIDIA_TF32_OVERRIDE",
)
# Variables that choose among ways of the same accuracy: the user's choice, which records keep.
RECORDED = ("ONEDNN_MAX_CPU_ISA", "DNNL_MAX_CPU_ISA")


def keras_over_tensorflow() -> contextlib.AbstractContextManager[None]:
    """Return a context in which TensorFlow may be imported: Keras comes with it, over it."""
    return environment_variables({"KERAS_BACKEND": KERAS_BACKEND})


@contextlib.contextmanager
def environment_variables(changes: Mapping[str, str | None]) -> Iterator[None]:
    """Set environment variables, or take away those that are None; they return afterwards."""
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
    """Take the variables of `COARSER` out of the environment, for a program of its own."""
    _put_variables(dict.fromkeys(COARSER))


def variables_in_effect() -> dict[str, str]:
    """Return those variables that TensorFlow's rounding depends on and that are set."""
    return {name: os.environ[name] for name in (*RECORDED, *COARSER) if os.environ.get(name)}


def import_keras() -> None:
    """Import Keras over TensorFlow, unless it has been imported.

    Importing TensorFlow also tries Keras; where that fails, for want of another backend, it leaves
    a part of Keras behind that knows only that backend.
    """
    if "keras" not in sys.modules:
        for name in [name for name in sys.modules if name.startswith("keras.")]:
            del sys.modules[name]
        with keras_over_tensorflow():
            importlib.import_module("keras")
