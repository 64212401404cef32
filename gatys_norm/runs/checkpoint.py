"""What a stopped transfer needs to continue: its file, and the check of what was read from one.

No TensorFlow here.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, cast

import numpy as np

from gatys_norm import files
from gatys_norm.config import from_dict
from gatys_norm.files import StrPath
from gatys_norm.record import HistoryRow, Identity, StageRecord
from gatys_norm.runs import identity as identities
from gatys_norm.runs.identity import check_number
from gatys_norm.terms import loss_terms

if TYPE_CHECKING:
    from gatys_norm.config import TransferConfig
    from gatys_norm.runs.schedule import Schedule

FACTS = "facts"  # the array of the file that holds them as JSON


class Facts(Identity):
    """What a checkpoint says besides its arrays, in plain JSON values.

    `stage` and `phase` are numbers of the `Schedule`, the rest is of the present size.
    """

    stage: int
    phase: int
    scale: float
    iterations: int
    restarts: int
    in_strips: bool
    seconds: float
    history: list[HistoryRow]
    stages: list[StageRecord]


class Checkpoint(NamedTuple):
    """What a stopped transfer needs to continue; read from a file it is hostile until checked."""

    arrays: Mapping[str, np.ndarray]
    facts: Facts


class CheckpointError(ValueError):
    """A checkpoint is missing or cannot be used; the message names path and reason."""


def save(path: StrPath, checkpoint: Checkpoint) -> None:
    """Write a checkpoint, uncompressed; the previous one stays until this one is whole.

    Raises:
      OSError: see `files.open_atomically`.
    """
    arrays, facts = checkpoint
    described = {"arrays": _describe(arrays), "facts": facts}
    text = np.frombuffer(json.dumps(described).encode(), np.uint8)
    stored: dict[str, Any] = {FACTS: text, **arrays}
    with files.open_atomically(path) as file:
        np.savez(file, **stored)


def load(path: StrPath) -> Checkpoint:
    """Return the checkpoint that `save` wrote, hostile until checked.

    Raises:
      CheckpointError: the file is missing, damaged or not a checkpoint.
    """
    try:
        # Opened here, because NumPy leaves a file open whose archive is damaged.
        with open(path, "rb") as file, np.load(file, allow_pickle=False) as stored:
            arrays = {name: stored[name] for name in stored.files}
        described = json.loads(arrays.pop(FACTS).tobytes())
        if _describe(arrays) != described["arrays"]:  # the archive's index has no checksum
            raise ValueError("its arrays are not those it should hold")
        if not isinstance(described["facts"], dict):
            raise ValueError("its facts are no object")
        return Checkpoint(arrays, cast(Facts, described["facts"]))
    except FileNotFoundError as error:
        raise CheckpointError(f"{path}: there is no checkpoint to continue from") from error
    except Exception as error:  # zipfile and NumPy's reader let a dozen types through
        raise CheckpointError(f"{path}: is damaged or not a checkpoint ({error})") from error


def _describe(arrays: Mapping[str, np.ndarray]) -> dict[str, list[Any]]:
    return {name: [str(value.dtype), list(value.shape)] for name, value in arrays.items()}


def is_checkpoint(path: Path) -> bool:
    """Tell whether a file holds the facts of a checkpoint, without reading its arrays."""
    try:
        with open(path, "rb") as file, np.load(file, allow_pickle=False) as stored:
            return "facts" in json.loads(stored[FACTS].tobytes())
    except Exception:  # zipfile and NumPy's reader let a dozen types through
        return False


def check_facts(
    facts: Facts,
    identity: Mapping[str, Any],
    config: TransferConfig,
    schedule: Schedule,
    max_restarts: int,
) -> None:
    """Refuse facts of another transfer, and those that a run would stumble over later.

    Args:
      facts: of a checkpoint, hostile until checked.
      identity: an `Identity`, what is asked for.
      config: resolved `TransferConfig`.
      schedule: that of the transfer.
      max_restarts: how often the optimizer may have begun anew.

    Raises:
      CheckpointMismatchError: the reason.
    """
    identities.check(facts, identity, config)
    try:
        _check_facts(facts, config, schedule, max_restarts)
    except identities.DAMAGED as error:
        raise identities.damaged(error) from error


def check_arrays(checkpoint: Checkpoint, shapes: Mapping[str, tuple[tuple[int, ...], str]]) -> None:
    """Refuse arrays that a run would stumble over later.

    Args:
      checkpoint: with facts that are checked.
      shapes: {name: (shape, type)} of the arrays that there should be.

    Raises:
      CheckpointMismatchError: the reason.
    """
    try:
        _check_arrays(checkpoint.arrays, shapes, checkpoint.facts["iterations"])
    except identities.DAMAGED as error:
        raise identities.damaged(error) from error


def history(facts: Facts, config: TransferConfig) -> list[HistoryRow]:
    """Return the loss history of a checked checkpoint.

    Of several styles the terms are named after the files, which may have other names by now.

    Args:
      facts: of the checkpoint.
      config: resolved `TransferConfig`.
    """
    names = dict(zip(loss_terms(from_dict(facts["config"])), loss_terms(config), strict=True))
    renamed = [
        {names.get(name, name): value for name, value in row.items()} for row in facts["history"]
    ]
    return cast("list[HistoryRow]", renamed)


def _check_facts(
    facts: Facts, config: TransferConfig, schedule: Schedule, max_restarts: int
) -> None:
    json.dumps(facts, allow_nan=False)  # a number that is not finite is a ValueError
    check_number(facts, "stage", 0, schedule.last_stage, int)
    stage = facts["stage"]
    check_number(facts, "phase", 0, len(schedule.phases[stage]) - 1, int)
    check_number(facts, "iterations", 1, schedule.iterations(stage), int)
    check_number(facts, "restarts", 0, max_restarts, int)
    check_number(facts, "scale", float(np.finfo(np.float32).tiny))
    check_number(facts, "seconds")
    if not isinstance(facts["in_strips"], bool):
        raise ValueError(f"in_strips is {facts['in_strips']!r}")
    terms = loss_terms(from_dict(facts["config"]))
    for row in facts["history"]:
        for name in ("size", "iteration", "evaluations", "loss", *terms):
            check_number(row, name)
    for finished in facts["stages"]:
        for name in ("iterations", "evaluations", "seconds"):
            check_number(finished, name)
    if len(facts["stages"]) != stage:
        raise ValueError("the sizes before are missing")
    if config.size[stage] not in [row["size"] for row in facts["history"]]:
        raise ValueError("the present size has no history")


def _check_arrays(
    arrays: Mapping[str, np.ndarray],
    shapes: Mapping[str, tuple[tuple[int, ...], str]],
    iterations: int,
) -> None:
    if {name: (array.shape, str(array.dtype)) for name, array in arrays.items()} != shapes:
        raise ValueError("its arrays have other shapes or types")
    if not all(np.isfinite(array).all() for array in arrays.values()):
        raise ValueError("its arrays hold values that are not finite")
    array = (np.ndarray, np.generic)
    check_number(arrays, "num_iterations", 0, iterations, array)
    check_number(arrays, "num_objective_evaluations", 1, kind=array)
