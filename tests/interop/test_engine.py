"""Which container engine is used, and what is said about one that is missing."""

from __future__ import annotations

import hashlib
import json
import socket
import sys
from pathlib import Path
from typing import Any

import pytest

from bokbok_interop.peers.base import Unavailable
from bokbok_interop.peers.engine import DEFAULT_SOCKET, Endpoint, Engine, find_endpoint


def store_context(config: Path, name: str, docker: dict[str, Any], *files: str) -> Path:
    """As `docker context create` does."""
    digest = hashlib.sha256(name.encode()).hexdigest()
    meta = config / "contexts" / "meta" / digest
    meta.mkdir(parents=True)
    (meta / "meta.json").write_text(json.dumps({"Name": name, "Metadata": {}, "Endpoints": {"docker": docker}}))
    tls = config / "contexts" / "tls" / digest / "docker"
    for file in files:
        tls.mkdir(parents=True, exist_ok=True)
        (tls / file).touch()
    return tls


def test_the_default_is_the_local_socket(tmp_path: Path) -> None:
    assert find_endpoint({"HOME": str(tmp_path)}) == Endpoint(DEFAULT_SOCKET, "the default socket")


def test_docker_host_comes_first(tmp_path: Path) -> None:
    store_context(tmp_path, "elsewhere", {"Host": "tcp://10.0.0.1:2375"})
    (tmp_path / "config.json").write_text('{"currentContext": "elsewhere"}')
    found = find_endpoint({"DOCKER_CONFIG": str(tmp_path), "DOCKER_HOST": "unix:///x", "DOCKER_CONTEXT": "elsewhere"})
    assert found == Endpoint("unix:///x", "DOCKER_HOST")


def test_docker_host_with_certificates(tmp_path: Path) -> None:
    for name in ("ca", "cert", "key"):
        (tmp_path / f"{name}.pem").touch()
    variables = {"DOCKER_HOST": "tcp://h:2376", "DOCKER_TLS_VERIFY": "1", "DOCKER_CERT_PATH": str(tmp_path)}
    found = find_endpoint(variables)
    assert found.verify
    assert found.tls == tuple(str(tmp_path / f"{name}.pem") for name in ("ca", "cert", "key"))


def test_the_environment_names_a_context(tmp_path: Path) -> None:
    store_context(tmp_path, "here", {"Host": "unix:///here.sock"})
    store_context(tmp_path, "there", {"Host": "unix:///there.sock"})
    (tmp_path / "config.json").write_text('{"currentContext": "here"}')
    assert find_endpoint({"DOCKER_CONFIG": str(tmp_path), "DOCKER_CONTEXT": "there"}).url == "unix:///there.sock"


def test_the_configuration_names_a_context(tmp_path: Path) -> None:
    config = tmp_path / ".docker"
    store_context(config, "here", {"Host": "unix:///here.sock", "SkipTLSVerify": False})
    (config / "config.json").write_text('{"currentContext": "here"}')
    assert find_endpoint({"HOME": str(tmp_path)}) == Endpoint("unix:///here.sock", "the context 'here'")


def test_a_context_brings_its_certificates(tmp_path: Path) -> None:
    tls = store_context(tmp_path, "far", {"Host": "tcp://far:2376", "SkipTLSVerify": True}, "ca.pem", "cert.pem")
    found = find_endpoint({"DOCKER_CONFIG": str(tmp_path), "DOCKER_CONTEXT": "far"})
    assert found.tls == (str(tls / "ca.pem"), str(tls / "cert.pem"), None)
    assert not found.verify


def test_the_context_default_is_the_local_socket(tmp_path: Path) -> None:
    assert find_endpoint({"DOCKER_CONFIG": str(tmp_path), "DOCKER_CONTEXT": "default"}).url == DEFAULT_SOCKET


def test_a_context_that_does_not_exist_is_named_with_who_names_it(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"currentContext": "gone"}')
    with pytest.raises(
        Unavailable, match=r"the Docker context 'gone', which currentContext in .*config\.json names, does not exist"
    ):
        find_endpoint({"DOCKER_CONFIG": str(tmp_path)})


@pytest.mark.parametrize("text", ["{", "[]"])
def test_a_broken_configuration(tmp_path: Path, text: str) -> None:
    (tmp_path / "config.json").write_text(text)
    if text == "[]":
        assert find_endpoint({"DOCKER_CONFIG": str(tmp_path)}).url == DEFAULT_SOCKET
        return
    with pytest.raises(Unavailable, match=r"config\.json cannot be read"):
        find_endpoint({"DOCKER_CONFIG": str(tmp_path)})


def test_a_broken_context(tmp_path: Path) -> None:
    store_context(tmp_path, "odd", {"Hostess": "unix:///x"})
    with pytest.raises(Unavailable, match=r"'odd' cannot be read from .*Host"):
        find_endpoint({"DOCKER_CONFIG": str(tmp_path), "DOCKER_CONTEXT": "odd"})


def test_no_engine_is_said_with_the_address_and_the_reason(tmp_path: Path) -> None:
    endpoint = Endpoint(f"unix://{tmp_path}/no.sock", "DOCKER_HOST")
    with pytest.raises(Unavailable, match=r"no\.sock \(DOCKER_HOST\): No such file or directory"):
        Engine(endpoint).open()


def test_nobody_at_a_port_is_said_so() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound, and not listening
        port = taken.getsockname()[1]
        with pytest.raises(Unavailable, match="Connection refused"):
            Engine(Endpoint(f"tcp://127.0.0.1:{port}", "DOCKER_HOST")).open()


def test_without_the_sdk_it_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "docker", None)
    with pytest.raises(Unavailable, match=r"pip install 'bokbok\[interop\]'"):
        Engine(Endpoint("unix:///x", "DOCKER_HOST")).new_client()


def test_an_address_of_no_known_form() -> None:
    with pytest.raises(Unavailable, match="no container engine answers at gopher://x"):
        Engine(Endpoint("gopher://x", "DOCKER_HOST")).open()
