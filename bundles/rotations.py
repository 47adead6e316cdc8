"""Orientations that several networks, or functions, give together, and how far apart they are."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch

from matloop.drivers.training.tasks.orientation import disorientation, group, multiply

Array = npt.NDArray[np.float64]


def together(answers: torch.Tensor, symmetry: str) -> torch.Tensor:
    """(k, n, 4) outputs of k networks to (n, 4) float64 unit quaternions.

    Of the orientations that the crystal's symmetry makes equal, the one nearest to the first network's is taken. The
    mean is brought to length 1.
    """
    unit = torch.nn.functional.normalize(answers.double(), dim=2)
    first, symmetries = unit[0], group(symmetry)
    near = [first]
    for other in unit[1:]:
        equal = multiply(symmetries[None], other[:, None])  # (n, g, 4)
        cosines = (equal * first[:, None]).sum(dim=2)
        best = cosines.abs().argmax(dim=1)
        rows = torch.arange(len(first))
        near.append(equal[rows, best] * torch.where(cosines[rows, best] < 0, -1.0, 1.0)[:, None])
    return torch.nn.functional.normalize(torch.stack(near).mean(dim=0), dim=1)


def apart(p: torch.Tensor, q: torch.Tensor, symmetry: str) -> Array:
    """(n,) degrees between (n, 4) unit quaternions, the smallest that the crystal's symmetry allows."""
    found: Array = disorientation(p.double(), q.double(), group(symmetry)).numpy()
    return found


def spread(functions: torch.Tensor | None, mean: torch.Tensor, symmetry: str) -> Array | None:
    """(n,) degrees that (s, n, 4) functions are from their common answer on average; None where there are none."""
    if functions is None:
        return None
    each = torch.nn.functional.normalize(functions.double(), dim=2)
    found: Array = np.mean([apart(one, mean, symmetry) for one in each], axis=0)
    return found
