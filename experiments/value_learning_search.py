"""Searches for schedules compared, on Ray Tune: layers x methods x budgets, one machine a trial.

ray job submit --working-dir . -- python experiments/value_learning_search.py \
    --methods beam greedy random evolutionary --trials 64 256 --run-dir search --storage s3://bucket/runs

All flags are those of `mlsys-ray value-learning search`. Trials that are recorded in the run
directory are not run again.
"""

import sys

from mlsys_ray.cli import main

if __name__ == "__main__":
    sys.exit(main(["value-learning", "search", *sys.argv[1:]]))
