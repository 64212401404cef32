"""Whether a checkpoint is of the transfer that is asked for. No TensorFlow here."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Iterator, Mapping
from typing import Any, TypeAlias

from gatys_norm.config import OPTIMIZER_SETTINGS, TransferConfig, from_dict
from gatys_norm.runs.schedule import schedule

# The facts of a checkpoint, hostile until checked.
Facts: TypeAlias = Mapping[str, Any]

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
        raise CheckpointMismatchError(f"the checkpoint is of another transfer: {reason}")


def damaged(reason: object) -> CheckpointMismatchError:
    """Return the error that says that a checkpoint is damaged."""
    return CheckpointMismatchError(f"the checkpoint is damaged ({reason})")


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


def _reasons(facts: Facts, identity: Facts, config: TransferConfig) -> Iterator[str]:
    stored = from_dict(facts["config"]).resolved()
    yield from _other_pictures(facts["pictures"], identity["pictures"], stored, config)
    for name in _names_compared(config):
        if getattr(stored, name) != getattr(config, name):
            yield _difference(name, getattr(stored, name), getattr(config, name))
    yield from _other_network(facts, identity, config)
    yield from _other_iterations(facts, stored, config)


def _other_pictures(
    old: Facts, new: Facts, stored: TransferConfig, config: TransferConfig
) -> Iterator[str]:
    for setting, (fact, role) in PICTURES.items():
        values = getattr(stored, setting), getattr(config, setting)
        old_hashes, new_hashes = _as_list(old.get(fact)), _as_list(new.get(fact))
        if len(old_hashes) != len(new_hashes) or (not new_hashes and values[0] != values[1]):
            yield _difference(setting, *values)
        paths = map(_as_list, values)
        for old_path, path, *hashes in zip(*paths, old_hashes, new_hashes, strict=False):
            if hashes[0] != hashes[1]:
                change = "has changed" if old_path == path else f"here and {old_path} there"
                yield f"the {role} is another one, {path} {change}"


def _names_compared(config: TransferConfig) -> Iterator[str]:
    """The settings on which x depends, besides the pictures and the number of iterations."""
    unused = {name for names in OPTIMIZER_SETTINGS.values() for name in names}
    unused -= set(OPTIMIZER_SETTINGS[config.optimizer])
    if config.init != "noise":
        unused.add("seed")
    for field in dataclasses.fields(config):
        if field.name not in unused and field.name not in NOT_COMPARED:
            yield field.name


def _other_network(facts: Facts, identity: Facts, config: TransferConfig) -> Iterator[str]:
    old = facts["network_precision"]
    new = identity.get("network_precision")
    # Until the device is known, float32 may come to stand for bfloat16.
    if old not in ({new} if new else {"float32", config.precision}):
        yield _difference("precision", old, new or config.precision)
    old, new = facts["weights"], identity.get("weights")
    if new and old["sha256"] != new["sha256"]:
        texts = [f"{weights['source']} (SHA-256 {weights['sha256']})" for weights in (old, new)]
        yield _difference("weights", *texts)


def _other_iterations(
    facts: Facts, stored: TransferConfig, config: TransferConfig
) -> Iterator[str]:
    check_number(facts, "stage", 0, len(stored.size) - 1, int)
    stage, precision = facts["stage"], facts["network_precision"]
    check_number(facts, "iterations", 1, stored.iterations[stage], int)
    iterations = facts["iterations"]
    difference = _difference("iterations", stored.iterations, config.iterations)
    if stored.iterations[:stage] != config.iterations[:stage]:
        yield f"{difference}, and size {config.size[stage - 1]} is finished"
    if config.iterations[stage] < iterations:
        yield f"{difference}, and {iterations} are done"
    old, new = (
        schedule(settings, precision).phases[stage][0].last_iteration
        for settings in (stored, config)
    )
    if old != new and (facts["phase"] > 0 or iterations > new):
        yield (
            f"{difference}; the last tenth is computed in float32 instead of {precision}, which "
            f"begins after iteration {old} there and {new} here"
        )


def _difference(name: str, old: object, new: object) -> str:
    return f"{name} is {_as_text(old)} there and {_as_text(new)} here"


def _as_text(value: object) -> str:
    if isinstance(value, tuple):
        return ",".join(map(str, value))
    return "none" if value is None else str(value)


def _as_list(value: Any) -> list[Any]:
    """None as no value, a text as one."""
    if isinstance(value, str):
        return [value]
    return list(value or ())
