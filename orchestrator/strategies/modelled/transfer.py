"""What strategies with a model make of the results of earlier campaigns."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from matloop.orchestrator.earlier import Earlier
from matloop.orchestrator.protocols import Surrogate
from matloop.orchestrator.strategies.modelled.scales import Scales
from matloop.orchestrator.trial import Objective, Point, Trial
from matloop.surrogates.transfer import Task, Transferred, TransferredModel

if TYPE_CHECKING:
    from botorch.models.model import Model

WITH_EARLIER = 4
"""Results before the model is asked, at most, where it knows an earlier campaign."""


def split(data: Sequence[Trial | Earlier]) -> tuple[list[Trial], list[Earlier]]:
    """Trials that are as good as the study's own, and other campaigns."""
    return [d for d in data if isinstance(d, Trial)], [d for d in data if isinstance(d, Earlier)]


def transferred(
    surrogate: Surrogate,
    earlier: Sequence[Earlier],
    encode: Callable[[Sequence[Point]], torch.Tensor],
    objectives: Sequence[Objective],
) -> Transferred:
    """The surrogate with what earlier campaigns measured: gains, or their logarithms where an objective asks for it."""
    tasks = []
    known = [replace(o, scale="linear") if o.scale == "auto" else o for o in objectives]
    for one in earlier:
        rows = [[-o.loss((t.values or {}).get(o.name, np.nan)) for o in objectives] for t in one.trials]
        x, gains = encode([t.point for t in one.trials]), torch.tensor(rows, dtype=torch.float64)
        tasks.append(Task(x, Scales.of(known, x, gains).units(gains)))
    return Transferred(surrogate, tasks)


def trust(model: Model, earlier: Sequence[Earlier], objectives: Sequence[Objective]) -> dict[str, Any]:
    """What is recorded with a proposal: by objective, the share of the model that goes by earlier campaigns."""
    parts = [part for part in model.modules() if isinstance(part, TransferredModel)]
    shares = [share for part in parts for share in part.trust]
    if not earlier or len(shares) != len(objectives):
        return {}
    return {"earlier": {o.name: share for o, share in zip(objectives, shares, strict=True)}}
