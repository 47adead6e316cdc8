"""Another driver's values under fabrication errors: of the structure as designed, grown and shrunk."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt

from matloop.drivers.structures import Kind, check_generator, structure_of
from matloop.drivers.wrapped import answer, checked, cost_of, cost_of_call, found_beforehand, passed_on
from matloop.orchestrator.errors import ConfigError, InvalidPoint
from matloop.orchestrator.protocols import Space, gradient_of, measured_by, offers_gradients
from matloop.orchestrator.trial import Measurement, Objective, Trial

if TYPE_CHECKING:
    import torch

CASES = ("as_designed", "dilated", "eroded")


class Robust:
    """Measures a structure as designed, with phase 1 dilated, and with it eroded, and reports the mean or the worst.

    Each objective's value is that mean or worst value; the three that it is made of are recorded beside it, as
    `absorption_as_designed`, `absorption_dilated` and `absorption_eroded`. What else the driver measures is in `info`,
    under `values` of each case. Each case has a folder of its own in the trial's. An answer costs what the three cost.

    Its gradients are by the density of each pixel as designed. Dilation passes the derivative of a pixel on to the
    pixel within the error that has the largest density, or to all of them alike if several have it; erosion to that
    with the smallest.

    Args:
        driver: any that measures `{"microstructure": …}`, and `{"density": …}` where such points come.
        error_pixels: how far edges move, pixels, >= 1.
        error_nm: the same as a length, instead, where the driver knows the period.
        aggregate: mean or worst; the worst of an objective is that farthest from its direction.
        objectives: those of the study.

    Attributes:
        generator, period_nm, thickness_nm: the driver's, where it has them.

    Raises:
        ConfigError: not one of error_pixels and error_nm is given, or it is out of range.
    """

    def __init__(
        self,
        *,
        driver: Any,
        error_pixels: float | None = None,
        error_nm: float | None = None,
        aggregate: Literal["mean", "worst"] = "mean",
        objectives: tuple[Objective, ...] = (),
    ) -> None:
        checked(driver, "driver")
        if (error_pixels is None) == (error_nm is None):
            raise ConfigError("expected one of error_pixels and error_nm, got both or none; give one")
        if error_pixels is not None and not 1 <= error_pixels < math.inf:
            raise ConfigError(f"expected error_pixels >= 1, got {error_pixels}", at="error_pixels")
        if error_nm is not None and not 0 < error_nm < math.inf:
            raise ConfigError(f"expected error_nm > 0, got {error_nm}", at="error_nm")
        if error_nm is not None and not hasattr(driver, "period_nm"):
            raise ConfigError("expected a driver that knows its period for error_nm; give error_pixels", at="error_nm")
        if aggregate not in ("mean", "worst"):
            raise ConfigError(f"expected aggregate: mean or worst, got {aggregate!r}", at="aggregate")
        self.driver = driver
        self.generator: Any = "grf32"
        passed_on(self, [driver])
        self.error_pixels, self.error_nm = error_pixels, error_nm
        self.aggregate: Literal["mean", "worst"] = aggregate
        self.objectives: tuple[Objective, ...] = tuple(driver.objectives) or tuple(objectives)

    @property
    def repeatable(self) -> bool:
        """If the driver is."""
        return bool(self.driver.repeatable)

    @property
    def measures(self) -> Mapping[str, Objective]:
        """See `Offering`."""
        return measured_by(self.driver)

    @property
    def call_cost(self) -> float:
        """Of a value, in calls of drivers that wrap no other."""
        return len(CASES) * cost_of_call(self.driver)

    @property
    def gradient_cost(self) -> float:
        """See `Differentiable`; 0 where the driver has none."""
        return self.driver.gradient_cost if offers_gradients(self.driver) else 0.0

    def check(self, space: Space) -> Sequence[str]:
        """What the driver has to say beforehand.

        Raises:
            Refused: what it refuses.
        """
        return [*found_beforehand(self.driver, space, "driver"), *check_generator(space, self.generator)]

    def __call__(self, trial: Trial) -> Measurement:
        """Measure; the microstructure as designed is kept as an artifact, with the driver's other artifacts for it."""
        return self._measure(trial, gradient=False)

    def value_and_gradient(self, trial: Trial) -> Measurement:
        """See `Differentiable`."""
        return self._measure(trial, gradient=True)

    def _measure(self, trial: Trial, *, gradient: bool) -> Measurement:
        import torch

        kind, structure = structure_of(trial.point, self.generator, dimensions=(2, 3))
        with torch.set_grad_enabled(gradient):
            density = torch.tensor(structure, dtype=torch.float64, requires_grad=gradient)
            made = self._cases(density)
            found = {
                case: answer(self.driver, _with(trial, kind, pixels), self.objectives, folder=case, gradient=gradient)
                for case, pixels in made.items()
            }
        measured = [o for o in self.objectives if all(o.name in of.values for of in found.values())]
        values: dict[str, float] = {}
        noise: dict[str, float] = {}
        slopes: dict[str, npt.NDArray[np.float64]] = {}
        for objective in measured:  # the others are another driver's, if this one does not say its own
            name, key = objective.name, gradient_of(objective.name)
            each = {case: float(of.values[name]) for case, of in found.items()}
            weights = self._weights(objective, each)
            values |= {name: sum(weights[c] * each[c] for c in each), **{f"{name}_{c}": v for c, v in each.items()}}
            if all(name in of.noise for of in found.values()):
                noise[name] = math.hypot(*(weights[case] * of.noise[name] for case, of in found.items()))
            if gradient:
                slopes[key] = _passed_on(made, {c: w * np.asarray(found[c].artifacts[key]) for c, w in weights.items()})
        own = {name: of for name, of in found["as_designed"].artifacts.items() if name not in slopes}
        return Measurement(
            values=values,
            noise=noise,
            info={case: said for case, of in found.items() if (said := _details(of, {o.name for o in measured}))},
            artifacts={**own, kind: structure, **slopes},
            cost=sum(cost_of(self.driver, of) for of in found.values()),
        )

    def _cases(self, density: torch.Tensor) -> dict[str, torch.Tensor]:
        from matloop.drivers.dilation import dilated, eroded, offsets

        radii = self._radii(tuple(density.shape))
        if any(2 * r > n > 1 for r, n in zip(radii, density.shape, strict=True)):
            raise InvalidPoint(
                f"expected an error of at most half the structure's side, got one of {max(radii):g} pixels for the "
                f"shape {tuple(density.shape)}; give a smaller one"
            )
        steps = offsets(radii)
        if len(steps) == 1:
            raise InvalidPoint(
                f"expected pixels of at most error_nm, {self.error_nm:g} nm, got larger ones, which such an error does "
                "not change; give finer structures or a larger error"
            )
        return dict(zip(CASES, (density, dilated(density, steps), eroded(density, steps)), strict=True))

    def _radii(self, shape: tuple[int, ...]) -> list[float]:
        """Of the error along each axis of an array, pixels."""
        if self.error_pixels is not None:
            return [self.error_pixels] * len(shape)
        period = np.broadcast_to(self.driver.period_nm, len(shape))[::-1]  # x, the last axis, first
        assert self.error_nm is not None
        return [self.error_nm * n / float(p) for n, p in zip(shape, period, strict=True)]

    def _weights(self, objective: Objective, each: Mapping[str, float]) -> dict[str, float]:
        if self.aggregate == "mean":
            return dict.fromkeys(each, 1 / len(each))
        worst = max(each, key=lambda case: objective.loss(each[case]))
        return {case: float(case == worst) for case in each}


def _details(found: Measurement, reported: set[str]) -> dict[str, Any]:
    """Of one case: its own, and the values that are not reported elsewhere."""
    others = {name: value for name, value in found.values.items() if name not in reported}
    return {**found.info, **({"values": others} if others else {})}


def _passed_on(
    made: Mapping[str, torch.Tensor], slopes: Mapping[str, npt.NDArray[np.float64]]
) -> npt.NDArray[np.float64]:
    """The derivative by the density as designed, of derivatives by what was made of it."""
    import torch

    outputs, inputs = [made[case] for case in slopes], [torch.tensor(slope) for slope in slopes.values()]
    found: npt.NDArray[np.float64]
    found = torch.autograd.grad(outputs, made["as_designed"], inputs, retain_graph=True)[0].numpy()
    return found


def _with(trial: Trial, kind: Kind, pixels: torch.Tensor) -> Trial:
    """The trial of another structure."""
    values = pixels.detach().numpy()
    return replace(trial, point={kind: (values.astype(np.uint8) if kind == "microstructure" else values).tolist()})
