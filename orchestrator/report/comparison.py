"""Did active learning choose better than chance? The same surrogate, trained on either, tested on the same rest.

For each of a few seeds, k trials of the baseline are drawn at random. One surrogate is trained on the k trials that
active learning chose first, an equal one on the k random ones; both are tested on the baseline's other trials.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from matloop.orchestrator.ledger.artifacts import ArtifactStore
from matloop.orchestrator.ledger.history import History
from matloop.orchestrator.randomness import derive, derive_seed
from matloop.orchestrator.report.study import Study
from matloop.orchestrator.trial import Trial, complete

SEEDS = 3
LEAST = 8
CACHE = "comparison.json"


@dataclass(frozen=True, slots=True)
class Comparison:
    """Mean absolute errors on held-out trials of the baseline, in the objective's unit.

    Attributes:
        chosen: by seed, of the surrogate trained on chosen trials.
        random: by seed, of the surrogate trained on random trials.
        k: trials that each was trained on.
        tested: trials that each was tested on.
    """

    chosen: tuple[float, ...]
    random: tuple[float, ...]
    k: int
    tested: int

    @property
    def gain(self) -> float:
        """By how much the chosen ones' error is lower; positive if active learning won."""
        return float(np.mean(self.random) - np.mean(self.chosen))

    @property
    def clear(self) -> bool:
        """Whether the difference exceeds twice its standard error over the seeds."""
        difference = np.subtract(self.random, self.chosen)
        error = np.std(difference, ddof=1) / np.sqrt(len(difference)) if len(difference) > 1 else np.inf
        return bool(abs(np.mean(difference)) > 2 * error)


def size(study: Study, baseline: Study) -> int:
    """Number of trials to train on: all that were chosen, but a third of the baseline is kept for the test."""
    return min(len(whole(study)), 2 * len(whole(baseline, study)) // 3)


def whole(study: Study, of: Study | None = None) -> list[Trial]:
    """Answered trials with values of all the objectives, of those of another study if that is given."""
    return [t for t in study.answered if complete(t, (of or study).objectives)]


def compare(directory: Path, history: History, study: Study, baseline: Study) -> Comparison | None:
    """Fit and test, or return what an earlier call found for the same trials; None if there are too few.

    The result is kept in the campaign's folder, under a digest of everything that it depends on.
    """
    k = size(study, baseline)
    if k < LEAST:
        return None
    digest, cache = key(history, study, baseline), Path(directory) / CACHE
    known = _cached(cache)
    if study.name not in known or known[study.name]["key"] != digest:
        found = _fit_and_test(Path(directory), history, study, baseline, k)
        known[study.name] = {"key": digest, "result": asdict(found)}
        with contextlib.suppress(OSError):  # a read-only folder: fitted again next time
            cache.write_text(json.dumps(known, indent=1), encoding="utf-8")
    result = known[study.name]["result"]
    return Comparison(tuple(result["chosen"]), tuple(result["random"]), result["k"], result["tested"])


def _fit_and_test(directory: Path, history: History, study: Study, baseline: Study, k: int) -> Comparison:
    from matloop.orchestrator.composition.rebuilding import surrogate_for

    config: Any = history.sessions[-1].config
    surrogate, space = surrogate_for(study.name, config, history, ArtifactStore(directory / "artifacts"))
    chosen, pool = whole(study)[:k], whole(baseline, study)
    errors: dict[str, list[float]] = {"chosen": [], "random": []}
    for seed in range(SEEDS):
        order = derive("comparison", study.name, seed).permutation(len(pool))
        rest = [pool[i] for i in order[k:]]
        for name, trials in (("chosen", chosen), ("random", [pool[i] for i in order[:k]])):
            fit_seed = derive_seed("comparison", study.name, seed, "fit")
            errors[name].append(_error(surrogate, space, study, trials, rest, fit_seed))
    return Comparison(tuple(errors["chosen"]), tuple(errors["random"]), k, len(pool) - k)


def _error(surrogate: Any, space: Any, study: Study, train: Sequence[Trial], test: Sequence[Trial], seed: int) -> float:
    """Mean absolute error of the first objective."""
    import torch

    def tensors(trials: Sequence[Trial]) -> tuple[torch.Tensor, torch.Tensor]:
        x = torch.as_tensor(np.asarray(space.encode([t.point for t in trials])), dtype=torch.float64)
        return x, torch.as_tensor(_targets(study, trials), dtype=torch.float64)

    x, y = tensors(test)
    model = surrogate.fit(*tensors(train), seed=seed)
    with torch.no_grad():
        mean = model.posterior(x).mean
    return float((mean[:, 0] - y[:, 0]).abs().mean())


def _targets(study: Study, trials: Sequence[Trial]) -> npt.NDArray[np.float64]:
    return np.array([[(t.values or {})[o.name] for o in study.objectives] for t in trials], dtype=np.float64)


def key(history: History, study: Study, baseline: Study) -> str:
    """Digest of what the result depends on: the studies' configuration, both studies' trials, and how many finished."""
    trials = [(t.id, dict(t.values or {})) for s in (study, baseline) for t in s.answered]
    config = history.sessions[-1].config.get("studies")
    content = json.dumps([SEEDS, config, trials, len(history.finished)], sort_keys=True, default=str)
    return hashlib.blake2b(content.encode(), digest_size=16).hexdigest()


def _cached(path: Path) -> dict[str, Any]:
    try:
        known = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return known if isinstance(known, dict) else {}
