"""A peer's search as a strategy: it runs in an environment of its own and is asked and told over a pipe."""

from __future__ import annotations

import atexit
import json
import subprocess
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from matloop.orchestrator.strategies.tried import key
from matloop.orchestrator.trial import Point, Proposal, Trial, Unanswered
from matloop.search_spaces.box import Box

SERVER = Path(__file__).parents[1] / "peers" / "ask_tell.py"
REPEATS = 20
"""Times in a row that a peer is told at once, at no cost, of a point that it knows already, and asked again."""


class Peer:
    """Asks and tells a peer, which maximises.

    Args:
        python: of the peers' environment.
        method: as the server knows it.
        options: of the peer's constructor.
        box: of categorical parameters.
        seed: of the peer.
        workers: that it may expect.
    """

    def __init__(
        self, *, python: Path, method: str, options: dict[str, Any], box: Box, seed: int, workers: int
    ) -> None:
        self._server = _server(python)
        self._values: dict[str, float] = {}
        self._untold: list[tuple[Point, float]] = []
        parameters = {p.name: list(p.choices) for p in box.parameters}
        start = {"method": method, "parameters": parameters, "seed": seed, "workers": workers, "options": options}
        self._exchange({"start": start})

    def ask(self, n: int, pending: Sequence[Unanswered], rng: np.random.Generator) -> list[Proposal]:
        """See Strategy."""
        self._tell()
        return [self._ask()] if n == 1 else [Proposal(point=point) for point in self._exchange({"ask": n})["points"]]

    def tell(self, trial: Trial) -> None:
        """See Strategy."""
        value = (trial.values or {})["accuracy"]
        self._values[key(trial.point)] = value
        self._untold.append((trial.point, value))

    def _ask(self) -> Proposal:
        for _ in range(REPEATS):
            (point,) = self._exchange({"ask": 1})["points"]
            value = self._values.get(key(point))
            if value is None:
                break
            self._untold.append((point, value))
            self._tell()
        return Proposal(point=point)

    def _tell(self) -> None:
        if self._untold:
            self._exchange({"tell": self._untold})
            self._untold = []

    def _exchange(self, message: dict[str, Any]) -> dict[str, Any]:
        return _exchange(self._server, message)


@cache
def _server(python: Path) -> subprocess.Popen[str]:
    """One server a process; it ends when its input does."""
    server = subprocess.Popen([python, SERVER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    atexit.register(server.communicate)  # closes its input and waits
    return server


def _exchange(server: subprocess.Popen[str], message: dict[str, Any]) -> dict[str, Any]:
    assert server.stdin is not None and server.stdout is not None
    server.stdin.write(json.dumps(message) + "\n")
    server.stdin.flush()
    line = server.stdout.readline()
    if not line:
        raise RuntimeError(f"the peers' server ended with exit status {server.wait()}; its errors stand above")
    answer: dict[str, Any] = json.loads(line)
    if "error" in answer:
        raise RuntimeError(f"the peer failed: {answer['error']}")
    return answer
