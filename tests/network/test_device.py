"""What TensorFlow computes on: GPUs, number types, threads and versions."""

import dataclasses
import importlib.metadata

import pytest
import tensorflow as tf

from gatys_norm import machine
from gatys_norm.network import device


@dataclasses.dataclass(frozen=True)
class Gpu:
    """Stands for TensorFlow's `PhysicalDevice`."""

    name: str
    details: dict


def offer_gpus(monkeypatch, *details):
    """Let TensorFlow see GPUs of these details and no others."""
    gpus = [Gpu(f"/physical_device:GPU:{number}", detail) for number, detail in enumerate(details)]
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind: gpus)
    monkeypatch.setattr(tf.config.experimental, "get_device_details", lambda gpu: gpu.details)


@pytest.mark.parametrize(
    ("capabilities", "is_fast"),
    [([(8, 0)], True), ([(9, 0), (8, 6)], True), ([(7, 5)], False), ([(9, 0), (7, 0)], False)],
)
def test_gpus_compute_in_bfloat16_from_capability_8_on(monkeypatch, capabilities, is_fast):
    details = [{"compute_capability": capability} for capability in capabilities]
    offer_gpus(monkeypatch, *details)
    assert device.has_fast_bfloat16() is is_fast


def test_a_gpu_of_unknown_capability_is_taken_for_slow(monkeypatch):
    monkeypatch.setattr(machine, "instruction_sets", lambda: ["amx_bf16"])
    offer_gpus(monkeypatch, {})
    assert not device.has_fast_bfloat16()


@pytest.mark.parametrize(
    ("instruction_sets", "is_fast"),
    [(["avx2", "amx_bf16"], True), (["avx512_bf16"], False), (["avx2", "avx512f"], False)],
)
def test_cpus_compute_in_bfloat16_with_its_instructions(monkeypatch, instruction_sets, is_fast):
    monkeypatch.setattr(machine, "instruction_sets", lambda: instruction_sets)
    offer_gpus(monkeypatch)
    assert device.has_fast_bfloat16() is is_fast


@pytest.mark.parametrize(
    ("limit", "has_avx512", "has_amx"),
    [
        ("", True, True),
        ("AVX512_CORE_AMX", True, True),
        ("ALL", True, True),
        ("avx512_core_bf16", True, False),
        ("AVX512_CORE", True, False),
        ("AVX2_VNNI", False, False),
        ("avx2", False, False),
    ],
)
@pytest.mark.parametrize("name", ["ONEDNN_MAX_CPU_ISA", "DNNL_MAX_CPU_ISA"])
def test_limits_of_onednn_count_as_those_of_the_processor(
    monkeypatch, name, limit, has_avx512, has_amx
):
    monkeypatch.setattr(machine, "instruction_sets", lambda: ["avx2", "avx512f", "amx_bf16"])
    for variable in ("ONEDNN_MAX_CPU_ISA", "DNNL_MAX_CPU_ISA"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv(name, limit)
    offer_gpus(monkeypatch)
    assert device.has_avx512() is has_avx512
    assert device.has_fast_bfloat16() is has_amx


def test_a_processor_without_avx512_has_none(monkeypatch):
    monkeypatch.setattr(machine, "instruction_sets", lambda: ["avx2"])
    assert not device.has_avx512()


def test_the_environment_names_gpus_or_else_the_cpu(monkeypatch):
    offer_gpus(monkeypatch)
    assert device.environment()["device"].startswith("CPU ")
    offer_gpus(monkeypatch, {"device_name": "Fast 1"}, {})
    assert device.environment()["device"] == "Fast 1, /physical_device:GPU:1"


def test_the_environment_names_the_version_of_every_package():
    packages = device.environment()["packages"]
    assert packages["tensorflow"] == tf.__version__
    assert packages["gatys-norm"] == importlib.metadata.version("gatys-norm")


@pytest.mark.parametrize(
    ("setting", "variable", "count"), [(3, "2", 3), (0, "2", 2), (0, "", 5), (0, "many", 5)]
)
def test_threads_go_by_the_setting_then_the_variable_then_the_cores(
    monkeypatch, setting, variable, count
):
    monkeypatch.setattr(tf.config.threading, "get_intra_op_parallelism_threads", lambda: setting)
    monkeypatch.setenv("TF_NUM_INTRAOP_THREADS", variable)
    monkeypatch.setattr(machine, "affine_cores", lambda: 5)
    assert device.thread_count() == count
