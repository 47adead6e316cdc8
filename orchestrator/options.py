"""Checks of options that constructors share."""

from __future__ import annotations

from matloop.orchestrator.errors import ConfigError, Problem


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
