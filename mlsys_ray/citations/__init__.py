"""The papers of the rules, attacks, codes, policies and methods that a run used."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from mlsys_ray.citations.cited import BYZSHIELD, CITED, FIREPLACE, IOS, VALUE
from mlsys_ray.citations.papers import PAPERS, Paper

_FIELDS = {
    "rule": "rule",
    "attack": "attack",
    "scheme": "scheme",
    "detection": "detection",
    "data": "data",
    "model": "model",
    "policies": "policy",
    "trace": "trace",
    "algorithm": "algorithm",
    "algorithms": "algorithm",
    "network": "network",
    "networks": "network",
    "against": "tool",
    "variants": "variant",
    "strategy": "variant",
    "strategies": "variant",
}
"""Last part of a config field's name -> kind of what it names."""

_AUTOSCHEDULERS = ("mullapudi2016automatically", "li2018differentiable", "adams2019learning")
_EXPERIMENTS: Mapping[str, tuple[str, ...]] = {
    "byzshield-": (BYZSHIELD,),
    "fireplace-agent": ("liang2018rllib",),
    "fireplace-": (FIREPLACE,),
    "ios-": (IOS,),
    "value-learning-": (VALUE, "ragankelley2013halide"),
    "value-learning-evaluate": (*_AUTOSCHEDULERS, "paszke2019pytorch"),
}
"""Beginning of an experiment's name -> papers of whatever it runs."""


def papers_of(experiment: str, config: Mapping[str, Any]) -> list[Paper]:
    """The papers of all that a run used, by its config.

    Args:
        experiment: name of the run's experiment.
        config: its fields, nested or not; several names stand in lists, or with commas or plus
            signs between them.

    Examples:
        >>> [paper.key for paper in papers_of("byzshield-train", {"rule": "nnm+median"})][1:3]
        ['allouah2023fixing', 'yin2018byzantine']
    """
    keys = [
        key
        for prefix, cited in _EXPERIMENTS.items()
        if experiment.startswith(prefix)
        for key in cited
    ]
    for field, value in _leaves(config):
        table = CITED.get(_FIELDS.get(field, ""), {})
        keys += [key for name in _names(field, value, table) for key in table.get(name, ())]
    return [PAPERS[key] for key in dict.fromkeys([*keys, "moritz2018ray"])]


def _leaves(config: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    for field, value in config.items():
        if isinstance(value, Mapping):
            yield from _leaves(value)
        else:
            yield field, value


def _names(field: str, value: Any, table: Mapping[str, Any]) -> list[str]:
    if field == "policies" and value == "all":
        return list(table)
    names = value if isinstance(value, list | tuple) else [value]
    found = []
    for name in names:
        # A whole name may hold a plus sign itself; an attack its strength behind a colon.
        text = str(name).partition(":")[0]
        parts = [text] if text in table else text.replace(",", "+").split("+")
        found += [part.strip() for part in parts]
    return found


__all__ = ["CITED", "PAPERS", "Paper", "papers_of"]
