"""A trained network as an artifact: its state dict in safetensors, with the genome and the scales in the metadata.

The metadata are JSON under the one key `matloop`: several keys would be written in varying order, and the file's hash
would vary with it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import torch
from safetensors.torch import load, save


def pack(state: Mapping[str, torch.Tensor], notes: Mapping[str, Any]) -> bytes:
    """Bytes of a safetensors file.

    Args:
        state: a network's state dict, on any device.
        notes: JSON-able; `genome` and `scales` at least.
    """
    tensors = {name: value.contiguous().cpu() for name, value in state.items()}
    return save(tensors, metadata={"matloop": json.dumps(notes)})


def unpack(content: bytes) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    """State dict and notes of what `pack` made; without notes where another program has saved a network's weights.

    Raises:
        ValueError: it is something else.
    """
    try:
        state = load(content)
        header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
        return state, dict(json.loads(header.get("__metadata__", {}).get("matloop", "{}")))
    except Exception as error:  # safetensors has an exception of its own
        raise ValueError(f"expected the weights of a trained network, got {len(content)} bytes: {error!r}") from error
