"""What programs that measure share: own processes, the machine, tables, sections of pages."""

import concurrent.futures
import datetime
import json
import multiprocessing
import os
import platform
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, ParamSpec, TypeAlias, TypeVar

import psutil

from gatys_norm import files, machine
from gatys_norm.cli import errors, loading
from gatys_norm.network import weights
from gatys_norm.report import markdown
from gatys_norm.runs import folder as run_folder
from gatys_norm.text import replace_between

PACKAGES = ("tensorflow", "tensorflow-probability")

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
    transfer = loading.start_tensorflow()
    with errors.refusing(weights.WeightsError):
        weights_source = weights.locate(weights_source).source
    return transfer.environment() | {
        "kind": "gpu" if transfer.tf.config.list_physical_devices("GPU") else "cpu",
        "processor": machine.processor().get("model name", platform.processor()),
        "cores": os.cpu_count(),
        "memory_gib": round(psutil.virtual_memory().total / 2**30),
        "system": platform.platform(),
        "weights": weights_source,
        "date": datetime.date.today().isoformat(),
        "load_before": load_before,
    }


def machine_line(described: Machine, *more_packages: str) -> str:
    """Return the machine, the versions and the date in one sentence."""
    packages = [f"{name} {described['packages'][name]}" for name in PACKAGES]
    processor = f"{described['processor']}, {described['cores']} cores"
    features = ", ".join(described["instruction_sets"])
    return (
        f"{described['date']}, {described['device']}: {processor} ({features}), "
        f"{described['memory_gib']} GiB, {described['system']}, Python {described['python']}, "
        f"{', '.join([*packages, *more_packages])}, weights {described['weights']}; "
        f"load average before the start {described['load_before']:.2f}."
    )


def table(titles: str, rows: Iterable[str]) -> str:
    """Return a Markdown table; a row is one text with a | between its cells."""
    columns, *cells = ([cell.strip() for cell in row.split("|")] for row in (titles, *rows))
    return markdown.table(columns, cells)


def report_path(name: str) -> Path:
    """Return the path that --output names, a .json; tables go next to it, into a .md."""
    output = Path(name)
    if output.suffix != ".json":
        raise errors.InputError(f"--output: {name}: must end in .json")
    with errors.refusing(OSError, prefix="--output: "):
        output.parent.mkdir(parents=True, exist_ok=True)
    if output.is_dir() or not files.can_be_written_to(output.parent):
        raise errors.InputError(f"--output: {name}: cannot be written")
    with errors.refusing(run_folder.OutputError, prefix="--output: "):
        run_folder.check_ours(output.with_suffix(".md"), lambda _: _is_report(output))
    return output


def _is_report(path: Path) -> bool:
    try:
        return {"machine", "settings"} <= set(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return False


def update(page: Path, markers: tuple[str, str], text: str | None = None) -> None:
    """Write text between two markers that a page holds, or only see that it holds them.

    Args:
      page: path of the page.
      markers: the lines before and after the text.
      text: what to write; None to see that it could be.
    """
    with errors.refusing(OSError, ValueError, prefix=f"--update: {page.name}: "):
        changed = replace_between(page.read_text(encoding="utf-8"), *markers, f"\n{text or ''}\n")
        if text is not None:
            files.write_atomically(page, changed.encode())
