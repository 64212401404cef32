"""What several test files share; what is called rather than asked for lies in helpers/."""

import os
import shutil
import signal
import tempfile
import warnings
from pathlib import Path

# Before anything imports TensorFlow. One thread: pytest's workers have a core each, and bytes are
# promised for equal numbers of threads only (docs/reliability.md). With oneDNN, as the program.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("TF_NUM_INTRAOP_THREADS", "1")
os.environ.setdefault("TF_NUM_INTEROP_THREADS", "1")
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")

import hypothesis
import pytest
from helpers import network, programs
from helpers.browser import chromium

from gatys_norm.network import weights

# A shell ignores these for what it starts in the background, and whatever we start would too.
for number, handler in (
    (signal.SIGINT, signal.default_int_handler),
    (signal.SIGHUP, signal.SIG_DFL),
):
    if signal.getsignal(number) == signal.SIG_IGN:
        signal.signal(number, handler)

# A test that takes more, of its own CPU time, is marked slow. CI measures the coverage, which takes
# time, and may run on a slower processor.
SECONDS = 12.0 if os.environ.get("CI") else 5.0

hypothesis.settings.register_profile("dev", max_examples=20, deadline=None)
hypothesis.settings.register_profile(
    "ci", max_examples=100, deadline=None, derandomize=True, print_blob=True
)
hypothesis.settings.load_profile("dev")  # --hypothesis-profile=ci takes the other


@pytest.fixture(scope="session")
def any_text():
    """Build the tables of characters that `strategies.text` needs, which takes seconds."""
    hypothesis.find(hypothesis.strategies.text(min_size=1), bool)


@pytest.hookimpl(wrapper=True)
def pytest_pyfunc_call(pyfuncitem):
    """Fail a test that takes long and is not marked so."""
    before = _cpu_seconds()
    result = yield
    seconds = _cpu_seconds() - before
    if seconds > SECONDS and pyfuncitem.get_closest_marker("slow") is None:
        pytest.fail(f"took {seconds:.1f} s of CPU time: shorten it or mark it slow")
    return result


def _cpu_seconds():
    """CPU time so far of this process, its children and the programs it started."""
    return sum(os.times()[:4]) + sum(programs.CPU_SECONDS)


@pytest.fixture(scope="session")
def real_weights():
    """Give the `WeightsFile` of `--weights=auto`, or skip the test if there are none."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return weights.locate("auto")
    except weights.WeightsError as error:
        pytest.skip(f"no VGG-19 weights: {error}")


@pytest.fixture(scope="session")
def small_model():
    """A Keras model named like the first two blocks of VGG-19, a few channels wide, float64."""
    return network.make_small_model()


@pytest.fixture
def small_network(monkeypatch, small_model):
    """Make every transfer use a small network."""
    network.use(monkeypatch, small_model)


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    """Headless Chromium, whose console is kept."""
    with chromium(tmp_path_factory.mktemp("profile"), "browser") as started:
        yield started


@pytest.fixture
def eagerly():
    """Run TensorFlow's functions without tracing them, which would take most of a short test."""
    import tensorflow as tf

    tf.config.run_functions_eagerly(True)
    yield
    tf.config.run_functions_eagerly(False)


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
