"""The benchmark of the ways to convolve as a program; no time is tested."""

import json

import convolutions
import evaluations
import pytest
import report as benchmark_report

from gatys_norm.cli import program
from gatys_norm.text import replace_between


def call(*flags):
    argv = ["convolutions.py", *flags]
    return program.call(
        convolutions.__doc__, convolutions.benchmark, argv, convolutions.define_flags
    )


@pytest.mark.parametrize("kind", benchmark_report.KINDS)
def test_the_page_of_the_tables_has_its_markers(kind):
    markers = benchmark_report.markers("convolutions", kind)
    assert "\nnew\n" in replace_between(convolutions.PAGE.read_text(), *markers, "\nnew\n")


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--size=64"], "--size: is not taken here; the maps are random numbers"),
        (["--content=town.jpg"], "--content: is not taken here; the maps are random numbers"),
        (["--sizes=64,many"], "--sizes: must be whole numbers"),
        (["--rounds=0"], "rounds"),
        (["--output=out.txt"], "--output: out.txt: must end in .json"),
    ],
)
def test_bad_flags_end_in_one_line(monkeypatch, capsys, flags, words):
    monkeypatch.setattr(
        benchmark_report, "in_own_process", lambda *_: pytest.fail("it went to work")
    )
    assert call(*flags) == 2
    printed = capsys.readouterr()
    assert words in printed.err
    assert (printed.err.count("\n"), printed.out) == (1, "")


@pytest.mark.usefixtures("in_this_process")
def test_whole_program(tmp_path, monkeypatch, capsys):
    """All of it, in this process, with two narrow layers."""
    layers = {"conv1_2": (1, 64, 64), "conv5_1": (16, 64, 64)}
    monkeypatch.setattr(convolutions, "LAYERS", layers)
    monkeypatch.setattr(evaluations, "LEAST_SECONDS", 0.001)
    (tmp_path / "weights.h5").touch()
    output = tmp_path / "convolutions.json"
    flags = ["--sizes=32", "--rounds=2", f"--output={output}"]
    assert call(*flags, f"--weights={tmp_path / 'weights.h5'}") == 0
    rows = json.loads(output.read_text())["rows"]
    assert [(row["layer"], row["height"], row["width"]) for row in rows] == [
        ("conv1_2", 24, 32),
        ("conv5_1", 1, 2),
    ]
    for row in rows:
        assert list(row["gigaflops"]) == list(convolutions.WAYS)
        assert all(speed > 0 for both in row["gigaflops"].values() for speed in both)
        assert row["chosen"] in convolutions.WAYS
    assert "| 32 | conv1_2 | 24×32 | 48 |" in " ".join(capsys.readouterr().out.split())
