"""Who was found lying in a run, and by what evidence."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import asdict, dataclass
from typing import Any

import pandas as pd


@dataclass
class _Evidence:
    """What speaks against one worker."""

    first_iteration: int
    proved: int = 0
    distrusted: int = 0
    outvoted: int = 0
    outvoted_iterations: int = 0
    silent: int = 0


def suspects(metrics: pd.DataFrame) -> list[dict[str, Any]]:
    """The workers that were proved liars, distrusted, outvoted or silent, the worst first.

    A worker that sent something else than it had vouched for is proved a liar. One that was
    distrusted lied if no more than q workers did. One that was outvoted is accused only: where
    Byzantine workers hold a majority of a file's copies, it is the honest one that loses. One
    that was silent need only be slow.

    Args:
        metrics: the rows of a training run.

    Returns:
        Rows of worker, proved [iterations], distrusted by detection [iterations], outvoted
        [copies], outvoted_iterations, silent [iterations], first_iteration, disagreements [files,
        once for each worker disagreed with] and disagreed_with (workers, the most frequent first).
    """
    found: dict[int, _Evidence] = {}
    conflicts: dict[int, Counter[int]] = defaultdict(Counter)
    columns = ["proved_workers", "distrusted_workers", "outvoted_workers", "silent_workers"]
    for iteration, pairs, *lists in metrics[["iteration", "disagreements", *columns]].itertuples(
        index=False
    ):
        proved, distrusted, outvoted, silent = (Counter(workers) for workers in lists)
        for worker in proved | distrusted | outvoted | silent:
            evidence = found.setdefault(worker, _Evidence(iteration))
            evidence.proved += proved[worker]
            evidence.distrusted += distrusted[worker]
            evidence.outvoted += outvoted[worker]
            evidence.outvoted_iterations += worker in outvoted
            evidence.silent += silent[worker]
        for one, other, files in pairs:
            conflicts[one][other] += files
            conflicts[other][one] += files
    order = sorted(
        found.items(),
        key=lambda item: (-item[1].proved, -item[1].distrusted, -item[1].outvoted, item[0]),
    )
    return [
        {
            "worker": worker,
            **asdict(evidence),
            "disagreements": conflicts[worker].total(),
            "disagreed_with": [other for other, _ in conflicts[worker].most_common()],
        }
        for worker, evidence in order
    ]
