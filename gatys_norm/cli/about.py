"""Answers about the program itself, for users and for bug reports."""

from __future__ import annotations

import importlib.metadata
import math
import platform

import psutil

from gatys_norm import machine
from gatys_norm.cli import loading


def version() -> str:
    """Return one line with the versions of this program and of TensorFlow, without loading it."""
    return f"gatys-norm {_version_of('gatys-norm')}, TensorFlow {_version_of('tensorflow')}"


def _version_of(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"


def devices(weights_source: str) -> str:
    """Return what a transfer would use, one fact per line; loads TensorFlow, fetches no weights.

    Args:
      weights_source: the value of --weights.

    Raises:
      LoadingError: TensorFlow cannot be loaded.
    """
    loading.start_tensorflow()
    from gatys_norm.network import device

    environment = device.environment()
    variables = environment["variables"].items()
    packages = environment["packages"].items()
    facts = {
        "versions": ", ".join(f"{name} {version}" for name, version in packages),
        "python": f"{environment['python']} on {platform.platform()}",
        "device": environment["device"] + ("" if device.gpus() else "; TensorFlow found no GPU"),
        "instruction sets": ", ".join(environment["instruction_sets"]) or "unknown",
        "threads per operation": environment["threads"],
        "oneDNN": "on" if environment["onednn"] else "off",
        "memory": _memory(),
        "weights": _weights(weights_source),
        "variables in effect": ", ".join(f"{name}={value}" for name, value in variables) or "none",
    }
    return "\n".join(f"{name + ':':22} {fact}" for name, fact in facts.items())


def _memory() -> str:
    """Return how much memory may be used, of the machine and of its GPU."""
    from gatys_norm.network import device

    available, total = machine.available_bytes(), psutil.virtual_memory().total
    line = f"{available / 2**30:.1f} GiB available, {total / 2**30:.1f} GiB in all"
    if not device.gpus():
        return line
    on_gpu = device.available_bytes()
    amount = f"{on_gpu / 2**30:.1f} GiB" if math.isfinite(on_gpu) else "an unknown amount"
    return f"{line}; GPU: {amount} available"


def _weights(source: str) -> str:
    """Return the file of weights that a transfer would use, without fetching any."""
    from gatys_norm.network import weights

    try:
        weights.check_path(source)
        cached = weights.cached_files()
    except weights.WeightsError as error:
        return str(error).removeprefix("weights: ")
    if source not in weights.SOURCES:
        return source
    preferred = "imagenet" if source == "auto" else source
    if preferred in cached:
        return f"{preferred}, {cached[preferred]}"
    if source == "auto" and "imagenet-8bit" in cached:
        return f"imagenet would be fetched; if that fails: {cached['imagenet-8bit']}"
    return f"{preferred} would be fetched"
