"""A campaign's networks as files: weights, torch source and ONNX, with the scales inside."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from matloop.orchestrator.errors import MatloopError
from matloop.orchestrator.export.studies import having
from matloop.orchestrator.export.trials import objectives_of
from matloop.orchestrator.ledger.artifacts import ArtifactStore
from matloop.orchestrator.ledger.history import History
from matloop.orchestrator.trial import Trial, best, comparable, goals, losses, rankable


@dataclass(frozen=True, slots=True)
class Exported:
    """What was written.

    Attributes:
        best: trial of the network in the folder itself.
        front: trials of those in `front/trial-N`; empty with one objective, or where a trial was named.
        without_onnx: why there is no `network.onnx`, None where there is.
    """

    best: Trial
    front: tuple[Trial, ...]
    without_onnx: str | None


def export(
    history: History, store: ArtifactStore, folder: Path, study: str | None = None, trial: int | None = None
) -> Exported:
    """Write the best trained network, and with several objectives also all of the Pareto front in `front/trial-N`.

    Each is `network.safetensors`, `network.py` (torch source), `network.onnx` and `trial.json`. All of them take and
    give values in their own units: the scales are buffers of the network.

    Args:
        history: of the campaign.
        store: of its artifacts.
        folder: made if need be.
        study: which; None where only one trained networks.
        trial: id of the one trial to write instead of the best.

    Raises:
        MatloopError: no study trained networks, several did and none was named, or the trial has no network.
    """
    if trial is not None:
        chosen = trained_trial(history, trial, study)
        return Exported(chosen, (), _write(chosen, store, folder))
    found, members = leading(history, study)
    missing = _write(found, store, folder)
    for member in members:
        _write(member, store, folder / "front" / f"trial-{member.id}")
    return Exported(found, tuple(members), missing)


def leading(history: History, study: str | None) -> tuple[Trial, Sequence[Trial]]:
    """The best trained network, and the Pareto front if there are several goals.

    Raises:
        MatloopError: no study trained networks, or several did and none was named.
    """
    objectives, trained = _trained(history, study)
    found = best(trained, objectives[0], objectives)
    if found is None:
        raise MatloopError("no network has been measured yet, or none keeps the limits; see `matloop status`")
    if len(goals(objectives)) == 1:
        return found, ()
    from matloop.orchestrator.report.statistics import front

    ranked = rankable(trained, objectives)
    return found, [ranked[i] for i in front(losses(ranked, goals(objectives)))]


def ranked(history: History, study: str | None) -> list[Trial]:
    """Trained networks, the best by the first objective first.

    Raises:
        MatloopError: as `leading`.
    """
    objectives, trained = _trained(history, study)
    candidates = rankable(trained, objectives)
    order = losses(candidates, objectives[:1])[:, 0].argsort(kind="stable")
    return [candidates[i] for i in order]


def trained_trial(history: History, number: int, study: str | None = None) -> Trial:
    """The trial of that id, which trained a network.

    Raises:
        MatloopError: there is no such trial, or it left no weights.
    """
    known = {t.id: t for t in history.trials if t.study and study in (None, t.study)}
    if number not in known:
        where = f" of study {study!r}" if study else ""
        raise MatloopError(f"expected the id of a trial{where}, got {number}; `matloop export --csv FILE` lists them")
    found = known[number]
    if "weights" not in found.artifacts:
        with_weights = [t.id for t in known.values() if "weights" in t.artifacts]
        listed = ", ".join(map(str, with_weights[:20])) + (", …" if len(with_weights) > 20 else "")
        raise MatloopError(f"trial {number} left no network; those of trials {listed or 'none'} can be written")
    return found


def weights_of(trial: Trial, store: ArtifactStore) -> tuple[dict[str, Any], dict[str, Any]]:
    """State dict of a trial's network, without scales, and the notes with its genome and scales.

    Raises:
        MatloopError: the artifact is something else, or the network a reference.
    """
    from matloop.search_spaces.networks import weights

    try:
        state, notes = weights.unpack(store.load_bytes(trial.artifacts["weights"]))
    except ValueError as error:
        text = f"the weights of trial {trial.id} are no network that matloop has trained: {error}"
        raise MatloopError(f"{text}; name another study with --study") from error
    found = {"genome": dict(trial.point), **notes}  # the point of a winner trained anew is more than its genome
    if "factory" in found["genome"]:
        raise MatloopError(
            f"trial {trial.id} trained what {found['genome']['factory']} makes, a reference; only networks that were "
            "searched can be written"
        )
    return state, found


def _trained(history: History, study: str | None) -> tuple[Any, list[Trial]]:
    """Objectives of the study, and its answered trials of full fidelity that left weights."""
    name = _study(history, study)
    answered = comparable(history.of(name))
    return objectives_of(history, name), [t for t in answered if "weights" in t.artifacts and t.values is not None]


def _study(history: History, study: str | None) -> str:
    """The study that trained networks."""
    with_weights, candidates = having(history, ("weights",), study)
    if not with_weights:
        raise MatloopError("no trial has trained a network yet; `matloop status` shows how far the campaign is")
    if len(candidates) != 1 or candidates[0] not in with_weights:
        got = ", ".join(with_weights)
        raise MatloopError(f"expected one study that trained networks, got {got}; name one with --study")
    return candidates[0]


def _write(trial: Trial, store: ArtifactStore, folder: Path) -> str | None:
    """Write one network; returns why there is no ONNX model, if there is none."""
    from matloop.search_spaces.networks.files import write

    state, notes = weights_of(trial, store)
    missing = write(folder, state, notes)
    record: dict[str, Any] = {
        "study": trial.study,
        "trial": trial.id,
        "values": trial.values,
        "info": trial.info,
        "genome": notes["genome"],
        "scales": notes.get("scales") or None,
    }
    (folder / "trial.json").write_text(json.dumps(record, indent=2, default=str), encoding="utf-8")
    return missing
