"""Exported networks are used without matloop: by torch from their source, by ONNX Runtime."""

from __future__ import annotations

import importlib.util
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch
from safetensors.torch import load, save

from matloop.orchestrator.errors import MatloopError
from matloop.orchestrator.export.networks import export
from matloop.orchestrator.ledger.artifacts import ArtifactStore
from matloop.orchestrator.ledger.history import History
from matloop.orchestrator.ledger.ledger import Ledger
from matloop.orchestrator.trial import Answer, Proposal
from matloop.search_spaces.networks.conv import ConvNetworks
from matloop.search_spaces.networks.module import build

MAE = {"mae": {"direction": "minimise", "unit": ""}}
CONFIG = {
    "name": "demo",
    "studies": {
        "nets": {"objectives": MAE, "baseline": "dice"},
        "dice": {"objectives": MAE},
        "small": {"objectives": {**MAE, "parameters": {"direction": "minimise"}}, "baseline": "dice"},
    },
}
SCALES = {"x_mean": [0.5], "x_std": [0.25], "y_mean": [100.0], "y_std": [20.0]}


class Campaign:
    """A ledger of trained networks, and what they give for `x`."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.store = folder, ArtifactStore(folder / "artifacts")
        self.space, self.rng = ConvNetworks(input=[1, 16, 16]), np.random.default_rng(0)
        self.x = torch.rand(3, 1, 16, 16)
        self.outputs: dict[int, torch.Tensor] = {}
        self.history: History

    def train(self, *trials: tuple[str, Mapping[str, float]], scales: Mapping[str, Any] = SCALES) -> None:
        with Ledger.open(self.folder / "ledger.db", config=CONFIG, environment={}) as ledger:
            for study, values in trials:
                genome = self.space.sample(self.rng)
                network = build(genome).eval()
                tensors = {name: value.contiguous() for name, value in network.state_dict().items()}
                metadata = {"matloop": json.dumps({"genome": genome, "scales": scales})} if scales else None
                trial = ledger.propose(study, Proposal(point=genome), seed=0, ask=0)
                artifacts = {"weights": self.store.save(save(tensors, metadata=metadata))}
                ledger.answer(trial, Answer(values=values, started_at=0.0, finished_at=1.0, artifacts=artifacts))
                self.outputs[trial.id] = network(self.x).detach()
            self.history = ledger.history


@pytest.fixture
def campaign(tmp_path: Path) -> Campaign:
    return Campaign(tmp_path)


def run_onnx(file: Path, x: torch.Tensor) -> np.ndarray:
    session = onnxruntime.InferenceSession(file.read_bytes(), providers=["CPUExecutionProvider"])
    return session.run(None, {"x": x.numpy()})[0]


def test_the_best_network_can_be_used_without_matloop(campaign: Campaign, tmp_path: Path) -> None:
    campaign.train(("nets", {"mae": 0.5}), ("nets", {"mae": 0.2}), ("dice", {"mae": 0.1}))
    done = export(campaign.history, campaign.store, tmp_path / "best")
    assert done.best.id == 1  # the baseline has a better one, but is not what the campaign is about
    assert done.front == () and done.without_onnx is None
    assert export(campaign.history, campaign.store, tmp_path / "dice", "dice").best.id == 2

    spec = importlib.util.spec_from_file_location("exported", tmp_path / "best" / "network.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    network = module.Network()
    network.load_state_dict(load((tmp_path / "best" / "network.safetensors").read_bytes()))
    raw = campaign.x * 0.25 + 0.5
    expected = campaign.outputs[1].numpy() * 20 + 100
    np.testing.assert_allclose(network.eval()(raw).detach().numpy(), expected, rtol=1e-5)

    record = json.loads((tmp_path / "best" / "trial.json").read_text())
    assert record["values"] == {"mae": 0.2} and record["scales"] == SCALES
    np.testing.assert_allclose(run_onnx(tmp_path / "best" / "network.onnx", raw), expected, rtol=1e-5)


def test_several_objectives_give_the_front(campaign: Campaign, tmp_path: Path) -> None:
    values = [(0.5, 10), (0.2, 90), (0.3, 95), (0.3, 20)]
    campaign.train(*(("small", {"mae": mae, "parameters": n}) for mae, n in values), scales={})
    done = export(campaign.history, campaign.store, tmp_path / "best")
    assert done.best.id == 1
    assert [trial.id for trial in done.front] == [1, 3, 0]
    assert sorted(path.name for path in (tmp_path / "best" / "front").iterdir()) == ["trial-0", "trial-1", "trial-3"]
    got = run_onnx(tmp_path / "best" / "front" / "trial-3" / "network.onnx", campaign.x)
    np.testing.assert_allclose(got, campaign.outputs[3].numpy(), rtol=1e-4, atol=1e-5)


def test_any_trial_can_be_written(campaign: Campaign, tmp_path: Path) -> None:
    campaign.train(("nets", {"mae": 0.5}), ("nets", {"mae": 0.2}), ("dice", {"mae": 0.1}))
    done = export(campaign.history, campaign.store, tmp_path / "first", trial=0)
    assert done.best.id == 0 and done.front == ()
    got = run_onnx(tmp_path / "first" / "network.onnx", campaign.x * 0.25 + 0.5)
    np.testing.assert_allclose(got, campaign.outputs[0].numpy() * 20 + 100, rtol=1e-5)
    with pytest.raises(MatloopError, match="expected the id of a trial, got 7"):
        export(campaign.history, campaign.store, tmp_path / "none", trial=7)
    with pytest.raises(MatloopError, match="of study 'nets', got 2"):
        export(campaign.history, campaign.store, tmp_path / "none", "nets", trial=2)
    assert not (tmp_path / "none").exists()


def test_without_onnx_the_rest_is_written(campaign: Campaign, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    campaign.train(("nets", {"mae": 0.5}))
    monkeypatch.delitem(sys.modules, "matloop.search_spaces.networks.onnx", raising=False)
    monkeypatch.setitem(sys.modules, "onnx", None)  # as if it were not installed
    done = export(campaign.history, campaign.store, tmp_path / "best")
    assert done.without_onnx is not None and "matloop[onnx]" in done.without_onnx
    written = sorted(path.name for path in (tmp_path / "best").iterdir())
    assert written == ["network.py", "network.safetensors", "trial.json"]


def test_no_network_to_export(campaign: Campaign, tmp_path: Path) -> None:
    campaign.train()
    with pytest.raises(MatloopError, match="no trial has trained a network yet"):
        export(campaign.history, campaign.store, tmp_path / "best")
    campaign.train(("nets", {"mae": 0.5}), ("small", {"mae": 0.5, "parameters": 3}))
    with pytest.raises(MatloopError, match="got nets, small; name one with --study"):
        export(campaign.history, campaign.store, tmp_path / "best")
    assert not (tmp_path / "best").exists()
