"""What is sent to a cluster, and the line that sends it."""

import shlex
import subprocess
from pathlib import Path
from typing import Annotated, get_args, get_origin, get_type_hints

import pytest

from mlsys_ray.cli.main import AnyCommand, main
from mlsys_ray.cluster.package import check_package, package_files

ROOT = Path(__file__).parents[2]


def test_the_package_as_ray_packs_it_is_small_and_has_what_jobs_need():
    tracked = subprocess.run(
        ["git", "-C", ROOT, "ls-files"], capture_output=True, text=True, check=True
    ).stdout.splitlines()
    files = {name: size for name, size in package_files(ROOT).items() if name in tracked}
    assert sum(files.values()) < 5e6
    assert {"mlsys_ray/__init__.py", "envs/vm_placement.py", "pyproject.toml"} <= files.keys()
    for lanes in (8, 16):
        assert f"mlsys_ray/value_learning/models/lanes{lanes}.safetensors" in files
    assert not any(name.startswith(("tests/", "docs/", ".git/")) for name in files)


def test_what_is_too_large_is_named_before_it_is_sent(tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "data/large.bin").write_bytes(bytes(3000))
    (tmp_path / "small.py").write_bytes(bytes(10))
    (tmp_path / "ignored").write_bytes(bytes(5000))
    (tmp_path / ".rayignore").write_text("ignored\n")
    with pytest.raises(
        ValueError, match=r"rayignore[^:]*:\n.*data/large\.bin\n.*small\.py"
    ) as error:
        check_package(tmp_path, limit=2000)
    assert "ignored\n" not in str(error.value)
    assert check_package(tmp_path, limit=10_000) == 3010 + len("ignored\n")


@pytest.mark.parametrize(
    "arguments",
    [
        ["byzshield", "sweep", "--attacks", "alie:1.0", "a b", "--storage", "s3://bucket/it's"],
        ["byzshield", "train", "--run-dir", "/shared/$HOME", "--iterations", "3"],
        ["fireplace", "evaluate", "--trace", "*.csv"],
        ["ios", "study", "--networks", "squeezenet"],
        ["value-learning", "search", "--methods", "beam"],
        ["fireplace", "agents", "--seeds", "1", "2"],
        ["fireplace", "agent", "--storage", "s3://bucket/runs"],
        ["byzshield", "reproduce", "--storage", "s3://bucket/runs", "--figures", "2"],
    ],
)
def test_the_submit_line_runs_the_command_word_for_word(arguments, capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    assert main([*arguments, "--print-submit"]) == 0
    printed = capsys.readouterr()
    words = shlex.split(printed.out)
    assert words[:6] == ["ray", "job", "submit", "--working-dir", ".", "--"]
    assert words[6:] == ["python", "-m", "mlsys_ray", *arguments]
    kept = "--storage" in arguments or "/shared/$HOME" in arguments
    assert ("Ray deletes" in printed.err) != kept
    assert not list(tmp_path.iterdir())


def commands(kind):
    """The classes of all commands below a union of them."""
    for member in get_args(kind):
        if get_origin(member) is not Annotated:
            continue
        inner = get_args(member)[0]
        yield from commands(inner) if get_args(inner) else [inner]


def fields(command):
    hints = get_type_hints(command)
    return set(hints) | (set(get_type_hints(hints["place"])) if "place" in hints else set())


def test_what_runs_on_ray_has_a_storage_for_its_run_directory():
    """Folders of many commands' runs have none, docs/cluster_studies.md says so."""
    on_ray = [c for c in commands(AnyCommand) if {"run_dir", "address"} <= fields(c)]
    assert {c.__name__ for c in on_ray if "storage" not in fields(c)} == {"Demo", "ReproduceAll"}
    assert len(on_ray) > 8


def test_what_does_not_run_on_ray_is_not_submitted(capsys):
    assert main(["byzshield", "distortion", "--print-submit"]) == 2
    assert "not on Ray" in capsys.readouterr().err


def test_a_mistake_is_told_before_anything_is_submitted(capsys):
    with pytest.raises(SystemExit) as error:
        main(["byzshield", "sweep", "--no-such-flag", "--print-submit"])
    assert error.value.code == 2
