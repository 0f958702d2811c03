"""Adams2019's cost model evaluated outside of Halide, and retrained by the wheel's own tool.

After Adams et al. 2019 and Halide's sources (src/autoschedulers/adams2019, cost_model_generator.cpp
for the terms, Featurization.h for the features). It costs a schedule by the features that the
autoscheduler itself computed, so only schedules of its own making can be costed.
"""

from __future__ import annotations

import struct
import subprocess
import tempfile
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import numpy as np

SCHEDULE_FEATURES = (
    "num_realizations",
    "num_productions",
    "points_computed_per_realization",
    "points_computed_per_production",
    "points_computed_total",
    "points_computed_minimum",
    "innermost_loop_extent",
    "innermost_pure_loop_extent",
    "unrolled_loop_extent",
    "inner_parallelism",
    "outer_parallelism",
    "bytes_at_realization",
    "bytes_at_production",
    "bytes_at_root",
    "innermost_bytes_at_realization",
    "innermost_bytes_at_production",
    "innermost_bytes_at_root",
    "inlined_calls",
    "unique_bytes_read_per_realization",
    "unique_lines_read_per_realization",
    "allocation_bytes_read_per_realization",
    "working_set",
    "vector_size",
    "native_vector_size",
    "num_vectors",
    "num_scalars",
    "scalar_loads_per_vector",
    "vector_loads_per_vector",
    "scalar_loads_per_scalar",
    "bytes_at_task",
    "innermost_bytes_at_task",
    "unique_bytes_read_per_vector",
    "unique_lines_read_per_vector",
    "unique_bytes_read_per_task",
    "unique_lines_read_per_task",
    "working_set_at_task",
    "working_set_at_production",
    "working_set_at_realization",
    "working_set_at_root",
)
PIPELINE_FEATURES = 287
IN_USE = 7
"""Of the pipeline features, the first ones say which types are used; the model leaves them out."""
ROWS = 40
MIN_SAMPLES = 8
"""Schedules of a pipeline that the wheel's tool asks for; it skips pipelines with fewer."""


@dataclass(frozen=True, eq=False)
class CostModelWeights:
    """The network's weights, float32; see `read_weights`."""

    head1_filter: np.ndarray
    head1_bias: np.ndarray
    head2_filter: np.ndarray
    head2_bias: np.ndarray
    trunk_filter: np.ndarray
    trunk_bias: np.ndarray


def read_weights(content: bytes) -> CostModelWeights:
    """Weights from a `.weights` file.

    Raises:
        ValueError: it is no such file.
    """
    try:
        signature, _, _, count = struct.unpack_from("<4I", content)
        if signature != 0x68776631 or count != 6:
            raise ValueError("not a file of weights of Adams2019's cost model")
        place, buffers = 16, []
        for _ in range(count):
            (rank,) = struct.unpack_from("<I", content, place)
            extents = struct.unpack_from(f"<{rank}I", content, place + 4)
            place += 4 * (1 + rank)
            size = int(np.prod(extents))
            # The first extent is innermost in memory.
            values = np.frombuffer(content, "<f4", size, place).reshape(extents[::-1])
            buffers.append(values)
            place += 4 * size
    except struct.error as error:
        raise ValueError(f"a damaged file of weights: {error}") from error
    return CostModelWeights(*buffers)


def predicted_ms(featurization: bytes, weights: CostModelWeights, num_cores: int) -> float:
    """The cost of a schedule as the plugin computes it [ms of its authors' machine].

    Args:
        featurization: float32 of each stage, 39 schedule features and 287 pipeline features, as
            `apply_autoscheduler` gives it.
        weights: of the network.
        num_cores: the plugin's `parallelism`.
    """
    width = len(SCHEDULE_FEATURES) + PIPELINE_FEATURES
    stages = np.frombuffer(featurization, "<f4").reshape(-1, width).astype(np.float64)
    schedule = stages[:, : len(SCHEDULE_FEATURES)]
    pipeline = stages[:, len(SCHEDULE_FEATURES) + IN_USE :].reshape(len(stages), ROWS, -1)
    coefficients = _coefficients(schedule, pipeline, weights)
    named = dict(zip(SCHEDULE_FEATURES, schedule.T, strict=True))
    return float(np.sum(_cost(named, coefficients.T, num_cores)) * 1e-9)


def _coefficients(
    schedule: np.ndarray, pipeline: np.ndarray, weights: CostModelWeights
) -> np.ndarray:
    """What the network says of each stage: 32 coefficients, [stages, 32]."""
    squashed = 1 / (1 + np.exp(-weights.head1_filter.astype(np.float64)))
    head1 = np.einsum("jic,sij->sc", squashed, pipeline) + weights.head1_bias
    head2 = np.maximum(np.log1p(schedule) @ weights.head2_filter + weights.head2_bias, 0)
    both = np.concatenate([head1, head2], 1)
    relu: np.ndarray = np.maximum(both @ weights.trunk_filter + weights.trunk_bias, 0)
    return relu


def _cost(f: dict[str, np.ndarray], c: np.ndarray, num_cores: int) -> np.ndarray:
    """The hand-made terms, [stages]; c[i] is the coefficient that the sources call relu1(i)."""
    at_least_1 = np.maximum
    vectors = f["vector_size"] * f["num_vectors"]
    compute = np.where(
        f["inlined_calls"] == 0,
        vectors * c[0] + f["num_scalars"] * c[1],
        vectors * c[2] + f["num_scalars"] * c[3],
    )
    tasks = at_least_1(1, f["inner_parallelism"] * f["outer_parallelism"])
    compute *= np.ceil(tasks / num_cores) / at_least_1(1, tasks / num_cores)
    load = (
        f["num_realizations"] * f["unique_lines_read_per_realization"] * c[5]
        + f["num_realizations"] * f["unique_bytes_read_per_realization"] * c[6]
        + f["num_vectors"] * f["scalar_loads_per_vector"] * c[7]
        + f["num_scalars"] * f["scalar_loads_per_scalar"] * c[8]
        + f["num_vectors"] * f["vector_loads_per_vector"] * c[9]
        + f["num_scalars"] * f["unique_bytes_read_per_vector"] * c[10]
        + f["num_vectors"] * f["unique_bytes_read_per_vector"] * c[11]
        + f["num_scalars"] * f["unique_lines_read_per_vector"] * c[12]
        + f["num_vectors"] * f["unique_lines_read_per_vector"] * c[13]
        + tasks * f["unique_bytes_read_per_task"] * c[14]
        + tasks * f["unique_lines_read_per_task"] * c[15]
    )
    shared = f["inner_parallelism"] > 1
    last = np.arange(len(tasks)) == 0
    row = at_least_1(1, f["innermost_bytes_at_task"])
    lines_written = f["inner_parallelism"] * f["bytes_at_task"] / row
    store = f["num_realizations"] * (
        lines_written * np.select([shared, last], [c[16], c[17]], c[18])
        + f["bytes_at_realization"] * np.select([shared, last], [c[19], c[20]], c[21])
    )
    store += np.where(shared, c[22] * (f["num_vectors"] + f["num_scalars"]) / row, 0)
    threads_on_page = np.minimum(f["inner_parallelism"], 4096 / row)
    store += (
        f["bytes_at_production"]
        * threads_on_page
        * f["inner_parallelism"]
        * f["outer_parallelism"]
        * c[23]
    )
    launches = f["num_productions"] * np.where(shared, c[25], 0)
    launches += f["num_productions"] * (f["inner_parallelism"] - 1) * c[26]
    malloc = c[24] * f["num_realizations"]
    # The sources count stores twice, as the weights were trained so.
    total: np.ndarray = compute + 2 * store + load + malloc + launches + f["working_set"] * c[27]
    return total


@dataclass(frozen=True)
class AdamsSample:
    """A schedule that Adams2019 made, measured.

    Attributes:
        featurization: see `predicted_ms`.
        ms: its runtime [ms].
        pipeline: number of its pipeline; all samples of a number are of one algorithm.
    """

    featurization: bytes
    ms: float
    pipeline: int


def retrain(
    samples: Sequence[AdamsSample],
    start: bytes,
    num_cores: int,
    *,
    epochs: int = 1000,
    rate: float = 1e-3,
    seconds: float = 600.0,
) -> bytes:
    """Weights trained on this machine's samples by the tool in Halide's wheel.

    Args:
        samples: at least `MIN_SAMPLES` different ones of a pipeline, or the tool leaves that
            pipeline out.
        start: the weights to begin with, as a file.
        num_cores: the `parallelism` that the samples were made with.
        epochs: passes over the samples.
        rate: of learning.
        seconds: after which the tool is ended.

    Raises:
        ValueError: no pipeline has enough samples.
        RuntimeError: the tool fails.
    """
    import halide as hl

    # The tool takes schedules of the same features for one.
    different = {(sample.pipeline, sample.featurization) for sample in samples}
    counts = Counter(pipeline for pipeline, _ in different)
    if max(counts.values(), default=0) < MIN_SAMPLES:
        raise ValueError(
            f"no pipeline has {MIN_SAMPLES} different samples, which the tool asks for"
        )
    tool = Path(cast(str, hl.__file__)).parent / "bin" / "adams2019_retrain_cost_model"
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "start.weights").write_bytes(start)
        paths = []
        for number, sample in enumerate(samples):
            path = folder / f"{number}.sample"
            tail = struct.pack("<fii", sample.ms, sample.pipeline, number)
            path.write_bytes(sample.featurization + tail)
            (folder / f"{number}.schedule.h").touch()
            paths.append(str(path))
        done = subprocess.run(
            [
                str(tool),
                f"--epochs={epochs}",
                f"--rates={rate}",
                f"--num_cores={num_cores}",
                f"--initial_weights={folder / 'start.weights'}",
                f"--weights_out={folder / 'out.weights'}",
                f"--best_benchmark={folder / 'best.txt'}",
                f"--best_schedule={folder / 'best.schedule.h'}",
            ],
            input="\n".join(paths) + "\n",
            capture_output=True,
            text=True,
            timeout=seconds,
            check=False,
        )
        out = folder / "out.weights"
        if done.returncode or not out.exists():
            raise RuntimeError(f"{tool.name} ended with {done.returncode}: {done.stderr[-500:]}")
        return out.read_bytes()


def noisy_weights(content: bytes, seed: int) -> bytes:
    """Weights with noise as large as they are: with them the search makes other schedules."""
    rng = np.random.default_rng(seed)
    place, parts = 16, [content[:16]]
    for _ in range(6):
        (rank,) = struct.unpack_from("<I", content, place)
        extents = struct.unpack_from(f"<{rank}I", content, place + 4)
        head = 4 * (1 + rank)
        size = int(np.prod(extents))
        values = np.frombuffer(content, "<f4", size, place + head)
        noise = rng.standard_normal(size) * np.abs(values).mean()
        parts += [content[place : place + head], (values + noise).astype("<f4").tobytes()]
        place += head + 4 * size
    return b"".join(parts)
