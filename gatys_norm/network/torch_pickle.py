"""Tensors from a file in PyTorch's legacy layout, without PyTorch and without trusting the file.

The layout, which `torch.save` wrote before it wrote zip archives, little-endian throughout:
three pickles (a magic number, a version, facts about the machine), a pickle of the saved object in
which each tensor names its storage by a persistent id, a pickle of the list of storage keys, and
for each key the storage: its number of elements as int64, then their raw bytes.
Source: `_legacy_save` and `_legacy_load` in PyTorch's `torch/serialization.py`.
"""

import dataclasses
import io
import math
import pickle
import pickletools
from typing import Any

import numpy as np

_MAGIC_NUMBER = 0x1950A86A20F9469CFC6C
_PROTOCOL_VERSION = 1001

# The opcodes that a dict of tensors needs. All others are refused before unpickling starts, so that
# nothing builds instances, sets state, looks up names in other ways or allocates large buffers.
_OPCODES = frozenset(
    "PROTO STOP MARK NONE NEWTRUE NEWFALSE BININT BININT1 BININT2 LONG1 BINUNICODE "  # noqa: SIM905
    "EMPTY_TUPLE TUPLE TUPLE1 TUPLE2 TUPLE3 EMPTY_LIST APPEND APPENDS EMPTY_DICT SETITEM SETITEMS "
    "BINPUT LONG_BINPUT BINGET LONG_BINGET GLOBAL REDUCE BINPERSID".split()
)


class LegacyPickleError(ValueError):
    """The data is not a dict of tensors in the legacy layout; the message says what is wrong."""


@dataclasses.dataclass(frozen=True)
class _Storage:
    """A vector of numbers, which is read later, from the end of the file."""

    key: str
    dtype: np.dtype[Any]
    count: int


@dataclasses.dataclass(frozen=True)
class _Tensor:
    """A row-major view of `storage` that starts `offset` elements into it."""

    storage: _Storage
    offset: int
    shape: tuple[int, ...]


def read_tensors(data: bytes) -> dict[str, np.ndarray]:
    """Decode a dict of tensors.

    Args:
      data: the whole file, as bytes.

    Returns:
      A dict from name to a read-only NumPy array, uint8 or little-endian float32, which shares
      the memory of `data`.

    Raises:
      LegacyPickleError: the data is truncated, has another layout, is inconsistent, or refers to a
        name that tensors do not need. Nothing from the file is ever called.
    """
    try:
        return _read_tensors(io.BytesIO(data))
    except LegacyPickleError:
        raise
    except Exception as error:  # a damaged pickle can raise any type
        raise LegacyPickleError(f"damaged or truncated ({error})") from error


def _read_tensors(stream: io.BytesIO) -> dict[str, np.ndarray]:
    storages: dict[str, _Storage] = {}  # by key, filled while the tensors are unpickled
    if _unpickle(stream, storages) != _MAGIC_NUMBER:
        raise LegacyPickleError("not a file in PyTorch's legacy layout")
    version = _unpickle(stream, storages)
    if version != _PROTOCOL_VERSION:
        raise LegacyPickleError(f"layout version {version!r} instead of {_PROTOCOL_VERSION}")
    machine = _unpickle(stream, storages)
    if not isinstance(machine, dict) or machine.get("little_endian") is not True:
        raise LegacyPickleError("not written as little-endian")

    tensors = _unpickle(stream, storages)
    if not isinstance(tensors, dict) or not all(
        type(name) is str and type(tensor) is _Tensor for name, tensor in tensors.items()
    ):
        raise LegacyPickleError("not a dict from names to tensors")
    keys = _unpickle(stream, storages)
    if not isinstance(keys, list) or sorted(keys) != sorted(storages):
        raise LegacyPickleError("the storages listed are not those the tensors use")
    values = {key: _read_storage(stream, storages[key]) for key in keys}
    if stream.read(1):
        raise LegacyPickleError("bytes left over after the last storage")
    return {name: _view(values[tensor.storage.key], tensor) for name, tensor in tensors.items()}


def _unpickle(stream: io.BytesIO, storages: dict[str, _Storage]) -> Any:
    """Unpickle the object at which `stream` stands, noting the storages it refers to."""
    data, start = stream.getvalue(), stream.tell()
    for opcode, argument, _ in pickletools.genops(stream):
        if opcode.name not in _OPCODES:
            raise LegacyPickleError(f"uses the pickle instruction {opcode.name}")
        # CPython allocates its memo up to the highest index, whether used or not. A regular pickle
        # numbers its objects from 0, so no index is larger than the number of bytes read.
        if opcode.name == "LONG_BINPUT" and (argument or 0) > stream.tell():
            raise LegacyPickleError(f"uses memo index {argument}")
    return _Unpickler(io.BytesIO(data[start : stream.tell()]), storages).load()


class _Unpickler(pickle.Unpickler):
    """Unpickles dicts, lists, tuples, numbers, strings and tensors, and nothing else."""

    def __init__(self, file: io.BytesIO, storages: dict[str, _Storage]) -> None:
        super().__init__(file)
        self.storages = storages

    def find_class(self, module: str, name: str) -> object:
        """Return this module's replacement for an allowed name; nothing is imported."""
        if (module, name) not in _NAMES:
            raise LegacyPickleError(f"asks for {module}.{name}, which tensors do not need")
        return _NAMES[module, name]

    def persistent_load(self, pid: Any) -> _Storage:
        """Turn ("storage", type, key, device, element count, view) into a `_Storage`."""
        kind, dtype, key, _, count, view = pid
        if (
            kind != "storage"
            or not isinstance(dtype, np.dtype)
            or type(key) is not str
            or not _is_size(count)
            or view is not None
        ):
            raise LegacyPickleError("refers to something that is not a plain storage")
        storage = _Storage(key, dtype, count)
        if self.storages.setdefault(key, storage) != storage:
            raise LegacyPickleError(f"storage {key} is described in two ways")
        return storage


def _rebuild_tensor(
    storage: Any, offset: Any, shape: Any, strides: Any, requires_grad: Any, backward_hooks: Any
) -> _Tensor:
    """Replace `torch._utils._rebuild_tensor_v2`; the last two arguments matter in training only."""
    if type(storage) is not _Storage or type(shape) is not tuple:
        raise LegacyPickleError("a tensor without a storage or a shape")
    if not all(_is_size(number) for number in (offset, *shape)):
        raise LegacyPickleError("a tensor's sizes are not whole numbers")
    # Only contiguous tensors: with other strides a few bytes could become terabytes.
    if strides != tuple(math.prod(shape[axis + 1 :]) for axis in range(len(shape))):
        raise LegacyPickleError(f"a tensor of shape {shape} is not stored row by row")
    if offset + math.prod(shape) > storage.count:
        raise LegacyPickleError(f"a tensor of shape {shape} reaches past its storage")
    return _Tensor(storage, offset, shape)


def _no_backward_hooks() -> None:
    """Replace `collections.OrderedDict`, which the layout uses for an empty set of hooks."""


_NAMES: dict[tuple[str, str], object] = {
    ("torch._utils", "_rebuild_tensor_v2"): _rebuild_tensor,
    ("collections", "OrderedDict"): _no_backward_hooks,
    ("torch", "ByteStorage"): np.dtype("u1"),
    ("torch", "FloatStorage"): np.dtype("<f4"),
}


def _is_size(number: object) -> bool:
    return type(number) is int and number >= 0


def _read_storage(stream: io.BytesIO, storage: _Storage) -> np.ndarray:
    """Read one storage where the stream stands: int64 count, then that many elements."""
    count = int.from_bytes(stream.read(8), "little", signed=True)
    if count != storage.count:
        raise LegacyPickleError(f"storage {storage.key} holds {count} elements, not as described")
    data, start = stream.getvalue(), stream.tell()
    end = start + count * storage.dtype.itemsize
    if end > len(data):
        raise LegacyPickleError(f"truncated within storage {storage.key}")
    stream.seek(end)
    return np.frombuffer(data, storage.dtype, count, offset=start)


def _view(values: np.ndarray, tensor: _Tensor) -> np.ndarray:
    size = math.prod(tensor.shape)
    return values[tensor.offset : tensor.offset + size].reshape(tensor.shape)
