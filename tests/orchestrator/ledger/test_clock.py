"""The times of a session: a clock that is set meanwhile neither turns them back nor stretches a budget of time."""

from __future__ import annotations

import time
from concurrent.futures import Executor, Future
from pathlib import Path
from queue import Empty
from typing import Any

import pytest

from matloop.orchestrator.ledger.ledger import Ledger, read
from matloop.orchestrator.loop.budget import Budget
from matloop.orchestrator.loop.campaign import Campaign
from matloop.orchestrator.loop.study import Plan
from tests.orchestrator.toys import study


@pytest.mark.parametrize("leap_s", [-1e6, 1e6])
def test_a_clock_that_is_set_changes_nothing_within_a_session(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, leap_s: float
) -> None:
    clock = time.time
    with Ledger.open(tmp_path / "ledger.db", config={}, environment={}) as ledger:
        ledger.note("a", "study_started", {})
        monkeypatch.setattr(time, "time", lambda: clock() + leap_s)
        ledger.note("a", "anything", {})
        assert 0 <= ledger.elapsed_s("a") < 1e5
    history = read(tmp_path / "ledger.db")
    times = [history.sessions[0].opened_at, *(note.time for note in history.notes), history.sessions[0].last_at]
    assert times == sorted(times) and times[-1] - times[0] < 1e5
    assert 0 <= history.elapsed_s["a"] < 1e5
    with Ledger.open(tmp_path / "ledger.db", config={}, environment={}) as ledger:  # the next one goes by the new time
        assert abs(ledger.history.sessions[1].opened_at - times[0]) > 1e5
        assert ledger.elapsed_s("a") == history.elapsed_s["a"]


def test_a_study_runs_on_while_nothing_is_recorded_and_not_after_its_end(tmp_path: Path) -> None:
    now = [100.0]
    with Ledger.open(tmp_path / "ledger.db", config={}, environment={}, clock=lambda: now[0]) as ledger:
        assert ledger.elapsed_s("a") == 0.0
        ledger.note("a", "study_started", {})
        now[0] = 130.0
        assert ledger.elapsed_s("a") == 30.0 and ledger.elapsed_s("b") == 0.0
        assert ledger.history.elapsed_s.get("a") == 0.0
        ledger.note("a", "study_ended", {"reason": "r"})
        now[0] = 1000.0
        assert ledger.elapsed_s("a") == ledger.history.elapsed_s["a"] == 30.0
        ledger.note("a", "study_started", {})
        now[0] = 1001.0
        assert ledger.elapsed_s("a") == 31.0


class Late(Executor):
    """One evaluation, which takes long; a second slot comes when the time is up."""

    slots = 1

    def __init__(self) -> None:
        self.running: list[tuple[Future[Any], Any]] = []

    def submit(self, fn: Any, /, *arguments: Any, **options: Any) -> Future[Any]:
        future: Future[Any] = Future()
        self.running.append((future, fn))
        return future


class Waiting:
    """An inbox at which ten seconds pass with every look."""

    def __init__(self, now: list[float], executor: Late) -> None:
        self.now, self.executor, self.items, self.looks = now, executor, list[Any](), 0

    def put(self, item: Any) -> None:
        self.items.append(item)

    def get(self, block: bool = True, timeout: float | None = None) -> Any:
        self.now[0] += 10.0
        self.looks += 1
        if self.looks == 4:
            self.executor.slots = 2
        if self.looks >= 8:
            for future, fn in self.executor.running:
                if not future.done():
                    future.set_result(fn())
        return self.get_nowait()

    def get_nowait(self) -> Any:
        if not self.items:
            raise Empty
        return self.items.pop(0)


def test_a_budget_of_time_ends_a_study_in_which_nothing_happens(tmp_path: Path) -> None:
    now, executor = [0.0], Late()
    made = study(budget=Budget(seconds=25.0))
    with Ledger.open(tmp_path / "ledger.db", config={}, environment={}, clock=lambda: now[0]) as ledger:
        Campaign(
            plans=[Plan(made.name, lambda history, store: made)],
            ledger=ledger,
            executor=executor,
            artifacts=tmp_path / "artifacts",
            inbox=Waiting(now, executor),  # type: ignore[arg-type]
        ).run()
    history = read(tmp_path / "ledger.db")
    assert len(history.trials) == len(history.finished) == 1
    assert history.ended(made.name) == {"reason": "25 s"}
