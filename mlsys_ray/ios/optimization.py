"""From a PyTorch module to a faster one: capture, measure, search, measure whole (section 3)."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import nn

from mlsys_ray.data import cache_dir
from mlsys_ray.ios.agreement import (
    TOLERANCES,
    DisagreementError,
    checked_difference,
    random_like,
)
from mlsys_ray.ios.bounds import NOISE
from mlsys_ray.ios.capture import Capture, capture
from mlsys_ray.ios.cost_cache import CostCache, OnMeasured
from mlsys_ray.ios.devices import (
    DeviceKind,
    Precision,
    arithmetic,
    device_name,
    require_device,
    synchronize,
)
from mlsys_ray.ios.engines.cuda.costs import Costs as CudaCosts
from mlsys_ray.ios.engines.cuda.engine import CudaEngine, why_not_captured
from mlsys_ray.ios.engines.cuda.network import Network as CudaNetwork
from mlsys_ray.ios.engines.onednn import binding
from mlsys_ray.ios.engines.onednn.costs import Costs as OneDNNCosts
from mlsys_ray.ios.engines.onednn.engine import OneDNNEngine
from mlsys_ray.ios.engines.onednn.halide_making import make_kernels
from mlsys_ray.ios.engines.onednn.network import Network
from mlsys_ray.ios.engines.onednn.runtime import Pool, native
from mlsys_ray.ios.engines.pytorch import PyTorchEngine
from mlsys_ray.ios.graph import Graph
from mlsys_ray.ios.interleaved import ROUNDS, Timing, measure
from mlsys_ray.ios.peers import (
    MissingPeerError,
    Peer,
    PeerFailedError,
    PeerTask,
    prepare_peer,
)
from mlsys_ray.ios.peers.base import flat
from mlsys_ray.ios.plan import Planner, Settings, Variant, by_block, schedule_record
from mlsys_ray.ios.schedule import Schedule, check, digest
from mlsys_ray.ios.stage_costs import StageCosts, Stopped

Engine = CudaEngine | OneDNNEngine | PyTorchEngine
Say = Callable[[str], None]
STOPPED_ROUNDS = 3
"""In which schedules are timed after a search that was stopped."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Found:
    """Schedules of a module and what they take.

    Attributes:
        schedules: by variant.
        expected: latency by the sum of stage costs [ms].
        timings: measured whole, in turns.
        differences: the largest from the module's result on random input.
        num_measured: latencies that were measured for this and not known before.
        seconds: that all of it took [s].
    """

    schedules: dict[str, Schedule]
    expected: dict[str, float]
    timings: dict[str, Timing]
    differences: dict[str, float]
    num_measured: int
    seconds: float

    @property
    def best(self) -> str:
        """The fastest variant; sequential unless another gains more than noise."""
        name = min(self.timings, key=lambda v: self.timings[v].min_ms)
        gain = self.timings[name].min_ms / self.timings["sequential"].min_ms
        return name if gain < 1 - NOISE else "sequential"


class ScheduledModule(nn.Module):
    """A module that runs by a schedule; takes and gives what the source does, for inference.

    Args:
        captured: the source's graph.
        schedule: of the graph.
        num_threads: of the engine on a CPU.
        device: where it runs; on a GPU the outputs lie there.
    """

    def __init__(
        self,
        captured: Capture,
        schedule: Schedule,
        num_threads: int,
        device: DeviceKind = "cpu",
    ) -> None:
        super().__init__()
        self.schedule = schedule
        self.captured = captured
        self.engine = make_engine(captured.graph, schedule, num_threads, device)

    def forward(self, *inputs: torch.Tensor) -> Any:
        """The source's outputs, nested as they were."""
        return self.captured.restore(self.engine(*inputs))

    def close(self) -> None:
        """End the engine's threads."""
        self.engine.close()


class PeerModule(nn.Module):
    """A module that another runtime runs whole; takes and gives what the source does.

    Args:
        captured: the source's graph.
        peer: the runtime, with the source in it.
    """

    def __init__(self, captured: Capture, peer: Peer) -> None:
        super().__init__()
        self.captured = captured
        self.peer = peer

    def forward(self, *inputs: torch.Tensor) -> Any:
        """The source's outputs, nested as they were."""
        return self.captured.restore(self.peer.run(*inputs))

    def close(self) -> None:
        """End the runtime's threads."""
        self.peer.close()


def make_engine(
    graph: Graph, schedule: Schedule, num_threads: int, device: DeviceKind = "cpu"
) -> Engine:
    """The GPU's; on a CPU oneDNN's where its library is at hand, or else PyTorch's.

    Raises:
        NoDeviceError: there is no GPU.
        ValueError: the schedule is not one of this graph, or its precision not one of the device.
    """
    require_device(device, schedule.precision)
    if device == "cuda":
        return CudaEngine(graph, schedule)
    if binding.loaded() is None:
        return PyTorchEngine(graph, schedule)
    return OneDNNEngine(graph, schedule, num_threads)


def optimize(
    model: nn.Module,
    examples: Sequence[torch.Tensor],
    *,
    strategy: Variant = "ios_mixed",
    peers: Sequence[str] = (),
    settings: Settings | None = None,
    say: Say = lambda _: None,
) -> ScheduledModule | PeerModule:
    """A module that computes the same, faster: by the schedule found, or sequentially if that wins.

    Args:
        model: in evaluation mode.
        examples: inputs of the shapes and dtypes that it is for.
        strategy: what the search may use.
        peers: runtimes that may run it whole, see `contest`; the fastest is returned.
        settings: of the search.
        say: told what happens.

    Raises:
        ValueError: the module is in training mode, or an example is no tensor.
        NoDeviceError: the settings name a GPU, and there is none.
    """
    settings = settings or Settings()
    captured = capture(model, examples)
    if captured.reason:
        say(f"the module runs whole, as it could not be exported: {captured.reason}")
    found = find(model, captured, ("sequential", strategy), settings, say)
    held = contest(model, captured, found, peers, settings, say)
    for name, runner in held.runners.items():
        if name != held.fastest:
            runner.close()
    say(f"{held.fastest} is returned")
    return held.runners[held.fastest]


@dataclass(frozen=True, eq=False, kw_only=True)
class Contest:
    """The best schedule and other runtimes, ready to run.

    Attributes:
        runners: by name.
        timings: in turns; empty where there is one runner only.
        fastest: name of the fastest; the schedule unless another gains more than noise.
    """

    runners: dict[str, ScheduledModule | PeerModule]
    timings: dict[str, Timing]
    fastest: str


def contest(
    model: nn.Module,
    captured: Capture,
    found: Found,
    peers: Sequence[str],
    settings: Settings,
    say: Say = lambda _: None,
) -> Contest:
    """Time the best schedule found beside whole networks in other runtimes.

    Args:
        model: the source.
        captured: its graph.
        found: schedules of it.
        peers: names of `peers.PEERS`. One that is not installed, cannot run the model or computes
            something else is left out.
        settings: of the search.
        say: told what happens.
    """
    num_threads = settings.num_threads or torch.get_num_threads()
    ours = ScheduledModule(captured, found.schedules[found.best], num_threads, settings.device)
    task = PeerTask(
        model=model,
        example_inputs=captured.graph.examples,
        num_threads=num_threads,
        device=settings.device,
        precision=settings.precision,
        tell=say,
    )
    runners: dict[str, ScheduledModule | PeerModule] = {found.best: ours}
    for name in peers:
        try:
            runners[name] = PeerModule(captured, prepare_peer(name, task))
            _check(runners[name], model, captured, settings.precision)
        except (MissingPeerError, PeerFailedError, DisagreementError) as error:
            say(f"{name} is left out: {error}")
            if name in runners:
                runners.pop(name).close()
    if len(runners) == 1:
        return Contest(runners=runners, timings={}, fastest=found.best)
    say(f"timing {', '.join(runners)} in turns")
    timings = _in_turns(runners, captured, settings.device)
    return Contest(runners=runners, timings=timings, fastest=_fastest(timings, found.best))


def run_by(
    schedule: Schedule,
    model: nn.Module,
    captured: Capture,
    num_threads: int,
    device: DeviceKind = "cpu",
    say: Say = lambda _: None,
) -> ScheduledModule | PeerModule:
    """A module run as a schedule file says: by stages, or whole by the runtime that it names.

    Raises:
        NoDeviceError: there is no GPU.
        ValueError: the schedule does not fit the module, or its runtime is not there.
    """
    if schedule.runtime is None:
        return ScheduledModule(captured, schedule, num_threads, device)
    check(schedule, captured.graph)
    task = PeerTask(
        model=model,
        example_inputs=captured.graph.examples,
        num_threads=num_threads,
        device=device,
        precision=schedule.precision,
        tell=say,
    )
    try:
        return PeerModule(captured, prepare_peer(schedule.runtime, task))
    except (MissingPeerError, PeerFailedError) as error:
        raise ValueError(f"the schedule is for {schedule.runtime}: {error}") from error


def _fastest(timings: Mapping[str, Timing], usual: str) -> str:
    """The fastest; the usual one unless another gains more than noise."""
    best = min(timings, key=lambda name: timings[name].min_ms)
    return best if timings[best].min_ms < (1 - NOISE) * timings[usual].min_ms else usual


def _in_turns(
    runners: Mapping[str, Callable[..., Any]],
    captured: Capture,
    device: DeviceKind,
    rounds: int = ROUNDS,
) -> dict[str, Timing]:
    inputs = [x.to(device) for x in captured.graph.examples]
    calls = {name: partial(run, *inputs) for name, run in runners.items()}
    return measure(calls, rounds=rounds, wait=partial(synchronize, device))


def find(
    model: nn.Module,
    captured: Capture,
    variants: Sequence[str],
    settings: Settings,
    say: Say = lambda _: None,
    stopped: Stopped = lambda: False,
    on_measured: OnMeasured = lambda number: None,
) -> Found:
    """Schedules of some variants, measured whole in turns and checked against the module.

    Args:
        model: the source.
        captured: its graph.
        variants: of `VARIANTS`; sequential is there in any case.
        settings: of the search.
        say: told what happens.
        stopped: whether the best schedules known so far are wanted now.
        on_measured: told how many latencies have just been measured.

    Raises:
        NoDeviceError: the settings name a GPU, and there is none.
        ValueError: the device does not compute in the precision.
    """
    require_device(settings.device, settings.precision)
    begin = time.monotonic()
    graph = captured.graph
    num_threads = settings.num_threads or torch.get_num_threads()
    context = _context(graph, num_threads, settings)
    cache = CostCache(settings.cache, context, on_measured)
    variants = list(dict.fromkeys(["sequential", *variants]))
    schedules: dict[str, Schedule] = {}
    expected: dict[str, float] = {}
    with _costs(graph, num_threads, settings, cache, say, stopped) as costs:
        if costs is None:
            stages = tuple(((operator.name,),) for operator in graph.operators)
            schedules["sequential"] = schedule_record(
                graph, context, stages, precision=settings.precision
            )
            expected["sequential"] = float("nan")
            variants = []
        for variant in variants:
            assert costs is not None
            say(f"searching: {variant}")
            planner = Planner(costs, settings, variant, _ended(settings, stopped))
            schedules[variant], expected[variant] = planner.plan(context)
    say("measuring the schedules whole")
    rounds = STOPPED_ROUNDS if stopped() else ROUNDS
    timings, differences = _measured(model, captured, schedules, settings, rounds, say)
    return Found(
        schedules=schedules,
        expected=expected,
        timings=timings,
        differences=differences,
        num_measured=cache.num_measured,
        seconds=time.monotonic() - begin,
    )


def _ended(settings: Settings, stopped: Stopped) -> Stopped:
    """Whether the search of a variant that begins now is to end."""
    if settings.budget_seconds is None:
        return stopped
    end = time.monotonic() + settings.budget_seconds
    return lambda: stopped() or time.monotonic() > end


@contextmanager
def _costs(
    graph: Graph,
    num_threads: int,
    settings: Settings,
    cache: CostCache,
    say: Say,
    stopped: Stopped,
) -> Iterator[StageCosts | None]:
    """Who measures stages on the device; None where nothing can be chosen."""
    if reason := _not_searched(graph, settings):
        say(f"{reason}: operators run one after another")
        yield None
        return
    if settings.device == "cuda":
        own = CudaNetwork(
            graph, settings.precision, settings.max_groups, torch.device(settings.device)
        )
        with _saved(cache):
            yield CudaCosts(own, cache, say, stopped)
        return
    pool = Pool(num_threads, native())
    halide = "halide" in settings.kernels
    network = Network(graph, pool, by_block(graph), halide=halide)
    try:
        with _saved(cache):
            costs = OneDNNCosts(network, cache, say, stopped, mixed=settings.kernels)
            if halide:
                make_kernels(
                    network,
                    costs.choose(num_threads, "onednn")[1],
                    seconds_each=settings.halide_seconds,
                    seconds_in_all=settings.halide_limit,
                    say=say,
                )
            yield costs
    finally:
        network.close()
        pool.close()


@contextmanager
def _saved(cache: CostCache) -> Iterator[None]:
    try:
        yield
    finally:
        cache.save()


def _not_searched(graph: Graph, settings: Settings) -> str | None:
    if settings.device == "cuda":
        return why_not_captured(graph)
    return "oneDNN's library is missing" if binding.loaded() is None else None


def _context(graph: Graph, num_threads: int, settings: Settings) -> dict[str, str]:
    """What measured latencies depend on."""
    context = {
        "graph": digest(graph),
        "device": device_name(settings.device),
        "torch": torch.__version__,
    }
    if settings.device == "cuda":
        context["cuda"] = str(torch.version.cuda)
        context["cudnn"] = str(torch.backends.cudnn.version())
        context["precision"] = settings.precision
        return context
    context["threads"] = str(num_threads)
    if binding.loaded() is not None:
        runtime = native()
        context["onednn"] = binding.version()
        context["runtime"] = "python" if runtime is None else Path(str(runtime._name)).stem
    return context


def _measured(
    model: nn.Module,
    captured: Capture,
    schedules: Mapping[str, Schedule],
    settings: Settings,
    rounds: int,
    say: Say,
) -> tuple[dict[str, Timing], dict[str, float]]:
    """Timings in turns, and differences from the module on random input.

    Raises:
        DisagreementError: the sequential schedule does not compute what the module does.
    """
    num_threads = settings.num_threads or torch.get_num_threads()
    differences: dict[str, float] = {}
    with ExitStack() as stack:
        engines: dict[str, Engine] = {}
        for name, schedule in schedules.items():
            engine = make_engine(captured.graph, schedule, num_threads, settings.device)
            stack.callback(engine.close)
            try:
                run = partial(_restored, captured, engine)
                differences[name] = _check(run, model, captured, settings.precision)
            except DisagreementError as error:
                if name == "sequential":
                    raise
                say(f"{name} is left out: {error}")
            else:
                engines[name] = engine
        return _in_turns(engines, captured, settings.device, rounds), differences


def _restored(captured: Capture, engine: Engine, *inputs: torch.Tensor) -> Any:
    return captured.restore(engine(*inputs))


def _check(
    run: Callable[..., Any], model: nn.Module, captured: Capture, precision: Precision
) -> float:
    """The largest difference from what the module gives for random input in single precision.

    Raises:
        DisagreementError: it is too large.
    """
    inputs = random_like(captured.graph.examples, seed=0)
    with torch.inference_mode(), arithmetic("fp32"):
        wanted = flat(model(*inputs))
    return checked_difference(flat(run(*inputs)), wanted, TOLERANCES[precision])


def default_cache() -> Path:
    """The folder of measured latencies."""
    return cache_dir() / "ios" / "costs"
