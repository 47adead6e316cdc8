"""Crystals as graphs, and graphs in files: neighbours against pymatgen's, symmetries, and what bad files are told."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from pymatgen.core import Lattice, Structure

from matloop.drivers.training import crystals
from matloop.drivers.training.graphs import ARRAYS, GraphScales, read, save
from matloop.search_spaces.networks.graph.space import GraphNetworks
from matloop.search_spaces.networks.module import build

PEROVSKITE = Structure(
    Lattice.orthorhombic(3.9, 4.0, 4.2),
    ["Sr", "Ti", "O", "O", "O"],
    [[0, 0, 0], [0.5, 0.5, 0.52], [0.5, 0.5, 0], [0.5, 0, 0.5], [0, 0.5, 0.5]],
)
SALT = Structure.from_spacegroup("Fm-3m", Lattice.cubic(5.64), ["Na", "Cl"], [[0, 0, 0], [0.5, 0.5, 0.5]])


def tensors(graph):
    """A single graph as a network takes it."""
    counts = [0, len(graph.nodes)], [0, graph.edges.shape[1]]
    return read(dict(zip(ARRAYS, (*graph, *map(np.array, counts)), strict=True)), "here")


def shells(graph, node):
    """What an atom receives: sorted sender features and edge features."""
    chosen = graph.edges[1] == node
    return sorted(
        map(tuple, np.hstack([graph.nodes[graph.edges[0][chosen]], graph.edge_features[chosen]]).round(4).tolist())
    )


def test_rock_salt_has_its_known_neighbours():
    """Six of the other kind at half the lattice constant; then twelve of its own at 0.7071 of it."""
    for neighbours, expected in ((1, 6), (6, 6), (7, 18), (18, 18), (19, 26)):
        graph = crystals.graph(SALT, neighbours=neighbours)
        assert np.bincount(graph.edges[1]).tolist() == [expected] * 8
    graph = crystals.graph(SALT, neighbours=6, bins=81)
    assert set(graph.edge_features.argmax(axis=1)) == {28}  # 2.8 Å of 2.82
    metal = [SALT[i].specie.symbol == "Na" for i in range(8)]
    assert all(metal[sender] != metal[receiver] for sender, receiver in graph.edges.T)


def test_neighbours_are_the_nearest_of_all_within_the_cutoff():
    """Against pymatgen's other search, atom by atom."""
    rng = np.random.default_rng(0)
    structure = Structure(Lattice.from_parameters(4, 5, 6, 80, 95, 105), ["Fe"] * 4, rng.random((4, 3)))
    graph = crystals.graph(structure, cutoff=6.0, neighbours=5, bins=7)
    for node, site in enumerate(structure):
        distances = np.sort([neighbour.nn_distance for neighbour in structure.get_neighbors(site, 6.0)])[:5]
        features = graph.edge_features[graph.edges[1] == node]
        expected = np.exp(-((distances[:, None] - np.arange(7)) ** 2))  # centres 1 Å apart
        assert np.allclose(np.sort(features, axis=0), np.sort(expected, axis=0), atol=1e-5)
    everything = crystals.graph(structure, cutoff=6.0, neighbours=10_000)
    assert everything.edges.shape[1] == len(structure.get_neighbor_list(6.0)[0])


def test_where_the_cell_begins_does_not_matter():
    """Nor do rotations, the order of atoms, or lattice vectors chosen differently."""
    graph = crystals.graph(PEROVSKITE)
    shifted = PEROVSKITE.copy()
    shifted.translate_sites(range(5), [0.31, -0.4, 1.7])
    sheared = PEROVSKITE.copy()
    sheared.make_supercell([[1, 1, 0], [0, 1, 0], [0, 0, 1]])
    reordered = Structure.from_sites([PEROVSKITE[i] for i in (3, 1, 4, 0, 2)])
    place = {id_: i for i, id_ in enumerate((3, 1, 4, 0, 2))}
    for other, where in ((shifted, range(5)), (sheared, range(5)), (reordered, [place[i] for i in range(5)])):
        turned = crystals.graph(other)
        for node in range(5):
            assert np.allclose(shells(turned, where[node]), shells(graph, node), atol=2e-4)


def test_a_supercell_is_predicted_like_its_cell():
    """Networks that average over the atoms cannot tell them apart; those that sum see twelve times as much."""
    large = PEROVSKITE.copy()
    large.make_supercell([[2, 0, 0], [1, 2, 0], [0, 0, 3]])
    assert len(large) == 60
    small, large = (tensors(crystals.graph(structure, neighbours=8)) for structure in (PEROVSKITE, large))
    space, rng = GraphNetworks(node_features=12, edge_features=16), np.random.default_rng(1)
    for _ in range(10):
        network = build(space.sample(rng) | {"pooling": "mean"}).eval()
        assert torch.allclose(network(small), network(large), rtol=1e-3, atol=1e-4)
    genome = space.sample(rng) | {"pooling": "sum", "head": []}
    network = build(genome).eval()
    bias = network.output.bias
    assert torch.allclose(12 * (network(small) - bias), network(large) - bias, rtol=1e-3, atol=1e-3)


def test_elements_have_their_textbook_values():
    oxygen = dict(zip(crystals.ELEMENT, crystals.element("O"), strict=True))
    assert (oxygen["period"], oxygen["group"], oxygen["p block"], oxygen["s block"]) == (2, 16, 1, 0)
    assert oxygen["electronegativity (Pauling)"] == 3.44
    assert oxygen["first ionisation energy, eV"] == pytest.approx(13.62, abs=0.01)
    table = np.array([crystals.element(symbol) for symbol in ("H", "He", "Fe", "La", "U", "Xe")])
    assert np.isfinite(table).all()
    assert crystals.element("He")[crystals.ELEMENT.index("electronegativity (Pauling)")] == 0


def test_an_atom_may_have_nobody_near():
    lonely = Structure(Lattice.cubic(20), ["Ar"], [[0, 0, 0]])
    graph = crystals.graph(lonely)
    assert graph.edges.shape == (2, 0) and graph.edge_features.shape == (0, 16)


def test_mixed_sites_are_refused():
    alloy = Structure(Lattice.cubic(3), [{"Cu": 0.5, "Au": 0.5}], [[0, 0, 0]])
    with pytest.raises(ValueError, match="one element"):
        crystals.graph(alloy)


@pytest.fixture
def graphs():
    return [crystals.graph(structure) for structure in (PEROVSKITE, SALT, PEROVSKITE)]


def test_a_file_gives_back_its_graphs(tmp_path, graphs):
    save(tmp_path / "graphs.npz", graphs, np.array([1.0, 2.0, 3.0]), ["energy"])
    with np.load(tmp_path / "graphs.npz") as file:
        arrays = dict(file)
    batch = read(arrays, tmp_path / "graphs.npz")
    assert arrays["y"].tolist() == [1, 2, 3] and arrays["names"].tolist() == ["energy"]
    assert batch.shape == (3, 12, 16)
    for i, graph in enumerate(graphs):
        one = batch[[i]]
        for got, expected in zip((one.nodes, one.edges, one.edge_features), graph, strict=True):
            assert np.array_equal(got.numpy(), expected)


def test_scales_bring_features_to_mean_0_and_deviation_1(tmp_path, graphs):
    save(path := tmp_path / "graphs.npz", graphs, np.zeros(3))
    with np.load(path) as file:
        batch = read(file, path)
    scales = GraphScales.of(batch)
    scaled = scales.apply(batch)
    for x, original in ((scaled.nodes, batch.nodes), (scaled.edge_features, batch.edge_features)):
        varied = original.amax(dim=0) > original.amin(dim=0)
        assert torch.allclose(x.mean(dim=0), torch.zeros(x.shape[1]), atol=1e-4)
        assert torch.allclose(x[:, varied].std(dim=0, correction=0), torch.ones(int(varied.sum())), atol=1e-3)
        assert (x[:, ~varied] == 0).all()
    assert torch.equal(scaled.edges, batch.edges)
    listed = scales.listed()
    assert len(listed["x_mean"]) == 28 and listed["x_std"][5] == 1.0  # no f block there
    bare = replace(batch, edges=batch.edges[:, :0], edge_features=batch.edge_features[:0])
    assert GraphScales.of(bare).listed()["x_std"][12:] == [1.0] * 16


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"edges": None}, r"none for \['edges'\]"),
        ({"edges": np.zeros((2, 3), dtype=int)}, r"edges \(2, E\)"),
        ({"nodes": np.zeros(18)}, r"nodes \(N, f\)"),
        ({"node_offsets": np.array([0, 5, 13])}, "node_offsets .* from 0 to 18"),
        ({"node_offsets": np.array([0, 5, 5, 18])}, "at least 1 for each graph"),
        ({"edge_offsets": np.array([0, 400])}, "edge_offsets"),
        ({"nodes": np.full((18, 12), np.nan)}, "finite nodes"),
    ],
)
def test_bad_files_are_named(tmp_path, graphs, change, message):
    save(tmp_path / "graphs.npz", graphs, np.zeros(3))
    with np.load(tmp_path / "graphs.npz") as file:
        arrays = {name: value for name, value in ({**file} | change).items() if value is not None}
    with pytest.raises(ValueError, match=message):
        read(arrays, tmp_path / "graphs.npz")


def test_edges_must_stay_in_their_graph(tmp_path, graphs):
    save(tmp_path / "graphs.npz", graphs, np.zeros(3))
    with np.load(tmp_path / "graphs.npz") as file:
        arrays = dict(file)
    arrays["edges"] = np.where(arrays["edges"] == 4, 5, arrays["edges"])  # the first graph has nodes 0 to 4
    with pytest.raises(ValueError, match="their own graph"):
        read(arrays, tmp_path / "graphs.npz")
