import importlib.util
import subprocess
import sys

import pytest
import torch
from torch import nn

from mlsys_ray.ios.peers import (
    ON_CPU,
    MissingPeerError,
    PeerFailedError,
    PeerTask,
    onnx_file,
    prepare_peer,
)

NEEDS = {"onnxruntime": ["onnxruntime", "onnxscript"], "openvino": ["openvino", "onnxscript"]}


class Branches(nn.Module):
    """Two outputs in a dict, of which one leaves early."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 8, 3, bias=False), nn.BatchNorm2d(8), nn.ReLU())
        self.left = nn.Conv2d(8, 8, 1)
        self.right = nn.Conv2d(8, 8, 3, padding=1, groups=8)

    def forward(self, x):
        x = self.stem(x)
        joined = torch.cat([self.left(x), self.right(x).relu()], 1)
        return {"joined": joined, "mean": x.mean((2, 3))}


class DataDependent(nn.Module):
    def forward(self, x):
        return x + 1 if x.sum() > 0 else x


@pytest.fixture(scope="module")
def exports(tmp_path_factory):
    """A cache folder that the tests share which change no weights: an export takes seconds."""
    return tmp_path_factory.mktemp("exports")


@pytest.fixture
def model():
    torch.manual_seed(0)
    model = Branches()
    model(torch.randn(16, 3, 9, 9))
    return model.eval()


def task_of(model, tmp_path, **changes):
    settings = {"num_threads": 2, "cache_folder": tmp_path, **changes}
    return PeerTask(model=model, example_inputs=[torch.randn(2, 3, 11, 13)], **settings)


def prepared(name, task):
    for package in NEEDS.get(name, []):
        if importlib.util.find_spec(package) is None:
            pytest.skip(f"{package} is not installed")
    return prepare_peer(name, task)


def assert_runs(peer, model):
    for _ in range(2):
        x = torch.randn(2, 3, 11, 13)
        with torch.inference_mode():
            expected = list(model(x).values())
        for found, wanted in zip(peer.run(x), expected, strict=True):
            assert (found - wanted).abs().max() <= 1e-4 * wanted.abs().max()


@pytest.mark.parametrize(
    "name", ["eager", "onnxruntime", "openvino", pytest.param("compile", marks=pytest.mark.slow)]
)
def test_a_peer_gives_what_the_model_gives(name, model, exports):
    threads = torch.get_num_threads()
    with prepared(name, task_of(model, exports)) as peer:
        assert peer.version
        assert_runs(peer, model)
        first = peer.run(torch.zeros(2, 3, 11, 13))
        kept = [y.clone() for y in first]
        peer.run(torch.ones(2, 3, 11, 13))
        assert all(torch.equal(a, b) for a, b in zip(first, kept, strict=True))
    assert torch.get_num_threads() == threads
    assert model.stem[0].weight.is_contiguous()


@pytest.mark.slow
def test_an_exported_model_is_kept_by_its_content(model, tmp_path):
    lines = []
    prepared("onnxruntime", task_of(model, tmp_path, tell=lines.append))
    prepared("openvino", task_of(model, tmp_path, tell=lines.append))
    assert len(lines) == 1
    with torch.no_grad():
        model.left.weight.mul_(2)
    with prepared("onnxruntime", task_of(model, tmp_path, tell=lines.append)) as peer:
        assert_runs(peer, model)
    assert len(lines) == 2
    wider = PeerTask(model=model, example_inputs=[torch.randn(2, 3, 11, 14)], num_threads=1)
    assert wider.key != task_of(model, tmp_path).key


def test_what_fails_leaves_nothing_that_is_taken_for_finished(model, tmp_path):
    task = task_of(model, tmp_path)

    def broken(path):
        path.write_text("half")
        raise RuntimeError("disk full")

    with pytest.raises(RuntimeError, match="disk full"):
        task.kept("file", broken)
    assert task.kept("file", lambda path: path.write_text("whole")).read_text() == "whole"
    assert [path.name for path in (tmp_path / task.key).iterdir()] == ["file"]


def test_a_missing_tool_is_told_with_what_installs_it(model, tmp_path, monkeypatch):
    monkeypatch.setattr(
        onnx_file.importlib.metadata, "version", raising(onnx_file.importlib.metadata)
    )
    for name in ("onnxruntime", "openvino"):
        with pytest.raises(MissingPeerError, match=r"pip install 'mlsys-ray\[peers\]'"):
            prepare_peer(name, task_of(model, tmp_path))


def raising(metadata):
    def version(package):
        raise metadata.PackageNotFoundError(package)

    return version


def test_a_model_that_cannot_be_exported_fails_where_it_must_be(tmp_path):
    model = DataDependent().eval()
    task = task_of(model, tmp_path)
    (found,) = prepare_peer("eager", task).run(torch.ones(2, 3, 11, 13))
    assert torch.equal(found, torch.full((2, 3, 11, 13), 2.0))
    for name in ON_CPU[1:]:
        with pytest.raises(PeerFailedError, match="cannot be exported"):
            prepared(name, task)


def test_a_compilation_ends_at_its_time_limit_with_all_of_its_processes(model, tmp_path):
    lines = []
    task = task_of(model, tmp_path, time_limit=1, tell=lines.append)
    with pytest.raises(PeerFailedError, match="not compiled after 1 s"):
        prepare_peer("compile", task)
    assert "at most 1 s" in lines[0]
    assert list((tmp_path / task.key).iterdir()) == []
    running = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True).stdout
    assert str(tmp_path) not in running


@pytest.mark.slow
def test_a_compiled_model_is_kept(model, tmp_path):
    prepare_peer("compile", task_of(model, tmp_path))
    lines = []
    with prepare_peer("compile", task_of(model, tmp_path, tell=lines.append)) as peer:
        assert_runs(peer, model)
    assert lines == []


def test_only_the_asked_tool_is_imported():
    program = (
        "import sys, mlsys_ray.ios.peers;"
        " print([n for n in ('onnxruntime', 'openvino', 'ray') if n in sys.modules])"
    )
    found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert found.stdout.strip() == "[]", found.stderr


def test_wrong_use_is_refused(model, tmp_path):
    with pytest.raises(ValueError, match="accepted: eager"):
        prepare_peer("tensorrt", task_of(model, tmp_path))
    with pytest.raises(ValueError, match="num_threads"):
        task_of(model, tmp_path, num_threads=0)
    with pytest.raises(ValueError, match="training mode"):
        task_of(Branches(), tmp_path)
