"""Elects one gradient per file: votes on digests, then fetches and verifies the winners."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from mlsys_ray.byzshield.assignment import Assignment
from mlsys_ray.byzshield.detection import NOBODY, Verdict
from mlsys_ray.byzshield.transport import Reply, Source, Task
from mlsys_ray.byzshield.voting import Ballot, digest, is_finite, is_gradient

EVENTS = (
    "late",
    "dead",
    "error",
    "malformed",
    "lost",
    "nonfinite",
    "mismatch",
    "outvoted",
    "undecided",
)


@dataclass(frozen=True, eq=False)
class Outcome:
    """What the vote of an iteration gave.

    Attributes:
        files: decided files, ascending.
        votes: float32 `[len(files), d]`, finite.
        holders: for each decided file the workers whose copy is the elected one.
        events: number of events by kind, a key of `EVENTS`.
        outvoted: copies that lost a vote, by the worker that sent them.
        proved: workers whose value had another form or hash than they had vouched for.
    """

    files: tuple[int, ...]
    votes: np.ndarray
    holders: tuple[tuple[int, ...], ...]
    events: Counter[str]
    outvoted: Counter[int]
    proved: frozenset[int]

    def is_proved_by(self, verdict: Verdict) -> bool:
        """Whether more workers agree on each vote than liars can be left."""
        enough = verdict.enough
        return enough is not None and all(len(holders) >= enough for holders in self.holders)


def elect(
    assignment: Assignment,
    replies: Mapping[int, Reply],
    task: Task,
    source: Source,
    deadline: float,
    verdict: Verdict = NOBODY,
) -> Outcome:
    """Hold the vote of every file, without the copies of those whom the verdict calls liars.

    A winner is fetched from one of its holders and verified; a holder whose value does not match
    its own digest is proved a liar and the next one is asked; a winner that is not finite is no
    gradient, and the vote is held again without it. Winners of all files are fetched together.
    """
    election = _Election(assignment, replies, task, verdict)
    while wanted := election.wanted():
        values = source.fetch(task.iteration, list(wanted), deadline)
        for (worker, file), winner in wanted.items():
            election.take(worker, file, winner, values.get((worker, file)))
    return election.outcome()


class _Election:
    """The ballots of all files and what has been verified so far."""

    def __init__(
        self,
        assignment: Assignment,
        replies: Mapping[int, Reply],
        task: Task,
        verdict: Verdict,
    ) -> None:
        self._task = task
        self._votes: dict[int, np.ndarray] = {}
        self._holders: dict[int, tuple[int, ...]] = {}
        self._events = Counter(reply.failure for reply in replies.values() if reply.failure)
        self._outvoted: Counter[int] = Counter()
        self._proved: set[int] = set()
        self._ballots = {}
        for file in range(assignment.num_files):
            voters = set(assignment.holders_of(file)) - verdict.liars
            copies = {
                worker: replies[worker].digests[file]
                for worker in voters
                if file in replies[worker].digests
            }
            self._ballots[file] = Ballot(copies, len(voters), verdict.enough)

    def wanted(self) -> dict[tuple[int, int], bytes]:
        """The (worker, file) pairs to fetch next, each with the digest it has to match."""
        pairs = {}
        for file, ballot in self._ballots.items():
            winner = ballot.winner()
            if winner is not None and file not in self._votes:
                pairs[ballot.holders(winner)[0], file] = winner
        return pairs

    def take(self, worker: int, file: int, winner: bytes, value: object) -> None:
        """Verify what `worker` sent as the winner of `file`; None if nothing came."""
        ballot = self._ballots[file]
        if value is None:
            self._events["lost"] += 1
            ballot.lose(worker)
            return
        if not is_gradient(value, self._task.parameters.shape):
            self._events["malformed"] += 1
            self._proved.add(worker)
            ballot.strike(worker)
        elif digest(self._task.iteration, file, value) != winner:
            self._events["mismatch"] += 1
            self._proved.add(worker)
            ballot.strike(worker)
        elif not is_finite(value):
            self._events["nonfinite"] += 1
            for holder in ballot.holders(winner):
                ballot.strike(holder)
        else:
            self._votes[file] = value
            self._holders[file] = tuple(ballot.holders(winner))
            self._outvoted.update(ballot.dissenters(winner))

    def outcome(self) -> Outcome:
        """What has been decided; files that have not are counted."""
        files = tuple(sorted(self._votes))
        self._events["outvoted"] = self._outvoted.total()
        self._events["undecided"] = len(self._ballots) - len(files)
        votes = [self._votes[file] for file in files]
        return Outcome(
            files,
            np.stack(votes) if votes else np.empty((0, *self._task.parameters.shape), np.float32),
            tuple(self._holders[file] for file in files),
            self._events,
            self._outvoted,
            frozenset(self._proved),
        )
