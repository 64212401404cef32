"""What a stopped transfer needs to go on, and the check that a stored one can be gone on from."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import numpy as np

from gatys_norm.config import from_dict
from gatys_norm.optimizers import adam, lbfgs
from gatys_norm.runs import checkpoint as checkpoints
from gatys_norm.runs.checkpoint import CheckpointMismatchError as CheckpointMismatchError
from gatys_norm.runs.checkpoint import check_number
from gatys_norm.terms import TOTAL_VARIATION, term_names

if TYPE_CHECKING:
    from gatys_norm.config import TransferConfig

# A `Checkpoint`, or what was read from a file as one.
Stored: TypeAlias = tuple[Mapping[str, np.ndarray], Mapping[str, Any]]

RESULTS = {"lbfgs": lbfgs.LBfgsOptimizerResults, "adam": adam.AdamResults}  # what is kept of each


class Checkpoint(NamedTuple):
    """What a stopped transfer needs to go on: NumPy arrays, and facts that fit into JSON."""

    arrays: dict[str, np.ndarray]
    facts: dict[str, Any]


def check(
    checkpoint: Stored,
    identity: Mapping[str, Any],
    config: TransferConfig,
    value_counts: Sequence[int],
    phase_counts: Sequence[int],
) -> None:
    """Refuse a checkpoint of another transfer, and one that the run would stumble over later.

    Args:
      checkpoint: `Checkpoint`, hostile until checked.
      identity: the facts that tell one transfer from another: precision, weights, pictures.
      config: resolved `TransferConfig`.
      value_counts: number of values of x at each size.
      phase_counts: number of phases at each size.

    Raises:
      CheckpointMismatchError: the reason.
    """
    arrays, facts = checkpoint
    checkpoints.check(facts, identity, config)
    try:
        _check_facts(facts, config, phase_counts)
        values = value_counts[facts["stage"]]
        _check_arrays(arrays, values, config, facts["iterations"])
    except checkpoints.DAMAGED as error:
        raise checkpoints.damaged(error) from error


def history(facts: Mapping[str, Any], config: TransferConfig) -> list[dict[str, float]]:
    """Return the loss history of a checked checkpoint.

    Of several styles the terms are named after the files, which may have other names by now.

    Args:
      facts: of the checkpoint.
      config: resolved `TransferConfig`.
    """
    named = zip(_terms(from_dict(facts["config"])), _terms(config), strict=True)
    names = dict(named)
    return [
        {names.get(name, name): value for name, value in row.items()} for row in facts["history"]
    ]


def _check_facts(
    facts: Mapping[str, Any], config: TransferConfig, phase_counts: Sequence[int]
) -> None:
    json.dumps(facts, allow_nan=False)  # a number that is not finite is a ValueError
    check_number(facts, "stage", 0, len(config.size) - 1, int)
    stage = facts["stage"]
    check_number(facts, "phase", 0, phase_counts[stage] - 1, int)
    check_number(facts, "iterations", 1, config.iterations[stage], int)
    check_number(facts, "restarts", 0, lbfgs.MAX_RESTARTS, int)
    check_number(facts, "scale", float(np.finfo(np.float32).tiny))
    check_number(facts, "seconds")
    if not isinstance(facts["in_strips"], bool):
        raise ValueError(f"in_strips is {facts['in_strips']!r}")
    terms = _terms(from_dict(facts["config"]))
    for row in facts["history"]:
        for name in ("size", "iteration", "evaluations", "loss", *terms):
            check_number(row, name)
    for row in facts["stages"]:
        for name in ("iterations", "evaluations", "seconds"):
            check_number(row, name)
    if len(facts["stages"]) != stage:
        raise ValueError("the sizes before are missing")
    if config.size[stage] not in [row["size"] for row in facts["history"]]:
        raise ValueError("the present size has no history")


def _terms(config: TransferConfig) -> tuple[str, ...]:
    """The names of the loss's terms."""
    names = term_names(config.content_layers, config.style_layers, config.style_names)
    return names + (TOTAL_VARIATION,) * (config.tv_weight > 0)


def _check_arrays(
    arrays: Mapping[str, np.ndarray], values: int, config: TransferConfig, iterations: int
) -> None:
    shapes = {
        (): ("objective_value",),
        (values,): ("position", "objective_gradient", "momentum", "velocity"),
        (config.history, values): ("position_deltas", "gradient_deltas"),
    }
    known = {name: (shape, "float32") for shape, names in shapes.items() for name in names}
    known |= dict.fromkeys(("converged", "failed"), ((), "bool"))
    known |= dict.fromkeys(("num_iterations", "num_objective_evaluations"), ((), "int32"))
    expected = {name: known[name] for name in RESULTS[config.optimizer]._fields}
    if {name: (array.shape, str(array.dtype)) for name, array in arrays.items()} != expected:
        raise ValueError("its arrays have other shapes or types")
    if not all(np.isfinite(array).all() for array in arrays.values()):
        raise ValueError("its arrays hold values that are not finite")
    if "velocity" in arrays and arrays["velocity"].min() < 0:
        raise ValueError("its velocity is below 0")
    array = (np.ndarray, np.generic)
    check_number(arrays, "num_iterations", 0, iterations, array)
    check_number(arrays, "num_objective_evaluations", 1, kind=array)
