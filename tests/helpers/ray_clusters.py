"""A Ray cluster of two machines, both of them this one, on loopback."""

import contextlib
import importlib.util
import os

import psutil
import pytest

from gatys_norm.experiments import cluster

needs_ray = pytest.mark.skipif(
    importlib.util.find_spec("ray") is None and not os.environ.get("CI"),
    reason="Ray is not installed (pip install gatys-norm[ray])",
)


@contextlib.contextmanager
def settings(cache):
    """Set Ray on loopback, a cache folder for its workers, and an actor that is asked often."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")  # see `cluster.connected`
        patch.setenv("XDG_CACHE_HOME", str(cache))
        patch.setattr(cluster, "POLL_SECONDS", 0.05)
        yield


@contextlib.contextmanager
def two_machines():
    """Yield two machines with a core each, to which this process is connected."""
    from ray.cluster_utils import Cluster

    machines = Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
    machines.add_node(num_cpus=1)
    with cluster.connected(machines.address):
        yield machines
    machines.shutdown()


def workers(name="_run", machine=None):
    """Return Ray's processes that run a task or an actor of this name now; a transfer by default.

    Args:
      name: of the function or class.
      machine: of the cluster; all that this process started when None.
    """
    root = machine.all_processes["raylet"][0].process.pid if machine else os.getpid()
    processes = psutil.Process(root).children(recursive=True)
    return [process for process in processes if title(process).startswith(f"ray::{name}")]


def title(process):
    """Return what a process calls itself; "" if it has ended."""
    try:
        return "".join(process.cmdline()[:1])
    except psutil.Error:
        return ""
