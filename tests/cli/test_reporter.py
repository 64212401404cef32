"""What is said of memory and time, before the start and once it has been measured."""

import math
import signal
import types

import pytest

from gatys_norm.cli import console, reporter
from gatys_norm.network.memory import THRIFTIEST, WHOLE, Plan
from gatys_norm.optimizers.base import EvaluationStoppedError

GIB = 2**30
EVERY = types.SimpleNamespace(checkpoint_every=0, snapshot_every=0)


def progress(iteration, seconds):
    """Give the progress of a transfer of 100 iterations that each take as long."""
    left = seconds / iteration * (100 - iteration)
    return types.SimpleNamespace(
        iteration=iteration, iterations=100, loss=1.5, seconds=seconds, seconds_left=left
    )


@pytest.mark.parametrize(
    ("later_transfers", "line"),
    [
        (1, "2 transfers, about 97 s left\n"),  # 200 iterations of half a second each, less 6
        (2, "3 transfers, about 147 s left\n"),
        (0, ""),  # the bar shows it
    ],
)
def test_the_time_of_all_transfers_is_printed_once(capsys, later_transfers, line):
    with reporter.Reporter("out.png", EVERY, [], None, later_transfers) as report:
        report(progress(1, 0.9))
        assert capsys.readouterr().out == ""
        report(progress(6, 3.0))
        report(progress(50, 30.0))
    assert capsys.readouterr().out == line


def test_a_transfer_too_short_to_be_measured_says_nothing(capsys):
    with reporter.Reporter("out.png", EVERY, [], None, 1) as report:
        report(progress(100, 1.0))
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("strips", "available", "line"),
    [
        (WHOLE, math.inf, "needs about 1.5 GiB of memory\n"),
        (WHOLE, 21.3 * GIB, "needs about 1.5 GiB of memory, 21.3 GiB are available\n"),
        (
            THRIFTIEST,
            math.inf,
            "needs about 1.5 GiB of memory; the network is computed in strips of 32 rows\n",
        ),
        (
            THRIFTIEST,
            2 * GIB,
            "needs about 1.5 GiB of memory, 2.0 GiB are available; the network is computed in "
            "strips of 32 rows\n",
        ),
    ],
)
def test_the_plan_says_what_is_needed_and_how_it_is_computed(capsys, strips, available, line):
    with reporter.Reporter("out.png", EVERY, [], None) as report:
        report.show_plan(Plan(1.5 * GIB, strips, available))
    assert capsys.readouterr().out == line


@pytest.mark.parametrize(
    ("seconds", "later_transfers", "line"),
    [
        (59.0, 0, ""),
        (60.0, 0, "takes about 60 s\n"),
        (720.0, 0, "takes about 12 min\n"),
        (720.0, 1, ""),  # the time of all is said once it has been measured
    ],
)
def test_a_long_transfer_is_announced(capsys, seconds, later_transfers, line):
    with reporter.Reporter("out.png", EVERY, [], None, later_transfers) as report:
        report.show_forecast(seconds)
    assert capsys.readouterr().out == line


# --- within an evaluation -----------------------------------------------------------------------


def test_a_long_evaluation_is_shown_before_and_after_the_first_iteration(capsys, monkeypatch):
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    with reporter.Reporter("out.png", EVERY, [], None) as report:
        for shown in ("preparing", "loss 1.5"):
            report.shown = -math.inf
            report.on_strip(0.25)
            report.shown = -math.inf
            report.on_strip(0.5)
            told = capsys.readouterr().err
            assert shown in told
            assert "evaluation 25%" in told
            assert "evaluation 50%" in told
            report(progress(1, 60.0))


def test_a_signal_ends_an_evaluation_once(capsys):
    received = []
    with reporter.Reporter("out.png", EVERY, received, None) as report:
        report.on_strip(0.1)
        received.append(signal.SIGINT)
        with pytest.raises(console.Interrupted):  # there is no picture yet
            report.on_strip(0.2)
    received.clear()
    with reporter.Reporter("out.png", EVERY, received, None) as report:
        report(progress(1, 60.0))
        received.append(signal.SIGTERM)
        with pytest.raises(EvaluationStoppedError):
            report.on_strip(0.2)
        report.on_strip(0.3)  # of the measures
    assert "stopping" in capsys.readouterr().out


def test_the_stop_of_the_preview_ends_an_evaluation(capsys):
    preview = types.SimpleNamespace(stop_asked=False, update=lambda _: None)
    received = []
    with reporter.Reporter("out.png", EVERY, received, preview) as report:
        report(progress(1, 60.0))
        preview.stop_asked = True
        with pytest.raises(EvaluationStoppedError):
            report.on_strip(0.2)
    assert received == [signal.SIGINT]
