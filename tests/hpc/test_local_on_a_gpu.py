"""Local processes that share a GPU: each sees the one that it may use, and computes there."""

from __future__ import annotations

import pytest

from matloop.hpc.local import Local


def product() -> tuple[int, float]:
    """How many GPUs this process sees, and what comes of a computation there."""
    import torch

    return torch.cuda.device_count(), float(
        (torch.ones(64, 64, device="cuda") @ torch.ones(64, 64, device="cuda")).sum()
    )


@pytest.mark.gpu
def test_two_trials_share_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    with Local(slots=2, trials_per_gpu=2) as executor:
        found = [future.result(120) for future in [executor.submit(product) for _ in range(4)]]
    assert found == [(1, 64.0**3)] * 4
