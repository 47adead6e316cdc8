"""Networks of every family as the report draws them, with genomes from their own spaces."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from matloop.orchestrator.composition.binding import KINDS
from matloop.orchestrator.ledger.history import History
from matloop.orchestrator.report import glyph
from matloop.orchestrator.report.content import Table
from matloop.orchestrator.report.sections import lineage
from matloop.orchestrator.report.study import Study
from matloop.orchestrator.trial import Objective, Trial
from matloop.search_spaces.networks.conv import ConvNetworks
from matloop.search_spaces.networks.dense import DenseNetworks
from matloop.search_spaces.networks.graph.space import GraphNetworks
from matloop.search_spaces.networks.segmentation.space import SegmentationNetworks

SPACES: dict[str, Any] = {
    "signals": ConvNetworks(input=[1, 64]),
    "images": ConvNetworks(input=[1, 32, 32]),
    "volumes": ConvNetworks(input=[1, 16, 16, 16]),
    "dense": DenseNetworks(input=[12]),
    "segmentation": SegmentationNetworks(input=[1, 64, 64]),
    "graph": GraphNetworks(node_features=10, edge_features=16),
}
TRAINING = {"optimiser": "adamw", "learning_rate": 0.003, "weight_decay": 1e-5, "batch": 16}
TRAINING |= {"warm_up": 0.1, "final_rate": 0.01, "gradient_norm": 5.0, "averaging": 0.98}
TRAINED = ("setting", "adamw lr 0.003 decay 1e-05 batch 16 warm-up 0.1 to 0.01 clip 5 averaged 0.98")
BLOCK = {"normalisation": "batch", "activation": "relu", "dropout": 0.0}
CONV = {"kind": "conv", "width": 16, "kernel": 5, "stride": 2, **BLOCK, "normalisation": "group", "skip": 1}
LAYERS = [CONV, {"kind": "pool", "mode": "max", "size": 2}]
STEM = {"width": 8, "convolutions": 2, "kernel": 3, **BLOCK}
LEVEL = {"downsampling": "avg", "upsampling": "transposed", "skip": "add", **STEM, "convolutions": 1, "dropout": 0.1}
MESSAGE = {"message": "gated", "aggregation": "mean", "width": 32, **BLOCK, "normalisation": "layer", "skip": True}


def genome(name: str) -> dict[str, Any]:
    """A small network of each family, in words of its space."""
    fixed = {"outputs": 1, "dropout": 0.1, "training": TRAINING}
    convolutional = {**fixed, "padding": "circular", "readout": "avg", "layers": LAYERS}
    match name:
        case "signals":
            return {**convolutional, "input": [1, 64]}
        case "images":
            return {**convolutional, "input": [1, 32, 32]}
        case "volumes":
            return {**convolutional, "input": [1, 16, 16, 16]}
        case "dense":
            skipping = {"kind": "dense", "width": 32, **BLOCK, "normalisation": "group", "skip": 2}
            plain = {"kind": "dense", "width": 8, **BLOCK, "normalisation": "none", "skip": 0}
            return {**fixed, "input": [12], "layers": [plain, skipping]}
        case "segmentation":
            fixed |= {"family": name, "input": [1, 64, 64], "outputs": 2}
            return {**fixed, "padding": "zeros", "hypercolumns": 1, "stem": STEM, "levels": [LEVEL]}
        case _:
            fixed |= {"family": name, "input": [10, 16], "nodes": 8, "edges": 96}
            head = [{"width": 64, "activation": "silu", "dropout": 0.2}]
            return {**fixed, "embedding": 16, "pooling": "sum", "layers": [MESSAGE], "head": head}


CONVOLUTIONAL = [("pool", "max 2"), ("readout", "avg drop 0.1"), ("setting", "circular padding"), TRAINED]
CHIPS = {
    "signals": [("conv", "5 · 16 /2 gn relu ↷1"), *CONVOLUTIONAL],
    "images": [("conv", "5×5 · 16 /2 gn relu ↷1"), *CONVOLUTIONAL],
    "volumes": [("conv", "5×5×5 · 16 /2 gn relu ↷1"), *CONVOLUTIONAL],
    "dense": [("dense", "dense 8 relu"), ("dense", "dense 32 gn relu ↷2"), ("readout", "drop 0.1"), TRAINED],
    "segmentation": [
        ("conv", "2 conv 3×3 · 8 bn relu"),
        ("pool", "↓avg ↑transposed ↷add"),
        ("conv", "conv 3×3 · 8 bn relu drop 0.1"),
        ("readout", "hypercolumns 1 drop 0.1"),
        ("setting", "zeros padding"),
        TRAINED,
    ],
    "graph": [
        ("dense", "embed 16"),
        ("conv", "gated, mean · 32 ln relu ↷"),
        ("readout", "sum over nodes"),
        ("dense", "dense 64 silu drop 0.2"),
        ("readout", "drop 0.1"),
        TRAINED,
    ],
}


@pytest.mark.parametrize("name", SPACES)
def test_each_family_has_its_words(name: str) -> None:
    SPACES[name].check(genome(name))
    assert [(chip.kind, chip.label) for chip in glyph.chips(genome(name))] == CHIPS[name]


@pytest.mark.parametrize("name", SPACES)
def test_random_genomes_are_drawn_without_their_code(name: str) -> None:
    rng = np.random.default_rng(0)
    for _ in range(50):
        point = SPACES[name].sample(rng)
        assert glyph.is_network(point)
        html = str(glyph.html(glyph.chips(point)))
        assert not set("{}[]'_") & set(html)
        assert "None" not in html and "True" not in html and "False" not in html
        assert html.count("<span") == html.count("</span>") >= 2


@pytest.mark.parametrize("name", SPACES)
def test_every_mutation_shows(name: str) -> None:
    space, rng = SPACES[name], np.random.default_rng(1)
    for _ in range(20):
        parent = space.sample(rng)
        for _ in range(10):
            child = space.mutate(parent, rng)
            html = str(glyph.html(glyph.chips(child), glyph.chips(parent)))
            assert ' new">' in html or "<del" in html, (parent, child)
        html = str(glyph.html(glyph.chips(parent), glyph.chips(parent)))
        assert " new" not in html and "<del" not in html and "setting" not in html


def test_what_a_step_removed_is_struck_out_where_it_was() -> None:
    old = genome("images")
    without = {**old, "layers": [CONV], "dropout": 0.2}
    html = str(glyph.html(glyph.chips(without), glyph.chips(old)))
    assert html == (
        '<span class="chip conv">5×5 · 16 /2 gn relu ↷1</span> <del class="chip pool">max 2</del> '
        '<span class="chip readout new">avg drop 0.2</span>'
    )


def test_points_that_only_sound_like_networks_are_none() -> None:
    assert not glyph.is_network({"layers": 3, "training": 0.5})
    assert not glyph.is_network({"layers": [1, 2]})


@pytest.mark.parametrize("name", SPACES)
def test_lineage_of_each_family(name: str) -> None:
    space, rng, trials = SPACES[name], np.random.default_rng(2), list[Trial]()
    for i in range(3):
        point = space.mutate(trials[-1].point, rng) if trials else space.sample(rng)
        parents = (i - 1,) if i else ()
        values = {"error": 1.0 / (i + 1)}
        one = Trial(id=i, study="s", number=i, point=point, seed=0, state="answered", values=values, parents=parents)
        trials.append(one)
    study = Study(name="s", config={}, objectives=(Objective("error"),), finished=trials, running=[], ended=None)
    section = lineage.section(History(trials=trials), study)
    assert section is not None
    (table,) = (block for block in section.blocks if isinstance(block, Table))
    assert [row[0] for row in table.rows] == ["0", "1", "2"]
    for row in table.rows:
        assert 'class="chip' in row[3] and "{" not in row[3]
    assert table.caption.endswith(glyph.LEGENDS[trials[0].point.get("family")])


def test_all_kinds_of_networks_are_called_networks() -> None:
    for kind in KINDS["space"]:
        config = {"space": {"kind": kind}}
        study = Study(name="s", config=config, objectives=(), finished=[], running=[], ended=None)
        assert (study.noun == ("network", "networks")) == (kind.endswith("_network") or kind == "references")
