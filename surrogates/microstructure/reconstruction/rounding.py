"""From soft structures to phases, each with exactly the wanted number of pixels."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

ROUNDS = 60


def rounded(shares: npt.NDArray[Any], counts: tuple[int, ...]) -> npt.NDArray[np.uint8]:
    """Each pixel gets the phase of which it has most, as far as the numbers of pixels allow.

    Args:
        shares: (k, *shape), of the phases in each pixel.
        counts: pixels of each phase; their sum is the number of pixels.

    Returns:
        (*shape) uint8.
    """
    k = len(counts)
    scores = np.log(np.maximum(shares.reshape(k, -1).astype(np.float64), 1e-12))
    if k == 2:
        labels = np.zeros(scores.shape[1], dtype=np.uint8)
        labels[np.argsort(scores[0] - scores[1], kind="stable")[: counts[1]]] = 1
        return labels.reshape(shares.shape[1:])
    labels = _moved(scores, _offsets(scores, counts), counts)
    return labels.reshape(shares.shape[1:])


def _offsets(scores: npt.NDArray[np.float64], counts: tuple[int, ...]) -> npt.NDArray[np.float64]:
    """What to add to the scores of each phase for about the right numbers: each is set in turn."""
    offsets = np.zeros(len(counts))
    for round_ in range(ROUNDS * len(counts)):
        k = round_ % len(counts)
        others = np.delete(scores + offsets[:, None], k, axis=0).max(axis=0)
        needed = np.sort(others - scores[k])  # the offset from which on a pixel is of phase k
        if counts[k] == 0:
            offsets[k] = needed[0] - 1.0
        elif counts[k] == len(needed):
            offsets[k] = needed[-1] + 1.0
        else:
            offsets[k] = (needed[counts[k] - 1] + needed[counts[k]]) / 2
    return offsets


def _moved(
    scores: npt.NDArray[np.float64], offsets: npt.NDArray[np.float64], counts: tuple[int, ...]
) -> npt.NDArray[np.uint8]:
    """Labels by the scores, and then the least sure pixels of phases with too many given to those with too few."""
    total = scores + offsets[:, None]
    labels = total.argmax(axis=0)
    while True:
        excess = np.bincount(labels, minlength=len(counts)) - counts
        if not excess.any():
            return np.asarray(labels, dtype=np.uint8)
        from_, to = int(excess.argmax()), int(excess.argmin())
        pixels = np.flatnonzero(labels == from_)
        losses = total[from_, pixels] - total[to, pixels]
        labels[pixels[np.argsort(losses, kind="stable")[: min(excess[from_], -excess[to])]]] = to
