"""Standard streams that nobody reads, and signals at any moment."""

import contextlib
import os
import signal
import subprocess
import sys
import threading

import pytest
from helpers.programs import COMMAND, ROOT, run_new, start_new, wait_for
from helpers.weights_files import write_weights

from gatys_norm.cli import console

SAY = """
import sys
from gatys_norm.cli import console
with console.forgiving_streams():
    print("λ" * 100_000)
    print("λ" * 100_000, file=sys.stderr)
sys.exit(7)
"""


@pytest.fixture
def transfer(tmp_path):
    """The words of a small transfer into `tmp_path`."""
    write_weights(tmp_path / "tiny.h5", kernel=0.02)
    return [
        *(COMMAND, f"--content={ROOT}/data/river_town.jpg"),
        *(f"--style={ROOT}/data/soft_washes.jpg", "--size=32", "--iterations=3"),
        *("--content_layers=conv1_2", "--style_layers=conv1_1", "--optimizer=adam"),
        *(f"--weights={tmp_path}/tiny.h5", f"--output={tmp_path}/out.png"),
    ]


def left_behind(folder):
    return {path.name for path in folder.iterdir()} - {"tiny.h5"}


@pytest.mark.parametrize("closed", [(1,), (2,), (1, 2), (0, 1, 2)], ids=str)
def test_closed_streams_end_nothing(closed):
    finished = subprocess.run(
        [sys.executable, "-c", SAY],
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        preexec_fn=lambda: [os.close(number) for number in closed],
    )
    assert finished.returncode == 7
    assert len(finished.stdout) == (0 if 1 in closed else 200_001)
    assert len(finished.stderr) == (0 if 2 in closed else 200_001)


@pytest.mark.parametrize("name", ["stdout", "stderr"])
def test_a_full_disk_ends_nothing(name):
    with open("/dev/full", "w") as full:
        finished = run_new(sys.executable, "-c", SAY, **{name: full})
    assert finished.returncode == 7
    assert "Error" not in (finished.stderr or "")


@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_reader_that_leaves_ends_nothing(unbuffered):
    environment = {**os.environ, "PYTHONUNBUFFERED": unbuffered}
    for words in ([sys.executable, "-c", SAY], [COMMAND, "--helpfull", "--help"]):
        process = start_new(*words, env=environment)
        process.stdout.close()
        error = process.stderr.read()
        process.stderr.close()
        assert process.wait(60) in (0, 2, 7)
        assert "Error" not in error


def test_a_file_never_gets_the_number_of_a_closed_stream():
    code = (
        "import os; from gatys_norm.cli import console\n"
        "with console.forgiving_streams(): raise SystemExit(os.open(os.devnull, os.O_RDONLY))"
    )
    finished = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        preexec_fn=lambda: [os.close(number) for number in range(3)],
    )
    assert finished.returncode > 2


def test_streams_come_back(capsys):
    before = sys.stdout, sys.stderr
    with console.forgiving_streams():
        print("inside")
        assert sys.stdout is not before[0]
    assert (sys.stdout, sys.stderr) == before
    assert capsys.readouterr().out == "inside\n"


def test_native_words_are_silenced_for_a_while(capfd):
    def fail():
        with console.silent_stderr():
            os.write(2, b"noise")
            raise ValueError("failed")

    with pytest.raises(ValueError, match="failed"):
        fail()
    os.write(2, b"words")
    assert capfd.readouterr().err == "words"


@pytest.mark.parametrize("number", console.ENDING_SIGNALS)
def test_a_signal_ends_in_order_and_its_handler_comes_back(number):
    before = signal.getsignal(number)
    with pytest.raises(console.Interrupted) as caught, console.ending_in_order():
        os.kill(os.getpid(), number)
    assert caught.value.number == number
    assert signal.getsignal(number) == before


def test_a_signal_that_was_swallowed_is_raised_again():
    def swallow():
        with console.ending_in_order():
            with contextlib.suppress(console.Interrupted):
                os.kill(os.getpid(), signal.SIGTERM)
            console.raise_if_interrupted()

    with pytest.raises(console.Interrupted):
        swallow()
    with console.ending_in_order():
        console.raise_if_interrupted()  # a new command begins anew


@pytest.mark.parametrize("number", console.ENDING_SIGNALS)
def test_an_ignored_signal_stays_ignored(number):
    before = signal.signal(number, signal.SIG_IGN)
    try:
        with console.ending_in_order(), console.signals_noted() as received:
            os.kill(os.getpid(), number)
        assert received == []
    finally:
        signal.signal(number, before)


def test_another_thread_handles_none():
    handlers = []

    def look():
        with console.ending_in_order(), console.signals_noted():
            handlers.append(signal.getsignal(signal.SIGTERM))

    thread = threading.Thread(target=look)
    thread.start()
    thread.join()
    assert handlers == [signal.getsignal(signal.SIGTERM)]


@pytest.mark.slow
def test_words_that_get_lost_cost_no_picture(tmp_path, transfer):
    with open("/dev/full", "w") as full:
        assert run_new(*transfer, stdout=full, stderr=full).returncode == 0
    assert left_behind(tmp_path) == {"out.png", "out.json"}


@pytest.mark.slow
@pytest.mark.parametrize("number", console.ENDING_SIGNALS)
def test_a_signal_while_tensorflow_loads_leaves_nothing(tmp_path, transfer, number):
    process = start_new(*transfer)
    wait_for(lambda: left_behind(tmp_path))  # the lock, held before TensorFlow is loaded
    process.send_signal(number)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out, err) == (128 + number, "", "gatys-norm: interrupted\n")
    assert left_behind(tmp_path) == set()


@pytest.mark.slow
def test_a_dropped_connection_saves_what_a_stop_saves(tmp_path, transfer):
    process = start_new(*transfer, "--iterations=100000", "--checkpoint_every=1")
    wait_for((tmp_path / "out.checkpoint.npz").exists)
    process.send_signal(signal.SIGHUP)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 128 + signal.SIGHUP, err
    assert "--resume" in out
    assert left_behind(tmp_path) == {"out.png", "out.json", "out.checkpoint.npz"}
