"""What TensorFlow computes on here: GPUs, number types, threads, versions."""

from __future__ import annotations

import contextlib
import importlib.metadata
import os
import platform
from collections.abc import Iterator
from typing import Any

import tensorflow as tf
from tensorflow.python.util import _pywrap_util_port

from gatys_norm import machine, surroundings
from gatys_norm.record import Environment

PACKAGES = ("gatys-norm", "tensorflow", "tensorflow-probability", "keras", "numpy", "pillow")
REWRITES = (  # of TensorFlow's graphs, to float16 or bfloat16
    "auto_mixed_precision",
    "auto_mixed_precision_mkl",
    "auto_mixed_precision_onednn_bfloat16",
)
INSTRUCTION_SETS_OF_BFLOAT16 = {"amx_bf16", "avx512_bf16"}
COMPUTE_CAPABILITY_OF_BFLOAT16 = (8, 0)


def gpus() -> list[Any]:
    """Return the GPUs that TensorFlow sees, as its `PhysicalDevice`s; none means the CPU."""
    return tf.config.list_physical_devices("GPU")


def has_fast_bfloat16() -> bool:
    """Tell whether the device computes in bfloat16 itself, rather than by way of float32.

    GPUs do from compute capability 8.0 on; CPUs with AMX or AVX-512 BF16, which only Linux tells.
    """
    details = _details_of_gpus()
    if details:
        capabilities = [detail.get("compute_capability", (0, 0)) for detail in details]
        return min(capabilities) >= COMPUTE_CAPABILITY_OF_BFLOAT16
    return not INSTRUCTION_SETS_OF_BFLOAT16.isdisjoint(machine.instruction_sets())


@contextlib.contextmanager
def graphs_in_full_precision() -> Iterator[None]:
    """Switch off what rewrites graphs to coarser numbers or fuses operations; all returns after.

    These settings belong to the whole process, and a library cannot know who set them.
    """
    optimizer = tf.config.optimizer
    options, jit = optimizer.get_experimental_options(), optimizer.get_jit()
    try:
        optimizer.set_experimental_options(dict.fromkeys(REWRITES, False))
        optimizer.set_jit(False)
        yield
    finally:
        optimizer.set_experimental_options(dict.fromkeys(REWRITES, False) | options)
        optimizer.set_jit(jit)


def environment() -> Environment:
    """Return package versions, the device, and all else that the bytes of a picture depend on.

    `threads` is how many TensorFlow computes one operation with, `onednn` whether its convolutions
    are oneDNN's, `variables` what is set of the environment variables that rounding depends on.
    """
    names = [
        detail.get("device_name", gpu.name)
        for gpu, detail in zip(gpus(), _details_of_gpus(), strict=True)
    ]
    return {
        "python": platform.python_version(),
        "packages": {name: importlib.metadata.version(name) for name in PACKAGES},
        "device": ", ".join(names) or f"CPU {platform.machine()}, {os.cpu_count()} cores",
        "instruction_sets": machine.instruction_sets(),
        "threads": thread_count(),
        "onednn": bool(_pywrap_util_port.IsMklEnabled()),
        "variables": surroundings.variables_in_effect(),
    }


def thread_count() -> int:
    """Return how many threads compute one operation.

    By default TensorFlow goes by its environment variable, then by the cores of the process.
    """
    requested_count = os.environ.get("TF_NUM_INTRAOP_THREADS", "")
    return (
        tf.config.threading.get_intra_op_parallelism_threads()
        or (int(requested_count) if requested_count.isdecimal() else 0)
        or machine.affine_cores()
    )


def _details_of_gpus() -> list[dict[str, Any]]:
    return [tf.config.experimental.get_device_details(gpu) for gpu in gpus()]
