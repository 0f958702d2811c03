"""A schedule for a pipeline, by the shipped value network or one of your own; nothing is run."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from mlsys_ray.value_learning.features import featurise
from mlsys_ray.value_learning.operators import Pipeline
from mlsys_ray.value_learning.operators.packing import packings
from mlsys_ray.value_learning.search.beam import BeamConfig, beam_search
from mlsys_ray.value_learning.space import Schedule, initial, legal_actions, schedule_of
from mlsys_ray.value_learning.target import Target, host_target
from mlsys_ray.value_learning.value_network.model import ValueNetwork, load_network, value_of

MODELS = Path(__file__).parent / "models"
SHIPPED = {int(p.stem.removeprefix("lanes")): p for p in MODELS.glob("lanes*.safetensors")}
"""The files of the networks that come with the package, by the lanes of their targets."""


@dataclass(frozen=True, eq=False)
class Scheduled:
    """What a search for a schedule has found.

    Attributes:
        schedules: the best one first.
        predicted_ms: runtimes that the network expects of them [ms].
        deviation: between the members of the ensemble, of the logarithm of the first one's runtime.
        evaluated: partial and complete schedules scored.
        seconds: the search took.
        timed_out: the budget ended the search.
        foreign: the network has not been trained on this target; `adapt` trains it.
    """

    schedules: tuple[Schedule, ...]
    predicted_ms: tuple[float, ...]
    deviation: float
    evaluated: int
    seconds: float
    timed_out: bool
    foreign: bool


def search_schedule(
    pipeline: Pipeline,
    target: Target | None = None,
    network: ValueNetwork | None = None,
    config: BeamConfig | None = None,
) -> Scheduled:
    """Search the schedules of a pipeline for the fastest one by a value network.

    Constant weights may be laid out in panels: `Schedule.panels` says so.

    Args:
        pipeline: what is scheduled.
        target: the machine; this one by default.
        network: the value function; the shipped one by default.
        config: of the beam search.

    Raises:
        ValueError: no network is shipped, or it does not fit the features.
    """
    target = target or host_target()
    network = network or shipped_network(target)
    starts = [initial(packing, target) for packing in packings(pipeline, target.lanes)]
    found = beam_search(starts, legal_actions, value_of(network, featurise), config)
    prediction = network.predict(featurise([c.state for c in found.candidates]))
    return Scheduled(
        schedules=tuple(schedule_of(candidate.state) for candidate in found.candidates),
        predicted_ms=tuple(prediction.ms.tolist()),
        deviation=float(prediction.deviation[0]),
        evaluated=found.evaluated,
        seconds=found.seconds,
        timed_out=found.timed_out,
        foreign=target.key not in network.card.get("targets", ()),
    )


def schedule(
    pipeline: Pipeline,
    target: Target | None = None,
    network: ValueNetwork | None = None,
    *,
    budget: float = 1.0,
) -> Schedule:
    """The schedule of a pipeline that the value network thinks best, within a budget [s].

    Example:
        >>> from mlsys_ray.value_learning import schedule
        >>> from mlsys_ray.value_learning.operators import Conv2d, chain
        >>> layer = chain((64, 56, 56, 1), Conv2d(out_channels=64, kernel=3, padding=1))
        >>> schedule(layer).source(layer)  # doctest: +SKIP
    """
    return search_schedule(pipeline, target, network, BeamConfig(budget=budget)).schedules[0]


def shipped_network(target: Target) -> ValueNetwork:
    """The network that comes with the package for targets of such lanes.

    Raises:
        ValueError: there is none.
    """
    return load_network(shipped_model(target))


def shipped_model(target: Target) -> Path:
    """Its file: that of the widest vectors which the target has, or else of the narrowest."""
    lanes = max((n for n in SHIPPED if n <= target.lanes), default=min(SHIPPED))
    return SHIPPED[lanes]
