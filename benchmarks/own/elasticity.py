"""Random two-phase volumes and their stiffness, by the solver of the driver `elasticity`."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch

from matloop.drivers.elasticity.phases import Phases
from matloop.drivers.elasticity.solver import Accuracy, strains, unit_strains

SIZE = 21
PHASES = Phases(youngs_moduli=(1.0, 50.0), poissons_ratios=(0.3, 0.3))
ACCURACY = Accuracy(tolerance=1e-2)
"""The stiffness is then right to a ten-thousandth."""


def volume(rng: np.random.Generator, n: int = SIZE) -> npt.NDArray[np.bool_]:
    """(n, n, n) stiff phase: a Gaussian random field of random lengths (0.6 to 3 voxels) along each axis, cut at a
    random share (0.1 to 0.9)."""
    lengths = rng.uniform(0.6, 3.0, 3)
    frequency = np.fft.fftfreq(n)
    squares = [(axis * length) ** 2 for axis, length in zip(np.ix_(*[frequency] * 3), lengths, strict=True)]
    filtered = np.fft.fftn(rng.normal(size=(n, n, n))) * np.exp(-2 * np.pi**2 * sum(squares))
    field = np.fft.ifftn(filtered).real
    return np.asarray(field > np.quantile(field, 1 - rng.uniform(0.1, 0.9)))


def stiffness(phase: npt.NDArray[np.bool_]) -> float:
    """Along the first axis of a volume held at its width, in units of the soft phase's Young's modulus.

    Args:
        phase: (n, n, n); True is 50 times as stiff; both have Poisson's ratio 0.3.
    """
    body = PHASES.body(torch.from_numpy(phase.astype(np.uint8)))
    strain = strains(body, unit_strains(3)[2:3], ACCURACY)  # z is the first axis
    return float((body.stress(strain) * strain).sum(dim=1).mean())
