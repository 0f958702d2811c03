"""The largest set of workers that agree with each other."""

from __future__ import annotations

import networkx as nx
import numpy as np

from mlsys_ray.byzshield.detection.agreement import Agreement


def honest_clique(found: Agreement) -> frozenset[int] | None:
    """The unique maximum clique of the agreement graph, None if there are several.

    Where any two workers share files and fewer than half lie, the honest workers are a clique; if
    no other is as large, it is they (Aspis, section IV-A). A worker that did not answer in full is
    left out.
    """
    answered = np.flatnonzero(found.answered)
    agree = ~found.disagree[np.ix_(answered, answered)]
    np.fill_diagonal(agree, False)
    largest: list[list[int]] = [[]]
    for clique in nx.find_cliques(nx.from_numpy_array(agree)):
        if len(clique) > len(largest[0]):
            largest = [clique]
        elif len(clique) == len(largest[0]):
            largest.append(clique)
    if len(largest) > 1:
        return None
    return frozenset(answered[largest[0]].tolist())
