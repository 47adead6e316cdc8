"""A state change is all or nothing: what cannot be recorded changes nothing, and what is recorded can be read."""

from __future__ import annotations

import math
import os
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from matloop.orchestrator.errors import LedgerBusy, LedgerCorrupt, LedgerError, LedgerUnwritable, MatloopError
from matloop.orchestrator.ledger import file as ledger_file
from matloop.orchestrator.ledger import writer as ledger_writer
from matloop.orchestrator.ledger.history import History
from matloop.orchestrator.ledger.ledger import Ledger, read
from matloop.orchestrator.ledger.shared import SharedLedger
from matloop.orchestrator.trial import Answer, Failure, Proposal, Trial

ODD = os.fsdecode(b"Pr\xfcf.csv")
WRITTEN = r"Pr\udcfcf.csv"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "ledger.db"


@pytest.fixture
def ledger(path: Path):
    with Ledger.open(path, config={"name": "c"}, environment={}) as opened:
        yield opened


def propose(ledger: Ledger | SharedLedger, x: Any = 1) -> Trial:
    return ledger.propose("a", Proposal(point={"x": x}), seed=1, ask=0)


def answer(**fields: Any) -> Answer:
    return Answer(**{"values": {"y": 1.0}, "started_at": 0.0, "finished_at": 1.0, **fields})


DEEDS: dict[str, Callable[[Ledger, Trial], object]] = {
    "info": lambda ledger, trial: ledger.answer(trial, answer(info={"file": ODD, ODD: [{"in": (ODD,)}]})),
    "a set and an array": lambda ledger, trial: ledger.answer(
        trial, answer(info={"set": {ODD}, "array": __import__("numpy").array([ODD])})
    ),
    "a name": lambda ledger, trial: ledger.answer(trial, answer(values={"y": 1.0, ODD: 2.0}, noise={ODD: 0.1})),
    "an artifact": lambda ledger, trial: ledger.answer(trial, answer(artifacts={ODD: "0" * 64})),
    "a worker": lambda ledger, trial: ledger.answer(trial, answer(worker=ODD)),
    "a failure": lambda ledger, trial: ledger.answer(
        trial, answer(values=None, failure=Failure(cause="crash", message=ODD, traceback=ODD))
    ),
    "a point": lambda ledger, trial: ledger.answer(trial, answer(), point={"x": ODD}),
    "a proposal": lambda ledger, trial: ledger.propose(
        "a", Proposal(point={ODD: 1}, reason=ODD, extra={"k": {ODD: ODD}}, inputs={ODD: "0"}), seed=1, ask=1
    ),
    "a report": lambda ledger, trial: ledger.report("a", {"x": ODD}, seed=2, extra={"request": ODD}),
    "a loss": lambda ledger, trial: ledger.lose(trial, ODD),
    "a note": lambda ledger, trial: ledger.note("a", ODD, {"traceback": ODD}),
    "a person": lambda ledger, trial: ledger.cancel(trial, at=1.0, worker=ODD, reason=ODD),
}


@pytest.mark.parametrize("deed", DEEDS)
def test_text_that_is_not_unicode_is_recorded_and_leaves_no_gap(path: Path, deed: str) -> None:
    with Ledger.open(path, config={"name": ODD}, environment={"home": ODD}) as ledger:
        trial = propose(ledger)
        DEEDS[deed](ledger, trial)
        propose(ledger, 2)
        ledger.commit()
        live = ledger.history
        assert read(path).trials == live.trials
    history = read(path)
    assert (history.trials, history.finished, history.notes, history.lost) == (
        live.trials, live.finished, live.notes, live.lost,
    )  # fmt: skip
    stored = sqlite3.connect(path).execute("SELECT body FROM events ORDER BY seq").fetchall()
    assert sum(WRITTEN.replace("\\", "\\\\") in body for (body,) in stored) >= 2  # the session, and the deed
    Ledger.open(path, config={"name": ODD}, environment={}).close()  # it is the same campaign


def deep(levels: int) -> Any:
    value: Any = 0
    for _ in range(levels):
        value = [value]
    return value


CIRCLE: list[Any] = []
CIRCLE.append(CIRCLE)


@pytest.mark.parametrize(
    "value",
    [1j, object(), deep(1_000), deep(100_000), CIRCLE, {("a", 1): 2}, {b"a": 1}, 10**5_000, int, lambda: 0],
    ids=["complex", "object", "deep", "deepest", "circle", "tuple key", "bytes key", "huge", "type", "function"],
)
def test_what_cannot_be_recorded_is_refused_before_anything_has_changed(ledger: Ledger, value: Any) -> None:
    trial = propose(ledger)
    before = ledger.history.last_seq
    for attempt in (
        lambda: ledger.answer(trial, answer(info={"v": value})),
        lambda: propose(ledger, value),
        lambda: ledger.note("a", "n", {"v": value}),
    ):
        with pytest.raises(MatloopError, match="cannot record a"):
            attempt()
    assert (ledger.history.last_seq, len(ledger.history.trials), ledger.history.finished) == (before, 1, [])
    ledger.answer(trial, answer())
    ledger.commit()
    assert read(ledger.path).trials == ledger.history.trials and ledger.history.finished == [0]


def test_a_study_whose_name_cannot_be_looked_up_again_is_refused(ledger: Ledger) -> None:
    with pytest.raises(MatloopError, match="cannot record a 'proposed' event of study"):
        ledger.propose(ODD, Proposal(point={}), seed=1, ask=0)
    propose(ledger)
    ledger.commit()
    assert len(read(ledger.path).trials) == 1


def test_numbers_that_are_none_stay_what_they_are(ledger: Ledger) -> None:
    trial = ledger.answer(propose(ledger), answer(info={"loss": math.nan, "least": -math.inf}))
    ledger.commit()
    (stored,) = read(ledger.path).trials
    assert math.isnan(trial.info["loss"]) and math.isnan(stored.info["loss"]) and stored.info["least"] == -math.inf


def test_what_is_written_at_the_top_of_a_stack_can_be_read_at_its_bottom(ledger: Ledger) -> None:
    """Both are limited by the depth of the stack, but it is not the same one on a resume."""
    propose(ledger, deep(190))
    ledger.commit()

    def read_below(frames: int) -> History:
        return read(ledger.path) if not frames else read_below(frames - 1)

    assert read_below(500).trials == ledger.history.trials


@pytest.mark.parametrize("times", [5, 5.0])
def test_a_clock_of_whole_seconds_gives_the_checksums_that_are_read(path: Path, times: float) -> None:
    with Ledger.open(path, config={}, environment={}, clock=lambda: times) as ledger:
        propose(ledger)
    assert not read(path).damage


def test_an_event_out_of_order_changes_nothing(ledger: Ledger) -> None:
    trial = ledger.answer(propose(ledger), answer())
    with pytest.raises(LedgerCorrupt, match="trial 0, which is not running"):
        ledger.answer(trial, answer())
    ledger.commit()
    assert read(ledger.path).trials == [trial] and ledger.is_whole


def half_applied(history: History) -> Callable[..., None]:
    """`History.apply`, struck by an interruption after it has begun."""
    apply = type(history).apply

    def struck(self: History, event: Any) -> None:
        apply(self, event)
        raise KeyboardInterrupt

    return struck


def test_after_an_append_that_failed_half_way_nothing_more_is_recorded(path: Path, monkeypatch) -> None:
    ledger = Ledger.open(path, config={}, environment={})
    trial = propose(ledger)
    ledger.commit()
    ledger.note("a", "in the same turn", {})
    with monkeypatch.context() as patch:
        patch.setattr(History, "apply", half_applied(ledger.history))
        with pytest.raises(KeyboardInterrupt):
            ledger.answer(trial, answer())
    for attempt in (lambda: propose(ledger), ledger.commit, lambda: ledger.note("a", "n", {})):
        with pytest.raises(LedgerError, match=r"failed half-way.*open it again"):
            attempt()
    ledger.close()  # says nothing more
    history = read(path)
    assert not history.damage and history.finished == [] and history.notes == [] and len(history.trials) == 1
    with Ledger.open(path, config={}, environment={}) as again:
        again.answer(again.history.trials[0], answer())


def test_the_first_error_is_the_one_that_is_seen(path: Path, monkeypatch) -> None:
    def session() -> None:
        with Ledger.open(path, config={}, environment={}) as ledger:
            propose(ledger)
            monkeypatch.setattr(ledger_writer, "insert", refused)
            raise ZeroDivisionError

    def refused(*_: Any, **__: Any) -> None:
        raise sqlite3.OperationalError("disk I/O error")

    with pytest.raises(ZeroDivisionError):
        session()


def test_a_turn_that_failed_half_way_is_forgotten_and_the_next_one_is_sound(path: Path, monkeypatch) -> None:
    shared = SharedLedger(path)
    with shared.turn():
        propose(shared, 1)

    def turn() -> None:
        with shared.turn():
            propose(shared, 2)
            monkeypatch.setattr(History, "apply", half_applied(shared.history))
            propose(shared, 3)

    with pytest.raises(KeyboardInterrupt):
        turn()
    monkeypatch.undo()
    with shared.turn():
        propose(shared, 4)
    assert [t.point["x"] for t in read(path).trials] == [t.point["x"] for t in shared.history.trials] == [1, 4]
    assert shared.generation == 1
    shared.close()


class Failing:
    """A connection whose commits or statements fail."""

    def __init__(self, db: sqlite3.Connection, fail: Callable[[str], None]) -> None:
        self._db, self._fail = db, fail

    def execute(self, sql: str, *values: Any) -> Any:
        self._fail(sql)
        return self._db.execute(sql, *values)

    def executemany(self, sql: str, rows: Any) -> Any:
        rows = list(rows)
        self._db.executemany(sql, rows[: len(rows) // 2])
        self._fail(sql)
        return self._db.executemany(sql, rows[len(rows) // 2 :])

    def __enter__(self) -> Any:
        return self._db.__enter__()

    def __exit__(self, *error: Any) -> Any:
        done = self._db.__exit__(*error)
        if error[0] is None:
            self._fail("COMMITTED")
        return done

    def __getattr__(self, name: str) -> Any:
        return getattr(self._db, name)


@pytest.mark.parametrize("at", ["BEGIN", "INSERT", "COMMITTED"])
def test_a_commit_that_fails_can_be_repeated_and_writes_each_event_once(ledger: Ledger, at: str) -> None:
    def fail(sql: str) -> None:
        if sql.startswith(at):
            raise sqlite3.OperationalError("disk I/O error")

    trials = [propose(ledger, x) for x in range(4)]
    sound, ledger._db = ledger._db, Failing(ledger._db, fail)
    for _ in range(3):
        with pytest.raises(LedgerUnwritable, match="4 events since the last commit are not saved"):
            ledger.commit()
        assert [t.point["x"] for t in read(ledger.path).trials] in ([], [0, 1, 2, 3])  # all or none
    ledger._db = sound
    ledger.answer(trials[0], answer())
    ledger.commit()
    history = read(ledger.path)
    assert history.trials == ledger.history.trials and not history.damage
    assert (history.last_seq, history.finished) == (6, [0])


def test_a_locked_file_is_told_from_a_full_disk(ledger: Ledger, monkeypatch) -> None:
    ledger._db.execute("PRAGMA busy_timeout = 50")
    other = sqlite3.connect(ledger.path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    propose(ledger)
    with pytest.raises(LedgerBusy, match=r"another program keeps it locked.*the disk is not full.*1 events since"):
        ledger.commit()
    other.execute("ROLLBACK")
    other.close()
    ledger.commit()
    ledger._db.execute(f"PRAGMA max_page_count = {ledger._db.execute('PRAGMA page_count').fetchone()[0]}")
    propose(ledger, "x" * 100_000)
    with pytest.raises(LedgerUnwritable, match=r"the disk is full; 1 events.*Free space") as full:
        ledger.commit()
    assert not isinstance(full.value, LedgerBusy)
    ledger._db.execute("PRAGMA max_page_count = 1000000")
    ledger.commit()
    assert len(read(ledger.path).trials) == 2


def test_an_event_that_no_file_takes_is_refused(ledger: Ledger, monkeypatch) -> None:
    monkeypatch.setattr(ledger_writer, "LARGEST_BODY", 1000)
    with pytest.raises(MatloopError, match="of which 1,000 can be stored"):
        propose(ledger, "x" * 1000)
    propose(ledger, "x" * 100)
    ledger.commit()
    assert len(read(ledger.path).trials) == 1


def test_a_turn_that_could_not_be_written_is_forgotten_and_can_be_taken_again(path: Path) -> None:
    """On the page of a lab: who is told that it failed finds nothing of it, and says it again."""
    shared, other = SharedLedger(path, wait_s=0.05), SharedLedger(path)
    blocking = sqlite3.connect(path, isolation_level=None)
    for x in range(3):
        blocking.execute("BEGIN IMMEDIATE")
        with pytest.raises(LedgerBusy, match="nothing of this was recorded"), shared.turn():
            propose(shared, x)
        blocking.execute("ROLLBACK")
        with shared.turn():
            propose(shared, x)
        with other.turn():
            propose(other, -x)
    blocking.close()
    shared.catch_up()
    stored = read(path)
    assert [t.point["x"] for t in stored.trials] == [0, 0, 1, -1, 2, -2]
    assert stored.trials == shared.history.trials == other.history.trials and shared.generation == 3
    shared.close()
    other.close()


def test_writers_wait_for_minutes(ledger: Ledger) -> None:
    assert ledger._db.execute("PRAGMA busy_timeout").fetchone()[0] >= 60_000
    assert ledger_file.BUSY_WAIT_S >= 60


def test_an_event_of_somebody_else_is_never_overwritten(ledger: Ledger) -> None:
    propose(ledger, "ours")
    other = sqlite3.connect(ledger.path)
    with other:
        other.execute("INSERT INTO events VALUES (2, 0, 'noted', '', NULL, '{}', 0)")
    other.close()
    with pytest.raises(LedgerError, match="another process has written to it at the same time") as error:
        ledger.commit()
    assert not isinstance(error.value, LedgerUnwritable)  # which would be tried again
    ledger._buffer.clear()
    ledger.history.sessions[-1].ended = "test"


@pytest.mark.skipif(os.name == "nt", reason="an open file stays in its place")
def test_a_file_that_is_moved_away_while_it_is_written_is_noticed(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ledger_writer, "LOOK_S", -1.0)  # at every commit
    path = path.parent / "run" / "ledger.db"
    ledger = Ledger.open(path, config={}, environment={})
    propose(ledger)
    away = path.parent.with_name("away")
    path.parent.rename(away)
    with pytest.raises(LedgerUnwritable, match="it is no longer there"):
        ledger.commit()
    away.rename(path.parent)
    ledger.commit()
    copy = path.with_name("copy")
    shutil.copy(path, copy)
    kept = path.rename(path.with_name("kept"))
    copy.rename(path)
    propose(ledger)
    with pytest.raises(LedgerUnwritable, match="another file lies there now"):
        ledger.commit()
    kept.replace(path)
    ledger.close()
    assert len(read(path).trials) == 2


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    texts=st.lists(
        st.text(st.characters(codec=None, categories=["Cs", "L", "Cc", "P"]), max_size=6), min_size=1, max_size=5
    )
)
def test_any_text_at_all_is_recorded(tmp_path_factory, texts: list[str]) -> None:
    path = tmp_path_factory.mktemp("any") / "ledger.db"
    with Ledger.open(path, config={}, environment={}) as ledger:
        for text in texts:
            trial = ledger.propose("a", Proposal(point={text: text}, reason=text), seed=1, ask=0)
            ledger.answer(trial, answer(info={text: [text]}, worker=text))
        live = ledger.history
    assert read(path).trials == live.trials and not read(path).damage
