"""FirePlace: what the paper's abstract claims, and what is run for it.

Only the abstract was at hand, so its claims stand in for tables.
"""

from __future__ import annotations

from mlsys_ray.cluster.run_reader import Run
from mlsys_ray.reproduction.base import Block, Plan, Row, Runs, Scale, Step, judged

BETTER = 10.0
"""Abstract: better than the baseline algorithms on 100K VMs of a production trace [percent]."""
TRACES = ("microvm", "microvm-short", "openb+planetlab")
ALGORITHMS = ("ppo", "dqn")
AGENTS = "fireplace-agents"
LEARNED = ("learned_mixture", "certainty_equivalent", "fireplace")


def plan(scale: Scale) -> Plan:
    """What is run: four traces of 10,000 VMs a workload on a laptop, eight of 100,000 elsewhere."""
    large = scale == "cluster"
    size = ("--num-vms", "100000" if large else "10000", "--num-seeds", "8" if large else "4")
    seconds = "600" if large else "30"
    steps = [
        Step(
            name=_step(trace),
            arguments=("fireplace", "evaluate", "--trace", trace, *size, "--hindsight"),
            resumes=True,
            on_cluster=True,
        )
        for trace in TRACES
    ]
    steps.append(
        Step(
            name=AGENTS,
            arguments=(
                *("fireplace", "agents", "--algorithms", *ALGORITHMS),
                *("--train-seconds", seconds),
            ),
            resumes=True,
            on_cluster=True,
        )
    )
    return Plan(steps=tuple(steps), blocks=(_better(size), _agents(seconds), _not_attempted()))


def _step(trace: str) -> str:
    return f"fireplace-{trace.replace('+', '-')}"


def _better(size: tuple[str, ...]) -> Block:
    return Block(
        name="fireplace-better",
        system="fireplace",
        title="Abstract: better than the baselines",
        source="abstract; a production trace of AWS Lambda, 100K VMs",
        claim="FirePlace is 10 % better than the baseline algorithms.",
        tolerance=f"in shape: at least {BETTER:g} % less PAR - 1 than the best policy that learns"
        " nothing; replicated never, as the paper's trace is not public",
        why=f"Other traces ({size[1]} VMs on 50 machines, {size[3]} traces each), other baselines"
        " and, but for the objective and the idea, other methods: the abstract says no more."
        " Most of the gain is that of the certainty-equivalent policy beneath the network.",
        unit="percent less PAR - 1",
        steps=tuple(_step(trace) for trace in TRACES),
        compare=_rows,
        plots=tuple((_step(trace), "PAR of each policy") for trace in TRACES),
    )


def _rows(runs: Runs) -> list[Row]:
    return [row for trace in TRACES for row in _of_trace(trace, runs[_step(trace)])]


def _of_trace(trace: str, run: Run) -> list[Row]:
    table = run.tables["policies"].set_index("policy")
    rows = []
    for policy in LEARNED:
        here = float(table.loc[policy, "excess_reduction"])  # type: ignore[arg-type]
        width = float(table.loc[policy, "excess_reduction_half_width"])  # type: ignore[arg-type]
        own = policy == "fireplace"
        status = judged(BETTER, here, within=0, in_shape=here >= BETTER) if own else None
        rows.append(
            Row(
                group=trace,
                series=policy,
                paper=BETTER if own else None,
                here=here,
                status=status,
                note=f"± {width:.1f} (95 %)" if width == width else "",
            )
        )
    return rows


def _agents(seconds: str) -> Block:
    def compare(runs: Runs) -> list[Row]:
        rows = []
        for found in runs[AGENTS].tables["PAR on a held-out trace"].to_dict("records"):
            excess = None
            if found["par"] == found["par"] and found["par"] is not None:
                excess = 100 * ((found["par"] - 1) / (found["least_requested"] - 1) - 1)
            worse = excess is not None and excess > 0
            rows.append(
                Row(
                    group=str(found["algorithm"]).upper(),
                    series="more PAR - 1 than least requested",
                    paper=None,
                    here=excess,
                    status="failed" if excess is None else ("in shape" if worse else "replicated"),
                )
            )
        # One of the two suffices for "not always".
        if any(row.status == "in shape" for row in rows):
            return rows
        return [row if row.status == "failed" else _contradicting(row) for row in rows]

    return Block(
        name="fireplace-agents",
        system="fireplace",
        title="Abstract: reinforcement learning is not always performant",
        source="abstract; algorithms and numbers are not named in it",
        claim="Off-the-shelf reinforcement learning is not always performant.",
        tolerance="in shape: at least one agent has more PAR - 1 than the plain rule of least"
        " requests; a statement without a number cannot be replicated further",
        why=f"RLlib's agents of today, trained for {seconds} s each on another trace.",
        unit="percent",
        steps=(AGENTS,),
        compare=compare,
    )


def _contradicting(row: Row) -> Row:
    from dataclasses import replace

    return replace(row, status="not replicated")


def _not_attempted() -> Block:
    return Block(
        name="fireplace-rest",
        system="fireplace",
        title="Everything behind the abstract",
        source="the paper's tables and figures",
        claim="Not known here.",
        why="The text was not at hand, and the production trace is not public.",
    )
