"""Checks of options that constructors share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from matloop.orchestrator.errors import ConfigError, Problem
from matloop.orchestrator.trial import Objective, goals, limited


@dataclass(frozen=True, slots=True)
class Components:
    """Kinds of a part that a component is given in one of its options, as a mapping with `kind`.

    A class says so in an attribute `components`: option to `Components`. The part's own options are checked against its
    constructor, as the component's are.

    Attributes:
        kinds: name to "module:Class", imported when used; other kinds are such import paths themselves.
        function: "module:Class" of what stands for a kind that is the import path of a function; it is given that path
            as `function`, and `arguments`. Empty where functions will not do.
    """

    kinds: Mapping[str, str]
    function: str = ""


def at_least(least: int, user: str = "", /, **options: float | None) -> None:
    """Refuse options that are too small.

    Args:
        least: what each may be at the smallest.
        user: whose options they are, named first in the error; empty where that is plain.
        options: values by name; None, for one that was not given, passes.

    Raises:
        ConfigError: naming every one that is smaller, or not a number.
    """
    problems = [
        Problem(f"{user and user + ': '}expected {name} >= {least}, got {value}", (name,))
        for name, value in options.items()
        if value is not None and not value >= least
    ]
    if problems:
        raise ConfigError(problems=problems)


def without_limits(user: str, objectives: Sequence[Objective]) -> None:
    """Refuse objectives with limits, for a strategy that compares results without regard to them.

    Raises:
        ConfigError: there are such.
    """
    if found := limited(objectives):
        raise ConfigError(
            f"{user}: expected objectives without limits, got {', '.join(f'{o.name} {o.limits}' for o in found)}; "
            "use the strategy bayesian, which learns where they are kept"
        )


def single(user: str, objectives: Sequence[Objective]) -> Objective:
    """The only objective.

    Raises:
        ConfigError: there are several, or limits.
    """
    without_limits(user, objectives)
    sought = goals(objectives)
    if len(sought) != 1:
        raise ConfigError(
            f"{user}: expected one objective, got {', '.join(o.name for o in sought)}; use the strategy bayesian, "
            "which trades several off"
        )
    return sought[0]
