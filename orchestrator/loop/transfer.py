"""A worker's traffic with the artifact store: what it reads before it measures, and what it leaves there afterwards.

A store that is out of reach is not the point's fault. What cannot be read was not begun, and is begun again. What
cannot be stored goes back in memory with the answer, for the manager to store; only what is too large for that waits
here.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import numpy.typing as npt

from matloop.orchestrator.errors import NotBegun
from matloop.orchestrator.ledger.artifacts import ArtifactStore
from matloop.orchestrator.loop.patience import Patience, intervals
from matloop.orchestrator.trial import Answer

Content = npt.NDArray[Any] | bytes

VISIBLE_S: Final = 60.0
"""By then a network file system shows on every machine what was written on one: NFS may keep a folder's entries so
long."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Unsaved(Answer):
    """A measurement whose artifacts the store did not take. On its way to the manager only; never recorded.

    Attributes:
        contents: what is still to be stored, by name.
        given_up: why the rest was not stored, by name; it is lost.
        reason: why the contents could not be stored, for people.
    """

    contents: Mapping[str, Content]
    given_up: Mapping[str, str] = field(default_factory=dict)
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Unbegun(Answer):
    """No measurement was begun, for a fault of the machine; `failure` says which. Never recorded."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Spoiled(Answer):
    """A measurement failed for a disk that is full, as `failure` says. Not recorded while the disk is waited for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Incomplete(Answer):
    """No measurement was begun and none can be: an input is missing for good, as `failure` says. This is final."""


@dataclass(frozen=True, slots=True)
class Left:
    """What became of a measurement's artifacts, by name.

    Attributes:
        stored: SHA-256 of what the store has.
        contents: what is to be handed back.
        given_up: why what is neither was given up.
        reason: why not all of it is stored; empty if it is.
    """

    stored: Mapping[str, str] = field(default_factory=dict)
    contents: Mapping[str, Content] = field(default_factory=dict)
    given_up: Mapping[str, str] = field(default_factory=dict)
    reason: str = ""


NOTHING_LEFT: Final = Left()


class InputMissing(Exception):
    """The store can be read, and does not have the input."""


def inputs(store: ArtifactStore, names: Mapping[str, str], patience_s: float) -> dict[str, bytes]:
    """Read what a trial starts from.

    Args:
        store: of the campaign.
        names: SHA-256 by name.
        patience_s: how long to wait for what is not to be seen yet, s, and no longer than `VISIBLE_S`.

    Raises:
        NotBegun: the store is out of reach.
        InputMissing: it does not have one of them.
        ValueError: a name is not a SHA-256.
    """
    until = time.monotonic() + min(patience_s, VISIBLE_S)
    for interval_s in intervals():
        try:
            return {name: store.load_bytes(content) for name, content in names.items()}
        except OSError as error:
            text = f"cannot read the inputs {dict(names)} from {store.folder}: {error}"
            if not _is_missing(error, store):
                raise NotBegun(text) from error
            if (left_s := until - time.monotonic()) <= 0:
                raise InputMissing(
                    f"{text}. Was it recorded (see `not_recorded` of the trial that made it), and is the folder the "
                    "same on every worker?"
                ) from error
        time.sleep(min(interval_s, left_s))
    raise AssertionError("intervals never end")


def _is_missing(error: OSError, store: ArtifactStore) -> bool:
    """Whether an artifact is damaged or absent, rather than the whole store; looking makes NFS forget what it knew."""
    if error.errno is None:
        return True
    if not isinstance(error, FileNotFoundError):
        return False
    try:
        return any(True for _ in store.folder.iterdir())
    except OSError:
        return False


def save(store: ArtifactStore, contents: Mapping[str, Content]) -> tuple[dict[str, str], dict[str, Content], str]:
    """Store contents as far as that goes.

    Returns:
        SHA-256 of what is stored by name, what is not, and why; empty if all is.
    """
    stored: dict[str, str] = {}
    reason = ""
    for name, content in contents.items():
        try:
            stored[name] = store.save(content)
        except OSError as error:
            reason = f"cannot store artifacts in {store.folder}: {error.strerror or error}"
    left = {name: content for name, content in contents.items() if name not in stored}
    return stored, left, reason


def leave(
    store: ArtifactStore,
    contents: Mapping[str, Content],
    patience: Patience,
    *,
    until: float,
    sleep: Callable[[float], None] = time.sleep,
) -> Left:
    """Store contents, waiting for the store only while there is more left than can be handed back.

    Args:
        store: of the campaign.
        contents: by name.
        patience: see there.
        until: when at the latest to stop waiting, by `time.monotonic`, s.
        sleep: as `time.sleep`.
    """
    until = min(until, time.monotonic() + patience.wait_s)
    stored, left, reason = save(store, contents)
    for interval_s in intervals():
        if _size(left) <= patience.most_bytes or (left_s := until - time.monotonic()) <= 0:
            break
        try:
            sleep(min(interval_s, left_s))
        except KeyboardInterrupt:  # stopped at once: what is measured is not dropped for it
            break
        more, left, reason = save(store, left)
        stored |= more
    given_up = {}
    for name in sorted(left, key=lambda name: _size({name: left[name]}), reverse=True):
        if _size(left) > patience.most_bytes:
            del left[name]
            given_up[name] = reason
    return Left(stored, left, given_up, reason)


def _size(contents: Mapping[str, Content]) -> int:
    """Bytes."""
    return sum(len(content) if isinstance(content, bytes) else content.nbytes for content in contents.values())
