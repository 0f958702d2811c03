"""Configurations of clusters pass what judges them: Ray, Kubernetes' schema, the shell."""

import copy
import gzip
import json
import shutil
import subprocess
from pathlib import Path

import jsonschema
import pytest
import yaml
from ray.autoscaler._private.util import prepare_config, validate_config

CONFIGS = Path(__file__).parents[2] / "experiments" / "cluster"
SCHEMA = Path(__file__).parent / "kuberay" / "rayjob-v1.json.gz"


def load(name):
    return yaml.safe_load((CONFIGS / name).read_text())


@pytest.mark.parametrize("name", ["onprem.yaml", "aws.yaml"])
def test_ray_up_accepts_a_configuration_and_no_misspelt_one(name):
    config = load(name)
    validate_config(prepare_config(copy.deepcopy(config)))
    config["max_workerz"] = 1
    with pytest.raises(jsonschema.ValidationError, match="max_workerz"):
        validate_config(prepare_config(config))


@pytest.mark.parametrize("name", ["onprem.yaml", "aws.yaml"])
def test_the_token_reaches_every_host_and_every_ray_started_there(name):
    config = load(name)
    assert "~/.ray/auth_token" in config["file_mounts"]
    for kind in ("head", "worker"):
        started = [c for c in config[f"{kind}_start_ray_commands"] if "ray start" in c]
        assert started
        assert all(c.startswith("RAY_AUTH_MODE=token ") for c in started)
    assert any("RAY_AUTH_MODE=token" in c and ".bashrc" in c for c in config["setup_commands"])


def test_the_cloud_has_one_kind_of_worker_with_gpus_and_one_without():
    config = prepare_config(load("aws.yaml"))
    kinds = {name: kind for name, kind in config["available_node_types"].items() if name != "head"}
    assert sorted("GPU" in kind["resources"] for kind in kinds.values()) == [False, True]
    assert all(kind["min_workers"] < kind["max_workers"] for kind in kinds.values())
    assert sum(kind["max_workers"] for kind in kinds.values()) <= config["max_workers"]


def strict(schema, top=True):
    """The schema as an API server holds to it: no unknown fields, defaults need not be given."""
    schema = dict(schema)
    if schema.pop("x-kubernetes-int-or-string", None):
        schema.pop("type", None)
        schema["anyOf"] = [{"type": "integer"}, {"type": "string"}]
    if properties := schema.get("properties"):
        required = schema.get("required", [])
        schema["required"] = [name for name in required if "default" not in properties[name]]
        schema["properties"] = {name: strict(own, False) for name, own in properties.items()}
        if not schema.get("x-kubernetes-preserve-unknown-fields"):
            schema.setdefault("additionalProperties", False)
    for key in ("items", "additionalProperties"):
        if isinstance(schema.get(key), dict):
            schema[key] = strict(schema[key], False)
    if top:
        schema["properties"]["metadata"] = {"type": "object"}
    return schema


@pytest.fixture(scope="module")
def rayjob_schema():
    schema = json.loads(gzip.decompress(SCHEMA.read_bytes()))
    return jsonschema.Draft202012Validator(strict(schema))


def test_kubernetes_accepts_the_manifest(rayjob_schema):
    job = load("rayjob.yaml")
    rayjob_schema.validate(job)
    cluster = job["spec"]["rayClusterSpec"]
    assert cluster["authOptions"] == {"mode": "token"}
    assert cluster["rayVersion"] == pinned_ray()


@pytest.mark.parametrize(
    ("path", "value", "complaint"),
    [
        (["spec", "rayClusterSpecs"], {}, "rayClusterSpecs"),
        (["spec", "rayClusterSpec", "authOptions", "mode"], "tokens", "tokens"),
        (["spec", "rayClusterSpec", "workerGroupSpecs", 0, "replicas"], "one", "one"),
    ],
)
def test_kubernetes_refuses_mistakes(rayjob_schema, path, value, complaint):
    job = load("rayjob.yaml")
    place = job
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    with pytest.raises(jsonschema.ValidationError, match=complaint):
        rayjob_schema.validate(job)


@pytest.mark.parametrize("name", ["aws.yaml", "rayjob.yaml"])
def test_images_have_the_ray_that_is_pinned(name):
    assert f"rayproject/ray:{pinned_ray()}-py311" in (CONFIGS / name).read_text()


def pinned_ray():
    lines = (CONFIGS.parents[1] / "constraints.txt").read_text().splitlines()
    (version,) = [line.removeprefix("ray==") for line in lines if line.startswith("ray==")]
    return version


@pytest.mark.parametrize("script", sorted(CONFIGS.glob("*.sh")), ids=lambda script: script.name)
def test_scripts_are_sound(script):
    subprocess.run(["bash", "-n", script], check=True)
    if not shutil.which("shellcheck"):
        pytest.skip("shellcheck is not installed")
    subprocess.run(["shellcheck", script], check=True)
