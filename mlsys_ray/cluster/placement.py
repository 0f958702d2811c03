"""Evaluation of placement policies on a cluster: each test trace is a Ray task of one CPU.

What a task finds is stored as a parquet file of its own, keyed by all that it follows from, so that
an evaluation that was cut off computes only what is missing when it is started again.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from statistics import fmean
from typing import Any, Literal

import pandas as pd

from mlsys_ray import __version__
from mlsys_ray.cluster import metrics, plain_json
from mlsys_ray.cluster.atomic import atomic_write
from mlsys_ray.fireplace.config import EvaluationConfig
from mlsys_ray.fireplace.evaluation import evaluate_one, model_of, policies_of, summarise
from mlsys_ray.fireplace.hindsight.local_search import hindsight_search
from mlsys_ray.fireplace.hindsight.rungs import rungs
from mlsys_ray.fireplace.workload import make_workload

SMALL = 200
"""VMs of the trial run before the work is sent out."""
Part = Literal["policies", "hindsight"]
Found = dict[tuple[Part, int], list[dict[str, Any]] | None]
"""By part and seed the records of a task; None if it has not been done."""


def evaluate_on_ray(
    config: EvaluationConfig,
    folder: Path,
    on_result: Callable[[Part, int, int, str], None] = lambda part, done, total, best: None,
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Evaluate on the connected cluster.

    Args:
        config: what is evaluated.
        folder: of the results; on several nodes only the driver writes to it.
        on_result: called with what has come in, how many tasks are done, how many there are, and a
            few words on the best policy so far.

    Returns:
        The summary (see `evaluation.summarise`) and the records of all traces and policies.

    Raises:
        ValueError: the configuration asks for something that does not exist.
    """
    import ray

    _try_small(config)
    parts: list[Part] = ["policies", "hindsight"] if config.hindsight else ["policies"]
    wanted = [(part, seed) for part in parts for seed in _seeds(config)]
    digests = {part: _digest(config, part) for part in parts}
    paths = {
        (part, seed): folder / part / f"seed-{seed}-{digests[part]}.parquet"
        for part, seed in wanted
    }
    found: Found = {key: _stored(path) for key, path in paths.items()}
    task = ray.remote(num_cpus=1, max_retries=3)(_compute)
    pending = {}
    for part, seed in [key for key, records in found.items() if records is None]:
        named = task.options(name=f"FirePlace {part} of trace {seed}")
        pending[named.remote(config, part, seed)] = part, seed
    done = len(wanted) - len(pending)
    with metrics.Publisher() as publisher:
        while pending:
            ready, _ = ray.wait(list(pending), num_returns=1)
            key = pending.pop(ready[0])
            found[key] = new = ray.get(ready[0])
            _store(paths[key], new)
            done += 1
            if key[0] == "policies":
                _publish(publisher, config, new, _records(found))
            on_result(key[0], done, len(wanted), _best(_records(found)))
    records = _records(found)
    hindsight = [r for (part, _), rs in found.items() if part == "hindsight" for r in rs or []]
    return summarise(records, hindsight), records


def _records(found: Found) -> list[dict[str, Any]]:
    """Of all policies and traces that have come in."""
    return [r for (part, _), rs in found.items() if part == "policies" for r in rs or []]


def _best(records: list[dict[str, Any]]) -> str:
    """The policy of the lowest PAR; all of them have placed the same traces."""
    pars = {record["policy"]: _par(records, record["policy"]) for record in records}
    if not pars:
        return "no policy yet"
    policy = min(pars, key=lambda name: pars[name])
    return f"best {policy}, PAR {pars[policy]:.4f}"


def _par(records: list[dict[str, Any]], policy: str) -> float:
    return fmean(record["par"] for record in records if record["policy"] == policy)


def _publish(
    publisher: metrics.Publisher,
    config: EvaluationConfig,
    new: list[dict[str, Any]],
    known: list[dict[str, Any]],
) -> None:
    for record in new:
        policy = record["policy"]
        placed = config.workload.num_vms - record["refused"]
        publisher.add(metrics.FIREPLACE_PLACEMENTS, placed, policy=policy)
        publisher.set(metrics.FIREPLACE_SPEED, record["placements_per_second"], policy=policy)
        publisher.set(metrics.FIREPLACE_PAR, _par(known, policy), policy=policy)


def _try_small(config: EvaluationConfig) -> None:
    """Run everything on a few VMs.

    A mistake is told before any work is sent out, and code is compiled once, not by every task at
    the same time: numba's cache on disk does not stand several processes that fill it.
    """
    workload = make_workload(config.workload, "train", 0, SMALL)
    for policy in policies_of(config):
        workload.run(policy)
    if config.hindsight:
        hindsight_search(workload.trace, workload.capacity, overcommit=workload.overcommit)


def _compute(config: EvaluationConfig, part: Part, seed: int) -> list[dict[str, Any]]:
    workload = make_workload(config.workload, "test", seed)
    if part == "hindsight":
        found = rungs(workload.trace, workload.capacity, overcommit=workload.overcommit)
        return [{"seed": seed, **asdict(found)}]
    return evaluate_one(workload, policies_of(config), seed)


def _seeds(config: EvaluationConfig) -> range:
    return range(config.seed, config.seed + config.num_seeds)


def _digest(config: EvaluationConfig, part: Part) -> str:
    """A digest of what a result follows from: settings, and the content of the files they name."""
    settings = asdict(config.workload)
    del settings["data_dir"]
    content = [plain_json.dumps(settings).encode(), __version__.encode()]
    if Path(config.workload.trace).is_file():
        content.append(Path(config.workload.trace).read_bytes())
    if part == "policies":
        content += [config.policies.encode(), model_of(config).digest().encode()]
    digest = hashlib.sha256()
    for piece in content:
        digest.update(hashlib.sha256(piece).digest())
    return digest.hexdigest()[:12]


def _store(path: Path, records: list[dict[str, Any]] | None) -> None:
    content = io.BytesIO()
    pd.DataFrame(records).to_parquet(content)
    atomic_write(path, content.getvalue())


def _stored(path: Path) -> list[dict[str, Any]] | None:
    """The records of a finished task; None if there are none, or the file is damaged."""
    if not path.exists():
        return None
    try:
        table = pd.read_parquet(path)
    except (OSError, ValueError):
        return None
    return [{str(name): value for name, value in row.items()} for row in table.to_dict("records")]
