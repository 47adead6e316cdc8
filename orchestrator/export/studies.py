"""Which study of a campaign is meant where nobody names one: the one that the others led to."""

from __future__ import annotations

from collections.abc import Sequence

from matloop.orchestrator.export.trials import config, studies
from matloop.orchestrator.ledger.history import History
from matloop.orchestrator.references import is_of_references, led_to


def having(history: History, artifacts: Sequence[str], study: str | None) -> tuple[list[str], list[str]]:
    """Studies whose trials left one of some artifacts, and those among them that are meant.

    Baselines, bounds, references and searches whose best another study has confirmed count only if there is no other,
    or if named.

    Args:
        history: of the campaign.
        artifacts: their names.
        study: the one that was named, which need not have any; None where nobody has named one.
    """
    left = [s for s in studies(history) if any(set(artifacts) & {*t.artifacts} for t in history.of(s))]
    specs = config(history).get("studies", {})
    strategies = {name: spec.get("strategy", {}) for name, spec in specs.items()}
    beside = {s.get(role) for s in specs.values() for role in ("baseline", "bound")}
    beside |= {name for name, spec in specs.items() if is_of_references(spec)}
    for name in left:
        if strategies.get(name, {}).get("kind") == "confirmation":
            beside.update(led_to(name, strategies)[1:])
    return left, [study] if study else [s for s in left if s not in beside] or left
