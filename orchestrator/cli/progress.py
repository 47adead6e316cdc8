"""What a person sees while a campaign runs: bars on a terminal, a line every few seconds in a log."""

from __future__ import annotations

import math
import sys
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn
from rich.text import Text

from matloop.orchestrator.ledger.history import History
from matloop.orchestrator.loop.study import Study
from matloop.orchestrator.trial import Trial, in_full, keeps_limits

RECENT = 50  # answers over which the rate is taken
LINE_EVERY_S = 5.0
DRAWN_PER_S = 4  # how often bars are drawn, so that their figures need not be worked out more often
STYLES = {"done": "none", "best": "green", "rate": "none", "left": "none", "busy": "none", "failed": "red"}


@dataclass
class Tally:
    """The figures of one study, kept up to date event by event.

    Attributes:
        began: by the clock that `now` arguments come from, s.
        elapsed_before_s: time for which the study ran in earlier sessions, s.
        times: when the last answers came, oldest first.
        in_full: answers measured with the full effort.
    """

    study: Study
    began: float
    elapsed_before_s: float = 0.0
    done: int = 0
    failed: int = 0
    in_full: int = 0
    best: float | None = None
    busy: int = 0
    slots: int = 1
    times: deque[float] = field(default_factory=lambda: deque(maxlen=RECENT))

    @classmethod
    def of(cls, study: Study, history: History, now: float) -> Tally:
        """Figures of a study that starts, or goes on."""
        tally = cls(study, now, history.elapsed_s.get(study.name, 0.0))
        uncounted = history.uncounted(study.name)
        for trial in history.told(study.name):
            if trial.id not in uncounted:
                tally.count(trial)
        return tally

    def count(self, trial: Trial, now: float | None = None) -> None:
        """Add a finished trial; `now` only if it finished in this session."""
        self.done += 1
        if now is not None:
            self.times.append(now)
        if trial.values is None:
            self.failed += 1
            return
        objective = self.study.objectives[0]
        self.in_full += in_full(trial)
        if not in_full(trial) or not keeps_limits(trial, self.study.objectives):
            return
        value = trial.values[objective.name]
        if self.best is None or objective.loss(value) < objective.loss(self.best):
            self.best = value

    def ending(self, reason: str) -> str:
        """Why the study ended; and that nothing came of it, if all its values are of lower fidelity."""
        if self.in_full or self.done == self.failed:
            return reason
        return f"{reason}, nothing measured in full: it needs a larger budget"

    def rate(self, now: float) -> float | None:
        """Recent answers per second of this session; None before the first one."""
        if not self.times:
            return None
        since = self.began if len(self.times) < RECENT else self.times[0]
        answers = len(self.times) if len(self.times) < RECENT else RECENT - 1
        return answers / max(now - since, 1e-9)

    def share(self, now: float) -> float | None:
        """Share of the budget that is spent, in [0, 1]; None if it limits neither trials nor time."""
        budget = self.study.budget
        shares = []
        if budget.trials is not None:
            shares.append(self.done / budget.trials)
        if budget.seconds is not None:
            shares.append((self.elapsed_before_s + now - self.began) / budget.seconds)
        return min(1.0, max(shares)) if shares else None

    def left_s(self, now: float) -> float | None:
        """Time until trials or seconds run out, s; None if that cannot be told."""
        budget, rate = self.study.budget, self.rate(now)
        left = []
        if budget.trials is not None and rate:
            left.append(max(0, budget.trials - self.done) / rate)
        if budget.seconds is not None:
            left.append(max(0.0, budget.seconds - self.elapsed_before_s - (now - self.began)))
        return min(left, default=None)

    def columns(self, now: float) -> dict[str, str]:
        """Figures as words: done, best, rate, left, busy, failed."""
        objective, rate, left_s = self.study.objectives[0], self.rate(now), self.left_s(now)
        total = f"/{self.study.budget.trials}" if self.study.budget.trials is not None else ""
        return {
            "done": f"{self.done}{total}",
            "best": f"{objective.name} {quantity(self.best, objective.unit)}" if self.best is not None else "",
            "rate": per_time(rate) if rate else "",
            "left": f"{duration(left_s)} left" if left_s is not None else f"{duration(now - self.began)} so far",
            "busy": f"{self.busy}/{self.slots} busy",
            "failed": f"{self.failed} failed" if self.failed else "",
        }

    def line(self, now: float) -> str:
        """All figures on one line."""
        columns = self.columns(now)
        best = f"best {columns.pop('best')}" if columns["best"] else ""
        return "  ".join(filter(None, (self.study.name, columns.pop("done"), best, *columns.values())))


class Lines:
    """Observer that prints plain lines, one at most every few seconds besides each study's first and last.

    Args:
        write: takes one line without its end.
        clock: s.
    """

    def __init__(self, write: Callable[[str], None], clock: Callable[[], float] = time.monotonic) -> None:
        self._write, self._clock = write, clock
        self._tally: Tally | None = None
        self._last = 0.0

    def study_started(self, study: Study, history: History) -> None:
        """See `Observer`."""
        self._tally, self._last = Tally.of(study, history, self._clock()), self._clock()
        done = self._tally.done
        self._write(f"{study.name}: goes on after {done} trials" if done else f"{study.name}: starts")

    def proposed(self, trial: Trial) -> None:
        """See `Observer`."""

    def finished(self, trial: Trial) -> None:
        """See `Observer`."""
        if self._tally:
            self._tally.count(trial, self._clock())
            self._show()

    def running(self, busy: int, slots: int) -> None:
        """See `Observer`."""
        if self._tally:
            self._tally.busy, self._tally.slots = busy, slots
            self._show()

    def notice(self, text: str) -> None:
        """See `Observer`."""
        self._write(text)

    def study_ended(self, study: str, reason: str) -> None:
        """See `Observer`."""
        if self._tally:
            self._tally.busy = 0
            self._write(self._tally.line(self._clock()))
            reason = self._tally.ending(reason)
        self._write(f"{study}: ended: {reason}")
        self._tally = None

    def _show(self) -> None:
        now = self._clock()
        if self._tally and now - self._last >= LINE_EVERY_S:
            self._last = now
            self._write(self._tally.line(now))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, tb: TracebackType | None) -> None:
        pass


class Bars:
    """Observer that draws a bar per study on a terminal."""

    def __init__(self, console: Console) -> None:
        self._progress = Progress(
            TextColumn("[bold]{task.description}"),
            BarColumn(bar_width=18),
            *(TextColumn(f"{{task.fields[columns][{name}]}}", style, markup=False) for name, style in STYLES.items()),
            console=console,
            refresh_per_second=DRAWN_PER_S,
        )
        self._task: TaskID | None = None
        self._tally: Tally | None = None
        self._shown = -math.inf

    def study_started(self, study: Study, history: History) -> None:
        """See `Observer`."""
        now = time.monotonic()
        self._tally, self._shown = Tally.of(study, history, now), -math.inf
        self._task = self._progress.add_task(study.name, total=None, columns=self._tally.columns(now))
        self._show()

    def proposed(self, trial: Trial) -> None:
        """See `Observer`."""

    def finished(self, trial: Trial) -> None:
        """See `Observer`."""
        if self._tally:
            self._tally.count(trial, time.monotonic())
            self._show()

    def running(self, busy: int, slots: int) -> None:
        """See `Observer`."""
        if self._tally:
            self._tally.busy, self._tally.slots = busy, slots
            self._show()

    def notice(self, text: str) -> None:
        """See `Observer`."""
        self._progress.console.print(Text(text, "red"), soft_wrap=True)

    def study_ended(self, study: str, reason: str) -> None:
        """See `Observer`."""
        if self._tally and self._task is not None:
            self._tally.busy = 0
            columns = self._tally.columns(time.monotonic()) | {"left": self._tally.ending(reason), "busy": ""}
            self._progress.update(self._task, total=1.0, completed=1.0, columns=columns)
        self._tally = self._task = None

    def _show(self) -> None:
        now = time.monotonic()
        if self._tally and self._task is not None and now - self._shown >= 1 / DRAWN_PER_S:
            self._shown = now
            share = self._tally.share(now)
            total = None if share is None else 1.0
            self._progress.update(self._task, total=total, completed=share or 0.0, columns=self._tally.columns(now))

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, tb: TracebackType | None) -> None:
        self._progress.stop()


def observer(console: Console | None = None) -> Bars | Lines:
    """Bars where someone is looking, lines elsewhere."""
    console = console or Console()
    if console.is_terminal and not console.is_dumb_terminal:
        return Bars(console)
    return Lines(lambda line: print(line, file=sys.stdout, flush=True))


def quantity(value: float | None, unit: str = "") -> str:
    """A number with its unit, five significant digits."""
    return "–" if value is None else f"{value:.5g} {unit}".rstrip()


def duration(seconds: float) -> str:
    """Seconds as 0:05, 12:34 or 1:02:03."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def per_time(rate: float) -> str:
    """A rate in the unit that makes it readable: per second, minute or hour."""
    for unit, seconds in (("s", 1), ("min", 60)):
        if rate * seconds >= 1:
            return f"{rate * seconds:.3g}/{unit}"
    return f"{rate * 3600:.3g}/h"
