"""The command `gatys-norm reproduce`: the experiments of the paper."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import json
import math
import shlex
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from absl import flags
from tqdm import tqdm

from gatys_norm.cli import console, errors, loading, program
from gatys_norm.cli import study as study_flags
from gatys_norm.cli.errors import InputError, refusing
from gatys_norm.network import weights
from gatys_norm.report.markdown import VERDICTS

if TYPE_CHECKING:
    from gatys_norm.config import TransferConfig
    from gatys_norm.experiments.claims import Finding
    from gatys_norm.experiments.figures import Study
    from gatys_norm.experiments.grid import Execute, RunResult

    Results: TypeAlias = Mapping[TransferConfig, RunResult]

USAGE = """Run the experiments of Choi and Kim (2020); show the results next to what the paper says.

    gatys-norm reproduce --figures=all --output_dir=results/reproduction
    gatys-norm reproduce --figures=2a,6a --content=C.jpg --styles=A.jpg,B.jpg,C.jpg

Writes report.html, claims.json and a picture per figure; every transfer keeps a folder of its own
there, so that the same command continues where it was stopped, and other settings run anew only
what they touch. Takes the flags of a transfer as well, except those that the figures set
themselves. The pictures of the first form lie in a clone's data/; elsewhere --content and --styles
are needed.
"""
WRITTEN = {  # under the folder of each flag
    "output_dir": (
        "report.html",
        "claims.json",
        "measurements.json",
        "pairs.csv",
        "figure-*.png",
        "sweep.png",
    ),
    "summary_dir": ("README.md", "claims.json", "figure-*.png", "sweep.png"),
    "shared_dir": (),
}


def run(argv: Sequence[str]) -> int:
    """Run the command; `argv` begins with its name. Returns the exit code."""
    words = shlex.split(argv[0]) + list(argv[1:])
    command = functools.partial(reproduce, command=shlex.join(words))
    return program.call(USAGE, command, argv, study_flags.define_flags)


def reproduce(values: flags.FlagValues, command: str) -> int:
    """Run what is not finished yet, then write figures, claims and page.

    Args:
      values: parsed flags.
      command: the command line, which the summary contains.
    """
    figures = study_flags.figures_from_flags(values)
    study = study_flags.study_from_flags(values)
    folder = Path(values.output_dir)
    check_folders(values)
    check_pictures(study)
    transfer = loading.start_tensorflow()
    with refusing(*transfer.INPUT_ERRORS):
        study = with_found_weights(study)
    from gatys_norm.experiments import reproduction as reproductions

    configs = reproductions.configs_of(study, figures)
    with executor_from_flags(values) as execute:
        runs_folder = Path(values.shared_dir or folder) / "cells"
        results, signal_number = run_all(configs, runs_folder, values.checkpoint_every, execute)
    if signal_number is not None:
        print(
            f"interrupted; {len(results)} of {len(configs)} transfers are kept in {folder}, the "
            "same command continues"
        )
        return 128 + signal_number
    reproduction = reproductions.collect(study, figures, results)
    writers = {folder: functools.partial(reproductions.write, folder, reproduction)}
    if values.summary_dir:
        small = Path(values.summary_dir)
        writers[small] = functools.partial(
            reproductions.write_summary, small, reproduction, command
        )
    for target, write in writers.items():
        try:
            write()
        except OSError as error:
            note = "the transfers are kept, the same command continues"
            return errors.report_unwritten(target, error, note)
    print_findings(reproduction.findings)
    failed = [result for result in results.values() if result.error]
    for result in failed:
        print(f"failed: {result.output.parent.name}: {result.error}", file=sys.stderr)
    print(f"page: {folder / 'report.html'}")
    return errors.FAILED if failed else 0


def check_folders(values: flags.FlagValues) -> None:
    """Make the folders, unless one has files of other programs with the names of files to write.

    Raises:
      InputError: a folder cannot be made, or holds such files.
    """
    for flag, patterns in WRITTEN.items():
        if getattr(values, flag):
            folder = Path(getattr(values, flag))
            with refusing(OSError, prefix=f"--{flag}: "):
                folder.mkdir(parents=True, exist_ok=True)
            present = sorted(path for pattern in patterns for path in folder.glob(pattern))
            if present and not is_ours(folder):
                raise InputError(
                    f"--{flag}: {present[0]}: is there already and was not written by this "
                    "program; choose another folder"
                )


def is_ours(folder: Path) -> bool:
    """Tell whether an earlier run wrote into a folder: it has transfers or claims."""
    try:
        claims = json.loads((folder / "claims.json").read_text(encoding="utf-8"))
        return all({"name", "original", "normalized"} <= set(claim) for claim in claims)
    except (OSError, ValueError, TypeError):
        return any((folder / "cells").glob("*/result.*"))


def check_pictures(study: Study) -> None:
    """Refuse pictures that cannot be used at every size, before TensorFlow is loaded."""
    from gatys_norm.images import inputs as picture_inputs
    from gatys_norm.images import io as picture_io

    sizes = tuple(sorted({*study.base.size, *study.sizes}))
    with refusing(picture_io.PictureError, prefix="--content: "):
        picture_io.read_size(study.base.content)
    for style in study.styles:
        with refusing(picture_io.PictureError, prefix="--styles: "):
            picture_io.read_size(style)
        with refusing(picture_io.PictureError):
            picture_inputs.load(dataclasses.replace(study.base, style=style, size=sizes))


def with_found_weights(study: Study) -> Study:
    """Return the study with the weights that `--weights` means, which are located only once."""
    source = weights.locate(study.base.weights).source
    return dataclasses.replace(study, base=dataclasses.replace(study.base, weights=source))


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

        def show(progress: grid.Progress) -> bool:
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


def print_findings(findings: Iterable[Finding]) -> None:
    """Print a line per claim."""

    def number(value: float | None) -> str:
        return "not measured" if value is None else f"{value:.3g}"

    print(f"{'claim':36}{'original':>14}{'normalized':>14}  as the paper says")
    for finding in findings:
        values = f"{number(finding.original):>14}{number(finding.normalized):>14}"
        print(f"{finding.name:36}{values}  {VERDICTS[finding.holds]}")
