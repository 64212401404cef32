"""A Ray cluster: the connection to it, what runs there, and what a worker's process needs."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import hashlib
import os
import socket
import urllib.parse
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from gatys_norm import files, surroundings
from gatys_norm.network import weights

with surroundings.importing_tensorflow():  # a process that Ray starts may import this module first
    from gatys_norm import transfer
    from gatys_norm.network import device

if TYPE_CHECKING:
    import ray
    from ray.actor import ActorHandle

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


def start_progress_actor() -> ActorHandle:
    """Start the actor to which runs report how far they are, and which tells them to stop.

    If it is lost, Ray starts a new one, which knows each run again after its next report.
    """
    import ray

    class ProgressActor:
        """Defined in a function, so that Ray sends its code and its process loads no TensorFlow."""

        def __init__(self) -> None:
            self._progress: dict[int, Any] = {}
            self._delivered: list[tuple[int, Any]] = []
            self._stopping = False

        def report(self, index: int, progress: Any) -> bool:
            """Store how far a run is; return whether it has to stop."""
            self._progress[index] = progress
            return self._stopping

        def deliver(self, index: int, part: Any) -> None:
            """Keep a part of the result of a run until it is taken."""
            self._delivered.append((index, part))

        def take(self) -> list[tuple[int, Any]]:
            """Return (index, part) of what was delivered since the last call."""
            taken, self._delivered = self._delivered, []
            return taken

        def close(self, index: int) -> None:
            """Note that a run has ended."""
            self._progress.pop(index, None)

        def running(self) -> dict[int, Any]:
            """Return {index: how far it is}."""
            return self._progress

        def stop(self) -> set[int]:
            """Tell every run to stop; return their indices."""
            self._stopping = True
            return set(self._progress)

    return ray.remote(num_cpus=0, max_restarts=-1, max_task_retries=-1)(ProgressActor).remote()


def put_file(path: Path) -> ray.ObjectRef:
    """Put the bytes of a file into the object store."""
    import ray

    return ray.put(np.fromfile(path, np.uint8))


@functools.cache
def prepare(cpus: float) -> None:
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


class Reports:
    """Reports how far a run is to the actor; returns whether its last reply was to stop.

    It never waits for a reply: Ray would give the core of a task that waits to another task. If the
    actor does not reply, the run continues.
    """

    def __init__(self, actor: ActorHandle, index: int) -> None:
        self._actor, self._index = actor, index
        self._reply: ray.ObjectRef | None = None
        self._stop = False

    def __call__(self, progress: Any) -> bool:
        import ray

        if self._reply is not None and ray.wait([self._reply], timeout=0)[0]:
            with contextlib.suppress(ray.exceptions.RayError):
                self._stop = ray.get(self._reply)
            self._reply = None
        if self._reply is None:
            self._reply = self._actor.report.remote(self._index, progress)
        return self._stop


def on_this_machine(weights_file: weights.WeightsFile, data: np.ndarray) -> weights.WeightsFile:
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
