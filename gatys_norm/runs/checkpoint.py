"""The state of a stopped transfer: its file, and the checks of what is read from the file.

No TensorFlow here.
"""

from __future__ import annotations

import contextlib
import json
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, cast

import numpy as np

from gatys_norm import files
from gatys_norm.config import (
    CONVOLUTIONS_PER_BLOCK,
    LARGEST_WEIGHT,
    SIZE_RANGE,
    filled_in,
    from_dict,
)
from gatys_norm.files import StrPath
from gatys_norm.record import HistoryRow, Identity, StageRecord, StrengthSearch, StripsRecord
from gatys_norm.runs import identity as identities
from gatys_norm.runs.identity import check_number
from gatys_norm.terms import loss_terms

if TYPE_CHECKING:
    from gatys_norm.config import TransferConfig
    from gatys_norm.runs.schedule import Schedule

FACTS = "facts"  # name of the array that holds them, as JSON
LEAST_ROWS = 4  # of a strip; see `network.strips`


class Facts(Identity):
    """The part of a checkpoint that is not arrays, as plain JSON values.

    Besides the `Identity` of the transfer:

    Attributes:
      stage: number of the present size, counted from 0; see `Schedule`.
      phase: number of the present phase of that size, counted from 0.
      scale: factor by which the optimizer multiplies the loss; see `optimizers.base`.
      iterations: number of iterations done at the present size.
      restarts: how often the optimizer has emptied its memory at the present size.
      strips: how the network is computed.
      seconds: time that the iterations of the present size took.
      history: rows of the loss history, over all sizes.
      stages: records of the finished sizes.
      strength_search: how λ_os was found, None if no strength was asked for.
    """

    stage: int
    phase: int
    scale: float
    iterations: int
    restarts: int
    strips: StripsRecord
    seconds: float
    history: list[HistoryRow]
    stages: list[StageRecord]
    strength_search: StrengthSearch | None


class Checkpoint(NamedTuple):
    """The state of a stopped transfer, from which it can continue.

    One that was read from a file may be damaged or forged: it must not be used before
    `check_facts` and `check_arrays` have accepted it.

    Attributes:
      arrays: {name: array} of `optimizers.base.State.arrays`.
      facts: everything else.
    """

    arrays: Mapping[str, np.ndarray]
    facts: Facts


class CheckpointError(ValueError):
    """A checkpoint is missing or cannot be used; the message names path and reason."""


def save(path: StrPath, checkpoint: Checkpoint) -> None:
    """Write a checkpoint, uncompressed; an earlier file stays until this one is complete.

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
    """Return the checkpoint that `save` wrote, without checking its content.

    Raises:
      CheckpointError: the file is missing, damaged or not a checkpoint.
    """
    try:
        with _opened(path) as stored:
            arrays = {name: stored[name] for name in stored.files}
        described = json.loads(arrays.pop(FACTS).tobytes())
        if _describe(arrays) != described["arrays"]:  # the archive's index has no checksum
            raise ValueError("its arrays are not those it should hold")
        if not isinstance(described["facts"], dict):
            raise ValueError("its facts are no object")
        return Checkpoint(arrays, cast(Facts, described["facts"]))
    except FileNotFoundError as error:
        raise CheckpointError(f"{path}: there is no checkpoint to continue from") from error
    except Exception as error:  # zipfile and NumPy raise a dozen types
        raise CheckpointError(f"{path}: is damaged or not a checkpoint ({error})") from error


@contextlib.contextmanager
def _opened(path: StrPath) -> Iterator[np.lib.npyio.NpzFile]:
    """Open the archive of a checkpoint, in which nothing is compressed.

    Then its arrays cannot be larger than the file, however it was made.
    """
    # Opened here, because NumPy does not close a file whose archive is damaged.
    with open(path, "rb") as file, np.load(file, allow_pickle=False) as stored:
        if any(member.compress_type != zipfile.ZIP_STORED for member in stored.zip.infolist()):
            raise ValueError("it is compressed")
        yield stored


def _describe(arrays: Mapping[str, np.ndarray]) -> dict[str, list[Any]]:
    return {name: [str(value.dtype), list(value.shape)] for name, value in arrays.items()}


def is_checkpoint(path: Path) -> bool:
    """Tell whether a file holds the facts of a checkpoint, without reading its arrays."""
    try:
        with _opened(path) as stored:
            return "facts" in json.loads(stored[FACTS].tobytes())
    except Exception:  # zipfile and NumPy raise a dozen types
        return False


def check_facts(
    facts: Facts,
    identity: Mapping[str, Any],
    config: TransferConfig,
    schedule: Schedule,
    max_restarts: int,
) -> None:
    """Refuse facts that belong to another transfer, or with which a run would fail later.

    Args:
      facts: of the checkpoint, not checked yet.
      identity: `Identity` of the transfer that is to continue.
      config: resolved `TransferConfig` of that transfer.
      schedule: `Schedule` of that transfer.
      max_restarts: how often the optimizer can have emptied its memory.

    Raises:
      CheckpointMismatchError: the message says what differs or is damaged.
    """
    identities.check(facts, identity, config)
    try:
        _check_facts(facts, config, schedule, max_restarts)
    except identities.DAMAGED as error:
        raise identities.damaged(error) from error


def check_arrays(checkpoint: Checkpoint, shapes: Mapping[str, tuple[tuple[int, ...], str]]) -> None:
    """Refuse arrays with which a run would fail later.

    Args:
      checkpoint: checkpoint whose facts `check_facts` has accepted.
      shapes: {name: (shape, number type)} that the arrays must have.

    Raises:
      CheckpointMismatchError: the message says what is damaged.
    """
    try:
        _check_arrays(checkpoint.arrays, shapes, checkpoint.facts["iterations"])
    except identities.DAMAGED as error:
        raise identities.damaged(error) from error


def history(facts: Facts, config: TransferConfig) -> list[HistoryRow]:
    """Return the loss history of a checked checkpoint.

    With several styles, the names of the terms contain the names of the style files. The files may
    have been renamed since, so the terms get the names that they have in `config`.

    Args:
      facts: of the checkpoint, accepted by `check_facts`.
      config: resolved `TransferConfig` of the transfer that continues.
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
    check_number(facts, "iterations", 0, schedule.iterations(stage), int)
    check_number(facts, "restarts", 0, max_restarts, int)
    tiny = float(np.finfo(np.float32).tiny)
    check_number(facts, "scale", tiny)
    check_number(facts, "seconds")
    check_strips(facts["strips"])
    terms = loss_terms(from_dict(facts["config"]))
    for row in facts["history"]:
        for name in ("size", "iteration", "evaluations", "loss", *terms):
            check_number(row, name)
    for finished in facts["stages"]:
        for name in ("iterations", "evaluations", "seconds"):
            check_number(finished, name)
    if config.strength is not None:
        search = filled_in(facts["strength_search"])
        check_number(search, "overshoot")
        for found in (search, *search["probes"]):
            check_number(found, "lambda_os", tiny, LARGEST_WEIGHT)
        for probe in search["probes"]:
            check_number(probe, "strength")
    if len(facts["stages"]) != stage:
        raise ValueError("the sizes before are missing")
    if config.size[stage] not in [row["size"] for row in facts["history"]]:
        raise ValueError("the present size has no history")


def check_strips(strips: StripsRecord) -> None:
    """Raise ValueError unless a network can be computed in this way."""
    if set(strips) != set(StripsRecord.__annotations__):
        raise ValueError(f"strips is {strips!r}")
    for name, largest in (("rows", SIZE_RANGE[1]), ("kept", len(CONVOLUTIONS_PER_BLOCK))):
        check_number(strips, name, 0, largest, int)
    is_whole = strips["rows"] == strips["kept"] == 0
    if not is_whole and strips["rows"] < LEAST_ROWS:
        raise ValueError(f"strips is {strips!r}")


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
