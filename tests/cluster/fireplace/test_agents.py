"""RLlib agents: trained for seconds, restored, and played by their policies."""

import json

import numpy as np
import psutil
import pytest

from mlsys_ray.cli.main import main
from mlsys_ray.cluster.agents import study
from mlsys_ray.cluster.agents.config import AgentConfig
from mlsys_ray.cluster.run_reader import load_run
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


def runner_processes():
    """Those of the environment runners of this test's cluster."""
    return [
        process
        for process in psutil.Process().children(recursive=True)
        if process.is_running() and "SingleAgentEnvRunner" in " ".join(process.cmdline())
    ]


@pytest.mark.slow
@pytest.mark.usefixtures("cluster")
@pytest.mark.parametrize("algorithm", ["ppo", "appo"])
def test_a_runner_that_dies_ends_the_training(algorithm, tmp_path):
    """After some steps in a process apart from the learner's, that process is killed."""
    from mlsys_ray.cluster.agents.training import CHECKPOINT, RunnersFailedError, train_agent

    rows = []

    def kill(row):
        if row["env_steps"] and not any(row["env_steps"] for row in rows):
            (runner,) = runner_processes()
            runner.kill()
        rows.append(row)

    agent = config(algorithm, num_env_runners=1, train_seconds=900.0)
    with pytest.raises(RunnersFailedError, match=r"(?s)runner failed: .*num_env_runners=0"):
        train_agent(agent, tmp_path, kill)
    assert any(row["env_steps"] for row in rows)
    assert not (tmp_path / CHECKPOINT).exists()


@pytest.mark.slow
@pytest.mark.usefixtures("cluster")
def test_a_runner_that_is_too_slow_ends_the_training(tmp_path, monkeypatch):
    from mlsys_ray.cluster.agents import training

    monkeypatch.setattr(training, "SAMPLE_SECONDS", 0.01)
    agent = config("ppo", num_env_runners=1, train_seconds=900.0)
    with pytest.raises(training.RunnersFailedError, match="no environment step came in"):
        training.train_agent(agent, tmp_path)
    assert not (tmp_path / training.CHECKPOINT).exists()


@pytest.mark.slow
@pytest.mark.usefixtures("cluster")
def test_an_agent_trained_by_a_runner_plays(tmp_path):
    from mlsys_ray.cluster.agents.training import AgentPolicy, history, train_agent
    from mlsys_ray.fireplace.workload import make_workload

    rows, runners = [], []

    def note(row):
        rows.append(row)
        runners.extend(runner_processes())

    agent = config("ppo", num_env_runners=1)
    checkpoint = train_agent(agent, tmp_path, note)
    assert rows[0]["env_steps"] > 0
    assert len(runners) == len(rows)
    run = make_workload(WORKLOAD, "test", 0, 500).run(
        AgentPolicy("ppo", checkpoint, history(agent))
    )
    assert (run.placement >= 0).all()


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


@pytest.mark.slow
@pytest.mark.usefixtures("cluster")
def test_an_agent_is_kept_in_a_storage_and_scored_again(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(study, "TEST_VMS", 1000)
    agent = ["fireplace", "agent", "--num-pms", "4", "--alive-per-pm", "10", "--json"]
    short = ["--train-seconds", "1", "--episode-vms", "100"]
    assert main([*agent, *short, "--run-dir", "agent", "--storage", str(tmp_path)]) == 0
    scores = json.loads(capsys.readouterr().out)["policies"]
    assert load_run(tmp_path / "agent").summary["par_ppo"] == scores[0]["par"]
    assert main([*agent, "--restore", str(tmp_path / "agent")]) == 0
    assert json.loads(capsys.readouterr().out)["policies"] == scores


def test_where_nothing_is_trained_nothing_is_kept(tmp_path, capsys):
    restore = ["fireplace", "agent", "--restore", str(tmp_path)]
    assert main([*restore, "--storage", "s3://bucket/runs"]) == 2
    assert "leave run_dir and storage out" in capsys.readouterr().err


def test_offline_algorithms_are_no_trials():
    from mlsys_ray.cluster.agents.study import expand

    with pytest.raises(ValueError, match="algorithms bc read recorded episodes by Ray Data"):
        expand(config("ppo"), ("ppo", "bc"), (), ())
    with pytest.raises(ValueError, match="num_env_runners is 1; a trial of a study has one CPU"):
        expand(config("ppo", num_env_runners=1), (), (), ())
    assert [c.algorithm for c in expand(config("bc"), ("ppo", "dqn"), (), ())] == ["ppo", "dqn"]


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
        ({"num_env_runners": -1}, "num_env_runners is -1"),
        ({"algorithm": "bc", "num_env_runners": 1}, "bc reads recorded episodes, so it must be 0"),
    ],
)
def test_settings_out_of_range(changes, message):
    with pytest.raises(ValueError, match=message):
        AgentConfig(**changes)
