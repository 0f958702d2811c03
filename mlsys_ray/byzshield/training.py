"""A training run in one process."""

from __future__ import annotations

from collections.abc import Iterator

from mlsys_ray.byzshield.config import TrainConfig
from mlsys_ray.byzshield.data import ImageDataset
from mlsys_ray.byzshield.server import ParameterServer, Row, ServerState
from mlsys_ray.byzshield.worker import InProcessTransport


def train_in_process(
    config: TrainConfig,
    dataset: ImageDataset,
    *,
    state: ServerState | None = None,
    checkpoint_interval: int | None = None,
    share_replicas: bool = False,
) -> Iterator[tuple[Row, ServerState | None]]:
    """Train with all workers in this process.

    Args:
        config: the run.
        dataset: what it trains on.
        state: where to go on; None starts anew.
        checkpoint_interval: iterations after which the state comes with the metrics.
        share_replicas: compute each file once for all honest workers that hold it.

    Yields:
        The metrics of each iteration, and the state where one is due.

    Raises:
        ValueError: the batch is larger than the data, or a fault needs worker processes.
    """
    transport = InProcessTransport(config, dataset, share_replicas=share_replicas)
    yield from ParameterServer(config, dataset, transport, state).train(checkpoint_interval)
