"""The benchmark of strengths as a program, and what its tables say."""

import dataclasses

import pytest
import report as benchmark_report
import strengths
from helpers.benchmarks import assert_page_has_markers, assert_refused
from helpers.small_transfers import small_config

from gatys_norm import strength_search, transfer


@pytest.mark.parametrize("kind", benchmark_report.KINDS)
@pytest.mark.parametrize("name", ["strengths_fast", "strengths_paper", "strips"])
def test_the_page_of_the_tables_has_its_markers(name, kind):
    assert_page_has_markers(strengths, kind, name)


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--style=a.png"], "--style: is not taken here; see --styles"),
        (["--lambda_os=1"], "--lambda_os: is not taken here; see --strengths"),
        (["--loss=original"], "--loss: is not taken here; see --losses"),
        (["--precision=float32"], "--precision: is not taken here"),
        (["--styles="], "--styles: is needed"),
        (["--strengths=0.5,strong"], "--strengths: must be numbers"),
        (["--strengths=0.5,2"], "--contents, --styles, --strengths, --losses: strength: must be"),
        (["--losses=fair"], "--contents, --styles, --strengths, --losses: loss: must be"),
        (["--in_turn", "--update_strips"], "--update_strips: has no sheet with --in_turn"),
        (["--output=out.txt"], "--output: out.txt: must end in .json"),
    ],
)
def test_bad_flags_end_in_one_line(monkeypatch, capsys, flags, words):
    assert_refused(monkeypatch, capsys, strengths, flags, words)


def facts_of(strength, reached, **changes):
    probe = {"lambda_os": 0.2, "strength": reached}
    search = {"target": strength, "lambda_os": 0.1, "probes": [probe] * 3, "seconds": 4.0}
    facts = {"content": "town", "style": "waves", "loss": "normalized", "seconds": 80.0}
    searched = None if strength is None else search
    return facts | {"strength": strength, "reached": reached, "search": searched} | changes


def test_tables_say_how_many_transfers_come_near(monkeypatch):
    monkeypatch.setattr(benchmark_report, "machine_line", lambda _: "a machine")
    measured = [facts_of(0.3, 0.31), facts_of(0.5, 0.58, seconds=40.0), facts_of(None, 1.02)]
    settings = {"size": [512], "iterations": [600]}
    tables = strengths.tables({"machine": {}, "settings": settings, "transfers": measured})
    assert "| town | waves | normalized | 0.3 | 0.310 | 0.1 | 3 | 4.0 | 80.0 | 5% |" in tables
    assert "| town | waves | normalized | no content loss | 1.020 | 0 |" in tables
    assert (
        "1 of 2 transfers come within 0.05 of their strength; the largest miss is 0.080" in tables
    )
    assert "10% of the iterations' time at most. Between the pairs λ_os differs by" in tables
    assert tables.endswith("Without any content loss the strength is 1.02 to 1.02.")


def test_a_pair_is_given_all_strengths_or_one_in_turn():
    strengths_of = [strengths.weights_of([0.3, 0.5, 0.7], turn) for turn in (None, 0, 2, 3)]
    everything = [{"strength": 0.3}, {"strength": 0.5}, {"strength": 0.7}, {"lambda_os": 0.0}]
    assert strengths_of == [everything, *([{"strength": each}] for each in (0.3, 0.7, 0.3))]


def test_in_turn_nothing_is_said_of_transfers_without_content_loss():
    said = strengths.conclusion([facts_of(0.3, 0.31), facts_of(0.5, 0.52)], "normalized")
    assert said.startswith("With the normalized loss 2 of 2 transfers come within")
    assert said.endswith("at strength 0.5.")


def test_the_lambdas_of_one_strength_are_compared():
    measured = [facts_of(strength, strength) for strength in (0.5, 0.3, 0.5)]
    for facts, lambda_os in zip(measured, (0.2, 7.0, 0.05), strict=True):
        facts["search"]["lambda_os"] = lambda_os
    assert strengths.factors(measured) == "1 at strength 0.3, 4 at strength 0.5"


@pytest.mark.usefixtures("eagerly", "small_network")
def test_transfers_leave_their_facts_and_are_not_computed_twice(tmp_path, monkeypatch):
    monkeypatch.setattr(strength_search, "FIRST_ITERATIONS", 4)
    monkeypatch.setattr(strength_search, "LATER_ITERATIONS", 2)
    config = small_config(tmp_path, iterations=(3,))
    weights = {"strength": 0.2}, {"lambda_os": 0.0}
    configs = [dataclasses.replace(config, **weight).resolved() for weight in weights]
    measured = strengths.measure(configs, tmp_path / "runs")
    assert [facts["strength"] for facts in measured] == [0.2, None]
    assert all(facts["reached"] > 0 for facts in measured)
    monkeypatch.setattr(transfer, "Transfer", lambda *_: pytest.fail("it went to work"))
    assert strengths.measure(configs, tmp_path / "runs") == measured
    picture = strengths.sheet(measured)
    assert picture.shape[1] > 2 * strengths.CELL_WIDTH
    assert picture.std() > 10
