"""The first word picks the command; every command has its help, and its script in a clone."""

import re
import subprocess
import sys

import pytest
from helpers.commands import help_by_flag, outcome
from helpers.programs import COMMAND, ROOT, run

from gatys_norm.cli import errors, program
from gatys_norm.cli import main as cli

ALL = ("", *cli.COMMANDS, "survey build", "survey serve", "survey table")


def call(*arguments):
    """Run the program; returns (exit code, standard output, standard error)."""
    return outcome(cli.run, ["/anywhere/gatys-norm", *arguments])


@pytest.mark.parametrize("name", cli.COMMANDS)
def test_the_first_word_picks_the_command(monkeypatch, name):
    def note(usage, _command, argv, *_):
        assert f"    gatys-norm {name} " in usage
        return argv

    monkeypatch.setattr(program, "call", note)
    assert cli.run(["gatys-norm", name, "--x=1"]) == [f"gatys-norm {name}", "--x=1"]


@pytest.mark.parametrize("words", [(), ("--seed=1",), ("-seed=1",), ("--",), ("-",)])
def test_without_a_command_it_is_a_transfer(monkeypatch, words):
    def note(_usage, command, argv, *_):
        return command.__name__, argv

    monkeypatch.setattr(program, "call", note)
    assert cli.run(["gatys-norm", *words]) == ("transfer", ["gatys-norm", *words])


@pytest.mark.parametrize("word", ["comapre", "Compare", "picture.png", "main", "", "../compare"])
def test_an_unknown_word_is_refused_with_all_that_there_are(word):
    code, out, err = call(word, "--content=a.png")
    assert (code, out) == (errors.BAD_INPUT, "")
    assert err == (
        f"gatys-norm: {word!r} is no command; there are compare, explore, film, reproduce, "
        "survey, timelapse, and a transfer, which takes everything as --flag=value\n"
    )


def test_help_names_the_other_commands():
    code, out, err = call("--help")
    assert (code, err) == (0, "")
    for name in cli.COMMANDS:
        assert re.search(rf"^    gatys-norm {name} +\w", out, re.MULTILINE)


@pytest.mark.parametrize("command", ALL)
def test_every_command_has_its_help(command):
    code, out, err = call(*command.split(), "--help")
    assert (code, err) == (0, "")
    assert f"    gatys-norm {command}".rstrip() in out
    assert {"help", "helpshort", "helpfull"} <= set(help_by_flag(out))


@pytest.mark.parametrize("command", ["", *cli.COMMANDS])
def test_help_loads_no_tensorflow(command):
    code = (
        "import sys; from gatys_norm.cli import main\n"
        f"assert main.run(['gatys-norm', *{command.split()}, '--help']) == 0\n"
        "sys.exit(bool({'tensorflow', 'keras', 'h5py'} & set(sys.modules)))"
    )
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, capture_output=True)


@pytest.mark.parametrize("command", cli.COMMANDS)
def test_a_script_of_the_clone_is_the_command(command):
    """A mistake shows all that matters: which command it is, its exit code, its one line."""
    words = ("--flag_that_is_none=1",)
    script = run(ROOT / "scripts" / f"{command}.py", *words)
    module = run(COMMAND, command, *words)
    expected = (errors.BAD_INPUT, "", module.stderr)
    assert (script.returncode, script.stdout, script.stderr) == expected
    assert (module.returncode, module.stdout) == (errors.BAD_INPUT, "")
    assert module.stderr.startswith(f"gatys-norm {command}: Unknown command line flag")
    assert module.stderr.count("\n") == 1
