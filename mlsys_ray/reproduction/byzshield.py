"""ByzShield: the tables and figures of the paper, and what is run for them.

What Tables 3 to 6 and Figures 2 to 11 print stands in `mlsys_ray.byzshield.paper`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from mlsys_ray.byzshield.paper.accuracy import FIGURES
from mlsys_ray.byzshield.paper.distortion import PAPER_TABLES
from mlsys_ray.reproduction.base import Block, Plan, Row, Runs, Scale, Status, Step, judged

TABLES, CURVES = "byzshield-tables", "byzshield-figures"
SUBJECTS = {
    2: "median rules under ALIE, K = 25",
    3: "Bulyan under ALIE, K = 25",
    4: "Multi-Krum under ALIE, K = 25",
    5: "signSGD under the constant attack, K = 25",
    6: "median rules under the reversed gradient, K = 25",
    7: "Bulyan under the reversed gradient, K = 25",
    8: "Multi-Krum under the reversed gradient, K = 25",
    9: "median rules under ALIE, K = 15",
    10: "Bulyan under ALIE, K = 15",
    11: "Multi-Krum under ALIE, K = 15",
}
TIMES: Mapping[str, Mapping[str, float]] = {
    "Median": {"compute": 1.33, "communication": 1.62, "aggregation": 5.64},
    "ByzShield": {"compute": 6.54, "communication": 7.25, "aggregation": 9.18},
    "DETOX-MoM": {"compute": 7.21, "communication": 0.98, "aggregation": 1.29},
}
"""Figure 12: parts of an iteration under ALIE, q = 3, K = 25, on 26 machines of EC2 [s]."""
SCHEMES = {
    "Median": ("--scheme", "baseline", "--rule", "median"),
    "ByzShield": ("--scheme", "ramanujan2", "--replication", "5", "--rule", "median"),
    "DETOX-MoM": ("--scheme", "frc", "--replication", "5", "--rule", "median_of_means"),
}
ERRATA = {(6, 2): "printed error: the paper's formula gives 2.24"}
"""Of gamma, by table and q."""
TIE = 3.0
"""Difference of two accuracies below which the paper's order is not asked for [points]."""
TIE_HERE = 10.0
"""The same, here [points]."""
CLOSE = 5.0
"""Leads that differ by so little are the same [points]."""


def plan(scale: Scale) -> Plan:
    """What is run: digits and a small network on a laptop, ResNet-18 on CIFAR-10 elsewhere."""
    figures = tuple(dict.fromkeys(series.figure for series in FIGURES))
    reproduce = ("byzshield", "reproduce")
    size = ("--scale", "paper" if scale == "cluster" else "small")
    steps = [
        Step(name=TABLES, arguments=(*reproduce, "--figures"), resumes=True, on_cluster=True),
        Step(
            name=CURVES,
            arguments=(*reproduce, *size, "--max-byzantine", "3"),
            resumes=True,
            on_cluster=True,
        ),
    ]
    steps += [_train(method, scale) for method in SCHEMES]
    return Plan(
        steps=tuple(steps),
        blocks=(
            *(_table(table.number) for table in PAPER_TABLES),
            *(_figure(number, scale) for number in figures),
            _figure_12(),
        ),
    )


def _train(method: str, scale: Scale) -> Step:
    model = ("--data", "cifar10", "--model", "resnet18") if scale == "cluster" else ()
    return Step(
        name=f"byzshield-time-{method.lower()}",
        arguments=(
            *("byzshield", "train", "--num-workers", "25", *SCHEMES[method], *model),
            *("--byzantine", "3", "--attack", "alie", "--attack-strength", "1.0"),
            *("--batch-size", "750", "--iterations", "20", "--eval-interval", "20"),
            "--allow-beyond-tolerance",
        ),
        on_cluster=True,
    )


def _table(number: int) -> Block:
    table = next(table for table in PAPER_TABLES if table.number == number)

    def compare(runs: Runs) -> list[Row]:
        found = runs[TABLES].tables["distortion, paper and here"]
        own = found[found["table"] == number].set_index("byzantine").to_dict("index")
        rows = []
        for q, (c_max, gamma) in table.rows.items():
            here: dict[Any, Any] = own.get(q, {})
            for series, paper, value, within in (
                ("c_max", c_max, here.get("here"), 0.0),
                ("gamma", gamma, here.get("gamma_here"), 0.003),
            ):
                erratum = ERRATA.get((number, q), "") if series == "gamma" else ""
                rows.append(
                    Row(
                        group=f"q = {q}",
                        series=series,
                        paper=paper,
                        here=None if value is None else float(value),
                        status=judged(paper, value, within=within, in_shape=bool(erratum)),
                        x=q,
                        note=erratum,
                    )
                )
        return rows

    return Block(
        name=f"byzshield-table-{number}",
        system="byzshield",
        title=f"Table {number}: files that q liars distort, {table.scheme}, l = {table.load},"
        f" r = {table.replication}",
        source=f"Table {number}, columns c_max and gamma",
        claim="The worst q workers distort far fewer files than under DETOX's groups.",
        tolerance="replicated: c_max equal, gamma within 0.3 % (it is printed with two decimals);"
        " in shape: a gamma that the paper misprints",
        why="Equal: c_max is found exactly, with proof; the bound is a formula.",
        unit="files",
        steps=(TABLES,),
        compare=compare,
        layout="curves",
        x_label="q [workers]",
    )


def _figure(number: int, scale: Scale) -> Block:
    curves = [series for series in FIGURES if series.figure == number]
    attack, workers = curves[0].attack, curves[0].num_workers

    def compare(runs: Runs) -> list[Row]:
        records = runs[CURVES].tables["accuracy, paper and here"].to_dict("records")
        shield = {
            row["q"]: row
            for row in records
            if (row["attack"], row["K"], row["method"]) == (attack, workers, "ByzShield")
        }
        return [
            Row(
                group=f"{row['method']}, q = {row['q']}",
                series="accuracy",
                paper=row["paper"],
                here=_number(row["here"]),
                status=_lead_status(shield.get(row["q"]), row),
                note=_lead_note(shield.get(row["q"]), row),
            )
            for row in records
            if row["figure"] == number
        ]

    small = "a small network on digits, 100 iterations, one step size for all methods"
    large = "ResNet-18 on CIFAR-10 without the authors' augmentation, one seed"
    return Block(
        name=f"byzshield-figure-{number}",
        system="byzshield",
        title=f"Figure {number}: accuracy, {SUBJECTS[number]}",
        source=f"Figure {number}, read from its vector drawing; ResNet-18 on CIFAR-10",
        claim="ByzShield is ahead of the other methods under ALIE and the constant attack, and on"
        " a par with them under the reversed gradient.",
        tolerance=f"of each method the lead of ByzShield over it at the same q; replicated: within"
        f" {CLOSE:g} points of the paper's; in shape: of the same sign, or, where the paper's is"
        f" below {TIE:g} points, below {TIE_HERE:g} here",
        why=f"Here: {large if scale == 'cluster' else small}. With files of 5 images votes scatter"
        " more than the groups of DETOX, which average five times as many."
        if scale == "laptop"
        else f"Here: {large}.",
        unit="percent",
        steps=(CURVES,),
        compare=compare,
        plots=((CURVES, f"figure {number:02}"),),
    )


def _number(value: Any) -> float | None:
    return None if value is None or value != value else float(value)


def _leads(
    shield: Mapping[Any, Any] | None, row: Mapping[Any, Any]
) -> tuple[float, float | None] | None:
    """ByzShield's lead over a method in the paper and here [points]; None where there is none."""
    if shield is None or row["method"] == "ByzShield":
        return None
    own, other = _number(shield["here"]), _number(row["here"])
    here = None if own is None or other is None else own - other
    return shield["paper"] - row["paper"], here


def _lead_status(shield: Mapping[Any, Any] | None, row: Mapping[Any, Any]) -> Status | None:
    leads = _leads(shield, row)
    if leads is None:
        return None if _number(row["here"]) is not None else "failed"
    paper, here = leads
    if here is None:
        return "failed"
    if abs(here - paper) <= CLOSE:
        return "replicated"
    tied = abs(paper) < TIE and abs(here) < TIE_HERE
    return "in shape" if tied or here * paper > 0 else "not replicated"


def _lead_note(shield: Mapping[Any, Any] | None, row: Mapping[Any, Any]) -> str:
    leads = _leads(shield, row)
    if leads is None:
        return ""
    paper, here = leads
    return f"ByzShield leads by {paper:.1f} in the paper" + (
        "" if here is None else f", by {here:.1f} here"
    )


def _figure_12() -> Block:
    def compare(runs: Runs) -> list[Row]:
        return [
            row
            for method in TIMES
            for row in _time_rows(method, runs[f"byzshield-time-{method.lower()}"])
        ]

    return Block(
        name="byzshield-figure-12",
        system="byzshield",
        title="Figure 12: where the time of an iteration goes",
        source="Figure 12, ALIE, q = 3, K = 25; EC2, 25 workers and a server; MPI",
        claim="ByzShield pays for its redundancy in computing, communication and aggregation.",
        tolerance="shares of an iteration; replicated: within a quarter; in shape: within a factor"
        " of two",
        why="Workers share the cores of one machine here, so computing takes nearly all of an"
        " iteration; digests are voted on, so values are sent once a file and not once a copy; the"
        " median is compiled.",
        unit="percent of an iteration",
        steps=tuple(f"byzshield-time-{method.lower()}" for method in TIMES),
        compare=compare,
    )


def _time_rows(method: str, run: Any) -> Sequence[Row]:
    printed = TIMES[method]
    means = {part: float(run.metrics[f"seconds_{part}"].mean()) for part in printed}
    means["aggregation"] += float(run.metrics["seconds_vote"].mean())
    rows = []
    for part, seconds in printed.items():
        paper = 100 * seconds / sum(printed.values())
        here = 100 * means[part] / sum(means.values())
        near = 0.5 <= here / paper <= 2
        rows.append(
            Row(
                group=method,
                series=part,
                paper=paper,
                here=here,
                status=judged(paper, here, within=0.25, in_shape=near),
                note="with the vote" if part == "aggregation" else "",
            )
        )
    return rows
