"""Microstructures worth looking at: the best, the typical, and where a model was most mistaken."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from matplotlib.image import imsave

from matloop.orchestrator.ledger.artifacts import ArtifactStore
from matloop.orchestrator.report import structures, text
from matloop.orchestrator.report.content import Gallery, Picture, Section
from matloop.orchestrator.report.sections import predictions
from matloop.orchestrator.report.study import Study
from matloop.orchestrator.trial import Objective, Trial

SHOWN = 4


def best(study: Study, objective: Objective, k: int = SHOWN) -> list[Trial]:
    """The k best trials that have an image, each image once."""
    pictured = [t for t in _pictured(study) if objective.name in (t.values or {})]
    return distinct(sorted(pictured, key=lambda t: objective.loss((t.values or {})[objective.name])), k)


def typical(study: Study, objective: Objective, k: int = SHOWN) -> list[Trial]:
    """The k trials with an image whose value is nearest the median."""
    pictured = [t for t in _pictured(study) if objective.name in (t.values or {})]
    values = np.array([(t.values or {})[objective.name] for t in pictured])
    if not pictured:
        return []
    order = np.argsort(np.abs(values - np.median(values)), kind="stable")
    return distinct([pictured[i] for i in order], k)


def surprising(study: Study, objective: Objective, k: int = SHOWN) -> list[Trial]:
    """The k trials with an image whose measurement was furthest from the prediction."""
    pairs = predictions.pairs(study, objective)
    error = dict(zip(pairs.ids, np.abs(pairs.measured - pairs.mean), strict=True))
    return distinct(sorted((t for t in _pictured(study) if t.id in error), key=lambda t: -error[t.id]), k)


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
        Gallery(heading, pictures(chosen, (objective,), store), caption),
        Gallery(
            "Typical" if common is study else f"Typical of “{common.name}”",
            pictures(typical(common, objective), (objective,), store),
            f"Those nearest {whose} median {word}, {text.value(objective, median)}. "
            "Each image shows 2 × 2 periods; the outlined corner is one.",
        ),
    ]
    shown = [gallery for gallery in shown if gallery.pictures]
    return Section("What they look like", tuple(shown)) if shown else None


def _pictured(study: Study) -> list[Trial]:
    return [t for t in study.answered if structures.kind_of(t)]


def distinct(trials: Sequence[Trial], k: int) -> list[Trial]:
    """The first k of trials with structures, each structure once."""
    found: dict[str, Trial] = {}
    for trial in trials:
        found.setdefault(trial.artifacts[structures.kind_of(trial) or ""], trial)
        if len(found) == k:
            break
    return list(found.values())


def pictures(trials: Sequence[Trial], objectives: Sequence[Objective], store: ArtifactStore) -> tuple[Picture, ...]:
    """Two by two periods of each structure that can be read, with what was measured, predicted and broken."""
    found = []
    for trial in trials:
        array = structures.load(store, trial)
        if array is None or trial.values is None:
            continue
        lines = [f"{text.name(o)} {text.measured(o, trial)}" for o in objectives]
        name = objectives[0].name
        if len(objectives) == 1 and trial.prediction and name in trial.prediction.mean:
            mean, std = trial.prediction.mean[name], trial.prediction.std.get(name, np.nan)
            lines.append(f"predicted {text.spread(mean, std)}")
        lines += structures.faults(trial)
        image = np.tile(structures.grey(array), (2, 2))
        found.append(Picture(data_uri(image), f"trial {trial.id}", tuple(lines)))
    return tuple(found)


def data_uri(image: npt.NDArray[np.uint8]) -> str:
    """PNG of an (H, W) image as a data URI."""
    buffer = io.BytesIO()
    imsave(buffer, image, cmap="gray", vmin=0, vmax=255, format="png", metadata={"Software": "matloop"})
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()
