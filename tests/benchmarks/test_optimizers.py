"""The program that compares the optimizers."""

import dataclasses
import json
from pathlib import Path

import pytest
from helpers.programs import load_script
from helpers.small_transfers import small_config

from gatys_norm.config import TransferConfig


@pytest.fixture
def optimizers():
    return load_script("benchmarks/optimizers")


def test_the_loss_after_some_evaluations_is_the_last_logged_one(optimizers):
    rows = [[1, 9.0], [6, 7.0], [12, 4.0], [18, 2.0]]
    wanted = {1: 9.0, 5: 9.0, 6: 7.0, 17: 4.0, 18: 2.0, 99: 2.0}
    assert {count: optimizers.loss_after(rows, count) for count in wanted} == wanted


@pytest.mark.usefixtures("eagerly", "small_network")
def test_a_run_gives_losses_and_what_each_optimizer_stores(optimizers, tmp_path):
    """What is stored does not depend on the network."""
    base = small_config(tmp_path, iterations=(12,), log_every=5)
    stored = {}
    for name, changes in optimizers.CONTESTANTS.items():
        outcome = optimizers.run(dataclasses.replace(base, **changes))
        evaluations, losses = zip(*outcome["rows"], strict=True)
        assert evaluations[0] == 1
        assert list(evaluations) == sorted(set(evaluations))
        assert losses[-1] < losses[0]
        assert outcome["peak_mib"] > 100
        stored[name] = outcome["stored_bytes_per_pixel"]
    vectors = {name: bytes_per_pixel / 12 for name, bytes_per_pixel in stored.items()}
    assert round(vectors.pop("L-BFGS, 10 pairs")) == 22
    assert round(vectors.pop("L-BFGS, 2 pairs")) == 6
    assert {round(count) for count in vectors.values()} == {4}


def report_of(optimizers):
    run = {"status": "completed", "peak_mib": 1234.5, "stored_bytes_per_pixel": 264.01}
    rows = [[1, 1000.0], [10, 100.0], [20, 50.0], [41, 25.0], [80, 12.5], [90, 3.0]]
    runs = {name: run | {"rows": rows} for name in optimizers.CONTESTANTS}
    machine = {
        "date": "2026-01-02",
        "device": "CPU of a test",
        "processor": "P",
        "cores": 2,
        "instruction_sets": ["avx2"],
        "onednn": True,
        "variables": {},
        "memory_gib": 1,
        "system": "S",
        "python": "3",
        "packages": {"tensorflow": "2", "tensorflow-probability": "0"},
        "weights": "w",
        "load_before": 0.5,
        "kind": "avx2",
    }
    settings = TransferConfig(size=(64,), iterations=(80,)).as_dict()
    return {
        "machine": machine,
        "settings": settings,
        "runs": dict.fromkeys(optimizers.PAPER_LOSSES, runs),
    }


def test_the_tables_say_what_was_measured(optimizers):
    text = optimizers.tables(report_of(optimizers))
    assert text.count("| Adam, steps of 3 | 100 | 50 | 50 | 12.5 | 264 | 1234 |") == 2
    assert "after 10 | after 20 | after 40 | after 80" in text
    assert "at 64 px" in text


def test_the_page_has_a_place_for_each_kind_of_processor(optimizers):
    page = optimizers.PAGE.read_text(encoding="utf-8")
    for kind in optimizers.benchmark_report.KINDS:
        assert page.index(f"<!-- optimizers {kind} -->") < page.index(
            f"<!-- end optimizers {kind} -->"
        )


@pytest.mark.parametrize(
    ("flag", "named"),
    [
        ("--history=3", "--history: is not taken here"),
        ("--size=64,128", "--size: must be one size"),
        ("--output=x.txt", "--output: x.txt: must end in .json"),
    ],
)
def test_wrong_flags_are_refused_in_one_line(optimizers, capsys, flag, named):
    arguments = ["optimizers.py", flag]
    code = optimizers.program.call("", optimizers.compare, arguments, optimizers.define_flags)
    assert code == 2
    _, err = capsys.readouterr()
    assert err.count("\n") == 1
    assert named in err


def test_the_report_is_written_next_to_its_tables(optimizers, tmp_path, monkeypatch):
    report = report_of(optimizers)

    def called(function, *arguments):
        if function is optimizers.run:
            return report["runs"]["normalized"]["L-BFGS, 2 pairs"]
        return report["machine"]

    monkeypatch.setattr(optimizers.benchmark_report, "in_own_process", called)
    page = tmp_path / "page.md"
    page.write_text("a\n<!-- optimizers avx2 -->\nold\n<!-- end optimizers avx2 -->\nb\n")
    monkeypatch.setattr(optimizers, "PAGE", page)
    arguments = ["optimizers.py", "--iterations=80", f"--output={tmp_path / 'o.json'}", "--update"]
    code = optimizers.program.call("", optimizers.compare, arguments, optimizers.define_flags)
    assert code == 0
    stored = json.loads(Path(tmp_path, "o.json").read_text())
    assert set(stored["runs"]["original"]) == set(optimizers.CONTESTANTS)
    tables = Path(tmp_path, "o.md").read_text()
    assert tables == optimizers.tables(stored) + "\n"
    assert page.read_text() == (
        f"a\n<!-- optimizers avx2 -->\n### AVX2\n\n{tables[:-1]}\n<!-- end optimizers avx2 -->\nb\n"
    )
