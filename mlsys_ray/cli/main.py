"""The command line: which commands there are, and what their exit status says.

Commands are dataclasses with a `run` method that returns an `ExitCode`. Nothing heavy is
imported before a command runs, so that `--help` answers at once.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Sequence
from typing import Annotated, Protocol

import tyro
from tyro.conf import subcommand

from mlsys_ray import __version__
from mlsys_ray.cli.byzshield import Distortion, Train
from mlsys_ray.cli.cite import Cite
from mlsys_ray.cli.console import UsageError, say, usage_errors
from mlsys_ray.cli.demo import Demo
from mlsys_ray.cli.doctor import Doctor
from mlsys_ray.cli.fetch import Fetch
from mlsys_ray.cli.fireplace import EvaluatePlacement, TrainPlacement
from mlsys_ray.cli.fireplace_agent import CompareAgents, TrainAgent
from mlsys_ray.cli.fireplace_trace import DescribeTrace
from mlsys_ray.cli.ios import CountSchedules, SimulateDevices
from mlsys_ray.cli.ios_compare import CompareTools
from mlsys_ray.cli.ios_optimize import OptimizeNetwork, RunSchedule
from mlsys_ray.cli.ios_show import ShowSchedule
from mlsys_ray.cli.ios_study import StudySchedules
from mlsys_ray.cli.report import Compare, Report
from mlsys_ray.cli.reproduce import Reproduce
from mlsys_ray.cli.reproduction import ReproduceAll
from mlsys_ray.cli.submit import FLAG, print_submit
from mlsys_ray.cli.sweep import Sweep
from mlsys_ray.cli.value_learning_evaluate import EvaluateValue
from mlsys_ray.cli.value_learning_remeasure import RemeasureSchedules
from mlsys_ray.cli.value_learning_schedule import ScheduleLayer
from mlsys_ray.cli.value_learning_search import CompareSearches
from mlsys_ray.cli.value_learning_training import AdaptValue, CollectSchedules, TrainValue
from mlsys_ray.exit_codes import EnvironmentMissingError, ExitCode

Byzshield = (
    Annotated[Train, subcommand("train")]
    | Annotated[Sweep, subcommand("sweep")]
    | Annotated[Reproduce, subcommand("reproduce")]
    | Annotated[Distortion, subcommand("distortion")]
)
Fireplace = (
    Annotated[EvaluatePlacement, subcommand("evaluate")]
    | Annotated[TrainPlacement, subcommand("train")]
    | Annotated[DescribeTrace, subcommand("trace")]
    | Annotated[TrainAgent, subcommand("agent")]
    | Annotated[CompareAgents, subcommand("agents")]
)
Ios = (
    Annotated[CountSchedules, subcommand("count")]
    | Annotated[SimulateDevices, subcommand("simulate")]
    | Annotated[OptimizeNetwork, subcommand("optimize")]
    | Annotated[RunSchedule, subcommand("run")]
    | Annotated[CompareTools, subcommand("compare")]
    | Annotated[ShowSchedule, subcommand("show")]
    | Annotated[StudySchedules, subcommand("study")]
)
ValueLearning = (
    Annotated[ScheduleLayer, subcommand("schedule")]
    | Annotated[CollectSchedules, subcommand("collect")]
    | Annotated[TrainValue, subcommand("train")]
    | Annotated[AdaptValue, subcommand("adapt")]
    | Annotated[EvaluateValue, subcommand("evaluate")]
    | Annotated[RemeasureSchedules, subcommand("remeasure")]
    | Annotated[CompareSearches, subcommand("search")]
)
AnyCommand = (
    Annotated[Demo, subcommand("demo")]
    | Annotated[Doctor, subcommand("doctor")]
    | Annotated[Fetch, subcommand("fetch")]
    | Annotated[Report, subcommand("report")]
    | Annotated[Compare, subcommand("compare")]
    | Annotated[Cite, subcommand("cite")]
    | Annotated[ReproduceAll, subcommand("reproduce")]
    | Annotated[
        Byzshield,
        subcommand("byzshield", description="Training that stays correct while workers lie."),
    ]
    | Annotated[
        Fireplace,
        subcommand("fireplace", description="Placing micro-VMs on machines as they arrive."),
    ]
    | Annotated[
        Ios,
        subcommand("ios", description="Which operators of a network run side by side."),
    ]
    | Annotated[
        ValueLearning,
        subcommand("value-learning", description="Halide schedules by a learned value function."),
    ]
)
DESCRIPTION = (
    f"mlsys-ray {__version__}: four MLSys 2021 systems on Ray.\n\n"
    "Results go to run directories and, with --json, to stdout; everything else to stderr. Exit"
    " status: 0 done, 1 the run failed, 2 usage, 3 some trials failed, 4 the cluster, data or"
    " something else around the program is missing.\n\n"
    f"Any command that runs on Ray takes {FLAG}: it then prints the line that submits it to a"
    " cluster as a job, and does nothing else."
)


class Command(Protocol):
    """What the dataclasses of `AnyCommand` have in common."""

    def run(self) -> ExitCode:
        """Do it."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command and return its exit status; None takes the arguments of the process."""
    _find_modules_here()
    given = list(sys.argv[1:] if arguments is None else arguments)
    try:
        with usage_errors():
            command: Command = tyro.cli(
                AnyCommand,
                prog="mlsys-ray",
                description=DESCRIPTION,
                args=[text for text in given if text != FLAG],
                config=(tyro.conf.OmitArgPrefixes,),
            )
        return print_submit(command, given) if FLAG in given else command.run()
    except UsageError as error:
        say(f"mlsys-ray: {error}")
        return ExitCode.USAGE
    except EnvironmentMissingError as error:
        say(f"mlsys-ray: {error}")
        return ExitCode.ENVIRONMENT_MISSING
    except KeyboardInterrupt:
        say("mlsys-ray: interrupted")
        return 128 + signal.SIGINT


def _find_modules_here() -> None:
    """Import the user's models from the folder where the command was typed, in workers too."""
    here = os.getcwd()
    if here not in sys.path:
        sys.path.insert(0, here)
    inherited = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [here, inherited]))
