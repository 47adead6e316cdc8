"""Light absorbed by a film, averaged over six wavelengths, of structures that are like Gaussian fields; and one run."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from matloop.drivers.optics.driver import Optics
from matloop.orchestrator.errors import SpaceExhausted
from matloop.orchestrator.protocols import Space, Strategy, wants_gradient
from matloop.orchestrator.randomness import derive
from matloop.orchestrator.strategies.confirmation import Confirmation
from matloop.orchestrator.strategies.design.likeness import Likeness
from matloop.orchestrator.trial import Objective, Trial, in_full
from matloop.surrogates.generator.fields import two_phase_fields

SIDE, LENGTH = 32, 4.0
WAVELENGTHS = (450.0, 500.0, 550.0, 600.0, 650.0, 700.0)
ORDER, MORE_ORDERS = 3, 2
BUDGET = 100.0
"""Calls of the driver; a value with its gradient counts as many as the driver says, 1.5."""

FIELD = {"kind": "field", "size": SIDE, "length": LENGTH}
ABSORPTION = Objective("absorption", "maximise")
CHECKED = f"absorption_at_order_{ORDER + MORE_ORDERS}"
BEST = 5
"""Structures of a run that are measured again, two orders higher."""


def driver(generator: Any, *, single: bool = False, check_orders: int = 0) -> Optics:
    """The physics, of structures of a generator; of one wavelength, 500 nm, for development."""
    wavelengths = [500.0] if single else list(WAVELENGTHS)
    return Optics(generator=generator, order=ORDER, check_orders=check_orders, wavelength_nm=wavelengths)


def random_fields(n: int, *keys: int | str) -> npt.NDArray[np.uint8]:
    """(n, SIDE, SIDE) Gaussian fields cut at zero."""
    return two_phase_fields(n, (SIDE, SIDE), LENGTH, derive("fields", *keys)).astype(np.uint8)


def likeness() -> Likeness:
    """Limits that structures have to keep to count: those of 95 % of Gaussian fields each."""
    return Likeness(random_fields(2000, "limits"))


class Store:
    """Artifacts of one run, in memory."""

    def __init__(self) -> None:
        self._kept: dict[str, npt.NDArray[Any]] = {}

    def save(self, content: npt.NDArray[Any]) -> str:
        """Its name."""
        name = str(len(self._kept))
        self._kept[name] = content
        return name

    def load(self, name: str) -> npt.NDArray[Any]:
        """Read back."""
        return self._kept[name]


@dataclass
class Run:
    """What came of one method and seed.

    Attributes:
        costs: spent after each measurement, calls.
        values: absorption of each; NaN of steps through films that do not exist.
        inside: whether each keeps all limits.
        best: the structures that count, best first, rows of 0 and 1 as text; at most `BEST`.
        order_3, higher: absorption of these, at order 3 and two orders higher.
        asking_s: processor seconds of all asks; longest_ask_s: of the longest.
    """

    costs: list[float] = field(default_factory=list)
    values: list[float] = field(default_factory=list)
    inside: list[bool] = field(default_factory=list)
    best: list[list[str]] = field(default_factory=list)
    order_3: list[float] = field(default_factory=list)
    higher: list[float] = field(default_factory=list)
    asking_s: float = 0.0
    longest_ask_s: float = 0.0

    def as_json(self) -> dict[str, Any]:
        """JSON-able."""
        return asdict(self)

    def top(self, *, limited: bool = True) -> float:
        """Best absorption, of structures that keep all limits, or of any."""
        pairs = zip(self.values, self.inside, strict=True)
        return max((v for v, inside in pairs if not np.isnan(v) and (inside or not limited)), default=np.nan)


def run(
    make: Callable[[Any, int], tuple[Space, Strategy]],
    generator: Any,
    seed: int,
    *,
    budget: float = BUDGET,
    single: bool = False,
    limited: bool = True,
    confirmed: bool = True,
) -> Run:
    """Ask, measure and tell until the next measurement would exceed the budget.

    Args:
        make: of the artifacts and a seed: space and strategy.
        generator: that renders the space's points; None for densities.
        seed: of everything.
        budget: calls.
        single: one wavelength.
        limited: whether only structures that keep the limits count.
        confirmed: whether the best are measured again, two orders higher.
    """
    store, physics, limits = Store(), driver(generator or "grf32", single=single), likeness()
    space, strategy = make(store, seed)
    found, spent, trials, pictures = Run(), 0.0, [], {}
    while True:
        begun = time.process_time()
        try:
            (proposal,) = strategy.ask(1, (), derive("ask", seed, len(trials)))
        except SpaceExhausted:
            break
        took = time.process_time() - begun
        found.asking_s, found.longest_ask_s = found.asking_s + took, max(found.longest_ask_s, took)
        cost = physics.gradient_cost if wants_gradient(proposal) else 1.0
        if spent + cost > budget + 1e-9:
            break
        spent += cost
        trial = Trial(
            id=len(trials), study="design", number=len(trials), point=proposal.point, seed=0, ask=len(trials),
            prediction=proposal.prediction, reason=proposal.reason, parents=proposal.parents,
            fidelity=proposal.fidelity, extra=proposal.extra,
        )  # fmt: skip
        measured = physics.value_and_gradient(trial) if wants_gradient(trial) else physics(trial)
        stored = {name: store.save(np.asarray(content)) for name, content in measured.artifacts.items()}
        done = replace(
            trial, state="answered", values=dict(measured.values), artifacts=stored, cost=measured.cost,
            info=measured.info, started_at=0.0, finished_at=1.0,
        )  # fmt: skip
        strategy.tell(done)
        trials.append(done)
        structure = np.asarray(measured.artifacts["density" if "density" in trial.point else "microstructure"])
        exists = in_full(done)
        inside = exists and bool(limits.holds(structure[None])[0])
        found.costs.append(spent)
        found.values.append(done.values["absorption"] if exists else np.nan)
        found.inside.append(inside)
        if exists and (inside or not limited):
            pictures[done.id] = structure
    if confirmed:
        _confirm(found, [t for t in trials if t.id in pictures], pictures, space, generator, single)
    return found


def _confirm(
    found: Run, trials: list[Trial], pictures: dict[int, Any], space: Space, generator: Any, single: bool
) -> None:
    """Measure the best structures again, and two orders higher."""
    first: dict[bytes, Trial] = {}
    for trial in sorted(trials, key=lambda t: -(t.values or {})["absorption"]):
        first.setdefault(pictures[trial.id].tobytes(), trial)  # not one structure five times
    again = Confirmation(space=space, objectives=(ABSORPTION,), data=tuple(first.values()))
    physics = driver(generator or "grf32", single=single, check_orders=MORE_ORDERS)
    for proposal in again.ask(BEST, (), derive("confirm")):
        measured = physics(Trial(id=0, study="check", number=0, point=proposal.point, seed=0))
        found.order_3.append(measured.values["absorption"])
        found.higher.append(measured.values[CHECKED])
        found.best.append(["".join(map(str, row)) for row in pictures[proposal.parents[0]].astype(int).tolist()])
