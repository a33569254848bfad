"""A container engine: which one to use, and how to talk to it.

What this module knows: `DOCKER_HOST` and contexts, as in the `docker` command; and that the `docker` SDK blocks, so
that every call runs in a thread.

The SDK is imported where it is needed, since it is optional and slow to import.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import hashlib
import json
import os
import socket
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from .base import Unavailable

__all__ = ["Endpoint", "Engine", "explain", "find_endpoint"]

T = TypeVar("T")

DEFAULT_SOCKET = "unix:///var/run/docker.sock"
CALL_SECONDS = 120
"""Seconds for one call of the engine's API, except builds and attached streams."""
THREADS = 8
"""Calls at once. An engine serializes the expensive part of them (namespaces, packet filters) anyway."""


@dataclass(frozen=True)
class Endpoint:
    """Where an engine is.

    Attributes:
        url: `unix:///PATH`, `tcp://HOST:PORT`, `ssh://…`.
        origin: where the address comes from, for messages.
        tls: (CA, certificate, key), each a path or `None`; `None` as a whole for no TLS.
        verify: whether to check the engine's certificate.
    """

    url: str
    origin: str
    tls: tuple[str | None, str | None, str | None] | None = None
    verify: bool = True

    def __str__(self) -> str:
        return f"{self.url} ({self.origin})"


def find_endpoint(environment: Mapping[str, str] | None = None) -> Endpoint:
    """The engine that the `docker` command would use.

    In this order: `DOCKER_HOST` (with `DOCKER_TLS_VERIFY` and `DOCKER_CERT_PATH`), the context that `DOCKER_CONTEXT`
        names, the context that `docker context use` chose, the default socket. The SDK only knows the first and the
        last.

    Raises:
        Unavailable: the context that is named does not exist, or cannot be read.
    """
    env = os.environ if environment is None else environment
    config = Path(env.get("DOCKER_CONFIG") or Path(env.get("HOME") or Path.home()) / ".docker")
    if url := env.get("DOCKER_HOST"):
        verify = bool(env.get("DOCKER_TLS_VERIFY"))
        certificates = env.get("DOCKER_CERT_PATH")
        if not verify and not certificates:
            return Endpoint(url, "DOCKER_HOST")
        return Endpoint(url, "DOCKER_HOST", _tls_files(Path(certificates) if certificates else config), verify)
    name, origin = env.get("DOCKER_CONTEXT"), "DOCKER_CONTEXT"
    if not name:
        name, origin = _current_context(config / "config.json"), f"currentContext in {config / 'config.json'}"
    if not name or name == "default":
        return Endpoint(DEFAULT_SOCKET, "the default socket")
    return _context(config / "contexts", name, origin)


def _current_context(file: Path) -> str | None:
    try:
        settings = json.loads(file.read_bytes())
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise Unavailable(f"the Docker configuration {file} cannot be read: {error}") from None
    name = settings.get("currentContext") if isinstance(settings, dict) else None
    return name if isinstance(name, str) else None


def _context(folder: Path, name: str, origin: str) -> Endpoint:
    """A context as `docker context create` stores it: in folders named by the SHA-256 of its name."""
    digest = hashlib.sha256(name.encode()).hexdigest()
    file = folder / "meta" / digest / "meta.json"
    try:
        endpoint = json.loads(file.read_bytes())["Endpoints"]["docker"]
        url, verify = endpoint["Host"], not endpoint.get("SkipTLSVerify", False)
    except FileNotFoundError:
        raise Unavailable(f"the Docker context {name!r}, which {origin} names, does not exist") from None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise Unavailable(f"the Docker context {name!r} cannot be read from {file}: {error!r}") from None
    tls = _tls_files(folder / "tls" / digest / "docker")
    return Endpoint(url, f"the context {name!r}", tls if any(tls) else None, verify)


def _tls_files(folder: Path) -> tuple[str | None, str | None, str | None]:
    ca, certificate, key = (folder / f"{name}.pem" for name in ("ca", "cert", "key"))
    return tuple(str(file) if file.exists() else None for file in (ca, certificate, key))  # type: ignore[return-value]


def explain(error: Exception) -> str:
    """The message of an exception of the SDK, in one line."""
    words = str(getattr(error, "explanation", None) or error)
    cause: BaseException | None = error
    while cause is not None:  # requests and urllib3 hide the reason deep inside
        if isinstance(cause, OSError) and cause.errno:
            words = cause.strerror or words
        arguments = [one for one in getattr(cause, "args", ()) if isinstance(one, BaseException)]
        cause = cause.__cause__ or cause.__context__ or (arguments[0] if arguments else None)
    return " ".join(words.split())


class Engine:
    """A connection to an engine.

    Attributes:
        endpoint: where it is.
        about: what it says about itself (`docker info`), once `open` has returned.
        building: held while an image is built.
    """

    def __init__(self, endpoint: Endpoint) -> None:
        self.endpoint = endpoint
        self.about: dict[str, Any] = {}
        self.building = asyncio.Lock()
        self._version = "auto"
        self._local = threading.local()
        self._clients: list[Any] = []
        self._threads = concurrent.futures.ThreadPoolExecutor(THREADS, "bokbok-docker")

    def new_client(self, timeout: float = CALL_SECONDS) -> Any:
        """A new `docker.APIClient`, for one thread.

        Raises:
            Unavailable: the engine does not answer, or cannot be used from here.
        """
        try:
            import docker
        except ImportError:
            raise Unavailable("the Python package `docker` is not installed: pip install 'bokbok[interop]'") from None
        tls: Any = False
        try:
            if self.endpoint.url.startswith("unix://"):
                # First without the SDK, which leaves its socket open when it cannot connect.
                with socket.socket(socket.AF_UNIX) as sock:
                    sock.settimeout(timeout)
                    sock.connect(self.endpoint.url.removeprefix("unix://"))
            if self.endpoint.tls is not None:
                ca, certificate, key = self.endpoint.tls
                tls = docker.tls.TLSConfig(
                    client_cert=(certificate, key) if certificate and key else None,
                    ca_cert=ca,
                    verify=(ca or True) if self.endpoint.verify else False,
                )
            return _client_class()(self.endpoint.url, version=self._version, timeout=timeout, tls=tls)
        except (docker.errors.DockerException, OSError, ValueError) as error:
            why = explain(error)
            hint = " (is this user in the group `docker`?)" if "ermission denied" in why else ""
            raise Unavailable(f"no container engine answers at {self.endpoint}: {why}{hint}") from None

    @property
    def client(self) -> Any:
        """This thread's client."""
        if not hasattr(self._local, "client"):
            self._local.client = self.new_client()
            self._clients.append(self._local.client)
        return self._local.client

    async def call(self, work: Callable[[Any], T]) -> T:
        """Run `work(client)` in a thread. What it has begun is finished even if this is cancelled.

        Raises:
            Unavailable: the engine does not answer any more.
            docker.errors.APIError: the engine refuses.
        """

        def run() -> T:
            import docker
            import requests

            try:
                return work(self.client)
            except docker.errors.APIError:
                raise
            except requests.RequestException as error:
                raise Unavailable(
                    f"the container engine at {self.endpoint} does not answer any more: {explain(error)}"
                ) from None

        return await asyncio.get_running_loop().run_in_executor(self._threads, run)

    def open(self) -> Engine:
        """Check that the engine answers. Blocks.

        Raises:
            Unavailable: it does not.
        """
        import docker
        import requests

        client = self.new_client()
        self._version = client.api_version
        try:
            self.about = client.info()
        except (docker.errors.DockerException, requests.RequestException) as error:
            raise Unavailable(f"the container engine at {self.endpoint} is not well: {explain(error)}") from None
        finally:
            client.close()
        if self.about.get("OSType", "linux") != "linux":
            raise Unavailable(f"the container engine at {self.endpoint} runs no Linux containers")
        return self

    def close(self) -> None:
        """Wait for what is under way. Blocks."""
        self._threads.shutdown(wait=True)
        for client in self._clients:
            client.close()


def _client_class() -> Any:
    import docker

    class Client(docker.APIClient):  # type: ignore[misc]
        def merge_environment_settings(self, url: Any, proxies: Any, stream: Any, verify: Any, cert: Any) -> Any:
            # Otherwise REQUESTS_CA_BUNDLE, if it is set, would replace the engine's own CA.
            return super().merge_environment_settings(url, proxies, stream, verify or self.verify, cert)

    return Client
