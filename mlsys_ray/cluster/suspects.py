"""Who was found lying in a run, and by what evidence."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pandas as pd


def suspects(metrics: pd.DataFrame) -> list[dict[str, Any]]:
    """The workers that were proved liars or outvoted, the worst first.

    A worker that sent something else than it had vouched for is proved a liar. One that was
    outvoted is accused only: where Byzantine workers hold a majority of a file's copies, it is the
    honest one that loses.

    Args:
        metrics: the rows of a training run.

    Returns:
        Rows of worker, proved [iterations], outvoted [copies], outvoted_iterations and
        first_iteration.
    """
    proved: Counter[int] = Counter()
    copies: Counter[int] = Counter()
    iterations: Counter[int] = Counter()
    first: dict[int, int] = {}
    columns = ("iteration", "proved_workers", "outvoted_workers")
    for iteration, liars, losers in metrics[list(columns)].itertuples(index=False):
        proved.update(liars)
        copies.update(losers)
        iterations.update(set(losers))
        for worker in {*liars, *losers}:
            first.setdefault(worker, iteration)
    rows = [
        {
            "worker": worker,
            "proved": proved[worker],
            "outvoted": copies[worker],
            "outvoted_iterations": iterations[worker],
            "first_iteration": first[worker],
        }
        for worker in first
    ]
    return sorted(rows, key=lambda row: (-row["proved"], -row["outvoted"], row["worker"]))
