"""A call as it travels to a worker: what many calls have in common goes apart from it, and once to each worker.

A driver may carry a hundred megabytes, and a campaign has ten thousand trials. What wants to be shared pickles itself
as a `pickle.PickleBuffer` of bytes (`Conditions` does). Whoever sends parcels and whoever receives them hold a `Kept`
each, for one connection; both forget alike, so the sender knows what the receiver still has.
"""

from __future__ import annotations

import pickle
from collections import OrderedDict
from collections.abc import Callable
from functools import lru_cache
from hashlib import blake2b
from typing import Any, Final, NamedTuple

APART: Final = 4096  # bytes from which it pays to send something only once
KEPT: Final = 2  # a study and the one before it

Call = tuple[Callable[..., Any], tuple[Any, ...], dict[str, Any]]
"""Function, args, kwargs."""


class Parcel(NamedTuple):
    """A pickled call.

    Attributes:
        body: the call itself.
        key: names `common`; empty if there is nothing apart.
        common: what other calls have too; empty also where the receiver has it already.
    """

    body: bytes
    key: bytes = b""
    common: bytes = b""

    @classmethod
    def of(cls, *call: Any) -> Parcel:
        """Pickle function, args and kwargs."""
        apart: list[bytes] = []

        def within(buffer: pickle.PickleBuffer) -> bool:
            content = memoryview(buffer).obj
            if apart or type(content) is not bytes or len(content) < APART:
                return True
            apart.append(content)
            return False

        body = pickle.dumps(call, pickle.HIGHEST_PROTOCOL, buffer_callback=within)
        return cls(body, _key(apart[0]), apart[0]) if apart else cls(body)

    @property
    def size(self) -> int:
        """Bytes."""
        return len(self.body) + len(self.common)

    def open(self) -> Call:
        """Unpickle it."""
        call: Call = pickle.loads(self.body, buffers=(self.common,))
        return call

    def dump(self) -> bytes:
        """As bytes, for `load`; what is in it stands there as it is."""
        return pickle.dumps(tuple(self), pickle.HIGHEST_PROTOCOL)

    @classmethod
    def load(cls, dumped: bytes) -> Parcel:
        """From the bytes of `dump`."""
        return cls(*pickle.loads(dumped))


class Kept:
    """What the receiver at the end of one connection has of what parcels have in common: the last few."""

    def __init__(self) -> None:
        self._contents: OrderedDict[bytes, bytes] = OrderedDict()

    def lighten(self, parcel: Parcel) -> Parcel:
        """At the sender: a parcel without what the receiver has; to be called for every one that is sent, in order."""
        if not parcel.key:
            return parcel
        known = parcel.key in self._contents
        self._keep(parcel.key, b"")
        return parcel._replace(common=b"") if known else parcel

    def complete(self, parcel: Parcel) -> Parcel:
        """At the receiver: a parcel with all that belongs to it; to be called for every one that comes, in order."""
        if not parcel.key:
            return parcel
        common = parcel.common or self._contents[parcel.key]
        self._keep(parcel.key, common)
        return parcel._replace(common=common)

    def _keep(self, key: bytes, content: bytes) -> None:
        self._contents[key] = content
        self._contents.move_to_end(key)
        if len(self._contents) > KEPT:
            self._contents.popitem(last=False)


@lru_cache(maxsize=1)
def _key(content: bytes) -> bytes:
    return blake2b(content, digest_size=16).digest()
