"""Worker code in a child process of another user, out of reach of the cluster's token.

A process of the same user can read the token from the environment of a Ray process, write to its
memory and send it signals; one of another user can not. So a trusted process that belongs to Ray
starts the child, hands it its order through a pipe, waits for it to end, and never reads anything
from it. All that the child says goes to the server, as `worker_loop` says it anywhere.
"""

from __future__ import annotations

import os
import pickle
import pwd
import re
import shutil
import signal
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import psutil

import mlsys_ray
from mlsys_ray.exit_codes import EnvironmentMissingError

PROBE_SECONDS = 120.0
FOLDER_PREFIX = "mlsys-ray-isolated-"
CAPABILITIES = {"CAP_CHOWN": 0, "CAP_KILL": 5, "CAP_SETGID": 6, "CAP_SETUID": 7}
KEPT_VARIABLES = ("LANG", "LD_LIBRARY_PATH", "PATH", "TZ")
KEPT_PREFIXES = ("ATEN_", "DNNL_", "KMP_", "MKL_", "OMP_", "ONEDNN_", "OPENBLAS_")
"""Of variables that the bits of a gradient may depend on."""

EXPOSED = 3
PROBE = """
import importlib, importlib.util, os, re, sys
expected, *secrets = sys.argv[1:]
found = "%d.%d" % sys.version_info[:2]
if found != expected:
    sys.exit(f"it is Python {found}, and the cluster's is {expected}")
for name in ("numpy", "zmq", "mlsys_ray.byzshield.transport"):
    importlib.import_module(name)
if importlib.util.find_spec("torch") is None:
    sys.exit("it finds no torch")
if int(re.search(r"^CapEff:\\s*(\\w+)", open("/proc/self/status").read(), re.M)[1], 16):
    sys.exit("it keeps capabilities of its parent")
for secret in (f"/proc/{os.getppid()}/environ", *secrets):
    if os.access(secret, os.R_OK) or os.access(secret, os.W_OK):
        print(secret, file=sys.stderr)
        sys.exit(3)
"""


class IsolationError(EnvironmentMissingError, ValueError):
    """Worker code cannot be run as the user that was asked for, on this machine."""


@dataclass(frozen=True, kw_only=True)
class Isolation:
    """Who runs worker code, and with what.

    Attributes:
        user: name of a user of every node, such as nobody.
        python: an interpreter that this user can run, on every node; None is the cluster's own.
    """

    user: str
    python: str | None = None

    def check(self, *private: Path) -> None:
        """Try it on this machine, with a child that looks at what it could reach.

        Args:
            private: what the user must not be able to read or write, besides files with the
                token. Ray's session folder is one: it makes it writable for everybody, and who can
                put another socket or package there has the Ray processes that start later.

        Raises:
            IsolationError: it cannot be done here, with the reason and what to do.
        """
        if os.environ.get("RAY_AUTH_MODE") != "token":
            self._refuse("without a token any user may use the cluster", "set RAY_AUTH_MODE=token")
        try:
            account = pwd.getpwnam(self.user)
        except KeyError:
            self._refuse("there is no such user", "name one of every node, such as nobody")
        if account.pw_uid in (0, os.geteuid()):
            self._refuse("that is root or the user of Ray itself", "name another, such as nobody")
        if lacking := _lacking_capabilities():
            self._refuse(
                f"user {os.geteuid()} may not start processes of others, it lacks"
                f" {', '.join(lacking)}",
                "start Ray as root, or put workers into containers of their own",
            )
        self._probe([*_token_files(), *private])

    @contextmanager
    def start(self, *arguments: str, **pipes: Any) -> Iterator[subprocess.Popen[bytes]]:
        """Run the interpreter as the user, in a folder of its own; both are gone afterwards.

        Args:
            arguments: of the interpreter.
            pipes: stdin, stdout and stderr as `subprocess.Popen` takes them.
        """
        account = pwd.getpwnam(self.user)
        _remove_left_folders()
        folder = tempfile.mkdtemp(prefix=f"{FOLDER_PREFIX}{os.getpid()}-")
        os.chown(folder, account.pw_uid, account.pw_gid)
        try:
            with subprocess.Popen(
                [self._interpreter, *arguments],
                user=account.pw_uid,
                group=account.pw_gid,
                extra_groups=(),
                umask=0o077,
                cwd=folder,
                env=_environment(folder),
                start_new_session=True,
                **pipes,
            ) as process:
                try:
                    yield process
                finally:
                    with suppress(ProcessLookupError):
                        os.killpg(process.pid, signal.SIGKILL)
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def run(self, order: object) -> None:
        """Have a child carry out an `Order`; returns when it has ended."""
        with self.start("-m", "mlsys_ray.cluster.byzshield.isolated", stdin=subprocess.PIPE) as it:
            assert it.stdin is not None
            pickle.dump(order, it.stdin)
            it.stdin.flush()
            # Still open: its end tells the child that this process has ended.
            it.wait()

    @property
    def _interpreter(self) -> str:
        return self.python or sys.executable

    def _probe(self, private: Sequence[Path]) -> None:
        version = "{}.{}".format(*sys.version_info)
        arguments = ["-c", PROBE, version, *map(str, private)]
        remedy = (
            "install Python and the packages where every user can read them (not in a home"
            " folder), or name an interpreter of the same version with isolate_python"
        )
        try:
            with self.start(*arguments, stderr=subprocess.PIPE) as child:
                _, told = child.communicate(timeout=PROBE_SECONDS)
        except (OSError, subprocess.SubprocessError) as error:
            self._refuse(f"{self._interpreter} cannot be run: {error}", remedy)
        if child.returncode == EXPOSED:
            self._refuse(
                f"it can read or write {told.decode(errors='replace').strip()}",
                "keep it in a folder that only the user of Ray can enter (Ray's session: start it"
                " with --temp-dir)",
            )
        if child.returncode:
            reason = told.decode(errors="replace").strip().splitlines()[-1:] or ["it failed"]
            self._refuse(f"{self._interpreter} was tried: {reason[0]}", remedy)

    def _refuse(self, reason: str, remedy: str) -> NoReturn:
        raise IsolationError(f"isolate is {self.user!r}, which cannot be used: {reason}; {remedy}")


def _remove_left_folders() -> None:
    """Remove folders of children that were killed together with the process that started them."""
    for folder in Path(tempfile.gettempdir()).glob(f"{FOLDER_PREFIX}*"):
        pid = folder.name.removeprefix(FOLDER_PREFIX).partition("-")[0]
        if pid.isdecimal() and not psutil.pid_exists(int(pid)):
            shutil.rmtree(folder, ignore_errors=True)


def _lacking_capabilities() -> list[str]:
    status = Path("/proc/self/status").read_text()
    found = re.search(r"^CapEff:\s*(\w+)", status, re.MULTILINE)
    effective = int(found.group(1), 16) if found else 0
    return [name for name, bit in CAPABILITIES.items() if not effective >> bit & 1]


def _token_files() -> list[Path]:
    """Files with the cluster's token, whether they exist or not."""
    named = os.environ.get("RAY_AUTH_TOKEN_PATH")
    return [Path.home() / ".ray" / "auth_token", *([Path(named)] if named else [])]


def _environment(folder: str) -> dict[str, str]:
    """What the child's processes see; nothing of Ray, and what is imported here can be there."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if name in KEPT_VARIABLES or name.startswith(KEPT_PREFIXES)
    }
    own = {"HOME": folder, "TMPDIR": folder, "PYTHONDONTWRITEBYTECODE": "1"}
    return {**kept, **own, "PYTHONNOUSERSITE": "1", "PYTHONPATH": os.pathsep.join(_import_path())}


def _import_path() -> list[str]:
    """Where packages are imported from here, but for the standard library."""
    standard = Path(sysconfig.get_path("stdlib"))
    left_out = {standard, standard / "lib-dynload"}
    paths = [str(Path(mlsys_ray.__file__).parents[1]), *(os.path.abspath(p) for p in sys.path)]
    return [
        path
        for path in dict.fromkeys(paths)
        if Path(path) not in left_out and not path.endswith(".zip")
    ]
