"""A campaign's best networks as files that need nothing of matloop: weights, torch source and ONNX."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from matloop.orchestrator.errors import MatloopError
from matloop.orchestrator.export.trials import config, objectives_of, studies
from matloop.orchestrator.ledger.artifacts import ArtifactStore
from matloop.orchestrator.ledger.history import History
from matloop.orchestrator.trial import Trial, best, comparable, goals, losses, rankable


@dataclass(frozen=True, slots=True)
class Exported:
    """What was written.

    Attributes:
        best: trial of the network in the folder itself.
        front: trials of those in `front/trial-N`; empty with one objective.
        without_onnx: why there is no `network.onnx`, None where there is.
    """

    best: Trial
    front: tuple[Trial, ...]
    without_onnx: str | None


def export(history: History, store: ArtifactStore, folder: Path, study: str | None = None) -> Exported:
    """Write the best trained network, and with several objectives also all of the Pareto front in `front/trial-N`.

    Each is `network.safetensors`, `network.py` (torch source), `network.onnx` and `trial.json`. The first two take and
    give standardised values, with the scales in `trial.json`; the ONNX model takes and gives values in their own units.

    Raises:
        MatloopError: no study trained networks, or several did and none was named.
    """
    name = _study(history, study)
    objectives = objectives_of(history, name)
    trained = [t for t in comparable(history.of(name)) if "weights" in t.artifacts and t.values is not None]
    found = best(trained, objectives[0], objectives)
    if found is None:
        raise MatloopError(f"study {name!r} has no answered trial yet; see `matloop status`")
    missing = _write(found, store, folder)
    if len(goals(objectives)) == 1:
        return Exported(found, (), missing)
    from matloop.orchestrator.report.statistics import front

    ranked = rankable(trained, objectives)
    members = tuple(ranked[i] for i in front(losses(ranked, goals(objectives))))
    for trial in members:
        _write(trial, store, folder / "front" / f"trial-{trial.id}")
    return Exported(found, members, missing)


def _study(history: History, study: str | None) -> str:
    """The study that trained networks; baselines count only if there is no other, or if named."""
    with_weights = [s for s in studies(history) if any("weights" in t.artifacts for t in history.of(s))]
    baselines = {s.get("baseline") for s in config(history).get("studies", {}).values()}
    candidates = [study] if study else [s for s in with_weights if s not in baselines] or with_weights
    if len(candidates) != 1 or candidates[0] not in with_weights:
        got = ", ".join(with_weights) or "none"
        raise MatloopError(f"expected one study that trained networks, got {got}; name one with --study")
    return candidates[0]


def _write(trial: Trial, store: ArtifactStore, folder: Path) -> str | None:
    """Write one network; returns why there is no ONNX model, if there is none."""
    from matloop.search_spaces.networks.source import to_source

    content = store.load_bytes(trial.artifacts["weights"])
    try:
        scales = _notes(content).get("scales")
    except (ValueError, AttributeError, RecursionError, MemoryError) as error:
        text = f"the weights of trial {trial.id} are no network that matloop has trained: {error}"
        raise MatloopError(f"{text}; name another study with --study") from error
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "network.safetensors").write_bytes(content)
    (folder / "network.py").write_text(to_source(trial.point), encoding="utf-8")
    record: dict[str, Any] = {
        "study": trial.study,
        "trial": trial.id,
        "values": trial.values,
        "info": trial.info,
        "genome": trial.point,
        "scales": scales,
    }
    (folder / "trial.json").write_text(json.dumps(record, indent=2, default=str), encoding="utf-8")
    try:
        from matloop.search_spaces.networks.onnx import to_onnx

        model = to_onnx(trial.point, _weights(content), scales)
    except MatloopError as error:
        (folder / "network.onnx").unlink(missing_ok=True)
        return str(error)
    (folder / "network.onnx").write_bytes(model)
    return None


def _notes(content: bytes) -> dict[str, Any]:
    """What the training driver noted in a safetensors file's header."""
    header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
    notes: dict[str, Any] = json.loads(header.get("__metadata__", {}).get("matloop", "{}"))
    return notes


def _weights(content: bytes) -> dict[str, Any]:
    from safetensors.numpy import load

    return dict(load(content))
