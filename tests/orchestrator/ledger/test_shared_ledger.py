"""A ledger written in turns."""

from __future__ import annotations

import json
import threading
import time

import pytest

from matloop.orchestrator.errors import LedgerError, LedgerLocked
from matloop.orchestrator.ledger.ledger import read
from matloop.orchestrator.ledger.lock import WriterLock, holder_path
from matloop.orchestrator.ledger.shared import SharedLedger
from matloop.orchestrator.trial import Proposal
from matloop.testing.ledger import CONFIG


@pytest.fixture
def path(tmp_path):
    return tmp_path / "ledger.db"


def propose(ledger: SharedLedger, x: int) -> None:
    with ledger.turn():
        ledger.propose("a", Proposal(point={"x": x}), seed=1, ask=len(ledger.history.trials))


def test_turns_of_many_make_one_history(path):
    ledgers = [SharedLedger(path) for _ in range(4)]

    def work(ledger: SharedLedger, k: int) -> None:
        for x in range(10):
            propose(ledger, 100 * k + x)

    threads = [threading.Thread(target=work, args=(ledger, k)) for k, ledger in enumerate(ledgers) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    stored = read(path)
    assert sorted(t.point["x"] for t in stored.trials) == sorted(2 * [100 * k + x for k in range(4) for x in range(10)])
    for ledger in ledgers:
        ledger.catch_up()
        assert ledger.history.trials == stored.trials
        ledger.close()


def test_a_turn_that_fails_leaves_nothing(path):
    ledger = SharedLedger(path)
    propose(ledger, 1)

    def half_done() -> None:
        with ledger.turn():
            ledger.propose("a", Proposal(point={"x": 2}), seed=1, ask=1)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        half_done()
    assert len(ledger.history.trials) == len(read(path).trials) == 1 and ledger.generation == 1
    propose(ledger, 3)
    assert [t.point["x"] for t in read(path).trials] == [1, 3]
    ledger.close()
    with pytest.raises(LedgerError, match="was closed"):
        ledger.catch_up()


def test_a_session_is_on_record_only_where_something_is_new(path):
    for config, environment in [(CONFIG, {}), (CONFIG, {}), (CONFIG, {"python": "3.11"}), (CONFIG, {"python": "3.11"})]:
        ledger = SharedLedger(path)
        ledger.join(config, environment)
        ledger.close()
    assert [s.environment for s in read(path).sessions] == [{}, {"python": "3.11"}]


def test_a_short_write_is_waited_for_and_a_long_one_is_not(path):
    ledger = SharedLedger(path, wait_s=20)
    lock = WriterLock(path)
    threading.Timer(0.3, lock.release).start()
    propose(ledger, 1)
    assert len(ledger.history.trials) == 1
    with WriterLock(path):
        content = json.loads(holder_path(path).read_text())
        holder_path(path).write_text(json.dumps({**content, "since": time.time() - 3600}))
        begun = time.monotonic()
        with pytest.raises(LedgerLocked, match="is being written by process"):
            propose(ledger, 2)
        assert time.monotonic() - begun < 15
    ledger.close()
