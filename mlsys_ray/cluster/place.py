"""Where a run happens."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, kw_only=True, slots=True)
class Place:
    """Where and how a run happens; none of it changes what is computed.

    Raises:
        ValueError: naming the field, its value and what is accepted.
    """

    run_dir: Path | None = None
    """Run directory; by default a new one under runs/."""
    storage: str | None = None
    """Where the run directory is kept, under its name: a path, s3://bucket/folder or
    gs://bucket/folder. With --resume, what is there of the run is taken from there."""
    resume: bool = False
    """Go on with the run in the run directory, from its last checkpoint."""
    checkpoint_interval: int = 25
    """The training state is saved every so often [iterations]."""
    data_dir: Path | None = None
    """Folder with the data set; searched before MLSYS_RAY_DATA and the user cache."""
    in_process: bool = False
    """Run all workers in this process, without Ray."""
    share_replicas: bool = False
    """Compute each file once for all honest workers that hold it; only with in_process."""
    address: str | None = None
    """Ray cluster to attach to, host:port or auto; by default RAY_ADDRESS, else a local one."""
    processes: int | None = None
    """Worker processes, among which the workers are shared out; by default one a CPU."""
    encrypt: bool = False
    """Encrypt what travels between server and worker processes (CURVE)."""
    isolate: str | None = None
    """User whose processes run worker code, such as nobody, out of reach of the cluster's token;
    needs root on every node. docs/byzshield_transport.md says what it holds off."""
    isolate_python: str | None = None
    """Interpreter for isolate, where that user cannot run the one of this process."""

    def __post_init__(self) -> None:
        if self.checkpoint_interval < 1:
            raise ValueError(
                f"checkpoint_interval is {self.checkpoint_interval}, must be at least 1"
            )
        if self.resume and self.run_dir is None:
            raise ValueError("resume needs run_dir, the run directory to go on with")
        if self.share_replicas and not self.in_process:
            raise ValueError("share_replicas needs in_process: processes share no gradients")
        if self.isolate_python and not self.isolate:
            raise ValueError("isolate_python needs isolate, the user who runs it")
        names = ("address", "processes", "encrypt", "isolate")
        ignored = {name: getattr(self, name) for name in names}
        if self.in_process and (given := [name for name, value in ignored.items() if value]):
            raise ValueError(f"in_process uses no cluster: leave {' and '.join(given)} out")
