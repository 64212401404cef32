"""The sizes of a transfer, one after another, and the log of what the transfer did."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias, cast

import numpy as np
import tensorflow as tf

from gatys_norm.config import filled_in
from gatys_norm.images.inputs import LoadedInputs, ResizedInputs, resized
from gatys_norm.images.sizes import resize
from gatys_norm.losses import features as loss_features
from gatys_norm.losses import metrics
from gatys_norm.losses.objective import Objective, build_objective, with_extractor
from gatys_norm.network import device
from gatys_norm.network.vgg import Extractor
from gatys_norm.optimizers.base import State
from gatys_norm.record import HistoryRow, Identity, Metrics, Record, StageRecord
from gatys_norm.terms import term_names

if TYPE_CHECKING:
    from gatys_norm.config import TransferConfig

ExtractorOf: TypeAlias = Callable[[str], Extractor]  # of a precision


@dataclass(frozen=True, eq=False)
class Stage:
    """One size of a transfer.

    Attributes:
      index: number of the size, counted from 0.
      size: long side of the content in pixels.
      inputs: the pictures at this size.
      objective: the loss, computed by the network in float32.
      start: first picture of the optimization, H × W × 3, RGB, 0–255; None if x comes from a
        checkpoint.
    """

    index: int
    size: int
    inputs: ResizedInputs
    objective: Objective
    start: np.ndarray | None

    def objective_in(
        self, precision: str, extractor_of: ExtractorOf, config: TransferConfig
    ) -> Objective:
        """Return the loss, computed by the network in another number format.

        Args:
          precision: "float32" or "bfloat16".
          extractor_of: function from a precision to φ in that precision.
          config: resolved `TransferConfig`.
        """
        if precision == "float32":
            return self.objective
        return with_extractor(extractor_of(precision), self.objective, config, self.inputs)


def open_stage(
    config: TransferConfig,
    inputs: LoadedInputs,
    index: int,
    extractor: Extractor,
    in_strips: bool,
    coarse: np.ndarray | None,
) -> Stage:
    """Resize the pictures to one size, set up the loss, and choose the first picture.

    Args:
      config: resolved `TransferConfig`.
      inputs: the pictures.
      index: number of the size, counted from 0.
      extractor: φ in float32.
      in_strips: whether the first blocks of the network are computed in strips; see
        `network.strips`.
      coarse: result of the previous size, H × W × 3; None at the first size, and where x comes
        from a checkpoint.

    Returns:
      Stage.

    Raises:
      ZeroEnergyError, NonFiniteError: see `losses.objective.build_objective`.
    """
    size = config.size[index]
    resized_inputs = resized(config, inputs, size)
    objective = build_objective(config, extractor, resized_inputs, in_strips)
    start = (
        _start(config, inputs, resized_inputs, coarse) if coarse is not None or index == 0 else None
    )
    return Stage(index, size, resized_inputs, objective, start)


def _start(
    config: TransferConfig,
    inputs: LoadedInputs,
    resized_inputs: ResizedInputs,
    coarse: np.ndarray | None,
) -> np.ndarray:
    """Return the first picture of the optimization, H × W × 3, RGB, 0–255."""
    height, width, _ = shape = resized_inputs.content.shape
    if coarse is not None:
        return resize(coarse, height, width)
    if config.init == "content":
        return resized_inputs.content
    if config.init == "noise":
        noise = np.random.default_rng(config.seed).uniform(0, 255, shape)
        return noise.astype(np.float32)
    if config.init == "style":
        return resize(resized_inputs.styles[0], height, width)
    return resize(filled_in(inputs.pictures.init), height, width)


def measure(
    config: TransferConfig, stage: Stage, extractor: Extractor, image: np.ndarray
) -> Metrics:
    """Return the measures of a result; see `metrics.measure`.

    Args:
      config: resolved `TransferConfig`.
      stage: the size of the result.
      extractor: φ in float32.
      image: x, H × W × 3, before `config.color` restores the colors of the content.
    """
    targets, masks = stage.objective.targets, stage.objective.masks
    style_terms = term_names((), config.style_layers, config.style_names)
    content_terms = term_names(config.content_layers, ())

    def values(picture: np.ndarray, terms: tuple[str, ...]) -> dict[str, tf.Tensor]:
        compiled = loss_features.compiled(extractor, terms, stage.objective.in_strips)
        return compiled(tf.constant(picture), masks)

    return metrics.measure(
        values(image, content_terms + style_terms),
        targets | values(stage.inputs.content, style_terms),
        targets,
        config.content_layers,
        config.style_layers,
        config.style_names,
    )


class RunLog:
    """The loss history of a transfer so far, and the records of its finished sizes."""

    def __init__(
        self, history: Sequence[HistoryRow] = (), stages: Sequence[StageRecord] = ()
    ) -> None:
        self.history = list(history)
        self.stages = list(stages)

    def add_row(self, stage: Stage, state: State) -> None:
        """Add a row for the present x: its loss, and the squared distance of each term.

        The values come from the evaluation that the optimizer made at x, so that the log needs no
        evaluations. Where the network computes in bfloat16, they have the accuracy of bfloat16. If
        the last row already has this size and iteration, nothing is added.
        """
        row_key = {"size": stage.size, "iteration": state.iterations}
        if self.history and row_key.items() <= self.history[-1].items():
            return
        terms = stage.objective.by_term(state.results.terms)
        loss = {"evaluations": state.evaluations, "loss": stage.objective.loss(terms)}
        self.history.append(cast(HistoryRow, row_key | loss | terms))

    def iterations_before(self) -> int:
        """Return the iterations of the finished sizes."""
        return sum(stage["iterations"] for stage in self.stages)

    def evaluations_before(self) -> int:
        """Return the evaluations of the finished sizes."""
        return sum(stage["evaluations"] for stage in self.stages)

    def seconds_before(self) -> float:
        """Return the seconds of the finished sizes."""
        return sum(stage["seconds"] for stage in self.stages)

    def close_stage(self, stage: Stage, state: State, status: str, seconds: float) -> None:
        """Add the last row and the record of a finished size.

        Args:
          stage: the size.
          state: where its optimization ended.
          status: why it ended; see `optimizers.base.Minimum`, or "interrupted".
          seconds: time that its iterations took.
        """
        self.add_row(stage, state)
        objective = stage.objective
        first = self._first_row(stage.size)
        self.stages.append(
            {
                "size": stage.size,
                "height": objective.shape[0],
                "width": objective.shape[1],
                "style_shapes": [list(style.shape[:2]) for style in stage.inputs.styles],
                "status": status,
                "in_strips": objective.in_strips,
                "iterations": state.iterations,
                "evaluations": state.evaluations,
                "restarts": state.restarts,
                "objective_scale": state.scale / objective.unit,
                "loss": {"initial": first["loss"], "final": self.history[-1]["loss"]},
                "seconds": seconds,
            }
        )

    def record(self, identity: Identity, status: str, stage: Stage, measures: Metrics) -> Record:
        """Return the record of a finished transfer.

        Args:
          identity: settings and inputs of the transfer.
          status: why it ended.
          stage: the last size.
          measures: see `measure`.
        """
        first, last = self._first_row(stage.size), self.history[-1]
        evaluations, seconds = self.evaluations_before(), self.seconds_before()
        return {
            **identity,
            "status": status,
            "iterations": self.iterations_before(),
            "evaluations": evaluations,
            "loss": self.stages[-1]["loss"],
            "terms": {
                term: {
                    "coefficient": coefficient,
                    "initial": cast(Any, first)[term],
                    "final": cast(Any, last)[term],
                }
                for term, coefficient in stage.objective.coefficients.items()
            },
            "history": self.history,
            "stages": self.stages,
            "metrics": measures,
            "timing": {"seconds": seconds, "seconds_per_evaluation": seconds / evaluations},
            "environment": device.environment(),
        }

    def _first_row(self, size: int) -> HistoryRow:
        return next(row for row in self.history if row["size"] == size)
