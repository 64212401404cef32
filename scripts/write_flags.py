"""Write the tables of docs/flags.md from the flags of the commands.

python scripts/write_flags.py
python scripts/write_flags.py --check    # write nothing, only see whether the page is up to date
"""

import os
import sys
from pathlib import Path

from absl import flags

from gatys_norm import files
from gatys_norm.cli import (
    compare,
    console,
    errors,
    explore,
    film,
    program,
    reproduce,
    study,
    survey,
    timelapse,
)
from gatys_norm.cli import flags as cli_flags
from gatys_norm.cli import transfer as transfer_command
from gatys_norm.report import markdown
from gatys_norm.text import replace_between

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "flags.md"
MARKERS = ("<!-- flags -->", "<!-- end flags -->")
OF_EVERY_COMMAND = ("help", "helpshort", "helpfull")
COLUMNS = ("flag", "value", "default", "meaning")
COMMANDS = {  # {words after the program's name: (what --help begins with, what adds the flags)}
    "": (transfer_command.USAGE, transfer_command.define_flags),
    "compare": (compare.USAGE, compare.define_flags),
    "explore": (explore.USAGE, explore.define_flags),
    "film": (film.USAGE, film.define_flags),
    "reproduce": (reproduce.USAGE, study.define_flags),
    **{f"survey {name}": (usage, define) for name, (usage, _, define) in survey.COMMANDS.items()},
    "timelapse": (timelapse.USAGE, timelapse.define_flags),
}
NOT_TAKEN = {
    "explore": explore.REFUSED,
    "film": film.REFUSED,
    "reproduce": (*study.SET_BY_FIGURES, "preview"),
}
ALSO = {  # what a command takes beyond its own flags
    "compare": "It takes the flags of a transfer too.",
    **{
        command: "It takes the flags of a transfer too, except "
        + ", ".join(f"`--{name}`" for name in names)
        + "."
        for command, names in NOT_TAKEN.items()
    },
}


def define_flags(values):
    """Add the flag of this program."""
    explanation = "write nothing; exit code 1 if the page is not up to date"
    flags.DEFINE_bool("check", False, explanation, flag_values=values)


def write_flags(values):
    """Write the page, or only check it; returns the exit code."""
    os.chdir(ROOT)  # paths that are defaults are relative to the folder one is in
    text = PAGE.read_text(encoding="utf-8")
    changed = replace_between(text, *MARKERS, f"\n{sections()}\n")
    if changed == text:
        return 0
    if values.check:
        print("docs/flags.md is not up to date: run python scripts/write_flags.py", file=sys.stderr)
        return errors.FAILED
    files.write_atomically(PAGE, changed.encode())
    return 0


def sections():
    """Return a section for each command, with a table of its flags."""
    return "\n\n".join(section(command, usage) for command, (usage, _) in COMMANDS.items())


def section(command, usage):
    """Return the section of a command: what it does, what --help shows, what --helpfull adds."""
    shown, seldom = [], []
    for flag in flags_of(command):
        (seldom if flag.name in cli_flags.SELDOM_SET else shown).append(row(flag))
    purpose = f"{usage.splitlines()[0]} {ALSO.get(command, '')}".rstrip()
    parts = [f"## {f'gatys-norm {command}'.strip()}", purpose, markdown.table(COLUMNS, shown)]
    if seldom:
        parts += ["Shown by `--helpfull` only:", markdown.table(COLUMNS, seldom)]
    return "\n\n".join(parts)


def flags_of(command):
    """Return the flags of a command in the order of their definition.

    Those that every command has are left out, and those of a transfer where other commands take
    them too.
    """
    values = flags.FlagValues() if command else cli_flags.make_flags()
    COMMANDS[command][1](values)
    defined = [flag for module in values.flags_by_module_dict().values() for flag in module]
    return [flag for flag in defined if flag.name not in OF_EVERY_COMMAND]


def row(flag):
    """Return the row of a flag."""
    name = f"[no]{flag.name}" if flag.boolean else flag.name
    choices = getattr(flag.parser, "enum_values", ())
    value = ", ".join(choices) or flag.parser.syntactic_help
    default = (flag.default_as_str or "").strip("'")
    meaning = flag.help.removeprefix(f"<{'|'.join(choices)}>: ")
    return f"`--{name}`", value, f"`{default}`" if default else "", markdown.cell(meaning)


if __name__ == "__main__":
    console.leave(program.call(__doc__, write_flags, sys.argv, define_flags, flags.FlagValues()))
