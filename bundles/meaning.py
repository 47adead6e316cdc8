"""What the outputs of a network mean: numbers in a unit, or classes; of a whole input, or of each of its places.

Everything follows from how the task of a training describes itself, which is kept with the weights.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from matloop.orchestrator.errors import MatloopError

QUATERNION = ("w", "x", "y", "z")

Array = npt.NDArray[np.float64]

OTHERS = ("node",)
"""Tasks whose outputs are read in another way."""


@dataclass(frozen=True, slots=True)
class Meaning:
    """How to read outputs.

    Attributes:
        task: the training's.
        names: of the targets or of the classes.
        unit: of the targets, may be empty.
        mean, std: (m,) of the targets that the network was trained on; empty for classes.
        variance: whether as many outputs follow, logarithms of the variance of each standardised target.
        places: whether there is an answer for each place of an input.
        symmetry: of the crystal, where outputs are quaternions of an orientation; else empty.
    """

    task: str
    names: tuple[str, ...]
    unit: str = ""
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    variance: bool = False
    places: bool = False
    symmetry: str = ""

    @classmethod
    def of(
        cls,
        task: str,
        described: Mapping[str, Any],
        names: Sequence[str],
        outputs: int,
        *,
        unit: str = "",
        places: bool = False,
    ) -> Meaning:
        """From a task's own description.

        Args:
            task: its kind.
            described: see `Task.described`.
            names: of the targets, as far as the data name them.
            outputs: of the network.
            unit: of the targets.
            places: whether there is an answer for each place.

        Raises:
            MatloopError: a task whose outputs are not known here.
        """
        if "classes" in described:
            return cls(task, tuple(described["classes"]), places=places)
        if "orientation" in described:
            return cls(task, QUATERNION, symmetry=described["symmetry"])
        if "y_mean" not in described or task in OTHERS:
            raise MatloopError(
                f"expected a task of numbers or classes to make a bundle of, got {task!r}; "
                "`matloop export --network FOLDER` writes the network alone"
            )
        m = len(described["y_mean"])
        if outputs not in (m, 2 * m):
            raise MatloopError(f"expected {m} outputs or, with variances, {2 * m}, got {outputs}")
        given = (
            tuple(names) if len(names) == m else ("prediction",) if m == 1 else tuple(f"target {j}" for j in range(m))
        )
        mean, std = tuple(described["y_mean"]), tuple(described["y_std"])
        return cls(task, given, unit, mean, std, variance=outputs == 2 * m, places=places)

    @property
    def classes(self) -> bool:
        """Whether outputs are logits of classes."""
        return not self.mean and not self.symmetry

    def values(self, outputs: torch.Tensor) -> Array:
        """(k, n, outputs, *places), standardised, to (k, n, m, *places) float64 in the target's unit."""
        shape = (-1, *[1] * (outputs.ndim - 3))
        mean, std = (torch.tensor(a, dtype=torch.float64).reshape(shape) for a in (self.mean, self.std))
        found: Array = (outputs[:, :, : len(self.mean)].double() * std + mean).numpy()
        return found

    def spreads(self, answers: torch.Tensor, functions: torch.Tensor | None) -> Array | None:
        """Standard deviations (n, m, *places) that the networks themselves predict; None where they predict none.

        Args:
            answers: (k, n, outputs, *places), standardised.
            functions: (s, n, outputs, *places) whose disagreement counts; None where there are no several.
        """
        total: Array | None = None
        if functions is not None and len(functions) > 1:
            total = np.square(self.values(functions).std(axis=0, ddof=1))
        if self.variance:
            own = answers[:, :, len(self.mean) :].double().clamp(-10, 10).exp().mean(dim=0).numpy()
            own = own * np.square(np.array(self.std)).reshape(-1, *[1] * (own.ndim - 2))
            total = own if total is None else total + own
        return None if total is None else np.sqrt(total)

    def described(self) -> dict[str, Any]:
        """As JSON holds it."""
        return {name: plain(getattr(self, name)) for name in self.__slots__}

    @classmethod
    def from_described(cls, found: Mapping[str, Any]) -> Meaning:
        """The same again."""
        given: dict[str, Any] = {name: tuple(v) if isinstance(v, list) else v for name, v in found.items()}
        return cls(**given)


def plain(value: Any) -> Any:
    """Tuples as lists."""
    return list(value) if isinstance(value, tuple) else value
