"""Mixtures as a campaign file describes them: options checked, errors with the mixture's name and the remedy."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from matloop.orchestrator.errors import ConfigError
from matloop.orchestrator.protocols import Past
from matloop.search_spaces.experiment.former import totals_of
from matloop.search_spaces.experiment.mixture import Mixture
from matloop.search_spaces.options import read_unit
from matloop.search_spaces.parameter import finite, suggest

OPTIONS = ("components", "total", "at_most", "at_least", "minimum", "step", "limits", "unit", "before", "unit_before")


def read_mixture(name: str, options: Any, past: Past | None = None) -> Mixture:
    """Check the options of one mixture.

    Args:
        name: of the mixture.
        options: keyword arguments of `Mixture`, from a campaign file.
        past: what is on record.

    Raises:
        ConfigError: names the mixture and what to change.
    """
    if not isinstance(options, Mapping):
        raise ConfigError(f"expected mixture {name!r} to have components: [names], got {options!r}")
    for key in options:
        if key not in OPTIONS:
            raise ConfigError(f"unknown key {key!r} in mixture {name!r}; {suggest(key, OPTIONS)}", at=key)
    components = options.get("components")
    if (
        not isinstance(components, list | tuple)
        or len(components) < 2
        or not all(isinstance(one, str) for one in components)
        or len(set(components)) < len(components)
    ):
        raise ConfigError(
            f"expected components of mixture {name!r}: a list of at least two different names, got {components!r}",
            at="components",
        )
    for key in ("total", "step", "minimum"):
        value, least = options.get(key), 0.0 if key == "minimum" else 1e-300
        if value is not None and not (_is_number(value) and value >= least):
            raise ConfigError(f"expected {key} of mixture {name!r} to be a number > 0, got {value!r}", at=key)
    for key in ("at_most", "at_least"):
        value = options.get(key)
        if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < 1):
            raise ConfigError(f"expected {key} of mixture {name!r} to be a whole number >= 1, got {value!r}", at=key)
    given = {key: value for key, value in options.items() if value is not None}
    given["unit"] = read_unit(f"mixture {name!r}", options.get("unit"))
    read_unit(f"mixture {name!r}", given.pop("unit_before", None), at="unit_before")
    if given.get("at_least", 1) > min(given.get("at_most", len(components)), len(components)):
        raise ConfigError(
            f"expected at_least of mixture {name!r} to be no more than at_most and the {len(components)} components, "
            f"got {given['at_least']}",
            at="at_least",
        )
    if given.get("at_least", 1) > 1 and not given.get("minimum") and "step" not in given:
        raise ConfigError(
            f"expected at_least of mixture {name!r} together with minimum or step, since any trace of a component "
            "would count; add one of them",
            at="at_least",
        )
    limits = given.get("limits", {})
    if not isinstance(limits, Mapping):
        raise ConfigError(
            f"expected limits of mixture {name!r}: {{component: [least, most]}}, got {limits!r}", at="limits"
        )
    for component, pair in limits.items():
        if component not in components:
            raise ConfigError(
                f"unknown component {component!r} in limits of mixture {name!r}; {suggest(component, components)}",
                at=("limits", component),
            )
        if (
            not isinstance(pair, list | tuple)
            or len(pair) != 2
            or not all(map(_is_number, pair))
            or not 0 <= pair[0] <= pair[1]
        ):
            raise ConfigError(
                f"expected limits of {component!r} in mixture {name!r}: [least, most] with "
                f"0 <= least <= most, got {pair!r}",
                at=("limits", component),
            )
    before = given.get("before", {})
    if not isinstance(before, Mapping) or not all(
        component in components and _is_number(amount) and amount >= 0 for component, amount in before.items()
    ):
        raise ConfigError(
            f"expected before of mixture {name!r}: {{component: amount}}, for components out of {list(components)}, "
            f"got {before!r}",
            at="before",
        )
    given["totals"] = [total for total in totals_of(components, past or Past()) if total != given.get("total", 1.0)]
    return Mixture(name, **given)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and finite(value)
