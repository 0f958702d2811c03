import subprocess

import pytest

from mlsys_ray.cli.main import main


@pytest.fixture
def run_here(capsys):
    """Runs a command in this process, which has what takes a new one seconds to import."""

    def run(*arguments):
        try:
            status = main([str(argument) for argument in arguments])
        except SystemExit as error:
            status = error.code
        printed = capsys.readouterr()
        return subprocess.CompletedProcess(arguments, status, printed.out, printed.err)

    return run
