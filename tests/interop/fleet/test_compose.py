"""The example of a fleet in containers: a scheduler and three workers on their own network, with TLS.

The test does what `compose.yaml` says by the engine's SDK, since `docker compose` may be missing.
"""

from __future__ import annotations

import json
import os
import re
import secrets
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from bokbok_interop.peers.images import inspect_image

EXAMPLE = Path(__file__).parents[3] / "interop" / "examples" / "fleet"
COMMAND = [sys.executable, "-m", "bokbok_interop", "run", "--security", "insecure"]


class Composed:
    """What the file describes, started."""

    def __init__(self, client: Any, certificates: Path) -> None:
        self.client = client
        self.certificates = certificates
        self.services = yaml.safe_load((EXAMPLE / "compose.yaml").read_text())["services"]
        self.name = f"bokbok-fleet-{secrets.token_hex(4)}"
        self.containers: list[str] = []
        self.network = client.create_network(self.name)["Id"]

    def start(self, service: str) -> str:
        """Start a container of this service. Returns its id once the service says that it is ready."""
        told = self.services[service]
        made = self.client.create_container(
            told["image"], told["command"], environment=told["environment"],
            host_config=self.client.create_host_config(
                binds={str(self.certificates): {"bind": "/certificates", "mode": "ro"}}, network_mode=self.network
            ),
            networking_config=self.client.create_networking_config(
                {self.network: self.client.create_endpoint_config(aliases=[service])}
            ),
        )["Id"]  # fmt: skip
        self.containers.append(made)
        self.client.start(made)
        lines = b""
        while self.client.inspect_container(made)["State"]["Running"]:
            lines = self.client.logs(made)
            if b"Scheduler at" in lines or b"Registered to" in lines:
                return str(made)
            time.sleep(0.2)  # following the log uses a socket that the SDK does not close
        raise AssertionError(lines.decode())

    def address(self, container: str) -> str:
        networks = self.client.inspect_container(container)["NetworkSettings"]["Networks"]
        return str(next(iter(networks.values()))["IPAddress"])

    def end(self) -> None:
        for container in self.containers:
            self.client.remove_container(container, force=True, v=True)
        self.client.remove_network(self.network)


@pytest.fixture
def composed(client: Any, tmp_path: Path) -> Iterator[Composed]:
    if inspect_image(client, "bokbok/fleet") is None:
        pytest.skip("the image bokbok/fleet is not there (`make fleet-image`)")
    subprocess.run([EXAMPLE / "certificates", tmp_path / "certificates"], check=True, stdout=subprocess.DEVNULL)
    made = Composed(client, tmp_path / "certificates" / "members")
    try:
        yield made
    finally:
        made.end()


@pytest.mark.timeout(600)
def test_three_workers_in_containers_one_of_them_killed_come_to_the_verdicts_of_one(
    client: Any, composed: Composed, tmp_path: Path
) -> None:
    few = ["--peers", "python-sync", "--case", "sexpr.*", "--case", "request.e*"]
    alone, together = tmp_path / "alone.json", tmp_path / "together.json"
    subprocess.run([*COMMAND, *few, "--json", str(alone)], check=True, stdout=subprocess.DEVNULL)
    scheduler = composed.start("scheduler")
    workers = [composed.start("worker") for _ in range(3)]
    member = {
        name: str(composed.certificates / Path(path).name) if path.startswith("/certificates/") else path
        for name, path in composed.services["worker"]["environment"].items()
    }
    running = subprocess.Popen(
        [*COMMAND, *few, "--repeat", "5", "--json", str(together),
         "--scheduler", f"tls://{composed.address(scheduler)}:8786"],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=os.environ | member,
    )  # fmt: skip
    assert running.stdout is not None
    told = []
    for line in running.stdout:
        told.append(line)
        if re.match(r"\d+ of \d+ cells", line) and len(workers) == 3:
            client.kill(workers.pop())
    assert running.wait() == 0, "".join(told)
    running.stdout.close()
    assert "3 workers with 48 threads play" in "".join(told)
    by_one, by_three = json.loads(alone.read_text()), json.loads(together.read_text())
    keys = ("client", "server", "transport", "security", "case")
    wanted = {tuple(cell[key] for key in keys): cell["outcome"] for cell in by_one["cells"]}
    found: dict[tuple[str, ...], list[str]] = {}
    for cell in by_three["cells"]:
        found.setdefault(tuple(cell[key] for key in keys), []).append(cell["outcome"])
    assert found == {cell: [outcome] * 5 for cell, outcome in wanted.items()}
