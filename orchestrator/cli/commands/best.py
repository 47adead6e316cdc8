"""`matloop best`: where the best is, measured and expected."""

from __future__ import annotations

from rich.console import Console

from matloop.orchestrator.lab import Lab


def show(lab: Lab, number: int, *, console: Console) -> None:
    """Print it, a line each.

    Args:
        lab: open.
        number: how many of the measured ones, >= 1.
        console: where it is printed.
    """
    console.print(str(lab.best(number)), highlight=False, markup=False, soft_wrap=True)
