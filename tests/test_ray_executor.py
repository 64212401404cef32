"""Cells on a cluster of two machines, both of them this one, on loopback."""

import dataclasses
import importlib.util
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import psutil
import pytest
from helpers.weights_files import write_weights

from gatys_norm import cells, images, ray_executor, runs, transfer
from gatys_norm.config import TransferConfig

ROOT = Path(__file__).parent.parent
SCRIPT = ROOT / "scripts" / "reproduce.py"
LAYERS = {"content_layers": ("conv1_2",), "style_layers": ("conv1_1",)}
STYLES = ROOT / "data" / "flowing_strokes.jpg", ROOT / "data" / "soft_washes.jpg"

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        importlib.util.find_spec("ray") is None and not os.environ.get("CI"),
        reason="Ray is not installed (pip install gatys-norm[ray])",
    ),
]


@pytest.fixture(scope="module")
def cluster():
    """Two machines with a core each."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")  # loopback, see `connected`
        from ray.cluster_utils import Cluster

        cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
        cluster.add_node(num_cpus=1)
        yield cluster
        cluster.shutdown()


@pytest.fixture
def connected(cluster):
    """Be connected to the two machines."""
    with ray_executor.connected(cluster.address):
        yield


@pytest.fixture
def configs(tmp_path):
    """Settings of six short transfers over a network of two layers."""
    write_weights(tmp_path / "weights.h5", kernel=0.02)
    generator = np.random.default_rng(0)
    for name in ("content", "style"):
        picture = generator.uniform(0, 255, (48, 64, 3)).astype(np.float32)
        images.save_picture(tmp_path / f"{name}.png", picture)
    base = TransferConfig(
        content=str(tmp_path / "content.png"),
        style=str(tmp_path / "style.png"),
        size=(64,),
        iterations=(12,),
        weights=str(tmp_path / "weights.h5"),
        **LAYERS,
    ).resolved()
    return [dataclasses.replace(base, lambda_os=10.0**-power) for power in range(6)]


@pytest.fixture
def locally(tmp_path):
    """Give the function that runs cells here; returns {config: picture file's bytes}."""

    def run(configs):
        transfer.tf.config.experimental.enable_op_determinism()
        return pictures(cells.run_cells(configs, tmp_path / "local"))

    return run


def pictures(outcomes):
    outcomes = list(outcomes)
    assert [outcome.error for outcome in outcomes] == [None] * len(outcomes)
    return {outcome.config: outcome.output.read_bytes() for outcome in outcomes}


def workers(name="_run"):
    """Ray's processes that run a task or an actor of this name now; a cell by default."""
    return [
        process
        for process in psutil.process_iter(["cmdline"])
        if process.info["cmdline"] and process.info["cmdline"][0].startswith(f"ray::{name}")
    ]


def wait_for(condition, seconds=60):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


@pytest.mark.usefixtures("connected")
@pytest.mark.parametrize("shared", [False, True])
def test_a_grid_equals_the_local_one_picture_for_picture(configs, locally, tmp_path, shared):
    seen = []
    folder = tmp_path / "cluster"
    execute = ray_executor.executor(shared=shared)
    outcomes = list(cells.run_cells(configs, folder, seen.append, execute=execute))
    assert pictures(outcomes) == locally(configs)
    for outcome in outcomes:
        assert outcome.record["config"] == outcome.config.as_dict()
        assert outcome.record["status"] == "completed"
        assert runs.is_finished(outcome.output, outcome.config)
        files = {path.name for path in outcome.output.parent.iterdir()}
        assert files == {"result.png", "result.json"}
    assert {path.parent.parent for path in folder.rglob("*.png")} == {folder}
    assert max(progress.running for progress in seen) == 2
    assert seen[-1].cells_done == 6
    again = list(cells.run_cells(configs, folder, execute=ray_executor.executor(shared=shared)))
    assert again == [next(o for o in outcomes if o.config == config) for config in configs]


@pytest.mark.usefixtures("connected")
def test_workers_keep_their_network_for_the_next_cell(configs, tmp_path):
    processes = set()

    def note(_):
        processes.update(process.pid for process in workers())

    execute = ray_executor.executor()
    assert len(pictures(cells.run_cells(configs, tmp_path / "c", note, execute=execute))) == 6
    assert len(processes) <= 2


@pytest.mark.usefixtures("connected")
@pytest.mark.parametrize("shared", [False, True])
def test_a_killed_worker_costs_nothing(configs, locally, tmp_path, shared):
    """Its cell goes on from its checkpoint and ends in the same picture."""
    folder = tmp_path / "cluster"
    long = [dataclasses.replace(config, iterations=(400,)) for config in configs[:3]]
    place = folder if shared else ray_executor.weights.cache_folder() / "cells"
    names = [cells.output_path(folder, config).parent.name for config in long]
    killed = []

    def kill_one(_):
        checkpoints = [place / name / "result.checkpoint.npz" for name in names]
        if not killed and any(path.exists() for path in checkpoints):
            killed.extend(workers()[:1])
            killed[0].kill()

    execute = ray_executor.executor(shared=shared)
    found = pictures(cells.run_cells(long, folder, kill_one, 5, execute))
    assert len(killed) == 1
    assert found == locally(long)
    assert shared or not any((place / name).exists() for name in names)


@pytest.mark.usefixtures("connected")
def test_a_killed_board_costs_nothing(configs, locally, tmp_path):
    """The one process besides the driver that all cells speak to."""
    killed = []

    def kill(progress):
        if progress.running and not killed:
            killed.extend(workers("_Board"))
            killed[0].kill()

    long = [dataclasses.replace(config, iterations=(200,)) for config in configs[:3]]
    execute = ray_executor.executor()
    found = pictures(cells.run_cells(long, tmp_path / "cluster", kill, execute=execute))
    assert len(killed) == 1
    assert found == locally(long)


def test_a_lost_machine_costs_nothing(cluster, configs, locally, tmp_path):
    """All but the driver's are lost while they run cells."""
    others = [cluster.add_node(num_cpus=1) for _ in range(2)]
    killed = []

    def lose(progress):
        if progress.running == 4 and not killed:
            killed.extend(others)
            for machine in others:
                cluster.remove_node(machine, allow_graceful=False)

    long = [dataclasses.replace(config, iterations=(400,)) for config in configs]
    with ray_executor.connected(cluster.address):
        execute = ray_executor.executor()
        found = pictures(cells.run_cells(long, tmp_path / "cluster", lose, execute=execute))
    assert killed == others
    assert found == locally(long)


@pytest.mark.usefixtures("connected")
def test_a_stopped_grid_goes_on(configs, locally, tmp_path):
    long = [dataclasses.replace(config, iterations=(300,)) for config in configs]
    folder = tmp_path / "cluster"
    execute = ray_executor.executor(shared=True)

    def stop(progress):
        return progress.running and progress.share > 0.02

    stopped = list(cells.run_cells(long, folder, stop, 5, execute))
    assert len(stopped) < 6
    assert not any(outcome.error for outcome in stopped)
    wait_for(lambda: not workers())
    assert list(folder.glob("*/result.checkpoint.npz"))
    assert pictures(cells.run_cells(long, folder, None, 5, execute)) == locally(long)


@pytest.mark.usefixtures("connected")
def test_a_failing_cell_is_reported_and_the_others_finish(configs, tmp_path):
    folder = tmp_path / "cluster"
    missing = dataclasses.replace(configs[1], style=str(tmp_path / "none.png"))
    narrow = dataclasses.replace(configs[2], style_size="16")
    blocked = cells.output_path(folder, configs[3]).parent
    blocked.parent.mkdir()
    blocked.touch()  # a file where the cell's folder is to be
    wanted = [configs[0], missing, narrow, configs[3], configs[4]]
    execute = ray_executor.executor(shared=True)
    outcomes = {
        outcome.config: outcome for outcome in cells.run_cells(wanted, folder, execute=execute)
    }
    assert set(outcomes) == set(wanted)
    assert outcomes[configs[0]].error is outcomes[configs[4]].error is None
    assert "none.png" in outcomes[missing].error
    assert "choose a larger --size" in outcomes[narrow].error
    assert outcomes[configs[3]].error.startswith("failed 3 times, the last time with FileExists")
    assert "\n" not in outcomes[configs[3]].error


@pytest.mark.usefixtures("connected")
def test_the_board_says_when_to_stop_and_a_cell_without_one_goes_on():
    import ray

    board, lost = (ray.remote(ray_executor._Board).options(num_cpus=0).remote() for _ in range(2))
    report, vain = ray_executor._Reports(board, 3), ray_executor._Reports(lost, 4)
    assert report(0) is vain(0) is False
    wait_for(lambda: ray.get(board.running.remote()) == {3: 0})
    ray.kill(lost)
    assert ray.get(board.stop.remote()) == {3}
    wait_for(lambda: report(7))
    assert ray.get(board.running.remote()) == {3: 7}
    for _ in range(20):
        assert vain(1) is False
        time.sleep(0.02)


def test_weights_of_another_machine_are_written_once(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    elsewhere = ray_executor.weights.WeightsFile(Path("/nowhere/w.h5"), "imagenet", "ab" * 32)
    found = ray_executor._on_this_machine(elsewhere, np.arange(9, dtype=np.uint8))
    assert (found.source, found.sha256) == ("imagenet", "ab" * 32)
    assert found.path.read_bytes() == bytes(range(9))
    assert found.path.is_relative_to(tmp_path)
    assert ray_executor._on_this_machine(elsewhere, None) == found


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("127.0.0.1:9", "127.0.0.1:9: .*refused"),
        ("ray://127.0.0.1:9", "127.0.0.1:9: .*refused"),
        ("nobody", "nobody: must be auto, HOST:PORT or ray://HOST:PORT"),
        ("http://127.0.0.1:9", "must be auto"),
        ("127.0.0.1:x", "127.0.0.1:x"),
    ],
)
def test_a_cluster_that_is_not_there_is_named(address, message):
    with (
        pytest.raises(ray_executor.ClusterError, match=message),
        ray_executor.connected(address),
    ):
        pytest.fail("connected to nothing")


def test_a_local_cluster_that_would_listen_on_every_network_is_refused():
    code = (
        "import ray\n"
        "from gatys_norm import ray_executor\n"
        "try:\n"
        "    with ray_executor.connected():\n"
        "        print('connected')\n"
        "except ray_executor.ClusterError as error:\n"
        "    print(error)\n"
    )
    environment = os.environ | {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "1"}
    finished = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        env=environment,
    )
    assert finished.stdout.strip().endswith("Ray was imported too early to be local"), finished


# --- the program -------------------------------------------------------------------------------


def command(folder, weights, *arguments):
    return [
        *(sys.executable, SCRIPT, "--figures=2a,6a", "--size=64", "--iterations=40"),
        *("--content_layers=conv1_2", "--style_layers=conv1_1", f"--weights={weights}"),
        f"--styles={STYLES[0]},{STYLES[1]}",
        *("--lambdas_by_style=1,1", "--lambdas_original=1,1e-6", "--lambdas_normalized=1,1e-4"),
        *("--executor=ray", f"--output_dir={folder}", *arguments),
    ]


def ray_processes():
    """Processes of any Ray cluster, by process id."""
    found = set()
    for process in psutil.process_iter(["name", "cmdline"]):
        words = [process.info["name"] or "", *(process.info["cmdline"] or [""])[:1]]
        if any(word.startswith(("raylet", "gcs_server", "ray::")) for word in words):
            found.add(process.pid)
    return found


def listening_addresses(processes):
    return {
        connection.laddr.ip
        for process in processes
        for connection in psutil.Process(process).net_connections("inet")
        if connection.status == psutil.CONN_LISTEN
    }


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_a_stopped_driver_goes_on_and_leaves_no_cluster(tmp_path, number):
    write_weights(tmp_path / "weights.h5", kernel=0.02)
    words = command(tmp_path, tmp_path / "weights.h5")
    before = ray_processes()
    driver = subprocess.Popen(
        words, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )

    def finished():
        return set(tmp_path.glob("cells/*/result.json"))

    wait_for(lambda: finished() or driver.poll() is not None, 120)
    assert listening_addresses(ray_processes() - before) <= {"127.0.0.1", "::ffff:127.0.0.1"}
    driver.send_signal(number)
    out, err = driver.communicate(timeout=90)
    if number == signal.SIGINT:
        assert driver.returncode == 128 + number, err
        assert "goes on" in out
        wait_for(lambda: ray_processes() <= before)
    kept = {path: path.stat().st_mtime_ns for path in finished()}
    assert 1 <= len(kept) < 8
    again = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert again.returncode == 0, again.stderr
    assert len(finished()) == 8
    assert {path: path.stat().st_mtime_ns for path in kept} == kept
    assert (tmp_path / "report.html").exists()
    wait_for(lambda: ray_processes() <= before, 150)  # a killed one's agents notice in a minute


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["--ray_address=127.0.0.1:9"], "--ray_address: 127.0.0.1:9: "),
        (["--executor=cloud"], "--executor"),
        (["--cpus_per_cell=0"], "--cpus_per_cell"),
        (["--cpus_per_cell=nan"], "--cpus_per_cell"),
        (["--gpus_per_cell=-1"], "--gpus_per_cell"),
    ],
)
def test_wrong_flags_are_refused_in_one_line(tmp_path, arguments, named):
    write_weights(tmp_path / "weights.h5", kernel=0.02)
    words = command(tmp_path / "out", tmp_path / "weights.h5", *arguments)
    finished = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert finished.returncode == 2, finished.stderr
    assert finished.stderr.count("\n") == 1
    assert named in finished.stderr
    assert not (tmp_path / "out" / "cells").exists()


def test_without_ray_the_way_to_get_it_is_said(tmp_path):
    write_weights(tmp_path / "weights.h5", kernel=0.02)
    (tmp_path / "ray.py").write_text("raise ImportError('no ray here')")
    words = command(tmp_path / "out", tmp_path / "weights.h5")
    environment = os.environ | {"PYTHONPATH": str(tmp_path)}
    finished = subprocess.run(
        words, cwd=ROOT, capture_output=True, text=True, timeout=120, env=environment
    )
    assert finished.returncode == 2
    assert "pip install gatys-norm[ray]" in finished.stderr
    assert finished.stderr.count("\n") == 1
