"""What a process may use of the machine, read from descriptions of made-up machines."""

import os

import pytest

from gatys_norm import machine

INTEL = """processor\t: 0
model name\t: Made-up Processor @ 3:1
flags\t\t: fpu avx avx2 avx512f avx512_bf16 amx_bf16

processor\t: 1
model name\t: Another
flags\t\t: fpu
"""
ARM = "processor\t: 0\nFeatures\t: fp asimd sve bf16\n"


@pytest.fixture
def groups(tmp_path, monkeypatch):
    """Make the control groups of `tmp_path` those of this process; returns the folder."""
    monkeypatch.setattr(machine, "CONTROL_GROUPS", tmp_path / "fs")
    monkeypatch.setattr(machine, "CONTROL_GROUPS_OF_PROCESS", tmp_path / "groups")
    monkeypatch.setattr(machine, "affine_cores", lambda: 8)
    (tmp_path / "fs").mkdir()
    return tmp_path


def write(folder, group, **files):
    (folder / "fs" / group).mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (folder / "fs" / group / name.replace("__", ".")).write_text(text)


@pytest.mark.parametrize(
    ("description", "sets", "model"),
    [
        (INTEL, ["avx2", "avx512f", "avx512_bf16", "amx_bf16"], "Made-up Processor @ 3:1"),
        (ARM, ["asimd", "sve", "bf16"], None),
        ("", [], None),
        (None, [], None),
    ],
)
def test_the_first_processor_is_described(tmp_path, monkeypatch, description, sets, model):
    monkeypatch.setattr(machine, "CPU_DESCRIPTION", tmp_path / "cpuinfo")
    if description is not None:
        (tmp_path / "cpuinfo").write_text(description)
    assert machine.instruction_sets() == sets
    assert machine.processor().get("model name") == model


def test_without_control_groups_the_affinity_counts(groups):
    assert machine.cores() == 8


def test_affinity_is_that_of_the_process():
    expected = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    assert machine.affine_cores() == expected


@pytest.mark.parametrize(
    ("quota", "cores"),
    [
        ("max 100000", 8),
        ("400000 100000", 4),
        ("150000 100000", 2),
        ("50000 100000", 1),
        ("9900000 100000", 8),
        ("", 8),
    ],
)
@pytest.mark.parametrize("group", ["", "user/app"])
def test_a_share_of_version_2(groups, quota, cores, group):
    (groups / "groups").write_text(f"0::/{group}\n")
    write(groups, group, cpu__max=quota)
    assert machine.cores() == cores


def test_the_least_of_the_groups_around_counts(groups):
    (groups / "groups").write_text("0::/outer/inner\n")
    write(groups, "outer/inner", cpu__max="600000 100000")
    write(groups, "outer", cpu__max="300000 100000")
    write(groups, "", cpu__max="max 100000")
    assert machine.cores() == 3


@pytest.mark.parametrize(("quota", "cores"), [("-1", 8), ("250000", 3)])
@pytest.mark.parametrize("group", ["docker/abc", ""])
def test_a_share_of_version_1(groups, quota, cores, group):
    """A container sees the outer path and its own group as the root."""
    (groups / "groups").write_text("4:memory:/docker/abc\n2:cpu,cpuacct:/docker/abc\n0::/\n")
    write(groups, f"cpu/{group}", cpu__cfs_quota_us=quota, cpu__cfs_period_us="100000")
    assert machine.cores() == cores


def test_damaged_descriptions_count_for_nothing(groups):
    (groups / "groups").write_bytes(b"\xff\xfe")
    assert machine.cores() == 8
