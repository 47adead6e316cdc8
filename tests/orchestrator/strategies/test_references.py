"""The order in which references are trained: all by every seed, then the best for as long as the search took."""

from __future__ import annotations

import numpy as np
import pytest

from matloop.orchestrator.errors import ConfigError, SpaceExhausted
from matloop.orchestrator.strategies.references import MOST_DRAWS, References
from matloop.orchestrator.trial import Failure, Objective, Trial
from matloop.search_spaces.box import Box

LOSS = Objective("validation_loss", "minimise")


class Two:
    """Two references, a and b; b can be set."""

    names = ("a", "b")
    budget = None

    def usual(self):
        return [point(name, "usual", repeat=i) for i in range(2) for name in (*self.names, "winner")]

    def drawn(self, name, rng):
        return None if name == "a" else point(name, "draw", float(rng.integers(1000)))

    def tuned(self, name, settings):
        return [point(name, "tuned", settings, repeat) for repeat in range(2)]


def point(name, purpose, settings=0.0, repeat=0):
    return {"reference": name, "purpose": purpose, "settings": settings, "repeat": repeat}


def run(strategy, *, loss, seconds=10.0, fail=(), slots=1):
    """Points in the order in which they were measured."""
    done, running = [], []
    rng = np.random.default_rng(0)
    while True:
        try:
            while len(running) < slots and (found := strategy.ask(slots - len(running), list(running), rng)):
                for proposal in found:
                    number = len(done) + len(running)
                    running.append(Trial(id=number, study="r", number=number, point=proposal.point, seed=0))
        except SpaceExhausted:
            assert not running
            return done
        trial = running.pop(0)
        failed = trial.point["reference"] in fail
        values = None if failed else {LOSS.name: loss(trial.point)}
        failure = Failure(cause="exception", message="no") if failed else None
        strategy.tell(
            Trial(
                id=trial.id,
                study="r",
                number=trial.number,
                point=trial.point,
                seed=0,
                values=values,
                failure=failure,
                started_at=100.0,
                finished_at=100.0 + seconds,
            )
        )
        done.append(trial.point)


def loss(point):
    return {"a": 2.0, "b": 1.0, "winner": 0.5}[point["reference"]] + abs(point["settings"] - 300) / 1000


@pytest.mark.parametrize("slots", [1, 3])
def test_the_best_reference_gets_the_time_of_the_search_and_the_best_draw_every_seed(slots):
    strategy = References(space=Two(), objectives=(LOSS,), seconds=70.0)
    done = run(strategy, loss=loss, slots=slots)
    assert done[:6] == Two().usual()
    draws = [p for p in done if p["purpose"] == "draw"]
    assert len(draws) == 7 and {p["reference"] for p in draws} == {"b"}
    best = min(draws, key=loss)["settings"]
    assert done[13:] == Two().tuned("b", best)


def test_without_tuning_or_without_settings_the_list_is_all():
    assert run(References(space=Two(), objectives=(LOSS,), seconds=70.0, tuned=False), loss=loss) == Two().usual()
    found = run(References(space=Two(), objectives=(LOSS,), seconds=70.0), loss=loss, fail=("b",))
    assert found == Two().usual()  # a is the best that is left, and has nothing to set


def test_what_fails_is_not_repeated_and_stops_nothing():
    assert run(References(space=Two(), objectives=(LOSS,), seconds=70.0), loss=loss, fail=("a", "b", "winner"))


def test_quick_references_are_drawn_only_so_often():
    done = run(References(space=Two(), objectives=(LOSS,), seconds=1e9), loss=loss, seconds=0.001)
    assert len([p for p in done if p["purpose"] == "draw"]) <= MOST_DRAWS
    assert len({p["settings"] for p in done if p["purpose"] == "draw"}) > 100


def test_it_goes_on_where_it_was_told_to_have_been():
    whole = run(References(space=Two(), objectives=(LOSS,), seconds=30.0), loss=loss)
    again = References(space=Two(), objectives=(LOSS,), seconds=30.0)
    for number, p in enumerate(whole[:4]):
        again.tell(
            Trial(id=number, study="r", number=number, point=p, seed=0, values={LOSS.name: loss(p)},
                  started_at=0.0, finished_at=10.0)
        )  # fmt: skip
    assert run(again, loss=loss)[:2] == whole[4:6]


def test_draws_with_another_budget_count_no_more():
    strategy = References(space=Two(), objectives=(LOSS,), seconds=70.0)
    old = point("b", "draw", 300.0) | {"budget": {"seconds": 1}}
    strategy.tell(
        Trial(id=99, study="r", number=0, point=old, seed=0, values={LOSS.name: 0.0}, started_at=0.0, finished_at=60.0)
    )
    done = run(strategy, loss=loss)
    draws = [p for p in done if p["purpose"] == "draw"]
    assert len(draws) == 7 and done[13:] == Two().tuned("b", min(draws, key=loss)["settings"])


def test_another_space_is_refused():
    with pytest.raises(ConfigError, match="under `reference:` of the search"):
        References(space=Box(parameters={"x": {"type": "float", "low": 0, "high": 1}}), objectives=(LOSS,))
