"""The metrics of runs: which there are, and how they reach the metrics page of a Ray node.

Prometheus shows a metric under `ray_` and its name, a counter with `_total` behind. Values of a tag
come from small sets that are closed, because a node keeps every series that it has ever seen.
"""

from __future__ import annotations

import sys
import threading
from dataclasses import dataclass
from functools import cache
from types import TracebackType
from typing import Any, Literal, Self

HEARTBEAT_SECONDS = 5.0
"""A gauge is set again so often: Ray forgets it 20 s after it was set."""
Tags = tuple[tuple[str, str], ...]
"""Names and values, by name."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Metric:
    """One metric.

    Attributes:
        name: as Ray is given it; ends in its unit if it has one.
        kind: counters only grow, gauges say what is the case.
        help: what the number is.
        tags: what the number is split by.
    """

    name: str
    kind: Literal["counter", "gauge"]
    help: str
    tags: tuple[str, ...] = ()

    @property
    def series(self) -> str:
        """The name in Prometheus."""
        return f"ray_{self.name}_total" if self.kind == "counter" else f"ray_{self.name}"


_RUN = ("scheme", "rule", "attack")
BYZSHIELD_ACCURACY = Metric(
    name="mlsys_ray_byzshield_accuracy_ratio",
    kind="gauge",
    help="Test accuracy when it was measured last",
    tags=_RUN,
)
BYZSHIELD_DISTORTION = Metric(
    name="mlsys_ray_byzshield_distortion_ratio",
    kind="gauge",
    help="Share of the files whose vote Byzantine workers won, in the last iteration",
    tags=_RUN,
)
BYZSHIELD_ITERATIONS = Metric(
    name="mlsys_ray_byzshield_iterations",
    kind="counter",
    help="Iterations of training",
    tags=_RUN,
)
BYZSHIELD_SECONDS = Metric(
    name="mlsys_ray_byzshield_seconds",
    kind="counter",
    help="Time of training by part: compute, communication, vote or aggregation",
    tags=("part",),
)
BYZSHIELD_BYTES = Metric(
    name="mlsys_ray_byzshield_received_bytes",
    kind="counter",
    help="What the parameter server got from workers: digests and gradients",
)
BYZSHIELD_EVENTS = Metric(
    name="mlsys_ray_byzshield_events",
    kind="counter",
    help="What went wrong with workers and votes, by kind",
    tags=("kind",),
)
IOS_MEASURED = Metric(
    name="mlsys_ray_ios_measured",
    kind="counter",
    help="Latencies of stages and kernels measured on the device",
    tags=("network",),
)
IOS_BEST_LATENCY = Metric(
    name="mlsys_ray_ios_best_latency_seconds",
    kind="gauge",
    help="Latency of the schedule that a search found, run whole",
    tags=("network", "strategy"),
)
VALUE_LEARNING_MEASURED = Metric(
    name="mlsys_ray_value_learning_measured",
    kind="counter",
    help="Halide schedules compiled and measured, by what came of it",
    tags=("status",),
)
VALUE_LEARNING_BEST_LATENCY = Metric(
    name="mlsys_ray_value_learning_best_latency_seconds",
    kind="gauge",
    help="Run time of the best schedule that a search has measured so far",
    tags=("layer", "method"),
)
FIREPLACE_PLACEMENTS = Metric(
    name="mlsys_ray_fireplace_placements",
    kind="counter",
    help="VMs placed",
    tags=("policy",),
)
FIREPLACE_SPEED = Metric(
    name="mlsys_ray_fireplace_policy_placements_per_second",
    kind="gauge",
    help="Placements per second of one process with this policy",
    tags=("policy",),
)
FIREPLACE_PAR = Metric(
    name="mlsys_ray_fireplace_par_ratio",
    kind="gauge",
    help="Peak-to-average ratio of use, mean over the traces placed so far",
    tags=("policy",),
)
METRICS = tuple(value for value in list(globals().values()) if isinstance(value, Metric))


class Publisher:
    """Publishes numbers while its `with` block lasts; does nothing where Ray is not connected."""

    def __init__(self) -> None:
        self._gauges: dict[tuple[Metric, Tags], float] = {}
        self._lock = threading.Lock()
        self._over = threading.Event()
        self._heart = threading.Thread(target=self._beat, name="metrics", daemon=True)

    def __enter__(self) -> Self:
        self._heart.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._over.set()
        self._heart.join()

    def set(self, gauge: Metric, value: float, **tags: str) -> None:
        """Let a gauge have a value until the block ends."""
        key = gauge, tuple(sorted(tags.items()))
        with self._lock:
            self._gauges[key] = value
            self._send(*key)

    def add(self, counter: Metric, amount: float, **tags: str) -> None:
        """Add to a counter; nothing if the amount is 0."""
        if amount and _is_connected():
            _instrument(counter).inc(amount, tags=tags)

    def _beat(self) -> None:
        while not self._over.wait(HEARTBEAT_SECONDS):
            with self._lock:
                for key in self._gauges:
                    self._send(*key)

    def _send(self, gauge: Metric, tags: Tags) -> None:
        if _is_connected():
            _instrument(gauge).set(self._gauges[gauge, tags], tags=dict(tags))


def _is_connected() -> bool:
    """Whether this process belongs to a cluster; does not load Ray to find out."""
    ray = sys.modules.get("ray")
    return ray is not None and ray.is_initialized()


@cache
def _instrument(metric: Metric) -> Any:
    from ray.util import metrics

    make = metrics.Counter if metric.kind == "counter" else metrics.Gauge
    return make(metric.name, metric.help, metric.tags)
