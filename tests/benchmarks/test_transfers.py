"""Rows of transfers, and how the runs of contestants are compared."""

import dataclasses
import time

import pytest
import transfers
from helpers.programs import ROOT
from speed_plan import Plan

from gatys_norm.cli import loading
from gatys_norm.config import PRESETS, TransferConfig


def rows_of(*values):
    """Rows of a run as (loss, seconds); the wall clock is a second ahead."""
    return [
        {"loss": loss, "evaluations": [3, number], "seconds": seconds, "wall": seconds + 1}
        for number, (loss, seconds) in enumerate(values, start=1)
    ]


def test_first_row_at_or_below():
    rows = rows_of((5, 1), (3, 2), (2, 3), (1, 4))
    assert transfers.first_at_or_below(rows, 3)["seconds"] == 2
    assert transfers.first_at_or_below(rows, 2.5)["seconds"] == 3
    assert transfers.first_at_or_below(rows, 0.5) is None


def test_runs_are_compared_one_by_one():
    runs = {
        "paper": [rows_of((5, 1), (2, 8)), rows_of((5, 2), (2, 16)), rows_of((5, 1), (2, 9))],
        "fast": [rows_of((4, 1), (2, 4), (1, 9)), rows_of((1, 4)), rows_of((1, 3))],
        "lame": [rows_of((4, 5), (3, 7))] * 3,
    }
    summary = transfers.summarize_runs(runs, loss=2)
    assert summary["paper"] | {"seconds": 9, "seconds_ratio": 1, "wall": 10} == summary["paper"]
    assert summary["fast"] | {"seconds": 4, "seconds_ratio": 3, "wall": 5} == summary["fast"]
    assert summary["fast"]["evaluations"] == [3, 2]
    assert summary["fast"]["reached"]
    assert not summary["lame"]["reached"]
    assert summary["lame"] | {"loss": 3, "seconds": 7, "wall_ratio": None} == summary["lame"]


@pytest.mark.usefixtures("small_network", "eagerly")
def test_rows_of_a_coarse_to_fine_run(monkeypatch):
    from gatys_norm import transfer

    monkeypatch.setattr(loading, "start_tensorflow", lambda: transfer)
    config = TransferConfig(
        content=str(ROOT / "data" / "river_town.jpg"),
        style=str(ROOT / "data" / "flowing_strokes.jpg"),
        content_layers=("conv2_2",),
        style_layers=("conv1_1",),
        size=(32, 48),
        iterations=(4, 7),
        log_every=3,
    )
    began = time.monotonic()
    rows = transfers.run_transfer(config, "coarse to fine", began)
    assert [row["iterations"] for row in rows] == [4 + 3, 4 + 6, 4 + 7]
    for row in rows:
        coarse, fine = row["evaluations"]
        assert coarse >= 4 + 1
        assert fine >= row["iterations"] - 4 + 1
        assert 0 < row["seconds"] < row["wall"]
    for name in ("seconds", "wall"):
        assert [row[name] for row in rows] == sorted(row[name] for row in rows)


def test_the_fast_preset_gets_its_share_of_the_iterations(monkeypatch):
    """250 of its iterations to 600 of the paper preset's."""
    configs = []

    def run(function, config, name, began):
        configs.append(config)
        return [{"loss": 1.0, "evaluations": [3], "seconds": 1.0, "wall": 2.0}]

    monkeypatch.setattr(transfers.benchmark_report, "in_own_process", run)
    config = TransferConfig(content="c.png", style="s.png", iterations=(60,))
    plan = Plan(config, size=64, iterations=60, sizes=(64,), rounds=1, repeats=1)
    transfers.measure_fixed_loss(plan, problem=None, peer=None)
    assert [config.iterations for config in configs] == [(60,), (25,)]
    assert dataclasses.replace(configs[1], iterations=(60,)) == dataclasses.replace(
        config, **PRESETS["fast"] | {"iterations": (60,)}
    )
