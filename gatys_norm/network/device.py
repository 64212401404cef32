"""The device that TensorFlow computes on: GPUs, number types, threads, versions."""

from __future__ import annotations

import contextlib
import functools
import importlib.metadata
import os
import platform
import warnings
from collections.abc import Collection, Iterator
from typing import Any

import tensorflow as tf
from tensorflow.python.util import _pywrap_util_port

from gatys_norm import machine, surroundings
from gatys_norm.network import gpu_memory, memory
from gatys_norm.record import Environment

PACKAGES = ("gatys-norm", "tensorflow", "tensorflow-probability", "keras", "numpy", "pillow")
REWRITES = (  # of TensorFlow's graphs, to float16 or bfloat16
    "auto_mixed_precision",
    "auto_mixed_precision_mkl",
    "auto_mixed_precision_onednn_bfloat16",
)
# With AVX512_BF16 alone an evaluation takes as long as in float32 by Winograd's way.
INSTRUCTION_SET_OF_BFLOAT16 = "amx_bf16"
# Values of oneDNN's variables.
LIMITS_BELOW_AVX512 = ("SSE41", "AVX", "AVX2", "AVX2_VNNI", "AVX2_VNNI_2")
LIMITS_BELOW_AMX = (
    *LIMITS_BELOW_AVX512,
    *("AVX512_CORE", "AVX512_CORE_VNNI", "AVX512_CORE_BF16", "AVX512_CORE_FP16"),
)
COMPUTE_CAPABILITY_OF_BFLOAT16 = (8, 0)


def gpus() -> list[Any]:
    """Return the GPUs that TensorFlow sees, as `PhysicalDevice`s; without any it uses the CPU."""
    return tf.config.list_physical_devices("GPU")


def has_fast_bfloat16() -> bool:
    """Tell whether the network is faster in bfloat16 than in float32.

    So it is on GPUs whose compute capability is 8.0 or more, and on CPUs that have AMX, if oneDNN
    may use it. The features of a CPU are known on Linux only.
    """
    details = _details_of_gpus()
    if details:
        capabilities = [detail.get("compute_capability", (0, 0)) for detail in details]
        return min(capabilities) >= COMPUTE_CAPABILITY_OF_BFLOAT16
    has_instructions = INSTRUCTION_SET_OF_BFLOAT16 in machine.instruction_sets()
    return has_instructions and not _is_limited_to(LIMITS_BELOW_AMX)


def has_avx512() -> bool:
    """Tell whether the CPU has AVX512, and oneDNN may use it."""
    has_instructions = "avx512f" in machine.instruction_sets()
    return has_instructions and not _is_limited_to(LIMITS_BELOW_AVX512)


def _is_limited_to(limits: Collection[str]) -> bool:
    """Tell whether the environment limits oneDNN to one of these instruction sets."""
    return any(os.environ.get(name, "").upper() in limits for name in surroundings.LIMITS)


def usable_precision(precision: str) -> str:
    """Return `precision`; but warn and return "float32" where that is as fast."""
    if precision == "float32" or has_fast_bfloat16():
        return precision
    warnings.warn(
        f"precision: on this device float32 is at least as fast as {precision}, and taken instead",
        stacklevel=2,
    )
    return "float32"


def available_bytes() -> float:
    """Return how many bytes a transfer may take, of the GPU's memory if there is one."""
    return gpu_memory.available_bytes() if gpus() else machine.available_bytes()


def costs() -> memory.Costs:
    """Return what the parts of a transfer need on this device."""
    return memory.GPU if gpus() else memory.CPU


@functools.cache
def warn_without_onednn() -> None:
    """Warn once if TensorFlow leaves oneDNN off and nobody asked for that.

    So it is on a processor without AVX512, if TensorFlow was imported before this package was.
    """
    is_chosen = bool(os.environ.get(surroundings.ONEDNN))
    may_be_on = "avx2" in machine.instruction_sets() and not gpus()
    if may_be_on and not is_chosen and not _pywrap_util_port.IsMklEnabled():
        warnings.warn(
            "TensorFlow was imported without oneDNN, which makes a transfer faster here; set the "
            f"environment variable {surroundings.ONEDNN}=1 before TensorFlow is imported",
            stacklevel=3,
        )


@contextlib.contextmanager
def within_memory(size: int) -> Iterator[None]:
    """Turn TensorFlow's error for full memory into `OutOfMemoryError`."""
    try:
        yield
    except tf.errors.ResourceExhaustedError as error:
        raise memory.OutOfMemoryError(
            f"size: {size} does not fit into the device's memory; choose a smaller one"
        ) from error


@contextlib.contextmanager
def graphs_in_full_precision() -> Iterator[None]:
    """Switch off what computes with coarser numbers or fuses operations; restore it after.

    These settings belong to the whole process, and other code may have set them. TensorFloat-32,
    which TensorFlow uses on GPUs unless it is switched off, has the mantissa of float16.
    """
    optimizer = tf.config.optimizer
    options, jit = optimizer.get_experimental_options(), optimizer.get_jit()
    has_tensor_float_32 = tf.config.experimental.tensor_float_32_execution_enabled()
    try:
        optimizer.set_experimental_options(dict.fromkeys(REWRITES, False))
        optimizer.set_jit(False)
        tf.config.experimental.enable_tensor_float_32_execution(False)
        yield
    finally:
        optimizer.set_experimental_options(dict.fromkeys(REWRITES, False) | options)
        optimizer.set_jit(jit)
        tf.config.experimental.enable_tensor_float_32_execution(has_tensor_float_32)


def environment() -> Environment:
    """Return versions, the device, and everything else that the bytes of a picture depend on.

    `threads` is the number of threads that TensorFlow uses for one operation, `onednn` whether it
    uses oneDNN, `variables` the environment variables that are set and that rounding depends on.
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
    """Return the number of threads that TensorFlow uses for one operation.

    If the program has not set it, it is that of the environment variable TF_NUM_INTRAOP_THREADS, or
    else the number of cores.
    """
    requested_count = os.environ.get("TF_NUM_INTRAOP_THREADS", "")
    return (
        tf.config.threading.get_intra_op_parallelism_threads()
        or (int(requested_count) if requested_count.isdecimal() else 0)
        or machine.affine_cores()
    )


def _details_of_gpus() -> list[dict[str, Any]]:
    return [tf.config.experimental.get_device_details(gpu) for gpu in gpus()]
