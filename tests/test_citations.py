"""Whatever a run can name has its papers, and they are the ones that its code names."""

import json
import re
from typing import get_args

import pytest

from mlsys_ray.byzshield.aggregation import PRE_AGGREGATORS, RULES
from mlsys_ray.byzshield.assignment import SCHEMES
from mlsys_ray.byzshield.attacks import ATTACKS
from mlsys_ray.citations import CITED, PAPERS, papers_of
from mlsys_ray.cli.main import main
from mlsys_ray.cluster.agents.config import Algorithm
from mlsys_ray.cluster.run_directory import RunDirectory
from mlsys_ray.fireplace.evaluation import all_policies
from mlsys_ray.fireplace.model import shipped_model
from mlsys_ray.fireplace.statistics import Statistics
from mlsys_ray.fireplace.traces.microvm import microvm
from mlsys_ray.fireplace.workload import NAMED_TRACES
from mlsys_ray.ios.networks import NETWORKS
from mlsys_ray.ios.peers import PEERS

NAMES = {
    "rule": {*RULES, *PRE_AGGREGATORS},
    "attack": set(ATTACKS),
    "scheme": set(SCHEMES),
    "algorithm": set(get_args(Algorithm)),
    "trace": set(NAMED_TRACES),
    "network": set(NETWORKS),
    "tool": set(PEERS),
}


@pytest.mark.parametrize("kind", NAMES)
def test_every_name_has_its_papers(kind):
    assert NAMES[kind] <= set(CITED[kind])


def test_every_policy_has_its_papers():
    history = Statistics.learn(microvm(num_vms=200, alive=20, num_functions=5, seed=0))
    names = {policy.name for policy in all_policies(shipped_model("microvm"), history)}
    assert names <= set(CITED["policy"])


def test_all_that_is_cited_is_known_and_all_that_is_known_is_cited():
    cited = {key for table in CITED.values() for keys in table.values() for key in keys}
    by_experiment = {
        paper.key
        for experiment in ("byzshield-x", "fireplace-agents", "ios-x", "value-learning-evaluate")
        for paper in papers_of(experiment, {})
    }
    assert cited | by_experiment == set(PAPERS)
    assert all(key == paper.key for key, paper in PAPERS.items())


@pytest.mark.parametrize("name", [*RULES, *PRE_AGGREGATORS])
def test_the_paper_is_the_one_that_the_rule_names(name):
    source = {**RULES, **PRE_AGGREGATORS}[name].source
    author, year = re.search(r"((?:El )?\w+) et al\. (\d{4})", source).groups()
    papers = [PAPERS[key] for key in CITED["rule"][name]]
    assert any(author in paper.authors and int(year) == paper.year for paper in papers)


def test_a_run_and_the_trials_inside_it(tmp_path, capsys):
    config = {"scheme": "frc", "rule": "nnm+krum", "attack": "alie:1.0", "seed": 3}
    for path, own in ((tmp_path, {"attack": ["foe"]}), (tmp_path / "trials/one", config)):
        with RunDirectory.create(path, own, experiment="byzshield-train") as run:
            run.finish({})
    assert main(["cite", str(tmp_path), "--json"]) == 0
    found = {paper["key"] for paper in json.loads(capsys.readouterr().out)}
    assert found == {
        "konstantinidis2021byzshield",
        "xie2020fall",
        "chen2018draco",
        "rajput2019detox",
        "allouah2023fixing",
        "blanchard2017machine",
        "baruch2019little",
        "moritz2018ray",
    }
    assert main(["cite", str(tmp_path)]) == 0
    text = capsys.readouterr().out
    assert text.count("\n@") == len(found)
    assert "Gilad Baruch, Moran Baruch and Yoav Goldberg. A Little Is Enough" in text
    assert "author = {Gilad Baruch and Moran Baruch and Yoav Goldberg}," in text


def test_what_is_no_run_is_refused(tmp_path, capsys):
    assert main(["cite", str(tmp_path)]) == 2
    assert "config.json is missing" in capsys.readouterr().err
    assert main(["cite"]) == 2
