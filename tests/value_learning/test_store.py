from __future__ import annotations

import math
import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest

from mlsys_ray.value_learning import store as store_module
from mlsys_ray.value_learning.measuring import Measurement
from mlsys_ray.value_learning.operators import MatMul, chain
from mlsys_ray.value_learning.space import Schedule, initial, legal_actions, schedule_of
from mlsys_ray.value_learning.store import Sample, Store, best_known, read_samples
from mlsys_ray.value_learning.target import Target

TARGET = Target(
    halide="x86-64-linux-avx2", lanes=8, registers=16, caches=(32768, 524288, 2**24), cores=2
)
PIPELINE = chain((64, 32), MatMul(out_features=48))


def schedules(count: int) -> list[Schedule]:
    """Different schedules, half of them with the same first action."""
    found = []
    first = legal_actions(initial(PIPELINE, TARGET))
    for number in range(count):
        state = initial(PIPELINE, TARGET).take(first[number // 2])
        while not state.is_complete:
            state = state.take(legal_actions(state)[number % 2])
        found.append(schedule_of(state))
    assert len(set(found)) == count
    return found


def sample(schedule: Schedule, ms: float = 1.0, status: str = "ok") -> Sample:
    ok = status == "ok"
    measurement = Measurement(
        status=status,
        min_ms=ms if ok else math.nan,
        median_ms=2 * ms if ok else math.nan,
        error_message="" if ok else "why",
    )
    return Sample.of(PIPELINE, schedule, measurement, "random")


def test_samples_come_back_and_are_stored_once(tmp_path: Path) -> None:
    samples = [sample(s, 1.0 + n) for n, s in enumerate(schedules(6))]
    with Store(tmp_path) as store:
        for item in [*samples, samples[0]]:
            store.add(item)
        assert samples[3].key in store
    with Store(tmp_path) as store:
        assert [s.key for s in store.samples] == [s.key for s in samples]
        assert store.get(samples[2].key).min_ms == 3.0
    states = list(samples[5].states())
    assert states[-1].actions == schedules(6)[5].actions


def test_of_two_measurements_the_shorter_one_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the journal, in files, and between them."""
    monkeypatch.setattr(store_module, "FULL", 2)
    schedule, *others = schedules(4)
    with Store(tmp_path) as store:
        for ms in (3.0, 2.0, 4.0, 1.0, 5.0):
            store.add(sample(schedule, ms))
        store.add(sample(others[0], status="wrong"))
        store.add(sample(others[0], 1.0))
        assert store.get(sample(schedule).key).min_ms == 1.0
    again = {s.key: s for s in read_samples(tmp_path)}
    assert len(again) == 2
    assert again[sample(schedule).key].min_ms == 1.0
    assert again[sample(others[0]).key].status == "wrong"


def test_full_journals_become_parquet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store_module, "FULL", 3)
    samples = [sample(s, 1.0 + n) for n, s in enumerate(schedules(8))]
    with Store(tmp_path) as store:
        for item in samples:
            store.add(item)
    assert len(list(tmp_path.glob("samples-*.parquet"))) == 2
    assert {s.key for s in read_samples(tmp_path)} == {s.key for s in samples}
    assert {s.min_ms for s in read_samples(tmp_path)} == {s.min_ms for s in samples}


@pytest.mark.parametrize("kept", [1, 20, 200])
def test_a_line_cut_short_loses_that_sample_only(tmp_path: Path, kept: int) -> None:
    samples = [sample(s) for s in schedules(4)]
    with Store(tmp_path) as store:
        for item in samples[:3]:
            store.add(item)
    journal = tmp_path / "journal.jsonl"
    lines = journal.read_bytes().splitlines(keepends=True)
    journal.write_bytes(b"".join(lines[:2]) + lines[2][:kept])
    with Store(tmp_path) as store:
        assert len(store) == 2
        store.add(samples[3])
    assert {s.key for s in read_samples(tmp_path)} == {samples[n].key for n in (0, 1, 3)}


def test_a_cut_between_parquet_and_journal_counts_samples_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The parquet file is there already, the journal is not emptied yet."""
    monkeypatch.setattr(store_module, "FULL", 3)
    samples = [sample(s) for s in schedules(4)]
    with Store(tmp_path) as store:
        for item in samples[:2]:
            store.add(item)
        before = (tmp_path / "journal.jsonl").read_bytes()
        store.add(samples[2])
    (tmp_path / "journal.jsonl").write_bytes(before)
    with Store(tmp_path) as store:
        assert len(store) == 3
        store.add(samples[3])
        assert len(store) == 4
    assert len(read_samples(tmp_path)) == 4


def test_a_damaged_parquet_file_is_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store_module, "FULL", 2)
    with Store(tmp_path) as store:
        for item in map(sample, schedules(4)):
            store.add(item)
    part = next(iter(tmp_path.glob("samples-*.parquet")))
    part.write_bytes(part.read_bytes()[:50])
    assert len(read_samples(tmp_path)) == 2


def test_a_second_writer_is_refused(tmp_path: Path) -> None:
    with Store(tmp_path), pytest.raises(ValueError, match="another process"), Store(tmp_path):
        pass


def test_a_killed_writer_loses_nothing_that_was_added(tmp_path: Path) -> None:
    """A process adds samples as fast as it can, says so each time, and is killed in between."""
    code = textwrap.dedent(
        f"""
        import dataclasses, sys
        sys.path.insert(0, {str(Path(__file__).parent)!r})
        from pathlib import Path
        import test_store
        from mlsys_ray.value_learning import store
        store.FULL = 5
        first = test_store.sample(test_store.schedules(1)[0])
        with store.Store(Path({str(tmp_path)!r})) as open_store:
            for number in range(100_000):
                open_store.add(dataclasses.replace(first, key=f"key {{number}}"))
                print(number, flush=True)
        """
    )
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
    assert process.stdout is not None
    said = [int(process.stdout.readline()) for _ in range(23)]
    os.kill(process.pid, signal.SIGKILL)
    said += [int(line) for line in process.stdout.read().splitlines()]
    process.wait()
    process.stdout.close()
    keys = {s.key for s in read_samples(tmp_path)}
    assert {f"key {number}" for number in said} <= keys
    with Store(tmp_path) as store:
        assert len(store) == len(keys)


def test_targets_are_the_best_known_among_completions() -> None:
    """Schedules 0 and 1 share their first action, 2 and 3 another, and 3 failed."""
    times = [5.0, 3.0, 4.0]
    found = schedules(4)
    samples = [sample(s, ms) for s, ms in zip(found, times, strict=False)]
    samples.append(sample(found[3], status="refused"))
    known = best_known(samples)
    best = dict(zip(known.states, np.exp(known.log_ms), strict=True))
    for item, schedule in zip(samples[:3], found, strict=False):
        for state in item.states():
            count = len(state.actions)
            expected = min(
                ms
                for other, ms in zip(found, times, strict=False)
                if other.actions[:count] == schedule.actions[:count]
            )
            assert best[state] == pytest.approx(expected)
    assert all(state.actions != found[3].actions for state in known.states)
    assert known.complete.sum() == 3
    assert set(known.groups) == {PIPELINE.key}
