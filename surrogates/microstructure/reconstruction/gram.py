"""Reconstruction by Gram matrices of the answers of many filters, as in texture synthesis, to compare with.

Filters are random, or those of a VGG network whose weights the user has. Pictures are halved level by level.
Sources: Gatys, Ecker & Bethge 2015 (arXiv:1505.07376); Ustyuzhaninov et al. 2016 (arXiv:1606.00021; random filters);
Bostanabad, Computer-Aided Design 128 (2020) 102915 (microstructures).
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch.nn import functional

from matloop.surrogates.microstructure.phases import indicators
from matloop.surrogates.microstructure.reconstruction.target import Target

Matrices = Callable[[torch.Tensor], list[torch.Tensor]]

FILTERS, SIDE, LEVELS = 48, 7, 4
"""Random filters, their side in pixels, and the number of sizes at which a picture is looked at."""

VGG = (64, 64, "pool", 128, 128, "pool", 256, 256, 256, 256, "pool", 512)
"""Channels of the first convolutions of VGG-19, and where the picture is halved between them."""

COMPARED = (0, 2, 4, 8)
"""Convolutions whose answers are compared: the first at each size."""


def by_gram_matrices(
    micrograph: npt.NDArray[Any], target: Target, matrices: Matrices, rng: np.random.Generator, *, steps: int
) -> npt.NDArray[np.float32]:
    """A soft structure whose Gram matrices are those of a micrograph, at all sizes to which both can be halved.

    Args:
        micrograph: (H, W) labels.
        target: for shape and phases.
        matrices: from (k, H, W) shares of phases to Gram matrices: `random_filters` or `vgg`.
        rng: of the first structure.
        steps: of L-BFGS.

    Returns:
        (k, H, W) float32 shares.

    Raises:
        ValueError: the structure is a volume, or it or the micrograph is smaller than the filters.
    """
    if len(target.shape) != 2:
        raise ValueError(f"expected a structure in 2-D for Gram matrices, got {target.shape}")
    wanted = matrices(torch.from_numpy(indicators(micrograph, target.phases)).float())
    levels = min(len(wanted), len(matrices(torch.zeros(target.phases, *target.shape))))
    if not levels:
        raise ValueError(
            f"expected sides of more than {SIDE} pixels for Gram matrices, got a micrograph of {micrograph.shape} and "
            f"a structure of {target.shape}; use the method 'descriptors'"
        )
    start = np.log(np.maximum(target.counts, 1)).reshape(-1, 1, 1) + 0.3 * rng.standard_normal(
        (target.phases, *target.shape)
    )
    logits = torch.from_numpy(start).float().requires_grad_()
    descent = torch.optim.LBFGS(
        [logits], max_iter=steps, history_size=20, line_search_fn="strong_wolfe", tolerance_change=1e-12
    )

    def loss() -> torch.Tensor:
        descent.zero_grad()
        found = matrices(logits.softmax(dim=0))
        total = torch.stack(
            [((a - b) ** 2).sum() / (b**2).sum() for a, b in zip(found[:levels], wanted[:levels], strict=True)]
        ).sum()
        (100 * total).backward()  # type: ignore[no-untyped-call]
        return 100 * total

    descent.step(loss)  # type: ignore[no-untyped-call]
    return logits.detach().softmax(dim=0).numpy()


def random_filters(phases: int, seed: int = 0) -> Matrices:
    """Gram matrices of random filters; with wrap-around, as the structure is periodic."""
    generator = torch.Generator().manual_seed(seed)
    filters = torch.randn(FILTERS, phases, SIDE, SIDE, generator=generator)
    filters -= filters.mean(dim=(2, 3), keepdim=True)
    filters /= filters.flatten(1).norm(dim=1)[:, None, None, None]

    def matrices(shares: torch.Tensor) -> list[torch.Tensor]:
        found, x = [], 2 * shares[None] - 1
        for _ in range(LEVELS):
            if min(x.shape[-2:]) < SIDE + 1:
                break
            found.append(_gram(functional.relu(_wrapped(x, filters, None))))
            x = functional.avg_pool2d(x, 2)
        return found

    return matrices


def vgg(path: Path) -> Matrices:
    """Gram matrices of VGG-19, for two phases, with the weights of a file.

    Args:
        path: of a .pt, .pth or .safetensors file with `features.0.weight`, `features.0.bias`, …, as torchvision's
            `vgg19` has them. Pictures are 0 or 1 in all three colours, normalised as ImageNet's.

    Raises:
        ValueError: the file has other weights.
    """
    weights = _weights(path)
    mean, spread = (torch.tensor(v)[:, None, None] for v in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))

    def matrices(shares: torch.Tensor) -> list[torch.Tensor]:
        if len(shares) != 2:
            raise ValueError(f"expected two phases for VGG, got {len(shares)}")
        x = ((shares[1].expand(3, -1, -1) - mean) / spread)[None]
        found, index = [], 0
        for channels in VGG:
            if channels == "pool":
                x = functional.avg_pool2d(x, 2)
                continue
            x = functional.relu(_wrapped(x, *weights[index]))
            if index in COMPARED:
                found.append(_gram(x))
            index += 1
        return found

    return matrices


def _wrapped(x: torch.Tensor, filters: torch.Tensor, bias: torch.Tensor | None) -> torch.Tensor:
    width = filters.shape[-1] // 2
    return functional.conv2d(functional.pad(x, (width,) * 4, mode="circular"), filters, bias)


def _gram(answers: torch.Tensor) -> torch.Tensor:
    flat = answers.flatten(2)[0]
    return flat @ flat.T / flat.shape[1]


def _weights(path: Path) -> list[tuple[torch.Tensor, torch.Tensor]]:
    if path.suffix == ".safetensors":
        from safetensors.torch import load_file

        state = load_file(path)
    else:
        state = torch.load(path, map_location="cpu", weights_only=True)
    places = [0, 2, 5, 7, 10, 12, 14, 16, 19]
    try:
        found = [(state[f"features.{i}.weight"].float(), state[f"features.{i}.bias"].float()) for i in places]
    except (KeyError, TypeError) as error:
        raise ValueError(f"expected the weights of torchvision's vgg19 in {path}, got none of {error}") from error
    shapes, wanted = [len(bias) for _, bias in found], [c for c in VGG if c != "pool"]
    if shapes != wanted:
        raise ValueError(f"expected layers of {wanted} channels in {path}, got {shapes}")
    return found
