"""The runs of a grid on a Ray cluster. Ray does placement, retries and GPU visibility.

Pictures and weights are sent to each machine once, through Ray's object store. Results are returned
as the bytes of their files, so that only the machine of the driver needs the folder. If every
machine sees the folder, runs write there, and a retried run finds its checkpoint on any machine.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import hashlib
import os
import shutil
import socket
import urllib.parse
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
    from gatys_norm.experiments import grid as grid_runs
    from gatys_norm.network import device

if TYPE_CHECKING:
    import ray
    from ray.actor import ActorHandle

    from gatys_norm.config import TransferConfig

# Index, settings, path, whether all machines see it, CPU cores, iterations between checkpoints.
_Task: TypeAlias = "tuple[int, TransferConfig, Path, bool, float, int]"

ATTEMPTS = 3
CONNECT_SECONDS = 10.0
POLL_SECONDS = 1.0
STOP_SECONDS = 60.0  # time for runs to write their checkpoints


class ClusterError(ValueError):
    """No cluster can be reached or started; the message says which."""


@contextlib.contextmanager
def connected(address: str | None = None) -> Iterator[None]:
    """Return a context that is connected to a Ray cluster.

    Args:
      address: "auto", "HOST:PORT" or "ray://HOST:PORT"; None starts a cluster on this machine, on
        the loopback address, which stops at the end of the context.

    Raises:
      ClusterError: there is no cluster at the address, or Ray did not start.
      ImportError: Ray is not installed.
    """
    if address is None:
        # On Linux Ray listens on every network, on other systems on loopback. This variable, which
        # Ray reads when it is imported, makes it listen on loopback here too.
        os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"
    import ray

    options = {} if address else {"include_dashboard": False}
    try:
        _check_reachable(address)
        ray.init(address=address or "local", log_to_driver=False, logging_level="ERROR", **options)
    except (OSError, RuntimeError, ValueError) as error:  # a ConnectionError is an OSError
        raise ClusterError(f"{address or 'a cluster on this machine'}: {error}") from error
    try:
        if address is None and ray.util.get_node_ip_address() != "127.0.0.1":
            raise ClusterError("a cluster on this machine: Ray was imported too early to be local")
        yield
    finally:
        ray.shutdown()


def _check_reachable(address: str | None) -> None:
    """Raise OSError or ValueError unless a server listens at an address; Ray waits for minutes."""
    if address not in (None, "auto"):
        parts = urllib.parse.urlsplit(address if "://" in address else f"ray://{address}")
        if parts.scheme != "ray" or not parts.hostname or not parts.port:
            raise ValueError("must be auto, HOST:PORT or ray://HOST:PORT")
        socket.create_connection((parts.hostname, parts.port), CONNECT_SECONDS).close()


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

        actor = _start_progress_actor()
        run = ray.remote(
            num_cpus=cpus_per_cell,
            num_gpus=gpus_per_cell,
            max_retries=ATTEMPTS - 1,
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
            ready, _ = ray.wait(list(pending), timeout=POLL_SECONDS)
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


def _start_progress_actor() -> ActorHandle:
    """Start the actor to which runs report their iterations, and which tells them to stop.

    If it is lost, Ray starts a new one, which knows each run again after its next report.
    """
    import ray

    class ProgressActor:
        """Defined in a function, so that Ray sends its code and its process loads no TensorFlow."""

        def __init__(self) -> None:
            self._iterations: dict[int, int] = {}
            self._stopping = False

        def report(self, index: int, iterations: int) -> bool:
            """Store the iterations of a run; return whether it has to stop."""
            self._iterations[index] = iterations
            return self._stopping

        def close(self, index: int) -> None:
            """Note that a run has ended."""
            self._iterations.pop(index, None)

        def running(self) -> dict[int, int]:
            """Return {index: iterations}."""
            return self._iterations

        def stop(self) -> set[int]:
            """Tell every run to stop; return their indices."""
            self._stopping = True
            return set(self._iterations)

    return ray.remote(num_cpus=0, max_restarts=-1, max_task_retries=-1)(ProgressActor).remote()


class _Store:
    """Puts pictures and weights into the object store, each once."""

    def __init__(self) -> None:
        self._picture = functools.cache(self._put_picture)
        self._weights = functools.cache(self._put_weights)

    def inputs(self, config: TransferConfig) -> tuple[object, ...]:
        """Return the last arguments of `_run`: weights file, its bytes, paths, pictures."""
        weights_file, data = self._weights(config.weights)
        paths = picture_inputs.paths(config).all()
        return weights_file, data, paths, *map(self._picture, paths)

    def _put_picture(self, path: str) -> ray.ObjectRef:
        import ray

        return ray.put(picture_io.load_picture(path))

    def _put_weights(self, source: str) -> tuple[weights.WeightsFile, ray.ObjectRef]:
        import ray

        weights_file = weights.locate(source)
        return weights_file, ray.put(np.fromfile(weights_file.path, np.uint8))


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
    _prepare(cpus)
    cache = weights.cache_folder() / "cells" / output.parent.name
    local_output = output if shared else cache / output.name

    report = _Reports(actor, index)
    report(0)
    try:
        weights_file = _on_this_machine(weights_file, weights_bytes)
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


@functools.cache
def _prepare(cpus: float) -> None:
    """Set TensorFlow up as the command line does, with one thread per core of the run."""
    surroundings.drop_coarser_ways()  # other machines may have other variables
    configuration = transfer.tf.config
    configuration.experimental.enable_op_determinism()
    with contextlib.suppress(
        RuntimeError
    ):  # TensorFlow has started already; only the speed differs
        configuration.threading.set_intra_op_parallelism_threads(max(1, round(cpus)))
    for gpu in device.gpus():
        configuration.experimental.set_memory_growth(gpu, True)  # other runs may share it


class _Reports:
    """Reports the iterations of a run to the actor; returns whether its last reply was to stop.

    It never waits for a reply: Ray would give the core of a task that waits to another task. If the
    actor does not reply, the run continues.
    """

    def __init__(self, actor: ActorHandle, index: int) -> None:
        self._actor, self._index = actor, index
        self._reply: ray.ObjectRef | None = None
        self._stop = False

    def __call__(self, iterations: int) -> bool:
        import ray

        if self._reply is not None and ray.wait([self._reply], timeout=0)[0]:
            with contextlib.suppress(ray.exceptions.RayError):
                self._stop = ray.get(self._reply)
            self._reply = None
        if self._reply is None:
            self._reply = self._actor.report.remote(self._index, iterations)
        return self._stop


def _on_this_machine(weights_file: weights.WeightsFile, data: np.ndarray) -> weights.WeightsFile:
    """Return the weights as a file on this machine, which is written if it is missing."""
    if _has_hash(weights_file.path, weights_file.sha256):
        return weights_file
    path = weights.cache_folder() / f"{weights_file.sha256}{weights_file.path.suffix}"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        files.write_atomically(path, data.tobytes())
    return dataclasses.replace(weights_file, path=path)


@functools.cache
def _has_hash(path: Path, sha256: str) -> bool:
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest() == sha256
    except OSError:
        return False


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
        message = f"failed {ATTEMPTS} times, the last time with {grid_runs.reason(cause)}"
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
        ray.wait(references, num_returns=len(references), timeout=STOP_SECONDS)
        if references
        else ([], [])
    )
    for reference in ended:
        config = pending[reference]
        result = _received(reference, config, waiting[config], shared)
        if result is not None and not result.error:
            yield result
