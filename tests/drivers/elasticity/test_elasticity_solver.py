"""The solver against finite elements assembled one by one, laminates, Hill's results, symmetries and bounds."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch

from matloop.drivers.elasticity.bounds import hashin_shtrikman
from matloop.drivers.elasticity.grid import Preconditioner, divergence, gradient
from matloop.drivers.elasticity.homogenisation import effective_stiffness
from matloop.drivers.elasticity.moduli import isotropic, moduli
from matloop.drivers.elasticity.phases import Phases
from matloop.drivers.elasticity.solver import Accuracy, Body, NotConverged, strains, unit_strains
from matloop.drivers.elasticity.voigt import PAIRS
from matloop.orchestrator.randomness import derive
from matloop.surrogates.generator.fields import two_phase_fields

FINE = Accuracy(tolerance=1e-9)
SOFT_STIFF = Phases(youngs_moduli=(1.0, 50.0), poissons_ratios=(0.3, 0.2))


def measured(structure, phases=SOFT_STIFF, accuracy=FINE):
    """Stiffness of labels."""
    return effective_stiffness(phases.body(torch.tensor(np.asarray(structure, dtype=np.uint8))), accuracy).numpy()


def random_labels(shape, key=0):
    return derive("labels", key, *shape).integers(0, 2, shape)


def blob(n, dimension, key=0):
    """A smooth random two-phase structure."""
    noise = np.fft.fftn(derive("blob", key, n).standard_normal((n,) * dimension))
    squares = sum(np.square(axis) for axis in np.ix_(*[np.fft.fftfreq(n)] * dimension))
    return np.fft.ifftn(noise * np.exp(-40 * squares)).real > 0


def lame(phases, dimension):
    bulk, shear = np.array(phases.bulk_moduli(dimension)), np.array(phases.shear_moduli)
    return bulk - 2 / dimension * shear, shear


def by_elements(structure, phases):
    """Stiffness by multilinear finite elements with one integration point each, assembled and solved densely.

    Independent of the solver: nodes are numbered, and each element's strains are derivatives of its shape functions.
    """
    shape, d = structure.shape, structure.ndim
    first, second = lame(phases, d)
    corners = list(itertools.product((0, 1), repeat=d))
    number = np.arange(structure.size).reshape(shape)
    rows, blocks = [], []
    for at in np.ndindex(shape):
        b = np.zeros((len(PAIRS[d]), structure.size * d))
        for corner in corners:
            node = number[tuple((at[i] + corner[i]) % shape[i] for i in range(d))]
            slope = [(2 * corner[-1 - x] - 1) / 2 ** (d - 1) for x in range(d)]  # at the centre; x is the last axis
            for row, (i, j) in enumerate(PAIRS[d]):
                b[row, node * d + i] += slope[j]
                if i != j:
                    b[row, node * d + j] += slope[i]
        c = np.diag([2 * second[structure[at]]] * d + [second[structure[at]]] * (len(b) - d))
        c[:d, :d] += first[structure[at]]
        rows.append(b)
        blocks.append(c)
    whole = sum(b.T @ c @ b for b, c in zip(rows, blocks, strict=True))
    forces = sum(b.T @ c for b, c in zip(rows, blocks, strict=True))
    u = np.linalg.lstsq(whole, -forces, rcond=1e-12)[0]
    strain = [b @ u + np.eye(len(b)) for b in rows]
    return sum(e.T @ c @ e for e, c in zip(strain, blocks, strict=True)) / structure.size


@pytest.mark.parametrize("shape", [(4, 4), (5, 5), (5, 4), (2, 6), (3, 3, 3), (2, 3, 4), (1, 4, 5)])
def test_stiffness_is_that_of_assembled_elements(shape):
    structure = random_labels(shape)
    assert measured(structure) == pytest.approx(by_elements(structure, SOFT_STIFF), rel=1e-8, abs=1e-8)


def laminate(phases, shares, dimension):
    """Backus's averages for layers across x, in Voigt's notation."""
    first, second = lame(phases, dimension)
    across = first + 2 * second

    def mean(values):
        return float(np.dot(shares, values))

    c11 = 1 / mean(1 / across)
    c12 = c11 * mean(first / across)
    rest = mean(first / across) ** 2 * c11
    found = isotropic(0.0, 0.0, dimension).numpy()
    found[0, 0] = c11
    found[0, 1:dimension] = found[1:dimension, 0] = c12
    for i in range(1, dimension):
        for j in range(1, dimension):
            found[i, j] = mean(first - first**2 / across) + rest + (2 * mean(second) if i == j else 0)
    sliding = 1 / mean(1 / second)
    found[dimension:, dimension:] = np.diag([sliding] if dimension == 2 else [mean(second), sliding, sliding])
    return found


def swapped(stiffness, a, b):
    """The same body with two axes exchanged."""
    d = 2 if len(stiffness) == 3 else 3
    names = {a: b, b: a}
    order = [
        PAIRS[d].index(tuple(sorted((names.get(i, i), names.get(j, j)))))  # type: ignore[arg-type]
        for i, j in PAIRS[d]
    ]
    return stiffness[np.ix_(order, order)]


@pytest.mark.parametrize("contrast", [1e-3, 0.5, 10.0, 1e4])
@pytest.mark.parametrize("plane", ["strain", "stress"])
def test_laminates_in_the_plane_are_exact(contrast, plane):
    phases = Phases(youngs_moduli=(2.0, 2.0 * contrast), poissons_ratios=(0.1, 0.4), plane=plane)
    for layers in ([1, 0, 0, 1, 1, 0, 0, 0], [1, 0, 0, 0, 0, 0, 0], [0, 1]):
        expected = laminate(phases, [1 - np.mean(layers), np.mean(layers)], 2)
        structure = np.tile(layers, (4, 1))
        assert measured(structure, phases) == pytest.approx(expected, rel=1e-7, abs=1e-9)
        assert measured(structure.T, phases) == pytest.approx(swapped(expected, 0, 1), rel=1e-7, abs=1e-9)


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_laminates_in_space_are_exact(axis):
    phases = Phases(youngs_moduli=(1.0, 30.0, 5.0), poissons_ratios=(0.3, -0.2, 0.45))
    layers = np.array([0, 1, 1, 2, 0, 2])
    expected = laminate(phases, [1 / 3] * 3, 3)
    structure = np.broadcast_to(layers, (3, 2, 6)).swapaxes(2, 2 - axis)
    assert measured(structure, phases) == pytest.approx(swapped(expected, 0, axis) if axis else expected, abs=1e-7)


def test_a_uniform_body_is_what_it_is_made_of():
    for dimension, expected in ((2, isotropic(1 / 1.04, 1 / 2.6, 2)), (3, isotropic(1 / 1.2, 1 / 2.6, 3))):
        found = measured(np.zeros((4,) * dimension), Phases(youngs_moduli=(1.0, 9.0), poissons_ratios=(0.3, 0.1)))
        assert found == pytest.approx(expected.numpy(), rel=1e-12)
    sheet = Phases(youngs_moduli=(1.0, 9.0), poissons_ratios=(0.3, 0.1), plane="stress")
    values = moduli(torch.tensor(measured(np.zeros((3, 3)), sheet)), (0.6, 0.8))
    assert float(values["youngs_modulus"]) == pytest.approx(1.0) and float(values["poissons_ratio"]) == pytest.approx(
        0.3
    )


@pytest.mark.parametrize("shape", [(15, 17), (5, 7, 3)])
def test_with_equal_shear_moduli_the_result_is_hills(shape):
    """Whatever the structure; on a grid without hourglasses. R. Hill, J. Mech. Phys. Solids 12, 199 (1964)."""
    d, shear, bulk = len(shape), 3.0, np.array([1.0, 40.0])
    structure = random_labels(shape)
    body = Body(torch.tensor(bulk[structure] - 2 / d * shear), torch.full(shape, shear, dtype=torch.float64))
    around = 2 * (d - 1) / d * shear
    effective = 1 / np.mean(1 / (bulk[structure] + around)) - around
    expected = isotropic(effective, shear, d).numpy()
    assert effective_stiffness(body, FINE).numpy() == pytest.approx(expected, rel=1e-8, abs=1e-8)


@pytest.mark.parametrize("shape", [(12, 9), (4, 5, 6)])
def test_energies_are_those_of_the_means(shape):
    """Hill's lemma, and the effective stiffness as mean stress over mean strain."""
    body = SOFT_STIFF.body(torch.tensor(random_labels(shape)))
    means = unit_strains(len(shape))
    strain = strains(body, means, FINE)
    stress = body.stress(strain)
    mean_stress = stress.flatten(start_dim=2).mean(dim=2)
    energy = (stress * strain).flatten(start_dim=2).mean(dim=2).sum(dim=1)
    assert strain.flatten(start_dim=2).mean(dim=2).numpy() == pytest.approx(means.numpy(), abs=1e-12)
    assert energy.numpy() == pytest.approx((mean_stress * means).sum(dim=1).numpy(), rel=1e-8)
    assert effective_stiffness(body, FINE).numpy() == pytest.approx(mean_stress.numpy(), rel=1e-7, abs=1e-7)


def test_stiffness_is_symmetric_and_positive_and_moves_turns_and_mirrors_with_the_structure():
    structure = two_phase_fields(1, (20, 20), 3.0, derive("turn"))[0]
    found = measured(structure)
    assert (found == found.T).all() and np.linalg.eigvalsh(found).min() > 0
    assert measured(np.roll(structure, (3, 7), (0, 1))) == pytest.approx(found, rel=1e-9, abs=1e-9)
    sign = np.diag([1, 1, -1])
    assert measured(structure[::-1]) == pytest.approx(sign @ found @ sign, rel=1e-9, abs=1e-9)
    assert measured(structure.T) == pytest.approx(swapped(found, 0, 1), rel=1e-9, abs=1e-9)
    assert measured(np.rot90(structure)) == pytest.approx(sign @ swapped(found, 0, 1) @ sign, rel=1e-9, abs=1e-9)
    assert abs(found[0, 0] - found[1, 1]) > 0.01 and abs(found[0, 2]) > 0.01


def test_a_cube_in_a_lattice_is_cubic():
    structure = np.zeros((6, 6, 6), dtype=int)
    structure[1:4, 1:4, 1:4] = 1
    found = measured(structure)
    expected = np.zeros((6, 6))
    expected[:3, :3] = found[0, 1]
    np.fill_diagonal(expected, [found[0, 0]] * 3 + [found[3, 3]] * 3)
    assert found == pytest.approx(expected, abs=1e-9)
    assert found[0, 0] - found[0, 1] > 2.01 * found[3, 3]  # and not isotropic


def test_a_cross_section_is_as_stiff_as_the_long_body():
    structure = random_labels((6, 7))
    body = measured(np.broadcast_to(structure, (2, 6, 7)))
    plane = [PAIRS[3].index(pair) for pair in PAIRS[2]]
    assert measured(structure) == pytest.approx(body[np.ix_(plane, plane)], rel=1e-8, abs=1e-8)


@pytest.mark.parametrize("dimension", [2, 3])
def test_averages_keep_the_bounds(dimension):
    """Also of a laminate, which is far from isotropic."""
    layers = np.broadcast_to([0, 1, 1, 0], (3,) * (dimension - 1) + (4,))
    for structure in (*(blob(16 if dimension == 2 else 8, dimension, key) for key in range(3)), layers):
        shares = [1 - structure.mean(), structure.mean()]
        bulk, shear = SOFT_STIFF.bulk_moduli(dimension), SOFT_STIFF.shear_moduli
        limits = hashin_shtrikman(bulk, shear, shares, dimension)
        values = moduli(torch.tensor(measured(structure)), [1.0] + [0.0] * (dimension - 1))
        for name, (low, high) in limits.items():
            assert low < float(values[name]) < high


def test_finer_pixels_change_smooth_structures_little():
    structure = two_phase_fields(1, (24, 24), 4.0, derive("refined"))[0]
    coarse, fine = measured(structure), measured(np.kron(structure, np.ones((4, 4))))
    assert coarse == pytest.approx(fine, rel=0.03, abs=0.03 * fine.max())


def test_the_divergence_is_the_adjoint_of_the_gradient_and_the_preconditioner_its_inverse():
    for shape in ((4, 5), (3, 4, 6)):
        d = len(shape)
        rng = derive("adjoint", *shape)
        u, *fluxes = (torch.tensor(rng.standard_normal(shape)) for _ in range(d + 1))
        inner = sum((f * g).sum() for f, g in zip(fluxes, gradient(u, d), strict=True))
        assert float(inner) == pytest.approx(float((u * divergence(fluxes, d)).sum()), abs=1e-12)
        body = Body(*(torch.full(shape, value, dtype=torch.float64) for value in (1.3, 0.7)))
        forces = torch.tensor(rng.standard_normal((d, *shape)))
        pair = PAIRS[d]

        def stretched(u, d=d, pair=pair):
            g = gradient(u, d)
            return torch.stack([g[a][a] if a == b else g[a][b] + g[b][a] for a, b in pair])

        def pushed(stress, d=d, pair=pair):
            at = {of: stress[i] for i, of in enumerate(pair)}
            return torch.stack([divergence([at[min(a, b), max(a, b)] for b in range(d)], d) for a in range(d)])

        solve = Preconditioner(shape, 1.3, 0.7)
        once = solve(forces)
        again = solve(pushed(body.stress(stretched(once))))
        assert again.numpy() == pytest.approx(once.numpy(), abs=1e-10)  # but for hourglasses, which both leave out


def test_no_convergence_is_said_with_a_remedy():
    body = SOFT_STIFF.body(torch.tensor(random_labels((8, 8))))
    with pytest.raises(NotConverged, match=r"at most 1e-09 within 3 iterations, got .*max_iterations"):
        strains(body, unit_strains(2), Accuracy(tolerance=1e-9, most=3))


@pytest.mark.parametrize("tolerance", [1e-1, 1e-2, 1e-3])
def test_the_error_of_the_stiffness_is_at_most_the_tolerance_squared(tolerance):
    structure = two_phase_fields(1, (24, 24), 3.0, derive("accuracy"))[0]
    exact, found = measured(structure), measured(structure, accuracy=Accuracy(tolerance=tolerance))
    errors = np.diag(found) / np.diag(exact) - 1
    assert (errors >= -1e-12).all() and errors.max() <= tolerance**2
    assert errors.max() > 1e-12
