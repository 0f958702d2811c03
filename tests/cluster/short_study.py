"""A study of short trials, as a program of its own that tests start and kill.

python short_study.py FOLDER NUM_TRIALS SECONDS LOG [--measures] [--storage PLACE]
"""

import argparse
import sys
import time
from pathlib import Path

from mlsys_ray.cluster.run_directory import RunDirectory
from mlsys_ray.cluster.session import ray_session
from mlsys_ray.cluster.storage import keep
from mlsys_ray.cluster.trials import Resources, begin_anew, run_missing
from mlsys_ray.exit_codes import EnvironmentMissingError


def run_trial(trial, path):
    begin_anew(path)
    begin = time.time()
    with RunDirectory.create(path, trial, experiment="short") as run:
        time.sleep(trial["seconds"])
        run.finish({"number": trial["number"]})
    with open(trial["log"], "a") as log:
        log.write(f"{trial['number']} {begin} {time.time()}\n")
    return {"number": trial["number"]}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("num_trials", type=int)
    parser.add_argument("seconds", type=float)
    parser.add_argument("log", type=Path)
    parser.add_argument("--measures", action="store_true")
    parser.add_argument("--storage")
    given = parser.parse_args()
    with keep(given.folder, given.storage) as home, ray_session(storage=home.storage):
        trials = {
            home.folder / "trials" / f"trial-{number}": {
                "number": number,
                "seconds": given.seconds,
                "log": str(given.log),
            }
            for number in range(given.num_trials)
        }
        print("begins", file=sys.stderr, flush=True)
        resources = Resources(measures=given.measures)
        run_missing(trials, run_trial, home=home, resources=resources)


if __name__ == "__main__":
    try:
        main()
    except EnvironmentMissingError as error:
        print(error, file=sys.stderr)
        sys.exit(4)
