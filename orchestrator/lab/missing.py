"""What people write into a cell to say that there is nothing yet."""

from __future__ import annotations

_NOTHING = {
    "", "-", "--", "–", "—", "−", "?", "??", "/", "...", "…", "n/a", "na", "n.a.", "n. a.", "nan", "none", "null",
    "<na>", "nat", "tbd", "t.b.d.", "tba", "pending", "missing", "#n/a", "#na", "#nv", "#div/0!", "#null!",
}  # fmt: skip

_NOT_DETERMINED = {"nd", "n.d", "n.d.", "n. d."}

_NOT_DETECTED = {"not detected", "not detectable", "undetected", "n.n.", "bdl", "b.d.l.", "lod", "loq"}


def is_missing(text: str) -> bool:
    """Whether it stands for nothing; case does not matter."""
    return text.casefold() in _NOTHING or is_doubtful(text)


def is_doubtful(text: str) -> bool:
    """Whether it is `n.d.`, which is "not determined" to most, and "not detected" to some."""
    return text.casefold() in _NOT_DETERMINED


def is_undetected(text: str) -> bool:
    """Whether it says that something was measured, and is below a limit that it does not give."""
    return text.casefold().strip("<≤ ") in _NOT_DETECTED
