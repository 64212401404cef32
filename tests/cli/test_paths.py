"""~ stands for the home folder in every flag that takes a path, of every command."""

import dataclasses

import draw
import pytest
from absl import flags
from helpers.programs import load_script

from gatys_norm.cli import compare, explore, survey, timelapse
from gatys_norm.cli import flags as cli_flags
from gatys_norm.cli import study as study_flags
from gatys_norm.cli import transfer as transfer_command
from gatys_norm.config import TransferConfig

PATHS = {  # {command: {flags that take a path}}
    "gatys-norm": {"output", "config_from"},
    "compare": {"output", "config_from"},
    "explore": {"output", "config_from", "output_dir", "shared_dir"},
    "timelapse": {"output", "timelapse"},
    "reproduce": {"output", "config_from", "output_dir", "summary_dir", "shared_dir"},
    "survey build": {"run_dir", "pairs", "output_dir"},
    "survey serve": {"survey_dir"},
    "survey table": {"survey_dir"},
    "draw": {"output_dir"},
    "benchmarks/kills": {"update"},
    "benchmarks/speed": {"output", "config_from", "peer_dir"},
}
DEFINE_FLAGS = {
    "gatys-norm": transfer_command.define_flags,
    "compare": compare.define_flags,
    "explore": explore.define_flags,
    "timelapse": timelapse.define_flags,
    "reproduce": study_flags.define_flags,
    "draw": draw.define_flags,
    **{f"survey {name}": define for name, (_, _, define) in survey.COMMANDS.items()},
}
OF_ITS_OWN = {name for name in PATHS if name.startswith(("timelapse", "survey"))}
OF_ITS_OWN |= {"draw", "benchmarks/kills"}  # without the flags of a transfer


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    """A home folder."""
    monkeypatch.setenv("HOME", str(tmp_path))
    return tmp_path


def flags_of(command):
    """Return the flag values of a command, as it begins."""
    values = flags.FlagValues() if command in OF_ITS_OWN else cli_flags.make_flags()
    define = DEFINE_FLAGS.get(command) or load_script(command).define_flags
    define(values)
    return values


@pytest.mark.parametrize("command", PATHS)
def test_flags_that_take_a_path_expand_it(command, home):
    values = flags_of(command)
    values([command, *(f"--{name}=~/{name}.x" for name in PATHS[command])])
    assert {name: values[name].value for name in PATHS[command]} == {
        name: f"{home}/{name}.x" for name in PATHS[command]
    }


@pytest.mark.parametrize("command", PATHS)
def test_no_other_flag_names_a_file_or_folder(command):
    """A new flag that takes a path has to stand in the table above."""
    values = flags_of(command)
    settings = {field.name for field in dataclasses.fields(TransferConfig)}
    named = {
        name
        for name in set(values) - settings
        if name.endswith(("_dir", "_from")) or name in ("output", "timelapse", "pairs", "update")
    }
    assert named - {"update"} <= PATHS[command]


def test_settings_that_are_paths_expand_them(home):
    given = {
        "content": "~/c.png",
        "style": "~/a.png,~/b.png",
        "content_masks": "~/l.png,~/r.png",
        "style_masks": "~/m.png,/n.png",
        "init": "~/i.png",
        "weights": "~/w.h5",
    }
    values = cli_flags.make_flags()
    values(["gatys-norm", *(f"--{name}={text}" for name, text in given.items())])
    config = cli_flags.config_from_flags(values)
    for name, text in given.items():
        texts = getattr(config, name)
        joined = texts if isinstance(texts, str) else ",".join(texts)
        assert joined == text.replace("~", str(home))
    assert set(given) == set(cli_flags.PATH_SETTINGS)


def test_the_library_takes_paths_as_they_are():
    config = TransferConfig(content="~/c.png", style="~/s.png", weights="~/w.h5")
    assert (config.content, config.style, config.weights) == ("~/c.png", ("~/s.png",), "~/w.h5")


def test_the_styles_of_a_reproduction_expand_too(home):
    values = flags_of("reproduce")
    values(["reproduce", "--styles=~/a.png,/b.png", "--lambdas_by_style=1,1"])
    assert study_flags.study_from_flags(values).styles == (f"{home}/a.png", "/b.png")
