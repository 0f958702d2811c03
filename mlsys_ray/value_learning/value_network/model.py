"""A trained value function: an ensemble of networks, its normalisation and its card."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mlsys_ray.value_learning.value_network.inference import evaluate
from mlsys_ray.value_learning.value_network.normalisation import Features, Normalisation

FORMAT = "mlsys-ray value network 1"
KINDS = ("lstm", "bidirectional", "feed_forward")


@dataclass(frozen=True, eq=False)
class Prediction:
    """What an ensemble says of B states.

    Attributes:
        members: natural logarithms of the best reachable runtime in ms, float64 [E, B].
    """

    members: np.ndarray

    @property
    def log_ms(self) -> np.ndarray:
        """Mean of the members, float64 [B]."""
        return self.members.mean(0)

    @property
    def ms(self) -> np.ndarray:
        """The runtime in ms, float64 [B]."""
        runtimes: np.ndarray = np.exp(self.log_ms)
        return runtimes

    @property
    def deviation(self) -> np.ndarray:
        """Standard deviation between the members, float64 [B]."""
        return self.members.std(0)


@dataclass(frozen=True, eq=False, kw_only=True)
class ValueNetwork:
    """Immutable; made by `training.train` or `load_network`.

    Attributes:
        kind: lstm, bidirectional or feed_forward.
        weights: of all members, named as in the module, float32 [E, ...].
        normalisation: of its inputs.
        card: targets, data, accuracy and how it was trained.
    """

    kind: str
    weights: Mapping[str, np.ndarray]
    normalisation: Normalisation
    card: Mapping[str, Any]

    def predict(self, features: Features) -> Prediction:
        """Predict states by their features.

        Raises:
            ValueError: they are not as wide as those it was trained on.
        """
        known = self.normalisation
        widths = features.intrinsic.shape[-1], features.acquired.shape[-1]
        if widths != (len(known.intrinsic_mean), len(known.acquired_mean)):
            raise ValueError(
                f"features are {widths[0]} + {widths[1]} wide, the network was trained on"
                f" {len(known.intrinsic_mean)} + {len(known.acquired_mean)}"
            )
        members = evaluate(
            self.kind,
            self.weights,
            known.apply(features),
            features.lengths,
            widths[0],
        ).astype(np.float64)
        return Prediction(members)

    def to_bytes(self) -> bytes:
        """The file's content (safetensors)."""
        from safetensors.numpy import save

        arrays = {f"weights.{name}": array for name, array in self.weights.items()}
        arrays |= {f"normalisation.{name}": v for name, v in asdict(self.normalisation).items()}
        contiguous = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
        header = {"format": FORMAT, "kind": self.kind, "card": json.dumps(self.card)}
        return save(contiguous, header)


def value_of(
    network: ValueNetwork, featurise: Callable[[Sequence[Any]], Features]
) -> Callable[[Sequence[Any]], np.ndarray]:
    """A function from states to log_ms, float64 [B], as the search wants it."""

    def value(states: Sequence[Any]) -> np.ndarray:
        return network.predict(featurise(states)).log_ms

    return value


def load_network(path: Path) -> ValueNetwork:
    """Read a file of a value network.

    Raises:
        ValueError: it is missing, damaged, or no such file.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="np") as file:
            header = file.metadata() or {}
            if header.get("format") != FORMAT:
                raise ValueError(f"{path} is no value network: its format is not {FORMAT!r}")
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        if header["kind"] not in KINDS:
            raise ValueError(f"{path}: kind {header['kind']!r} is none of {', '.join(KINDS)}")
        parts = {
            part: {
                name.removeprefix(f"{part}."): array
                for name, array in arrays.items()
                if name.startswith(f"{part}.")
            }
            for part in ("weights", "normalisation")
        }
        return ValueNetwork(
            kind=header["kind"],
            weights=parts["weights"],
            normalisation=Normalisation(**parts["normalisation"]),
            card=json.loads(header["card"]),
        )
    except FileNotFoundError as error:
        raise ValueError(f"value network {path} does not exist") from error
    except (SafetensorError, KeyError, TypeError, json.JSONDecodeError) as error:
        raise ValueError(f"value network {path} is damaged: {error}") from error
