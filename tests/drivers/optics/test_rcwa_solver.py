"""The solver against Fresnel's and Abelès's formulas, torcwa, fmmax, energy, reciprocity and symmetry."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from matloop.drivers.optics.rcwa import Film, Layer, Setup
from matloop.surrogates.generator.fields import two_phase_fields

SILICON = 4.3 + 0.07j
NORMAL = Setup(
    order=2,
    wavelengths_nm=(500.0,),
    indices=((1.46 + 0j,), (SILICON,)),
    thickness_nm=200.0,
    period_nm=(400.0, 400.0),
)
OBLIQUE = replace(NORMAL, angle_deg=35.0, azimuth_deg=20.0)
ON_GLASS = replace(
    OBLIQUE,
    above=(1.2 + 0j,),
    below=(1.5 + 0j,),
    layers_above=(Layer((1.3 + 0j,), 90.0), Layer((2 + 0.1j,), 50.0)),
    layers_below=(Layer((1.8 + 0j,), 300.0),),
)
SETUPS = {"normal": NORMAL, "oblique": OBLIQUE, "on glass, between layers": ON_GLASS}
every_setup = pytest.mark.parametrize("setup", [pytest.param(s, id=name) for name, s in SETUPS.items()])


@pytest.fixture(scope="module")
def structure():
    return torch.tensor(two_phase_fields(1, (24, 24), 4.0, np.random.default_rng(0))[0], dtype=torch.float64)


def light(setup, structure):
    with torch.inference_mode():
        return Film(setup)(torch.as_tensor(structure, dtype=torch.float64))


def uniform(phase=1):
    return torch.full((24, 24), float(phase), dtype=torch.float64)


def shares(of):
    """Reflected and transmitted of p, then of s."""
    return [[float(of.reflected[0, i].sum()), float(of.transmitted[0, i].sum())] for i in (0, 1)]


def stack(indices, thicknesses, wavelength, angle_deg, polarisation):
    """Reflectance and transmittance of a stack by characteristic matrices (Abelès); the first and last are half-spaces.

    Thick absorbing layers are left out of the tests of it: it overflows there.
    """
    n = np.array(indices, dtype=complex)
    cosine = np.sqrt(1 - (n[0] * np.sin(np.radians(angle_deg)) / n) ** 2)
    admittance = n / cosine if polarisation == 0 else n * cosine
    whole = np.eye(2)
    for i, thickness in enumerate(thicknesses, start=1):
        phase = 2 * np.pi / wavelength * n[i] * cosine[i] * thickness
        one = [
            [np.cos(phase), -1j * np.sin(phase) / admittance[i]],
            [-1j * admittance[i] * np.sin(phase), np.cos(phase)],
        ]
        whole = whole @ np.array(one)
    b, c = whole @ np.array([1, admittance[-1]])
    reflected = (admittance[0] * b - c) / (admittance[0] * b + c)
    transmitted = 4 * admittance[0].real * admittance[-1].real / abs(admittance[0] * b + c) ** 2
    return [abs(reflected) ** 2, transmitted]


@pytest.mark.parametrize("angle_deg", [0.0, 12.0, 60.0, 89.0])
@pytest.mark.parametrize("index", [1.46, SILICON, 0.05 + 3.1j, 0.5, 125 / 50])
def test_a_uniform_film_is_that_of_abeles(index, angle_deg):
    setup = replace(NORMAL, indices=((1.0,), (complex(index),)), angle_deg=angle_deg, azimuth_deg=33.0)
    expected = [stack([1, index, 1], [200.0], 500.0, angle_deg, p) for p in (0, 1)]
    assert np.array(shares(light(setup, uniform()))) == pytest.approx(np.array(expected), abs=1e-10)


@pytest.mark.parametrize("angle_deg", [0.0, 25.0, 75.0])
def test_layers_and_half_spaces_are_those_of_abeles(angle_deg):
    setup = replace(ON_GLASS, angle_deg=angle_deg, below=(1.5 + 0.3j,))
    found = light(setup, uniform())
    indices, thicknesses = [1.2, 1.3, 2 + 0.1j, SILICON, 1.8, 1.5 + 0.3j], [90.0, 50.0, 200.0, 300.0]
    expected = [stack(indices, thicknesses, 500.0, angle_deg, p) for p in (0, 1)]
    assert np.array(shares(found))[1] == pytest.approx(np.array(expected)[1], abs=1e-10)
    assert np.array(shares(found))[0, 0] == pytest.approx(expected[0][0], abs=1e-10)


@pytest.mark.parametrize("thickness", [0.0, 1e-9, 500.0 / (2 * 2.0), 500.0 / (4 * 2.0)])
def test_films_without_loss_of_any_optical_thickness(thickness):
    setup = replace(NORMAL, indices=((1.0,), (2.0 + 0j,)), thickness_nm=thickness)  # half and quarter waves among them
    expected = stack([1, 2.0, 1], [thickness], 500.0, 0.0, 0)
    assert shares(light(setup, uniform()))[0] == pytest.approx(expected, abs=1e-10)


def test_nothing_where_nothing_is(structure):
    setup = replace(OBLIQUE, indices=((1.0,), (1.0 + 0j,)))
    found = light(setup, structure)
    incident = (2 * setup.order + 1) ** 2 // 2
    assert found.transmitted[0, :, incident].tolist() == pytest.approx([1, 1], abs=1e-12)
    assert float(found.reflected.abs().max()) < 1e-12


def test_a_thick_film_lets_nothing_through_and_does_not_overflow(structure):
    found = light(replace(OBLIQUE, thickness_nm=1e6, order=3), structure)
    half = light(replace(OBLIQUE, thickness_nm=5e5, order=3), structure)
    assert float(found.transmitted.sum()) < 1e-12
    assert found.absorbed.tolist() == pytest.approx(half.absorbed.numpy(), abs=1e-9)


@pytest.mark.parametrize("gap", [300.0, 1e5])
def test_light_that_is_totally_reflected_before_the_film(gap, structure):
    setup = replace(NORMAL, above=(1.5 + 0j,), layers_above=(Layer((1.0 + 0j,), gap),), angle_deg=60.0)
    expected = [stack([1.5, 1, SILICON, 1], [min(gap, 2000.0), 200.0], 500.0, 60.0, p) for p in (0, 1)]
    assert np.array(shares(light(setup, uniform()))) == pytest.approx(np.array(expected), abs=1e-10)
    if gap > 1e4:
        found = light(setup, structure)
        assert found.reflected[0, :, 12].tolist() == pytest.approx([1, 1], abs=1e-12)  # 12 of 25 is the specular one
        assert float(found.kept.abs().max()) < 1e-12


@every_setup
def test_what_is_not_absorbed_comes_out(setup, structure):
    lossless = replace(
        setup,
        indices=((1.46,), (4.3 + 0j,)),
        period_nm=(900.0, 700.0),
        layers_above=tuple(replace(layer, indices=(layer.indices[0].real + 0j,)) for layer in setup.layers_above),
    )
    found = light(lossless, structure)
    assert float(found.absorbed.abs().max()) < 1e-10
    assert float(found.kept.abs().max()) < 1e-10
    assert float(found.transmitted.sum(-1).min()) > 0.01
    assert int((found.transmitted[0, 0] > 1e-6).sum()) > 4  # several orders carry power


@every_setup
def test_without_lossy_layers_all_that_is_absorbed_is_kept_in_the_film(setup, structure):
    found = light(replace(setup, layers_above=()), structure)
    assert found.kept.numpy() == pytest.approx(found.absorbed.numpy(), abs=1e-10)
    assert float(found.kept.min()) > 0.01


def test_a_lossy_layer_keeps_the_rest(structure):
    found = light(ON_GLASS, structure)
    assert bool((found.absorbed > found.kept + 0.05).all())


def by_torcwa(setup, structure):
    torcwa = pytest.importorskip("torcwa")
    order = setup.order
    simulation = torcwa.rcwa(
        freq=1 / setup.wavelengths_nm[0],
        order=[order, order],
        L=list(setup.period_nm),
        dtype=torch.complex128,
        device=torch.device("cpu"),
        stable_eig_grad=False,
    )
    if setup.above:
        simulation.add_input_layer(eps=setup.above[0] ** 2)
        simulation.add_output_layer(eps=setup.below[0] ** 2)
    simulation.set_incident_angle(np.radians(setup.angle_deg), np.radians(setup.azimuth_deg))
    first, second = (index[0] ** 2 for index in setup.indices)
    for layer in setup.layers_above:
        simulation.add_layer(layer.thickness_nm, torch.tensor(layer.indices[0] ** 2))
    simulation.add_layer(setup.thickness_nm, (first + (second - first) * structure).T)
    for layer in setup.layers_below:
        simulation.add_layer(layer.thickness_nm, torch.tensor(layer.indices[0] ** 2))
    simulation.solve_global_smatrix()
    every = [[i, j] for i in range(-order, order + 1) for j in range(-order, order + 1)]

    def share(port, polarisation):
        parts = (
            simulation.S_parameters(orders=every, direction="f", port=port, polarization=out + polarisation)
            for out in "ps"
        )
        return sum(float((part.abs() ** 2).nan_to_num().sum()) for part in parts)

    return [[share(port, polarisation) for port in "rt"] for polarisation in "ps"]


@every_setup
def test_it_is_that_of_torcwa(setup, structure):
    setup = replace(setup, order=3)
    assert np.array(shares(light(setup, structure))) == pytest.approx(np.array(by_torcwa(setup, structure)), abs=1e-7)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_it_is_that_of_fmmax(structure):
    fmmax = pytest.importorskip("fmmax")
    jax = pytest.importorskip("jax")
    jax.config.update("jax_enable_x64", True)
    import jax.numpy as jnp

    order = 3
    lattice = fmmax.LatticeVectors(u=fmmax.X * 400.0, v=fmmax.Y * 400.0)
    expansion = fmmax.generate_expansion(lattice, (2 * order + 1) ** 2, truncation=fmmax.Truncation.PARALLELOGRAMIC)
    permittivity = 1.46**2 + (SILICON**2 - 1.46**2) * structure.numpy().T
    layers = [jnp.array([[1.0 + 0j]]), jnp.array(permittivity), jnp.array([[1.0 + 0j]])]
    solved = [
        fmmax.eigensolve_isotropic_media(
            wavelength=jnp.array(500.0),
            in_plane_wavevector=jnp.zeros(2),
            primitive_lattice_vectors=lattice,
            permittivity=layer,
            expansion=expansion,
            formulation=fmmax.Formulation.FFT,
        )
        for layer in layers
    ]
    scattering = fmmax.stack_s_matrix(solved, [jnp.array(0.0), jnp.array(200.0), jnp.array(0.0)])
    number, absorbed = expansion.num_terms, []
    for column in (0, number):
        incident = jnp.zeros((2 * number, 1), dtype=complex).at[column, 0].set(1.0)
        none = jnp.zeros_like(incident)
        forward, _ = fmmax.amplitude_poynting_flux(incident, none, solved[0])
        _, back = fmmax.amplitude_poynting_flux(incident, scattering.s21 @ incident, solved[0])
        on, _ = fmmax.amplitude_poynting_flux(scattering.s11 @ incident, none, solved[-1])
        absorbed.append(float((jnp.sum(forward) + jnp.sum(back) - jnp.sum(on)) / jnp.sum(forward)))
    found = light(replace(NORMAL, order=order), structure).absorbed[0].tolist()
    assert sorted(found) == pytest.approx(sorted(absorbed), abs=1e-6)


def test_both_ways_of_solving_agree(structure):
    """Surroundings that differ by nothing, but are told to be two, are solved together rather than apart."""
    apart = Film(OBLIQUE)
    together = Film(replace(OBLIQUE, layers_below=(Layer((1.0 + 0j,), 0.0), Layer((1.0 + 1e-15j,), 1e-3))))
    assert apart.alike and not together.alike
    found, expected = together(structure), apart(structure)
    torch.testing.assert_close(found.reflected, expected.reflected, rtol=0, atol=1e-12)
    torch.testing.assert_close(found.transmitted, expected.transmitted, rtol=0, atol=1e-12)


def test_transmission_is_reciprocal(structure):
    """Into the zeroth order: from above at an angle, as from below at the same transverse wave vector, reversed."""
    there = light(ON_GLASS, structure)
    angle = np.degrees(np.arcsin(1.2 / 1.5 * np.sin(np.radians(35.0))))
    back = replace(
        ON_GLASS,
        above=ON_GLASS.below,
        below=ON_GLASS.above,
        layers_above=ON_GLASS.layers_below[::-1],
        layers_below=ON_GLASS.layers_above[::-1],
        angle_deg=float(angle),
        azimuth_deg=200.0,
    )
    middle = there.transmitted.shape[-1] // 2
    mixed = [float(of.transmitted[0, :, middle].sum()) for of in (there, light(back, structure))]
    assert mixed[0] == pytest.approx(mixed[1], abs=1e-10)


def test_turning_and_mirroring_the_structure_turns_and_mirrors_the_light(structure):
    plain = light(OBLIQUE, structure).absorbed[0]
    turned = light(replace(OBLIQUE, azimuth_deg=OBLIQUE.azimuth_deg + 90), torch.rot90(structure, -1)).absorbed[0]
    mirrored = light(replace(OBLIQUE, azimuth_deg=-OBLIQUE.azimuth_deg), structure.flip(0)).absorbed[0]
    rolled = light(OBLIQUE, structure.roll((5, 3), (0, 1))).absorbed[0]
    for other in (turned, mirrored, rolled):
        torch.testing.assert_close(other, plain, rtol=0, atol=1e-10)
    assert float((light(OBLIQUE, structure.flip(0)).absorbed[0] - plain).abs().max()) > 1e-4


def test_a_grating_sends_light_along_x_alone(structure):
    grating = structure[:1].expand(24, 24)
    found = light(replace(NORMAL, period_nm=(900.0, 900.0)), grating)
    side = 2 * NORMAL.order + 1
    transmitted = found.transmitted[0, 0].reshape(side, side)  # x first
    assert float(transmitted[:, NORMAL.order].sum()) == pytest.approx(float(transmitted.sum()), abs=1e-12)
    assert float(transmitted[NORMAL.order - 1, NORMAL.order]) > 1e-3


def test_a_fine_grating_across_the_field_is_a_mean_medium():
    """Much finer than the wavelength, and without contrast to converge in, the permittivities average along lines."""
    lines = torch.zeros(24, 24, dtype=torch.float64)
    lines[:, :12] = 1.0
    setup = replace(NORMAL, period_nm=(1.0, 1.0), indices=((1.46,), (1.6 + 0j,)), order=5)
    mean = complex(np.sqrt((1.46**2 + 1.6**2) / 2))
    along = light(setup, lines)  # s: the field is along the lines
    expected = stack([1, mean, 1], [200.0], 500.0, 0.0, 1)
    assert shares(along)[1] == pytest.approx(expected, abs=1e-5)


def test_batches_and_bands_are_their_members(structure):
    indices = (1.46, 1.45, 1.44), (4.7 + 0.1j, 3.9 + 0.02j, 3.7 + 0.01j)
    band = replace(OBLIQUE, wavelengths_nm=(450.0, 600.0, 700.0), indices=indices)
    batch = torch.stack([structure, structure.T, uniform()])
    found = light(band, batch).absorbed
    assert found.shape == (3, 3, 2)
    for i, one in enumerate(batch):
        for j in range(3):
            alone = replace(
                OBLIQUE,
                wavelengths_nm=band.wavelengths_nm[j : j + 1],
                indices=(band.indices[0][j : j + 1], band.indices[1][j : j + 1]),
            )
            torch.testing.assert_close(light(alone, one).absorbed[0], found[i, j], rtol=0, atol=1e-12)


def test_more_orders_converge():
    """Of low contrast, where Laurent's rule converges soon."""
    disc = torch.tensor(np.hypot(*np.mgrid[-16:16, -16:16]) < 9, dtype=torch.float64)
    setup = replace(OBLIQUE, indices=((1.46,), (1.9 + 0.1j,)))
    found = [light(replace(setup, order=order), disc).absorbed[0, 0] for order in (1, 2, 3, 4, 6)]
    errors = [float(abs(value - found[-1])) for value in found[:-1]]
    assert errors[3] < errors[1] < errors[0] and errors[2] < errors[0]
    assert errors[3] < 3e-3


def test_where_an_order_grazes_the_film_values_are_continuous(structure):
    at, beside = (light(replace(NORMAL, period_nm=(500.0 * (1 + e), 500.0)), structure) for e in (0.0, 1e-12))
    assert bool(torch.isfinite(at.reflected).all())
    torch.testing.assert_close(at.absorbed, beside.absorbed, rtol=0, atol=1e-4)


def test_where_a_wave_grazes_within_the_film_values_hold():
    setup = replace(NORMAL, indices=((1.0,), (2.0 + 0j,)), angle_deg=30.0)  # the order -2 along x has kx = -2 = -n
    expected = [stack([1, 2.0, 1], [200.0], 500.0, 30.0, p) for p in (0, 1)]
    assert np.array(shares(light(setup, uniform()))) == pytest.approx(np.array(expected), abs=1e-10)


def test_waves_that_nothing_excites_are_refused():
    setup = replace(NORMAL, indices=((1.0,), (1.0 + 0j,)), period_nm=(500.0, 500.0))
    with pytest.raises(FloatingPointError, match="change a wavelength"):
        light(setup, uniform())


def test_too_few_pixels_are_refused():
    with pytest.raises(ValueError, match="at least 9 pixels"):
        light(NORMAL, torch.zeros(8, 24))


GRADIENTS = {
    "random": lambda y, x, rng: rng.random((24, 24)) > 0.5,
    "mirror": lambda y, x, rng: np.hypot(y - 11.5, x - 11.5) < 7,
    "uniform": lambda y, x, rng: np.full((24, 24), 0.5),
    "full": lambda y, x, rng: np.ones((24, 24)),
    "grating": lambda y, x, rng: x < 9,
    "checkerboard": lambda y, x, rng: (y // 12 + x // 12) % 2,
}


@every_setup
@pytest.mark.parametrize("name", GRADIENTS)
def test_gradient_is_that_of_finite_differences(setup, name):
    rng = np.random.default_rng(3)
    start = torch.tensor(np.asarray(GRADIENTS[name](*np.mgrid[:24, :24], rng), dtype=np.float64))
    film = Film(setup)

    def values(structure):
        found = film(structure)
        return torch.cat([found.absorbed[0], found.kept[0], found.reflected[0].sum(-1)])

    point = start.clone().requires_grad_()
    found, weights = values(point), torch.tensor(rng.standard_normal(6))
    (gradient,) = torch.autograd.grad(found @ weights, point)
    direction, h = torch.tensor(rng.standard_normal((24, 24))), 1e-4
    with torch.no_grad():
        rise = [float(values(start + k * h * direction) @ weights) for k in (-2, -1, 1, 2)]
    expected = (rise[0] - 8 * rise[1] + 8 * rise[2] - rise[3]) / (12 * h)
    assert float((gradient * direction).sum()) == pytest.approx(expected, abs=1e-7 * float(gradient.norm()) * 24)
    assert abs(expected) > 1e-3


def test_gradient_of_a_mirror_symmetric_structure_is_mirror_symmetric():
    disc = torch.tensor(np.hypot(*np.mgrid[-11.5:12.5, -11.5:12.5]) < 7, dtype=torch.float64).requires_grad_()
    (gradient,) = torch.autograd.grad(Film(NORMAL)(disc).absorbed.mean(), disc)
    scale = float(gradient.abs().max())
    for other in (gradient.flip(0), gradient.flip(1), gradient.T):
        assert float((gradient - other).abs().max()) < 1e-9 * scale
