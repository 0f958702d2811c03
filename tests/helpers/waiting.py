"""Waiting for what other processes and threads do."""

import time


def wait_until(condition, otherwise, seconds=120.0):
    """The first true value of a condition.

    Where there is none in time, the test fails with `otherwise`: a text, or what makes one.
    """
    end = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < end, otherwise() if callable(otherwise) else otherwise
        time.sleep(0.1)
    return found


def first_row(rows, condition, seconds=90.0):
    """The first row of a training that meets a condition."""
    end = time.monotonic() + seconds
    for row, _ in rows:
        if condition(row):
            return row
        assert time.monotonic() < end, f"still {row}"
    raise AssertionError("the run ended before that")
