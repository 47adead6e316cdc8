"""Specific surface: interface per volume (in 2-D: length per area), from the faces between unlike pixels.

Source: the Cauchy-Crofton relation; Torquato, Random Heterogeneous Materials (2002), section 2.2.5.
"""

from __future__ import annotations

import math

import torch

from matloop.surrogates.microstructure.arrays import Array, axes, opened

ISOTROPIC = {2: math.pi / 4, 3: 2 / 3}
"""Surface over the faces of its pixels, where all directions are equally frequent."""


def specific_surface(
    phase: Array, *, dimensions: int = 2, periodic: bool = True, isotropic: bool = True, pixel: float = 1.0
) -> Array:
    """Interface between a phase and all others, per volume. Differentiable (total variation) for soft structures.

    Args:
        phase: (..., H, W) or (..., D, H, W), 1 inside the phase and 0 outside, or shares between them.
        dimensions: of space, 2 or 3.
        periodic: whether the first pixel is the last one's neighbour.
        isotropic: correct for the steps of pixels as if the interface had all directions equally often: a factor of
            pi / 4 in 2-D, 2 / 3 in 3-D. Without it, faces of pixels are counted, which is exact for laminates.
        pixel: side of a pixel, in the unit of which you want the inverse.

    Returns:
        (...), 1 / unit of `pixel`.
    """
    if not pixel > 0:
        raise ValueError(f"expected the side of a pixel > 0, got {pixel}")
    x, back = opened(phase, dimensions)
    faces = torch.stack([_faces(x, axis, dimensions, periodic) for axis in axes(dimensions)]).sum(dim=0)
    return back(faces * ((ISOTROPIC[dimensions] if isotropic else 1.0) / pixel))


def _faces(x: torch.Tensor, axis: int, dimensions: int, periodic: bool) -> torch.Tensor:
    """Faces across an axis, per pixel."""
    steps = x.roll(-1, axis) - x if periodic else x.diff(dim=axis)
    if not steps.shape[axis]:
        return x.new_zeros(x.shape[:-dimensions])
    return steps.abs().mean(dim=axes(dimensions))
