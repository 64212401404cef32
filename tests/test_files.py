"""A write either happens whole or leaves everything as it was."""

import errno
import os

import pytest
from helpers.disk import limited_file_size

from gatys_norm import files

OLD = b"the old content"
NEW = b"the new content, which is longer"


@pytest.fixture
def target(tmp_path):
    path = tmp_path / "ein Bild – 絵.png"
    path.write_bytes(OLD)
    return path


def failing(error):
    def fail(*_):
        raise error

    return fail


def test_writes_a_new_file(tmp_path):
    files.write_atomically(tmp_path / "new", NEW)
    assert (tmp_path / "new").read_bytes() == NEW
    assert os.listdir(tmp_path) == ["new"]


@pytest.mark.parametrize("content", [NEW, b""])
def test_replaces_an_old_file(target, content):
    files.write_atomically(str(target), content)
    assert target.read_bytes() == content
    assert os.listdir(target.parent) == [target.name]


def test_whoever_reads_the_old_file_goes_on_reading_it(target):
    with open(target, "rb") as reader:
        files.write_atomically(target, NEW)
        assert reader.read() == OLD


@pytest.mark.parametrize("step", ["fsync", "replace"])
@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_a_failing_step_leaves_the_old_file_alone(target, monkeypatch, step, error):
    monkeypatch.setattr(os, step, failing(error))
    with pytest.raises(type(error)):
        files.write_atomically(target, NEW)
    assert target.read_bytes() == OLD
    assert os.listdir(target.parent) == [target.name]


def test_a_disk_that_fills_up_leaves_the_old_file_alone(target):
    with limited_file_size(100), pytest.raises(OSError, match="File too large"):
        files.write_atomically(target, bytes(1000))
    assert target.read_bytes() == OLD
    assert os.listdir(target.parent) == [target.name]


def test_several_files_are_written_together(target):
    other = target.with_name("other")
    files.write_together({target: NEW, other: b"1"})
    assert (target.read_bytes(), other.read_bytes()) == (NEW, b"1")
    assert len(os.listdir(target.parent)) == 2


@pytest.mark.parametrize("large", ["first", "second"])
def test_none_is_written_if_one_cannot_be(target, large):
    first, second = (bytes(1000) if name == large else b"1" for name in ("first", "second"))
    with limited_file_size(100), pytest.raises(OSError, match="File too large"):
        files.write_together({target: first, target.with_name("new"): second})
    assert target.read_bytes() == OLD
    assert os.listdir(target.parent) == [target.name]


def test_the_content_is_synced_before_it_is_renamed(target, monkeypatch):
    steps = []
    for name in ("fsync", "replace"):
        real = getattr(os, name)
        monkeypatch.setattr(
            os, name, lambda *a, name=name, real=real: steps.append(name) or real(*a)
        )
    files.write_atomically(target, NEW)
    assert steps[:2] == ["fsync", "replace"]


def test_a_missing_folder_is_an_oserror(tmp_path):
    with pytest.raises(FileNotFoundError):
        files.write_atomically(tmp_path / "absent" / "file", NEW)
    assert os.listdir(tmp_path) == []


def test_a_folder_in_the_way_stays(tmp_path):
    (tmp_path / "folder").mkdir()
    with pytest.raises(OSError, match="folder"):
        files.write_atomically(tmp_path / "folder", NEW)
    assert os.listdir(tmp_path) == ["folder"]


def test_a_folder_that_can_be_written_to(tmp_path):
    assert files.can_be_written_to(tmp_path)
    assert not list(tmp_path.iterdir())


def test_folders_that_cannot_be_written_to(closed_folder):
    assert not files.can_be_written_to(closed_folder)
    assert not files.can_be_written_to(closed_folder / "absent")
    assert not files.can_be_written_to("/proc")  # which says of itself that root may


@pytest.mark.parametrize("number", [errno.EINVAL, errno.ENOTSUP, errno.ENOSYS])
def test_a_file_system_that_cannot_sync_can_be_written_to(tmp_path, monkeypatch, number):
    def refuse(_descriptor):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "fsync", refuse)
    files.write_together({tmp_path / "a": b"1", tmp_path / "b": b"2"})
    files.write_atomically(tmp_path / "c", b"3")
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {
        "a": b"1",
        "b": b"2",
        "c": b"3",
    }


def test_a_disk_that_fails_to_sync_is_not_passed_over(target, monkeypatch):
    def refuse(_descriptor):
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(os, "fsync", refuse)
    before = target.read_bytes()
    with pytest.raises(OSError, match="Input/output"):
        files.write_atomically(target, b"new")
    assert target.read_bytes() == before
