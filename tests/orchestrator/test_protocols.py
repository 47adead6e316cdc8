"""What parts may offer beyond the least: who says so is believed, who says no or nothing is not."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from matloop.drivers.manual import Manual
from matloop.hpc.local import Local
from matloop.hpc.serial import Serial
from matloop.orchestrator import protocols
from matloop.orchestrator.protocols import (
    ByPeople,
    Composed,
    Finite,
    Labelled,
    Lenient,
    Parametric,
    Rendering,
    Strategy,
    WithOutlook,
    WithQueue,
    WithSlots,
    accepts_inputs,
    filler_of,
    is_by_people,
    is_slow,
    maker_of,
)
from matloop.orchestrator.strategies.evolution.evolution import Evolution
from matloop.orchestrator.strategies.modelled.bayes import Bayesian
from matloop.orchestrator.strategies.random import Random
from matloop.orchestrator.trial import Objective
from matloop.search_spaces.columns import labels
from matloop.surrogates.fitness_svm import FitnessSVM
from tests.orchestrator.strategies import toys

OBJECTIVES = (Objective("f"),)


class ByClass:
    """Says everything as attributes of the class."""

    slow, by_people, accepts_inputs, repeatable, objectives = True, True, True, True, OBJECTIVES

    def __call__(self, trial: Any, inputs: Any) -> float:
        return 0.0


class ByProperty:
    """Says everything when it is asked."""

    slow = by_people = accepts_inputs = property(lambda self: True)

    def __call__(self, trial: Any, inputs: Any) -> float:
        return 0.0


class ByInstance(ByProperty):
    """Says no by default, and yes where it was made so."""

    slow = by_people = accepts_inputs = False  # type: ignore[assignment]

    def __init__(self, yes: bool) -> None:
        self.slow = self.by_people = self.accepts_inputs = yes  # type: ignore[assignment, method-assign]


@pytest.mark.parametrize("says", [is_slow, is_by_people, accepts_inputs])
def test_a_flag_is_one_however_it_is_made_and_only_if_true(says: Callable[[object], bool]) -> None:
    assert says(ByClass()) and says(ByProperty()) and says(ByInstance(True))
    assert not says(ByInstance(False)) and not says(object()) and not says(None)


def test_fillers_and_makers_are_asked_for_and_may_be_nothing() -> None:
    space = toys.genes()
    plain = Evolution(space=space, objectives=OBJECTIVES)
    screened = Evolution(space=space, objectives=OBJECTIVES, predictor=FitnessSVM())
    assert not is_slow(plain) and filler_of(plain) is None
    assert is_slow(screened) and isinstance(filler_of(screened), Evolution)
    maker = maker_of(screened)
    made: Strategy | None = maker() if maker is not None else None
    assert isinstance(made, Evolution) and made is not screened and is_slow(made)
    nothing = Random(space=space)
    assert filler_of(nothing) is None and maker_of(nothing) is None and not is_slow(nothing)


class Sum:
    """A driver as most are."""

    repeatable, objectives = True, OBJECTIVES

    def __call__(self, trial: Any) -> float:
        return float(sum(trial.point.values()))


def test_own_parts_offer_what_they_should() -> None:
    box, pool = toys.mixed(), toys.pool()
    assert isinstance(box, Parametric) and isinstance(box, Labelled) and isinstance(box, Lenient)
    assert isinstance(pool, Finite) and isinstance(pool, Lenient) and not isinstance(pool, Parametric)
    assert not isinstance(box, Composed) and not isinstance(box, Rendering)
    assert isinstance(Bayesian(space=box, objectives=OBJECTIVES), WithOutlook)
    assert not isinstance(Random(space=box), WithOutlook)
    assert is_by_people(Manual()) and not isinstance(Sum(), ByPeople)
    assert isinstance(Serial(), WithSlots) and isinstance(Local(slots=2), WithSlots)
    assert not isinstance(Serial(), WithQueue)


def test_columns_that_are_not_columns_label_nothing() -> None:
    class Named:
        """Has columns that are names, as any class may."""

        columns, dimension = ("a", "b"), 2

        def encode(self, points: Any) -> Any:
            return [[0.0, 0.0]]

    box = toys.reals(2)
    found = labels(box)
    assert found is not None and [column.parameter for column in found] == ["x0", "x1"]
    assert labels(Named()) is None and labels(object()) is None and labels(None) is None


def test_every_protocol_says_what_it_is_and_is_found_in_one_place() -> None:
    for name in protocols.__all__:
        found = getattr(protocols, name)
        if name not in ("Allowed", "Array", "ColumnKind"):
            assert found.__doc__ and found.__module__.startswith("matloop.orchestrator.protocols."), name
