"""The commands `mlsys-ray report` and `mlsys-ray compare`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from tyro.conf import Positional

from mlsys_ray.cli.console import UsageError, print_json, say, usage_errors
from mlsys_ray.exit_codes import ExitCode


@dataclass(frozen=True, kw_only=True, slots=True)
class Report:
    """Write one self-contained HTML page about one or several runs.

    With --check nothing is written: tables of the documentation are compared with the records of
    the runs that they come from (docs/results), and these with the run directories given. With
    --record such records are made.
    """

    runs: Positional[tuple[Path, ...]]
    """Run directories."""
    check: bool = False
    """Fail where the documentation, its records and the runs disagree."""
    docs: Path = Path("docs")
    """Folder of the documentation, for --check; a README beside it is checked too."""
    record: Path | None = None
    """Folder to write records of the runs' tables to; the tables are printed as Markdown."""
    tables: tuple[str, ...] = ()
    """Names of the tables to record; all by default."""
    output: Path | None = None
    """The page; by default report.html in the run, or in the folder that all runs share."""
    json: bool = False
    """Print what was written as JSON on stdout."""

    def run(self) -> ExitCode:
        """Write the page; failed if a run could not be read whole (the page says so)."""
        if self.check:
            return self._check()
        if not self.runs:
            raise UsageError("report: give one run directory or more")
        if self.record is not None:
            return self._record(self.record)
        from mlsys_ray.report.html import default_output, write_report

        output = self.output or default_output(self.runs)
        try:
            report = write_report(self.runs, output)
        except OSError as error:
            say(f"report: {output} cannot be written: {error.strerror}")
            return ExitCode.FAILED
        for run, problem in report.problems.items():
            say(f"report: {run}: {problem}")
        say(f"report: {report.path}")
        if self.json:
            print_json(report)
        return ExitCode.FAILED if report.problems else ExitCode.DONE

    def _check(self) -> ExitCode:
        from mlsys_ray.cluster.run_reader import load_run
        from mlsys_ray.report.doc_results import FOLDER, check

        readme = self.docs.parent / "README.md"
        pages = [*sorted(self.docs.glob("*.md")), *([readme] if readme.exists() else [])]
        if not pages:
            raise UsageError(f"report: there are no pages (*.md) in {self.docs}")
        with usage_errors():
            runs = [load_run(run) for run in self.runs]
            problems = check(pages, self.docs / FOLDER, runs)
        for problem in problems:
            say(f"report: {problem}")
        say(f"report: {len(pages)} pages, {len(problems)} disagreements")
        if self.json:
            print_json({"problems": problems})
        return ExitCode.FAILED if problems else ExitCode.DONE

    def _record(self, folder: Path) -> ExitCode:
        from mlsys_ray.cluster.run_reader import load_run
        from mlsys_ray.report.doc_results import write_record

        with usage_errors():
            for run in map(load_run, self.runs):
                for table in self.tables or run.tables:
                    print(write_record(run, table, folder))
        return ExitCode.DONE


@dataclass(frozen=True, kw_only=True, slots=True)
class Compare:
    """Compare runs: medians over seeds, spread, ratios, and what is inside the noise."""

    runs: Positional[tuple[Path, ...]]
    """Run directories; those that differ in their seed only are taken together, and ratios are to
    the first group."""
    json: bool = False
    """Print the comparison as JSON on stdout, too."""

    def run(self) -> ExitCode:
        """Print the comparison; failed if a run was left out."""
        if not self.runs:
            raise UsageError("compare: give one run directory or more")
        from rich.console import Console

        from mlsys_ray.report.compare import compare
        from mlsys_ray.report.compare_table import comparison_table

        comparison = compare(self.runs)
        Console(stderr=True).print(comparison_table(comparison))
        if self.json:
            print_json(comparison.to_json())
        return ExitCode.FAILED if comparison.left_out else ExitCode.DONE
