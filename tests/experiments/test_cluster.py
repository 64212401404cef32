"""The connection to a cluster, the actor of what runs there, weights on other machines."""

from pathlib import Path

import numpy as np
import pytest
from helpers import ray_clusters
from helpers.programs import run, wait_for

from gatys_norm.experiments import cluster
from gatys_norm.network import weights

pytestmark = [ray_clusters.needs_ray, pytest.mark.usefixtures("ray_settings")]


@pytest.mark.slow
@pytest.mark.usefixtures("cluster")
def test_the_actor_says_when_to_stop_and_a_run_without_one_continues():
    import ray

    actor = cluster.start_progress_actor()
    report = cluster.Reports(actor, 3)
    assert report(0) is False
    wait_for(lambda: ray.get(actor.running.remote()) == {3: 0})
    assert ray.get(actor.stop.remote()) == {3}
    wait_for(lambda: report(7))
    assert ray.get(actor.running.remote()) == {3: 7}
    ray.kill(actor)
    vain = cluster.Reports(actor, 4)
    with pytest.raises(ray.exceptions.RayActorError):
        wait_for(lambda: ray.get(actor.running.remote()) is None)
    for iterations in range(3):
        assert vain(iterations) is False
        with pytest.raises(ray.exceptions.RayActorError):
            ray.get(vain._reply)


def test_weights_of_another_machine_are_written_once(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    elsewhere = weights.WeightsFile(Path("/nowhere/w.h5"), "imagenet", "ab" * 32)
    here = cluster.on_this_machine(elsewhere, np.arange(9, dtype=np.uint8))
    assert (here.source, here.sha256) == ("imagenet", "ab" * 32)
    assert here.path.read_bytes() == bytes(range(9))
    assert here.path.is_relative_to(tmp_path)
    assert cluster.on_this_machine(elsewhere, None) == here


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
        pytest.raises(cluster.ClusterError, match=message),
        cluster.connected(address),
    ):
        pytest.fail("connected to nothing")


@pytest.mark.slow
def test_a_local_cluster_that_would_listen_on_every_network_is_refused(tmp_path):
    program = tmp_path / "program.py"
    program.write_text(
        "import ray\n"
        "from gatys_norm.experiments import cluster\n"
        "try:\n"
        "    with cluster.connected():\n"
        "        print('connected')\n"
        "except cluster.ClusterError as error:\n"
        "    print(error)\n"
    )
    finished = run(program, env={"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "1"})
    assert finished.stdout.strip().endswith("Ray was imported too early to be local"), finished
