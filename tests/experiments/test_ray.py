"""Runs on a cluster of two machines, both of them this one, on loopback."""

import contextlib
import dataclasses
import hashlib
import signal
import sys
import types
from pathlib import Path

import numpy as np
import psutil
import pytest
from helpers import ray_clusters
from helpers.programs import ROOT, run, start, wait_for
from helpers.ray_clusters import title, workers
from helpers.weights_files import write_weights

from gatys_norm import experiments, transfer
from gatys_norm.cli import errors
from gatys_norm.cli import main as cli
from gatys_norm.config import TransferConfig
from gatys_norm.experiments import grid as grid_runs
from gatys_norm.experiments import ray as ray_executor
from gatys_norm.images import io as picture_io
from gatys_norm.network import weights
from gatys_norm.runs import checkpoint as checkpoints
from gatys_norm.runs import folder as run_folder

SCRIPT = ROOT / "scripts" / "reproduce.py"
STYLES = ROOT / "data" / "flowing_strokes.jpg", ROOT / "data" / "soft_washes.jpg"
RUNS = 4
CHECKPOINT = "result.checkpoint.npz"
MARK = 1e6  # seconds

pytestmark = [ray_clusters.needs_ray, pytest.mark.usefixtures("ray_settings")]


@pytest.fixture(scope="module")
def configs(tmp_path_factory):
    """Settings of a few transfers over a network of two layers."""
    folder = tmp_path_factory.mktemp("inputs")
    write_weights(folder / "weights.h5", kernel=0.02)
    generator = np.random.default_rng(0)
    for name in ("content", "style"):
        picture = generator.uniform(0, 255, (48, 64, 3)).astype(np.float32)
        picture_io.save_picture(folder / f"{name}.png", picture)
    base = TransferConfig(
        content=str(folder / "content.png"),
        style=str(folder / "style.png"),
        size=(64,),
        iterations=(120,),
        weights=str(folder / "weights.h5"),
        content_layers=("conv1_2",),
        style_layers=("conv1_1",),
    ).resolved()
    return [dataclasses.replace(base, lambda_os=10.0**-power) for power in range(RUNS)]


@pytest.fixture(scope="module")
def local(configs, tmp_path_factory):
    """What becomes of the transfers in this process."""
    transfer.tf.config.experimental.enable_op_determinism()
    return list(grid_runs.run_grid(configs, tmp_path_factory.mktemp("local")))


@pytest.fixture(scope="module")
def stopped(cluster, configs, tmp_path_factory):
    """A grid in a folder of all machines, stopped after its first run, that was resumed.

    Returns:
      `folder`; the results `before` the stop and `all` of them in the end; `marked`, the folders
      of the runs that were stopped, whose checkpoints are marked; `seen`, each `Progress`;
      `processes`, the ids of the workers.
    """
    folder = tmp_path_factory.mktemp("stopped")
    execute = ray_executor.executor(shared=True)
    seen, processes = [], set()

    def note(progress):
        seen.append(progress)
        processes.update(worker.pid for worker in workers())

    def stop(progress):
        note(progress)
        return progress.runs_done and len(list(folder.glob(f"*/{CHECKPOINT}"))) == 2

    before = list(grid_runs.run_grid(configs, folder, stop, 5, execute))
    wait_for(lambda: not workers())
    checkpoints = list(folder.glob(f"*/{CHECKPOINT}"))
    for path in checkpoints:
        mark(path)
    results = list(grid_runs.run_grid(configs, folder, note, 5, execute))
    return types.SimpleNamespace(
        folder=folder,
        before=before,
        all=results,
        marked={path.parent for path in checkpoints},
        seen=seen,
        processes=processes,
    )


@pytest.fixture(scope="module")
def losses(cluster, configs, tmp_path_factory):
    """A grid that loses a worker, then its progress actor, then all machines but the driver's.

    Returns:
      `all` results; `lost`, by kind of loss the folder of what ran there and then;
      `heard`, of how many runs the new actor heard, at each question.
    """
    [machine] = cluster.worker_nodes
    lost, heard = {}, []

    def lose(progress):
        if "actor" in lost:
            heard.append(progress.running)
        if "worker" not in lost:
            if progress.running == 2:
                lost.update(worker_lost(cluster.head_node))
        elif "actor" not in lost:
            for folder in filter(None, map(folder_of, workers(machine=cluster.head_node))):
                for actor in workers("ProgressActor"):
                    lost["actor"] = folder
                    actor.kill()
        elif "machine" not in lost:
            for worker in filter(folder_of, workers(machine=machine)):
                lost["machine"] = folder_of(worker)
                cluster.remove_node(machine, allow_graceful=False)

    folder = tmp_path_factory.mktemp("losses")
    results = list(grid_runs.run_grid(configs, folder, lose, 5, ray_executor.executor()))
    if "machine" in lost:
        cluster.add_node(num_cpus=1)
    return types.SimpleNamespace(all=results, lost=lost, heard=heard)


def folder_of(worker):
    """Return the folder of the transfer that a worker runs; None where it is between two."""
    locks = [Path(file.path) for file in worker.open_files() if file.path.endswith(".json.lock")]
    return locks[0].parent if locks else None


def worker_lost(machine):
    """Kill the worker of a machine if its transfer has a checkpoint, which is marked.

    Returns:
      {"worker": folder of the transfer}; {} where there was nothing to kill.
    """
    for worker in workers(machine=machine):
        worker.suspend()
        folder = folder_of(worker)
        if folder and (folder / CHECKPOINT).exists() and not (folder / "result.json").exists():
            mark(folder / CHECKPOINT)
            worker.kill()
            return {"worker": folder}
        worker.resume()
    return {}


def mark(checkpoint):
    """Make a checkpoint one that is seen in the record of whatever resumes from it."""
    arrays, facts = checkpoints.load(checkpoint)
    later = facts | {"seconds": facts["seconds"] + MARK}
    checkpoints.save(checkpoint, checkpoints.Checkpoint(arrays, later))


def resumed(results):
    """Return the folders of the runs that were resumed from a marked checkpoint."""
    return {
        result.output.parent for result in results if result.record["timing"]["seconds"] >= MARK
    }


def assert_same_pictures(results, local):
    """Assert that all is there, the same bytes, made under the same conditions."""
    assert [result.error for result in results] == [None] * RUNS
    assert hashes(results) == hashes(local)
    conditions = local[0].record["environment"]
    for result in results:
        assert result.record["environment"] == conditions


def hashes(results):
    """Return {name of a run's folder: hash of its picture}."""
    return {
        result.output.parent.name: hashlib.sha256(result.output.read_bytes()).hexdigest()
        for result in results
    }


# --- the program -------------------------------------------------------------------------------


def flags(folder, weights):
    """Return arguments of scripts/reproduce.py for eight short transfers on Ray."""
    return [
        *("--figures=2a,6a", "--size=64", "--iterations=60", "--checkpoint_every=5"),
        *("--content_layers=conv1_1", "--style_layers=conv1_1", "--optimizer=adam"),
        f"--weights={weights}",
        f"--styles={STYLES[0]},{STYLES[1]}",
        *("--lambdas_by_style=1,1", "--lambdas_original=1,1e-6", "--lambdas_normalized=1,1e-4"),
        *("--executor=ray", f"--output_dir={folder}"),
    ]


def signalled(driver, folder, count, number):
    """Send a driver a signal once so many of its transfers are finished; returns its cluster."""
    wait_for(lambda: driver.poll() is not None or len(finished_in(folder)) >= count, 120)
    assert driver.poll() is None, driver.output()
    cluster = psutil.Process(driver.pid).children(recursive=True)
    addresses = listening_addresses(cluster)
    driver.send_signal(number)
    assert addresses
    assert addresses <= {"127.0.0.1", "::ffff:127.0.0.1"}
    return cluster


def finished_in(folder):
    """Return {record of a finished transfer: when it was written}."""
    return {path: path.stat().st_mtime_ns for path in folder.glob("cells/*/result.json")}


def listening_addresses(processes):
    connections = []
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            connections += process.net_connections("inet")
    return {
        connection.laddr.ip for connection in connections if connection.status == psutil.CONN_LISTEN
    }


def ended(processes):
    return not any(title(process) for process in processes)


@pytest.fixture(scope="module")
def driven(tmp_path_factory):
    """A grid whose driver is killed, started again, stopped by Ctrl-C and started once more.

    Returns:
      `folder`; for "killed" and "stopped" `done`, `cluster` and `kept`: how the driver ended, the
      processes of its cluster and what was finished then; `last`, how the last driver ended.
    """
    from ray._private.utils import get_num_cpus

    folder = tmp_path_factory.mktemp("driven")
    write_weights(folder / "weights.h5", kernel=0.02)
    one_at_a_time = f"--cpus_per_cell={get_num_cpus()}"
    words = [*flags(folder, folder / "weights.h5"), one_at_a_time]

    driver = start(SCRIPT, *words)
    cluster = signalled(driver, folder, 1, signal.SIGKILL)
    done = driver.finish()
    wait_for(lambda: not any(title(process).startswith("ray::_run") for process in cluster))
    killed = types.SimpleNamespace(done=done, cluster=cluster, kept=finished_in(folder))

    driver = start(SCRIPT, *words)
    cluster = signalled(driver, folder, len(killed.kept) + 1, signal.SIGINT)
    done = driver.finish()
    stopped = types.SimpleNamespace(done=done, cluster=cluster, kept=finished_in(folder))

    return types.SimpleNamespace(
        folder=folder, killed=killed, stopped=stopped, last=run(SCRIPT, *words)
    )


@pytest.mark.slow
def test_a_killed_driver_goes_on(driven):
    assert driven.killed.done.returncode == -signal.SIGKILL
    assert driven.killed.kept.items() < driven.stopped.kept.items()


@pytest.mark.slow
def test_a_stopped_driver_says_so_and_goes_on_to_the_end(driven):
    stopped = driven.stopped
    assert stopped.done.returncode == 128 + signal.SIGINT, stopped.done.stderr
    assert "the same command continues" in stopped.done.stdout
    assert len(stopped.kept) < 8
    assert driven.last.returncode == 0, driven.last.stderr
    finished = finished_in(driven.folder)
    assert len(finished) == 8
    assert stopped.kept.items() < finished.items()
    assert (driven.folder / "report.html").exists()


@pytest.mark.slow
def test_a_stopped_driver_leaves_no_cluster(driven):
    wait_for(lambda: ended(driven.stopped.cluster))


@pytest.mark.parametrize(
    ("argument", "named"),
    [
        ("--ray_address=127.0.0.1:9", "--ray_address: 127.0.0.1:9: "),
        ("--executor=cloud", "--executor"),
        ("--cpus_per_cell=0", "--cpus_per_cell"),
        ("--cpus_per_cell=nan", "--cpus_per_cell"),
        ("--gpus_per_cell=-1", "--gpus_per_cell"),
    ],
)
def test_wrong_flags_are_refused_in_one_line(tmp_path, capfd, argument, named):
    assert named in refused(tmp_path, capfd, argument)


def test_without_ray_the_way_to_get_it_is_said(tmp_path, capfd, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    for name in ("cluster", "ray"):  # they are imported without Ray, too
        monkeypatch.delitem(sys.modules, f"gatys_norm.experiments.{name}")
        monkeypatch.delattr(experiments, name)
    assert "pip install gatys-norm[ray]" in refused(tmp_path, capfd)


def refused(folder, capfd, *arguments):
    """Run the program in this process, which refuses and runs nothing; returns what it says."""
    write_weights(folder / "weights.h5", kernel=0.02)
    words = flags(folder / "out", folder / "weights.h5")
    assert cli.run(["gatys-norm", "reproduce", *words, *arguments]) == errors.BAD_INPUT
    out, err = capfd.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    assert not (folder / "out" / "cells").exists()
    return err


# --- whole grids -------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_grid_equals_the_local_one_picture_for_picture(stopped, local):
    assert_same_pictures(stopped.all, local)
    assert {result.record["environment"]["threads"] for result in stopped.all} == {1}


@pytest.mark.slow
def test_a_grid_leaves_a_folder_per_run_with_picture_and_record(stopped, configs):
    assert {result.config for result in stopped.all} == set(configs)
    for result in stopped.all:
        assert result.record["config"] == result.config.as_dict()
        assert result.record["status"] == "completed"
        assert run_folder.is_finished(result.output, result.config)
        files = {path.name for path in result.output.parent.iterdir()}
        assert files == {"result.png", "result.json"}
    pictures = set(stopped.folder.rglob("*.png"))
    assert pictures == {result.output for result in stopped.all}
    assert {path.parent.parent for path in pictures} == {stopped.folder}


@pytest.mark.slow
def test_both_machines_run_at_once(stopped):
    assert max(progress.running for progress in stopped.seen) == 2
    assert stopped.seen[-1].runs_done == RUNS


@pytest.mark.slow
def test_workers_keep_their_network_for_the_next_run(stopped):
    """Ray may end a worker that idles between the grids, so there may be two more than cores."""
    assert 2 <= len(stopped.processes) <= 4


@pytest.mark.slow
def test_a_stopped_grid_resumes(stopped):
    """What was finished is kept, what was running resumes from its checkpoint."""
    assert 1 <= len(stopped.before) < RUNS
    assert not any(result.error for result in stopped.before)
    assert all(result in stopped.all for result in stopped.before)
    assert stopped.marked
    assert resumed(stopped.all) == stopped.marked


@pytest.mark.slow
@pytest.mark.usefixtures("cluster")
def test_a_failing_run_is_reported_and_the_others_finish(configs, tmp_path):
    folder = tmp_path / "cluster"
    short = [dataclasses.replace(config, iterations=(4,)) for config in configs]
    missing = dataclasses.replace(short[0], style=str(tmp_path / "none.png"))
    narrow = dataclasses.replace(short[0], style_size="16")
    blocked = grid_runs.output_path(folder, short[1]).parent
    blocked.parent.mkdir()
    blocked.touch()  # a file where the run's folder is to be
    wanted = [short[0], missing, narrow, short[1], short[2]]
    execute = ray_executor.executor(shared=True)
    results = {
        result.config: result for result in grid_runs.run_grid(wanted, folder, execute=execute)
    }
    assert set(results) == set(wanted)
    assert results[short[0]].error is results[short[2]].error is None
    assert "none.png" in results[missing].error
    assert "choose a larger size" in results[narrow].error
    assert results[short[1]].error.startswith("failed 3 times, the last time with FileExists")
    assert "\n" not in results[short[1]].error


@pytest.mark.slow
def test_a_killed_worker_costs_nothing(losses, local):
    """Its run resumes from its checkpoint and ends in the same picture."""
    folder = losses.lost["worker"]
    assert_same_pictures(losses.all, local)
    assert {path.name for path in resumed(losses.all)} == {folder.name}
    assert folder.is_relative_to(weights.cache_folder())
    assert not folder.exists()


@pytest.mark.slow
def test_a_lost_machine_costs_nothing(losses, local):
    """All but the driver's are lost while they run transfers."""
    assert losses.lost["machine"]
    assert_same_pictures(losses.all, local)


@pytest.mark.slow
def test_a_killed_progress_actor_costs_nothing(losses, local):
    """The one process other than the driver that all runs report to."""
    assert losses.lost["actor"]
    assert any(losses.heard)
    assert_same_pictures(losses.all, local)


@pytest.mark.slow
def test_a_killed_driver_leaves_no_cluster(driven):
    """The last test here, since Ray's agents notice only after a minute."""
    wait_for(lambda: ended(driven.killed.cluster), 150)
