"""BayBE and Ax as recommenders: they run in an environment of their own and are asked and told over a pipe."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

PYTHON = Path(__file__).parents[2] / ".venv-peers-bo" / "bin" / "python"
SERVER = Path(__file__).parents[1] / "peers" / "recommendation.py"


class Peer:
    """A peer's campaign, which maximises.

    Args:
        method: as the server knows it.
        seed: of the peer.
        sign: 1 if the outcome is to be maximised, -1 if minimised.
        points: a pool, in which points are named by their index.
        bounds: a box instead, by parameter: lowest and highest value, or the choices of a category.
        starts: measurements that the caller will tell before asking; 0 leaves the start to the peer.
    """

    def __init__(
        self,
        method: str,
        seed: int,
        *,
        sign: float = 1.0,
        points: Sequence[Mapping[str, float]] | None = None,
        bounds: Mapping[str, tuple[float, float] | Sequence[str]] | None = None,
        starts: int = 0,
    ) -> None:
        self.sign = sign
        self._server = _server()
        known = None if points is None else [dict(point) for point in points]
        start = {"method": method, "seed": seed, "points": known, "bounds": bounds, "starts": starts}
        self._exchange({"start": start})

    def tell(self, place: Any, value: float | None) -> None:
        """Learn an outcome; None is a failure."""
        self._exchange({"tell": [place, None if value is None else self.sign * value]})

    def ask(self) -> tuple[Any, tuple[float, float] | None, float, float]:
        """Index or point, prediction, processor seconds, memory in MB."""
        reply = self._exchange({"ask": 1})
        expected = (self.sign * reply["mean"], reply["std"]) if "mean" in reply else None
        return reply.get("index", reply.get("point")), expected, reply["seconds"], reply["memory_mb"]

    def _exchange(self, request: dict[str, Any]) -> dict[str, Any]:
        assert self._server.stdin is not None and self._server.stdout is not None
        self._server.stdin.write(json.dumps(request) + "\n")
        self._server.stdin.flush()
        line = self._server.stdout.readline()
        if not line:
            raise RuntimeError(f"the peer ended with code {self._server.wait()}; run {SERVER} by hand to see why")
        return json.loads(line)


@cache
def _server() -> subprocess.Popen[str]:
    """One server a process; it ends when its input does."""
    return subprocess.Popen(
        [PYTHON, SERVER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
