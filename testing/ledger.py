"""What any ledger must do: `history` is the replay of what was made durable."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from matloop.orchestrator.errors import ConfigChanged, LedgerError, LedgerLocked
from matloop.orchestrator.trial import Answer, Failure, Prediction, Proposal

CONFIG = {"name": "toy", "seed": 1, "studies": {"a": {"budget": {"trials": 3}, "space": {"kind": "box"}}}}
json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


class LedgerContract:
    """Supply `open(folder, config=..., accept_change=False)` and `read(folder)`."""

    @pytest.fixture
    def folder(self, tmp_path: Path) -> Path:
        return tmp_path

    def test_reopened_equals_live(self, folder):
        ledger = self.open(folder)
        fill(ledger)
        ledger.commit()
        assert self.read(folder) == ledger.history
        ledger.close()
        live = ledger.history
        with self.open(folder) as again:
            assert again.history.trials == live.trials
            assert again.history.finished == live.finished
            assert again.history.notes == live.notes
            assert [s.ended for s in again.history.sessions] == ["finished", None]

    def test_states(self, folder):
        with self.open(folder) as ledger:
            fill(ledger)
            good, bad, open_ = ledger.history.trials
        assert (good.state, bad.state, open_.state) == ("answered", "failed", "running")
        assert good.values == {"y": 0.1 + 0.2} and good.prediction.std == {"y": 0.5} and good.parents == (0,)
        assert bad.failure == Failure(cause="timeout", message="too long", traceback="line 1\nline 2")
        assert (good.inputs, open_.inputs) == ({"model": "ab"}, {})
        assert open_.attempt == 2 and ledger.history.lost[0].message == "gone"
        assert ledger.history.asks == {"a": 3} and ledger.history.finished == [1, 0]

    def test_what_people_do(self, folder):
        with self.open(folder) as ledger:
            planned, done = {"x": 1.0}, {"x": 1.5}
            odd, gone = (ledger.propose("a", Proposal(point=planned), seed=1, ask=0) for _ in range(2))
            wrong = ledger.answer(odd, Answer(values={"y": 1.0}, started_at=1.0, finished_at=2.0), point=done)
            assert (wrong.point, wrong.planned) == (done, planned)
            right = ledger.amend(odd, Answer(values={"y": 10.0}, started_at=1.0, finished_at=3.0, worker="Ada"))
            assert (right.point, right.planned, right.values) == (planned, None, {"y": 10.0})
            cancelled = ledger.cancel(gone, at=4.0, worker="Ada", reason="no gas")
            assert (cancelled.state, cancelled.info, cancelled.values) == ("cancelled", {"note": "no gas"}, None)
            own = ledger.report("a", {"x": 2.0}, seed=3, extra={"origin": "reported"})
            own = ledger.answer(own, Answer(values={"y": 3.0}, started_at=5.0, finished_at=5.0))
            assert (own.ask, own.number, own.planned, own.extra) == (-1, 2, None, {"origin": "reported"})
            assert (ledger.history.asks, ledger.history.finished) == ({"a": 1}, [0, 1, 2])
            assert [(a.trial, a.before) for a in ledger.history.amendments] == [(0, wrong)]
            late = ledger.amend(cancelled, Answer(values={"y": 5.0}, started_at=1.0, finished_at=6.0), point=done)
            assert (late.state, late.point, late.planned) == ("answered", done, planned)
            live = ledger.history
        again = self.read(folder)
        assert again.trials == live.trials == [right, late, own] and again.amendments == live.amendments
        assert again.finished == [0, 1, 2]

    def test_corrections_keep_what_was_there_and_why_it_changed(self, folder):
        with self.open(folder) as ledger:
            done = {"x": 1.5}
            trial = ledger.propose("a", Proposal(point={"x": 1.0}), seed=1, ask=0)
            measured = Answer(values={"y": 1.0}, info={"n": 1}, cost=2.0, started_at=1.0, finished_at=2.0, worker="w")
            first = ledger.answer(trial, measured, point=done)
            second = ledger.amend(first, replace(measured, values={"y": 2.0}), point=done, by="Ada", reason="unit")
            void = ledger.void(second, at=9.0, worker="Ben", reason="spilled")
            assert (void.state, void.values, void.failure, void.info) == ("cancelled", None, None, {"note": "spilled"})
            assert (void.cost, void.started_at, void.finished_at, void.worker) == (2.0, 1.0, 2.0, "w")
            assert (void.point, void.planned, void.was_done) == (done, {"x": 1.0}, True)
            live = ledger.history
            found = [(a.before, a.by, a.reason, after) for a, after in live.corrected()]
            assert found == [(first, "Ada", "unit", second), (second, "Ben", "spilled", void)]
            assert live.amendments[1].time == 9.0 and live.finished == [0]
        again = self.read(folder)
        assert again.trials == [void] and again.corrected() == live.corrected()

    def test_what_was_not_committed_is_not_read(self, folder):
        ledger = self.open(folder)
        ledger.propose("a", Proposal(point={"x": 1}), seed=1, ask=0)
        assert self.read(folder).trials == []
        ledger.commit()
        assert len(self.read(folder).trials) == 1
        ledger.close()

    def test_second_writer_is_refused_and_told_who_writes(self, folder):
        import os

        with self.open(folder), pytest.raises(LedgerLocked, match=f"process {os.getpid()} on "):
            self.open(folder)
        self.open(folder).close()

    def test_changed_config_is_refused_with_a_diff(self, folder):
        self.open(folder).close()
        changed = {**CONFIG, "seed": 2}
        with pytest.raises(ConfigChanged, match=r'-  "seed": 1(?s:.*)\+  "seed": 2'):
            self.open(folder, config=changed)
        self.open(folder).close()
        self.open(folder, config=changed, accept_change=True).close()

    def test_budget_and_executor_may_change(self, folder):
        self.open(folder).close()
        studies = {"a": {**CONFIG["studies"]["a"], "budget": {"trials": 99}}}
        self.open(folder, config={**CONFIG, "studies": studies, "executor": {"kind": "local"}}).close()

    def test_reading_nothing(self, folder):
        with pytest.raises(LedgerError, match="no ledger at"):
            self.read(folder / "absent")

    @settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(point=st.dictionaries(st.text(), json_values, max_size=4), reason=st.text())
    def test_any_json_point_comes_back_equal(self, tmp_path_factory, point, reason):
        folder = tmp_path_factory.mktemp("ledger")
        with self.open(folder) as ledger:
            trial = ledger.propose("ü", Proposal(point=point, reason=reason), seed=2**62, ask=0)
        assert trial.point == point and trial.reason == reason
        assert self.read(folder).trials == [trial]


def fill(ledger) -> None:
    """Three trials: answered, failed, and one that was lost and begun again."""
    prediction = Prediction(mean={"y": 1.0}, std={"y": 0.5})
    first = ledger.propose(
        "a", Proposal(point={"x": 1}, prediction=prediction, parents=(0,), inputs={"model": "ab"}), seed=1, ask=0
    )
    second = ledger.propose("a", Proposal(point={"x": [1.5, "é"]}, reason="because"), seed=2, ask=1)
    third = ledger.propose("a", Proposal(point={}, extra={"k": (1, 2)}), seed=3, ask=2)
    failure = Failure(cause="timeout", message="too long", traceback="line 1\nline 2")
    ledger.answer(second, Answer(failure=failure, started_at=1.0, finished_at=2.0, worker="w"))
    ledger.lose(third, "gone")
    ledger.restart(third, attempt=2)
    ledger.note("a", "skill", {"rho": 0.5})
    ledger.answer(first, Answer(values={"y": 0.1 + 0.2}, info={"n": 3}, started_at=1.0, finished_at=2.5))
