import numpy as np
import pytest

from mlsys_ray.byzshield.server import ServerState
from mlsys_ray.cluster.checkpoint import dump_state, load_state


@pytest.mark.parametrize("detector", [None, np.eye(4, 3, dtype=np.int64)])
def test_a_state_comes_back_as_it_was(tmp_path, detector):
    state = ServerState(7, np.arange(4, dtype=np.float32), np.ones(4, np.float32), detector)
    path = tmp_path / "checkpoint.safetensors"
    path.write_bytes(dump_state(state))
    loaded = load_state(path)
    assert loaded.iteration == 7
    for one, other in [
        (loaded.parameters, state.parameters),
        (loaded.velocity, state.velocity),
        (loaded.detector, state.detector),
    ]:
        np.testing.assert_equal(one, other)
        assert (one is None) == (other is None)


def test_a_damaged_file_is_refused(tmp_path):
    path = tmp_path / "checkpoint.safetensors"
    path.write_bytes(b"damaged")
    with pytest.raises(ValueError, match=r"is damaged .*delete it to start anew"):
        load_state(path)
