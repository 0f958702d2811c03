"""States of the decision process: partial schedules, consumers before producers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import prod
from typing import NamedTuple

from mlsys_ray.value_learning.operators import Pipeline, Stage
from mlsys_ray.value_learning.operators.expression import Load
from mlsys_ray.value_learning.space.action import Action, Site
from mlsys_ray.value_learning.space.placement import Loop, Placement, covered, loops_of
from mlsys_ray.value_learning.target import Target


class _Inside(NamedTuple):
    """Of a stage that is computed inside a loop, or at root; see `Placement`."""

    region: tuple[int, ...]
    path: tuple[Site, ...]
    realisations: int
    tasks: int
    varying: tuple[bool, ...]
    around: tuple[tuple[int, tuple[int, ...]], ...]


@dataclass(frozen=True)
class State:
    """A pipeline of which the first stages are scheduled, one action each.

    Attributes:
        pipeline: what is scheduled.
        target: what for.
        actions: of `pipeline.stages[:len(actions)]`.
    """

    pipeline: Pipeline
    target: Target
    actions: tuple[Action, ...] = ()

    @property
    def is_complete(self) -> bool:
        """Whether no stage is left."""
        return len(self.actions) == len(self.pipeline.stages)

    @property
    def stage(self) -> Stage:
        """The one that is scheduled next."""
        return self.pipeline.stages[len(self.actions)]

    def __reduce__(self) -> tuple[type[State], tuple[Pipeline, Target, tuple[Action, ...]]]:
        """What is derived stays behind when a state goes to another process."""
        return State, (self.pipeline, self.target, self.actions)

    def take(self, action: Action) -> State:
        """The state after the action; that it is a legal one is the caller's matter."""
        successor = State(self.pipeline, self.target, (*self.actions, action))
        successor.__dict__["parent"] = self
        return successor

    @cached_property
    def parent(self) -> State:
        """The state before the last action; of the first state, itself."""
        return State(self.pipeline, self.target, self.actions[:-1]) if self.actions else self

    @cached_property
    def placements(self) -> tuple[Placement, ...]:
        """Of each scheduled stage."""
        if not self.actions:
            return ()
        return (*self.parent.placements, self.parent._place(self.actions[-1]))

    def _place(self, action: Action) -> Placement:
        place = len(self.actions)
        stage = self.pipeline.stages[place]
        if action.compute == "inline":
            evaluations = sum(
                self.placements[consumer].evaluations * self.pipeline.stages[consumer].terms
                for consumer, _ in self._loads_of(place)
            )
            return Placement(action, stage.extents, (), 1, 1, (), evaluations, ())
        inside = self._inside(action.site)
        region = stored = inside.region
        if action.store is not None:
            stored = self.required(place, action.store)
        loops = loops_of(stage, action, region)
        own = prod(loop.count for loop in loops if loop.parallel)
        if action.store is None:
            evaluations = inside.realisations * covered(action, region)
        else:
            evaluations = self._around(action.store)[1] * prod(stored)
        return Placement(
            action,
            region,
            inside.path,
            inside.realisations,
            inside.tasks * own,
            stored,
            evaluations,
            loops,
            inside.varying,
            inside.around,
        )

    def _inside(self, site: Site | None) -> _Inside:
        """What all actions of the next stage inside a loop have in common; found once."""
        known: dict[Site | None, _Inside] = self.__dict__.setdefault("inside", {})
        if site not in known:
            place = len(self.actions)
            path, realisations, tasks = self._around(site) if site is not None else ((), 1, 1)
            around = tuple((self._around(outer)[1], self.required(place, outer)) for outer in path)
            known[site] = _Inside(
                self.required(place, site),
                path,
                realisations,
                tasks,
                self._varying(place, site),
                ((1, self.required(place, None)), *around),
            )
        return known[site]

    def loop(self, site: Site) -> Loop:
        """The loop at a site."""
        return self.placements[site.stage].loops[site.loop]

    def path(self, site: Site) -> tuple[Site, ...]:
        """A loop and all those around it, outermost first."""
        return self._around(site)[0]

    def _around(self, site: Site) -> tuple[tuple[Site, ...], int, int]:
        """A loop with those around it; iterations of it in all, and of the parallel ones."""
        known: dict[Site, tuple[tuple[Site, ...], int, int]]
        known = self.__dict__.setdefault("around", {})
        if site not in known:
            owner = self.placements[site.stage]
            count = owner.realisations
            for loop in owner.loops[: site.loop + 1]:
                count *= loop.count
            own = tuple(Site(site.stage, position) for position in range(site.loop + 1))
            known[site] = ((*owner.path, *own), count, owner.tasks)
        return known[site]

    @cached_property
    def sites(self) -> tuple[Site, ...]:
        """Loops inside which the next stage may be computed: around all that reads it."""
        paths = list(self._uses(len(self.actions)))
        common = 0
        shortest = min(map(len, paths))
        while common < shortest and len({path[common] for path in paths}) == 1:
            common += 1
        return paths[0][:common]

    def _uses(self, place: int) -> Iterator[tuple[Site, ...]]:
        """The loops around each stage that reads a stage, through inlined ones."""
        for consumer in self.pipeline.consumers[place]:
            placement = self.placements[consumer]
            if placement.inlined:
                yield from self._uses(consumer)
                continue
            own = tuple(Site(consumer, position) for position in range(len(placement.loops)))
            yield (*placement.path, *own)

    def required(self, place: int, site: Site | None) -> tuple[int, ...]:
        """Points of a stage, in each dimension, that an iteration of a loop needs, or all of it."""
        if place == 0:
            return self.pipeline.stages[0].extents
        known: dict[tuple[int, Site | None], tuple[int, ...]]
        known = self.__dict__.setdefault("regions", {})
        if (place, site) not in known:
            known[place, site] = self._required(place, site)
        return known[place, site]

    def _required(self, place: int, site: Site | None) -> tuple[int, ...]:
        stage = self.pipeline.stages[place]
        region = [1] * len(stage.extents)
        for consumer in self.pipeline.consumers[place]:
            if site is not None and site.stage == consumer:
                extents = self.loop(site).extents
            else:
                extents = self.required(consumer, site)
            spans = footprint(self.pipeline.stages[consumer], extents, stage.name)
            region = list(map(max, region, spans))
        return tuple(map(min, region, stage.extents))

    def _varying(self, place: int, site: Site | None) -> tuple[bool, ...]:
        """See `_find_varying`; found once."""
        known: dict[tuple[int, Site | None], tuple[bool, ...]]
        known = self.__dict__.setdefault("varying", {})
        if (place, site) not in known:
            known[place, site] = self._find_varying(place, site)
        return known[place, site]

    def _find_varying(self, place: int, site: Site | None) -> tuple[bool, ...]:
        """Dimensions in which some iterations need fewer points than others.

        An index is clamped there, or the points of a last tile are under a condition.
        """
        stage = self.pipeline.stages[place]
        found = [False] * len(stage.extents)
        for place_of, load in self._loads_of(place):
            consumer = self.pipeline.stages[place_of]
            if site is not None and site.stage == place_of:
                flags = self.placements[place_of].partial
            elif place_of == 0:
                flags = (False,) * len(consumer.extents)
            else:
                flags = self._varying(place_of, site)
            varying = {name for name, flag in zip(consumer.variables, flags, strict=True) if flag}
            for dimension, index in enumerate(load.indices):
                moved = any(term.variable in varying for term in index.terms)
                found[dimension] |= moved or index.clamp > 0
        return tuple(found)

    def _loads_of(self, place: int) -> Iterator[tuple[int, Load]]:
        """Each load of a stage, with the place of the stage that does it."""
        name = self.pipeline.stages[place].name
        for consumer in self.pipeline.consumers[place]:
            for load in self.pipeline.stages[consumer].loads:
                if load.source == name:
                    yield consumer, load


def footprint(consumer: Stage, extents: Sequence[int], source: str) -> tuple[int, ...]:
    """Points of a source, in each dimension, that so many points of a consumer read."""
    ranges = dict(zip(consumer.variables, extents, strict=True))
    if consumer.reduction:
        ranges |= zip(consumer.reduction.variables, consumer.reduction.extents, strict=True)
    spans = [
        tuple(index.extent(ranges) for index in load.indices)
        for load in consumer.loads
        if load.source == source
    ]
    return tuple(map(max, zip(*spans, strict=True)))
