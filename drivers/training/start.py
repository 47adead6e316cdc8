"""Where a training starts: from fresh weights, from a parent's, or where it stopped before."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import nn

from matloop.drivers.training.references.trained import make
from matloop.orchestrator.bundle import unseal
from matloop.orchestrator.randomness import derive_seed, torch_seed
from matloop.orchestrator.trial import Point, Trial
from matloop.search_spaces.networks import weights
from matloop.search_spaces.networks.files import unscaled
from matloop.search_spaces.networks.inheritance import inherit
from matloop.search_spaces.networks.module import Network, build
from matloop.surrogates.networks.training_state import TrainingState

CHECKPOINT, PARENT_WEIGHTS = "checkpoint", "parent_weights"


@dataclass(frozen=True, slots=True)
class Start:
    """A network and how far it is.

    Attributes:
        state: to go on from; None at the beginning of a training.
        notes: JSON-able, for the record.
    """

    network: nn.Module
    state: TrainingState | None = None
    notes: Mapping[str, Any] = field(default_factory=dict)


def start(
    trial: Trial,
    inputs: Mapping[str, bytes],
    bundle: Path | None = None,
    scales: Mapping[str, Any] | None = None,
) -> Start:
    """Build the trial's network; fresh weights are drawn from the trial's seed.

    Args:
        trial: whose point is the genome.
        inputs: artifacts of other trials.
        bundle: folder of one whose weights are taken over where the inputs have none.
        scales: of the training that begins; a function is the same only by the same scales.

    Raises:
        ValueError: an input that is not known, or not what its name says.
        BundleError: the bundle cannot be read.
    """
    unknown = sorted(set(inputs) - {CHECKPOINT, PARENT_WEIGHTS})
    if unknown:
        raise ValueError(f"expected inputs {CHECKPOINT} or {PARENT_WEIGHTS}, got {unknown}")
    with torch_seed(derive_seed(trial.seed, "weights")):
        network = _made(trial.point)
    if CHECKPOINT in inputs:
        state = TrainingState.from_bytes(inputs[CHECKPOINT])
        if state.owner != owner(trial.point):
            raise ValueError(f"expected a checkpoint of this very genome, got one of {state.owner}")
        return Start(network, state, {"continued_from": state.used})
    if PARENT_WEIGHTS in inputs:
        parent, notes = weights.unpack(inputs[PARENT_WEIGHTS])
        if "genome" not in notes:
            raise ValueError(f"expected {PARENT_WEIGHTS} with the genome of their network, got weights without notes")
        seed = derive_seed(trial.seed, "inheritance")
        assert isinstance(network, Network), "only genomes have parents"
        heritage = inherit(notes["genome"], parent, trial.point, network, seed=seed)
        return Start(network, notes={"inherited": heritage.share, "inherited_exactly": heritage.exact})
    if bundle is not None and isinstance(network, Network):  # nothing is known of what a factory makes
        parent, notes = weights.unpack((bundle / unseal(bundle)["members"][0]["weights"]).read_bytes())
        seed = derive_seed(trial.seed, "inheritance")
        heritage = inherit(notes["genome"], unscaled(parent, notes), trial.point, network, seed=seed)
        exact = heritage.exact and dict(notes.get("scales") or {}) == dict(scales or {})
        return Start(network, notes={"inherited": heritage.share, "inherited_exactly": exact})
    return Start(network)


def _made(point: Point) -> nn.Module:
    """The network of a genome, or the one that a factory makes, which is not searched."""
    if "factory" in point:
        return make(point["factory"], point["input"], point["outputs"], point.get("options") or {})
    return build(point)


def owner(point: Point) -> str:
    """What a checkpoint says it is of: the genome as canonical JSON."""
    return json.dumps(point, sort_keys=True)
