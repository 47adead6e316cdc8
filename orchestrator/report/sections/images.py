"""Microstructures worth looking at: the best, the typical, and where a model was most mistaken."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.image import imsave

from matloop.orchestrator.ledger.artifacts import ArtifactStore
from matloop.orchestrator.report import text
from matloop.orchestrator.report.content import Gallery, Picture, Section
from matloop.orchestrator.report.sections import predictions
from matloop.orchestrator.report.study import Study
from matloop.orchestrator.trial import Objective, Trial

ARTIFACT = "microstructure"
SHOWN = 4


def best(study: Study, objective: Objective, k: int = SHOWN) -> list[Trial]:
    """The k best trials that have an image, each image once."""
    pictured = [t for t in _pictured(study) if objective.name in (t.values or {})]
    return _distinct(sorted(pictured, key=lambda t: objective.loss((t.values or {})[objective.name])), k)


def typical(study: Study, objective: Objective, k: int = SHOWN) -> list[Trial]:
    """The k trials with an image whose value is nearest the median."""
    pictured = [t for t in _pictured(study) if objective.name in (t.values or {})]
    values = np.array([(t.values or {})[objective.name] for t in pictured])
    if not pictured:
        return []
    order = np.argsort(np.abs(values - np.median(values)), kind="stable")
    return _distinct([pictured[i] for i in order], k)


def surprising(study: Study, objective: Objective, k: int = SHOWN) -> list[Trial]:
    """The k trials with an image whose measurement was furthest from the prediction."""
    pairs = predictions.pairs(study, objective)
    error = dict(zip(pairs.ids, np.abs(pairs.measured - pairs.mean), strict=True))
    return _distinct(sorted((t for t in _pictured(study) if t.id in error), key=lambda t: -error[t.id]), k)


def section(study: Study, baseline: Study | None, store: ArtifactStore) -> Section | None:
    """Galleries; None if the study has no images that can be read. Typical ones are a baseline's, if there is one."""
    if not study.objectives or not _pictured(study) or not study.measured(study.objectives[0]):
        return None
    objective = study.objectives[0]
    word, common = text.name(objective), study
    if baseline and objective in baseline.objectives and _pictured(baseline) and baseline.measured(objective):
        common = baseline
    median = float(np.median(common.values(objective)))
    heading, chosen = "Best", best(study, objective)
    caption = f"The {study.noun[1]} with the best {word}, best first."
    if study.kind("strategy") == "active_learning" and (surprises := surprising(study, objective)):
        heading, chosen = "Most surprising", surprises
        caption = "Where the model’s prediction was furthest from the measurement."
    whose = "the study’s" if common is study else f"“{common.name}”’s"
    shown = [
        Gallery(heading, _pictures(chosen, objective, store), caption),
        Gallery(
            "Typical" if common is study else f"Typical of “{common.name}”",
            _pictures(typical(common, objective), objective, store),
            f"Those nearest {whose} median {word}, {text.value(objective, median)}. "
            "Each image shows 2 × 2 periods; the outlined corner is one.",
        ),
    ]
    shown = [gallery for gallery in shown if gallery.pictures]
    return Section("What they look like", tuple(shown)) if shown else None


def _pictured(study: Study) -> list[Trial]:
    return [t for t in study.answered if ARTIFACT in t.artifacts]


def _distinct(trials: Sequence[Trial], k: int) -> list[Trial]:
    found: dict[str, Trial] = {}
    for trial in trials:
        found.setdefault(trial.artifacts[ARTIFACT], trial)
        if len(found) == k:
            break
    return list(found.values())


def _pictures(trials: Sequence[Trial], objective: Objective, store: ArtifactStore) -> tuple[Picture, ...]:
    pictures = []
    for trial in trials:
        image = _load(store, trial.artifacts[ARTIFACT])
        if image is None or trial.values is None:
            continue
        lines = [f"{text.name(objective)} {text.measured(objective, trial)}"]
        if trial.prediction and objective.name in trial.prediction.mean:
            mean, std = trial.prediction.mean[objective.name], trial.prediction.std.get(objective.name, np.nan)
            lines.append(f"predicted {text.spread(mean, std)}")
        pictures.append(Picture(data_uri(np.tile(image, (2, 2))), f"trial {trial.id}", tuple(lines)))
    return tuple(pictures)


def _load(store: ArtifactStore, name: str) -> npt.NDArray[np.uint8] | None:
    """Greyscale image, or None if the file is gone or holds something else."""
    try:
        array: npt.NDArray[Any] = np.squeeze(store.load(name))
    except (OSError, ValueError):
        return None
    if array.ndim != 2 or array.dtype.kind not in "uif" or not array.size:
        return None
    if array.dtype != np.uint8 or array.max() <= 1:
        array = 255 * np.clip(np.nan_to_num(array), 0, 1)
    return array.astype(np.uint8)


def data_uri(image: npt.NDArray[np.uint8]) -> str:
    """PNG of an (H, W) image as a data URI."""
    buffer = io.BytesIO()
    imsave(buffer, image, cmap="gray", vmin=0, vmax=255, format="png", metadata={"Software": "matloop"})
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()
