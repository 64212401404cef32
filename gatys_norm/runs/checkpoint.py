"""Whether a checkpoint is of the transfer that is asked for. No TensorFlow here."""

from __future__ import annotations

import dataclasses
import json
import math
import sys
import warnings
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from gatys_norm import files
from gatys_norm.config import TransferConfig, from_dict
from gatys_norm.images import inputs as picture_inputs

if TYPE_CHECKING:
    from pathlib import Path

    from gatys_norm.files import StrPath

FACTS = "facts"  # the array that holds them as JSON
Facts: TypeAlias = Mapping[str, Any]

# bfloat16 is too coarse for a Wolfe test near the end, so the last tenth is float32.
FLOAT32_SHARE = 0.1
# {setting that names pictures: (the fact that has their hashes, what each is)}
PICTURES = {
    "content": ("content", "content picture"),
    "style": ("styles", "style picture"),
    "init": ("init", "first picture"),
    "content_masks": ("content_masks", "content mask"),
    "style_masks": ("style_masks", "style mask"),
}
# Settings that x does not depend on, or that are compared by what they stand for.
NOT_COMPARED = (*PICTURES, "weights", "precision", "iterations", "log_every")
DAMAGED = (ArithmeticError, AttributeError, LookupError, TypeError, ValueError)


class CheckpointMismatchError(ValueError):
    """A checkpoint is of another transfer, or damaged; the message says which."""


def check_before_work(facts: Facts, config: TransferConfig) -> None:
    """Refuse a checkpoint of other settings or pictures, before TensorFlow is loaded.

    Args:
      facts: of the checkpoint, hostile until checked.
      config: `TransferConfig`.

    Raises:
      CheckpointMismatchError: what differs.
      PictureError: a picture cannot be used.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # whoever loads the pictures for the work says it
        inputs = picture_inputs.load(config)
    check(facts, {"pictures": inputs.hashes}, config)


def check(facts: Facts, identity: Facts, config: TransferConfig) -> None:
    """Refuse a checkpoint of another transfer.

    Pictures and weights count by their hashes, whatever their names are. Settings that x does not
    depend on do not count, nor do more iterations at the present size or other numbers at sizes to
    come, as long as x so far is the same.

    Args:
      facts: of the checkpoint, hostile until checked.
      identity: what is asked for: `pictures`, and as far as known `network_precision`, `weights`.
      config: `TransferConfig`.

    Raises:
      CheckpointMismatchError: what differs, with both values.
    """
    try:
        reason = next(_reasons(facts, identity, config.resolved()), None)
    except DAMAGED as error:
        raise damaged(error) from error
    if reason:
        raise CheckpointMismatchError(f"--resume: the checkpoint is of another transfer: {reason}")


def damaged(error: Exception) -> CheckpointMismatchError:
    """Return the error that says that a checkpoint is damaged."""
    return CheckpointMismatchError(f"--resume: the checkpoint is damaged ({error})")


def phases(config: TransferConfig, precision: str, stage: int) -> list[tuple[str, int]]:
    """Return the (precision, last iteration) of each part of a size.

    Args:
      config: resolved `TransferConfig`.
      precision: what the network computes in.
      stage: index of the size.
    """
    iterations = config.iterations[stage]
    if precision == "float32" or stage < len(config.size) - 1:
        return [(precision, iterations)]
    coarse = iterations - math.ceil(FLOAT32_SHARE * iterations)
    return [(precision, coarse), ("float32", iterations)]


def check_number(
    values: Mapping[str, Any],
    name: str,
    least: float = 0,
    most: float = sys.float_info.max,
    kind: type | tuple[type, ...] = (int, float),
) -> None:
    """Raise ValueError unless a value of this name is a number within these bounds."""
    value = values[name]
    is_number = isinstance(value, kind) and not isinstance(value, bool)
    if not is_number or not least <= value <= most:
        raise ValueError(f"{name} is {value!r}")


def _reasons(facts: Facts, identity: Facts, here: TransferConfig) -> Iterator[str]:
    there = from_dict(facts["config"]).resolved()
    yield from _other_pictures(facts["pictures"], identity["pictures"], there, here)
    for name in _names_compared(here):
        if getattr(there, name) != getattr(here, name):
            yield _both(name, getattr(there, name), getattr(here, name))
    yield from _other_network(facts, identity, here)
    yield from _other_iterations(facts, there, here)


def _other_pictures(
    old: Facts, new: Facts, there: TransferConfig, here: TransferConfig
) -> Iterator[str]:
    for setting, (fact, what) in PICTURES.items():
        values = getattr(there, setting), getattr(here, setting)
        old_hashes, new_hashes = _listed(old.get(fact)), _listed(new.get(fact))
        if len(old_hashes) != len(new_hashes) or (not new_hashes and values[0] != values[1]):
            yield _both(setting, *values)
        paths = map(_listed, values)
        for old_path, path, *hashes in zip(*paths, old_hashes, new_hashes, strict=False):
            if hashes[0] != hashes[1]:
                how = "has changed" if old_path == path else f"here and {old_path} there"
                yield f"the {what} is another one, {path} {how}"


def _names_compared(config: TransferConfig) -> Iterator[str]:
    """The settings on which x depends, besides the pictures and the number of iterations."""
    of_optimizers = {"lbfgs": ("history", "line_search"), "adam": ("learning_rate",)}
    unused = {name for names in of_optimizers.values() for name in names}
    unused -= set(of_optimizers[config.optimizer])
    if config.init != "noise":
        unused.add("seed")
    for field in dataclasses.fields(config):
        if field.name not in unused and field.name not in NOT_COMPARED:
            yield field.name


def _other_network(facts: Facts, identity: Facts, here: TransferConfig) -> Iterator[str]:
    old = facts["network_precision"]
    new = identity.get("network_precision")
    # Until the device is known, float32 may come to stand for bfloat16.
    if old not in ({new} if new else {"float32", here.precision}):
        yield _both("precision", old, new or here.precision)
    old, new = facts["weights"], identity.get("weights")
    if new and old["sha256"] != new["sha256"]:
        described = [f"{each['source']} (SHA-256 {each['sha256']})" for each in (old, new)]
        yield _both("weights", *described)


def _other_iterations(facts: Facts, there: TransferConfig, here: TransferConfig) -> Iterator[str]:
    check_number(facts, "stage", 0, len(there.size) - 1, int)
    stage, precision = facts["stage"], facts["network_precision"]
    check_number(facts, "iterations", 1, there.iterations[stage], int)
    done = facts["iterations"]
    both = _both("iterations", there.iterations, here.iterations)
    if there.iterations[:stage] != here.iterations[:stage]:
        yield f"{both}, and size {here.size[stage - 1]} is finished"
    if here.iterations[stage] < done:
        yield f"{both}, and {done} are done"
    old, new = (phases(config, precision, stage)[0][1] for config in (there, here))
    if old != new and (facts["phase"] > 0 or done > new):
        yield (
            f"{both}; the last tenth is computed in float32 instead of {precision}, which begins "
            f"after iteration {old} there and {new} here"
        )


def _both(name: str, there: object, here: object) -> str:
    return f"{name} is {_shown(there)} there and {_shown(here)} here"


def _shown(value: object) -> str:
    if isinstance(value, tuple):
        return ",".join(map(str, value))
    return "none" if value is None else str(value)


def _listed(value: Any) -> list[Any]:
    """None as no value, a text as one."""
    if isinstance(value, str):
        return [value]
    return list(value or ())


class CheckpointError(ValueError):
    """A checkpoint is missing or cannot be used; the message names path and reason."""


def save(path: StrPath, arrays: Mapping[str, np.ndarray], facts: Mapping[str, Any]) -> None:
    """Write arrays and facts, uncompressed; the previous checkpoint stays until this one is whole.

    Args:
      path: where to.
      arrays: {name: NumPy array}.
      facts: plain JSON values.

    Raises:
      OSError: see `files.open_atomically`.
    """
    described = {"arrays": _describe(arrays), "facts": facts}
    text = np.frombuffer(json.dumps(described).encode(), np.uint8)
    stored: dict[str, Any] = {FACTS: text, **arrays}
    with files.open_atomically(path) as file:
        np.savez(file, **stored)


def load(path: StrPath) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Return the (arrays, facts) that `save` wrote.

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
        return arrays, described["facts"]
    except FileNotFoundError as error:
        raise CheckpointError(f"{path}: there is no checkpoint to go on from") from error
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
