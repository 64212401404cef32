"""Whether a checkpoint belongs to the transfer that is to continue. No TensorFlow here."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Iterator, Mapping
from typing import Any, TypeAlias

from gatys_norm.config import OPTIMIZER_SETTINGS, TransferConfig, from_dict
from gatys_norm.runs.schedule import Phase, schedule

# The facts of a checkpoint, not checked yet; or those of the transfer that is to continue.
Facts: TypeAlias = Mapping[str, Any]

# {setting that names pictures: (fact that holds their hashes, what each picture is called)}
PICTURES = {
    "content": ("content", "content picture"),
    "style": ("styles", "style picture"),
    "init": ("init", "first picture"),
    "content_masks": ("content_masks", "content mask"),
    "style_masks": ("style_masks", "style mask"),
}
# Settings that x does not depend on, or that are compared in another way: by hashes, for example.
NOT_COMPARED = (*PICTURES, "weights", "precision", "iterations", "memory_limit", "log_every")
DAMAGED = (ArithmeticError, AttributeError, LookupError, TypeError, ValueError)


class CheckpointMismatchError(ValueError):
    """A checkpoint belongs to another transfer or is damaged; the message says what differs."""


def check(facts: Facts, identity: Facts, config: TransferConfig) -> None:
    """Refuse a checkpoint from which this transfer would not give the same picture as without it.

    Pictures and weights are compared by their hashes, not by their names. Every setting that x
    depends on must be equal. The numbers of iterations may differ as far as they have not mattered
    yet: those of the present size may be increased, those of later sizes may be changed.

    Args:
      facts: of the checkpoint, not checked yet.
      identity: facts of the transfer that is to continue: `pictures`, and, if they are known
        already, `network_precision` and `weights`.
      config: `TransferConfig` of that transfer.

    Raises:
      CheckpointMismatchError: the message says what differs, with both values.
    """
    try:
        reason = next(_reasons(facts, identity, config.resolved()), None)
    except DAMAGED as error:
        raise damaged(error) from error
    if reason:
        raise CheckpointMismatchError(f"the checkpoint is of another transfer: {reason}")


def damaged(reason: object) -> CheckpointMismatchError:
    """Return the error for a damaged checkpoint."""
    return CheckpointMismatchError(f"the checkpoint is damaged ({reason})")


def check_number(
    values: Mapping[str, Any],
    name: str,
    least: float = 0,
    most: float = sys.float_info.max,
    kind: type | tuple[type, ...] = (int, float),
) -> None:
    """Raise ValueError unless `values[name]` is a number from `least` to `most`."""
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
    """Yield the settings that x depends on, without pictures, weights and numbers of iterations."""
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
    # Until the device is known, bfloat16 may still become float32.
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
    check_number(facts, "iterations", 0, stored.iterations[stage], int)
    iterations = facts["iterations"]
    difference = _difference("iterations", stored.iterations, config.iterations)
    if stored.iterations[:stage] != config.iterations[:stage]:
        yield f"{difference}, and size {config.size[stage - 1]} is finished"
    if config.iterations[stage] < iterations:
        yield f"{difference}, and {iterations} are done"
    phase = facts["phase"]
    old, new = (schedule(settings, precision).phases[stage] for settings in (stored, config))
    for index, (before, now) in enumerate(zip(old[: phase + 1], new, strict=False)):
        is_present = index == phase
        if before != now and not (is_present and _may_continue(before, now, iterations)):
            yield (
                f"{difference}; from these follows when the network or its number format changes, "
                f"which is after iteration {before.last_iteration} there and {now.last_iteration} "
                "here"
            )


def _may_continue(before: Phase, now: Phase, iterations: int) -> bool:
    """Tell whether a phase in which a number of iterations is done may last as long as `now`."""
    is_same_kind = before._replace(last_iteration=now.last_iteration) == now
    return is_same_kind and iterations <= now.last_iteration


def _difference(name: str, old: object, new: object) -> str:
    return f"{name} is {_as_text(old)} there and {_as_text(new)} here"


def _as_text(value: object) -> str:
    if isinstance(value, tuple):
        return ",".join(map(str, value))
    return "none" if value is None else str(value)


def _as_list(value: Any) -> list[Any]:
    """Return a list: empty for None, of one value for a string."""
    if isinstance(value, str):
        return [value]
    return list(value or ())
