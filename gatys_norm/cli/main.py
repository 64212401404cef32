"""The installed program: its first word is the command; without a command it runs a transfer."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence
from typing import NoReturn

from absl import flags

from gatys_norm.cli import errors, program, transfer

PROGRAM = "gatys-norm"
COMMANDS = {  # modules of this package whose `run` takes the program's name and the other words
    "compare": "both losses on the same pictures, side by side",
    "explore": "every combination of pictures and settings, small, to choose from",
    "film": "a film, steady from frame to frame",
    "reproduce": "the experiments of Choi and Kim (2020)",
    "survey": "people rate pictures of both losses: the paper's Table 1",
    "timelapse": "the snapshots of a run as an animation",
}
USAGE = f"""{transfer.USAGE}
Other commands, each with its own --help:

""" + "".join(f"    {PROGRAM} {name:10} {purpose}\n" for name, purpose in COMMANDS.items())


def run(argv: Sequence[str] | None = None) -> int:
    """Run the command that the first word names, or a transfer; return the exit code."""
    words = list(sys.argv if argv is None else argv)[1:]
    if not words or words[0].startswith("-"):
        return program.call(USAGE, transfer.transfer, [PROGRAM, *words], transfer.define_flags)
    name = words[0]
    if name not in COMMANDS:
        return program.call(USAGE, _refuse, [PROGRAM, name], None, flags.FlagValues(), True)
    command = importlib.import_module(f"gatys_norm.cli.{name}")
    return command.run([f"{PROGRAM} {name}", *words[1:]])


def _refuse(_values: flags.FlagValues, operands: Sequence[str]) -> NoReturn:
    raise errors.InputError(
        f"{operands[0]!r} is no command; there are {', '.join(COMMANDS)}, and a transfer, which "
        "takes everything as --flag=value"
    )
