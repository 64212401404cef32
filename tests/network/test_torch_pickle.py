"""Decoding PyTorch's legacy layout, honest, damaged and hostile."""

import os
import pickle
from typing import Any

import numpy as np
import pytest
from helpers.weights_files import legacy_layout

from gatys_norm.network.torch_pickle import LegacyPickleError, read_tensors

SAVED: dict[str, Any] = {
    "kernel": np.arange(24, dtype=np.uint8).reshape(2, 3, 4),
    "table": np.linspace(-1, 1, 5, dtype=np.float32),
    "scalar": np.array(2.5, np.float32),
}


def test_tensors_come_back_as_they_were_saved():
    tensors = read_tensors(legacy_layout(SAVED))

    assert list(tensors) == list(SAVED)
    for name, values in SAVED.items():
        assert tensors[name].dtype == values.dtype
        assert tensors[name].shape == values.shape
        np.testing.assert_array_equal(tensors[name], values)


def test_a_tensor_may_be_a_part_of_its_storage():
    def last_two_rows(storage, offset, shape, strides):
        return storage, 4, (2, 4), (4, 1)

    data = legacy_layout({"x": np.arange(12, dtype=np.float32)}, rebuild=last_two_rows)

    np.testing.assert_array_equal(read_tensors(data)["x"], [[4, 5, 6, 7], [8, 9, 10, 11]])


def test_truncated_anywhere_is_an_error():
    data = legacy_layout(SAVED)

    for length in range(len(data)):
        with pytest.raises(LegacyPickleError):
            read_tensors(data[:length])


def test_a_changed_byte_gives_tensors_or_an_error_but_never_anything_else():
    data = legacy_layout(SAVED)

    for position in range(len(data)):
        for change in (0x01, 0x80, 0xFF):
            damaged = bytearray(data)
            damaged[position] ^= change
            try:
                tensors = read_tensors(bytes(damaged))
            except LegacyPickleError:
                continue
            assert sum(values.nbytes for values in tensors.values()) <= len(data)


class Call:
    """Pickles as a call of `function`."""

    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


@pytest.mark.parametrize("place", ["whole file", "among the tensors", "in place of the keys"])
def test_a_hostile_pickle_does_not_run(place, tmp_path):
    marker = tmp_path / "ran"
    hostile = Call(os.system, f"touch {marker}")
    if place == "whole file":
        data = pickle.dumps(hostile)
    elif place == "among the tensors":
        data = legacy_layout({**SAVED, "hostile": hostile})
    else:
        data = legacy_layout(SAVED, keys=lambda keys: hostile)

    with pytest.raises(LegacyPickleError):
        read_tensors(data)

    assert not marker.exists()
    pickle.loads(pickle.dumps(hostile))
    assert marker.exists()  # so the pickle would have run


def test_an_unknown_name_is_named():
    with pytest.raises(LegacyPickleError, match=r"builtins\.eval|__builtin__\.eval"):
        read_tensors(legacy_layout({"x": Call(eval, "1")}))


def test_a_later_pickle_protocol_is_refused_by_its_instructions():
    hidden_name = pickle.dumps(os.system, protocol=4)  # names by STACK_GLOBAL

    with pytest.raises(LegacyPickleError, match="instruction"):
        read_tensors(hidden_name)


def test_a_vast_memo_index_allocates_nothing():
    vast = pickle.PROTO + b"\x02" + pickle.NONE + pickle.LONG_BINPUT + b"\xff\xff\xff\x7f."

    with pytest.raises(LegacyPickleError, match="memo"):
        read_tensors(vast)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"magic": 1}, "not a file in PyTorch's legacy layout"),
        ({"version": 1002}, "version 1002"),
        ({"little_endian": False}, "little-endian"),
        ({"keys": lambda keys: keys[1:]}, "storages listed"),
        ({"keys": lambda keys: [*keys, keys[0]]}, "storages listed"),
        ({"rebuild": lambda *a: (a[0], 0, (10**9, 10**9), (0, 0))}, "row by row"),
        ({"rebuild": lambda *a: (a[0], 0, (10**12,), (1,))}, "past its storage"),
        ({"rebuild": lambda *a: (a[0], 10**6, a[2], a[3])}, "past its storage"),
        ({"rebuild": lambda *a: (a[0], -1, a[2], a[3])}, "whole numbers"),
        ({"rebuild": lambda *a: ("text", *a[1:])}, "without a storage"),
        ({"pid": lambda *a: (*a[:4], 2**62, None)}, "not as described"),
        ({"pid": lambda *a: (*a[:2], "1000", *a[3:])}, "described in two ways"),
        ({"pid": lambda *a: ("module", *a[1:])}, "not a plain storage"),
        ({"pid": lambda *a: (a[0], "text", *a[2:])}, "not a plain storage"),
        ({"pid": lambda *a: (*a[:5], ("view", 0, 1))}, "not a plain storage"),
        ({"pid": lambda *a: a[:3]}, "damaged"),
    ],
)
def test_an_inconsistent_file_is_refused(changed, message):
    with pytest.raises(LegacyPickleError, match=message):
        read_tensors(legacy_layout(SAVED, **changed))


@pytest.mark.parametrize("saved", [{"x": 1}, {3: np.zeros(2, np.float32)}])
def test_only_a_dict_of_tensors_is_accepted(saved):
    with pytest.raises(LegacyPickleError, match="not a dict from names to tensors"):
        read_tensors(legacy_layout(saved))


def test_left_over_bytes_are_refused():
    with pytest.raises(LegacyPickleError, match="left over"):
        read_tensors(legacy_layout(SAVED) + b"\0")
