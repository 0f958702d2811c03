"""What is cached of compiled code is renewed when a function it calls changes elsewhere."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import mlsys_ray

# A function of one file that calls one of another, and takes no time to compile.
CODE = """
import numpy as np
from mlsys_ray.fireplace.policies.rules import _scan
from mlsys_ray.fireplace.simulator import open_state
from mlsys_ray.fireplace.traces.microvm import microvm
trace = microvm(num_vms=200, alive=20, num_functions=5)
state = open_state(trace, np.tile(trace.peak_request, (2, 1)))
print(_scan(state, trace.arrays, 0, np.array([1, 0])))
"""


@pytest.mark.slow
def test_a_change_in_another_file_is_seen(tmp_path):
    package = Path(mlsys_ray.__file__).parent
    for name in ("mlsys_ray", "envs"):
        shutil.copytree(
            package.parent / name,
            tmp_path / name,
            symlinks=True,
            ignore=shutil.ignore_patterns("__pycache__"),
        )

    def chosen():
        output = subprocess.run(
            [sys.executable, "-c", CODE],
            cwd=tmp_path,
            check=True,
            capture_output=True,
            text=True,
            timeout=250,
        )
        return int(output.stdout)

    assert chosen() == 1
    simulator = tmp_path / "mlsys_ray" / "fireplace" / "simulator.py"
    text = simulator.read_text()
    admits = "            return False\n    return True\n"
    assert text.count(admits) == 1
    changed = text.replace(admits, "            return False\n    return False\n")
    simulator.write_text(changed)
    assert chosen() == -1
