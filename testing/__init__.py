"""Suites that a part of your own should pass, to be subclassed in a test file; not the tests of matloop itself.

    import pytest
    from matloop.testing import SpaceContract

    class TestFurnace(SpaceContract):
        @pytest.fixture
        def space(self):
            return Furnace()

SpaceContract, StrategyContract, DriverContract and SurrogateContract are for the parts that a campaign file names,
LedgerContract, ExecutorContract and IsolatingContract for what lies under them. They need pytest and hypothesis:
`pip install 'matloop[testing]'`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matloop.testing.driver import DriverContract
    from matloop.testing.executor import ExecutorContract, IsolatingContract
    from matloop.testing.ledger import LedgerContract
    from matloop.testing.space import SpaceContract
    from matloop.testing.strategy import StrategyContract
    from matloop.testing.surrogate import SurrogateContract

__all__ = [
    "DriverContract",
    "ExecutorContract",
    "IsolatingContract",
    "LedgerContract",
    "SpaceContract",
    "StrategyContract",
    "SurrogateContract",
]

_HOME = {name: name.removesuffix("Contract").lower() for name in __all__} | {"IsolatingContract": "executor"}


def __getattr__(name: str) -> Any:
    """Import a suite when it is asked for (PEP 562), so that its failures are explained as those of a test file are.

    Raises:
        MissingExtra: pytest or hypothesis is not installed.
    """
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}; it has {', '.join(__all__)}")
    import importlib
    import sys

    from matloop.orchestrator.errors import EXTRAS, MissingExtra

    home = f"{__name__}.{_HOME[name]}"
    try:
        import pytest

        if home not in sys.modules:
            pytest.register_assert_rewrite(home)
        return getattr(importlib.import_module(home), name)
    except ModuleNotFoundError as error:
        if error.name is None or error.name not in EXTRAS:
            raise
        raise MissingExtra(error.name) from error


def __dir__() -> list[str]:
    return sorted(__all__)
