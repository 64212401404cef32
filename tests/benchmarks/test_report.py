"""Sections of pages between markers, tables, and where a report may go."""

import sys

import pytest
import report as benchmark_report

from gatys_norm.cli import errors

MARKERS = "<!-- speed avx512 -->", "<!-- end speed avx512 -->"
OTHERS = "<!-- speed amx -->", "<!-- end speed amx -->"
PAGE = f"before\n{MARKERS[0]}\nold\n{MARKERS[1]}\nafter\n"
OTHER = f"{OTHERS[0]}\nold\n{OTHERS[1]}\n"


def test_only_what_lies_between_the_markers_changes(tmp_path):
    page = tmp_path / "page.md"
    page.write_text(PAGE + OTHER)
    benchmark_report.update(page, MARKERS)
    assert page.read_text() == PAGE + OTHER
    benchmark_report.update(page, MARKERS, "new\nnewer")
    changed = PAGE.replace("old", "new\nnewer")
    assert page.read_text() == changed + OTHER
    benchmark_report.update(page, OTHERS, "fast")
    assert page.read_text() == changed + OTHER.replace("old", "fast")
    assert [path.name for path in tmp_path.iterdir()] == ["page.md"]


def test_a_section_can_be_written_again_and_be_empty(tmp_path):
    page = tmp_path / "page.md"
    page.write_text(PAGE)
    for _ in range(2):
        benchmark_report.update(page, MARKERS, "")
        assert page.read_text() == PAGE.replace("old", "")


@pytest.mark.parametrize(
    "text",
    [
        "",
        OTHER,
        PAGE.replace(MARKERS[1], "") + OTHER,
        OTHER + PAGE.replace(MARKERS[0], ""),
        f"{MARKERS[1]}\n{MARKERS[0]}",
    ],
)
@pytest.mark.parametrize("new", [None, "new"])
def test_missing_markers_are_refused(tmp_path, text, new):
    page = tmp_path / "page.md"
    page.write_text(text)
    missing = r"^--update: page\.md: has no <!-- speed avx512 --> …"
    with pytest.raises(errors.InputError, match=missing):
        benchmark_report.update(page, MARKERS, new)
    assert page.read_text() == text


def test_a_missing_page_is_refused(tmp_path):
    with pytest.raises(errors.InputError, match=r"^--update: page\.md: "):
        benchmark_report.update(tmp_path / "page.md", MARKERS)


def test_table_is_markdown():
    assert benchmark_report.table("a | b", ["1 | 2", "3 | 4"]) == (
        "| a | b |\n| --- | --- |\n| 1 | 2 |\n| 3 | 4 |"
    )


def test_report_path_makes_its_folder(tmp_path):
    output = tmp_path / "new" / "report.json"
    assert benchmark_report.report_path(str(output)) == output
    assert output.parent.is_dir()
    assert not output.exists()


def test_report_path_refuses_another_kind_of_file_and_a_folder(tmp_path):
    (tmp_path / "folder.json").mkdir()
    for name, words in {"report.txt": "must end in .json", "folder.json": "cannot be"}.items():
        with pytest.raises(errors.InputError, match=rf"^--output: .*{name}: {words}"):
            benchmark_report.report_path(str(tmp_path / name))


@pytest.mark.parametrize("name", ["report.json", "new/report.json", "x.h5/report.json"])
def test_report_path_refuses_a_closed_folder(closed_folder, name):
    with pytest.raises(errors.InputError, match=r"^--output: "):
        benchmark_report.report_path(str(closed_folder / name))


def test_own_process_is_a_fresh_one_and_its_errors_come_back(monkeypatch):
    monkeypatch.setitem(sys.modules, "loaded_here", sys)
    assert (
        benchmark_report.in_own_process(eval, "'loaded_here' in __import__('sys').modules") is False
    )
    assert benchmark_report.in_own_process(divmod, 7, 2) == (3, 1)
    with pytest.raises(ZeroDivisionError):
        benchmark_report.in_own_process(divmod, 1, 0)


@pytest.mark.parametrize(
    ("features", "limit", "kind"),
    [
        (["avx2"], "", "avx2"),
        (["avx2", "avx512f", "avx512_bf16"], "", "avx512"),
        (["avx2", "avx512f", "avx512_bf16", "amx_bf16"], "", "amx"),
        (["avx2", "avx512f", "amx_bf16"], "ALL", "amx"),
        (["avx2", "avx512f", "amx_bf16"], "avx512_core_amx", "amx"),
        (["avx2", "avx512f", "amx_bf16"], "AVX512_CORE_BF16", "avx512"),
        (["avx2", "avx512f", "amx_bf16"], "AVX10_1_512", "avx512"),
        (["avx2", "avx512f", "amx_bf16"], "AVX2", "avx2"),
        (["avx2", "avx512f"], "AVX2_VNNI", "avx2"),
        (["avx2"], "AVX512_CORE", "avx2"),
        (["avx2"], "SSE41", "other"),
        (["asimd", "bf16"], "", "other"),
        ([], "", "other"),
    ],
)
def test_kind_of_a_processor_is_the_widest_that_is_used(features, limit, kind):
    assert benchmark_report.processor_kind(features, limit) == kind


def test_limit_of_onednn_has_two_names():
    limits = [{}, {"DNNL_MAX_CPU_ISA": "AVX2"}, {"ONEDNN_MAX_CPU_ISA": "AVX"}]
    assert [*map(benchmark_report.onednn_limit, limits)] == ["", "AVX2", "AVX"]


def test_machine_line_has_what_a_reader_needs():
    machine = {
        "date": "2020-11-30",
        "device": "CPU z80, 3 cores",
        "processor": "Zilog",
        "cores": 3,
        "instruction_sets": ["avx2", "avx512f"],
        "onednn": False,
        "variables": {"ONEDNN_MAX_CPU_ISA": "AVX2"},
        "memory_gib": 5,
        "system": "CP/M",
        "python": "3.11",
        "packages": {"tensorflow": "2.1", "tensorflow-probability": "0.9", "numpy": "1.0"},
        "weights": "imagenet",
        "load_before": 1.234,
    }
    assert benchmark_report.machine_line(machine, "ray 2.60.0") == (
        "2020-11-30, CPU z80, 3 cores: Zilog, 3 cores (avx2, avx512f; ONEDNN_MAX_CPU_ISA=AVX2; "
        "without oneDNN), 5 GiB, CP/M, Python 3.11, tensorflow 2.1, tensorflow-probability 0.9, "
        "ray 2.60.0, weights imagenet; load average before the start 1.23."
    )


@pytest.mark.parametrize("report", [None, "mine", "[]", "{}"])
def test_tables_of_others_are_not_overwritten(tmp_path, report):
    (tmp_path / "x.md").write_text("mine")
    if report is not None:
        (tmp_path / "x.json").write_text(report)
    with pytest.raises(errors.InputError, match=r"x\.md: .* not written by this program"):
        benchmark_report.report_path(str(tmp_path / "x.json"))


def test_tables_of_an_earlier_report_are_written_again(tmp_path):
    (tmp_path / "x.md").write_text("tables")
    (tmp_path / "x.json").write_text('{"machine": {}, "settings": {}}')
    assert benchmark_report.report_path(str(tmp_path / "x.json")) == tmp_path / "x.json"
