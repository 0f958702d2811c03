"""The command `mlsys-ray value-learning schedule`."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from tyro.conf import arg

from mlsys_ray.cli.console import print_json, print_table, say, usage_errors
from mlsys_ray.cli.value_learning_common import (
    default_baselines,
    network_of,
    require_halide,
)
from mlsys_ray.exit_codes import ExitCode

if TYPE_CHECKING:
    from mlsys_ray.value_learning.operators import Pipeline


@dataclass(frozen=True, kw_only=True, slots=True)
class LayerFlags:
    """One layer by flags, or any by --layers."""

    layer: str = "conv2d"
    """conv2d, matmul, maxpool2d, ...; the flags that it has are used."""
    batch: int = 1
    """Images at a time."""
    in_channels: int = 64
    """Channels of the image."""
    out_channels: int = 64
    """Channels of the result."""
    height: int = 56
    """Of the image [pixels]."""
    width: int = 56
    """Of the image [pixels]."""
    kernel: int = 3
    """Side of the window [pixels]."""
    stride: int = 1
    """Between windows [pixels]."""
    padding: int | None = None
    """On each side [pixels]; half the kernel by default."""
    groups: int = 1
    """Of channels that are convolved by themselves."""
    channels: int = 64
    """Of an image that is pooled."""
    m: int = 128
    """Rows of a product of matrices."""
    n: int = 512
    """Columns of it."""
    k: int = 256
    """Length of its sums."""

    def record(self) -> dict[str, Any]:
        """The layer as `layers.layer_from_json` reads it."""
        from dataclasses import fields

        from mlsys_ray.value_learning.layers import LAYERS

        if self.layer not in LAYERS:
            raise ValueError(f"layer is {self.layer!r}, must be one of {', '.join(LAYERS)}")
        flags = {**asdict(self), "padding": self._padding()}
        known = {flag.name for flag in fields(LAYERS[self.layer])}
        return {"op": self.layer, **{k: v for k, v in flags.items() if k in known}}

    def _padding(self) -> int:
        return self.kernel // 2 if self.padding is None else self.padding


@dataclass(frozen=True, kw_only=True, slots=True)
class ScheduleLayer:
    """Find a Halide schedule of a layer by the value network; nothing is run to find it."""

    flags: Annotated[LayerFlags, arg(name="")] = field(default_factory=LayerFlags)
    model: Path | None = None
    """Value network; the shipped one by default."""
    beam: int = 8
    """Width of the beam; 1 is greedy search."""
    budget: float = 1.0
    """Seconds for the search; there is an answer always."""
    measure: bool = False
    """Measure it beside PyTorch and Halide's autoschedulers."""
    measure_top: int = 1
    """Measure so many of the best finds, and take the fastest."""
    threads: int | None = None
    """Threads of the kernel; all cores by default."""
    json: bool = False
    """Print the result as JSON on stdout, too."""

    def run(self) -> ExitCode:
        """Search, and measure if asked to."""
        require_halide()
        from mlsys_ray.value_learning.layers import layer_from_json
        from mlsys_ray.value_learning.scheduling import search_schedule
        from mlsys_ray.value_learning.search.beam import BeamConfig
        from mlsys_ray.value_learning.target import host_target

        with usage_errors():
            record = self.flags.record()
            pipeline = layer_from_json(record).pipeline()
            target = host_target(self.threads)
            network = network_of(self.model, target)
            config = BeamConfig(
                width=self.beam, budget=self.budget, keep=max(self.beam, self.measure_top)
            )
            found = search_schedule(pipeline, target, network, config)
        if found.foreign:
            say("the network has not been trained on this machine: see value-learning adapt")
        chosen = found.schedules[0]
        ranked: list[float | None] = []
        if self.measure_top > 1:
            chosen, ranked = _fastest(pipeline, found.schedules[: self.measure_top])
        result: dict[str, Any] = {
            "layer": record,
            "target": target.key,
            "schedule": chosen.to_json(),
            "source": chosen.source(pipeline),
            "predicted_ms": found.predicted_ms[0],
            "deviation": found.deviation,
            "search_seconds": found.seconds,
            "states_scored": found.evaluated,
            "timed_out": found.timed_out,
            "trained_on_this_target": not found.foreign,
            "measured_top_ms": ranked,
        }
        say(chosen.source(pipeline))
        say(f"predicted {result['predicted_ms']:.4g} ms, found in {found.seconds:.2f} s")
        if self.measure:
            result["measured"] = self._measure(pipeline, chosen, found.seconds)
        if self.json:
            print_json(result)
        return ExitCode.DONE

    def _measure(self, pipeline: Pipeline, chosen: Any, seconds: float) -> list[dict[str, Any]]:
        from mlsys_ray.value_learning.baselines.compare import compare
        from mlsys_ray.value_learning.baselines.fixed import FixedSchedule

        contenders = [FixedSchedule("value", chosen, seconds), *default_baselines()]
        rows = compare(pipeline, chosen.target, contenders)
        table = [
            {
                "contender": row.name,
                "min_ms": None if row.failed else row.min_ms,
                "median_ms": None if row.failed else row.median_ms,
                "gflop_per_s": None if row.failed else pipeline.operations / row.min_ms / 1e6,
                "gb_per_s": None if row.failed else pipeline.bytes / row.min_ms / 1e6,
                "search_seconds": None if row.failed else row.search_seconds,
                "failed": row.failed,
            }
            for row in rows
        ]
        print_table(table, title="Runs taking turns")
        times = {row.name: row.min_ms for row in rows if not row.failed}
        if times.get("value", float("inf")) > times.get("torch", float("inf")):
            say(f"slower than PyTorch: {times.get('value')} ms against {times['torch']} ms")
        return table


def _fastest(pipeline: Pipeline, schedules: Any) -> tuple[Any, list[float | None]]:
    """The fastest of some schedules, and the times of all [ms]; None where one failed."""
    from mlsys_ray.value_learning.measuring import LEGAL, Measurer

    with Measurer(schedules[0].target, LEGAL) as measurer:
        measured = [measurer.measure(pipeline, schedule) for schedule in schedules]
    times = [m.min_ms if m.status == "ok" else None for m in measured]
    known = [(time, number) for number, time in enumerate(times) if time is not None]
    return schedules[min(known)[1] if known else 0], times
