"""The command `mlsys-ray ios compare`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from mlsys_ray.cli.console import print_json, print_table, say, usage_errors
from mlsys_ray.cli.interrupts import stop_on_interrupt
from mlsys_ray.cli.ios_optimize import Kernel
from mlsys_ray.exit_codes import ExitCode

if TYPE_CHECKING:
    from mlsys_ray.cluster.run_directory import RunDirectory
    from mlsys_ray.ios.comparison import Comparison
    from mlsys_ray.ios.peers import PeerTask
    from mlsys_ray.ios.peers.base import Prepare

Tool = Literal["eager", "compile", "onnxruntime", "openvino", "cuda_graph"]
Variant = Literal["sequential", "greedy", "ios_merge", "ios_parallel", "ios_both", "ios_mixed"]


@dataclass(frozen=True, kw_only=True, slots=True)
class CompareTools:
    """Time our schedules and today's runtimes on one network, in turns.

    Tools that are not installed are named as missing. Latencies are medians; minima, which other
    work on the machine changes least, stand beside them.
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
    """Where they run."""
    precision: Literal["fp32", "tf32", "fp16"] = "fp32"
    """Of the arithmetic, on a GPU; outputs may differ by 1e-4 of the largest value with fp32, by
    1e-2 with the others."""
    against: tuple[Tool, ...] | None = None
    """Tools to compare with; by default all for the device. compile takes a minute for small
    networks, ten for large ones, and once."""
    variants: tuple[Variant, ...] = (
        "sequential",
        "greedy",
        "ios_merge",
        "ios_parallel",
        "ios_both",
        "ios_mixed",
    )
    """Our own schedules; sequential is there in any case."""
    search_seconds: float | None = 30.0
    """For measuring stages of each variant, after which the best schedule so far is taken [s]; none
    for whatever it takes. Ctrl-C ends all searches so."""
    kernels: tuple[Kernel, ...] = ("onednn", "winograd", "direct", "fused")
    """That mixed may choose from; halide has value learning schedule operators (once, kept)."""
    halide_seconds: float = 4.0
    """With halide, for measuring the schedules of one kernel [s]."""
    halide_limit: float = 180.0
    """With halide, after which no further kernel is begun [s]."""
    num_threads: int | None = None
    """That each tool may use; by default one a core."""
    rounds: int = 9
    """In each of which every tool is timed once."""
    compile_limit: float = 900.0
    """For compile, if what it makes is not kept from before [s]."""
    run_dir: Path | None = None
    """Run directory; by default a new one under runs/."""
    json: bool = False
    """Print the latencies as JSON on stdout, too."""

    def run(self) -> ExitCode:
        """Prepare every tool, check what it computes, and time it."""
        from mlsys_ray.cluster.environment import usable_cores
        from mlsys_ray.cluster.run_directory import RunDirectory, default_run_path
        from mlsys_ray.ios.comparison import our_variants
        from mlsys_ray.ios.devices import require_device
        from mlsys_ray.ios.optimization import default_cache
        from mlsys_ray.ios.peers import ON_CPU, ON_GPU, PeerTask
        from mlsys_ray.ios.plan import Settings
        from mlsys_ray.ios.sources import make_model

        with ExitStack() as stack:
            with usage_errors():
                module, example = make_model(
                    self.network, self.model, self.input_shape, self.batch_size
                )
                task = PeerTask(
                    model=module,
                    example_inputs=[example],
                    num_threads=self.num_threads or usable_cores(),
                    time_limit=self.compile_limit,
                    tell=say,
                    device=self.device,
                    precision=self.precision,
                )
                require_device(self.device, self.precision)
                settings = Settings(
                    budget_seconds=self.search_seconds,
                    cache=default_cache(),
                    kernels=self.kernels,
                    halide_seconds=self.halide_seconds,
                    halide_limit=self.halide_limit,
                )
                if self.rounds < 1:
                    raise ValueError(f"rounds must be 1 or more, is {self.rounds}")
                folder = self.run_dir or default_run_path("ios-compare")
                run = stack.enter_context(
                    RunDirectory.create(folder, asdict(self), experiment="ios-compare")
                )
            against = self.against or (ON_GPU if self.device == "cuda" else ON_CPU)
            meaning = "the best schedules so far are compared"
            with stop_on_interrupt(meaning) as stopped:
                own = our_variants(task, self.variants, settings, stopped)
            found = compare_into(run, task, own, against, self.rounds)
            rows = found.rows()
        print_tools(found, self._title(task.num_threads))
        say(f"run directory: {folder}")
        if self.json:
            by_tool = {row["tool"]: row for row in rows}

            def column(name: str) -> dict[str, Any]:
                return {tool: row[name] for tool, row in by_tool.items()}

            print_json(
                {
                    "run_dir": folder,
                    "network": self.network or self.model,
                    "batch_size": self.batch_size,
                    "device": self.device,
                    "precision": self.precision,
                    "num_threads": task.num_threads,
                    "latency_ms": column("median_ms"),
                    "min_latency_ms": column("min_ms"),
                    "times_fastest": column("times_fastest"),
                    "max_abs_difference": column("max_abs_difference"),
                    "versions": found.versions,
                    "missing": found.missing,
                    "failed": found.failed,
                }
            )
        return ExitCode.SOME_TRIALS_FAILED if found.failed else ExitCode.DONE

    def _title(self, num_threads: int) -> str:
        return f"{self.network or self.model}, batch size {self.batch_size}, {self.device}," + (
            f" {num_threads} threads" if self.device == "cpu" else f" {self.precision}"
        )


def compare_into(
    run: RunDirectory,
    task: PeerTask,
    own: Mapping[str, Prepare],
    against: Sequence[str],
    rounds: int,
) -> Comparison:
    """Compare our variants and other tools; write rounds, table, plot and summary to the run."""
    from mlsys_ray.ios.comparison import compare
    from mlsys_ray.report.ios_plots import latency_bars

    say("preparing the tools")
    found = compare(task, against, own, rounds=rounds)
    names = [f"{name}_ms" for name in found.timings]
    samples = [timing.samples for timing in found.timings.values()]
    for number, values in enumerate(zip(*samples, strict=True)):
        run.log({"round": number, **dict(zip(names, values, strict=True))})
    rows = found.rows()
    run.save_table("latencies", rows)
    run.save_plot("latency of each tool", latency_bars(rows))
    run.finish({f"{row['tool']}_median_ms": row["median_ms"] for row in rows})
    return found


def print_tools(found: Comparison, title: str) -> None:
    """Print the table of a comparison."""
    print_table([_shown(row) for row in found.rows()], title=title)


def _shown(row: dict[str, Any]) -> dict[str, Any]:
    spread = None
    if row["lowest_ratio"] is not None:
        spread = f"{row['lowest_ratio']:.2f} to {row['highest_ratio']:.2f}"
    names = ("tool", "min_ms", "median_ms", "times_fastest")
    return {
        **{name: row[name] for name in names},
        "over rounds": spread,
        **{name: row[name] for name in ("max_abs_difference", "version", "note")},
    }
