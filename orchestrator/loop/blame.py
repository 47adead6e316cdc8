"""Whether the failure of a driver is the machine's rather than the point's: a disk that is full, or out of order."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

LEAST_BYTES: Final = 256 * 1024
"""A disk with less room for this user is full."""

_OF_A_DISK = frozenset(getattr(errno, name) for name in ("ENOSPC", "EDQUOT", "EIO", "ESTALE") if hasattr(errno, name))


def fault_of_a_disk(error: BaseException, folders: Iterable[Path]) -> str:
    """Why an error is due to a disk; empty if nothing says that it is.

    Args:
        error: from a driver. What it was raised from counts as well.
        folders: where the driver may write. If one of them is full, that is taken for the reason, since many programs
            do not say.
    """
    for link in _chain(error):
        if isinstance(link, OSError) and link.errno in _OF_A_DISK:
            return str(link)
    return next(filter(None, map(full, folders)), "")


def full(folder: Path) -> str:
    """That the disk of a folder is full; empty if it is not, or if that cannot be told."""
    if not hasattr(os, "statvfs"):
        return ""
    try:
        found = os.statvfs(folder)
    except OSError:
        return ""
    return f"the disk of {folder} is full" if found.f_bavail * found.f_frsize < LEAST_BYTES else ""


def _chain(error: BaseException) -> Iterator[BaseException]:
    link: BaseException | None = error
    seen: set[int] = set()
    while link is not None and id(link) not in seen:
        seen.add(id(link))
        yield link
        link = link.__cause__ or (None if link.__suppress_context__ else link.__context__)
