"""One transfer, from its settings to its picture: here all parts of the package meet."""

from __future__ import annotations

import dataclasses
import functools
import math
import time
import warnings
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import TypeAlias, TypeVar, cast

import numpy as np
import tensorflow as tf

from gatys_norm.config import FLAT, TransferConfig, filled_in
from gatys_norm.images import color as colors
from gatys_norm.images import inputs as picture_inputs
from gatys_norm.images import io as picture_io
from gatys_norm.images import panoramas
from gatys_norm.images.inputs import LoadedInputs
from gatys_norm.images.sizes import resize
from gatys_norm.losses import metrics
from gatys_norm.losses.coefficients import NonFiniteError, ZeroEnergyError
from gatys_norm.losses.objective import (
    Objective,
    strength_of,
    with_corrected_targets,
    with_lambda_os,
)
from gatys_norm.network import device, keras_vgg19, memory, vgg, weights
from gatys_norm.optimizers import base
from gatys_norm.optimizers.base import EvaluationStoppedError, State
from gatys_norm.record import (
    HistoryRow,
    Identity,
    Metrics,
    Record,
    StrengthSearch,
    StripsRecord,
    term_value,
)
from gatys_norm.run_log import RunLog
from gatys_norm.runs import checkpoint as checkpoints
from gatys_norm.runs.checkpoint import Checkpoint, Facts
from gatys_norm.runs.identity import CheckpointMismatchError, damaged
from gatys_norm.runs.schedule import ITERATIONS_TO_COMPARE, evaluation_scale, schedule
from gatys_norm.stages import Stage, checked_status, open_stage
from gatys_norm.strength_search import OnSearch, StrengthError, corrected, overshoot, search
from gatys_norm.terms import loss_terms
from gatys_norm.text import finite_or_none

# Array of a checkpoint: the position at which the targets were last corrected.
PHASE_START = "phase_start"

OnProgress: TypeAlias = "Callable[[Progress], object]"  # a true value stops
OnForecast: TypeAlias = Callable[[float], object]  # is given seconds
_Result = TypeVar("_Result")
FORECAST_SIZE = 512  # from which on a single size takes long enough for a forecast
FORECAST_TWICE = 100  # iterations from which on two evaluations are timed: the first is slower

INPUT_ERRORS = (
    keras_vgg19.KerasError,
    picture_io.PictureError,
    weights.WeightsError,
    ZeroEnergyError,
    NonFiniteError,
    StrengthError,
    memory.OutOfMemoryError,
    CheckpointMismatchError,
)


@dataclass(frozen=True)
class Progress:
    """How far a transfer is.

    Attributes:
      size: present size, the long side of the content in pixels.
      iteration: number of iterations done, over all sizes.
      iterations: number of iterations that the transfer will take, over all sizes.
      evaluations: number of evaluations of the loss done, over all sizes.
      loss: L(x) at the present size.
      seconds: time that the iterations took, over all sizes.
      seconds_left: estimated time until the end.
      image: function that returns the present picture, float32 H × W × 3, RGB, not clipped.
      checkpoint: function that returns the `Checkpoint` from which a transfer resumes here. With
        `copy=False` its arrays are not copied; they may be used until the next iteration begins.
      history: function that returns the rows of the loss history, and {term: coefficient} of the
        present size.
    """

    size: int
    iteration: int
    iterations: int
    evaluations: int
    loss: float
    seconds: float
    seconds_left: float
    image: Callable[[], np.ndarray]
    checkpoint: Callable[..., Checkpoint]
    history: Callable[[], tuple[list[HistoryRow], dict[str, float]]]


@dataclass(frozen=True)
class TransferResult:
    """A finished transfer.

    Attributes:
      image: p, float32 H × W × 3, RGB, about 0–255, not clipped.
      record: settings, loss history and measures, as plain JSON values; it is written next to the
        picture.
    """

    image: np.ndarray
    record: Record

    @property
    def metrics(self) -> Metrics:
        """The measures of the picture; see `losses.metrics.measure`."""
        return self.record["metrics"]


def stylize(config: TransferConfig, on_progress: OnProgress | None = None) -> TransferResult:
    """p = argmin_x L(o, s, x) (Eq. 1), for every size of `config.size` in turn.

        result = stylize(TransferConfig(content="town.jpg", style="waves.jpg", size=(256,)))

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
    """The present size and phase of a transfer, and the state of its optimizer."""

    stage: Stage
    phase: int
    objective: Objective  # of the phase
    state: State
    seconds: float
    phase_start: tf.Tensor | None  # position at the beginning of a phase that corrects targets


class Transfer:
    """A transfer that can be stopped and resumed.

        transfer = Transfer(TransferConfig(content="town.jpg", style="waves.jpg"))
        transfer.restore(checkpoints.load("out.checkpoint.npz"))
        result = transfer.run()

    Attributes:
      plan: `memory.Plan` of the largest size, the memory that the transfer needs.
    """

    def __init__(
        self,
        config: TransferConfig,
        inputs: LoadedInputs | None = None,
        weights_file: weights.WeightsFile | None = None,
        strips: Sequence[memory.Strips] | None = None,
    ) -> None:
        """Load and check the files that the settings name.

        Args:
          config: `TransferConfig`.
          inputs: the pictures, if they are loaded already.
          weights_file: the weights, if they are located already.
          strips: how the network is computed at each size, if that is planned already.

        Raises:
          PictureError, WeightsError: an input cannot be used.
          OutOfMemoryError: a size would not fit into memory.
        """
        if not tf.executing_eagerly():
            raise RuntimeError("TensorFlow's eager execution is switched off; a transfer needs it")
        device.warn_without_onednn()
        self._config = config = config.resolved()
        self._solved_config = config  # with λ_os, also where it follows from the strength
        inputs = picture_inputs.load(config) if inputs is None else inputs
        self._picture_hashes = inputs.hashes
        is_flat = config.projection == FLAT
        self._turns = 0 if is_flat else panoramas.quarter_turns(inputs.pictures)
        self._inputs = panoramas.turned(inputs, self._turns) if self._turns else inputs
        plans = memory.plan_transfer(
            config, self._inputs.shapes, device.available_bytes(), device.costs()
        )
        self.plan = plans[-1]
        self._strips = list(strips or (plan.strips for plan in plans))  # of each size
        self._weights_file = weights_file or weights.locate(config.weights)
        self._precision = device.usable_precision(config.precision)
        self._schedule = schedule(config, self._precision)
        self._optimizer = base.load(config)
        self._log = RunLog()
        self._restored: tuple[Facts, State, tf.Tensor | None] | None = None
        self._search: StrengthSearch | None = None

    def load_network(self) -> None:
        """Load the weights, so that unusable ones are refused before anything is computed.

        Raises:
          WeightsError: the file cannot be used.
        """
        self._extractor("float32")

    def restore(self, checkpoint: Checkpoint) -> None:
        """Let `run` start from a checkpoint.

        Args:
          checkpoint: result of `Progress.checkpoint` or `checkpoints.load`. This transfer may have
            more iterations than the one that was stopped.

        Raises:
          CheckpointMismatchError: the checkpoint belongs to another transfer, or is damaged.
        """
        facts, config, optimizer = checkpoint.facts, self._config, self._optimizer
        max_restarts = optimizer.max_restarts
        checkpoints.check_facts(facts, self._identity(), config, self._schedule, max_restarts)
        value_count = 3 * self._inputs.pixel_counts[config.size[facts["stage"]]]
        shapes = optimizer.array_shapes(value_count, len(loss_terms(config)))
        if self._corrects(facts["stage"], facts["phase"]):
            shapes[PHASE_START] = shapes["position"]
        checkpoints.check_arrays(checkpoint, shapes)
        arrays = dict(checkpoint.arrays)
        phase_start = tf.constant(arrays.pop(PHASE_START)) if PHASE_START in arrays else None
        try:
            results = optimizer.results_from(arrays)
        except ValueError as error:
            raise damaged(error) from error
        state = State(results, float(facts["scale"]), facts["iterations"], facts["restarts"])
        self._save_memory(facts["stage"], memory.Strips(**facts["strips"]))
        self._log = RunLog(checkpoints.history(facts, config), facts["stages"])
        if config.strength is not None:
            self._take(filled_in(facts["strength_search"]))
        self._restored = facts, state, phase_start

    def run(
        self,
        on_progress: OnProgress | None = None,
        stop_at_multiples_of: Collection[int] = (),
        on_forecast: OnForecast | None = None,
        on_search: OnSearch | None = None,
    ) -> TransferResult:
        """Run the transfer, from its start or from the checkpoint that `restore` was given.

        If memory is full, the present size is computed once more, or from its present picture on,
        with the network in strips; a warning says so.

        Args:
          on_progress: see `stylize`.
          stop_at_multiples_of: numbers of iterations. `on_progress` is certain to be called at
            every multiple of them, counted within a size, for checkpoints and snapshots.
          on_forecast: called before the first iteration with the seconds that all iterations will
            take, estimated from one or two more evaluations; not for a single small size, nor from
            a checkpoint.
          on_search: called about once a second while λ_os is searched for a strength, with the
            share of the search that is done, 0 to 1; an error that it raises ends the run.

        Returns:
          TransferResult.

        Raises:
          WeightsError, ZeroEnergyError, NonFiniteError: an input cannot be used.
          StrengthError: no λ_os gives the strength.
          OutOfMemoryError: the device has less memory than even strips need.
          CheckpointMismatchError: the loss at a checkpoint's picture is not finite.
          EvaluationStoppedError: raised within an evaluation (see `network.strips.watched_by`)
            before there was a picture. Later it ends the run like a true value of `on_progress`.
        """
        with device.graphs_in_full_precision():
            if self._config.strength is not None and self._search is None:
                extractor = self._extractor(self._precision)
                self._take(search(self._config, self._inputs, extractor, on_search))
            present = self._begun(on_forecast)
            while True:
                status = self._run_size(present, on_progress, stop_at_multiples_of)
                index = present.stage.index
                self._close_stage(present, status)
                if status == "interrupted" or index == self._schedule.last_stage:
                    return self._result(present, status)
                try:
                    coarse = _optimized(present)
                    present = self._within_memory(
                        index + 1, functools.partial(self._opened, index + 1, coarse)
                    )
                except NonFiniteError as error:
                    warnings.warn(f"{error}; the picture of the size before is kept", stacklevel=2)
                    return self._result(present, "stalled")
                except EvaluationStoppedError:
                    self._log.reopen_stage()
                    if on_progress is not None:
                        on_progress(self._progress(present))
                    self._close_stage(present, "interrupted")
                    return self._result(present, "interrupted")

    def _take(self, search: StrengthSearch) -> None:
        """Use the λ_os that a search found."""
        self._search = search
        self._solved_config = dataclasses.replace(
            self._config, strength=None, lambda_os=search["lambda_os"]
        )

    def _close_stage(self, present: _Present, status: str) -> None:
        phases = self._schedule.phases[present.stage.index][: present.phase + 1]
        self._log.close_stage(present.stage, phases, present.state, status, present.seconds)

    def _begun(self, on_forecast: OnForecast | None) -> _Present:
        """Start the first size, or continue the one of the checkpoint."""
        if self._restored:
            return self._within_memory(self._restored[0]["stage"], self._resumed)
        present = self._within_memory(0, functools.partial(self._opened, 0))
        is_long = len(self._config.size) > 1 or self._config.size[0] >= FORECAST_SIZE
        if on_forecast is not None and is_long:
            seconds = self._within_memory(
                0, lambda: self._forecast(present), repair=lambda: self._reopen(present)
            )
            on_forecast(seconds)
        return present

    def _forecast(self, present: _Present) -> float:
        """Time an evaluation, or two; return the seconds that all iterations will take."""
        objective, seconds = present.objective, []
        for _ in range(2 if self._schedule.iterations_from(0) >= FORECAST_TWICE else 1):
            began = time.perf_counter()
            value, gradient, _ = objective.function(present.state.position, *objective.data)
            float(value), float(gradient[0])  # waits for the device
            seconds.append(time.perf_counter() - began)
        return self._schedule.seconds(min(seconds), self._evaluation_scales())

    def _evaluation_scales(self) -> list[float]:
        counts = self._inputs.pixel_counts
        return [
            evaluation_scale(counts[size], memory.relative_seconds(strips))
            for size, strips in zip(self._config.size, self._strips, strict=True)
        ]

    def _within_memory(
        self, index: int, work: Callable[[], _Result], repair: Callable[[], object] = lambda: None
    ) -> _Result:
        """Call a function; if memory is full, once more with the network in strips.

        Args:
          index: number of the size; later sizes are computed in strips too.
          work: the function.
          repair: called before the second time.

        Raises:
          OutOfMemoryError: memory is full again.
        """
        size = self._config.size[index]
        with device.within_memory(size):
            try:
                return work()
            except tf.errors.ResourceExhaustedError:
                strips = self._strips[index]
                if memory.thriftier(strips, memory.THRIFTIEST) == strips:
                    raise
            # Not where the error is handled: it holds the arrays of the first time.
            self._save_memory(index, memory.THRIFTIEST)
            warnings.warn(
                f"memory is full; size {size} continues with the network computed in strips of "
                f"{memory.THRIFTIEST.rows} rows",
                stacklevel=2,
            )
            repair()
            return work()

    def _save_memory(self, index: int, strips: memory.Strips) -> None:
        """Compute a size and all later ones in these strips, where they need less memory."""
        later = [memory.thriftier(planned, strips) for planned in self._strips[index:]]
        self._strips[index:] = later

    def _opened(self, index: int, coarse: np.ndarray | None = None) -> _Present:
        """Start a size, from the result of the previous one."""
        stage, picture = self._stage(index, coarse)
        start = stage.objective.position(filled_in(picture))
        del picture
        objective = self._objective_of(stage, 0, start)
        state = self._first_state(stage, objective, start)
        self._log.add_row(stage, state)
        return _Present(stage, 0, objective, state, 0.0, self._kept_start(index, 0, start))

    def _first_state(self, stage: Stage, objective: Objective, position: tf.Tensor) -> State:
        """Evaluate an objective for an optimizer that begins at a position."""
        try:
            return self._optimizer.init(objective.function, position, objective.data)
        except FloatingPointError as error:
            names = ", ".join(stage.objective.terms_not_finite(position)) or "the loss"
            raise NonFiniteError(
                f"{names}: not finite at the start of size {stage.size}"
            ) from error

    def _resumed(self) -> _Present:
        """Continue the size at which the checkpoint was taken; afterwards it is not held here."""
        facts, state, phase_start = filled_in(self._restored)
        stage, _ = self._stage(facts["stage"])
        if not math.isfinite(stage.objective.loss(stage.objective.terms(state.position))):
            raise damaged("the loss of its picture is not finite")
        phase = facts["phase"]
        objective = self._objective_of(stage, phase, phase_start)
        self._restored = None
        return _Present(stage, phase, objective, state, float(facts["seconds"]), phase_start)

    def _reopen(self, present: _Present) -> None:
        """Set up the present size anew; the optimizer begins again from the present picture."""
        index, state = present.stage.index, present.state
        position, restarts, iterations = state.position, state.restarts, state.iterations
        evaluations = state.evaluations
        del state, present.state, present.objective, present.stage  # frees their arrays
        present.stage, _ = self._stage(index)
        present.objective = self._objective_of(present.stage, present.phase, present.phase_start)
        first = self._first_state(present.stage, present.objective, position)
        results = first.results._replace(
            num_objective_evaluations=first.results.num_objective_evaluations + evaluations
        )
        present.state = State(results, first.scale, iterations, restarts)

    def _stage(
        self, index: int, coarse: np.ndarray | None = None
    ) -> tuple[Stage, np.ndarray | None]:
        """Set up a size; see `open_stage`."""
        extractor, strips = self._extractor("float32"), self._strips[index]
        return open_stage(self._solved_config, self._inputs, index, extractor, strips, coarse)

    def _corrects(self, stage_index: int, phase_index: int) -> bool:
        return self._schedule.phases[stage_index][phase_index].corrects

    def _kept_start(self, stage_index: int, phase_index: int, start: tf.Tensor) -> tf.Tensor | None:
        """Return the position at the beginning of a phase, if a checkpoint must have it."""
        return start if self._corrects(stage_index, phase_index) else None

    def _objective_of(
        self, stage: Stage, phase_index: int, phase_start: tf.Tensor | None
    ) -> Objective:
        """Return the objective of a phase that begins at a position."""
        phase = self._schedule.phases[stage.index][phase_index]
        if phase.network == "whole":
            return stage.objective_in(phase.precision, self._extractor, self._solved_config)
        extractor = self._extractor(phase.precision)
        objective = stage.low_rank_objective(extractor, self._solved_config)
        if phase.corrects:
            return with_corrected_targets(objective, stage.objective, filled_in(phase_start))
        return objective

    def _run_size(
        self,
        present: _Present,
        on_progress: OnProgress | None,
        stop_at_multiples_of: Collection[int],
    ) -> str:
        """Run the rest of a size, if memory is full in strips; return its status."""
        return self._within_memory(
            present.stage.index,
            lambda: self._run_phases(present, on_progress, stop_at_multiples_of),
            repair=lambda: self._reopen(present),
        )

    def _run_phases(
        self,
        present: _Present,
        on_progress: OnProgress | None,
        stop_at_multiples_of: Collection[int],
    ) -> str:
        """Run the rest of a size; return its status."""
        index, log_every = present.stage.index, self._config.log_every
        phases = self._schedule.phases[index]
        corrects_strength = any(phase.corrects_strength for phase in phases)
        noted = (ITERATIONS_TO_COMPARE,) if corrects_strength else ()
        seconds_before, stop = present.seconds, False

        def on_piece(state: State, seconds: float) -> bool:
            nonlocal stop
            present.state, present.seconds = state, seconds_before + seconds
            if state.iterations % log_every == 0 or state.iterations in noted:
                self._log.add_row(present.stage, state)
            stop = on_progress is not None and bool(on_progress(self._progress(present)))
            return stop

        while True:
            phase, objective = phases[present.phase], present.objective
            minimum = base.minimize(
                self._optimizer,
                objective.function,
                present.state,
                phase.last_iteration,
                (log_every, *noted, *stop_at_multiples_of),
                on_piece,
                objective.data,
                may_restart=phase.precision == "float32",
            )
            present.state, present.seconds = minimum.state, seconds_before + minimum.seconds
            last_phase = present.phase == len(phases) - 1
            if stop and not (last_phase and index == self._schedule.last_stage):
                return "interrupted"
            if last_phase or minimum.status == "interrupted":
                return checked_status(present.objective, present.state, minimum.status)
            try:
                self._next_phase(present)
            except EvaluationStoppedError:
                on_piece(present.state, minimum.seconds)
                return "interrupted"
            seconds_before = present.seconds

    def _next_phase(self, present: _Present) -> None:
        """Enter the next phase of a size; corrections count to its seconds."""
        began = time.perf_counter()
        phase, start = present.phase + 1, present.state.position
        planned = self._schedule.phases[present.stage.index][phase]
        if planned.corrects_strength:
            self._correct_strength(present)
        objective = self._objective_of(present.stage, phase, start)
        present.state = base.reevaluate(
            objective.function,
            present.state,
            objective.data,
            objective.unit / present.objective.unit,
        )
        present.phase, present.objective = phase, objective
        present.phase_start = self._kept_start(present.stage.index, phase, start)
        if planned.corrects or planned.corrects_strength:
            present.seconds += time.perf_counter() - began

    def _correct_strength(self, present: _Present) -> None:
        """Move λ_os so that the strength at the end is the one asked for."""
        stage, state = present.stage, present.state
        distances = self._squared_distances(present)
        before = self._log.iterations_before()
        done, last = before + state.iterations, before + self._schedule.iterations(stage.index)
        strength = strength_of(stage.objective, distances, self._config)
        own = self._overshoot(present)
        self._take(corrected(filled_in(self._search), done, last, strength, own))
        objective = with_lambda_os(stage.objective, self._solved_config, self._inputs.frame)
        present.stage = dataclasses.replace(stage, objective=objective)

    def _overshoot(self, present: _Present) -> float:
        """Return the `overshoot` of this size so far, by the network of the present part."""
        objective, state = present.stage.objective, present.state
        row = self._log.row_at(present.stage.size, ITERATIONS_TO_COMPARE)
        if row is None or state.iterations <= ITERATIONS_TO_COMPARE:
            return 0.0
        distances = {term: term_value(row, term) for term in objective.coefficients}
        then, now = (
            strength_of(objective, each, self._config)
            for each in (distances, objective.by_term(state.results.terms))
        )
        before = self._log.iterations_before()
        return overshoot((before + ITERATIONS_TO_COMPARE, then), (before + state.iterations, now))

    def _progress(self, present: _Present) -> Progress:
        stage, state, log = present.stage, present.state, self._log
        seconds_left = self._schedule.seconds_left(
            stage.index, state.iterations, present.seconds, self._evaluation_scales()
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
            checkpoint=lambda copy=True: self._checkpoint(present, copy),
            history=lambda: (list(log.history), dict(stage.objective.coefficients)),
        )

    def _checkpoint(self, present: _Present, copy: bool) -> Checkpoint:
        state = present.state
        facts: Facts = {
            **self._identity(),
            "stage": present.stage.index,
            "phase": present.phase,
            "scale": state.scale,
            "iterations": state.iterations,
            "restarts": state.restarts,
            "strips": cast(StripsRecord, present.stage.objective.strips._asdict()),
            "seconds": present.seconds,
            "history": list(self._log.history),
            "stages": list(self._log.stages),
            "strength_search": self._search,
        }
        arrays = state.arrays(copy)
        if self._corrects(present.stage.index, present.phase):
            arrays[PHASE_START] = np.asarray(present.phase_start)
        return Checkpoint(arrays, facts)

    def _result(self, present: _Present, status: str) -> TransferResult:
        with device.within_memory(present.stage.size):
            measures = self._measures(present)
        record = self._log.record(self._identity(), status, present.stage, measures, self._search)
        return TransferResult(self._image(present), record)

    def _measures(self, present: _Present) -> Metrics:
        """Measure the present picture, by the whole network in float32."""
        config, objective = self._config, present.stage.objective
        distances = self._squared_distances(present)
        by_layer = metrics.measure(
            distances,
            objective.targets,
            objective.content_grams,
            config.content_layers,
            config.style_layers,
            config.style_names,
        )
        return {**by_layer, "strength": finite_or_none(strength_of(objective, distances, config))}

    def _squared_distances(self, present: _Present) -> dict[str, float]:
        """Return {term: squared distance} of the present picture, by the whole network."""
        objective, state = present.stage.objective, present.state
        compared = objective.with_squared_distances()
        if present.objective is compared:
            return objective.by_term(state.results.terms)
        return compared.terms(state.position)

    def _image(self, present: _Present) -> np.ndarray:
        """Return x, H × W × 3; for color "luminance" the content with the luminance of x."""
        image, config = _optimized(present), self._config
        if config.color == "luminance":
            height, width = image.shape[:2]
            content = resize(self._inputs.pictures.content, height, width, config.wrapped_axes)
            image = colors.with_luminance_of(image, content)
        return panoramas.turned_back(image, self._turns) if self._turns else image

    def _identity(self) -> Identity:
        return {
            "config": self._config.as_dict(),
            "network_precision": self._precision,
            "weights": {"source": self._weights_file.source, "sha256": self._weights_file.sha256},
            "pictures": self._picture_hashes,
        }

    def _extractor(self, precision: str) -> vgg.Extractor:
        config = self._config
        layers = frozenset(config.content_layers + config.style_layers)
        return vgg.load_extractor(
            self._weights_file, layers, config.pooling, precision, config.network_border
        )


def _optimized(present: _Present) -> np.ndarray:
    """Return x, H × W × 3."""
    return present.stage.objective.image(present.state.position).numpy()
