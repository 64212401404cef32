"""The transfer of a film: one frame after the other, each beginning with the one before."""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

import numpy as np
import tensorflow as tf

from gatys_norm.film import flow as flows
from gatys_norm.film import plan, steps
from gatys_norm.film.frame import FrameToCompute, Row, Sources, kept, repeated, row_of, start_of
from gatys_norm.film.plan import Shot
from gatys_norm.film.settings import FilmConfig, is_settled
from gatys_norm.film.steps import Step
from gatys_norm.images import color as colors
from gatys_norm.images.inputs import FilmFrame, LoadedInputs, Warped
from gatys_norm.images.sizes import resize
from gatys_norm.losses import features as loss_features
from gatys_norm.losses.functional import energy
from gatys_norm.network import device, memory, vgg, weights
from gatys_norm.optimizers.base import EvaluationStoppedError
from gatys_norm.record import running_iterations, term_value
from gatys_norm.terms import layer_of, term_names
from gatys_norm.transfer import Progress, Transfer, TransferResult

OnProgress: TypeAlias = Callable[[Step, Progress], object]  # a true value stops


class Done(NamedTuple):
    """A finished frame.

    Attributes:
      step: which frame it is, and in which pass.
      image: its transfer, float32 H × W × 3, not clipped.
      row: what the record has of it; see `FilmTransfer.run`.
    """

    step: Step
    image: np.ndarray
    row: Row


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
        shot: Shot,
        sources: Sources,
        rows: Mapping[int, Row] | None = None,
        results: Mapping[int, np.ndarray] | None = None,
        on_progress: OnProgress | None = None,
    ) -> Iterator[Done]:
        """Yield the frames of a shot one after the other, until the shot or `on_progress` ends.

        In the first pass each frame begins with the one before; in a later one with its result of
        the pass before, except where the frame before it in the new pass shows the same. The frame
        that a later pass begins with keeps its result. Where a strength is given, λ_os is found in
        the first frame, and holds for all of the shot. A frame that is the same as the one before
        keeps its result: computed once more, it would be a little nearer to its minimum, and a
        still film would drift.

        Args:
          shot: one of the result of `shots`.
          sources: where the frames come from.
          rows: {number of a frame: its row} of the frames that are done, if a film is resumed.
          results: {number: image} of the results that the next frame is compared with; see
            `steps.results_needed`.
          on_progress: called during each frame with its `Step` and `Progress`; a true value ends
            the film with the frame before, as an EvaluationStoppedError within an evaluation does
            (see `network.strips.watched_by`).

        Yields:
          `Done`, whose row has the number of the frame, and of its pass; status ("settled" where
          the loss stopped falling, "repeated" for the result of another frame, "kept" for that of
          the pass before), iterations, evaluations and seconds; the measures of
          `losses.metrics.measure`; the share of reliable pixels, and the warping error of the
          result and of the film, from the frame before it in its pass; None where a pass begins.
        """
        rows, results = dict(rows or {}), dict(results or {})
        opening = sources.content_of(shot.first)
        for index in range(steps.done(shot, rows), steps.count(shot, self.config.passes)):
            step = steps.at(shot, index)
            done = self._unchanged(step, sources, rows, results)
            if done is None:
                frame = self._frame(step, shot, opening, sources, results)
                lambda_os = rows[shot.first]["lambda_os"] if index else None
                result = self._transfer(frame, lambda_os, on_progress)
                if result is None:
                    return
                done = Done(step, result.image, row_of(frame, result, sources))
            rows[step.frame], results[step.frame] = done.row, done.image
            yield done
            needed = steps.results_needed(shot, index + 1, self.config.temporal_frames[-1])
            results = {number: results[number] for number in needed}

    def _unchanged(
        self,
        step: Step,
        sources: Sources,
        rows: Mapping[int, Row],
        results: Mapping[int, np.ndarray],
    ) -> Done | None:
        """Return a frame that keeps a result that is there; None if it has to be computed."""
        number = step.frame
        for neighbor in step.neighbors([1]).values():
            if np.array_equal(sources.content_of(number), sources.content_of(neighbor)):
                return Done(step, results[neighbor], repeated(rows[neighbor], number))
        if step.pass_number > 1 and step.position == 0:
            image = sources.earlier_result_of(number).astype(np.float32)
            return Done(step, image, rows[number] | kept(step))
        return None

    def _frame(
        self,
        step: Step,
        shot: Shot,
        opening: np.ndarray,
        sources: Sources,
        results: Mapping[int, np.ndarray],
    ) -> FrameToCompute:
        """Find the motion from the frames before in this pass, and move their results."""
        began, content = time.perf_counter(), sources.content_of(step.frame)
        neighbors = step.neighbors(self.config.temporal_frames)
        motions = {k: flows.motion(sources.content_of(n), content) for k, n in neighbors.items()}
        moved = {k: flows.warp(results[n], motions[k].flow) for k, n in neighbors.items()}
        masks = flows.without_nearer([motion.mask for motion in motions.values()])
        by_distance = dict(zip(neighbors, masks, strict=True))
        otherwise = content.astype(np.float32)
        if step.pass_number > 1:
            otherwise = sources.earlier_result_of(step.frame).astype(np.float32)
        elif neighbors:
            before = sources.content_of(neighbors[1]).astype(np.float32)
            otherwise += moved[1] - flows.warp(before, motions[1].flow)
        seconds = time.perf_counter() - began
        return FrameToCompute(
            step, content, opening, shot.energies, otherwise, motions, moved, by_distance, seconds
        )

    def _transfer(
        self, frame: FrameToCompute, lambda_os: float | None, on_progress: OnProgress | None
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
            start = start_of(frame)
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
            is_stopped = on_progress is not None and bool(on_progress(frame.step, progress))
            return is_stopped or _is_settled(progress, config.size[-1])

        strips = self.strips[-len(config.size) :]
        try:
            result = Transfer(config, inputs, self.weights_file, strips).run(watch)
        except EvaluationStoppedError:
            return None
        return None if is_stopped else result

    def _compared(self, frame: FrameToCompute) -> FilmFrame:
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
        return FilmFrame(self.config.temporal_weight, warped, frame.energies)


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
