"""Who was found lying in a run, and by what evidence."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pandas as pd


def suspects(metrics: pd.DataFrame) -> list[dict[str, Any]]:
    """The workers that were proved liars, distrusted or outvoted, the worst first.

    A worker that sent something else than it had vouched for is proved a liar. One that was
    outvoted is accused only: where Byzantine workers hold a majority of a file's copies, it is the
    honest one that loses.

    Args:
        metrics: the rows of a training run.

    Returns:
        Rows of worker, proved [iterations], distrusted by detection [iterations], outvoted
        [copies], outvoted_iterations and first_iteration.
    """
    proved: Counter[int] = Counter()
    copies: Counter[int] = Counter()
    iterations: Counter[int] = Counter()
    first: dict[int, int] = {}
    distrusted: Counter[int] = Counter()
    columns = ("iteration", "proved_workers", "distrusted_workers", "outvoted_workers")
    for iteration, liars, detected, losers in metrics[list(columns)].itertuples(index=False):
        proved.update(liars)
        distrusted.update(detected)
        copies.update(losers)
        iterations.update(set(losers))
        for worker in {*liars, *detected, *losers}:
            first.setdefault(worker, iteration)
    rows = [
        {
            "worker": worker,
            "proved": proved[worker],
            "distrusted": distrusted[worker],
            "outvoted": copies[worker],
            "outvoted_iterations": iterations[worker],
            "first_iteration": first[worker],
        }
        for worker in first
    ]
    evidence = ("proved", "distrusted", "outvoted")
    return sorted(rows, key=lambda row: (*(-row[name] for name in evidence), row["worker"]))
