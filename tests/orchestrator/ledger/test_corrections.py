"""Corrections: what may be corrected and how, and what they leave as it was."""

from __future__ import annotations

import math

import numpy as np
import pytest

from matloop.orchestrator.errors import MatloopError
from matloop.orchestrator.ledger.corrections import Correction, amend, void
from matloop.orchestrator.ledger.ledger import Ledger, read
from matloop.orchestrator.trial import Answer, Failure, Proposal

CONFIG = {
    "name": "toy",
    "studies": {"a": {"objectives": {"y": {"direction": "minimise"}, "z": {"direction": "maximise"}}}},
}


def trial(ledger: Ledger, **result):
    started = ledger.propose("a", Proposal(point={"x": 1.0}), seed=1, ask=0)
    if not result:
        return started
    return ledger.answer(started, Answer(**{"started_at": 1.0, "finished_at": 2.0, "worker": "w", **result}))


@pytest.fixture
def ledger(tmp_path):
    """Trials 0 measured, 1 failed, 2 uncertain of itself, 3 cancelled, 4 running."""
    with Ledger.open(tmp_path / "ledger.db", config=CONFIG, environment={}) as opened:
        values = {"y": 1.0, "z": 2.0, "mass": 3.0}
        trial(opened, values=values, noise={"y": 0.1}, info={"n": 1}, artifacts={"raw": "ab"}, cost=4.0)
        trial(opened, failure=Failure(cause="exception", message="no number"), info={"read": {"y": 1.5}}, cost=2.0)
        trial(opened, failure=Failure(cause="lost", message="gone"))
        opened.cancel(trial(opened), at=3.0, worker="Ada", reason="no gas")
        trial(opened)
        opened.commit()
        yield opened


def test_what_is_not_given_stays(ledger):
    fixed = amend(ledger, 0, Correction(values={"y": np.float64(1.25)}), reason="unit", by="Ada")
    assert fixed.values == {"y": 1.25, "z": 2.0, "mass": 3.0} and fixed.noise == {"y": 0.1} and fixed.cost == 4.0
    assert (fixed.info, fixed.artifacts, fixed.worker, fixed.finished_at) == ({"n": 1}, {"raw": "ab"}, "w", 2.0)
    fixed = amend(ledger, 0, Correction(noise={"z": 0.5}, cost=3.0), reason="again", by="Ben")
    assert (fixed.values["y"], fixed.noise, fixed.cost) == (1.25, {"y": 0.1, "z": 0.5}, 3.0)
    assert [(a.before.values["y"], a.by, a.reason) for a in ledger.history.amendments] == [
        (1.0, "Ada", "unit"),
        (1.25, "Ben", "again"),
    ]


def test_a_failure_can_be_given_values_and_values_a_failure(ledger):
    fixed = amend(ledger, 1, Correction(values={"y": 1.5, "z": 0.0}), reason="it was in the log")
    assert (fixed.state, fixed.failure, fixed.values) == ("answered", None, {"y": 1.5, "z": 0.0})
    assert (fixed.info, fixed.cost) == ({"read": {"y": 1.5}}, 2.0)
    fixed = amend(ledger, 0, Correction(failure=" it\ncracked "), reason="seen later")
    assert (fixed.state, fixed.values, fixed.noise, fixed.cost) == ("failed", None, {}, 4.0)
    assert fixed.failure == Failure(cause="experiment", message="it cracked")
    fixed = amend(ledger, 2, Correction(cost=7.0), reason="the meter says so")
    assert (fixed.state, fixed.failure.message, fixed.cost) == ("failed", "gone", 7.0)
    fixed = amend(ledger, 3, Correction(values={"y": 1.0, "z": 1.0}), reason="done after all")
    assert (fixed.state, fixed.values) == ("answered", {"y": 1.0, "z": 1.0})


def test_a_result_that_was_set_aside_can_be_given_back(ledger):
    before = ledger.history.trials[0]
    gone = void(ledger, 0, reason="spilled", at=5.0, by="Ada")
    assert (gone.state, gone.values, gone.failure, gone.cost) == ("cancelled", None, None, 4.0)
    back = amend(ledger, 0, Correction(values={"y": 1.0}), reason="another one was spilled")
    assert back == before and len(ledger.history.amendments) == 2


WRONG = {
    "unknown": (9, {"cost": 1.0}, r"there is no trial 9 in .*; it has trials 0 to 4"),
    "negative": (-1, {"cost": 1.0}, "there is no trial -1"),
    "text": ("0", {"cost": 1.0}, "there is no trial '0'"),
    "running": (4, {"cost": 1.0}, "trial 4 has no result yet"),
    "nothing": (0, {}, "expected something else than is on record of trial 0, got the same"),
    "the same": (0, {"values": {"y": 1.0}}, "got the same; nothing was recorded"),
    "not measured": (0, {"values": {"yy": 1.0}}, "values yy: is not measured here; expected y, z, mass"),
    "nan": (0, {"values": {"y": math.nan}}, "values y: expected a finite number"),
    "text as a value": (0, {"values": {"y": "1"}}, "values y: expected a finite number, at most 1e\\+100, got '1'"),
    "negative noise": (0, {"noise": {"y": -1.0}}, "noise y: expected a standard deviation, 0 or more, got -1"),
    "cost": (0, {"cost": -1.0}, "cost: expected a number, 0 or more, got -1"),
    "both": (0, {"values": {"y": 2.0}, "failure": "x"}, "failure: expected either values or a failure, got both"),
    "one missing": (1, {"values": {"y": 2.0}}, r"values z: expected a value, got none \(but for y\)"),
    "noise alone": (1, {"noise": {"y": 2.0}}, "values y: expected a value, got none"),
    "cost of one cancelled": (3, {"cost": 1.0}, "expected the values of trial 3, which has no result, got none"),
    "no mapping": (0, {"values": [1.0, 2.0]}, "values: expected a mapping by name"),
}


@pytest.mark.parametrize(("number", "correction", "message"), WRONG.values(), ids=WRONG)
def test_what_is_not_sound_is_refused(number, correction, message, ledger):
    before = ledger.history.last_seq
    with pytest.raises(MatloopError, match=message):
        amend(ledger, number, Correction(**correction), reason="because")
    assert ledger.history.last_seq == before


def test_a_reason_is_needed_and_everything_is_text(ledger):
    for do in (
        lambda **said: amend(ledger, 0, Correction(cost=1.0), **said),
        lambda **said: void(ledger, 0, at=1.0, **said),
    ):
        for said, message in (
            ({"reason": "  "}, "reason: expected a reason, got none"),
            ({"reason": "x" * 10_001}, "reason: expected text of at most 10000 characters"),
            ({"reason": "bell \x07"}, "reason: expected text, got the character"),
            ({"reason": "x", "by": "y" * 201}, "by: expected text of at most 200 characters"),
            ({"reason": None}, "reason: expected text, got None"),
        ):
            with pytest.raises(MatloopError, match=message):
                do(**said)
    assert not ledger.history.amendments
    void(ledger, 0, reason="file Pr\udcfcf.csv", at=1.0)
    ledger.commit()
    assert read(ledger.path).amendments[0].reason == r"file Pr\udcfcf.csv"


def test_a_result_is_set_aside_once(ledger):
    void(ledger, 0, reason="spilled", at=5.0)
    void(ledger, 1, reason="wrong sample", at=5.0)
    for number, message in (
        (0, r"trial 0 was set aside already \(spilled\); nothing was recorded"),
        (3, r"trial 3 was cancelled, so that it has no result \(no gas\); nothing was recorded"),
        (4, "trial 4 has no result yet"),
        (5, "there is no trial 5"),
    ):
        with pytest.raises(MatloopError, match=message):
            void(ledger, number, reason="again", at=6.0)
    assert [a.trial for a in ledger.history.amendments] == [0, 1]


def test_objectives_that_are_not_on_record_are_those_of_the_others(tmp_path):
    with Ledger.open(tmp_path / "ledger.db", config={"name": "toy"}, environment={}) as opened:
        trial(opened, values={"y": 1.0})
        trial(opened, failure=Failure(cause="exception", message="no number"))
        assert amend(opened, 1, Correction(values={"y": 2.0}), reason="read").values == {"y": 2.0}
        with pytest.raises(MatloopError, match="is not measured here; expected y"):
            amend(opened, 0, Correction(values={"x": 2.0}), reason="read")


def test_corrections_take_no_time_of_the_study_and_none_of_the_session(tmp_path):
    now = [1000.0]
    with Ledger.open(tmp_path / "ledger.db", config=CONFIG, environment={}, clock=lambda: now[0]) as opened:
        opened.note("a", "study_started", {})
        now[0] = 1010.0
        trial(opened, values={"y": 1.0, "z": 1.0})
    now[0] = 9000.0
    with Ledger(tmp_path / "ledger.db", clock=lambda: now[0]) as opened:
        void(opened, 0, reason="spilled", at=now[0])
    history = read(tmp_path / "ledger.db")
    assert history.elapsed_s == {"a": 10.0} and history.sessions[-1].last_at == 1010.0
    assert history.amendments[0].time == 9000.0
