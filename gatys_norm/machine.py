"""What this process may use of the machine: instruction sets, cores, memory."""

from __future__ import annotations

import contextlib
import math
import os
from collections.abc import Iterator
from pathlib import Path

import psutil

try:
    import resource
except ImportError:  # Windows
    resource = None  # type: ignore[assignment]

CPU_DESCRIPTION = Path("/proc/cpuinfo")  # only Linux has it
CONTROL_GROUPS_OF_PROCESS = Path("/proc/self/cgroup")
CONTROL_GROUPS = Path("/sys/fs/cgroup")
# Those that decide how a sum of products is computed, and so how it is rounded.
INSTRUCTION_SETS = ("avx2", "avx512f", "avx512_bf16", "amx_bf16", "asimd", "sve", "bf16")


def processor() -> dict[str, str]:
    """Return what Linux says about the first processor; empty on other systems."""
    with contextlib.suppress(OSError):
        lines = CPU_DESCRIPTION.read_text().partition("\n\n")[0].splitlines()
        facts = (line.partition(":") for line in lines)
        return {name.strip(): value.strip() for name, _, value in facts}
    return {}


def instruction_sets() -> list[str]:
    """Return those of `INSTRUCTION_SETS` that the processor has; empty where that is unknown."""
    facts = processor()
    features = (facts.get("flags") or facts.get("Features") or "").split()
    return [name for name in INSTRUCTION_SETS if name in features]


def cores() -> int:
    """Return how many cores this process may use, by its affinity and its control groups."""
    shares = [quota / period for quota, period in _processor_quotas() if quota > 0 and period > 0]
    return min([affine_cores(), *(max(1, math.ceil(share)) for share in shares)])


def affine_cores() -> int:
    """Return how many cores the operating system may run this process on."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _processor_quotas() -> Iterator[tuple[float, float]]:
    """Yield (quota, period) in microseconds for every control group around this process."""
    for folder in control_groups(""):
        words = _read(folder / "cpu.max").split()
        if len(words) == 2 and words[0] != "max":
            yield float(words[0]), float(words[1])
    for folder in control_groups("cpu"):
        quota, period = (_read(folder / f"cpu.cfs_{name}_us") for name in ("quota", "period"))
        if quota and period:
            yield float(quota), float(period)


def available_bytes() -> int:
    """Return the number of bytes of main memory that this process may use without swapping.

    That is the minimum of what the machine, every control group around the process, and the limit
    of its address space allow. The bytes that it uses already are included.
    """
    usage = psutil.Process().memory_info()
    bounds = [psutil.virtual_memory().available + usage.rss]
    for limit, free in _control_group_limits():
        bounds.append(min(limit, free + usage.rss))  # a group does not count all of it
    if resource is not None:
        limit, _ = resource.getrlimit(resource.RLIMIT_AS)
        if limit != resource.RLIM_INFINITY:
            bounds.append(limit - usage.vms + usage.rss)
    return max(0, min(bounds))


def _control_group_limits() -> Iterator[tuple[int, int]]:
    """Yield (limit, free bytes) for every control group around this process."""
    for controller, limit_file, usage_file, cache_fact in (
        ("", "memory.max", "memory.current", "inactive_file"),
        ("memory", "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
    ):
        for folder in control_groups(controller):
            limit, usage = _read(folder / limit_file), _read(folder / usage_file)
            if limit.isdecimal() and usage.isdecimal():
                facts = dict(line.split() for line in _read(folder / "memory.stat").splitlines())
                yield int(limit), int(limit) - int(usage) + int(facts.get(cache_fact, 0))


def control_groups(controller: str) -> list[Path]:
    """Return the folders of this process's control group and of all groups around it.

    Args:
      controller: of version 1, such as "memory"; "" for version 2, which has one tree for all.
    """
    for line in _read(CONTROL_GROUPS_OF_PROCESS).splitlines():
        _, controllers, path = line.split(":", 2)
        if controller in controllers.split(","):
            # A container may see the path outside of it, and its own group as the root.
            root = CONTROL_GROUPS / controller
            group = root / path.lstrip("/")
            folders = [group, *group.parents]
            return [folder for folder in folders[: folders.index(root) + 1] if folder.is_dir()]
    return []


def _read(path: Path) -> str:
    with contextlib.suppress(OSError, UnicodeDecodeError):
        return path.read_text().strip()
    return ""
