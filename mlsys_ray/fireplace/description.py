"""What a trace is like: counts, lives, burstiness, requests and use."""

from __future__ import annotations

from typing import Any

import numpy as np

from mlsys_ray.fireplace.trace import Trace

QUANTILES = (0.25, 0.5, 0.75, 0.99)


def describe(trace: Trace) -> dict[str, Any]:
    """Statistics of a trace.

    Returns:
        Lives in seconds; arrivals a tick with their index of dispersion (variance / mean, 1 for a
        Poisson process); requests and use by resource in its unit; use as a part of the requests of
        the VMs alive; the part of the VMs that the most popular fifth of the functions has.
    """
    life = trace.end - trace.arrival
    per_tick = np.bincount(trace.first_tick, minlength=trace.num_ticks)
    lived = (trace.request * life[:, None]).sum(axis=0)
    used = trace.use.sum(axis=0, dtype=np.float64) * trace.tick
    settled = trace.alive[len(trace.alive) // 5 :]
    known = trace.function[trace.function >= 0]
    counts = np.sort(np.bincount(known, minlength=len(trace.functions)))[::-1]
    return {
        "name": trace.name,
        "vms": trace.num_vms,
        "tick_seconds": trace.tick,
        "ticks": trace.num_ticks,
        "life_mean": float(life.mean()),
        **{f"life_q{round(100 * q)}": float(np.quantile(life, q)) for q in QUANTILES},
        "arrivals_per_tick": float(per_tick.mean()),
        "dispersion": float(per_tick.var() / per_tick.mean()),
        "alive_mean": float(settled.mean()),
        "functions": len(trace.functions),
        "popular_fifth": float(counts[: -(-len(counts) // 5)].sum() / len(known))
        if len(known)
        else None,
        **{
            f"{name}_{what}": float(values[d])
            for d, name in enumerate(trace.resources)
            for what, values in (
                ("request_mean", trace.request.mean(axis=0)),
                ("request_max", trace.request.max(axis=0)),
                ("use_of_request", used / lived),
            )
        },
    }
