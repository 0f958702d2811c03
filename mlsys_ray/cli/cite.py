"""The command `mlsys-ray cite`."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path

from tyro.conf import Positional

from mlsys_ray.cli.console import UsageError, print_json, usage_errors
from mlsys_ray.exit_codes import ExitCode


@dataclass(frozen=True, kw_only=True, slots=True)
class Cite:
    """Print the papers of the rules, attacks, codes, policies and methods that runs used."""

    runs: Positional[tuple[Path, ...]]
    """Run directories; those of a study's trials, inside, are read too."""
    json: bool = False
    """Print the papers as JSON in place of text and BibTeX."""

    def run(self) -> ExitCode:
        """Print references, then BibTeX entries."""
        if not self.runs:
            raise UsageError("cite: give one run directory or more")
        from mlsys_ray.citations import papers_of
        from mlsys_ray.cluster.run_reader import load_run

        with usage_errors():
            found = [load_run(path) for run in self.runs for path in _within(run)]
        papers = {
            paper.key: paper for run in found for paper in papers_of(run.experiment, run.config)
        }
        if self.json:
            print_json([asdict(paper) for paper in papers.values()])
            return ExitCode.DONE
        for number, paper in enumerate(papers.values(), start=1):
            print(f"[{number}] {paper.text()}")
        for paper in papers.values():
            print(f"\n{paper.bibtex()}")
        return ExitCode.DONE


def _within(run: Path) -> list[Path]:
    """The run directory, and those inside it."""
    inside = sorted(file.parent for file in run.rglob("config.json"))
    return list(dict.fromkeys([run, *inside]))
