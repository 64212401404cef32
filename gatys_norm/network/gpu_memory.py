"""How much memory of a GPU this process may use, as TensorFlow and NVIDIA's library NVML say."""

from __future__ import annotations

import contextlib
import importlib
import math
import os
import re
from typing import Any

from tensorflow.python.client import device_lib


def available_bytes() -> float:
    """Return how many bytes of the GPU that TensorFlow computes on this process may use.

    Those that it uses already are included. TensorFlow initializes its GPUs for this, if it has not
    done so before.

    Returns:
      The limit of TensorFlow's own memory there, a share of the GPU that was free when it started,
      or the limit of a `LogicalDeviceConfiguration`. Where TensorFlow takes memory as it needs it,
      others may have taken some since, and if NVML is installed, it says how much is left. Infinite
      if neither says anything.
    """
    for attributes in device_lib.list_local_devices():
        if attributes.device_type == "GPU":
            limit = attributes.memory_limit or math.inf
            bus = re.search(r"pci bus id: ([\w:.]+)", attributes.physical_device_desc)
            return min(limit, _bytes_left(bus[1]) if bus else math.inf)
    return math.inf


def _bytes_left(bus_id: str) -> float:
    """Return the bytes of a GPU that are free or used by this process; infinite if unknown.

    Args:
      bus_id: its address as a PCI device, which does not depend on CUDA_VISIBLE_DEVICES.
    """
    try:
        nvml: Any = importlib.import_module("pynvml")
    except ImportError:
        return math.inf
    with contextlib.suppress(nvml.NVMLError):
        nvml.nvmlInit()
        try:
            gpu = nvml.nvmlDeviceGetHandleByPciBusId(bus_id)
            free = nvml.nvmlDeviceGetMemoryInfo(gpu).free
            for process in nvml.nvmlDeviceGetComputeRunningProcesses(gpu):
                if process.pid == os.getpid() and process.usedGpuMemory is not None:
                    return float(free + process.usedGpuMemory)
        finally:
            nvml.nvmlShutdown()
    # In a container NVML may not know the number of this process: what it uses is unknown then.
    return math.inf
