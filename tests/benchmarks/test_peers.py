"""The peers' ask/tell server, with the peers themselves."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
PYTHON = ROOT / ".venv-peers" / "bin" / "python"
CHOICES = {"a": ["x", "y", "z"], "b": ["x", "y", "z"], "c": ["x", "y", "z"]}
OPTIONS = {"propulate": {"pop_size": 4}, "deephyper_cbo": {"acq_optimizer": "sampling"}}

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not PYTHON.exists(), reason="the peers are not installed; run `make peers`"),
]

Call = Callable[[dict[str, Any]], dict[str, Any]]


@pytest.fixture(scope="module")
def call() -> Iterator[Call]:
    """Send one request, return its reply."""
    with subprocess.Popen(
        [PYTHON, ROOT / "benchmarks" / "peers" / "ask_tell.py"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        bufsize=1,
    ) as server:
        assert server.stdin and server.stdout
        replies, requests = server.stdout, server.stdin

        def exchange(request: dict[str, Any]) -> dict[str, Any]:
            requests.write(json.dumps(request) + "\n")
            reply: dict[str, Any] = json.loads(replies.readline())
            return reply

        yield exchange
        requests.close()
        assert server.wait(30) == 0


def search(call: Call, method: str, seed: int, n: int = 30) -> list[dict[str, str]]:
    """Points of a campaign in order of asking, 4 in flight, answered oldest first; "z" everywhere is best."""
    start = {"method": method, "parameters": CHOICES, "seed": seed, "workers": 4, "options": OPTIONS[method]}
    assert call({"start": start}) == {"ok": True}
    asked = list(call({"ask": 4})["points"])
    for told in range(n):
        value = sum(CHOICES[name].index(choice) for name, choice in asked[told].items())
        assert call({"tell": [[asked[told], value]]}) == {"ok": True}
        asked += call({"ask": 1})["points"]
    return asked


@pytest.mark.parametrize("method", OPTIONS)
def test_a_peer_finds_the_best_and_repeats_itself(call: Call, method: str) -> None:
    first, again, other = search(call, method, 0), search(call, method, 0), search(call, method, 1)
    assert first == again != other
    assert all(point.keys() == CHOICES.keys() and set(point.values()) <= set("xyz") for point in first)
    assert {"a": "z", "b": "z", "c": "z"} in first


def test_what_cannot_be_done_is_said_and_survived(call: Call) -> None:
    start = {"method": "astrology", "parameters": CHOICES, "seed": 0, "workers": 1}
    assert "astrology" in call({"start": start})["error"]
    assert "start" in call({"ask": 1})["error"]
    assert call({"start": start | {"method": "propulate"}}) == {"ok": True}
    assert "choice" in str(call({"tell": [[{"a": "no choice", "b": "x", "c": "x"}, 1.0]]})["error"])
    assert len(call({"ask": 3})["points"]) == 3
