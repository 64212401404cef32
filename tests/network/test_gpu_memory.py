"""How much memory of a GPU may be used; TensorFlow's list and NVML have stand-ins."""

import math
import os
import sys
import types

import pytest

from gatys_norm import machine
from gatys_norm.network import device, gpu_memory, memory

GIB = 2**30
BUS = "0000:07:00.0"
CPU = types.SimpleNamespace(
    device_type="CPU", memory_limit=256 * 2**20, physical_device_desc="device: 0"
)


def gpu(limit=70 * GIB, bus=BUS):
    description = f"device: 0, name: Fast 1, pci bus id: {bus}, compute capability: 9.0"
    return types.SimpleNamespace(
        device_type="GPU", memory_limit=limit, physical_device_desc=description
    )


def offer(monkeypatch, *devices):
    """Let TensorFlow list these devices after its CPU."""
    monkeypatch.setattr(
        gpu_memory.device_lib, "list_local_devices", lambda: [CPU, *devices], raising=True
    )


class Nvml(types.ModuleType):
    """Stands in for pynvml: a GPU with free bytes, and processes that use some."""

    class NVMLError(Exception):
        """Its only error here."""

    def __init__(self, free, used=None, error_of=""):
        super().__init__("pynvml")
        self.free, self.used, self.error_of = free, used or {}, error_of
        self.calls = []

    def _call(self, name):
        self.calls.append(name)
        if name == self.error_of:
            raise self.NVMLError(name)

    def nvmlInit(self):  # noqa: N802
        self._call("init")

    def nvmlShutdown(self):  # noqa: N802
        self._call("shutdown")

    def nvmlDeviceGetHandleByPciBusId(self, bus):  # noqa: N802
        self._call("handle")
        if bus != BUS:
            raise self.NVMLError(bus)
        return bus

    def nvmlDeviceGetMemoryInfo(self, handle):  # noqa: N802
        self._call("memory")
        return types.SimpleNamespace(free=self.free)

    def nvmlDeviceGetComputeRunningProcesses(self, handle):  # noqa: N802
        self._call("processes")
        return [
            types.SimpleNamespace(pid=pid, usedGpuMemory=used) for pid, used in self.used.items()
        ]


def install(monkeypatch, *arguments, **keywords):
    nvml = Nvml(*arguments, **keywords)
    monkeypatch.setitem(sys.modules, "pynvml", nvml)
    return nvml


@pytest.fixture(autouse=True)
def nothing_installed(monkeypatch):
    monkeypatch.setitem(sys.modules, "pynvml", None)


def test_without_nvml_it_is_the_limit_of_tensorflows_first_gpu(monkeypatch):
    offer(monkeypatch, gpu(70 * GIB), gpu(20 * GIB, bus="0000:08:00.0"))
    assert gpu_memory.available_bytes() == 70 * GIB


@pytest.mark.parametrize("devices", [(), (gpu(limit=0),)], ids=["no GPU", "no limit"])
def test_where_tensorflow_says_nothing_it_is_unlimited(monkeypatch, devices):
    offer(monkeypatch, *devices)
    assert gpu_memory.available_bytes() == math.inf


@pytest.mark.parametrize(
    ("free", "own", "expected"), [(10, 5, 15), (0, 72, 70), (60, 0, 60), (75, 1, 70)]
)
def test_with_nvml_it_is_what_is_free_or_our_own_within_the_limit(monkeypatch, free, own, expected):
    nvml = install(monkeypatch, free * GIB, {1: 3 * GIB, os.getpid(): own * GIB})
    offer(monkeypatch, gpu(70 * GIB))
    assert gpu_memory.available_bytes() == expected * GIB
    assert nvml.calls == ["init", "handle", "memory", "processes", "shutdown"]


@pytest.mark.parametrize(
    "used",
    [{}, {1: 3 * GIB}, {os.getpid(): None}],
    ids=["no process", "another process", "ours without a number"],
)
def test_a_process_that_nvml_does_not_know_has_tensorflows_limit(monkeypatch, used):
    """As in a container, or on Windows: what is free does not contain what it holds."""
    install(monkeypatch, 1 * GIB, used)
    offer(monkeypatch, gpu(70 * GIB))
    assert gpu_memory.available_bytes() == 70 * GIB


@pytest.mark.parametrize("name", ["init", "handle", "memory", "processes"])
def test_a_fault_of_nvml_is_none_of_ours(monkeypatch, name):
    nvml = install(monkeypatch, 1 * GIB, {os.getpid(): 0}, error_of=name)
    offer(monkeypatch, gpu(70 * GIB))
    assert gpu_memory.available_bytes() == 70 * GIB
    assert ("shutdown" in nvml.calls) == (name != "init")


def test_a_gpu_is_told_from_others_by_its_address(monkeypatch):
    install(monkeypatch, 1 * GIB, {os.getpid(): 0})
    offer(monkeypatch, gpu(70 * GIB, bus="0000:08:00.0"))
    assert gpu_memory.available_bytes() == 70 * GIB
    nameless = gpu(70 * GIB)
    nameless.physical_device_desc = "a GPU"
    offer(monkeypatch, nameless)
    assert gpu_memory.available_bytes() == 70 * GIB


@pytest.mark.parametrize(("gpus", "available"), [([], 3), (["a GPU"], 70)])
def test_where_there_is_a_gpu_its_memory_and_its_costs_count(monkeypatch, gpus, available):
    monkeypatch.setattr(device, "gpus", lambda: gpus)
    monkeypatch.setattr(machine, "available_bytes", lambda: 3 * GIB)
    offer(monkeypatch, gpu(70 * GIB))
    assert device.available_bytes() == available * GIB
    assert device.costs() is (memory.GPU if gpus else memory.CPU)
