"""The process that compiles for the peer `compile`: `PROGRAM PACKAGE NUM_THREADS`."""

from __future__ import annotations

import sys

import torch


def main(program: str, package: str, num_threads: int) -> None:
    """Compile an exported program, a file, into a package for a number of threads."""
    torch.set_num_threads(num_threads)
    with torch.no_grad():
        torch._inductor.aoti_compile_and_package(
            torch.export.load(program),
            package_path=package,
            inductor_configs={"freezing": True, "cpp.threads": num_threads},
        )


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
