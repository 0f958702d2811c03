"""Local Ray clusters for the tests of this folder: one of one node, and one of two with a token."""

import os
import shutil
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from waiting import wait_until

from mlsys_ray.cluster.local_cluster import QUICK_TO_MISS_A_NODE, LocalCluster, free_port
from mlsys_ray.cluster.session import ray_session


@pytest.fixture(scope="session")
def s3_server():
    """Variables with which s3://bucket-of-tests leads to a server of our own."""
    import boto3

    port = free_port()
    variables = {
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true",
    }
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    with (
        subprocess.Popen(command, stderr=subprocess.DEVNULL) as server,
        pytest.MonkeyPatch.context() as patch,
    ):
        for name, value in variables.items():
            patch.setenv(name, value)
        try:
            wait_until(lambda: answers(port), "moto does not start")
            boto3.client("s3").create_bucket(Bucket="bucket-of-tests")
            patch.undo()
            yield variables
        finally:
            server.kill()


def answers(port):
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@pytest.fixture(scope="session")
def start_cluster():
    """Starts clusters of several nodes, which end with the tests; token on, nobody else's Ray."""
    # Sockets lie in it, whose paths may not be long.
    folder = Path(tempfile.mkdtemp(prefix="ray-"))
    started = []

    def start(**settings):
        settings = {"environment": QUICK_TO_MISS_A_NODE, **settings}
        nodes = LocalCluster(folder / str(len(started)), **settings)
        started.append(nodes)
        nodes.start()
        return nodes

    yield start
    for nodes in started:
        nodes.close()
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def two_nodes(start_cluster):
    """Of one CPU each; a test that loses a node adds one of its own."""
    return start_cluster()


@pytest.fixture(scope="session")
def user_modules():
    """A folder from which worker processes import, too, also those of other users."""
    with tempfile.TemporaryDirectory() as name, pytest.MonkeyPatch.context() as patch:
        folder = Path(name)
        folder.chmod(0o755)
        # Workers inherit it when Ray starts.
        patch.setenv("PYTHONPATH", str(folder), prepend=os.pathsep)
        patch.syspath_prepend(folder)
        yield folder


@pytest.fixture(scope="session")
def cluster(user_modules):
    with ray_session(num_cpus=2, private=True) as description:
        yield description
