"""A lab at work: recommend, deviate, fail, report, amend, cancel, by several clients at once; nothing lost."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from matloop.orchestrator.errors import (
    ConfigChanged,
    ConfigError,
    LedgerLocked,
    LedgerUnwritable,
    MatloopError,
    RejectedResults,
)
from matloop.orchestrator.lab import Lab, Result
from matloop.orchestrator.lab.experiments import ROUNDS
from matloop.orchestrator.ledger.ledger import read
from matloop.orchestrator.ledger.lock import WriterLock
from tests.orchestrator.lab.files import furnace

AIR = {"temperature": 700.0, "hours": 4, "gas": "air"}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return furnace(tmp_path)


@pytest.fixture
def lab(file: Path, tmp_path: Path):
    with Lab.open(file, directory=tmp_path / "run") as lab:
        yield lab


def stored(lab: Lab):
    """What a stranger reads from the disk."""
    return read(lab.directory / "ledger.db")


def value(number: float) -> dict[str, float]:
    return {"hardness": number}


def test_recommended_is_on_the_disk_before_it_is_returned(lab):
    trials = lab.recommend(3, by="Ada")
    assert stored(lab).trials == trials == lab.pending()
    assert [t.extra["asked_by"] for t in trials] == ["Ada"] * 3
    assert len({t.point["temperature"] for t in trials}) == 3


def test_a_day_in_the_lab(lab):
    a, b, c, d = lab.recommend(4)
    done = lab.tell([Result(trial=b.id, values=value(410), noise={"hardness": 5.0}, note="smooth", cost=2.5)], by="Ada")
    assert done[0].values == {"hardness": 410.0} and done[0].noise == {"hardness": 5.0}
    assert (done[0].worker, done[0].info, done[0].cost, done[0].planned) == ("Ada", {"note": "smooth"}, 2.5, None)
    deviated = {**a.point, "temperature": 733.0}
    (odd,) = lab.tell([Result(trial=a.id, point=deviated, values=value(390))])
    assert (odd.point, odd.planned) == (deviated, a.point)
    (bad,) = lab.tell([Result(trial=c.id, failure="cracked  on\ncooling")])
    assert (bad.state, bad.failure.cause, bad.failure.message) == ("failed", "experiment", "cracked on cooling")
    (extra,) = lab.tell([Result(point=AIR, values=value(350))], by="Grace")
    assert (extra.point, extra.extra["origin"], extra.ask, extra.prediction) == (AIR, "reported", -1, None)
    gone = lab.cancel(d.id, by="Ada", reason="no argon")
    assert (gone.state, gone.info, gone.worker) == ("cancelled", {"note": "no argon"}, "Ada")
    assert lab.pending() == [] and stored(lab).trials == lab.trials()
    assert [t.number for t in lab.trials()] == [0, 1, 2, 3, 4]
    assert stored(lab).finished == [1, 0, 2, 4, 3]


def test_the_same_point_to_seven_digits_is_no_deviation(lab):
    (trial,) = lab.recommend()
    rounded = {**trial.point, "temperature": float(f"{trial.point['temperature']:.7g}")}
    (told,) = lab.tell([Result(trial=trial.id, point=rounded, values=value(1))])
    assert (told.point, told.planned) == (trial.point, None)


def test_telling_again_changes_nothing_and_something_else_is_refused(lab):
    (trial,) = lab.recommend()
    result = Result(trial=trial.id, values=value(410), note="n")
    first, seq = lab.tell([result]), lab.history.last_seq
    assert lab.tell([result]) == first == lab.tell([Result(trial=trial.id, values=value(410))])
    assert lab.record([result])[0].action == "known" and lab.history.last_seq == seq
    for other in (
        Result(trial=trial.id, values=value(411)),
        Result(trial=trial.id, failure="cracked"),
        Result(trial=trial.id, values=value(410), note="other"),
        Result(trial=trial.id, values=value(410), cost=3),
        Result(trial=trial.id, values=value(410), point=AIR),
        Result(trial=trial.id, values=value(410), noise={"hardness": 2}),
    ):
        with pytest.raises(RejectedResults, match="was answered already with"):
            lab.tell([other])
    assert lab.history.last_seq == seq


def test_an_amendment_keeps_what_was_there_before(lab):
    (trial,) = lab.recommend()
    (wrong,) = lab.tell([Result(trial=trial.id, point=AIR, values=value(41))], by="Ada")
    (right,) = lab.tell([Result(trial=trial.id, values=value(410))], by="Grace", amend=True)
    assert (right.values, right.worker, right.point) == ({"hardness": 410.0}, "Grace", AIR)
    (failed,) = lab.tell([Result(trial=trial.id, failure="was another sample")], amend=True)
    assert failed.state == "failed" and failed.values is None
    history = stored(lab)
    assert [a.before for a in history.amendments] == [wrong, right] and history.trials[trial.id] == failed
    assert history.finished == [trial.id]


def test_an_amended_report_keeps_its_point(lab):
    (trial,) = lab.tell([Result(point=AIR, values=value(41))])
    other = {**AIR, "hours": 5}
    lab.tell([Result(trial=trial.id, point=other, values=value(41))], amend=True)
    (last,) = lab.tell([Result(trial=trial.id, values=value(42))], amend=True)
    assert (last.point, last.planned, last.values) == (other, None, {"hardness": 42.0})


def test_a_late_result_of_a_cancelled_trial_is_taken(lab):
    (trial,) = lab.recommend()
    lab.cancel(trial.id)
    assert lab.cancel(trial.id).state == "cancelled"
    (told,) = lab.tell([Result(trial=trial.id, values=value(5))])
    assert told.state == "answered" and stored(lab).trials[0] == told
    with pytest.raises(MatloopError, match="has a result already"):
        lab.cancel(trial.id)


def test_a_result_that_was_set_aside_stays_so_when_the_same_file_is_told_again(lab):
    a, b = lab.recommend(2)
    told = [
        Result(trial=a.id, point=AIR, values=value(41), cost=3.0, note="smooth"),
        Result(trial=b.id, failure="cracked"),
    ]
    lab.tell(told, by="Ada")
    gone = lab.void(a.id, by="Grace", reason="the thermocouple was loose")
    assert (gone.state, gone.values, gone.cost, gone.point) == ("cancelled", None, 3.0, AIR)
    assert (gone.planned, gone.info, gone.worker) == (a.point, {"note": "the thermocouple was loose"}, "Ada")
    before = lab.history.last_seq
    assert lab.tell(told) == [gone, lab.trials()[b.id]] and lab.history.last_seq == before
    with pytest.raises(RejectedResults, match=r"was set aside \(the thermocouple was loose\), got 42; leave it out"):
        lab.tell([Result(trial=a.id, values=value(42))])
    with pytest.raises(MatloopError, match="set aside already"):
        lab.void(a.id, reason="again")
    assert lab.cancel(a.id) == gone
    (right,) = lab.tell([Result(trial=a.id, values=value(42))], by="Ada", amend=True)
    assert (right.values, right.point, right.planned) == ({"hardness": 42.0}, AIR, a.point)
    history = stored(lab)
    assert [(x.by, x.reason) for x in history.amendments] == [("Grace", "the thermocouple was loose"), ("Ada", "")]
    assert history.finished == [a.id, b.id]


@pytest.mark.parametrize(
    ("number", "reason", "text"),
    [
        (0, "", "reason: expected a reason, got none"),
        (1, "x", "trial 1 has no result yet"),
        (7, "x", "there is no trial 7"),
    ],
)
def test_what_cannot_be_set_aside(number, reason, text, lab):
    lab.recommend(2)
    lab.tell([Result(trial=0, values=value(5))])
    before = lab.history.last_seq
    with pytest.raises(MatloopError, match=text):
        lab.void(number, reason=reason)
    assert lab.history.last_seq == before == stored(lab).last_seq


def test_what_was_set_aside_has_been_paid_for(file, tmp_path):
    file.write_text(file.read_text().replace("objectives:", "budget: {trials: 20, cost: 4}\n    objectives:", 1))
    with Lab.open(file, directory=tmp_path / "paid") as lab:
        a, b = lab.recommend(2)
        lab.tell([Result(trial=a.id, values=value(5), cost=3.5)])
        lab.void(a.id, reason="wrong sample")
        lab.cancel(b.id)
        assert len(lab.recommend(1)) == 1  # 3.5 of 4
        (own,) = lab.tell([Result(point=AIR, values=value(6), cost=0.5)])
        lab.void(own.id, reason="wrong sample")
        with pytest.raises(MatloopError, match="is spent: cost 4"):
            lab.recommend(1)


def test_reports_with_a_request_are_not_doubled(lab):
    report = Result(point=AIR, values=value(350), request="a1")
    (first,) = lab.tell([report])
    assert lab.tell([report]) == [first] and len(lab.trials()) == 1
    with pytest.raises(RejectedResults, match="answered already"):
        lab.tell([Result(point=AIR, values=value(351), request="a1")])
    lab.tell([Result(point=AIR, values=value(350)), Result(point=AIR, values=value(350))])  # replicates
    assert len(lab.trials()) == 3


BAD = [
    (Result(trial=99, values={"hardness": 1}), "trial", "no trial 99"),
    (Result(trial=True, values={"hardness": 1}), "trial", "the number of a trial"),
    (Result(trial=[], values={"hardness": 1}), "trial", "the number of a trial"),
    (Result(values={"hardness": 1}), "trial", "got neither"),
    (Result(trial=0), "hardness", "got neither"),
    (Result(trial=0, values={}), "hardness", "got none"),
    (Result(trial=0, values={"hardness": float("nan")}), "hardness", "finite"),
    (Result(trial=0, values={"hardness": "12"}), "hardness", "finite number, .*got '12'"),
    (Result(trial=0, values={"hardness": 10**400}), "hardness", "finite"),
    (Result(trial=0, values={"hardness": 4100}), "hardness", "expected 0 to 2000 HV, got 4100"),
    (Result(trial=0, values={"hardness": 1, "hardnes": 2}), "hardnes", "not measured here"),
    (Result(trial=0, values={"hardness": 1}, failure="x"), "failure", "got both"),
    (Result(trial=0, values={"hardness": 1}, noise={"hardness": -1}), "hardness ±", "0 or more"),
    (Result(trial=0, values={"hardness": 1}, cost=float("inf")), "cost", "0 or more"),
    (Result(trial=0, values={"hardness": 1}, note="\ud800"), "note", "text"),
    (Result(trial=0, values={"hardness": 1}, note="x" * 10_001), "note", "at most 10000"),
    (Result(point={**AIR, "temperature": 1200.0}, values={"hardness": 1}), "temperature", r"\[600, 1000\], got 1200"),
    (Result(point={**AIR, "hours": 1e400}, values={"hardness": 1}), "hours", "an integer"),
    (Result(point={**AIR, "gas": "neon"}, values={"hardness": 1}), "gas", "got 'neon'"),
    (Result(point={"temperature": 700.0}, values={"hardness": 1}), "hours", "expected a value for hours"),
    (Result(point={**AIR, "time": 3}, values={"hardness": 1}), "time", "unknown parameter 'time'"),
    (Result(point=[1], values={"hardness": 1}), "point", "a mapping"),
]


@pytest.mark.parametrize(("bad", "column", "message"), BAD)
def test_what_does_not_fit_is_refused_and_nothing_of_it_recorded(lab, bad, column, message):
    import re

    good, _ = lab.recommend(2)
    seq = lab.history.last_seq
    with pytest.raises(RejectedResults) as caught:
        lab.tell([Result(trial=1, values=value(1)), bad])
    (problem,) = caught.value.problems
    assert (problem.row, problem.column) == (1, column) and re.search(message, problem.message)
    assert lab.history.last_seq == seq and lab.pending()[0] == good


def test_every_problem_is_listed_at_once(lab):
    with pytest.raises(RejectedResults) as caught:
        lab.tell([bad for bad, _, _ in BAD])
    assert [p.row for p in caught.value.problems] == list(range(len(BAD)))
    assert f"{len(BAD)} problems; nothing was recorded" in str(caught.value)


def test_a_value_out_of_range_can_be_confirmed(lab):
    (trial,) = lab.recommend()
    (told,) = lab.tell([Result(trial=trial.id, values=value(2300))], allow_outside=True)
    assert told.values == {"hardness": 2300.0}


def test_the_same_trial_twice_in_one_go_is_refused(lab):
    lab.recommend()
    with pytest.raises(RejectedResults, match="each experiment once"):
        lab.tell([Result(trial=0, values=value(1)), Result(trial=0, values=value(1))])


def test_two_clients_see_each_other_and_never_recommend_the_same(file, tmp_path):
    with Lab.open(file, directory=tmp_path / "run") as one, Lab.open(file, directory=tmp_path / "run") as two:
        (a,) = one.recommend()
        (b,) = two.recommend()
        assert a.point != b.point and one.pending() == two.pending() == [a, b]
        two.tell([Result(trial=a.id, values=value(1))])
        assert one.refresh() == 1 and one.refresh() == 0 and one.pending() == [b]
        with pytest.raises(RejectedResults, match="answered already"):
            one.tell([Result(trial=a.id, values=value(2))])
        assert one.history.trials == two.history.trials == stored(one).trials
        assert len(stored(one).sessions) == 1


class Slow:
    """A strategy that lets others act while it thinks."""

    def __init__(self, inner, meanwhile):
        self.inner, self.meanwhile, self.asks = inner, meanwhile, 0

    def ask(self, n, pending, rng):
        proposals = self.inner.ask(n, pending, rng)
        self.asks += 1
        self.meanwhile()
        return proposals

    def tell(self, trial):
        self.inner.tell(trial)


def test_asks_again_if_another_client_recommended_meanwhile(file, tmp_path):
    with Lab.open(file, directory=tmp_path / "run") as one, Lab.open(file, directory=tmp_path / "run") as two:
        slow = one._recommender.strategy = Slow(one._recommender.strategy, lambda: slow.asks == 1 and two.recommend())
        one.recommend()
        points = [tuple(t.point.values()) for t in one.trials()]
        assert slow.asks == 2 and len(set(points)) == 2


def test_a_client_that_others_forestall_again_and_again_has_them_wait_for_once(file, tmp_path):
    late = []

    def crowd():
        if slow.asks <= ROUNDS:
            two.recommend()
        else:
            late.append(threading.Thread(target=two.recommend))
            late[0].start()

    with Lab.open(file, directory=tmp_path / "run") as one, Lab.open(file, directory=tmp_path / "run") as two:
        slow = one._recommender.strategy = Slow(one._recommender.strategy, crowd)
        (trial,) = one.recommend()
        late[0].join(120)
        trials = one.trials()
        assert slow.asks == ROUNDS + 1 and trial.id == ROUNDS and len(trials) == ROUNDS + 2
        assert len({tuple(t.point.values()) for t in trials}) == len(trials)


def test_telling_does_not_wait_for_a_slow_model(lab):
    (trial,) = lab.recommend()
    told = []
    lab._recommender.strategy = Slow(
        lab._recommender.strategy, lambda: told.extend(in_thread(lambda: lab.tell([Result(trial=0, values=value(1))])))
    )
    lab.recommend()
    assert told[0].id == trial.id


def in_thread(work):
    found = []
    thread = threading.Thread(target=lambda: found.append(work()))
    thread.start()
    thread.join(120)
    return found[0]


def test_fifty_clients_at_once_lose_nothing(lab):
    trials = lab.recommend(50)
    errors = []

    def client(trial):
        try:
            lab.tell([Result(trial=trial.id, values=value(trial.id))], by=f"client {trial.id}")
            lab.tell([Result(point=AIR, values=value(trial.id), request=f"r{trial.id % 25}")], amend=True)
        except Exception as error:  # shown below
            errors.append(error)

    threads = [threading.Thread(target=client, args=(trial,)) for trial in trials]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors
    history = stored(lab)
    assert {t.id: t.values["hardness"] for t in history.trials if t.ask >= 0} == {t.id: float(t.id) for t in trials}
    assert sum(t.ask < 0 for t in history.trials) == 25 and lab.pending() == []
    assert history.trials == lab.history.trials


def test_a_writer_that_does_not_let_go_is_named(file, tmp_path):
    import os

    with Lab.open(file, directory=tmp_path / "run") as lab:
        lab._ledger._wait_s = 0.2
        with (
            WriterLock(tmp_path / "run" / "ledger.db"),
            pytest.raises(LedgerLocked, match=f"process {os.getpid()}"),
        ):
            lab.recommend()
        assert len(lab.recommend()) == 1


def test_a_failed_write_leaves_the_memory_as_the_disk(lab, monkeypatch):
    lab.recommend(2)
    before = stored(lab)

    def full(self=lab._ledger):
        raise OSError("disk full")

    with monkeypatch.context() as patch:
        patch.setattr(lab._ledger, "commit", full)
        with pytest.raises(OSError, match="disk full"):
            lab.tell([Result(trial=0, values=value(1))])
    assert lab.history == before
    assert lab.tell([Result(trial=0, values=value(1))])[0].state == "answered"
    assert len(lab.recommend()) == 1


def test_a_full_disk_is_said_at_the_door_and_nothing_half_is_recorded(lab):
    lab.recommend(2)
    before, db = stored(lab), lab._ledger._db
    db.execute(f"PRAGMA max_page_count = {db.execute('PRAGMA page_count').fetchone()[0]}")
    results = [Result(trial=number, values=value(1), note="x" * 3000) for number in range(2)]
    said = (
        r"cannot write .*: the disk is full; nothing of this was recorded, everything before is safe\. Free space, then"
    )
    for _ in range(2):
        with pytest.raises(LedgerUnwritable, match=said):
            lab.tell(results)
        assert lab.history == before == stored(lab)
    db.execute("PRAGMA max_page_count = 1000000")
    assert [trial.state for trial in lab.tell(results)] == ["answered"] * 2
    assert [t.values for t in stored(lab).trials] == [value(1)] * 2


def test_reopened_with_another_file_is_refused(file, tmp_path):
    Lab.open(file, directory=tmp_path / "run").close()
    file.write_text(file.read_text(encoding="utf-8").replace("seed: 3", "seed: 4"), encoding="utf-8")
    with pytest.raises(ConfigChanged, match="seed"):
        Lab.open(file, directory=tmp_path / "run")
    with Lab.open(file, directory=tmp_path / "run", accept_changes=True) as lab:
        assert len(lab.history.sessions) == 2


def test_a_budget_ends_recommendations(tmp_path):
    file = furnace(tmp_path)
    file.write_text(file.read_text(encoding="utf-8") + "    budget: {trials: 3}\n", encoding="utf-8")
    with Lab.open(file, directory=tmp_path / "run") as lab:
        assert len(lab.recommend(5)) == 3
        with pytest.raises(MatloopError, match="budget of study 'anneal' is spent: 3 trials"):
            lab.recommend()
        lab.cancel(0)
        assert len(lab.recommend(5)) == 1


def test_a_study_that_a_machine_measures_is_refused(tmp_path):
    file = furnace(tmp_path)
    text = file.read_text(encoding="utf-8").replace("kind: manual, ", 'kind: python, path: "math:sqrt", ')
    file.write_text(
        text.replace("ranges: {hardness: [0, 2000]}, instructions: Vickers HV10", "repeatable: true")
        + "    budget: {trials: 3}\n"
    )
    with pytest.raises(ConfigError, match="expected one study with the driver `manual`, got none"):
        Lab.open(file, directory=tmp_path / "run")
    with pytest.raises(ConfigError, match="no study 'melt'"):
        Lab.open(furnace(tmp_path), "melt", tmp_path / "run")


@pytest.mark.parametrize("n", [0, -1, True, 1.5])
def test_a_senseless_number_is_refused(lab, n):
    with pytest.raises(MatloopError, match="whole number >= 1"):
        lab.recommend(n)


def test_a_strategy_with_a_bug_says_so_and_loses_nothing(lab):
    class Broken:
        def ask(self, n, pending, rng):
            raise ZeroDivisionError("by zero")

        def tell(self, trial):
            raise KeyError("x")

    lab.recommend()
    lab._recommender.strategy = Broken()
    with pytest.raises(MatloopError, match=r"Broken failed in `ask`: ZeroDivisionError: by zero. All results are rec"):
        lab.recommend()
    lab.tell([Result(trial=0, values=value(1))])
    with pytest.raises(MatloopError, match="Broken failed in `tell`: KeyError"):
        lab.recommend()
    assert len(lab.recommend()) == 1  # built again from the record


def test_a_study_of_people_needs_neither_strategy_nor_budget(tmp_path):
    from matloop.orchestrator.composition.config import load

    file = furnace(tmp_path)
    file.write_text(file.read_text(encoding="utf-8").replace("    strategy: space_filling\n", ""), encoding="utf-8")
    study = load(file).studies["anneal"]
    assert study.strategy == {"kind": "bayesian"} and study.budget.trials is None
