"""What the schedule space holds, and how fast its states become features and are scored.

python benchmarks/value_learning_space.py --json

For each layer, schedules drawn at random, each legal action of a stage with the same probability,
or, of every second one, sums only in the registers of a tile. All that compile, and PyTorch, run in
turns in one process: minima and medians over the rounds. States a second are of CPU time, of those
not seen before, on one core; scores are the shipped network's, features included.
"""

from __future__ import annotations

import random
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import halide as hl
import numpy as np
import torch
import tyro
from threadpoolctl import threadpool_limits

from mlsys_ray.cli.console import print_json, print_table, say
from mlsys_ray.cluster.environment import cpu_model
from mlsys_ray.value_learning.features import featurise
from mlsys_ray.value_learning.layers import Layer, layer_from_json
from mlsys_ray.value_learning.lowering import lower
from mlsys_ray.value_learning.operators import Pipeline
from mlsys_ray.value_learning.scheduling import shipped_network
from mlsys_ray.value_learning.search.beam import CHUNK
from mlsys_ray.value_learning.space import (
    Action,
    State,
    initial,
    legal_actions,
    schedule_of,
)
from mlsys_ray.value_learning.target import Target, host_target
from mlsys_ray.value_learning.value_network.model import value_of

LAYERS: dict[str, dict[str, Any]] = {
    "conv 3x3 64-64-56": {
        "op": "conv2d", "in_channels": 64, "out_channels": 64, "height": 56, "width": 56,
        "kernel": 3, "padding": 1, "activation": "relu",
    },
    "matmul 384x768x768, packed": {"op": "matmul", "m": 384, "n": 768, "k": 768, "panel": 24},
    "softmax 128x1024": {"op": "softmax", "rows": 128, "columns": 1024},
}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Benchmark:
    """Time random schedules beside PyTorch."""

    layers: tuple[str, ...] = tuple(LAYERS)
    """Names of those to look at."""
    schedules: int = 60
    """Drawn for each layer."""
    rounds: int = 20
    """In which PyTorch and all schedules run once each."""
    threads: int = 2
    """Of both."""
    seed: int = 0
    """Of the drawing."""
    json: bool = False
    """Print the table as JSON on stdout, too."""


def main(benchmark: Benchmark) -> None:
    """Run it."""
    torch.set_num_threads(benchmark.threads)
    target = host_target(cores=benchmark.threads)
    rows = []
    for name in benchmark.layers:
        say(f"compiling {benchmark.schedules} schedules of {name}")
        rows.append({"layer": name, **_row(layer_from_json(LAYERS[name]), target, benchmark)})
    title = f"{cpu_model()}, {benchmark.threads} threads; times [ms]"
    print_table(rows, title=title)
    if benchmark.json:
        print_json(rows)


def _row(layer: Layer, target: Target, benchmark: Benchmark) -> dict[str, Any]:
    pipeline = layer.pipeline()
    generator = random.Random(benchmark.seed)
    states = [_drawn(pipeline, target, generator, n % 2 == 1) for n in range(benchmark.schedules)]
    arrays = pipeline.example()
    result = hl.Buffer(np.empty(pipeline.output.shape, np.float32))
    buffers = [*map(hl.Buffer, arrays), result]
    runs: list[Callable[[], Any]] = [lambda: pipeline.reference(arrays)]
    for state in states:
        runs.append(partial(lower(pipeline, schedule_of(state)), *buffers))
    times = _in_turns(runs, benchmark.rounds)
    best = min(range(1, len(runs)), key=lambda place: min(times[place]))
    score = value_of(shipped_network(target), featurise)
    return {
        "torch min": round(min(times[0]), 3),
        "best min": round(min(times[best]), 3),
        "ratio of minima": round(min(times[best]) / min(times[0]), 2),
        "torch median": round(statistics.median(times[0]), 3),
        "best median": round(statistics.median(times[best]), 3),
        "median of schedules": round(statistics.median(map(min, times[1:])), 3),
        "featurised/s": round(_states_per_second(states, featurise)),
        "scored/s": round(_states_per_second(states, score)),
    }


def _drawn(
    pipeline: Pipeline, target: Target, generator: random.Random, in_registers: bool
) -> State:
    state = initial(pipeline, target)
    while not state.is_complete:
        actions = legal_actions(state)
        if in_registers and state.actions and state.stage.reduction:
            actions = tuple(filter(_is_one_tile, actions)) or actions
        state = state.take(generator.choice(actions))
    return state


def _is_one_tile(action: Action) -> bool:
    return action.compute == "at" and action.tile == action.block and action.vector > 1


def _in_turns(runs: list[Callable[[], Any]], rounds: int) -> list[list[float]]:
    """Times of each [ms]."""
    times: list[list[float]] = [[] for _ in runs]
    for _ in range(rounds):
        for run, taken in zip(runs, times, strict=True):
            start = time.perf_counter()
            run()
            taken.append(1e3 * (time.perf_counter() - start))
    return times


def _states_per_second(states: list[State], use: Callable[[list[State]], object]) -> float:
    """The most in five rounds, of successors of the states on the way to those given.

    None of them has features yet.
    """
    longest = len(states[0].actions)
    prefixes = dict.fromkeys(s.actions[:length] for length in range(longest) for s in states)
    parents = [State(states[0].pipeline, states[0].target, actions) for actions in prefixes]
    with threadpool_limits(1):
        # The first call ever takes longer.
        use([parents[0]])
        return max(_in_a_round(parents, use) for _ in range(5))


def _in_a_round(parents: list[State], use: Callable[[list[State]], object]) -> float:
    successors = [parent.take(action) for parent in parents for action in legal_actions(parent)]
    start = time.process_time()
    # As many at a time as a search scores.
    for begin in range(0, len(successors), CHUNK):
        use(successors[begin : begin + CHUNK])
    return len(successors) / (time.process_time() - start)


if __name__ == "__main__":
    main(tyro.cli(Benchmark))
