"""Results of an earlier campaign, in terms of the present one: the same inputs and objectives, another task."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from matloop.orchestrator.trial import Trial


@dataclass(frozen=True, slots=True, kw_only=True)
class Earlier:
    """What another ledger has, as far as the spaces overlap.

    Attributes:
        name: where it was read, for people.
        trials: answered ones; their points have the inputs of the present space, some of which may be absent, and their
            values are those of the objectives that both campaigns have, in the same units.
        sha256: of all that was taken over.
        notes: what was left out or is absent, a sentence each.
    """

    name: str
    trials: Sequence[Trial]
    sha256: str
    notes: Sequence[str] = ()

    @property
    def mark(self) -> str:
        """What the ledger keeps of it, so that a resumed campaign is the same or is refused."""
        return f"{len(self.trials)} results, sha256 {self.sha256}"
