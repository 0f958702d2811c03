"""Schedules that Adams2019 makes, measured here: to retrain its cost model, and to judge it."""

from __future__ import annotations

import base64
import json
import multiprocessing
import os
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import product
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Self

import numpy as np

from mlsys_ray.value_learning.baselines.adams2019_cost_model import (
    AdamsSample,
    noisy_weights,
    predicted_ms,
    read_weights,
    retrain,
)
from mlsys_ray.value_learning.baselines.autoscheduler import (
    Autoscheduler,
    Layout,
    autoschedule,
    built_in_weights,
    laid_out,
)
from mlsys_ray.value_learning.measuring import Limits
from mlsys_ray.value_learning.operators import Pipeline
from mlsys_ray.value_learning.target import Target

FILE = "adams2019.jsonl"
"""In the folder of a store."""
START_SECONDS = 120.0
"""More for the first schedule of a process, which imports what it needs."""


@dataclass(frozen=True, kw_only=True)
class AdamsRecord:
    """What came of one schedule.

    Attributes:
        layer: key of the pipeline.
        layout: of its images.
        seed: of the noise on the weights that it was found with; 0 for none.
        held_out: whether it is for judging, not for training.
        target: key of the machine.
        cores: of it.
        ms: its shortest run [ms]; NaN if it failed.
        featurization: what the cost model is given, in base 64; empty if it failed.
        failed: why, or empty.
    """

    layer: str
    layout: Layout
    seed: int
    held_out: bool
    target: str
    cores: int
    ms: float = float("nan")
    featurization: str = ""
    failed: str = ""

    @property
    def key(self) -> tuple[str, str, int, str]:
        """What no two records of a file have in common."""
        return self.layer, self.layout, self.seed, self.target

    def sample(self, numbers: dict[tuple[str, str], int]) -> AdamsSample:
        """For the cost model; layers in a layout are numbered as they come."""
        number = numbers.setdefault((self.layer, self.layout), len(numbers))
        return AdamsSample(base64.b64decode(self.featurization), self.ms, number)


def read_records(path: Path) -> list[AdamsRecord]:
    """The records of a file; a line that was cut off is left out."""
    found = []
    for line in path.read_text().splitlines() if path.exists() else []:
        try:
            found.append(AdamsRecord(**json.loads(line)))
        except (ValueError, TypeError):
            continue
    return found


def collect_adams(
    layers: Sequence[tuple[Pipeline, bool]],
    target: Target,
    path: Path,
    *,
    count: int,
    limits: Limits | None = None,
    goes_on: Callable[[], bool] = lambda: True,
    on_record: Callable[[AdamsRecord], None] = lambda record: None,
) -> int:
    """Have Adams2019 schedule layers, each `count` times with other weights, and measure.

    What is in the file already is not measured again. Gives how many were measured.

    Args:
        layers: with whether they are held out.
        target: this machine.
        path: of the file, which is added to.
        count: schedules of each layer in each layout.
        limits: of each.
        goes_on: asked before each schedule.
        on_record: told of each.
    """
    known = {record.key for record in read_records(path)}
    path.parent.mkdir(parents=True, exist_ok=True)
    measured = 0
    with path.open("a") as file, AdamsMaker(target, limits or Limits(seconds=60.0)) as maker:
        if file.tell():
            # After a line that was cut off, the next one begins anew.
            file.write("\n")
        for wanted, pipeline in _wanted(layers, target, count):
            if wanted.key in known:
                continue
            if not goes_on():
                break
            record = maker.make(wanted, pipeline)
            file.write(json.dumps(asdict(record)) + "\n")
            file.flush()
            measured += 1
            on_record(record)
    return measured


def _wanted(
    layers: Sequence[tuple[Pipeline, bool]], target: Target, count: int
) -> Iterator[tuple[AdamsRecord, Pipeline]]:
    """Layers to train on first: of those each needs as many as the wheel's tool asks for."""
    layouts: Sequence[Layout] = ("channels_last", "planar")
    for wanted in (False, True):
        own = [pipeline for pipeline, held_out in layers if held_out == wanted]
        for seed, pipeline in product(range(count), own):
            for layout in layouts:
                images = len(pipeline.output.extents) == 4
                if layout == "planar" and not images:
                    continue
                record = AdamsRecord(
                    layer=pipeline.key, layout=layout, seed=seed, held_out=wanted,
                    target=target.key, cores=target.cores,
                )  # fmt: skip
                yield record, pipeline


class AdamsMaker:
    """Makes and measures schedules in a process that may hang or die; a context manager."""

    def __init__(self, target: Target, limits: Limits) -> None:
        self._target, self._limits = target, limits
        self._process: Any = None
        self._pipe: Connection | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._end()

    def make(self, wanted: AdamsRecord, pipeline: Pipeline) -> AdamsRecord:
        """A record like the wanted one with what came of it; nothing that it does is fatal."""
        seconds = self._limits.seconds
        if self._pipe is None:
            context = multiprocessing.get_context("spawn")
            self._pipe, there = context.Pipe()
            arguments = (there, self._target, self._limits)
            self._process = context.Process(target=_serve, args=arguments, daemon=True)
            self._process.start()
            there.close()
            seconds += START_SECONDS
        failed = f"not done after {self._limits.seconds} s"
        try:
            self._pipe.send((pipeline, wanted.layout, wanted.seed))
            if self._pipe.poll(seconds):
                return AdamsRecord(**{**asdict(wanted), **self._pipe.recv()})
        except (EOFError, OSError):
            failed = "its process ended"
        self._end()
        return AdamsRecord(**{**asdict(wanted), "failed": failed})

    def _end(self) -> None:
        if self._pipe is not None:
            self._process.kill()
            self._process.join()
            self._pipe.close()
            self._pipe = None


def _serve(pipe: Connection, target: Target, limits: Limits) -> None:
    os.environ["HL_NUM_THREADS"] = str(target.cores)
    # The plugin prints.
    os.dup2(2, 1)
    built_in = built_in_weights()
    with tempfile.TemporaryDirectory() as folder:
        while True:
            try:
                pipeline, layout, seed = pipe.recv()
            except EOFError:
                return
            path = Path(folder) / f"{seed}.weights"
            path.write_bytes(noisy_weights(built_in, seed) if seed else built_in)
            try:
                pipe.send(_made(pipeline, layout, path, target, limits))
            except Exception as error:
                line = f"{type(error).__name__}: {error}".strip().splitlines()[0]
                pipe.send({"failed": line[:200]})


def _made(
    pipeline: Pipeline, layout: Layout, weights: Path, target: Target, limits: Limits
) -> dict[str, Any]:
    import halide as hl

    from mlsys_ray.value_learning.lowering import build
    from mlsys_ray.value_learning.measuring_worker import timed

    scheduler = Autoscheduler(
        plugin="Adams2019", title="adams2019", layout=layout,
        parameters=(("beam_size", 1), ("weights_path", str(weights))),
    )  # fmt: skip
    shape: Any = laid_out(pipeline, layout)
    built = build(shape)
    found = autoschedule(scheduler, built, shape, target)
    kernel = found.pipeline.compile_to_callable(built.arguments, hl.Target(target.halide))
    # Runtimes do not depend on the values.
    arrays = [np.full(t.shape, 0.5, np.float32) for t in (*shape.arguments, shape.output)]
    return {
        "ms": min(timed(kernel, arrays, limits)),
        "featurization": base64.b64encode(found.featurization).decode(),
    }


def retrained_on(
    records: Iterable[AdamsRecord], target: Target, *, epochs: int = 1000
) -> tuple[bytes, Mapping[str, float | int]]:
    """Weights trained on the records that are not held out, and errors on those that are.

    Returns:
        The weights as a file; and mean squared errors of the logarithm, `msle_adams2019` with the
        built-in weights and `msle_adams2019_retrained`, each after the scale that suits it best,
        over `adams2019_samples`, trained on `adams2019_training_samples`.

    Raises:
        ValueError: no layer has enough samples, or none is held out.
    """
    own = [r for r in records if r.target == target.key and not r.failed]
    numbers: dict[tuple[str, str], int] = {}
    training = [record.sample(numbers) for record in own if not record.held_out]
    judged = [record.sample(numbers) for record in own if record.held_out]
    if not judged:
        raise ValueError("no schedules by Adams2019 of held-out layers were measured here")
    built_in = built_in_weights()
    weights = retrain(training, built_in, target.cores, epochs=epochs)
    return weights, {
        "msle_adams2019": _msle(built_in, judged, target.cores),
        "msle_adams2019_retrained": _msle(weights, judged, target.cores),
        "adams2019_samples": len(judged),
        "adams2019_training_samples": len(training),
    }


def _msle(weights: bytes, samples: Sequence[AdamsSample], cores: int) -> float:
    model = read_weights(weights)
    predicted = np.array([predicted_ms(s.featurization, model, cores) for s in samples])
    errors = np.log(np.maximum(predicted, 1e-9)) - np.log([s.ms for s in samples])
    return float(np.var(errors))
