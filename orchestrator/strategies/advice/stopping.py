"""When to stop: what is the chance that something better remains, and what would the next experiments bring?

Both are read off functions drawn jointly from the model at the measured points and at candidates for the next ones. In
each function some measured point is truly the best; the probability is the share of functions in which a candidate
beats it by at least delta, the gain is how much the next q experiments beat it by on average. Noise is thereby taken
out: a lucky measurement is not a better material. With several objectives or a target range other things are gains, see
`goals.py`; the rest is the same.

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
from matloop.orchestrator.strategies.advice.goals import Goal
from matloop.orchestrator.strategies.advice.worth import Best, Score, Worth
from matloop.orchestrator.trial import Trial

if TYPE_CHECKING:
    from botorch.models.model import Model


MODELS = 32
"""Models with other hyperparameters, if the fitted one can draw them."""

DRAWS = 1024
"""Functions drawn (of an ensemble, all that it has); half of them choose, half judge."""

DRAWS_OF_MANY = 128
"""The same for three objectives and more, whose fronts are costly."""

MEASURED, CANDIDATES = 128, 320
"""Most points of each kind that functions are drawn at: those with the highest plausible values."""

RECORD_PRIOR = 10.0
"""Predictions that came true exactly as stated, which are added to the record where `spread` is read off it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outlook:
    """What there is still to be had.

    Attributes:
        probability_better: that an untried point is truly better than the truly best tried one by at least delta;
            for several objectives, that it enlarges the dominated hypervolume by that share; for a target range, that
            it lies within.
        delta: the least difference that counts, objective's unit; a share for several objectives, 1 for a range.
        expected_gain: by how much the best of the next q experiments is expected to be truly better than the best so
            far, objective's unit, >= 0; for several objectives, the share by which they enlarge the dominated
            hypervolume; for a target range, how many of them lie within.
        q: number of those experiments.
        expected_gain_per_cost: the same per unit of cost, at the mean cost of the trials so far.
        objective: its name, or "hypervolume", or "target".
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
    goal: Goal,
    known: torch.Tensor,
    candidates: torch.Tensor,
    answered: Sequence[Trial],
    works: torch.Tensor | None = None,
    spread: Sequence[float] = (),
    delta: float | None = None,
    q: int = 1,
    most: int = CANDIDATES,
    seed: int = 0,
) -> Outlook:
    """Look ahead.

    Args:
        model: of gains, i.e. of values with the sign that makes larger better; m outputs. If it has a method
            `hyperparameter_draws(count, seed)`, functions are drawn from the models that it returns.
        goal: what is sought.
        known: (n, d) float64, measured points, n >= 1.
        candidates: (c, d) float64, untried points; all of a finite space, else as many as are worth a look.
        answered: n trials with values, at the known points.
        works: (c,) float64 in [0, 1], probability that the experiment works at each candidate, and that its outcome
            counts; None if all will.
        spread: of each output, factor >= 1 on the deviation of each function from their mean, if the fitted model
            stands alone: by how much predictions made before the measurement missed more than they promised. None
            given is 1.
        delta: > 0, least gain that counts, in the goal's unit; None for what the goal takes for it.
        q: experiments to come, >= 1; fewer if there are fewer candidates.
        most: candidates, those that may be worth most, at which functions are drawn, >= 1.
        seed: of the draws.

    Raises:
        ValueError: delta or q is out of range.
    """
    if delta is None:
        delta = goal.least(model, known, answered)
    if not (delta > 0 and math.isfinite(delta)):
        raise ValueError(f"expected delta > 0 in the objective's unit, got {delta}")
    if q < 1:
        raise ValueError(f"expected q >= 1 experiments, got {q}")
    q = min(q, len(candidates))
    probability, gain, text = 0.0, 0.0, "every candidate was tried; nothing remains"
    if len(candidates):
        with torch_seed(seed), torch.no_grad():
            models = alternatives(model, seed)
            known = known[promising(model, known, MEASURED, goal.score)]
            kept = promising(model, candidates, most, goal.score)
            works = None if works is None else works[kept]
            values = draw(models, known, candidates[kept], spread if len(models) == 1 else (), works)
            worth = goal.worth(*values)
        probability = float((worth.gains().amax(dim=1) >= delta).double().mean())
        gain = gain_of_next(worth, len(values[0]), min(q, len(kept)))
        text = goal.text(probability, delta, gain, q)
    cost = sum(1.0 if t.cost is None else t.cost for t in answered) / max(1, len(answered))
    return Outlook(
        probability_better=probability,
        delta=delta,
        expected_gain=gain,
        q=q,
        expected_gain_per_cost=gain / (q * cost) if q and cost > 0 else 0.0,
        objective=goal.name,
        text=text,
    )


def alternatives(model: Model, seed: int) -> Sequence[Model]:
    """The models that the data allow: such as the fitted one can draw, else itself."""
    return model.hyperparameter_draws(MODELS, seed) if isinstance(model, DrawsModels) else [model]


def draw(
    models: Sequence[Model],
    known: torch.Tensor,
    candidates: torch.Tensor,
    spread: Sequence[float] = (),
    works: torch.Tensor | None = None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Functions of all models alike, in random order.

    Args:
        models: of m outputs each.
        known: (n, d) float64.
        candidates: (c, d) float64, c >= 1.
        spread: of each output, factor on the deviation of each function from the models' mean; none given is 1.
        works: (c,) probabilities that the experiment works. Neighbours work or fail together: in each function those
            candidates fail, and are worth -inf, whose probability is below a common random level.

    Returns:
        Of each function the values at known points, (s, n, m), and at candidates, (s, c, m), as gains in the
        objectives' units.
    """
    places, drawn, means = torch.cat([known, candidates]), [], []
    for model in models:
        posterior: Any = model.posterior(places)
        if isinstance(posterior, EnsemblePosterior):
            drawn.append(posterior.values)
        else:
            drawn.append(posterior.rsample(torch.Size([_count(posterior.mean.shape[-1]) // len(models)])))
        means.append(posterior.mean)
    centre = torch.stack(means).mean(dim=0)
    functions = torch.cat(drawn)
    factor = torch.tensor(list(spread) or [1.0], dtype=functions.dtype)
    functions = centre + factor * (functions[torch.randperm(len(functions))] - centre)
    others = functions[:, len(known) :]
    if works is not None:
        level = torch.rand(len(functions), 1, dtype=works.dtype)
        others = torch.where((level < works).unsqueeze(-1), others, -torch.inf)
    return functions[:, : len(known)], others


def _count(outputs: int) -> int:
    """Functions to be drawn: a front of three or more is worked out function by function."""
    return DRAWS if outputs < 3 else DRAWS_OF_MANY


def promising(model: Model, x: torch.Tensor, most: int, score: Score = Best.score) -> torch.Tensor:
    """Indices, in order, of the `most` of (n, d) points with the highest score."""
    if len(x) <= most:
        return torch.arange(len(x))
    parts: list[Any] = [model.posterior(part.unsqueeze(1)) for part in torch.split(x, 512)]
    found = torch.cat([score(p.mean[:, 0], p.variance[:, 0].clamp_min(1e-300).sqrt()) for p in parts])
    return found.topk(most).indices.sort().values


def gain_of_next(worth: Worth, functions: int, q: int) -> float:
    """Expected gain of the greedy choice of q candidates, over functions that had no part in the choice.

    Args:
        worth: of c candidates in s functions.
        functions: s.
        q: 1 <= q <= c.
    """
    half = functions // 2
    total = 0.0
    for choosing, judging in ((slice(None, half), slice(half, None)), (slice(half, None), slice(None, half))):
        chooser, judge = worth.of(choosing), worth.of(judging)
        for _ in range(q):
            pick = int(chooser.gains().mean(dim=0).argmax())
            total += float(judge.gains()[:, pick].mean()) / 2
            chooser.take(pick)
            judge.take(pick)
    return total
