from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mlsys_ray.value_learning.baselines.adams2019_cost_model import (
    AdamsSample,
    noisy_weights,
    predicted_ms,
    read_weights,
    retrain,
)
from mlsys_ray.value_learning.baselines.autoscheduler import WEIGHTS_BYTES, built_in_weights

SCRIPT = """
import json, sys
from mlsys_ray.value_learning.baselines.autoscheduler import Autoscheduler, autoschedule
from mlsys_ray.value_learning.lowering import build
from mlsys_ray.value_learning.operators import Conv2d, MatMul, chain
from mlsys_ray.value_learning.target import host_target
pipelines = {
    "matmul": chain((64, 48), MatMul(out_features=80, activation="relu")),
    "conv": chain((16, 14, 14, 1), Conv2d(out_channels=24, kernel=1)),
}
for name in pipelines:
    for weights in sys.argv[1:]:
        pipeline = pipelines[name]
        scheduler = Autoscheduler(
            plugin="Adams2019", title="a",
            parameters=(("beam_size", 1), ("weights_path", weights)),
        )
        print("BEGIN", file=sys.stderr, flush=True)
        found = autoschedule(scheduler, build(pipeline), pipeline, host_target(2))
        print("ANSWER " + json.dumps([name, weights, found.featurization.hex()]), flush=True)
"""


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """Schedules by Adams2019 with built-in and with noisy weights, and the costs it printed."""
    folder = tmp_path_factory.mktemp("weights")
    contents = [built_in_weights(), *(noisy_weights(built_in_weights(), n) for n in range(9))]
    paths = [folder / f"{number}.weights" for number in range(len(contents))]
    for path, content in zip(paths, contents, strict=True):
        path.write_bytes(content)
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, *map(str, paths)],
        env={**os.environ, "HL_DEBUG_AUTOSCHEDULE": "1"},
        capture_output=True,
        text=True,
        check=True,
        timeout=200,
    )
    answers = [json.loads(a) for a in re.findall(r"^ANSWER (.*)$", done.stdout, re.MULTILINE)]
    printed = []
    for part in done.stderr.split("BEGIN\n")[1:]:
        costs = [float(cost) for cost in re.findall(r"[Bb]est cost: *([0-9.e+-]+)", part)]
        printed.append(min(costs))
    return [
        {"name": name, "weights": Path(path).read_bytes(), "features": bytes.fromhex(f), "cost": c}
        for (name, path, f), c in zip(answers, printed, strict=True)
    ]


def test_predictions_equal_what_the_plugin_prints(made: list[dict[str, Any]]) -> None:
    assert len(made) == 20
    for item in made:
        found = predicted_ms(item["features"], read_weights(item["weights"]), num_cores=2)
        assert found == pytest.approx(item["cost"], rel=2e-5)


def test_noisy_weights_make_other_schedules(made: list[dict[str, Any]]) -> None:
    assert len({item["features"] for item in made if item["name"] == "matmul"}) > 5


def test_retraining_fits_runtimes_better(made: list[dict[str, Any]]) -> None:
    """Pretend runtimes: built-in predictions, 10 times as slow where a lot is loaded."""
    start = built_in_weights()
    before = read_weights(start)
    ids = {"matmul": 1, "conv": 2}
    base = [predicted_ms(item["features"], before, 2) for item in made]
    factors = np.random.default_rng(0).uniform(5, 15, len(made))
    samples = [
        AdamsSample(item["features"], ms * factor, ids[item["name"]])
        for item, ms, factor in zip(made, base, factors, strict=True)
    ]
    after = read_weights(retrain(samples, start, 2, epochs=300))
    logs = np.log([sample.ms for sample in samples])

    def error(weights: Any) -> float:
        return float(
            np.mean(
                (np.log([predicted_ms(s.featurization, weights, 2) for s in samples]) - logs) ** 2
            )
        )

    assert error(after) < 0.5 * error(before)


def test_too_few_samples_are_told(made: list[dict[str, Any]]) -> None:
    samples = [AdamsSample(item["features"], 1.0, n) for n, item in enumerate(made)]
    with pytest.raises(ValueError, match="8 different samples"):
        retrain(samples, built_in_weights(), 2)


def test_files_that_are_no_weights_are_refused() -> None:
    assert len(built_in_weights()) == WEIGHTS_BYTES
    with pytest.raises(ValueError, match="not a file of weights"):
        read_weights(b"\0" * 100)
    with pytest.raises(ValueError, match=r"damaged|buffer"):
        read_weights(built_in_weights()[:1000])
