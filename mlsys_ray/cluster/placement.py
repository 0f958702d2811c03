"""Evaluation of placement policies on a cluster: each test trace is a Ray task of one CPU.

What a task finds is stored as a parquet file of its own, so that an evaluation that was cut off
computes only what is missing when it is started again.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal

import pandas as pd

from mlsys_ray.cluster.atomic import atomic_write
from mlsys_ray.fireplace.config import EvaluationConfig
from mlsys_ray.fireplace.evaluation import evaluate_one, policies_of, seeds_of, summarise
from mlsys_ray.fireplace.hindsight.local_search import hindsight_search
from mlsys_ray.fireplace.hindsight.rungs import rungs
from mlsys_ray.fireplace.workload import make_workload

SMALL = 200
"""VMs of the trial run before the work is sent out."""
Part = Literal["policies", "hindsight"]


def evaluate_on_ray(
    config: EvaluationConfig,
    folder: Path,
    on_result: Callable[[Part, int, int], None] = lambda part, done, total: None,
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Evaluate on the connected cluster.

    Args:
        config: what is evaluated.
        folder: of the results; on several nodes only the driver writes to it.
        on_result: called with what has come in, how many tasks are done and how many there are.

    Returns:
        The summary (see `evaluation.summarise`) and the records of all traces and policies.

    Raises:
        ValueError: the configuration asks for something that does not exist.
    """
    import ray

    _try_small(config)
    parts: list[Part] = ["policies", *(["hindsight"] if config.hindsight else [])]  # type: ignore[list-item]
    wanted = [(part, seed) for part in parts for seed in seeds_of(config.seed, config.num_seeds)]
    found = {key: _stored(folder, *key) for key in wanted}
    task = ray.remote(num_cpus=1, max_retries=3)(_compute)
    pending = {task.remote(config, *key): key for key, records in found.items() if records is None}
    done = len(wanted) - len(pending)
    while pending:
        ready, _ = ray.wait(list(pending), num_returns=1)
        key = pending.pop(ready[0])
        found[key] = ray.get(ready[0])
        _store(folder, *key, found[key])
        done += 1
        on_result(key[0], done, len(wanted))
    records = [r for (part, _), rs in found.items() if part == "policies" for r in rs or []]
    hindsight = [r for (part, _), rs in found.items() if part == "hindsight" for r in rs or []]
    return summarise(records, hindsight), records


def _try_small(config: EvaluationConfig) -> None:
    """Run everything on a few VMs.

    A mistake is told before any work is sent out, and code is compiled once, not by every task at
    the same time: numba's cache on disk does not stand several processes that fill it.
    """
    workload = make_workload(config.workload, "train", 0, SMALL)
    for policy in policies_of(config):
        workload.run(policy)
    if config.hindsight:
        hindsight_search(workload.trace, workload.capacity)


def _compute(config: EvaluationConfig, part: Part, seed: int) -> list[dict[str, Any]]:
    workload = make_workload(config.workload, "test", seed)
    if part == "hindsight":
        return [{"seed": seed, **asdict(rungs(workload.trace, workload.capacity))}]
    return evaluate_one(workload, policies_of(config), seed)


def _path(folder: Path, part: Part, seed: int) -> Path:
    return folder / part / f"seed-{seed}.parquet"


def _store(folder: Path, part: Part, seed: int, records: list[dict[str, Any]] | None) -> None:
    content = io.BytesIO()
    pd.DataFrame(records).to_parquet(content)
    atomic_write(_path(folder, part, seed), content.getvalue())


def _stored(folder: Path, part: Part, seed: int) -> list[dict[str, Any]] | None:
    """The records of a finished task; None if there are none, or the file is damaged."""
    path = _path(folder, part, seed)
    if not path.exists():
        return None
    try:
        table = pd.read_parquet(path)
    except (OSError, ValueError):
        return None
    return [{str(name): value for name, value in row.items()} for row in table.to_dict("records")]
