"""The command of one transfer: its files, its words, its exit codes.

It is called inside this process, its work done by a stand-in; the few cases that need a process of
their own come last.
"""

import functools
import io
import json
import os
import re
import signal
import subprocess
import sys
import types

import numpy as np
import pytest
from helpers.programs import COMMAND, ROOT, run
from helpers.rounding import unit
from helpers.transfer_command import (
    DEFAULTS,
    GIVEN,
    PICTURE,
    assert_refused,
    call,
    inputs_without_files,
)

from gatys_norm.cli import loading
from gatys_norm.cli import main as cli
from gatys_norm.cli import transfer as transfer_command
from gatys_norm.images import io as picture_io
from gatys_norm.network import memory
from gatys_norm.runs import checkpoint as checkpoints
from gatys_norm.runs import folder as run_folder
from gatys_norm.runs import identity
from gatys_norm.web import viewer

pytestmark = pytest.mark.usefixtures("folder")

FACTS = {"stage": 0, "scale": 0.25}


MEMORY = "needs about 1.5 GiB of memory\n"


class RefusedError(ValueError):
    """Stands in for what `transfer.INPUT_ERRORS` lists."""


class FakeTransfer:
    """Stands in for `gatys_norm.transfer`: reports given iterations, then returns or raises."""

    INPUT_ERRORS = (RefusedError, picture_io.PictureError)
    CheckpointMismatchError = identity.CheckpointMismatchError
    picture = PICTURE

    def __init__(self, iterations=(1, 50, 60), before_progress=None, error=None):
        self.iterations = iterations
        self.before_progress = before_progress
        self.error = error
        self.received = None

    def Transfer(self, config, _inputs):  # noqa: N802, it stands in for a class
        self.received = types.SimpleNamespace(config=config, checkpoint=None, stops=None)
        self.plan = memory.Plan(1.5 * 2**30, memory.WHOLE)
        return self

    def restore(self, checkpoint):
        self.received.checkpoint = checkpoint

    def load_network(self):
        if self.error is not None:
            raise self.error

    def run(self, on_progress, stops, on_forecast, on_search):
        self.received.stops = stops
        status = "completed"
        for iteration in self.iterations:
            if self.before_progress is not None:
                self.before_progress()
            if on_progress(self._progress(iteration)):
                status = "interrupted"
                break
        terms = {"style/λ": {"coefficient": 2.0, "initial": 3.0, "final": 0.5}}
        record = {"config": self.received.config.as_dict(), "status": status, "terms": terms}
        return types.SimpleNamespace(image=self.picture, record=record)

    def _progress(self, iteration):
        return types.SimpleNamespace(
            iteration=iteration,
            iterations=self.iterations[-1],
            loss=1.5,
            seconds_left=2.0,
            checkpoint=lambda copy: checkpoints.Checkpoint(
                {"position": np.full(3, iteration)}, FACTS | {"at": iteration}
            ),
            image=lambda: PICTURE + iteration,
        )


def put_transfer(monkeypatch, **arguments):
    """Put a stand-in for TensorFlow's side in place; returns it."""
    fake = FakeTransfer(**arguments)
    monkeypatch.setattr(loading, "start_tensorflow", lambda: fake)
    return fake


def names(folder):
    return {path.name for path in folder.iterdir()}


def checkpointed_iterations(folder, monkeypatch):
    """Collect the iteration of every checkpoint that is saved."""
    saved, save = [], checkpoints.save

    def noting(path, checkpoint):
        saved.append(checkpoint.facts["at"])
        save(path, checkpoint)

    monkeypatch.setattr(checkpoints, "save", noting)
    return saved


def test_a_transfer_leaves_picture_and_record(folder, monkeypatch):
    fake = put_transfer(monkeypatch)
    code, out, _ = call(*GIVEN)
    assert code == 0
    assert names(folder) == {"out.png", "out.json"}  # the checkpoint is used up
    np.testing.assert_array_equal(picture_io.load_picture("out.png"), np.rint(PICTURE))
    record = json.loads((folder / "out.json").read_text())
    assert record["config"] == DEFAULTS.as_dict()
    assert json.loads(picture_io.load_text("out.png")["config"]) == DEFAULTS.as_dict()
    *lines, last = out.splitlines()
    assert lines == [MEMORY.rstrip(), f"{'style/λ':20}            6 → 1"]
    assert re.fullmatch(r"completed in \d+\.\d s: out\.png, record in out\.json", last)
    assert (fake.received.config, fake.received.checkpoint) == (DEFAULTS, None)
    assert fake.received.stops == [50]


@pytest.mark.parametrize("name", ["out.png", "out.tif"])
def test_a_result_of_16_bits_with_snapshots_of_8(folder, monkeypatch, name):
    put_transfer(monkeypatch, iterations=(1, 20))
    flags = (*GIVEN, f"--output={name}", "--bit_depth=16", "--snapshot_every=20", "--dpi=300")
    assert call(*flags)[0] == 0
    snapshot = run_folder.snapshot_path(name, 20)
    assert [picture_io.read_bit_depth(path) for path in (name, snapshot)] == [16, 8]
    assert [picture_io.read_dpi(path) is None for path in (name, snapshot)] == [False, True]
    assert json.loads(picture_io.load_text(name)["config"]) == DEFAULTS.as_dict()
    half_a_step = 0.5 / 257 + 2 * unit("float32") * 255
    np.testing.assert_allclose(picture_io.load_picture(name), PICTURE, rtol=0, atol=half_a_step)


@pytest.mark.parametrize(
    ("flags", "expected"), [((), (96, 48)), (("--dpi=300",), (300, 300))], ids=str
)
def test_the_resolution_is_the_contents_unless_a_flag_gives_another(monkeypatch, flags, expected):
    put_transfer(monkeypatch)

    def load(config):
        inputs = inputs_without_files(config)
        inputs.dpi = (96.0, 48.0)
        return inputs

    monkeypatch.setattr(transfer_command, "load_inputs", load)
    assert call(*GIVEN, "--output=out.tif", *flags)[0] == 0
    assert picture_io.read_dpi("out.tif") == expected


PANORAMA = np.tile(PICTURE[:16, :16], (1, 2, 1))
AS_PANORAMA = "--projection=equirectangular"


@pytest.mark.parametrize("is_panorama", [True, False])
@pytest.mark.parametrize("flags", [(), (AS_PANORAMA,)], ids=str)
def test_a_panorama_is_noted_as_one(monkeypatch, is_panorama, flags):
    put_transfer(monkeypatch).picture = PANORAMA

    def load(config):
        inputs = inputs_without_files(config)
        inputs.is_panorama = is_panorama
        return inputs

    monkeypatch.setattr(transfer_command, "load_inputs", load)
    assert call(*GIVEN, *flags)[0] == 0
    assert picture_io.read_is_panorama("out.png") == (is_panorama or bool(flags))


def test_a_page_to_look_around_is_written_next_to_a_panorama(folder, monkeypatch):
    put_transfer(monkeypatch).picture = PANORAMA
    code, out, _ = call(*GIVEN, AS_PANORAMA, "--viewer")
    assert code == 0
    assert names(folder) == {"out.png", "out.json", "out.html"}
    assert out.splitlines()[-1] == "page: out.html"
    assert viewer.is_page("out.html")
    assert call(*GIVEN, AS_PANORAMA, "--viewer", "--output=out.jpg")[0] == 0
    assert viewer.is_page("out.jpg.html")
    assert call(*GIVEN, AS_PANORAMA, "--viewer")[0] == 0  # over the page of before


def test_an_interrupted_transfer_has_no_page(folder, monkeypatch):
    stop = functools.partial(os.kill, os.getpid(), signal.SIGTERM)
    put_transfer(monkeypatch, before_progress=stop).picture = PANORAMA
    assert call(*GIVEN, AS_PANORAMA, "--viewer")[0] == 128 + signal.SIGTERM
    assert "out.html" not in names(folder)


def test_a_page_to_look_around_is_refused_without_a_panorama(folder):
    assert_refused(
        call(*GIVEN, "--viewer"),
        "--viewer: shows panoramas; set --projection=equirectangular too",
    )


@pytest.mark.parametrize("kind", ["file", "folder", "input"])
def test_a_page_to_look_around_replaces_no_file_of_others(folder, kind):
    page, flags = folder / "out.html", [*GIVEN, AS_PANORAMA, "--viewer"]
    if kind == "folder":
        page.mkdir()
    else:
        page.write_text("<title>mine</title>")
    if kind == "input":
        flags.append("--style=out.html")
    assert_refused(call(*flags), "--viewer: out.html: is ")
    assert names(folder) == {"out.html"}


def test_settings_of_a_result_of_16_bits_are_taken(folder, monkeypatch):
    put_transfer(monkeypatch)
    assert call(*GIVEN, "--output=first.tif", "--bit_depth=16", "--seed=7")[0] == 0
    fake = put_transfer(monkeypatch)
    assert call("--config_from=first.tif", "--output=again.png")[0] == 0
    assert fake.received.config.seed == 7
    assert picture_io.read_bit_depth("again.png") == 8  # this is no setting


def test_checkpoints_and_snapshots_at_their_iterations(folder, monkeypatch):
    fake = put_transfer(monkeypatch, iterations=(1, 8, 10, 19, 20, 25, 30, 40))
    saved = checkpointed_iterations(folder, monkeypatch)
    assert call(*GIVEN, "--checkpoint_every=10", "--snapshot_every=20")[0] == 0
    assert fake.received.stops == [10, 20]
    assert saved == [10, 20, 30, 40]
    assert names(folder) == {"out.png", "out.json", "out-00020.png", "out-00040.png"}
    expected = np.rint(np.clip(PICTURE + 20, 0, 255))
    np.testing.assert_array_equal(picture_io.load_picture("out-00020.png"), expected)


def test_no_checkpoints_nor_snapshots_at_zero(folder, monkeypatch):
    fake = put_transfer(monkeypatch, iterations=(1, 50, 100))
    saved = checkpointed_iterations(folder, monkeypatch)
    assert call(*GIVEN, "--checkpoint_every=0", "--snapshot_every=0")[0] == 0
    assert (fake.received.stops, saved) == ([], [])
    assert names(folder) == {"out.png", "out.json"}


def test_checkpoints_go_on_after_a_size_of_odd_length(folder, monkeypatch):
    """Regression: pieces of the second size end at 37 + 50, 37 + 100, no multiples of 50."""
    put_transfer(monkeypatch, iterations=(1, 30, 37, 67, 87, 117, 137))
    saved = checkpointed_iterations(folder, monkeypatch)
    assert call(*GIVEN)[0] == 0
    assert saved == [67, 117]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_run_in_order(folder, number, monkeypatch):
    handlers = [signal.getsignal(which) for which in (signal.SIGINT, signal.SIGTERM)]
    after = []

    def receive():
        os.kill(os.getpid(), number)
        after.append(signal.getsignal(number))

    put_transfer(monkeypatch, iterations=(3, 4), before_progress=receive)
    code, out, _ = call(*GIVEN)
    assert code == 128 + number
    assert after == [signal.SIG_DFL]  # a second one would have ended the program at once
    assert out == MEMORY + "interrupted; the picture so far is out.png, continue with --resume\n"
    assert names(folder) == {"out.png", "out.json", "out.checkpoint.npz"}
    arrays, facts = checkpoints.load("out.checkpoint.npz")
    assert facts == FACTS | {"at": 3}
    np.testing.assert_array_equal(arrays["position"], np.full(3, 3))
    assert [signal.getsignal(which) for which in (signal.SIGINT, signal.SIGTERM)] == handlers


def test_resume_hands_over_the_checkpoint(folder, monkeypatch):
    checked = []
    monkeypatch.setattr(identity, "check", lambda facts, *_: checked.append(facts))
    stored = checkpoints.Checkpoint({"position": np.arange(5)}, FACTS)
    checkpoints.save(folder / "out.checkpoint.npz", stored)
    fake = put_transfer(monkeypatch, iterations=(51, 60))
    assert call(*GIVEN, "--resume")[0] == 0
    arrays, facts = fake.received.checkpoint
    assert facts == FACTS
    assert checked == [FACTS]
    np.testing.assert_array_equal(arrays["position"], np.arange(5))
    assert names(folder) == {"out.png", "out.json"}


def test_resume_without_a_checkpoint_or_with_a_damaged_one(folder, monkeypatch):
    fake = put_transfer(monkeypatch)
    assert_refused(call(*GIVEN, "--resume"), "--resume: out.checkpoint.npz: there is no checkpoint")
    (folder / "out.checkpoint.npz").write_bytes(b"PK\x03\x04 not\nreally")
    assert_refused(call(*GIVEN, "--resume"), "--resume: out.checkpoint.npz: is damaged")
    assert fake.received is None
    assert names(folder) == {"out.checkpoint.npz"}


def test_without_resume_an_old_checkpoint_is_not_read(folder, monkeypatch):
    stored = checkpoints.Checkpoint({"position": np.arange(5)}, FACTS)
    checkpoints.save(folder / "out.checkpoint.npz", stored)
    fake = put_transfer(monkeypatch, iterations=(1, 2))
    assert call(*GIVEN)[0] == 0
    assert fake.received.checkpoint is None


@pytest.mark.parametrize("error", [RefusedError, picture_io.PictureError])
def test_what_a_transfer_refuses_ends_in_one_line(folder, error, monkeypatch):
    put_transfer(monkeypatch, error=error("a.png: is\n  not right"))
    assert_refused(call(*GIVEN), "a.png: is not right")
    assert names(folder) == set()


def test_what_a_transfer_may_refuse_is_an_error_of_input():
    from gatys_norm import transfer
    from gatys_norm.losses.coefficients import ZeroEnergyError  # loads TensorFlow
    from gatys_norm.network import weights

    assert {picture_io.PictureError, weights.WeightsError, ZeroEnergyError} <= set(
        transfer.INPUT_ERRORS
    )
    assert transfer.CheckpointMismatchError in transfer.INPUT_ERRORS


def test_another_run_at_the_same_output_is_refused(folder, monkeypatch):
    fake = put_transfer(monkeypatch)
    with run_folder.locked(folder / "out.png"):
        assert_refused(call(*GIVEN), "--output: out.png: another run is writing there")
    assert fake.received is None
    assert call(*GIVEN)[0] == 0


@pytest.mark.parametrize("checkpointed", [True, False])
def test_a_result_that_cannot_be_written_says_what_is_kept(folder, monkeypatch, checkpointed):
    def full(*_, **_options):
        raise OSError(28, "No space left on device")

    put_transfer(monkeypatch)
    monkeypatch.setattr(run_folder, "save_result", full)
    code, out, err = call(*GIVEN, f"--checkpoint_every={50 if checkpointed else 0}")
    assert (code, out) == (1, MEMORY)
    last = err.splitlines()[-1]
    assert "out.png: could not be written (No space left on device)" in last
    assert ("out.checkpoint.npz is kept, continue with --resume" in last) == checkpointed
    assert ("nothing of this run is kept" in last) != checkpointed
    assert names(folder) == ({"out.checkpoint.npz"} if checkpointed else set())


def test_a_checkpoint_that_cannot_be_written_costs_no_result(folder, monkeypatch):
    def full(*_, **_options):
        raise OSError(28, "No space left on device")

    put_transfer(monkeypatch, iterations=(1, 50, 100))
    monkeypatch.setattr(checkpoints, "save", full)
    with pytest.warns(UserWarning, match="out.checkpoint.npz: could not be written") as warned:
        assert call(*GIVEN)[0] == 0
    assert len(warned) == 2
    assert names(folder) == {"out.png", "out.json"}


def test_other_errors_of_a_transfer_are_not_hidden(monkeypatch):
    put_transfer(monkeypatch, error=ZeroDivisionError("a fault of the program"))
    with pytest.raises(ZeroDivisionError):
        call(*GIVEN)


def test_an_output_that_cannot_show_the_symbols_stops_nothing(monkeypatch):
    """Regression: → on a terminal that is not Unicode ended a finished run with a traceback."""
    put_transfer(monkeypatch)
    written = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(written, encoding="ascii"))
    assert cli.run(["gatys-norm", *GIVEN]) == 0
    sys.stdout.flush()
    assert rb"style/\u03bb" in written.getvalue()
    assert rb"6 \u2192 1" in written.getvalue()


# --- as a process -----------------------------------------------------------------------------


def as_process(*arguments):
    """Run `python -m gatys_norm` as a user would, in a process of its own, in this folder."""
    plain = {name: value for name, value in os.environ.items() if not name.startswith("TF_")}
    finished = subprocess.run(
        [sys.executable, "-m", COMMAND, *arguments],
        capture_output=True,
        text=True,
        timeout=120,
        env=plain | {"PYTHONPATH": str(ROOT)},
    )
    return finished.returncode, finished.stdout, finished.stderr


def test_the_exit_code_reaches_the_shell(folder):
    assert_refused(as_process(*GIVEN, "--seed=x"), "--seed")
    code, out, err = as_process("--helpshort")
    assert (code, err) == (0, "")
    assert "--lambda_os" in out
    assert names(folder) == set()


def test_arguments_that_are_no_valid_unicode_are_named(folder):
    """Latin-1, as an old file system may hold it; Python reads it as lone surrogates."""
    assert_refused(
        as_process(*GIVEN, b"--output=caf\xe9/out.png"), "--output: caf\\udce9/out.png: there"
    )
    assert_refused(as_process(*GIVEN, b"--caf\xe9=1"), "caf\\udce9")


def test_a_missing_picture_is_named_in_one_line(folder):
    finished = run(COMMAND, *GIVEN, cwd=folder)
    assert_refused((finished.returncode, finished.stdout, finished.stderr), "a.png: No such file")
    assert names(folder) == set()


def test_nothing_to_resume_is_said_in_one_line(folder):
    for name in ("a.png", "b.png"):
        picture_io.save_picture(name, PICTURE)
    assert_refused(as_process(*GIVEN, "--resume"), "--resume: out.checkpoint.npz: there is no")
    assert names(folder) == {"a.png", "b.png"}
