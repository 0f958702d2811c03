"""Evaluation of placement policies on held-out traces."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import numpy as np
from scipy import stats

from mlsys_ray.fireplace.config import EvaluationConfig
from mlsys_ray.fireplace.metrics import score
from mlsys_ray.fireplace.model import Model, load_model, shipped_model
from mlsys_ray.fireplace.policies.base import Policy
from mlsys_ray.fireplace.policies.mixture import MixturePolicy
from mlsys_ray.fireplace.policies.rules import Rule, RulePolicy
from mlsys_ray.fireplace.statistics import Statistics
from mlsys_ray.fireplace.training import history_of
from mlsys_ray.fireplace.workload import Workload


def model_of(config: EvaluationConfig) -> Model:
    """The model that an evaluation names.

    Raises:
        ValueError: there is none, or it is damaged.
    """
    if config.model is not None and Path(config.model).exists():
        return load_model(Path(config.model))
    blind = "-without-functions" * config.workload.without_functions
    return shipped_model(config.model or f"{config.workload.trace}{blind}")


def policies_of(config: EvaluationConfig) -> list[Policy]:
    """The policies to evaluate, with statistics of functions from the training segment.

    Raises:
        ValueError: a policy or the model does not exist.
    """
    model = model_of(config)
    return choose(all_policies(model, history_of(config.workload)), config.policies)


def all_policies(model: Model, statistics: Statistics) -> list[Policy]:
    """Every policy of the package: rules, least-loaded ones, and those that a model tunes."""
    return [
        *(RulePolicy(rule) for rule in get_args(Rule)),
        MixturePolicy("least_requested", {"requested": 1.0}, largest=True),
        MixturePolicy("least_used", {"telemetry": 1.0}, largest=True),
        MixturePolicy("least_used_average", {"average": 1.0}, largest=True),
        *model.policies(statistics),
    ]


def choose(policies: Sequence[Policy], names: str) -> list[Policy]:
    """The policies of a comma-separated list of names, or all.

    Raises:
        ValueError: a name is unknown.
    """
    if names == "all":
        return list(policies)
    by_name = {policy.name: policy for policy in policies}
    wanted = [name.strip() for name in names.split(",")]
    if unknown := [name for name in wanted if name not in by_name]:
        raise ValueError(
            f"policies {', '.join(unknown)} are unknown; accepted: all, {', '.join(by_name)}"
        )
    return [by_name[name] for name in wanted]


def evaluate_one(workload: Workload, policies: Sequence[Policy], seed: int) -> list[dict[str, Any]]:
    """Place one trace with each policy, one after another; a record of scores for each."""
    records = []
    for policy in policies:
        # Compiling, or reading compiled code, is not a part of placing.
        small = workload.trace.slice(0, min(200, workload.trace.num_vms))
        Workload(small, workload.capacity).run(policy)
        run = workload.run(policy, seed)
        scores = score(run.load)
        records.append(
            {
                "policy": policy.name,
                "knowledge": policy.knowledge,
                "seed": seed,
                "par": scores.par,
                **{
                    f"par_{name}": par
                    for name, par in zip(
                        workload.trace.resources, scores.par_by_resource, strict=True
                    )
                },
                "par_p95": scores.par_p95,
                "par_busiest": scores.par_busiest,
                "overload": scores.overload,
                "overload_excess": scores.overload_excess,
                "refused": int((run.placement < 0).sum()),
                "placements_per_second": workload.trace.num_vms / run.seconds,
            }
        )
    return records


@dataclass(frozen=True, kw_only=True, slots=True)
class Interval:
    """A mean over seeds and half the width of its 95% interval (Student's t; None of one seed)."""

    mean: float
    half_width: float | None

    @classmethod
    def of(cls, values: Sequence[float]) -> Interval:
        """The interval of some values."""
        mean = float(np.mean(values))
        if len(values) < 2:
            return cls(mean=mean, half_width=None)
        quantile = stats.t.ppf(0.975, len(values) - 1)
        deviation = float(np.std(values, ddof=1))
        return cls(mean=mean, half_width=float(quantile * deviation / len(values) ** 0.5))


def excess_reduction(par: Sequence[float], reference: Sequence[float]) -> Interval:
    """How much less PAR - 1 is than a reference's, in percent, paired by seed."""
    pairs = zip(par, reference, strict=True)
    return Interval.of([100 * (1 - (own - 1) / (other - 1)) for own, other in pairs])


def summarise(
    records: Sequence[dict[str, Any]], hindsight: Sequence[dict[str, float]]
) -> dict[str, Any]:
    """What an evaluation says, over its seeds.

    Args:
        records: of `evaluate_one`, for every seed.
        hindsight: `{seed, full, spike_blind}` of the same seeds; empty if it was not computed.

    Returns:
        Scores of each policy (means over the seeds), the best policy that neither is trained nor
        learns from VMs that have ended, and by how much less PAR - 1 FirePlace has.
    """
    names = list(dict.fromkeys(record["policy"] for record in records))
    rows = {name: [r for r in records if r["policy"] == name] for name in names}
    pars = {name: [r["par"] for r in own] for name, own in rows.items()}
    full = [rung["full"] for rung in hindsight]
    blind = [rung["spike_blind"] for rung in hindsight]
    baselines = [name for name in names if rows[name][0]["knowledge"] != "learned"]
    best = min(baselines, key=lambda name: np.mean(pars[name]), default=None)
    policies = {name: _means(own) for name, own in rows.items()}
    for name, scores in policies.items():
        scores["par_half_width"] = Interval.of(pars[name]).half_width
        scores["gap_to_hindsight"] = float(np.mean(pars[name]) - np.mean(full)) if full else None
    summary: dict[str, Any] = {
        "policies": policies,
        "hindsight": {"full": float(np.mean(full)), "spike_blind": float(np.mean(blind))}
        if full
        else None,
        "best_baseline": best,
        "num_seeds": len(next(iter(rows.values()))),
    }
    if best is None:
        return summary
    reductions = {name: excess_reduction(pars[name], pars[best]) for name in names}
    for name, reduction in reductions.items():
        policies[name]["excess_reduction"] = reduction.mean
        policies[name]["excess_reduction_half_width"] = reduction.half_width
        if full and np.mean(pars[best]) > np.mean(blind):
            gap = np.mean(pars[best]) - np.mean(blind)
            policies[name]["gap_closed_to_spike_blind"] = float(
                (np.mean(pars[best]) - np.mean(pars[name])) / gap
            )
    if "fireplace" in pars:
        summary["excess_reduction_vs_best_baseline"] = reductions["fireplace"].mean
        if "certainty_equivalent" in pars:
            against = excess_reduction(pars["fireplace"], pars["certainty_equivalent"])
            summary["excess_reduction_vs_certainty_equivalent"] = against.mean
            summary["excess_reduction_vs_certainty_equivalent_half_width"] = against.half_width
    return summary


def _means(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    numeric = [name for name, value in rows[0].items() if isinstance(value, int | float)]
    return {
        "knowledge": rows[0]["knowledge"],
        **{name: float(np.mean([r[name] for r in rows])) for name in numeric if name != "seed"},
    }
