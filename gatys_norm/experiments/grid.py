"""The runs of a grid: each in a folder named after it, done once, failures contained."""

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
    """What became of a run: `record` and the picture at `output`, or else `error`, one line."""

    config: TransferConfig
    output: Path
    record: Record | None = None
    error: str | None = None


@dataclass(frozen=True)
class Progress:
    """How far a grid is: `share` of the work is done, in `seconds_left` all of it will be."""

    runs_done: int
    runs: int
    running: int
    share: float
    seconds_left: float


def output_path(folder: StrPath, config: TransferConfig) -> Path:
    """Return where the picture of a run goes: a folder named after its settings and pictures.

    The name changes with every setting and with every byte of the pictures, so that a result
    there is the one that is wanted.
    """
    hashes = picture_inputs.paths(config).map(_sha256)
    facts = [config.as_dict(), dataclasses.astuple(hashes)]
    digest = hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:12]
    style = re.sub(r"[^\w.-]+", "_", "_".join(Path(path).stem for path in config.style))[:40]
    sizes = "-".join(map(str, config.size))
    name = f"{style}_{config.loss}_{config.lambda_os:g}_{sizes}_{digest}"
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

    Args:
      configs: resolved `TransferConfig`s; equal ones run once.
      folder: where the folders of the runs are; made if missing.
      on_progress: called with a `Progress` about once a second; returning True stops, which
        leaves checkpoints from which the next call resumes.
      checkpoint_every: iterations between checkpoints; 0 is none.
      execute: how transfers are run: (waiting, progress, checkpoint_every) → `RunResult`s as they
        are known, ending early if `progress` says so; `one_after_the_other` when None.

    Yields:
      A `RunResult` of each as soon as it is known, the finished ones first.
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
      waiting: {config: where its picture goes}.
      progress: told about every iteration; it says when to stop.
      checkpoint_every: iterations between checkpoints; 0 is none.

    Yields:
      A `RunResult` of each, until `progress` says stop.
    """
    for config, output in waiting.items():

        def on_iteration(iteration: int, config: TransferConfig = config) -> bool:
            return progress({config: iteration})

        try:
            result = run_one(config, output, on_iteration, checkpoint_every)
        except Exception as error:  # whatever it is, the other runs are worth having
            result = RunResult(config, output, error=reason(error))
        if result is None:
            return
        yield result


class GridProgress:
    """Turns how far single runs are into a `Progress` of all."""

    def __init__(self, waiting: Waiting, runs: int, on_progress: _OnProgress | None) -> None:
        self._costs = {config: _cost(config, sum(config.iterations)) for config in waiting}
        self._open = set(waiting)
        self._runs, self._on_progress = runs, on_progress
        self._began = time.monotonic()

    def close(self, config: TransferConfig) -> None:
        """Note that a run has ended."""
        self._open.discard(config)

    def __call__(self, running: Mapping[TransferConfig, int]) -> bool:
        """Report {config: its iterations so far}; tells whether to stop."""
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
    """Return what `iterations` cost: the time of one is in proportion to the pixels."""
    cost = 0
    for count, size in zip(config.iterations, config.size, strict=True):
        cost += min(count, iterations) * size**2
        iterations -= min(count, iterations)
    return cost


def finished(config: TransferConfig, output: Path) -> RunResult:
    """Return the `RunResult` of a run whose files are there."""
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
    """Run one transfer from its checkpoint, if there is one, or from the start.

    Args:
      config: resolved `TransferConfig`.
      output: where its picture goes; the folder is made.
      on_iteration: called with the iterations so far, about once a second; returning True stops.
      checkpoint_every: iterations between checkpoints; 0 is none.
      inputs: the pictures, where they are loaded already.
      weights_file: the weights, where they are known already.

    Returns:
      `RunResult`, or None if the run was stopped, which leaves a checkpoint.

    Raises:
      Exception: all that `transfer.Transfer` and writing can raise.
    """
    output.parent.mkdir(parents=True, exist_ok=True)
    with run_folder.locked(output):
        begin = functools.partial(transfer.Transfer, config, inputs, weights_file)
        result = _finish(begin, output, on_iteration, checkpoint_every)
        if result.record["status"] == "interrupted":
            return None
        run_folder.save_result(output, result.image, result.record)
        run_folder.checkpoint_path(output).unlink(missing_ok=True)
    return finished(config, output)


def _finish(
    begin: Callable[[], transfer.Transfer],
    output: Path,
    on_iteration: Callable[[int], bool],
    checkpoint_every: int,
) -> transfer.TransferResult:
    """Run a transfer from its checkpoint, or from the start if that is of another one."""
    path = run_folder.checkpoint_path(output)

    def on_progress(progress: transfer.Progress) -> bool:
        stop = on_iteration(progress.iteration)
        is_due = checkpoint_every and progress.iteration % checkpoint_every == 0
        if stop or is_due:
            checkpoints.save(path, progress.checkpoint())
        return stop

    stops = (checkpoint_every,) if checkpoint_every else ()
    resumed = begin()
    try:
        resumed.restore(checkpoints.load(path))
        return resumed.run(on_progress, stops)
    except transfer.CheckpointMismatchError:
        path.unlink()
    except checkpoints.CheckpointError:  # none, or none that can be read
        return resumed.run(on_progress, stops)
    return begin().run(on_progress, stops)


def reason(error: BaseException) -> str:
    """Say in one line why a run failed."""
    message = one_line(error)
    expected = isinstance(error, transfer.INPUT_ERRORS)
    return message if expected else f"{type(error).__name__}: {message}"
