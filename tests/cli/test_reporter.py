"""What is said of memory and time, before the start and once it has been measured."""

import math
import types

import pytest

from gatys_norm.cli import reporter
from gatys_norm.network.memory import THRIFTIEST, WHOLE, Plan

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
