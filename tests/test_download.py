"""Downloads, from a server on this machine that also fails in the ways servers do."""

import hashlib
import io
import json
import socket
import tarfile
import threading
import zipfile
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

from mlsys_ray import archives
from mlsys_ray.archives import ARCHIVES, Archive
from mlsys_ray.cli.main import main
from mlsys_ray.data import cache_dir, find_data
from mlsys_ray.download import RECORD, fetch
from mlsys_ray.exit_codes import ExitCode
from mlsys_ray.fireplace.traces import read_trace
from mlsys_ray.fireplace.traces.composite import PLANETLAB_DAYS, openb_planetlab

CSV = (
    "vmid,cpu,memory,time,type\n"
    "1,2,4,100,0\n"
    "2,1,2,200,0\n"
    "1,2,4,700,1\n"
)  # fmt: skip


class Server:
    """Serves `content` by path, and counts what it was asked for."""

    def __init__(self):
        self.content = {}
        self.cut = set()
        self.asked = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                outer.asked.append(self.path)
                body = outer.content.get(self.path)
                if body is None:
                    self.send_error(404)
                    return
                self.send_response(200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body[: len(body) // 2] if self.path in outer.cut else body)

            def log_message(self, *arguments):
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.http.server_port}"
        threading.Thread(target=self.http.serve_forever, daemon=True).start()


@pytest.fixture(scope="module")
def running():
    server = Server()
    yield server
    server.http.shutdown()
    server.http.server_close()


@pytest.fixture
def server(running, tmp_path, monkeypatch):
    """The server, empty, with a catalogue and a cache of this test alone."""
    running.content, running.cut, running.asked = {}, set(), []
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(archives, "ARCHIVES", dict(ARCHIVES))
    for module in ("mlsys_ray.download", "mlsys_ray.data"):
        monkeypatch.setattr(f"{module}.ARCHIVES", archives.ARCHIVES)
    return running


def offer(server, name, body, *, path=None, **changes):
    """Let an archive of the catalogue be one of the server's."""
    path = path or f"/{name}"
    server.content[path] = body
    archives.ARCHIVES[name] = replace(ARCHIVES[name], url=server.url + path, **changes)


def sha256(body):
    return "sha256:" + hashlib.sha256(body).hexdigest()


def test_a_known_checksum_is_demanded(server):
    offer(server, "openb", b"right", checksum=sha256(b"right"))
    fetched = fetch("openb")
    assert fetched.path.read_bytes() == b"right"
    assert fetched.known_before
    assert fetched.checksum == sha256(b"right")
    assert not (cache_dir() / RECORD).exists()

    offer(server, "huawei_east_1", b"wrong", checksum=sha256(b"right"))
    with pytest.raises(ValueError, match="another checksum than the one this version"):
        fetch("huawei_east_1")
    assert not (cache_dir() / ARCHIVES["huawei_east_1"].file).exists()


def test_the_first_download_is_trusted_and_later_ones_checked_by_it(server):
    offer(server, "huawei_east_1", CSV.encode(), checksum=None)
    first = fetch("huawei_east_1")
    assert not first.known_before
    assert first.checksum == sha256(CSV.encode())
    url = archives.ARCHIVES["huawei_east_1"].url
    assert json.loads((cache_dir() / RECORD).read_text()) == {url: sha256(CSV.encode())}

    first.path.unlink()
    assert fetch("huawei_east_1") == first

    first.path.unlink()
    offer(server, "huawei_east_1", b"changed", checksum=None)
    with pytest.raises(ValueError, match="than the record of your first download; delete its"):
        fetch("huawei_east_1")
    assert not first.path.exists()


def test_what_is_in_the_cache_is_not_asked_for_again_unless_it_is_damaged(server):
    offer(server, "huawei_east_1", CSV.encode(), checksum=None)
    path = fetch("huawei_east_1").path
    fetch("huawei_east_1")
    assert len(server.asked) == 1
    path.write_text("damaged")
    assert fetch("huawei_east_1").path.read_text() == CSV
    assert len(server.asked) == 2


def test_a_download_that_breaks_off_leaves_nothing(server):
    offer(server, "huawei_east_1", CSV.encode() * 1000, checksum=None)
    server.cut.add("/huawei_east_1")
    with pytest.raises(OSError, match="IncompleteRead"):
        fetch("huawei_east_1")
    assert not (cache_dir() / ARCHIVES["huawei_east_1"].file).exists()
    assert not (cache_dir() / RECORD).exists()


def tar_of(members, kind="xz"):
    body = io.BytesIO()
    with tarfile.open(fileobj=body, mode=f"w:{kind}") as file:
        for name, content in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            file.addfile(member, io.BytesIO(content))
    return body.getvalue()


def zip_of(members):
    body = io.BytesIO()
    with zipfile.ZipFile(body, "w") as file:
        for name, content in members.items():
            file.writestr(name, content)
    return body.getvalue()


@pytest.mark.parametrize("inside", ["", "azure-functions-2019/"])
def test_archives_are_unpacked_to_their_folder(server, inside):
    offer(server, "azure_functions_2019", tar_of({f"{inside}a.csv": b"1"}), checksum=None)
    folder = fetch("azure_functions_2019").path
    assert [file.name for file in folder.iterdir()] == ["a.csv"]
    assert (folder / "a.csv").read_bytes() == b"1"


def test_what_is_no_archive_or_climbs_out_is_refused(server, tmp_path):
    offer(server, "azure_packing_2020", b"no zip file", checksum=None)
    with pytest.raises(ValueError, match="cannot be unpacked"):
        fetch("azure_packing_2020")
    for content in (tar_of({"../../escaped": b"1"}), tar_of({"/tmp/escaped": b"1"}), b"no tar"):
        offer(server, "azure_functions_2019", content, checksum=None)
        with pytest.raises(ValueError, match="cannot be unpacked"):
            fetch("azure_functions_2019")
        (cache_dir() / RECORD).unlink()
        (cache_dir() / "azure-functions-2019.tar.xz").unlink()
    assert not list(tmp_path.rglob("escaped"))
    left = {path.name for path in cache_dir().iterdir() if not path.name.endswith(".lock")}
    assert left == {"azure-packing-2020.zip"}


def test_the_command_says_what_was_checked_and_what_to_do_next(server, capsys):
    offer(server, "huawei_east_1", CSV.encode(), checksum=None)
    assert main(["fetch", "huawei_east_1", "--json"]) == ExitCode.DONE
    shown = capsys.readouterr()
    record = json.loads(shown.out)
    assert record["checksum"] == sha256(CSV.encode())
    assert not record["known_before"]
    assert "recorded at your first download" in shown.err
    assert f"mlsys-ray fireplace trace {record['path']} --format huawei_east_1" in shown.err
    assert read_trace(Path(record["path"]), format="huawei_east_1").trace.num_vms == 2


def test_the_command_offline_and_with_a_wrong_name(server, capsys):
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    url = f"http://127.0.0.1:{port}/a"
    archives.ARCHIVES["openb"] = replace(ARCHIVES["openb"], url=url)
    assert main(["fetch", "openb"]) == ExitCode.ENVIRONMENT_MISSING
    assert "are you online?" in capsys.readouterr().err
    offer(server, "openb", b"")
    del server.content["/openb"]
    assert main(["fetch", "openb"]) == ExitCode.ENVIRONMENT_MISSING
    assert "404" in capsys.readouterr().err
    offer(server, "openb", b"other", checksum=sha256(b"right"))
    assert main(["fetch", "openb"]) == ExitCode.USAGE
    assert main(["fetch", "nothing"]) == ExitCode.USAGE
    assert "must be one of cifar10, openb, planetlab" in capsys.readouterr().err


def test_the_composite_is_made_of_what_was_fetched(server, monkeypatch):
    """Of the published ten days only those are used that the documented results rest on."""
    monkeypatch.delenv("MLSYS_RAY_DATA", raising=False)
    rng = np.random.default_rng(0)
    days = (*PLANETLAB_DAYS[:2], "20110420")
    values = {day: rng.integers(0, 101, 288) for day in days}
    values["20110420"][:] = 77
    root = ARCHIVES["planetlab"].folder
    text = {f"{root}/{day}/vm": "\n".join(map(str, row)) for day, row in values.items()}
    offer(server, "planetlab", zip_of({f"{root}/README": "x", **text}))
    header = "name,cpu_milli,memory_mib,num_gpu,gpu_milli,gpu_spec,qos,pod_phase,"
    pods = header + "creation_time,deletion_time,scheduled_time\n"
    pods += "".join(
        f"p{i},1000,2048,0,0,,LS,Running,{i * 60},{i * 60 + 6000},0\n" for i in range(9)
    )
    offer(server, "openb", pods.encode(), checksum=sha256(pods.encode()))
    assert find_data("openb", [ARCHIVES["openb"].file], fetch("openb").path.parent)
    fetch("planetlab")
    trace = openb_planetlab("train", num_vms=50, alive=10)
    shares = set(np.round(100 * trace.use[:, 0] / trace.request[0, 0]).astype(int))
    seen = set(np.concatenate([values[day] for day in PLANETLAB_DAYS[:2]]).tolist())
    assert len(shares & seen) > 50
    assert trace.num_vms == 50


@pytest.mark.parametrize("name", ARCHIVES)
def test_the_catalogue_is_well_formed(name):
    archive = ARCHIVES[name]
    assert isinstance(archive, Archive)
    assert archive.url.startswith("https://")
    if archive.checksum is not None:
        kind, digest = archive.checksum.split(":")
        assert len(digest) == {"md5": 32, "sha256": 64}[kind]
    files = [other.file for other in ARCHIVES.values()]
    assert files.count(archive.file) == 1
    for kind in (".tar.gz", ".tar.xz", ".zip"):
        if archive.file.endswith(kind):
            assert archive.folder
