"""The CUDA engine on a recorder: streams, events and graphs as CUDA has them, on the CPU.

What is captured runs again in any order that streams and waits allow, so a wait that is missing is
a wrong result. Where there is a GPU, the engine runs there, too.
"""

from collections import defaultdict
from contextlib import contextmanager

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F
from torch.utils import _pytree as pytree
from torch.utils._python_dispatch import TorchDispatchMode

from mlsys_ray.cli.main import main
from mlsys_ray.exit_codes import ExitCode
from mlsys_ray.ios import optimize
from mlsys_ray.ios.agreement import TOLERANCES, checked_difference
from mlsys_ray.ios.blocks import blocks_of
from mlsys_ray.ios.capture import capture
from mlsys_ray.ios.cost_cache import CostCache
from mlsys_ray.ios.devices import NoDeviceError, require_device
from mlsys_ray.ios.engines.cuda.costs import Costs
from mlsys_ray.ios.engines.cuda.engine import CudaEngine
from mlsys_ray.ios.engines.cuda.launches import MAIN, Drop, Launch, Record, Wait, launches
from mlsys_ray.ios.engines.cuda.network import Network
from mlsys_ray.ios.engines.stages import placed
from mlsys_ray.ios.graph import Graph, Node, Operator
from mlsys_ray.ios.peers import PEERS, PeerFailedError, PeerTask, prepare_peer
from mlsys_ray.ios.plan import VARIANTS, Planner, Settings
from mlsys_ray.ios.primitives import Conv2d, Sum
from mlsys_ray.ios.schedule import Schedule, digest, load_schedule, stages_of
from mlsys_ray.ios.search.baselines import greedy
from mlsys_ray.ios.search.counts import within
from mlsys_ray.ios.search.endings import stage_space

CPU = torch.device("cpu")
on_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")


class Stream:
    def __init__(self, cuda):
        self.cuda = cuda

    def wait_event(self, event):
        if self.cuda.captured is not None:
            if self not in self.cuda.last and event.node is None:
                raise RuntimeError("a captured stream waits for what is not captured")
            self.cuda.add(self, ("wait", None), [event.node])

    def wait_stream(self, other):
        assert self.cuda.captured is None


class Event:
    def __init__(self, cuda, external):
        self.cuda, self.external = cuda, external
        self.node = self.time = None

    def record(self, stream):
        if self.cuda.captured is not None:
            self.node = self.cuda.add(stream, ("mark", self) if self.external else ("event", None))

    def elapsed_time(self, other):
        return other.time - self.time


class RecordedGraph:
    def __init__(self, cuda):
        self.cuda = cuda
        self.nodes = []

    @torch.inference_mode()
    def replay(self):
        """In an order that the waits allow, each time another; a step takes a millisecond."""
        for _, (kind, call), _ in self.nodes:
            if kind == "call":
                for out in tensors(call[3]):
                    if out.is_floating_point() and not aliases(out, call[1:3]):
                        out.fill_(float("nan"))
        times = {}
        left = {i: set(before) for i, (_, _, before) in enumerate(self.nodes)}
        after = defaultdict(list)
        for node, before in left.items():
            for other in before:
                after[other].append(node)
        ready = [i for i, before in left.items() if not before]
        while ready:
            node = ready.pop(self.cuda.rng.integers(len(ready)))
            _, (kind, what), before = self.nodes[node]
            begin = max((times[i] for i in before), default=0.0)
            if kind == "call":
                self.again(*what)
            elif kind == "mark":
                what.time = begin
            times[node] = begin + (self.cuda.cost(what[0]) if kind == "call" else 0.0)
            for other in after[node]:
                left[other].discard(node)
                if not left[other]:
                    ready.append(other)
        assert len(times) == len(self.nodes)

    def again(self, function, arguments, keywords, outputs):
        results = function(*arguments, **keywords)
        for out, result in zip(tensors(outputs), tensors(results), strict=True):
            if out.untyped_storage().data_ptr() != result.untyped_storage().data_ptr():
                out.copy_(result)

    def reset(self):
        self.nodes = []


class Recorder(TorchDispatchMode):
    """The part of `torch.cuda` that the engine uses."""

    def __init__(self, seed=0):
        super().__init__()
        self.rng = np.random.default_rng(seed)
        self.now = self.default = Stream(self)
        self.captured = None
        self.last = {}

    def Stream(self):
        return Stream(self)

    def Event(self, enable_timing=False, external=False):
        return Event(self, external)

    def CUDAGraph(self):
        return RecordedGraph(self)

    def current_stream(self):
        return self.now

    def synchronize(self):
        assert self.captured is None

    def cost(self, function):
        return 0.0 if "clamp_min" in str(function) else 1.0

    @contextmanager
    def stream(self, stream):
        before, self.now = self.now, stream
        try:
            yield
        finally:
            self.now = before

    @contextmanager
    def graph(self, graph, stream):
        self.captured, self.last = graph, {}
        self.add(stream, ("begin", None), [])
        try:
            with self.stream(stream), self:
                yield
            reached = {self.last[stream]}
            for node in range(len(graph.nodes) - 1, -1, -1):
                if node in reached:
                    reached |= set(graph.nodes[node][2])
            if not set(self.last.values()) <= reached:
                raise RuntimeError("a stream was not joined to that of the capture")
        finally:
            self.captured = None

    def add(self, stream, what, before=None):
        if before is None and stream not in self.last:
            raise RuntimeError("a stream that is not captured is used in a capture")
        own = [self.last[stream]] if stream in self.last else []
        self.captured.nodes.append((stream, what, [*own, *(before or [])]))
        self.last[stream] = len(self.captured.nodes) - 1
        return self.last[stream]

    def __torch_dispatch__(self, function, types, arguments=(), keywords=None):
        if "_local_scalar_dense" in str(function):
            raise RuntimeError("operation not permitted when stream is capturing")
        outputs = function(*arguments, **(keywords or {}))
        self.add(self.now, ("call", (function, arguments, keywords or {}, outputs)))
        return outputs


def tensors(values):
    return [x for x in pytree.tree_leaves(values) if isinstance(x, torch.Tensor)]


def aliases(out, arguments):
    own = out.untyped_storage().data_ptr()
    return any(x.untyped_storage().data_ptr() == own for x in tensors(arguments))


class Branches(nn.Module):
    """Branches, of which three can be merged, and outputs that leave early."""

    def __init__(self):
        super().__init__()
        self.first = nn.Conv2d(3, 8, 3)
        self.branches = nn.ModuleList(nn.Conv2d(8, 4, k, padding=k // 2) for k in (1, 3, 5))
        self.deep = nn.Conv2d(4, 8, 3, padding=1)
        self.last = nn.Conv2d(20, 6, 1)

    def forward(self, x):
        x = F.relu(self.first(x))
        parts = [F.relu(branch(x)) for branch in self.branches]
        joined = torch.cat([*parts, F.silu(self.deep(parts[0]))], 1)
        return {"last": self.last(joined) + 0.5, "mean": x.mean((2, 3)), "joined": joined}


@pytest.fixture(scope="module")
def branches():
    torch.manual_seed(0)
    return capture(Branches().eval(), [torch.randn(1, 3, 12, 12)]).graph


def schedule_of(graph, stages, **more):
    return Schedule(
        graph=digest(graph), device="a GPU", batch_size=1, versions={}, stages=stages, **more
    )


def assert_runs(engine, graph, precision="fp32", times=3):
    """On fresh inputs, with each replay in another order."""
    assert engine.reason is None
    for _ in range(times):
        x = torch.randn_like(graph.examples[0])
        checked_difference(engine(x), graph.run(x), TOLERANCES[precision])


@st.composite
def graphs(draw):
    """Sums of what came before, over small tensors; some leave."""
    n = draw(st.integers(1, 9))
    operators = []
    for i in range(n):
        before = [f"v{j}" for j in range(i)] + ["x"]
        inputs = draw(st.lists(st.sampled_from(before), min_size=1, max_size=3, unique=True))
        primitive = Sum(
            coefficients=tuple(float(i + 2) / (j + 1) for j in range(len(inputs))),
            activation=draw(st.sampled_from([None, "relu"])),
        )
        node = Node(
            name=f"v{i}",
            primitive=primitive,
            inputs=tuple(inputs),
            shape=(1, 2, 2, 2),
            dtype=torch.float32,
        )
        operators.append(Operator(nodes=(node,)))
    outputs = draw(st.sets(st.integers(0, n - 1), min_size=1)) | {n - 1}
    return Graph(
        inputs=("x",),
        operators=tuple(operators),
        outputs=tuple(f"v{i}" for i in sorted(outputs)),
        examples=(torch.ones(1, 2, 2, 2),),
    )


@st.composite
def scheduled(draw):
    """A graph, and any schedule of it with any streams."""
    graph = draw(graphs())
    stages = ()
    for block in blocks_of(graph):
        space = stage_space(within(graph, block))
        state, masks = 0, []
        while state >= 0:
            transition = draw(st.integers(space.first[state], space.first[state + 1] - 1))
            masks.append(int(space.stages[space.ending[transition]]))
            state = int(space.rest[transition])
        stages += stages_of(graph, block, masks[::-1])
    workers = tuple(tuple((draw(st.integers(0, 3)), 1) for _ in stage) for stage in stages)
    return graph, schedule_of(graph, stages, workers=workers)


@settings(max_examples=80, deadline=None)
@given(scheduled(), st.integers(0, 1000))
def test_any_order_that_the_waits_allow_gives_what_the_graph_does(drawn, seed):
    graph, schedule = drawn
    with CudaEngine(graph, schedule, CPU, Recorder(seed)) as engine:
        assert_runs(engine, graph)


def happens_before(program):
    """Of each instruction those that are surely over when it begins."""
    known, at_event, result = defaultdict(set), {}, []
    for number, step in enumerate(program):
        match step:
            case Record(event=event, stream=stream):
                at_event[event] = set(known[stream])
            case Wait(event=event, stream=stream):
                known[stream] |= at_event[event]
        result.append(set(known[step.stream]) if not isinstance(step, Drop) else set())
        if isinstance(step, Launch):
            known[step.stream].add(number)
    return result, known[MAIN]


@settings(max_examples=150, deadline=None)
@given(scheduled())
def test_waits_follow_the_graph_and_memory_is_given_back_behind_its_readers(drawn):
    graph, schedule = drawn
    program = launches(graph, placed(graph, schedule, 8), {"x", *graph.outputs})
    before, at_end = happens_before(program)
    by_operator = {}
    readers = defaultdict(set)
    dropped = {}
    for number, step in enumerate(program):
        if isinstance(step, Drop):
            assert not set(step.values) & set(dropped)
            dropped |= dict.fromkeys(step.values, number)
        if not isinstance(step, Launch):
            continue
        (operator,) = step.operators
        for source in graph.predecessors[operator]:
            assert by_operator[source] in before[number]
        for name in graph.operators[operator].inputs:
            assert name not in dropped
            readers[name].add(number)
        readers[graph.operators[operator].name].add(number)
        by_operator[operator] = number
        for name in dropped:
            assert readers[name] <= before[number], "memory is used again beside its reader"
    assert set(by_operator.values()) == at_end
    assert set(dropped) == {op.name for op in graph.operators} - set(graph.outputs)


def test_one_group_after_another_needs_no_events(branches):
    stages = tuple(((operator.name,),) for operator in branches.operators)
    program = launches(branches, placed(branches, schedule_of(branches, stages), 8), ())
    assert all(isinstance(step, Launch | Drop) for step in program)
    assert {step.stream for step in program if isinstance(step, Launch)} == {MAIN}


@pytest.fixture(scope="module")
def planned(branches):
    """Schedules of all variants by costs that were measured on the recorder."""
    network = Network(branches, "fp32", 4, CPU, Recorder())
    costs = Costs(network, CostCache(None, {}), rounds=2)
    context = {"device": "a GPU"}
    return {
        variant: Planner(costs, Settings(), variant, lambda: False).plan(context)
        for variant in VARIANTS
    }


def test_schedules_are_found_by_marks_in_replays(planned):
    expected = {variant: cost for variant, (_, cost) in planned.items()}
    # The recorder runs everything side by side that nothing orders.
    assert expected["ios_parallel"] < 0.8 * expected["sequential"]
    assert expected["ios_merge"] < expected["sequential"]
    assert expected["ios_both"] <= min(expected["ios_merge"], expected["ios_parallel"]) + 1e-9
    assert max(len(stage) for stage in planned["ios_parallel"][0].stages) > 1
    assert "merge" in planned["ios_merge"][0].strategies


@pytest.mark.parametrize("variant", VARIANTS)
def test_found_schedules_compute_what_the_graph_does(branches, planned, variant, tmp_path):
    schedule, _ = planned[variant]
    schedule.save(tmp_path / "schedule.json")
    again = load_schedule(tmp_path / "schedule.json")
    with CudaEngine(branches, again, CPU, Recorder(1)) as engine:
        assert_runs(engine, branches)
        events = engine.events()
    operators = [name for event in events for name in event.name.split(" + ")]
    assert sorted(operators) == sorted(branches.index)
    for event in events:
        assert event.start >= 0
        assert event.duration > 0


def test_costs_are_measured_once(branches, tmp_path):
    for number in range(2):
        network = Network(branches, "fp32", 4, CPU, Recorder())
        cache = CostCache(tmp_path, {})
        costs = Costs(network, cache, rounds=1)
        Planner(costs, Settings(), "ios_both", lambda: False).plan({"device": "a GPU"})
        cache.save()
        assert (cache.num_measured > 0) == (number == 0)


def test_a_fused_kernel_is_taken_where_it_is_faster_and_right(branches, monkeypatch):
    def fused(x, weight, bias, stride, padding, dilation, groups):
        out = torch.conv2d(x, weight, bias, stride, padding, dilation, groups)
        return out.clamp_min(0) if weight.shape[2] == 3 else out

    monkeypatch.setattr(torch, "cudnn_convolution_relu", fused)
    network = Network(branches, "fp32", 4, CPU, Recorder())
    costs = Costs(network, CostCache(None, {}), rounds=1)
    schedule, _ = Planner(costs, Settings(), "ios_mixed", lambda: False).plan({"device": "a GPU"})
    taken = {name for name, kernel in schedule.kernels.items() if kernel == "cudnn_fused"}
    relus = {
        operator.name
        for operator in branches.operators
        for node in operator.nodes
        if isinstance(node.primitive, Conv2d)
        and node.primitive.activation == "relu"
        and node.primitive.weight.shape[2] == 3
    }
    merged = {
        name
        for stage, strategy in zip(schedule.stages, schedule.strategies, strict=True)
        if strategy == "merge"
        for group in stage
        for name in group
    }
    assert taken - merged == relus - merged != set()
    with CudaEngine(branches, schedule, CPU, Recorder()) as engine:
        assert_runs(engine, branches)


def greedily(graph, **more):
    stages = ()
    for block in blocks_of(graph):
        stages += stages_of(graph, block, greedy(within(graph, block)))
    return schedule_of(graph, stages, **more)


def test_half_precision_has_its_own_tolerance_and_gives_the_models_dtypes(branches):
    with CudaEngine(branches, greedily(branches, precision="fp16"), CPU, Recorder()) as engine:
        assert_runs(engine, branches, "fp16")
        x = torch.randn_like(branches.examples[0])
        found, wanted = engine(x), branches.run(x)
    assert all(own.dtype == torch.float32 for own in found)
    errors = [
        float((own - source).abs().max() / source.abs().max())
        for own, source in zip(found, wanted, strict=True)
    ]
    assert 1e-5 < max(errors) < TOLERANCES["fp16"]


def test_outputs_stay_when_the_engine_runs_again_and_examples_are_left_alone(branches):
    example = branches.examples[0].clone()
    with CudaEngine(branches, greedily(branches), CPU, Recorder()) as engine:
        first = engine(torch.ones_like(example))
        kept = [x.clone() for x in first]
        engine(torch.zeros_like(example))
        assert all(torch.equal(a, b) for a, b in zip(first, kept, strict=True))
        with pytest.raises(ValueError, match="this schedule is for"):
            engine(torch.ones(2, 3, 12, 12))
    assert torch.equal(example, branches.examples[0])


def test_what_cannot_be_captured_runs_without_a_graph():
    class Odd(nn.Module):
        def forward(self, x):
            return x * 2 if float(x.sum()) > 0 else x - 1

    x = torch.ones(1, 3, 4, 4)
    graph = capture(Odd().eval(), [x]).graph
    with CudaEngine(graph, greedily(graph), CPU, Recorder()) as engine:
        assert "could not be exported" in engine.reason
        torch.testing.assert_close(engine(x)[0], x * 2)
        torch.testing.assert_close(engine(-x)[0], -x - 1)


def test_a_capture_that_fails_is_told_and_no_error(branches):
    class Broken(Recorder):
        def __torch_dispatch__(self, function, types, arguments=(), keywords=None):
            raise RuntimeError("operation not permitted when stream is capturing\nmore")

    with CudaEngine(branches, greedily(branches), CPU, Broken()) as engine:
        assert engine.reason == "operation not permitted when stream is capturing"
        x = torch.randn_like(branches.examples[0])
        checked_difference(engine(x), branches.run(x))


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_a_gpu_it_is_said_so(tmp_path, capsys, branches):
    with pytest.raises(NoDeviceError, match="device cuda: PyTorch"):
        require_device("cuda")
    with pytest.raises(NoDeviceError):
        optimize(Branches().eval(), [torch.randn(1, 3, 12, 12)], settings=Settings(device="cuda"))
    path = tmp_path / "schedule.json"
    greedily(branches).save(path)
    for command in (["optimize"], ["compare"], ["run", str(path)]):
        arguments = ["ios", *command, "--network", "squeezenet", "--device", "cuda"]
        assert main(arguments) == ExitCode.ENVIRONMENT_MISSING
        assert "device cuda: PyTorch" in capsys.readouterr().err


def test_precisions_and_tools_are_those_of_the_device(capsys):
    assert main(["ios", "optimize", "--network", "squeezenet", "--precision", "fp16"]) == 2
    assert "accepted on a CPU: fp32" in capsys.readouterr().err
    task = PeerTask(model=Branches().eval(), example_inputs=[torch.randn(1, 3, 12, 12)])
    with pytest.raises(PeerFailedError, match="on a GPU"):
        prepare_peer("cuda_graph", task)
    assert "cuda_graph" in PEERS
    gpu = PeerTask(model=task.model, example_inputs=task.example_inputs, device="cuda")
    for name in ("onnxruntime", "openvino"):
        with pytest.raises(PeerFailedError, match="on a CPU only; on a GPU: eager, cuda_graph"):
            prepare_peer(name, gpu)


@on_gpu
@pytest.mark.parametrize("precision", ["fp32", "tf32", "fp16"])
@pytest.mark.parametrize("strategy", VARIANTS)
def test_on_a_gpu_every_variant_computes_what_the_module_does(precision, strategy):
    module, x = Branches().eval(), torch.randn(1, 3, 12, 12)
    own = Settings(device="cuda", precision=precision)
    faster = optimize(module, [x], strategy=strategy, settings=own)
    for name, wanted in module(x).items():
        checked_difference([faster(x)[name]], [wanted], TOLERANCES[precision])
    faster.close()


@on_gpu
def test_on_a_gpu_greedy_streams_compute_what_the_graph_does(branches):
    with CudaEngine(branches, greedily(branches)) as engine:
        assert_runs(engine, branches)
        assert all(event.duration > 0 for event in engine.events())


@on_gpu
@pytest.mark.parametrize(
    "name", ["eager", "cuda_graph", pytest.param("compile", marks=pytest.mark.slow)]
)
@pytest.mark.parametrize("precision", ["fp32", "tf32", "fp16"])
def test_on_a_gpu_peers_compute_what_the_model_does(name, precision):
    model, x = Branches().eval(), torch.randn(1, 3, 12, 12)
    task = PeerTask(model=model, example_inputs=[x], device="cuda", precision=precision)
    with prepare_peer(name, task) as peer:
        fresh = torch.randn_like(x)
        checked_difference(peer.run(fresh), list(model(fresh).values()), TOLERANCES[precision])
