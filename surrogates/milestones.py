"""At which sizes of the data a decision that takes long is made anew, so that a resumed study decides as before."""

from __future__ import annotations

GROWTH = 1.25
"""Factor by which the data grow between two decisions."""


def milestone(n: int) -> int:
    """Largest size up to n at which a decision is made: each is a quarter more than the one before."""
    size = 1
    while (larger := max(size + 1, int(size * GROWTH))) <= n:
        size = larger
    return size
