"""The benchmark of stroke sizes as a program, and what its tables say."""

import dataclasses

import pytest
import report as benchmark_report
import stroke_sizes
from helpers.benchmarks import assert_page_has_markers, assert_refused
from helpers.small_transfers import WIDTH, small_config

from gatys_norm import transfer
from gatys_norm.cli import errors


@pytest.mark.parametrize("kind", benchmark_report.KINDS)
def test_the_page_of_the_tables_has_its_markers(kind):
    assert_page_has_markers(stroke_sizes, kind)


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--style=a.png"], "--style: is not taken here; see --styles"),
        (["--stroke_size=2"], "--stroke_size: is not taken here; see --stroke_sizes"),
        (["--precision=float32"], "--precision: is not taken here"),
        (["--styles="], "--styles: is needed"),
        (["--stroke_sizes=1,large"], "--stroke_sizes: must be numbers"),
        (["--strength=2"], "--strength: must be"),
        (["--stroke_sizes=1,20"], "--styles, --stroke_sizes: stroke_size: must be"),
        (["--output=out.txt"], "--output: out.txt: must end in .json"),
    ],
)
def test_bad_flags_end_in_one_line(monkeypatch, capsys, flags, words):
    assert_refused(monkeypatch, capsys, stroke_sizes, flags, words)


def facts_of(style, stroke_size, cycles, **changes):
    return {
        "style": style,
        "stroke_size": stroke_size,
        "style_shape": [20, 30],
        "cycles_per_picture": cycles,
        "content_distance": 1.5,
        "style_reflection": 0.98,
        "lambda_os": 1e-3,
        "asked": None,
        "strength": 0.8 + stroke_size / 100,
    } | changes


def test_tables_say_with_how_many_styles_the_frequency_falls(monkeypatch):
    monkeypatch.setattr(benchmark_report, "machine_line", lambda _: "a machine")
    transfers = [
        *(facts_of("waves", size, cycles) for size, cycles in ((0.5, 9.0), (1.0, 7.0), (2.0, 5.0))),
        *(facts_of("dots", size, cycles) for size, cycles in ((0.5, 9.0), (1.0, 7.0), (2.0, 7.5))),
        facts_of("waves", 0.5, 9.0, asked=0.7, strength=0.71, lambda_os=0.02),
        facts_of("waves", 2.0, 6.0, asked=0.7, strength=0.69),
    ]
    settings = {"size": [256], "iterations": [200]}
    tables = stroke_sizes.tables({"machine": {}, "settings": settings, "transfers": transfers})
    assert "Size 256, 200 iterations; styles: waves, dots." in tables
    assert "| waves | 0.5 | 30×20 | 9.00 | 1.500 | 0.980 | 0.001 | 0.805 |" in tables
    assert "| waves | 0.5 | 30×20 | 9.00 | 1.500 | 0.980 | 0.02 | 0.710 |" in tables
    assert "With one λ_os the mean frequency falls" in tables
    assert "with 1 of 2 styles, and the strength of one style varies by 0.015 at most. " in tables
    assert "With --strength=0.7 the mean frequency falls" in tables
    assert tables.endswith("1 of 1 styles, and the strength of one style varies by 0.020 at most.")


@pytest.mark.usefixtures("eagerly", "small_network")
def test_transfers_leave_their_facts_and_are_not_computed_twice(tmp_path, monkeypatch):
    config = small_config(tmp_path, iterations=(1,))
    configs = [
        dataclasses.replace(config, stroke_size=stroke_size).resolved()
        for stroke_size in (1.0, 0.9)
    ]
    measured = stroke_sizes.measure(configs, tmp_path / "runs")
    assert [facts["stroke_size"] for facts in measured] == [1.0, 0.9]
    assert {facts["style"] for facts in measured} == {"style"}
    for facts in measured:
        assert 0 < facts["cycles_per_picture"] < WIDTH
        assert facts["content_distance"] > 0
    monkeypatch.setattr(transfer, "Transfer", lambda *_: pytest.fail("it went to work"))
    assert stroke_sizes.measure(configs, tmp_path / "runs") == measured
    picture = stroke_sizes.sheet(measured)
    assert picture.shape[1] > 2 * stroke_sizes.CELL_WIDTH
    assert picture.std() > 10


@pytest.mark.usefixtures("eagerly", "small_network")
def test_a_style_that_cannot_be_read_ends_it(tmp_path):
    config = dataclasses.replace(small_config(tmp_path), style=(str(tmp_path / "absent.png"),))
    with pytest.raises(errors.InputError, match=r"absent\.png"):
        stroke_sizes.measure([config.resolved()], tmp_path / "runs")
