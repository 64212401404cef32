"""A whole film, from its settings to its files."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import math
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from gatys_norm.files import StrPath
from gatys_norm.film import checkpoint, folder, measures, source, steps, store
from gatys_norm.film import inputs as film_inputs
from gatys_norm.film.checkpoint import State
from gatys_norm.film.frame import Row, Sources
from gatys_norm.film.model import FilmFacts, Frame
from gatys_norm.film.plan import Shot
from gatys_norm.film.progress import FilmProgress, progress_of, steps_left
from gatys_norm.film.settings import FilmConfig
from gatys_norm.film.source import Frames
from gatys_norm.film.transfer import FilmTransfer
from gatys_norm.film.work import Execute, Running, Work, execute_here
from gatys_norm.images.inputs import LoadedInputs
from gatys_norm.network import device, weights
from gatys_norm.runs.identity import damaged
from gatys_norm.text import finite_or_none
from gatys_norm.transfer import Progress

OnProgress: TypeAlias = Callable[[FilmProgress], object]  # a true value stops
FRAMES_BYTES = 128 * 2**20  # of the frames in memory, where they are gone through back and forth


class FilmRun:
    """The transfer of a film that can be stopped and resumed, with its files.

        from gatys_norm.config import TransferConfig

        run = FilmRun(FilmConfig(TransferConfig(content="clip.mp4", style="waves.jpg")))
        record = run.run("out.mp4")

    Attributes:
      facts: of the film that is read.
      transfer: of its frames.
    """

    def __init__(
        self,
        config: FilmConfig,
        facts: FilmFacts | None = None,
        inputs: LoadedInputs | None = None,
    ) -> None:
        """Load and check the files that the settings name.

        Args:
          config: `FilmConfig`.
          facts: of the film, if it is inspected already.
          inputs: the pictures, if they are loaded already.

        Raises:
          FilmError, PictureError, WeightsError: an input cannot be used.
        """
        self._config = config = config.resolved()
        self.facts = facts or source.inspect(config.transfer.content, config.frame_rate)
        inputs = inputs or film_inputs.load(config, next(self._read()).pixels)
        self.transfer = FilmTransfer(config, inputs, weights.locate(config.transfer.weights))

    def _read(self) -> Iterator[Frame]:
        return source.read(self._config.transfer.content, self._config.frame_rate)

    def begin(self, on_frame: Callable[[int], object] = lambda number: None) -> State:
        """Return the state before the first frame: a film of which the shots are known.

        Args:
          on_frame: called with the number of each frame, counted from 1, before it is looked at.

        Raises:
          FilmError: the film is damaged.
        """
        with device.graphs_in_full_precision():
            shots = self.transfer.shots(self._shown(on_frame))
        return State(shots, {}, {}, self.transfer.strips)

    def _shown(self, on_frame: Callable[[int], object]) -> Iterator[np.ndarray]:
        for number, frame in enumerate(self._read(), start=1):
            on_frame(number)
            yield frame.pixels

    def resume(self, output: StrPath) -> State:
        """Return the state of a film that was stopped; see `checkpoint.load`."""
        layers = self._config.transfer.content_layers
        distance, passes = self._config.temporal_frames[-1], self._config.passes
        shape = self.transfer.shape
        state = checkpoint.load(output, self._identity, layers, shape, distance, passes)
        if len(state.strips) != len(self._config.transfer.size):
            raise damaged("it has strips of other sizes")
        return state

    def run(
        self,
        output: StrPath,
        state: State | None = None,
        on_progress: OnProgress | None = None,
        with_sound: bool = True,
        execute: Execute = execute_here,
    ) -> dict[str, Any]:
        """Compute the frames that are left, and write the film and its record.

        Args:
          output: see `store`; checked by `store.check_output`.
          state: where to begin; None for the beginning.
          on_progress: called about once a second; a true value ends the run, with the film of the
            frames so far.
          with_sound: whether the sound is copied.
          execute: computes what is left, here or elsewhere.

        Returns:
          The record, as plain JSON values: `status` is "completed" or "interrupted". `time` and
          `duration` of a frame are in seconds, as numerator and denominator.

        Raises:
          FilmError, ZeroEnergyError, NonFiniteError: an input cannot be used.
          OutOfMemoryError: a frame does not fit into memory.
          OSError: a file could not be written; what was finished before can be resumed.
          ShotError: see `execute`; the same holds.
        """
        state = self.begin() if state is None else state
        rows = dict(state.rows)
        self._compute(output, state, rows, on_progress, execute)
        record = self._record(state.shots, rows)
        sound = self._config.transfer.content if with_sound and self.facts.sounds else None
        if rows:
            store.finish(output, self.facts, record, sound)
        return record

    def _compute(
        self,
        output: StrPath,
        state: State,
        rows: dict[int, Row],
        on_progress: OnProgress | None,
        execute: Execute,
    ) -> None:
        """Compute and store the frames that are left, and add their rows."""
        distance, passes = self._config.temporal_frames[-1], self._config.passes
        results = dict(state.results)
        times: dict[int, dict[str, list[int]]] = {}
        work = self._work(output, state._replace(rows=rows, results=results), times)
        needed = {
            number: steps.results_needed(shot, steps.done(shot, rows), distance)
            for number, shot in work.shots.items()
        }

        def report(running: Mapping[int, Running], transfer: Progress | None) -> bool:
            progress = progress_of(state.shots, rows, passes, running, transfer)
            return on_progress is not None and bool(on_progress(progress))

        for number, done in execute(work, report):
            frame, shot = done.step.frame, state.shots[number]
            rows[frame] = {**done.row, "shot": number, **times[frame]}
            results[frame] = done.image
            steps_done = steps.done(shot, rows)
            needed[number] = steps.results_needed(shot, steps_done, distance)
            for unneeded in results.keys() - set().union(*needed.values()):
                del results[unneeded]
            present = state._replace(rows=rows, results=results)
            checkpoint.save_frame(output, frame, present, self._identity)
            if steps_done == steps.count(shot, passes):
                del needed[number]

    def _work(self, output: StrPath, state: State, times: dict[int, dict[str, list[int]]]) -> Work:
        """Return what is left of a film; {frame: its times for the record} come with reading."""
        passes = self._config.passes

        def frames() -> Iterator[np.ndarray]:
            for number, frame in enumerate(self._read()):
                of_frame = {"time": frame.time, "duration": frame.duration}
                times[number] = {
                    name: list(time.as_integer_ratio()) for name, time in of_frame.items()
                }
                yield self.transfer.resized(frame.pixels)

        length = sum(shot.frame_count for shot in state.shots)
        contents = Frames(frames, length, self._frames_in_memory())
        shape = self.transfer.shape
        return Work(
            transfer=dataclasses.replace(self.transfer, strips=state.strips),
            shots={
                number: shot
                for number, shot in enumerate(state.shots)
                if steps.done(shot, state.rows) < steps.count(shot, passes)
            },
            rows=state.rows,
            results=state.results,
            sources=Sources(
                contents.__getitem__, lambda number: store.stored_frame(output, number, shape)
            ),
        )

    def _frames_in_memory(self) -> int:
        """Return how many frames are in memory: those that the present one is compared with.

        Where there are passes back, more, as a film can only be read forward.
        """
        count = self._config.temporal_frames[-1] + 1
        if self._config.passes == 1:
            return count
        return max(count, FRAMES_BYTES // (3 * math.prod(self.transfer.shape)))

    @functools.cached_property
    def _identity(self) -> dict[str, Any]:
        """Return what distinguishes this film from others; paths do not."""
        config, transfer = self._config.as_dict(), self.transfer
        settings = config["transfer"]
        hashes = transfer.inputs.hashes
        paths = ("content", "style", "content_masks", "style_masks", "weights")
        for name in (*paths, "memory_limit", *(["init"] if "init" in hashes else [])):
            settings.pop(name)
        return {
            "settings": config,
            "pictures": hashes,
            "film": _hash(self._config.transfer.content),
            "weights": transfer.weights_file.sha256,
            "size": list(transfer.shape),
        }

    def _record(self, shots: tuple[Shot, ...], rows: Mapping[int, Row]) -> dict[str, Any]:
        is_whole = steps_left(shots, rows, self._config.passes) == 0
        names = ("warping_error", "warping_error_of_film", "reliable_share")
        means = {
            name: finite_or_none(
                measures.mean_error(
                    [math.nan if row[name] is None else row[name] for row in rows.values()]
                )
            )
            for name in names
        }
        height, width = self.transfer.shape
        return {
            "config": self._config.as_dict(),
            "identity": self._identity,
            "status": "completed" if is_whole else "interrupted",
            "film": {
                "height": height,
                "width": width,
                "frame_rate": str(self.facts.frame_rate),
                "sounds": list(self.facts.sounds),
                "color": list(self.facts.color),
            },
            "shots": [shot._asdict() for shot in shots],
            "frames": [row for _, row in sorted(rows.items())],
            "means": means,
            "environment": device.environment(),
        }


def _hash(path: StrPath) -> str:
    """Return the SHA-256 of a film file, or of the frames of a folder."""
    digest = hashlib.sha256()
    paths = list(folder.paths(path).values()) if Path(path).is_dir() else [Path(path)]
    for part in paths:
        with part.open("rb") as file:
            while block := file.read(1 << 20):
                digest.update(block)
    return digest.hexdigest()
