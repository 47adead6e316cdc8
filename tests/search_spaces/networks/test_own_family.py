"""A family of one's own: tables of genes and a plan are enough, and it may say what keeps its function."""

from __future__ import annotations

import sys
from types import ModuleType

import numpy as np
import pytest
import torch

from matloop.search_spaces.networks.families import FAMILIES, Caption, Family, Ports
from matloop.search_spaces.networks.grammar.gene import Gene, duplicate
from matloop.search_spaces.networks.grammar.grammar import Grammar, Series
from matloop.search_spaces.networks.grammar.rules import Rules
from matloop.search_spaces.networks.grammar.training import training
from matloop.search_spaces.networks.grammar.vocabulary import widen
from matloop.search_spaces.networks.inheritance import inherit
from matloop.search_spaces.networks.module import build
from matloop.search_spaces.networks.onnx import to_onnx
from matloop.search_spaces.networks.program.costs import Budget
from matloop.search_spaces.networks.program.part import Part
from matloop.search_spaces.networks.program.statements import Add, Call, Program
from matloop.search_spaces.networks.source import to_source
from matloop.search_spaces.networks.space import NetworkSpace
from matloop.testing.space import SpaceContract

INPUT = 6


def plan(genome):
    """A sum of branches, each of two linear maps around an activation."""
    parts, statements = [], [Call("inputs", (), ("x",))]
    for number, branch in enumerate(genome["branches"], start=1):
        width, kind = branch["width"], {"tanh": "Tanh", "relu": "ReLU"}[branch["activation"]]
        parts += [
            Part(f"in{number}", "Linear", (INPUT, width), {}, number, (INPUT + 1) * width, INPUT * width),
            Part(f"act{number}", kind, (), {}, number),
            Part(f"out{number}", "Linear", (width, 1), {"bias": False}, number, width, width),
        ]
        chain = (f"in{number}", f"act{number}", f"out{number}")
        statements.append(Call("x", chain, ("inputs",)) if number == 1 else Add("x", "x", "inputs", chain))
    return Program("x", tuple(parts), (*statements, Call("x", (), ("x",))))


class Branches(Rules):
    """Its morphism puts a branch of the same kind at the end, which may begin at zero."""

    def morph(self, genome, rng):
        child = duplicate(genome)
        child["branches"].append(self.grammar.series["branches"].block("", rng))
        return child

    def same(self, parent, child):
        return child["branches"][: len(parent["branches"])] == parent["branches"]


class Heir:
    """Branches that both have go over; new ones give nothing at first."""

    def __init__(self, parent, weights, child, state, seed):
        self.weights, self.state = weights, state
        self.exact = child["branches"][: len(parent["branches"])] == parent["branches"]

    def take_over(self):
        counts = {}
        for name, value in self.state.items():
            if name in self.weights and self.weights[name].shape == value.shape:
                value.copy_(self.weights[name])
            elif name.startswith("out"):
                value.zero_()
            else:
                continue
            counts[name] = value.numel()
        return counts


@pytest.fixture(autouse=True)
def _family(monkeypatch):
    module = ModuleType("own_family")
    module.Heir = Heir
    module.FAMILY = Family(
        plan,
        lambda genome: Caption("A sum of branches.", "one input", f"(n, {INPUT}) float32 to (n, 1) float32."),
        lambda genome, scaled: Ports([INPUT], [1], "standardised"),
        "own_family:Heir",
    )
    monkeypatch.setitem(sys.modules, "own_family", module)
    monkeypatch.setitem(FAMILIES, "branches", "own_family")


def space_of(*, morphisms=0.0, budget=400, genes=None):
    branch = {"width": Gene((4, 8, 16), least=1), "activation": Gene(("tanh", "relu"))}
    grammar = Grammar({}, blocks={}, series={"branches": Series({"": branch}, 1, 4)}, training=training(None, [INPUT]))
    return NetworkSpace(
        Branches(widen(grammar, genes or {}), plan=plan, shrink=("width",)),
        fixed={"family": "branches", "input": [INPUT], "outputs": 1},
        budget=Budget(parameters=budget, multiply_adds=10_000),
        given=genes,
        morphisms=morphisms,
    )


class TestBranches(SpaceContract):
    @pytest.fixture
    def space(self):
        return space_of(budget=150)


def test_it_is_built_and_printed():
    space, rng = space_of(genes={"width": [3, 5]}), np.random.default_rng(0)
    for _ in range(10):
        genome = space.sample(rng)
        assert {branch["width"] for branch in genome["branches"]} <= {3, 5}
        network, x = build(genome).eval(), torch.randn(4, INPUT)
        assert sum(p.numel() for p in network.parameters()) == space.rules.costs(genome).parameters <= 400
        scope = {}
        exec(to_source(genome), scope)
        other = scope["Network"]()
        other.load_state_dict(network.state_dict())
        assert torch.equal(network(x), other(x))


def test_its_morphisms_are_mutations_and_its_weights_go_over():
    space, rng = space_of(morphisms=1.0), np.random.default_rng(1)
    kept = 0
    for _ in range(30):
        parent = space.sample(rng)
        child = space.mutate(parent, rng)
        space.check(child)
        old, new = build(parent), build(child)
        told, x = inherit(parent, old.state_dict(), child, new), torch.randn(5, INPUT)
        if told.exact and len(child["branches"]) > len(parent["branches"]):
            kept += 1
            assert torch.allclose(old(x), new(x), atol=1e-6)
    assert kept > 10


def test_it_can_be_an_onnx_model():
    onnxruntime = pytest.importorskip("onnxruntime")
    space = space_of()
    genome = space.sample(np.random.default_rng(3))
    for branch in genome["branches"]:
        branch["activation"] = "relu"
    network, x = build(genome).eval(), torch.randn(4, INPUT)
    session = onnxruntime.InferenceSession(to_onnx(genome, network.state_dict()), providers=["CPUExecutionProvider"])
    with torch.no_grad():
        np.testing.assert_allclose(session.run(["y"], {"x": x.numpy()})[0], network(x).numpy(), atol=1e-5)
