"""Fixtures of the benchmarks."""

import pickle

import pytest
import report as benchmark_report


@pytest.fixture
def in_this_process(monkeypatch):
    """Replace `benchmark_report.in_own_process`: all that goes there and back can be sent."""

    def call(function, *arguments):
        function, arguments = pickle.loads(pickle.dumps((function, arguments)))
        return pickle.loads(pickle.dumps(function(*arguments)))

    monkeypatch.setattr(benchmark_report, "in_own_process", call)
