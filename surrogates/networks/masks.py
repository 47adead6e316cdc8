"""Networks whose dropout masks are fixed arguments, so that a mask makes a function and s masks make s of them.

Following Gal & Ghahramani (ICML 2016), a network with one draw of its dropout masks is one sample of the function it
learned. Here all points see the same masks, on every call: a sample is deterministic and differentiable, and an
acquisition function over it can be climbed by gradients.
"""

from __future__ import annotations

import copy

import numpy as np
import torch
from torch import nn
from torch.func import functional_call, vmap

from matloop.orchestrator.errors import ConfigError
from matloop.surrogates.networks.last_layer import last_features

DROPOUT = (nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d)

Masks = dict[str, torch.Tensor]
"""By the dropout layer's name: (s, *feature shape) tensors of 0 and 1 / (1 - p)."""

CHUNK = 256
"""Points evaluated at once; bounds the memory of s copies of their features."""


class _Mask(nn.Module):
    """Stands where a dropout layer stood and multiplies by the mask that it is given."""

    mask: torch.Tensor

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.p = float(layer.p)  # type: ignore[arg-type]
        self.whole_channels = not isinstance(layer, nn.Dropout)
        self.shape: tuple[int, ...] = ()
        self.register_buffer("mask", torch.ones(()))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.shape = (x.shape[1], *[1] * (x.ndim - 2)) if self.whole_channels else tuple(x.shape[1:])
        return x * self.mask


class MaskedNetwork(nn.Module):
    """A trained network in evaluation mode whose dropout layers take masks from outside."""

    def __init__(self, network: nn.Module, example: torch.Tensor) -> None:
        """Copy the network and find the shapes of its masks.

        Args:
            network: forward (n, *input) -> (n, m), with at least one dropout layer.
            example: (n, *input), any valid inputs.

        Raises:
            ConfigError: the network has no dropout, so that it has no uncertainty either.
        """
        super().__init__()
        self.network = copy.deepcopy(network).eval().requires_grad_(False)
        names = [name for name, layer in self.network.named_modules() if isinstance(layer, DROPOUT)]
        if not names:
            raise ConfigError("expected a network with a dropout layer, got none; add one with p >= 0.05", at="network")
        self.layers: dict[str, _Mask] = {}
        for name in names:
            parent, _, child = name.rpartition(".")
            self.layers[name] = _Mask(self.network.get_submodule(name))
            setattr(self.network.get_submodule(parent), child, self.layers[name])
        with torch.no_grad():
            self.network(example[:1])

    def draw(self, samples: int, rng: np.random.Generator) -> Masks:
        """Draw `samples` masks for every dropout layer, inverted dropout's scaling included."""
        masks = {}
        for name, layer in self.layers.items():
            keep = rng.random((samples, *layer.shape)) >= layer.p
            masks[name] = torch.as_tensor(keep / (1 - layer.p), dtype=torch.float32)
        return masks

    def features(self, x: torch.Tensor) -> torch.Tensor:
        """(n, *input) -> (n, p): what the last layer sees with nothing dropped."""
        return last_features(self.network, x)

    def forward(self, x: torch.Tensor, masks: Masks) -> torch.Tensor:
        """Evaluate every function at every point; layers before the first dropout are computed once.

        Args:
            x: (n, *input), in the network's dtype.
            masks: s masks.

        Returns:
            (s, n, m).
        """
        overrides = {f"{name}.mask": mask.to(x) for name, mask in masks.items()}

        def one(override: dict[str, torch.Tensor], part: torch.Tensor) -> torch.Tensor:
            result: torch.Tensor = functional_call(self.network, override, (part,))
            return result

        every = vmap(one, in_dims=(0, None))
        return torch.cat([every(overrides, part) for part in torch.split(x, CHUNK)], dim=1)
