"""How much memory a process may take, read from descriptions of made-up machines."""

import types

import psutil
import pytest

from gatys_norm import machine

GIB = 2**30
UNLIMITED = str(2**63 - 4096)  # what version 1 says where there is no limit


@pytest.fixture(autouse=True)
def groups(tmp_path, monkeypatch):
    """A machine of which 16 GiB are free, and a process that takes 1 GiB."""
    monkeypatch.setattr(machine, "CONTROL_GROUPS", tmp_path / "fs")
    monkeypatch.setattr(machine, "CONTROL_GROUPS_OF_PROCESS", tmp_path / "groups")
    memory = types.SimpleNamespace(rss=GIB, vms=3 * GIB)
    process = types.SimpleNamespace(memory_info=lambda: memory)
    monkeypatch.setattr(psutil, "Process", lambda: process)
    monkeypatch.setattr(psutil, "virtual_memory", lambda: types.SimpleNamespace(available=16 * GIB))
    limit_address_space(monkeypatch, machine.resource.RLIM_INFINITY)
    return tmp_path


def limit_address_space(monkeypatch, limit):
    monkeypatch.setattr(machine.resource, "getrlimit", lambda _: (limit, limit))


def write(folder, group, names, limit, used, cached):
    folder = folder / "fs" / group
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in zip(names, (limit, used, f"cache 5\n{cached}"), strict=True):
        (folder / name).write_text(f"{text}\n")


def version_2(folder, group, limit, used=GIB, cached=0):
    names = ("memory.max", "memory.current", "memory.stat")
    write(folder, group, names, limit, used, f"inactive_file {cached}")


def version_1(folder, group, limit, used=GIB, cached=0):
    names = ("memory.limit_in_bytes", "memory.usage_in_bytes", "memory.stat")
    write(folder, f"memory/{group}", names, limit, used, f"total_inactive_file {cached}")


def test_without_limits_it_is_the_machines():
    assert machine.available_bytes() == 17 * GIB


@pytest.mark.parametrize("version", [version_1, version_2])
@pytest.mark.parametrize(
    ("limit", "used", "cached", "available"),
    [
        (4 * GIB, GIB, 0, 4 * GIB),  # all that is used is the process's
        (4 * GIB, 3 * GIB, 0, 2 * GIB),  # others use 2 GiB
        (4 * GIB, 3 * GIB, GIB, 3 * GIB),  # of which 1 GiB is a cache that gives way
        (4 * GIB, GIB // 2, 0, 4 * GIB),  # a part of what is resident counts for another group
        (64 * GIB, GIB, 0, 17 * GIB),
    ],
)
def test_a_containers_limit(groups, version, limit, used, cached, available):
    (groups / "groups").write_text("4:memory:/docker/abc\n0::/docker/abc\n")
    version(groups, "", limit, used, cached)  # a container sees its own group as the root
    assert machine.available_bytes() == available


@pytest.mark.parametrize(("version", "none"), [(version_1, UNLIMITED), (version_2, "max")])
def test_no_limit(groups, version, none):
    (groups / "groups").write_text("4:memory:/app\n0::/app\n")
    version(groups, "app", none)
    assert machine.available_bytes() == 17 * GIB


def test_the_least_of_the_groups_around_counts(groups):
    (groups / "groups").write_text("0::/outer/inner\n")
    version_2(groups, "outer/inner", 8 * GIB)
    version_2(groups, "outer", 6 * GIB, used=4 * GIB)
    assert machine.available_bytes() == 3 * GIB


def test_an_exhausted_group_leaves_nothing_below_zero(groups):
    (groups / "groups").write_text("0::/app\n")
    version_2(groups, "app", 2 * GIB, used=9 * GIB)
    assert machine.available_bytes() == 0


def test_the_limit_of_the_address_space(monkeypatch):
    limit_address_space(monkeypatch, 5 * GIB)
    assert machine.available_bytes() == 3 * GIB  # 2 GiB more, and the 1 GiB there is
