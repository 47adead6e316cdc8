"""A trained network as files without matloop: weights, torch source and ONNX, with the scales inside."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from matloop.orchestrator.errors import MatloopError
from matloop.search_spaces.networks import weights
from matloop.search_spaces.networks.module import buffers
from matloop.search_spaces.networks.program.scaling import scaled
from matloop.search_spaces.networks.source import to_source

WEIGHTS, SOURCE, MODEL = "network.safetensors", "network.py", "network.onnx"


def write(folder: Path, state: Mapping[str, torch.Tensor], notes: Mapping[str, Any]) -> str | None:
    """Write `network.safetensors`, `network.py`, whose class loads it, and `network.onnx`.

    All of them take raw values and give them in the target's unit, as far as the notes hold scales.

    Args:
        folder: made if need be.
        state: of the network without scales.
        notes: `genome` and `scales`, kept in the weights' metadata; see `weights`.

    Returns:
        Why there is no ONNX model; None where there is.

    Raises:
        InvalidPoint: a text in the genome is more than words.
    """
    genome, scales = notes["genome"], notes.get("scales") or {}
    source = to_source(genome, scales)
    folder.mkdir(parents=True, exist_ok=True)
    content = weights.pack({**state, **buffers(scaled(genome, scales))}, notes)
    (folder / WEIGHTS).write_bytes(content)
    (folder / SOURCE).write_text(source, encoding="utf-8")
    try:
        from matloop.search_spaces.networks.onnx import to_onnx

        model = to_onnx(genome, state, scales)
    except MatloopError as error:
        (folder / MODEL).unlink(missing_ok=True)
        return str(error)
    (folder / MODEL).write_bytes(model)
    return None


def unscaled(state: Mapping[str, torch.Tensor], notes: Mapping[str, Any]) -> dict[str, torch.Tensor]:
    """The state that `write` was given, from what it wrote."""
    names = {one.name for one in scaled(notes["genome"], notes.get("scales") or {}).program.buffers}
    return {name: value for name, value in state.items() if name not in names}
