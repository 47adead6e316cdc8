"""Progress: the figures that a person sees are right, and a log is not flooded."""

from __future__ import annotations

import io
from dataclasses import replace
from typing import Any

import pytest
from rich.console import Console

from matloop.orchestrator.cli.progress import Bars, Lines, Tally, duration, observer, per_time, quantity
from matloop.orchestrator.ledger.history import History
from matloop.orchestrator.loop.budget import Budget
from matloop.orchestrator.loop.study import Study
from matloop.orchestrator.trial import Failure, Objective, Trial


def study(**budget: Any) -> Study:
    nothing: Any = None
    return Study(
        name="search",
        space=nothing,
        strategy=nothing,
        driver=nothing,
        objectives=(Objective("gap", "maximise", "eV"), Objective("cost")),
        budget=Budget(**budget),
    )


def trial(number: int, gap: float | None) -> Trial:
    values = {"gap": gap, "cost": 1.0} if gap is not None else None
    failure = None if values else Failure(cause="exception", message="no")
    return Trial(id=number, study="search", number=number, point={}, seed=0, values=values, failure=failure)


def test_tally_counts_best_rate_and_time_left() -> None:
    tally = Tally(study(trials=10), began=100.0)
    for number, gap in enumerate([1.0, 3.0, None, 2.0]):
        tally.count(trial(number, gap), now=101.0 + number)
    assert (tally.done, tally.failed, tally.best) == (4, 1, 3.0)
    assert tally.rate(104.0) == 1.0
    assert tally.left_s(104.0) == 6.0
    assert tally.share(104.0) == 0.4


def test_rate_follows_the_recent_answers() -> None:
    tally = Tally(study(), began=0.0)
    for number in range(100):
        tally.count(trial(number, 0.0), now=number * 10.0)
    for number in range(50):
        tally.count(trial(number, 0.0), now=1000.0 + number)
    assert tally.rate(1049.0) == pytest.approx(1.0)


def test_what_an_earlier_session_did_is_no_part_of_the_rate() -> None:
    tally = Tally(study(trials=10, seconds=100.0), began=0.0, elapsed_before_s=40.0)
    tally.count(trial(0, 1.0))
    assert tally.rate(5.0) is None
    assert tally.left_s(5.0) == 55.0  # seconds are known, trials are not
    assert tally.share(5.0) == 0.45


def test_lines_are_few_and_whole() -> None:
    written: list[str] = []
    now = [0.0]
    lines = Lines(written.append, clock=lambda: now[0])
    lines.study_started(study(trials=200), History())
    for number in range(200):
        now[0] += 0.1
        lines.running(2, 2)
        lines.finished(trial(number, number if number % 10 else None))
    lines.study_ended("search", "200 trials")
    assert 3 <= len(written) <= 7
    assert written[0] == "search: starts"
    assert written[-1] == "search: ended: 200 trials"
    assert written[-2] == "search  200/200  best gap 199 eV  10/s  0:00 left  0/2 busy  20 failed"


@pytest.mark.parametrize("fidelities", [[0.5, 0.9], [0.5, None]])
def test_an_end_before_anything_was_measured_in_full_is_said(fidelities: list[float | None]) -> None:
    written: list[str] = []
    lines = Lines(written.append, clock=lambda: 0.0)
    console = Console(file=io.StringIO(), force_terminal=True, width=160, color_system=None)
    with Bars(console) as bars:
        for shown in (lines, bars):
            shown.study_started(study(trials=3), History())
            for number, fidelity in enumerate(fidelities):
                shown.finished(replace(trial(number, 1.0), fidelity=fidelity))
            shown.finished(trial(2, None))
            shown.study_ended("search", "3 trials")
    said = "3 trials, nothing measured in full: it needs a larger budget"
    assert (written[-1] == f"search: ended: {said}") is (None not in fidelities)
    assert (said in console.file.getvalue()) is (None not in fidelities)  # type: ignore[attr-defined]


def test_bars_show_the_same_figures() -> None:
    console = Console(file=io.StringIO(), force_terminal=True, width=140, color_system=None)
    with Bars(console) as bars:
        bars.study_started(study(trials=3), History())
        for number in range(3):
            bars.running(1, 1)
            bars.finished(trial(number, [1.5, None, 1.0][number]))
        bars.study_ended("search", "3 trials [all]")
    shown = console.file.getvalue()  # type: ignore[attr-defined]
    assert "3/3" in shown and "gap 1.5 eV" in shown and "1 failed" in shown and "3 trials [all]" in shown


def test_observer_fits_its_output() -> None:
    assert isinstance(observer(Console(file=io.StringIO())), Lines)
    assert isinstance(observer(Console(file=io.StringIO(), force_terminal=True, _environ={"TERM": "xterm"})), Bars)


def test_words() -> None:
    assert quantity(0.0123456, "eV") == "0.012346 eV"
    assert quantity(None) == "–"
    assert [duration(s) for s in (5, 754, 3723)] == ["0:05", "12:34", "1:02:03"]
    assert [per_time(r) for r in (3.14159, 0.5, 0.001)] == ["3.14/s", "30/min", "3.6/h"]
