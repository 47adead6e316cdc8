"""matloop: one asynchronous loop (ask, measure, tell) for materials science.

    Lab, Result                       experiments that people do: recommend, tell, ask why
    open_campaign, Campaign           a campaign file, ready to run from Python
    load_bundle, Bundle               a trained network, ready to predict
    Trial, Proposal, Measurement,     what is tried, and what came of it
      Objective, Prediction, Failure
    Space, Strategy, Surrogate,       the protocols that a part of your own meets; a space offers
      Driver, Evolvable, Encodable,     as many of the small ones as it can
      Vectorised, Finite, ContinuingDriver
    Interrupted                       raised in a function or driver that is to save what it has and end
    MatloopError                      the base of every error raised on purpose

`matloop.orchestrator`, `search_spaces`, `surrogates`, `drivers`, `bundles` and `hpc` hold the parts; `matloop.testing`
the suites that a part of your own should pass. Nothing is imported before it is used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matloop.bundles.bundle import Bundle, load_bundle
    from matloop.orchestrator.composition.opening import open_campaign
    from matloop.orchestrator.errors import MatloopError
    from matloop.orchestrator.interruption import Interrupted
    from matloop.orchestrator.lab import Lab, Result
    from matloop.orchestrator.loop.campaign import Campaign
    from matloop.orchestrator.protocols import (
        ContinuingDriver,
        Driver,
        Encodable,
        Evolvable,
        Finite,
        Space,
        Strategy,
        Surrogate,
        Vectorised,
    )
    from matloop.orchestrator.trial import Failure, Measurement, Objective, Prediction, Proposal, Trial

    __version__: str

_HOMES = {
    "bundles.bundle": ("Bundle", "load_bundle"),
    "orchestrator.composition.opening": ("open_campaign",),
    "orchestrator.errors": ("MatloopError",),
    "orchestrator.interruption": ("Interrupted",),
    "orchestrator.lab": ("Lab", "Result"),
    "orchestrator.loop.campaign": ("Campaign",),
    "orchestrator.protocols": (
        *("ContinuingDriver", "Driver", "Encodable", "Evolvable", "Finite"),
        *("Space", "Strategy", "Surrogate", "Vectorised"),
    ),
    "orchestrator.trial": ("Failure", "Measurement", "Objective", "Prediction", "Proposal", "Trial"),
}
_HOME = {name: f"{__name__}.{module}" for module, names in _HOMES.items() for name in names}

__all__ = [
    "Bundle",
    "Campaign",
    "ContinuingDriver",
    "Driver",
    "Encodable",
    "Evolvable",
    "Failure",
    "Finite",
    "Interrupted",
    "Lab",
    "MatloopError",
    "Measurement",
    "Objective",
    "Prediction",
    "Proposal",
    "Result",
    "Space",
    "Strategy",
    "Surrogate",
    "Trial",
    "Vectorised",
    "__version__",
    "load_bundle",
    "open_campaign",
]


def __getattr__(name: str) -> Any:
    """Import what is asked for, the first time (PEP 562)."""
    import importlib

    if name == "__version__":
        from importlib.metadata import version

        found: Any = version("matloop")
    elif name in _HOME:
        found = getattr(importlib.import_module(_HOME[name]), name)
    else:
        from difflib import get_close_matches

        near = "".join(f"; did you mean {close!r}?" for close in get_close_matches(name, __all__, n=1))
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}{near}; dir(matloop) lists what there is")
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted(__all__)
