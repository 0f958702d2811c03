"""A ByzShield study over schemes, rules, attacks, q and seeds, as an entrypoint for a cluster.

ray job submit --working-dir . -- python experiments/byzshield_sweep.py \
    --schemes mols frc baseline --attacks alie constant reversed_gradient --byzantine-counts 2 3 \
    --seeds 0 1 2 --run-dir study --storage s3://bucket/runs

All flags are those of `mlsys-ray byzshield sweep`. Submitted again with the same --run-dir, it
runs only what is missing.
"""

import sys

from mlsys_ray.cli import main

if __name__ == "__main__":
    sys.exit(main(["byzshield", "sweep", *sys.argv[1:]]))
