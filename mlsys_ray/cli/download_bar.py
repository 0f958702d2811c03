"""A bar that shows how far a download is, on a terminal."""

from __future__ import annotations

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn


class DownloadBar:
    """See `mlsys_ray.download.ProgressBar`; nothing is shown where stderr is no terminal.

    Args:
        title: what stands before the bar.
    """

    def __init__(self, title: str) -> None:
        self._title = title
        self._console = Console(stderr=True)
        self._progress: Progress | None = None
        self.total = 0

    def update(self, count: int) -> None:
        """Show the bar from the first bytes on."""
        if self._progress is None:
            columns = (
                TextColumn("{task.description}"),
                BarColumn(bar_width=24),
                DownloadColumn(),
                TransferSpeedColumn(),
            )
            self._progress = Progress(
                *columns, console=self._console, disable=not self._console.is_terminal
            )
            self._progress.add_task(self._title, total=self.total or None)
            self._progress.start()
        self._progress.advance(self._progress.task_ids[0], count)

    def reset(self) -> None:
        """Begin anew."""
        if self._progress is not None:
            self._progress.reset(self._progress.task_ids[0])

    def close(self) -> None:
        """Leave the terminal as it was."""
        if self._progress is not None:
            self._progress.stop()
