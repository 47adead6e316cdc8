"""Options that are too small are refused by name."""

from __future__ import annotations

import pytest

from matloop.orchestrator.errors import ConfigError
from matloop.orchestrator.options import at_least


def test_all_that_are_too_small_are_named_with_what_was_expected() -> None:
    at_least(2, folds=2, members=7, steps=None)
    with pytest.raises(ConfigError, match=r"^expected members >= 2, got 1\nexpected steps >= 2, got 0$") as caught:
        at_least(2, folds=2, members=1, steps=0)
    assert [problem.place for problem in caught.value.problems] == [("members",), ("steps",)]
    with pytest.raises(ConfigError, match=r"^bayesian: expected initial >= 2, got nan$"):
        at_least(2, "bayesian", initial=float("nan"))
