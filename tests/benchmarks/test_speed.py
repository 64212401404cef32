"""The speed benchmark as a program; what its parts compute is tested next to them."""

import json
import pickle

import evaluations
import pytest
import report as benchmark_report
import speed
from helpers import narrow_network

from gatys_norm.cli import program
from gatys_norm.text import replace_between


@pytest.mark.parametrize("kind", ["cpu", "gpu"])
def test_the_page_of_the_tables_has_its_markers(kind):
    first, last = benchmark_report.markers("benchmark", kind)
    assert first != last
    text = speed.PAGE.read_text()
    changed = replace_between(text, *benchmark_report.markers("benchmark", kind), "\nnew\n")
    assert f"\n<!-- benchmark {kind} -->\nnew\n<!-- end benchmark {kind} -->\n" in changed


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


def in_this_process(function, *arguments):
    """Stand in for `benchmark_report.in_own_process`: all that goes there and back can be sent."""
    function, arguments = pickle.loads(pickle.dumps((function, arguments)))
    return pickle.loads(pickle.dumps(function(*arguments)))


@pytest.mark.slow
@pytest.mark.usefixtures("eagerly")
def test_whole_program(tmp_path, monkeypatch, capsys):
    """All of it but the processes of their own, which test_report.py has, at a small scale."""
    from gatys_norm.network import vgg

    (tmp_path / "weights.h5").touch()
    monkeypatch.setattr(vgg, "load_model", narrow_network.load_model)
    monkeypatch.setattr(benchmark_report, "in_own_process", in_this_process)
    monkeypatch.setattr(evaluations, "MATMUL_SIDE", 64)
    monkeypatch.setattr(evaluations, "LEAST_SECONDS", 0)
    output = tmp_path / "new" / "speed.json"
    flags = ["--sizes=24,32,40", "--size=32", "--rounds=1", "--iterations=12"]
    more = [f"--weights={tmp_path / 'weights.h5'}", f"--output={output}"]
    argv = ["speed.py", *flags, *more]
    code = program.call(speed.__doc__, speed.benchmark, argv, speed.define_flags)
    printed = capsys.readouterr()
    assert code == 0, printed.err
    report = json.loads(output.read_text())
    tables = output.with_suffix(".md").read_text()
    assert tables in printed.out
    assert [row["size"] for row in report["sizes"]] == [24, 32, 40]
    assert [row["width"] for row in report["sizes"]] == [24, 32, 40]
    assert all(row["float32"]["share"] > 0 for row in report["sizes"])
    assert all(len(fit["residuals"]) == 3 for fit in report["growth"].values())
    searches = report["line_searches"]
    assert (
        searches["unit_step"]["evaluations_per_iteration"]
        <= searches["hager_zhang"]["evaluations_per_iteration"]
    )
    fixed = report["fixed_loss"]
    last_losses = [fixed["runs"][f"{name} preset"][0][-1]["loss"] for name in ("paper", "fast")]
    assert fixed["loss"] == max(last_losses)
    paper = fixed["contestants"]["paper preset"]
    assert paper["reached"]
    assert paper["seconds"] < paper["wall"]
    assert fixed["contestants"]["fast preset"]["reached"]
    for words in ("float32", "bfloat16", "unit_step", "fast preset", "load average"):
        assert words in tables
    assert "left" in printed.err
    written = {path.name for path in tmp_path.rglob("*")}
    assert written == {"new", "speed.json", "speed.md", "weights.h5"}
