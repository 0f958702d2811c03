"""Exit codes of the `mlsys-ray` command, and the errors behind them."""

from enum import IntEnum


class ExitCode(IntEnum):
    """What a command's exit status says."""

    DONE = 0
    FAILED = 1
    USAGE = 2
    SOME_TRIALS_FAILED = 3
    ENVIRONMENT_MISSING = 4


class EnvironmentMissingError(RuntimeError):
    """The cluster, or something else around the program, is missing."""
