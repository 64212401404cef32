"""The speed benchmark as a program; what its parts compute is tested next to them."""

import json

import evaluations
import pytest
import report as benchmark_report
import speed
import speed_tables
from helpers import narrow_network
from helpers.benchmarks import assert_page_has_markers

from gatys_norm.cli import program
from gatys_norm.network import memory


@pytest.mark.parametrize("kind", benchmark_report.KINDS)
@pytest.mark.parametrize("name", ["speed", "transfers"])
def test_the_page_of_the_tables_has_its_markers(name, kind):
    assert_page_has_markers(speed, kind, name)


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--precision=bfloat16"], "--precision: is not taken here"),
        (["--preset=fast"], "--preset: is not taken here"),
        (["--size=64"], "--size: is not taken here; see --sizes and --peer_sizes"),
        (["--iterations=5"], "--iterations: is not taken here"),
        (["--sizes=64,many"], "--sizes: must be whole numbers"),
        (["--sizes=64,4"], "--sizes: size: must be"),
        (["--peer_sizes=64,4"], "--peer_sizes: size: must be"),
        (["--peer", "--style=a.png,b.png"], "--style: must be one picture"),
        (["--rounds=0"], "rounds"),
        (["--output=out.txt"], "--output: out.txt: must end in .json"),
        (["--output=/proc/nowhere/out.json"], "--output:"),
        (["extra"], "extra"),
    ],
)
def test_bad_flags_end_in_one_line(monkeypatch, capsys, flags, words):
    monkeypatch.setattr(
        benchmark_report, "in_own_process", lambda *_: pytest.fail("it went to work")
    )
    argv = ["speed.py", *flags]
    assert program.call(speed.__doc__, speed.benchmark, argv, speed.define_flags) == 2
    printed = capsys.readouterr()
    assert words in printed.err
    assert printed.err.count("\n") == 1
    assert printed.out == ""


@pytest.mark.slow
@pytest.mark.usefixtures("eagerly", "in_this_process")
def test_whole_program(tmp_path, monkeypatch, capsys):
    """All of it but PyTorch and the processes of their own, at a small scale."""
    from gatys_norm.network import vgg

    (tmp_path / "weights.h5").touch()
    monkeypatch.setattr(vgg, "load_model", narrow_network.load_model)
    monkeypatch.setattr(evaluations, "MATMUL_SIDE", 64)
    monkeypatch.setattr(evaluations, "LEAST_SECONDS", 0)
    monkeypatch.setattr(benchmark_report, "precisions", lambda _: ("float32", "bfloat16"))
    output = tmp_path / "new" / "speed.json"
    argv = ["speed.py", "--sizes=24,32,40", "--rounds=1", f"--output={output}"]
    argv.append(f"--weights={tmp_path / 'weights.h5'}")
    code = program.call(speed.__doc__, speed.benchmark, argv, speed.define_flags)
    printed = capsys.readouterr()
    assert code == 0, printed.err
    report = json.loads(output.read_text())
    tables = output.with_suffix(".md").read_text()
    assert tables in printed.out
    single = report["single"]
    assert [row["size"] for row in single["sizes"]] == [24, 32, 40]
    assert [row["width"] for row in single["sizes"]] == [24, 32, 40]
    assert all(row["float32"]["share"] > 0 for row in single["sizes"])
    assert all(len(fit["residuals"]) == 3 for fit in single["growth"].values())
    for words in ("float32", "bfloat16", "load average", "Growth"):
        assert words in tables
    assert "PyTorch" not in tables
    written = {path.name for path in tmp_path.rglob("*")}
    assert written == {"new", "speed.json", "speed.md", "weights.h5"}


def test_tables_without_bfloat16_and_with_pytorch():
    timed = {"seconds": 0.5, "least": 0.25, "most": 1.0, "share": 0.75}
    facts = {
        "size": 64,
        "width": 64,
        "height": 48,
        "operations": 5e9,
        "strips": memory.WHOLE._asdict(),
    }
    sides = {"ours": 1.25, "layout": "channels_last", "peer": 2.5, "ratio": 0.5}
    row = {"size": 256, "precision": "float32", "one thread": sides, "all threads": sides}
    report = {
        "settings": {"rounds": 3},
        "single": {"sizes": [facts | {"float32": timed}], "matmul": {"float32": timed}},
        "peer": {"about": {"torch": "2.13.0", "device": "cpu"}, "rows": [row]},
    }
    single = speed_tables.size_table(report["single"]["sizes"], ["float32"])
    assert single.splitlines()[-1] == "| 64 | 64×48 | 5 | 0.5 | 0.25–1 | 75% |"
    *_, table = speed_tables.peer_part(report)
    half = "1.25 | 2.5, channels_last | 0.50"
    assert table.splitlines()[-1] == f"| 256 | float32 | {half} | {half} |"
