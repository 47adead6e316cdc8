"""Which arithmetic a training uses: 16-bit products where the device has them, 32 bits everywhere else."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Literal

import torch

Precision = Literal["auto", "float32", "mixed"]


def half_type(precision: Precision, device: str) -> torch.dtype | None:
    """The 16-bit type to compute in; None for 32 bits throughout.

    "auto" takes bfloat16 where the GPU computes in it (capability 8.0 and later) and 32 bits elsewhere; "mixed" takes
    float16 on older GPUs, and bfloat16 on a CPU that computes in it.
    """
    kind = torch.device(device).type
    if precision == "float32" or (kind == "cpu" and precision == "auto"):
        return None
    if kind == "cpu":
        return torch.bfloat16 if _on_cpu() else None
    if kind != "cuda":
        return None
    if torch.cuda.get_device_capability(device) >= (8, 0):
        return torch.bfloat16
    return torch.float16 if precision == "mixed" else None


def _on_cpu() -> bool:
    """Whether the CPU multiplies in bfloat16 itself; torch would imitate it elsewhere, and be slower."""
    supported = getattr(torch.cpu, "_is_avx512_bf16_supported", None)  # not before torch 2.6
    return bool(supported and supported())


def autocast(half: torch.dtype | None, device: str) -> AbstractContextManager[object]:
    """Compute in that type what tolerates it; weights stay in 32 bits."""
    return nullcontext() if half is None else torch.autocast(torch.device(device).type, dtype=half)


def gradient_scaler(half: torch.dtype | None) -> torch.amp.GradScaler:
    """Keeps float16 gradients from vanishing; passes everything through for the other types."""
    return torch.amp.GradScaler("cuda", enabled=half is torch.float16)
