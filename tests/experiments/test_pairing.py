"""Which runs are compared with which."""

from pathlib import Path

import pytest
from helpers.measured import measured

from gatys_norm.config import TransferConfig
from gatys_norm.experiments import figures as paper_figures
from gatys_norm.experiments import pairing
from gatys_norm.experiments.figures import RECURSIVE, SIZES, SWEEP
from gatys_norm.experiments.grid import RunResult
from gatys_norm.experiments.pairing import Measured

LAYERS = TransferConfig().style_layers


@pytest.fixture
def study():
    """The paper's study, on pictures that are never opened."""
    base = TransferConfig(content="town.jpg")
    return paper_figures.Study(base, ("one.jpg", "two.jpg", "three.jpg"))


@pytest.fixture
def grids(study):
    """All grids of the study."""
    return paper_figures.grids(study, paper_figures.FIGURES)


@pytest.fixture
def results(grids):
    """Results whose metrics are the settings themselves; the test may let some fail."""
    return {
        config: RunResult(config, Path(f"{index}.png"), {"metrics": config})
        for index, config in enumerate(
            dict.fromkeys(config for grid in grids.values() for config in grid.configs)
        )
    }


def fail(results, config):
    results[config] = RunResult(config, Path("failed.png"), error="no room")


def test_runs_of_a_sweep_are_told_apart_by_their_lambda(study, grids, results):
    failed = grids["6a"].cells[2][4]
    fail(results, failed)
    runs = pairing.runs_of(SWEEP, study, grids.values(), results)
    assert len(runs) == 2 * 3 * 5
    assert runs[-1] == Measured("normalized", "three", failed.lambda_os, None)
    for run in runs[:-1]:
        assert (run.loss, run.varied) == (run.value.loss, run.value.lambda_os)
        assert run.value.style == (f"{run.style}.jpg",)


@pytest.mark.parametrize(
    ("kind", "sizes"),
    [(SIZES, {(256,), (512,), (1024,)}), (RECURSIVE, {(256,), (256, 512), (256, 512, 1024)})],
)
def test_runs_of_several_sizes_are_told_apart_by_the_last(study, grids, results, kind, sizes):
    runs = pairing.runs_of(kind, study, grids.values(), results)
    assert len(runs) == 2 * 3 * 3
    assert {run.value.size for run in runs} == sizes
    assert all(run.varied == run.value.size[-1] for run in runs)


def test_raised_layers_are_compared_with_equal_weights(study, grids, results):
    rows = pairing.raised_layers(study, grids.values(), results)
    assert [(row.loss, row.style) for row in rows] == [
        (loss, style) for loss in ("original", "normalized") for style in ("one", "two", "three")
    ]
    for row in rows:
        assert row.equal.config.style_weights == (0.2,) * 5
        assert list(row.by_layer) == list(LAYERS)
        for index, result in enumerate(row.by_layer.values()):
            assert result.config.style_weights[index] == pytest.approx(20)


def test_a_style_without_equal_weights_or_raised_layers_is_left_out(study, grids, results):
    fail(results, grids["2b"].references[0])
    fail(results, grids["2b"].cells[1][3])
    for config in grids["6b"].cells[2]:
        fail(results, config)
    rows = pairing.raised_layers(study, grids.values(), results)
    assert {(row.loss, row.style): len(row.by_layer) for row in rows} == {
        ("original", "two"): 4,
        ("original", "three"): 5,
        ("normalized", "one"): 5,
        ("normalized", "two"): 5,
    }


def test_viewers_compare_corresponding_cells_of_which_both_are_finished(study, grids, results):
    fail(results, grids["6c"].cells[1][0])
    pairs = pairing.correspondences(study, grids, results)
    assert len(pairs) == 3 * (5 + 5 + 3) - 1
    for pair in pairs:
        assert (pair.original.config.loss, pair.normalized.config.loss) == (
            "original",
            "normalized",
        )
        styles = {pair.original.config.style, pair.normalized.config.style}
        assert styles == {(f"{pair.style}.jpg",)}
        assert pair.rated == (pair.style != "three")
    assert pairs[0].columns == "λ_os = 0.01 / λ_os = 1"
    assert {pair.columns for pair in pairs if pair.figures == "2(b) / 6(b)"} == set(LAYERS)
    assert pairing.correspondences(study, {"2a": grids["2a"], "6b": grids["6b"]}, results) == []


VALUES = {
    "original": {"one": {"a": 1.0, "b": 2.0}, "two": {"a": 3.0, "b": 4.0}},
    "normalized": {"one": {"a": 5.0, "b": 6.0}, "two": {"a": 7.0, "b": 8.0}},
}


def in_both(values, runs=VALUES):
    paired, notes = pairing.in_both_losses(measured(runs), measured(values))
    return {(value.loss, value.style, value.varied): value.value for value in paired}, notes


def test_all_values_are_kept_where_both_losses_have_them():
    paired, notes = in_both(VALUES)
    assert len(paired) == 8
    assert paired["normalized", "two", "a"] == 7
    assert notes == []


@pytest.mark.parametrize("lacking", [{}, {"b": None}])
def test_what_one_loss_lacks_is_left_out_of_both(lacking):
    values = VALUES | {"original": VALUES["original"] | {"one": {"a": 1.0, **lacking}}}
    paired, notes = in_both(values)
    assert {names[1:] for names in paired} == {("one", "a"), ("two", "a"), ("two", "b")}
    assert len(paired) == 6
    assert notes == ["left out, for lack of a value: one b (original)"]


def test_a_style_that_lacks_everything_is_named_alone():
    values = {
        "original": {"two": {"a": 3.0, "b": 4.0}},
        "normalized": {"one": {"b": 6.0}, "two": {"b": 8.0}},
    }
    paired, notes = in_both(values)
    assert paired == {("original", "two", "b"): 4.0, ("normalized", "two", "b"): 8.0}
    assert notes == [
        "left out, for lack of a value: one (original and normalized), two a (normalized)"
    ]


@pytest.mark.parametrize(
    ("runs", "note"),
    [(VALUES, "normalized: no value"), ({"original": VALUES["original"]}, "normalized: not run")],
)
def test_a_loss_without_any_value_takes_no_part_in_the_choice(runs, note):
    paired, notes = in_both({"original": VALUES["original"]}, runs)
    assert len(paired) == 4
    assert notes == [note]


def test_what_was_not_run_says_so():
    assert in_both({}, {}) == ({}, ["not run"])
