"""A run's files: whole or not at all, resumable, and harmless to read."""

import dataclasses
import errno
import io
import json
import os
import pickle
import shutil
import subprocess
import sys
import warnings
import zipfile
from pathlib import Path
from typing import Any

import filelock
import numpy as np
import pytest
from helpers.disk import limited_file_size
from helpers.programs import ROOT, run
from helpers.weights_files import write_weights
from hypothesis import given, settings
from hypothesis import strategies as st

from gatys_norm.config import TransferConfig
from gatys_norm.images import io as picture_io
from gatys_norm.runs import checkpoint as checkpoints
from gatys_norm.runs import folder as run_folder

CONFIG = {"content": "/täst/a.png", "loss": "normalized", "size": [256, 512]}
RECORD = {"config": CONFIG, "status": "completed", "loss": {"initial": 2.5, "final": 0.125}}
ARRAYS: dict[str, Any] = {
    "position": np.linspace(-3, 300, 31, dtype=np.float32),
    "position_deltas": np.arange(62, dtype=np.float32).reshape(2, 31) / 7,
    "num_iterations": np.array(17, np.int32),
    "failed": np.array(False),
}
FACTS = {"config": CONFIG, "scale": 1 / 3, "iterations": 17, "history": [{"loss": 1e-30}]}


@pytest.fixture
def image():
    return np.random.default_rng(1).uniform(-20, 280, (16, 20, 3)).astype(np.float32)


@pytest.fixture(scope="module")
def checkpoint_bytes(tmp_path_factory):
    path = tmp_path_factory.mktemp("checkpoint") / "whole.checkpoint.npz"
    checkpoints.save(path, checkpoints.Checkpoint(ARRAYS, FACTS))
    return path.read_bytes()


def folder_contents(folder):
    """Return {name: bytes} of every file in a folder, hidden ones too."""
    return {path.name: path.read_bytes() for path in Path(folder).iterdir()}


def assert_same_checkpoint(loaded, arrays=ARRAYS, facts=FACTS):
    got_arrays, got_facts = loaded
    assert got_facts == facts
    assert got_arrays.keys() == arrays.keys()
    for name, value in arrays.items():
        assert got_arrays[name].dtype == value.dtype
        assert got_arrays[name].shape == value.shape
        assert got_arrays[name].tobytes() == value.tobytes()


# --- names ------------------------------------------------------------------------------------


def test_files_lie_beside_the_picture():
    assert run_folder.record_path("a/out.png") == Path("a/out.json")
    assert run_folder.checkpoint_path("a/out.png") == Path("a/out.checkpoint.npz")
    assert run_folder.snapshot_path("a/out.png", 50) == Path("a/out-00050.png")
    assert run_folder.snapshot_path("a/out.jpg", 123456) == Path("a/out-123456.jpg")


def test_a_dot_inside_the_name_is_no_suffix():
    assert run_folder.record_path("v1.5.png") == Path("v1.5.json")
    assert run_folder.checkpoint_path("v1.5.webp") == Path("v1.5.webp.checkpoint.npz")
    assert run_folder.snapshot_path("v1.5.webp", 3) == Path("v1.5-00003.webp")


# --- picture and record -----------------------------------------------------------------------


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp", ".tif"])
def test_result_is_picture_and_record_and_nothing_else(tmp_path, image, suffix):
    output = tmp_path / f"out{suffix}"
    run_folder.save_result(output, image, RECORD)
    assert folder_contents(tmp_path).keys() == {run_folder.record_path(output).name, output.name}
    assert json.loads(run_folder.record_path(output).read_text()) == RECORD
    assert picture_io.load_picture(output).shape == image.shape


def test_png_holds_the_pixels_and_the_settings(tmp_path, image):
    run_folder.save_result(tmp_path / "out.png", image, RECORD)
    expected = np.rint(np.clip(image, 0, 255))
    np.testing.assert_array_equal(picture_io.load_picture(tmp_path / "out.png"), expected)
    assert json.loads(picture_io.load_text(tmp_path / "out.png")["config"]) == CONFIG


def test_record_takes_paths_that_are_no_valid_unicode(tmp_path, image):
    """Regression: a Latin-1 file name reaches Python as lone surrogates, which UTF-8 refuses."""
    config = {"content": os.fsdecode(b"caf\xe9.jpg")}
    run_folder.save_result(tmp_path / "out.png", image, {"config": config})
    record = json.loads((tmp_path / "out.json").read_bytes())
    assert record["config"] == config
    assert json.loads(picture_io.load_text(tmp_path / "out.png")["config"]) == config


def test_record_holds_no_numbers_that_json_lacks(tmp_path, image):
    with pytest.raises(ValueError, match="JSON compliant"):
        run_folder.save_result(tmp_path / "out.png", image, RECORD | {"loss": float("nan")})
    assert not (tmp_path / "out.json").exists()


def test_earlier_result_is_replaced(tmp_path, image):
    run_folder.save_result(tmp_path / "out.png", image, RECORD)
    run_folder.save_result(tmp_path / "out.png", 255 - image, RECORD | {"status": "stalled"})
    assert json.loads((tmp_path / "out.json").read_text())["status"] == "stalled"
    assert len(folder_contents(tmp_path)) == 2


def test_a_run_is_finished_by_picture_and_record_of_its_settings(tmp_path, image):
    config = TransferConfig(content="a.png", style="b.png", style_layers=("conv1_1",))
    output = tmp_path / "out.png"
    record = {"config": config.resolved().as_dict(), "status": "stalled"}
    assert not run_folder.is_finished(output, config)
    run_folder.save_result(output, image, record)
    assert run_folder.is_finished(output, config)
    assert run_folder.is_finished(output, config.resolved())
    assert not run_folder.is_finished(output, dataclasses.replace(config, seed=1))
    assert not run_folder.is_finished(tmp_path / "out2.png", config)
    run_folder.save_result(output, image, record | {"status": "interrupted"})
    assert not run_folder.is_finished(output, config)
    run_folder.save_result(output, image, record)
    for damaged in ("", "[1]", '"config"', "{}", '{"status": "completed"}', "null"):
        run_folder.record_path(output).write_text(damaged)
        assert not run_folder.is_finished(output, config)
    run_folder.save_result(output, image, record)
    output.unlink()
    assert not run_folder.is_finished(output, config)


@pytest.mark.parametrize("bit_depth", [8, 16])
@pytest.mark.parametrize("name", ["out.png", "out.tif", "out.TIFF"])
def test_settings_are_read_back_from_picture_and_record(tmp_path, image, name, bit_depth):
    run_folder.save_result(tmp_path / name, image, RECORD, bit_depth=bit_depth)
    assert run_folder.load_config(tmp_path / name) == CONFIG
    assert run_folder.load_config(run_folder.record_path(tmp_path / name)) == CONFIG


def test_a_result_is_stored_as_asked_for(tmp_path, image):
    run_folder.save_result(tmp_path / "out.tif", image, RECORD, bit_depth=16, dpi=(300, 300))
    assert picture_io.read_bit_depth(tmp_path / "out.tif") == 16
    assert picture_io.read_dpi(tmp_path / "out.tif") == (300, 300)


@pytest.mark.parametrize("name", ["out.jpg", "missing.png", "missing.json", "list.json", "folder"])
def test_files_without_settings_are_named(tmp_path, image, name):
    run_folder.save_result(tmp_path / "out.jpg", image, RECORD)
    (tmp_path / "list.json").write_text("[1]")
    (tmp_path / "folder").mkdir()
    with pytest.raises(run_folder.RecordError) as info:
        run_folder.load_config(tmp_path / name)
    assert str(tmp_path / name) in str(info.value)


# --- one run at a time ------------------------------------------------------------------------


def test_a_second_run_at_the_same_output_is_refused(tmp_path):
    with run_folder.locked(tmp_path / "out.png"):
        with (
            pytest.raises(run_folder.OutputError, match="another run is writing there"),
            run_folder.locked(tmp_path / "out.png"),
        ):
            pytest.fail("entered")
        for other in ("other.png", "out.jpg"):
            with run_folder.locked(tmp_path / other):
                pass
    with run_folder.locked(tmp_path / "out.png"):
        pass
    assert folder_contents(tmp_path) == {}


def test_the_lock_ends_with_an_exception(tmp_path):
    with pytest.raises(ZeroDivisionError), run_folder.locked(tmp_path / "out.png"):
        raise ZeroDivisionError
    with run_folder.locked(tmp_path / "out.png"):
        pass
    assert folder_contents(tmp_path) == {}


def test_leftovers_of_a_killed_run_are_removed_and_nothing_else(tmp_path):
    """A process dies in the midst of its checkpoint, holding the lock."""
    output = tmp_path / "out.png"
    kept = {"out.png": b"old", "a.tmp": b"mine", ".out.png.tmp": b"mine"}
    for name, data in kept.items():
        (tmp_path / name).write_bytes(data)
    code = """if True:
        import os, sys
        from gatys_norm import files
        from gatys_norm.runs import folder
        with folder.locked(sys.argv[1]):
            with files.open_atomically(folder.checkpoint_path(sys.argv[1])) as file:
                file.write(b"half")
                os._exit(9)
    """
    plain = os.environ | {"PYTHONPATH": str(ROOT)}
    assert subprocess.run([sys.executable, "-c", code, output], env=plain).returncode == 9
    assert len(folder_contents(tmp_path)) == len(kept) + 2
    with run_folder.locked(output):
        pass
    assert folder_contents(tmp_path) == kept


# --- checkpoints ------------------------------------------------------------------------------


def test_checkpoint_comes_back_bit_for_bit(tmp_path):
    arrays = ARRAYS | {"odd": np.array([np.nan, np.inf, -0.0, 1e-45], np.float32)}
    path = tmp_path / "x.checkpoint.npz"
    checkpoints.save(path, checkpoints.Checkpoint(arrays, FACTS))
    assert_same_checkpoint(checkpoints.load(path), arrays)
    assert list(folder_contents(tmp_path)) == [path.name]


def test_missing_checkpoint_is_named(tmp_path):
    path = tmp_path / "x.checkpoint.npz"
    with pytest.raises(
        checkpoints.CheckpointError, match="there is no checkpoint to continue from"
    ) as info:
        checkpoints.load(path)
    assert str(path) in str(info.value)


@pytest.mark.parametrize("limit", [0, 100, 5000])
def test_a_full_disk_leaves_the_earlier_checkpoint(tmp_path, limit):
    path = tmp_path / "x.checkpoint.npz"
    checkpoints.save(path, checkpoints.Checkpoint(ARRAYS, FACTS))
    larger = ARRAYS | {"position": np.ones(100_000, np.float32)}
    with limited_file_size(limit), pytest.raises(OSError, match="File too large"):
        checkpoints.save(path, checkpoints.Checkpoint(larger, FACTS | {"iterations": 18}))
    assert list(folder_contents(tmp_path)) == [path.name]
    assert_same_checkpoint(checkpoints.load(path))


@pytest.mark.parametrize("step", ["fsync", "replace"])
def test_a_failure_at_the_end_leaves_the_earlier_checkpoint(tmp_path, monkeypatch, step):
    path = tmp_path / "x.checkpoint.npz"
    checkpoints.save(path, checkpoints.Checkpoint(ARRAYS, FACTS))

    def fail(*_):
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, step, fail)
    with pytest.raises(OSError, match="Input/output error"):
        checkpoints.save(path, checkpoints.Checkpoint(ARRAYS, FACTS | {"iterations": 18}))
    monkeypatch.undo()
    assert list(folder_contents(tmp_path)) == [path.name]
    assert_same_checkpoint(checkpoints.load(path))


def test_a_full_disk_leaves_the_earlier_result(tmp_path, image):
    run_folder.save_result(tmp_path / "out.png", image, RECORD)
    before = folder_contents(tmp_path)
    with limited_file_size(100), pytest.raises(OSError, match="File too large"):
        run_folder.save_result(tmp_path / "out.png", 255 - image, RECORD | {"status": "stalled"})
    assert folder_contents(tmp_path) == before


# --- damaged checkpoints ----------------------------------------------------------------------


def load_bytes(folder, data):
    path = folder / "damaged.checkpoint.npz"
    path.write_bytes(data)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # NumPy's remarks on headers
        return checkpoints.load(path)


def assert_refused_or_unharmed(folder, data):
    """Whatever is damaged is refused; what loads all the same is what was saved."""
    try:
        loaded = load_bytes(folder, data)
    except checkpoints.CheckpointError:
        return
    assert_same_checkpoint(loaded)


def test_every_truncation_is_refused(tmp_path, checkpoint_bytes):
    for length in range(0, len(checkpoint_bytes), 7):
        with pytest.raises(checkpoints.CheckpointError, match="is damaged or not a checkpoint"):
            load_bytes(tmp_path, checkpoint_bytes[:length])


def test_a_flipped_bit_in_any_byte_is_refused_or_without_effect(tmp_path, checkpoint_bytes):
    for place in range(len(checkpoint_bytes)):
        data = bytearray(checkpoint_bytes)
        data[place] ^= 1 << place % 8
        assert_refused_or_unharmed(tmp_path, bytes(data))


def test_a_flipped_bit_in_the_numbers_is_refused(tmp_path, checkpoint_bytes):
    place = checkpoint_bytes.index(ARRAYS["position"].tobytes())
    for offset in range(0, ARRAYS["position"].nbytes, 5):
        data = bytearray(checkpoint_bytes)
        data[place + offset] ^= 4
        with pytest.raises(checkpoints.CheckpointError):
            load_bytes(tmp_path, bytes(data))


@settings(max_examples=2 * settings.default.max_examples)
@given(data=st.data())
def test_scattered_damage_is_refused_or_without_effect(tmp_path_factory, checkpoint_bytes, data):
    folder = tmp_path_factory.getbasetemp()
    damaged = bytearray(checkpoint_bytes)
    places = st.integers(0, len(damaged) - 1)
    for place in data.draw(st.lists(places, min_size=1, max_size=12)):
        damaged[place] = data.draw(st.integers(0, 255))
    assert_refused_or_unharmed(folder, bytes(damaged))


class Bomb:
    """Leaves a file behind if anyone unpickles it."""

    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return open, (self.path, "w")


def npz(arrays):
    stream = io.BytesIO()
    np.savez(stream, **arrays)
    return stream.getvalue()


def npy(array):
    stream = io.BytesIO()
    np.save(stream, array)
    return stream.getvalue()


def zipped(members, compression=zipfile.ZIP_STORED):
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", compression) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return stream.getvalue()


def test_pickled_objects_are_refused_and_not_executed(tmp_path):
    trap = tmp_path / "executed"
    bomb = np.array([Bomb(trap)], object)
    for data in (
        npz({"facts": EMPTY, "position": bomb}),
        npz({"facts": bomb}),
        npy(bomb),
        pickle.dumps(Bomb(trap)),
        zipped(FACTS_MEMBER | {"position.npy": pickle.dumps(Bomb(trap))}),
    ):
        with pytest.raises(checkpoints.CheckpointError):
            load_bytes(tmp_path, data)
    assert not trap.exists()
    pickle.loads(pickle.dumps(Bomb(trap))).close()
    assert trap.exists()  # the trap does work


def header(shape):
    text = f"{{'descr': '<f4', 'fortran_order': False, 'shape': {shape}, }}".ljust(117) + "\n"
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text.encode()


EMPTY = np.frombuffer(b'{"arrays": {}, "facts": {}}', np.uint8)
FACTS_MEMBER = {"facts.npy": npy(EMPTY)}
CENTRAL = b"PK\x01\x02\x14\x03\x14\0"  # begins an entry of the archive's index; flags follow
NOT_CHECKPOINTS = {
    "empty": (b"", EOFError),
    "text": (b"hello", ValueError),
    "one array": (npy(np.ones(3)), TypeError),
    "no facts": (npz({"position": np.ones(3)}), KeyError),
    "empty archive": (zipped({}), KeyError),
    "facts are no text": (npz({"facts": np.ones(3)}), ValueError),
    "facts are no JSON": (npz({"facts": np.frombuffer(b"{", np.uint8)}), ValueError),
    "facts are no UTF-8": (npz({"facts": np.frombuffer(b"\xff", np.uint8)}), ValueError),
    "facts nest deeply": (npz({"facts": np.frombuffer(b"[" * 10**5, np.uint8)}), RecursionError),
    "facts are a list": (npz({"facts": np.frombuffer(b"[1]", np.uint8)}), TypeError),
    "facts are no array": (zipped({"facts": b"{}"}), AttributeError),
    "an array too many": (npz({"facts": EMPTY, "position": np.ones(3)}), ValueError),
    "not an array": (zipped(FACTS_MEMBER | {"position.npy": b"hello"}), AttributeError),
    "formula in a header": (zipped(FACTS_MEMBER | {"x.npy": header("(1 << 60,)")}), ValueError),
    "array beyond memory": (zipped(FACTS_MEMBER | {"x.npy": header(f"({1 << 60},)")}), MemoryError),
    "negative shape": (zipped(FACTS_MEMBER | {"x.npy": header("(-4,)")}), ValueError),
    "unclosed header": (zipped(FACTS_MEMBER | {"x.npy": header("((((4,)")}), Exception),
    "unknown compression": (
        zipped(FACTS_MEMBER).replace(CENTRAL + b"\0\0\0\0", CENTRAL + b"\0\0\x63\0"),
        ValueError,
    ),
    "compressed, which could hold more than fits into memory": (
        zipped(FACTS_MEMBER | {"x.npy": npy(np.zeros(10**6))}, zipfile.ZIP_DEFLATED),
        ValueError,
    ),
    "encrypted": (
        zipped(FACTS_MEMBER).replace(CENTRAL + b"\0\0\0\0", CENTRAL + b"\x01\0\0\0"),
        RuntimeError,
    ),
}


@pytest.mark.parametrize("kind", NOT_CHECKPOINTS)
def test_other_files_are_refused(tmp_path, kind):
    data, cause = NOT_CHECKPOINTS[kind]
    with pytest.raises(checkpoints.CheckpointError, match="is damaged or not a checkpoint") as info:
        load_bytes(tmp_path, data)
    assert isinstance(info.value.__cause__, cause)
    assert "damaged.checkpoint.npz" in str(info.value)
    assert "\n" not in str(info.value)


def test_the_smallest_checkpoint_is_accepted(tmp_path):
    """Without the faults built into the files above they would load."""
    assert load_bytes(tmp_path, zipped(FACTS_MEMBER)) == ({}, {})


def test_a_folder_is_refused(tmp_path):
    with pytest.raises(checkpoints.CheckpointError, match="is damaged or not a checkpoint"):
        checkpoints.load(tmp_path)


# --- outputs that cannot be -------------------------------------------------------------------


def test_writable_places_pass(tmp_path, monkeypatch):
    for name in ("out.png", "OUT.PNG", "out.jpg", "out.jpeg", "out.webp", "a.b.png", "ü λ.png"):
        run_folder.check_output(tmp_path / name, [tmp_path / "a.png", "content", "noise"])
    (tmp_path / "out.png").write_bytes(b"an earlier result")
    run_folder.check_output(tmp_path / "out.png", [tmp_path / "a.png"])
    monkeypatch.chdir(tmp_path)
    run_folder.check_output("here.png", ["content"])
    assert [path.name for path in tmp_path.iterdir()] == ["out.png"]


@pytest.mark.parametrize("name", ["out", "out.", "out.gif", "out.png.txt", ".png", "", "folder/"])
def test_unknown_suffix_is_refused(tmp_path, name):
    with pytest.raises(run_folder.OutputError, match="ends in"):
        run_folder.check_output(f"{tmp_path}/{name}" if name else "", [])


def test_missing_folder_is_refused(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    for folder in ("missing", "file", "f" * 300):
        output = tmp_path / folder / "out.png"
        with pytest.raises(run_folder.OutputError, match="there is no folder") as info:
            run_folder.check_output(output, [])
        assert str(output) in str(info.value)
    assert not (tmp_path / "missing").exists()


@pytest.mark.parametrize("length", [300, 248])
def test_name_too_long_for_picture_or_checkpoint_is_refused(tmp_path, length):
    with pytest.raises(run_folder.OutputError, match="too long"):
        run_folder.check_output(tmp_path / ("n" * length + ".png"), [])


def test_read_only_folder_is_refused(closed_folder):
    with pytest.raises(run_folder.OutputError, match="cannot be written to"):
        run_folder.check_output(closed_folder / "out.png", [])
    with (
        pytest.raises(run_folder.OutputError, match="Permission denied"),
        run_folder.locked(closed_folder / "out.png"),
    ):
        pytest.fail("entered")


@pytest.mark.parametrize("name", ["out.png", "out.json", "out.checkpoint.npz"])
def test_a_folder_in_the_place_of_a_file_is_refused(tmp_path, name):
    (tmp_path / name).mkdir()
    with pytest.raises(run_folder.OutputError, match="is a folder") as info:
        run_folder.check_output(tmp_path / "out.png", [])
    assert str(tmp_path / name) in str(info.value)


def test_an_input_under_any_name_is_refused(tmp_path, monkeypatch):
    picture = tmp_path / "a.png"
    picture.write_bytes(b"picture")
    (tmp_path / "sub").mkdir()
    (tmp_path / "link.png").symlink_to(picture)
    (tmp_path / "hard.png").hardlink_to(picture)
    monkeypatch.chdir(tmp_path)
    for output in ("a.png", "./sub/../a.png", picture, "link.png", "hard.png"):
        for source in (picture, "a.png", "link.png", "sub/../a.png"):
            with pytest.raises(run_folder.OutputError, match="is one of the inputs"):
                run_folder.check_output(output, ["noise", source])
    run_folder.check_output("sub/a.png", [picture])
    assert picture.read_bytes() == b"picture"


@pytest.mark.parametrize(("free", "fits"), [(10**12, True), (3_000_000, True), (2_000_000, False)])
def test_check_space_wants_room_for_two_checkpoints(tmp_path, monkeypatch, free, fits):
    """64 × 48 pixels, 3 channels, 4 bytes, 34 arrays, twice: 2,506,752 bytes."""
    usage = shutil.disk_usage(tmp_path)._replace(free=free)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    config = TransferConfig(content="c.png", style="s.png", size=(64,), history=16)
    if fits:
        run_folder.check_space(tmp_path / "out.png", config, 64 * 48)
    else:
        with pytest.raises(run_folder.OutputError, match=r"out\.png: .* 2 MiB left .* need 2"):
            run_folder.check_space(tmp_path / "out.png", config, 64 * 48)


@pytest.mark.parametrize(("optimizer", "fits"), [("adam", True), ("lbfgs", False)])
def test_adam_wants_room_for_four_arrays(tmp_path, monkeypatch, optimizer, fits):
    """64 × 48 pixels, 3 channels, 4 bytes, 4 arrays, twice: 294,912 bytes."""
    usage = shutil.disk_usage(tmp_path)._replace(free=300_000)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    config = TransferConfig(content="c.png", style="s.png", size=(64,), optimizer=optimizer)
    if fits:
        run_folder.check_space(tmp_path / "out.png", config, 64 * 48)
    else:
        with pytest.raises(run_folder.OutputError, match="make room"):
            run_folder.check_space(tmp_path / "out.png", config, 64 * 48)
    usage = usage._replace(free=290_000)
    with pytest.raises(run_folder.OutputError, match="make room"):
        run_folder.check_space(tmp_path / "out.png", config, 64 * 48)


def test_a_snapshot_may_not_overwrite_an_input(tmp_path):
    output, start = tmp_path / "out.png", tmp_path / "out-00050.png"
    run_folder.check_output(output, [start], snapshots=False)
    with pytest.raises(
        run_folder.OutputError, match=r"out-00050\.png: .* snapshot would overwrite"
    ):
        run_folder.check_output(output, [start], snapshots=True)


def test_a_file_system_without_locks_is_named(tmp_path, monkeypatch):
    def refuse(*_, **__):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(filelock, "lock_descriptor", refuse)
    with (
        pytest.raises(
            run_folder.OutputError, match=r"lock: cannot be locked \(No locks available\)"
        ),
        run_folder.locked(tmp_path / "out.png"),
    ):
        pytest.fail("went on without a lock")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("moment", ["open", "_acquire"])
def test_a_signal_before_the_lock_is_held_leaves_none(tmp_path, monkeypatch, moment):
    """It may come right after the system has made the file, or while it is being locked."""
    really = {"open": open, "_acquire": run_folder._acquire}[moment]
    signals = [KeyboardInterrupt]

    def then_interrupt(*arguments):
        result = really(*arguments)
        if signals:
            if moment == "open":
                result.close()
            raise signals.pop()
        return result

    monkeypatch.setattr(run_folder, moment, then_interrupt, raising=False)
    with pytest.raises(KeyboardInterrupt), run_folder.locked(tmp_path / "out.png"):
        pytest.fail("went on")
    assert signals == []
    assert not list(tmp_path.iterdir())
    with run_folder.locked(tmp_path / "out.png"):
        assert list(tmp_path.iterdir())


WITHOUT_FCNTL = """
import runpy, sys
for name in list(sys.modules):
    if name.partition(".")[0] in ("filelock", "gatys_norm"):
        del sys.modules[name]
sys.modules["fcntl"] = None
runpy.run_module("gatys_norm", run_name="__main__", alter_sys=True)
"""


def test_a_transfer_needs_no_fcntl(tmp_path):
    """Windows has none; there filelock locks by other means."""
    (tmp_path / "program.py").write_text(WITHOUT_FCNTL)
    write_weights(tmp_path / "tiny.h5", kernel=0.02)
    finished = run(
        tmp_path / "program.py",
        *(f"--content={ROOT}/data/river_town.jpg", f"--style={ROOT}/data/soft_washes.jpg"),
        *("--content_layers=conv1_2", "--style_layers=conv1_1", "--optimizer=adam"),
        *("--size=24", "--iterations=1", f"--weights={tmp_path}/tiny.h5"),
        f"--output={tmp_path}/out.png",
    )
    assert finished.returncode == 0, finished.stderr
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {"program.py", "tiny.h5", "out.png", "out.json"}
