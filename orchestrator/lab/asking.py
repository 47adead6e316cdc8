"""One ask with wishes: the part of the space that is meant, the strategy asked for it, and the wish on record."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from matloop.orchestrator.errors import ConfigError, ImpossibleWish, InvalidPoint, MatloopError, SpaceExhausted
from matloop.orchestrator.lab.batches import limits, together
from matloop.orchestrator.lab.fields import fields_of
from matloop.orchestrator.lab.wishes import Wishes
from matloop.orchestrator.ledger.pending import Pending
from matloop.orchestrator.protocols import Allowed, AsksWithin, Narrowable, Space, Strategy
from matloop.orchestrator.trial import Proposal, Trial


class Asking:
    """Asks a strategy under wishes.

    Args:
        space: of the study.
        strategy: that has been told all results.
        trials: of the study, finished and pending.
        pending: those of them that wait for a result.
        rng: for the strategy.

    Raises:
        MatloopError: strategy or space can do no such thing.
    """

    def __init__(
        self,
        space: Space,
        strategy: Strategy,
        *,
        trials: Sequence[Trial],
        pending: Pending,
        rng: np.random.Generator,
    ) -> None:
        if not isinstance(strategy, AsksWithin):
            raise MatloopError(
                f"the strategy {type(strategy).__name__} takes no wishes; ask without, or choose bayesian, "
                "active_learning, space_filling or random"
            )
        if not isinstance(space, Narrowable):
            raise MatloopError(
                f"the space {type(space).__name__} cannot be asked for a part of itself; ask without wishes"
            )
        self._space: Any = space
        self._strategy: Any = strategy
        self._trials, self._pending = trials, pending
        self._rng = rng

    def __call__(self, n: int, wishes: Wishes) -> list[Proposal]:
        """At most n proposals that fulfil the wishes, which stand in their reasons.

        Raises:
            ImpossibleWish: nothing does, or all that does was tried.
        """
        allowed = self._allowed(wishes)

        def ask(n: int, chosen: Sequence[Proposal], more: Mapping[str, Allowed]) -> list[Proposal]:
            return self._ask(n, chosen, {**allowed, **more}, wishes)

        wanted = limits(self._space, [f.name for f in fields_of(self._space) if not f.uncontrolled], wishes.batch)
        proposals = together(ask, n, wanted) if wanted else ask(n, (), {})
        note = {"wish": wishes.as_json()}
        return [
            replace(p, reason=f"{p.reason}; as wished: {wishes.text}", extra={**p.extra, **note}) for p in proposals
        ]

    def _allowed(self, wishes: Wishes) -> dict[str, Allowed]:
        """Values by input: what is fixed, and where nothing is, the neighbourhood."""
        if wishes.around is None:
            return dict(wishes.fixed)
        centre = next((t for t in self._trials if t.id == wishes.around), None)
        if centre is None:
            raise ImpossibleWish(f"there is no trial {wishes.around} in this study to look around", at="around")
        free = {*wishes.vary, *wishes.fixed}
        return {**self._space.around(centre.point, wishes.within, free), **wishes.fixed}

    def _ask(
        self, n: int, chosen: Sequence[Proposal], allowed: Mapping[str, Allowed], wishes: Wishes
    ) -> list[Proposal]:
        pending = self._pending if not chosen else [*self._pending, *chosen]
        try:
            part = self._space.narrowed(allowed) if allowed else self._space
            part = part.at(wishes.given) if wishes.given else part
            found: list[Proposal] = self._strategy.ask_within(n, pending, self._rng, part)
        except (InvalidPoint, ConfigError) as error:
            places = {problem.place[0]: None for problem in error.problems if problem.place}
            raise ImpossibleWish(
                f"nothing can be as wished ({wishes.text}): {error}", at=str(next(iter(places), ""))
            ) from error
        except SpaceExhausted:
            found = []
        if not found:
            raise ImpossibleWish(
                f"all that is as wished ({wishes.text}) was tried or waits for a result; widen the wish",
                at=next(iter(wishes.fixed), "around"),
            )
        for proposal in found:
            part.check(proposal.point)
        return found[:n]
