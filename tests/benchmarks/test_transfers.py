"""Rows of transfers, and how the runs of contestants are compared."""

import dataclasses
import json
import time

import peer_process
import pytest
import transfers
from helpers import narrow_network
from helpers.programs import ROOT

from gatys_norm.cli import loading, program
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


def test_the_fast_preset_gets_its_share_of_the_iterations():
    """250 of its iterations to 600 of the paper preset's."""
    config = TransferConfig(content="c.png", style="s.png", iterations=(60,))
    presets = transfers.presets(config, ("float32", "bfloat16"))
    assert presets["paper preset"] == config
    share = round(PRESETS["fast"]["iterations"][0] / 10)
    fast = dataclasses.replace(config, **PRESETS["fast"] | {"iterations": (share,)})
    assert presets["fast preset"] == fast
    without = transfers.presets(config, ("float32",))["fast preset"]
    assert without == dataclasses.replace(fast, precision="float32")


def test_pytorch_runs_to_the_loss_that_both_presets_reach(monkeypatch):
    last_losses = {"paper preset": 1.0, "fast preset": 2.0}
    asked = []

    def run(function, config, name, began):
        return rows_of((5, 1), (last_losses[name], 3))

    def peer(config, precisions, python, folder):
        assert folder.is_dir()
        return {"PyTorch": lambda loss: asked.append(loss) or rows_of((4, 2), (2, 6))}

    monkeypatch.setattr(transfers.benchmark_report, "in_own_process", run)
    monkeypatch.setattr(transfers, "peer_contestants", peer)
    config = TransferConfig(content="c.png", style="s.png", iterations=(60,))
    measured = transfers.measure_fixed_loss(config, 2, ("float32",), "python")
    assert measured["loss"] == 2.0
    assert asked == [2.0, 2.0]
    assert list(measured["contestants"]) == ["paper preset", "fast preset", "PyTorch"]
    assert measured["contestants"]["PyTorch"]["seconds_ratio"] == 0.5


def test_pytorch_has_a_contestant_for_each_precision(monkeypatch, tmp_path):
    monkeypatch.setattr(transfers.benchmark_report, "in_own_process", lambda *_: None)
    monkeypatch.setattr(peer_process, "fastest", lambda _, __, name: f"{name} channels_last")
    calls = []
    monkeypatch.setattr(
        peer_process, "minimize", lambda *words, **more: calls.append((words, more))
    )
    config = TransferConfig(content="c.png", style="s.png", iterations=(60,))
    runs = transfers.peer_contestants(config, ("float32", "bfloat16"), "python", tmp_path)
    assert list(runs) == [
        "PyTorch L-BFGS, float32 channels_last",
        "PyTorch L-BFGS, bfloat16 channels_last",
    ]
    for run in runs.values():
        run(loss=3.0)
    assert [words[2] for words, _ in calls] == ["float32 channels_last", "bfloat16 channels_last"]
    assert calls[0][1] == {"most_evaluations": 120, "log_every": 5, "loss": 3.0}


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--precision=bfloat16"], "--precision: is not taken here"),
        (["--preset=fast"], "--preset: is not taken here"),
        (["--size=64,128"], "--size: must be one size"),
        (["--size=4"], "--size: must be a whole number"),
        (["--repeats=x"], "repeats"),
        (["--peer", "--style=a.png,b.png"], "--style: must be one picture"),
        (["--output=out.txt"], "--output: out.txt: must end in .json"),
        (["extra"], "extra"),
    ],
)
def test_bad_flags_end_in_one_line(monkeypatch, capsys, flags, words):
    work = transfers.benchmark_report
    monkeypatch.setattr(work, "in_own_process", lambda *_: pytest.fail("it went to work"))
    argv = ["transfers.py", *flags]
    called = program.call(transfers.__doc__, transfers.benchmark, argv, transfers.define_flags)
    assert called == 2
    printed = capsys.readouterr()
    assert words in printed.err
    assert printed.err.count("\n") == 1
    assert printed.out == ""


@pytest.mark.slow
@pytest.mark.usefixtures("eagerly", "in_this_process")
def test_whole_program(tmp_path, monkeypatch, capsys):
    """All of it but PyTorch and the processes of their own, at a small scale."""
    from gatys_norm.network import vgg

    (tmp_path / "weights.h5").touch()
    monkeypatch.setattr(vgg, "load_model", narrow_network.load_model)
    output = tmp_path / "new" / "transfers.json"
    argv = ["transfers.py", "--size=32", "--iterations=12", f"--output={output}"]
    argv.append(f"--weights={tmp_path / 'weights.h5'}")
    code = program.call(transfers.__doc__, transfers.benchmark, argv, transfers.define_flags)
    printed = capsys.readouterr()
    assert code == 0, printed.err
    report = json.loads(output.read_text())
    tables = output.with_suffix(".md").read_text()
    assert tables in printed.out
    searches = report["line_searches"]
    assert (
        searches["unit_step"]["evaluations_per_iteration"]
        <= searches["hager_zhang"]["evaluations_per_iteration"]
    )
    fixed = report["fixed_loss"]
    last_losses = [fixed["runs"][f"{name} preset"][0][-1]["loss"] for name in ("paper", "fast")]
    assert fixed["loss"] == max(last_losses)
    paper = fixed["contestants"]["paper preset"]
    assert paper["reached"]
    assert paper["seconds"] < paper["wall"]
    assert fixed["contestants"]["fast preset"]["reached"]
    for words in ("unit_step", "fast preset", "load average"):
        assert words in tables
    written = {path.name for path in tmp_path.rglob("*")}
    assert written == {"new", "transfers.json", "transfers.md", "weights.h5"}
