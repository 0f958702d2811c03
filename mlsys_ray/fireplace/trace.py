"""A trace: when VMs arrive and end, what they request and what they use."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np

UNKNOWN_FUNCTION = -1


class TraceArrays(NamedTuple):
    """What compiled code reads of a trace; `Trace.arrays` makes it."""

    tick: float
    num_ticks: int
    arrival: np.ndarray
    end: np.ndarray
    request: np.ndarray
    function: np.ndarray
    use: np.ndarray
    use_offset: np.ndarray
    first_tick: np.ndarray
    departures: np.ndarray


@dataclass(frozen=True, eq=False, kw_only=True)
class Trace:
    """N virtual machines in order of arrival, with D resources.

    Attributes:
        name: what it is, for tables.
        tick: telemetry interval [s].
        resources: names of the D resources; the built-in readers give `("cpu", "memory")` in
            cores and MiB.
        arrival: float64 `[N]` [s], ascending, from 0 on.
        end: float64 `[N]` [s], later than the arrival. It may lie beyond the last arrival.
        request: float64 `[N, D]`, requested size in the resource's unit, above 0.
        function: int64 `[N]`, index into `functions`; -1 where unknown.
        functions: names of the functions (the owner, image or group whose VMs are alike).
        use: float32 `[M, D]`, the use series of all VMs one after another: VM i's mean use over
            each tick it touches, in the resource's unit, a tick in which it lives for a tenth
            counting a tenth.
        use_offset: int64 `[N + 1]`; VM i's series is `use[use_offset[i]:use_offset[i + 1]]`, its
            first row being tick `first_tick[i]`.

    Raises:
        ValueError: saying which VM breaks which of these.
    """

    name: str
    tick: float
    resources: tuple[str, ...]
    arrival: np.ndarray
    end: np.ndarray
    request: np.ndarray
    function: np.ndarray
    functions: tuple[str, ...]
    use: np.ndarray
    use_offset: np.ndarray

    def __post_init__(self) -> None:
        kinds = {
            "arrival": np.float64,
            "end": np.float64,
            "request": np.float64,
            "function": np.int64,
            "use": np.float32,
            "use_offset": np.int64,
        }
        for field, kind in kinds.items():
            array = np.ascontiguousarray(getattr(self, field), dtype=kind)
            array.setflags(write=False)
            object.__setattr__(self, field, array)
        self._check()

    def _check(self) -> None:
        if not self.tick > 0:
            raise ValueError(f"tick is {self.tick} s; it must be above 0")
        if not len(self.arrival):
            raise ValueError(f"{self.name}: the trace holds no VM")
        shapes = {
            "end": (len(self.arrival),),
            "request": (len(self.arrival), len(self.resources)),
            "function": (len(self.arrival),),
            "use_offset": (len(self.arrival) + 1,),
            "use": (int(self.use_offset[-1]), len(self.resources)),
        }
        for field, shape in shapes.items():
            if getattr(self, field).shape != shape:
                raise ValueError(
                    f"{field} has the shape {getattr(self, field).shape}; it must be {shape}"
                )
        broken = {
            "arrives at a time below 0 or not finite": ~(self.arrival >= 0),
            "arrives before the VM above it": np.diff(self.arrival, prepend=0.0) < 0,
            "ends no later than it arrives": ~(self.end > self.arrival) | ~np.isfinite(self.end),
            "requests a size that is not above 0": ~(self.request > 0).all(axis=1),
            f"has a function outside -1..{len(self.functions) - 1}": (
                (self.function < UNKNOWN_FUNCTION) | (self.function >= len(self.functions))
            ),
        }
        for what, rows in broken.items():
            self._refuse(what, rows)
        touched = ticks_touched(self.arrival, self.end, self.tick)
        self._refuse(
            "has a use series that does not span its life", np.diff(self.use_offset) != touched
        )
        if not (np.isfinite(self.use).all() and (self.use >= 0).all()):
            raise ValueError(f"{self.name}: use must be finite and not below 0")

    def _refuse(self, what: str, rows: np.ndarray) -> None:
        if rows.any():
            first = int(np.flatnonzero(rows)[0])
            raise ValueError(f"{self.name}: VM {first} {what}; {int(rows.sum())} VMs do")

    @property
    def num_vms(self) -> int:
        """Number of VMs N."""
        return len(self.arrival)

    @property
    def num_ticks(self) -> int:
        """Ticks from time 0 to the last arrival, that one included."""
        return int(self.arrival[-1] // self.tick) + 1

    @cached_property
    def first_tick(self) -> np.ndarray:
        """int64 `[N]`, the tick in which each VM arrives."""
        return (self.arrival // self.tick).astype(np.int64)

    @cached_property
    def alive(self) -> np.ndarray:
        """float64 `[num_ticks]`, mean number of VMs alive over each tick."""
        edges = np.arange(self.num_ticks + 1) * self.tick
        lived = np.zeros(len(edges))
        for times, sign in ((self.arrival, 1), (self.end, -1)):
            ordered = np.sort(times)
            before = np.searchsorted(ordered, edges)
            sums = np.concatenate([[0.0], np.cumsum(ordered)])[before]
            lived += sign * (before * edges - sums)
        return np.diff(lived) / self.tick

    @cached_property
    def peak_request(self) -> np.ndarray:
        """float64 `[D]`, the largest sum of the requests of VMs alive at one time."""
        return self.peak_request_of(np.ones(self.num_vms, dtype=bool))

    def peak_request_of(self, chosen: np.ndarray) -> np.ndarray:
        """float64 `[D]`, the largest sum of the requests of some VMs alive at one time.

        Args:
            chosen: bool `[N]`, at least one.
        """
        times = np.concatenate([self.end[chosen], self.arrival[chosen]])
        changes = np.concatenate([-self.request[chosen], self.request[chosen]])
        order = np.argsort(times, kind="stable")
        return np.cumsum(changes[order], axis=0).max(axis=0)

    @cached_property
    def arrays(self) -> TraceArrays:
        """The view of the trace for compiled code."""
        return TraceArrays(
            self.tick,
            self.num_ticks,
            self.arrival,
            self.end,
            self.request,
            self.function,
            self.use,
            self.use_offset,
            self.first_tick,
            np.argsort(self.end, kind="stable"),
        )

    def without_functions(self) -> Trace:
        """The same trace with no function identity: VMs of about one size are one function.

        Sizes are equal that round to the same quarter of an octave in every resource.
        """
        octaves = np.round(4 * np.log2(self.request)) / 4
        sizes, function = np.unique(octaves, axis=0, return_inverse=True)
        names = ("size " + " x ".join(f"2^{octave:g}" for octave in size) for size in sizes)
        return self.replaced(function=function.reshape(-1), functions=tuple(names))

    def slice(self, low: int, high: int) -> Trace:
        """The VMs `low` to `high - 1`, at their own times."""
        first, last = self.use_offset[low], self.use_offset[high]
        return self.replaced(
            arrival=self.arrival[low:high],
            end=self.end[low:high],
            request=self.request[low:high],
            function=self.function[low:high],
            use=self.use[first:last],
            use_offset=self.use_offset[low : high + 1] - first,
        )

    def replaced(self, **changes: object) -> Trace:
        """The trace with some fields replaced."""
        fields = {name: getattr(self, name) for name in self.__dataclass_fields__}
        return Trace(**{**fields, **changes})


def ticks_touched(arrival: np.ndarray, end: np.ndarray, tick: float) -> np.ndarray:
    """int64 `[N]`, the number of ticks in which a VM that lives `[arrival, end)` is alive."""
    return np.ceil(end / tick).astype(np.int64) - (arrival // tick).astype(np.int64)


def presence(arrival: np.ndarray, end: np.ndarray, tick: float) -> tuple[np.ndarray, np.ndarray]:
    """How much of each tick each VM lives.

    Args:
        arrival: float64 `[N]` [s].
        end: float64 `[N]` [s].
        tick: telemetry interval [s].

    Returns:
        offset: int64 `[N + 1]`, as `Trace.use_offset`.
        share: float64 `[M]`, the part of the tick, above 0 and at most 1, in the order of
            `Trace.use`.
    """
    counts = ticks_touched(arrival, end, tick)
    offset = np.concatenate([[0], np.cumsum(counts)])
    vm = np.repeat(np.arange(len(counts)), counts)
    position = np.arange(offset[-1]) - offset[vm]
    start = ((arrival // tick)[vm] + position) * tick
    share = (np.minimum(end[vm], start + tick) - np.maximum(arrival[vm], start)) / tick
    return offset, share
