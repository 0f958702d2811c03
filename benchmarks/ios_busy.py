"""IOS' CPU engine beside ONNX Runtime, alone and with other work on the machine.

python benchmarks/ios_busy.py --network squeezenet --busy 1

Both run the same network on the same number of threads, in turns; ONNX Runtime's threads do not
spin. Other work is processes that compute all the time: they are halted for the rounds alone and go
on for the others, so that both kinds of rounds meet the same machine. The schedule is the
sequential one with the kernels of IOS-Mixed, unless a schedule file is given.
"""

from __future__ import annotations

import os
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import tyro

from mlsys_ray.cli.console import print_json, print_table, say
from mlsys_ray.cluster.environment import cpu_model, usable_cores
from mlsys_ray.ios.capture import capture
from mlsys_ray.ios.comparison import Scheduled
from mlsys_ray.ios.interleaved import Timing, measure
from mlsys_ray.ios.optimization import default_cache, find
from mlsys_ray.ios.peers import PeerTask, prepare_peer
from mlsys_ray.ios.plan import Settings
from mlsys_ray.ios.schedule import load_schedule
from mlsys_ray.ios.sources import make_model

SETTLE = 0.2
"""After other work has begun or halted [s]."""


@dataclass(frozen=True, kw_only=True)
class Benchmark:
    """Time both, alone and beside other work."""

    network: str = "squeezenet"
    """A built-in network."""
    schedule: Path | None = None
    """A schedule file for it."""
    busy: int = 1
    """Other processes that compute all the time."""
    num_threads: int | None = None
    """Of each tool; by default one a core."""
    rounds: int = 12
    """Of each kind; the kinds take turns."""
    calls: int = 3
    """Timed calls of each tool in a round."""
    json: bool = False
    """Print the table as JSON on stdout, too."""


def main(benchmark: Benchmark) -> None:
    """Run it."""
    threads = benchmark.num_threads or usable_cores()
    module, example = make_model(benchmark.network)
    captured = capture(module, [example])
    if benchmark.schedule:
        schedule = load_schedule(benchmark.schedule)
    else:
        say("choosing kernels")
        settings = Settings(num_threads=threads, budget_seconds=0, cache=default_cache())
        schedule = find(module, captured, ["ios_mixed"], settings, say).schedules["ios_mixed"]
    task = PeerTask(model=module, example_inputs=[example], num_threads=threads, tell=say)
    samples: dict[tuple[str, bool], list[float]] = {}
    with ExitStack() as stack:
        tools = {
            "ios": stack.enter_context(Scheduled(captured.graph, schedule, threads)),
            "onnxruntime": stack.enter_context(prepare_peer("onnxruntime", task)),
        }
        calls = {name: partial(tool.run, example) for name, tool in tools.items()}
        work = stack.enter_context(other_work(benchmark.busy))
        for number in range(benchmark.rounds):
            say(f"round {number + 1} of {benchmark.rounds}")
            for busy in (False, True):
                with work(busy):
                    found = measure(calls, rounds=benchmark.calls, warmups=1)
                for name, timing in found.items():
                    samples.setdefault((name, busy), []).extend(timing.samples)
    rows = table({key: Timing(samples=tuple(values)) for key, values in samples.items()})
    title = f"{benchmark.network}, {threads} threads, {benchmark.busy} other processes, "
    print_table(rows, title=title + cpu_model())
    if benchmark.json:
        print_json(rows)


@contextmanager
def other_work(number: int) -> Iterator[Any]:
    """Processes that compute inside `work(True)` and are halted otherwise."""
    program = [sys.executable, "-c", "while True: pass"]
    processes = [subprocess.Popen(program) for _ in range(number)]

    def tell(sign: int) -> None:
        for process in processes:
            os.kill(process.pid, sign)
        time.sleep(SETTLE)

    @contextmanager
    def work(on: bool) -> Iterator[None]:
        if on:
            tell(signal.SIGCONT)
        try:
            yield
        finally:
            tell(signal.SIGSTOP)

    try:
        tell(signal.SIGSTOP)
        yield work
    finally:
        for process in processes:
            process.kill()
            process.wait()


def table(timings: dict[tuple[str, bool], Timing]) -> list[dict[str, Any]]:
    """A row alone, a row beside other work: latencies, and how many times ONNX Runtime's ours is.

    Args:
        timings: by tool and whether there was other work, with as many samples each.
    """
    rows = []
    for busy in (False, True):
        own, other = timings["ios", busy], timings["onnxruntime", busy]
        ratios = own.ratios(other)
        rows.append(
            {
                "other work": "yes" if busy else "no",
                "ios_min_ms": own.min_ms,
                "ios_median_ms": own.median_ms,
                "onnxruntime_min_ms": other.min_ms,
                "onnxruntime_median_ms": other.median_ms,
                "ratio of minima": own.min_ms / other.min_ms,
                "ratio of medians": own.median_ms / other.median_ms,
                "median of ratios": statistics.median(ratios),
                "slower than alone, ios": own.median_ms / timings["ios", False].median_ms,
                "slower than alone, onnxruntime": other.median_ms
                / timings["onnxruntime", False].median_ms,
            }
        )
    return rows


if __name__ == "__main__":
    main(tyro.cli(Benchmark))
