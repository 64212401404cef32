"""One transfer from settings to picture: the only place where the parts meet."""

from __future__ import annotations

import contextlib
import math
import warnings
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import tensorflow as tf

from gatys_norm import machine
from gatys_norm.config import TransferConfig, filled_in
from gatys_norm.images import color as colors
from gatys_norm.images import inputs as picture_inputs
from gatys_norm.images import io as picture_io
from gatys_norm.images.inputs import LoadedInputs
from gatys_norm.images.sizes import resize
from gatys_norm.losses.coefficients import NonFiniteError, ZeroEnergyError
from gatys_norm.losses.objective import Objective
from gatys_norm.network import device, keras_vgg19, memory, vgg, weights
from gatys_norm.optimizers import base
from gatys_norm.optimizers.base import State
from gatys_norm.record import HistoryRow, Identity, Metrics, Record
from gatys_norm.runs import checkpoint as checkpoints
from gatys_norm.runs.checkpoint import Checkpoint, Facts
from gatys_norm.runs.identity import CheckpointMismatchError, damaged
from gatys_norm.runs.schedule import schedule
from gatys_norm.stages import RunLog, Stage, measure, open_stage
from gatys_norm.terms import loss_terms

OnProgress: TypeAlias = "Callable[[Progress], object]"  # a true value stops

INPUT_ERRORS = (
    keras_vgg19.KerasError,
    picture_io.PictureError,
    weights.WeightsError,
    ZeroEnergyError,
    NonFiniteError,
    memory.OutOfMemoryError,
    CheckpointMismatchError,
)


@dataclass(frozen=True)
class Progress:
    """Where a transfer stands.

    Attributes:
      size: the present one, in pixels.
      iteration: counted over all sizes.
      iterations: how many there will be, over all sizes.
      evaluations: of the loss, over all sizes.
      loss: at the present size.
      seconds: that the iterations took.
      seconds_left: how long the rest will take, about.
      image: returns the picture so far, float32 H × W × 3, RGB, not clipped.
      checkpoint: returns the `Checkpoint` from which a transfer resumes exactly here.
      history: returns the rows of the loss history so far, and {term: coefficient} of this size.
    """

    size: int
    iteration: int
    iterations: int
    evaluations: int
    loss: float
    seconds: float
    seconds_left: float
    image: Callable[[], np.ndarray]
    checkpoint: Callable[[], Checkpoint]
    history: Callable[[], tuple[list[HistoryRow], dict[str, float]]]


@dataclass(frozen=True)
class TransferResult:
    """A finished transfer.

    `image` is p, float32 H × W × 3, RGB, nominally 0–255 and not clipped; `record` is what is
    written next to the picture, made of plain JSON values.
    """

    image: np.ndarray
    record: Record

    @property
    def metrics(self) -> Metrics:
        """What the picture is measured by; see `metrics.measure`."""
        return self.record["metrics"]


def stylize(config: TransferConfig, on_progress: OnProgress | None = None) -> TransferResult:
    """p = argmin_x L(o, s, x) (Eq. 1), for every size of `config.size` in turn.

        result = stylize(TransferConfig(content="town.jpg", style="waves.jpg", size=256))

    Args:
      config: `TransferConfig`.
      on_progress: called with a `Progress` about once a second; returning True ends the transfer
        with status "interrupted".

    Returns:
      TransferResult.

    Raises:
      PictureError, WeightsError, ZeroEnergyError, NonFiniteError: an input cannot be used.
      OutOfMemoryError: a size would not fit into memory.
    """
    return Transfer(config).run(on_progress)


@dataclass
class _Present:
    """Where a transfer is: its size, its phase, and the optimizer's state."""

    stage: Stage
    phase: int
    objective: Objective  # in the precision of the phase
    state: State
    seconds: float


class Transfer:
    """A transfer that can be stopped and resumed.

        transfer = Transfer(config)
        transfer.restore(checkpoints.load("out.checkpoint.npz"))
        result = transfer.run()

    Attributes:
      plan: `memory.Plan`, how much memory it needs.
    """

    def __init__(
        self,
        config: TransferConfig,
        inputs: LoadedInputs | None = None,
        weights_file: weights.WeightsFile | None = None,
    ) -> None:
        """Load and check all that the settings name.

        Args:
          config: `TransferConfig`.
          inputs: the pictures, where they are loaded already.
          weights_file: the weights, where they are known already.

        Raises:
          PictureError, WeightsError: an input cannot be used.
          OutOfMemoryError: a size would not fit into memory.
        """
        if not tf.executing_eagerly():
            raise RuntimeError("TensorFlow's eager execution is switched off; a transfer needs it")
        self._config = config = config.resolved()
        self._inputs = picture_inputs.load(config) if inputs is None else inputs
        self.plan = memory.plan_transfer(config, self._inputs.shapes[config.size[-1]], _available())
        self._in_strips = self.plan.in_strips
        self._weights_file = weights_file or weights.locate(config.weights)
        self._precision = _usable_precision(config.precision)
        self._schedule = schedule(config, self._precision)
        self._optimizer = base.load(config)
        self._log = RunLog()
        self._restored: tuple[Checkpoint, State] | None = None

    def load_network(self) -> None:
        """Load the weights, which may be refused, before anything is computed.

        Raises:
          WeightsError: the file cannot be used.
        """
        self._extractor("float32")

    def restore(self, checkpoint: Checkpoint) -> None:
        """Return to where a checkpoint was taken, before `run`.

        Args:
          checkpoint: as `Progress.checkpoint` gave it, or `checkpoints.load`; the iterations of
            this transfer may be more.

        Raises:
          CheckpointMismatchError: the checkpoint is of another transfer, or damaged.
        """
        facts, config, optimizer = checkpoint.facts, self._config, self._optimizer
        max_restarts = optimizer.max_restarts
        checkpoints.check_facts(facts, self._identity(), config, self._schedule, max_restarts)
        shape = self._inputs.shapes[config.size[facts["stage"]]].content
        shapes = optimizer.array_shapes(3 * math.prod(shape), len(loss_terms(config)))
        checkpoints.check_arrays(checkpoint, shapes)
        try:
            results = optimizer.results_from(checkpoint.arrays)
        except ValueError as error:
            raise damaged(error) from error
        state = State(results, float(facts["scale"]), facts["iterations"], facts["restarts"])
        self._in_strips |= facts["in_strips"]
        self._log = RunLog(checkpoints.history(facts, config), facts["stages"])
        self._restored = checkpoint, state

    def run(
        self, on_progress: OnProgress | None = None, stop_at_multiples_of: Collection[int] = ()
    ) -> TransferResult:
        """Run what is left of the transfer.

        Args:
          on_progress: see `stylize`.
          stop_at_multiples_of: iteration counts (within a size) at whose multiples `on_progress`
            is sure to be called, for checkpoints and snapshots.

        Returns:
          TransferResult.

        Raises:
          WeightsError, ZeroEnergyError, NonFiniteError: an input cannot be used.
          OutOfMemoryError: the device has less memory than was planned for.
          CheckpointMismatchError: the loss at a checkpoint's picture is not finite.
        """
        with device.graphs_in_full_precision():
            present = self._resumed() if self._restored else self._opened(0)
            while True:
                status = self._run_phases(present, on_progress, stop_at_multiples_of)
                self._log.close_stage(present.stage, present.state, status, present.seconds)
                if status == "interrupted" or present.stage.index == self._schedule.last_stage:
                    return self._result(present, status)
                try:
                    present = self._opened(present.stage.index + 1, _optimized(present))
                except NonFiniteError as error:
                    warnings.warn(f"{error}; the picture of the size before is kept", stacklevel=2)
                    return self._result(present, "stalled")

    def _opened(self, index: int, coarse: np.ndarray | None = None) -> _Present:
        """Begin a size, from the result of the one before."""
        stage, objective = self._stage(index, 0, coarse)
        start = objective.position(filled_in(stage.start))
        try:
            state = self._optimizer.init(objective.function, start, objective.data)
        except FloatingPointError as error:
            names = ", ".join(stage.objective.terms_not_finite(start)) or "the loss"
            raise NonFiniteError(
                f"{names}: not finite at the start of size {stage.size}"
            ) from error
        self._log.add_row(stage, state)
        return _Present(stage, 0, objective, state, 0.0)

    def _resumed(self) -> _Present:
        """Continue the size of the checkpoint."""
        (_, facts), state = filled_in(self._restored)
        stage, objective = self._stage(facts["stage"], facts["phase"], None)
        if not math.isfinite(stage.objective.loss(stage.objective.terms(state.position))):
            raise damaged("the loss of its picture is not finite")
        return _Present(stage, facts["phase"], objective, state, float(facts["seconds"]))

    def _stage(self, index: int, phase: int, coarse: np.ndarray | None) -> tuple[Stage, Objective]:
        """Set up a size; returns it with the objective of one of its phases."""
        extractor = self._extractor("float32")
        with _within_memory(self._config.size[index]):
            stage = open_stage(
                self._config, self._inputs, index, extractor, self._in_strips, coarse
            )
            return stage, self._objective_of(stage, phase)

    def _objective_of(self, stage: Stage, phase: int) -> Objective:
        precision = self._schedule.phases[stage.index][phase].precision
        return stage.objective_in(precision, self._extractor, self._config)

    def _run_phases(
        self,
        present: _Present,
        on_progress: OnProgress | None,
        stop_at_multiples_of: Collection[int],
    ) -> str:
        """Run the rest of a size; returns its status."""
        stage, log_every = present.stage, self._config.log_every
        phases = self._schedule.phases[stage.index]
        seconds_before, stop = present.seconds, False

        def on_piece(state: State, seconds: float) -> bool:
            nonlocal stop
            present.state, present.seconds = state, seconds_before + seconds
            if state.iterations % log_every == 0:
                self._log.add_row(stage, state)
            stop = on_progress is not None and bool(on_progress(self._progress(present)))
            return stop

        while True:
            phase, objective = phases[present.phase], present.objective
            with _within_memory(stage.size):
                minimum = base.minimize(
                    self._optimizer,
                    objective.function,
                    present.state,
                    phase.last_iteration,
                    (log_every, *stop_at_multiples_of),
                    on_piece,
                    objective.data,
                    may_restart=phase.precision == "float32",
                )
            present.state, present.seconds = minimum.state, seconds_before + minimum.seconds
            last_phase = present.phase == len(phases) - 1
            if stop and not (last_phase and stage.index == self._schedule.last_stage):
                return "interrupted"
            if last_phase or minimum.status == "interrupted":
                return _judged(present, minimum.status)
            seconds_before = present.seconds
            present.phase += 1
            present.objective = objective = self._objective_of(stage, present.phase)
            present.state = base.reevaluate(objective.function, present.state, objective.data)

    def _progress(self, present: _Present) -> Progress:
        stage, state, log = present.stage, present.state, self._log
        pixel_counts = {
            size: math.prod(shapes.content) for size, shapes in self._inputs.shapes.items()
        }
        seconds_left = self._schedule.seconds_left(
            stage.index, state.iterations, present.seconds, pixel_counts
        )
        return Progress(
            size=stage.size,
            iteration=log.iterations_before() + state.iterations,
            iterations=log.iterations_before() + self._schedule.iterations_from(stage.index),
            evaluations=log.evaluations_before() + state.evaluations,
            loss=state.value * stage.objective.unit,
            seconds=log.seconds_before() + present.seconds,
            seconds_left=seconds_left,
            image=lambda: self._image(present),
            checkpoint=lambda: self._checkpoint(present),
            history=lambda: (list(log.history), dict(stage.objective.coefficients)),
        )

    def _checkpoint(self, present: _Present) -> Checkpoint:
        state = present.state
        facts: Facts = {
            **self._identity(),
            "stage": present.stage.index,
            "phase": present.phase,
            "scale": state.scale,
            "iterations": state.iterations,
            "restarts": state.restarts,
            "in_strips": self._in_strips,
            "seconds": present.seconds,
            "history": list(self._log.history),
            "stages": list(self._log.stages),
        }
        return Checkpoint(state.arrays(), facts)

    def _result(self, present: _Present, status: str) -> TransferResult:
        image = _optimized(present)
        measures = measure(self._config, present.stage, self._extractor("float32"), image)
        record = self._log.record(self._identity(), status, present.stage, measures)
        return TransferResult(self._image(present), record)

    def _image(self, present: _Present) -> np.ndarray:
        """Return x, H × W × 3, or the content with x's luminance."""
        image = _optimized(present)
        if self._config.color != "luminance":
            return image
        content = resize(self._inputs.pictures.content, *image.shape[:2])
        return colors.with_luminance_of(image, content)

    def _identity(self) -> Identity:
        return {
            "config": self._config.as_dict(),
            "network_precision": self._precision,
            "weights": {"source": self._weights_file.source, "sha256": self._weights_file.sha256},
            "pictures": self._inputs.hashes,
        }

    def _extractor(self, precision: str) -> vgg.Extractor:
        layers = frozenset(self._config.content_layers + self._config.style_layers)
        return vgg.load_extractor(self._weights_file, layers, self._config.pooling, precision)


def _optimized(present: _Present) -> np.ndarray:
    """Return x, H × W × 3."""
    return present.stage.objective.image(present.state.position).numpy()


def _judged(present: _Present, status: str) -> str:
    """Return `status`, but "stalled", with a warning, if a loss or gradient was not finite.

    From an infinite loss the search may have crept back until no step was left, as if it had
    converged.
    """
    if status not in ("stalled", "converged"):
        return status
    value, slope, *distances = present.state.results.tried.numpy()
    names = [
        term
        for term, distance in zip(present.objective.coefficients, distances, strict=True)
        if not math.isfinite(distance)
    ]
    if not names and not math.isfinite(value):
        names = ["the loss"]
    if not names and not math.isfinite(slope):
        names = ["the gradient of the loss"]
    if not names:
        return status
    warnings.warn(
        f"{', '.join(names)}: not finite after iteration {present.state.iterations}; "
        "the picture of that iteration is kept",
        stacklevel=2,
    )
    return "stalled"


def _usable_precision(precision: str) -> str:
    """Return `precision`, but float32, with a warning, where the device would emulate it."""
    if precision == "float32" or device.has_fast_bfloat16():
        return precision
    warnings.warn(
        f"precision: this device does not compute in {precision} itself; float32 is faster here "
        "and taken instead",
        stacklevel=2,
    )
    return "float32"


def _available() -> float:
    """How many bytes a transfer may take; on a GPU its own allocator has the last word."""
    return math.inf if device.gpus() else machine.available_bytes()


@contextlib.contextmanager
def _within_memory(size: int) -> Iterator[None]:
    """Turn TensorFlow's error that memory is full into `OutOfMemoryError`."""
    try:
        yield
    except tf.errors.ResourceExhaustedError as error:
        raise memory.OutOfMemoryError(
            f"size: {size} does not fit into the device's memory; choose a smaller one"
        ) from error
