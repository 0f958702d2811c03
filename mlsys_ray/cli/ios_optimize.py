"""The commands `mlsys-ray ios optimize` and `mlsys-ray ios run`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from tyro.conf import Positional

from mlsys_ray.cli.console import print_json, print_table, say, usage_errors
from mlsys_ray.cli.interrupts import stop_on_interrupt
from mlsys_ray.exit_codes import ExitCode

if TYPE_CHECKING:
    from mlsys_ray.ios.interleaved import Timing
    from mlsys_ray.ios.optimization import Found

Strategy = Literal["sequential", "greedy", "merge", "parallel", "both", "mixed"]
Kernel = Literal["onednn", "winograd", "direct", "fused", "halide"]
Runtime = Literal["eager", "compile", "onnxruntime", "openvino", "cuda_graph"]
_VARIANTS = {
    "sequential": "sequential",
    "greedy": "greedy",
    "merge": "ios_merge",
    "parallel": "ios_parallel",
    "both": "ios_both",
    "mixed": "ios_mixed",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class OptimizeNetwork:
    """Find a schedule of a network, measure it whole, and write the faster of it and sequential.

    Latencies of operators and stages are kept by content: a second search measures nothing.
    """

    network: str | None = None
    """inception_v3, nasnet_a_large, randwire, squeezenet, resnet18, resnet50 or mobilenet_v2."""
    model: str | None = None
    """A network of your own instead: package.module:function that gives a torch.nn.Module."""
    input_shape: tuple[int, ...] | None = None
    """With --model, shape of one sample, such as 3 224 224."""
    batch_size: int = 1
    """Samples at a time."""
    device: Literal["cpu", "cuda"] = "cpu"
    """Where it is measured."""
    precision: Literal["fp32", "tf32", "fp16"] = "fp32"
    """Of the arithmetic, on a GPU; outputs may differ by 1e-4 of the largest value with fp32, by
    1e-2 with the others."""
    strategy: Strategy = "mixed"
    """merge, parallel and both are the paper's; mixed also picks the kernel of each operator."""
    endings: Literal["single-source", "general"] = "single-source"
    """Endings as the authors enumerate them, or as the paper defines them."""
    max_group_size: int = 3
    """Operators in a group (the paper's r)."""
    max_groups: int = 8
    """Groups in a stage (the paper's s)."""
    num_threads: int | None = None
    """Of the engine; by default one a core."""
    search_seconds: float | None = None
    """For measuring stages, after which the best schedule so far is taken [s]; by default
    whatever it takes. Ctrl-C does the same at any time; the exit status is then 0, too."""
    peers: tuple[Runtime, ...] = ()
    """Runtimes that may run the whole network instead, if that is faster."""
    kernels: tuple[Kernel, ...] = ("onednn", "winograd", "direct", "fused")
    """That mixed may choose from; halide has value learning schedule operators (once, kept)."""
    halide_seconds: float = 4.0
    """With halide, for measuring the schedules of one kernel [s]."""
    halide_limit: float = 180.0
    """With halide, after which no further kernel is begun [s]."""
    fresh: bool = False
    """Measure anew what has been measured before."""
    out: Path | None = None
    """The schedule file; by default schedule.json in the run directory."""
    run_dir: Path | None = None
    """Run directory; by default a new one under runs/."""
    json: bool = False
    """Print the result as JSON on stdout, too."""

    def run(self) -> ExitCode:
        """Capture, search, measure."""
        from mlsys_ray.cluster.environment import usable_cores
        from mlsys_ray.cluster.run_directory import RunDirectory, default_run_path
        from mlsys_ray.ios.capture import capture
        from mlsys_ray.ios.devices import require_device
        from mlsys_ray.ios.optimization import contest, default_cache, find
        from mlsys_ray.ios.plan import Settings
        from mlsys_ray.ios.sources import make_model

        with ExitStack() as stack:
            with usage_errors():
                require_device(self.device, self.precision)
                settings = Settings(
                    endings=self.endings,
                    max_group_size=self.max_group_size,
                    max_groups=self.max_groups,
                    num_threads=self.num_threads or usable_cores(),
                    budget_seconds=self.search_seconds,
                    cache=None if self.fresh else default_cache(),
                    device=self.device,
                    precision=self.precision,
                    kernels=self.kernels,
                    halide_seconds=self.halide_seconds,
                    halide_limit=self.halide_limit,
                )
                module, example = make_model(
                    self.network, self.model, self.input_shape, self.batch_size
                )
                folder = self.run_dir or default_run_path("ios-optimize")
                run = stack.enter_context(
                    RunDirectory.create(folder, asdict(self), experiment="ios-optimize")
                )
            with stop_on_interrupt("the best schedule so far is measured and written") as stopped:
                say("capturing the network")
                captured = capture(module, [example])
                if captured.reason:
                    say(f"the module runs whole, it could not be exported: {captured.reason}")
                variants = [_VARIANTS[self.strategy]]
                found = find(module, captured, variants, settings, say, stopped)
            held = contest(module, captured, found, self.peers, settings, say)
            for runner in held.runners.values():
                runner.close()
            rows = [*_schedule_rows(found), *_peer_rows(found.best, held.timings)]
            for row in rows:
                run.log(row)
            out = self.out or Path(folder) / "schedule.json"
            early = [name for name, own in found.schedules.items() if own.stopped_early]
            replace(
                found.schedules[found.best],
                runtime=None if held.fastest == found.best else held.fastest,
                stopped_early=bool(early),
            ).save(out)
            summary = {
                "best": held.fastest,
                "stopped_early": bool(early),
                "num_measured": found.num_measured,
                "search_seconds": round(found.seconds, 2),
                **{f"{row['name']}_min_ms": row["min_ms"] for row in rows},
            }
            run.finish(summary)
        print_table(rows, title=f"{self.network or self.model}, batch size {self.batch_size}")
        if early:
            say(f"the search of {', '.join(early)} was stopped early: it holds the best so far")
        say(f"{held.fastest} is written to {out}; {found.num_measured} latencies were measured")
        if self.json:
            print_json({"run_dir": folder, "schedule": out, **summary, "schedules": rows})
        return ExitCode.DONE


def _schedule_rows(found: Found) -> list[dict[str, Any]]:
    return [
        {
            "name": name,
            "min_ms": round(timing.min_ms, 3),
            "median_ms": round(timing.median_ms, 3),
            "expected_ms": round(found.expected[name], 3),
            "stages": len(found.schedules[name].stages),
            "stages of several groups": sum(len(s) > 1 for s in found.schedules[name].stages),
            "max_abs_difference": found.differences[name],
        }
        for name, timing in found.timings.items()
    ]


def _peer_rows(best: str, timings: Mapping[str, Timing]) -> list[dict[str, Any]]:
    """Of the measurement beside other runtimes, in which the best schedule has a row, too."""
    empty = dict.fromkeys(
        ("expected_ms", "stages", "stages of several groups", "max_abs_difference")
    )
    return [
        {
            "name": f"{name}, beside runtimes" if name == best else name,
            "min_ms": round(timing.min_ms, 3),
            "median_ms": round(timing.median_ms, 3),
            **empty,
        }
        for name, timing in timings.items()
    ]


@dataclass(frozen=True, kw_only=True, slots=True)
class RunSchedule:
    """Run a network by a schedule file: latency, agreement with the module, and a trace."""

    schedule: Positional[Path]
    """File that `mlsys-ray ios optimize` has written."""
    network: str | None = None
    """The network that it is for."""
    model: str | None = None
    """A network of your own instead: package.module:function that gives a torch.nn.Module."""
    input_shape: tuple[int, ...] | None = None
    """With --model, shape of one sample, such as 3 224 224."""
    device: Literal["cpu", "cuda"] = "cpu"
    """Where it runs; the precision is that of the schedule."""
    num_threads: int | None = None
    """Of the engine; by default one a core."""
    repeats: int = 20
    """Runs that are timed."""
    trace: Path | None = None
    """A file for the last run as a Chrome trace, which ui.perfetto.dev opens."""
    json: bool = False
    """Print the latencies as JSON on stdout, too."""

    def run(self) -> ExitCode:
        """Load, check, run."""
        from functools import partial

        import torch

        from mlsys_ray.cluster.environment import usable_cores
        from mlsys_ray.ios.agreement import TOLERANCES, checked_difference, random_like
        from mlsys_ray.ios.capture import capture
        from mlsys_ray.ios.devices import arithmetic, require_device, synchronize
        from mlsys_ray.ios.interleaved import measure
        from mlsys_ray.ios.optimization import ScheduledModule, run_by
        from mlsys_ray.ios.peers.base import flat
        from mlsys_ray.ios.schedule import load_schedule
        from mlsys_ray.ios.sources import make_model
        from mlsys_ray.report.chrome_trace import chrome_trace

        with ExitStack() as stack:
            with usage_errors():
                if self.repeats < 1:
                    raise ValueError(f"repeats must be 1 or more, is {self.repeats}")
                schedule = load_schedule(self.schedule)
                require_device(self.device, schedule.precision)
                if schedule.runtime and self.trace:
                    raise ValueError(
                        f"{schedule.runtime} runs this network whole: there are no operators to"
                        " trace"
                    )
                module, example = make_model(
                    self.network, self.model, self.input_shape, schedule.batch_size
                )
                captured = capture(module, [example])
                runner = run_by(
                    schedule, module, captured, self.num_threads or usable_cores(), self.device, say
                )
                stack.callback(runner.close)
            inputs = random_like([example], seed=1)
            with torch.inference_mode(), arithmetic("fp32"):
                wanted = flat(module(*inputs))
            tolerance = TOLERANCES[schedule.precision]
            difference = checked_difference(flat(runner(*inputs)), wanted, tolerance)
            placed = [x.to(self.device) for x in inputs]
            wait = partial(synchronize, self.device)
            timing = measure({"run": lambda: runner(*placed)}, rounds=self.repeats, wait=wait)[
                "run"
            ]
            events = runner.engine.events() if isinstance(runner, ScheduledModule) else []
        result = {
            "min_ms": timing.min_ms,
            "median_ms": timing.median_ms,
            "max_abs_difference": difference,
            "runtime": schedule.runtime,
        }
        print_table([result], title=str(self.schedule))
        if self.trace is not None:
            self.trace.write_text(json.dumps(chrome_trace(events, title=str(self.schedule))))
            say(f"trace: {self.trace}")
        if self.json:
            print_json({**result, "trace": self.trace})
        return ExitCode.DONE
