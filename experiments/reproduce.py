"""The four papers' tables and figures, as an entrypoint for a cluster.

ray job submit --working-dir . -- python experiments/reproduce.py \
    --scale cluster --run-dir /shared/runs/papers

All flags are those of `mlsys-ray reproduce`. Latencies are measured on the node that runs the job.
Submitted again with the same --run-dir, it runs only what is missing.
"""

import sys

from mlsys_ray.cli import main

if __name__ == "__main__":
    sys.exit(main(["reproduce", *sys.argv[1:]]))
