"""The rungs that policies are measured against: what more knowledge would have given."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mlsys_ray.fireplace.hindsight.local_search import hindsight_search, loads, mean_load
from mlsys_ray.fireplace.metrics import score, warm_up_ticks
from mlsys_ray.fireplace.trace import Trace, presence


@dataclass(frozen=True, kw_only=True, slots=True)
class Rungs:
    """Scores of hindsight on one trace, as PAR.

    Attributes:
        full: everything is known.
        greedy: each arriving VM is placed knowing the true future of those present.
        spike_blind: arrivals, lives and each VM's own mean use are known, its spikes are not.
        lower_bound: no placement of all VMs is below; max(1, the largest VM's use / mean) by
            ticks.
        refused: VMs that no PM admitted, where everything is known.
    """

    full: float
    greedy: float
    spike_blind: float
    lower_bound: float
    refused: int


def rungs(trace: Trace, capacity: np.ndarray, *, overcommit: float = 1.0) -> Rungs:
    """Compute all rungs.

    Args:
        trace: N VMs.
        capacity: float64 `[P, D]`.
        overcommit: the part of its capacity that a PM's requests may take in all.
    """
    full = hindsight_search(trace, capacity, overcommit=overcommit)
    blind = hindsight_search(without_spikes(trace), capacity, overcommit=overcommit)
    return Rungs(
        full=full.par,
        greedy=full.first_par,
        spike_blind=score(loads(trace, blind.placement, capacity)).par,
        lower_bound=lower_bound(trace, capacity),
        refused=full.refused,
    )


def without_spikes(trace: Trace) -> Trace:
    """The trace with each VM's use at its own mean, for as long as it lives."""
    offset, share = presence(trace.arrival, trace.end, trace.tick)
    start = offset[:-1]
    lived = np.add.reduceat(share, start)
    used = np.add.reduceat(trace.use.astype(np.float64), start, axis=0)
    rate = used / lived[:, None]
    return trace.replaced(use=np.repeat(rate, np.diff(offset), axis=0) * share[:, None])


def lower_bound(trace: Trace, capacity: np.ndarray) -> float:
    """A PAR that no placement of all VMs is below.

    In each tick the PAR is at least 1, and at least what the VM of most use makes alone on the
    largest PM, over a mean as large as if all were on PMs of the least capacity. With unequal PMs
    that is loose: PMs count equally in the mean, so that it depends on the placement. A linear
    programme says no more with equal PMs: it spreads every VM evenly.
    """
    # Equal to the mean itself if the PMs are equal.
    mean = mean_load(trace, capacity) * capacity.mean(axis=0) / capacity.min(axis=0)
    largest = np.zeros(mean.shape)
    lengths = np.diff(trace.use_offset)
    tick = np.repeat(trace.first_tick - trace.use_offset[:-1], lengths) + np.arange(len(trace.use))
    counted = tick < trace.num_ticks
    np.maximum.at(largest, tick[counted], trace.use[counted])
    alone = largest / capacity.max(axis=0)
    used = mean > 0
    bound = np.full(mean.shape, np.nan)
    bound[used] = np.maximum(alone[used] / mean[used], 1.0)
    return float(np.nanmean(bound[warm_up_ticks(len(bound)) :], axis=0).mean())
