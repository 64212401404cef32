"""What benchmark.py counts, fits, compares and writes; how long anything takes is not tested."""

import json
import pickle
import sys

import numpy as np
import pytest
import report as measuring
from helpers import narrow_network
from helpers.programs import ROOT, load_script

from gatys_norm.cli import loading, program
from gatys_norm.config import TransferConfig
from gatys_norm.text import replace_between


@pytest.fixture(scope="module")
def benchmark():
    """The script as a module."""
    return load_script("benchmarks/speed")


# --- single evaluations --------------------------------------------------------------------------


def test_operations_of_a_network_counted_by_hand(benchmark, small_model):
    chain = benchmark.convolutions(small_model, ["conv1_2", "relu2_1"])
    assert list(chain) == ["1_1", "1_2", "2_1"]  # the fourth convolution is deeper than needed
    products = 9 * (3 * 4 * 13 * 8 + 4 * 3 * 13 * 8 + 3 * 5 * 6 * 4)
    assert benchmark.operations(chain, 13, 8) == 2 * 2 * products  # with sums; there and back


def test_share_compares_within_a_round(benchmark):
    """A machine twice as slow in one round, in both things, changes no share."""
    product = 2 * 4096**3
    rounds = [
        {
            "matmul float32": slowness * 1.0,
            "64 float32": slowness * 0.5,
            "matmul bfloat16": slowness * 1.0,
            "64 bfloat16": slowness * own,
        }
        for slowness, own in ((1, 0.5), (2, 0.25), (10, 1.0))
    ]
    row = benchmark.size_row(rounds, {"size": 64, "operations": product / 4})
    assert row["float32"]["share"] == pytest.approx(0.5)
    assert row["float32"]["seconds"] == 1.0
    assert (row["float32"]["least"], row["float32"]["most"]) == (0.5, 5.0)
    assert row["bfloat16"]["share"] == pytest.approx(0.5)  # the median of 0.5, 1 and 0.25


def test_short_calls_are_repeated(benchmark, monkeypatch):
    """A call takes a second of a clock that only calls move."""
    calls = []
    monkeypatch.setattr(benchmark.time, "perf_counter", lambda: 100.0 + len(calls))
    for least, count in {0: 1, 0.5: 1, 1: 1, 3.5: 4}.items():
        calls.clear()
        monkeypatch.setattr(benchmark, "LEAST_SECONDS", least)
        assert benchmark.seconds_of(lambda: calls.append(None)) == 1.0
        assert len(calls) == count


def sized(pairs):
    """Rows of pictures of one pixel in height."""
    return [
        {"size": width, "height": 1, "width": width, "float32": {"seconds": seconds}}
        for width, seconds in pairs
    ]


@pytest.mark.parametrize("exponent", [0.8, 1.0, 1.3])
def test_growth_finds_the_exponent(benchmark, exponent):
    found = benchmark.growth(sized((n, 3 * n**exponent) for n in (10, 20, 50, 100)), "float32")
    assert found["exponent"] == pytest.approx(exponent)
    assert np.allclose(found["residuals"], 0)
    if exponent > 1.05:
        assert found["explanation"].startswith("100 px")
    else:
        assert found["explanation"] is None


def test_growth_names_the_size_that_is_off(benchmark):
    seconds = {10: 10, 20: 20, 40: 40, 80: 160, 160: 160}
    found = benchmark.growth(sized(seconds.items()), "float32")
    assert int(np.argmax(found["residuals"])) == 3
    assert found["explanation"] == "80 px costs 2.00 times the median a pixel"


def test_growth_needs_three_sizes(benchmark):
    assert benchmark.growth(sized([(10, 1), (20, 2)]), "float32") is None


# --- transfers -----------------------------------------------------------------------------------


def rows_of(*values):
    """Rows of a run as (loss, seconds); the wall clock is a second ahead."""
    return [
        {"loss": loss, "evaluations": [3, number], "seconds": seconds, "wall": seconds + 1}
        for number, (loss, seconds) in enumerate(values, start=1)
    ]


def test_first_row_at_or_below(benchmark):
    rows = rows_of((5, 1), (3, 2), (2, 3), (1, 4))
    assert benchmark.first_at_or_below(rows, 3)["seconds"] == 2
    assert benchmark.first_at_or_below(rows, 2.5)["seconds"] == 3
    assert benchmark.first_at_or_below(rows, 0.5) is None


def test_runs_are_compared_one_by_one(benchmark):
    runs = {
        "paper": [rows_of((5, 1), (2, 8)), rows_of((5, 2), (2, 16)), rows_of((5, 1), (2, 9))],
        "fast": [rows_of((4, 1), (2, 4), (1, 9)), rows_of((1, 4)), rows_of((1, 3))],
        "lame": [rows_of((4, 5), (3, 7))] * 3,
    }
    found = benchmark.summarize_runs(runs, loss=2)
    assert found["paper"] | {"seconds": 9, "seconds_ratio": 1, "wall": 10} == found["paper"]
    assert found["fast"] | {"seconds": 4, "seconds_ratio": 3, "wall": 5} == found["fast"]
    assert found["fast"]["evaluations"] == [3, 2]
    assert found["fast"]["reached"]
    assert not found["lame"]["reached"]
    assert found["lame"] | {"loss": 3, "seconds": 7, "wall_ratio": None} == found["lame"]


@pytest.mark.usefixtures("small_network", "eagerly")
def test_rows_of_a_coarse_to_fine_run(benchmark, monkeypatch):
    from gatys_norm import transfer

    monkeypatch.setattr(loading, "start_tensorflow", lambda: transfer)
    config = TransferConfig(
        content=str(ROOT / "data" / "river_town.jpg"),
        style=str(ROOT / "data" / "flowing_strokes.jpg"),
        content_layers=("conv2_2",),
        style_layers=("conv1_1",),
        size=(32, 48),
        iterations=(4, 7),
        log_every=3,
    )
    began = benchmark.time.monotonic()
    rows = benchmark.run_transfer(config, "coarse to fine", began)
    assert [row["iterations"] for row in rows] == [4 + 3, 4 + 6, 4 + 7]
    for row in rows:
        coarse, fine = row["evaluations"]
        assert coarse >= 4 + 1
        assert fine >= row["iterations"] - 4 + 1
        assert 0 < row["seconds"] < row["wall"]
    for name in ("seconds", "wall"):
        assert [row[name] for row in rows] == sorted(row[name] for row in rows)


# --- tables --------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["cpu", "gpu"])
@pytest.mark.parametrize("page", ["README.md", "docs/performance.md"])
def test_pages_of_the_tables_have_their_markers(benchmark, page, kind):
    assert ROOT / page in benchmark.PAGES
    first, last = benchmark.markers(kind)
    assert first != last
    text = (ROOT / page).read_text()
    changed = replace_between(text, *benchmark.markers(kind), "\nnew\n")
    assert f"\n<!-- benchmark {kind} -->\nnew\n<!-- end benchmark {kind} -->\n" in changed


# --- the program ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--precision=bfloat16"], "--precision: is not taken here"),
        (["--preset=fast"], "--preset: is not taken here"),
        (["--size=64,128"], "--size: must be one size"),
        (["--size=4"], "--size: must be a whole number"),
        (["--sizes=64,many"], "--sizes: must be whole numbers"),
        (["--sizes=64,4"], "--sizes: size: must be"),
        (["--rounds=0"], "rounds"),
        (["--repeats=x"], "repeats"),
        (["--output=out.txt"], "--output: out.txt: must end in .json"),
        (["--output=/proc/nowhere/out.json"], "--output:"),
        (["extra"], "extra"),
    ],
)
def test_bad_flags_end_in_one_line(benchmark, monkeypatch, capsys, flags, words):
    monkeypatch.setattr(measuring, "in_own_process", lambda *_: pytest.fail("it went to work"))
    argv = ["benchmark.py", *flags]
    assert program.call(benchmark.__doc__, benchmark.benchmark, argv, benchmark.define_flags) == 2
    printed = capsys.readouterr()
    assert words in printed.err
    assert printed.err.count("\n") == 1
    assert printed.out == ""


def in_this_process(function, *arguments):
    """Stand in for `measuring.in_own_process`: all that goes there and back can be sent."""
    function, arguments = pickle.loads(pickle.dumps((function, arguments)))
    return pickle.loads(pickle.dumps(function(*arguments)))


@pytest.mark.slow
@pytest.mark.usefixtures("eagerly")
def test_whole_program(benchmark, tmp_path, monkeypatch, capsys):
    """All of it but the processes of their own, which test_measuring.py has, at a small scale."""
    from gatys_norm.network import vgg

    (tmp_path / "weights.h5").touch()
    monkeypatch.setattr(vgg, "load_model", narrow_network.load_model)
    monkeypatch.setitem(sys.modules, "benchmark", benchmark)
    monkeypatch.setattr(measuring, "in_own_process", in_this_process)
    monkeypatch.setattr(benchmark, "MATMUL_SIDE", 64)
    monkeypatch.setattr(benchmark, "LEAST_SECONDS", 0)
    fast = {"fast": benchmark.PRESETS["fast"] | {"iterations": (8,)}}
    monkeypatch.setattr(benchmark, "PRESETS", fast)
    output = tmp_path / "new" / "speed.json"
    flags = ["--sizes=24,32,40", "--size=32", "--rounds=1", "--iterations=8"]
    more = [f"--weights={tmp_path / 'weights.h5'}", f"--output={output}"]
    argv = ["benchmark.py", *flags, *more]
    code = program.call(benchmark.__doc__, benchmark.benchmark, argv, benchmark.define_flags)
    printed = capsys.readouterr()
    assert code == 0, printed.err
    report = json.loads(output.read_text())
    tables = output.with_suffix(".md").read_text()
    assert tables in printed.out
    assert [row["size"] for row in report["sizes"]] == [24, 32, 40]
    assert [row["width"] for row in report["sizes"]] == [24, 32, 40]
    assert all(row["float32"]["share"] > 0 for row in report["sizes"])
    assert all(len(found["residuals"]) == 3 for found in report["growth"].values())
    searches = report["line_searches"]
    assert (
        searches["unit_step"]["evaluations_per_iteration"]
        <= searches["hager_zhang"]["evaluations_per_iteration"]
    )
    paper = report["fixed_loss"]["contestants"]["paper preset"]
    assert paper["reached"]
    assert paper["loss"] == report["fixed_loss"]["loss"]
    assert paper["seconds"] < paper["wall"]
    assert report["fixed_loss"]["contestants"]["fast preset"]["seconds"] > 0
    for words in ("float32", "bfloat16", "unit_step", "fast preset", "load average"):
        assert words in tables
    assert "left" in printed.err
    written = {path.name for path in tmp_path.rglob("*")}
    assert written == {"new", "speed.json", "speed.md", "weights.h5"}
