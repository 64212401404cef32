"""What is counted, shared and fitted of single evaluations; how long they take is not tested."""

import evaluations
import numpy as np
import pytest


def test_operations_of_a_network_counted_by_hand(small_model):
    chain = evaluations.convolutions(small_model, ["conv1_2", "relu2_1"])
    assert list(chain) == ["1_1", "1_2", "2_1"]  # the fourth convolution is deeper than needed
    assert [kernel.shape[2:] for kernel, _ in chain.values()] == [(3, 4), (4, 3), (3, 5)]
    assert [bias.shape for _, bias in chain.values()] == [(4,), (3,), (5,)]
    products = 9 * (3 * 4 * 13 * 8 + 4 * 3 * 13 * 8 + 3 * 5 * 6 * 4)
    assert evaluations.operations(chain, 13, 8) == 2 * 2 * products  # with sums; there and back


def test_share_compares_within_a_round():
    """A machine twice as slow in one round, in both things, changes no share."""
    product = 2 * 4096**3
    rounds = [
        {
            "matmul float32": slowness * 1.0,
            "64 float32": slowness * 0.5,
            "matmul bfloat16": slowness * 1.0,
            "64 bfloat16": slowness * seconds,
        }
        for slowness, seconds in ((1, 0.5), (2, 0.25), (10, 1.0))
    ]
    precisions = ("float32", "bfloat16")
    row = evaluations.size_row(rounds, {"size": 64, "operations": product / 4}, precisions)
    assert row["float32"]["share"] == pytest.approx(0.5)
    assert row["float32"]["seconds"] == 1.0
    assert (row["float32"]["least"], row["float32"]["most"]) == (0.5, 5.0)
    assert row["bfloat16"]["share"] == pytest.approx(0.5)  # the median of 0.5, 1 and 0.25


@pytest.mark.parametrize("clock", ["perf_counter", "process_time"])
def test_short_calls_are_repeated(monkeypatch, clock):
    """A call takes a second of a clock that only calls move."""
    calls = []
    monkeypatch.setattr(evaluations.time, clock, lambda: 100.0 + len(calls))
    for least, count in {0: 1, 0.5: 1, 1: 1, 3.5: 4}.items():
        calls.clear()
        monkeypatch.setattr(evaluations, "LEAST_SECONDS", least)
        assert evaluations.seconds_of(lambda: calls.append(None), clock) == 1.0
        assert len(calls) == count


def test_the_first_round_is_not_counted():
    values = iter(range(1, 7))
    timers = {"a": lambda: next(values), "b": lambda: next(values)}
    assert evaluations.time_rounds(timers, 2) == [{"a": 3, "b": 4}, {"a": 5, "b": 6}]


def sized(pairs):
    """Rows of pictures of one pixel in height."""
    return [
        {"size": width, "height": 1, "width": width, "float32": {"seconds": seconds}}
        for width, seconds in pairs
    ]


@pytest.mark.parametrize("exponent", [0.8, 1.0, 1.3])
def test_growth_finds_the_exponent(exponent):
    fit = evaluations.growth(sized((n, 3 * n**exponent) for n in (10, 20, 50, 100)), "float32")
    assert fit["exponent"] == pytest.approx(exponent)
    assert np.allclose(fit["residuals"], 0)
    if exponent > 1.05:
        assert fit["explanation"].startswith("100 px")
    else:
        assert fit["explanation"] is None


def test_growth_names_the_size_that_is_off():
    seconds = {10: 10, 20: 20, 40: 40, 80: 160, 160: 160}
    fit = evaluations.growth(sized(seconds.items()), "float32")
    assert int(np.argmax(fit["residuals"])) == 3
    assert fit["explanation"] == "80 px costs 2.00 times the median per pixel"


def test_growth_needs_three_sizes():
    assert evaluations.growth(sized([(10, 1), (20, 2)]), "float32") is None
