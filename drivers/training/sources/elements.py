"""Elements of formulas and structures by their symbols."""

from __future__ import annotations

from collections.abc import Iterable


def symbols(numbers: Iterable[int]) -> list[str]:
    """Of atomic numbers, in the order of these."""
    from pymatgen.core.periodic_table import Element

    return [str(Element.from_Z(number).symbol) for number in sorted(numbers)]


def unknown(numbers: Iterable[int]) -> str:
    """That no row of the training data has these elements, in words; empty where there are none."""
    names = symbols(numbers)
    return f"no training data with {', '.join(names)}" if names else ""
