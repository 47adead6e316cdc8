"""When to stop: what is the chance that something better remains, and what would the next experiments bring?

Both are read off functions drawn jointly from the model at the measured points and at candidates for the next ones. In
each function some measured point is truly the best; the probability is the share of functions in which a candidate
beats it by at least delta, the gain is how much the next q experiments beat it by on average. Noise is thereby taken
out: a lucky measurement is not a better material.

A model is asked about its own ignorance here. Its word is held against its record: if predictions made before the
measurement missed by more than they promised, the drawn functions are spread by as much. A single process takes its
length scales for certain as well; a model that can say what else the data allow (`hyperparameter_draws`) is asked for
several like itself instead, and functions are drawn from each. The experiments are chosen on one half of the functions
and judged on the other, so that the gain is not flattered by the choice.

References:
    Makarova et al., AutoML 2022: stopping when the gap that remains is below the noise.
    Wilson, NeurIPS 2024: stopping on the probability that the regret exceeds a tolerance, by sample paths.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import torch
from botorch.posteriors.ensemble import EnsemblePosterior

from matloop.orchestrator.protocols import DrawsModels
from matloop.orchestrator.randomness import torch_seed
from matloop.orchestrator.trial import Objective, Trial

if TYPE_CHECKING:
    from botorch.models.model import Model

MODELS = 32
"""Models with other hyperparameters, if the fitted one can draw them."""

DRAWS = 1024
"""Functions drawn (of an ensemble, all that it has); half of them choose, half judge."""

MEASURED, CANDIDATES = 128, 320
"""Most points of each kind that functions are drawn at: those with the highest plausible values."""

LEAST_CHANCE = 0.05
"""Smaller chances are not told apart in words: in `benchmarks/stopping.py` they came true more often than they said."""

RECORD_PRIOR = 10.0
"""Predictions that came true exactly as stated, which are added to the record where `spread` is read off it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outlook:
    """What there is still to be had.

    Attributes:
        probability_better: that an untried point is truly better than the truly best tried one by at least delta.
        delta: the least difference that counts, objective's unit.
        expected_gain: by how much the best of the next q experiments is expected to be truly better than the best so
            far, objective's unit, >= 0.
        q: number of those experiments.
        expected_gain_per_cost: the same per unit of cost, at the mean cost of the trials so far.
        objective: name.
        text: all of this in a sentence.
    """

    probability_better: float
    delta: float
    expected_gain: float
    q: int
    expected_gain_per_cost: float
    objective: str
    text: str

    def as_json(self) -> dict[str, Any]:
        """Plain values, by the names above."""
        return asdict(self)


def outlook(
    model: Model,
    *,
    known: torch.Tensor,
    candidates: torch.Tensor,
    answered: Sequence[Trial],
    objective: Objective,
    works: torch.Tensor | None = None,
    spread: float = 1.0,
    delta: float | None = None,
    q: int = 1,
    most: int = CANDIDATES,
    seed: int = 0,
) -> Outlook:
    """Look ahead.

    Args:
        model: of gains, i.e. of values with the sign that makes larger better; one output. If it has a method
            `hyperparameter_draws(count, seed)`, functions are drawn from the models that it returns.
        known: (n, d) float64, measured points, n >= 1.
        candidates: (c, d) float64, untried points; all of a finite space, else as many as are worth a look.
        answered: n trials with values, at the known points.
        objective: what is improved.
        works: (c,) float64 in [0, 1], probability that the experiment works at each candidate; None if all will.
        spread: factor >= 1 on the deviation of each function from their mean, if the fitted model stands alone: by how
            much predictions made before the measurement missed more than they promised.
        delta: > 0, objective's unit; None for the noise of a measurement, or 1 % of the range measured if that is more.
        q: experiments to come, >= 1; fewer if there are fewer candidates.
        most: candidates, those with the highest plausible values, at which functions are drawn, >= 1.
        seed: of the draws.

    Raises:
        ValueError: delta or q is out of range.
    """
    if delta is None:
        delta = least_difference(model, known, [(t.values or {})[objective.name] for t in answered])
    if not (delta > 0 and math.isfinite(delta)):
        raise ValueError(f"expected delta > 0 in the objective's unit, got {delta}")
    if q < 1:
        raise ValueError(f"expected q >= 1 experiments, got {q}")
    q = min(q, len(candidates))
    probability, gain = 0.0, 0.0
    if len(candidates):
        with torch_seed(seed), torch.no_grad():
            models = alternatives(model, seed)
            known = known[promising(model, known, MEASURED)]
            kept = promising(model, candidates, most)
            works = None if works is None else works[kept]
            best, others = draw(models, known, candidates[kept], spread if len(models) == 1 else 1.0, works)
        probability = float((others.amax(dim=1) >= best + delta).double().mean())
        gain = gain_of_next(best, others, q)
    cost = sum(1.0 if t.cost is None else t.cost for t in answered) / max(1, len(answered))
    return Outlook(
        probability_better=probability,
        delta=delta,
        expected_gain=gain,
        q=q,
        expected_gain_per_cost=gain / (q * cost) if q and cost > 0 else 0.0,
        objective=objective.name,
        text=describe(probability, delta, gain, q, objective),
    )


def least_difference(model: Model, known: torch.Tensor, values: Sequence[float]) -> float:
    """Standard deviation of a measurement around the truth, but at least 1 % of the range of the values."""
    with torch.no_grad():
        measured: Any = model.posterior(known[:1], observation_noise=True)
        function: Any = model.posterior(known[:1])
        noise = float((measured.variance - function.variance).clamp_min(0.0).sqrt().max())
    return max(noise, 0.01 * (max(values) - min(values)), 1e-12 * max(1.0, *(abs(v) for v in values)))


def alternatives(model: Model, seed: int) -> Sequence[Model]:
    """The models that the data allow: such as the fitted one can draw, else itself."""
    return model.hyperparameter_draws(MODELS, seed) if isinstance(model, DrawsModels) else [model]


def draw(
    models: Sequence[Model],
    known: torch.Tensor,
    candidates: torch.Tensor,
    spread: float = 1.0,
    works: torch.Tensor | None = None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Functions of all models alike, in random order.

    Args:
        models: of one output each.
        known: (n, d) float64.
        candidates: (c, d) float64, c >= 1.
        spread: factor on the deviation of each function from the models' mean.
        works: (c,) probabilities that the experiment works. Neighbours work or fail together: in each function those
            candidates fail, and are worth -inf, whose probability is below a common random level.

    Returns:
        Of each function the best value at known points, (s,), and its values at candidates, (s, c), both gains in the
        objective's unit.
    """
    places, drawn, means = torch.cat([known, candidates]), [], []
    for model in models:
        posterior: Any = model.posterior(places)
        if isinstance(posterior, EnsemblePosterior):
            drawn.append(posterior.values[..., 0])
        else:
            drawn.append(posterior.rsample(torch.Size([DRAWS // len(models)]))[..., 0])
        means.append(posterior.mean[:, 0])
    centre = torch.stack(means).mean(dim=0)
    functions = torch.cat(drawn)
    functions = centre + spread * (functions[torch.randperm(len(functions))] - centre)
    others = functions[:, len(known) :]
    if works is not None:
        level = torch.rand(len(functions), 1, dtype=works.dtype)
        others = torch.where(level < works, others, -torch.inf)
    return functions[:, : len(known)].amax(dim=1), others


def promising(model: Model, x: torch.Tensor, most: int) -> torch.Tensor:
    """Indices, in order, of the `most` of (n, d) points with the highest mean plus two standard deviations."""
    if len(x) <= most:
        return torch.arange(len(x))
    parts: list[Any] = [model.posterior(part.unsqueeze(1)) for part in torch.split(x, 512)]
    high = torch.cat([(p.mean + 2 * p.variance.sqrt())[:, 0, 0] for p in parts])
    return high.topk(most).indices.sort().values


def gain_of_next(best: torch.Tensor, others: torch.Tensor, q: int) -> float:
    """Expected gain of the greedy choice of q candidates, over functions that had no part in the choice.

    Args:
        best: (s,) best so far in each function.
        others: (s, c) values at candidates.
        q: 1 <= q <= c.
    """
    half = len(best) // 2
    total = 0.0
    for choosing, judging in ((slice(None, half), slice(half, None)), (slice(half, None), slice(None, half))):
        reached, judged = best[choosing].clone(), best[judging].clone()
        for _ in range(q):
            gains = (others[choosing] - reached[:, None]).clamp_min(0.0).mean(dim=0)
            pick = int(gains.argmax())
            reached = torch.maximum(reached, others[choosing, pick])
            judged = torch.maximum(judged, others[judging, pick])
        total += float((judged - best[judging]).mean()) / 2
    return total


def describe(probability: float, delta: float, gain: float, q: int, objective: Objective) -> str:
    """The outlook in a sentence."""
    unit = f" {objective.unit}" if objective.unit else ""
    if not q:
        return "every candidate was tried; nothing remains"
    chance = "over 99 %" if probability > 0.99 else f"{100 * probability:.0f} %"
    if probability < LEAST_CHANCE:
        chance = f"less than {100 * LEAST_CHANCE:.0f} %"
    experiments = "the next experiment is" if q == 1 else f"the next {q} experiments are"
    return (
        f"the chance that an untried point is better than the best by at least {delta:.2g}{unit} is {chance}; "
        f"{experiments} expected to gain {gain:.2g}{unit}"
    )
