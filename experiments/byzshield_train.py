"""One ByzShield training run, as an entrypoint for a Ray cluster.

ray job submit --working-dir . -- python experiments/byzshield_train.py \
    --scheme mols --byzantine 3 --attack alie --run-dir mols-alie --storage s3://bucket/runs

All flags are those of `mlsys-ray byzshield train`. Inside a job, Ray's address is in the
environment; from a shell, give --address or let it start a local cluster.
"""

import sys

from mlsys_ray.cli import main

if __name__ == "__main__":
    sys.exit(main(["byzshield", "train", *sys.argv[1:]]))
