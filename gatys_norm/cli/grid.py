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
    """Add the flags that say where transfers run, and where they are kept."""
    define_executor(values)
    explanation = (
        "folder that every machine of the cluster sees; transfers are kept there instead of under "
        "--output_dir"
    )
    cli_flags.define_path("shared_dir", None, explanation, values)


def define_executor(values: flags.FlagValues, cell: str = "transfer") -> None:
    """Add the flags that say where the cells run: transfers, or something else."""
    define_number = functools.partial(flags.DEFINE_float, flag_values=values)
    flags.DEFINE_enum(
        "executor",
        "local",
        ["local", "ray"],
        f"where {cell}s run: one after the other here, or as cells of a Ray cluster",
        flag_values=values,
    )
    explanation = (
        "a cluster: auto, HOST:PORT or ray://HOST:PORT; default one started here, on loopback"
    )
    flags.DEFINE_string("ray_address", None, explanation, flag_values=values)
    define_number("cpus_per_cell", 1.0, f"CPU cores of a {cell} on Ray")
    define_number("gpus_per_cell", 0.0, f"GPUs of a {cell} on Ray, as 0.25")


@contextlib.contextmanager
def executor_from_flags(values: flags.FlagValues) -> Iterator[Execute | None]:
    """Yield the argument `execute` of `grid.run_grid`, connected until the context ends."""
    with connected_from_flags(values) as is_connected:
        if not is_connected:
            yield None
            return
        from gatys_norm.experiments import ray as ray_executor

        shared = values.ray_address is None or values.shared_dir is not None
        yield ray_executor.executor(values.cpus_per_cell, values.gpus_per_cell, shared)


def check_executor(values: flags.FlagValues) -> None:
    """Refuse numbers of cores that cannot be, if the cells run on Ray."""
    if values.executor == "local":
        return
    for name, least in (("cpus_per_cell", sys.float_info.min), ("gpus_per_cell", 0)):
        if not least <= getattr(values, name) < math.inf:
            raise InputError(f"--{name}: must be a number {'above' if least else 'from'} 0")


@contextlib.contextmanager
def connected_from_flags(values: flags.FlagValues) -> Iterator[bool]:
    """Yield whether the cells run on Ray, to which this program is connected if they do."""
    if values.executor == "local":
        yield False
        return
    check_executor(values)
    from gatys_norm.experiments import cluster

    with contextlib.ExitStack() as stack:
        with (
            refusing(ImportError, prefix="--executor=ray: pip install gatys-norm[ray] first: "),
            refusing(cluster.ClusterError, prefix="--ray_address: "),
            console.silent_stderr(),
        ):
            stack.enter_context(cluster.connected(values.ray_address))
        yield True


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
