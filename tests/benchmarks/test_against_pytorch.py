"""How evaluations of both sides are compared; how long they take is not tested."""

import os

import against_pytorch
import pytest


def test_the_faster_layout_is_compared_within_a_round():
    """A machine twice as slow in one round, on both sides, changes no ratio."""
    rounds = [
        {
            "ours float32": slowness * 1.0,
            "float32 contiguous": slowness * 2.0,
            "float32 channels_last": slowness * seconds,
            "ours bfloat16": slowness * 3.0,
            "bfloat16 channels_last": slowness * 4.0,
        }
        for slowness, seconds in ((1, 1.25), (10, 2.5), (2, 1.0))
    ]
    timed = {"one thread": rounds, "all threads": rounds[:1]}
    row = against_pytorch.row(64, "float32", timed)
    assert (row["size"], row["precision"]) == (64, "float32")
    one = {"ours": 2.0, "layout": "channels_last", "peer": 2.0, "ratio": pytest.approx(0.8)}
    assert row["one thread"] == one
    assert row["all threads"] == one | {"ours": 1.0, "peer": 1.25}
    assert against_pytorch.row(64, "bfloat16", timed)["one thread"]["ratio"] == 0.75


def test_an_own_process_stays_the_same_and_has_its_variables():
    before = dict(os.environ)
    with against_pytorch.own_process({"TF_NUM_INTRAOP_THREADS": "1"}) as call:
        assert dict(os.environ) == before
        first = call(os.getpid)
        assert call(os.getenv, "TF_NUM_INTRAOP_THREADS") == "1"
        assert call(os.getenv, "TF_FORCE_GPU_ALLOW_GROWTH") == "true"
        assert call(os.getpid) == first
        assert first != os.getpid()
        with pytest.raises(ZeroDivisionError):
            call(divmod, 1, 0)
