"""A node whose disk fills up while Ray spills objects to it."""

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

PROGRAM = """
import sys, numpy as np, ray
from mlsys_ray.cluster.session import ray_session
from mlsys_ray.exit_codes import EnvironmentMissingError
try:
    with ray_session(sys.argv[1]) as description:
        print(description)
        kept = [ray.put(np.ones(30_000_000, np.uint8)) for _ in range(30)]
except EnvironmentMissingError as error:
    print(error)
"""


@pytest.fixture
def small_disk():
    """A disk of 300 MB, with a path short enough for sockets."""
    folder = Path(tempfile.mkdtemp(prefix="ray-"))
    mount = ["mount", "-t", "tmpfs", "-o", "size=300m", "tmpfs", str(folder)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True).returncode != 0:
        folder.rmdir()
        pytest.skip("a disk of its own cannot be mounted here")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)
    shutil.rmtree(folder, ignore_errors=True)


@pytest.mark.slow
def test_the_node_the_folder_and_the_bytes_are_named(small_disk):
    from mlsys_ray.cluster.local_cluster import LocalCluster

    (small_disk / "other").write_bytes(bytes(230_000_000))
    nodes = LocalCluster(small_disk / "c", num_nodes=1, object_store_bytes=80_000_000)
    try:
        nodes.start()
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM, nodes.address],
            env=nodes.environment,
            capture_output=True,
            text=True,
            timeout=250,
        )
    finally:
        nodes.close()
    assert f"object store of 80,000,000 bytes spills to {small_disk}/c/node-0/" in done.stderr
    assert "Ray cannot go on (OutOfDiskError)" in done.stdout, done.stderr[-2000:]
    assert f"disk of {small_disk}/c/node-0/" in done.stdout
    assert "bytes free" in done.stdout
    assert "--temp-dir" in done.stdout
