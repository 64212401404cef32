"""The time that several transfers will take is said once it has been measured."""

import types

import pytest

from gatys_norm.cli import reporter

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
