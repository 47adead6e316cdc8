"""Asking a strategy without holding up the loop.

`Asker` asks on the loop's own thread: exact and reproducible. `BackgroundAsker` asks on a thread of its own and
keeps one proposal ahead, so that a slow model fit overlaps with the measurements; while the strategy is busy, a
filler strategy (if the study has one) answers instead.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np

from orchestrator.protocols import Strategy
from orchestrator.trial import Proposal, Trial

Random = Callable[[str], np.random.Generator]
"""Gives the generator of the next ask, for a role ("strategy" or "filler")."""


class Asker:
    """Asks and tells at once.

    Attributes:
        busy: whether an answer of the strategy is on its way.
    """

    busy = False

    def __init__(self, strategy: Strategy) -> None:
        self._strategy = strategy

    def ask(self, n: int, pending: Sequence[Trial], random: Random) -> list[Proposal]:
        """Propose at most n points; an empty list means "not now"."""
        return self._strategy.ask(n, pending, random("strategy"))[:n]

    def tell(self, trial: Trial) -> None:
        """Pass on a finished trial."""
        self._strategy.tell(trial)

    def close(self) -> None:
        """Stop; a running ask is waited for."""


class BackgroundAsker(Asker):
    """Asks on a thread of its own.

    Args:
        strategy: used by one thread at a time; what is told while it is asked is passed on afterwards.
        filler: answers while the strategy is busy; None to let free slots wait.
        wake: called from the other thread when an answer is ready.
        ahead: proposals to hold ready beyond the free slots.
    """

    def __init__(self, strategy: Strategy, filler: Strategy | None, wake: Callable[[], None], ahead: int = 1) -> None:
        super().__init__(strategy)
        self._filler = filler
        self._wake = wake
        self._ahead = ahead
        self._thread = ThreadPoolExecutor(1, "ask")
        self._asked: Future[list[Proposal]] | None = None
        self._ready: list[Proposal] = []
        self._untold: list[Trial] = []
        self._count = 0
        self._barren = False  # the strategy had nothing, and has been told nothing since

    @property
    def busy(self) -> bool:  # type: ignore[override]
        return self._asked is not None

    def ask(self, n: int, pending: Sequence[Trial], random: Random) -> list[Proposal]:
        """As `Asker.ask`; raises what the strategy raised."""
        self._collect()
        proposals, self._ready = self._ready[:n], self._ready[n:]
        missing = n - len(proposals)
        wanted = missing + self._ahead - len(self._ready)
        if self._asked is None and wanted > 0 and not self._barren:
            held = [*pending, *(_as_pending(p) for p in (*proposals, *self._ready))]
            self._count += 1  # several asks may fall between two records
            generator = random(f"background {self._count}")
            self._asked = self._thread.submit(self._strategy.ask, wanted, held, generator)
            self._asked.add_done_callback(lambda _: self._wake())
        if missing and not proposals and self._filler is not None:
            proposals = self._filler.ask(missing, pending, random("filler"))[:missing]
        return proposals

    def tell(self, trial: Trial) -> None:
        """As `Asker.tell`, once the running ask is done."""
        if self._filler is not None:
            self._filler.tell(trial)
        self._untold.append(trial)
        self._barren = False
        if self._asked is None:
            self._pass_on()

    def close(self) -> None:
        """As `Asker.close`."""
        self._thread.shutdown(wait=True, cancel_futures=True)

    def _collect(self) -> None:
        if self._asked is not None and self._asked.done():
            asked, self._asked = self._asked, None
            proposals = asked.result()
            self._ready.extend(proposals)
            self._barren = not proposals and not self._untold
            self._pass_on()

    def _pass_on(self) -> None:
        for trial in self._untold:
            self._strategy.tell(trial)
        self._untold.clear()


def _as_pending(proposal: Proposal) -> Trial:
    """A proposal that is not yet recorded, as strategies expect pending points."""
    return Trial(id=-1, study="", number=-1, point=proposal.point, seed=0, extra=proposal.extra)
