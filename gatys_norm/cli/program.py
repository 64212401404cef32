"""From the words of a command line to an exit code: flags, help, and errors in one line."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence

from absl import flags

from gatys_norm.cli import console, errors, loading
from gatys_norm.cli import flags as cli_flags
from gatys_norm.text import one_line


def call(
    usage: str,
    command: Callable[..., int | None],
    argv: Sequence[str],
    define_flags: Callable[[flags.FlagValues], object] | None = None,
    values: flags.FlagValues | None = None,
    takes_operands: bool = False,
) -> int:
    """Parse flags, run `command(values)`, and report every error of a user in one line.

    Args:
      usage: first part of the output of `--help`.
      command: called with the parsed flags; returns an exit code or None.
      argv: program name and arguments.
      define_flags: called with the flag values to define more flags.
      values: the `FlagValues` to add flags to; those of a transfer if None.
      takes_operands: whether arguments that are not flags are allowed; the command is then called
        as `command(values, operands)`.

    Returns:
      Exit code.
    """
    name = os.path.basename(argv[0])
    with console.forgiving_streams():
        try:
            with console.ending_in_order():
                return _run(usage, command, argv, define_flags, values, takes_operands)
        except errors.InputError as error:
            print(f"{name}: {error}", file=sys.stderr)
            return errors.BAD_INPUT
        except errors.LoadingError as error:
            print(f"{name}: {error}", file=sys.stderr)
            return errors.FAILED
        except console.Interrupted as interrupted:
            print(f"{name}: interrupted", file=sys.stderr)
            return 128 + interrupted.number


def _run(
    usage: str,
    command: Callable[..., int | None],
    argv: Sequence[str],
    define_flags: Callable[[flags.FlagValues], object] | None,
    values: flags.FlagValues | None,
    takes_operands: bool,
) -> int:
    values = cli_flags.make_flags() if values is None else cli_flags.define_help(values)
    if define_flags is not None:
        define_flags(values)
    operands = _parse(values, argv)
    if values.help or values.helpshort or values.helpfull:
        _print_help(usage, values)
        return 0
    if "verbosity" in values:
        loading.set_verbosity(values.verbosity)
    if takes_operands:
        return command(values, operands) or 0
    if operands:
        raise errors.InputError(f"unexpected {operands[0]!r}; everything is given as --flag=value")
    return command(values) or 0


def _parse(values: flags.FlagValues, argv: Sequence[str]) -> list[str]:
    """Parse the arguments into the flag values; return the arguments that are not flags."""
    try:
        return values(argv)[1:]
    except UnicodeDecodeError as error:
        raise errors.InputError(f"--flagfile: must hold text in UTF-8 ({error})") from error
    except (flags.Error, ValueError) as error:  # ValueError: --nohelp=x
        raise errors.InputError(one_line(error)) from error


def _print_help(usage: str, values: flags.FlagValues) -> None:
    """Print the usage and the flags; those that are rarely set only for --helpfull."""
    if not values.helpfull:
        for name in cli_flags.SELDOM_SET & set(values):
            delattr(values, name)
    print(f"{usage}\nFlags:")
    for module in values.flags_by_module_dict():
        print(values.module_help(module).split("\n", 2)[2])
