"""What the tests on Ray share."""

import pytest
from helpers import ray_clusters


@pytest.fixture(scope="module")
def ray_settings(tmp_path_factory):
    """Ray on loopback, an empty cache folder for its workers, an actor that is asked often."""
    with ray_clusters.settings(tmp_path_factory.mktemp("cache")):
        yield


@pytest.fixture(scope="module")
def cluster(ray_settings):
    """Two machines with a core each, to which this process is connected."""
    with ray_clusters.two_machines() as started:
        yield started
