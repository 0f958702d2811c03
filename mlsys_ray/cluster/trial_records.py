"""What the driver of a study does as its trials come in."""

from __future__ import annotations

import sys
from typing import Any

from ray import tune
from ray.tune.experiment import Trial

from mlsys_ray.cluster.storage import StorageError
from mlsys_ray.cluster.trials import FINISHED, LOST, MAX_FAILURES, Plan


class TrialRecords(tune.Callback):
    """Counts trials, and records those that the scheduler stopped.

    Args:
        plan: of the study.
        num_settled: trials that were recorded before.
        num_trials: these included.

    Attributes:
        num_settled: trials recorded by now.
        lost: why no trial can be recorded any more; None as long as they can.
        given_up: points of the trials that Tune gave up though they had tries left. It does so
            where a process dies, or does not answer, as it is handed its next trial.
    """

    def __init__(self, plan: Plan, num_settled: int, num_trials: int) -> None:
        self.num_settled = num_settled
        self.lost: str | None = None
        self.given_up: list[dict[str, Any]] = []
        self._plan = plan
        self._num_trials = num_trials

    def on_trial_result(
        self, iteration: int, trials: list[Trial], trial: Trial, result: dict[str, Any], **info: Any
    ) -> None:
        """A trial reports."""
        self.lost = self.lost or result.get(LOST)

    def on_trial_complete(
        self, iteration: int, trials: list[Trial], trial: Trial, **info: Any
    ) -> None:
        """A trial ended, or the scheduler stopped it."""
        last = trial.last_result or {}
        if self.lost:
            return
        how = "done"
        if FINISHED not in last:
            how = "stopped early"
            reported = {
                name: value for name, value in last.items() if isinstance(value, str | int | float)
            }
            try:
                self._plan.record_stop(trial.config, reported)
            except (OSError, StorageError) as error:
                self.lost = str(error)
                return
        self.num_settled += 1
        self._say(trial, how)

    def on_trial_error(
        self, iteration: int, trials: list[Trial], trial: Trial, **info: Any
    ) -> None:
        """A trial failed and is not tried again by Tune."""
        self._say(trial, "failed")

    def on_trial_recover(
        self, iteration: int, trials: list[Trial], trial: Trial, **info: Any
    ) -> None:
        """A trial failed and is tried again."""
        self._say(trial, f"failed (try {trial.num_failures} of {MAX_FAILURES + 1})")

    def on_experiment_end(self, trials: list[Trial], **info: Any) -> None:
        """Tune has come to the end of its trials."""
        self.given_up = [
            trial.config
            for trial in trials
            if trial.status == Trial.ERROR and trial.num_failures <= MAX_FAILURES
        ]

    def _say(self, trial: Trial, how: str) -> None:
        path, _ = self._plan.make(trial.config)
        print(
            f"trial {path.name} {how}; {self.num_settled} of {self._num_trials} trials recorded",
            file=sys.stderr,
            flush=True,
        )


class StopWhereLost(tune.Stopper):
    """Ends a study at once whose trials can no longer be recorded."""

    def __init__(self, records: TrialRecords) -> None:
        self._records = records

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        """Whether a trial ends; never for this reason alone."""
        return False

    def stop_all(self) -> bool:
        """Whether the study ends."""
        return self._records.lost is not None
