"""The commands `mlsys-ray report` and `mlsys-ray compare`; light to import."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

from tyro.conf import Positional

DONE, FAILED, USAGE = 0, 1, 2


@dataclass(frozen=True, kw_only=True, slots=True)
class ReportConfig:
    """One self-contained HTML page about one or several runs.

    Attributes:
        runs: run directories.
        output: the page; by default `report.html` in the run, or in the folder that all runs share.
        json: print what was written as JSON on stdout.
    """

    runs: Positional[tuple[Path, ...]]
    output: Path | None = None
    json: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class CompareConfig:
    """Medians over seeds, spread, ratios to the first group, and what is inside the noise.

    Attributes:
        runs: run directories; those that differ in their seed only are taken together.
        json: print the comparison as JSON on stdout instead of a table on stderr.
    """

    runs: Positional[tuple[Path, ...]]
    json: bool = False


def report_command(config: ReportConfig) -> int:
    """Write the page; 1 if a run could not be read whole (the page says so) or the page written."""
    if not config.runs:
        return _usage("report: give one run directory or more")
    from mlsys_ray.cluster import plain_json
    from mlsys_ray.report.html import default_output, write_report

    output = config.output or default_output(config.runs)
    try:
        report = write_report(config.runs, output)
    except OSError as error:
        print(f"report: {output} cannot be written: {error.strerror}", file=sys.stderr)
        return FAILED
    for run, problem in report.problems.items():
        print(f"report: {run}: {problem}", file=sys.stderr)
    print(f"report: {report.path}", file=sys.stderr)
    if config.json:
        print(plain_json.dumps(report, indent=1))
    return FAILED if report.problems else DONE


def compare_command(config: CompareConfig) -> int:
    """Print the comparison; 1 if a run was left out."""
    if not config.runs:
        return _usage("compare: give one run directory or more")
    from rich.console import Console

    from mlsys_ray.cluster import plain_json
    from mlsys_ray.report.compare import compare
    from mlsys_ray.report.compare_table import comparison_table

    comparison = compare(config.runs)
    if config.json:
        print(plain_json.dumps(comparison.to_json(), indent=1))
    else:
        Console(stderr=True).print(comparison_table(comparison))
    return FAILED if comparison.left_out else DONE


def _usage(message: str) -> int:
    print(message, file=sys.stderr)
    return USAGE
