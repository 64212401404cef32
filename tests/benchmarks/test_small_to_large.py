"""The benchmark from small to large as a program, and what its table says; no time is tested."""

import dataclasses

import pytest
import report as benchmark_report
import small_to_large
from helpers.benchmarks import assert_page_has_markers, assert_refused
from helpers.small_transfers import WIDTH, small_config

from gatys_norm.images import io as picture_io


@pytest.mark.parametrize("kind", benchmark_report.KINDS)
def test_the_page_of_the_tables_has_its_markers(kind):
    assert_page_has_markers(small_to_large, kind)


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--size=64"], "--size: is not taken here; see --sizes"),
        (["--iterations=64"], "--iterations: is not taken here; see --iterations_per_size"),
        (["--loss=original"], "--loss: is not taken here"),
        (["--sizes=64,many"], "--sizes: must be whole numbers"),
        (["--sizes=64,32"], "--sizes, --iterations_per_size: "),
        (["--iterations_per_size=5,6"], "--sizes, --iterations_per_size: "),
        (["--output=out.txt"], "--output: out.txt: must end in .json"),
    ],
)
def test_bad_flags_end_in_one_line(monkeypatch, capsys, flags, words):
    assert_refused(monkeypatch, capsys, small_to_large, flags, words)


def test_rows_have_the_change_from_the_smallest_size(monkeypatch):
    def facts(loss, sizes, reflection):
        return {
            "loss": loss,
            "sizes": sizes,
            "iterations": [5, 3][: len(sizes)],
            "width": sizes[-1],
            "height": sizes[-1] // 2,
            "seconds": 3.2,
            "content_distance": 1.5,
            "style_reflection": reflection,
        }

    monkeypatch.setattr(benchmark_report, "machine_line", lambda _: "a machine")
    transfers = [
        facts("original", [32], 0.9),
        facts("original", [32, 64], 0.7),
        facts("normalized", [32], 0.98),
        facts("normalized", [32, 64], 0.985),
    ]
    table = small_to_large.tables({"machine": {}, "transfers": transfers})
    assert "| original | 32, 64 | 64×32 | 5, 3 | 1.500 | 0.700 | -0.200 | 3 |" in table
    assert "| normalized | 32 | 32×16 | 5 | 1.500 | 0.980 | – | 3 |" in table
    assert "| normalized | 32, 64 | 64×32 | 5, 3 | 1.500 | 0.985 | +0.005 | 3 |" in table


@pytest.mark.usefixtures("eagerly", "small_network")
def test_a_transfer_leaves_its_picture_and_its_facts(tmp_path):
    config = dataclasses.replace(
        small_config(tmp_path), size=(20, WIDTH), iterations=(2, 1), log_every=1
    )
    facts = small_to_large.measure(config, tmp_path / "large.png")
    assert (facts["width"], facts["iterations"]) == (WIDTH, [2, 1])
    assert facts["sizes"] == (20, WIDTH)
    assert 0 < facts["style_reflection"] < 1
    assert facts["content_distance"] > 0
    assert picture_io.load_picture(tmp_path / "large.png").shape[1] == WIDTH
