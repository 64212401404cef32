"""The shots of a film on a Ray cluster, each a cell of its own.

The driver reads the film, sends the frames of a shot through Ray's object store, and gets each
finished frame from the actor to which the workers give it; it alone writes. A shot whose worker was
lost is begun again after the last frame that the driver has.
"""

from __future__ import annotations

import collections
import contextlib
import dataclasses
import time
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

import numpy as np

from gatys_norm import surroundings

with surroundings.importing_tensorflow():  # a process that Ray starts imports this module first
    from gatys_norm import transfer
    from gatys_norm.experiments import cluster
    from gatys_norm.experiments import grid as grid_runs
from gatys_norm.film import steps
from gatys_norm.film.frame import Row, Sources
from gatys_norm.film.plan import Shot
from gatys_norm.film.steps import Step
from gatys_norm.film.transfer import Done, FilmTransfer
from gatys_norm.film.work import Execute, Report, Running, ShotError, Work
from gatys_norm.images import io as picture_io

if TYPE_CHECKING:
    import ray
    from ray.actor import ActorHandle

# What passes through the actor, which imports nothing of this package: the values of a `Step`, and
# share and seconds of a `Running`, or image and row of a `Done`.
_Reported: TypeAlias = "tuple[tuple[int, int, int], float, float]"
_Delivered: TypeAlias = "tuple[tuple[int, int, int], np.ndarray, Row]"


class _Cell(NamedTuple):
    """What a worker gets of a shot, apart from its frames.

    Attributes:
      number: of the shot, counted from 0.
      shot: the shot.
      cpus: CPU cores, and threads of TensorFlow.
      rows: {number of a frame: its row} of the frames that are done.
      results: {number of a frame: image} that the next frame is compared with.
      earlier: {number of a frame: stored result, uint8}, if there are several passes.
    """

    number: int
    shot: Shot
    cpus: float
    rows: Mapping[int, Row]
    results: Mapping[int, np.ndarray]
    earlier: dict[int, np.ndarray]


def executor(cpus_per_cell: float = 1.0, gpus_per_cell: float = 0.0) -> Execute:
    """Return the argument `execute` of `FilmRun.run`; it can be used within `cluster.connected`.

    Args:
      cpus_per_cell: CPU cores of each shot, and threads of TensorFlow.
      gpus_per_cell: GPUs of each shot; with a fraction several shots share one.

    Returns:
      A function that raises `ShotError` where a shot fails `cluster.ATTEMPTS` times, and one of
      `transfer.INPUT_ERRORS` where another attempt would fail in the same way.
    """

    def execute(work: Work, report: Report) -> Iterator[tuple[int, Done]]:
        cells = _Cells(work, cpus_per_cell, gpus_per_cell)
        try:
            yield from cells.run(report)
        finally:
            cells.cancel()

    return execute


class _Cells:
    """The shots of a film that wait or are computed on a cluster."""

    def __init__(self, work: Work, cpus: float, gpus: float) -> None:
        import ray

        self._work, self._cpus = work, cpus
        self._waiting = list(work.shots)
        self._running: dict[ray.ObjectRef, int] = {}
        self._failures: collections.Counter[int] = collections.Counter()
        self._actor = cluster.start_progress_actor()
        self._film = ray.put(work.transfer), cluster.put_file(work.transfer.weights_file.path)
        self._most = int(ray.cluster_resources().get("CPU", 1) / cpus) + 1  # one waits over there
        # It is not Ray that tries again, as it would begin with what was done at the first try.
        self._run = ray.remote(num_cpus=cpus, num_gpus=gpus, max_retries=0, max_calls=0)(_run)

    def run(self, report: Report) -> Iterator[tuple[int, Done]]:
        """Yield the finished frames as they come, until all are done or `report` stops."""
        import ray

        deadline = None
        while self._running or (self._waiting and deadline is None):
            while self._waiting and len(self._running) < self._most and deadline is None:
                self._begin(self._waiting.pop(0))
            ended, _ = ray.wait(list(self._running), timeout=cluster.POLL_SECONDS)
            yield from self._delivered()
            for reference in ended:
                self._end(reference, deadline is not None)
            if deadline is None and self._running and report(self._reported(), None):
                self._stop()
                deadline = time.monotonic() + cluster.STOP_SECONDS
            if deadline is not None and time.monotonic() > deadline:
                return

    def cancel(self) -> None:
        """End what still runs."""
        import ray

        for reference in self._running:
            ray.cancel(reference, force=True)
        ray.kill(self._actor)

    def _begin(self, number: int) -> None:
        """Send a shot to the cluster, with what is done of it."""
        import ray

        work, shot = self._work, self._work.shots[number]
        rows = {frame: work.rows[frame] for frame in shot.frames if frame in work.rows}
        results = {frame: image for frame, image in work.results.items() if frame in shot.frames}
        stored = rows if work.transfer.config.passes > 1 else ()
        earlier = {frame: work.sources.earlier_result_of(frame) for frame in stored}
        cell = _Cell(number, shot, self._cpus, rows, results, earlier)
        contents = ray.put(np.stack([work.sources.content_of(frame) for frame in shot.frames]))
        self._running[self._run.remote(cell, self._actor, *self._film, contents)] = number

    def _delivered(self) -> Iterator[tuple[int, Done]]:
        """Yield the frames that the actor has got, each once.

        After a loss some may come twice, or without the one before.
        """
        import ray

        delivered: list[tuple[int, _Delivered]] = ray.get(self._actor.take.remote())
        for number, (step, image, row) in delivered:
            shot = self._work.shots[number]
            steps_done = steps.done(shot, self._work.rows)
            is_left = steps_done < steps.count(shot, self._work.transfer.config.passes)
            if is_left and steps.at(shot, steps_done) == step:
                yield number, Done(Step(*step), image, row)

    def _end(self, reference: ray.ObjectRef, is_stopping: bool) -> None:
        """Note that a task has ended, and let its shot wait once more if frames are missing.

        Raises:
          ShotError: it has failed too often.
          Exception: one of `transfer.INPUT_ERRORS`.
        """
        import ray

        number, error = self._running.pop(reference), None
        try:
            ray.get(reference)
        except ray.exceptions.RayError as caught:
            error = getattr(caught, "cause", None) or caught
        if isinstance(error, transfer.INPUT_ERRORS):
            raise error
        shot, passes = self._work.shots[number], self._work.transfer.config.passes
        if is_stopping or steps.done(shot, self._work.rows) == steps.count(shot, passes):
            return
        self._failures[number] += 1
        if self._failures[number] == cluster.ATTEMPTS:
            reason = grid_runs.reason(error) if error else "frames missing"
            raise ShotError(
                f"shot {number + 1} failed {cluster.ATTEMPTS} times, the last time with {reason}"
            )
        self._waiting.insert(0, number)

    def _stop(self) -> None:
        """Ask all shots to stop, and take back those that have not begun."""
        import ray

        begun = ray.get(self._actor.stop.remote())
        for reference, number in self._running.items():
            if number not in begun:
                ray.cancel(reference)

    def _reported(self) -> dict[int, Running]:
        """Return {number of a shot: what runs of it}, of one at least."""
        import ray

        reported: dict[int, _Reported] = ray.get(self._actor.running.remote())
        running = {
            number: Running(Step(*step), share, seconds)
            for number, (step, share, seconds) in reported.items()
            if number in self._running.values()
        }
        if running:
            return running
        number = next(iter(self._running.values()))  # its worker is being started
        shot = self._work.shots[number]
        return {number: Running(steps.at(shot, steps.done(shot, self._work.rows)), 0.0, 0.0)}


def _run(
    cell: _Cell,
    actor: ActorHandle,
    film: FilmTransfer,
    weights_bytes: np.ndarray,
    contents: np.ndarray,
) -> None:
    """Compute the frames of a shot that are left, on the machine that Ray chose."""
    import ray

    cluster.prepare(cell.cpus)
    weights_file = cluster.on_this_machine(film.weights_file, weights_bytes)
    film = dataclasses.replace(film, weights_file=weights_file)
    report, earlier, first = cluster.Reports(actor, cell.number), cell.earlier, cell.shot.first
    sources = Sources(lambda number: contents[number - first], earlier.__getitem__)

    def watch(step: Step, progress: transfer.Progress) -> bool:
        share = progress.iteration / progress.iterations
        return report((tuple(step), share, progress.seconds))

    deliveries = []
    for done in film.run(cell.shot, sources, cell.rows, cell.results, watch):
        if film.config.passes > 1:
            earlier[done.step.frame] = picture_io.levels(done.image)
        delivered = tuple(done.step), done.image, done.row
        deliveries.append(actor.deliver.remote(cell.number, delivered))
    with contextlib.suppress(ray.exceptions.RayError):
        ray.get(deliveries)
    actor.close.remote(cell.number)
