"""Asking a strategy without holding up the loop.

`Asker` asks on the loop's own thread: exact and reproducible. `BackgroundAsker` has it asked elsewhere (`proposer`),
ahead of demand, so that a slow model fit overlaps with the measurements; while nothing is ready, a filler strategy (if
there is one) answers instead. What the strategy is told, it is told there too, so the loop's thread pays for neither.
"""

from __future__ import annotations

import pickle
from collections import deque
from collections.abc import Callable, Iterable
from concurrent.futures import Future

import numpy as np

from matloop.orchestrator.errors import MatloopError
from matloop.orchestrator.ledger.pending import Pending, key
from matloop.orchestrator.loop.proposer import Mail, ProcessProposer, Proposer, ProposerDied, ThreadProposer, apply
from matloop.orchestrator.loop.study import Study
from matloop.orchestrator.protocols import Strategy, filler_of, is_slow, maker_of
from matloop.orchestrator.trial import Proposal, Trial

Random = Callable[[str], np.random.Generator]
"""Gives the generator of the next ask, for a role ("strategy", "filler", "background 1", ...)."""

BATCH = 16
"""Most proposals asked for at a time where a filler stands in, so that the first ones are not long in coming."""

DECAY = 0.95
"""Factor by which the number of proposals held ready falls from one ask to the next where fewer are needed."""


MOST_DEATHS = 5
"""Deaths of a strategy's process, without a proposal in between, after which it is given up."""


class Asker:
    """Asks and tells at once.

    Attributes:
        busy: whether an answer of the strategy is on its way.
    """

    busy = False

    def __init__(self, strategy: Strategy) -> None:
        self._strategy = strategy
        self._pending = Pending()

    def ask(self, n: int, random: Random) -> list[Proposal]:
        """Propose at most n points; an empty list means "not now".

        Args:
            n: >= 0; 0 proposes nothing, but is a chance to get ahead.
            random: gives the randomness.
        """
        return self._strategy.ask(n, self._pending, random("strategy"))[:n] if n else []

    def proposed(self, trial: Trial) -> None:
        """Count a proposal, now recorded, as pending."""
        self._pending.add(trial)

    def tell(self, trial: Trial) -> None:
        """Pass on a finished trial."""
        self._strategy.tell(trial)  # which may look up its key among what is pending
        self._pending.discard(trial.id)

    def close(self) -> None:
        """Let go of the strategy."""


class BackgroundAsker(Asker):
    """Has the strategy asked elsewhere.

    Without a filler, one proposal is held ready: a slot that must wait had better wait for a proposal that knows the
    latest answers. With one, as many are held as slots come free in the course of an ask, since what is not ready then
    is the filler's. Pending, ready and filled-in points are kept from being proposed twice: the strategy and the filler
    are told of what is under way, and a proposal that the filler has come to make while it was being made is dropped.

    Args:
        proposer: where the strategy is, which has been told nothing yet.
        filler: answers while nothing is ready; None to let free slots wait.
        wake: called from another thread when an answer is ready.
        told: gives every trial that was told so far, in that order: a strategy whose process died is made again and
            told everything.
    """

    def __init__(
        self,
        proposer: Proposer,
        filler: Strategy | None,
        wake: Callable[[], None],
        told: Callable[[], Iterable[Trial]],
    ) -> None:
        self._proposer = proposer
        self._filler = filler
        self._wake = wake
        self._all_told = told
        self._deaths = 0  # since the last proposal
        self._pending = Pending()
        self._mail: list[Mail] = []
        self._asked: Future[list[Proposal]] | None = None
        self._answered: set[str] = set()  # keys of the points told since then
        self._demand = 0  # slots that answers have freed since then
        self._told = 0  # since the last call of `ask`
        self._ready: deque[Proposal] = deque()
        self._ahead = 1
        self._asks = 0
        self._barren = False  # the strategy had nothing, and has been told nothing since

    @property
    def busy(self) -> bool:  # type: ignore[override]
        return self._asked is not None

    def ask(self, n: int, random: Random) -> list[Proposal]:
        """As `Asker.ask`; raises what the strategy raised."""
        self._collect()
        self._demand, self._told = self._demand + min(n, self._told), 0
        proposals = [self._ready.popleft() for _ in range(min(n, len(self._ready)))]
        missing = n - len(proposals)
        self._prepare(missing, random)
        if missing and self._filler is not None:
            proposals += self._filler.ask(missing, self._pending, random("filler"))[:missing]
        return proposals

    def proposed(self, trial: Trial) -> None:
        """As `Asker.proposed`."""
        self._note(("pending", trial))

    def tell(self, trial: Trial) -> None:
        """As `Asker.tell`; the strategy hears of it with the next ask."""
        self._told += 1
        self._barren = False
        if self._filler is not None:
            self._filler.tell(trial)
            self._answered.add(self._pending.key(trial))
        self._note(("told", trial))

    def close(self) -> None:
        """As `Asker.close`; a running ask is given up, and what comes of it is dropped."""
        self._proposer.close()

    def _collect(self) -> None:
        """Take over what the strategy has proposed."""
        if self._asked is None or not self._asked.done():
            return
        asked, self._asked = self._asked, None
        try:
            proposals = asked.result()
        except ProposerDied as death:
            self._begin_again(death)
            return
        if proposals:
            self._deaths = 0
        self._barren = not proposals and not any(what == "told" for what, _ in self._mail)
        for proposal in proposals:
            if self._filler is None or not self._known(key(proposal.point)):
                self._note(("pending", proposal))
                self._ready.append(proposal)

    def _begin_again(self, death: ProposerDied) -> None:
        """Have the strategy made anew, to be told all that it was told, and what is pending."""
        self._deaths += 1
        if self._deaths >= MOST_DEATHS:
            raise MatloopError(
                f"the process of the strategy died {self._deaths} times without a proposal in between; the last time: "
                f"{death}. All results are recorded; give it more memory or choose another strategy, then run again"
            ) from death
        self._proposer.renew()
        self._mail = [("told", trial) for trial in self._all_told()]
        self._mail += [("pending", proposed) for proposed in self._pending]

    def _known(self, point_key: str) -> bool:
        """Whether the filler has come to propose the point while the strategy did."""
        return point_key in self._answered or self._pending.holds(point_key)

    def _prepare(self, missing: int, random: Random) -> None:
        """Have the strategy asked for more, unless it is being asked."""
        if self._asked is not None or self._barren:
            return
        ahead = 1 if self._filler is None else max(1, self._demand, int(DECAY * self._ahead))
        wanted = ahead - len(self._ready) + (missing if self._filler is None else 0)
        if wanted <= 0:
            return
        if self._filler is not None:
            wanted = min(wanted, BATCH)
        self._asks += 1  # several asks may fall between two records
        mail, self._mail = self._mail, []
        self._answered, self._demand, self._ahead = set(), 0, ahead
        self._asked = self._proposer.start(mail, wanted, random(f"background {self._asks}"))
        self._asked.add_done_callback(lambda _: self._wake())

    def _note(self, item: Mail) -> None:
        """Keep what is pending up to date, here and there."""
        apply(self._pending, item)
        self._mail.append(item)


def asker_of(study: Study, slots: int, wake: Callable[[], None], told: Callable[[], Iterable[Trial]]) -> Asker:
    """The asker that suits a study: in the background if it says so or, with several slots, its strategy does.

    Args:
        study: it.
        slots: evaluations at once.
        wake: see `BackgroundAsker`.
        told: see `BackgroundAsker`.
    """
    strategy, filler = study.strategy, study.filler
    if not (slots > 1 and is_slow(strategy) if study.background is None else study.background):
        return Asker(strategy)
    filler = filler_of(strategy) if filler is None else filler
    proposer = None if filler is None else _apart(maker_of(strategy))
    return BackgroundAsker(proposer or ThreadProposer(strategy), filler, wake, told)


def _apart(maker: Callable[[], Strategy] | None) -> ProcessProposer | None:
    """A strategy in a process of its own; None if it cannot be sent there."""
    if maker is None:
        return None
    try:
        return ProcessProposer(maker)
    except (pickle.PicklingError, AttributeError, TypeError):
        return None
