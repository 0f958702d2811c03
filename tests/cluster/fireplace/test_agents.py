"""RLlib agents: trained for seconds, restored, and played by their policies."""

import json

import numpy as np
import pytest

from mlsys_ray.cluster.agents.config import AgentConfig
from mlsys_ray.fireplace.config import WorkloadConfig

WORKLOAD = WorkloadConfig(num_pms=4, alive_per_pm=10)


def config(algorithm, **changes):
    options = {"train_seconds": 1.0, "episode_vms": 100, **changes}
    return AgentConfig(workload=WORKLOAD, algorithm=algorithm, **options)


@pytest.mark.slow
@pytest.mark.usefixtures("cluster")
@pytest.mark.parametrize(
    "algorithm",
    ["ppo", "dqn", "appo", "impala"],
)
def test_restored_agents_play(algorithm, tmp_path):
    from mlsys_ray.cluster.agents.training import AgentPolicy, history, train_agent
    from mlsys_ray.fireplace.workload import make_workload

    rows = []
    agent = config(algorithm)
    checkpoint = train_agent(agent, tmp_path, rows.append)
    assert rows[0]["env_steps"] > 0
    workload = make_workload(WORKLOAD, "test", 0, 500)
    first, second = (workload.run(AgentPolicy(algorithm, checkpoint, history(agent))) for _ in "ab")
    np.testing.assert_array_equal(first.placement, second.placement)
    assert (first.placement >= 0).all()


@pytest.mark.slow
@pytest.mark.usefixtures("cluster")
@pytest.mark.parametrize("algorithm", ["bc", "marwil"])
def test_imitation_comes_near_its_expert(algorithm, tmp_path):
    from mlsys_ray.cluster.agents.training import AgentPolicy, history, train_agent
    from mlsys_ray.fireplace.policies.certainty_equivalent import CertaintyEquivalentPolicy
    from mlsys_ray.fireplace.policies.rules import RulePolicy
    from mlsys_ray.fireplace.workload import make_workload

    agent = config(algorithm, episode_vms=500, train_seconds=5.0)
    checkpoint = train_agent(agent, tmp_path)
    workload = make_workload(WORKLOAD, "test", 0, 3000)
    learned = workload.par(AgentPolicy(algorithm, checkpoint, history(agent)))
    expert = workload.par(CertaintyEquivalentPolicy(history(agent)))
    chance = workload.par(RulePolicy("random"))
    assert learned < (expert + chance) / 2


@pytest.mark.slow
@pytest.mark.usefixtures("cluster")
def test_a_study_runs_only_what_is_missing(tmp_path):
    from mlsys_ray.cluster.agents.study import expand, run_study, study_path

    configs = expand(config("ppo"), (), (0, 1), ())
    table = run_study(configs, tmp_path)
    assert [row["seed"] for row in table] == [0, 1]
    assert all(row["par"] > 1 for row in table)
    kept, cut = (study_path(tmp_path, c) for c in configs)
    ended = json.loads((kept / "summary.json").read_text())["ended"]
    (cut / "summary.json").unlink()
    run_study(configs, tmp_path)
    assert json.loads((kept / "summary.json").read_text())["ended"] == ended
    assert (cut / "summary.json").exists()


def test_offline_algorithms_are_no_trials():
    from mlsys_ray.cluster.agents.study import expand

    with pytest.raises(ValueError, match="algorithms bc read recorded episodes by Ray Data"):
        expand(config("ppo"), ("ppo", "bc"), (), ())


def test_what_is_no_checkpoint_is_refused(tmp_path, history):
    from mlsys_ray.cluster.agents.training import AgentPolicy
    from mlsys_ray.fireplace.statistics import Statistics

    with pytest.raises(ValueError, match="holds no checkpoint"):
        AgentPolicy("ppo", tmp_path, Statistics.learn(history))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"algorithm": "sac"}, "algorithm is 'sac'; accepted: ppo"),
        ({"train_seconds": 0.0}, "train_seconds is 0"),
        ({"discount": 1.5}, r"discount is 1\.5"),
    ],
)
def test_settings_out_of_range(changes, message):
    with pytest.raises(ValueError, match=message):
        AgentConfig(**changes)
