"""Crystals as graphs: atoms with properties of their element, edges to neighbours with the distance in soft bins.

As in CGCNN (Xie & Grossman, PRL 2018), with numbers from pymatgen for the elements.
"""

from __future__ import annotations

import warnings
from functools import cache
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from matloop.drivers.training.graphs import Graph

if TYPE_CHECKING:
    from pymatgen.core.structure import Structure

ELEMENT = (
    "period",
    "group",
    "s block",
    "p block",
    "d block",
    "f block",
    "Mendeleev number",
    "electronegativity (Pauling)",
    "atomic radius, Å",
    "first ionisation energy, eV",
    "electron affinity, eV",
    "mean ionic radius, Å",
)
"""What a node's features are, in order; 0 where no value is known."""

_SAME_SHELL = 1e-3  # Å; distances closer than this are equal
_NOTHING = 1e-6  # standardising would blow up the tails of Gaussians that no distance comes near


def graph(structure: Structure, *, cutoff: float = 8.0, neighbours: int = 12, bins: int = 16) -> Graph:
    """The graph of a periodic structure; the same, up to order, wherever its cell begins.

    Args:
        structure: ordered; cell and positions in Å.
        cutoff: neighbours are sought within it, Å.
        neighbours: an atom receives from so many nearest ones and from any at the distance of the last, so that
            equivalent neighbours are in or out together and a supercell has the same surroundings.
        bins: Gaussians from 0 to the cutoff, as wide as they are apart, that a distance is expanded in.

    Raises:
        ValueError: sites shared by several elements.
    """
    if not structure.is_ordered:
        raise ValueError(f"expected every site to hold one element, got {structure.composition.formula}")
    receivers, senders, _, distances = structure.get_neighbor_list(cutoff)
    kept = _nearest(receivers, distances, len(structure), neighbours)
    nodes = np.array([element(site.specie.symbol) for site in structure], dtype=np.float32)
    edges = np.stack([senders[kept], receivers[kept]]).astype(np.int64)
    return Graph(nodes, edges, expand(distances[kept], cutoff, bins))


def expand(distances: npt.NDArray[np.float64], cutoff: float, bins: int) -> npt.NDArray[np.float32]:
    """(E,) distances, Å, to (E, bins) values exp(-((d - centre) / width)²), 0 below 1e-6."""
    centres = np.linspace(0.0, cutoff, bins)
    width = cutoff / max(bins - 1, 1)
    values = np.exp(-(((distances[:, None] - centres) / width) ** 2))
    return np.where(values < _NOTHING, 0.0, values).astype(np.float32)


@cache
def element(symbol: str) -> tuple[float, ...]:
    """Its properties, in the order of `ELEMENT`."""
    from pymatgen.core.periodic_table import Element

    found = Element(symbol)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it warns of elements without electronegativity
        values = (
            found.row,
            found.group,
            *(found.block == block for block in "spdf"),
            found.mendeleev_no,
            found.X,
            found.atomic_radius,
            found.ionization_energy,
            found.electron_affinity,
            found.average_ionic_radius,
        )
    return tuple(float(np.nan_to_num(float(value or 0.0))) for value in values)


def _nearest(owner: npt.NDArray[np.int64], distances: npt.NDArray[np.float64], n: int, k: int) -> npt.NDArray[np.int64]:
    """Numbers of the pairs that are among the k shortest of their owner, or as long as its k-th."""
    order = np.lexsort((distances, owner))
    counts = np.bincount(owner, minlength=n)
    first = np.concatenate([[0], counts.cumsum()])[:-1]
    has_more = counts > k
    limit = np.full(n, np.inf)
    limit[has_more] = distances[order[first[has_more] + k - 1]] + _SAME_SHELL
    return order[distances[order] <= limit[owner[order]]]
