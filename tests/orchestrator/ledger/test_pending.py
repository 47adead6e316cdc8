"""Pending trials, held against a plain list of them."""

from __future__ import annotations

import timeit

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from matloop.orchestrator.ledger.pending import Pending, key
from matloop.orchestrator.trial import Proposal, Trial


def trial(number: int, x: int = 0) -> Trial:
    return Trial(id=number, study="s", number=number, point={"x": x}, seed=0)


ACTS = ["add", "hold", "discard", "look"]


@given(st.lists(st.tuples(st.sampled_from(ACTS), st.integers(0, 9), st.integers(0, 3))))
def test_is_what_two_lists_would_be(steps: list[tuple[str, int, int]]) -> None:
    """Trials in order, then held proposals; a trial takes the place of the latest proposal at its point."""
    pending, trials, held = Pending(), list[Trial](), list[Proposal]()
    for number, (act, victim, x) in enumerate(steps):
        if act == "add":
            pending.add(trial(number, x))
            trials.append(trial(number, x))
            if same := [i for i, p in enumerate(held) if p.point == {"x": x}]:
                del held[same[-1]]
        elif act == "hold":
            held.append(Proposal(point={"x": x}, reason=f"number {number}"))
            pending.add(held[-1])
        elif act == "discard":
            gone = trials[victim].id if victim < len(trials) else -1
            pending.discard(gone)
            trials = [t for t in trials if t.id != gone]
        else:
            assert pending.holds(key({"x": x})) == any(t.point == {"x": x} for t in (*trials, *held))
    plain = [*trials, *held]
    assert list(pending) == plain
    assert list(reversed(pending)) == plain[::-1]
    assert [pending[i] for i in range(-len(plain), len(plain))] == [*plain, *plain]
    assert pending[1:] == plain[1:]
    assert len(pending) == len(plain)
    assert [pending.holds(key({"x": x})) for x in range(4)] == [any(t.point["x"] == x for t in plain) for x in range(4)]
    with pytest.raises(IndexError, match="expected an index"):
        pending[len(plain)]


def test_keys_know_values_and_not_their_dress() -> None:
    assert key({"a": 1, "b": [1.0, 2.0]}) == key({"b": np.array([1.0, 2.0]), "a": np.int64(1)})
    assert len({key({"a": value}) for value in (1, 1.5, True, "1", None, [1], {"b": 1})}) == 7
    with pytest.raises(TypeError, match="JSON-able"):
        key({"a": object()})


def test_the_key_of_what_was_really_done() -> None:
    pending = Pending()
    planned, done = trial(0, 1), trial(0, 2)
    pending.add(planned)
    assert pending.key(planned) == key({"x": 1})
    assert pending.holds(key({"x": 1})) and pending.key(planned) == key({"x": 1})
    assert pending.key(done) == key({"x": 2}) and pending.key(trial(1, 3)) == key({"x": 3})


def test_costs_the_same_however_many_there_are() -> None:
    def seconds(n: int) -> float:
        pending = Pending()
        for number in range(n):
            pending.add(trial(number, number))
        assert not pending.holds("")

        def turn() -> None:
            pending.add(trial(n, n))
            assert pending.holds(key({"x": n}))
            pending.discard(n)

        return min(timeit.repeat(turn, number=50, repeat=5))

    assert seconds(20_000) < 10 * seconds(20)
