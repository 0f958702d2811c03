"""RLlib agents for VM placement, compared for equal training time, on Ray Tune.

ray job submit --working-dir . -- python experiments/fireplace_study.py \
    --algorithms ppo appo dqn --seeds 0 1 --train-seconds 300 --run-dir agents --storage s3://bucket/runs

All flags are those of `mlsys-ray fireplace agents`. Trials that are recorded in the run directory
are not run again.
"""

import sys

from mlsys_ray.cli import main

if __name__ == "__main__":
    sys.exit(main(["fireplace", "agents", *sys.argv[1:]]))
