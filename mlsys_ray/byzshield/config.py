"""The configuration of a training run."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Literal, get_args

import numpy as np

if TYPE_CHECKING:
    from mlsys_ray.byzshield.aggregation import AggregationRule
    from mlsys_ray.byzshield.assignment import Assignment
    from mlsys_ray.byzshield.attacks import Attack
    from mlsys_ray.byzshield.distortion import WorstCase


ByzantineChoice = Literal["worst", "random", "rotating"]
AttackedFiles = Literal["held", "majority", "framing"]
Detection = Literal["none", "clique", "degree"]


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainConfig:
    """One training run; every flag has its unit in brackets.

    Raises:
        ValueError: naming the field, its value and what is accepted.
    """

    scheme: str = "mols"
    """Assignment code: affine, aspis, aspis_plus, baseline, frc (DETOX), mols, ramanujan1 or
    ramanujan2. Without load, replication and num_workers it is that of the paper's cluster of 15
    workers (ramanujan2: 25)."""
    load: int | None = None
    """Files per worker, l [files]; for affine, mols and both ramanujan."""
    replication: int | None = None
    """Workers per file, r [workers]; for every scheme but aspis_plus and baseline."""
    num_workers: int | None = None
    """Workers, K [workers]; for aspis, aspis_plus, baseline and frc, the others imply it."""
    byzantine: int = 0
    """Byzantine workers, q [workers]."""
    byzantine_choice: ByzantineChoice = "worst"
    """Which workers are Byzantine: a worst-case set for the code, a random one (by the seed), or
    another random one each iteration."""
    byzantine_workers: tuple[int, ...] | None = None
    """The Byzantine set itself [worker indices], instead of a choice of `byzantine` workers."""
    attack: str | None = None
    """What Byzantine workers send: alie, optimal_alie, constant, reversed_gradient, sign_flipping,
    ipm, optimal_ipm, foe, mimic, gaussian, inf, nan or label_flipping; None: the true gradient."""
    attack_strength: float | None = None
    """The attack's parameter: alie z [standard deviations], constant value and gaussian deviation
    [gradient units], reversed_gradient, ipm and foe scale [ratio], mimic file [index]; None: its
    default (alie: z_max of K and q)."""
    attacked_files: AttackedFiles = "held"
    """The files that Byzantine workers lie on: all they hold (ATT-1 of Aspis), those on which they
    have the majority (ATT-3), or those by which they frame q honest workers (ATT-2)."""
    detection: Detection = "none"
    """How liars are told and left out, knowing q: none; clique, for liars that may change each
    iteration (aspis); degree, over windows of 15 iterations (aspis_plus)."""
    vote_tolerance: float = 0.0
    """Copies of a file count as equal where they differ by at most so much of their largest value
    [ratio]: for workers whose arithmetic differs. Costs up to r times the bytes, and lets liars
    move a vote by as much. 0: copies are equal in every bit, told by digests."""
    rule: str = "median"
    """Robust aggregation of the votes: average, median, median_of_means, trimmed_mean, meamed,
    krum, multi_krum, bulyan, geometric_median, centered_clipping, mda, monna, caf, smea, signsgd
    or auror, optionally after nnm, bucketing, clipping or arc, as in nnm+median."""
    allow_beyond_tolerance: bool = False
    """Run a rule that does not stand the files that q workers distort, to see it break."""
    faults: tuple[str, ...] = ()
    """Faults to inject, each `worker:kind`; kinds: nan, shape, dtype, error, slow."""
    data: str = "digits"
    """Data set: digits (bundled with scikit-learn) or cifar10."""
    model: str = "cnn"
    """Model: cnn, resnet18 (for images of 32 x 32), or `package.module:function`, which is called
    with (input shape, number of classes)."""
    batch_size: int = 300
    """Samples of an iteration over all files, b [samples]; a multiple of the number of files."""
    dirichlet_alpha: float | None = None
    """Label skew of the files: concentration of a Dirichlet distribution [ratio], small is more
    skewed; None: no skew (IID)."""
    iterations: int = 150
    """Length of the run [iterations]."""
    learning_rate: float = 0.05
    """Initial step size, x of the paper's (x, y, z) schedule."""
    decay: float = 0.96
    """Factor on the step size, y of the schedule [ratio]."""
    decay_interval: int = 15
    """A decay happens every so often, z of the schedule [iterations]."""
    momentum: float = 0.9
    """Momentum of SGD [ratio]."""
    eval_interval: int = 10
    """Test accuracy is measured every so often and at the end [iterations]."""
    deadline: float = 30.0
    """A worker that has not answered by then is late in this iteration [seconds]."""
    seed: int = 0
    """Seed of the initial model and of the order of the samples."""

    def __post_init__(self) -> None:
        for name in ("batch_size", "iterations", "decay_interval", "eval_interval"):
            _require(getattr(self, name) >= 1, name, getattr(self, name), "at least 1")
        _require(self.learning_rate > 0, "learning_rate", self.learning_rate, "positive")
        _require(0 < self.decay <= 1, "decay", self.decay, "in (0, 1]")
        _require(0 <= self.momentum < 1, "momentum", self.momentum, "in [0, 1)")
        _require(
            self.dirichlet_alpha is None or self.dirichlet_alpha > 0,
            "dirichlet_alpha",
            self.dirichlet_alpha,
            "positive",
        )
        _require(self.deadline > 0, "deadline", self.deadline, "positive")
        _require(
            0 <= self.vote_tolerance < 1,
            "vote_tolerance",
            self.vote_tolerance,
            "at least 0 and below 1",
        )
        _require(self.seed >= 0, "seed", self.seed, "at least 0")
        self._check_parts()

    def _check_parts(self) -> None:
        from mlsys_ray.byzshield.data import DATASETS
        from mlsys_ray.byzshield.faults import parse_faults
        from mlsys_ray.byzshield.models import check_model

        assignment = self.make_assignment()
        files, workers = assignment.num_files, assignment.num_workers
        _require(
            self.batch_size % files == 0,
            "batch_size",
            self.batch_size,
            f"a multiple of the {files} files of {self.scheme}",
        )
        _require(
            0 <= self.byzantine < workers / 2,
            "byzantine",
            self.byzantine,
            f"at least 0 and below half of the {workers} workers",
        )
        _require(
            self.detection in get_args(Detection),
            "detection",
            self.detection,
            f"one of {', '.join(get_args(Detection))}",
        )
        _require(
            self.attacked_files in get_args(AttackedFiles),
            "attacked_files",
            self.attacked_files,
            f"one of {', '.join(get_args(AttackedFiles))}",
        )
        _require(
            self.byzantine_choice in get_args(ByzantineChoice),
            "byzantine_choice",
            self.byzantine_choice,
            f"one of {', '.join(get_args(ByzantineChoice))}",
        )
        if self.byzantine_workers is not None:
            given = self.byzantine_workers
            valid = len(set(given)) == len(given) and set(given) <= set(range(workers))
            _require(valid, "byzantine_workers", given, f"different indices below {workers}")
            _require(
                self.byzantine in (0, len(given)),
                "byzantine",
                self.byzantine,
                f"left out or {len(given)}, the size of byzantine_workers",
            )
        _require(self.data in DATASETS, "data", self.data, f"one of {', '.join(DATASETS)}")
        check_model(self.model)
        parse_faults(self.faults, workers)
        self.make_rule()
        self.make_attack()

    def make_assignment(self) -> Assignment:
        """The assignment graph of this run."""
        return _code(self.scheme, self.num_workers, self.load, self.replication)

    def assignment_at(self, iteration: int) -> Assignment:
        """The assignment of an iteration: aspis_plus gives workers new places each time."""
        assignment = self.make_assignment()
        if self.scheme != "aspis_plus":
            return assignment
        generator = np.random.default_rng([self.seed, 4, iteration])
        return assignment.permuted(generator.permutation(assignment.num_workers))

    def make_rule(self) -> AggregationRule:
        """The robust aggregation rule of this run, reckoning with the worst case of q."""
        from mlsys_ray.byzshield.aggregation import make_rule

        return make_rule(
            self.rule,
            num_gradients=self.make_assignment().num_files,
            num_byzantine=self._c_max(),
            allow_beyond_tolerance=self.allow_beyond_tolerance,
        )

    def make_attack(self) -> Attack | None:
        """The attack of this run; None where Byzantine workers send the true gradient."""
        from mlsys_ray.byzshield.attacks import make_attack

        return None if self.attack is None else make_attack(self.attack, self.attack_strength)

    def byzantine_at(self, iteration: int) -> tuple[int, ...]:
        """The sorted Byzantine workers of an iteration: those given, or those chosen."""
        if self.byzantine_workers is not None:
            return tuple(sorted(self.byzantine_workers))
        if self.byzantine_choice == "worst":
            return self._worst_case().byzantine
        draw = iteration if self.byzantine_choice == "rotating" else 0
        generator = np.random.default_rng([self.seed, 3, draw])
        chosen = generator.choice(self.make_assignment().num_workers, self.byzantine, replace=False)
        return tuple(sorted(chosen.tolist()))

    @property
    def num_byzantine(self) -> int:
        """q, however it was given."""
        return self.byzantine if self.byzantine_workers is None else len(self.byzantine_workers)

    def _c_max(self) -> int:
        """The most files that q workers distort, under this detection."""
        from mlsys_ray.byzshield.detection import undetected_c_max

        if self.scheme == "aspis" and self.detection == "clique":
            return undetected_c_max(self.num_byzantine, self.make_assignment().replication)
        return self._worst_case().c_max

    def _worst_case(self) -> WorstCase:
        return _worst_case(self.make_assignment(), self.num_byzantine)


@cache
def _code(
    scheme: str, num_workers: int | None, load: int | None, replication: int | None
) -> Assignment:
    from mlsys_ray.byzshield.assignment import make_assignment

    return make_assignment(scheme, num_workers=num_workers, load=load, replication=replication)


@cache
def _worst_case(assignment: Assignment, num_byzantine: int) -> WorstCase:
    from mlsys_ray.byzshield.distortion import worst_case

    return worst_case(assignment, num_byzantine)


def _require(condition: bool, name: str, value: object, accepted: str) -> None:
    if not condition:
        raise ValueError(f"{name} is {value}, must be {accepted}")
