"""What a strategy must offer, and what else it may."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

import numpy as np

from matloop.orchestrator.protocols.spaces import Space
from matloop.orchestrator.trial import Point, Prediction, Proposal, Trial, Unanswered


class Strategy(Protocol):
    """Decides what to try next. Its state is a pure function of the trials told, in the order told.

    A constructor may name any of `space`, `objectives` (a tuple of Objective), `seed` (int) and `artifacts` (an
    ArtifactStore, which has what `Trial.artifacts` names) among its parameters; they are filled in by the build, the
    rest come from the campaign file.
    """

    def ask(self, n: int, pending: Sequence[Unanswered], rng: np.random.Generator) -> list[Proposal]:
        """Propose at most n points.

        Args:
            n: >= 1.
            pending: trials proposed and not yet told, in order of proposal; behind them, where the strategy is asked
                ahead of demand, proposals of its own that are held ready and have no id yet. If the loop asks, it is a
                `matloop.orchestrator.ledger.pending.Pending`, which knows the keys of their points.
            rng: the only source of randomness; derived from the seed and the number of asks so far.

        Returns:
            Up to n proposals; an empty list means "nothing until another answer comes".

        Raises:
            SpaceExhausted: every point has been tried.
        """
        ...

    def tell(self, trial: Trial) -> None:
        """Learn from a finished trial: `values` is None where it failed."""
        ...


@runtime_checkable
class Slow(Protocol):
    """A strategy whose asks may take seconds (those with a model, evolution with a predictor).

    With several slots it is asked and told on a thread of its own, ahead of demand. Any other is on the loop's thread.

    Attributes:
        slow: True; what is False is not slow.
    """

    @property
    def slow(self) -> bool: ...


@runtime_checkable
class Differentiating(Protocol):
    """A strategy that asks for gradients, so that its study needs a driver that is `Differentiable`.

    Attributes:
        differentiates: True; what is False works with any driver.
    """

    @property
    def differentiates(self) -> bool: ...


@runtime_checkable
class WithFiller(Protocol):
    """A slow strategy that knows what to do meanwhile (evolution). Without, free slots wait, unless the study names a
    filler."""

    def filler(self) -> Strategy | None:
        """One that answers on the loop's thread while nothing is ready, and is told the same trials; or None."""
        ...


@runtime_checkable
class WithMaker(Protocol):
    """A slow strategy that can live in a process of its own (evolution). Without, it shares the loop's process."""

    def maker(self) -> Callable[[], Strategy] | None:
        """Picklable; makes the strategy anew, told nothing; or None."""
        ...


@runtime_checkable
class AsksWithin(Protocol):
    """A strategy that can propose from a part of its space (bayesian, active_learning, space_filling, random).

    Without, people cannot say what they wish of the next experiments.
    """

    def ask_within(
        self, n: int, pending: Sequence[Unanswered], rng: np.random.Generator, part: Space
    ) -> list[Proposal]:
        """As `Strategy.ask`, with points of a part of the space alone; what was learnt elsewhere counts as always.

        `Proposal.extra["worth"]` may say what each adds to the batch; larger is better.
        """
        ...


class Outlook(Protocol):
    """What there is still to be had."""

    def as_json(self) -> Mapping[str, Any]: ...


@runtime_checkable
class WithOutlook(Protocol):
    """A strategy that can say whether going on is worth it (Bayesian optimisation). Without, a lab is not told."""

    def outlook(self, rng: np.random.Generator, delta: float | None = None, q: int = 1) -> Outlook | None:
        """What there is still to be had.

        Args:
            rng: the only source of randomness.
            delta: least difference that counts, objective's unit; None for one of the size of the noise.
            q: number of experiments to come, >= 1.

        Returns:
            None if there is nothing to say yet.
        """
        ...


@runtime_checkable
class Predicting(Protocol):
    """A strategy whose model can be asked about any points (`bayesian`, `active_learning`). Without, a lab predicts
    nothing.

    All of it follows from the seed and from what the strategy was told; asking changes nothing. Each method may take
    seconds, and raises NoPrediction while there are too few results for the model.
    """

    @property
    def target(self) -> Mapping[str, tuple[float, float]]:
        """Lowest and highest value that are wanted, by objective; empty where the best are sought."""
        ...

    def predict(self, points: Sequence[Point]) -> list[Prediction]:
        """What is expected to be measured at points, which may lie outside the space."""
        ...

    def works(self, points: Sequence[Point]) -> list[float] | None:
        """Probability that the experiment works at each of the points; None if nothing speaks against any."""
        ...

    def optimum(self, rng: np.random.Generator) -> list[Point]:
        """Where the model expects the best values: one point of the space; for several objectives a front of them."""
        ...


def differentiates(strategy: object) -> bool:
    """Whether it says so."""
    return isinstance(strategy, Differentiating) and bool(strategy.differentiates)


def is_slow(strategy: object) -> bool:
    """Whether it says so."""
    return isinstance(strategy, Slow) and bool(strategy.slow)


def filler_of(strategy: object) -> Strategy | None:
    """What answers while nothing of the strategy's is ready; None if it offers nothing."""
    return strategy.filler() if isinstance(strategy, WithFiller) else None


def maker_of(strategy: object) -> Callable[[], Strategy] | None:
    """What makes the strategy anew in another process; None if nothing does."""
    return strategy.maker() if isinstance(strategy, WithMaker) else None
