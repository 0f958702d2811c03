"""The command `mlsys-ray reproduce`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from mlsys_ray.cli.console import print_json, print_table, say, usage_errors
from mlsys_ray.exit_codes import ExitCode

if TYPE_CHECKING:
    from mlsys_ray.cluster.run_directory import RunDirectory
    from mlsys_ray.reproduction import Plan, System
    from mlsys_ray.reproduction.running import Filled, Outcome

Scale = Literal["laptop", "cluster"]
SystemName = Literal["ios", "value-learning", "byzshield", "fireplace"]


@dataclass(frozen=True, kw_only=True, slots=True)
class ReproduceAll:
    """The four papers' tables and figures: paper and here, in one report.

    Each part is a command in a process and a run directory of its own. A part that fails is shown
    as failed, and the others go on. Given the same run directory again, only what is missing is
    run.
    """

    scale: Scale = "laptop"
    """laptop: under 30 minutes on 2 cores; cluster: sizes of the papers, days on few cores."""
    only: tuple[SystemName, ...] = ("ios", "value-learning", "byzshield", "fireplace")
    """Systems."""
    run_dir: Path | None = None
    """Folder of the reproduction; by default a new one under runs/. On several nodes it must be on
    a disk that all of them share."""
    report_only: bool = False
    """Run nothing, and write the report on what is there."""
    address: str | None = None
    """Ray cluster for what runs on one, host:port or auto; by default RAY_ADDRESS, else local ones.
    Latencies are measured on this machine."""
    json: bool = False
    """Print the blocks as JSON on stdout, too."""

    def run(self) -> ExitCode:
        """Run what is missing, and write the report after each part."""
        from mlsys_ray.cluster.run_directory import RunDirectory, default_run_path
        from mlsys_ray.cluster.run_reader import load_run
        from mlsys_ray.reproduction import plan

        with usage_errors():
            if not self.only:
                raise ValueError("only is empty, must be one system or more")
            chosen = plan(self.scale, self.only)
            folder = (self.run_dir or default_run_path(f"reproduce-{self.scale}")).absolute()
        say(f"reproduction: {folder}, {len(chosen.steps)} parts")
        with ExitStack() as stack:
            with usage_errors():
                run = stack.enter_context(
                    RunDirectory.create(
                        folder, {"scale": self.scale}, experiment="reproduce", resume=True
                    )
                )
            environment = load_run(folder).environment
            outcomes: dict[str, Outcome] = {}
            blocks: list[Filled] = []
            for number, step in enumerate(chosen.steps, start=1):
                title = f"[{number}/{len(chosen.steps)}] {step.name}"
                try:
                    outcome = self._step(chosen, number, title, folder)
                except KeyboardInterrupt:
                    say(f"to go on where it was: {self._command()} --run-dir {folder}")
                    raise
                outcomes[step.name] = outcome
                self._record(run, step.name, outcome)
                if not self.report_only or number == len(chosen.steps):
                    blocks = self._write(chosen, outcomes, folder, environment)
            for filled in blocks:
                if filled.rows:
                    run.save_table(filled.block.name, _records(filled))
            failed = sum(outcome.run is None for outcome in outcomes.values())
            counts = {
                status.replace(" ", "_"): sum(filled.status == status for filled in blocks)
                for status in ("replicated", "in shape", "not replicated", "not attempted")
            }
            broken = sum(filled.status == "failed" for filled in blocks)
            run.finish({"parts": len(outcomes), "failed": failed, **counts, "broken": broken})
        print_table([_shown(filled) for filled in blocks], title=f"{self.scale} scale")
        say(f"report: {folder / 'report.html'}")
        if self.json:
            print_json({"run_dir": folder, "blocks": [_plain(filled) for filled in blocks]})
        return ExitCode.SOME_TRIALS_FAILED if failed or broken else ExitCode.DONE

    def _step(self, chosen: Plan, number: int, title: str, folder: Path) -> Outcome:
        from mlsys_ray.report.formatting import duration_text
        from mlsys_ray.reproduction.running import found_before, run_step

        if self.report_only:
            return found_before(chosen.steps[number - 1], folder)
        with _progress(title, number - 1, len(chosen.steps)) as listener:
            outcome = run_step(chosen.steps[number - 1], folder, self.address, listener)
        took = f", {duration_text(outcome.cost.seconds)}" if outcome.cost else ""
        say(f"{title}: {'done' if outcome.run else f'failed: {outcome.problem}'}{took}")
        return outcome

    def _record(self, run: RunDirectory, name: str, outcome: Outcome) -> None:
        run.log(
            {
                "part": name,
                "done": outcome.run is not None,
                "problem": outcome.problem,
                **(asdict(outcome.cost) if outcome.cost else {}),
            }
        )

    def _write(
        self,
        chosen: Plan,
        outcomes: dict[str, Outcome],
        folder: Path,
        environment: dict[str, Any],
    ) -> list[Filled]:
        from mlsys_ray.report.reproduction import write_reproduction
        from mlsys_ray.reproduction.running import Outcome, fill, typed

        waiting = Outcome(run=None, problem="not run yet")
        known = {step.name: outcomes.get(step.name, waiting) for step in chosen.steps}
        commands = {step.name: typed(step, folder) for step in chosen.steps}
        blocks = [
            fill(block, known, [line for name in block.steps for line in commands[name]])
            for block in chosen.blocks
        ]
        write_reproduction(
            blocks,
            known,
            folder / "report.html",
            scale=self.scale,
            environment=environment,
            command=self._command(),
        )
        return blocks

    def _command(self) -> str:
        systems: Sequence[System] = self.only
        return f"mlsys-ray reproduce --scale {self.scale} --only {' '.join(systems)}"


@contextmanager
def _progress(title: str, done: int, total: int) -> Iterator[Any]:
    """On a terminal a live line: which part, how long, and the newest line of its output."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    console = Console(stderr=True, highlight=False)
    progress = Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=24),
        TimeElapsedColumn(),
        TextColumn("{task.fields[state]}", markup=False),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    )
    if not console.is_terminal:
        say(f"{title} ...")
    task = progress.add_task(title, total=total, completed=done, state="")

    class Line:
        def line(self, text: str) -> None:
            progress.update(task, state=text[:80])

    with progress:
        yield Line()


def _records(filled: Filled) -> list[dict[str, Any]]:
    return [
        {
            "": row.group,
            "what": row.series,
            "paper": row.paper,
            "here": row.here,
            "ratio": row.ratio,
            "status": row.status,
            "note": row.note,
        }
        for row in filled.rows
    ]


def _shown(filled: Filled) -> dict[str, Any]:
    return {
        "system": filled.block.system,
        "table or figure": filled.block.title,
        "status": filled.status,
    }


def _plain(filled: Filled) -> dict[str, Any]:
    return {
        "name": filled.block.name,
        "title": filled.block.title,
        "status": filled.status,
        "problem": filled.problem,
        "rows": [{**asdict(row), "ratio": row.ratio} for row in filled.rows],
    }
