"""Downloads of public data sets into the user's cache, each checked by its checksum."""

from __future__ import annotations

import json
import os
import shutil
import tarfile
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory
from typing import Protocol

from filelock import FileLock

from mlsys_ray.archives import ARCHIVES, Archive
from mlsys_ray.data import cache_dir

RECORD = "checksums.json"
"""In the cache: URL -> checksum of its first download, where none was known before."""


class ProgressBar(Protocol):
    """What shows how far a download is; pooch sets `total` [bytes]."""

    total: int

    def update(self, count: int) -> None:
        """`count` more bytes have come."""

    def reset(self) -> None:
        """Begin anew."""

    def close(self) -> None:
        """There will be no more."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Fetched:
    """A data set in the cache.

    Attributes:
        path: the file, or the folder it was unpacked to.
        checksum: of the downloaded file, `algorithm:hex`.
        known_before: whether the checksum was known before the file was first downloaded.
    """

    path: Path
    checksum: str
    known_before: bool


def fetch(name: str, progress: ProgressBar | None = None) -> Fetched:
    """Download a public data set, unless it is in the cache, check it, and unpack it.

    Args:
        name: a key of `ARCHIVES`.
        progress: of the download.

    Raises:
        ValueError: no archive has that name, or the file is not what it was.
        OSError: it cannot be downloaded or written.
    """
    if name not in ARCHIVES:
        raise ValueError(f"name is {name!r}, must be one of {', '.join(ARCHIVES)}")
    archive = ARCHIVES[name]
    cache = cache_dir()
    cache.mkdir(parents=True, exist_ok=True)
    with FileLock(cache / f".{archive.file}.lock"):
        checksum = _download(archive, cache, progress)
        if archive.folder and not (cache / archive.folder).exists():
            _unpack(cache / archive.file, cache / archive.folder)
    return Fetched(
        path=cache / archive.path,
        checksum=checksum,
        known_before=archive.checksum is not None,
    )


def _download(archive: Archive, cache: Path, progress: ProgressBar | None) -> str:
    """The file's checksum, by which it was checked or is to be from now on."""
    import pooch

    record = cache / RECORD
    recorded = json.loads(record.read_text()) if record.exists() else {}
    expected = archive.checksum or recorded.get(archive.url)
    try:
        pooch.retrieve(
            archive.url,
            known_hash=expected,
            fname=archive.file,
            path=cache,
            downloader=pooch.HTTPDownloader(progressbar=progress or False),
        )
    except ValueError as error:
        source = (
            f"the record of your first download; delete its line in {record} if you trust the new"
            if archive.checksum is None
            else "the one this version of mlsys_ray knows"
        )
        raise ValueError(f"{archive.url} has another checksum than {source}: {error}") from error
    if expected:
        return expected
    recorded[archive.url] = f"sha256:{pooch.file_hash(str(cache / archive.file))}"
    temporary = record.with_suffix(".tmp")
    temporary.write_text(json.dumps(recorded, indent=1))
    os.replace(temporary, record)
    return recorded[archive.url]


def _unpack(file: Path, folder: Path) -> None:
    """Unpack to `folder`, whole or not at all.

    Raises:
        ValueError: the file is no archive, or one that would write outside of its folder.
    """
    is_tar = ".tar" in file.name
    # Python has it from 3.11.4 on; before that a member may climb out of the folder.
    safely = {"filter": "data"} if is_tar and hasattr(tarfile, "data_filter") else {}
    with TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}-") as temporary:
        content = Path(temporary) / "content"
        try:
            if is_tar:
                _require_plain(file)
            shutil.unpack_archive(file, content, **safely)  # type: ignore[arg-type]
        except (shutil.ReadError, EOFError, tarfile.TarError) as error:
            raise ValueError(f"{file} cannot be unpacked: {error}") from error
        # Some archives hold one folder of that name, others the files themselves.
        inner = content / folder.name
        (inner if inner.is_dir() else content).rename(folder)


def _require_plain(file: Path) -> None:
    """Check that a tar file has nothing but files and folders below its own.

    Raises:
        tarfile.TarError: it has something else, or is none.
    """
    with tarfile.open(file) as archive:
        for member in archive:
            path = PurePosixPath(member.name)
            if not (member.isfile() or member.isdir()) or path.is_absolute() or ".." in path.parts:
                raise tarfile.ReadError(f"{member.name!r} is no file or folder inside of it")
