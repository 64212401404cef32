"""The log of a transfer: the rows of its loss history, and the sizes that are finished."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

from gatys_norm.network import device
from gatys_norm.optimizers.base import State
from gatys_norm.record import (
    HistoryRow,
    Identity,
    Metrics,
    PhaseRecord,
    Record,
    StageRecord,
    StrengthSearch,
    StripsRecord,
    term_value,
)
from gatys_norm.runs.schedule import Phase
from gatys_norm.stages import Stage


class RunLog:
    """The loss history of a transfer so far, and the records of its finished sizes."""

    def __init__(
        self, history: Sequence[HistoryRow] = (), stages: Sequence[StageRecord] = ()
    ) -> None:
        self.history = list(history)
        self.stages = list(stages)

    def add_row(self, stage: Stage, state: State) -> None:
        """Add a row for the present x: its loss, and the distance of each term.

        The values come from the evaluation that the optimizer made at x, so that the log needs no
        evaluations. Where the network computes in bfloat16, they have the accuracy of bfloat16. If
        the last row already has this size and iteration, the new one replaces it.
        """
        row_key = {"size": stage.size, "iteration": state.iterations}
        if self.history and row_key.items() <= self.history[-1].items():
            self.history.pop()
        terms = stage.objective.by_term(state.results.terms)
        loss = {"evaluations": state.evaluations, "loss": stage.objective.loss(terms)}
        self.history.append(cast(HistoryRow, row_key | loss | terms))

    def row_at(self, size: int, iteration: int) -> HistoryRow | None:
        """Return the row of an iteration of a size, if it is there."""
        key = {"size": size, "iteration": iteration}
        return next((row for row in self.history if key.items() <= row.items()), None)

    def iterations_before(self) -> int:
        """Return the iterations of the finished sizes."""
        return sum(stage["iterations"] for stage in self.stages)

    def evaluations_before(self) -> int:
        """Return the evaluations of the finished sizes."""
        return sum(stage["evaluations"] for stage in self.stages)

    def seconds_before(self) -> float:
        """Return the seconds of the finished sizes."""
        return sum(stage["seconds"] for stage in self.stages)

    def close_stage(
        self, stage: Stage, phases: Sequence[Phase], state: State, status: str, seconds: float
    ) -> None:
        """Add the last row and the record of a finished size.

        Args:
          stage: the size.
          phases: those of its phases that were begun.
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
                "style_shapes": [list(shape) for shape in stage.style_shapes],
                "status": status,
                "strips": cast(StripsRecord, objective.strips._asdict()),
                "convolutions": objective.extractor.ways(*objective.shape[:2]),
                "iterations": state.iterations,
                "evaluations": state.evaluations,
                "restarts": state.restarts,
                "objective_scale": state.scale / objective.unit,
                "phases": [cast(PhaseRecord, phase._asdict()) for phase in phases],
                "loss": {"initial": first["loss"], "final": self.history[-1]["loss"]},
                "seconds": seconds,
            }
        )

    def reopen_stage(self) -> None:
        """Undo `close_stage`, as the next size could not begin."""
        self.stages.pop()

    def record(
        self,
        identity: Identity,
        status: str,
        stage: Stage,
        measures: Metrics,
        strength_search: StrengthSearch | None,
    ) -> Record:
        """Return the record of a finished transfer.

        Args:
          identity: settings and inputs of the transfer.
          status: why it ended.
          stage: the last size.
          measures: of the picture.
          strength_search: how λ_os was found, None if no strength was asked for.
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
                    "initial": term_value(first, term),
                    "final": term_value(last, term),
                }
                for term, coefficient in stage.objective.coefficients.items()
            },
            "history": self.history,
            "stages": self.stages,
            "metrics": measures,
            "timing": {"seconds": seconds, "seconds_per_evaluation": seconds / evaluations},
            "environment": device.environment(),
            "strength_search": strength_search,
        }

    def _first_row(self, size: int) -> HistoryRow:
        return next(row for row in self.history if row["size"] == size)
