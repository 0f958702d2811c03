"""What runs publish: by the rules for names and tags, for as long as they last, and for real."""

import contextlib
import json
import os
import re
import secrets
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path

import psutil
import pytest
import yaml
from waiting import wait_until

from mlsys_ray.cluster import metrics
from mlsys_ray.cluster.local_cluster import free_port

CONFIGS = Path(__file__).parents[2] / "experiments" / "cluster"
DASHBOARD = CONFIGS / "grafana_dashboard.json"
CLOSED = {
    "scheme": "assignment codes",
    "rule": "aggregation rules",
    "attack": "attacks",
    "part": "parts of an iteration",
    "kind": "election.EVENTS",
    "network": "ios.networks",
    "strategy": "ios_study.Strategy",
    "status": "statuses of a measurement",
    "layer": "held_out_pipelines",
    "method": "search methods",
    "policy": "placement policies",
}
LAYER = "resnet50 3x3 256-256 14"
ITERATIONS = 100
RUNS = {
    "train": [
        *("byzshield", "train", "--processes", "2", "--batch-size", "75"),
        *("--iterations", str(ITERATIONS), "--eval-interval", "5"),
        *("--byzantine", "2", "--attack", "constant"),
    ],
    "evaluate": [
        *("fireplace", "evaluate", "--num-vms", "500", "--num-pms", "5", "--num-seeds", "2"),
        *("--policies", "least_requested,certainty_equivalent"),
    ],
    "search": [
        *("value-learning", "search", "--methods", "random", "--layers", LAYER),
        *("--trials", "4"),
    ],
    "study": [
        *("ios", "study", "--networks", "squeezenet", "--strategies", "ios_merge"),
        *("--group-sizes", "1", "--num-threads", "1", "--search-seconds", "1"),
    ],
}
"""Commands by the name of their run directory."""
ALL = """
import sys
from mlsys_ray.cli import main
for line in sys.stdin:
    code = main(line.rstrip("\\n").split("\\t"))
    if code:
        sys.exit(f"{line}ended with {code}")
"""


def test_names_and_tags_follow_the_rules():
    names = [metric.name for metric in metrics.METRICS]
    assert len(names) == len(set(names)) > 10
    for metric in metrics.METRICS:
        assert re.fullmatch(
            r"mlsys_ray_(byzshield|fireplace|ios|value_learning)_[a-z_]+", metric.name
        )
        assert not metric.name.endswith("_total"), "Ray appends it"
        assert set(metric.tags) <= CLOSED.keys()
        assert metric.help


def test_a_gauge_is_set_again_while_its_block_lasts_and_not_afterwards(monkeypatch):
    class Instrument:
        def __init__(self):
            self.seen = []

        def set(self, value, tags):
            self.seen.append((value, tags))

    instrument = Instrument()
    monkeypatch.setattr(metrics, "HEARTBEAT_SECONDS", 0.01)
    monkeypatch.setattr(metrics, "_is_connected", lambda: True)
    monkeypatch.setattr(metrics, "_instrument", lambda metric: instrument)
    with metrics.Publisher() as publisher:
        publisher.set(metrics.FIREPLACE_PAR, 1.5, policy="fireplace")
        publisher.set(metrics.FIREPLACE_PAR, 1.25, policy="fireplace")
        wait_until(lambda: len(instrument.seen) > 5, "no heartbeat")
    number = len(instrument.seen)
    assert set(map(repr, instrument.seen[2:])) == {repr((1.25, {"policy": "fireplace"}))}
    time.sleep(0.1)
    assert len(instrument.seen) == number


def test_where_ray_is_not_connected_nothing_is_loaded_or_sent():
    script = (
        "import sys\n"
        "from mlsys_ray.cluster import metrics\n"
        "with metrics.Publisher() as publisher:\n"
        "    publisher.set(metrics.FIREPLACE_PAR, 1.0, policy='fireplace')\n"
        "    publisher.add(metrics.FIREPLACE_PLACEMENTS, 1, policy='fireplace')\n"
        "assert 'ray' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True)


def test_the_dashboard_is_what_its_script_makes():
    script = CONFIGS / "grafana_dashboard.py"
    made = subprocess.run([sys.executable, str(script)], check=True, capture_output=True, text=True)
    assert made.stdout == DASHBOARD.read_text()


def test_the_dashboard_shows_every_metric():
    text = "\n".join(queries())
    assert [m.series for m in metrics.METRICS if f"{m.series}{{" not in text] == []
    assert all("last_over_time" in query or "rate(" in query for query in queries())


def queries():
    """Of all panels of the dashboard, with values for Grafana's variables."""
    panels = json.loads(DASHBOARD.read_text())["panels"]
    found = [target["expr"] for panel in panels for target in panel.get("targets", ())]
    return [q.replace("$SessionName", ".+").replace("$__rate_interval", "15m") for q in found]


def sessions():
    """What the dashboard lists Ray sessions by."""
    variables = json.loads(DASHBOARD.read_text())["templating"]["list"]
    (query,) = [v["query"] for v in variables if v["name"] == "SessionName"]
    return re.fullmatch(r"label_values\((\w+), SessionName\)", query)[1]


class Prometheus:
    """A server of Debian's package, with its own folder and port."""

    def __init__(self, folder, config):
        self._url = f"http://127.0.0.1:{(port := free_port())}"
        folder.mkdir()
        path = folder / "prometheus.yml"
        path.write_text(yaml.safe_dump(config))
        subprocess.run(["promtool", "check", "config", path], check=True, capture_output=True)
        command = ["prometheus", f"--config.file={path}", f"--storage.tsdb.path={folder / 'data'}"]
        command += [f"--web.listen-address=127.0.0.1:{port}"]
        with (folder / "log").open("w") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log)

    def ask(self, query):
        """The value of each series, by its labels."""
        url = f"{self._url}/api/v1/query?{urllib.parse.urlencode({'query': query})}"
        try:
            with urllib.request.urlopen(url, timeout=30) as answer:
                found = json.load(answer)
        except ConnectionError:
            return {}
        except urllib.error.URLError as error:
            if isinstance(error.reason, ConnectionError):
                return {}
            raise AssertionError(f"{query}: {error.read()}") from error
        return {
            frozenset(series["metric"].items()): float(series["value"][1])
            for series in found["data"]["result"]
        }


def configs(head, folder):
    """How Prometheus finds the nodes: by our file over HTTP, and by the file that Ray writes."""
    text = (CONFIGS / "prometheus.yml").read_text()
    ours = yaml.safe_load(text.replace("HEAD:8265", head.dashboard))
    (token := folder / "token").write_text(head.environment["RAY_AUTH_TOKEN"])
    ours["scrape_configs"][0]["http_sd_configs"][0]["authorization"]["credentials_file"] = str(
        token
    )
    rays = folder / "ray" / "session_latest" / "metrics" / "prometheus" / "prometheus.yml"
    found = {"http": ours, "file": yaml.safe_load(rays.read_text())}
    for config in found.values():
        config["global"] = {"scrape_interval": "1s"}
    return found


class Head:
    """A cluster of one node on this machine, with a token of its own."""

    def __init__(self, folder):
        self.environment = {
            **os.environ,
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN": secrets.token_hex(32),
            "RAY_USAGE_STATS_ENABLED": "0",
            "RAY_metrics_report_interval_ms": "1000",
        }
        self.dashboard = f"127.0.0.1:{(port := free_port())}"
        command = [sys.executable, "-m", "ray.scripts.scripts", "start", "--head", "--block"]
        command += [f"--temp-dir={folder / 'ray'}", "--port=0", f"--dashboard-port={port}"]
        command += [f"--ray-client-server-port={free_port()}"]
        command += [f"--dashboard-agent-listen-port={free_port()}"]
        command += ["--num-cpus=2", "--object-store-memory=200000000"]
        with (log := folder / "head.log").open("w") as file:
            started = subprocess.Popen(command, env=self.environment, stdout=file, stderr=file)
        self.process = psutil.Process(started.pid)
        wait_until(lambda: "Ray runtime started" in log.read_text(), "the head does not start")
        address = (folder / "ray" / "ray_current_cluster").read_text().strip()
        self.environment["RAY_ADDRESS"] = address


def end(process):
    """A process and all that it started."""
    with contextlib.suppress(psutil.NoSuchProcess):
        family = [process, *process.children(recursive=True)]
        for member in family:
            with contextlib.suppress(psutil.NoSuchProcess):
                member.kill()
        psutil.wait_procs(family, timeout=10)


@pytest.fixture
def monitored():
    """A cluster, and a Prometheus for each way to find its nodes."""
    if not shutil.which("prometheus"):
        pytest.skip("prometheus is not installed")
    with contextlib.ExitStack() as stack:
        # Sockets lie in it, whose paths may not be long.
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="ray-")))
        head = Head(folder)
        stack.callback(end, head.process)
        servers = {}
        for name, config in configs(head, folder).items():
            servers[name] = Prometheus(folder / name, config)
            stack.callback(servers[name].process.wait)
            stack.callback(servers[name].process.terminate)
        # A gauge is gone soon after its run: nodes have to be known before.
        for name, server in servers.items():
            wait_until(lambda: server.ask("ray_node_mem_total"), f"{name} finds no node")  # noqa: B023
        yield head.environment, servers


def test_the_documentation_has_every_metric():
    text = (CONFIGS.parents[1] / "docs" / "cluster.md").read_text()
    for metric in metrics.METRICS:
        tags = ", ".join(metric.tags) or "–"
        assert f"| `{metric.name}` | {metric.kind} | {tags} | {metric.help} |" in text


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_every_panel_shows_what_was_run(monitored, tmp_path):
    environment, servers = monitored
    lines = ["\t".join([*run, "--run-dir", str(tmp_path / name)]) for name, run in RUNS.items()]
    done = subprocess.run(
        [sys.executable, "-c", ALL],
        input="\n".join(lines),
        env=environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-5000:]
    training, placement = (
        json.loads((tmp_path / name / "summary.json").read_text()) for name in ("train", "evaluate")
    )
    rows = map(json.loads, (tmp_path / "train" / "metrics.jsonl").read_text().splitlines())
    # A run ends within a second of its last accuracy, which a server may just miss.
    accuracies = [row["test_accuracy"] for row in rows if row["test_accuracy"] is not None]
    par = f"last_over_time({metrics.FIREPLACE_PAR.series}{{policy='least_requested'}}[15m])"
    truth = {
        metrics.BYZSHIELD_ITERATIONS.series: [ITERATIONS],
        f"{metrics.BYZSHIELD_EVENTS.series}{{kind='outvoted'}}": [training["events"]["outvoted"]],
        f"last_over_time({metrics.BYZSHIELD_ACCURACY.series}[15m])": accuracies,
        par: [placement["par_least_requested"]],
    }
    for name, server in servers.items():
        for query, values in truth.items():
            wait_until(
                lambda: any([*server.ask(query).values()] == [pytest.approx(v)] for v in values),  # noqa: B023
                lambda: f"by {name}, {query} is {server.ask(query)}, should be among {values}",  # noqa: B023
            )
        for query in [*queries(), sessions()]:
            found = wait_until(lambda: server.ask(query), f"by {name}: nothing for {query}")  # noqa: B023
            assert all(value >= 0 for value in found.values())
