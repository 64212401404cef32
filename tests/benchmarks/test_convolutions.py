"""The benchmark of the ways to convolve as a program; no time is tested."""

import json

import convolutions
import evaluations
import pytest
import report as benchmark_report
from helpers.benchmarks import assert_page_has_markers, assert_refused, run


@pytest.mark.parametrize("kind", benchmark_report.KINDS)
def test_the_page_of_the_tables_has_its_markers(kind):
    assert_page_has_markers(convolutions, kind)


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
    assert_refused(monkeypatch, capsys, convolutions, flags, words)


@pytest.mark.usefixtures("in_this_process")
def test_whole_program(tmp_path, monkeypatch, capsys):
    """All of it, in this process, with two narrow layers."""
    layers = {"conv1_2": (1, 64, 64), "conv5_1": (16, 64, 64)}
    monkeypatch.setattr(convolutions, "LAYERS", layers)
    monkeypatch.setattr(evaluations, "LEAST_SECONDS", 0.001)
    (tmp_path / "weights.h5").touch()
    output = tmp_path / "convolutions.json"
    flags = ["--sizes=32", "--rounds=2", f"--output={output}"]
    assert run(convolutions, *flags, f"--weights={tmp_path / 'weights.h5'}") == 0
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
