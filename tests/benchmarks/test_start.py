"""The benchmark of the start as a program, and how it adds up parts; no time is tested."""

import json

import numpy as np
import pytest
import report as benchmark_report
import start
from helpers import narrow_network
from helpers.benchmarks import assert_page_has_markers, assert_refused

from gatys_norm.cli import program


@pytest.mark.parametrize("kind", benchmark_report.KINDS)
def test_the_page_of_the_tables_has_its_markers(kind):
    assert_page_has_markers(start, kind)


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--size=64"], "--size: is not taken here; see --sizes"),
        (["--precision=bfloat16"], "--precision: is not taken here"),
        (["--sizes=64,many"], "--sizes: must be whole numbers"),
        (["--sizes=64,4"], "--sizes: size: must be"),
        (["--rounds=0"], "rounds"),
        (["--output=out.txt"], "--output: out.txt: must end in .json"),
        (["extra"], "extra"),
    ],
)
def test_bad_flags_end_in_one_line(monkeypatch, capsys, flags, words):
    assert_refused(monkeypatch, capsys, start, flags, words)


def run(cpu_seconds, seconds):
    """Return the result of `start.measure` where every part took the same."""
    took = {"cpu_seconds": cpu_seconds, "seconds": seconds}
    return {"evaluations": 4, "parts": dict.fromkeys(start.PARTS, took)}


def test_cpu_seconds_are_those_of_one_thread_and_seconds_those_of_all():
    pairs = [(run(cpu, 100), run(100, seconds)) for cpu, seconds in ((3, 1), (1, 3), (2, 2))]
    measured = start.summary(pairs)
    assert measured["evaluations"] == 4
    assert set(measured["parts"]) == set(start.PARTS)
    for took in measured["parts"].values():
        assert took == {"cpu_seconds": 2, "seconds": 2}
    pairs = [(run(5, 100), run(100, 7))]
    assert start.cells(start.summary(pairs), start.PARTS[:2]) == "14.00 | 10.00"


def test_every_part_is_measured_and_nothing_twice(monkeypatch, tmp_path):
    clock, now = start.Clock(), iter(range(100, 200))
    monkeypatch.setattr(start.time, "time", lambda: clock._before["seconds"] + 1)
    monkeypatch.setattr(start.time, "process_time", lambda: next(now))

    class Worker:
        def work(self, number):
            return number + 1

    with clock.marking(Worker, "work", "first", "second"):
        assert [Worker().work(number) for number in range(3)] == [1, 2, 3]
    assert clock.parts == {
        "first": {"seconds": 1, "cpu_seconds": 100},
        "second": {"seconds": 1, "cpu_seconds": 1},
    }
    assert Worker().work(1) == 2


@pytest.mark.slow
@pytest.mark.usefixtures("eagerly", "in_this_process")
def test_whole_program(tmp_path, monkeypatch, capsys):
    """All of it, in this process."""
    from gatys_norm.network import vgg

    (tmp_path / "weights.h5").touch()
    monkeypatch.setattr(vgg, "load_model", narrow_network.load_model)
    output = tmp_path / "start.json"
    argv = ["start.py", "--sizes=32", "--rounds=1", f"--output={output}"]
    argv.append(f"--weights={tmp_path / 'weights.h5'}")
    assert program.call(start.__doc__, start.benchmark, argv, start.define_flags) == 0
    report = json.loads(output.read_text())
    measured = report["sizes"]["32"]
    assert measured["evaluations"] >= 1
    assert list(measured["parts"]) == list(start.PARTS)
    assert np.all([took["cpu_seconds"] >= 0 for took in measured["parts"].values()])
    assert "| **before the first iteration** |" in capsys.readouterr().out
