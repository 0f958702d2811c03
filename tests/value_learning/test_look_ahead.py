from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from test_store import PIPELINE, TARGET, schedules

from mlsys_ray.value_learning import look_ahead
from mlsys_ray.value_learning.look_ahead import looked_ahead
from mlsys_ray.value_learning.space import State, initial, legal_actions


def worth(state: State) -> float:
    """A value that depends on all actions."""
    return sum(
        (1 + place) * (np.prod(action.tile) % 7) - action.vector + action.unroll
        for place, action in enumerate(state.actions)
    )


@pytest.fixture
def states() -> list[State]:
    """All states on the way to two schedules, the first state and complete ones among them."""
    found = [initial(PIPELINE, TARGET)]
    for schedule in schedules(2):
        state = initial(PIPELINE, TARGET)
        for action in schedule.actions:
            state = state.take(action)
            found.append(state)
    return found


def ensemble(monkeypatch: pytest.MonkeyPatch, noise: float, members: int = 3) -> SimpleNamespace:
    """Members that know `worth`, each but for a noise of its own."""
    monkeypatch.setattr(look_ahead, "featurise", lambda states: states)
    rng = np.random.default_rng(0)

    def predict(asked: list[State]) -> SimpleNamespace:
        exact = np.array([worth(state) for state in asked])
        return SimpleNamespace(members=exact + noise * rng.standard_normal((members, len(asked))))

    return SimpleNamespace(predict=predict)


@pytest.mark.parametrize("chunk", [1, 50, 10**6])
@pytest.mark.parametrize("members", [1, 3])
def test_exact_values_give_the_best_successors(monkeypatch, states, chunk, members) -> None:
    monkeypatch.setattr(look_ahead, "CHUNK", chunk)
    found = looked_ahead(states, ensemble(monkeypatch, 0, members))
    for state, value in zip(states, found, strict=True):
        if state.is_complete:
            assert np.isnan(value)
        else:
            assert value == pytest.approx(min(worth(state.take(a)) for a in legal_actions(state)))


def test_the_best_of_many_errors_does_not_count(monkeypatch, states) -> None:
    """Noise on equal values: the lowest of them is far off, what others say of it is not."""
    monkeypatch.setattr(f"{__name__}.worth", lambda state: 0.0)
    open_states = [state for state in states if not state.is_complete] * 20
    found = looked_ahead(open_states, ensemble(monkeypatch, noise=1.0))
    alone = looked_ahead(open_states, ensemble(monkeypatch, noise=1.0, members=1))
    assert abs(found.mean()) < 0.2
    assert alone.mean() < -1.5
