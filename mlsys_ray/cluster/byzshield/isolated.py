"""The child that `isolation` starts: reads an order from stdin and carries it out.

It ends when the server says so, or when stdin does, which means that its parent has ended.
"""

from __future__ import annotations

import os
import pickle
import shutil
import signal
import sys
from threading import Thread
from typing import BinaryIO

from mlsys_ray.cluster.byzshield.worker_loop import Order


def main() -> None:
    """Run one worker process."""
    stdin = sys.stdin.buffer
    order: Order = pickle.load(stdin)
    Thread(target=_end_with, args=[stdin], daemon=True).start()
    try:
        order.carry_out()
    finally:
        _leave()


def _end_with(stdin: BinaryIO) -> None:
    stdin.read()
    _leave()
    # With all processes that this one started, as far as they stayed in its group.
    os.killpg(0, signal.SIGKILL)


def _leave() -> None:
    """Remove the folder that was made for this process; its parent may be gone already."""
    shutil.rmtree(os.environ["HOME"], ignore_errors=True)


if __name__ == "__main__":
    main()
