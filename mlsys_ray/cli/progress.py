"""Progress of a training run, on stderr."""

from __future__ import annotations

from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from mlsys_ray.byzshield.election import EVENTS
from mlsys_ray.byzshield.server import Row
from mlsys_ray.cluster.training import PARTS


class TrainingProgress:
    """A live bar on a terminal, and a line for every evaluation.

    Args:
        iterations: length of the run.
        title: what stands before the bar and each line.
    """

    def __init__(self, iterations: int, title: str) -> None:
        self._console = Console(stderr=True, highlight=False)
        self._title = title
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[state]}"),
            console=self._console,
            transient=True,
            disable=not self._console.is_terminal,
        )
        self._task = self._progress.add_task(title, total=iterations, state="starting")
        self._seconds = dict.fromkeys(PARTS, 0.0)
        self._events = 0
        self._rows = 0

    def __enter__(self) -> TrainingProgress:
        self._progress.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._progress.stop()

    def say(self, text: str) -> None:
        """See `Listener.say`."""
        self._console.print(text, soft_wrap=True, markup=False)

    def row(self, row: Row) -> None:
        """See `Listener.row`."""
        self._rows += 1
        for part in PARTS:
            self._seconds[part] += row[f"seconds_{part}"]
        self._events += sum(row[f"event_{kind}"] for kind in EVENTS if kind != "outvoted")
        state = self._state(row)
        self._progress.update(self._task, completed=row["iteration"], state=state)
        if row["test_accuracy"] is not None:
            self.say(f"{self._title}  iteration {row['iteration']:>4}  {state}")

    def _state(self, row: Row) -> str:
        parts = "  ".join(
            f"{part} {1e3 * seconds / self._rows:.0f}" for part, seconds in self._seconds.items()
        )
        accuracy = row["test_accuracy"]
        known = "" if accuracy is None else f"accuracy {accuracy:.3f}  "
        outvoted = f"outvoted {row['event_outvoted']}  other events {self._events}"
        return f"{known}distortion {row['distortion']:.2f}  {outvoted}  ms: {parts}"
