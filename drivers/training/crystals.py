"""Crystals as graphs: atoms with properties of their element, edges to neighbours with the distance in soft bins.

As in CGCNN (Xie & Grossman, PRL 2018), with numbers from pymatgen for the elements. Run as a program, it turns a table
of CIF texts into a file for the training driver::

    python -m matloop.drivers.training.crystals table.csv crystals.npz --target formation_energy
"""

from __future__ import annotations

import argparse
import csv
import gzip
import io
import warnings
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from matloop.drivers.training.graphs import Graph, save

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


def convert(
    table: Path, output: Path, targets: Sequence[str], *, structure: str = "cif", **options: float
) -> tuple[int, int]:
    """Write the crystals of a table as graphs.

    Args:
        table: CSV, compressed or not, with a header.
        output: an .npz.
        targets: columns of numbers.
        structure: column of CIF texts.
        options: of `graph`.

    Returns:
        Number of node features and of edge features, as a space of graph networks wants them.

    Raises:
        ValueError: no such column.
    """
    from pymatgen.core.structure import Structure

    rows = _rows(table)
    missing = [name for name in (structure, *targets) if not rows or name not in rows[0]]
    if missing:
        raise ValueError(f"expected columns {[structure, *targets]} in {table}, got none for {missing}")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pymatgen says of every table that it rounded some coordinates
        graphs = [graph(Structure.from_str(row[structure], fmt="cif"), **options) for row in rows]  # type: ignore[arg-type]
    save(output, graphs, np.array([[float(row[name]) for name in targets] for row in rows]), targets)
    return graphs[0].nodes.shape[1], graphs[0].edge_features.shape[1]


def _rows(table: Path) -> list[dict[str, str]]:
    csv.field_size_limit(2**31 - 1)
    content = table.read_bytes()
    text = (gzip.decompress(content) if table.suffix == ".gz" else content).decode("utf-8-sig")
    return list(csv.DictReader(io.StringIO(text)))


def main(arguments: Sequence[str] | None = None) -> None:
    """Convert a table from the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m matloop.drivers.training.crystals", description="Crystals to graphs."
    )
    parser.add_argument("table", type=Path, help="CSV, or CSV.GZ, with a column of CIF texts")
    parser.add_argument("output", type=Path, help="the .npz to write")
    parser.add_argument("--target", action="append", required=True, help="column to predict; may be given again")
    parser.add_argument("--structure", default="cif", help="column of CIF texts")
    parser.add_argument("--cutoff", type=float, default=8.0, help="Å")
    parser.add_argument("--neighbours", type=int, default=12)
    parser.add_argument("--bins", type=int, default=16)
    given = vars(parser.parse_args(arguments))
    features = convert(given.pop("table"), given.pop("output"), given.pop("target"), **given)
    print("node_features: {}, edge_features: {}".format(*features))


if __name__ == "__main__":
    main()
