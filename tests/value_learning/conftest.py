import random
import sys
from pathlib import Path

import pytest

from mlsys_ray.value_learning.space import initial, legal_actions
from mlsys_ray.value_learning.target import host_target

# Helpers lie beside the tests, which pytest imports by their paths.
sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture(scope="session")
def host():
    """This machine, with two threads."""
    return host_target(cores=2)


def _completed(state, seed):
    generator = random.Random(seed)
    while not state.is_complete:
        state = state.take(generator.choice(legal_actions(state)))
    return state


@pytest.fixture(scope="session")
def completed():
    """A state with its missing actions drawn at random, the same for one seed."""
    return _completed


@pytest.fixture(scope="session")
def random_state():
    """A complete state of a pipeline, drawn at random."""
    return lambda pipeline, target, seed: _completed(initial(pipeline, target), seed)
