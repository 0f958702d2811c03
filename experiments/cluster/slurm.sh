#!/bin/bash
# An experiment on the nodes of a Slurm job, by a Ray cluster that lives as long as the job.
#
#   sbatch --nodes=4 experiments/cluster/slurm.sh experiments/byzshield_sweep.py --seeds 0 1 2 --run-dir /shared/runs/sweep
#
# from the repository's root, which all nodes see, with the environment's python first in PATH.
# Ray refuses a node where another Ray runs already, hence exclusive.
#SBATCH --job-name=mlsys-ray
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=1
#SBATCH --exclusive
#SBATCH --time=04:00:00
set -euo pipefail

# A token for this job alone, which srun hands to all nodes.
RAY_AUTH_TOKEN=$(python -c 'import secrets; print(secrets.token_hex(32))')
export RAY_AUTH_TOKEN RAY_AUTH_MODE=token
# Nodes are waited for 30 s by default, which a busy file system exceeds [s].
export RAY_SYMMETRIC_RUN_CLUSTER_WAIT_TIMEOUT=${RAY_SYMMETRIC_RUN_CLUSTER_WAIT_TIMEOUT:-300}
export PYTHONPATH=$PWD${PYTHONPATH:+:$PYTHONPATH}

head=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)
# Ray tells the head by its address: a name that has several would never be it.
address=$(getent ahostsv4 "$head" | awk 'NR == 1 { print $1 }')
port=$((20000 + SLURM_JOB_ID % 10000))

# The batch step's exit code is that of srun: 0 where the experiment ended with 0. What another
# one means stands in the log and in the run directory's summary.json.
srun --export=ALL --ntasks="$SLURM_NNODES" --cpus-per-task="$SLURM_CPUS_ON_NODE" \
    --kill-on-bad-exit=1 ray symmetric-run --address "$address:$port" \
    --min-nodes "$SLURM_NNODES" --num-cpus="$SLURM_CPUS_ON_NODE" --disable-usage-stats \
    --resources='{"measure": 1}' \
    -- env RAY_ADDRESS=auto python -u "$@"
