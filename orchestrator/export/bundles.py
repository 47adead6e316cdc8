"""A campaign's networks as a bundle: one folder that predicts new inputs, on machines without campaign or data."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from matloop.orchestrator.composition.rebuilding import driver_for
from matloop.orchestrator.errors import MatloopError
from matloop.orchestrator.export.networks import leading, ranked, trained_trial, weights_of
from matloop.orchestrator.export.trials import config
from matloop.orchestrator.ledger.artifacts import ArtifactStore
from matloop.orchestrator.ledger.file import quoted
from matloop.orchestrator.ledger.history import History
from matloop.orchestrator.trial import Trial

if TYPE_CHECKING:
    from matloop.bundles.making import Trained
    from matloop.drivers.training.material import Material

PACKAGES = ("matloop", "torch", "numpy", "scipy", "scikit-learn", "pymatgen", "safetensors")
"""Whose versions are noted."""

_LISTED = 20  # files of data whose hashes are noted one by one


def export(
    history: History,
    store: ArtifactStore,
    folder: Path,
    study: str | None = None,
    trial: int | None = None,
    ensemble: str | None = None,
    *,
    now: float,
) -> dict[str, Any]:
    """Write a bundle of the best network, of one trial's, or of several networks that answer together.

    Args:
        history: of the campaign.
        store: of its artifacts.
        folder: made by this; must not be there yet.
        study: which; None where only one trained networks.
        trial: id of the trial whose network it is to be.
        ensemble: "front", for the Pareto front, or how many of the best networks.
        now: Unix seconds.

    Returns:
        The card.

    Raises:
        MatloopError: there is no such network, its driver does not say what it was trained on, or the data are missing
            or others than it was trained on.
    """
    from matloop.bundles.making import make

    chosen = _chosen(history, study, trial, ensemble)
    material = _material(chosen[0], history, store)
    about = {
        "campaign": config(history).get("name", "campaign"),
        "study": chosen[0].study,
        "made": datetime.fromtimestamp(now, UTC).isoformat(timespec="seconds"),
        **_data(material),
        "versions": _versions(),
    }
    return make(folder, [_trained(one, store) for one in chosen], material, about)


def told(card: Mapping[str, Any], folder: Path) -> str:
    """What was written, and how good it is, in a few lines."""
    from matloop.bundles.intervals import unpromised

    trials = ", ".join(str(one["trial"]) for one in card["members"])
    first, score = next(iter(card["test"]["scores"].items()))
    lines = [f"bundle of trial{'s' * (len(card['members']) > 1)} {trials} ({card['study']}) → {folder}"]
    lines.append(f"test {first}: {score['value']:.4g} ({score['lower']:.4g} to {score['upper']:.4g})")
    lines += [
        f"90 % {'sets' if name == 'set' else f'intervals of {name}'} hold {100 * one['share']:.1f} % of the test rows"
        for name, one in card["test"]["coverage"].items()
    ]
    if warning := unpromised(card["calibration"]):
        lines.append(warning)
    return "\n".join([*lines, f"next: matloop predict {quoted(folder)} NEW"])


def _material(trial: Trial, history: History, store: ArtifactStore) -> Material:
    """What a trial's network was trained on.

    Raises:
        MatloopError: its driver does not say, or the data are missing or have changed.
    """
    from matloop.drivers.training.material import Providing

    driver, changed = driver_for(trial, history, store)
    if not isinstance(driver, Providing):
        raise MatloopError(
            f"expected the driver `training` to make a bundle, got {type(driver).__name__}, which does not say what "
            "its networks were trained on; `matloop export --network FOLDER` writes the network alone"
        )
    if changed:
        raise MatloopError(
            f"expected the files that trial {trial.id} was trained with, but they have changed since: "
            f"{', '.join(changed)}; put them back as they were, or train again"
        )
    try:
        return driver.material()
    except (ValueError, OSError) as error:
        raise MatloopError(f"the data are needed to make a bundle: {error}") from error


def _data(material: Material) -> dict[str, Any]:
    """Data and split, for the card."""
    parts, groups = material.parts, material.data.groups
    return {
        "data": {
            "rows": len(material.data),
            "left_out": len(material.data.problems),
            "problems": list(material.data.problems[:_LISTED]),
            **_hashes(material.source.files()),
        },
        "split": {
            "options": dict(material.split),
            "groups": None if groups is None else len({*groups.tolist()}),
            **{name: len(getattr(parts, name)) for name in ("train", "validation", "test")},
        },
    }


def _chosen(history: History, study: str | None, trial: int | None, ensemble: str | None) -> list[Trial]:
    if trial is not None:
        if ensemble is not None:
            raise MatloopError("expected --trial or --ensemble, got both; give one of them")
        return [trained_trial(history, trial, study)]
    if ensemble is None:
        return [leading(history, study)[0]]
    if ensemble == "front":
        members = list(leading(history, study)[1])
        if not members:
            raise MatloopError("expected several objectives for a front, got one; give a number, --ensemble 5")
        return members
    if not ensemble.isdecimal() or int(ensemble) < 2:
        raise MatloopError(f"expected --ensemble front, or a number of networks from 2, got {ensemble!r}")
    found = ranked(history, study)[: int(ensemble)]
    if len(found) < int(ensemble):
        raise MatloopError(f"expected {ensemble} trained networks, got {len(found)}; give a smaller number")
    return found


def _trained(trial: Trial, store: ArtifactStore) -> Trained:
    from matloop.bundles.making import Trained
    from matloop.drivers.training.predictions import Predictions

    state, notes = weights_of(trial, store)
    recorded = None
    if "test_predictions" in trial.artifacts:
        try:
            recorded = Predictions.from_bytes(store.load_bytes(trial.artifacts["test_predictions"]))
        except ValueError as error:
            raise MatloopError(f"trial {trial.id} was recorded in another way: {error}; train it again") from error
    artifact = trial.artifacts["weights"]
    told = {"values": trial.values, "info": _small(trial.info), "seed": trial.seed, "artifact": artifact}
    return Trained(trial.id, state, notes, recorded, told)


def _small(info: Mapping[str, Any]) -> dict[str, Any]:
    """What was noted of a training, without its curves."""
    return {name: value for name, value in info.items() if name != "history"}


def _hashes(paths: Sequence[Path]) -> dict[str, Any]:
    """SHA-256 of all files together, by content and order, and of each where they are few."""
    whole, each = hashlib.sha256(), {}
    for path in paths:
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        whole.update(digest.encode())
        each[path.name] = digest
    return {"sha256": whole.hexdigest(), "files": each if len(paths) <= _LISTED else len(paths)}


def _versions() -> dict[str, str]:
    found = {}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found
