"""Acquisition functions over any BoTorch model: what BoTorch has for Gaussian posteriors, and for sample functions.

For one objective and nothing pending, what there is in closed form is used (`analytic.py`). An ensemble posterior is a
set of s functions. Resampling them, as BoTorch's own sampler does, only adds noise, so
here each is used once; and since a pending point has a known value under each function, the improvement over it can
be computed once instead of evaluating the network there in every step of the optimiser.

Every function here maximises and sees utilities: larger is better, and they are divided by the spread of what was
measured, so that results do not depend on units. Randomness comes from torch's generator.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from botorch.acquisition.acquisition import AcquisitionFunction
from botorch.acquisition.logei import qLogExpectedImprovement, qLogNoisyExpectedImprovement
from botorch.acquisition.multi_objective.logei import qLogNoisyExpectedHypervolumeImprovement
from botorch.acquisition.multi_objective.objective import GenericMCMultiOutputObjective
from botorch.acquisition.objective import GenericMCObjective
from botorch.models.ensemble import EnsembleModel
from botorch.models.model import Model
from botorch.posteriors.ensemble import EnsemblePosterior
from botorch.posteriors.posterior import Posterior
from botorch.sampling.base import MCSampler
from botorch.sampling.normal import SobolQMCNormalSampler
from botorch.sampling.pathwise import draw_matheron_paths
from botorch.utils.multi_objective.hypervolume import infer_reference_point
from botorch.utils.multi_objective.pareto import is_non_dominated
from botorch.utils.safe_math import logmeanexp
from botorch.utils.transforms import t_batch_mode_transform

from matloop.orchestrator.errors import ConfigError
from matloop.orchestrator.protocols import DrawsFunctions, Finite, Space
from matloop.orchestrator.strategies.modelled.analytic import Bound, Improvement, InRange, log_improvement
from matloop.orchestrator.strategies.modelled.covariance import unexplained
from matloop.orchestrator.trial import Objective

KINDS = ("auto", "log_ei", "log_nei", "log_nehvi", "ucb", "thompson", "target_range")

DRAWS = 128
"""Samples of a Gaussian posterior."""

SMOOTHING = 0.03
"""Least standard deviation around a sample function, in spreads: a few functions must do for a density."""


@dataclass(frozen=True, slots=True)
class Utility:
    """Gains (values with the sign that makes larger better), scaled so that one is a typical difference.

    Attributes:
        centre: (m,) float64, mean of the measured gains.
        spread: (m,) float64, their standard deviation, > 0.
    """

    centre: torch.Tensor
    spread: torch.Tensor

    @classmethod
    def of(cls, y: torch.Tensor) -> Utility:
        """Utility after measuring gains y: (n, m) float64, NaN where one was not; each was at least once."""
        known = [column[column.isfinite()] for column in y.T]
        centre = torch.stack([column.mean() for column in known])
        spread = torch.stack([column.std(correction=0) for column in known])
        flat = spread <= 1e-12 * (1 + centre.abs())
        return cls(centre, torch.where(flat, torch.ones_like(spread), spread))

    def __call__(self, y: torch.Tensor, X: torch.Tensor | None = None) -> torch.Tensor:
        """(..., m) gains -> (..., m) utilities."""
        return (y - self.centre) / self.spread

    def single(self, y: torch.Tensor, X: torch.Tensor | None = None) -> torch.Tensor:
        """(..., 1) gains -> (...) utilities of the only objective."""
        return self(y)[..., 0]


class AllFunctions(MCSampler):
    """Samples of an ensemble posterior: each function once, in order."""

    def __init__(self, functions: int) -> None:
        super().__init__(torch.Size([functions]), seed=0)

    def forward(self, posterior: Posterior) -> torch.Tensor:
        """(b) x s x q x m -> s x (b) x q x m."""
        assert isinstance(posterior, EnsemblePosterior)
        return posterior.values.movedim(-3, 0)

    def _update_base_samples(self, posterior: Posterior, base_sampler: MCSampler) -> None:
        """Nothing to update: there are no base samples."""


def _functions(model: Model, x: torch.Tensor) -> torch.Tensor:
    """(b) x s x q x m: values of an ensemble's functions."""
    posterior = model.posterior(x)
    assert isinstance(posterior, EnsemblePosterior)
    return posterior.values


class FunctionImprovement(AcquisitionFunction):
    """Log of the expected improvement of one measurement over what is known, for an ensemble of functions.

    A measurement is Gaussian around one of the functions, all equally likely: what the functions leave unexplained
    may turn out well, too. For q points in sequence this is the increment of the joint improvement: with t_j the
    best that function j has at pending points and so far, the mean over j of E[max(f_j(x) + e - t_j, 0)].
    """

    def __init__(self, model: Model, utility: Utility, thresholds: torch.Tensor, width: float) -> None:
        """Set it up.

        Args:
            model: with an ensemble posterior of s functions.
            utility: of the only objective.
            thresholds: (s,) or (1,) float64, what each function must exceed, as utility.
            width: standard deviation of a measurement around its function, as utility.
        """
        super().__init__(model=model)
        self.utility = utility
        self.thresholds = thresholds
        self.width = max(width, SMOOTHING)

    @t_batch_mode_transform(expected_q=1)  # type: ignore[arg-type]
    def forward(self, X: torch.Tensor) -> torch.Tensor:
        """b x 1 x d -> (b,)."""
        values = self.utility.single(_functions(self.model, X))[..., 0]  # (b, s)
        return logmeanexp(log_improvement((values - self.thresholds) / self.width), dim=-1) + math.log(self.width)


class OneFunction(AcquisitionFunction):
    """Thompson sampling: the value of a single function drawn from the model."""

    def __init__(self, model: Model, utility: Utility) -> None:
        super().__init__(model=model)
        self.utility = utility
        self.index = int(torch.randint(2**31, ()))
        self.path: Any = None
        if isinstance(model, DrawsFunctions):
            self.path = model.draw_function()
        elif not isinstance(model, EnsembleModel):
            self.path = draw_matheron_paths(model, torch.Size([1]))

    @t_batch_mode_transform(expected_q=1)  # type: ignore[arg-type]
    def forward(self, X: torch.Tensor) -> torch.Tensor:
        """b x 1 x d -> (b,)."""
        if self.path is not None:
            return self.utility.single(self.path(X[:, 0]).reshape(-1, 1))
        values = _functions(self.model, X)
        return self.utility.single(values[:, self.index % values.shape[1], 0])


def acquisition(
    kind: str,
    model: Model,
    utility: Utility,
    x: torch.Tensor,
    y: torch.Tensor,
    pending: torch.Tensor,
    beta: float,
    interval: torch.Tensor | None = None,
) -> AcquisitionFunction:
    """Build the acquisition function for one more point.

    Args:
        kind: log_ei, log_nei, log_nehvi, ucb, thompson or target_range; several objectives make log_ei and log_nei
            the noisy expected hypervolume improvement (Daulton, Balandat & Bakshy, NeurIPS 2021) in its log form.
        model: of the gains.
        utility: of the gains.
        x: (n, d) float64, measured points.
        y: (n, m) float64, their gains.
        pending: (p, d) float64, points being measured or already chosen; p may be 0.
        beta: weight of the variance in ucb.
        interval: (2, m) lowest and highest gain wanted, for target_range; see `gain_interval`.
    """
    waiting = pending if len(pending) else None
    if kind == "target_range":
        assert interval is not None
        return InRange(model, low=interval[0], high=interval[1], pending=waiting)
    if kind == "ucb":
        return Bound(model, width=math.sqrt(beta), centre=utility.centre, spread=utility.spread, pending=waiting)
    ensemble = isinstance(model, EnsembleModel)
    with torch.no_grad():
        functions = len(_functions(model, x[:1])) if ensemble else 0
    sampler = AllFunctions(functions) if ensemble else SobolQMCNormalSampler(torch.Size([DRAWS]))
    if y.shape[1] > 1:
        known = utility(y)
        return qLogNoisyExpectedHypervolumeImprovement(
            model=model,
            ref_point=infer_reference_point(known[is_non_dominated(known)]),
            X_baseline=x,
            sampler=sampler,
            objective=GenericMCMultiOutputObjective(utility),
            X_pending=waiting,
            prune_baseline=True,
        )
    objective = GenericMCObjective(utility.single)
    if kind == "thompson":
        return OneFunction(model, utility)
    if ensemble:
        width = float(unexplained(model, x[:1]).sqrt() / utility.spread) if kind == "log_ei" else 0.0
        return FunctionImprovement(model, utility, _thresholds(kind, model, utility, x, y, pending), width)
    if kind == "log_nei":
        return qLogNoisyExpectedImprovement(
            model, x, sampler=sampler, objective=objective, X_pending=waiting, prune_baseline=True
        )
    best = utility.single(y).max()
    if waiting is None:
        return Improvement(model, best=y.max(), spread=utility.spread)
    return qLogExpectedImprovement(model, best, sampler=sampler, objective=objective, X_pending=waiting)


def suitable(
    kind: str,
    space: Space,
    objectives: tuple[Objective, ...],
    target: dict[str, tuple[float, float]] | None,
    cost: str | None,
    within_limits: bool = False,
) -> str:
    """The acquisition function that is meant, if the options of `bayesian` fit together.

    Args:
        kind: as asked for.
        space: that is searched.
        objectives: that are sought.
        target: see `Bayesian`.
        cost: see `Bayesian`.
        within_limits: whether outcomes have limits to keep.

    Raises:
        ConfigError: they do not.
    """
    if kind not in KINDS:
        raise ConfigError(f"bayesian: expected acquisition to be one of {list(KINDS)}, got {kind!r}", at="acquisition")
    if kind == "auto":
        several = "log_nehvi" if len(objectives) > 1 else "log_ei"
        greedy = isinstance(space, Finite) and several == "log_ei" and cost is None and not within_limits
        kind = "target_range" if target is not None else "ucb" if greedy else several
    if (kind == "target_range") != (target is not None):
        raise ConfigError(
            f"bayesian: expected a target with target_range and with nothing else, got {kind!r} and {target}",
            at="target",
        )
    for name, (low, high) in (target or {}).items():
        if name not in [o.name for o in objectives]:
            raise ConfigError(
                f"bayesian: unknown objective {name!r} in target; known are {[o.name for o in objectives]}",
                at=("target", name),
            )
        if not low < high:
            raise ConfigError(
                f"bayesian: expected target {name} from lower to higher, got {[low, high]}", at=("target", name)
            )
    if target is not None and not target:
        raise ConfigError(
            "bayesian: expected target: at least one objective with its lowest and highest value, got none", at="target"
        )
    if len(objectives) > 1 and kind in ("ucb", "thompson"):
        raise ConfigError(
            f"bayesian: expected one objective for acquisition {kind!r}, got {len(objectives)}; "
            "use log_nehvi, which trades several off by hypervolume",
            at="acquisition",
        )
    if cost is not None and kind in ("ucb", "thompson"):
        raise ConfigError(
            f"bayesian: expected acquisition log_ei, log_nei or target_range with a cost, got {kind!r}",
            at="acquisition",
        )
    if len(objectives) > 1 and kind in ("log_ei", "log_nei"):
        return "log_nehvi"
    if len(objectives) == 1 and kind == "log_nehvi":
        raise ConfigError(
            "bayesian: expected several objectives for acquisition 'log_nehvi', got one; use log_nei", at="acquisition"
        )
    return kind


def gain_interval(target: Mapping[str, Sequence[float]], objectives: Sequence[Objective]) -> torch.Tensor:
    """(2, m) lowest and highest gain of values within the target; an objective that has none is unbounded.

    Args:
        target: lowest and highest value by name of objective, in its unit.
        objectives: m.
    """
    rows = []
    for o in objectives:
        low, high = target.get(o.name, (-math.inf, math.inf))
        rows.append(sorted([-o.loss(float(low)), -o.loss(float(high))]))
    return torch.tensor(rows, dtype=torch.float64).T


def _thresholds(
    kind: str, model: Model, utility: Utility, x: torch.Tensor, y: torch.Tensor, pending: torch.Tensor
) -> torch.Tensor:
    """(s,): the best that each function has where it is known or pending; for log_ei the best measured value."""
    places = torch.cat([x, pending]) if kind == "log_nei" else pending
    thresholds = torch.full((1,), -math.inf, dtype=torch.float64)
    if len(places):
        with torch.no_grad():
            thresholds = utility.single(_functions(model, places)).amax(dim=-1)  # (s,)
    return thresholds if kind == "log_nei" else thresholds.clamp_min(utility.single(y).max())
