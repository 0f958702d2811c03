"""Our schedules beside today's runtimes: one model, one process, in turns."""

from __future__ import annotations

import statistics
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch

from mlsys_ray.ios.agreement import TOLERANCES, checked_difference, random_like
from mlsys_ray.ios.capture import capture
from mlsys_ray.ios.devices import DeviceKind, arithmetic, synchronize
from mlsys_ray.ios.graph import Graph
from mlsys_ray.ios.interleaved import ROUNDS, Timing, measure
from mlsys_ray.ios.optimization import find, make_engine
from mlsys_ray.ios.peers import MissingPeerError, Peer, PeerFailedError, PeerTask, prepare_peer
from mlsys_ray.ios.peers.base import Prepare, first_line, flat, torch_threads
from mlsys_ray.ios.plan import Settings
from mlsys_ray.ios.schedule import Schedule
from mlsys_ray.ios.stage_costs import Stopped


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """What came of a comparison; each by the tool's name.

    Attributes:
        timings: of the tools that ran, with as many samples each.
        max_abs_difference: the largest from the model's outputs, on random input.
        versions: of the tools.
        missing: tools that are not installed, with how they are.
        failed: tools that cannot run the model, or whose outputs are not the model's, with why.
    """

    timings: dict[str, Timing]
    max_abs_difference: dict[str, float]
    versions: dict[str, str]
    missing: dict[str, str]
    failed: dict[str, str]

    @property
    def fastest(self) -> str:
        """The tool with the least minimum."""
        return min(self.timings, key=lambda name: self.timings[name].min_ms)

    def rows(self) -> list[dict[str, Any]]:
        """A row for each tool, those that did not run last; `times_fastest` is within rounds."""
        rows: list[dict[str, Any]] = []
        for name, timing in self.timings.items():
            ratios = timing.ratios(self.timings[self.fastest])
            values = (
                name,
                timing.min_ms,
                timing.median_ms,
                statistics.median(ratios),
                min(ratios),
                max(ratios),
                self.max_abs_difference[name],
                self.versions[name],
                None,
            )
            rows.append(dict(zip(_FIELDS, values, strict=True)))
        absent = {**self.missing, **self.failed}
        return rows + [
            {**dict.fromkeys(_FIELDS), "tool": name, "note": note} for name, note in absent.items()
        ]


_FIELDS = (
    "tool",
    "min_ms",
    "median_ms",
    "times_fastest",
    "lowest_ratio",
    "highest_ratio",
    "max_abs_difference",
    "version",
    "note",
)
"""Of a row of a comparison."""


def compare(
    task: PeerTask,
    against: Sequence[str],
    own: Mapping[str, Prepare],
    *,
    rounds: int = ROUNDS,
    seed: int = 1,
) -> Comparison:
    """Time our variants and other tools on one model, and check what they compute.

    Args:
        task: the model, and what tools may use.
        against: names of `PEERS`.
        own: our variants, see `our_variants`.
        rounds: see `measure`.
        seed: of the random input that outputs are compared on.

    Raises:
        ValueError: a tool is unknown.
    """
    wanted: dict[str, Prepare] = dict(own)
    wanted |= {name: partial(prepare_peer, name) for name in against}
    inputs = random_like(task.example_inputs, seed)
    with torch_threads(task.num_threads), torch.inference_mode(), arithmetic("fp32"):
        expected = flat(task.model(*inputs))
    peers: dict[str, Peer] = {}
    differences: dict[str, float] = {}
    missing: dict[str, str] = {}
    failed: dict[str, str] = {}
    with ExitStack() as stack:
        for name, prepare in wanted.items():
            begin = time.monotonic()
            try:
                peer = stack.enter_context(prepare(task))
                found = peer.run(*inputs)
                differences[name] = checked_difference(found, expected, TOLERANCES[task.precision])
            except MissingPeerError as error:
                missing[name] = str(error)
            except (PeerFailedError, RuntimeError) as error:
                failed[name] = first_line(error)
            else:
                peers[name] = peer
            task.tell(f"{name} prepared and checked in {time.monotonic() - begin:.1f} s")
        examples = [x.to(task.device) for x in task.example_inputs]
        calls = {name: partial(peer.run, *examples) for name, peer in peers.items()}
        task.tell(f"timing {', '.join(calls) or 'nothing'} in {rounds} rounds")
        wait = partial(synchronize, task.device)
        timings = measure(calls, rounds=rounds, wait=wait) if calls else {}
    return Comparison(
        timings=timings,
        max_abs_difference=differences,
        versions={name: peer.version for name, peer in peers.items()},
        missing=missing,
        failed=failed,
    )


class Scheduled(Peer):
    """A captured graph by a schedule, in our engine."""

    def __init__(
        self, graph: Graph, schedule: Schedule, num_threads: int, device: DeviceKind = "cpu"
    ) -> None:
        self.version = ", ".join(f"{name} {v}" for name, v in sorted(schedule.versions.items()))
        self._engine = make_engine(graph, schedule, num_threads, device)
        self._threads = num_threads

    def run(self, *inputs: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """See `Peer.run`."""
        with torch_threads(self._threads):
            return flat(self._engine(*inputs))

    def close(self) -> None:
        """See `Peer.close`."""
        self._engine.close()


def our_variants(
    task: PeerTask,
    variants: Sequence[str],
    settings: Settings,
    stopped: Stopped = lambda: False,
) -> dict[str, Prepare]:
    """Our schedules of a model, found now, by the name of their variant.

    Args:
        task: the model.
        variants: names of `optimize.VARIANTS`; sequential is there in any case.
        settings: of the search; number of threads, device and precision are the task's.
        stopped: whether the best schedules known so far are wanted now.
    """
    begin = time.monotonic()
    captured = capture(task.model, task.example_inputs)
    task.tell(f"captured in {time.monotonic() - begin:.1f} s")
    own = replace(
        settings, num_threads=task.num_threads, device=task.device, precision=task.precision
    )
    found = find(task.model, captured, variants, own, task.tell, stopped)
    return {
        name: partial(_scheduled, captured.graph, schedule)
        for name, schedule in found.schedules.items()
    }


def _scheduled(graph: Graph, schedule: Schedule, task: PeerTask) -> Peer:
    return Scheduled(graph, schedule, task.num_threads, task.device)
