"""An outage: when it is tried again, when no more, and what is said."""

from __future__ import annotations

import sqlite3

import pytest

from matloop.orchestrator.errors import LedgerUnwritable
from matloop.orchestrator.loop.outage import Outage
from matloop.orchestrator.loop.patience import MOST_BYTES, Patience
from matloop.orchestrator.loop.stop import Stop
from matloop.orchestrator.loop.study import Silent


class Told(Silent):
    """Keeps what it is told."""

    def __init__(self):
        self.said = []

    def notice(self, text):
        self.said.append(text)


class Time:
    """A clock that only sleeping moves; `at` has what happens at which time."""

    def __init__(self, **at):
        self.now, self.at = 0.0, at

    def __call__(self):
        return self.now

    def sleep(self, seconds):
        self.now += seconds


def outage(patience_s, time, stop=None):
    told = Told()
    return Outage(patience_s=patience_s, observer=told, stop=stop or Stop(), clock=time, sleep=time.sleep), told


class Broken:
    """Fails until a time."""

    def __init__(self, time, until=float("inf")):
        self.time, self.until, self.tries = time, until, []

    def __call__(self):
        self.tries.append(self.time())
        if self.time() < self.until:
            raise LedgerUnwritable("cannot write")
        return "done"


def test_it_is_tried_at_growing_intervals_and_told_once():
    time = Time()
    endured, told = outage(900.0, time)
    broken = Broken(time, until=300.0)
    assert endured.endure(broken) == "done"
    assert broken.tries == [0, 1, 3, 7, 15, 31, 63, 123, 183, 243, 303]
    assert told.said == [
        "waiting: cannot write. Nothing new is begun, what comes back is held, and it is tried again for 15 min "
        "(`outage_s`); Ctrl-C ends the run",
        "going on after 5 min",
    ]
    assert endured.endure(Broken(time, until=0.0)) == "done" and len(told.said) == 2


def test_it_is_given_up_at_the_end_of_the_patience_and_then_tried_once():
    time = Time()
    endured, told = outage(10.0, time)
    broken = Broken(time)
    with pytest.raises(LedgerUnwritable, match="cannot write") as raised:
        endured.endure(broken)
    assert broken.tries == [0, 1, 3, 7, 10] and raised.value.__notes__ == ["tried again for 10 s, in vain"]
    again = Broken(time)
    with pytest.raises(LedgerUnwritable):
        endured.endure(again)
    assert again.tries == [10] and len(told.said) == 1


def test_without_patience_it_is_tried_once_and_nobody_is_told():
    time = Time()
    endured, told = outage(0.0, time)
    broken = Broken(time)
    with pytest.raises(LedgerUnwritable):
        endured.endure(broken)
    assert broken.tries == [0] and told.said == []


@pytest.mark.parametrize("before", [0, 1])
def test_a_request_to_stop_allows_one_more_try(before):
    """One that came before the outage does not count: what runs is waited for then."""
    time, stop = Time(), Stop()
    stop.count = before
    endured, _ = outage(900.0, time, stop)
    broken = Broken(time)

    def sleep(seconds):
        time.sleep(seconds)
        if time.now >= 9.0:
            stop.count = before + 1

    endured._sleep = sleep
    with pytest.raises(LedgerUnwritable):
        endured.endure(broken)
    assert broken.tries == [0, 1, 3, 7, 9]


def test_of_what_sqlite_says_the_line_has_its_words():
    time = Time()
    endured, told = outage(900.0, time)

    def locked():
        if time() < 1:
            raise LedgerUnwritable("..., then run the same command again") from sqlite3.OperationalError("is locked")

    endured.endure(locked)
    assert told.said[0].startswith("waiting: cannot write the record (is locked). Nothing")


def test_a_new_outage_has_all_the_patience():
    time = Time()
    endured, told = outage(10.0, time)
    assert endured.endure(Broken(time, until=9.0)) == "done"
    assert endured.endure(Broken(time, until=18.0)) == "done"
    assert [said[:25] for said in told.said] == ["waiting: cannot write. No", "going on after 10 s"] * 2


def test_what_a_worker_may_hand_back_is_its_share():
    assert Patience.among(0, 1.0) == Patience.among(16, 1.0) == Patience(1.0, MOST_BYTES)
    assert Patience.among(4096, 1.0).most_bytes == 2**20
