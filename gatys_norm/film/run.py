"""A whole film, from its settings to its files."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import math
import statistics
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from gatys_norm.files import StrPath
from gatys_norm.film import folder, measures, plan, source, store
from gatys_norm.film import inputs as film_inputs
from gatys_norm.film.model import FilmFacts, Frame
from gatys_norm.film.settings import FilmConfig
from gatys_norm.film.store import Row, State
from gatys_norm.film.transfer import FilmTransfer
from gatys_norm.images.inputs import LoadedInputs
from gatys_norm.network import device, weights
from gatys_norm.runs.identity import damaged
from gatys_norm.text import finite_or_none
from gatys_norm.transfer import Progress

OnProgress: TypeAlias = "Callable[[FilmProgress], object]"  # a true value stops


@dataclass(frozen=True)
class FilmProgress:
    """How far a film is.

    Attributes:
      frame: number of the present frame, counted from 1.
      frames: number of frames.
      shot: number of the present shot, counted from 1.
      shots: number of shots.
      share: of the present frame that is done, 0 to 1.
      seconds_left: estimated time until the end; NaN before the first frame is done.
      transfer: `Progress` of the transfer of the present frame.
    """

    frame: int
    frames: int
    shot: int
    shots: int
    share: float
    seconds_left: float
    transfer: Progress


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
        return State(shots, [], {}, self.transfer.strips)

    def _shown(self, on_frame: Callable[[int], object]) -> Iterator[np.ndarray]:
        for number, frame in enumerate(self._read(), start=1):
            on_frame(number)
            yield frame.pixels

    def resume(self, output: StrPath) -> State:
        """Return the state of a film that was stopped; see `store.load`."""
        layers = self._config.transfer.content_layers
        distance = self._config.temporal_frames[-1]
        state = store.load(output, self._identity, layers, self.transfer.shape, distance)
        if len(state.strips) != len(self._config.transfer.size):
            raise damaged("it has strips of other sizes")
        return state

    def run(
        self,
        output: StrPath,
        state: State | None = None,
        on_progress: OnProgress | None = None,
        with_sound: bool = True,
    ) -> dict[str, Any]:
        """Compute the frames that are left, and write the film and its record.

        Args:
          output: see `store`; checked by `store.check_output`.
          state: where to begin; None for the beginning.
          on_progress: called about once a second; a true value ends the run, with the film of the
            frames so far.
          with_sound: whether the sound is copied.

        Returns:
          The record, as plain JSON values: `status` is "completed" or "interrupted". `time` and
          `duration` of a frame are in seconds, as numerator and denominator.

        Raises:
          FilmError, ZeroEnergyError, NonFiniteError: an input cannot be used.
          OutOfMemoryError: a frame does not fit into memory.
          OSError: a file could not be written; what was finished before can be resumed.
        """
        state = self.begin() if state is None else state
        shown: dict[int, Frame] = {}

        def pixels() -> Iterator[np.ndarray]:
            for number, frame in enumerate(self._read()):
                shown.clear()
                shown[number] = frame
                yield frame.pixels

        transfer = dataclasses.replace(self.transfer, strips=state.strips)
        rows, results = list(state.rows), dict(state.results)
        watch = self._watch(state.shots, rows, on_progress)
        before = rows[-1] if rows else None
        for done in transfer.run(pixels(), state.shots, results, len(rows), before, watch):
            frame = shown[len(rows)]
            times = {"time": frame.time, "duration": frame.duration}
            rows.append(
                done.row | {name: list(time.as_integer_ratio()) for name, time in times.items()}
            )
            results[len(rows) - 1] = done.image
            results.pop(len(rows) - 1 - self._config.temporal_frames[-1], None)
            present = state._replace(rows=rows, results=results)
            store.save_frame(output, done.image, present, self._identity)
        record = self._record(state.shots, rows)
        sound = self._config.transfer.content if with_sound and self.facts.sounds else None
        if rows:
            store.finish(output, rows, self.facts, record, sound)
        return record

    def _watch(
        self, shots: tuple[plan.Shot, ...], rows: list[Row], on_progress: OnProgress | None
    ) -> Callable[[int, Progress], bool]:
        count = sum(shot.frame_count for shot in shots)

        def watch(number: int, progress: Progress) -> bool:
            if on_progress is None:
                return False
            shot = plan.shot_of(shots, number)
            share = progress.iteration / progress.iterations
            left = _seconds_left(shots, rows) - progress.seconds
            film_progress = FilmProgress(
                number + 1, count, shots.index(shot) + 1, len(shots), share, left, progress
            )
            return bool(on_progress(film_progress))

        return watch

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

    def _record(self, shots: tuple[plan.Shot, ...], rows: list[Row]) -> dict[str, Any]:
        is_whole = len(rows) == sum(shot.frame_count for shot in shots)
        names = ("warping_error", "warping_error_of_film", "reliable_share")
        means = {
            name: finite_or_none(
                measures.mean_error([math.nan if row[name] is None else row[name] for row in rows])
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
            "frames": rows,
            "means": means,
            "environment": device.environment(),
        }


def _seconds_left(shots: tuple[plan.Shot, ...], rows: list[Row]) -> float:
    """Estimate the time of the frames that are not done; NaN if none is done."""
    firsts = {shot.first for shot in shots}
    count = sum(shot.frame_count for shot in shots)
    seconds = {
        is_first: [row["seconds"] for row in rows if (row["frame"] in firsts) == is_first]
        for is_first in (True, False)
    }
    if not rows:
        return math.nan
    mean = statistics.fmean(seconds[False] or seconds[True])
    mean_of_first = statistics.fmean(seconds[True] or seconds[False])
    first_left = sum(first >= len(rows) for first in firsts)
    return first_left * mean_of_first + (count - len(rows) - first_left) * mean


def _hash(path: StrPath) -> str:
    """Return the SHA-256 of a film file, or of the frames of a folder."""
    digest = hashlib.sha256()
    paths = list(folder.paths(path).values()) if Path(path).is_dir() else [Path(path)]
    for part in paths:
        with part.open("rb") as file:
            while block := file.read(1 << 20):
                digest.update(block)
    return digest.hexdigest()
