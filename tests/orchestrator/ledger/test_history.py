"""An event that does not fit, or does not have the form of one, changes nothing of the state."""

from __future__ import annotations

import copy

import pytest

from matloop.orchestrator.errors import LedgerCorrupt
from matloop.orchestrator.ledger.history import Event, History, advance, replay

PROPOSED = '{"number":0,"point":{"x":1},"seed":1,"ask":0}'
ANSWERED = '{"values":{"y":1.0},"started_at":0.0,"finished_at":1.0,"worker":"w"}'
DEEP = '{"message":' + "[" * 5_000 + "]" * 5_000 + "}"


def begun() -> History:
    """One trial that is finished, one that runs and was withdrawn, one that is missing."""
    events = [
        ("opened", "", None, '{"config":{},"environment":{}}'),
        ("noted", "a", None, '{"kind":"study_started","data":{}}'),
        ("proposed", "a", 0, PROPOSED),
        ("answered", "a", 0, ANSWERED),
        ("proposed", "a", 1, PROPOSED.replace('"number":0', '"number":1')),
        ("withdrawn", "a", 1, "{}"),
        ("missing", "", 2, "{}"),
    ]
    return replay(Event(seq, float(seq), *event) for seq, event in enumerate(events, start=1))


@pytest.mark.parametrize(
    ("kind", "trial", "body"),
    [
        ("opened", None, "{}"), ("opened", None, '{"config":{}}'), ("closed", None, "{}"), ("noted", None, "{}"),
        ("noted", None, "[]"), ("noted", None, "null"), ("noted", None, "{"), ("noted", None, ""), ("new", None, "{}"),
        ("proposed", 3, "{}"), ("proposed", 3, '{"number":3,"point":{}}'), ("proposed", 3, "[]"),
        ("proposed", 3, '{"number":"x","ask":0}'), ("proposed", 3, PROPOSED[:-1] + ',"prediction":{"odd":1}}'),
        ("proposed", 4, PROPOSED), ("proposed", 2, PROPOSED), ("reported", 7, PROPOSED), ("missing", 9, "{}"),
        ("answered", 1, '{"odd":1}'), ("answered", 1, "[1]"), ("answered", 1, "{"), ("answered", 0, ANSWERED),
        ("answered", 2, ANSWERED), ("answered", 8, ANSWERED), ("failed", 1, '{"failure":{"odd":1}}'),
        ("cancelled", 1, '{"odd":1}'), ("started", 1, "{}"), ("lost", 1, "{}"), ("lost", 1, DEEP), ("new", 1, "{}"),
        ("withdrawn", 0, "{}"), ("amended", 0, '{"odd":1}'), ("amended", 0, "{"), ("amended", 1, ANSWERED),
        ("amended", -1, ANSWERED), ("amended", 5, ANSWERED), ("amended", 2, ANSWERED),
        ("noted", None, '{"kind":"study_ended","data":[]}'),
        ("noted", None, '{"kind":"study_ended","data":{"uncharged":7}}'),
        ("proposed", 3, '{"number":3,"ask":-1,"point":{},"extra":{"repeats":"x"}}'), ("decided", 0, "{}"),
        ("decided", 1, '{"verdict":"counted"}'),
    ],
)  # fmt: skip
def test_an_event_that_does_not_fit_changes_nothing(kind: str, trial: int | None, body: str) -> None:
    history = begun()
    before = copy.deepcopy(history)
    with pytest.raises(LedgerCorrupt):
        history.apply(Event(8, 99.0, kind, "a", trial, body))
    assert history == before and history.withdrawn(history.trials[1])
    assert history.elapsed("a", 10.0) == before.elapsed("a", 10.0) and history.sessions[-1].last_at == 7.0
    advance(history, [Event(8, 8.0, "answered", "a", 1, ANSWERED)])
    assert history.finished == [0, 1]


@pytest.mark.parametrize("seq", [7, 9, 0, -1])
def test_an_event_with_another_number_changes_nothing(seq: int) -> None:
    history = begun()
    with pytest.raises(LedgerCorrupt, match=rf"expected event 8 of the ledger, got {seq}: rows are missing"):
        history.apply(Event(seq, 99.0, "answered", "a", 1, ANSWERED))
    assert history == begun()


def test_a_missing_trial_keeps_its_number_and_is_seen_by_nobody() -> None:
    history = begun()
    advance(history, [Event(8, 8.0, "proposed", "a", 3, PROPOSED.replace('"number":0', '"number":3'))])
    assert history.missing == {2} and [t.id for t in history.of("a")] == [0, 1, 3]
    assert [t.id for t in history.running("a")] == [1, 3] and [t.id for t in history.told("a")] == [0]
    assert history.counts == {"a": 4}
    assert (history.trials[2].state, history.trials[2].study) == ("cancelled", "")
