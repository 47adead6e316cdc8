"""Who may come in: names that the server answers to, the token, and sessions that are signed rather than stored.

A session is a random number with its date under a keyed hash, so that a server that was killed knows its visitors when
it comes back. The key follows from the token: a new token ends every session.

References: RFC 2104 (HMAC), RFC 6750 (bearer tokens).
"""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import os
import re
import secrets
import socket
import stat
import time
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from matloop.orchestrator.errors import ConfigError, OutOfReach, is_of_the_machine

SESSION_S = 30 * 24 * 3600
LEAST_TOKEN = 16
LOCAL_NAMES = frozenset({"localhost", "127.0.0.1", "::1"})

HOST = re.compile(
    r"(?:\[(?P<address>[0-9A-Fa-f:.]+)\]|(?P<name>[A-Za-z0-9_][A-Za-z0-9_.-]{0,253}))(?::(?P<port>[0-9]{0,5}))?"
)
"""A Host header; nothing else stands in one, so nothing else is taken apart (RFC 9110, 7.2; RFC 1123)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """What a visitor must show.

    Attributes:
        secret: the token, or where none is asked for, a random text that signs sessions.
        required: whether a visitor must show the token.
        open_to_network: whether the server listens beyond this machine.
        names: host names that it answers to, besides its addresses, in lower case.
    """

    secret: str = field(repr=False)
    required: bool
    open_to_network: bool
    names: frozenset[str] = LOCAL_NAMES

    @property
    def cookie(self) -> str:
        """Name of the cookie; one for each server, because browsers share cookies between ports."""
        return f"matloop-{self._sign('cookie')[:8]}"

    def knows(self, host: str) -> bool:
        """Whether a Host header names this server.

        A page of a stranger can point a name of its own at this machine (DNS rebinding), but not an address: so
        addresses are fine for a server that is open to the network, and names only if they are known.
        """
        name = hostname(host)
        if name is None:
            return False
        try:
            address = ipaddress.ip_address(name)
        except ValueError:
            return name in self.names
        return self.open_to_network or address.is_loopback or name in self.names

    def admits(self, token: str) -> bool:
        """Whether this is the token; takes equally long for every wrong one."""
        return hmac.compare_digest(token.encode("utf-8", "replace"), self.secret.encode())

    def new_session(self) -> str:
        """A fresh session."""
        content = f"{int(time.time())}.{secrets.token_hex(16)}"
        return f"{content}.{self._sign('session', content)}"

    def valid(self, session: str) -> bool:
        """Whether this server signed the session, not too long ago."""
        content, _, signature = session.rpartition(".")
        if not hmac.compare_digest(signature.encode("utf-8", "replace"), self._sign("session", content).encode()):
            return False
        return 0 <= time.time() - int(content.partition(".")[0]) + 60 <= SESSION_S

    def form_token(self, session: str) -> str:
        """What a form of this session must carry, and another site cannot know."""
        return self._sign("form", session)

    def _sign(self, *parts: str) -> str:
        return hmac.new(self.secret.encode(), "\0".join(parts).encode("utf-8", "replace"), hashlib.sha256).hexdigest()


def hostname(host: str) -> str | None:
    """Name in a Host header, in lower case and without port; None if it is malformed."""
    found = HOST.fullmatch(host)
    if found is None or int(found["port"] or 0) > 65535:
        return None
    return (found["address"] or found["name"].rstrip(".")).lower() or None


def names(also: Iterable[str] = (), *, own: bool) -> frozenset[str]:
    """Names that a server answers to: those of the loopback, those given, and its own as far as the machine knows.

    Raises:
        ConfigError: one of those given is no name of a host.
    """
    here = socket.gethostname()
    mine = {here, here.partition(".")[0], socket.getfqdn(), f"{here.partition('.')[0]}.local"} if own else set()
    return LOCAL_NAMES | {name for one in mine if (name := hostname(one))} | {_allowed(one) for one in also}


def _allowed(name: str) -> str:
    """A name that was given, as it stands in a Host header."""
    found = HOST.fullmatch(name)
    if found is None or found["port"] is not None or not (known := hostname(name)):
        raise ConfigError(
            f"expected --allow-host with the name of a host such as lab.example.org, got {name[:80]!r}; give the name "
            "alone, without scheme, port or path, and one with other letters as xn--…"
        )
    return known


def is_local(host: str) -> bool:
    """Whether a server that binds to this host can be reached from this machine alone."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"


def read_token(path: Path, *, make: bool) -> tuple[str, bool]:
    """Token of a file that only its owner may read.

    Args:
        path: the file.
        make: write a new random token if there is no such file.

    Returns:
        The token, and whether it is new.

    Raises:
        ConfigError: the file is missing, too short, or others may read it.
        OutOfReach: it is to be made, and the disk is full or gone.
    """
    try:
        if make and not path.exists():
            return _made(path), True
        mode, token = path.stat().st_mode, path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        if isinstance(error, OSError) and is_of_the_machine(error):
            raise OutOfReach(f"cannot use the token file {path}: {error.strerror}; see to the disk") from error
        raise ConfigError(f"cannot use the token file {path}: {error}; name a file that you may read") from error
    if os.name == "posix" and mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise ConfigError(f"others may read the token in {path}; run: chmod 600 {path}")
    if len(token) < LEAST_TOKEN or not token.isascii() or not token.isprintable() or " " in token:
        raise ConfigError(
            f"expected a token of at least {LEAST_TOKEN} letters and digits in {path}, got {len(token)} characters; "
            "remove the file to have a new one made, or write a longer one"
        )
    return token, False


def _made(path: Path) -> str:
    """A new token, in a file that is whole from the moment that it is there."""
    token = secrets.token_urlsafe(24)
    partial = path.with_name(f"{path.name}.{secrets.token_hex(8)}.tmp")
    try:
        with os.fdopen(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
            file.write(f"{token}\n")
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    finally:
        with suppress(OSError):
            partial.unlink(missing_ok=True)
    return token
