import pytest

from mlsys_ray.cluster.run_directory import RunDirectory


@pytest.fixture
def make_run(tmp_path):
    """Makes a finished run without tables."""

    def make(name):
        with RunDirectory.create(tmp_path / name, {}, experiment="other") as run:
            run.finish({})
        return tmp_path / name

    return make
