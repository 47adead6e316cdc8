"""Pools of crystals: their contract, and features of known structures against values worked out by hand."""

from __future__ import annotations

import warnings
from functools import cache
from math import pi, sqrt

import numpy as np
import pytest
from pymatgen.core import Lattice, Structure

from matloop.orchestrator.errors import ConfigError
from matloop.search_spaces.formulas.crystals import STRUCTURE, Crystals, featurise_crystals
from matloop.search_spaces.formulas.features import featurise
from matloop.testing.space import SpaceContract


@cache
def structures():
    salt = Structure.from_spacegroup("Fm-3m", Lattice.cubic(5.64), ["Na", "Cl"], [[0, 0, 0], [0.5, 0, 0]])
    iron = Structure.from_spacegroup("Im-3m", Lattice.cubic(2.87), ["Fe"], [[0, 0, 0]])
    rutile = Structure.from_spacegroup(
        "P4_2/mnm", Lattice.tetragonal(4.594, 2.959), ["Ti", "O"], [[0, 0, 0], [0.305, 0.305, 0]]
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return {name: s.to(fmt="cif") for name, s in [("salt", salt), ("iron", iron), ("rutile", rutile)]}


@pytest.fixture
def folder(tmp_path):
    for name, text in structures().items():
        (tmp_path / f"{name}.cif").write_text(text)
    return tmp_path


class TestCrystals(SpaceContract):
    @pytest.fixture
    def space(self, folder):
        return Crystals(directory=folder)


def test_structures_by_hand():
    rows = featurise_crystals(structures())
    salt, iron, rutile = (dict(zip(STRUCTURE, row[-len(STRUCTURE) :], strict=True)) for row in rows)
    assert np.allclose(rows[:, : -len(STRUCTURE)], featurise(["NaCl", "Fe", "TiO2"]))
    assert salt["density"] == pytest.approx(4 * (22.9898 + 35.453) * 1.66054 / 5.64**3, rel=1e-4)
    assert salt["volume_per_atom"] == pytest.approx(5.64**3 / 8)
    assert (salt["space_group"], salt["symmetry_operations"]) == (225, 48)
    assert salt["shortest_distance"] == pytest.approx(5.64 / 2)
    assert iron["packing_fraction"] == pytest.approx(2 * 4 / 3 * pi * 1.4**3 / 2.87**3)
    assert iron["shortest_distance"] == pytest.approx(2.87 * sqrt(3) / 2)
    assert (rutile["space_group"], rutile["symmetry_operations"]) == (136, 16)


def test_a_cell_of_one_atom_has_itself_as_its_neighbour():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        text = Structure(Lattice([[1.5, 1.5, 0], [1.5, 0, 1.5], [3.0, 3.0, 3.0]]), ["Cu"], [[0, 0, 0]]).to(fmt="cif")
    found = featurise_crystals({"sheared": text})[0, -1]
    vectors = np.array([[1.5, 1.5, 0], [1.5, 0, 1.5], [3.0, 3.0, 3.0]])
    images = [np.array([i, j, k]) @ vectors for i in range(-4, 5) for j in range(-4, 5) for k in range(-4, 5)]
    assert found == pytest.approx(min(np.linalg.norm(v) for v in images if np.linalg.norm(v) > 1e-9), rel=1e-5)


def test_a_table_and_a_folder_are_the_same(folder, tmp_path):
    path = tmp_path / "crystals.csv"
    quoted = "".join(f'{name},"{text.replace(chr(34), chr(34) * 2)}"\n' for name, text in sorted(structures().items()))
    path.write_text("material_id,cif\n" + quoted)
    a, b = Crystals(csv=path), Crystals(directory=folder)
    assert a.points == b.points
    assert np.array_equal(a.encode(a.points), b.encode(b.points))


def test_what_is_no_crystal_is_named(folder, tmp_path):
    (folder / "broken.cif").write_text("data_nothing\n")
    with pytest.raises(ConfigError, match="'broken'"):
        Crystals(directory=folder)
    with pytest.raises(ConfigError, match="found none"):
        Crystals(directory=tmp_path / "elsewhere")
    with pytest.raises(ConfigError, match="neither"):
        Crystals()
