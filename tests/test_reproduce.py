"""reproduce.py: from flags to figures, killed and gone on from."""

import errno
import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from helpers.programs import load_script

from gatys_norm import cli, experiments

ROOT = Path(__file__).parent.parent
SCRIPT = ROOT / "scripts" / "reproduce.py"


@pytest.fixture(scope="module")
def reproduce():
    """The script as a module."""
    return load_script("reproduce")


def flags(reproduce, *arguments):
    values = cli.make_flags()
    reproduce.define_flags(values)
    values(["reproduce.py", *arguments])
    return values


def test_defaults_are_the_papers_study_on_the_samples(reproduce):
    study = reproduce.study_from_flags(flags(reproduce))
    styles = tuple(f"{name}.jpg" for name in reproduce.STYLES)
    assert tuple(Path(style).name for style in study.styles) == styles
    assert all(Path(path).is_file() for path in (study.base.content, *study.styles))
    assert not Path(study.base.content).is_absolute()
    expected = experiments.Study(study.base, study.styles)
    assert study == expected
    assert reproduce.figures_from_flags(flags(reproduce)) == experiments.FIGURES


def test_every_grid_value_can_be_given(reproduce):
    study = reproduce.study_from_flags(
        flags(
            reproduce,
            *("--content=c.png", "--styles=a.png,b.png", "--size=96", "--preset=fast"),
            *("--lambdas_original=3,2", "--lambdas_normalized=5,4", "--lambdas_by_style=7,8"),
            *("--lambda_normalized=9", "--sizes=48,72", "--boost=11", "--iterations=12"),
        )
    )
    assert (study.base.content, study.styles) == ("c.png", ("a.png", "b.png"))
    assert (study.lambdas_original, study.lambdas_normalized) == ((3, 2), (5, 4))
    assert (study.lambdas_by_style, study.lambda_normalized) == ((7, 8), 9)
    assert (study.sizes, study.boost) == ((48, 72), 11)
    assert (study.base.precision, study.base.iterations) == ("bfloat16", (12,))


def test_sizes_follow_the_size(reproduce):
    assert reproduce.study_from_flags(flags(reproduce, "--size=256")).sizes == (128, 256, 512)


def test_figures_stand_in_the_papers_order(reproduce):
    assert reproduce.figures_from_flags(flags(reproduce, "--figures=6a,3,2a")) == ("2a", "3", "6a")


def run(*arguments):
    return subprocess.run(
        [sys.executable, SCRIPT, *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


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
        (["--lambdas_by_style=1"], "--lambdas_by_style"),
        (["--lambda_normalized=nan"], "--lambda"),
        (["--sizes=256,128"], "--size"),
        (["--sizes=8"], "--size"),
        (["--sizes=1.5"], "--sizes"),
        (["--size=128,256"], "--size"),
        (["--boost=-1"], "--boost"),
        (["--boost=1e300"], "--boost"),
        (["--boost=x"], "--boost"),
    ],
)
def test_wrong_flags_are_refused_in_one_line(arguments, named, tmp_path):
    folder = tmp_path / "out"
    finished = run(*arguments, f"--output_dir={folder}")
    assert finished.returncode == 2, finished.stderr
    assert finished.stdout == ""
    assert finished.stderr.count("\n") == 1
    assert named in finished.stderr
    assert not folder.exists()


@pytest.mark.parametrize("flag", ["--content", "--styles"])
def test_a_missing_picture_is_refused_before_any_transfer(flag, tmp_path):
    folder = tmp_path / "out"
    one_style = ["--styles=data/soft_washes.jpg", "--lambdas_by_style=1"]
    finished = run(*one_style, f"{flag}=none.jpg", f"--output_dir={folder}")
    assert finished.returncode == 2
    assert finished.stderr.count("\n") == 1
    assert "none.jpg" in finished.stderr
    assert not (folder / "cells").exists()


@pytest.mark.parametrize("flag", ["--output_dir", "--summary_dir"])
def test_a_folder_that_cannot_be_is_refused(flag, tmp_path):
    file = tmp_path / "file"
    file.touch()
    finished = run(f"--output_dir={tmp_path}/out", f"{flag}={file}/sub")
    assert finished.returncode == 2
    assert finished.stderr.count("\n") == 1
    assert flag in finished.stderr
    assert not (tmp_path / "out" / "cells").exists()


def test_a_full_disk_at_the_end_says_what_is_kept(reproduce, tmp_path, monkeypatch, capsys):
    from gatys_norm import reproduction

    def write(folder, _):
        raise OSError(errno.ENOSPC, "No space left on device", f"{folder}/report.html")

    monkeypatch.setattr(reproduce, "run_all", lambda *_: ({}, None))
    monkeypatch.setattr(reproduce, "with_found_weights", lambda study: study)
    monkeypatch.setattr(reproduction, "gather", lambda *_: None)
    monkeypatch.setattr(reproduction, "write", write)
    assert reproduce.reproduce(flags(reproduce, f"--output_dir={tmp_path}")) == cli.FAILED
    message = capsys.readouterr().err
    assert f"{tmp_path}: could not be written (No space left on device)" in message
    assert message.count("\n") == 1


@pytest.mark.weights
@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_a_stopped_reproduction_goes_on_without_running_finished_cells(
    tmp_path, real_weights, number
):
    styles = [ROOT / "data" / f"{name}.jpg" for name in ("flowing_strokes", "soft_washes")]
    command = [
        *(sys.executable, SCRIPT, "--figures=2a,3,6a", "--size=64", "--iterations=8"),
        f"--styles={styles[0]},{styles[1]}",
        *("--lambdas_by_style=1,1", "--lambdas_original=1,1e-6", "--lambdas_normalized=1,1e-4"),
        *(f"--output_dir={tmp_path}", f"--weights={real_weights.source}"),
        f"--summary_dir={tmp_path / 'summary'}",
    ]
    process = subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )

    def finished():
        return set(tmp_path.glob("cells/*/result.json"))

    while len(finished()) < 2 and process.poll() is None:
        time.sleep(0.02)
    process.send_signal(number)
    stdout, stderr = process.communicate(timeout=60)
    if number == signal.SIGINT:
        assert process.returncode == 128 + number, stderr
        assert "goes on" in stdout
    kept = {path: path.stat().st_mtime_ns for path in finished()}
    assert 2 <= len(kept) < 8
    assert not (tmp_path / "claims.json").exists()
    again = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, timeout=300, check=False
    )
    assert again.returncode == 0, again.stderr
    assert len(finished()) == 8
    assert {path: path.stat().st_mtime_ns for path in kept} == kept
    found = {entry["name"]: entry for entry in json.loads((tmp_path / "claims.json").read_text())}
    assert found["lambda_spread_content_distance"]["details"]["curves"]["normalized"]
    assert f"page: {tmp_path / 'report.html'}" in again.stdout
    for name in ("report.html", "figure-2a.png", "figure-3-original.png", "summary/README.md"):
        assert (tmp_path / name).stat().st_size > 1000
