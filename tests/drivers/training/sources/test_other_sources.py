"""Crystals, volumes, signals, HDF5, Zarr and earlier campaigns as training data."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
from pymatgen.core import Lattice, Structure

from matloop.drivers.training.crystals import graph
from matloop.drivers.training.sources.loading import load
from matloop.drivers.training.sources.registry import source, source_from
from matloop.drivers.training.sources.structures import sites
from matloop.orchestrator.composition.opening import open_campaign
from matloop.orchestrator.errors import ConfigError
from matloop.search_spaces.networks.graph.graphs import Graphs

POSITIONS = {"A": [0, 0, 0], "B": [0.5] * 3, "X": [[0.5, 0.5, 0], [0.5, 0, 0.5], [0, 0.5, 0.5]]}


def perovskite(a, b, x, length=4.0, order=range(5)):
    species = [a, b, *x] if isinstance(x, list) else [a, b, x, x, x]
    places = [POSITIONS["A"], POSITIONS["B"], *POSITIONS["X"]]
    return Structure(Lattice.cubic(length), [species[i] for i in order], [places[i] for i in order])


def again(given):
    """The source made of its settings, as another machine does."""
    return source_from(json.loads(json.dumps(source(given).settings())))


@pytest.fixture
def oxides(tmp_path):
    """A folder of structures, one file in another format and one broken, and their table."""
    folder = tmp_path / "cif"
    folder.mkdir()
    found = [perovskite("Ba", "Ti", "O"), perovskite("Sr", "Ti", "O", 3.9), perovskite("Ca", "Zr", "O", 3.8)]
    for i, structure in enumerate(found[:2]):
        structure.to(str(folder / f"s{i}.cif"))
    found[2].to(str(folder / "s2.vasp"), fmt="poscar")
    (folder / "s3.cif").write_text("data_broken\n")
    Structure(Lattice.cubic(3), ["Ba"], [[0, 0, 0]]).to(str(folder / "s4.cif"))
    (tmp_path / "t.csv").write_text("file,energy\ns0,1.5\ns1.cif,2\ns2,3\ns3,4\ns4,5\n")
    return folder, tmp_path / "t.csv", found


def test_structures_as_graphs(oxides):
    folder, table, found = oxides
    options = {"kind": "crystals", "path": folder, "table": table, "target": "energy", "cutoff": 5.0, "bins": 6}
    data = load(options)
    assert isinstance(data.x, Graphs) and data.y.tolist() == [1.5, 2, 3, 5]
    expected = graph(found[1], cutoff=5.0, neighbours=12, bins=6)
    assert np.allclose(data.x[1:2].nodes, expected.nodes) and data.x[1:2].edges.shape[1] == expected.edges.shape[1]
    assert [problem.partition(":")[0] for problem in data.problems] == ["s3.cif"]
    new = again(options).inputs([found[2], perovskite("Pb", "Ti", "O")])
    assert np.allclose(new.x[:1].nodes, data.x[2:3].nodes) and new.ids.tolist() == ["CaZrO3 (0)", "TiPbO3 (1)"]
    assert new.unknown == ("", "no training data with Pb") and not new.problems


def test_elements_by_site(oxides):
    folder, table, _ = oxides
    options = {"kind": "crystals", "path": folder, "table": table, "target": "energy", "descriptor": "sites"}
    data = load(options)
    elements = [8, 20, 22, 38, 40, 56]
    assert data.known == {"sites": 5, "elements": elements} and data.x.shape == (3, 5 * (6 + 21) + 7)
    assert data.x[0, -7:] == pytest.approx([64 / 5, 4, 4, 4, 90, 90, 90])
    which = data.x[:, :-7].reshape(3, 5, 27)[..., :6].argmax(axis=2)
    assert [[elements[i] for i in row] for row in which] == [
        [22, 8, 8, 8, 56], [22, 8, 8, 8, 38], [40, 8, 8, 8, 20],
    ]  # fmt: skip
    assert any("expected 5 sites, as most structures have, got 1" in problem for problem in data.problems)
    new = again(options).inputs(folder / "s1.cif")
    assert np.allclose(new.x[0], data.x[1], rtol=1e-5)


def test_the_order_of_sites_does_not_matter_and_their_kind_does():
    elements = [7, 8, 9, 22, 56]
    mixed = ["F", "O", "N"]
    first = sites([perovskite("Ba", "Ti", mixed)], elements)
    other = sites([perovskite("Ba", "Ti", mixed, order=[3, 1, 4, 0, 2])], elements)
    swapped = sites([perovskite("Ti", "Ba", mixed)], elements)
    assert np.allclose(first, other) and not np.allclose(first, swapped)


def test_structures_in_a_table(tmp_path):
    texts = [perovskite(a, "Ti", "O").to(fmt="cif") for a in ("Ba", "Sr", "Ba")] + ["data_x", ""]
    pd.DataFrame({"cif": texts, "e": [1.5, 2, 3, 4, 5], "name": [*"abcde"]}).to_csv(tmp_path / "t.csv.gz", index=False)
    options = {"kind": "crystals", "path": tmp_path / "t.csv.gz", "target": "e", "id": "name", "cutoff": 4.0}
    data = load(options)
    assert data.ids.tolist() == ["a", "b", "c"] and data.groups.tolist() == [0, 1, 0]  # BaTiO3 is there twice
    assert len(data.problems) == 2
    assert again(options).inputs({"cif": texts[:1]}).ids.tolist() == ["row 0"]


@pytest.mark.parametrize("form", ["npy", "npz", "h5", "tif"])
def test_volumes(tmp_path, form):
    rng = np.random.default_rng(0)
    folder, volumes = tmp_path / "volumes", rng.integers(0, 255, (4, 3, 5, 6), dtype=np.uint8)
    folder.mkdir()
    for i, volume in enumerate(volumes):
        path = folder / f"v{i}.{form}"
        match form:
            case "npy":
                np.save(path, volume)
            case "npz":
                np.savez(path, density=volume)
            case "h5":
                with pytest.importorskip("h5py").File(path, "w") as file:
                    file["scan/density"] = volume
            case "tif":
                pytest.importorskip("tifffile").imwrite(path, volume, photometric="minisblack")
    np.save(folder / "odd.npy", np.zeros((3, 5, 5), dtype=np.uint8))
    (tmp_path / "t.csv").write_text("file,specimen,k\nv0,A,1.5\nv1,A,2\nv2,B,3\nv3,B,4\nodd,B,5\n")
    options = {
        "kind": "volumes", "path": folder, "table": tmp_path / "t.csv", "target": "k", "group": "specimen",
    }  # fmt: skip
    data = load(options)
    assert data.x.dtype == np.uint8 and np.array_equal(data.x[:, 0], volumes) and data.y.tolist() == [1.5, 2, 3, 4]
    assert data.groups.tolist() == [0, 0, 1, 1]
    assert data.problems == ("odd.npy: expected the shape (1, 3, 5, 6), got (1, 3, 5, 5); left out",)
    new = again(options).inputs(folder)
    assert np.array_equal(new.x, data.x) and new.problems[0].startswith("odd.npy: ")


def test_labels_of_voxels(tmp_path):
    rng = np.random.default_rng(0)
    for name in ("scans", "phases"):
        (tmp_path / name).mkdir()
    for i in range(3):
        np.save(tmp_path / "scans" / f"{i}.npy", rng.normal(size=(4, 5, 6, 2)).astype(np.float32))
        np.save(tmp_path / "phases" / f"{i}.npy", rng.integers(0, 3, (4, 5, 6 - (i == 2)), dtype=np.uint8))
    np.save(tmp_path / "scans" / "alone.npy", np.zeros((4, 5, 6, 2), dtype=np.float32))
    data = load({
        "kind": "volumes", "path": tmp_path / "scans", "labels": tmp_path / "phases", "channels": "last",
    })  # fmt: skip
    assert data.x.shape == (2, 2, 4, 5, 6) and data.y.shape == (2, 4, 5, 6)
    assert np.array_equal(data.x[1, 1], np.load(tmp_path / "scans" / "1.npy")[..., 1])
    assert data.problems == (
        "alone.npy: found no labels of it; left out",
        "2.npy: expected labels of the shape (4, 5, 6), got (4, 5, 5); left out",
    )


def test_signals_in_one_table(tmp_path):
    (tmp_path / "t.csv").write_text("sample,30,10.5,20,phase\na,3,1,2,alpha\nb,6,4,5,beta\nc,,7,8,beta\nd,9,7,8,\n")
    options = {"kind": "signals", "path": tmp_path / "t.csv", "target": "phase", "id": "sample"}
    data = load(options)
    assert data.x.tolist() == [[[1, 2, 3]], [[4, 5, 6]]] and data.names == ("alpha", "beta")
    assert "none at '30'" in data.problems[0] and "name of a class" in data.problems[1]
    new = again(options).inputs({"10.5": [1], "20": [1], "30": [2]})
    assert new.x.tolist() == [[[1, 1, 2]]]


def test_a_file_for_each_signal(tmp_path):
    """Patterns that do not begin and end alike are interpolated where all have values."""
    for name, (begin, end) in {"cubic/a": (10, 30), "cubic/b": (12, 30), "hexagonal/c": (10, 28)}.items():
        path = tmp_path / f"{name}.xy"
        path.parent.mkdir(exist_ok=True)
        angle = np.arange(begin, end + 1.0)
        header = "angle counts\n" if name == "cubic/a" else "# measured on a Tuesday\n"
        path.write_text(header + "".join(f"{a:g}  {2 * a:g}\n" for a in angle[::-1]))
    (tmp_path / "cubic" / "note.txt").write_text("to be measured again")
    options = {"kind": "signals", "path": tmp_path, "points": 9}
    data = load(options)
    assert data.x.shape == (3, 1, 9) and data.names == ("cubic", "hexagonal") and data.y.tolist() == [0, 0, 1]
    assert np.allclose(data.x[:, 0], 2 * np.linspace(12, 28, 9))
    assert data.problems[0].startswith("cubic/note.txt: expected columns of numbers")
    new = again(options).inputs([tmp_path / "hexagonal" / "c.xy"])
    assert np.array_equal(new.x, data.x[2:])
    (tmp_path / "cubic" / "far.csv").write_text("100,1\n101,2\n")
    odd = load(options)
    assert np.array_equal(odd.x, data.x) and odd.problems[0] == (
        "cubic/far.csv: expected values from 11 to 30, as most signals have, got 100 to 101; left out"
    )
    assert odd.problems[-2] == "signals are interpolated at 9 places from 12 to 28, where all have values"
    assert odd.problems[-1].startswith("cubic/a.xy has the same content as cubic/b.xy, hexagonal/c.xy, and different")
    (tmp_path / "short.xy").write_text("11 1\n12 1\n")
    assert again(options).inputs([tmp_path / "short.xy", tmp_path / "cubic" / "a.xy"]).unknown == (
        "values from 11 to 12 only, of 12 to 28", ""
    )  # fmt: skip


@pytest.mark.filterwarnings("ignore:The data type")  # texts are not in the specification of Zarr yet
@pytest.mark.parametrize("kind", ["hdf5", "zarr"])
def test_datasets_by_name(tmp_path, kind):
    rng = np.random.default_rng(0)
    images, names = rng.integers(0, 255, (6, 8, 9, 3), dtype=np.uint8), np.array(["b", "a"] * 3)
    path = tmp_path / f"data.{kind}"
    if kind == "hdf5":
        h5py = pytest.importorskip("h5py")
        with h5py.File(path, "w") as file:
            file["scan/image"], file["strength"] = images, np.arange(6) / 2
            file["phase"], file["groups"] = [name.encode() for name in names], np.arange(6) // 2
    else:
        store = pytest.importorskip("zarr").open_group(str(path), mode="w")
        scan = store.create_group("scan")
        for place, name, values in (
            (scan, "image", images), (store, "strength", np.arange(6) / 2),
            (store, "phase", names.astype("<U2")), (store, "groups", np.arange(6) // 2),
        ):  # fmt: skip
            place.create_array(name, data=values)
    options = {"kind": kind, "path": path, "x": "scan/image", "y": "strength", "transpose": True}
    data = load(options)
    assert data.x.dtype == np.uint8 and np.array_equal(np.moveaxis(data.x, 1, -1), images)
    assert data.y.tolist() == [0, 0.5, 1, 1.5, 2, 2.5] and data.groups.tolist() == [0, 0, 1, 1, 2, 2]
    classes = load({**options, "y": "phase"})
    assert classes.names == ("a", "b") and classes.y.tolist() == [1, 0] * 3
    with pytest.raises(ValueError, match="transpose: true"):
        load({**options, "transpose": None})
    with pytest.raises(ValueError, match=r"datasets \['y'\] .*'scan/image'"):
        load({"kind": kind, "path": path, "x": "scan/image"})
    assert np.array_equal(again(options).inputs(images[:2]).x, data.x[:2])
    assert np.array_equal(again(options).inputs(path).x, data.x)
    with pytest.raises(FileNotFoundError, match="correct `path`"):
        source({**options, "path": tmp_path / "none"}).read()


def test_results_of_a_campaign(tmp_path):
    (tmp_path / "measured.py").write_text("def hardness(point): return 10 * point['c'] + (point['bath'] == 'salt')\n")
    (tmp_path / "c.yaml").write_text("""
name: steels
executor: serial
studies:
  search:
    space: {kind: box, parameters: {c: {type: float, low: 0, high: 1},
                                    bath: {type: categorical, choices: [salt, oil]}}}
    driver: {kind: python, path: "measured.py:hardness"}
    strategy: random
    objectives: {hardness: maximise}
    budget: {trials: 8}
""")
    with open_campaign(tmp_path / "c.yaml") as campaign:
        campaign.run()
    options = {"kind": "study", "path": tmp_path / "runs" / "steels", "target": "hardness"}
    data = load(options)
    assert data.known["inputs"] == ["c", "bath=oil", "bath=salt"]
    assert np.allclose(10 * data.x[:, 0] + data.x[:, 2], data.y) and len(data) == 8
    assert again(options).inputs({"c": [0.5], "bath": ["oil"]}).x.tolist() == [[0.5, 1, 0]]
    with pytest.raises(ValueError, match=r"got \['search'\]"):
        load({**options, "study": "other"})


def test_options_that_make_no_sense(tmp_path):
    for options, message in [
        ({"kind": "crystals", "cutoff": -1}, "cutoff"),
        ({"kind": "signals", "points": 1}, "points"),
        ({"kind": "volumes", "channels": "middle"}, "channels"),
        ({"kind": "volumes", "table": "t.csv", "labels": "l"}, "both"),
    ]:
        with pytest.raises(ConfigError, match=message):
            source({"path": tmp_path, **options})
