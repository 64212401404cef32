"""What several test files share."""

import collections
import io
import os
import pickle
import sys
import types
import warnings
from unittest import mock

import numpy as np
import pytest

from gatys_norm import weights

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # before anything imports TensorFlow


@pytest.fixture(scope="session")
def real_weights():
    """Give the `WeightsFile` of `--weights=auto`, or skip the test where none can be had."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return weights.locate("auto")
    except weights.WeightsError as error:
        pytest.skip(f"no VGG-19 weights: {error}")


@pytest.fixture
def legacy_layout():
    """Give the function that writes PyTorch's legacy layout, as bytes."""
    return _legacy_layout


def _legacy_layout(
    saved,
    magic=0x1950A86A20F9469CFC6C,
    version=1001,
    little_endian=True,
    rebuild=lambda storage, offset, shape, strides: (storage, offset, shape, strides),
    pid=lambda kind, number_type, key, device, count, view: (
        kind,
        number_type,
        key,
        device,
        count,
        view,
    ),
    keys=lambda keys: keys,
):
    """Write what `torch.save` would, with real pickles and a stand-in for PyTorch's modules.

    Args:
      saved: a dict; its uint8 and float32 arrays are saved as tensors, all else as it is.
      magic, version, little_endian: what the first three pickles say.
      rebuild, pid, keys: change what is written of each tensor, each storage, the list of keys.
    """
    torch, utilities = types.ModuleType("torch"), types.ModuleType("torch._utils")
    torch._utils = utilities
    for name in ("ByteStorage", "FloatStorage"):
        setattr(torch, name, type(name, (), {"__module__": "torch"}))
    exec("def _rebuild_tensor_v2(): pass", utilities.__dict__)
    number_types = {np.dtype("u1"): torch.ByteStorage, np.dtype("<f4"): torch.FloatStorage}

    class Storage:
        def __init__(self, key, values):
            self.key, self.values = key, values

    class Tensor:
        def __init__(self, storage):
            self.storage = storage

        def __reduce__(self):
            values = self.storage.values
            strides = tuple(stride // values.itemsize for stride in values.strides)
            described = rebuild(self.storage, 0, values.shape, strides)
            hooks = collections.OrderedDict()
            return utilities._rebuild_tensor_v2, (*described, False, hooks)

    class Pickler(pickle.Pickler):
        def persistent_id(self, value):
            if not isinstance(value, Storage):
                return None
            number_type = number_types[value.values.dtype]
            return pid("storage", number_type, value.key, "cpu", value.values.size, None)

    storages = {
        name: Storage(f"{1000 + number}", np.asarray(values, order="C"))
        for number, (name, values) in enumerate(saved.items())
        if isinstance(values, np.ndarray)
    }
    tensors = {
        name: Tensor(storages[name]) if name in storages else values
        for name, values in saved.items()
    }
    stream = io.BytesIO()
    with mock.patch.dict(sys.modules, {"torch": torch, "torch._utils": utilities}):
        pickle.dump(magic, stream, 2)
        pickle.dump(version, stream, 2)
        pickle.dump({"protocol_version": version, "little_endian": little_endian}, stream, 2)
        Pickler(stream, 2).dump(tensors)
        pickle.dump(keys([storage.key for storage in storages.values()]), stream, 2)
    for storage in storages.values():
        stream.write(storage.values.size.to_bytes(8, "little") + storage.values.tobytes())
    return stream.getvalue()
