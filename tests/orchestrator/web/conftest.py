"""A small lab, and visitors to its server: in this process, or in one of its own that can be killed."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("fastapi", reason="needs the extra 'web'")

import httpx
from anyio.from_thread import BlockingPortal, start_blocking_portal

from matloop.orchestrator.lab import Lab
from matloop.orchestrator.web.access import Access
from matloop.orchestrator.web.app import create

CAMPAIGN = """
name: furnace
seed: 1
studies:
  anneal:
    space:
      kind: box
      parameters:
        temperature: {type: float, low: 300, high: 900, unit: K}
        solvent: {type: categorical, choices: [water, ethanol]}
        hours: {type: integer, low: 1, high: 10, unit: h}
    driver: {kind: manual, ranges: {yield: [0, 100]}}
    strategy: %s
    objectives: {yield: {direction: maximise, unit: "%%"}}
    budget: {trials: 100000}
"""
SECRET = "correct-horse-battery"
OPEN = Access(secret=SECRET, required=False, open_to_network=False)
GUARDED = Access(secret=SECRET, required=True, open_to_network=True, names=frozenset({"localhost", "bench"}))
MATLOOP = str(Path(sys.executable).with_name("matloop"))


@pytest.fixture
def campaign(tmp_path: Path) -> Path:
    """A campaign file whose strategy answers at once."""
    file = tmp_path / "campaign.yaml"
    file.write_text(CAMPAIGN % "random", encoding="utf-8")
    return file


@pytest.fixture
def lab(campaign: Path) -> Iterator[Lab]:
    """A client of the test's own of the same ledger as the server's."""
    with Lab.open(campaign, directory=campaign.parent / "run") as opened:
        yield opened


class Visitor:
    """Speaks to an application in this process, over HTTP but without a network; keeps cookies as a browser does.

    What the application raises is raised here, so that an error behind an answer with status 500 cannot pass.
    """

    def __init__(self, portal: BlockingPortal, lab: Lab, access: Access, follow_redirects: bool = True) -> None:
        self._portal = portal
        application = create(lab, access)
        self._life = portal.wrap_async_context_manager(application.app.router.lifespan_context(application.app))
        self._life.__enter__()
        self._client = httpx.AsyncClient(
            transport=httpx.ASGITransport(application), base_url="http://localhost", follow_redirects=follow_redirects
        )

    def request(self, method: str, path: str, **options: Any) -> httpx.Response:
        """Send, and wait for the answer."""
        return self._portal.call(lambda: self._client.request(method, path, **options))

    def get(self, path: str, **options: Any) -> httpx.Response:
        """Look."""
        return self.request("GET", path, **options)

    def post(self, path: str, **options: Any) -> httpx.Response:
        """Do."""
        return self.request("POST", path, **options)

    def close(self) -> None:
        """End the server."""
        self._portal.call(self._client.aclose)
        self._life.__exit__(None, None, None)


@pytest.fixture
def visit(campaign: Path) -> Iterator[Callable[..., Visitor]]:
    """Makes visitors, each of a server of its own on the same ledger."""
    visitors = []
    with start_blocking_portal() as portal:

        def make(access: Access = OPEN, **options: Any) -> Visitor:
            opened = Lab.open(campaign, directory=campaign.parent / "run")
            visitors.append(Visitor(portal, opened, access, **options))
            return visitors[-1]

        yield make
        for visitor in visitors:
            visitor.close()


@pytest.fixture
def client(visit: Callable[..., Visitor]) -> Visitor:
    """A visitor on the same machine."""
    return visit()


@pytest.fixture
def at(visit: Callable[..., Visitor]) -> Iterator[Callable[[Lab], Visitor]]:
    """Makes visitors on the same machine of servers of any lab."""
    visitors: list[Visitor] = []

    def make(lab: Lab) -> Visitor:
        visitors.append(Visitor(visit()._portal, lab, OPEN))
        return visitors[-1]

    yield make
    for visitor in visitors:
        visitor.close()


def form_token(page: str) -> str:
    """The hidden field that forms of a page carry."""
    found = re.search(r'name="csrf" value="([0-9a-f]{64})"', page)
    assert found, page[:500]
    return found.group(1)


def events(lab: Lab) -> int:
    """Number of events on record."""
    lab.refresh()
    return lab.history.last_seq


class Server:
    """`matloop serve` in a process of its own."""

    def __init__(self, campaign: Path, *options: str, port: int = 0, directory: str | None = "run") -> None:
        self.campaign = campaign
        self.directory = ["--dir", directory] if directory else []
        self.options = options
        self.start(port)

    def start(self, port: int = 0) -> None:
        """Start, and wait until it answers."""
        command = [MATLOOP, "serve", self.campaign.name, *self.directory]
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1"}
        self.process = subprocess.Popen(
            [*command, "--port", str(port), *self.options],
            cwd=self.campaign.parent,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=environment,
        )
        self.said = ""
        assert self.process.stdout is not None
        while "Ctrl-C" not in self.said:
            line = self.process.stdout.readline()
            assert line, self.said
            self.said += line
        self.port = int(re.findall(r"http://\S+:(\d+)", self.said)[0])
        self.url = f"http://127.0.0.1:{self.port}"
        for _ in range(2400):
            try:
                httpx.get(f"{self.url}/login")
                return
            except httpx.TransportError:
                time.sleep(0.05)
        raise AssertionError(f"no answer from {self.url}: {self.said}")

    def kill(self) -> None:
        """As a power failure would."""
        self.process.kill()
        self.process.communicate()

    def stop(self) -> int:
        """As Ctrl-C would; the exit code."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
            self.said += self.process.communicate(timeout=120)[0]
        return self.process.returncode


@pytest.fixture
def serve(campaign: Path) -> Iterator[Callable[..., Server]]:
    """Starts servers, and stops them at the end."""
    servers: list[Server] = []

    def start(*options: str) -> Server:
        servers.append(Server(campaign, *options))
        return servers[-1]

    yield start
    for server in servers:
        if server.process.poll() is None:
            server.kill()
