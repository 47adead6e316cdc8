"""The door to experiments that people do: recommend what to do next, take results as they come, lose nothing.

Command line, Python, REST server and web page are all a `Lab`, and any number of them may be open on one ledger at
once, in as many processes. The ledger is locked for the moment of a write and never while a model is fitted.
"""

from __future__ import annotations

import dataclasses
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self

from orchestrator import build, environment
from orchestrator.artifacts import ArtifactStore
from orchestrator.budget import Spending
from orchestrator.config import Config, load, slug
from orchestrator.errors import ConfigError, InvalidPoint, LedgerLocked, MatloopError, Problem, RejectedResults
from orchestrator.history import History
from orchestrator.pending import Pending, key
from orchestrator.randomness import derive, derive_seed
from orchestrator.results import Action, Entry, Result, Rules
from orchestrator.shared import WAIT_S, SharedLedger
from orchestrator.source import suggest
from orchestrator.study import Study
from orchestrator.trial import Objective, Proposal, Trial

__all__ = ["Lab", "Recorded", "Result"]

ROUNDS = 8
"""How often the strategy is asked again because another door has recommended in the meantime."""

LONGEST_NAME = 200


class Recorded(NamedTuple):
    """A trial with its result, and what had to be done for it; `known` ones were on record already."""

    trial: Trial
    action: Action


class Lab:
    """One study whose experiments people do; safe to use from several threads.

    Attributes:
        directory: folder of the campaign, with its ledger.
        study: space, objectives, driver and budget.
        config: the campaign.
    """

    def __init__(
        self,
        config: Config,
        *,
        directory: Path,
        study: str | None = None,
        accept_changes: bool = False,
        clock: Callable[[], float] = time.time,
        wait_s: float = WAIT_S,
    ) -> None:
        """See `open`, which most callers want.

        Args:
            config: the campaign.
            directory: for its results; created if absent.
            study: which of its studies.
            accept_changes: go on although the campaign has changed since the last time.
            clock: Unix time, s.
            wait_s: how long other writers are waited for, s.
        """
        self.config = config
        self.directory = directory
        self._clock = clock
        studies, resolved = build.validate(config)
        self._plan = {plan.name: plan for plan in build.plans(config)}[_of_people(studies, study)]
        self._store = ArtifactStore(directory / "artifacts")
        self._ledger = SharedLedger(directory / "ledger.db", clock=clock, wait_s=wait_s)
        try:
            self._ledger.join(resolved, environment.record(config), accept_change=accept_changes)
            with self._ledger.guard:
                self.study: Study = self._plan.build(self._ledger.history, self._store)
        except BaseException:
            self._ledger.close()
            raise
        ranges = getattr(self.study.driver, "ranges", {})
        self.rules = Rules(
            study=self.study.name, space=self.study.space, objectives=self.study.objectives, ranges=ranges
        )
        self._asking = threading.Lock()
        self._strategy = self.study.strategy
        self._version = self._version_now()
        self._told = 0

    @classmethod
    def open(
        cls,
        campaign: str | Path,
        study: str | None = None,
        directory: str | Path | None = None,
        *,
        accept_changes: bool = False,
    ) -> Self:
        """Open a campaign for recommendations and results.

        Args:
            campaign: its file, or its folder once it has been opened.
            study: its name; may be left out if only one has the driver `manual`.
            directory: for results; `runs/NAME` if left out.
            accept_changes: go on although the file has changed since the last time.

        Raises:
            ConfigError: the file is wrong, or no such study is measured by people.
            ConfigChanged: it differs from what the ledger was started with, with the diff.
            LedgerLocked: another process, such as `matloop run`, is writing for long.
        """
        path = Path(campaign)
        if path.is_dir():
            directory, path = directory or path, _file_of(path)
        config = load(path)
        folder = Path(directory) if directory is not None else Path("runs") / slug(config.name)
        return cls(config, directory=folder, study=study, accept_changes=accept_changes)

    @property
    def name(self) -> str:
        """Of the campaign."""
        return self.config.name

    @property
    def objectives(self) -> tuple[Objective, ...]:
        """What is measured."""
        return self.study.objectives

    @property
    def history(self) -> History:
        """What is on record, as far as this door has heard; see `refresh`. Not to be changed."""
        return self._ledger.history

    def refresh(self) -> int:
        """Take over what other doors have recorded; say how many events that were."""
        return self._ledger.catch_up()

    def trials(self) -> list[Trial]:
        """All trials of the study, in order."""
        with self._ledger.guard:
            self._ledger.catch_up()
            return self.history.of(self.study.name)

    def pending(self) -> list[Trial]:
        """Recommendations that nothing has been heard of, in order."""
        with self._ledger.guard:
            self._ledger.catch_up()
            return self.history.running(self.study.name)

    def recommend(self, n: int = 1, by: str = "") -> list[Trial]:
        """Recommend the next experiments; they are on record before they are returned.

        Args:
            n: how many, >= 1.
            by: who asks.

        Returns:
            At most n; none if the strategy waits for results.

        Raises:
            SpaceExhausted: there is nothing left to try.
            MatloopError: the budget is spent.
        """
        if isinstance(n, bool) or not isinstance(n, int) or n < 1:
            raise MatloopError(f"expected n, a whole number >= 1, got {n!r}")
        name = self.study.name
        _check_name(by)
        with self._asking:
            for remaining in reversed(range(ROUNDS)):
                ask, pending = self._sync()
                allowed = self._allowed(n)
                rng = derive(self.config.seed, name, "strategy", ask)
                proposals = self._strategy.ask(allowed, pending, rng)[:allowed]
                for proposal in proposals:
                    self._check(proposal)
                with self._ledger.turn():
                    if self.history.asks.get(name, 0) == ask or (not remaining and self._new(proposals)):
                        return [self._propose(proposal, ask, by) for proposal in proposals]
        raise LedgerLocked(f"other doors keep recommending from {self._ledger.path}; try again")

    def tell(
        self, results: Sequence[Result], by: str = "", *, amend: bool = False, allow_outside: bool = False
    ) -> list[Trial]:
        """Record results; all of them are on the disk when this returns, or none.

        Args:
            results: in any order; those on record already are not recorded again.
            by: who reports.
            amend: let a different result take the place of a recorded one; the record keeps both.
            allow_outside: take values outside the plausible ranges.

        Returns:
            The finished trials, in the order of the results.

        Raises:
            RejectedResults: every problem by row, from 0, and column.
        """
        recorded = self.record(results, by, amend=amend, allow_outside=allow_outside)
        return [entry.trial for entry in recorded]

    def record(
        self, results: Sequence[Result], by: str = "", *, amend: bool = False, allow_outside: bool = False
    ) -> list[Recorded]:
        """As `tell`; also says what each result was."""
        _check_name(by)
        results = list(results)
        problems = self.review(results, amend=amend, allow_outside=allow_outside)[1]  # without holding the lock
        self._reject(problems)
        with self._ledger.turn():
            entries, problems = self._review(results, amend, allow_outside)
            self._reject(problems)
            return [Recorded(self._write(entry, by), entry.action) for entry in entries]

    def review(
        self, results: Sequence[Result], *, amend: bool = False, allow_outside: bool = False
    ) -> tuple[list[Entry], list[Problem]]:
        """What `tell` would do with results, and what is wrong with them; nothing is recorded."""
        with self._ledger.guard:
            self._ledger.catch_up()
            return self._review(results, amend, allow_outside)

    def cancel(self, trial_id: int, by: str = "", reason: str = "") -> Trial:
        """Record that a recommendation will not be done; harmless when repeated.

        Raises:
            MatloopError: there is no such trial, or it has a result.
        """
        _check_name(by)
        _check_name(reason, "reason", 10_000)
        with self._ledger.turn():
            trials = self.history.trials
            known = isinstance(trial_id, int) and 0 <= trial_id < len(trials)
            if not known or trials[trial_id].study != self.study.name:
                raise MatloopError(f"there is no trial {trial_id!r}; see `matloop status` for the pending ones")
            trial = trials[trial_id]
            if trial.state == "cancelled":
                return trial
            if trial.state != "running":
                raise MatloopError(f"trial {trial_id} has a result already; amend that instead")
            return self._ledger.cancel(trial, at=self._clock(), worker=by, reason=reason)

    def outlook(self) -> dict[str, Any]:
        """What further experiments are worth, by the strategy's model; empty if it cannot say."""
        ask_for = getattr(self._strategy, "outlook", None)
        if ask_for is None:
            return {}
        with self._asking:
            ask, _ = self._sync()
            outlook = self._strategy.outlook(derive(self.config.seed, self.study.name, "outlook", ask, self._told))  # type: ignore[attr-defined]
        return {} if outlook is None else dict(outlook.as_json)

    def close(self) -> None:
        """Let go of the ledger; harmless when called twice."""
        self._ledger.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, tb: TracebackType | None) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"Lab({self.name!r}, study={self.study.name!r}, directory={str(self.directory)!r})"

    def _version_now(self) -> tuple[int, int]:
        """Changes where the past has changed, so that the strategy has to hear all of it again."""
        return self._ledger.generation, len(self.history.amendments)

    def _sync(self) -> tuple[int, Pending]:
        """Let the strategy hear what it has not heard; give the number of the next ask and what is pending."""
        with self._ledger.guard:
            self._ledger.catch_up()
            version = self._version_now()
            if version != self._version:
                self._strategy = self._plan.build(self.history, self._store).strategy
                self._version, self._told = version, 0
            news = [self.history.trials[i] for i in self.history.finished[self._told :]]
            self._told = len(self.history.finished)
            pending = Pending()
            for trial in self.history.running(self.study.name):
                pending.add(trial)
            ask = self.history.asks.get(self.study.name, 0)
        try:
            for trial in news:
                if trial.study == self.study.name:
                    self._strategy.tell(trial)
        except BaseException:
            self._version = (-1, -1)  # it may have heard half of it
            raise
        return ask, pending

    def _allowed(self, n: int) -> int:
        """How many of n may be recommended within the budget."""
        spending = Spending(self.study.budget, self.objectives[0])
        with self._ledger.guard:
            trials = [t for t in self.history.of(self.study.name) if t.state != "cancelled"]
        for trial in trials:
            if trial.state != "running":
                spending.tell(trial)
        if spent := spending.spent(proposed=len(trials), elapsed_s=0.0):
            raise MatloopError(f"the budget of study {self.study.name!r} is spent: {spent}; raise it to go on")
        allowance = spending.allowance(len(trials))
        return n if allowance is None else min(n, allowance)

    def _check(self, proposal: Proposal) -> None:
        try:
            self.study.space.check(proposal.point)
        except InvalidPoint as error:
            raise MatloopError(
                f"study {self.study.name!r}: {type(self._strategy).__name__} proposed what is not in the space: {error}"
            ) from error

    def _new(self, proposals: Sequence[Proposal]) -> bool:
        """Whether none of the points is being measured."""
        under_way = {key(trial.point) for trial in self.history.running(self.study.name)}
        return not any(key(proposal.point) in under_way for proposal in proposals)

    def _propose(self, proposal: Proposal, ask: int, by: str) -> Trial:
        if by:
            proposal = dataclasses.replace(proposal, extra={**proposal.extra, "asked_by": by})
        return self._ledger.propose(self.study.name, proposal, seed=self._seed(), ask=ask)

    def _seed(self) -> int:
        return derive_seed(self.config.seed, self.study.name, self.history.counts.get(self.study.name, 0))

    def _review(self, results: Sequence[Result], amend: bool, allow_outside: bool) -> tuple[list[Entry], list[Problem]]:
        return self.rules.review(results, self.history.trials, amend=amend, allow_outside=allow_outside)

    @staticmethod
    def _reject(problems: Sequence[Problem]) -> None:
        if problems:
            raise RejectedResults(problems)

    def _write(self, entry: Entry, by: str) -> Trial:
        now, trial = self._clock(), entry.trial
        if entry.action == "known":
            assert trial is not None
            return trial
        if trial is None:
            assert entry.point is not None
            extra = {"origin": "reported", **({"request": entry.result.request} if entry.result.request else {})}
            trial = self._ledger.report(self.study.name, entry.point, seed=self._seed(), extra=extra)
            return self._ledger.answer(trial, entry.result.answer(by=by, started_at=now, finished_at=now))
        answer = entry.result.answer(by=by, started_at=trial.proposed_at, finished_at=now)
        write = self._ledger.amend if entry.action == "amended" else self._ledger.answer
        return write(trial, answer, point=entry.point)


def _of_people(studies: Sequence[Study], wanted: str | None) -> str:
    """Name of the study that people measure."""
    names = [study.name for study in studies if getattr(study.driver, "by_people", False)]
    if wanted is None and len(names) == 1:
        return names[0]
    if wanted in names:
        return str(wanted)
    if wanted is None:
        what = f"{len(names)} studies ({', '.join(names)})" if names else "none"
        remedy = "name one with --study" if names else "give a study `driver: manual`, or use `matloop run`"
        raise ConfigError(f"expected one study with the driver `manual`, got {what}; {remedy}")
    raise ConfigError(f"there is no study {wanted!r} with the driver `manual`; {suggest(wanted, names)}")


def _file_of(directory: Path) -> Path:
    """The campaign file that a folder of results belongs to."""
    own = directory / "campaign.yaml"
    if own.is_file():
        return own
    from orchestrator.ledger import read

    sessions = read(directory / "ledger.db").sessions
    return Path(sessions[-1].environment.get("campaign_file", own)) if sessions else own


def _check_name(text: str, what: str = "by", longest: int = LONGEST_NAME) -> None:
    try:
        good = isinstance(text, str) and len(text.encode()) <= longest
    except UnicodeEncodeError:
        good = False
    if not good:
        raise MatloopError(f"expected {what!r} to be text of at most {longest} characters, got {str(text)[:40]!r}")
