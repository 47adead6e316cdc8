"""Ledgers damaged in every way: what is whole of them is in the copy, what is not is named, and the copy goes on."""

from __future__ import annotations

import random
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from matloop.orchestrator.errors import LedgerCorrupt, LedgerError, LedgerLocked
from matloop.orchestrator.ledger.file import checksum
from matloop.orchestrator.ledger.history import Event
from matloop.orchestrator.ledger.ledger import Ledger, read
from matloop.orchestrator.ledger.repair import repair
from matloop.orchestrator.trial import Answer, Failure, Proposal, Trial

PAGE = 4096
TRIALS = 120


def mark(seq: int) -> str:
    """Text by which a row is found in a file."""
    return f"mark<{seq:05d}>"


def fill(path: Path, *, close: bool = True, first: int = 0) -> Ledger:
    """Two studies, trials of all kinds; some rows do not fit into a page. Every row has its mark at its two ends."""
    ledger = Ledger.open(path, config={"name": "c"}, environment={})
    rng = random.Random(first)

    def marked(long: bool = False) -> str:
        seq = mark(ledger.history.last_seq + 1)
        return seq + ("x" * rng.choice([6_000, 20_000]) if long else "x" * 60) + seq

    for number in range(first, first + TRIALS):
        study = "ab"[number % 7 == 6]
        proposal = Proposal(point={"n": number}, reason=marked(number % 10 == 3), parents=(max(0, number - 5),))
        trial = ledger.propose(study, proposal, seed=number, ask=number)
        times = {"started_at": 1.0, "finished_at": 2.0, "worker": marked()}
        if number % 9 == 2:
            ledger.lose(trial, marked())
            trial = ledger.restart(trial, attempt=2)
        if number % 11 == 4:
            ledger.cancel(trial, at=2.0, worker=marked(), reason="")
        elif number % 13 == 5:
            ledger.answer(trial, Answer(failure=Failure(cause="exception", message="m"), **times))
        elif number % 17 != 6:
            trial = ledger.answer(trial, Answer(values={"y": float(number)}, **times))
            if number % 8 == 1:
                times["worker"] = marked()
                ledger.amend(trial, Answer(values={"y": number + 0.5}, **times))
        ledger.commit()
    if close:
        ledger.close()
    return ledger


@pytest.fixture(scope="module")
def filled(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("filled") / "ledger.db"
    fill(path)
    return path


@pytest.fixture
def path(filled: Path, tmp_path: Path) -> Path:
    return Path(shutil.copy(filled, tmp_path / "ledger.db"))


def events(path: Path) -> dict[int, Event]:
    with closing(sqlite3.connect(path)) as db:
        found = db.execute("SELECT seq, time, kind, study, trial, body FROM events ORDER BY seq").fetchall()
    return {row[0]: Event(*row) for row in found}


def sound(before: dict[int, Event], intact: set[int]) -> set[int]:
    """Trials of which all is intact."""
    of: dict[int | None, set[int]] = {}
    for seq, event in before.items():
        of.setdefault(event.trial, set()).add(seq)
    return {trial for trial, seqs in of.items() if trial is not None and seqs <= intact}


def check(source: Path, target: Path, whole: Ledger | None, before: dict[int, Event], intact: set[int]) -> None:
    """Hold a repaired copy against what is certainly intact of the original."""
    done = repair(source, target)
    copy = read(target)
    assert not copy.damage and copy.trials == done.history.trials
    original = read(whole.path if isinstance(whole, Ledger) else whole).trials
    assert len(sound(before, intact)) >= TRIALS // 10
    for trial in sound(before, intact):
        assert copy.trials[trial] == original[trial]
    kept = len(events(target)) - len(copy.missing) - any(n.kind == "repaired" for n in copy.notes)
    assert kept + len(done.dropped) >= len(intact)
    for trial in copy.trials:
        if trial.id in copy.missing:
            for study in "ab":
                assert trial not in (*copy.of(study), *copy.running(study), *copy.told(study))
        else:
            assert (trial.point, trial.number, trial.seed) == _proposed(original[trial.id])
    assert copy.counts == {s: 1 + max(t.number for t in copy.of(s)) for s in copy.counts}
    with Ledger.open(target, config={"name": "c"}, environment={}) as ledger:  # and it can be gone on with
        for trial in copy.running("a"):
            ledger.answer(trial, Answer(values={"y": 0.0}, started_at=0.0, finished_at=1.0))
        ledger.propose("a", Proposal(point={"n": "new"}), seed=0, ask=999)
    assert not read(target).damage


def _proposed(trial: Trial) -> tuple[object, int, int]:
    return trial.point, trial.number, trial.seed


def places(path: Path, before: dict[int, Event]) -> dict[int, set[int]]:
    """Pages in which rows lie, of those that are shorter than a page; from 0."""
    content, found = path.read_bytes(), {}
    for seq, event in before.items():
        row = event.body.encode()
        if mark(seq).encode() in row and len(row) < PAGE // 2:
            found[seq] = {content.index(part) // PAGE for part in (row[:75], row[-75:])}
    for seq in before:  # a row without a mark lies between its neighbours
        around = found.get(seq - 1, set()) | found.get(seq + 1, {-1})
        if seq not in found and len(around) == 1:
            found[seq] = around
    return found


@pytest.mark.parametrize("seed", range(30))
def test_every_trial_whose_rows_are_intact_is_in_the_copy(path: Path, filled: Path, tmp_path: Path, seed: int) -> None:
    """Pages are struck at random; a row is certainly intact if both its marks are in pages that were not."""
    before, content, rng = events(path), bytearray(path.read_bytes()), random.Random(seed)
    struck = set(rng.sample(range(len(content) // PAGE), rng.randint(1, 12)))
    if seed % 3 == 0:
        struck.add(0)  # the header, and with it everything that SQLite goes by
    for page in struck:
        begin, length = rng.choice([(0, PAGE), (0, 64), (rng.randrange(PAGE - 600), 500)])
        content[page * PAGE + begin : page * PAGE + begin + length] = rng.choice([bytes(length), rng.randbytes(length)])
    if seed % 5 == 0:
        end = len(content) // PAGE * 3 // 4 * PAGE
        struck |= set(range(end // PAGE, len(content) // PAGE))
        del content[end:]
    intact = {seq for seq, pages in places(filled, before).items() if not pages & struck}
    path.write_bytes(content)
    check(path, tmp_path / "copy.db", filled, before, intact)
    assert path.read_bytes() == content and sorted(p.name for p in tmp_path.iterdir() if "copy" not in p.name) == [
        "ledger.db"
    ]


@pytest.mark.parametrize("seed", range(10))
def test_rows_that_are_gone_or_changed_cost_only_their_trials(
    path: Path, filled: Path, tmp_path: Path, seed: int
) -> None:
    before, rng = events(path), random.Random(seed)
    lost = set(rng.sample(sorted(before), rng.randint(1, 40))) | ({1} if seed == 0 else set())
    with closing(sqlite3.connect(path)) as db, db:
        for seq in lost:
            if rng.random() < 0.5:
                db.execute("DELETE FROM events WHERE seq = ?", (seq,))
            else:
                db.execute("UPDATE events SET body = replace(body, 'x', 'y') WHERE seq = ?", (seq,))
    changed = {seq for seq, event in events(path).items() if checksum(event) != checksum(before[seq])}
    missing = before.keys() - events(path).keys()
    check(path, tmp_path / "copy.db", filled, before, before.keys() - changed - missing)


def test_what_is_only_in_the_log_is_in_the_copy_as_well(tmp_path: Path) -> None:
    path = tmp_path / "run" / "ledger.db"
    ledger = fill(path, close=False)
    killed = tmp_path / "killed"
    shutil.copytree(path.parent, killed)
    ledger.close()
    (killed / "ledger.db-shm").unlink()
    content = bytearray((killed / "ledger.db-wal").read_bytes())
    before = events(path)
    before.pop(max(before))  # the end of the session, which was not there yet
    for state in ("as it is", "without the file", "with a broken log"):
        if state == "without the file":
            (killed / "ledger.db").unlink()
        elif state == "with a broken log":
            content[: 32 + 24] = bytes(56)
            (killed / "ledger.db-wal").write_bytes(content)
        done = repair(killed / "ledger.db", tmp_path / f"{state}.db")
        assert read(tmp_path / f"{state}.db").trials == read(path).trials and not done.dropped
        assert len(events(tmp_path / f"{state}.db")) == len(before)


def test_event_nine_is_missing(tmp_path: Path) -> None:
    """What an older version left behind where a text could not be recorded."""
    path = tmp_path / "ledger.db"
    ledger = Ledger.open(path, config={"name": "c"}, environment={})
    for n in range(6):
        trial = ledger.propose("a", Proposal(point={"n": n}), seed=n, ask=n)
        ledger.answer(trial, Answer(values={"y": 1.0 * n}, started_at=0.0, finished_at=1.0))
    ledger.close()
    with closing(sqlite3.connect(path)) as db, db:
        db.execute("DELETE FROM events WHERE seq = 9")  # the result of trial 3
    assert read(path).damage == "expected event 9 of the ledger, got 10: rows are missing"
    done = repair(path, tmp_path / "copy.db")
    copy = read(tmp_path / "copy.db")
    assert (done.unreadable, done.dropped, copy.missing) == ([9], [], set())
    assert [t.state for t in copy.trials] == [*["answered"] * 3, "running", *["answered"] * 2]
    assert [n.data["unreadable"] for n in copy.notes if n.kind == "repaired"] == [[9]]


def test_a_proposal_is_missing(tmp_path: Path, path: Path) -> None:
    before = events(path)
    (seq,) = (e.seq for e in before.values() if e.kind == "proposed" and e.trial == 50)
    with closing(sqlite3.connect(path)) as db, db:
        db.execute("DELETE FROM events WHERE seq = ?", (seq,))
    done = repair(path, tmp_path / "copy.db")
    copy = read(tmp_path / "copy.db")
    assert copy.missing == {50} and len(copy.trials) == TRIALS
    assert {(d.event.trial, d.why) for d in done.dropped} == {(50, "what trial 50 was to measure cannot be read")}
    (note,) = (n for n in copy.notes if n.kind == "repaired")
    (dropped,) = (d for d in note.data["dropped"] if d["kind"] in ("answered", "failed"))
    assert dropped["body"] == before[dropped["seq"]].body  # its result is not lost, only nobody knows of what


def test_a_result_whose_amendment_alone_is_left_is_the_result(tmp_path: Path, path: Path) -> None:
    before = events(path)
    amended = next(e for e in before.values() if e.kind == "amended")
    (seq,) = (e.seq for e in before.values() if e.kind == "answered" and e.trial == amended.trial)
    with closing(sqlite3.connect(path)) as db, db:
        db.execute("DELETE FROM events WHERE seq = ?", (seq,))
    right = read_values(tmp_path, path)
    assert right[amended.trial] == {"y": amended.trial + 0.5}


def test_what_was_set_aside_stays_so_where_its_result_cannot_be_read(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    with Ledger.open(path, config={}, environment={}) as ledger:
        trial = ledger.propose("a", Proposal(point={"n": 0}), seed=0, ask=0)
        trial = ledger.answer(trial, Answer(values={"y": 1.0}, cost=3.0, started_at=0.0, finished_at=1.0))
        ledger.void(trial, at=2.0, worker="Ada", reason="wrong sample")
    with closing(sqlite3.connect(path)) as db, db:
        db.execute("DELETE FROM events WHERE kind = 'answered'")
    done = repair(path, tmp_path / "copy.db")
    (voided,) = read(tmp_path / "copy.db").trials
    assert (done.dropped, voided.state, voided.values, voided.cost) == ([], "cancelled", None, 3.0)
    assert voided.info["note"] == "wrong sample"


def read_values(tmp_path: Path, path: Path) -> list[object]:
    repair(path, tmp_path / "copy.db")
    return [t.values for t in read(tmp_path / "copy.db").trials]


def test_a_sound_ledger_is_copied_as_it_is(path: Path, tmp_path: Path) -> None:
    done = repair(path, tmp_path / "copy.db")
    assert done.is_whole and events(tmp_path / "copy.db") == events(path)


def foreign(path: Path) -> None:
    path.unlink()
    with closing(sqlite3.connect(path)) as db:
        db.execute("CREATE TABLE t (a)")


@pytest.mark.parametrize(
    ("spoil", "error", "says"),
    [
        (foreign, LedgerCorrupt, "of another program"),
        (lambda path: path.write_bytes(b"text " * 2000), LedgerError, "nothing can be read"),
        (lambda path: path.write_bytes(b""), LedgerError, "nothing can be read"),
        (lambda path: (path.parent / "copy.db").touch(), LedgerError, "is there already"),
    ],
    ids=["foreign", "text", "empty", "target"],
)
def test_what_cannot_be_repaired(
    path: Path, tmp_path: Path, spoil: Callable[[Path], None], error: type[Exception], says: str
) -> None:
    spoil(path)
    with pytest.raises(error, match=says):
        repair(path, tmp_path / "copy.db")


def test_a_ledger_that_is_being_written_is_left_alone(tmp_path: Path) -> None:
    with Ledger.open(tmp_path / "ledger.db", config={}, environment={}), pytest.raises(LedgerLocked):
        repair(tmp_path / "ledger.db", tmp_path / "copy.db")
