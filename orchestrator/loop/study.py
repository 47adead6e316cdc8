"""A study is space + strategy + driver + objectives + budget; a plan builds one when its turn comes."""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Protocol

from matloop.orchestrator.ledger.artifacts import ArtifactStore
from matloop.orchestrator.ledger.history import History
from matloop.orchestrator.loop.budget import Budget
from matloop.orchestrator.loop.evaluation import Limits
from matloop.orchestrator.protocols import Driver, Space, Strategy
from matloop.orchestrator.trial import Objective, Trial


@dataclass(frozen=True, kw_only=True)
class Study:
    """Space + strategy + driver + objectives + budget.

    Attributes:
        attempts: how often an evaluation is begun before its crash counts as the result.
        background: ask on another thread; None for "if the strategy says it is `slow` and there are several slots".
        filler: proposes while a background strategy is busy.
    """

    name: str
    space: Space
    strategy: Strategy
    driver: Driver
    objectives: tuple[Objective, ...]
    budget: Budget = field(default_factory=Budget)
    limits: Limits = field(default_factory=Limits)
    attempts: int = 3
    background: bool | None = None
    filler: Strategy | None = None


@dataclass(frozen=True, slots=True)
class Plan:
    """A study that is built when its turn comes, from what the studies before it found.

    Attributes:
        aside: whether nothing is built on it: it may fail, and the studies before it may go on after it.
    """

    name: str
    build: Callable[[History, ArtifactStore], Study]
    aside: bool = False


class Observer(Protocol):
    """Told of what happens, on the loop's thread, after it is durable; `notice` is what a person should read now."""

    def study_started(self, study: Study, history: History) -> None: ...
    def proposed(self, trial: Trial) -> None: ...
    def finished(self, trial: Trial) -> None: ...
    def running(self, busy: int, slots: int) -> None: ...
    def notice(self, text: str) -> None: ...
    def study_ended(self, study: str, reason: str) -> None: ...


class Silent:
    """The observer that does nothing."""

    def study_started(self, study: Study, history: History) -> None:
        """See `Observer`."""

    def proposed(self, trial: Trial) -> None:
        """See `Observer`."""

    def finished(self, trial: Trial) -> None:
        """See `Observer`."""

    def running(self, busy: int, slots: int) -> None:
        """See `Observer`."""

    def notice(self, text: str) -> None:
        """See `Observer`."""

    def study_ended(self, study: str, reason: str) -> None:
        """See `Observer`."""


class Guarded:
    """Passes everything on to an observer, until that fails once: a run does not depend on what shows it.

    Args:
        observer: it.
        complain: takes the one line about its failure, and notices that come later; by default standard error does.
    """

    def __init__(self, observer: Observer, complain: Callable[[str], None] | None = None) -> None:
        self._observer, self._complain = observer, complain or _to_stderr

    def study_started(self, study: Study, history: History) -> None:
        """See `Observer`."""
        try:
            self._observer.study_started(study, history)
        except Exception as error:
            self._fail(error)

    def proposed(self, trial: Trial) -> None:
        """See `Observer`."""
        try:
            self._observer.proposed(trial)
        except Exception as error:
            self._fail(error)

    def finished(self, trial: Trial) -> None:
        """See `Observer`."""
        try:
            self._observer.finished(trial)
        except Exception as error:
            self._fail(error)

    def running(self, busy: int, slots: int) -> None:
        """See `Observer`."""
        try:
            self._observer.running(busy, slots)
        except Exception as error:
            self._fail(error)

    def notice(self, text: str) -> None:
        """See `Observer`; said on standard error where the observer has failed."""
        try:
            self._observer.notice(text)
        except Exception as error:
            self._fail(error)
        if self._observer is _NOBODY:
            self._complain(text)

    def study_ended(self, study: str, reason: str) -> None:
        """See `Observer`."""
        try:
            self._observer.study_ended(study, reason)
        except Exception as error:
            self._fail(error)

    def _fail(self, error: Exception) -> None:
        self._observer = _NOBODY
        self._complain(f"the display of progress failed, the run goes on: {type(error).__name__}: {error}")


_NOBODY = Silent()


def _to_stderr(line: str) -> None:
    with suppress(OSError, ValueError):  # nobody reads it
        print(line, file=sys.stderr, flush=True)
