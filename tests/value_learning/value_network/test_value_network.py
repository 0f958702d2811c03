from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mlsys_ray.value_learning.value_network.inference import evaluate
from mlsys_ray.value_learning.value_network.model import ValueNetwork, load_network
from mlsys_ray.value_learning.value_network.modules import make_module
from mlsys_ray.value_learning.value_network.normalisation import Normalisation, stage_mask
from mlsys_ray.value_learning.value_network.training import (
    Arrays,
    NetworkConfig,
    is_validation,
    select,
    train,
)

KINDS = ("lstm", "bidirectional", "feed_forward")
INTRINSIC, ACQUIRED = 3, 4


def features(seed: int, num_states: int = 40, num_stages: int = 5) -> Arrays:
    """States of pipelines of different lengths, beginnings shared as in a search."""
    rng = np.random.default_rng(seed)
    lengths = rng.integers(1, num_stages + 1, num_states)
    done = np.minimum(rng.integers(0, num_stages + 1, num_states), lengths)
    there = stage_mask(lengths, num_stages)
    scheduled = stage_mask(done, num_stages)
    pool = rng.standard_normal((2, num_stages, INTRINSIC)).astype(np.float32)
    intrinsic = pool[rng.integers(2, size=num_states)] * there[..., None]
    choices = rng.standard_normal((3, num_stages, ACQUIRED)).astype(np.float32)
    acquired = choices[rng.integers(3, size=(num_states, num_stages)), np.arange(num_stages)]
    return Arrays(intrinsic, acquired * scheduled[..., None], scheduled, lengths)


def log_runtime(batch: Arrays) -> np.ndarray:
    """A runtime that is a sum over stages, each by what it computes and how it is scheduled."""
    stage = batch.intrinsic[..., 0] + np.abs(batch.acquired[..., 0])
    there = stage_mask(batch.lengths, batch.intrinsic.shape[1])
    return np.log(np.where(there, np.exp(stage), 0).sum(1))


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 10_000), kind=st.sampled_from(KINDS))
def test_inference_equals_the_trained_module(seed: int, kind: str) -> None:
    batch = features(seed)
    inputs = Normalisation.fit(batch).apply(batch)
    torch.manual_seed(seed)
    modules = [make_module(kind, inputs.shape[-1], INTRINSIC) for _ in range(2)]
    weights = {
        name: np.stack([dict(m.named_parameters())[name].detach().numpy() for m in modules])
        for name, _ in modules[0].named_parameters()
    }
    with torch.no_grad():
        wanted = [
            m(torch.from_numpy(inputs), torch.from_numpy(batch.lengths)).numpy() for m in modules
        ]
    found = evaluate(kind, weights, inputs, batch.lengths, INTRINSIC)
    np.testing.assert_allclose(found, np.stack(wanted), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("kind", KINDS)
def test_padding_and_neighbours_do_not_count(kind: str) -> None:
    batch = features(3)
    network = train(
        batch, log_runtime(batch), ["a"] * 40, NetworkConfig(kind=kind, members=1, epochs=1)
    )
    together = network.predict(batch).log_ms
    for row in range(5):
        alone = select(batch, np.array([row]))
        stages = int(alone.lengths[0])
        short = Arrays(
            alone.intrinsic[:, :stages],
            alone.acquired[:, :stages],
            alone.scheduled[:, :stages],
            alone.lengths,
        )
        assert network.predict(short).log_ms[0] == pytest.approx(together[row], abs=1e-4)


def test_unscheduled_stages_carry_no_acquired_features() -> None:
    batch = features(5)
    garbage = np.where(batch.scheduled[..., None], batch.acquired, 77).astype(np.float32)
    normalisation = Normalisation.fit(batch)
    np.testing.assert_array_equal(
        normalisation.apply(batch),
        normalisation.apply(Arrays(batch.intrinsic, garbage, batch.scheduled, batch.lengths)),
    )


@pytest.mark.parametrize("kind", KINDS)
def test_training_learns_what_it_can_and_generalises(kind: str) -> None:
    complete = [features(seed, 250) for seed in range(3)]
    batches = [
        Arrays(b.intrinsic, b.acquired, stage_mask(b.lengths, 5), b.lengths) for b in complete
    ]
    batch = Arrays(
        *(np.concatenate([getattr(b, n) for b in batches]) for n in Arrays.__dataclass_fields__)
    )
    target = log_runtime(batch)
    groups = [f"pipeline {row % 40}" for row in range(len(target))]
    config = NetworkConfig(kind=kind, members=1, epochs=30, batch_size=64)
    network = train(batch, target, groups, config)
    held_out = np.array([is_validation(group) for group in groups])
    assert 0 < held_out.sum() < len(groups) / 2
    error = np.mean((network.predict(batch).log_ms - target)[held_out] ** 2)
    assert error < 0.1 * target.var()
    assert network.card["pipelines"] == 40


def test_same_seed_same_network() -> None:
    batch = features(8)
    config = NetworkConfig(members=2, epochs=2)
    one, two = (train(batch, log_runtime(batch), ["a"] * 40, config) for _ in range(2))
    np.testing.assert_array_equal(one.predict(batch).log_ms, two.predict(batch).log_ms)
    assert (one.predict(batch).deviation > 0).all()


def test_training_goes_on_from_a_network() -> None:
    batch = features(9, 200)
    target = log_runtime(batch)
    groups = ["a"] * 200
    first = train(batch, target, groups, NetworkConfig(members=1, epochs=20))
    second = train(batch, target, groups, NetworkConfig(members=1, epochs=1), start=first)
    fresh = train(batch, target, groups, NetworkConfig(members=1, epochs=1))
    assert second.card["validation_msle"][0] <= first.card["validation_msle"][0]
    assert second.card["validation_msle"][0] < fresh.card["validation_msle"][0]
    with pytest.raises(ValueError, match="1 lstm"):
        train(batch, target, groups, NetworkConfig(members=2, epochs=1), start=first)


@pytest.fixture(scope="module")
def network() -> ValueNetwork:
    batch = features(1)
    return train(
        batch, log_runtime(batch), ["a"] * 40, NetworkConfig(epochs=1), card={"target": "toy"}
    )


def test_a_file_gives_the_same_predictions(network: ValueNetwork, tmp_path: Path) -> None:
    path = tmp_path / "value.safetensors"
    path.write_bytes(network.to_bytes())
    loaded = load_network(path)
    batch = features(2)
    np.testing.assert_array_equal(network.predict(batch).log_ms, loaded.predict(batch).log_ms)
    assert loaded.card == network.card
    assert loaded.card["target"] == "toy"


def test_files_that_are_none_are_refused(network: ValueNetwork, tmp_path: Path) -> None:
    path = tmp_path / "value.safetensors"
    with pytest.raises(ValueError, match="does not exist"):
        load_network(path)
    path.write_bytes(network.to_bytes()[:-100])
    with pytest.raises(ValueError, match="damaged"):
        load_network(path)


def test_features_of_another_width_are_refused(network: ValueNetwork) -> None:
    batch = features(2)
    wide = Arrays(np.tile(batch.intrinsic, 2), batch.acquired, batch.scheduled, batch.lengths)
    with pytest.raises(ValueError, match="trained on"):
        network.predict(wide)
