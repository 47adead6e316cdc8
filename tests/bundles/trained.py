"""Small networks trained by the driver, as what a bundle is made of."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from matloop.bundles.bundle import Bundle, load_bundle
from matloop.bundles.making import Trained, make
from matloop.drivers.training.driver import Training
from matloop.drivers.training.graphs import Graph, save
from matloop.drivers.training.predictions import Predictions
from matloop.orchestrator.trial import Trial
from matloop.search_spaces.networks import weights

ABOUT: dict[str, Any] = {
    "campaign": "demo",
    "study": "nets",
    "data": {"rows": 0, "left_out": 0, "sha256": "0"},
    "split": {"options": {}, "groups": None, "train": 0, "validation": 0, "test": 0},
}
RECIPE = {"optimiser": "adam", "learning_rate": 0.01, "weight_decay": 1e-6, "batch": 32}
DENSE = {"kind": "dense", "width": 32, "activation": "silu", "dropout": 0.1}
CONV = {"kind": "conv", "width": 8, "kernel": 3, "stride": 1, "normalisation": "batch", "activation": "relu"}
CONV |= {"dropout": 0.1, "skip": 0}
BLOCK = {"convolutions": 1, "kernel": 3, "normalisation": "batch", "activation": "relu", "dropout": 0.0}
LAYER = {"message": "gated", "aggregation": "sum", "width": 8, "normalisation": "batch", "activation": "silu"}


def dense(features: int, outputs: int = 1, *, dropout: float = 0.1, width: int = 32) -> dict[str, Any]:
    layers = [{**DENSE, "width": width, "dropout": dropout}]
    return {"input": [features], "outputs": outputs, "dropout": dropout, "layers": layers, "training": RECIPE}


def conv(shape: list[int], outputs: int) -> dict[str, Any]:
    genome = {"input": shape, "outputs": outputs, "padding": "zeros", "readout": "avg", "dropout": 0.1}
    return genome | {"layers": [CONV], "training": RECIPE}


def segmenter(shape: list[int], classes: int) -> dict[str, Any]:
    level = {**BLOCK, "width": 8, "downsampling": "max", "upsampling": "nearest", "skip": "concatenate"}
    genome = {"family": "segmentation", "input": shape, "outputs": classes, "padding": "zeros", "hypercolumns": 0}
    return genome | {"dropout": 0.0, "stem": {**BLOCK, "width": 8}, "levels": [level], "training": RECIPE}


def graph_network() -> dict[str, Any]:
    genome = {"family": "graph", "input": [2, 1], "outputs": 1, "nodes": 5, "edges": 8, "embedding": 8}
    genome |= {"pooling": "mean", "dropout": 0.1, "layers": [LAYER | {"dropout": 0.1, "skip": True}], "head": []}
    return genome | {"training": RECIPE}


def trained(driver: Training, genome: dict[str, Any], number: int = 0) -> Trained:
    """Train, as a campaign would, and take what it recorded."""
    measured = driver(Trial(id=number, study="nets", number=number, point=genome, seed=number))
    state, notes = weights.unpack(measured.artifacts["weights"])
    recorded = Predictions.from_bytes(measured.artifacts["test_predictions"])
    return Trained(number, state, notes, recorded, {"values": measured.values})


def bundled(folder: Path, driver: Training, *genomes: dict[str, Any]) -> tuple[Bundle, list[Trained]]:
    """A bundle of networks, loaded again, and what it was made of."""
    found = [trained(driver, genome, number) for number, genome in enumerate(genomes)]
    make(folder, found, driver.material(), ABOUT)
    return load_bundle(folder), found


def numbers(path: Path, n: int = 240, seed: int = 0, **more: Any) -> Path:
    """Two features of very different units, one target with noise that grows with the first."""
    rng = np.random.default_rng(seed)
    x = np.stack([rng.uniform(-1, 1, n), rng.uniform(300, 1300, n)], axis=1)
    y = 40 + 8 * x[:, 0] + 0.01 * x[:, 1] + (0.2 + 1.5 * (x[:, 0] > 0)) * rng.normal(size=n)
    np.savez(path, x=x, y=y, names=["gap"], **more)
    return path


def pictures(path: Path, n: int = 90, seed: int = 0) -> Path:
    """Raw uint8 images of two classes: bright spots or a bright bar; and a little noise."""
    rng = np.random.default_rng(seed)
    y = rng.integers(0, 2, n)
    x = rng.integers(20, 60, (n, 1, 12, 12)).astype(np.uint8)
    for row, label in enumerate(y):
        if label:
            x[row, 0, rng.integers(2, 10)] = 220
        else:
            x[row, 0, rng.integers(0, 12, 12), rng.integers(0, 12, 12)] = 220
    np.savez(path, x=x, y=y, names=["spots", "bar"])
    return path


def micrographs(path: Path, n: int = 40, size: int = 16, seed: int = 0) -> Path:
    """Two phases of different grey, uint8, with the phase of each pixel."""
    rng = np.random.default_rng(seed)
    places = np.add.outer(np.arange(size), np.arange(size))
    y = ((places[None] + rng.integers(0, 16, (n, 1, 1))) // 6 % 2).astype(np.uint8)
    x = (60 + 90 * y + rng.normal(0, 12, y.shape)).clip(0, 255).astype(np.uint8)
    np.savez(path, x=x[:, None], y=y, names=["matrix", "precipitate"])
    return path


def molecules(path: Path, n: int = 80, seed: int = 0) -> Path:
    """Rings of up to seven nodes; the target is the mean of a node feature plus the mean of an edge's."""
    rng = np.random.default_rng(seed)
    graphs, y = [], []
    for _ in range(n):
        size = int(rng.integers(3, 8))
        nodes = rng.normal([5.0, 0.0], [2.0, 1.0], (size, 2)).astype(np.float32)
        ring = np.stack([np.arange(size), np.roll(np.arange(size), 1)])
        features = rng.normal(100, 10, (size, 1)).astype(np.float32)
        graphs.append(Graph(nodes, ring, features))
        y.append(nodes[:, 0].mean() + 0.1 * features.mean())
    save(path, graphs, np.array(y), ["energy"])
    return path


def given(new: Any = None) -> dict[str, Any]:
    """A source of somebody's own: one row that is said."""
    return {"x": np.array([new], dtype=float), "y": np.zeros(1)}
