"""Objectives that are told bit by bit: what is on record meanwhile, what completes it, and what is another result."""

from __future__ import annotations

import csv
import io
from itertools import count
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from matloop.orchestrator.errors import MatloopError, RejectedResults
from matloop.orchestrator.lab import Lab, Result
from matloop.orchestrator.ledger.ledger import read
from matloop.orchestrator.ledger.repair import Repair
from matloop.orchestrator.trial import Trial, complete, missing

REACTOR = """\
name: Reactor
studies:
  flow:
    space: {kind: box, parameters: {heat: {type: float, low: 0, high: 100}, time: {type: float, low: 1, high: 5}}}
    driver: manual
    strategy: STRATEGY
    objectives: {output: {direction: maximise, unit: g}, purity: maximise, waste: minimise}
    budget: {trials: 6}
"""
WHOLE = {"output": 12.5, "purity": 0.9, "waste": 3.0}
_names = count()


def reactor(folder: Path, strategy: str = "space_filling") -> Lab:
    path = folder / "reactor.yaml"
    path.write_text(REACTOR.replace("STRATEGY", strategy), encoding="utf-8")
    return Lab.open(path, directory=folder / f"run{next(_names)}")


@pytest.fixture
def lab(tmp_path):
    with reactor(tmp_path) as opened:
        yield opened


def replayed(lab: Lab) -> list[Trial]:
    return list(read(lab.directory / "ledger.db").trials)


def table(*rows: dict[str, object]) -> bytes:
    titles = list(dict.fromkeys(name for row in rows for name in row))
    out = io.StringIO()
    csv.writer(out).writerows([titles, *([row.get(name, "") for name in titles] for row in rows)])
    return out.getvalue().encode()


def test_a_table_with_gaps_is_taken_and_told_again_it_is_completed(lab):
    lab.recommend(3)
    first = [{"trial": i, **WHOLE} for i in range(3)]
    for i, names in ((1, ["purity"]), (2, ["purity", "waste"])):
        first[i] |= dict.fromkeys(names, "")
    done = lab.record_filled(lab.read_csv(table(*first)), by="Ana")
    assert [entry.action for entry in done] == ["answered"] * 3
    assert lab.incomplete() == {1: ["purity"], 2: ["purity", "waste"]}
    assert [trial.values for trial in lab.trials()][1:] == [{"output": 12.5, "waste": 3.0}, {"output": 12.5}]

    second = [first[0], {**first[1], "purity": 0.7}, {**first[2], "purity": 0.6}]
    done = lab.record_filled(lab.read_csv(table(*second)), by="Ben")
    assert [entry.action for entry in done] == ["known", "completed", "completed"]
    assert lab.incomplete() == {2: ["waste"]}
    assert [entry.action for entry in lab.record_filled(lab.read_csv(table(*first)))] == ["known"] * 3
    assert [entry.action for entry in lab.record_filled(lab.read_csv(table(*second)))] == ["known"] * 3

    history = read(lab.directory / "ledger.db")
    assert list(history.trials) == lab.trials() and not history.amendments and history.finished == [0, 1, 2]
    assert [(told.trial, told.by, told.names) for told in history.completions] == [
        (1, "Ben", ("purity",)),
        (2, "Ben", ("purity",)),
    ]
    assert [trial.worker for trial in history.trials] == ["Ana"] * 3


def test_what_is_added_keeps_what_was_said(lab):
    lab.recommend()
    (first,) = lab.tell([Result(trial=0, values={"output": 12.5}, noise={"output": 0.5}, note="dark", cost=2.0)], "Ana")
    (then,) = lab.tell([Result(trial=0, values={"purity": 0.9}, noise={"purity": 0.1}, note="by HPLC")], "Ben")
    assert then.values == {"output": 12.5, "purity": 0.9} and then.noise == {"output": 0.5, "purity": 0.1}
    assert (then.info["note"], then.cost, then.worker) == ("dark; by HPLC", 2.0, "Ana")
    assert (then.started_at, then.finished_at) == (first.started_at, first.finished_at)
    assert lab.record([Result(trial=0, values={"purity": 0.9}, note="by HPLC")])[0].action == "known"
    assert lab.record([Result(trial=0, values={"output": 12.5}, note="dark")])[0].action == "known"


def test_another_value_is_an_amendment_and_leaves_the_others(lab):
    lab.recommend()
    lab.tell([Result(trial=0, values={"output": 12.5}, noise={"output": 0.5})])
    with pytest.raises(RejectedResults, match=r"output: trial 0 was answered already with 12\.5, got 13"):
        lab.tell([Result(trial=0, values={"output": 13.0, "purity": 0.9})])
    assert not lab.history.completions
    lab.tell([Result(trial=0, values={"purity": 0.9})])
    with pytest.raises(RejectedResults, match="purity: trial 0 was answered already"):
        lab.tell([Result(trial=0, values={"purity": 0.8})])
    (amended,) = lab.record([Result(trial=0, values={"purity": 0.8})], amend=True)
    assert amended.action == "amended"
    assert (amended.trial.values, amended.trial.noise) == ({"output": 12.5, "purity": 0.8}, {"output": 0.5})
    (after,) = lab.record([Result(trial=0, values={"waste": 1.0})])
    assert after.action == "completed" and after.trial.values == {"output": 12.5, "purity": 0.8, "waste": 1.0}
    assert replayed(lab) == lab.trials()


def test_what_failed_or_was_set_aside_is_not_completed(lab):
    lab.recommend(2)
    lab.tell([Result(trial=0, failure="burst"), Result(trial=1, values={"output": 1.0})])
    lab.void(1, reason="spilled")
    for trial in (0, 1):
        with pytest.raises(RejectedResults, match=f"trial {trial}"):
            lab.tell([Result(trial=trial, values={"purity": 0.9})])
    assert not lab.history.completions


def test_rows_without_a_trial_are_completed_by_what_they_say(lab):
    """Two runs at the same point, whose purity comes later; a third one there is an experiment of its own."""
    rows = [{"heat": 50, "time": 2, "output": 8.0}, {"heat": 50, "time": 2, "output": 8.0}]
    done = lab.record_filled(lab.read_csv(table(*rows)))
    assert [(entry.action, entry.trial.id) for entry in done] == [("reported", 0), ("reported", 1)]
    later = [{**rows[0], "purity": 0.5}, {**rows[1], "purity": 0.6}]
    for actions in (["completed"] * 2, ["known"] * 2):
        done = lab.record_filled(lab.read_csv(table(*later)))
        assert [entry.action for entry in done] == actions
        assert [entry.trial.values["purity"] for entry in done] == [0.5, 0.6]
    assert [entry.action for entry in lab.record_filled(lab.read_csv(table(*rows)))] == ["known"] * 2
    other = lab.record_filled(lab.read_csv(table({"heat": 50, "time": 2, "output": 8.5, "purity": 0.4})))
    assert [(entry.action, entry.trial.id) for entry in other] == [("reported", 2)]
    assert len(lab.trials()) == 3 and replayed(lab) == lab.trials()


def test_what_is_measured_in_part_counts_once(lab):
    lab.recommend(6)
    lab.tell([Result(trial=i, values={"output": float(i)}) for i in range(6)])
    lab.tell([Result(trial=i, values={"purity": 0.5, "waste": 1.0}) for i in range(6)])
    with pytest.raises(MatloopError, match="budget of study 'flow' is spent: 6 trials"):
        lab.recommend()
    assert lab.incomplete() == {} and lab.history.counts == {"flow": 6}


def test_a_completion_whose_first_result_cannot_be_read_is_the_result(lab):
    lab.recommend()
    lab.tell([Result(trial=0, values={"output": 12.5})])
    lab.tell([Result(trial=0, values={"purity": 0.9})])
    from matloop.orchestrator.ledger.file import connect, rows

    db = connect(lab.directory / "ledger.db")
    events = list(rows(db, lab.directory / "ledger.db"))
    db.close()
    repair = Repair()
    for event in events:
        if event.kind != "answered":
            repair.take(event)
    assert repair.history.trials[0].values == {"output": 12.5, "purity": 0.9}


def test_the_strategy_learns_what_came_later_in_its_place(tmp_path):
    """As if everything had been told at once, in the order of the first results."""
    with (
        reactor(tmp_path, "{kind: bayesian, initial: 3}") as bit_by_bit,
        reactor(tmp_path, "{kind: bayesian, initial: 3}") as at_once,
    ):
        for one in (bit_by_bit, at_once):
            one.recommend(4)
        values = [{"output": 3.0 + i, "purity": 0.2 * i, "waste": 1.0 / (1 + i)} for i in range(4)]
        at_once.tell([Result(trial=i, values=one) for i, one in enumerate(values)])
        bit_by_bit.tell([Result(trial=i, values={"output": one["output"]}) for i, one in enumerate(values)])
        bit_by_bit.recommend()  # while the others are to come
        for name in ("waste", "purity"):
            bit_by_bit.tell([Result(trial=i, values={name: values[i][name]}) for i in (2, 0, 3, 1)])
        bit_by_bit.cancel(4)
        strategies = []
        for one in (bit_by_bit, at_once):
            one._recommender._update()
            strategies.append(one._recommender.strategy)
        assert [t.id for t in strategies[0]._answered] == [t.id for t in strategies[1]._answered] == [0, 1, 2, 3]
        assert strategies[0]._gains().tolist() == strategies[1]._gains().tolist()


_RESULT = st.fixed_dictionaries({}, optional={name: st.sampled_from([1.0, 2.0]) for name in WHOLE}).filter(bool)


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(st.integers(0, 1), _RESULT, st.booleans()), max_size=8))
def test_the_record_is_what_was_told_whatever_the_order(tmp_path, tellings):
    """Against a dictionary: what is new is added, what is the same is known, what differs needs an amendment."""
    with reactor(tmp_path) as lab:
        lab.recommend(2)
        expected: list[dict[str, float]] = [{}, {}]
        for number, values, amend in tellings:
            known = expected[number]
            differs = any(known.get(name, value) != value for name, value in values.items())
            result = Result(trial=number, values=values)
            if differs and not amend:
                with pytest.raises(RejectedResults, match="answered already"):
                    lab.tell([result])
                continue
            (done,) = lab.record([result], amend=amend)
            new = values.keys() - known.keys()
            wanted = "amended" if differs else "answered" if not known else "completed" if new else "known"
            assert done.action == wanted
            known |= values
            assert done.trial.values == known
        for trial, values in zip(replayed(lab), expected, strict=True):
            assert (trial.values or {}) == values
            assert complete(trial, lab.objectives) == (len(values) == 3)
            assert missing(trial, lab.objectives) == ([n for n in WHOLE if n not in values] if values else [])
        assert replayed(lab) == lab.trials()


def test_every_view_copes_with_gaps(tmp_path):
    """Status, notebook, drawings, report and export of a study in which every objective is missing somewhere."""
    from io import StringIO

    from rich.console import Console

    from matloop.orchestrator.cli.commands import status
    from matloop.orchestrator.export.trials import trials_csv
    from matloop.orchestrator.report import write

    with reactor(tmp_path, "{kind: bayesian, initial: 3}") as lab:
        lab.recommend(3)
        lab.tell([Result(trial=0, values={"purity": 0.3}), Result(trial=1, values={"output": 2.0})])
        page = StringIO()
        status.show(lab.directory, Console(file=page, width=120))
        assert "trial 0: output, waste still to come; purity = 0.3" in page.getvalue()
        assert "2 measured in part" in lab._repr_html_()
        for drawn in (lab.plot_progress, lab.plot_predictions, lab.plot_pareto):
            assert drawn().axes
        assert lab.plot_parameter("heat", "waste").axes
        write(lab.directory)
        lab.tell([Result(trial=0, values={"output": 1.0, "waste": 1.0}), Result(trial=2, values=WHOLE)])
        lab.tell([Result(trial=1, values={"waste": 4.0, "purity": 0.1})])
        for trial in lab.recommend(3):
            lab.tell([Result(trial=trial.id, values={"purity": 0.4} if trial.id % 2 else {"output": 9.0})])
        assert trials_csv(lab.history, tmp_path / "out.csv") == 6
        html = write(lab.directory).read_text(encoding="utf-8")
        assert "still to come" in html
        frame = lab.frame()
        assert frame.loc[0, "output"] == 1.0 and frame["purity"].isna().tolist() == [False] * 4 + [True, False]
