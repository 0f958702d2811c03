"""Placement policies on held-out traces, as an entrypoint for a Ray cluster.

ray job submit --working-dir . -- python experiments/fireplace_evaluate.py \
    --trace microvm --num-seeds 8 --hindsight --run-dir microvm --storage s3://bucket/runs

All flags are those of `mlsys-ray fireplace evaluate`; each trace is a task of one CPU.
"""

import sys

from mlsys_ray.cli import main

if __name__ == "__main__":
    sys.exit(main(["fireplace", "evaluate", *sys.argv[1:]]))
