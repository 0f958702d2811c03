"""The configurations of FirePlace; nothing heavy is imported here."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args


@dataclass(frozen=True, kw_only=True, slots=True)
class WorkloadConfig:
    """What is placed on what.

    Raises:
        ValueError: naming the field, its value and what is accepted.
    """

    trace: str = "microvm"
    """Trace: microvm (sandboxes that live for minutes), microvm-short (one execution each),
    openb+planetlab (real arrivals, lives and use), or a file that `mlsys-ray fireplace trace`
    reads."""
    num_vms: int = 100_000
    """VMs of a test trace [VMs]."""
    num_pms: int = 50
    """Physical machines P [machines]."""
    alive_per_pm: float = 45.0
    """Mean number of VMs alive on a PM, which sets the rate of arrivals [VMs]."""
    without_functions: bool = False
    """Hide which function a VM runs: only its size is known."""
    telemetry_delay: int = 1
    """Age of the newest telemetry [ticks]."""
    overcommit: float = 1.0
    """The part of its capacity that a PM's requests may take in all [ratio]."""
    data_dir: Path | None = None
    """Folder with recorded traces; searched before MLSYS_RAY_DATA and the user cache."""

    def __post_init__(self) -> None:
        for name in ("num_vms", "num_pms", "telemetry_delay"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}; it must be at least 1")
        for name in ("alive_per_pm", "overcommit"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} is {getattr(self, name)}; it must be above 0")

    @property
    def alive(self) -> float:
        """Mean number of VMs alive in the cluster."""
        return self.alive_per_pm * self.num_pms


Labels = Literal["regret", "best", "myopic"]


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainingConfig:
    """How the weights of a workload are trained.

    Raises:
        ValueError: naming the field, its value and what is accepted.
    """

    evaluations: int = 300
    """Parameter vectors that CMA-ES tries for each tuned policy, the same for all."""
    tuning_vms: int = 40_000
    """VMs of each trace that is tuned, imitated and validated on [VMs]."""
    rounds: int = 8
    """Rounds of hindsight imitation."""
    decisions: int = 8192
    """Decisions labelled in each round."""
    labels: Labels = "regret"
    """What the network is taught: regret, what each choice costs over the VM's whole life; best,
    the choice of least regret alone; myopic, regret in the tick of the arrival alone."""
    seed: int = 0
    """Seed of the searches and of the network; traces have seeds of their own."""

    def __post_init__(self) -> None:
        for name in ("evaluations", "tuning_vms", "decisions"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}; it must be at least 1")
        if self.labels not in get_args(Labels):
            raise ValueError(f"labels is {self.labels!r}; accepted: {', '.join(get_args(Labels))}")
        if self.rounds < 0:
            raise ValueError(f"rounds is {self.rounds}; it must be at least 0")


@dataclass(frozen=True, kw_only=True, slots=True)
class EvaluationConfig:
    """Placement policies on held-out traces of one workload.

    Raises:
        ValueError: naming the field, its value and what is accepted.
    """

    workload: WorkloadConfig = field(default_factory=WorkloadConfig)
    policies: str = "all"
    """Policies: all, or names with commas between them."""
    model: str | None = None
    """Model with the weights of the tuned policies: a file that `mlsys-ray fireplace train` wrote,
    or the name of one that comes with the package; None: the one for the workload."""
    seed: int = 0
    """Seed of the first test trace."""
    num_seeds: int = 1
    """Test traces, of consecutive seeds."""
    hindsight: bool = False
    """Compute how good placements could have been with everything known, and without the spikes."""

    def __post_init__(self) -> None:
        if self.num_seeds < 1:
            raise ValueError(f"num_seeds is {self.num_seeds}; it must be at least 1")


def flat_config(config: Any) -> dict[str, Any]:
    """A configuration that holds a workload, as one level of fields."""
    fields = asdict(config)
    return {**fields.pop("workload"), **fields}
