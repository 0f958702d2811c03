import socket
import threading

import pytest

from mlsys_ray.cluster import nodes, session
from mlsys_ray.cluster.session import check_address, ray_session, token_source
from mlsys_ray.exit_codes import EnvironmentMissingError


def test_a_local_cluster_says_where_it_and_its_dashboard_are(cluster):
    assert cluster.startswith("Ray: local ")
    assert "1 node(s), 2 CPUs, dashboard http://" in cluster
    with ray_session() as description:
        assert description == ""


def test_a_disk_that_holds_less_than_the_object_store_is_told(cluster, monkeypatch):
    import ray

    store = int(ray.nodes()[0]["Resources"]["object_store_memory"])
    free = {"bytes": store + 50}
    monkeypatch.setattr(nodes, "disk_of_session", lambda: ("/spill", free["bytes"], 1000))
    assert nodes.little_room() == []
    free["bytes"] = store
    (line,) = nodes.little_room()
    assert f"object store of {store:,} bytes spills to /spill" in line
    assert f"takes {store - 50:,} bytes until its disk is 95% full" in line


def test_what_is_printed_inside_does_not_mix_with_results(cluster, capsys):
    with ray_session():
        print("progress")
    print("result")
    assert capsys.readouterr().out == "result\n"


def test_the_process_is_still_connected_after_an_inner_session(cluster):
    import ray

    with ray_session():
        pass
    assert ray.is_initialized()


@pytest.mark.parametrize("address", ["nowhere", "host:", ":6379", "ray://127.0.0.1:10001", "a:b"])
def test_a_malformed_address_is_refused_with_the_form_it_should_have(address):
    with pytest.raises(EnvironmentMissingError, match="must be host:port of a Ray head"):
        check_address(address)


def test_a_port_where_nobody_answers_names_the_token_and_how_to_give_it():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with pytest.raises(EnvironmentMissingError, match="nothing answers") as error:
        check_address(f"127.0.0.1:{port}")
    assert "RAY_AUTH_TOKEN" in str(error.value)


def test_a_port_where_something_else_answers_is_given_up_in_time(monkeypatch):
    monkeypatch.setattr(session, "HEALTH_CHECK_SECONDS", 4.0)
    with socket.create_server(("127.0.0.1", 0)) as server:
        threading.Thread(target=server.accept, daemon=True).start()
        with pytest.raises(EnvironmentMissingError, match="token"):
            check_address(f"127.0.0.1:{server.getsockname()[1]}")


def test_the_address_of_a_running_cluster_passes(cluster):
    check_address(cluster.split()[2].rstrip(","))


def test_where_the_token_comes_from(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("RAY_AUTH_TOKEN", raising=False)
    monkeypatch.delenv("RAY_AUTH_TOKEN_PATH", raising=False)
    assert token_source() is None
    (tmp_path / ".ray").mkdir()
    (tmp_path / ".ray/auth_token").touch()
    assert token_source() == str(tmp_path / ".ray/auth_token")
    monkeypatch.setenv("RAY_AUTH_TOKEN", "secret")
    assert token_source() == "RAY_AUTH_TOKEN"
