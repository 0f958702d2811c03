"""What training gives and a file holds: weights of the tuned policies, and FirePlace's network."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np

from mlsys_ray.fireplace.policies.base import Policy
from mlsys_ray.fireplace.policies.certainty_equivalent import (
    CertaintyEquivalentPolicy,
    PotentialWeights,
)
from mlsys_ray.fireplace.policies.fireplace import FirePlacePolicy, Network
from mlsys_ray.fireplace.policies.mixture import (
    LearnedMixturePolicy,
    TunedMixturePolicy,
    Weights,
)
from mlsys_ray.fireplace.statistics import Statistics

FORMAT = "mlsys-ray fireplace model 1"
SHIPPED = Path(__file__).parent / "models"


@dataclass(frozen=True, eq=False, kw_only=True)
class Model:
    """Weights trained on one workload. Statistics of functions are learned anew from a history.

    Attributes:
        tick: telemetry interval of the workload [s].
        resources: names of its resources.
        telemetry_since: weights of telemetry and of the requests placed since.
        mixture: weights of the tuned mixture.
        learned_mixture: weights of the mixture that uses learned means, too.
        potential: parameters of the certainty-equivalent policy.
        network: FirePlace's.
        card: how it was trained and how well it did: settings, PAR, versions.
    """

    tick: float
    resources: tuple[str, ...]
    telemetry_since: Weights
    mixture: Weights
    learned_mixture: Weights
    potential: PotentialWeights
    network: Network
    card: dict[str, Any]

    def policies(self, statistics: Statistics) -> list[Policy]:
        """The trained policies, for functions whose statistics are given."""
        return [
            TunedMixturePolicy("telemetry_since", self.telemetry_since),
            TunedMixturePolicy("mixture", self.mixture),
            LearnedMixturePolicy("learned_mixture", self.learned_mixture, statistics),
            CertaintyEquivalentPolicy(statistics, self.potential),
            FirePlacePolicy(statistics, self.potential, self.network),
        ]

    def to_bytes(self) -> bytes:
        """The file's content (safetensors)."""
        from safetensors.numpy import save

        return save(self._arrays(), {"format": FORMAT, "model": self._header()})

    def digest(self) -> str:
        """SHA-256 of all it holds; the file's would not do, as its metadata have no order."""
        digest = hashlib.sha256(self._header().encode())
        for name, array in self._arrays().items():
            digest.update(f"{name} {array.dtype} {array.shape}".encode())
            digest.update(array.tobytes())
        return digest.hexdigest()

    def _arrays(self) -> dict[str, np.ndarray]:
        return {name: np.ascontiguousarray(array) for name, array in self.network._asdict().items()}

    def _header(self) -> str:
        return json.dumps(
            {
                "tick": self.tick,
                "resources": self.resources,
                "telemetry_since": self.telemetry_since,
                "mixture": self.mixture,
                "learned_mixture": self.learned_mixture,
                "potential": asdict(self.potential),
                "card": self.card,
            }
        )


def load_model(path: Path) -> Model:
    """Read a model file.

    Raises:
        ValueError: it is missing, damaged, or no model of this kind.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="np") as file:
            metadata = file.metadata() or {}
            if metadata.get("format") != FORMAT:
                raise ValueError(f"{path} is not a model: its format is not {FORMAT!r}")
            network = Network(*(file.get_tensor(name) for name in Network._fields))
        header = json.loads(metadata["model"])
        weights: dict[str, Any] = {
            name: {feature: tuple(values) for feature, values in header[name].items()}
            for name in ("telemetry_since", "mixture", "learned_mixture")
        }
        potential = PotentialWeights(
            **{
                field.name: _hashable(header["potential"][field.name])
                for field in fields(PotentialWeights)
            }
        )
        return Model(
            tick=float(header["tick"]),
            resources=tuple(header["resources"]),
            potential=potential,
            network=network,
            card=header["card"],
            **weights,
        )
    except FileNotFoundError as error:
        raise ValueError(f"model {path} does not exist") from error
    except (SafetensorError, KeyError, TypeError, AttributeError, json.JSONDecodeError) as error:
        raise ValueError(f"model {path} is damaged: {error}") from error


def _hashable(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def shipped_model(family: str) -> Model:
    """The model that comes with the package for a family of workloads.

    Raises:
        ValueError: there is none for this family.
    """
    known = sorted(path.stem for path in SHIPPED.glob("*.safetensors"))
    if family not in known:
        raise ValueError(f"no model is shipped for {family!r}; there are: {', '.join(known)}")
    return load_model(SHIPPED / f"{family}.safetensors")
