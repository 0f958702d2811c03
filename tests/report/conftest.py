import pytest

from mlsys_ray.cluster.run_directory import RunDirectory


@pytest.fixture
def make_run(tmp_path):
    """Writes a run; `rows` go to its metrics, `summary` to its summary."""

    def make(name, config=None, *, experiment="training", rows=(), summary=None, status="done"):
        with RunDirectory.create(tmp_path / name, config or {}, experiment=experiment) as run:
            for row in rows:
                run.log(row)
            run.finish(summary or {}, status=status)
        return tmp_path / name

    return make
