"""Four kinds of data: how their files are made, the campaign that searches them, and how predictions are scored."""

from __future__ import annotations

import csv
import gzip
import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from matloop.drivers.training.data import Data
from own import elasticity, hand_made

Values = npt.NDArray[Any]
Score = Callable[[Values, Values], dict[str, float]]


@dataclass(frozen=True, kw_only=True)
class Kind:
    """One comparison.

    Attributes:
        prepare: makes the files of the campaign in a folder, from the folder of public data; `rows` shortens them.
        study: space, driver without its budget, and strategy, as a campaign file has them.
        trial_s: budget of a trial of the search, s on one core.
        final_s: that of the finalists, the winner, the references and the hand-made network, s on one core.
        finalists: how many of the search's best are trained for so long before one of them is chosen.
        references: beside the hand-made one.
        score: figures of measured and predicted values of the test rows.
        figure: the first of them, by which networks are compared.
        larger: whether larger ones are better.
        hand_made: predictions of the hand-made network for the test rows, by seed and seconds.
    """

    name: str
    prepare: Callable[[Path, Path, int], None]
    study: Mapping[str, Any]
    trial_s: float
    final_s: float
    finalists: int
    references: Sequence[str]
    score: Score
    figure: str
    hand_made: Callable[[Data, int, float], Values]
    larger: bool = False


def rows_of(data: Data, part: str) -> npt.NDArray[np.int64]:
    """Rows that the files say are for that part."""
    assert data.parts is not None
    return np.flatnonzero(data.parts == part)


def absolute(measured: Values, predicted: Values) -> dict[str, float]:
    """Mean absolute error."""
    return {"mae": float(np.abs(np.ravel(measured) - np.ravel(predicted)).mean())}


# Formation energies of compounds, by their formulas.

COMPOUNDS, OF_THEM = 20_000, {"validation": 1_000, "test": 3_000}
OUTLIER = 5.0
"""eV/atom, above which the size of an energy is a slip of the table."""


def compositions(folder: Path, data: Path, rows: int) -> None:
    """20,000 formulas, no two of one reduced composition; 16,000 to train on, 1,000 to choose by, 3,000 to test."""
    from pymatgen.core import Composition

    found: dict[str, tuple[str, str]] = {}
    with (data / "composition" / "oqmd_formation_energy.csv").open() as file:
        for row in csv.DictReader(file):
            if abs(float(row["target"])) < OUTLIER:
                found.setdefault(Composition(row["formula"]).reduced_formula, (row["formula"], row["target"]))
    n = min(COMPOUNDS, rows, len(found))
    chosen = np.random.default_rng(0).permutation(sorted(found))[:n]
    _write(folder / "formulas.csv", ["formula", "target", "part"], [
        [*found[name], part] for name, part in zip(chosen, _parts(n, COMPOUNDS, OF_THEM), strict=True)
    ])  # fmt: skip


def _dense(data: Data, seed: int, seconds: float, **recipe: Any) -> Values:
    train, test = rows_of(data, "train"), rows_of(data, "test")
    x, y = np.asarray(data.x), data.y
    return hand_made.residual(x[train], y[train], x[test], seed=seed, seconds=seconds, **recipe)


def _on_vectors(**source: Any) -> Mapping[str, Any]:
    driver = {"kind": "training", "data": {**source, "part": "part"}, "unit": "eV/atom"}
    return {"space": "dense_network", "driver": driver}


COMPOSITION = Kind(
    name="composition",
    prepare=compositions,
    study=_on_vectors(kind="formulas", path="formulas.csv", target="target"),
    trial_s=25.0,
    final_s=50.0,
    finalists=8,
    references=("random_forest", "gradient_boosting", "elemnet", "perceptron", "residual"),
    score=absolute,
    figure="mae",
    hand_made=lambda data, seed, seconds: _dense(data, seed, seconds, dropout=0.1, rate=2e-3, decay=1e-3, batch=256),
)


# Heats of formation of perovskites, by the elements on their sites.

SITES = ("A", "B", "X1", "X2", "X3")
PROPERTIES = ("X", "atomic_radius", "group", "row")


def perovskites(folder: Path, data: Path, rows: int) -> None:
    """A table of the elements on five sites with four properties each, the volume and the longest axis; 60/20/20."""
    from pymatgen.core import Structure

    table: list[list[Any]] = []
    with gzip.open(data / "crystals" / "perov_5_val.csv.gz") as file:
        for row in csv.DictReader(io.TextIOWrapper(file)):
            structure = Structure.from_str(row["cif"], fmt="cif")
            if len(structure) == len(SITES):
                table.append([*_on_sites(structure), float(row["heat_all"])])
            if len(table) == rows:
                break
    n = len(table)
    parts = _parts(n, n, {"validation": n // 5, "test": n - n * 3 // 5 - n // 5})
    order = np.random.default_rng(0).permutation(n)
    head = [*SITES, *(f"{name} of {site}" for site in SITES for name in PROPERTIES), "volume", "a", "heat", "part"]
    _write(folder / "sites.csv", head, [[*table[i], part] for i, part in zip(order, parts, strict=True)])


def _on_sites(structure: Any) -> list[Any]:
    """Elements in the order of `SITES`, their properties, volume and longest axis: B has most neighbours within 0.55 of
    the cell's side, A fewest, and the three others are sorted by atomic number. The origin is anywhere."""
    a = structure.lattice.a
    neighbours = [(len(structure.get_neighbors(site, 0.55 * a)), i) for i, site in enumerate(structure)]
    b, corner = max(neighbours)[1], min(neighbours)[1]
    others = sorted((i for i in range(len(structure)) if i not in (b, corner)), key=lambda i: structure[i].specie.Z)
    elements = [structure[i].specie for i in (corner, b, *others)]
    numbers = [float(getattr(element, name) or 0.0) for element in elements for name in PROPERTIES]
    return [*(element.symbol for element in elements), *numbers, structure.volume, a]


PEROVSKITES = Kind(
    name="sites",
    prepare=perovskites,
    study=_on_vectors(kind="table", path="sites.csv", target="heat"),
    trial_s=12.5,
    final_s=25.0,
    finalists=12,
    references=("random_forest", "gradient_boosting", "residual"),
    score=absolute,
    figure="mae",
    hand_made=lambda data, seed, seconds: _dense(data, seed, seconds, dropout=0.2, rate=1e-3, decay=1e-2, batch=64),
)


# Stiffness of two-phase volumes.

VOLUMES, OF_VOLUMES = 2_000, {"validation": 200, "test": 300}


def volumes(folder: Path, data: Path, rows: int) -> None:
    """2,000 volumes of 21³ voxels with the logarithm of C11; 1,500 to train on, 200 to choose by, 300 to test."""
    rng = np.random.default_rng(0)
    n = min(VOLUMES, rows)
    x = np.stack([elasticity.volume(rng) for _ in range(n)])
    y = np.log([elasticity.stiffness(phase) for phase in x])
    parts = np.array(_parts(n, VOLUMES, OF_VOLUMES))
    np.savez(folder / "volumes.npz", x=x[:, None].astype(np.uint8), y=y, parts=parts, names=np.array(["log C11"]))


def relative(measured: Values, predicted: Values) -> dict[str, float]:
    """Mean absolute error of the stiffness over its mean, %, from logarithms."""
    true, said = (np.exp(np.ravel(values).astype(float)) for values in (measured, predicted))
    return {"error_percent": float(100 * np.abs(true - said).mean() / true.mean())}


def _volumes(data: Data, seed: int, seconds: float) -> Values:
    train, test = rows_of(data, "train"), rows_of(data, "test")
    x = np.asarray(data.x)
    return hand_made.volumes(x[train], np.ravel(data.y)[train], x[test], seed=seed, seconds=seconds)


HOMOGENISATION = Kind(
    name="homogenisation",
    prepare=volumes,
    study={
        "space": {"kind": "conv_network", "max_multiply_adds": 60_000_000},
        "driver": {"kind": "training", "data": "volumes.npz", "augment": ["shift", "flip", "swap"]},
    },
    trial_s=60.0,
    final_s=300.0,
    finalists=2,
    references=("gradient_boosting",),
    score=relative,
    figure="error_percent",
    hand_made=_volumes,
)


# Classes of pixels of superalloy micrographs.


def micrographs(folder: Path, data: Path, rows: int) -> None:
    """The authors' own parts: 10 micrographs to train on, 4 to choose by and 4 to test, whole images of 512 x 512."""
    names = {"train": "train", "validation": "val", "test": "test"}
    files = {part: np.load(data / "micrographs" / f"Super1_{name}.npz") for part, name in names.items()}
    each = {part: max(min(len(file["X"]), rows // 10), 1) for part, file in files.items()}
    x = np.concatenate([file["X"][: each[part]] for part, file in files.items()])
    y = np.concatenate([file["mask"][: each[part]] for part, file in files.items()])
    parts = np.concatenate([[part] * each[part] for part in files])
    np.savez(folder / "micrographs.npz", x=x[:, None], y=y, parts=parts, names=np.array(["matrix", "first", "second"]))


def overlap(measured: Values, predicted: Values) -> dict[str, float]:
    """Intersection over union of the three classes over all test pixels, and their mean."""
    each = [
        float(((measured == c) & (predicted == c)).sum() / ((measured == c) | (predicted == c)).sum()) for c in range(3)
    ]
    return {"mean_iou": float(np.mean(each)), "class_1": each[1]}


def _micrographs(data: Data, seed: int, seconds: float) -> Values:
    train, test = rows_of(data, "train"), rows_of(data, "test")
    x = np.asarray(data.x)
    return hand_made.micrographs(x[train], data.y[train], x[test], seed=seed, seconds=seconds)


SEGMENTATION = Kind(
    name="segmentation",
    prepare=micrographs,
    study={
        "space": {"kind": "segmentation_network"},
        "driver": {
            "kind": "training",
            "task": "segmentation",
            "data": "micrographs.npz",
            "augment": ["flip", "turn", {"crop": 128}],
        },
        "objectives": {"validation_mean_iou": "maximise"},
    },
    trial_s=60.0,
    final_s=300.0,
    finalists=2,
    references=(),
    score=overlap,
    figure="mean_iou",
    larger=True,
    hand_made=_micrographs,
)

KINDS: Mapping[str, Kind] = {kind.name: kind for kind in (COMPOSITION, PEROVSKITES, SEGMENTATION, HOMOGENISATION)}


def _parts(n: int, full: int, held_out: Mapping[str, int]) -> list[str]:
    """Of n rows in random order, as many for each part as there would be of all."""
    sizes = {part: max(n * size // full, 1) for part, size in held_out.items()}
    return ["train"] * (n - sum(sizes.values())) + [part for part, size in sizes.items() for _ in range(size)]


def _write(path: Path, head: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(head)
        writer.writerows(rows)
