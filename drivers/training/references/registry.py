"""Every kind of reference by its name, and users' own by their import path."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from matloop.drivers.training.references import estimators, trained
from matloop.drivers.training.references.estimators import ESTIMATORS, Fittable
from matloop.drivers.training.references.trained import NETWORKS, Trained
from matloop.orchestrator.errors import ConfigError


def reference(kind: str, options: Mapping[str, Any] | None = None) -> Trained | Fittable:
    """The reference of a kind.

    Args:
        kind: a name of `ESTIMATORS` or `NETWORKS`; `module:factory` of a torch module, which takes (input, outputs);
            or `module:Class` of an estimator as scikit-learn's are.
        options: passed on to it.

    Raises:
        ConfigError: no such kind, or it cannot be imported.
    """
    given = dict(options or {})
    if kind in ESTIMATORS:
        return replace(ESTIMATORS[kind], options=given)
    if kind in NETWORKS:
        return replace(NETWORKS[kind], options=given)
    if ":" not in kind:
        names = sorted((*ESTIMATORS, *NETWORKS))
        near = difflib.get_close_matches(kind, names, n=1)
        hint = f"did you mean {near[0]!r}? " if near else ""
        raise ConfigError(
            f"unknown reference {kind!r}; {hint}accepted: {', '.join(names)}, `module:factory` of a torch module or "
            "`module:Class` of an estimator"
        )
    found = trained.imported(kind)
    return estimators.of_user(kind, given) if trained.is_estimator(found) else trained.of_user(kind, given)
