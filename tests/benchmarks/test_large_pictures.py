"""The benchmark of large pictures as a program, and what its table says; no time is tested."""

import json

import large_pictures
import pytest
import report as benchmark_report
from helpers.benchmarks import assert_page_has_markers, assert_refused
from helpers.small_transfers import WIDTH, small_config

from gatys_norm.cli import program
from gatys_norm.network import memory

GIB = 2**30
FACTS = {
    **{"size": 1024, "history": 2, "choice": "planned", "height": 768, "width": 1024},
    **{"strips": memory.THRIFTIEST._asdict(), "forecast_bytes": 3 * GIB, "peak_bytes": 2.5 * GIB},
    **{"forecast_seconds": 3.3, "seconds": 3.0},
}


@pytest.mark.parametrize("kind", benchmark_report.KINDS)
def test_the_page_of_the_tables_has_its_markers(kind):
    assert_page_has_markers(large_pictures, kind)


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--size=64"], "--size: is not taken here; see --sizes"),
        (["--history=3"], "--history: is not taken here"),
        (["--sizes=64,many"], "--sizes: must be whole numbers"),
        (["--sizes=64,4"], "--sizes: size: must be"),
        (["--histories=2,many"], "--histories: must be whole numbers"),
        (["--histories=0"], "--histories: history: must be"),
        (
            ["--strips=whole,16"],
            "--strips: must be some of planned, whole, 128+5, 128+3, 64, 32, not",
        ),
        (["--memory_limit=8"], "--memory_limit: must be a number above 0"),
        (["--output=out.txt"], "--output: out.txt: must end in .json"),
        (["extra"], "extra"),
    ],
)
def test_bad_flags_end_in_one_line(monkeypatch, capsys, flags, words):
    assert_refused(monkeypatch, capsys, large_pictures, flags, words)


def test_a_row_has_forecasts_and_what_was_measured():
    cells = "1024 | 1024×768 | 2 | 32 rows | 3.00 | 2.50 | 1.20 | – | 3.3 | 3 | 1.10"
    assert large_pictures.row(FACTS, None) == cells


@pytest.mark.parametrize(
    ("strips", "words"),
    [
        (memory.WHOLE, "nothing"),
        (memory.Strips(128, kept=5), "128 rows, 5 blocks kept"),
        (memory.Strips(128, kept=3), "128 rows, 3 blocks kept"),
        (memory.Strips(64), "64 rows"),
    ],
)
def test_the_strips_are_named(strips, words):
    assert large_pictures.words(strips._asdict()) == words


def test_every_way_of_a_plan_can_be_asked_for():
    assert tuple(large_pictures.STRIPS.values()) == memory.CHOICES


def test_a_row_has_the_bytes_of_a_further_pixel_if_only_the_size_differs():
    before = FACTS | {"size": 512, "height": 384, "width": 512, "peak_bytes": 2.5 * GIB - 589824e3}
    assert large_pictures.slope(FACTS, before) == "1000"
    for other in ({"history": 10}, {"choice": "64"}, {"strips": memory.WHOLE._asdict()}):
        assert large_pictures.slope(FACTS, before | other) == "–"
    refused = {name: before[name] for name in ("size", "history", "choice")} | {"refused": "full"}
    assert large_pictures.slope(FACTS, refused) == "–"
    titles = large_pictures.TITLES.split(" | ")
    row = large_pictures.row(refused, FACTS).split(" | ")
    assert (len(row), row[3]) == (len(titles), "does not fit")


@pytest.fixture
def small(tmp_path, small_network):
    """The settings of a transfer on a network of a few channels."""
    return small_config(tmp_path, iterations=(2,))


@pytest.mark.usefixtures("eagerly")
@pytest.mark.parametrize("choice", ["planned", "128+5", "64"])
def test_a_transfer_is_measured_in_the_strips_asked_for(small, choice):
    facts = large_pictures.measure(small, choice)
    strips = large_pictures.STRIPS.get(choice, memory.WHOLE)
    assert facts["strips"] == strips._asdict()
    assert (facts["size"], facts["width"], facts["choice"]) == (WIDTH, WIDTH, choice)
    assert facts["forecast_seconds"] > 0
    assert facts["seconds"] > 0
    assert facts["peak_bytes"] > 10e6
    expected = memory.plan_size(WIDTH, small, ((1, 1), ()), 1e12).byte_count
    assert facts["forecast_bytes"] == pytest.approx(expected, rel=0.1)


def test_a_size_that_does_not_fit_is_said_so(small):
    limited = type(small)(**small.as_dict() | {"memory_limit": "1MB"})
    facts = large_pictures.measure(limited, "planned")
    assert facts["refused"].startswith("memory_limit: 1MB is too little")


@pytest.mark.usefixtures("eagerly", "in_this_process", "small_network")
def test_whole_program(tmp_path, monkeypatch, capsys):
    """All of it, in this process; the small network has two blocks."""
    small_config(tmp_path)
    (tmp_path / "weights.h5").touch()
    config_from_flags = benchmark_report.config_from_flags
    layers = {"content_layers": ("conv2_1",), "style_layers": ("conv1_1", "conv2_2")}
    monkeypatch.setattr(
        benchmark_report,
        "config_from_flags",
        lambda *arguments, **keywords: config_from_flags(*arguments, **keywords, **layers),
    )
    output = tmp_path / "large.json"
    argv = ["large_pictures.py", "--sizes=20,24", "--strips=whole,64", f"--output={output}"]
    argv += [f"--{name}={tmp_path / name}.png" for name in ("content", "style")]
    argv += ["--histories=1", f"--weights={tmp_path / 'weights.h5'}"]
    code = program.call("", large_pictures.benchmark, argv, large_pictures.define_flags)
    assert code == 0
    report = json.loads(output.read_text())
    sizes = [(facts["choice"], facts["size"]) for facts in report["transfers"]]
    assert sizes == [("whole", 20), ("whole", 24), ("64", 20), ("64", 24)]
    printed = capsys.readouterr().out
    assert "| 24 | 24×20 | 1 | 64 rows |" in printed
    assert "Iterations of each transfer: 3." in printed
