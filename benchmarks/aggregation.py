"""Robust rules side by side with ByzFL 0.0.11 and torch.

Every rule and its peer run in turns on the same array, float32, with the same number of threads;
the peer gets the array as numpy or as torch, whichever it is faster with in a first turn;
the difference is from its result on numpy.

    python benchmarks/aggregation.py [--json] [--dimension 11173962] [--workers 25]
        [--byzantine 5] [--repeats 5] [--threads 2] [--rules median,krum]
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Callable
from statistics import median
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    import numpy as np

    from mlsys_ray.byzshield.aggregation import AggregationRule

_NNM_DIMENSION = 1_000_000
"""ByzFL's NNM gathers n (n - c) rows at once: 22 GB at ResNet-18's size."""


class Case(NamedTuple):
    """One rule against one peer."""

    rule: str
    peer: str
    ours: AggregationRule
    theirs: Callable[[Any], Any]
    dimension: int


def cases(workers: int, byzantine: int, dimension: int) -> list[Case]:
    """All comparisons; ByzFL's Krum has one neighbour more than the paper's, so it gets c + 1."""
    import torch

    from mlsys_ray.byzshield import aggregation as ours
    from mlsys_ray.byzshield.aggregation.preaggregation import Nnm
    from mlsys_ray.testing.peers import import_byzfl

    theirs, c = import_byzfl("aggregators"), byzantine

    def torch_median(vectors: Any) -> Any:
        return torch.as_tensor(vectors).median(dim=0).values

    def nnm_median(vectors: Any) -> Any:
        return theirs.Median()(theirs.NNM(c)(vectors))

    nnm = ours.Composed((Nnm(c),), ours.Median())
    selected = ours.MultiKrum(c, num_selected=workers - c - 1)
    table = [
        ("median", "torch.median", ours.Median(), torch_median, dimension),
        ("average", "byzfl", ours.Average(), theirs.Average(), dimension),
        ("median", "byzfl", ours.Median(), theirs.Median(), dimension),
        ("trimmed_mean", "byzfl", ours.TrimmedMean(c), theirs.TrMean(c), dimension),
        ("meamed", "byzfl", ours.Meamed(c), theirs.Meamed(c), dimension),
        ("krum", "byzfl", ours.Krum(c), theirs.Krum(c + 1), dimension),
        ("multi_krum", "byzfl", selected, theirs.MultiKrum(c + 1), dimension),
        (
            "geometric_median",
            "byzfl",
            ours.GeometricMedian(0.1, 3),
            theirs.GeometricMedian(0.1, 3),
            dimension,
        ),
        (
            "centered_clipping",
            "byzfl",
            ours.CenteredClipping(),
            lambda vectors: theirs.CenteredClipping()(vectors),  # it keeps state
            dimension,
        ),
        ("mda", "byzfl", ours.Mda(c), theirs.MDA(c), dimension),
        ("monna", "byzfl", ours.Monna(c), theirs.MoNNA(c), dimension),
        ("nnm+median", "byzfl", nnm, nnm_median, min(dimension, _NNM_DIMENSION)),
    ]
    return [Case(*row) for row in table]


def timed(function: Callable[[Any], Any], argument: Any) -> tuple[float, Any]:
    """Seconds and result of one call."""
    start = time.perf_counter()
    result = function(argument)
    return time.perf_counter() - start, result


def compare(case: Case, gradients: np.ndarray, repeats: int) -> dict[str, object]:
    """Time a rule and its peer in turns."""
    import numpy as np
    import torch

    array = gradients if gradients.shape[1] == case.dimension else gradients[:, : case.dimension]
    array = np.ascontiguousarray(array)
    layouts: dict[str, Any] = {"numpy": array, "torch": torch.from_numpy(array)}
    first_turn = {name: timed(case.theirs, vectors) for name, vectors in layouts.items()}
    layout = min(first_turn, key=lambda name: first_turn[name][0])
    # ByzFL measures numpy's distances in float64, torch's in float32.
    expected = np.asarray(first_turn["numpy"][1])
    case.ours.aggregate(array)  # compiles
    seconds, peer_seconds = [], []
    for _ in range(repeats):
        taken, result = timed(case.ours.aggregate, array)
        seconds.append(taken)
        peer_seconds.append(timed(case.theirs, layouts[layout])[0])
    return {
        "rule": case.rule,
        "workers": len(array),
        "dimension": case.dimension,
        "seconds": median(seconds),
        "seconds_min": min(seconds),
        "peer": case.peer,
        "peer_layout": layout,
        "peer_seconds": median(peer_seconds),
        "peer_seconds_min": min(peer_seconds),
        "speedup": median(peer_seconds) / median(seconds),
        "max_abs_difference": float(np.abs(result - expected).max()),
    }


def read_pass(gradients: np.ndarray, repeats: int) -> dict[str, object]:
    """Time of reading the array once, as torch sums it up."""
    import torch

    tensor = torch.from_numpy(gradients)
    seconds = [timed(torch.sum, tensor)[0] for _ in range(max(5, repeats))]
    return {
        "rule": "read pass",
        "workers": len(gradients),
        "dimension": gradients.shape[1],
        "seconds": median(seconds),
        "seconds_min": min(seconds),
    }


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description="Robust rules side by side with ByzFL and torch")
    parser.add_argument("--json", action="store_true", help="print a JSON list instead of a table")
    parser.add_argument("--dimension", type=int, default=11_173_962, help="gradient length")
    parser.add_argument("--workers", type=int, default=25, help="gradients")
    parser.add_argument("--byzantine", type=int, default=5, help="Byzantine inputs")
    parser.add_argument("--repeats", type=int, default=5, help="turns")
    parser.add_argument("--threads", type=int, default=2, help="threads of every contestant")
    parser.add_argument("--rules", help="only these, separated by commas")
    options = parser.parse_args()
    # Read when numpy, numba and torch are first imported, which is below.
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS"):
        os.environ[name] = str(options.threads)
    import numpy as np
    import torch

    torch.set_num_threads(options.threads)
    draw = np.random.default_rng(0)
    shape = (options.workers, options.dimension)
    gradients = draw.standard_normal(shape, dtype=np.float32)
    wanted = options.rules.split(",") if options.rules else None
    rows = [read_pass(gradients, options.repeats)]
    for case in cases(options.workers, options.byzantine, options.dimension):
        if wanted is None or case.rule in wanted:
            rows.append(compare(case, gradients, options.repeats))
    print(json.dumps(rows, indent=1) if options.json else table(rows))


def table(rows: list[dict[str, Any]]) -> str:
    """The rows as Markdown, times in ms as median (minimum)."""
    lines = ["| rule | d | here, ms | peer | peer, ms | ratio | largest difference |"]
    lines.append("|---|---|---|---|---|---|---|")
    for row in rows:
        here = f"{row['seconds'] * 1e3:.0f} ({row['seconds_min'] * 1e3:.0f})"
        start = f"| {row['rule']} | {row['dimension']} | {here} "
        if "peer" not in row:
            lines.append(start + "| | | | |")
            continue
        peer = f"{row['peer_seconds'] * 1e3:.0f} ({row['peer_seconds_min'] * 1e3:.0f})"
        lines.append(
            start + f"| {row['peer']} ({row['peer_layout']}) | {peer} | {row['speedup']:.1f}"
            f" | {row['max_abs_difference']:.1e} |"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    main()
