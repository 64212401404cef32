"""The runs of a grid: each has its own folder, runs once, and does not stop others if it fails."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
import math
import re
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from gatys_norm import transfer
from gatys_norm.config import TransferConfig
from gatys_norm.images import inputs as picture_inputs
from gatys_norm.record import Record
from gatys_norm.runs import checkpoint as checkpoints
from gatys_norm.runs import folder as run_folder
from gatys_norm.text import one_line

if TYPE_CHECKING:
    from gatys_norm.files import StrPath
    from gatys_norm.images.inputs import LoadedInputs
    from gatys_norm.network.weights import WeightsFile

Waiting: TypeAlias = Mapping[TransferConfig, Path]  # {settings: where the picture goes}
Execute: TypeAlias = "Callable[[Waiting, GridProgress, int], Iterator[RunResult]]"
_OnProgress: TypeAlias = "Callable[[Progress], object]"  # a true value stops


@dataclass(frozen=True)
class RunResult:
    """The result of a run: `record`, and the picture at `output`; or `error`, one line.

    `independent` has the measures of `measures.independent`, if they were asked for.
    """

    config: TransferConfig
    output: Path
    record: Record | None = None
    error: str | None = None
    independent: Mapping[str, Mapping[str, float | None]] = dataclasses.field(default_factory=dict)


@dataclass(frozen=True)
class Progress:
    """How far a grid is; `share` of the work is done, from 0 to 1."""

    runs_done: int
    runs: int
    running: int
    share: float
    seconds_left: float


def output_path(folder: StrPath, config: TransferConfig) -> Path:
    """Return the path of the picture of a run, in a folder named after its settings and pictures.

    The name depends on every setting and on every byte of the pictures, so that a picture at that
    path is always the result of these settings.
    """
    hashes = picture_inputs.paths(config).map(_sha256)
    facts = [config.as_dict(), dataclasses.astuple(hashes)]
    digest = hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:12]
    style = re.sub(r"[^\w.-]+", "_", "_".join(Path(path).stem for path in config.style))[:40]
    sizes = "-".join(map(str, config.size))
    weight = f"{config.lambda_os:g}" if config.strength is None else f"strength-{config.strength:g}"
    name = f"{style}_{config.loss}_{weight}_{sizes}_{digest}"
    return Path(folder) / name / "result.png"


def _sha256(file: str) -> str | None:
    try:
        return hashlib.sha256(Path(file).read_bytes()).hexdigest()
    except OSError:
        return None


def run_grid(
    configs: Iterable[TransferConfig],
    folder: StrPath,
    on_progress: _OnProgress | None = None,
    checkpoint_every: int = 50,
    execute: Execute | None = None,
) -> Iterator[RunResult]:
    """Run every transfer that is not finished yet.

        town = TransferConfig(content="town.jpg", style="waves.jpg")
        sweep = [dataclasses.replace(town, lambda_os=x).resolved() for x in (1e-2, 1e-3, 1e-4)]
        for result in run_grid(sweep, "results/sweep"):
            print(result.config.lambda_os, result.error or result.output)

    Args:
      configs: resolved `TransferConfig`s; equal ones run once.
      folder: folder for the folders of the runs; made if it is missing.
      on_progress: called with a `Progress` about once a second. If it returns True, the grid stops,
        and leaves checkpoints from which the next call resumes.
      checkpoint_every: iterations between checkpoints; 0 for no checkpoints.
      execute: how transfers are run, a function (waiting, progress, checkpoint_every) → iterator of
        `RunResult`s, which ends early if `progress` asks for it; `one_after_the_other` if None.

    Yields:
      The `RunResult` of each run when it is known, those of finished runs first.
    """
    outputs = {config: output_path(folder, config) for config in configs}
    waiting = {}
    for config, output in outputs.items():
        if run_folder.is_finished(output, config):
            yield finished(config, output)
        else:
            waiting[config] = output
    progress = GridProgress(waiting, len(outputs), on_progress)
    for result in (execute or one_after_the_other)(waiting, progress, checkpoint_every):
        progress.close(result.config)
        yield result


def one_after_the_other(
    waiting: Waiting, progress: GridProgress, checkpoint_every: int
) -> Iterator[RunResult]:
    """Run transfers in this process.

    Args:
      waiting: {settings: path of the picture}.
      progress: called after every piece of iterations; it tells when to stop.
      checkpoint_every: iterations between checkpoints; 0 for no checkpoints.

    Yields:
      The `RunResult` of each run, until `progress` asks to stop.
    """
    for config, output in waiting.items():

        def on_iteration(iteration: int, config: TransferConfig = config) -> bool:
            return progress({config: iteration})

        try:
            result = run_one(config, output, on_iteration, checkpoint_every)
        except Exception as error:  # no error of one run stops the others
            result = RunResult(config, output, error=reason(error))
        if result is None:
            return
        yield result


class GridProgress:
    """Computes the `Progress` of a grid from the iterations of its runs."""

    def __init__(self, waiting: Waiting, runs: int, on_progress: _OnProgress | None) -> None:
        self._costs = {config: _cost(config, sum(config.iterations)) for config in waiting}
        self._open = set(waiting)
        self._runs, self._on_progress = runs, on_progress
        self._began = time.monotonic()

    def close(self, config: TransferConfig) -> None:
        """Note that a run has ended."""
        self._open.discard(config)

    def __call__(self, running: Mapping[TransferConfig, int]) -> bool:
        """Report {settings: iterations so far} of the present runs; return whether to stop."""
        if self._on_progress is None:
            return False
        running = {config: count for config, count in running.items() if config in self._open}
        cost_so_far = sum(cost for config, cost in self._costs.items() if config not in self._open)
        cost_so_far += sum(_cost(config, count) for config, count in running.items())
        share = cost_so_far / max(1, sum(self._costs.values()))
        elapsed = time.monotonic() - self._began
        seconds_left = elapsed * (1 - share) / share if share else math.inf
        runs_done = self._runs - len(self._open)
        return bool(
            self._on_progress(Progress(runs_done, self._runs, len(running), share, seconds_left))
        )


def _cost(config: TransferConfig, iterations: int) -> int:
    """Return the cost of `iterations`: that of one is proportional to the number of pixels."""
    cost = 0
    for count, size in zip(config.iterations, config.size, strict=True):
        cost += min(count, iterations) * size**2
        iterations -= min(count, iterations)
    return cost


def finished(config: TransferConfig, output: Path) -> RunResult:
    """Return the `RunResult` of a run whose files exist."""
    return RunResult(
        config, output, json.loads(run_folder.record_path(output).read_text(encoding="utf-8"))
    )


def run_one(
    config: TransferConfig,
    output: Path,
    on_iteration: Callable[[int], bool],
    checkpoint_every: int,
    inputs: LoadedInputs | None = None,
    weights_file: WeightsFile | None = None,
) -> RunResult | None:
    """Run one transfer, from its checkpoint or from the start.

    Args:
      config: resolved `TransferConfig`.
      output: path of the picture; its folder is made if it is missing.
      on_iteration: called with the iterations so far, about once a second; if it returns True, the
        run stops.
      checkpoint_every: iterations between checkpoints; 0 for no checkpoints.
      inputs: the pictures, if they are loaded already.
      weights_file: the weights, if they are located already.

    Returns:
      `RunResult`, or None if the run was stopped; then there is a checkpoint.

    Raises:
      Exception: everything that `transfer.Transfer` and writing files can raise.
    """
    output.parent.mkdir(parents=True, exist_ok=True)
    with run_folder.locked(output):
        make_transfer = functools.partial(transfer.Transfer, config, inputs, weights_file)
        result = _finish(make_transfer, output, on_iteration, checkpoint_every)
        if result.record["status"] == "interrupted":
            return None
        run_folder.save_result(output, result.image, result.record)
        run_folder.checkpoint_path(output).unlink(missing_ok=True)
    return finished(config, output)


def _finish(
    make_transfer: Callable[[], transfer.Transfer],
    output: Path,
    on_iteration: Callable[[int], bool],
    checkpoint_every: int,
) -> transfer.TransferResult:
    """Run a transfer from its checkpoint, or from the start if the checkpoint does not fit."""
    path = run_folder.checkpoint_path(output)

    def on_progress(progress: transfer.Progress) -> bool:
        stop = on_iteration(progress.iteration)
        is_due = checkpoint_every and progress.iteration % checkpoint_every == 0
        if stop or is_due:
            checkpoints.save(path, progress.checkpoint(copy=False))
        return stop

    stops = (checkpoint_every,) if checkpoint_every else ()
    resumed = make_transfer()
    try:
        resumed.restore(checkpoints.load(path))
        return resumed.run(on_progress, stops)
    except transfer.CheckpointMismatchError:
        path.unlink()
    except checkpoints.CheckpointError:  # it is missing or damaged
        return resumed.run(on_progress, stops)
    return make_transfer().run(on_progress, stops)


def reason(error: BaseException) -> str:
    """Return one line that says why a run failed."""
    message = one_line(error)
    expected = isinstance(error, transfer.INPUT_ERRORS)
    return message if expected else f"{type(error).__name__}: {message}"
