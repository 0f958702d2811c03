"""Schedules over networks, batch sizes, strategies and prunings, as an entrypoint for a cluster.

ray job submit --working-dir . -- python experiments/ios_search.py \
    --networks inception_v3 squeezenet --batch-sizes 1 32 --strategies ios_parallel ios_both \
    --num-threads 8 --run-dir ios --storage s3://bucket/runs

All flags are those of `mlsys-ray ios study`. Submitted again with the same --run-dir, it runs only
what is missing.
"""

import sys

from mlsys_ray.cli import main

if __name__ == "__main__":
    sys.exit(main(["ios", "study", *sys.argv[1:]]))
