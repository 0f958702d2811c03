"""The report: one HTML file about any number of runs, with nothing to load from elsewhere."""

from __future__ import annotations

import base64
import io
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import jinja2
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from mlsys_ray import __version__
from mlsys_ray.cluster.atomic import atomic_write
from mlsys_ray.cluster.run_directory import flatten
from mlsys_ray.cluster.run_reader import Run, load_run
from mlsys_ray.report import plots
from mlsys_ray.report.formatting import (
    TextTable,
    column_texts,
    duration_text,
    is_number,
    setting_text,
    text_table,
    value_text,
)

STEP_COLUMNS = ("iteration", "step", "epoch", "trial", "round")
"""Columns of `metrics.jsonl` that count; the first one present is the x axis of curves. Rows that
count nothing, such as one a policy, are no curves."""

TIME_PARTS = ("compute", "communication", "vote", "aggregation")
"""Parts of the time split, from the columns `seconds_<part>`."""

_HEADLINES = 5
_SUMMARY_TEXTS = {"status", "started", "ended", "error", "wall_seconds"}


@dataclass(frozen=True, kw_only=True)
class Report:
    """A written report.

    Attributes:
        path: the HTML file.
        runs: status by run directory.
        problems: by run directory, why it could not be read, or not whole.
    """

    path: Path
    runs: dict[str, str]
    problems: dict[str, str]


@dataclass(frozen=True, kw_only=True)
class Picture:
    """A picture as data URLs; a dark one, too, where it was drawn for the page."""

    title: str
    alt: str
    light: str
    dark: str | None = None
    note: str = ""


@dataclass(frozen=True, kw_only=True)
class _Entry:
    """A run with what could be read of it."""

    label: str
    slot: int
    run: Run
    metrics: pd.DataFrame
    tables: dict[str, pd.DataFrame]

    @property
    def step_column(self) -> str:
        """Empty where rows count nothing."""
        return next((column for column in STEP_COLUMNS if column in self.metrics), "")


def default_output(runs: Sequence[Path]) -> Path:
    """`report.html` in the run, or in the deepest folder that holds all runs."""
    return Path(os.path.commonpath([run.absolute() for run in runs])) / "report.html"


def write_report(runs: Sequence[Path], output: Path) -> Report:
    """Write the report on `runs` to `output`.

    Runs that are missing or damaged do not stop it: the page names them, and so does `problems`.

    Raises:
        OSError: `output` cannot be written.
    """
    problems: dict[str, str] = {}
    loaded = []
    for path in dict.fromkeys(path.absolute() for path in runs):
        try:
            loaded.append(load_run(path))
        except (OSError, ValueError) as error:
            problems[str(path)] = str(error)
    labels = _short_names([run.path for run in loaded])
    entries = [
        _entry(run, label, slot, problems)
        for slot, (run, label) in enumerate(zip(loaded, labels, strict=True))
    ]
    experiments = list(dict.fromkeys(entry.run.experiment for entry in entries))
    split = {entry.label: parts for entry in entries if (parts := _time_parts(entry.metrics))}
    page = page_template().render(
        title=", ".join(experiments) or "no runs",
        version=__version__,
        written=f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
        themes={"light": plots.LIGHT, "dark": plots.DARK},
        entries=entries,
        problems=problems,
        headlines=_headlines(entries),
        differences=_config_differences(entries),
        curves=_curve_pictures(entries),
        constants=_constants(entries),
        split=_split_picture(split) if split else None,
        pictures={entry.label: _own_pictures(entry) for entry in entries},
        tables={
            entry.label: {name: text_table(frame) for name, frame in entry.tables.items()}
            for entry in entries
        },
    )
    atomic_write(output, page)
    statuses = {str(run.path): run.status for run in loaded}
    return Report(path=output, runs=statuses, problems=problems)


def page_template(name: str = "report.html.jinja") -> jinja2.Template:
    """A page's template, with the filters that all have."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("mlsys_ray.report", "."),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    environment.filters |= {"value": value_text, "duration": duration_text, "flat": flatten}
    environment.globals["setting_text"] = setting_text
    environment.globals["summary_texts"] = _SUMMARY_TEXTS
    return environment.get_template(name)


def _entry(run: Run, label: str, slot: int, problems: dict[str, str]) -> _Entry:
    metrics, tables = pd.DataFrame(), {}
    try:
        metrics = run.metrics
        tables = run.tables
    except (OSError, ValueError) as error:
        problems[str(run.path)] = str(error)
    return _Entry(label=label, slot=slot, run=run, metrics=metrics, tables=tables)


def _short_names(paths: Sequence[Path]) -> list[str]:
    """The shortest ends of the paths that tell them apart."""
    length = 1
    while True:
        names = ["/".join(path.parts[-length:]) for path in paths]
        if len(set(names)) == len(names):
            return names
        length += 1


def _headlines(entries: Sequence[_Entry]) -> TextTable:
    """The numbers of the summaries, those that most runs have first."""
    summaries = [
        {
            name: value
            for name, value in entry.run.summary.items()
            if is_number(value) and name != "wall_seconds"
        }
        for entry in entries
    ]
    names = list(dict.fromkeys(name for summary in summaries for name in summary))
    names.sort(key=lambda name: -sum(name in summary for summary in summaries))
    names = names[:_HEADLINES]
    frame = pd.DataFrame(
        [[summary.get(name) for name in names] for summary in summaries],
        columns=pd.Index(names, dtype=object),
        dtype=object,
    )
    return text_table(frame, max_rows=len(entries))


def _config_differences(entries: Sequence[_Entry]) -> dict[str, list[str]]:
    """Config fields that set runs of one experiment apart, with their value in each run."""
    configs = [flatten(entry.run.config) for entry in entries]
    names = dict.fromkeys(name for config in configs for name in config)
    values = {name: [setting_text(name, config.get(name)) for config in configs] for name in names}
    experiments = [entry.run.experiment for entry in entries]
    return {
        name: texts
        for name, texts in values.items()
        if len(set(zip(experiments, texts, strict=True))) > len(set(experiments))
    }


def _curve_pictures(entries: Sequence[_Entry]) -> list[Picture]:
    """A picture for each metric that two runs have; for any metric if there is one run."""
    needed = min(2, len(entries))
    return [
        _curve_picture(name, having)
        for name, having in sorted(
            _by_metric(entries).items(), key=lambda item: _curve_rank(item[0])
        )
        if len(having) >= needed and not _is_constant(name, having)
    ]


def _constants(entries: Sequence[_Entry]) -> dict[str, list[str]]:
    """Metrics that never change in any run, with their value in each; not those that are all 0."""
    values = {
        name: [float(entry.metrics[name].iloc[0]) if entry in having else None for entry in entries]
        for name, having in sorted(_by_metric(entries).items())
        if _is_constant(name, having)
    }
    return {name: column_texts(column) for name, column in values.items() if any(column)}


def _by_metric(entries: Sequence[_Entry]) -> dict[str, list[_Entry]]:
    by_metric: dict[str, list[_Entry]] = {}
    for entry in entries:
        for name in _metric_names(entry):
            by_metric.setdefault(name, []).append(entry)
    return by_metric


def _is_constant(name: str, entries: Sequence[_Entry]) -> bool:
    return all(entry.metrics[name].nunique() == 1 for entry in entries)


def _curve_rank(name: str) -> tuple[int, str]:
    """Accuracy and loss before the rest."""
    words = ("accuracy", "loss")
    return next((rank for rank, word in enumerate(words) if word in name), len(words)), name


def _metric_names(entry: _Entry) -> list[str]:
    """Numeric columns with two points or more that are neither steps nor parts of the time."""
    if not entry.step_column:
        return []
    parts = {f"seconds_{part}" for part in TIME_PARTS}
    numbers = entry.metrics.select_dtypes("number")
    return [
        name
        for name in map(str, numbers.columns)
        if name not in parts.union(STEP_COLUMNS)
        and np.isfinite(numbers[name].to_numpy(float)).sum() >= 2
    ]


def _curve_picture(name: str, entries: Sequence[_Entry]) -> Picture:
    steps = entries[0].step_column
    lines = [
        plots.Curve(
            label=entry.label,
            slot=entry.slot,
            x=entry.metrics[entry.step_column].to_numpy(float),
            y=entry.metrics[name].to_numpy(float),
        )
        for entry in entries
    ]
    notes = []
    windows = {plots.smoothing_window(int(np.isfinite(line.y).sum())) for line in lines}
    if windows := windows - {1}:
        widths = " or ".join(str(window) for window in sorted(windows))
        notes.append(f"Faint: each value. Bold: moving mean of {widths}.")
    if infinite := sum(int(np.isinf(line.y).sum()) for line in lines):
        notes.append(f"{infinite} infinite values are not drawn.")
    title = _words(name)
    return picture(
        lambda theme: plots.curves(lines, x_label=steps, y_label=title, theme=theme),
        title=f"{title} by {steps}",
        alt=f"Line chart of {title} by {steps} for {', '.join(line.label for line in lines)}",
        note=" ".join(notes),
    )


def _time_parts(metrics: pd.DataFrame) -> dict[str, float]:
    """Mean seconds an iteration by part."""
    return {
        part: float(metrics[f"seconds_{part}"].mean())
        for part in TIME_PARTS
        if f"seconds_{part}" in metrics
    }


def _split_picture(split: dict[str, dict[str, float]]) -> Picture:
    texts = [
        f"{label}: " + ", ".join(f"{part} {seconds:.3g} s" for part, seconds in parts.items())
        for label, parts in split.items()
    ]
    return picture(
        lambda theme: plots.time_split(split, theme),
        title="Time per iteration",
        alt="Stacked bars of the mean time per iteration. " + "; ".join(texts),
    )


def _own_pictures(entry: _Entry) -> list[Picture]:
    return [
        Picture(
            title=_words(plot.stem),
            alt=f"{_words(plot.stem)}, plot of the run {entry.label}",
            light=inline(plot.read_bytes()),
        )
        for plot in entry.run.plots
    ]


def _words(name: str) -> str:
    return name.replace("_", " ").strip()


def picture(
    draw: Callable[[plots.Theme], Figure], *, title: str, alt: str, note: str = ""
) -> Picture:
    """Draw a picture in the colours of both themes."""
    light, dark = (inline(_png(draw(theme))) for theme in (plots.LIGHT, plots.DARK))
    return Picture(title=title, alt=alt, light=light, dark=dark, note=note)


def _png(figure: Figure) -> bytes:
    picture = io.BytesIO()
    figure.savefig(picture, format="png", dpi=170)
    return picture.getvalue()


def inline(png: bytes) -> str:
    """A picture as a data URL."""
    return "data:image/png;base64," + base64.b64encode(png).decode()
