"""The transfer of a film: one frame after the other, each beginning with the one before."""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import tensorflow as tf

from gatys_norm.config import filled_in
from gatys_norm.film import flow as flows
from gatys_norm.film import measures, plan
from gatys_norm.film.flow import Motion
from gatys_norm.film.plan import Shot
from gatys_norm.film.settings import FilmConfig, is_settled
from gatys_norm.images import color as colors
from gatys_norm.images.inputs import FilmFrame, LoadedInputs, Warped
from gatys_norm.images.sizes import resize
from gatys_norm.losses import features as loss_features
from gatys_norm.losses.functional import energy
from gatys_norm.network import device, memory, vgg, weights
from gatys_norm.optimizers.base import EvaluationStoppedError
from gatys_norm.record import lambda_os_of, running_iterations, term_value
from gatys_norm.terms import layer_of, term_names
from gatys_norm.text import finite_or_none
from gatys_norm.transfer import Progress, Transfer, TransferResult

Row: TypeAlias = dict[str, Any]  # what the record has of a frame
OnProgress: TypeAlias = Callable[[int, Progress], object]  # number of the frame; true stops


class Done(NamedTuple):
    """A finished frame.

    Attributes:
      content: the frame of the film at the size of the transfer, uint8 H × W × 3.
      image: its transfer, float32 H × W × 3, not clipped.
      row: what the record has of it; see `FilmTransfer.run`.
    """

    content: np.ndarray
    image: np.ndarray
    row: Row


class _Frame(NamedTuple):
    """A frame to be computed, and what it is compared with.

    Attributes:
      number: of the frame in the film.
      content: of the film, uint8 H × W × 3.
      opening: the same of the first frame of its shot.
      shot: its shot.
      motions: {distance: from the frame so many before, of the same shot}.
      moved: {distance: the result of that frame, moved}.
      masks: {distance: where that frame is the nearest one that shows the same}.
      flow_seconds: time that the motions and the moves took.
    """

    number: int
    content: np.ndarray
    opening: np.ndarray
    shot: Shot
    motions: Mapping[int, Motion]
    moved: Mapping[int, np.ndarray]
    masks: Mapping[int, np.ndarray]
    flow_seconds: float


@dataclass
class FilmTransfer:
    """The transfer of a film, of which each frame depends on earlier results alone.

    Attributes:
      config: resolved `FilmConfig`.
      inputs: see `film.inputs.load`.
      weights_file: of VGG-19.
      strips: how the network is computed at each size of the first frames; planned if empty. It is
        the same for all frames, because the results differ by rounding.

    Raises:
      OutOfMemoryError: when made, if a frame would not fit into memory.
    """

    config: FilmConfig
    inputs: LoadedInputs
    weights_file: weights.WeightsFile
    strips: tuple[memory.Strips, ...] = ()

    def __post_init__(self) -> None:
        if not self.strips:
            plans = memory.plan_transfer(
                self.config.transfer, self.inputs.shapes, device.available_bytes(), device.costs()
            )
            self.strips = tuple(plan.strips for plan in plans)

    @property
    def shape(self) -> tuple[int, int]:
        """(height, width) of the frames of the result."""
        return self.inputs.shapes[self.config.transfer.size[-1]].content

    def resized(self, pixels: np.ndarray) -> np.ndarray:
        """Return a frame of the film at the size of the transfer, uint8 H × W × 3."""
        axes = self.config.transfer.wrapped_axes
        frame = resize(pixels.astype(np.float32), *self.shape, axes)
        return np.rint(frame).astype(np.uint8)

    def shots(self, frames: Iterable[np.ndarray]) -> tuple[Shot, ...]:
        """Find the shots of a film; see `plan.shots`.

        Args:
          frames: all frames of the film, uint8.
        """
        return plan.shots(map(self.resized, frames), self._energies)

    def _energies(self, frame: np.ndarray) -> dict[str, float]:
        config = self.config.transfer
        terms = term_names(config.content_layers, ())
        layers = frozenset(config.content_layers + config.style_layers)
        extractor = vgg.load_extractor(
            self.weights_file, layers, config.pooling, "float32", config.border
        )
        values_of = loss_features.compiled(extractor, terms, self.strips[-1])
        values = values_of(tf.constant(self._content(frame)), {})
        return {layer_of(term): float(energy(value)) for term, value in values.items()}

    def _content(self, frame: np.ndarray) -> np.ndarray:
        """Return what x is compared with: the frame, or its luminance."""
        content = frame.astype(np.float32)
        return _grey(content) if self.config.transfer.color == "luminance" else content

    def run(
        self,
        frames: Iterable[np.ndarray],
        shots: tuple[Shot, ...],
        earlier: Mapping[int, np.ndarray] | None = None,
        first: int = 0,
        row: Row | None = None,
        on_progress: OnProgress | None = None,
    ) -> Iterator[Done]:
        """Yield the frames of the result one after the other, until the film or `on_progress` ends.

        Where a strength is given, λ_os is found in the first frame of each shot, and holds for all
        of it. A frame that is the same as the one before keeps its result: computed once more, it
        would be a little nearer to its minimum, and a still film would drift.

        Args:
          frames: of the film, from its beginning, uint8.
          shots: result of `shots`.
          earlier: {number: image} of the results before frame `first` that it is compared with, if
            a film is resumed there.
          first: number of the first frame to be computed.
          row: of the frame before it, if a film is resumed there.
          on_progress: called during each frame with its number and `Progress`; a true value ends
            the film with the frame before, as an EvaluationStoppedError within an evaluation does
            (see `network.strips.watched_by`).

        Yields:
          `Done`, whose row has the number of the frame, and of its shot; status ("settled" where
          the loss stopped falling, "repeated" for a kept result), iterations, evaluations and
          seconds; the measures of `losses.metrics.measure`; the share of reliable
          pixels, and the warping error of the result and of the film, None in a shot's first frame.
        """
        results = dict(earlier or {})
        contents: dict[int, np.ndarray] = {}
        opening = None
        for index, pixels in enumerate(frames):
            shot = plan.shot_of(shots, index)
            contents[index] = self.resized(pixels)
            if index == shot.first:
                opening = contents[index]
            if index >= first:
                before = row if index > shot.first else None
                if before and np.array_equal(contents[index], contents[index - 1]):
                    done = Done(contents[index], results[index - 1], _repeated(before))
                else:
                    frame = self._frame(index, shot, contents, filled_in(opening), results)
                    lambda_os = before["lambda_os"] if before else None
                    result = self._transfer(frame, lambda_os, on_progress)
                    if result is None:
                        return
                    row = _row(frame, shots.index(shot), result, contents.get(index - 1))
                    done = Done(contents[index], result.image, row)
                results[index], row = done.image, done.row
                yield done
            for numbers in (contents, results):
                numbers.pop(index - self.config.temporal_frames[-1], None)

    def _frame(
        self,
        index: int,
        shot: Shot,
        contents: Mapping[int, np.ndarray],
        opening: np.ndarray,
        results: Mapping[int, np.ndarray],
    ) -> _Frame:
        """Find the motion from the earlier frames of the shot, and move their results."""
        began, content = time.perf_counter(), contents[index]
        distances = [k for k in self.config.temporal_frames if index - k >= shot.first]
        motions = {k: flows.motion(contents[index - k], content) for k in distances}
        moved = {k: flows.warp(results[index - k], motions[k].flow) for k in distances}
        masks = flows.without_nearer([motion.mask for motion in motions.values()])
        by_distance = dict(zip(distances, masks, strict=True))
        seconds = time.perf_counter() - began
        return _Frame(index, content, opening, shot, motions, moved, by_distance, seconds)

    def _transfer(
        self, frame: _Frame, lambda_os: float | None, on_progress: OnProgress | None
    ) -> TransferResult | None:
        """Compute one frame; None if `on_progress`, or a stop within an evaluation, ended it.

        Args:
          frame: the frame.
          lambda_os: of the shot; None in its first frame.
          on_progress: see `run`.
        """
        config, pictures = self.config.transfer, self.inputs.pictures
        content = frame.content.astype(np.float32)
        start = pictures.init
        if frame.moved:
            config = self.config.of_later_frames()
            if config.strength is not None:
                config = dataclasses.replace(config, strength=None, lambda_os=lambda_os)
            start = _start(frame)
        pictures = dataclasses.replace(pictures, content=content, init=start)
        if config.color == "match":  # once for a shot, or the colors would flicker
            opening = frame.opening.astype(np.float32)
            styles = tuple(colors.match_colors(style, opening) for style in pictures.styles)
            pictures = dataclasses.replace(pictures, styles=styles)
            config = dataclasses.replace(config, color="style")
        inputs = dataclasses.replace(self.inputs, pictures=pictures, frame=self._compared(frame))
        is_stopped = False

        def watch(progress: Progress) -> bool:
            nonlocal is_stopped
            is_stopped = on_progress is not None and bool(on_progress(frame.number, progress))
            return is_stopped or _is_settled(progress, config.size[-1])

        strips = self.strips[-len(config.size) :]
        try:
            result = Transfer(config, inputs, self.weights_file, strips).run(watch)
        except EvaluationStoppedError:
            return None
        return None if is_stopped else result

    def _compared(self, frame: _Frame) -> FilmFrame:
        """Return what the terms of a frame compare it with.

        All frames have the same terms, so that one graph serves them all: where there is no earlier
        frame, the mask is empty.
        """
        nothing = Warped(np.zeros((*self.shape, 3), np.float32), np.zeros(self.shape, np.float32))
        warped = dict.fromkeys(self.config.temporal_frames, nothing)
        is_grey = self.config.transfer.color == "luminance"
        for distance, mask in frame.masks.items():
            picture = frame.moved[distance]
            warped[distance] = Warped(_grey(picture) if is_grey else picture, mask)
        return FilmFrame(self.config.temporal_weight, warped, frame.shot.energies)


def _start(frame: _Frame) -> np.ndarray:
    """Return the start of a later frame: the nearest result that shows the same, or the content."""
    remaining = np.ones(frame.content.shape[:2], np.float32)
    start = np.zeros(frame.content.shape, np.float32)
    for distance, mask in frame.masks.items():
        start += mask[..., np.newaxis] * frame.moved[distance]
        remaining -= mask
    return start + remaining[..., np.newaxis] * frame.content.astype(np.float32)


def _row(frame: _Frame, shot: int, result: TransferResult, before: np.ndarray | None) -> Row:
    """Return what the record has of a frame; `before` is the frame of the film before it."""
    record = result.record
    row = {
        "frame": frame.number,
        "shot": shot,
        "status": "settled" if record["status"] == "interrupted" else record["status"],
        "iterations": record["iterations"],
        "evaluations": record["evaluations"],
        "seconds": record["timing"]["seconds"],
        "flow_seconds": frame.flow_seconds,
        "lambda_os": lambda_os_of(record),
        "metrics": record["metrics"],
        "reliable_share": None,
        "warping_error": None,
        "warping_error_of_film": None,
    }
    if not frame.moved or before is None:
        return row
    motion, standstill = frame.motions[1], np.zeros_like(frame.motions[1].flow)
    error = measures.warping_error(result.image, frame.moved[1], standstill, motion.mask)
    of_film = measures.warping_error(frame.content, before, motion.flow, motion.mask)
    return row | {
        "reliable_share": motion.share,
        "warping_error": finite_or_none(error),
        "warping_error_of_film": finite_or_none(of_film),
    }


def _repeated(before: Row) -> Row:
    """Return the row of a frame that keeps the result of the one before, from the row of that."""
    work = dict.fromkeys(("iterations", "evaluations", "seconds", "flow_seconds"), 0)
    errors = {"reliable_share": 1.0, "warping_error": 0.0, "warping_error_of_film": 0.0}
    return before | {"frame": before["frame"] + 1, "status": "repeated"} | work | errors


def _is_settled(progress: Progress, size: int) -> bool:
    """Tell whether the loss at the last size has nearly stopped falling, from its history.

    Only at the iterations of its rows: where other calls come depends on the machine's speed.
    """
    history, coefficients = progress.history()
    losses = {  # all at the present λ_os
        row["iteration"]: math.fsum(c * term_value(row, term) for term, c in coefficients.items())
        for row in history
        if row["size"] == size
    }
    if not losses or running_iterations(history)[-1] != progress.iteration:
        return False
    return is_settled(losses)


def _grey(image: np.ndarray) -> np.ndarray:
    return colors.grey(colors.luminance(image))
