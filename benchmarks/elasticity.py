"""The solver of the driver `elasticity` beside muSpectre, assembled finite elements and published fields.

Two isotropic phases, both of Poisson's ratio 0.3, contrast 50 where nothing else is said. muSpectre (where it is
installed) is given the same gradient, its `averaged_upwind`. Fully integrated finite elements, and such of which the
change of volume is integrated at the centre, as many programs do, are other discretisations on the same pixels.
With --data, the strains of volumes of 21³ elements that the authors of a network for localisation published
(`localisation/mve_samples.npz`) are compared with those of the latter and with ours.

Run: python benchmarks/elasticity.py [--data FOLDER] [--repeats 9] [--quick]
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from homogenisation.elements import Elements
from rich.console import Console
from rich.table import Table

from matloop.drivers.elasticity.driver import Elasticity
from matloop.drivers.elasticity.homogenisation import effective_stiffness
from matloop.drivers.elasticity.phases import Phases
from matloop.drivers.elasticity.solver import Accuracy, strains, unit_strains
from matloop.orchestrator.protocols import gradient_of
from matloop.orchestrator.randomness import derive
from matloop.orchestrator.trial import Objective, Trial
from matloop.surrogates.generator.fields import two_phase_fields

Array = npt.NDArray[Any]

CONTRAST, POISSON, STEP = 50.0, 0.3, 1e-4
PHASES = Phases(youngs_moduli=(1.0, CONTRAST), poissons_ratios=(POISSON, POISSON))
FINE = Accuracy(tolerance=1e-8)


def field(n: int, length: float, key: int = 0) -> Array:
    """A cut Gaussian field of n x n pixels."""
    return two_phase_fields(1, (n, n), length, derive("elasticity", key))[0].astype(np.uint8)


def volume(n: int) -> Array:
    """n³ voxels, half of them stiff."""
    noise = np.fft.fftn(derive("volume", n).standard_normal((n, n, n)))
    squares: Any = sum(np.square(axis) for axis in np.ix_(*[np.fft.fftfreq(n)] * 3))
    smooth = np.fft.ifftn(noise * np.exp(-40 * squares)).real
    return (smooth > np.median(smooth)).astype(np.uint8)


def ours(structure: Array, phases: Phases = PHASES) -> Array:
    """Stiffness in Voigt's notation."""
    found: Array = effective_stiffness(phases.body(torch.tensor(structure)), FINE).numpy()
    return found


def muspectre(structure: Array) -> Array | None:
    """c_ii of the normal components, by muSpectre; None where it is not installed."""
    if importlib.util.find_spec("muSpectre") is None:
        return None
    import muSpectre
    from muFFT import Stencils2D, Stencils3D

    d, shape = structure.ndim, list(structure.shape)
    stencils = (Stencils2D if d == 2 else Stencils3D).averaged_upwind
    formulation = muSpectre.Formulation.small_strain
    cell = muSpectre.Cell(shape, [float(n) for n in shape], formulation, stencils, [1.0])
    made = getattr(muSpectre.material, f"MaterialLinearElastic1_{d}d").make
    materials = [made(cell, name, e, POISSON) for name, e in (("soft", 1.0), ("stiff", CONTRAST))]
    for number, pixel in cell.pixels.enumerate():
        materials[int(structure[tuple(pixel)])].add_pixel(number)
    cell.initialise()
    solver = muSpectre.solvers.KrylovSolverCG(cell, 1e-9, 5000, muSpectre.Verbosity.Silent)
    found = []
    for axis in range(d):
        load = np.zeros((d, d))
        load[axis, axis] = 1.0
        result = muSpectre.solvers.newton_cg(cell, load, solver, 1e-7, 1e-9, muSpectre.Verbosity.Silent)
        stress = np.array(result.stress).reshape((d, d, *shape), order="F")
        found.append(stress[axis, axis].mean())
    return np.array(found[::-1])  # its first axis is our last direction


def laminate_error() -> float:
    """Largest relative error over contrasts and directions of layers; exact: means of moduli, harmonic across."""
    worst = 0.0
    for contrast in (1e-3, 2.0, CONTRAST, 1e4):
        phases = Phases(youngs_moduli=(1.0, contrast), poissons_ratios=(POISSON, 0.1))
        layers = np.array([0, 1, 1, 0, 0, 0, 1, 0], dtype=np.uint8)
        across = np.array(phases.bulk_moduli(2)) + np.array(phases.shear_moduli)
        share = [1 - layers.mean(), layers.mean()]
        expected = 1 / np.dot(share, 1 / across), 1 / np.dot(share, 1 / np.array(phases.shear_moduli))
        for at, structure in ((0, np.tile(layers, (6, 1))), (1, np.tile(layers, (6, 1)).T)):
            found = ours(structure, phases)
            worst = max(worst, abs(found[at, at] / expected[0] - 1), abs(found[2, 2] / expected[1] - 1))
    return float(worst)


def gradient_errors() -> dict[str, float]:
    """By structure: error of products with random directions against finite differences, over their usual size."""
    corner = derive("corner").uniform(0.1, 0.9, (16, 16))
    half = np.hstack([corner, corner[:, ::-1]])
    structures = {
        "random": derive("random").uniform(0.1, 0.9, (32, 32)),
        "mirror": np.vstack([half, half[::-1]]),
        "uniform": np.full((32, 32), 0.5),
        "laminate": np.tile(np.repeat([0.2, 0.8], 16), (32, 1)),
        "volume": derive("grey volume").uniform(0.1, 0.9, (8, 8, 8)),
    }
    driver = Elasticity(tolerance=1e-9, objectives=(Objective("c11"),))

    def value(density: Array) -> float:
        return float(driver(asked({"density": density.tolist()})).values["c11"])

    errors = {}
    for name, density in structures.items():
        gradient = driver.value_and_gradient(asked({"density": density.tolist()})).artifacts[gradient_of("c11")]
        off = []
        for key in range(3):
            direction = derive("direction", key).standard_normal(density.shape)
            ends = [value(density + i * STEP * direction) for i in (-2, -1, 1, 2)]
            slope = (8 * (ends[2] - ends[1]) - (ends[3] - ends[0])) / (12 * STEP)
            off.append(abs(float((np.asarray(gradient) * direction).sum()) - slope))
        errors[name] = max(off) / float(np.linalg.norm(np.asarray(gradient)))
    return errors


def asked(point: Mapping[str, Any]) -> Trial:
    """A trial of it."""
    return Trial(id=0, study="benchmark", number=0, point=point, seed=0)


def timings(structures: Mapping[str, Array], repeats: int) -> dict[str, tuple[float, float]]:
    """By name: processor seconds of the driver, and those with a gradient over those without; medians by round."""
    driver, found = Elasticity(objectives=(Objective("c11"),)), {}
    for name, structure in structures.items():
        trial, rounds = asked({"microstructure": structure.tolist()}), []
        for _ in range(repeats):
            began = time.process_time()
            driver(trial)
            between = time.process_time()
            driver.value_and_gradient(trial)
            rounds.append((between - began, (time.process_time() - between) / (between - began)))
        found[name] = tuple(np.median(rounds, axis=0).tolist())
    return found


def discretisations(quick: bool) -> Iterator[tuple[float, ...]]:
    """Correlation length in pixels, and errors (%) of c11 of 32² pixels against pixels cut into 8 x 8: of ours, of
    fully integrated elements and of the others; means over fields."""
    side, cut, keys = (8, 2, 1) if quick else (32, 8, 4)
    for length in (2.0, 4.0):
        errors = []
        for key in range(keys):
            structure = field(side, length, key)
            exact = ours(np.kron(structure, np.ones((cut, cut), dtype=np.uint8)))[0, 0]
            full, selective = (Elements(structure, PHASES, selective=s).stiffness() for s in (False, True))
            errors.append([100 * abs(c / exact - 1) for c in (ours(structure)[0, 0], full, selective)])
        yield length, *np.mean(errors, axis=0).tolist()


def published(path: Path, quick: bool) -> Iterator[tuple[str, int, float, float]]:
    """Contrast and stiff voxels of a published sample, and mean absolute differences of its strains (% of the mean) to
    those of elements with the change of volume at the centre, and to ours."""
    with np.load(path) as data:
        for contrast, unit in ((10, 1.0), (50, 1e-3)):
            phases = Phases(youngs_moduli=(1.0, float(contrast)), poissons_ratios=(POISSON, POISSON))
            for i in (0,) if quick else (0, 4, 9):
                structure, theirs = data[f"microstructure_{contrast}"][i], data[f"strain_{contrast}"][i] / unit
                body = phases.body(torch.tensor(structure))
                own = strains(body, unit_strains(3)[2:3], FINE)[0, 2].numpy()
                elements = Elements(structure, phases, selective=True).mean_strain(2).reshape(own.shape)
                off = [100 * float(np.abs(of - theirs).mean() / theirs.mean()) for of in (elements, own)]
                yield f"contrast {contrast}", int(structure.sum()), *off


def inclusion(quick: bool) -> dict[str, float]:
    """Strain in one stiff voxel of 9³ (contrast 10) over the mean strain: of both kinds of elements, of ours, and of
    ours with each voxel cut into 5³."""
    phases, n, cut = Phases(youngs_moduli=(1.0, 10.0), poissons_ratios=(POISSON,) * 2), 9, 2 if quick else 5
    structure = np.zeros((n, n, n), dtype=np.uint8)
    structure[n // 2, n // 2, n // 2] = 1

    def own(s: Array) -> float:
        found = strains(phases.body(torch.tensor(s)), unit_strains(3)[:1], Accuracy(tolerance=1e-5))
        return float(found[0, 0].numpy()[s == 1].mean())

    stiff = structure.ravel() == 1
    full, selective = (float(Elements(structure, phases, selective=s).mean_strain(0)[stiff][0]) for s in (False, True))
    fine = own(np.kron(structure, np.ones((cut,) * 3, dtype=np.uint8)))
    return {"fully_integrated": full, "volume_at_centre": selective, "ours": own(structure), "fine": fine}


def main() -> None:
    """See the top of the file."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, default=os.environ.get("MATLOOP_DATA"), help="folder of public data sets")
    parser.add_argument("--repeats", type=int, default=9, help="rounds of timings")
    parser.add_argument("--quick", action="store_true", help="small problems; nothing is a figure to quote")
    given = parser.parse_args()
    torch.set_num_threads(1)
    quick, console = given.quick, Console()
    sizes = {"16x16": field(16, 3.0)} if quick else {"64x64": field(64, 4.0), "32x32x32": volume(32)}
    report: dict[str, Any] = {"laminate_error": laminate_error(), "gradient_error": gradient_errors()}
    measured = timings(sizes, 1 if quick else given.repeats)
    report["seconds"] = {name: seconds for name, (seconds, _) in measured.items()}
    report["gradient_cost"] = max(cost for _, cost in measured.values())
    structures = (field(9, 2.0), field(31, 3.0), volume(7))  # odd, so that there are no hourglasses
    theirs = [muspectre(structure) for structure in structures]
    if all(found is not None for found in theirs):
        off = [np.abs(np.diag(ours(s))[: s.ndim] / t - 1).max() for s, t in zip(structures, theirs, strict=True)]
        report["agreement_with_muspectre"] = float(max(off))
    report["discretisation_error_percent"] = {
        f"length_{length:g}": {"ours": own, "fully_integrated": full, "volume_at_centre": selective}
        for length, own, full, selective in discretisations(quick)
    }
    report["strain_of_one_voxel"] = inclusion(quick)
    path = given.data and Path(given.data) / "localisation" / "mve_samples.npz"
    if path and path.is_file():
        table = Table("published strains", "stiff voxels", "elements, volume at the centre, %", "ours, %")
        rows = list(published(path, quick))
        for name, voxels, elements, own in rows:
            table.add_row(name, str(voxels), f"{elements:.4f}", f"{own:.4f}")
        console.print(table)
        report["published_percent"] = {f"{name}, {voxels}": [e, o] for name, voxels, e, o in rows}
    if quick:
        report = {f"quick_{name}": value for name, value in report.items()}
    table = Table("figure", "value")
    for name, value in report.items():
        table.add_row(name, json.dumps(value))
    console.print(table)
    print(json.dumps(report))


if __name__ == "__main__":
    main()
