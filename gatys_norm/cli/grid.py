"""The transfers of a grid on the command line: where they run, how far they are, which failed."""

from __future__ import annotations

import contextlib
import functools
import math
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from absl import flags
from tqdm import tqdm

from gatys_norm.cli import console, errors
from gatys_norm.cli import flags as cli_flags
from gatys_norm.cli.errors import InputError, refusing

if TYPE_CHECKING:
    from gatys_norm.config import TransferConfig
    from gatys_norm.experiments.grid import Execute, Progress, RunResult

    Results: TypeAlias = Mapping[TransferConfig, RunResult]


def define_flags(values: flags.FlagValues) -> None:
    """Add the flags that say where transfers run."""
    define_number = functools.partial(flags.DEFINE_float, flag_values=values)
    flags.DEFINE_enum(
        "executor",
        "local",
        ["local", "ray"],
        "where transfers run: one after the other here, or as cells of a Ray cluster",
        flag_values=values,
    )
    explanation = (
        "a cluster: auto, HOST:PORT or ray://HOST:PORT; default one started here, on loopback"
    )
    flags.DEFINE_string("ray_address", None, explanation, flag_values=values)
    define_number("cpus_per_cell", 1.0, "CPU cores of a transfer on Ray")
    define_number("gpus_per_cell", 0.0, "GPUs of a transfer on Ray, as 0.25")
    explanation = (
        "folder that every machine of the cluster sees; transfers are kept there instead of under "
        "--output_dir"
    )
    cli_flags.define_path("shared_dir", None, explanation, values)


@contextlib.contextmanager
def executor_from_flags(values: flags.FlagValues) -> Iterator[Execute | None]:
    """Yield the argument `execute` of `grid.run_grid`, connected until the context ends."""
    if values.executor == "local":
        yield None
        return
    for name, least in (("cpus_per_cell", sys.float_info.min), ("gpus_per_cell", 0)):
        if not least <= getattr(values, name) < math.inf:
            raise InputError(f"--{name}: must be a number {'above' if least else 'from'} 0")
    from gatys_norm.experiments import ray as ray_executor

    with contextlib.ExitStack() as stack:
        with (
            refusing(ImportError, prefix="--executor=ray: pip install gatys-norm[ray] first: "),
            refusing(ray_executor.ClusterError, prefix="--ray_address: "),
            console.silent_stderr(),
        ):
            stack.enter_context(ray_executor.connected(values.ray_address))
        shared = values.ray_address is None or values.shared_dir is not None
        yield ray_executor.executor(values.cpus_per_cell, values.gpus_per_cell, shared)


def run_from_flags(
    configs: Sequence[TransferConfig], values: flags.FlagValues
) -> tuple[Results, int | None]:
    """Run the transfers of a grid where the flags say; see `run_all`.

    They are kept in `cells`, a folder under `--shared_dir` or `--output_dir`.
    """
    folder = Path(values.shared_dir or values.output_dir) / "cells"
    with executor_from_flags(values) as execute:
        return run_all(configs, folder, values.checkpoint_every, execute)


def run_all(
    configs: Sequence[TransferConfig],
    folder: Path,
    checkpoint_every: int,
    execute: Execute | None,
) -> tuple[Results, int | None]:
    """Run the transfers of a grid, with one progress bar.

    Args:
      configs: settings of the transfers.
      folder: folder in which each transfer gets its own folder.
      checkpoint_every: iterations between checkpoints; 0 for no checkpoints.
      execute: see `executor_from_flags`.

    Returns:
      ({settings: result}, number of the signal that stopped the grid, or None).
    """
    from gatys_norm.experiments import grid

    results = {}
    bar = tqdm(
        total=100,
        mininterval=0.1 if sys.stderr.isatty() else 30,
        delay=1,
        bar_format="{percentage:3.0f}%|{bar:30}| {desc}",
    )
    with console.signals_noted() as received, contextlib.closing(bar):

        def show(progress: Progress) -> bool:
            bar.set_description_str(
                f"{progress.runs_done}/{progress.runs} transfers, {progress.running} running, "
                f"{interval(progress.seconds_left)} left",
                refresh=False,
            )
            bar.update(100 * progress.share - bar.n)
            return bool(received)

        for result in grid.run_grid(configs, folder, show, checkpoint_every, execute):
            results[result.config] = result
            if received:
                break
    return results, (received[0] if received and len(results) < len(configs) else None)


def interval(seconds: float) -> str:
    """Return seconds in the format of a progress bar."""
    return tqdm.format_interval(seconds) if math.isfinite(seconds) else "?"


def report_interrupted(done: int, transfers: int, folder: Path, signal_number: int) -> int:
    """Print what an interrupted grid has kept; return the exit code."""
    print(
        f"interrupted; {done} of {transfers} transfers are kept in {folder}, the same command "
        "continues"
    )
    return 128 + signal_number


def report_failed(results: Iterable[RunResult]) -> int:
    """Print a line per failed transfer; return the exit code."""
    failed = [result for result in results if result.error]
    for result in failed:
        print(f"failed: {result.output.parent.name}: {result.error}", file=sys.stderr)
    return errors.FAILED if failed else 0
