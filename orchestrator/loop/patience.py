"""How long, and at which intervals, something of the machine's that is out of reach is tried again."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Self

FIRST_S: Final = 1.0
LONGEST_S: Final = 60.0
"""Between two tries: the first interval, which doubles, and the longest."""

PATIENCE_S: Final = 900.0
"""How long a run waits, s, unless the campaign file says otherwise. A file server that fails over is back by then
(Lustre gives its recovery 15 minutes at most). A full disk waits for a person, who may be asleep, while the nodes are
paid for: the run ends, and goes on when it is started again."""

MOST_BYTES: Final = 256 * 2**20
"""Of one answer, most that goes back to the manager in memory."""

MOST_IN_ALL: Final = 4 * 2**30
"""Bytes that the manager is ready to hold for all workers together."""


def intervals() -> Iterator[float]:
    """How long to wait after each try that failed, s."""
    interval_s = FIRST_S
    while True:
        yield interval_s
        interval_s = min(2 * interval_s, LONGEST_S)


@dataclass(frozen=True, slots=True)
class Patience:
    """What a worker does about an artifact store that is out of reach.

    Attributes:
        wait_s: how long it tries to store what it cannot hand back, s.
        most_bytes: of contents that it may hand back.
    """

    wait_s: float = PATIENCE_S
    most_bytes: int = MOST_BYTES

    @classmethod
    def among(cls, workers: int, wait_s: float) -> Self:
        """A worker's share of what the manager holds."""
        return cls(wait_s, min(MOST_BYTES, MOST_IN_ALL // max(1, workers)))
