"""The benchmark of borders as a program, its measures, and what its tables say."""

import dataclasses

import borders
import numpy as np
import pytest
import report as benchmark_report
from helpers.benchmarks import assert_page_has_markers, assert_refused
from helpers.small_transfers import small_config

from gatys_norm import transfer
from gatys_norm.config import BORDERS


@pytest.mark.parametrize("kind", benchmark_report.KINDS)
def test_the_page_of_the_tables_has_its_markers(kind):
    assert_page_has_markers(borders, kind)


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--style=a.png"], "--style: is not taken here; see --styles"),
        (["--border=wrap"], "--border: is not taken here"),
        (["--init=noise"], "--init: is not taken here"),
        (["--styles="], "--styles: is needed"),
        (["--size=63"], "--size: must be 64 or more"),
        (["--output=out.txt"], "--output: out.txt: must end in .json"),
    ],
)
def test_bad_flags_end_in_one_line(monkeypatch, capsys, flags, words):
    assert_refused(monkeypatch, capsys, borders, flags, words)


def test_a_picture_that_repeats_has_no_jump_and_a_ramp_has_all_of_its_steps():
    rows, columns = np.indices((64, 48))
    waves = np.sin(2 * np.pi * (rows / 64 + columns / 48))[..., np.newaxis] * np.ones(3)
    for axis in (0, 1):
        assert borders.jump(borders.averaged(waves), axis) == pytest.approx(1, abs=0.02)
    ramp = np.arange(48.0)[:, np.newaxis] * np.ones((64, 48, 3))
    assert borders.jump(borders.averaged(ramp), axis=1) == pytest.approx(46 / 2)


def test_energy_at_the_edge_is_that_of_pairs_that_are_not_wholly_inside():
    noise = np.random.default_rng(0).normal(size=(80, 96, 3))
    assert borders.edge_energy(noise) == pytest.approx(1, abs=0.1)
    noise[borders.EDGE : -borders.EDGE, borders.EDGE : -borders.EDGE] *= 2
    assert 0.25 < borders.edge_energy(noise) < 0.4


def test_fine_noise_is_averaged():
    checks = np.indices((6, 7)).sum(axis=0)[..., np.newaxis] % 2 * np.ones(3)
    np.testing.assert_array_equal(borders.averaged(checks), np.full((5, 6, 3), 0.5))


def facts_of(subject, border, energy, across):
    return {
        "style": "waves",
        "subject": subject,
        "border": border,
        "edge_energy": energy,
        "jump_left_right": across,
        "jump_top_bottom": across + 0.02,
    }


@pytest.mark.parametrize(("across", "verb"), [(1.02, "is within"), (1.1, "is not within")])
def test_tables_say_whether_a_wrapped_texture_has_a_seam(monkeypatch, across, verb):
    monkeypatch.setattr(benchmark_report, "machine_line", lambda _: "a machine")
    transfers = [
        facts_of(subject, border, energy, across)
        for energy in (0.5, 1.5)
        for subject in borders.SUBJECTS
        for border in BORDERS
    ]
    settings = {"size": [256], "iterations": [200]}
    tables = borders.tables({"machine": {}, "settings": settings, "transfers": transfers})
    assert "Size 256, 200 iterations; styles: waves." in tables
    assert "| picture | wrap_x | 1.00 (0.50–1.50) |" in tables
    assert f"{across + 0.01:.3f} of that between neighbors, which {verb} 0.95 to 1.05." in tables


@pytest.mark.usefixtures("eagerly", "small_network")
def test_transfers_leave_their_facts_and_are_not_computed_twice(tmp_path, monkeypatch):
    config = small_config(tmp_path, iterations=(1,), size=(64,))
    configs = [
        dataclasses.replace(config, border="wrap", **settings).resolved()
        for settings in borders.SUBJECTS.values()
    ]
    measured = borders.measure(configs, tmp_path / "runs")
    assert [facts["subject"] for facts in measured] == list(borders.SUBJECTS)
    assert {facts["border"] for facts in measured} == {"wrap"}
    for facts in measured:
        assert facts["edge_energy"] > 0
        assert facts["jump_left_right"] > 0
    monkeypatch.setattr(transfer, "Transfer", lambda *_: pytest.fail("it went to work"))
    assert borders.measure(configs, tmp_path / "runs") == measured
    of_all_borders = [facts | {"border": border} for facts in measured for border in BORDERS]
    picture = borders.sheet(of_all_borders)
    assert picture.shape[1] > len(BORDERS) * borders.CELL_WIDTH
    assert picture.std() > 10
