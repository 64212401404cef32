"""What scaling.py counts, refuses and writes; how long anything takes is not tested."""

import contextlib
import importlib.util
import inspect
import json
import os
import re
import sys

import numpy as np
import pytest
import report as benchmark_report
from helpers.benchmarks import assert_page_has_markers
from helpers.programs import ROOT, load_script, run, run_new
from helpers.weights_files import write_weights

from gatys_norm.cli import errors, program
from gatys_norm.cli import flags as cli_flags
from gatys_norm.images import io as picture_io

SCRIPT = ROOT / "scripts" / "benchmarks" / "scaling.py"
PAGE = ROOT / "docs" / "scaling.md"

needs_ray = pytest.mark.skipif(
    importlib.util.find_spec("ray") is None and not os.environ.get("CI"),
    reason="Ray is not installed (pip install gatys-norm[ray])",
)


@pytest.fixture(scope="module")
def scaling():
    """The script as a module."""
    return load_script("benchmarks/scaling")


# --- costs -----------------------------------------------------------------------------------


def run_of(ended, start=3.0, evaluation=0.5, evaluations=10.0, **others):
    return {
        "start": start,
        "connect": 1.0,
        "ended": ended,
        "evaluation": evaluation,
        "evaluations": evaluations,
        "iterations": 8,
        "precision": "float32",
        "pictures": ["a", "b"],
        "result_bytes": 2_000_000,
    } | others


def test_costs_are_those_that_a_grid_was_made_of(scaling):
    """Two workers: one ends at 10, 17 and 24, the other at 11 and 18; a later cell takes 7."""
    costs = scaling.costs_of(run_of([11, 10, 24, 18, 17]), 2)
    assert costs == scaling.Costs(start=3 + 10.5 - 7, cell=7, fixed=2, evaluation=0.5)
    one = scaling.costs_of(run_of([9, 13, 17]), 1)
    assert one == scaling.Costs(start=3 + 9 - 4, cell=4, fixed=-1, evaluation=0.5)


def test_medians_are_taken_of_each_cost(scaling):
    runs = [run_of([9, 13]), run_of([9, 14], start=5.0), run_of([9, 19], evaluation=0.1)]
    of_runs = [scaling.costs_of(run, 1) for run in runs]
    medians = scaling.median_costs(runs, scaling.LOCAL)
    assert medians.start == sorted(costs.start for costs in of_runs)[1]
    assert medians.fixed == sorted(costs.fixed for costs in of_runs)[1]
    assert medians.evaluation == 0.5


def test_cells_cost_the_same_and_differ(scaling):
    config = scaling.TransferConfig(content="c.png", style="s.png").resolved()
    cells = scaling.equal_cells(config, 5)
    assert len({cell.lambda_os for cell in cells}) == len(set(cells)) == 5
    assert {scaling.dataclasses.replace(cell, lambda_os=1.0) for cell in cells} == {
        scaling.dataclasses.replace(config, lambda_os=1.0)
    }


# --- tables --------------------------------------------------------------------------------------


@pytest.fixture
def report():
    """Local: 4 cells of 7 s; two workers: 4 cells of 10 s."""
    local = [run_of([9, 16, 23, 30]), run_of([9, 16, 23, 50])]
    pair = [run_of([15, 15, 25, 25]), run_of([15, 15, 25, 25], pictures=["a", "c"])]
    return {
        "command": "python scripts/benchmarks/scaling.py --rounds=2",
        "machine": {
            "kind": "avx2",
            "date": "2020-11-30",
            "device": "CPU z80, 2 cores",
            "processor": "Zilog",
            "cores": 2,
            "instruction_sets": ["avx2"],
            "onednn": True,
            "variables": {},
            "memory_gib": 5,
            "system": "CP/M",
            "python": "3.11",
            "packages": {"tensorflow": "2.1", "tensorflow-probability": "0.9"},
            "weights": "imagenet",
            "load_before": 0.5,
        },
        "settings": {"size": [256]},
        "pictures_bytes": 5_000_000,
        "weights_bytes": 80_000_000,
        "grids": {0: local, 2: pair},
        "driver": [(100, 0.001), (200, 0.002)],
    }


def cells_of(table):
    """The rows of a Markdown table, by their first cell."""
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines()]
    return {row[0]: row[1:] for row in rows[2:]}


def test_grids_are_compared_round_by_round(scaling, report):
    _, text, table = scaling.grid_part(report)
    rows = cells_of(table)
    # all: 33 and 53 against 28 and 28; evaluations: 40 in each
    assert rows["local"][:2] == ["43", "33–53"]
    assert rows["local"][-2:] == ["1.00", "same"]
    assert float(rows["local"][5]) == pytest.approx((40 / 33 + 40 / 53) / 2, rel=0.01)
    assert rows["Ray, 2 workers"][:2] == ["28", "28–28"]
    assert rows["Ray, 2 workers"][2:6] == ["8", "10", "0.5", "1.43"]
    assert rows["Ray, 2 workers"][-2:] == [f"{(33 / 28 + 53 / 28) / 2:.2f}", "others"]
    assert "4 transfers of 8 iterations, 10 evaluations each, at 256 px" in text


def test_fixed_costs_add_up(scaling, report):
    rows = cells_of(scaling.fixed_part(report)[-1])
    values = [row[0] for row in rows.values()]
    # 3 s until the grid, of which Ray 1 s; the first cell takes 15 s, a later one 10 s
    assert values[:4] == ["2 s", "1 s", "5 s", "5 s"]
    assert values[4:6] == ["1 ms", "2 ms"]
    assert values[6:] == ["80 MB", "5 MB", "2 MB"]


def test_all_tables_name_command_and_machine(scaling, report, monkeypatch):
    monkeypatch.setattr(scaling.importlib.metadata, "version", lambda name: "2.60.0")
    text = scaling.all_tables(report)
    first = text.splitlines()[0]
    assert first.startswith(
        "`python scripts/benchmarks/scaling.py --rounds=2` wrote this. 2020-11-30, CPU"
    )
    assert "ray 2.60.0" in first
    assert "load average before the start 0.50" in first
    assert len(re.findall("^#### ", text, re.MULTILINE)) == 2
    tables = [part for part in text.split("\n\n") if part.startswith("|")]
    assert len(tables) == 2
    for table in tables:
        assert len({line.count("|") for line in table.splitlines()}) == 1


@pytest.mark.parametrize("number", [0, 0.0123, 1, 12.34, 99.9, 100, 1234.5])
def test_numbers_are_short(scaling, number):
    text = scaling.short(number)
    assert float(text.replace(",", "")) == pytest.approx(number, rel=0.005)
    assert "e" not in text


@pytest.mark.parametrize("kind", benchmark_report.KINDS)
def test_page_has_the_markers(scaling, kind):
    assert scaling.PAGE == PAGE
    assert_page_has_markers(scaling, kind)


# --- the program ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--precision=bfloat16"], "--precision: is not taken here"),
        (["--preset=fast"], "--preset: is not taken here"),
        (["--size=64,128"], "--size: must be one size"),
        (["--size=4"], "--size: must be a whole number"),
        (["--content=none.jpg"], "none.jpg: "),
        (["--style=none.jpg"], "none.jpg: "),
        (["--cells=0"], "cells"),
        (["--rounds=0"], "rounds"),
        (["--driver_cells=3"], "driver_cells"),
        (["--workers=two"], "--workers: must be whole numbers"),
        (["--workers=0,2"], "--workers: must be 1 or more"),
        (["--workers=1,4", "--cells=7"], "--cells: must be at least twice the workers"),
        (["--output=out.txt"], "--output: out.txt: must end in .json"),
        (["extra"], "extra"),
    ],
)
def test_bad_flags_end_in_one_line(scaling, monkeypatch, capsys, flags, words):
    monkeypatch.setattr(
        benchmark_report, "in_own_process", lambda *_: pytest.fail("it went to work")
    )
    argv = ["scaling.py", *flags]
    assert program.call(scaling.__doc__, scaling.scaling, argv, scaling.define_flags) == 2
    printed = capsys.readouterr()
    assert words in printed.err
    assert printed.err.count("\n") == 1
    assert printed.out == ""


def test_without_ray_the_way_to_get_it_is_said(scaling, monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(scaling.importlib.util, "find_spec", lambda name: None)
    monkeypatch.setattr(
        benchmark_report, "in_own_process", lambda *_: pytest.fail("it went to work")
    )
    argv = ["scaling.py", f"--output={tmp_path / 'out.json'}"]
    assert program.call(scaling.__doc__, scaling.scaling, argv, scaling.define_flags) == 2
    assert "pip install gatys-norm[ray] first" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("flags", "machine", "workers", "cells"),
    [
        ([], {"kind": "cpu", "cores": 2}, (1, 2), 6),
        ([], {"kind": "cpu", "cores": 1}, (1,), 6),
        ([], {"kind": "cpu", "cores": 16}, (1, 16), 32),
        ([], {"kind": "gpu", "cores": 16}, (1, 4), 8),
        (["--workers=3,2,3"], {"kind": "cpu", "cores": 16}, (2, 3), 6),
        (["--cells=40"], {"kind": "cpu", "cores": 16}, (1, 16), 40),
        (["--cells=31"], {"kind": "cpu", "cores": 16}, None, None),
    ],
)
def test_workers_and_cells_suit_the_machine(scaling, flags, machine, workers, cells):
    values = cli_flags.make_flags()
    scaling.define_flags(values)
    values(["scaling.py", *flags])
    plan = scaling.plan_from_flags(values)
    assert (plan.config.size, plan.config.iterations) == ((256,), (25,))
    machine = machine | {"weights": "imagenet"}
    if workers is None:
        with pytest.raises(errors.InputError, match="--cells: must be at least twice the workers"):
            scaling.plan_for(machine, plan)
    else:
        suited = scaling.plan_for(machine, plan)
        assert (suited.workers, suited.cells, suited.config.weights) == (workers, cells, "imagenet")


def test_help_takes_no_tensorflow():
    code = (
        f"import atexit, runpy, sys\nsys.path.insert(0, {str(SCRIPT.parent)!r})\n"
        "atexit.register(lambda: print('tensorflow' in sys.modules, 'ray' in sys.modules))\n"
        f"sys.argv = ['scaling.py', '--help']\nrunpy.run_path({str(SCRIPT)!r}, run_name='__main__')"
    )
    finished = run_new(sys.executable, "-c", code)
    assert "--driver_cells" in finished.stdout
    assert finished.returncode == 0
    assert finished.stdout.endswith("False False\n"), finished.stderr


IN_ONE_PROCESS = f"""
import sys
sys.path.insert(0, {str(SCRIPT.parent)!r})
import scaling
import report as benchmark_report
from gatys_norm.cli import program
benchmark_report.in_own_process = lambda function, *arguments: function(*arguments)
sys.exit(program.call(scaling.__doc__, scaling.scaling, sys.argv, scaling.define_flags))
"""


@needs_ray
@pytest.mark.slow
def test_whole_program(tmp_path):
    """All of it but the processes of their own, which test_report.py has, with one worker."""
    write_weights(tmp_path / "weights.h5", kernel=0.02)
    (tmp_path / "scaling.py").write_text(IN_ONE_PROCESS)
    output = tmp_path / "new" / "scaling.json"
    flags = [
        *("--size=32", "--iterations=3", "--cells=2", "--rounds=1"),
        *("--workers=1", "--driver_cells=20", "--content_layers=conv1_2"),
        *("--style_layers=conv1_1", f"--weights={tmp_path / 'weights.h5'}", f"--output={output}"),
    ]
    page = PAGE.read_text()
    finished = run(tmp_path / "scaling.py", *flags, cwd=tmp_path)
    assert finished.returncode == 0, finished.stderr
    report = json.loads(output.read_text())
    tables = output.with_suffix(".md").read_text()
    assert tables in finished.stdout
    assert tables.startswith("`python ")
    assert "--cells=2" in tables.splitlines()[0]
    assert list(report["grids"]) == ["0", "1"]
    (local,), (distant,) = report["grids"].values()
    assert local["connect"] == 0 < distant["connect"] < distant["start"]
    for grid in (local, distant):
        assert len(grid["ended"]) == len(set(grid["pictures"])) == 2
        assert grid["ended"] == sorted(grid["ended"])
        assert grid["start"] > 0
        assert 3 <= grid["iterations"] < grid["evaluations"]
        assert 0 < grid["evaluation"] < 60
        assert grid["result_bytes"] > 1000
    assert [cells for cells, _ in report["driver"]] == [5, 20]
    assert all(0 < seconds < 10 for _, seconds in report["driver"])
    assert report["weights_bytes"] == (tmp_path / "weights.h5").stat().st_size
    assert "3 of 3: driver" in finished.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        *("new", "scaling.py", "weights.h5"),
    ]
    assert PAGE.read_text() == page


# --- the page ------------------------------------------------------------------------------------


def test_what_the_page_names_is_there():
    text = PAGE.read_text()
    for path in re.findall(r"\b(?:scripts|tests|docs)/[\w/]+\.\w+", text):
        assert (ROOT / path).exists(), path
    values = cli_flags.make_flags()
    for command in ("gatys-norm reproduce", "python scripts/benchmarks/scaling.py"):
        assert command in text
    known = (ROOT / "gatys_norm" / "cli" / "grid.py").read_text()
    for flag in ("executor", "ray_address", "cpus_per_cell", "gpus_per_cell", "shared_dir"):
        assert f"--{flag}" in text
        assert f'"{flag}"' in known
    assert "checkpoint_every" in values


@needs_ray
@pytest.mark.usefixtures("small_network", "eagerly")
def test_the_study_of_the_page_runs(tmp_path, monkeypatch, capsys):
    """Its code as it stands, with small numbers and without a cluster, which it asks for."""
    from gatys_norm.experiments import cluster
    from gatys_norm.experiments import ray as ray_executor

    (code,) = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    small = 'iterations=(2,), content_layers=("conv1_2",), style_layers=("conv1_1",)'
    for old, new in {
        "size=(512,)": f"size=(32,), {small}",
        "-1, 100)": "-1, 2)",
        "/shared/study": "study",
    }.items():
        assert code.count(old) == 1, old
        code = code.replace(old, new)
    generator = np.random.default_rng(0)
    (tmp_path / "styles").mkdir()
    for name in ("town", "styles/a", "styles/b"):
        picture = generator.uniform(0, 255, (24, 32, 3)).astype(np.float32)
        picture_io.save_picture(tmp_path / f"{name}.jpg", picture)
    asked = []

    def asks_for(module, name, result):
        signature = inspect.signature(getattr(module, name))

        def stand_in(*positional, **named):
            asked.append((name, signature.bind(*positional, **named).arguments))
            return result

        monkeypatch.setattr(module, name, stand_in)

    asks_for(cluster, "connected", contextlib.nullcontext())
    asks_for(ray_executor, "executor", None)  # cells run here, one after the other
    monkeypatch.chdir(tmp_path)
    seen = []
    for _ in range(2):
        exec(code, {})
        words = [line.split() for line in capsys.readouterr().out.splitlines()]
        seen.append({tmp_path / path: float(loss) for path, loss in words})
    wanted = [
        ("connected", {"address": "auto"}),
        ("executor", {"cpus_per_cell": 1, "shared": True}),
    ]
    assert asked == 2 * wanted
    assert seen[0] == seen[1]
    assert set(seen[0]) == set((tmp_path / "study").glob("*/result.png"))
    assert len(seen[0]) == 4
    assert min(seen[0].values()) > 0
