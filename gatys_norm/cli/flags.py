"""The flags of a transfer, made from `TransferConfig`, and the settings that they describe."""

from __future__ import annotations

import csv
import dataclasses
import functools
import io
import os
import types
import typing
from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Any, TypeVar

from absl import flags

from gatys_norm.cli.errors import InputError, refusing
from gatys_norm.config import (
    PRESETS,
    ConfigError,
    Settings,
    TransferConfig,
    from_dict,
    is_list,
)

PATH_SETTINGS = ("content", "style", "content_masks", "style_masks", "init", "weights")
# Shown by --helpfull alone.
SELDOM_SET = {
    *("line_search", "log_every", "parametrization", "continuation", "history"),
    "checkpoint_every",
}
DEFAULT_PRESET = "paper"
_Paths = TypeVar("_Paths", str, tuple[str, ...], list[str], None)


def make_flags() -> flags.FlagValues:
    """Return the flags of a transfer; settings, defaults and help come from `TransferConfig`."""
    values = flags.FlagValues()
    for field in dataclasses.fields(TransferConfig):
        _define_setting(values, field)
    explanation = (
        "settings to begin with: paper (600 iterations in float32) or fast (fewer, in bfloat16, "
        "over frequencies instead of pixels); a flag that is given wins"
    )
    flags.DEFINE_enum("preset", DEFAULT_PRESET, list(PRESETS), explanation, flag_values=values)
    define_count = functools.partial(flags.DEFINE_integer, lower_bound=0)
    define_path("output", None, "picture to write: .png, .tif, .jpg or .webp", values)
    define_path("config_from", None, "take the settings of this .png, .tif or .json", values)
    definitions: Iterable[tuple[Callable[..., object], str, int | None, str]] = (
        (flags.DEFINE_bool, "resume", False, "continue from the checkpoint next to --output"),
        (define_count, "checkpoint_every", 50, "iterations between checkpoints; 0 is none"),
        (define_count, "snapshot_every", 0, "iterations between pictures kept; 0 is none"),
        (define_count, "verbosity", 0, "1 shows more: where weights came from, why a fetch failed"),
    )
    for define, name, default, explanation in definitions:
        define(name, default, explanation, flag_values=values)
    _define_file_flags(values)
    explanation = (
        "port of a page on this machine that shows the run and can stop it; 0 picks any free"
    )
    flags.DEFINE_integer("preview", None, explanation, 0, 65535, flag_values=values)
    return define_help(values)


def _define_file_flags(values: flags.FlagValues) -> None:
    """Add the flags that say how the finished picture is stored."""
    explanation = "bits per channel of the finished picture; 16 for .png and .tif"
    flags.DEFINE_enum("bit_depth", "8", ["8", "16"], explanation, flag_values=values)
    explanation = "dots per inch noted in the finished picture; default those of the content"
    flags.DEFINE_integer("dpi", None, explanation, 1, 65535, flag_values=values)  # a JPEG's limit


def define_help(values: flags.FlagValues) -> flags.FlagValues:
    """Add --help, --helpshort and --helpfull; returns the flag values."""
    for name, explanation in (
        ("help", "show this help"),
        ("helpshort", "show this help"),
        ("helpfull", "show this help and the flags that are seldom set by hand"),
    ):
        flags.DEFINE_bool(name, False, explanation, flag_values=values)
    return values


def _define_setting(values: flags.FlagValues, field: dataclasses.Field[Any]) -> None:
    explanation, choices = field.metadata["explanation"], field.metadata["choices"]
    default: Any = field.default
    define: dict[type, Callable[..., object]] = {
        str: flags.DEFINE_string,
        int: flags.DEFINE_integer,
        float: flags.DEFINE_float,
    }
    if choices:
        flags.DEFINE_enum(field.name, default, choices, explanation, flag_values=values)
    elif is_list(field):
        default = [str(value) for value in default or () if value != ""] or None
        flags.DEFINE_list(field.name, default, explanation, flag_values=values)
    else:
        default = default if default != "" else None
        define[_scalar_type(field)](field.name, default, explanation, flag_values=values)


def _scalar_type(field: dataclasses.Field[Any]) -> Any:
    """Return the type of a setting, or of its elements if it is a list; without `None`."""
    kind = field.type
    if isinstance(kind, types.UnionType):
        kind = next(part for part in typing.get_args(kind) if part is not types.NoneType)
    return typing.get_args(kind)[0] if typing.get_origin(kind) in (tuple, Sequence) else kind


def config_from_flags(values: flags.FlagValues, **changes: Any) -> TransferConfig:
    """Return the `TransferConfig` that the flags describe.

    With `--config_from` the settings are those of an earlier run. A preset on the command line
    overrides them, and other flags on the command line override both.

    Args:
      values: parsed flags, which include those of `make_flags`.
      changes: settings that override the flags.

    Raises:
      InputError: a flag is missing or its value is not valid.
    """
    settings = _settings_of_run(values.config_from) if values.config_from else {}
    if values["preset"].present:
        settings |= PRESETS[values.preset]
    given = _settings_given(values) | changes
    for name, other in (("strength", "lambda_os"), ("lambda_os", "strength")):
        if given.get(name) is not None:
            settings.pop(other, None)
    settings |= given
    for name in ("content", "style"):
        if not settings.get(name):
            raise InputError(f"--{name}: is needed, the path of a picture")
    with refusing(ConfigError, prefix="--"):
        return TransferConfig(**settings)


def _settings_of_run(path: str) -> Settings:
    from gatys_norm.runs import folder as run_folder

    with refusing(ConfigError, run_folder.RecordError, prefix="--config_from: "):
        config = from_dict(run_folder.load_config(path))
    return {field.name: getattr(config, field.name) for field in dataclasses.fields(config)}


def _settings_given(values: flags.FlagValues) -> Settings:
    """Return the settings whose flags are on the command line."""
    settings: Settings = {}
    for field in dataclasses.fields(TransferConfig):
        flag = values[field.name]
        if flag.present:
            value = flag.value
            if value is not None and is_list(field):
                value = numbers(field.name, value, _scalar_type(field))
            settings[field.name] = expanded(value) if field.name in PATH_SETTINGS else value
    return settings


def numbers(name: str, texts: Iterable[str], kind: Callable[[str], Any]) -> tuple[Any, ...]:
    """Return the elements of a list flag, converted by `kind`: int, float or str.

    Raises:
      InputError: an element cannot be converted.
    """
    description = "whole numbers" if kind is int else "numbers"
    converted = []
    for text in texts:
        try:
            converted.append(kind(text))
        except ValueError as error:
            message = f"--{name}: must be {description} separated by commas, not {text!r}"
            raise InputError(message) from error
    return tuple(converted)


def expanded(paths: _Paths) -> _Paths:
    """Return a path, or several, with ~ and ~user replaced by home folders."""
    if isinstance(paths, str):
        return os.path.expanduser(paths)
    return paths and type(paths)(map(os.path.expanduser, paths))


def define_path(
    name: str, default: str | None, explanation: str, flag_values: flags.FlagValues
) -> None:
    """Define a flag whose value is a path, in which ~ is replaced by the home folder."""
    flags.DEFINE(_PathParser(), name, default, explanation, flag_values)


class _PathParser(flags.ArgumentParser[str]):
    """Expands ~."""

    def parse(self, argument: str) -> str:
        return os.path.expanduser(argument)

    def flag_type(self) -> str:
        return "string"


def required(values: flags.FlagValues, name: str) -> Any:
    """Return the value of a flag that has no default.

    Raises:
      InputError: it was not given.
    """
    if not values[name].value:
        raise InputError(f"--{name}: is needed, {values[name].help}")
    return values[name].value


def refuse_flags(names: Iterable[str], values: flags.FlagValues, reason: str) -> None:
    """Raise `InputError` if one of these flags is on the command line."""
    for name in names:
        if values[name].present:
            raise InputError(f"--{name}: is not taken here; {reason}")


def take_only(names: Collection[str], values: flags.FlagValues, reason: str) -> None:
    """Raise `InputError` if another flag of a transfer is on the command line."""
    refuse_flags((name for name in make_flags() if name not in names), values, reason)


def words_of(config: TransferConfig) -> list[str]:
    """Return the flags, `--name=value`, with which a transfer has these settings.

    A preset is among them if that makes them fewer.
    """
    return min((_words_after(config, preset) for preset in PRESETS), key=len)


def _words_after(config: TransferConfig, preset: str) -> list[str]:
    """Return the flags of the settings that differ from a preset, the preset last."""
    fields = dataclasses.fields(TransferConfig)
    defaults = {field.name: field.default for field in fields} | PRESETS[preset]
    words = [
        f"--{name}={_as_word(getattr(config, name))}"
        for name, default in defaults.items()
        if getattr(config, name) != default
    ]
    return words if preset == DEFAULT_PRESET else [*words, f"--preset={preset}"]


def _as_word(value: Any) -> str:
    """Return a setting as the value of its flag; list flags are read as CSV."""
    if not isinstance(value, tuple):
        return str(value)
    line = io.StringIO()
    csv.writer(line, lineterminator="").writerow(value)
    return line.getvalue()
