"""soak.py: two hundred kills cost nothing, and wrong flags end in one line."""

import json

import pytest
from helpers.programs import ROOT, load_script, run_new

from gatys_norm.cli import errors, program
from gatys_norm.cli import main as cli

SCRIPT = ROOT / "scripts" / "benchmarks" / "kills.py"
PAGE = ROOT / "docs" / "reliability.md"


@pytest.fixture(scope="module")
def soak():
    """The script as a module."""
    return load_script("benchmarks/kills")


def call(soak, *arguments):
    """Call the program in this process; returns its exit code."""
    values = cli.flags.FlagValues()
    return program.call(soak.__doc__, soak.soak, ["soak.py", *arguments], soak.define_flags, values)


def test_help_lists_its_flags(soak, capsys):
    assert call(soak, "--help") == 0
    printed = capsys.readouterr()
    for name in ("kills", "workers", "iterations", "seed", "update"):
        assert f"--{name}: " in printed.out
    assert "--lambda_os" not in printed.out
    assert printed.err == ""


@pytest.mark.parametrize(
    ("flag", "words"),
    [
        ("--size=64", "size"),
        ("--kills=0", "kills"),
        ("--workers=x", "workers"),
        ("--iterations=1", "iterations"),
        ("extra", "extra"),
        ("--update=missing.md", "--update: missing.md: "),
    ],
)
def test_wrong_flags_end_in_one_line(soak, capsys, monkeypatch, flag, words):
    monkeypatch.setattr(soak, "prepare_server", lambda: pytest.fail("it went to work"))
    assert call(soak, flag) == errors.BAD_INPUT
    printed = capsys.readouterr()
    assert words in printed.err
    assert printed.err.count("\n") == 1
    assert printed.out == ""


def test_the_page_has_the_markers(soak):
    text = PAGE.read_text()
    assert [text.count(marker) for marker in soak.MARKERS] == [1, 1]


def test_moments_are_told_by_checkpoints(soak):
    """A run of 4 iterations of 2 s, begun within 10 s, is killed at any time of 18 s."""
    pace = soak.Pace(4)
    pace.start_seconds, pace.iteration_seconds = 10.0, 2.0
    assert pace.seconds(4) == 18
    assert pace.split(9.5) == (0, 9.5)
    assert pace.split(10.5) == (1, 0.5)
    assert pace.split(15.0) == (3, 1.0)


@pytest.mark.slow
def test_two_hundred_kills_cost_nothing(tmp_path):
    page = tmp_path / "page.md"
    page.write_text(PAGE.read_text())
    finished = run_new(SCRIPT, "--kills=200", f"--update={page}")
    assert finished.returncode == 0, finished.stdout + finished.stderr
    figures = json.loads(finished.stdout)
    assert figures["kills_survived"] == 200
    assert (figures["corrupt_files"], figures["mismatches"]) == (0, 0)
    assert figures["transfers_finished"] >= 2
    assert figures["kills_after_a_checkpoint"] >= 20
    assert figures["kills_amid_a_file"] >= 20
    assert figures["kills_before_a_checkpoint"] + figures["kills_after_a_checkpoint"] == 200
    assert "| kills survived | 200 |\n" in page.read_text()
