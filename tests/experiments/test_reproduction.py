"""From results to figures, claims and page, on made-up results."""

import dataclasses
import json
import math

import numpy as np
import pytest
from helpers.rounding import gamma

from gatys_norm.config import TransferConfig
from gatys_norm.experiments import figures as paper_figures
from gatys_norm.experiments import findings, measurements, reproduction, statistics
from gatys_norm.experiments.grid import RunResult
from gatys_norm.experiments.measures import independent, style_vectors
from gatys_norm.images import io as picture_io
from gatys_norm.report import charts
from gatys_norm.survey import pairs as survey_pairs

STYLES = ("one.jpg", "two.jpg", "three.jpg")
LAYERS = TransferConfig().style_layers
# Where a curve meets a level, in decades: a share of the way between two of its points, of which
# four numbers up to 1/2, rounded up to five times, make numerator and denominator; the points are a
# twentieth apart, a decade from one another, at log10 λ_os down to −5. What is told is a difference
# of two such places, or of two values there.
ROUNDED = {"rel": 0, "abs": 2 * gamma(5) * (4 * (1 / 2) / (1 / 20) + 5)}


@pytest.fixture
def study():
    """The paper's study, on pictures that are never opened."""
    return paper_figures.Study(TransferConfig(content="town.jpg"), STYLES)


@pytest.fixture
def no_network(monkeypatch):
    """Measurements that need no network."""
    monkeypatch.setattr(
        measurements,
        "layer_powers",
        lambda config: dict.fromkeys(LAYERS, 10.0 ** len(*config.style)) | {"conv1_1": 1.0},
    )
    monkeypatch.setattr(
        measurements,
        "gradient_norms",
        lambda config: {"content/conv4_2": 0.0, "style/conv1_2": 2.0},
    )

    def picture_distances(config, paths):
        levels = np.array([picture_io.load_picture(path).mean() for path in paths])
        matrix = np.abs(levels[:, np.newaxis] - levels).tolist()
        return {"grey_levels": matrix, "features": matrix}

    monkeypatch.setattr(measurements, "picture_distances", picture_distances)


@pytest.fixture
def blank_plots(monkeypatch):
    """Plots that are set up but not drawn, which takes matplotlib half a second each."""
    monkeypatch.setattr(charts, "rendered", lambda figure: np.zeros((20, 30, 3), np.float32))


def record(config):
    """A record whose content distance grows by a twentieth for every decade that λ_os falls.

    With the original loss each style comes a decade later than the one before.
    """
    late = STYLES.index(config.style[0]) if config.loss == "original" else 0
    distance = (5 - math.log10(config.lambda_os) - late) / 20
    row = {f"style/{layer}": 4.0 for layer in LAYERS}
    history = [{"size": config.size[-1], "iteration": i, "loss": 3 - i, **row} for i in range(2)]
    return {
        "config": config.as_dict(),
        "status": "completed",
        "metrics": {
            "content_distance": {"conv4_2": distance},
            "style_distance": dict.fromkeys(LAYERS, 0.5),
            "style_reflection": {
                layer: distance + index / 100 for index, layer in enumerate(LAYERS)
            },
        },
        "terms": {
            term: {"coefficient": index + 1.0, "initial": 4.0, "final": 4.0}
            for index, term in enumerate(row)
        },
        "history": history,
        "iterations": 2,
        "evaluations": 3,
        "loss": {"initial": 3.0, "final": 2.0},
        "stages": [{"size": config.size[-1], "height": 24, "width": 32, "iterations": 2}],
        "timing": {"seconds": 1.0, "seconds_per_evaluation": 0.3},
        "environment": {"packages": {"tensorflow": "2.x"}, "python": "3.x", "device": "CPU"},
        "weights": {"source": "imagenet", "sha256": "0" * 64},
    }


def results_of(study, figures, folder, failed=()):
    results = {}
    for index, config in enumerate(reproduction.configs_of(study, figures)):
        output = folder / "cells" / f"{index}" / "result.png"
        output.parent.mkdir(parents=True)
        if config in failed:
            results[config] = RunResult(config, output, error="no <room> left")
            continue
        picture_io.save_picture(output, np.full((24, 32, 3), 2 * index, np.float32))
        results[config] = RunResult(config, output, record(config))
    return results


def finding(folder, name):
    findings = json.loads((folder / "claims.json").read_text())
    (entry,) = [entry for entry in findings if entry["name"] == name]
    return entry


@pytest.mark.slow
@pytest.mark.usefixtures("no_network")
def test_everything_is_written_and_the_claims_are_those_of_the_records(study, tmp_path):
    results = results_of(study, paper_figures.FIGURES, tmp_path)
    done = reproduction.collect(study, paper_figures.FIGURES, results)
    reproduction.write(tmp_path, done)
    names = {path.stem for path in tmp_path.glob("*.png")}
    assert names == {
        *("figure-2a", "figure-2b", "figure-2c", "figure-2c-recursive"),
        *("figure-6a", "figure-6b", "figure-6c", "figure-6c-recursive"),
        *("figure-3-original", "figure-3-normalized", "figure-4", "gradients", "sweep"),
        *("instability", "instability-original", "instability-normalized"),
    }
    spread = finding(tmp_path, "lambda_spread_content_distance")
    assert spread["original"] == pytest.approx(2, **ROUNDED)
    assert spread["normalized"] == pytest.approx(0, **ROUNDED)
    assert spread["holds"] is True
    gain = finding(tmp_path, "raised_layer_gain")
    assert gain["original"] == gain["normalized"] == pytest.approx(0, **ROUNDED)
    assert finding(tmp_path, "least_change")["original"] > 0
    assert finding(tmp_path, "resolution_content_distance")["original"] == pytest.approx(
        0, **ROUNDED
    )
    measured = json.loads((tmp_path / "measurements.json").read_text())
    assert measured["first_value_ratios"]["original"] == [1, 2, 3, 4, 5]
    assert measured["layer_powers"]["three"]["conv1_2"] == 10.0 ** len("three.jpg")
    assert measured["gradient_norms"]["normalized"]["one"]["style/conv1_2"] == 2
    page = (tmp_path / "report.html").read_text()
    shown = {
        name for name in names if not name.startswith(("figure-2", "figure-6", "instability-"))
    }
    for name in (*shown, *(f"cells/{index}/result" for index in range(len(results)))):
        assert f"{name}.png" in page


@pytest.mark.usefixtures("no_network", "blank_plots")
def test_instability_is_the_mean_difference_of_a_rows_results(study, tmp_path):
    """Picture i has the grey level 2 i, so three starts differ by 2, 2 and 4."""
    figures = ("instability",)
    failed = [paper_figures.grid(study, "instability normalized").cells[1][1]]
    results = results_of(study, figures, tmp_path, failed)
    reproduction.write(tmp_path, reproduction.collect(study, figures, results))
    explained = finding(tmp_path, "instability_explained_by_trace")
    points = explained["details"]["trace_and_instability"]
    assert points["original"] == {
        name: [pytest.approx(len(f"{name}.jpg")), pytest.approx(8 / 3)]
        for name in ("one", "two", "three")
    }
    assert points["normalized"]["two"][1] == 4
    assert (tmp_path / "instability.png").exists()


@pytest.fixture
def made_up_measures(monkeypatch):
    """Independent measures that follow λ_os, and style vectors that need no network."""

    def of_result(config, output):
        strength = record(config)["metrics"]["content_distance"]["conv4_2"]
        layers = {f"relu{block}_1": strength + block / 100 for block in range(1, 6)}
        return dict.fromkeys(statistics.INDEPENDENT, layers)

    def distances(pictures):
        return [[abs(a.mean() - b.mean()) for b in pictures] for a in pictures]

    monkeypatch.setattr(independent, "of_result", of_result)
    monkeypatch.setattr(style_vectors, "distances", distances)


@pytest.mark.usefixtures("no_network", "blank_plots", "made_up_measures")
def test_independent_measures_test_the_claims_once_more(study, tmp_path):
    figures = ("2a", "2b", "2c", "6a", "6b", "6c")
    results = {
        config: findings.with_independent_measures(result)
        for config, result in results_of(study, figures, tmp_path).items()
    }
    reproduction.write(tmp_path, reproduction.collect(study, figures, results))
    entries = {entry["name"] for entry in json.loads((tmp_path / "claims.json").read_text())}
    assert {f"lambda_spread_{measure}" for measure in statistics.INDEPENDENT} <= entries
    assert {f"recursive_{measure}" for measure in statistics.INDEPENDENT} <= entries
    assert {
        *("balance_mean_other_layers_reflection", "balance_minimum_edge_network_reflection"),
        *("raised_layer_gain_other_layers_reflection", "diversity_style_vectors"),
        *("least_change_style_vectors", "style_deviation_edge_coherence"),
    } <= entries
    spread = finding(tmp_path, "lambda_spread_edge_coherence")
    assert spread["original"] == pytest.approx(2, **ROUNDED)
    assert spread["normalized"] == pytest.approx(0, **ROUNDED)
    gain = finding(tmp_path, "raised_layer_gain_edge_network_reflection")
    assert gain["original"] == pytest.approx(0, **ROUNDED)
    page = (tmp_path / "report.html").read_text()
    assert "sweep-independent.png" in page


@pytest.mark.usefixtures("made_up_measures")
def test_what_failed_or_began_as_noise_is_not_measured(study, tmp_path):
    results = results_of(study, ("2a", "instability"), tmp_path)
    config = paper_figures.grid(study, "2a").cells[0][0]
    start = paper_figures.grid(study, "instability original").cells[0][0]
    assert findings.with_independent_measures(results[config]).independent
    assert not findings.with_independent_measures(results[start]).independent
    failed = RunResult(config, results[config].output, error="no room left")
    assert findings.with_independent_measures(failed) is failed


@pytest.mark.usefixtures("no_network", "blank_plots")
def test_several_contents_are_rows_of_every_figure(study, tmp_path):
    study = dataclasses.replace(study, more_contents=("sea.jpg",))
    figures = ("2a", "6a")
    results = results_of(study, figures, tmp_path)
    reproduction.write(tmp_path, reproduction.collect(study, figures, results))
    spread = finding(tmp_path, "lambda_spread_content_distance")
    assert spread["details"]["lambda_os"]["original"].keys() == {
        f"{style} on {content}" for style in ("one", "two", "three") for content in ("town", "sea")
    }
    assert (spread["verdict"], spread["intervals"]) == ("cannot tell", {})  # of three styles
    share = finding(tmp_path, "style_share_content_distance")
    assert share["original"] == pytest.approx(1)
    deviation = finding(tmp_path, "style_deviation_content_distance")
    assert deviation["original"] == pytest.approx(1 / 20)
    assert deviation["normalized"] == pytest.approx(0, abs=1e-12)
    assert deviation["holds"]


@pytest.mark.usefixtures("no_network", "blank_plots")
def test_a_failed_run_is_shown_and_left_out_of_the_claims(study, tmp_path):
    figures = ("2a", "6a")
    failed = [
        paper_figures.grid(study, "2a").cells[1][2],
        paper_figures.grid(study, "6a").cells[0][4],
    ]
    results = results_of(study, figures, tmp_path, failed)
    reproduction.write(tmp_path, reproduction.collect(study, figures, results))
    page = (tmp_path / "report.html").read_text()
    assert "no &lt;room&gt; left" in page
    assert "no <room> left" not in page
    spread = finding(tmp_path, "lambda_spread_content_distance")
    curve = spread["details"]["curves"]["original"]["two"]
    assert len(curve) == 4
    assert spread["original"] == pytest.approx(2, **ROUNDED)


@pytest.mark.usefixtures("no_network", "blank_plots")
def test_a_failed_reference_leaves_its_style_out_of_diversity(study, tmp_path):
    figures = ("2b", "6b")
    failed = [paper_figures.grid(study, "2b").references[0]]
    results = results_of(study, figures, tmp_path, failed)
    reproduction.write(tmp_path, reproduction.collect(study, figures, results))
    change = finding(tmp_path, "least_change")
    assert change["original"] is not None
    assert "one" in change["note"]


@pytest.mark.usefixtures("no_network", "blank_plots")
@pytest.mark.parametrize("figures", [("2a",), ("6c",), ("3",), ("4",), ("gradients",), ("2b",)])
def test_every_figure_is_available_alone(study, tmp_path, figures):
    results = results_of(study, figures, tmp_path)
    done = reproduction.collect(study, figures, results)
    reproduction.write(tmp_path, done)
    reproduction.write_summary(tmp_path, done, "command")
    assert (tmp_path / "report.html").exists()
    assert list(tmp_path.glob("*.png"))
    for entry in json.loads((tmp_path / "claims.json").read_text()):
        assert entry["holds"] is None
        assert entry["note"]


@pytest.mark.usefixtures("no_network", "blank_plots")
def test_a_third_loss_adds_findings_and_changes_none(study, tmp_path):
    figures = ("2a", "6a")
    third = ("style_aware",)
    for name, asked in (("two", figures), ("three", figures + third), ("alone", third)):
        folder = tmp_path / name
        done = reproduction.collect(study, asked, results_of(study, asked, folder))
        reproduction.write(folder, done)
        reproduction.write_summary(folder, done, "gatys-norm reproduce")
    two, three = (
        json.loads((tmp_path / name / "claims.json").read_text()) for name in ("two", "three")
    )
    assert three[: len(two)] == two
    added = {entry["name"]: entry for entry in three[len(two) :]}
    assert list(added) == [
        *(f"lambda_spread_{measure}_of_three" for measure in statistics.MEASURES),
        *(
            f"{kind}_{measure}_of_three"
            for measure in statistics.MEASURES
            for kind in ("style_share", "style_deviation")
        ),
    ]
    spread = added["lambda_spread_content_distance_of_three"]
    assert spread["original"] == pytest.approx(len(STYLES) - 1)
    assert (spread["normalized"], spread["style_aware"]) == pytest.approx((0, 0))
    assert (tmp_path / "three" / "figure-style_aware.png").exists()
    page = (tmp_path / "three" / "report.html").read_text()
    assert page.count("Style-aware loss: ") == sum("style_aware" in entry for entry in three) > 0
    assert "Style-aware loss: " not in (tmp_path / "two" / "report.html").read_text()
    assert "A third loss" in (tmp_path / "alone" / "report.html").read_text()


@pytest.mark.usefixtures("no_network", "blank_plots")
def test_summary(study, tmp_path):
    results = results_of(study, paper_figures.FIGURES, tmp_path)
    done = reproduction.collect(study, paper_figures.FIGURES, results)
    folder = tmp_path / "summary"
    folder.mkdir()
    reproduction.write_summary(folder, done, "python scripts/reproduce.py --size=256")
    text = (folder / "README.md").read_text()
    assert "    python scripts/reproduce.py --size=256\n" in text
    assert "tensorflow 2.x" in text
    pictures = {path.name for path in folder.iterdir()} - {"README.md", "claims.json"}
    assert len(pictures) == 16
    assert "instability-original.jpg" in pictures
    assert "figure-2a.jpg" in pictures
    assert "figure-4.png" in pictures
    assert all(f"({name})" in text for name in pictures)
    assert json.loads((folder / "claims.json").read_text())


@pytest.mark.usefixtures("no_network", "blank_plots")
def test_a_summary_of_many_rows_has_smaller_pictures(study, tmp_path):
    widths = []
    for more_contents in ((), ("field.jpg", "sea.jpg")):
        asked = dataclasses.replace(study, more_contents=more_contents)
        folder = tmp_path / f"{len(more_contents)}"
        done = reproduction.collect(asked, ("6c",), results_of(asked, ("6c",), folder))
        reproduction.write_summary(folder, done, "gatys-norm reproduce")
        widths.append(picture_io.load_picture(folder / "figure-6c.jpg").shape[1])
    fewer = reproduction.SUMMARY_CELL_WIDTH - reproduction.SMALL_CELL_WIDTH
    assert widths[0] - widths[1] == pytest.approx(len(study.sizes) * fewer, abs=fewer)


@pytest.mark.usefixtures("no_network", "blank_plots")
def test_pairs_for_viewers_are_those_of_the_papers_table(study, tmp_path):
    failed = [paper_figures.grid(study, "6b").cells[1][2]]
    results = results_of(study, paper_figures.FIGURES, tmp_path, failed)
    reproduction.write(tmp_path, reproduction.collect(study, paper_figures.FIGURES, results))
    pairs = survey_pairs.load(tmp_path / "pairs.csv")
    assert len(pairs) == 3 * (5 + 5 + 3) - 1
    items = list(dict.fromkeys(pair.item for pair in pairs))
    assert items == ["2(a) / 6(a)", "2(b) / 6(b)", "2(c) / 6(c)"]
    assert {pair.row for pair in pairs if pair.use == "rate"} == {"one", "two"}
    assert {pair.row for pair in pairs if pair.use == "example"} == {"three"}
    assert {pair.style.name for pair in pairs if pair.row == "two"} == {"two.jpg"}
    assert pairs[0].column == "λ_os = 0.01 / λ_os = 1"
    assert [pair.column for pair in pairs if pair.item == items[1]][:5] == list(LAYERS)
    a, b = (results[paper_figures.grid(study, name).cells[1][3]].output for name in ("2a", "6a"))
    same = [pair for pair in pairs if (pair.a.resolve(), pair.b.resolve()) == (a, b)]
    assert [pair[:3] for pair in same] == [("2(a) / 6(a)", "two", "λ_os = 1e-05 / λ_os = 0.001")]


@pytest.mark.usefixtures("no_network", "blank_plots")
def test_figures_of_one_loss_give_viewers_nothing_to_compare(study, tmp_path):
    figures = ("2a", "6b")
    results = results_of(study, figures, tmp_path)
    reproduction.write(tmp_path, reproduction.collect(study, figures, results))
    assert not (tmp_path / "pairs.csv").exists()
