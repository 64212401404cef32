"""One transfer from settings to picture: the only place where the parts meet."""

from __future__ import annotations

import contextlib
import copy
import math
import warnings
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import numpy as np
import tensorflow as tf

from gatys_norm import machine
from gatys_norm.config import SIZE_RANGE, filled_in
from gatys_norm.images import color as colors
from gatys_norm.images import inputs as picture_inputs
from gatys_norm.images import io as picture_io
from gatys_norm.images.inputs import Inputs, LoadedInputs
from gatys_norm.images.sizes import resize
from gatys_norm.losses import features as loss_features
from gatys_norm.losses import metrics, objective
from gatys_norm.losses.coefficients import NonFiniteError, ZeroEnergyError
from gatys_norm.network import device, keras_vgg19, memory, vgg, weights
from gatys_norm.network.device import environment
from gatys_norm.optimizers import adam, lbfgs
from gatys_norm.runs import checkpoint as checkpoints
from gatys_norm.runs.checkpoint_arrays import (
    RESULTS,
    Checkpoint,
    CheckpointMismatchError,
    check,
    history,
)
from gatys_norm.terms import term_names

if TYPE_CHECKING:
    from gatys_norm.config import TransferConfig
    from gatys_norm.record import Metrics, Record
    from gatys_norm.runs.checkpoint_arrays import Stored

OnProgress: TypeAlias = "Callable[[Progress], object]"  # a true value stops

REWRITES = (  # of TensorFlow's graphs, to float16 or bfloat16
    "auto_mixed_precision",
    "auto_mixed_precision_mkl",
    "auto_mixed_precision_onednn_bfloat16",
)


class OutOfMemoryError(ValueError):
    """A size needs more memory than there is; the message says how much and what would fit."""


INPUT_ERRORS = (
    keras_vgg19.KerasError,
    picture_io.PictureError,
    weights.WeightsError,
    ZeroEnergyError,
    NonFiniteError,
    OutOfMemoryError,
    CheckpointMismatchError,
)


class Prepared(NamedTuple):
    """All that a transfer needs beside its settings."""

    pictures: Inputs[np.ndarray]
    weights_file: weights.WeightsFile


@dataclass(frozen=True)
class Progress:
    """Where a transfer stands.

    `iteration` and `iterations` count over all sizes; `size` and `loss` are the present ones.
    """

    size: int
    iteration: int
    iterations: int
    evaluations: int
    loss: float
    seconds: float
    seconds_left: float
    _run: _Run

    def image(self) -> np.ndarray:
        """Return the picture so far, float32 H × W × 3, RGB, not clipped."""
        return self._run.image()

    def checkpoint(self) -> Checkpoint:
        """Return the `Checkpoint` from which `stylize` goes on exactly here."""
        return self._run.checkpoint()

    def history(self) -> tuple[list[dict[str, float]], dict[str, float]]:
        """Return the rows of the loss history so far, and {term: coefficient} of this size."""
        return list(self._run.history), dict(self._run.objective.coefficients)


@dataclass(frozen=True)
class TransferResult:
    """A finished transfer.

    `image` is p, float32 H × W × 3, RGB, nominally 0–255 and not clipped; `record` is what is
    written beside the picture, made of plain JSON values.
    """

    image: np.ndarray
    record: Record

    @property
    def metrics(self) -> Metrics:
        """What the picture is measured by; see `metrics.measure`."""
        return self.record["metrics"]


def stylize(
    config: TransferConfig,
    on_progress: OnProgress | None = None,
    checkpoint: Stored | None = None,
    stop_at_multiples_of: Collection[int] = (),
    on_plan: Callable[[memory.Plan], object] | None = None,
    inputs: Prepared | None = None,
) -> TransferResult:
    """p = argmin_x L(o, s, x) (Eq. 1), for every size of `config.size` in turn.

    Args:
      config: `TransferConfig`.
      on_progress: called with a `Progress` after each piece of iterations; returning True ends
        the transfer with status "interrupted".
      checkpoint: a `Checkpoint` of the same transfer to go on from; the iterations may be more.
      stop_at_multiples_of: iteration counts (within a size) at whose multiples `on_progress` is
        sure to be called, for checkpoints and snapshots.
      on_plan: called before the iterations with a `memory.Plan`: how much memory is needed.
      inputs: `Prepared`, where they are not to be read from what the settings name.

    Returns:
      TransferResult.

    Raises:
      PictureError, WeightsError, ZeroEnergyError, NonFiniteError: an input cannot be used.
      OutOfMemoryError: a size would not fit into memory.
      CheckpointMismatchError: the checkpoint is of another transfer.
    """
    if not tf.executing_eagerly():
        raise RuntimeError("TensorFlow's eager execution is switched off; stylize needs it")
    with _graphs_in_full_precision():
        return _stylize(config, on_progress, checkpoint, stop_at_multiples_of, on_plan, inputs)


def _stylize(
    config: TransferConfig,
    on_progress: OnProgress | None,
    checkpoint: Stored | None,
    stop_at_multiples_of: Collection[int],
    on_plan: Callable[[memory.Plan], object] | None,
    inputs: Prepared | None,
) -> TransferResult:
    config = config.resolved()
    if inputs is None:
        loaded = picture_inputs.load(config)
    else:
        loaded = picture_inputs.check(config, inputs.pictures)
    plan = plan_memory(config, loaded)
    weights_file = weights.locate(config.weights) if inputs is None else inputs.weights_file
    run = _Run(config, loaded, weights_file, plan.in_strips)
    if checkpoint is not None:
        run.restore(checkpoint)
    try:
        run.load_network()
        if on_plan is not None:
            on_plan(plan)
        run.open_stage()
        return run.finish(on_progress, stop_at_multiples_of)
    except tf.errors.ResourceExhaustedError as error:
        raise OutOfMemoryError(
            f"--size: {config.size[run.stage]} does not fit into the device's memory; "
            "choose a smaller one"
        ) from error


@contextlib.contextmanager
def _graphs_in_full_precision() -> Iterator[None]:
    """Switch off what rewrites graphs to coarser numbers or fuses operations; all returns after.

    These settings belong to the whole process, and a library cannot know who set them.
    """
    optimizer = tf.config.optimizer
    options, jit = optimizer.get_experimental_options(), optimizer.get_jit()
    try:
        optimizer.set_experimental_options(dict.fromkeys(REWRITES, False))
        optimizer.set_jit(False)
        yield
    finally:
        optimizer.set_experimental_options(dict.fromkeys(REWRITES, False) | options)
        optimizer.set_jit(jit)


def plan_memory(config: TransferConfig, inputs: LoadedInputs) -> memory.Plan:
    """Choose how the largest size is computed; on a GPU its own allocator has the last word.

    Returns:
      `memory.Plan`.

    Raises:
      OutOfMemoryError: the largest size does not fit into main memory; the message gives the
        estimate and the size that would fit.
    """
    content_shape, style_shapes = inputs.shapes[config.size[-1]]
    pixels = max(math.prod(shape) for shape in (content_shape, *style_shapes))
    on_gpu = bool(device.gpus())
    available = math.inf if on_gpu else machine.available_bytes()
    plan = memory.plan(pixels, config, available)
    if plan.byte_count > available:
        share = memory.largest_pixel_count(available, config) / pixels
        fitting = int(config.size[-1] * math.sqrt(share))
        raise OutOfMemoryError(
            f"--size: {config.size[-1]} needs about {plan.byte_count / 2**30:.1f} GiB of memory "
            f"and {available / 2**30:.1f} are free; "
            + (f"{fitting} would fit" if fitting >= SIZE_RANGE[0] else "make room first")
        )
    return plan


def _usable_precision(precision: str) -> str:
    """Return `precision`, but float32, with a warning, where the device would emulate it."""
    if precision == "float32" or device.has_fast_bfloat16():
        return precision
    warnings.warn(
        f"--precision: this device does not compute in {precision} itself; float32 is faster here "
        "and taken instead",
        stacklevel=2,
    )
    return "float32"


class _Run:
    """A transfer under way: which size it is at, the optimiser's state, and what was logged."""

    def __init__(
        self,
        config: TransferConfig,
        inputs: LoadedInputs,
        weights_file: weights.WeightsFile,
        in_strips: bool,
    ) -> None:
        self.config = config
        self.inputs = inputs
        self.weights_file = weights_file
        self.precision = _usable_precision(config.precision)
        self.in_strips = in_strips
        self.stage = 0
        self.phase = 0
        self.has_state = False
        self.seconds = 0.0
        self.history: list[dict[str, float]] = []
        self.stages: list[dict[str, Any]] = []

    def finish(
        self, on_progress: OnProgress | None, stop_at_multiples_of: Collection[int]
    ) -> TransferResult:
        """Run what is left, from an open stage on, and return the `TransferResult`."""
        while True:
            status = self._run_phases(on_progress, stop_at_multiples_of)
            self._close_stage(status)
            if status == "interrupted" or self.stage == len(self.config.size) - 1:
                return TransferResult(self.image(), self._record(status))
            coarse = copy.copy(self)
            self.coarse_result, self.has_state = self._optimized(), False
            self.stage, self.phase, self.seconds = self.stage + 1, 0, 0.0
            try:
                self.open_stage()
            except NonFiniteError as error:
                warnings.warn(f"{error}; the picture of the size before is kept", stacklevel=2)
                return TransferResult(coarse.image(), coarse._record("stalled"))

    def image(self) -> np.ndarray:
        """Return the picture so far, float32 H × W × 3: x, or the content with x's luminance."""
        image = self._optimized()
        if self.config.color != "luminance":
            return image
        content = resize(self.inputs.pictures.content, *image.shape[:2])
        return colors.with_luminance_of(image, content)

    def _optimized(self) -> np.ndarray:
        return self.objective.image(self.state.position).numpy()

    def checkpoint(self) -> Checkpoint:
        """Return the `Checkpoint` of this moment."""
        results = self.state.results._asdict()
        facts = self._identity() | {
            "stage": self.stage,
            "phase": self.phase,
            "scale": self.state.scale,
            "iterations": self.state.iterations,
            "restarts": self.state.restarts,
            "in_strips": self.in_strips,
            "seconds": self.seconds,
            "history": list(self.history),
            "stages": list(self.stages),
        }
        return Checkpoint({name: value.numpy() for name, value in results.items()}, facts)

    def restore(self, checkpoint: Stored) -> None:
        """Go back to where `checkpoint` was taken.

        Raises:
          CheckpointMismatchError: the checkpoint is of another transfer, or damaged.
        """
        stages = range(len(self.config.size))
        check(
            checkpoint,
            self._identity(),
            self.config,
            value_counts=[
                3 * math.prod(self.inputs.shapes[size].content) for size in self.config.size
            ],
            phase_counts=[len(self._phases(stage)) for stage in stages],
        )
        arrays, facts = checkpoint
        results = RESULTS[self.config.optimizer](
            **{name: tf.constant(value) for name, value in arrays.items()}
        )
        self.state = lbfgs.State(
            results, float(facts["scale"]), facts["iterations"], facts["restarts"]
        )
        self.has_state = True
        self.stage, self.phase = facts["stage"], facts["phase"]
        self.in_strips |= facts["in_strips"]
        self.seconds = float(facts["seconds"])
        self.history, self.stages = history(facts, self.config), list(facts["stages"])

    def _identity(self) -> dict[str, Any]:
        return {
            "config": self.config.as_dict(),
            "network_precision": self.precision,
            "weights": {"source": self.weights_file.source, "sha256": self.weights_file.sha256},
            "pictures": self.inputs.hashes,
        }

    def load_network(self) -> None:
        """Load the weights, which may be refused, before anything is computed."""
        self._extractor("float32")

    def open_stage(self) -> None:
        """Set up the present size: its pictures, its objective and the optimiser's state."""
        self.scene = picture_inputs.resized(self.config, self.inputs, self.config.size[self.stage])
        self.objective = objective.build_objective(
            self.config, self._extractor("float32"), self.scene, self.in_strips
        )
        self.objectives = {"float32": self.objective}
        if not self.has_state:
            self._begin()
        elif not math.isfinite(self.objective.loss(self.objective.terms(self.state.position))):
            raise CheckpointMismatchError(
                "--resume: the checkpoint is damaged (the loss of its picture is not finite)"
            )

    def _begin(self) -> None:
        start = self.objective.position(self._start_picture())
        first = self._phase_objective()
        try:
            self.state, self.has_state = self._begin_optimizer(first, start), True
        except FloatingPointError as error:
            names = ", ".join(self.objective.terms_not_finite(start)) or "the loss"
            size = self.config.size[self.stage]
            raise NonFiniteError(f"{names}: not finite at the start of size {size}") from error
        self._log()

    def _begin_optimizer(self, target: objective.Objective, start: tf.Tensor) -> lbfgs.State:
        if self.config.optimizer == "adam":
            return adam.init(target.function, start, target.data)
        return lbfgs.init(target.function, start, self.config.history, target.data)

    def _minimize(
        self,
        target: objective.Objective,
        last_iteration: int,
        stop_at_multiples_of: Collection[int],
        on_piece: lbfgs.OnPiece,
        may_restart: bool,
    ) -> lbfgs.Minimum:
        rest: dict[str, Any] = {
            "stop_at_multiples_of": (self.config.log_every, *stop_at_multiples_of),
            "on_piece": on_piece,
            "data": target.data,
        }
        if self.config.optimizer == "adam":
            rate = filled_in(self.config.learning_rate)
            return adam.minimize(target.function, self.state, last_iteration, rate, **rest)
        return lbfgs.minimize(
            target.function,
            self.state,
            last_iteration,
            self.config.line_search,
            max_restarts=lbfgs.MAX_RESTARTS if may_restart else 0,
            **rest,
        )

    def _start_picture(self) -> np.ndarray:
        height, width, _ = self.objective.shape
        if self.stage > 0:
            return resize(self.coarse_result, height, width)
        if self.config.init == "content":
            return self.scene.content
        if self.config.init == "noise":
            noise = np.random.default_rng(self.config.seed).uniform(0, 255, self.objective.shape)
            return noise.astype(np.float32)
        if self.config.init == "style":
            return resize(self.scene.styles[0], height, width)
        assert self.inputs.pictures.init is not None
        return resize(self.inputs.pictures.init, height, width)

    def _phases(self, stage: int) -> list[tuple[str, int]]:
        """The (precision, last iteration) of each part of a size."""
        return checkpoints.phases(self.config, self.precision, stage)

    def _phase_objective(self) -> objective.Objective:
        precision, _ = self._phases(self.stage)[self.phase]
        if precision not in self.objectives:
            self.objectives[precision] = objective.with_extractor(
                self._extractor(precision), self.objective, self.config, self.scene
            )
        return self.objectives[precision]

    def _extractor(self, precision: str) -> vgg.Extractor:
        layers = frozenset(self.config.content_layers + self.config.style_layers)
        return vgg.load_extractor(self.weights_file, layers, self.config.pooling, precision)

    def _run_phases(
        self, on_progress: OnProgress | None, stop_at_multiples_of: Collection[int]
    ) -> str:
        phases = self._phases(self.stage)
        seconds_before = self.seconds
        stop = False

        def on_piece(state: lbfgs.State, seconds: float) -> bool:
            nonlocal stop
            self.state, self.seconds = state, seconds_before + seconds
            if state.iterations % self.config.log_every == 0:
                self._log()
            stop = on_progress is not None and bool(on_progress(self._progress()))
            return stop

        while True:
            precision, last_iteration = phases[self.phase]
            target = self._phase_objective()
            minimum = self._minimize(
                target, last_iteration, stop_at_multiples_of, on_piece, precision == "float32"
            )
            self.state, self.seconds = minimum.state, seconds_before + minimum.seconds
            last_phase = self.phase == len(phases) - 1
            if stop and not (last_phase and self.stage == len(self.config.size) - 1):
                return "interrupted"
            if last_phase or minimum.status == "interrupted":
                return self._judged(minimum.status)
            self.phase += 1
            seconds_before = self.seconds
            self.state = lbfgs.reevaluate(self.objective.function, self.state, self.objective.data)

    def _judged(self, status: str) -> str:
        """Return `status`, but "stalled", with a warning, if a loss or gradient was not finite.

        The search met it at the step it tried first, or going on in steps five times as long; from
        an infinite loss it may have crept back until no step was left, as if it had converged.
        """
        if status not in ("stalled", "converged"):
            return status
        for place in self._places_tried():
            names = self.objective.terms_not_finite(place)
            if names:
                warnings.warn(
                    f"{', '.join(names)}: not finite after iteration {self.state.iterations}; "
                    "the picture of that iteration is kept",
                    stacklevel=2,
                )
                return "stalled"
        return status

    def _places_tried(self) -> Iterable[tf.Tensor]:
        """Where the optimiser may have met a loss or gradient that is not finite."""
        state = self.state
        if self.config.optimizer == "adam":
            failed = bool(state.results.failed)
            rate = filled_in(self.config.learning_rate)
            return [adam.next_position(state, rate)] if failed else []
        gradient = state.results.objective_gradient
        return (state.position - length * gradient for length in (1, 5, 25, 125))

    def _log(self) -> None:
        """Add a row to the loss history; losses are float32 whatever the network's precision."""
        place = {"size": self.config.size[self.stage], "iteration": self.state.iterations}
        if self.history and place.items() <= self.history[-1].items():
            return
        terms = self.objective.terms(self.state.position)
        loss = {"evaluations": self.state.evaluations, "loss": self.objective.loss(terms)}
        self.history.append(place | loss | terms)

    def _progress(self) -> Progress:
        sizes, iterations = self.config.size, self.config.iterations
        earlier = {
            name: sum(stage[name] for stage in self.stages)
            for name in ("iterations", "evaluations", "seconds")
        }
        cost_of_iteration = [math.prod(self.inputs.shapes[size].content) for size in sizes]
        done = self.state.iterations * cost_of_iteration[self.stage]
        all_from_here = sum(
            count * cost
            for count, cost in zip(
                iterations[self.stage :], cost_of_iteration[self.stage :], strict=True
            )
        )
        return Progress(
            size=sizes[self.stage],
            iteration=earlier["iterations"] + self.state.iterations,
            iterations=earlier["iterations"] + sum(iterations[self.stage :]),
            evaluations=earlier["evaluations"] + self.state.evaluations,
            loss=self.state.value * self.objective.unit,
            seconds=earlier["seconds"] + self.seconds,
            seconds_left=self.seconds * (all_from_here - done) / done,
            _run=self,
        )

    def _close_stage(self, status: str) -> None:
        self._log()
        first = next(row for row in self.history if row["size"] == self.config.size[self.stage])
        self.stages.append(
            {
                "size": self.config.size[self.stage],
                "height": self.objective.shape[0],
                "width": self.objective.shape[1],
                "style_shapes": [list(style.shape[:2]) for style in self.scene.styles],
                "status": status,
                "in_strips": self.in_strips,
                "iterations": self.state.iterations,
                "evaluations": self.state.evaluations,
                "restarts": self.state.restarts,
                "objective_scale": self.state.scale / self.objective.unit,
                "loss": {"initial": first["loss"], "final": self.history[-1]["loss"]},
                "seconds": self.seconds,
            }
        )

    def _record(self, status: str) -> Record:
        stages, last = self.stages, self.history[-1]
        first = next(row for row in self.history if row["size"] == last["size"])
        evaluations = sum(stage["evaluations"] for stage in stages)
        seconds = sum(stage["seconds"] for stage in stages)
        record: Any = self._identity() | {
            "status": status,
            "iterations": sum(stage["iterations"] for stage in stages),
            "evaluations": evaluations,
            "loss": stages[-1]["loss"],
            "terms": {
                term: {"coefficient": value, "initial": first[term], "final": last[term]}
                for term, value in self.objective.coefficients.items()
            },
            "history": self.history,
            "stages": stages,
            "metrics": self._metrics(),
            "timing": {"seconds": seconds, "seconds_per_evaluation": seconds / evaluations},
            "environment": environment(),
        }
        return record

    def _metrics(self) -> Metrics:
        config, targets = self.config, self.objective.targets
        style_terms = term_names((), config.style_layers, config.style_names)
        content_terms = term_names(config.content_layers, ())
        return metrics.measure(
            self._summary(self._optimized(), content_terms + style_terms),
            targets | self._summary(self.scene.content, style_terms),
            targets,
            config.content_layers,
            config.style_layers,
            config.style_names,
        )

    def _summary(self, image: np.ndarray, terms: tuple[str, ...]) -> dict[str, tf.Tensor]:
        compiled = loss_features.compiled(self._extractor("float32"), terms, self.in_strips)
        return compiled(tf.constant(image), self.objective.masks)
