"""The RCWA of the optics driver beside torcwa and, where they are installed, grcwa and fmmax.

A film of two phases (silica and roughly silicon at 500 nm) of 32 x 32 random pixels, 200 nm thick, in air, light from
the normal. Processor time a structure in both polarisations, on one thread; solvers take turns of four structures, one
after another as in a campaign; medians over rounds. Gradients are those of one polarisation, which is harder for
symmetric structures. Their error is that of products with random directions against finite differences of fourth order,
over what such a product usually is.

Run: python benchmarks/rcwa.py [--orders 3 5] [--repeats 9] [--quick]
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from rich.console import Console
from rich.table import Table

from matloop.drivers.optics.rcwa import Film, Setup
from matloop.orchestrator.randomness import derive
from matloop.surrogates.generator.fields import two_phase_fields

SIDE, PERIOD, THICKNESS, WAVELENGTH = 32, 400.0, 200.0, 500.0
FIRST, SECOND = 1.46 + 0j, 4.3 + 0.07j
PEERS = ("torcwa", "grcwa", "fmmax")
DIRECTIONS, STEP = 5, 1e-4
TURN = 4
"""Structures that are solved one after another before another solver is timed."""

Solver = Callable[[torch.Tensor], Any]
"""Mean absorptance of a density (H, W); a tensor that can be differentiated, or a number."""


def setup(order: int, index: complex = SECOND) -> Setup:
    """The film."""
    return Setup(
        order=order,
        wavelengths_nm=(WAVELENGTH,),
        indices=((FIRST,), (index,)),
        thickness_nm=THICKNESS,
        period_nm=(PERIOD, PERIOD),
    )


BOTH = (0, 1)
"""The electric field along x, and along y."""


def ours(order: int, axes: Sequence[int] = BOTH) -> Solver:
    """The optics driver's."""
    film = Film(setup(order))
    return lambda density: film(density).absorbed[0, axes].mean()


def torcwa(order: int, axes: Sequence[int] = BOTH, *, stable: bool = False) -> Solver:
    """As its documentation has it; `stable` is how it differentiates eigenvectors, and does not matter for values."""
    import torcwa as package

    incident = ((2 * order + 1) ** 2) // 2
    kx, ky = np.meshgrid(*[np.arange(-order, order + 1) * WAVELENGTH / PERIOD] * 2, indexing="ij")
    kz = np.sqrt(1 + 0j - kx**2 - ky**2).real.ravel()
    goes = torch.from_numpy(kz > 0)
    kx, ky, kz = (torch.from_numpy(k.ravel())[goes] for k in (kx, ky, kz))

    def solve(density: torch.Tensor) -> torch.Tensor:
        simulation = package.rcwa(
            freq=1 / WAVELENGTH,
            order=[order, order],
            L=[PERIOD, PERIOD],
            dtype=torch.complex128,
            device=torch.device("cpu"),
            stable_eig_grad=stable,
        )
        simulation.set_incident_angle(0.0, 0.0)
        simulation.add_layer(THICKNESS, (FIRST**2 + (SECOND**2 - FIRST**2) * density.to(torch.complex128)).T)
        simulation.solve_global_smatrix()
        powers = []
        for column in (incident + axis * len(goes) for axis in axes):
            for scattered in simulation.S[:2]:
                ex, ey = (half[goes] for half in scattered[:, column].chunk(2))
                along = (kx * ex + ky * ey).abs() ** 2 / kz
                powers.append((kz * (ex.abs() ** 2 + ey.abs() ** 2) + along).sum())
        return 1 - torch.stack(powers).sum() / len(axes)

    return solve


def grcwa(order: int) -> Solver:
    """Square truncation, as the others have."""
    import grcwa as package

    def solve(density: torch.Tensor) -> float:
        solver = package.obj((2 * order + 1) ** 2, [PERIOD, 0], [0, PERIOD], 1 / WAVELENGTH, 0.0, 0.0, 0)
        solver.Add_LayerUniform(1.0, 1.0)
        solver.Add_LayerGrid(THICKNESS, SIDE, SIDE)
        solver.Add_LayerUniform(1.0, 1.0)
        solver.Init_Setup(Gmethod=1)
        solver.GridLayer_geteps((FIRST**2 + (SECOND**2 - FIRST**2) * density.numpy().T).flatten())
        total = 0.0
        for axis in (0, 1):
            solver.MakeExcitationPlanewave(1 - axis, 0.0, axis, 0.0, order=0)
            total += sum(solver.RT_Solve(normalize=1)) / 2
        return 1 - total

    return solve


def fmmax(order: int) -> Solver:
    """Its FFT formulation, compiled."""
    import fmmax as package
    import jax
    import jax.numpy as jnp

    jax.config.update("jax_enable_x64", True)
    lattice = package.LatticeVectors(u=package.X * PERIOD, v=package.Y * PERIOD)
    terms = (2 * order + 1) ** 2
    expansion = package.generate_expansion(lattice, terms, truncation=package.Truncation.PARALLELOGRAMIC)
    common = {
        "wavelength": jnp.array(WAVELENGTH),
        "in_plane_wavevector": jnp.zeros(2),
        "primitive_lattice_vectors": lattice,
        "expansion": expansion,
        "formulation": package.Formulation.FFT,
    }

    @jax.jit
    def absorbed(permittivity: Any) -> Any:
        air = jnp.array([[1.0 + 0j]])
        layers = [package.eigensolve_isotropic_media(permittivity=p, **common) for p in (air, permittivity, air)]
        matrix = package.stack_s_matrix(layers, [jnp.array(0.0), jnp.array(THICKNESS), jnp.array(0.0)])
        incident = jnp.zeros((2 * terms, 2), dtype=complex).at[0, 0].set(1.0).at[terms, 1].set(1.0)
        none = jnp.zeros_like(incident)
        arriving, _ = package.amplitude_poynting_flux(incident, none, layers[0])
        _, back = package.amplitude_poynting_flux(incident, matrix.s21 @ incident, layers[0])
        on, _ = package.amplitude_poynting_flux(matrix.s11 @ incident, none, layers[-1])
        return jnp.mean(1 + back.sum(axis=0) / arriving.sum(axis=0) - on.sum(axis=0) / arriving.sum(axis=0))

    return lambda density: float(absorbed(jnp.array(FIRST**2 + (SECOND**2 - FIRST**2) * density.numpy().T)))


MADE: Mapping[str, Callable[[int], Solver]] = {"torcwa": torcwa, "grcwa": grcwa, "fmmax": fmmax}


def structures() -> dict[str, torch.Tensor]:
    """On which gradients are tried."""
    y, x = np.mgrid[:SIDE, :SIDE] - (SIDE - 1) / 2
    found: dict[str, npt.NDArray[Any]] = {
        "random": two_phase_fields(1, (SIDE, SIDE), 4.0, derive("rcwa"))[0],
        "mirror": np.hypot(y, x) < 9,
        "uniform": np.full((SIDE, SIDE), 0.5),
        "grating": x < 3,
    }
    return {name: torch.tensor(np.asarray(image, dtype=np.float64)) for name, image in found.items()}


def gradient(solver: Solver, density: torch.Tensor) -> torch.Tensor:
    """Of the absorptance by each pixel's density."""
    at = density.clone().requires_grad_()
    (found,) = torch.autograd.grad(solver(at), at)
    return found


def gradient_error(solver: Solver, density: torch.Tensor) -> float | None:
    """See the top of the file; None of a gradient that is not finite."""
    found, rng, worst = gradient(solver, density), derive("rcwa directions"), 0.0
    if not bool(torch.isfinite(found).all()):
        return None
    for _ in range(DIRECTIONS):
        direction = torch.from_numpy(rng.standard_normal((SIDE, SIDE)))
        with torch.no_grad():
            a, b, c, d = (float(solver(density + k * STEP * direction)) for k in (-2, -1, 1, 2))
        error = float((found * direction).sum()) - (a - 8 * b + 8 * c - d) / (12 * STEP)
        worst = max(worst, abs(error) / float(found.norm()))
    return worst


def fresnel() -> float:
    """Largest error in the absorptance of a uniform film, by the Airy sum."""
    r = (1 - SECOND) / (1 + SECOND)
    phase = np.exp(2j * np.pi * THICKNESS / WAVELENGTH * SECOND)
    below = 1 - r**2 * phase**2
    expected = 1 - abs(r * (1 - phase**2) / below) ** 2 - abs((1 - r**2) * phase / below) ** 2
    return abs(float(ours(3)(torch.ones(SIDE, SIDE, dtype=torch.float64))) - expected)


@dataclass(frozen=True)
class Times:
    """Processor seconds by name, of every round."""

    rounds: Mapping[str, npt.NDArray[np.float64]]

    def median(self, name: str) -> float:
        return float(np.median(self.rounds[name]))

    def ratio(self, name: str, other: str) -> float:
        """Median over rounds, in each of which both were timed."""
        return float(np.median(self.rounds[name] / self.rounds[other]))


def times(order: int, peers: list[str], repeats: int) -> Times:
    """In turns, each first once to warm up."""
    solver = ours(order)
    fields = torch.tensor(two_phase_fields(TURN, (SIDE, SIDE), 4.0, derive("rcwa times")), dtype=torch.float64)

    def value(solve: Solver) -> Callable[[torch.Tensor], object]:
        def once(density: torch.Tensor) -> object:
            with torch.no_grad():
                return solve(density)

        return once

    calls: dict[str, Callable[[torch.Tensor], object]] = {
        "matloop": value(solver),
        "matloop with gradient": lambda density: gradient(solver, density),
    }
    calls |= {name: value(MADE[name](order)) for name in peers}
    found: dict[str, list[float]] = {name: [] for name in calls}
    for turn in range(repeats + 1):
        for name in list(calls)[turn % len(calls) :] + list(calls)[: turn % len(calls)]:
            began = time.process_time()
            for field in fields:
                calls[name](field)
            if turn:
                found[name].append((time.process_time() - began) / TURN)
    return Times({name: np.array(seconds) for name, seconds in found.items()})


def agreement(order: int, density: torch.Tensor, peers: list[str]) -> dict[str, float]:
    """Largest difference in absorptance from each, and from the exact one of a uniform film."""
    with torch.no_grad():
        here = float(ours(order)(density))
        return {name: abs(float(MADE[name](order)(density)) - here) for name in peers} | {"fresnel": fresnel()}


def shown(error: float | None) -> str:
    """In the table."""
    return "not finite" if error is None else f"{error:.1e}"


def main() -> None:
    """Print the tables and one line of JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--orders", type=int, nargs="+", default=[3, 5])
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--quick", action="store_true", help="order 2, three repeats")
    options = parser.parse_args()
    orders, repeats = ([2], 3) if options.quick else (options.orders, options.repeats)
    torch.set_num_threads(1)
    warnings.simplefilter("ignore", DeprecationWarning)  # of jax, by fmmax
    peers = [name for name in PEERS if importlib.util.find_spec(name)]
    tried = structures()
    console = Console(width=120)

    table = Table(title="processor seconds a structure")
    for column in ("order", "matloop", "with gradient", *peers):
        table.add_column(column)
    measured = {order: times(order, peers, repeats) for order in orders}
    for order, found in measured.items():
        table.add_row(str(order), *(f"{found.median(name):.4f}" for name in found.rounds))
    console.print(table)

    errors = {name: gradient_error(ours(orders[0], (0,)), image) for name, image in tried.items()}
    table = Table(title=f"error of the gradient, order {orders[0]}")
    for column in ("", *errors):
        table.add_column(column)
    table.add_row("matloop", *map(shown, errors.values()))
    figures: dict[str, Any] = {
        "gradient_cost": max(found.ratio("matloop with gradient", "matloop") for found in measured.values()),
        "gradient_error": errors,
        "agreement": agreement(orders[0], tried["random"], peers),
        "orders": orders,
        "seconds": {str(order): {n: found.median(n) for n in found.rounds} for order, found in measured.items()},
    }
    if "torcwa" in peers:
        figures["forward_share_of_torcwa"] = max(found.ratio("matloop", "torcwa") for found in measured.values())
        for stable in (True, False):
            theirs = {name: gradient_error(torcwa(orders[0], (0,), stable=stable), tried[name]) for name in errors}
            figures[f"gradient_error_of_torcwa{'_stable' if stable else ''}"] = theirs
            table.add_row(f"torcwa{', stable' if stable else ''}", *map(shown, theirs.values()))
    else:
        print("torcwa is not installed here; pip install torcwa")
    console.print(table)
    prefix = "quick_" if options.quick else ""
    print(json.dumps({f"{prefix}{name}": value for name, value in figures.items()}))


if __name__ == "__main__":
    main()
