"""What programs that measure share: own processes, the machine, tables, sections of pages."""

import concurrent.futures
import contextlib
import datetime
import multiprocessing
import os
import platform
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, ParamSpec, TypeAlias, TypeVar

import psutil

from gatys_norm import cli, files, weights

PACKAGES = ("tensorflow", "tensorflow-probability")
CPU_FEATURES = ("avx2", "avx512f", "avx512_bf16", "amx_bf16")

Machine: TypeAlias = dict[str, Any]  # plain JSON values
P = ParamSpec("P")
T = TypeVar("T")


def in_own_process(function: Callable[P, T], *arguments: P.args, **named: P.kwargs) -> T:
    """Call in a new process: nothing is loaded or traced before, and a GPU is free afterwards."""
    context = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(1, context) as pool:
        return pool.submit(function, *arguments, **named).result()


def describe_machine(weights_source: str, load_before: float) -> Machine:
    """Return what a reader needs to judge the figures, and which weights are had.

    Args:
      weights_source: what --weights says.
      load_before: the load average before the program did anything.
    """
    transfer = cli.start_tensorflow()
    with cli.refusing(weights.WeightsError):
        weights_source = weights.locate(weights_source).source
    processor: dict[str, str] = {}
    with contextlib.suppress(OSError):
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        facts = (line.partition(":") for line in lines)
        processor = {name.strip(): value.strip() for name, _, value in facts}
    return transfer.environment() | {
        "kind": "gpu" if transfer.tf.config.list_physical_devices("GPU") else "cpu",
        "processor": processor.get("model name", platform.processor()),
        "cores": os.cpu_count(),
        "features": [name for name in CPU_FEATURES if name in processor.get("flags", "").split()],
        "memory_gib": round(psutil.virtual_memory().total / 2**30),
        "system": platform.platform(),
        "weights": weights_source,
        "date": datetime.date.today().isoformat(),
        "load_before": load_before,
    }


def machine_line(machine: Machine, *more_packages: str) -> str:
    """Return the machine, the versions and the date in one sentence."""
    packages = [f"{name} {machine['packages'][name]}" for name in PACKAGES]
    return (
        f"{machine['date']}, {machine['device']}: {machine['processor']}, {machine['cores']} cores "
        f"({', '.join(machine['features'])}), {machine['memory_gib']} GiB, {machine['system']}, "
        f"Python {machine['python']}, {', '.join([*packages, *more_packages])}, weights "
        f"{machine['weights']}; load average before the start {machine['load_before']:.2f}."
    )


def table(titles: str, rows: Iterable[str]) -> str:
    """Return a Markdown table; a row is one text with a | between its cells."""
    lines = [titles, " | ".join(["---"] * (titles.count("|") + 1)), *rows]
    return "\n".join(f"| {line} |" for line in lines)


def report_path(name: str) -> Path:
    """Return the path that --output names, .json, in a folder that is there."""
    output = Path(name)
    if output.suffix != ".json":
        raise cli.InputError(f"--output: {name}: must end in .json")
    with cli.refusing(OSError, prefix="--output: "):
        output.parent.mkdir(parents=True, exist_ok=True)
    if output.is_dir() or not os.access(output.parent, os.W_OK):
        raise cli.InputError(f"--output: {name}: cannot be written")
    return output


def update(page: Path, markers: tuple[str, str], text: str | None = None) -> None:
    """Write text between two markers that a page holds, or only see that it holds them.

    Args:
      page: path of the page.
      markers: the lines before and after the text.
      text: what to write; None to see that it could be.
    """
    with cli.refusing(OSError, ValueError, prefix=f"--update: {page.name}: "):
        changed = replace_between(page.read_text(encoding="utf-8"), markers, text or "")
        if text is not None:
            files.write_atomically(page, changed.encode())


def replace_between(page: str, markers: tuple[str, str], text: str) -> str:
    """Return the page with what lies between two markers replaced.

    Raises:
      ValueError: the markers are missing.
    """
    first, last = markers
    before, _, rest = page.partition(first)
    _, found, after = rest.partition(last)
    if not found:
        raise ValueError(f"has no {first} … {last}")
    return f"{before}{first}\n{text}\n{last}{after}"
