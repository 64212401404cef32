"""The runs of a grid on a Ray cluster. Ray does placement, retries and GPU visibility.

Pictures and weights are sent to each machine once, through Ray's object store. Results are returned
as the bytes of their files, so that only the machine of the driver needs the folder. If every
machine sees the folder, runs write there, and a retried run finds its checkpoint on any machine.
"""

from __future__ import annotations

import functools
import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from gatys_norm import files, surroundings
from gatys_norm.images import inputs as picture_inputs
from gatys_norm.images import io as picture_io
from gatys_norm.network import weights
from gatys_norm.runs import folder as run_folder

with surroundings.importing_tensorflow():  # a process that Ray starts imports this module first
    from gatys_norm import transfer
    from gatys_norm.experiments import cluster
    from gatys_norm.experiments import grid as grid_runs

if TYPE_CHECKING:
    import ray
    from ray.actor import ActorHandle

    from gatys_norm.config import TransferConfig

# Index, settings, path, whether all machines see it, CPU cores, iterations between checkpoints.
_Task: TypeAlias = "tuple[int, TransferConfig, Path, bool, float, int]"


def executor(
    cpus_per_cell: float = 1.0, gpus_per_cell: float = 0.0, shared: bool = False
) -> grid_runs.Execute:
    """Return the argument `execute` of `grid.run_grid`; it can be used while `connected`.

    Args:
      cpus_per_cell: CPU cores of each run, and threads of TensorFlow.
      gpus_per_cell: GPUs of each run; with a fraction several runs share one.
      shared: whether every machine sees the folders of the runs under the same path.
    """

    def execute(
        waiting: grid_runs.Waiting, progress: grid_runs.GridProgress, checkpoint_every: int
    ) -> Iterator[grid_runs.RunResult]:
        import ray

        actor = cluster.start_progress_actor()
        run = ray.remote(
            num_cpus=cpus_per_cell,
            num_gpus=gpus_per_cell,
            max_retries=cluster.ATTEMPTS - 1,
            retry_exceptions=True,
            max_calls=0,  # a worker keeps its network and its compiled graphs for the next run
        )(_run)
        stored = _Store()
        pending = {}
        for index, (config, output) in enumerate(waiting.items()):
            task = (index, config, output.absolute(), shared, cpus_per_cell, checkpoint_every)
            try:
                inputs = stored.inputs(config)
            except transfer.INPUT_ERRORS as error:
                yield grid_runs.RunResult(config, output, error=grid_runs.reason(error))
                continue
            pending[run.remote(task, actor, *inputs)] = config
        configs = list(waiting)
        while pending:
            ready, _ = ray.wait(list(pending), timeout=cluster.POLL_SECONDS)
            for reference in ready:
                config = pending.pop(reference)
                result = _received(reference, config, waiting[config], shared)
                if result is not None:
                    yield result
            running = ray.get(actor.running.remote())
            if progress({configs[index]: count for index, count in running.items()}):
                yield from _stop(actor, pending, waiting, shared)
                return

    return execute


class _Store:
    """Puts pictures and weights into the object store, each once."""

    def __init__(self) -> None:
        self._picture = functools.cache(self._put_picture)
        self._weights = functools.cache(_put_weights)

    def inputs(self, config: TransferConfig) -> tuple[object, ...]:
        """Return the last arguments of `_run`: weights file, its bytes, paths, pictures."""
        weights_file, data = self._weights(config.weights)
        paths = picture_inputs.paths(config).all()
        return weights_file, data, paths, *map(self._picture, paths)

    def _put_picture(self, path: str) -> ray.ObjectRef:
        import ray

        return ray.put(picture_io.load_picture(path))


def _put_weights(source: str) -> tuple[weights.WeightsFile, ray.ObjectRef]:
    weights_file = weights.locate(source)
    return weights_file, cluster.put_file(weights_file.path)


def _run(
    task: _Task,
    actor: ActorHandle,
    weights_file: weights.WeightsFile,
    weights_bytes: np.ndarray,
    paths: Sequence[str],
    *pictures: np.ndarray,
) -> tuple[grid_runs.RunResult | None, dict[str, bytes]]:
    """Run one transfer on the machine that Ray chose.

    Returns:
      (result of `grid.run_one`, {name: bytes} of its files if the folder is not shared).
    """
    index, config, output, shared, cpus, checkpoint_every = task
    cluster.prepare(cpus)
    cache = weights.cache_folder() / "cells" / output.parent.name
    local_output = output if shared else cache / output.name

    report = cluster.Reports(actor, index)
    report(0)
    try:
        weights_file = cluster.on_this_machine(weights_file, weights_bytes)
        by_path = dict(zip(paths, pictures, strict=True))
        loaded = picture_inputs.paths(config).map(by_path.__getitem__)
        inputs = picture_inputs.check(config, loaded)
        result = grid_runs.run_one(
            config, local_output, report, checkpoint_every, inputs, weights_file
        )
    except transfer.INPUT_ERRORS as error:  # another attempt would fail in the same way
        return grid_runs.RunResult(config, output, error=grid_runs.reason(error)), {}
    finally:
        actor.close.remote(index)
    if result is None or shared:
        return result, {}
    contents = {path.name: path.read_bytes() for path in run_folder.result_paths(local_output)}
    shutil.rmtree(local_output.parent, ignore_errors=True)
    return result, contents


def _received(
    reference: ray.ObjectRef, config: TransferConfig, output: Path, shared: bool
) -> grid_runs.RunResult | None:
    """Return the `RunResult` of a task that has ended; None if it was stopped."""
    import ray

    try:
        result, contents = ray.get(reference)
        if result is None or result.error or shared:
            return result
        output.parent.mkdir(parents=True, exist_ok=True)
        with run_folder.locked(output):
            files.write_together(
                {path: contents[path.name] for path in run_folder.result_paths(output)}
            )
            run_folder.checkpoint_path(output).unlink(missing_ok=True)
        return grid_runs.finished(config, output)
    except ray.exceptions.RayError as error:
        cause = getattr(error, "cause", None) or error
        message = f"failed {cluster.ATTEMPTS} times, the last time with {grid_runs.reason(cause)}"
        return grid_runs.RunResult(config, output, error=message)
    except (OSError, run_folder.OutputError) as error:
        return grid_runs.RunResult(config, output, error=grid_runs.reason(error))


def _stop(
    actor: ActorHandle,
    pending: Mapping[ray.ObjectRef, TransferConfig],
    waiting: grid_runs.Waiting,
    shared: bool,
) -> Iterator[grid_runs.RunResult]:
    """Stop the present runs and cancel the others; yield results of runs that finished anyway."""
    import ray

    index_of = {config: index for index, config in enumerate(waiting)}
    running = ray.get(actor.stop.remote())
    references = [reference for reference, config in pending.items() if index_of[config] in running]
    for reference in set(pending) - set(references):
        ray.cancel(reference)
    ended, _ = (
        ray.wait(references, num_returns=len(references), timeout=cluster.STOP_SECONDS)
        if references
        else ([], [])
    )
    for reference in ended:
        config = pending[reference]
        result = _received(reference, config, waiting[config], shared)
        if result is not None and not result.error:
            yield result
