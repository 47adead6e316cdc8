"""Parts of a campaign built again from what its ledger recorded, without its file."""

from __future__ import annotations

from collections.abc import Mapping
from inspect import isclass
from pathlib import Path
from typing import Any

from matloop.orchestrator.composition.binding import find
from matloop.orchestrator.composition.build import Builder, builder
from matloop.orchestrator.composition.config import Config
from matloop.orchestrator.ledger.artifacts import ArtifactStore
from matloop.orchestrator.ledger.history import History
from matloop.orchestrator.protocols import Driver, Predicting, Space, Surrogate
from matloop.orchestrator.trial import Trial


def surrogate_for(
    study: str, recorded: Mapping[str, Any], history: History, store: ArtifactStore
) -> tuple[Surrogate, Space]:
    """A study's surrogate, untrained, and its space.

    Raises:
        ConfigError: the strategy has no surrogate, or something that the campaign needs is gone.
        MissingExtra: an optional package is no longer installed.
    """
    parts = _builder(recorded, history, store)
    return parts.surrogate(study), parts.space(study)


def predicting_for(
    study: str, recorded: Mapping[str, Any], history: History, store: ArtifactStore
) -> tuple[Predicting, Space] | None:
    """A study's strategy, told all that is on record, and its space; raises as `surrogate_for`.

    Returns:
        None where it predicts nothing. What is seen from its class is not built for that: it may take seconds.
    """
    parts = _builder(recorded, history, store)
    spec, place = parts.origin(study, "strategy")
    made_by = find("strategy", spec["kind"], place)
    if isclass(made_by) and not hasattr(made_by, "predict"):
        return None
    strategy = parts.strategy(study)
    for trial in history.told(study):
        strategy.tell(trial)
    return (strategy, parts.space(study)) if isinstance(strategy, Predicting) else None


def driver_for(trial: Trial, history: History, store: ArtifactStore) -> tuple[Driver, list[str]]:
    """The driver that measured a trial, as it was when that was proposed; raises as `surrogate_for`.

    Returns:
        The driver; and which of the files that it names are not as they were, by their dotted places.
    """
    before = [session.config for session in history.sessions if session.opened_at <= trial.proposed_at]
    recorded = before[-1] if before else history.sessions[0].config
    parts = _builder(recorded, history, store)
    driver, known = parts.driver(trial.study), recorded.get("files", {})
    return driver, [place for place, mark in parts.files.items() if known.get(place, mark) != mark]


def _builder(recorded: Mapping[str, Any], history: History, store: ArtifactStore) -> Builder:
    path = Path(history.sessions[-1].environment.get("campaign_file", "campaign.yaml"))
    return builder(Config.from_record(recorded, path), history, store)
