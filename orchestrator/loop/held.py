"""What the machine's fault holds up: results whose artifacts cannot be stored yet, trials that could not be begun.

While there is any of it nothing new is begun. What else comes back is recorded as always.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import fields, replace

from matloop.orchestrator.errors import OutOfReach
from matloop.orchestrator.ledger.artifacts import ArtifactStore
from matloop.orchestrator.loop.outage import Outage
from matloop.orchestrator.loop.returned import NOT_RECORDED
from matloop.orchestrator.loop.transfer import Spoiled, Unbegun, Unsaved, save
from matloop.orchestrator.trial import Answer, Trial

Result = tuple[Trial, Answer]
"""A trial and what its attempt came to."""


class Held:
    """Results and trials that wait for a disk.

    Args:
        store: of the artifacts.
        storing: the outage of the store.
        beginning: that of what keeps trials from beginning.
        repeatable: whether a measurement that a full disk spoiled may be begun again.
    """

    def __init__(self, store: ArtifactStore, *, storing: Outage, beginning: Outage, repeatable: bool) -> None:
        self._store, self._storing, self._beginning = store, storing, beginning
        self._repeatable = repeatable
        self._results: list[tuple[Trial, Unsaved]] = []
        self._refused: set[int] = set()
        self._lost = ""  # why something was
        self._not_begun = ""

    @property
    def any(self) -> bool:
        """Whether anything waits, so that nothing new may be begun."""
        return bool(self._results or self._refused)

    @property
    def results(self) -> bool:
        """Whether there are results among it, which the loop must not end without."""
        return bool(self._results)

    def room(self, free: int, in_flight: Collection[int]) -> int:
        """Evaluations to begin where so many slots are free: one at a time of those that could not be begun."""
        if not self.any:
            return free
        if self._results or not self._beginning.due or not self._refused.isdisjoint(in_flight):
            return 0
        return min(free, 1)

    def ready(self, results: Iterable[Result]) -> list[Result]:
        """Of what came back and of what was held, that which can be recorded now."""
        ready: list[Result] = []
        for trial, answer in results:
            if isinstance(answer, Unsaved):
                self._results.append((trial, answer))
            elif isinstance(answer, Unbegun | Spoiled):
                ready.append((trial, self._refuse(trial, answer)))
            else:
                if self._refused:
                    self._accept(trial)
                ready.append((trial, answer))
        if self._results:
            ready += self._settle()
        return ready

    def give_up(self) -> None:
        """Wait no longer: results are tried once more, and go without their artifacts then."""
        self._storing.hopeless = self._beginning.hopeless = True

    def check(self) -> None:
        """Raise where waiting was in vain.

        Raises:
            OutOfReach: an artifact could not be stored, or a trial not begun.
        """
        if self._lost:
            raise OutOfReach(
                f"{self._lost}. All values are recorded; artifacts were lost: `{NOT_RECORDED}` in the details of a "
                "trial says which. Free space or make the folder writable, then run the same command again"
            )
        if self._not_begun:
            raise OutOfReach(f"{self._not_begun}. What was not begun is begun when the same command is run again")

    def _refuse(self, trial: Trial, answer: Unbegun | Spoiled) -> Answer:
        """Take note of a trial that is to be begun again; return the answer by which the loop settles this attempt."""
        assert answer.failure is not None
        if isinstance(answer, Spoiled) and not self._repeatable:
            return answer
        if trial.id in self._refused or not self._refused:  # those that were under way as well do not count as tries
            self._beginning.failed(answer.failure.message)
        self._refused.add(trial.id)
        if self._beginning.hopeless and not self._beginning.asked_to_stop:
            self._not_begun = answer.failure.message
            if isinstance(answer, Spoiled):  # it may fill the disk itself: this counts, or it would go round for ever
                return Answer(**{f.name: getattr(answer, f.name) for f in fields(Answer)})
        return answer

    def _accept(self, trial: Trial) -> None:
        if trial.id in self._refused:
            self._refused.clear()
            self._beginning.over()

    def _settle(self) -> list[Result]:
        """Those whose artifacts are stored now, or given up."""
        ready: list[Result] = []
        while self._results and self._storing.due:
            trial, answer = self._results.pop(0)
            stored, left, reason = save(self._store, answer.contents)
            answer = replace(answer, artifacts={**answer.artifacts, **stored}, contents=left)
            if left:
                self._storing.failed(reason)
                if not self._storing.hopeless:
                    self._results.insert(0, (trial, answer))
                    break
            else:
                self._storing.over()
            ready.append((trial, self._without(answer, reason)))
        return ready

    def _without(self, answer: Unsaved, reason: str) -> Answer:
        """The answer as it is recorded, with what was lost and why."""
        lost = {**answer.given_up, **dict.fromkeys(answer.contents, reason)}
        if not lost:
            return answer
        self._lost = self._lost or next(iter(lost.values()))
        return replace(answer, info={**answer.info, NOT_RECORDED: {**answer.info.get(NOT_RECORDED, {}), **lost}})
