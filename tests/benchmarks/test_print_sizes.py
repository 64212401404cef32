"""The benchmark of small and large results as a program, and what its tables say."""

import dataclasses

import print_sizes
import pytest
import report as benchmark_report
from helpers.benchmarks import assert_page_has_markers, assert_refused
from helpers.small_transfers import WIDTH, small_config

from gatys_norm import transfer
from gatys_norm.cli import errors
from gatys_norm.config import TransferConfig


@pytest.mark.parametrize("kind", benchmark_report.KINDS)
def test_the_page_of_the_tables_has_its_markers(kind):
    assert_page_has_markers(print_sizes, kind)


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--style=a.png"], "--style: is not taken here; see --styles"),
        (["--precision=float32"], "--precision: is not taken here"),
        (["--full_size=1"], "full_size"),
        (["--styles="], "--styles: is needed"),
        (["--output=out.txt"], "--output: out.txt: must end in .json"),
    ],
)
def test_bad_flags_end_in_one_line(monkeypatch, capsys, flags, words):
    assert_refused(monkeypatch, capsys, print_sizes, flags, words)


def test_every_style_has_a_cell_for_each_lambda_of_both_losses():
    pairs = print_sizes.cells(TransferConfig(size=(192,)), ["a.png", "b.png"], 512)
    assert len(pairs) == len(set(pairs)) == 2 * 2 * 3
    for small, large in pairs:
        assert (small.size, large.size) == ((192,), (512,))
        assert dataclasses.replace(large, size=small.size) == small
    assert {(small.loss, small.lambda_os) for small, _ in pairs} == {
        *(("original", value) for value in (1e-3, 1e-4, 1e-5)),
        *(("normalized", value) for value in (1e-2, 1e-3, 1e-4)),
    }


def test_tables_say_how_large_the_changes_are(monkeypatch):
    monkeypatch.setattr(benchmark_report, "machine_line", lambda _: "a machine")

    def cell(loss, content, style):
        named = {"loss": loss, "style": "waves", "lambda_os": 1e-3}
        return named | {"content_distance": content, "style_reflection": style}

    cells = [
        cell("original", [1.0, 0.5], [0.9, 0.8]),
        cell("original", [1.0, 1.3], [0.9, 0.9]),
        cell("normalized", [1.0, 1.125], [0.9, 0.95]),
    ]
    settings = {"size": [192], "full_size": 512, "iterations": [400]}
    tables = print_sizes.tables({"machine": {}, "settings": settings, "cells": cells})
    assert (
        "| original | waves | 0.001 | 1.000 | 0.500 | -0.500 | 0.900 | 0.800 | -0.100 |" in tables
    )
    assert tables.endswith(
        "Mean change from small to large: content distance, original 0.400; mean style reflection, "
        "original 0.050; content distance, normalized 0.125; mean style reflection, normalized "
        "0.050."
    )


@pytest.mark.usefixtures("eagerly", "small_network")
def test_cells_leave_their_facts_and_are_not_computed_twice(tmp_path, monkeypatch):
    config = small_config(tmp_path, iterations=(1,))
    pair = [dataclasses.replace(config, size=(size,)).resolved() for size in (WIDTH, WIDTH + 8)]
    (facts,) = print_sizes.measure([pair], tmp_path / "runs")
    assert (facts["style"], facts["lambda_os"]) == ("style", pair[0].lambda_os)
    small, large = facts["content_distance"]
    assert small > 0
    assert small != large
    monkeypatch.setattr(transfer, "Transfer", lambda *_: pytest.fail("it went to work"))
    assert print_sizes.measure([pair], tmp_path / "runs") == [facts]


@pytest.mark.usefixtures("eagerly", "small_network")
def test_a_style_that_cannot_be_read_ends_it(tmp_path):
    config = dataclasses.replace(small_config(tmp_path), style=(str(tmp_path / "absent.png"),))
    with pytest.raises(errors.InputError, match=r"absent\.png"):
        print_sizes.measure([[config.resolved(), config.resolved()]], tmp_path / "runs")
