"""A study of short trials in a process of its own, that tests kill."""

import multiprocessing
import os
import sys
import time

from ray.tune.trainable import function_trainable

from mlsys_ray.cluster.run_directory import RunDirectory
from mlsys_ray.cluster.session import ray_session
from mlsys_ray.cluster.storage import keep
from mlsys_ray.cluster.trials import Resources, begin_anew, run_missing
from mlsys_ray.exit_codes import EnvironmentMissingError, ExitCode

# Drivers are forked from a process that has imported what takes each of them seconds.
_SERVER = multiprocessing.get_context("forkserver")
_SERVER.set_forkserver_preload(["ray.tune", "mlsys_ray.cluster.trials"])


def start_study(environment, stderr, *arguments, **options):
    """Start a driver; its environment and where its stderr goes, then see `run_study`."""
    process = _SERVER.Process(
        target=_drive, args=(environment, stderr, arguments, options), daemon=True
    )
    process.start()
    return process


def _drive(environment, stderr, arguments, options):
    os.environ.update(environment)
    with stderr.open("w") as file:
        os.dup2(file.fileno(), sys.stderr.fileno())
    try:
        run_study(*arguments, **options)
    except EnvironmentMissingError as error:
        print(error, file=sys.stderr)
        sys.exit(ExitCode.ENVIRONMENT_MISSING)


def run_study(folder, num_trials, seconds, log, *, measures=False, storage=None, dies_after=None):
    """Run trials of some seconds each, whose ends are written to a log.

    The process that has run trial `dies_after` dies when it is given its next one.
    """
    from ray import cloudpickle

    # Nodes do not have this module.
    cloudpickle.register_pickle_by_value(sys.modules[__name__])
    with keep(folder, storage) as home, ray_session(storage=home.storage):
        trials = {
            home.folder / "trials" / f"trial-{number}": {
                "number": number,
                "seconds": seconds,
                "log": str(log),
                "dies": number == dies_after,
            }
            for number in range(num_trials)
        }
        print("begins", file=sys.stderr, flush=True)
        run_missing(trials, run_trial, home=home, resources=Resources(measures=measures))


def run_trial(trial, path):
    """One trial, in a worker process."""
    begin_anew(path)
    begin = time.time()
    with RunDirectory.create(path, trial, experiment="short") as run:
        time.sleep(trial["seconds"])
        run.finish({"number": trial["number"]})
    with open(trial["log"], "a") as log:
        log.write(f"{trial['number']} {begin} {time.time()}\n")
    if trial["dies"]:
        # What Tune asks for in a process that is to run another trial.
        function_trainable.TrialInfo = lambda **_: os._exit(1)
    return {"number": trial["number"]}
