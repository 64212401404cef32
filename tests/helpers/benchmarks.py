"""The programs of scripts/benchmarks, run in this process as from the command line."""

import pytest
import report as benchmark_report

from gatys_norm.cli import program
from gatys_norm.text import replace_between


def run(benchmark, *flags):
    """Run the program of a module with flags; return its exit code."""
    argv = [f"{benchmark.__name__}.py", *map(str, flags)]
    return program.call(benchmark.__doc__, benchmark.benchmark, argv, benchmark.define_flags)


def assert_page_has_markers(benchmark, kind, name=None):
    """Check that the tables of a kind of processor have their place on the page.

    Args:
      benchmark: module.
      kind: kind of processor.
      name: name in the markers; None for that of the module.
    """
    name = name or benchmark.__name__
    markers = benchmark_report.markers(name, kind)
    changed = replace_between(benchmark.PAGE.read_text(), *markers, "\nnew\n")
    assert f"\n<!-- {name} {kind} -->\nnew\n<!-- end {name} {kind} -->\n" in changed


def assert_refused(monkeypatch, capsys, benchmark, flags, words):
    """Check that a program ends with exit code 2 and one line, before any work."""
    monkeypatch.setattr(
        benchmark_report, "in_own_process", lambda *_: pytest.fail("it went to work")
    )
    assert run(benchmark, *flags) == 2
    printed = capsys.readouterr()
    assert words in printed.err
    assert (printed.err.count("\n"), printed.out) == (1, "")
