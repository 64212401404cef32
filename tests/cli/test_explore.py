"""`gatys-norm explore`: from files and folders to a sheet; bad input, failures, stopped runs."""

import dataclasses
import itertools
import json
import os
import re
import shlex
import signal
from pathlib import Path

import numpy as np
import pytest
from helpers.commands import outcome
from helpers.digests import digests
from helpers.programs import COMMAND, end_of, run, start_new, wait_for
from helpers.weights_files import write_weights

from gatys_norm import transfer
from gatys_norm.cli import errors, explore
from gatys_norm.cli import flags as cli_flags
from gatys_norm.cli import grid as grid_command
from gatys_norm.cli import main as cli
from gatys_norm.experiments import grid as grid_runs
from gatys_norm.images import io as picture_io
from gatys_norm.report import sheet
from gatys_norm.runs import folder as run_folder

SMALL = ("--size=32", "--iterations=4", "--content_layers=conv2_1", "--style_layers=conv1_1")
OUTPUT = Path("results/explore")


@pytest.fixture
def pictures(tmp_path, monkeypatch):
    """Run in a folder with town.png and sea.png, and paintings/ of two pictures."""
    monkeypatch.chdir(tmp_path)
    Path("paintings").mkdir()
    generator = np.random.default_rng(0)
    for name in ("town", "sea", "paintings/b waves", "paintings/a planes"):
        picture_io.save_picture(f"{name}.png", generator.uniform(0, 255, (24, 32, 3)))
    return tmp_path


@pytest.fixture
def started(monkeypatch, small_network, eagerly):
    """The settings of the transfers that were really started, on a small network."""
    configs = []
    begin = transfer.Transfer

    def noting(config, *arguments):
        configs.append(config)
        return begin(config, *arguments)

    monkeypatch.setattr(transfer, "Transfer", noting)
    return configs


def call(*arguments):
    """Run the command; returns (exit code, standard output, standard error)."""
    return outcome(cli.run, ["/anywhere/gatys-norm", "explore", *arguments])


def cells_of(*arguments):
    """Return the cells that flags describe, and the same at full size."""
    values = cli_flags.make_flags()
    explore.define_flags(values)
    values(["gatys-norm explore", *arguments])
    return explore.cells_from_flags(values)


def data_of_page(folder=OUTPUT):
    """Return what the script of the page takes."""
    text = (folder / "explore.html").read_text(encoding="utf-8")
    return json.loads(re.search(r'id="data">(.*?)</script>', text)[1])


# --- what is refused ---------------------------------------------------------------------------


def with_file(path, data, *words):
    """Write a file and return flags."""
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Path(path).write_bytes(data)
    return words


def with_folder(path, *words):
    """Make a folder and return flags."""
    Path(path).mkdir(parents=True)
    return words


def cut(path, *words):
    """Write the first half of a picture and return flags."""
    data = Path("town.png").read_bytes()
    return with_file(path, data[: len(data) // 2], *words)


FIRST_PICTURE = OUTPUT / "pictures" / "town_a_planes_normalized_lambda_os-0.01_192.png"
MISTAKES = {
    "no content": (lambda: ["--content="], "--content: is needed, pictures whose scene"),
    "no style": (lambda: ["--style="], "--style: is needed"),
    "missing content": (lambda: ["--content=none.png"], "--content: none.png: No such file"),
    "missing style": (lambda: ["--style=paintings,none.png"], "--style: none.png: No such file"),
    "no picture, named": (lambda: with_file("x.png", b"text", "--style=x.png"), "--style: x.png: "),
    "cut short, named": (lambda: cut("x.png", "--content=x.png"), "--content: x.png: damaged"),
    "empty folder": (
        lambda: with_folder("empty", "--style=empty"),
        "--style: empty: there is no picture in this folder",
    ),
    "folder of folders": (
        lambda: with_folder("outer/inner", "--style=outer"),
        "--style: outer: there is no picture in this folder",
    ),
    "too many cells": (
        lambda: ["--max_cells=5"],
        "--max_cells: 6 cells (style 2 × lambda_os 3) are more than 5; set --max_cells=6",
    ),
    "max_cells of 0": (lambda: ["--max_cells=0"], "--max_cells"),
    "full_size": (lambda: ["--full_size=8"], "--full_size"),
    "size": (lambda: ["--size=192,96"], "--size: several sizes must grow"),
    "size that is no number": (lambda: ["--size=large"], "--size: must be whole numbers"),
    "empty list": (lambda: ["--lambda_os="], "--lambda_os: is needed"),
    "word in a list": (lambda: ["--lambda_os=1,x"], "--lambda_os: must be numbers"),
    "value below the range": (lambda: ["--lambda_os=1,-1"], "--lambda_os: must be a finite"),
    "strength above the range": (lambda: ["--strength=0.5,1.5"], "--strength: must be a finite"),
    "strength and λ_os": (
        lambda: ["--strength=0.5", "--lambda_os=1"],
        "--strength: lambda_os is given too",
    ),
    "not a number": (lambda: ["--stroke_size=1,nan"], "--stroke_size: must be a finite"),
    "setting": (lambda: ["--pooling=median"], "--pooling"),
    "layers": (lambda: ["--style_layers=conv9_9"], "--style_layers"),
    "output": (lambda: ["--output=x.png"], "--output: is not taken here"),
    "preview": (lambda: ["--preview=0"], "--preview: is not taken here"),
    "config_from": (lambda: ["--config_from=x.json"], "--config_from: is not taken here"),
    "resume": (lambda: ["--resume"], "--resume: is not taken here"),
    "bit_depth": (lambda: ["--bit_depth=16"], "--bit_depth: is not taken here"),
    "start": (lambda: ["--init=none.png"], "--init: none.png: No such file"),
    "mask": (lambda: ["--content_masks=none.png"], "--content_masks: none.png: No such file"),
    "weights": (lambda: ["--weights=none.h5"], "none.h5"),
    "file for a folder": (lambda: ["--output_dir=town.png/x"], "--output_dir: "),
    "page of others": (
        lambda: with_file(OUTPUT / "explore.html", b"<p>mine</p>"),
        "explore.html: is there already and was not written by this program",
    ),
    "picture of others": (
        lambda: with_file(FIRST_PICTURE, b"mine"),
        f"{FIRST_PICTURE.name}: is there already and was not written by this program",
    ),
    "record of others": (
        lambda: with_file(FIRST_PICTURE.with_suffix(".json"), b"{}"),
        f"{FIRST_PICTURE.stem}.json: is there already and was not written by this program",
    ),
    "folder for a picture": (lambda: with_folder(FIRST_PICTURE), "is a folder"),
    "operand": (lambda: ["more.jpg"], "unexpected 'more.jpg'"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_what_cannot_be_is_refused_in_one_line_before_the_work(mistake, pictures, monkeypatch):
    def start_tensorflow():
        raise AssertionError("the work has begun")

    monkeypatch.setattr(explore.loading, "start_tensorflow", start_tensorflow)
    if mistake != "weights":
        monkeypatch.setattr(explore.weights, "check_path", lambda source: None)
    prepare, words = MISTAKES[mistake]
    arguments = prepare()
    before = {path: hash_ for path, hash_ in digests(pictures).items() if hash_}
    code, out, err = call("--content=town.png", "--style=paintings", *arguments)
    assert (code, out, err.count("\n")) == (errors.BAD_INPUT, "", 1)
    assert err.startswith("gatys-norm explore: ")
    assert words in err
    assert {path: hash_ for path, hash_ in digests(pictures).items() if hash_} == before


def test_an_input_is_not_overwritten(pictures, monkeypatch):
    monkeypatch.setattr(explore.weights, "check_path", lambda source: None)
    FIRST_PICTURE.parent.mkdir(parents=True)
    os.link("town.png", FIRST_PICTURE)
    code, _, err = call("--content=town.png", "--style=paintings")
    assert code == errors.BAD_INPUT
    assert f"--output_dir: {FIRST_PICTURE}: is one of the inputs" in err


# --- which cells -------------------------------------------------------------------------------


def test_a_folder_stands_for_its_pictures_in_order(pictures):
    Path("paintings/.hidden.png").write_bytes(b"hidden")
    Path("paintings/inner").mkdir()
    cells, _ = cells_of("--content=town.png,sea.png", "--style=sea.png,paintings")
    assert list(dict.fromkeys(cell.config.style for cell in cells)) == [
        (path,) for path in ("sea.png", "paintings/a planes.png", "paintings/b waves.png")
    ]
    assert len(cells) == 2 * 3 * 3
    assert {cell.config.size for cell in cells} == {(192,)}


def test_what_is_no_picture_in_a_folder_is_left_out(pictures):
    Path("paintings/aa.png").write_text("no picture")
    cut("paintings/ab.png")
    cells, _ = cells_of("--content=town.png", "--style=paintings")
    assert len(cells) == 2 * 3


def test_a_home_folder_is_expanded(pictures, monkeypatch):
    monkeypatch.setenv("HOME", str(pictures))
    cells, _ = cells_of("--content=~/town.png", "--style=~/paintings", "--lambda_os=1")
    assert [cell.config.content for cell in cells] == [f"{pictures}/town.png"] * 2


def test_other_settings_hold_for_every_cell(pictures):
    cells, full = cells_of(
        *("--content=town.png", "--style=paintings", "--preset=fast", "--loss=original"),
        *("--color=luminance", "--iterations=30", "--full_size=512"),
    )
    for cell, large in zip(cells, full, strict=True):
        config = cell.config
        assert (config.loss, config.color) == ("original", "luminance")
        assert (config.precision, config.iterations) == ("bfloat16", (30,))
        assert large.config == dataclasses.replace(config, size=(512,))
        assert large.name == cell.name.replace("_192", "_512")
    assert len({cell.name for cell in cells}) == len(cells) == 6


# --- runs --------------------------------------------------------------------------------------


def test_a_sheet_is_made_once_and_its_pictures_have_names(pictures, started):
    arguments = ("--content=town.png", "--style=paintings", "--lambda_os=1,0.1", *SMALL)
    code, out, err = call(*arguments)
    assert (code, err) == (0, "")
    assert out.splitlines()[-1] == f"page: {OUTPUT / 'explore.html'}"
    assert len(started) == 4
    names = [
        f"town_{style}_normalized_lambda_os-{value}_32"
        for style, value in itertools.product(("a_planes", "b_waves"), ("1", "0.1"))
    ]
    files = {f"{name}.{suffix}" for name in names for suffix in ("png", "json")}
    assert {path.name for path in (OUTPUT / "pictures").iterdir()} == files
    for name, config in zip(names, started, strict=True):
        output = OUTPUT / "pictures" / f"{name}.png"
        assert run_folder.is_finished(output, config)
        cell = grid_runs.output_path(OUTPUT / "cells", config)
        assert output.read_bytes() == cell.read_bytes()
    page = data_of_page()
    assert [cell["link"] for cell in page["cells"]] == [f"pictures/{name}.png" for name in names]
    assert page["cells"][1]["labels"] == {
        "content": "town", "style": "a_planes", "λ_os": "0.1", "stroke size": "1",
    }  # fmt: skip
    assert all(cell["measures"]["content distance"] > 0 for cell in page["cells"])
    assert page["enter"] == shlex.join(["cd", str(pictures)])
    words = shlex.split(page["cells"][0]["command"].replace("\\\n", ""))
    assert words[:3] == ["gatys-norm", "--content=town.png", "--style=paintings/a planes.png"]
    assert {"--lambda_os=1.0", "--size=1024", "--weights=small"} <= set(words)
    assert words[-1] == f"--output={OUTPUT}/pictures/{names[0].replace('_32', '_1024')}.png"

    before = digests(OUTPUT)
    times = {path: path.stat().st_mtime_ns for path in (OUTPUT / "pictures").iterdir()}
    assert call(*arguments)[0] == 0
    assert len(started) == 4
    assert digests(OUTPUT) == before
    assert {path: path.stat().st_mtime_ns for path in times} == times


def test_other_settings_replace_our_own_pictures(pictures, started):
    arguments = ("--content=town.png", "--style=sea.png", "--lambda_os=1", *SMALL)
    assert call(*arguments)[0] == 0
    (first,) = (OUTPUT / "pictures").glob("*.png")
    before = first.read_bytes()
    assert call(*arguments, "--color=luminance")[0] == 0
    assert [*(OUTPUT / "pictures").glob("*.png")] == [first]
    assert first.read_bytes() != before
    assert len(started) == 2


def test_a_failed_cell_says_why_and_leaves_the_others(pictures, started):
    narrow = np.random.default_rng(0).uniform(0, 255, (16, 640, 3))
    picture_io.save_picture("paintings/c narrow.png", narrow)
    code, out, err = call("--content=town.png", "--style=paintings", "--lambda_os=1", *SMALL)
    assert code == errors.FAILED
    assert err.startswith("failed: c_narrow_")
    assert err.count("\n") == 1
    assert f"page: {OUTPUT / 'explore.html'}" in out
    cells = data_of_page()["cells"]
    assert [cell["error"] is None for cell in cells] == [True, True, False]
    assert "paintings/c narrow.png: would be" in cells[2]["error"]
    assert (cells[2]["measures"], cells[2]["link"]) == ({}, None)
    assert len([*(OUTPUT / "pictures").glob("*.png")]) == 2


def test_an_interrupted_sheet_shows_what_there_is(pictures, started, monkeypatch):
    run_all = grid_command.run_all

    def run_first(configs, *others):
        return run_all(configs[:1], *others)[0], signal.SIGINT

    monkeypatch.setattr(grid_command, "run_all", run_first)
    arguments = ("--content=town.png", "--style=paintings", "--lambda_os=1", *SMALL)
    code, out, err = call(*arguments)
    assert (code, err) == (128 + signal.SIGINT, "")
    kept = f"interrupted; 1 of 2 transfers are kept in {OUTPUT}, the same command continues"
    assert out.splitlines()[-1] == kept
    assert [cell["link"] is not None for cell in data_of_page()["cells"]] == [True, False]
    assert "not made yet" in (OUTPUT / "explore.html").read_text()
    monkeypatch.setattr(grid_command, "run_all", run_all)
    assert call(*arguments)[0] == 0
    assert len(started) == 2
    assert all(cell["link"] for cell in data_of_page()["cells"])


def test_a_full_disk_at_the_end_says_what_is_kept(pictures, started, monkeypatch):
    def write(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(sheet, "write", write)
    code, out, err = call("--content=town.png", "--style=sea.png", "--lambda_os=1", *SMALL)
    assert (code, out, err.count("\n")) == (errors.FAILED, "", 1)
    assert "could not be written (No space left on device); the transfers are kept" in err


@pytest.mark.slow
def test_ctrl_c_writes_the_page_and_the_same_command_continues(pictures):
    write_weights(pictures / "weights.h5", kernel=0.02)
    command = (
        *(COMMAND, "explore", "--content=town.png", "--style=paintings", "--size=32"),
        *("--lambda_os=1,0.1,0.01", "--iterations=60", "--optimizer=adam"),
        *("--content_layers=conv1_2", "--style_layers=conv1_1", "--weights=weights.h5"),
    )

    def finished():
        return {*OUTPUT.glob("cells/*/result.json")}

    process = start_new(*command, cwd=pictures)
    wait_for(lambda: finished() or process.poll() is not None)
    process.send_signal(signal.SIGINT)
    code, out, err = end_of(process)
    assert code == 128 + signal.SIGINT, err
    assert "the same command continues" in out
    kept = {path: path.stat().st_mtime_ns for path in finished()}
    assert 1 <= len(kept) < 6
    assert sum(cell["link"] is not None for cell in data_of_page()["cells"]) == len(kept)
    again = run(*command, cwd=pictures)
    assert again.returncode == 0, again.stderr
    assert {path: path.stat().st_mtime_ns for path in kept} == kept
    assert all(cell["link"] for cell in data_of_page()["cells"])
