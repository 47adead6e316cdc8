"""Space-filling design: the first points of a study stand for the space's own even distribution, however few they are.

They are chosen among random points of the space (`representatives`). So mixtures, constraints, conditions, choices,
pools and descriptors need no rule of their own, a design follows whatever `sample` draws, and it can be continued: how
many points there will be need not be known.

Chosen by measurement (`docs/spaces.md` has the figures). Decoding a Sobol sequence of the unit cube puts every vector
outside a mixture or a constraint on its border, and maximin distance prefers borders by itself. In a box of numbers,
where Sobol's sequence applies, these points are as even or more so up to some twenty, and nearly so beyond.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from itertools import count

import numpy as np

from matloop.orchestrator.protocols import Array, Drawing, Encodable, Finite, Space, require
from matloop.orchestrator.randomness import derive
from matloop.orchestrator.strategies.representatives import Distances, Representatives
from matloop.orchestrator.strategies.spread import Spread
from matloop.orchestrator.strategies.tried import Listing, Reserved, Tried, exhausted, key
from matloop.orchestrator.trial import Point, Proposal, Trial, Unanswered
from matloop.search_spaces.columns import blocks, labels

FIRST = 512
"""Candidates of the first round; twice as many in each later one."""

LARGEST = 16_384
"""Candidates of a round at most."""

SHARE = 16
"""Candidates for each member that is chosen from them."""

REFERENCE = 2048
"""Points that stand for the space when candidates are compared with it."""


class SpaceFilling:
    """The k-th proposal is the k-th member of a fixed sequence that depends on the space and the seed alone.

    A member that was tried or is on its way is passed over. Trials that were told without having been asked for shift
    nothing. In a Finite space the sequence has every point once.

    Args:
        space: Encodable.
        seed: of the sequence; the generator given to `ask` is not used.
    """

    def __init__(self, *, space: Space, seed: int) -> None:
        self._space = space
        self._sequence = _Sequence(space, require(space, Encodable, "space_filling"), seed)  # type: ignore[type-abstract]
        self._listing = Listing(space)
        self._tried = Tried()
        self._planned: set[str] = set()  # members in whose place people did something else
        self._points: list[Point] = []
        self._first = 0  # all members before this one were tried

    def ask(self, n: int, pending: Sequence[Unanswered], rng: np.random.Generator) -> list[Proposal]:
        """Propose the next members of the sequence; see `Strategy.ask`."""
        reserved = self._tried.pending(pending)
        while (member := self._sequence.member(self._first)) is not None and self._done(member[1]):
            self._first += 1
        proposals: list[Proposal] = []
        for k in count(self._first):
            if len(proposals) == n or (member := self._sequence.member(k)) is None:
                break
            if not self._done(member[1]) and member[1] not in reserved:
                proposals.append(_proposal(member[0], f"point {k + 1} of a space-filling design"))
        reserved.update(key(proposal.point) for proposal in proposals)
        if len(proposals) < n:
            proposals += self._left_over(n - len(proposals), reserved)
        if not proposals and not pending:
            raise exhausted(self._space)
        return proposals

    def ask_within(
        self, n: int, pending: Sequence[Unanswered], rng: np.random.Generator, part: Space
    ) -> list[Proposal]:
        """Fill a part of the space, whatever the sequence; see `AsksWithin.ask_within`."""
        return Spread(part, self._points, self._tried).ask(n, pending, rng)

    def tell(self, trial: Trial) -> None:
        """Remember the point, and the planned one where another was done."""
        self._tried.add(trial)
        self._points.append(trial.point)
        if trial.planned is not None:
            self._planned.add(key(trial.planned))

    def _done(self, point_key: str) -> bool:
        return point_key in self._tried or point_key in self._planned

    def _left_over(self, n: int, reserved: Reserved) -> list[Proposal]:
        """Up to n points that the sequence has missed, in a space that can be listed."""
        found = self._listing.untried(self._tried, reserved)
        return [_proposal(point, "one of the last points that were not tried") for point in found[:n]]


def _proposal(point: Point, reason: str) -> Proposal:
    return Proposal(point=point, reason=reason, extra={"origin": "space_filling"})


class _Sequence:
    """Members in rounds, each with new candidates, since some members among few candidates are the best of many."""

    def __init__(self, space: Space, encoder: Encodable, seed: int) -> None:
        self._encoder = encoder
        self._rng = derive(seed, "space_filling")
        self._source = _Listed(space.points, self._rng) if isinstance(space, Finite) else _Drawn(space)
        columns = labels(space)
        self._groups = [i for _, _, i in blocks(columns)] if columns else [[i] for i in range(encoder.dimension)]
        self._members: list[tuple[Point, str]] = []
        self._keys: set[str] = set()
        self._codes: list[Array] = []
        self._size = FIRST
        self._candidates: Sequence[Point] = ()
        self._left = 0  # members that the round still gives
        self._round: Representatives | None = None
        self._ended = False

    def member(self, k: int) -> tuple[Point, str] | None:
        """The k-th member and its key; None if random points hold no new one."""
        while k >= len(self._members) and not self._ended:
            if not self._left:
                self._round = self._begin()
            self._ended = self._round is None
            if self._round is not None:
                self._add(self._candidates[next(self._round)])
        return self._members[k] if k < len(self._members) else None

    def _add(self, point: Point) -> None:
        self._left -= 1
        self._members.append((point, key(point)))
        self._keys.add(self._members[-1][1])
        self._codes.append(self._encoder.encode([point])[0])

    def _begin(self) -> Representatives | None:
        """A round; None if it would have no candidates."""
        drawn, reference = self._source(self._size, self._keys, self._rng)
        fresh = {k: point for point in drawn if (k := key(point)) not in self._keys}
        if not fresh:
            return None
        self._candidates = tuple(fresh.values())
        self._left = min(self._size // SHARE, len(fresh))
        if len(fresh) > self._left:  # a space that is nearly used up gives no more for being asked for more
            self._size = min(2 * self._size, LARGEST)
        distances = Distances(self._encoder.encode(reference), self._groups)
        before = np.array(self._codes).reshape(len(self._codes), self._encoder.dimension)
        return Representatives(self._encoder.encode(self._candidates), distances, before, self._rng)


class _Drawn:
    """Candidates from a space that is not listed; those of a round stand for the space, too."""

    def __init__(self, space: Space) -> None:
        self._space = space

    def __call__(self, n: int, known: set[str], rng: np.random.Generator) -> tuple[Sequence[Point], Sequence[Point]]:
        """n candidates, which may be known, and points that stand for the space."""
        space = self._space
        drawn = space.draw(n, rng) if isinstance(space, Drawing) else [space.sample(rng) for _ in range(n)]
        return drawn, drawn[:REFERENCE]


class _Listed:
    """Candidates from a list in random order; those that were not chosen come again after all others."""

    def __init__(self, points: Sequence[Point], rng: np.random.Generator) -> None:
        order = rng.permutation(len(points)).tolist()
        self._points, self._queue = points, deque(order)
        self._reference = [points[i] for i in order[:REFERENCE]]
        self._given: list[int] = []

    def __call__(self, n: int, known: set[str], rng: np.random.Generator) -> tuple[Sequence[Point], Sequence[Point]]:
        """As `_Drawn`, but the candidates are new."""
        self._queue.extend(i for i in self._given if key(self._points[i]) not in known)
        self._given = [self._queue.popleft() for _ in range(min(n, len(self._queue)))]
        return [self._points[i] for i in self._given], self._reference
