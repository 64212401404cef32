"""Whatever a user's surroundings hold, the same command gives the same picture or says why not."""

import contextlib
import gc
import hashlib
import json
import os
import sys
import types
import warnings

import numpy as np
import pytest
import tensorflow as tf
from helpers.programs import COMMAND, ROOT, run_new
from helpers.weights_files import write_weights

from gatys_norm import surroundings, transfer
from gatys_norm.cli import errors, loading
from gatys_norm.config import TransferConfig
from gatys_norm.network import device, keras_vgg19, vgg, weights

SETTINGS = {  # the name of Keras's setting: how it is read, how it is set, another value
    "floatx": (tf.keras.backend.floatx, tf.keras.backend.set_floatx, "float16"),
    "policy": (
        tf.keras.mixed_precision.global_policy,
        tf.keras.mixed_precision.set_global_policy,
        "mixed_bfloat16",
    ),
    "layout": (
        tf.keras.backend.image_data_format,
        tf.keras.backend.set_image_data_format,
        "channels_first",
    ),
}
PICTURE = np.random.default_rng(0).uniform(0, 255, (18, 21, 3)).astype(np.float32)


@pytest.fixture
def weights_file(tmp_path):
    """Weights of one value."""
    write_weights(tmp_path / "tiny.h5", kernel=0.02, bias=1.0)
    return weights.locate(str(tmp_path / "tiny.h5"))


@pytest.fixture(params=SETTINGS)
def other_setting(request):
    """One of Keras's global settings is another one; the test sees that it stays so."""
    get, put, value = SETTINGS[request.param]
    before = get()
    put(value)
    changed = get()
    yield
    assert get() == changed
    put(before)


def features(weights_file):
    model = keras_vgg19.make()
    weights.load_into(model, weights_file)
    extractor = vgg.Extractor(model, ["conv2_1", "relu3_1"])
    return {name: value.numpy() for name, value in extractor(tf.constant(PICTURE)).items()}


@pytest.fixture
def usual_features(weights_file):
    """Features of `PICTURE` under Keras's own settings."""
    return features(weights_file)


def test_no_setting_of_keras_reaches_the_network(usual_features, weights_file, other_setting):
    for name, value in features(weights_file).items():
        assert value.dtype == np.float32
        np.testing.assert_array_equal(value, usual_features[name])


def test_the_picture_is_prepared_as_keras_does():
    expected = tf.keras.applications.vgg19.preprocess_input(PICTURE[np.newaxis].copy())
    np.testing.assert_array_equal(vgg._preprocessed(tf.constant(PICTURE)), expected)


def test_another_backend_that_is_loaded_is_named(monkeypatch):
    monkeypatch.setattr(tf.keras.backend, "backend", lambda: "jax")
    with pytest.raises(keras_vgg19.KerasError, match=r"the backend jax .*KERAS_BACKEND=tensorflow"):
        keras_vgg19.make()


def test_rewrites_of_graphs_are_off_inside_and_come_back():
    optimizer = tf.config.optimizer
    try:
        optimizer.set_experimental_options({"auto_mixed_precision_mkl": True})
        optimizer.set_jit(True)
        with device.graphs_in_full_precision():
            options = optimizer.get_experimental_options()
            assert not any(options.get(name) for name in device.REWRITES)
            assert optimizer.get_jit() == ""
        assert optimizer.get_experimental_options()["auto_mixed_precision_mkl"] is True
        assert optimizer.get_jit() == "autoclustering"
    finally:
        optimizer.set_experimental_options(dict.fromkeys(device.REWRITES, False))
        optimizer.set_jit(False)


@pytest.mark.parametrize("is_enabled", [True, False])
@pytest.mark.parametrize("error", [None, KeyboardInterrupt])
def test_tensor_float_32_is_off_inside_and_comes_back(is_enabled, error):
    before = tf.config.experimental.tensor_float_32_execution_enabled()
    try:
        tf.config.experimental.enable_tensor_float_32_execution(is_enabled)
        with contextlib.suppress(KeyboardInterrupt), device.graphs_in_full_precision():
            assert not tf.config.experimental.tensor_float_32_execution_enabled()
            if error:
                raise error
        assert tf.config.experimental.tensor_float_32_execution_enabled() is is_enabled
    finally:
        tf.config.experimental.enable_tensor_float_32_execution(before)


def test_without_eager_execution_it_says_so(monkeypatch):
    monkeypatch.setattr(tf, "executing_eagerly", lambda: False)
    with pytest.raises(RuntimeError, match="eager execution is switched off"):
        transfer.stylize(TransferConfig(content="c.png", style="s.png"))


def test_variables_are_set_for_a_while(monkeypatch):
    monkeypatch.setenv("GATYS_A", "before")
    monkeypatch.delenv("GATYS_B", raising=False)
    with surroundings.environment_variables({"GATYS_A": None, "GATYS_B": "inside"}):
        assert "GATYS_A" not in os.environ
        assert os.environ["GATYS_B"] == "inside"
    assert os.environ["GATYS_A"] == "before"
    assert "GATYS_B" not in os.environ


def test_a_program_drops_what_makes_numbers_coarser_and_records_the_rest(monkeypatch):
    for name in (*surroundings.COARSER, *surroundings.RECORDED):
        monkeypatch.setenv(name, "1")
    assert set(surroundings.variables_in_effect()) == {
        *surroundings.COARSER,
        *surroundings.RECORDED,
    }
    surroundings.drop_coarser_ways()
    assert surroundings.variables_in_effect() == dict.fromkeys(surroundings.RECORDED, "1")


@pytest.mark.parametrize(("users", "inside"), [(None, "1"), ("", "1"), ("0", "0"), ("1", "1")])
def test_tensorflow_is_imported_with_onednn_unless_the_user_says_otherwise(
    monkeypatch, users, inside
):
    if users is None:
        monkeypatch.delenv(surroundings.ONEDNN, raising=False)
    else:
        monkeypatch.setenv(surroundings.ONEDNN, users)
    with surroundings.importing_tensorflow():
        assert os.environ[surroundings.ONEDNN] == inside
        assert os.environ["KERAS_BACKEND"] == "tensorflow"
        assert not gc.isenabled()
    assert os.environ.get(surroundings.ONEDNN) == users
    assert gc.isenabled()
    recorded = surroundings.variables_in_effect().get(surroundings.ONEDNN)
    assert recorded == (users or None)


@pytest.fixture
def without_onednn(monkeypatch):
    """TensorFlow was imported with its defaults, on a processor with AVX2 alone."""
    monkeypatch.delenv(surroundings.ONEDNN, raising=False)
    monkeypatch.setattr(device._pywrap_util_port, "IsMklEnabled", lambda: False)
    monkeypatch.setattr(device.machine, "instruction_sets", lambda: ["avx", "avx2", "fma"])
    device.warn_without_onednn.cache_clear()
    yield
    device.warn_without_onednn.cache_clear()


@pytest.mark.usefixtures("without_onednn")
def test_a_tensorflow_that_was_imported_without_onednn_is_named_once():
    with pytest.warns(UserWarning, match="without oneDNN.* TF_ENABLE_ONEDNN_OPTS=1 before"):
        device.warn_without_onednn()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        device.warn_without_onednn()


@pytest.mark.usefixtures("without_onednn")
@pytest.mark.parametrize("reason", ["chosen", "on", "another processor", "GPU"])
def test_nothing_is_said_where_onednn_is_on_off_on_purpose_or_not_available(monkeypatch, reason):
    if reason == "chosen":
        monkeypatch.setenv(surroundings.ONEDNN, "0")
    elif reason == "on":
        monkeypatch.setattr(device._pywrap_util_port, "IsMklEnabled", lambda: True)
    elif reason == "GPU":
        monkeypatch.setattr(device, "gpus", lambda: ["GPU:0"])
    else:
        monkeypatch.setattr(device.machine, "instruction_sets", list)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        device.warn_without_onednn()


ONEDNN_CODE = """
import os, gatys_norm
gatys_norm.stylize
from gatys_norm.network import device
facts = device.environment()
print(facts["onednn"], facts["variables"], "TF_ENABLE_ONEDNN_OPTS" in os.environ)
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("users", "expected"),
    [("", "True {} False"), ("0", "False {'TF_ENABLE_ONEDNN_OPTS': '0'} True")],
)
def test_the_library_computes_with_onednn_and_the_record_says_so(users, expected):
    environment = {name: value for name, value in os.environ.items() if "ONEDNN" not in name}
    environment |= {surroundings.ONEDNN: users} if users else {}
    finished = run_new(sys.executable, "-c", ONEDNN_CODE, env=environment)
    assert finished.stdout.strip() == expected, finished.stderr


@pytest.mark.slow
def test_the_same_bytes_in_hostile_surroundings(tmp_path, weights_file):
    """Every setting at once, left from other work on the machine."""
    (tmp_path / "keras").mkdir()
    settings = {"floatx": "float16", "image_data_format": "channels_first", "backend": "theano"}
    (tmp_path / "keras" / "keras.json").write_text(json.dumps(settings | {"epsilon": 1e-7}))
    hostile = {
        "KERAS_HOME": str(tmp_path / "keras"),
        "KERAS_BACKEND": "jax",
        "TF_XLA_FLAGS": "--tf_xla_auto_jit=2 --tf_xla_cpu_global_jit",
        "ONEDNN_DEFAULT_FPMATH_MODE": "BF16",
        "PYTHONWARNINGS": "error",
        "LC_ALL": "C",
        "TMPDIR": "/nowhere",
    }
    pictures = []
    for name, more in (("usual", {}), ("hostile", hostile)):
        output = tmp_path / f"{name}.png"
        finished = run_new(
            *(COMMAND, f"--content={ROOT}/data/river_town.jpg", "--size=48", "--iterations=4"),
            *(f"--style={ROOT}/data/soft_washes.jpg", "--style_layers=conv1_1,conv3_1"),
            *(
                "--content_layers=conv2_1",
                "--optimizer=adam",
                f"--weights={weights_file.path}",
                f"--output={output}",
            ),
            env=os.environ | more,
        )
        assert finished.returncode == 0, finished.stderr
        pictures.append(hashlib.sha256(output.read_bytes()).hexdigest())
    assert pictures[0] == pictures[1]


@pytest.mark.slow
def test_a_tensorflow_that_cannot_be_loaded_is_one_line(tmp_path, weights_file):
    (tmp_path / "tensorflow.py").write_text("raise ImportError('libfoo.so is missing')")
    finished = run_new(
        *(COMMAND, f"--content={ROOT}/data/river_town.jpg", f"--output={tmp_path}/out.png"),
        *(f"--style={ROOT}/data/soft_washes.jpg", f"--weights={weights_file.path}"),
        env=os.environ | {"PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}"},
    )
    assert finished.returncode == 1
    assert finished.stderr.count("\n") == 1
    assert "TensorFlow could not be loaded (libfoo.so is missing)" in finished.stderr
    assert not list(tmp_path.glob("*out*"))


@pytest.mark.parametrize(("level", "way_out"), [(1, "anew"), (2, "PYTHONOPTIMIZE=2")])
def test_dropped_docstrings_are_named_as_the_reason(monkeypatch, level, way_out):
    def fail():
        with loading._loading():
            raise AttributeError("'NoneType' object has\nno attribute 'replace'")

    flags = types.SimpleNamespace(optimize=level)
    monkeypatch.setattr(loading, "sys", types.SimpleNamespace(flags=flags))
    with pytest.raises(errors.LoadingError, match=f"has no attribute 'replace'.*{way_out}"):
        fail()


@pytest.mark.slow
def test_the_library_survives_keras_settings_too(tmp_path, weights_file):
    code = (
        "import gatys_norm, tensorflow as tf\n"
        "from gatys_norm.network import keras_vgg19\n"
        "print(keras_vgg19.make().layers[1].kernel.dtype)"
    )
    finished = run_new(sys.executable, "-c", code, env=os.environ | {"KERAS_BACKEND": "jax"})
    assert finished.stdout == "float32\n", finished.stderr
