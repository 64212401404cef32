"""From words to an exit code: a command gets its flags; what is wrong ends in one line."""

import pytest
from absl import flags
from helpers.commands import help_by_flag

from gatys_norm.cli import flags as cli_flags
from gatys_norm.cli import program

HELPS = {"help", "helpshort", "helpfull"}


def define_folder_flag(values):
    flags.DEFINE_string("folder", "runs", "where the runs go", flag_values=values)


def test_help_lists_a_programs_own_flags_too(capsys):
    """Regression: only the main command's were listed."""
    shown = set(cli_flags.make_flags()) - cli_flags.SELDOM_SET
    assert program.call("Usage.", pytest.fail, ["s.py", "--help"], define_folder_flag) == 0
    out, err = capsys.readouterr()
    assert out.startswith("Usage.\n")
    assert set(help_by_flag(out)) == shown | {"folder"}
    assert "(default: 'runs')" in help_by_flag(out)["folder"]
    assert err == ""


def test_a_program_gets_its_flags_and_gives_its_code(capsys):
    seen = []

    def command(values):
        seen.append((values.folder, values.size))
        return 7

    assert program.call("", command, ["s.py", "--folder=x", "--size=64"], define_folder_flag) == 7
    assert seen == [("x", ["64"])]
    assert program.call("", lambda values: None, ["s.py"], define_folder_flag) == 0
    assert program.call("", command, ["dir/s.py", "--nofolder"], define_folder_flag) == 2
    assert capsys.readouterr().err.startswith("s.py: ")


def test_a_program_can_do_without_the_main_commands_flags(capsys):
    def command(values, operands):
        return [values.folder, *operands].index("b")

    def call(*arguments, **options):
        values = flags.FlagValues()
        words = ["s.py", *arguments]
        return program.call("U.", command, words, define_folder_flag, values, **options)

    assert call("a", "--folder=x", "b", takes_operands=True) == 2
    assert call("--", "b", takes_operands=True) == 1
    assert call("--size=64", takes_operands=True) == 2
    assert "--size" not in capsys.readouterr().out
    assert call("--help", takes_operands=True) == 0
    assert set(help_by_flag(capsys.readouterr().out)) == HELPS | {"folder"}
    assert call("a.jpg") == 2
    assert (
        capsys.readouterr().err == "s.py: unexpected 'a.jpg'; everything is given as --flag=value\n"
    )
