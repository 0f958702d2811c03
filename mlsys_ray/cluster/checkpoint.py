"""Training state on disk, as safetensors: reading it runs no code."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load, save

from mlsys_ray.byzshield.server import ServerState

CHECKPOINT = "checkpoint.safetensors"


def dump_state(state: ServerState) -> bytes:
    """The state as the content of a safetensors file."""
    tensors = {
        "parameters": state.parameters,
        "velocity": state.velocity,
        "iteration": np.array(state.iteration, dtype=np.int64),
    }
    if state.detector is not None:
        tensors["detector"] = state.detector
    return save(tensors)


def load_state(path: Path) -> ServerState:
    """Read what `dump_state` wrote.

    Raises:
        ValueError: the file is damaged.
    """
    try:
        tensors = load(path.read_bytes())
        return ServerState(
            int(tensors["iteration"]),
            tensors["parameters"],
            tensors["velocity"],
            tensors.get("detector"),
        )
    except (SafetensorError, KeyError, struct.error) as error:
        raise ValueError(
            f"checkpoint {path} is damaged ({error}); delete it to start anew"
        ) from error
