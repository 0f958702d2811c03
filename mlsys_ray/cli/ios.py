"""The commands of `mlsys-ray ios`."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from mlsys_ray.cli.console import print_json, print_table, say, usage_errors
from mlsys_ray.exit_codes import ExitCode


@dataclass(frozen=True, kw_only=True, slots=True)
class CountSchedules:
    """Count operators, states, transitions and schedules of each block of a network."""

    network: str | None = None
    """inception_v3, nasnet_a_large, randwire, squeezenet, resnet18, resnet50 or mobilenet_v2."""
    model: str | None = None
    """A network of your own instead: package.module:function that gives a torch.nn.Module."""
    input_shape: tuple[int, ...] | None = None
    """With --model, shape of one sample, such as 3 224 224."""
    endings: Literal["single-source", "general"] = "general"
    """Endings as the authors enumerate them, or as the paper defines them."""
    max_group_size: int | None = None
    """Operators in a group (the paper's r); any number by default."""
    max_groups: int | None = None
    """Groups in a stage (the paper's s); any number by default."""
    run_dir: Path | None = None
    """Run directory; none by default."""
    json: bool = False
    """Print the counts as JSON on stdout, too."""

    def run(self) -> ExitCode:
        """Capture the network and count."""
        from mlsys_ray.cluster.run_directory import RunDirectory

        with ExitStack() as stack:
            if self.run_dir is None:
                rows = self._count()
            else:
                with usage_errors():
                    run = stack.enter_context(
                        RunDirectory.create(self.run_dir, asdict(self), experiment="ios-count")
                    )
                rows = self._count()
                run.save_table("blocks", rows)
                run.finish(
                    {
                        "blocks": len(rows),
                        **{
                            name: sum(row[name] for row in rows)
                            for name in ("states", "transitions")
                        },
                    }
                )
        print_table(rows, title=f"{self.network or self.model}, {self.endings} endings")
        if self.json:
            print_json({"network": self.network or self.model, "blocks": rows})
        return ExitCode.DONE

    def _count(self) -> list[dict[str, Any]]:
        from mlsys_ray.ios.capture import capture
        from mlsys_ray.ios.search.counts import as_rows, count_blocks
        from mlsys_ray.ios.sources import make_model

        with usage_errors():
            module, example = make_model(self.network, self.model, self.input_shape)
            captured = capture(module, [example])
            if captured.reason:
                say(f"the module runs whole, it could not be exported: {captured.reason}")
            return as_rows(
                count_blocks(
                    captured.graph,
                    endings=self.endings,
                    max_group_size=self.max_group_size,
                    max_groups=self.max_groups,
                )
            )


@dataclass(frozen=True, kw_only=True, slots=True)
class SimulateDevices:
    """Simulate what schedules gain on devices of more and more lanes.

    Operators are measured on one thread here; wider devices are a model (docs/ios.md).
    """

    network: str | None = None
    """inception_v3, nasnet_a_large, randwire, squeezenet, resnet18, resnet50 or mobilenet_v2."""
    model: str | None = None
    """A network of your own instead: package.module:function that gives a torch.nn.Module."""
    input_shape: tuple[int, ...] | None = None
    """With --model, shape of one sample, such as 3 224 224."""
    batch_size: int = 1
    """Samples at a time."""
    lanes: tuple[int, ...] = (1, 2, 4, 8, 16, 32, 64)
    """Widths of the devices [lanes]."""
    run_dir: Path | None = None
    """Run directory; by default a new one under runs/."""
    json: bool = False
    """Print the latencies as JSON on stdout, too."""

    def run(self) -> ExitCode:
        """Measure operators, then search on each device."""
        from mlsys_ray.cluster.run_directory import RunDirectory, default_run_path
        from mlsys_ray.ios.capture import capture
        from mlsys_ray.ios.machine_model import Device, measure_operators, simulate
        from mlsys_ray.ios.sources import make_model
        from mlsys_ray.report.ios_plots import gain_by_width

        with ExitStack() as stack:
            with usage_errors():
                devices = [Device(lanes=lanes) for lanes in self.lanes]
                module, example = make_model(
                    self.network, self.model, self.input_shape, self.batch_size
                )
                folder = self.run_dir or default_run_path("ios-simulate")
                run = stack.enter_context(
                    RunDirectory.create(folder, asdict(self), experiment="ios-simulate")
                )
            say("capturing the network and measuring its operators on one thread")
            graph = capture(module, [example]).graph
            seconds = measure_operators(graph)
            rows = []
            for device in devices:
                totals = simulate(graph, seconds, device)
                row = {"lanes": device.lanes} | {
                    f"{name}_ms": round(1e3 * total, 4) for name, total in totals.items()
                }
                row["gain"] = round(totals["sequential"] / totals["ios_parallel"], 3)
                run.log(row)
                rows.append(row)
            run.save_plot("gain by width", gain_by_width(rows))
            run.finish({"simulated": True, **{f"gain_{r['lanes']}_lanes": r["gain"] for r in rows}})
        print_table(rows, title=f"{self.network or self.model}, simulated latencies [ms]")
        say(f"run directory: {folder}")
        if self.json:
            print_json({"run_dir": folder, "simulated": True, "devices": rows})
        return ExitCode.DONE
